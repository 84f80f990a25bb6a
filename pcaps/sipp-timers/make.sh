#!/bin/sh
# Session timers: a refresh by re-INVITE without change, one by UPDATE without a body (RFC 4028): see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
T='Session-Expires: 90;refresher=uac
Supported: timer'
scenario near caller
EXTRA="$T" say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw
pause 700; EXTRA="$T" say INVITE 2 "$(sdp)"; await 100? 200; say ACK 2
pause 700; EXTRA="$T" say UPDATE 3; await 200
pause 700; say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; EXTRA="$T" reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear INVITE; EXTRA="$T" reply 200 OK "$(sdp)"; hear ACK
hear UPDATE; EXTRA="$T" reply 200 OK
hear BYE; hush; reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
