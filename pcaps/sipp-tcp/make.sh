#!/bin/sh
# SIPp calls SIPp over TCP: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 450 u-law
tone callee.raw 4 630 u-law
start_capture
sipp_call caller callee -t t1
finish_capture "$(dirname "$0")/capture.pcap"
