#!/bin/sh
# SIPp holds and retrieves: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 470 u-law
tone callee.raw 4 650 u-law
start_capture
sipp_call caller-hold callee-hold
finish_capture "$(dirname "$0")/capture.pcap"
