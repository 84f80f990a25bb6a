#!/usr/bin/env python3
"""Is the audio of two WAV files the same? same_audio.py ONE.wav OTHER.wav, PyPI package numpy; the first channel of each.

Two recorders that stamp the same packets by two clocks place a run of a media clock some microseconds apart, and then samples lie some places apart,
however equal the audio is; and each run (a new one begins with another codec) at its own distance. So each window of 200 ms is looked for in
the other file, up to 10 ms to either side, and a window with the border of two runs may have its beginning at the distance of the window before and its
end at that of the next. Says in how many windows every sample is the same, at which distances, and where not; ends with 1 when there are such.
"""
import collections
import sys
import wave

import numpy as np


def load(path):
    with wave.open(path) as file:
        channels = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return file.getframerate(), channels[:, 0].astype(np.int32)


rate, one = load(sys.argv[1])
other_rate, other = load(sys.argv[2])
if rate != other_rate:
    sys.exit(f"{rate} and {other_rate} samples a second")
window, reach = rate // 5, rate // 100
count = min(len(one), len(other)) // window
# What lies outside of the other file is anybody's equal: up to 10 ms of the first and the last window.
OUTSIDE = 1 << 20
other = np.concatenate([np.full(reach, OUTSIDE), other, np.full(reach, OUTSIDE)])


def equal(nth, distance):
    begin = nth * window
    there = other[reach + begin + distance : reach + begin + distance + window]
    return (one[begin : begin + window] == there) | (there == OUTSIDE)


found = []
for nth in range(count):
    near = [found[-1]] if found and found[-1] is not None else []
    order = near + [0] + [sign * n for n in range(1, reach + 1) for sign in (1, -1)]
    found.append(next((distance for distance in order if equal(nth, distance).all()), None))

wrong, borders = [], []
for nth, distance in enumerate(found):
    if distance is not None:
        continue
    before = next((d for d in reversed(found[:nth]) if d is not None), 0)
    after = next((d for d in found[nth + 1 :] if d is not None), before)
    head, tail = equal(nth, before), equal(nth, after)
    same = (window if head.all() else int(np.argmin(head))) + (window if tail.all() else int(np.argmin(tail[::-1])))
    # At the border so many samples are left out, or put in.
    (borders if same >= window - abs(before - after) else wrong).append(nth * 0.2)
shown = ", ".join(f"{n} at {1e6 * d / rate:+.0f} µs" for d, n in collections.Counter(d for d in found if d is not None).most_common())
at = f"; {len(borders)} more with the border of two runs, at " + ", ".join(f"{at:.1f} s" for at in borders) if borders else ""
print(f"{count - len(wrong) - len(borders)} of {count} windows the same ({shown}){at}")
if wrong:
    sys.exit("not the same: the windows at " + ", ".join(f"{at:.1f} s" for at in wrong))
