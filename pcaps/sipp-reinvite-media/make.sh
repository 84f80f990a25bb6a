#!/bin/sh
# Re-INVITEs that change the caller's port, the callee's address, the codec, and the length of packets: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host near 192.0.2.21
host far 192.0.2.10 192.0.2.11
tone near 12 470; tone far 12 650
# audio FROM SECONDS TO PORT LOCAL-ADDRESS LOCAL-PORT CODEC PACKET-BYTES: what SIPp itself cannot send.
audio() { echo "exec ffmpeg -nostdin -loglevel error -re -i $1.wav -t $2 -af asetnsamples=$(($8 - 12)) -c:a $7 -f rtp 'rtp://$3:$4?localaddr=$5&localrtpport=$6&pkt_size=$8'"; }
U=pcm_mulaw A=pcm_alaw N=192.0.2.21 F=192.0.2.10 G=192.0.2.11
scenario near caller
say INVITE 1 "$(PORT=7000 sdp)"; await 100? 180? 200; say ACK 1; run "$(audio near 1 $F 8000 $N 7000 $U 172)"; pause 1300
# Another port of the caller.
say INVITE 2 "$(VERSION=2 PORT=7100 sdp)"; await 100? 200; say ACK 2; run "$(audio near 1 $F 8000 $N 7100 $U 172)"; pause 1000
# Another address of the callee.
hear INVITE; reply 200 OK "$(VERSION=2 PORT=7100 sdp)"; hear ACK; run "$(audio near 1 $G 8000 $N 7100 $U 172)"; pause 1300
# Another codec.
say INVITE 3 "$(VERSION=3 PORT=7100 FORMATS=8 MAPS="$PCMA" sdp)"; await 100? 200; say ACK 3; run "$(audio near 1 $G 8000 $N 7100 $A 172)"; pause 1300
# Packets of 40 ms.
say INVITE 4 "$(VERSION=4 PORT=7100 FORMATS=8 MAPS="$PCMA" PTIME=40 sdp)"; await 100? 200; say ACK 4; run "$(audio near 1 $G 8000 $N 7100 $A 332)"; pause 1300
say BYE 90; await 200
done_scenario
scenario far callee
hear INVITE; reply 100 Trying; reply 180 Ringing; pause 300; reply 200 OK "$(PORT=8000 sdp)"; hear ACK; run "$(audio far 1 $N 7000 $F 8000 $U 172)"
hear INVITE; reply 200 OK "$(VERSION=2 PORT=8000 sdp)"; hear ACK; run "$(audio far 1 $N 7100 $F 8000 $U 172)"
pause 1300; say INVITE 1 "$(VERSION=3 ADDRESS=$G PORT=8000 sdp)"; await 100? 200; say ACK 1; run "$(audio far 1 $N 7100 $G 8000 $U 172)"
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=4 ADDRESS=$G PORT=8000 FORMATS=8 MAPS="$PCMA" sdp)"; hear ACK; run "$(audio far 1 $N 7100 $G 8000 $A 172)"
hear INVITE; OWN_DIALOG=yes reply 200 OK "$(VERSION=5 ADDRESS=$G PORT=8000 FORMATS=8 MAPS="$PCMA" PTIME=40 sdp)"; hear ACK; run "$(audio far 1 $N 7100 $G 8000 $A 332)"
hear BYE; OWN_DIALOG=yes reply 200 OK
done_scenario
start_capture
sipp_far far callee 192.0.2.10
sipp_near near caller 192.0.2.21 01632960142@192.0.2.10
wait "$FAR" || true
finish_capture "$(dirname "$0")/capture.pcap"
