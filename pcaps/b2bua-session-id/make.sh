#!/bin/sh
# Two legs of a PBX with the same Session-ID (RFC 7989) and an X-header, other media on each: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host pbx 192.0.2.10
host far 192.0.2.22
tone near 4 470; tone far 4 650; tone pbx 4 540
SESSION='Session-ID: 0123456789abcdef0123456789abcdef;remote=00000000000000000000000000000000
X-Call-Reference: desk-2001-7'
SESSION_UP='Session-ID: fedcba9876543210fedcba9876543210;remote=0123456789abcdef0123456789abcdef
X-Call-Reference: desk-2001-7'
scenario near caller
EXTRA=$SESSION say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play near.ulaw; pause 1500; say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; EXTRA=$SESSION_UP reply 180 Ringing; pause 400; EXTRA=$SESSION_UP reply 200 OK "$(sdp)"; hear ACK; play far.ulaw
hear BYE; hush; reply 200 OK; done_scenario
# The PBX is two user agents that know nothing of each other: it answers a little after it has called on.
scenario near pbx-out
EXTRA=$SESSION say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play pbx.ulaw; pause 1500; say BYE 90; await 200
done_scenario
scenario far pbx-in
hear INVITE; reply 100 Trying; pause 100; EXTRA=$SESSION_UP reply 180 Ringing; pause 450; EXTRA=$SESSION_UP reply 200 OK "$(sdp)"; hear ACK; play pbx.ulaw
hear BYE; hush; reply 200 OK; done_scenario
start_capture
sipp_far far callee 192.0.2.22; a=$FAR
sipp_far pbx pbx-in 192.0.2.10; b=$FAR
sipp_near near caller 192.0.2.21 2002@192.0.2.10 &
c=$!
sleep 0.05
(FROM=2001; sipp_near pbx pbx-out 192.0.2.10 2002@192.0.2.22 -p 5062)
wait $a || true; wait $b || true; wait $c
finish_capture "$(dirname "$0")/capture.pcap"
