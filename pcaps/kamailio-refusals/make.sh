#!/bin/sh
# Four calls without an answer: cancelled, 486, 480, 603: see README.md.
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
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 ring=0.3 auto=none -- register ring:1 sleep:0.2 done:0 ring:2 sleep:0.2 refuse:486:1 ring:3 sleep:0.2 refuse:480:2 ring:4 sleep:0.2 refuse:603:3 done:3 &
phone one 192.0.2.21 2001 "Desk One" registrar=192.0.2.5 -- register call:2002@192.0.2.5 sleep:1 bye:0 done:0 call:2002@192.0.2.5 done:1 call:2002@192.0.2.5 done:2 call:2002@192.0.2.5 done:3
wait $!
finish_capture "$(dirname "$0")/capture.pcap"
