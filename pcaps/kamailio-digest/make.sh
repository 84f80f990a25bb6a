#!/bin/sh
# The proxy asks for credentials (407); the caller tries again: see README.md.
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
start_capture
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 ring=0.5 -- register up done &
phone one 192.0.2.21 2001 "Desk One" registrar=192.0.2.5 secret=sesame -- register call:9002@192.0.2.5 up sleep:2 bye
wait $!
finish_capture "$(dirname "$0")/capture.pcap"
