#!/bin/sh
# One call for each codec that PJSIP has and baresip has not: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
tone one 5 440
tone two 5 620
start_capture
for codec in iLBC speex/8000 speex/16000 speex/32000; do
    phone two 192.0.2.22 2002 "Desk Two" codec=$codec -- up done &
    b=$!
    sleep 0.8
    phone one 192.0.2.21 2001 "Desk One" codec=$codec -- call:2002@192.0.2.22 up sleep:1 bye
    wait $b
done
finish_capture "$(dirname "$0")/capture.pcap"
