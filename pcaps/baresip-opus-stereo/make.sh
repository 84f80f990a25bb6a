#!/bin/sh
# Opus in stereo, with a second and a half of silence in what the caller says: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
start_capture
way="opus_stereo yes"
baresip_at one 192.0.2.21 2001 "Desk One" 440 opus/48000/2 48000 2 manual "$way" "opus_bitrate 24000"
baresip_at two 192.0.2.22 2002 "Desk Two" 620 opus/48000/2 48000 2 auto "$way" "opus_bitrate 24000"
# Silence for a second in the middle of what is said.
sox -n -r 48000 -c 2 -b 16 "$WORK/one/says.wav" synth 1 sine 440 sine 880 vol 0.35 pad 0 1.5 repeat 3
baresip_between one two 4 2002@192.0.2.22

finish_capture "$(dirname "$0")/capture.pcap"
