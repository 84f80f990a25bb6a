#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 1327 --talk 12000 --skew 3000,-2000
