#!/bin/sh
# SIP over TCP and IPv6, media over IPv6: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host one 2001:db8::21
host two 2001:db8::22
start_capture
TRANSPORT=';transport=tcp'
baresip_at one 2001:db8::21 2001 "Desk One" 440 PCMU/8000/1 8000 1 manual 'net_prefer_ipv6 yes'
baresip_at two 2001:db8::22 2002 "Desk Two" 620 PCMU/8000/1 8000 1 auto 'net_prefer_ipv6 yes'
baresip_between one two 2 '2002@[2001:db8::22];transport=tcp'
finish_capture "$(dirname "$0")/capture.pcap"
