#!/bin/sh
# Records the calls of pcaps/demo into a new archive under ./demo, looks at what came of it, and opens the pages on an office that
# telephones. Run by `make demo`; with DEMO=once it ends before the pages.
set -eu
cd "$(dirname "$0")/../.."
bin=${CARGO_TARGET_DIR:-target}/release/earwitness
[ -x "$bin" ] || { echo "$bin is missing: make build" >&2; exit 1; }

archive=demo/archive
rm -rf "$archive" demo/inbound.wav
mkdir -p demo
say() { printf '\n$ earwitness %s\n' "$*"; }
run() {
    say "$@"
    "$bin" "$@"
}

run record -r pcaps/demo/*.pcap -a "$archive"
run archive list -a "$archive"
run calls --summary -a "$archive"
run archive verify -a "$archive"

id=$("$bin" archive list -a "$archive" --direction inbound --limit 1 --json |
    grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
[ -n "$id" ] || { echo 'No recording to export: the archive has no inbound call.' >&2; exit 1; }
run archive export "$id" -a "$archive" -o demo/inbound.wav
printf '\nListen to %s (left: the extension, right: the caller).\n' "$PWD/demo/inbound.wav"
if [ "${DEMO:-}" = once ]; then
    printf 'To look around in a browser: %s demo\n' "$bin"
    exit 0
fi
say demo
exec "$bin" demo
