#!/bin/sh
# SIPp calls SIPp: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 440 u-law
tone callee.raw 4 620 u-law
start_capture
sipp_call caller callee
finish_capture "$(dirname "$0")/capture.pcap"
