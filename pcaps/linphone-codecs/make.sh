#!/bin/sh
# One call for each of some codecs of Linphone: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
# Without a way out Linphone thinks that there is no network.
for name in one two; do on $name ip route add default via 192.0.2.5; done
start_capture
while read -r codec rate; do
    linphone_at one 2001 "Desk One" "$codec"
    linphone_at two 2002 "Desk Two" all
    sox -n -r "$rate" -c 1 -b 16 "$WORK/one/says.wav" synth 30 sine 440 vol 0.35
    sox -n -r "$rate" -c 1 -b 16 "$WORK/two/says.wav" synth 30 sine 620 vol 0.35
    linphone_between one two 1.2 2002@192.0.2.22
done <<CODECS
opus/48000/2 48000
speex/8000/1 8000
speex/16000/1 16000
G722/8000/1 16000
G729/8000/1 8000
AAL2-G726-32/8000/1 8000
G726-40/8000/1 8000
GSM/8000/1 8000
CODECS
finish_capture "$(dirname "$0")/capture.pcap"
