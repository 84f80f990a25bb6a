#!/bin/sh
# PRACK and early media through a proxy, session timers: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
two early=yes ring=1 100rel=yes timer=90 -- register up done &
b=$!
one 100rel=yes timer=90 -- register sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
