#!/bin/sh
# A PBX that bridges: two Call-IDs, its own media on both legs, mu-law on the one and A-law on the other: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host pbx 192.0.2.5
host one 192.0.2.21
host two 192.0.2.22
tone pbx 1 300
tone one 10 440
tone two 10 620
start_capture
phone two 192.0.2.22 2002 "Desk Two" codec=PCMA ring=0.4 -- up done &
b=$!
phone pbx 192.0.2.5 2001 "Desk One" bridge=yes auto=180 codec=PCMU,PCMA -- ring call:2002@192.0.2.22 up:1 answer:0 up:0 join:0:1 done:0 bye:1 &
c=$!
phone one 192.0.2.21 2001 "Desk One" codec=PCMU -- sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $b
wait $c
finish_capture "$(dirname "$0")/capture.pcap"
