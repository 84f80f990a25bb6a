#!/bin/sh
# The relayed call as a mirror of the caller's port sees it: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office WITH_RELAY
relay proxy 192.0.2.5
start_capture one
two ring=0.3 -- register up sleep:1.5 bye &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up done
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
