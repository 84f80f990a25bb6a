#!/bin/sh
# A small office for a minute, recorded live: 20 telephones call 20 more three times each (SIPp with media) through Kamailio, while
# `earwitness record -i` listens at the switch. Then: does the balance sheet add up, is every call there, and does each
# recording hold its two tones for as long as the call lasted? Optional: needs root, kamailio, sip-tester, sox, jq; see net.sh.
#
#   [RELAY=yes] xtask/scripts/peers/office.sh [PHONES [ROUNDS]]     EARWITNESS: the program, default target/release/earwitness
PEERS=$(dirname "$0")
PHONES=${1:-20} ROUNDS=${2:-3} TALK_MS=15000
CALLS=$((PHONES * ROUNDS))
EARWITNESS=$(realpath "${EARWITNESS:-$PEERS/../../../target/release/earwitness}")
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
command -v jq >/dev/null || { echo "$0: jq is missing" >&2; exit 1; }
host proxy 192.0.2.5
# One host holds the addresses of all callers, another those of all called.
NEAR_HOSTS='' FAR_HOSTS=''
for n in $(seq 1 "$PHONES"); do
    NEAR_HOSTS="$NEAR_HOSTS 192.0.2.$((20 + n))"
    FAR_HOSTS="$FAR_HOSTS 192.0.2.$((60 + n))"
done
# shellcheck disable=SC2086 # lists of addresses
host near $NEAR_HOSTS && host far $FAR_HOSTS
# RELAY=yes: all media goes through rtpengine, and the mirrored port is the proxy's: each packet is seen twice.
if [ -n "${RELAY:-}" ]; then
    proxy proxy 192.0.2.5 WITH_RELAY
    on proxy rtpengine --foreground --table=-1 --interface=192.0.2.5 --listen-ng=127.0.0.1:2223 --port-min=30000 --port-max=34000 \
        --log-stderr --log-level=4 --pidfile="$WORK/rtpengine.pid" --delete-delay=0 >"$WORK/rtpengine.log" 2>&1 &
    sleep 1
else
    proxy proxy 192.0.2.5
fi

# register HOST ADDRESS NUMBER
scenario near register
cat >>"$SCENARIO" <<'XML'
<send retrans="500"><![CDATA[
REGISTER sip:192.0.2.5 SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[number]@192.0.2.5>;tag=[call_number]
To: <sip:[number]@192.0.2.5>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:[number]@[local_ip]:[local_port]>
Expires: 600
Max-Forwards: 70
Content-Length: 0

]]></send><recv response="200"/></scenario>
XML
register() { (cd "$WORK" && on "$1" sipp -sf register.xml -i "$2" -p 5060 -m 1 -key number "$3" -nostdin 192.0.2.5:5060 >/dev/null 2>&1); }

if [ -n "${RELAY:-}" ]; then mirrored=proxy-$RUN port=eth0; else mirrored=switch-$RUN port=br0; fi
ip netns exec "$mirrored" "$EARWITNESS" record -i "$port" -a "$WORK/archive" >"$WORK/record.txt" 2>&1 &
recorder=$!
sleep 2
ROUTED=yes
for n in $(seq 1 "$PHONES"); do
    # Each telephone has a tone of its own: what two calls mixed up would sound like is nobody's.
    tone "near$n" 6 "$((300 + 20 * n))"
    tone "far$n" 6 "$((1000 + 20 * n))"
    register near "192.0.2.$((20 + n))" "20$((10 + n))"
    register far "192.0.2.$((60 + n))" "21$((10 + n))"
    scenario near "caller$n"
    say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play "near$n.ulaw"; pause "$TALK_MS"; hush; say BYE 2; await 200; done_scenario
    sed -i 's/sip:\[service\]@\[remote_ip\]:\[remote_port\]/sip:[service]@192.0.2.5/; s/sip:\[number\]@\[local_ip\]>;tag/sip:[number]@192.0.2.5>;tag/' "$SCENARIO"
    scenario far "callee$n"
    hear INVITE; reply 180 Ringing; pause 500; reply 200 OK "$(sdp)"; hear ACK; play "far$n.ulaw"; hear BYE; hush; reply 200 OK; done_scenario
done
running=''
for n in $(seq 1 "$PHONES"); do
    sipp_far far "callee$n" "192.0.2.$((60 + n))" -m "$ROUNDS" &
    running="$running $!"
done
sleep 2
for n in $(seq 1 "$PHONES"); do
    FROM=20$((10 + n)) CALLER="Desk $n" sipp_near near "caller$n" "192.0.2.$((20 + n))" "21$((10 + n))@192.0.2.5" -m "$ROUNDS" -l 1 -r 1 &
    running="$running $!"
    sleep 0.2
done
for pid in $running; do wait "$pid" || { echo "a telephone failed" >&2; exit 1; }; done
sleep 2
kill -INT "$recorder"
wait "$recorder" || true
sed -n '/Balance sheet/,$p' "$WORK/record.txt"

# Number, length and the two pitches of each recording. The near party may be the caller or the called.
wrong=0 count=0
"$EARWITNESS" archive list -a "$WORK/archive" --json >"$WORK/list.json"
for id in $(jq -r .id "$WORK/list.json"); do
    "$EARWITNESS" archive export -a "$WORK/archive" "$id" -o "$WORK/one.wav" 2>/dev/null
    number=$(jq -r "select(.id == \"$id\") | .extension" "$WORK/list.json")
    pitch() { sox "$WORK/one.wav" -n remix "$1" trim 1 5 stat 2>&1 | awk '/Rough/ {print $3}'; }
    count=$((count + 1))
    echo "$number $(soxi -D "$WORK/one.wav") $(pitch 1) $(pitch 2)" | awk -v talk="$((TALK_MS / 1000))" '
        # sox takes the pitch from the slope between samples, as if the sine were a chord: 8000/pi * sin(pi * f / 8000).
        function is(x, hertz) { s = x * 3.14159265 / 8000; f = atan2(s, sqrt(1 - s * s)) * 8000 / 3.14159265; return f > hertz - 8 && f < hertz + 8 }
        {
            n = $1 % 100 - 10
            caller = 300 + 20 * n; called = 1000 + 20 * n
            if ($1 >= 2100) { t = caller; caller = called; called = t }
            # SIPp on a busy machine talks somewhat longer than it was told.
            exit !($2 > talk - 0.3 && $2 < talk + 1.5 && is($3, caller) && is($4, called))
        }' || { echo "wrong: $id extension $number $(soxi -D "$WORK/one.wav") s, $(pitch 1) Hz and $(pitch 2) Hz"; wrong=$((wrong + 1)); }
done
seen=$(awk '/calls seen/ {print $3}' "$WORK/record.txt")
echo "$count recordings of $CALLS calls; calls seen $seen; $wrong wrong"
[ "$wrong" = 0 ] && [ "$seen" = "$CALLS" ] && [ "$count" -ge "$CALLS" ]
