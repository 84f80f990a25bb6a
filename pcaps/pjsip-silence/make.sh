#!/bin/sh
# Speech with pauses in it and voice activity detection: nothing is sent while nobody speaks: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
# A second of tone, two of silence, and so on; the other party the other way round.
sox -n -r 16000 -c 1 -b 16 "$WORK/one.wav" synth 1 sine 440 vol 0.35 pad 0 2 repeat 3
sox -n -r 16000 -c 1 -b 16 "$WORK/two.wav" synth 1 sine 620 vol 0.35 pad 1.5 0.5 repeat 3
start_capture
phone two 192.0.2.22 2002 "Desk Two" dtx=yes ring=0.4 -- up done &
b=$!
sleep 1
phone one 192.0.2.21 2001 "Desk One" dtx=yes -- call:2002@192.0.2.22 up sleep:7 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
