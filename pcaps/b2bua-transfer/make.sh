#!/bin/sh
# A PBX that bridges, and carries out the blind transfer itself: it calls 2003 and joins it to the caller's leg: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host pbx 192.0.2.5
host one 192.0.2.21
host two 192.0.2.22
host three 192.0.2.23
tone pbx 1 300
tone one 12 440
tone two 12 620
tone three 12 830
start_capture
phone three 192.0.2.23 2003 "Desk Three" ring=0.4 -- up done &
a=$!
phone two 192.0.2.22 2002 "Desk Two" ring=0.4 -- up sleep:1.2 transfer:2003@192.0.2.23 done &
b=$!
phone pbx 192.0.2.5 2001 "Desk One" bridge=yes auto=180 -- ring call:2002@192.0.2.22 up:1 answer:0 up:0 join:0:1 up:2 join:0:2 done:1 done:0 bye:2 &
c=$!
phone one 192.0.2.21 2001 "Desk One" -- sleep:1 call:2002@192.0.2.5 up sleep:3.5 bye
wait $a
wait $b
wait $c
finish_capture "$(dirname "$0")/capture.pcap"
