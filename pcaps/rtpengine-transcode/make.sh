#!/bin/sh
# The relay transcodes: mu-law on the caller's side, A-law on the callee's: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office WITH_RELAY TRANSCODE
relay proxy 192.0.2.5
start_capture
two ring=0.3 codec=PCMA -- register up done &
b=$!
one codec=PCMU -- register sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
