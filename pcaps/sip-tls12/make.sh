#!/bin/sh
# See README.md.
set -eu
cd "$(dirname "$0")"
WIRE=../../xtask/scripts/wire.sh
. "$WIRE"
. ../../xtask/scripts/tls_wire.sh
start_capture
peers_call 5061 --tls 1.2 --ciphers ECDHE-ECDSA-AES256-GCM-SHA384 --seconds 1 --rtp 6000
peers_call 5062 RSA=yes --tls 1.2 --ciphers AES128-SHA256 --seconds 1 --rtp 6100 --calls 2 --reconnect --pieces 100
finish_capture capture.pcap
grep -v '^#' "$KEYS" >keys.txt
