# Sourced by the make.sh of captures with more than two hosts: any number of hosts in network namespaces on one switch.
# Needs root and the Debian packages iproute2, tcpdump, ethtool, sox; each case says in its README what it needs besides.
#
# Gives: host NAME ADDRESS…, on NAME CMD…, start_capture [NAME [FILTER…]], finish_capture OUT, tone NAME SECONDS HZ,
#        $WORK (a scratch folder), $PEERS (this folder).
# Without a NAME the capture is the switch's: each frame once, as a mirror of all ports would give it without copies.
# With a NAME it is that host's port: behind a proxy each message is then seen on its way in and on its way out.
set -eu

: "${PEERS:?the folder of this file, set before it is sourced}"
PEERS=$(cd "$PEERS" && pwd)
[ "$(id -u)" = 0 ] || { echo "$0: needs root, for network namespaces" >&2; exit 1; }
for tool in ip tcpdump ethtool sox; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing (iproute2 tcpdump ethtool sox)" >&2; exit 1; }
done

WORK=$(mktemp -d)
RUN=$$
HOSTS=
TCPDUMP=
export HOME="$WORK"

clean_up() {
    # Everything that runs in these namespaces was started here.
    for ns in $HOSTS; do
        ip netns pids "$ns-$RUN" 2>/dev/null | while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done
        ip netns del "$ns-$RUN" 2>/dev/null || true
    done
    [ -n "${KEEP:-}" ] || rm -rf "$WORK"
}
trap clean_up EXIT
# A shell that a signal kills does not run its EXIT trap.
trap "exit 1" INT TERM

ip netns add "switch-$RUN"
HOSTS=switch
ip -n "switch-$RUN" link add br0 type bridge
ip -n "switch-$RUN" link set br0 type bridge mcast_snooping 0
ip -n "switch-$RUN" link set br0 up

# host NAME ADDRESS…: a host on the switch; an address without a prefix length has 24 bits (IPv4) or 64 (IPv6).
# The hardware address is made of the last part of the first address.
host() {
    ns=$1-$RUN
    mac=$(printf '02:00:5e:00:00:%02d' "${2##*[.:]}")
    ip netns add "$ns"
    HOSTS="$HOSTS $1"
    ip link add eth0 netns "$ns" address "$mac" type veth peer name "$1" netns "switch-$RUN"
    ip -n "$ns" link set lo up
    shift
    for address in "$@"; do
        case $address in
            */*) ip -n "$ns" addr add "$address" dev eth0 ;;
            *:*) ip -n "$ns" addr add "$address/64" dev eth0 nodad ;;
            *) ip -n "$ns" addr add "$address/24" dev eth0 ;;
        esac
    done
    ip -n "$ns" link set eth0 up
    # A virtual wire leaves checksums to nobody: let the sender compute them, and send no segment that no wire could carry.
    ip netns exec "$ns" ethtool -K eth0 tx off tso off gso off gro off >/dev/null 2>&1 || true
    ip -n "switch-$RUN" link set dev "${ns%-"$RUN"}" master br0 up
}

on() {
    at=$1-$RUN
    shift
    ip netns exec "$at" "$@"
}

start_capture() {
    where=${1:-switch}
    port=eth0
    [ "$where" != switch ] || port=br0
    [ $# = 0 ] || shift
    ip netns exec "$where-$RUN" tcpdump -i "$port" -U -s 0 -w "$WORK/wire.pcap" \
        "${*:-udp or tcp or (ip[6:2] & 0x1fff != 0)}" 2>"$WORK/tcpdump.log" &
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

# tone NAME SECONDS HZ [RATE]: 16-bit WAVE in $WORK/NAME.wav, and as raw mu-law and A-law in NAME.ulaw and NAME.alaw.
tone() {
    sox -n -r "${4:-8000}" -c 1 -b 16 "$WORK/$1.wav" synth "$2" sine "$3" vol 0.35
    sox -n -r 8000 -c 1 -e u-law -t raw "$WORK/$1.ulaw" synth "$2" sine "$3" vol 0.35
    sox -n -r 8000 -c 1 -e a-law -t raw "$WORK/$1.alaw" synth "$2" sine "$3" vol 0.35
}
