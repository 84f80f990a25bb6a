#!/bin/sh
# The call of srtp-sdes without its INVITE, as a capture sees it that begins while it rings: see README.md.
set -eu
cd "$(dirname "$0")"
# A SIP message's first four bytes stand behind the eight of UDP.
tcpdump -r ../srtp-sdes/capture.pcap -w - 'not (udp port 5060 and udp[8:4] = 0x494e5649)' 2>/dev/null >capture.pcap
