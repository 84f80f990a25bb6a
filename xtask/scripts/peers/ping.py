#!/usr/bin/env python3
"""Asks with OPTIONS until it is answered: ping.py ADDRESS [SINCE] says after how many seconds, counted from SINCE (a time as `date +%s.%N` gives it)."""
import socket
import sys
import time

where = sys.argv[1]
since = float(sys.argv[2]) if len(sys.argv) > 2 else time.time()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((where, 5060))
s.settimeout(0.005)
own, port = s.getsockname()
for n in range(4000):
    text = (
        f"OPTIONS sip:ping@{where} SIP/2.0\r\nVia: SIP/2.0/UDP {own}:{port};branch=z9hG4bKping{n};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:ping@{own}>;tag=p\r\nTo: <sip:ping@{where}>\r\nCall-ID: ping{time.time_ns()}\r\nCSeq: {n + 1} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    try:
        s.send(text.encode())
        answer = s.recv(4096)
    except OSError:
        time.sleep(0.005)
        continue
    first = answer.split(b"\r\n")[0].decode()
    print(f"answered after {time.time() - since:.3f} s: {first}")
    sys.exit(0)
sys.exit("not answered")
