# Sourced by the make.sh of captures that real user agents make: two hosts in network namespaces with a wire between them.
# Needs root and the Debian packages iproute2, tcpdump, sip-tester, baresip, sox.
#
# Gives: $A and $B (namespaces), $A4 $B4 $A6 $B6 (addresses), $WORK (a scratch folder),
#        start_capture, finish_capture OUT, in_a CMD…, in_b CMD…, tone NAME SECONDS HZ LAW.
# Addresses are of ranges kept for documentation (RFC 5737, RFC 3849).
set -eu

: "${WIRE:?the path of this file, set before it is sourced}"
[ "$(id -u)" = 0 ] || { echo "$0: needs root, for network namespaces" >&2; exit 1; }
for tool in ip tcpdump sipp baresip sox; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing (iproute2 tcpdump sip-tester baresip sox)" >&2; exit 1; }
done

A=phone-$$ B=pbx-$$
A4=192.0.2.21 B4=192.0.2.10
A6=2001:db8::21 B6=2001:db8::10
WORK=$(mktemp -d)
TCPDUMP=
export HOME=$WORK

clean_up() {
    # Everything that runs in the two namespaces was started here.
    for ns in "$A" "$B"; do
        ip netns pids "$ns" 2>/dev/null | while read -r pid; do kill "$pid" 2>/dev/null || true; done
        ip netns del "$ns" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap clean_up EXIT
# A shell that a signal kills does not run its EXIT trap.
trap "exit 1" INT TERM

ip netns add "$A"
ip netns add "$B"
ip link add eth0 netns "$A" address 02:00:5e:00:00:21 type veth peer name eth0 netns "$B" address 02:00:5e:00:00:10
host() {
    ip -n "$1" link set lo up
    ip -n "$1" addr add "$2/24" dev eth0
    ip -n "$1" addr add "$3/64" dev eth0 nodad
    ip -n "$1" link set eth0 up
    # A virtual wire leaves checksums to nobody: let the sender compute them.
    ! command -v ethtool >/dev/null || ip netns exec "$1" ethtool -K eth0 tx off >/dev/null 2>&1 || true
}
host "$A" "$A4" "$A6"
host "$B" "$B4" "$B6"

in_a() { ip netns exec "$A" "$@"; }
in_b() { ip netns exec "$B" "$@"; }

start_capture() {
    ip netns exec "$B" tcpdump -i eth0 -U -s 0 -w "$WORK/wire.pcap" 'udp or tcp or (ip[6:2] & 0x1fff != 0)' 2>"$WORK/tcpdump.log" &
    TCPDUMP=$!
    until grep -q listening "$WORK/tcpdump.log"; do sleep 0.1; done
}

# finish_capture OUT: what tcpdump caught becomes OUT.
finish_capture() {
    sleep 1
    kill -INT "$TCPDUMP"
    wait "$TCPDUMP" || true
    cp "$WORK/wire.pcap" "$1"
    echo "$1: $(wc -c <"$1") bytes"
}

# tone NAME SECONDS HZ u-law|a-law: raw G.711 in $WORK/NAME, for sipp's rtp_stream.
tone() {
    sox -n -r 8000 -c 1 -e "$4" -t raw "$WORK/$1" synth "$2" sine "$3" vol 0.35
}

# sipp_call CALLER CALLEE [SIPP-OPTION…]: one call with two scenarios of sipp/, from $A (extension 2001) to $B.
# TO is the number called; FAMILY 4 or 6.
sipp_call() {
    from=$1 to=$2
    shift 2
    scenarios=$(cd "$(dirname "$WIRE")" && pwd)/sipp
    if [ "${FAMILY:-4}" = 6 ]; then a=$A6 b=$B6 remote="[$B6]:5060"; else a=$A4 b=$B4 remote=$B4:5060; fi
    (cd "$WORK" && in_b sipp -sf "$scenarios/$to.xml" -i "$b" -mi "$b" -p 5060 -m 1 -nostdin "$@" >/dev/null 2>"$WORK/callee.log") &
    callee=$!
    sleep 1
    (cd "$WORK" && in_a sipp -sf "$scenarios/$from.xml" -i "$a" -mi "$a" -p 5060 -m 1 -nostdin -s "${TO:-01632960142}" \
        -key number "${FROM:-2001}" -key name "${NAME:-Front Desk}" "$@" "$remote" >/dev/null 2>"$WORK/caller.log") ||
        { cat "$WORK/caller.log" "$WORK/callee.log" >&2; exit 1; }
    # The callee's own verdict is not asked: over TCP it takes the caller's closing of the connection for a failure.
    wait "$callee" || true
}

# baresip_host FOLDER ADDRESS NUMBER NAME HZ CODEC ANSWER: the configuration of one baresip without sound card: it says
# a sine, throws away what it hears. ANSWER is auto or manual.
baresip_host() {
    mkdir -p "$WORK/$1"
    sox -n -r 8000 -c 1 -b 16 "$WORK/$1/says.wav" synth 30 sine "$5" vol 0.35
    cat >"$WORK/$1/config" <<CONFIG
sip_listen              $2:5060
audio_player            aubridge,nobody
audio_source            aufile,$WORK/$1/says.wav
audio_alert             aubridge,nobody
ausrc_srate             8000
auplay_srate            8000
ausrc_channels          1
auplay_channels         1
rtp_stats               no
module_path             /usr/lib/baresip/modules
module                  g711.so
module                  aubridge.so
module                  aufile.so
module                  cons.so
module_app              account.so
module_app              menu.so
cons_listen             127.0.0.1:5555
CONFIG
    case $2 in *:*) at="[$2]" ;; *) at=$2 ;; esac
    echo "\"$4\" <sip:$3@$at${TRANSPORT:-}>;regint=0;audio_codecs=$6;answermode=$7;ptime=20" >"$WORK/$1/accounts"
    : >"$WORK/$1/contacts"
}

# secure_host FOLDER MODULE ENCRYPTION: the media of a host is encrypted by a module of baresip.
secure_host() {
    echo "module $2" >>"$WORK/$1/config"
    sed -i "s/\$/;mediaenc=$3/" "$WORK/$1/accounts"
}

# baresip_call SECONDS NUMBER [KEYS]: near in $A dials far in $B, keys KEYS after two seconds, and hangs up by leaving.
baresip_call() {
    in_b baresip -f "$WORK/far" -t $(($1 + 2)) >"$WORK/far.log" 2>&1 &
    far=$!
    sleep 1
    in_a baresip -f "$WORK/near" -t "$1" -e "/dial sip:$2" >"$WORK/near.log" 2>&1 &
    near=$!
    if [ -n "${3:-}" ]; then
        sleep 2
        for key in $(echo "$3" | sed 's/./& /g'); do
            in_a bash -c "printf %s '$key' >/dev/udp/127.0.0.1/5555"
            sleep 0.2
            # The code by which baresip's console says that the key is up again.
            in_a bash -c "printf '\\004' >/dev/udp/127.0.0.1/5555"
            sleep 0.2
        done
    fi
    wait "$near" || { cat "$WORK/near.log" "$WORK/far.log" >&2; exit 1; }
    wait "$far" || true
}
