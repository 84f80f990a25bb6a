#!/bin/sh
# 2002 is two telephones that answer in the same moment: two dialogs come of one INVITE: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
office
start_capture
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 ring=0.5 -- register ring done &
a=$!
phone three 192.0.2.23 2002 "Desk Two Again" registrar=192.0.2.5 ring=0.5 -- register ring done &
b=$!
one -- register sleep:1 call:2002@192.0.2.5 up sleep:1.5 bye
wait $a
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
