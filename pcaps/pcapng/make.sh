#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 633 --talk 5000 --format pcapng --ipv6 --ptime 30 --codec pcma
