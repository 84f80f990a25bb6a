#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 3611 --talk 4000 --rtcp 80
