#!/bin/sh
# The calls of `make demo`: see README.md. Needs the Debian packages espeak-ng and sox.
set -eu
cd "$(dirname "$0")"
for tool in espeak-ng sox soxi; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing (espeak-ng sox)" >&2; exit 1; }
done
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# Two tracks of one length grow turn by turn: while one party speaks, the other is silent.
begin() { rm -f "$WORK"/near-* "$WORK"/far-*; turn=100; }
turn() { # WHO WAV: WHO plays WAV, the other one is silent as long, and a third of a second passes
    case $1 in near) other=far ;; *) other=near ;; esac
    sox "$2" "$WORK/$1-$turn.wav" pad 0 0.33
    sox -n -r 8000 -c 1 -b 16 "$WORK/$other-$turn.wav" trim 0 "$(soxi -D "$WORK/$1-$turn.wav")"
    turn=$((turn + 1))
}
say() { # WHO VOICE TEXT
    espeak-ng -v "$2" -s 165 -w "$WORK/raw.wav" "$3"
    sox "$WORK/raw.wav" -r 8000 -c 1 -b 16 "$WORK/line.wav" sinc 200-3400 norm -6 silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse
    turn "$1" "$WORK/line.wav"
}
tune() { # WHO NOTE…: plucked strings, a third of a second each
    who=$1
    shift
    rm -f "$WORK"/note-*
    n=100
    for note in "$@"; do
        sox -n -r 8000 -c 1 -b 16 "$WORK/note-$n.wav" synth 0.34 pluck "$note" fade 0 0.34 0.05 vol 0.6
        n=$((n + 1))
    done
    sox "$WORK"/note-*.wav "$WORK/line.wav"
    turn "$who" "$WORK/line.wav"
}
call() { # NAME OPTION…
    name=$1
    shift
    sox "$WORK"/near-*.wav "$WORK/near.wav"
    sox "$WORK"/far-*.wav "$WORK/far.wav"
    ms=$(soxi -D "$WORK/near.wav" | awk '{ printf "%d", $1 * 1000 }')
    cargo xtask pcap --out "$name.pcap" --ramp 0 --talk "$ms" --near-wav "$WORK/near.wav" --far-wav "$WORK/far.wav" "$@"
}

# The first two calls overlap, as in an office: 2026-03-02 from 09:00:00 UTC.
begin
say near en-gb+f3 "Good morning, Alder and Finch bindery, Tess speaking. How can I help?"
say far en-gb-x-rp+m3 "Hello. I sent you an atlas to repair. Order one four seven."
say near en-gb+f3 "Order one four seven. The new spine is dry, and it ships on Thursday."
say far en-gb-x-rp+m3 "Wonderful. Thank you, goodbye."
call 01-inbound --seed 1 --first-line 41 --epoch 1772442000 --ring 3000 --direction inbound \
    --extension '2041=Tess, Front Desk' --remote '01632960101=Harold Moss' --codec pcma

begin
say near en-gb-scotland+m1 "Hi, this is Callum at Alder and Finch. You asked about marbled paper."
say far en-us+f4 "Yes! We can send twelve sheets in blue, or nine in green."
say near en-gb-scotland+m1 "Twelve in blue, please."
say far en-us+f4 "Done. You will have them on Friday."
call 02-outbound --seed 2 --first-line 52 --epoch 1772442006 --ring 2200 --direction outbound \
    --extension '2052=Callum, Purchasing' --remote '02079460123=Brightwater Papers'

begin
say near en-gb+f3 "Ben, can you play me the new music on hold?"
tune far E4 G4 C5 B4 A4 G4 E4 D4 C4 E4 G4 C5 D5 C5 G4 E4 C4
say near en-gb+f3 "Lovely. Keep it."
call 03-internal --seed 3 --first-line 41 --epoch 1772442027 --ring 1500 --direction internal \
    --extension '2041=Tess, Front Desk' --remote '2063=Ben, Workshop' --jitter 8

begin
say near en-gb+f3 "-"
call 04-not-answered --seed 4 --first-line 52 --epoch 1772442031 --ring 6000 --direction inbound --ending cancelled \
    --extension '2052=Callum, Purchasing' --remote '01632960177=Private Caller'

begin
say near en-gb-scotland+m1 "Callum again. May I put you on hold for a moment?"
say far en-us+f4 "Of course."
# The hold lies between 40 and 60 % of the talk: both are silent there.
sox -n -r 8000 -c 1 -b 16 "$WORK/line.wav" trim 0 3
turn near "$WORK/line.wav"
say near en-gb-scotland+m1 "Thanks for waiting. Make it fourteen sheets, and two of the gold."
call 05-outbound-hold --seed 5 --first-line 52 --epoch 1772442040 --ring 1800 --direction outbound --hold \
    --extension '2052=Callum, Purchasing' --remote '02079460123=Brightwater Papers' --loss 0.5
ls -l ./*.pcap
