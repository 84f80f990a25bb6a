#!/bin/sh
# Early media comes from another address and port than the call itself, in one dialog: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10 192.0.2.11
tone near 4 470; tone far 4 650; tone ringing 4 425
audio() { echo "exec ffmpeg -nostdin -loglevel error -re -i $1.wav -t $2 -af asetnsamples=160 -c:a pcm_mulaw -f rtp 'rtp://$3:$4?localaddr=$6&localrtpport=$5&pkt_size=172'"; }
scenario near caller
say INVITE 1 "$(PORT=7000 sdp)"; await 100? 183 200; say ACK 1; run "$(audio near 1.5 192.0.2.10 8000 7000 192.0.2.21)"; pause 2800
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 183 "Session Progress" "$(ADDRESS=192.0.2.11 PORT=9000 sdp)"; run "$(audio ringing 1 192.0.2.21 7000 9000 192.0.2.11)"; pause 2200
reply 200 OK "$(VERSION=2 PORT=8000 sdp)"; hear ACK; run "$(audio far 1.5 192.0.2.21 7000 8000 192.0.2.10)"
hear BYE; reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
