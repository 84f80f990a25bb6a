#!/bin/sh
# A B2BUA with Call-IDs of its own; the audio goes straight: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host pbx 192.0.2.5
host one 192.0.2.21
host two 192.0.2.22
tone one 10 440
tone two 10 620
b2bua_apart pbx 192.0.2.5 192.0.2.22
start_capture
phone two 192.0.2.22 2002 "Desk Two" ring=0.4 -- up done &
b=$!
phone one 192.0.2.21 2001 "Desk One" -- sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
