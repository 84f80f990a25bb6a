#!/bin/sh
# UPDATE by the caller before the answer moves its media, UPDATE by the callee after it moves the other's (RFC 3311): see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
# What SIPp itself cannot send: audio from another port.
audio() { echo "exec ffmpeg -nostdin -loglevel error -re -i $1.wav -t $2 -af asetnsamples=160 -c:a pcm_mulaw -f rtp 'rtp://$3:$4?localrtpport=$5&pkt_size=172'"; }
scenario near caller
EXTRA='Allow: UPDATE
Supported: 100rel' say INVITE 1 "$(PORT=7000 sdp)"; await 100? 183; EXTRA='RAck: 1 1 INVITE' say PRACK 2; await 200
run "$(audio near 1 192.0.2.10 8000 7000)"; pause 1300
say UPDATE 3 "$(VERSION=2 PORT=7100 sdp)"; await 200; run "$(audio near 1.6 192.0.2.10 8000 7100)"
await 200; say ACK 1
hear UPDATE; REPLY_RETRANS= reply 200 OK "$(VERSION=2 PORT=7100 sdp)"; run "$(audio near 1.5 192.0.2.10 8100 7100)"
pause 2000; say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying
EXTRA='Require: 100rel
RSeq: 1' reply 183 "Session Progress" "$(PORT=8000 sdp)"
hear PRACK; OWN_DIALOG=yes reply 200 OK; run "$(audio far 1 192.0.2.21 7000 8000)"
hear UPDATE; REPLY_RETRANS= OWN_DIALOG=yes reply 200 OK "$(PORT=8000 sdp)"; run "$(audio far 1.8 192.0.2.21 7100 8000)"
pause 700; answer 200 OK; hear ACK; pause 1500
say UPDATE 1 "$(VERSION=2 PORT=8100 sdp)"; await 200; run "$(audio far 1.5 192.0.2.21 7100 8100)"
hear BYE; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
