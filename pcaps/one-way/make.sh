#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 1100 --talk 17000 --ptime 100 --one-way
