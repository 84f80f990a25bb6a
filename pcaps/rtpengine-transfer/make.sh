#!/bin/sh
# A blind transfer while the relay carries the media: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office WITH_RELAY
relay proxy 192.0.2.5
start_capture proxy
three ring=0.5 -- register up sleep:1 bye &
a=$!
two ring=0.3 -- register up sleep:1 transfer:2003@192.0.2.5 done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up done:0 done:1
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
