#!/bin/sh
# A reliable 183 with the answer in it, PRACK, early media, then the 200 without a body (RFC 3262): see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
EXTRA='Supported: 100rel' say INVITE 1 "$(sdp)"; await 100? 183; EXTRA='RAck: 1 1 INVITE' say PRACK 2; await 200; play near.ulaw; await 200; say ACK 1
pause 1500; say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying
EXTRA='Require: 100rel
RSeq: 1' reply 183 "Session Progress" "$(sdp)"
hear PRACK; OWN_DIALOG=yes reply 200 OK; play far.ulaw; pause 1000; answer 200 OK; hear ACK
hear BYE; hush; reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
