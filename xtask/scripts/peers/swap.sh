#!/bin/sh
# Is anything of a call in swap? A call with a tone is recorded while the kernel is made to swap out all it can; the tone is then searched byte
# by byte, as A-law and as linear samples, in the swap, in the archive and in temporary files. What a program without locked memory holds at the same
# time must be found in the swap: else nothing was shown. Needs root, a memory control group (either version), no swap in use, and the packages of
# net.sh, scenario.sh and appliance.sh.
#
#   xtask/scripts/peers/swap.sh
PEERS=$(dirname "$0")
. "$PEERS/net.sh"
. "$PEERS/scenario.sh"
. "$PEERS/appliance.sh"
[ "$(wc -l </proc/swaps)" = 1 ] || { echo "$0: this machine uses swap already" >&2; exit 1; }
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    GROUP=/sys/fs/cgroup/earwitness-$RUN
    swap_out() { echo 4G >"$GROUP/memory.reclaim" 2>/dev/null || true; }
else
    GROUP=/sys/fs/cgroup/memory/earwitness-$RUN
    swap_out() { echo 0 >"$GROUP/memory.force_empty" 2>/dev/null || true; }
fi
dd if=/dev/zero of="$WORK/swap" bs=1M count=512 status=none
LOOP=$(losetup --find --show "$WORK/swap")
undo() {
    swapoff "$LOOP" 2>/dev/null || true
    losetup -d "$LOOP" 2>/dev/null || true
    clean_up
    rmdir "$GROUP" 2>/dev/null || true
}
trap undo EXIT
mkswap -q "$LOOP" >/dev/null 2>&1 || mkswap "$LOOP" >/dev/null
swapon "$LOOP"
mkdir "$GROUP"
[ ! -f "$GROUP/memory.swappiness" ] || echo 100 >"$GROUP/memory.swappiness"

host recorder 192.0.2.2
host pbx 192.0.2.21
# 500 Hz: sixteen samples and it begins again, so the same bytes stand in every packet.
tone talk 30 500
mkdir "$WORK/tmp"
cat >"$WORK/in-group" <<EOF
#!/bin/sh
echo \$\$ >"$GROUP/cgroup.procs"
export TMPDIR="$WORK/tmp"
exec "\$@"
EOF
chmod +x "$WORK/in-group"
BEFORE=$WORK/in-group
appliance recorder '[record_a_call]' 'listen = "0.0.0.0:5060"' 'from = ["192.0.2.21"]'
awk '/^VmLck/ {print "locked in memory:", $2, $3}' "/proc/$APPLIANCE/status"

# The same tone in a program that locks nothing.
cat >"$WORK/careless.py" <<'EOF'
import sys, time
tone = open(sys.argv[1], "rb").read()[1600:3200]
held = bytearray(tone * 20000)
print("ready", flush=True)
time.sleep(600)
EOF
"$WORK/in-group" python3 "$WORK/careless.py" "$WORK/talk.alaw" >"$WORK/careless.log" &
CARELESS=$!

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
alaw = open(sys.argv[1], "rb").read()[1600:1664]
def linear(byte):
    byte ^= 0x55
    exponent, mantissa = (byte >> 4) & 7, byte & 15
    value = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return value if byte & 0x80 else -value
needles = {"A-law": alaw, "linear": b"".join(linear(b).to_bytes(2, "little", signed=True) for b in alaw)}
def hits(path):
    data = open(path, "rb").read()
    return {name: data.count(needle) for name, needle in needles.items()}
for name, where in [arg.split("=", 1) for arg in sys.argv[2:]]:
    paths = [where] if os.path.isfile(where) else [os.path.join(d, f) for d, _, fs in os.walk(where) for f in fs]
    total = {}
    for path in paths:
        for kind, count in hits(path).items():
            total[kind] = total.get(kind, 0) + count
    print(f"{name}: {len(paths)} files, {sum(map(os.path.getsize, paths))} bytes, hits {total}")
EOF
mkdir "$WORK/recording"
"$EARWITNESS" archive export -a "$WORK/archive" "$(recordings | jq -r .id | head -1)" -o "$WORK/recording/export.wav"
python3 "$WORK/search.py" "$WORK/talk.alaw" "what is exported, which has it=$WORK/recording" "archive=$WORK/kept" \
    "temporary files=$WORK/tmp" "swap, the careless program's pages among them=$WORK/swap-while-it-runs"
# Whose pages they are: the careless program's hold its whole sentence, sixteen hundred bytes over and over.
python3 - "$WORK/talk.alaw" "$WORK/swap-while-it-runs" <<'EOF'
import sys
tone = open(sys.argv[1], "rb").read()[1600:3200]
swap = open(sys.argv[2], "rb").read()
page, short = 4096, tone[:64]
whole = strange = 0
looped = tone * 8
for at in range(0, len(swap), page):
    held = swap[at:at + page]
    if short in held:
        # A page that is nothing but the sentence, from any place in it.
        if held in looped:
            whole += 1
        else:
            strange += 1
print(f"pages of swap with the tone: {whole} of the careless program alone, {strange} others")
sys.exit(0 if whole > 0 and strange == 0 else 1)
EOF
