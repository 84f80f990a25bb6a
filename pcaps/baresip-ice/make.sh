#!/bin/sh
# ICE: STUN on the media ports before and beside the audio, RTCP multiplexed: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 192.0.2.21
host two 192.0.2.22
start_capture
ACCOUNT=';medianat=ice;rtcp_mux=yes'
baresip_at one 192.0.2.21 2001 "Desk One" 440 PCMU/8000/1 8000 1 manual
baresip_at two 192.0.2.22 2002 "Desk Two" 620 PCMU/8000/1 8000 1 auto
baresip_between one two 3 2002@192.0.2.22
finish_capture "$(dirname "$0")/capture.pcap"
