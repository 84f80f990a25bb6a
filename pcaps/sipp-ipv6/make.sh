#!/bin/sh
# SIPp calls SIPp over IPv6: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 460 u-law
tone callee.raw 4 640 u-law
start_capture
FAMILY=6 sipp_call caller callee
finish_capture "$(dirname "$0")/capture.pcap"
