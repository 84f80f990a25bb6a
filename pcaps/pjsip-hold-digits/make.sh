#!/bin/sh
# The caller holds and retrieves, keys digits as telephone events and by INFO, and refreshes by UPDATE: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
two ring=0.3 timer=90 -- register up done &
b=$!
one timer=90 -- register sleep:1 call:2002@192.0.2.5 up sleep:0.7 hold sleep:0.7 retrieve sleep:0.7 digits:42# sleep:1 info:9 sleep:0.5 update sleep:0.5 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
