#!/bin/sh
# See README.md.
set -eu
cd "$(dirname "$0")"
WIRE=../../xtask/scripts/wire.sh
. "$WIRE"
. ../../xtask/scripts/tls_wire.sh
start_capture
peers_call 8443 --ws --tls 1.3 --seconds 1
finish_capture capture.pcap
grep -v '^#' "$KEYS" >keys.txt
