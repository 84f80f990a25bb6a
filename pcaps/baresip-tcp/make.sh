#!/bin/sh
# baresip calls baresip over TCP: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
TRANSPORT=';transport=tcp'
baresip_host near "$A4" 2003 "Meeting Room" 450 PCMU/8000/1 manual
baresip_host far "$B4" 01632960150 "R. Fielding" 630 PCMU/8000/1 auto
start_capture
baresip_call 7 "01632960150@$B4"
finish_capture "$(dirname "$0")/capture.pcap"
