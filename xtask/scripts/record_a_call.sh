#!/bin/bash
# Calls of one second at a running Record-A-Call endpoint, so many a second, and OPTIONS beside them; then what is left of them.
# The endpoint must know this machine (from), and have channels and ports for twice RATE.
# Needs the Debian packages sip-tester, curl.
set -euo pipefail

usage() { echo "usage: $0 SIP=ADDRESS:PORT METRICS=ADDRESS:PORT [RATE=20] [SECONDS=600]" >&2; exit 64; }
RATE=20 SECONDS_LONG=600
for word in "$@"; do
    case $word in
        SIP=*) SIP=${word#*=} ;; METRICS=*) METRICS=${word#*=} ;; RATE=*) RATE=${word#*=} ;; SECONDS=*) SECONDS_LONG=${word#*=} ;;
        *) usage ;;
    esac
done
[ -n "${SIP:-}" ] && [ -n "${METRICS:-}" ] || usage
for tool in sipp curl; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing (sip-tester curl)" >&2; exit 1; }
done
scenarios=$(cd "$(dirname "$0")/sipp" && pwd)
figures() {
    curl -fs "http://$METRICS/metrics" |
        grep -E '^earwitness_(record_a_call|calls_running|process_resident|process_open)[^ ]* ' || true
}
echo "before:"; figures
sipp "$SIP" -sf "$scenarios/options.xml" -r 1 -m "$SECONDS_LONG" -nostdin >/dev/null 2>&1 &
options=$!
code=0
sipp "$SIP" -sf "$scenarios/record-a-call.xml" -r "$RATE" -m $((RATE * SECONDS_LONG)) -l $((2 * RATE)) -nostdin >/dev/null 2>&1 || code=$?
echo "calls: SIPp ended with $code"
code=0
wait "$options" || code=$?
echo "OPTIONS: SIPp ended with $code"
# Transactions are remembered for 32 s.
sleep 35
echo "after:"; figures
