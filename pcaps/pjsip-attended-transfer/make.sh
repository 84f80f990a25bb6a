#!/bin/sh
# 2002 holds its caller 2001, asks 2003, and joins the two by REFER with Replaces (RFC 3891): see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
three ring=0.5 -- register up:0 done:0 up:1 sleep:2 bye:1 &
a=$!
two ring=0.3 -- register up sleep:1.2 hold call:2003@192.0.2.5 up:1 sleep:1.2 consult:0:1 done:0 done:1 &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up done:0 done:1
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
