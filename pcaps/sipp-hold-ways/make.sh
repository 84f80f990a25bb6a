#!/bin/sh
# Hold by sendonly, by inactive and by 0.0.0.0, by the caller, then by the callee, then by both; each retrieved: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw; pause 600
hush; say INVITE 2 "$(VERSION=2 DIR=sendonly sdp)"; await 100? 200; say ACK 2; pause 400
say INVITE 3 "$(VERSION=3 DIR=sendrecv sdp)"; await 100? 200; say ACK 3; resume; pause 600
hush; say INVITE 4 "$(VERSION=4 DIR=inactive sdp)"; await 100? 200; say ACK 4; pause 400
say INVITE 5 "$(VERSION=5 DIR= sdp)"; await 100? 200; say ACK 5; resume; pause 600
hush; say INVITE 6 "$(VERSION=6 ADDRESS=0.0.0.0 DIR= sdp)"; await 100? 200; say ACK 6; pause 400
say INVITE 7 "$(VERSION=7 sdp)"; await 100? 200; say ACK 7; resume; pause 400
# The callee holds, the caller holds too, the callee retrieves, the caller retrieves.
hear INVITE; reply 200 OK "$(VERSION=8 DIR=recvonly sdp)"; hear ACK; hush; pause 300
say INVITE 8 "$(VERSION=9 DIR=inactive sdp)"; await 100? 200; say ACK 8; pause 200
hear INVITE; reply 200 OK "$(VERSION=10 DIR=sendonly sdp)"; hear ACK; pause 300
say INVITE 9 "$(VERSION=11 sdp)"; await 100? 200; say ACK 9; resume; pause 600
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear INVITE; hush; reply 200 OK "$(VERSION=2 DIR=recvonly sdp)"; hear ACK
hear INVITE; reply 200 OK "$(VERSION=3 sdp)"; hear ACK; resume
hear INVITE; hush; reply 200 OK "$(VERSION=4 DIR=inactive sdp)"; hear ACK
hear INVITE; reply 200 OK "$(VERSION=5 sdp)"; hear ACK; resume
hear INVITE; hush; reply 200 OK "$(VERSION=6 DIR= sdp)"; hear ACK
hear INVITE; reply 200 OK "$(VERSION=7 sdp)"; hear ACK; resume
pause 800; hush; say INVITE 1 "$(VERSION=8 DIR=sendonly sdp)"; await 100? 200; say ACK 1
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=9 DIR=inactive sdp)"; hear ACK; pause 500
say INVITE 2 "$(VERSION=10 DIR=recvonly sdp)"; await 100? 200; say ACK 2
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=11 sdp)"; hear ACK; resume
hear BYE; hush; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
