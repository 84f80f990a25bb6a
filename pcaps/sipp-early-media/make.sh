#!/bin/sh
# SIPp hears the other side before the answer: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 490 u-law
tone callee.raw 4 670 u-law
start_capture
sipp_call caller callee-early
finish_capture "$(dirname "$0")/capture.pcap"
