# Sourced after net.sh: `earwitness run` on one of its hosts, and questions to it. Needs the Debian packages curl and jq.
# EARWITNESS is the program, by default target/release/earwitness; BEFORE is a command that starts it (nice -n -10).
#
# Gives: appliance HOST LINE…, stop_appliance, count NAME, api METHOD PATH [BODY], recordings, pitch FILE CHANNEL FROM SECONDS, is_near A B BY

EARWITNESS=$(realpath "${EARWITNESS:-$PEERS/../../../target/release/earwitness}")
TOKEN=0123456789abcdef0123456789abcdef
for tool in curl jq; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done

# appliance HOST LINE…: starts it with these lines of configuration, and waits until it is well; its process is $APPLIANCE.
appliance() {
    RECORDER=$1
    shift
    (umask 077 && echo "$TOKEN" >"$WORK/token")
    {
        for line in "$@"; do echo "$line"; done
        printf '[web]\nlisten = "127.0.0.1:8480"\n[metrics]\nlisten = "127.0.0.1:9480"\n'
        printf '[[api.token]]\nname = "peers"\nfile = "%s/token"\nrights = ["status", "requests", "events"]\n' "$WORK"
    } >"$WORK/appliance.toml"
    start_appliance
}

# start_appliance: once more, with the same configuration and archive.
start_appliance() {
    # shellcheck disable=SC2086 # a command with its options
    ip netns exec "$RECORDER-$RUN" ${BEFORE:-} "$EARWITNESS" run -c "$WORK/appliance.toml" -a "$WORK/archive" >>"$WORK/appliance.log" 2>&1 &
    APPLIANCE=$!
    n=0
    until on "$RECORDER" curl -sf -o /dev/null http://127.0.0.1:9480/healthz; do
        n=$((n + 1))
        if [ "$n" -gt 200 ] || ! kill -0 "$APPLIANCE" 2>/dev/null; then
            cat "$WORK/appliance.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

stop_appliance() {
    kill "-${STOP:-TERM}" "$APPLIANCE"
    wait "$APPLIANCE" || true
}

# count NAME: a number of /metrics, its name without earwitness_record_a_call_.
count() { on "$RECORDER" curl -s http://127.0.0.1:9480/metrics | awk -v name="earwitness_record_a_call_$1" '$1 == name {print $2}'; }

# api METHOD PATH [BODY]
api() { on "$RECORDER" curl -s -X "$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' ${3:+-d "$3"} "http://127.0.0.1:8480/api/v1$2"; }

# until_count NAME VALUE SECONDS: waits for it.
until_count() {
    n=0
    until [ "$(count "$1")" = "$2" ]; do
        n=$((n + 1))
        [ "$n" -lt $((10 * $3)) ] || { echo "$1 is $(count "$1"), not $2" >&2; return 1; }
        sleep 0.1
    done
}

# recordings: their lines of JSON, in the order of time.
recordings() { "$EARWITNESS" archive list -a "$WORK/archive" --json | jq -cs 'sort_by(.started_at // .id)[]'; }

# pitch FILE CHANNEL FROM SECONDS: the pitch of a sine, in hertz. sox takes it from the slope between samples, as if the sine were a chord.
pitch() {
    rate=$(soxi -r "$1")
    sox "$1" -n remix "$2" trim "$3" "$4" stat 2>&1 | awk -v rate="$rate" '/Rough/ {
        s = $3 * 3.14159265 / rate; if (s >= 1) s = 0.999999; print int(atan2(s, sqrt(1 - s * s)) * rate / 3.14159265 + 0.5)
    }'
}

# level FILE CHANNEL FROM SECONDS: the RMS of a stretch, between 0 and 1.
level() { sox "$1" -n remix "$2" trim "$3" "$4" stat 2>&1 | awk '/RMS.*amplitude/ {print $3}'; }

# is_near A B BY: do two numbers differ by no more?
is_near() { case ${1:-} in *nan*) return 1 ;; esac; awk -v a="${1:-0}" -v b="$2" -v by="$3" 'BEGIN { exit !(a - b <= by && b - a <= by) }'; }
