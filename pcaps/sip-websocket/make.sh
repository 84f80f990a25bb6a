#!/bin/sh
# See README.md.
set -eu
cd "$(dirname "$0")"
WIRE=../../xtask/scripts/wire.sh
. "$WIRE"
. ../../xtask/scripts/tls_wire.sh
start_capture
peers_call 8080 --ws --seconds 1
peers_call 8080 --ws --deflate --seconds 1 --calls 2 --rtp 6100
finish_capture capture.pcap
