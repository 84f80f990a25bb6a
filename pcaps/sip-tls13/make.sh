#!/bin/sh
# See README.md.
set -eu
cd "$(dirname "$0")"
WIRE=../../xtask/scripts/wire.sh
. "$WIRE"
. ../../xtask/scripts/tls_wire.sh
start_capture
peers_call 5061 --tls 1.3 --seconds 1 --calls 2
finish_capture "$WORK/plain.pcap"
# The keys go into the capture itself: a pcapng file under the name .pcap.
editcap -F pcapng --inject-secrets "tls,$KEYS" "$WORK/plain.pcap" capture.pcap
