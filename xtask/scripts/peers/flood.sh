#!/bin/sh
# Does a flood of SIP from one address delay another peer of the Record-A-Call endpoint? OPTIONS of a peer are timed in peace, while a stranger
# sends as much as it can, and while another listed peer does. Needs root, python3, and the packages of net.sh and appliance.sh.
#
#   xtask/scripts/peers/flood.sh [SECONDS]
PEERS=$(dirname "$0")
SECONDS_MAX=${1:-10}
. "$PEERS/net.sh"
. "$PEERS/appliance.sh"
host recorder 192.0.2.2
host pbx 192.0.2.21
host stranger 192.0.2.66
host other 192.0.2.22
appliance recorder '[record_a_call]' 'listen = "0.0.0.0:5060"' 'from = ["192.0.2.21", "192.0.2.22"]'

cat >"$WORK/flood.py" <<'EOF'
import socket, sys, time
own, until, sent = sys.argv[1], time.time() + float(sys.argv[2]), 0
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("192.0.2.2", 5060))
texts = [(f"OPTIONS sip:192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{n}\r\nFrom: <sip:{own}>;tag=1\r\nTo: <sip:192.0.2.2>\r\n"
          f"Call-ID: {n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n").encode() for n in range(1000)]
while time.time() < until:
    for text in texts:
        try:
            sock.send(text)
            sent += 1
        except OSError:
            pass
print(f"sent {sent}, {sent / float(sys.argv[2]):.0f} a second")
EOF
cat >"$WORK/time.py" <<'EOF'
import socket, sys, time
own, count, times, lost = "192.0.2.21", int(sys.argv[1]), [], 0
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((own, 5070)); sock.settimeout(0.5)
for n in range(count):
    call = f"{sys.argv[2]}-{n}"
    begun = time.perf_counter()
    sock.sendto((f"OPTIONS sip:192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP {own}:5070;branch=z9hG4bK{call};rport\r\nFrom: <sip:{own}>;tag=1\r\n"
                 f"To: <sip:192.0.2.2>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n").encode(), ("192.0.2.2", 5060))
    try:
        while call.encode() not in sock.recv(4096):
            pass
        times.append((time.perf_counter() - begun) * 1000)
    except TimeoutError:
        lost += 1
    time.sleep(0.02)
times.sort()
at = lambda part: times[min(int(len(times) * part), len(times) - 1)] if times else float("nan")
print(f"{sys.argv[2]}: {len(times)} answered, {lost} not within 500 ms; median {at(.5):.1f} ms, p99 {at(.99):.1f} ms, longest {at(1):.1f} ms")
EOF
COUNT=$((SECONDS_MAX * 30))
on pbx python3 "$WORK/time.py" "$COUNT" peace
for who in stranger:192.0.2.66 other:192.0.2.22; do
    on "${who%:*}" python3 "$WORK/flood.py" "${who#*:}" "$SECONDS_MAX" &
    flood=$!
    sleep 0.5
    on pbx python3 "$WORK/time.py" "$((COUNT / 2))" "${who%:*}"
    wait "$flood"
done
on recorder curl -s http://127.0.0.1:9480/metrics | grep -E '^earwitness_(record_a_call_.*(stranger|flood|dropped|limited)|.*refused)' | grep -v ' 0$' || true
stop_appliance
