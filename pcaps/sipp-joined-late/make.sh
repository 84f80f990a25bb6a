#!/bin/sh
# The capture begins a second after the answer; a re-INVITE holds later: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw; pause 2000
hush; say INVITE 2 "$(VERSION=2 DIR=sendonly sdp)"; await 100? 200; say ACK 2; pause 500
say INVITE 3 "$(VERSION=3 sdp)"; await 100? 200; say ACK 3; resume; pause 1000
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear INVITE; hush; reply 200 OK "$(VERSION=2 DIR=recvonly sdp)"; hear ACK
hear INVITE; reply 200 OK "$(VERSION=3 sdp)"; hear ACK; resume
hear BYE; hush; reply 200 OK
done_scenario
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10 &
near=$!
sleep 1.3
start_capture
wait "$near"
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
