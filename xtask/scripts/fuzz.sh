#!/bin/sh
# Runs each fuzz target for FUZZ_SECONDS, seeded with the captures of pcaps/ where a target reads captures, and with what the documentation shows.
set -eu
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
if ! cargo fuzz --version >/dev/null 2>&1 || ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'Fuzzing needs cargo-fuzz and a nightly toolchain:' >&2
    echo '  cargo install --locked cargo-fuzz && rustup toolchain install nightly' >&2
    exit 1
fi
for target in $(cargo +nightly fuzz list); do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    case $target in
        capture_file | tracker)
            for capture in pcaps/*/capture.pcap; do
                # Small seeds keep the fuzzer fast: the first 16 KiB hold the signalling.
                head -c 16384 "$capture" >"$corpus/seed-$(basename "$(dirname "$capture")")"
            done
            ;;
        frame | hep)
            # Calls through every encapsulation.
            cargo xtask fuzz-seeds "$target" "$corpus"
            ;;
        feed)
            cp docs/feed.md "$corpus/seed"
            ;;
        smdr)
            printf '%s\r\n' '2026-11-20 09:30:00 |IN | 0000000000000000000042 0000801 0002001 0002000 000441632960001 |Ann Bee     | 000001632960500 |Sales       | 000000004711 |TRANSFERRED |' >"$corpus/seed"
            ;;
        stream)
            cp decode/src/stream/tls/vectors/*.txt "$corpus"
            cargo xtask fuzz-seeds "$target" "$corpus"
            ;;
    esac
    echo "== $target, $seconds s"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1
done
