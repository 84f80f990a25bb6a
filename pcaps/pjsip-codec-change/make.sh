#!/bin/sh
# The codec changes by re-INVITE from mu-law to GSM 06.10 and to Speex: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
two ring=0.3 codec=PCMU,GSM,speex/8000 -- register up done &
b=$!
one codec=PCMU -- register sleep:1 call:2002@192.0.2.5 up sleep:1 reoffer:GSM sleep:1 reoffer:speex/8000 sleep:1 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
