#!/bin/sh
# SIPp is asked for a password: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
tone caller.raw 4 480 u-law
tone callee.raw 4 660 u-law
start_capture
sipp_call caller-auth callee-auth
finish_capture "$(dirname "$0")/capture.pcap"
