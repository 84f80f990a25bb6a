#!/bin/sh
# A call waits: 2002 holds one caller while it talks to the other, then goes back: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
two ring=0.3 -- register up:0 sleep:0.8 ring:2 hold:0 up:1 sleep:1 bye:1 done:1 retrieve:0 sleep:1 bye:0 &
b=$!
three -- register sleep:1.8 call:2002@192.0.2.5 up done &
a=$!
one -- register sleep:1 call:2002@192.0.2.5 up done:0
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
