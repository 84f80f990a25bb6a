#!/bin/sh
# Kamailio with rtpengine: all media goes through the proxy's host, seen on both sides of it; hold and retrieve go through it too: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office WITH_RELAY
relay proxy 192.0.2.5
start_capture
two ring=0.3 -- register up done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up sleep:1 hold sleep:0.6 retrieve sleep:1 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
