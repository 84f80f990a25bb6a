#!/bin/sh
# Makes an archive of the program that is here, for the folder of its format: what every version after it must open.
#
#   EARWITNESS=target/debug/earwitness tests/archives/make.sh tests/archives/v3
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
OUT=$1
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
"${EARWITNESS:=$ROOT/target/debug/earwitness}" --version >/dev/null
export EARWITNESS_ARCHIVE="$WORK/archive"
run() { "$EARWITNESS" "$@" >/dev/null; }
newest() { "$EARWITNESS" archive list --json | sed -n 's/.*"id":"\([0-9A-Z]*\)".*/\1/p' | head -1; }

printf '[cold]\nafter = "1d"\nextension = "%s"\n' "${COLD:-%}" >"$WORK/cold.toml"
# One that is re-encoded.
run record -r "$ROOT/pcaps/sipp-hold/capture.pcap"
run archive recode -c "$WORK/cold.toml" --yes
# One that keeps the facts alone.
run record -r "$ROOT/pcaps/one-way/capture.pcap"
gone=$("$EARWITNESS" archive list --json | grep -v '"recoded":{' | sed -n 's/.*"id":"\([0-9A-Z]*\)".*/\1/p' | head -1)
run archive delete "$gone" --why 'asked for' --keep-facts --yes
# And one with all that people add.
run record -r "$ROOT/pcaps/digits/capture.pcap"
kept=$("$EARWITNESS" archive list --json | grep -v '"recoded":{' | grep -v "$gone" | sed -n 's/.*"id":"\([0-9A-Z]*\)".*/\1/p' | head -1)
run archive tag "$kept" --tag complaint
run archive tag "$kept" --field 2 AB-1271
run archive rate "$kept" 4
run archive note "$kept" --text 'asks for the contract' --at 1
run archive hold "$kept" --name 'case 26-114' --why 'letter of 3 March'
run device add '2000-2099' --name Office --why 'the first entry'
echo 'kupfer lampe neun seil' >"$WORK/password"
run user add ann --role Administrator --password-file "$WORK/password"
run archive checkpoint
run archive verify
rm -rf "$OUT"
cp -r "$WORK/archive" "$OUT"
rm -rf "$OUT/index" "$OUT/journal" "$OUT/lock"
"$EARWITNESS" archive list --json | grep -v "$gone" | sed -n 's/.*"id":"\([0-9A-Z]*\)".*/\1/p' | while read -r id; do
    "$EARWITNESS" archive export "$id" -o "$WORK/$id.wav" >/dev/null
    (cd "$WORK" && sha256sum "$id.wav")
done
