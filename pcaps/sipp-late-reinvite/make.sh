#!/bin/sh
# A re-INVITE without a session description: the callee offers another port in its 200, the caller answers in the ACK: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470
tone far 4 650
audio() { echo "exec ffmpeg -nostdin -loglevel error -re -i $1.wav -t $2 -af asetnsamples=160 -c:a pcm_mulaw -f rtp 'rtp://$3:$4?localrtpport=$5&pkt_size=172'"; }
scenario near caller
say INVITE 1; await 100? 180? 200; say ACK 1 "$(PORT=7000 sdp)"; run "$(audio near 1 192.0.2.10 8000 7000)"; pause 2500
say INVITE 2; await 100? 200; say ACK 2 "$(VERSION=2 PORT=7100 sdp)"; run "$(audio near 1 192.0.2.10 8100 7100)"; pause 2500
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(PORT=8000 sdp)"; hear ACK; run "$(audio far 1 192.0.2.21 7000 8000)"
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=2 PORT=8100 sdp)"; hear ACK; run "$(audio far 1 192.0.2.21 7100 8100)"
hear BYE; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
