#!/bin/sh
# One call for each codec of baresip: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
start_capture
# codec rate channels
while read -r codec rate channels; do
    baresip_at one 192.0.2.21 2001 "Desk One" 440 "$codec" "$rate" "$channels" manual
    baresip_at two 192.0.2.22 2002 "Desk Two" 620 "$codec" "$rate" "$channels" auto
    baresip_between one two 1 2002@192.0.2.22
done <<CODECS
G722/16000/1 16000 1
GSM/8000/1 8000 1
G726-32/8000/1 8000 1
G726-16/8000/1 8000 1
AMR/8000/1 8000 1
AMR-WB/16000/1 16000 1
L16/8000/1 8000 1
opus/48000/2 48000 2
codec2/8000/1 8000 1
CODECS
finish_capture "$(dirname "$0")/capture.pcap"
