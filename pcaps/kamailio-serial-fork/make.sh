#!/bin/sh
# The first contact is busy, the second answers: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host proxy 192.0.2.5
host one 192.0.2.21
host two 192.0.2.22
tone one 10 440
tone two 10 620
proxy proxy 192.0.2.5
host three 192.0.2.23
tone three 10 830
start_capture
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 q=0.9 auto=486 ring=0.6 -- register done &
a=$!
sleep 0.8
phone three 192.0.2.23 2002 "Desk Two Again" registrar=192.0.2.5 q=0.5 ring=0.6 -- register up done &
b=$!
sleep 1
phone one 192.0.2.21 2001 "Desk One" registrar=192.0.2.5 -- register call:6002@192.0.2.5 up sleep:2 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
