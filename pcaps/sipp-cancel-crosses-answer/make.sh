#!/bin/sh
# The CANCEL and the 200 to the INVITE cross: the call is answered, and hung up at once: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180; pause 600; say CANCEL 1 "" INVITE-1; await 200; await 200; say ACK 1; say BYE 2; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; hear CANCEL; OWN_DIALOG=yes reply 200 OK; answer 200 OK "$(sdp)"; hear ACK; hear BYE; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
