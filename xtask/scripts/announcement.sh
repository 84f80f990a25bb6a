#!/bin/sh
# Makes an announcement for Record-A-Call from a text: announcement.sh [OUT.wav [TEXT]], 8 kHz, 16 bits, one channel. Without arguments it makes the one
# that is shipped. Speaks English; the same bytes each time with the same flite. Needs the Debian packages flite, sox.
set -eu
for tool in flite sox; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing (flite sox)" >&2; exit 1; }
done
out=${1:-$(dirname "$0")/../../packaging/announcements/recorded.wav}
text=${2:-This call is being recorded, for training and monitoring.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flite -voice slt -t "$text" -o "$work/said.wav"
# What a telephone carries, as loud as a near speaker; the way has to be open before the first word.
sox -D "$work/said.wav" -b 16 -c 1 "$work/out.wav" rate 8000 highpass 200 gain -n -6 pad 0.4 0.2
mv "$work/out.wav" "$out"
