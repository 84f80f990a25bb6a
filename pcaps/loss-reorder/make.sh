#!/bin/sh
# Made-up traffic: see README.md.
cd "$(dirname "$0")" &&
    exec cargo xtask pcap --out capture.pcap --truth truth.jsonl --seed 1249 --talk 5000 --loss 3 --reorder 3 --duplicates 1 --jitter 15
