#!/bin/sh
# A telephone behind a network address translator, a proxy with a relay on the other side: captured at the proxy's port: see README.md.
PEERS=$(dirname "$0")/../../xtask/scripts/peers
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
host proxy 192.0.2.5
host two 192.0.2.22
host gate 192.0.2.7
host inside 10.0.0.21
tone inside 8 440
tone two 8 620
# The phone's port leaves the switch for a wire to the gate.
ip -n "switch-$RUN" link set dev inside nomaster
ip -n "switch-$RUN" link set dev inside netns "gate-$RUN"
on gate ip addr add 10.0.0.1/24 dev inside
on gate ip link set dev inside up
on inside ip route add default via 10.0.0.1
on gate sysctl -qw net.ipv4.ip_forward=1
on gate iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE --random
proxy proxy 192.0.2.5 WITH_RELAY NAT
relay proxy 192.0.2.5
start_capture proxy
phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 ring=0.4 -- register up done &
b=$!
phone inside 10.0.0.21 2001 "Home Desk" registrar=192.0.2.5 -- register sleep:1 call:2002@192.0.2.5 up sleep:2 bye
wait $b
finish_capture "$(dirname "$0")/capture.pcap"
