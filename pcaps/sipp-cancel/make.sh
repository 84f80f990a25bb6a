#!/bin/sh
# SIPp gives up: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 520 u-law
tone callee.raw 4 690 u-law
start_capture
sipp_call caller-cancel callee-cancel
finish_capture "$(dirname "$0")/capture.pcap"
