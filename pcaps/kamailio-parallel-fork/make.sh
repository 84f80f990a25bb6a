#!/bin/sh
# One number rings at two telephones, both with early media; one answers, the other is cancelled: see README.md.
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
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 early=yes ring=2 -- register done &
a=$!
phone three 192.0.2.23 2002 "Desk Two Again" registrar=192.0.2.5 early=yes ring=1.2 -- register up done &
b=$!
sleep 1
phone one 192.0.2.21 2001 "Desk One" registrar=192.0.2.5 -- register call:2002@192.0.2.5 up sleep:2 bye
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
