#!/bin/sh
# Both parties hold in the same moment: the requests cross, each is refused with 491; later one holds and retrieves: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office SLOW
start_capture
two ring=0.4 -- register up sleep:0.8 hold done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up sleep:0.8 hold sleep:0.8 hold sleep:0.8 retrieve sleep:0.8 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
