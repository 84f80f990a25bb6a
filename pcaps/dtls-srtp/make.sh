#!/bin/sh
# baresip calls baresip, DTLS-SRTP: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
baresip_host near "$A4" 2003 "Meeting Room" 440 PCMA/8000/1 manual
baresip_host far "$B4" 01632960150 "R. Fielding" 620 PCMA/8000/1 auto
secure_host near dtls_srtp.so dtls_srtp
secure_host far dtls_srtp.so dtls_srtp
start_capture
baresip_call 4 "01632960150@$B4"
finish_capture "$(dirname "$0")/capture.pcap"
