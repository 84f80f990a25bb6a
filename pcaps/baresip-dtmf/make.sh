#!/bin/sh
# baresip keys digits as telephone events: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
baresip_host near "$A4" 2003 "Meeting Room" 460 PCMU/8000/1 manual
baresip_host far "$B4" 01632960150 "R. Fielding" 640 PCMU/8000/1 auto
start_capture
baresip_call 7 "01632960150@$B4" 73#
finish_capture "$(dirname "$0")/capture.pcap"
