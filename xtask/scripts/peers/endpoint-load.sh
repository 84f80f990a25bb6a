#!/bin/sh
# The Record-A-Call endpoint under load of SIPp: is each call answered and recorded, and does what it takes of the machine come back?
# Optional: needs root, sip-tester, curl, jq; see net.sh and appliance.sh. It prints a line every minute (EVERY seconds).
#
#   xtask/scripts/peers/endpoint-load.sh calls [RATE [SECONDS [TALK_MS]]]    calls with audio, from two addresses; default 20 600 3000
#   xtask/scripts/peers/endpoint-load.sh options [RATE [SECONDS]]            OPTIONS; default 1 3600
#   AHEAD is a command that starts SIPp (chrt -r 1), BEFORE one that starts earwitness; EXTRA_LINES go into the configuration, CHANNELS are calls at once of each of the two addresses (50).
PEERS=$(dirname "$0")
WHAT=${1:-calls} RATE=${2:-20} SECONDS_MAX=${3:-600} TALK_MS=${4:-3000}
. "$PEERS/net.sh"
. "$PEERS/scenario.sh"
. "$PEERS/appliance.sh"
host recorder 192.0.2.2
host pbx 192.0.2.21 192.0.2.22
# As many calls as talk at once, and those of three more seconds: a port comes back when its call is over.
PAIRS=$((RATE * (TALK_MS + 3000) / 1000 + 20))
[ "$PAIRS" -ge 60 ] || PAIRS=60
appliance recorder '[record_a_call]' 'listen = "0.0.0.0:5060"' 'from = ["192.0.2.21", "192.0.2.22"]' "channels = ${CHANNELS:-50}" \
    "rtp_ports = \"12000-$((12000 + 2 * PAIRS))\"" ${EXTRA_LINES:+"$EXTRA_LINES"}

# What it takes: resident memory in kB, of it anonymous, open files, threads.
usage() {
    awk '/^VmRSS/ {rss = $2} /^RssAnon/ {anon = $2} /^Threads/ {threads = $2} END {printf "rss_kb=%d anon_kb=%d threads=%d", rss, anon, threads}' "/proc/$APPLIANCE/status"
    printf ' files=%d' "$(find "/proc/$APPLIANCE/fd" -mindepth 1 | wc -l)"
}
line() {
    printf '%s t=%ds %s running=%s free_pairs=%s answered=%s refused=%s dropped=%s\n' "$(date +%T)" "$(($(date +%s) - BEGUN))" "$(usage)" \
        "$(count running)" "$(count free_port_pairs)" "$(count 'invites_total{answer="answered"}')" \
        "$(($(count 'invites_total{answer="busy"}') + $(count 'invites_total{answer="overloaded"}') + $(count 'invites_total{answer="refused"}')))" \
        "$(on recorder curl -s http://127.0.0.1:9480/metrics | awk '/^earwitness_.*dropped/ && $NF != 0 {printf "%s,", substr($0, 12)} END {print "."}')"
}
# sends ADDRESS NAME RATE CALLS
sends() {
    # shellcheck disable=SC2086 # a command with its options
    (cd "$WORK" && on pbx ${AHEAD:-} sipp -sf "$2.xml" -i "$1" -mi "$1" -p 5060 -mp "$4" -m "$3" -r "$5" -l 400 -nostdin -s 5999 -key number 2001 -key name Desk \
        -trace_err -trace_stat -stf "$2-$1.csv" 192.0.2.2:5060 >/dev/null 2>"$2-$1.log")
}
# total FILE COLUMN: the last value of a column of SIPp's statistics.
total() { awk -F';' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) at = i} {last = $at} END {print last + 0}' "$1"; }

tone talk 2 440
BEGUN=$(date +%s)
line
case $WHAT in
    calls)
        scenario near talks
        FORMATS=8 MAPS=$PCMA
        say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play talk.alaw 8 PCMA/8000; pause "$TALK_MS"; say BYE 2; await 200; done_scenario
        each=$((RATE * SECONDS_MAX / 2)) half=$((RATE / 2))
        sends 192.0.2.21 talks "$each" 20000 "$half" & first=$!
        sends 192.0.2.22 talks "$each" 30000 "$half" & second=$!
        running="$first $second"
        ;;
    options)
        scenario near asks
        say OPTIONS 1; await 200; done_scenario
        sends 192.0.2.21 asks "$((RATE * SECONDS_MAX))" 20000 "$RATE" & running=$!
        ;;
    *) echo "$0: calls or options, not $WHAT" >&2; exit 2 ;;
esac
while :; do
    alive=
    # shellcheck disable=SC2086 # a list of processes
    for pid in $running; do if kill -0 "$pid" 2>/dev/null; then alive=yes; fi; done
    [ -n "$alive" ] || break
    sleep 1
    [ $((($(date +%s) - BEGUN) % ${EVERY:-60})) != 0 ] || line
done
failed=0
for csv in "$WORK"/*.csv; do
    echo "${csv##*/}: successful $(total "$csv" 'SuccessfulCall(C)') failed $(total "$csv" 'FailedCall(C)') retransmissions $(total "$csv" 'Retransmissions(C)') peak $(total "$csv" 'CurrentCall')"
    failed=$((failed + $(total "$csv" 'FailedCall(C)')))
done
until_count running 0 60
# Transactions are forgotten 32 s after they were answered.
sleep "${AFTER:-40}"
line
stop_appliance
if [ "$WHAT" = calls ]; then
    "$EARWITNESS" archive list -a "$WORK/archive" --json >"$WORK/list.json" --limit "${LIST:-1000000}" 2>/dev/null || "$EARWITNESS" archive list -a "$WORK/archive" --json >"$WORK/list.json"
    jq -s --argjson talk "$TALK_MS" '{recordings: length, complete: map(select(.state == "complete")) | length, shortest_ms: map(.duration_ms) | min, longest_ms: map(.duration_ms) | max,
        lost: map(.tracks[0].lost_network) | add, lost_here: map(.tracks[0].lost_here // 0) | add}' "$WORK/list.json"
fi
[ "$failed" = 0 ]
