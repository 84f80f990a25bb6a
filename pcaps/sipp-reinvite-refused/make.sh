#!/bin/sh
# A re-INVITE to another port and one to hold are refused with 488: the session stays as it was: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw; pause 700
say INVITE 2 "$(VERSION=2 PORT=7100 sdp)"; await 100? 488; say ACK 2 "" INVITE-2; pause 700
say INVITE 3 "$(VERSION=2 DIR=sendonly sdp)"; await 100? 488; say ACK 3 "" INVITE-3; pause 700
# Now it is accepted.
hush; say INVITE 4 "$(VERSION=2 DIR=sendonly sdp)"; await 100? 200; say ACK 4; pause 500
say INVITE 5 "$(VERSION=3 sdp)"; await 100? 200; say ACK 5; resume; pause 700
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear INVITE; OWN_DIALOG=yes reply 488 "Not Acceptable Here"; hear ACK
hear INVITE; OWN_DIALOG=yes reply 488 "Not Acceptable Here"; hear ACK
hear INVITE; hush; OWN_DIALOG=yes reply 200 OK "$(VERSION=2 DIR=recvonly sdp)"; hear ACK
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=3 sdp)"; hear ACK; resume
hear BYE; hush; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
