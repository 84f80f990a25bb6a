#!/bin/sh
# Is anything of a call in swap? A call with a tone is recorded while the kernel is made to swap out all it can; the tone is then searched byte
# by byte, as A-law and as linear samples, in the swap, in the archive and in temporary files. Another tone, which a careless program holds at the
# same time, must be found in the swap: else nothing was shown. Needs root, a memory control group (either version), no swap in use, and the packages
# of net.sh, scenario.sh and appliance.sh.
#
# The recorder locks its memory where it may (LimitMEMLOCK of the unit). Where the machine does not let it, its control group takes part in no swap,
# as by MemorySwapMax of the unit. UNGUARDED=yes leaves that out, to see that the tone is found then.
#
#   xtask/scripts/peers/swap.sh
PEERS=$(dirname "$0")
. "$PEERS/net.sh"
. "$PEERS/scenario.sh"
. "$PEERS/appliance.sh"
[ "$(wc -l </proc/swaps)" = 1 ] || { echo "$0: this machine uses swap already" >&2; exit 1; }
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    GROUPS_OF=/sys/fs/cgroup
    swap_out() { for group in "$GROUP" "$OTHERS"; do echo 4G >"$group/memory.reclaim" 2>/dev/null || true; done; }
    without_swap() { echo 0 >"$1/memory.swap.max"; }
else
    GROUPS_OF=/sys/fs/cgroup/memory
    swap_out() { for group in "$GROUP" "$OTHERS"; do echo 0 >"$group/memory.force_empty" 2>/dev/null || true; done; }
    without_swap() { echo 0 >"$1/memory.swappiness"; }
fi
GROUP=$GROUPS_OF/earwitness-$RUN OTHERS=$GROUPS_OF/careless-$RUN
OWN=$GROUPS_OF$(sed -n 's/^0:://p; s/^[0-9]*:memory://p' /proc/self/cgroup | tail -1)
dd if=/dev/zero of="$WORK/swap" bs=1M count=512 status=none
LOOP=$(losetup --find --show "$WORK/swap")
undo() {
    swapoff "$LOOP" 2>/dev/null || true
    losetup -d "$LOOP" 2>/dev/null || true
    clean_up
    rmdir "$GROUP" "$OTHERS" 2>/dev/null || true
}
trap undo EXIT
mkswap -q "$LOOP" >/dev/null 2>&1 || mkswap "$LOOP" >/dev/null
swapon "$LOOP"
mkdir "$GROUP" "$OTHERS"
for group in "$GROUP" "$OTHERS"; do
    [ ! -f "$group/memory.swappiness" ] || echo 100 >"$group/memory.swappiness"
done

host recorder 192.0.2.2
host pbx 192.0.2.21
# 500 Hz: sixteen samples and it begins again, so the same bytes stand in every packet.
tone talk 30 500
tone other 30 1000
mkdir "$WORK/tmp"
# in GROUP CMD…: what is started there stays there. A namespace of `ip netns` does not see the groups.
in_group() {
    echo $$ >"$1/cgroup.procs"
    shift
    TMPDIR=$WORK/tmp "$@"
    echo $$ >"$OWN/cgroup.procs"
}
in_group "$GROUP" appliance recorder '[record_a_call]' 'listen = "0.0.0.0:5060"' 'from = ["192.0.2.21"]'
locked=$(awk '/^VmLck/ {print $2}' "/proc/$APPLIANCE/status")
if [ "$locked" != 0 ]; then
    echo "locked in memory: $locked kB"
elif [ -n "${UNGUARDED:-}" ]; then
    echo "nothing keeps the recorder out of swap"
else
    without_swap "$GROUP"
    echo "no memory may be locked here: the recorder's control group takes part in no swap"
fi

# Another tone in a program that locks nothing.
cat >"$WORK/careless.py" <<'EOF'
import sys, time
time.sleep(1)
tone = open(sys.argv[1], "rb").read()[1600:3200]
held = bytearray(tone * 20000)
print("ready", flush=True)
time.sleep(600)
EOF
python3 "$WORK/careless.py" "$WORK/other.alaw" >"$WORK/careless.log" &
CARELESS=$!
echo "$CARELESS" >"$OTHERS/cgroup.procs"

scenario near talks
FORMATS=8 MAPS=$PCMA
say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play talk.alaw 8 PCMA/8000; pause 12000; say BYE 2; await 200; done_scenario
sipp_near pbx talks 192.0.2.21 5999@192.0.2.2 &
CALL=$!
n=0
while kill -0 "$CALL" 2>/dev/null; do
    swap_out
    sleep 0.5
done
wait "$CALL"
until_count running 0 10
swap_out
awk '/^VmSwap/ {print "of the recorder in swap:", $2, $3}' "/proc/$APPLIANCE/status"
awk '/^VmSwap/ {print "of the careless program in swap:", $2, $3}' "/proc/$CARELESS/status"
cp "$WORK/swap" "$WORK/swap-while-it-runs"
stop_appliance
kill "$CARELESS"
cp -r "$WORK/archive" "$WORK/kept"
recordings | jq -c '{id, state, duration_ms}'

cat >"$WORK/search.py" <<'EOF'
import os, sys
def linear(byte):
    byte ^= 0x55
    exponent, mantissa = (byte >> 4) & 7, byte & 15
    value = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return (value if byte & 0x80 else -value).to_bytes(2, "little", signed=True)
def needles(path):
    alaw = open(path, "rb").read()[1600:1664]
    silence = bytes(2)
    return {"A-law": alaw, "linear": b"".join(map(linear, alaw)), "linear, left": b"".join(linear(b) + silence for b in alaw),
            "linear, right": b"".join(silence + linear(b) for b in alaw)}
wanted, place = sys.argv[1].split("=", 1), sys.argv[2].split("=", 1)
name, where = place
paths = [where] if os.path.isfile(where) else [os.path.join(d, f) for d, _, fs in os.walk(where) for f in fs]
total = 0
for path in paths:
    data = open(path, "rb").read()
    total += sum(data.count(needle) for needle in needles(wanted[1]).values())
print(f"{wanted[0]} in {name}: {total} hits in {len(paths)} files, {sum(map(os.path.getsize, paths))} bytes")
sys.exit(0 if (total > 0) == (sys.argv[3] == "there") else 1)
EOF
mkdir "$WORK/recording"
"$EARWITNESS" archive export -a "$WORK/archive" "$(recordings | jq -r .id | head -1)" -o "$WORK/recording/export.wav"
search() { python3 "$WORK/search.py" "$@" || failed=yes; }
failed=
search "the call's tone=$WORK/talk.alaw" "what is exported=$WORK/recording" there
search "the careless program's tone=$WORK/other.alaw" "swap=$WORK/swap-while-it-runs" there
search "the call's tone=$WORK/talk.alaw" "swap=$WORK/swap-while-it-runs" nowhere
search "the call's tone=$WORK/talk.alaw" "the archive=$WORK/kept" nowhere
search "the call's tone=$WORK/talk.alaw" "temporary files=$WORK/tmp" nowhere
[ -z "$failed" ]
