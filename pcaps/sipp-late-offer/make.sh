#!/bin/sh
# SIPp calls without an offer: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 510 u-law
tone callee.raw 4 680 u-law
start_capture
sipp_call caller-late callee
finish_capture "$(dirname "$0")/capture.pcap"
