#!/bin/sh
# 2002 sends its caller 2001 on to 2003 by REFER: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
three ring=0.5 -- register up sleep:2 bye &
a=$!
two ring=0.3 -- register up sleep:1.5 transfer:2003@192.0.2.5 done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up done:0 done:1
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
