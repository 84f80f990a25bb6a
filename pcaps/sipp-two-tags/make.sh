#!/bin/sh
# A gateway's early dialogs: 183 with early media under one To tag, then another 183 and the 200 under a second tag, from the same address: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10
tone near 4 470; tone far 4 650; tone announcement 4 850
audio() { echo "exec ffmpeg -nostdin -loglevel error -re -i $1.wav -t $2 -af asetnsamples=160 -c:a pcm_mulaw -f rtp 'rtp://$3:$4?localrtpport=$5&pkt_size=172'"; }
scenario near caller
say INVITE 1 "$(PORT=7000 sdp)"; await 100? 183 183 200; say ACK 1; run "$(audio near 1.5 192.0.2.10 8000 7000)"; pause 9000
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; FAR_TAG=other reply 183 "Session Progress" "$(PORT=9000 sdp)"; run "$(audio announcement 1 192.0.2.21 7000 9000)"; pause 9000
reply 183 "Session Progress" "$(VERSION=2 PORT=8000 sdp)"; pause 300
reply 200 OK "$(VERSION=2 PORT=8000 sdp)"; hear ACK; run "$(audio far 1.5 192.0.2.21 7000 8000)"
hear BYE; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
