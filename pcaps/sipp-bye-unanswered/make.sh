#!/bin/sh
# The BYE is sent and never answered: it is repeated, and the call is over at the first: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
scenario near caller
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw; pause 1500; hush
say BYE 90; pause 3600
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play far.ulaw; pause 1500; hush; hear BYE; pause 4000
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10 || true
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
