#!/bin/sh
# The tamper kit by hand: twelve things that somebody with the disk may do to an archive, with the system's tools alone (cp, dd, mv, sed, python3), each
# on a copy. `archive verify` must find and name it, held against a checkpoint and the public key that were kept elsewhere.
#
#   EARWITNESS=target/release/earwitness xtask/scripts/tamper.sh
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
EARWITNESS=$(realpath "${EARWITNESS:-$ROOT/target/release/earwitness}")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
run() { "$EARWITNESS" "$@" >/dev/null 2>&1; }
# Recordings, the newest first.
ids() { "$EARWITNESS" archive list -a "$1" --json | sed -n 's/^{"id":"\([0-9A-Z]*\)".*/\1/p'; }
for capture in digits sipp-hold; do run record -r "$ROOT/pcaps/$capture/capture.pcap" -a archive; done
cp -r archive yesterday
run record -r "$ROOT/pcaps/baresip-alaw/capture.pcap" -a archive
run record -r "$ROOT/pcaps/one-way/capture.pcap" -a archive
set -- $(ids archive)
FIRST=$1 SECOND=$2 THIRD=$3 LAST=$4
run archive tag "$FIRST" --tag complaint -a archive
run archive delete "$LAST" --why 'asked for' --keep-facts --yes -a archive
"$EARWITNESS" archive checkpoint -a archive -o checkpoint >/dev/null
cp archive/keys/public.json public.json
file() { find "$1/recordings" -name "$2.wav"; }
ledger() { find "$1/ledger" -name "$2*" | sort | tail -1; }
failed=0
n=0
# try NAME WHAT: the copy `forged` was tampered with; something that reads like WHAT is found.
try() {
    n=$((n + 1))
    code=0
    "$EARWITNESS" archive verify -a forged --checkpoint checkpoint --public-key public.json >found 2>&1 || code=$?
    lists=no
    if "$EARWITNESS" archive list -a forged --json >/dev/null 2>&1; then lists=yes; fi
    if [ "$code" != 0 ] && grep -Eiq "$2" found; then
        echo "$n. $1: found, exit code $code, lists: $lists: $(grep -Ei "$2" found | head -1 | cut -c1-150)"
    else
        echo "$n. $1: NOT FOUND, exit code $code"
        cat found
        failed=1
    fi
}
fresh() { rm -rf forged; cp -r "${1:-archive}" forged; }

fresh; printf 'X' | dd of="$(file forged "$FIRST")" bs=1 seek=20000 conv=notrunc status=none; try 'a byte of audio changed' "$FIRST"
fresh; truncate -s -1000 "$(file forged "$FIRST")"; try 'a file cut' "$FIRST"
fresh; a=$(file forged "$FIRST"); b=$(file forged "$SECOND"); mv "$a" c; mv "$b" "$a"; mv c "$b"; try 'two files swapped' "$FIRST|$SECOND"
fresh; rm "$(file forged "$SECOND")"; try 'a file deleted' "$SECOND"
fresh; cp "$(file forged "$FIRST")" "$(dirname "$(file forged "$FIRST")")/01M8K013QTVE7WS40FJW83SG4H.wav"; try 'a file put in' '01M8K013QTVE7WS40FJW83SG4H'
fresh; LC_ALL=C sed -i 's/"extension":"2/"extension":"9/' "$(file forged "$THIRD")"; cmp -s "$(file archive "$THIRD")" "$(file forged "$THIRD")" && LC_ALL=C sed -i 's/PCM/PCX/' "$(file forged "$THIRD")"; try 'metadata replaced' "$THIRD"
fresh yesterday; try 'the whole disk put back to yesterday' 'checkpoint|taken back|older'
fresh; sed -i '1d' "$(ledger forged recordings-)"; try 'a line of the journal of recordings taken out' 'ledger|leaves|recordings-'
fresh; rm -rf forged/index; mkdir forged/index; head -c 100000 /dev/urandom >forged/index/db; rm "$(file forged "$FIRST")"; try 'the index edited, and a file with it' "$FIRST"
fresh; run record -r "$ROOT/pcaps/digits/capture.pcap" -a other; cp other/keys/* forged/keys/ 2>/dev/null || true; try 'keys swapped' 'key|signed|public'
fresh; sed -i 's/"tag":"complaint"/"tag":"compliant"/' "$(ledger forged events-)"; try 'a tag changed behind the back' 'events-|ledger'
fresh; python3 - "$FIRST" "$(grep -l '"fate":"deleted"' forged/ledger/recordings-*)" <<'EOF'
import sys, json
id, path = sys.argv[1:]
lines = open(path).read().splitlines()
gone = next(json.loads(line) for line in lines if '"fate":"deleted"' in line)
gone["id"] = id
open(path, "a").write(json.dumps(gone, separators=(",", ":")) + "\n")
EOF
rm "$(file forged "$FIRST")"; try 'a deletion forged' "$FIRST|ledger|recordings-"
exit "$failed"
