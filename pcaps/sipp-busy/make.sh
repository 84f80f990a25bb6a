#!/bin/sh
# SIPp is refused: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 530 u-law
tone callee.raw 4 700 u-law
start_capture
sipp_call caller-refused callee-busy
finish_capture "$(dirname "$0")/capture.pcap"
