#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 507 --talk 1500 --big-invite --span --wrap vlan --wrap gre --wrap vxlan
