#!/bin/sh
# A proxy that masks Call-IDs and hosts on the way to the callee: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office HIDE_TOPOLOGY
start_capture
two ring=0.4 -- register up done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
