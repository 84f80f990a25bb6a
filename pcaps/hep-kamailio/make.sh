#!/bin/sh
# SIPp calls SIPp through Kamailio, which tells a collector: see README.md. Needs kamailio and kamailio-extra-modules too.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
scenarios=$(cd "$(dirname "$WIRE")" && pwd)/sipp
ip -n "$B" addr add 192.0.2.11/24 dev eth0
tone caller.raw 4 440 u-law
tone callee.raw 4 620 u-law
in_b kamailio -f "$(dirname "$0")/kamailio.cfg" -DD -E -Y "$WORK" -P "$WORK/kamailio.pid" >"$WORK/kamailio.log" 2>&1 &
start_capture
(cd "$WORK" && in_b sipp -sf "$scenarios/callee.xml" -i 192.0.2.11 -mi 192.0.2.11 -p 5060 -m 1 -nostdin >/dev/null 2>"$WORK/callee.log") &
callee=$!
sleep 1
(cd "$WORK" && in_a sipp -sf "$scenarios/caller.xml" -i "$A4" -mi "$A4" -p 5060 -m 1 -nostdin -s 01632960142 \
    -key number 2001 -key name "Front Desk" "$B4:5060" >/dev/null 2>"$WORK/caller.log") ||
    { cat "$WORK/caller.log" "$WORK/callee.log" "$WORK/kamailio.log" >&2; exit 1; }
wait "$callee" || true
finish_capture "$WORK/all.pcap"
# The recorder sees the audio and what the proxy tells, from its own port, and no SIP.
tcpdump -r "$WORK/all.pcap" -w "$(dirname "$0")/capture.pcap" 'udp and (port 9060 or not port 5060)' 2>/dev/null
echo "$(dirname "$0")/capture.pcap: $(wc -c <"$(dirname "$0")/capture.pcap") bytes"
