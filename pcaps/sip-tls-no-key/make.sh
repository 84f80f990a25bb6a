#!/bin/sh
# See README.md.
set -eu
cd "$(dirname "$0")"
WIRE=../../xtask/scripts/wire.sh
. "$WIRE"
. ../../xtask/scripts/tls_wire.sh
start_capture
peers_call 5061 --tls 1.3 --seconds 1
# The same on a port that only SIP over TLS seen before would give a meaning: nobody tells it from any other TLS.
peers_call 8443 --tls 1.3 --seconds 1 --rtp 6100
finish_capture capture.pcap
