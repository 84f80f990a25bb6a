#!/bin/sh
# Digits by INFO: application/dtmf-relay and application/dtmf: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw
pause 500; TYPE=application/dtmf-relay say INFO 2 "Signal=5
Duration=160"; await 200
pause 500; TYPE=application/dtmf-relay say INFO 3 "Signal= #
Duration= 250"; await 200
pause 500; TYPE=application/dtmf say INFO 4 "7"; await 200
pause 500; say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear INFO; reply 200 OK; hear INFO; reply 200 OK; hear INFO; reply 200 OK
hear BYE; hush; reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
