#!/usr/bin/env python3
"""A telephone and a PBX that speak SIP over TLS or WebSocket, for captures: Python's ssl module is a real TLS stack that writes
key logs. One side is run as `callee`, the other as `caller`; each call is INVITE, 180, 200, ACK, audio both ways, BYE, 200.

    sip_peer.py callee ADDRESS PORT [OPTION…]
    sip_peer.py caller ADDRESS PORT OWN-ADDRESS NUMBER CALLED [OPTION…]

Options: --tls 1.2|1.3, --ciphers LIST, --ws, --deflate, --keylog FILE, --cert FILE, --key FILE, --seconds N, --calls N,
--reconnect (each call on a new connection, resuming the TLS session), --rtp PORT, --pieces N (bytes written at a time)."""

import argparse
import base64
import hashlib
import math
import os
import socket
import ssl
import struct
import threading
import time
import zlib

WEBSOCKET_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["caller", "callee"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("own", nargs="?")
    parser.add_argument("number", nargs="?")
    parser.add_argument("called", nargs="?")
    parser.add_argument("--tls")
    parser.add_argument("--ciphers")
    parser.add_argument("--ws", action="store_true")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--keylog")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--reconnect", action="store_true")
    parser.add_argument("--rtp", type=int, default=6000)
    parser.add_argument("--pieces", type=int, default=0)
    return parser.parse_args()


class Lines:
    """A connection that carries SIP messages, one after the other."""

    def __init__(self, sock, pieces):
        self.sock, self.pieces, self.unread = sock, pieces, b""

    def write(self, data):
        for at in range(0, len(data), self.pieces or len(data)):
            self.sock.sendall(data[at:at + (self.pieces or len(data))])

    def more(self):
        data = self.sock.recv(4096)
        if not data:
            raise EOFError
        self.unread += data

    def until(self, mark):
        while mark not in self.unread:
            self.more()
        head, self.unread = self.unread.split(mark, 1)
        return head + mark

    def take(self, count):
        while len(self.unread) < count:
            self.more()
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def send(self, message):
        self.write(message)

    def receive(self):
        head = self.until(b"\r\n\r\n").lstrip(b"\r\n")
        return head + self.take(int(field(head, "Content-Length") or 0))


class Frames(Lines):
    """The same in WebSocket frames: RFC 6455, RFC 7118, and RFC 7692 where both want it."""

    def __init__(self, sock, pieces, is_client, deflate, host):
        super().__init__(sock, pieces)
        self.is_client = is_client
        self.packer = self.unpacker = None
        if is_client:
            key = base64.b64encode(os.urandom(16))
            wish = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if deflate else ""
            self.write(
                f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: sip\r\n{wish}\r\n".encode())
            head = self.until(b"\r\n\r\n")
            assert b" 101 " in head, head
        else:
            head = self.until(b"\r\n\r\n")
            key = field(head, "Sec-WebSocket-Key").encode()
            accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_SALT).digest()).decode()
            grant = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
            self.write(
                f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: sip\r\n{grant}\r\n".encode())
        if b"permessage-deflate" in head and deflate:
            self.packer = zlib.compressobj(wbits=-15)
            self.unpacker = zlib.decompressobj(wbits=-15)

    def frame(self, first, payload):
        mask = os.urandom(4) if self.is_client else b""
        length = len(payload)
        head = bytes([first])
        size = length if length < 126 else 126 if length < 65536 else 127
        head += bytes([size | (0x80 if mask else 0)])
        head += struct.pack(">H", length) if size == 126 else struct.pack(">Q", length) if size == 127 else b""
        if mask:
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.write(head + mask + payload)

    def send(self, message):
        packed = 0
        if self.packer:
            message = self.packer.compress(message) + self.packer.flush(zlib.Z_SYNC_FLUSH)
            message, packed = message[:-4], 0x40
        # In two fragments with a ping between them, as large messages may go.
        half = len(message) // 2
        self.frame(0x01 | packed, message[:half])
        self.frame(0x89, b"are you there")
        self.frame(0x80, message[half:])

    def receive(self):
        message, packed = b"", False
        while True:
            first, second = self.take(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack(">H", self.take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.take(8))[0]
            mask = self.take(4) if second & 0x80 else bytes(4)
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self.take(length)))
            if first & 0x0F == 9:
                self.frame(0x8A, payload)
            elif first & 0x0F < 8:
                packed |= first & 0x40 != 0
                message += payload
                if first & 0x80:
                    return self.unpacker.decompress(message + b"\0\0\xff\xff") if packed else message


def field(head, name):
    for line in head.decode(errors="replace").split("\r\n"):
        if line.lower().startswith(name.lower() + ":"):
            return line.split(":", 1)[1].strip()
    return None


def talk(own, own_port, peer, peer_port, seconds, hertz):
    """Sends a tone as G.711 mu-law, and throws away what comes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((own, own_port))
    start = time.monotonic()
    for number in range(int(seconds * 50)):
        samples = [8000 * math.sin(2 * math.pi * hertz * (number * 160 + at) / 8000) for at in range(160)]
        head = struct.pack(">BBHII", 0x80, 0x80 if number == 0 else 0, number, number * 160, own_port)
        sock.sendto(head + bytes(mu_law(int(sample)) for sample in samples), (peer, peer_port))
        time.sleep(max(0, start + (number + 1) * 0.02 - time.monotonic()))
    sock.close()


def mu_law(sample):
    sign = 0x80 if sample < 0 else 0
    value = min(abs(sample), 32635) + 132
    exponent = max(value.bit_length() - 8, 0)
    return ~(sign | exponent << 4 | value >> (exponent + 3) & 0x0F) & 0xFF


def description(address, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n")


def message(start, fields, body=""):
    lines = [start, *fields, "Content-Type: application/sdp"] if body else [start, *fields]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode()


def media_of(text):
    lines = text.decode().split("\r\n")
    address = next(line.split()[2] for line in lines if line.startswith("c="))
    return address, int(next(line.split()[1] for line in lines if line.startswith("m=")))


def transport(args):
    return ("WSS" if args.tls else "WS") if args.ws else "TLS"


def call(line, args, number):
    call_id = f"{args.rtp}-{number}-{os.getpid()}@{args.own}"
    scheme = f"sip:{args.called}@{args.address}:{args.port};transport={transport(args).lower()}"
    rtp = args.rtp + 4 * number
    def fields(method, sequence, to_tag=""):
        return [f"Via: SIP/2.0/{transport(args)} {args.own}:5061;branch=z9hG4bK-{call_id[:8]}-{sequence}-{method}",
                f"From: \"Front Desk\" <sip:{args.number}@{args.address}>;tag=near{number}",
                f"To: <sip:{args.called}@{args.address}>{to_tag}", f"Call-ID: {call_id}",
                f"CSeq: {sequence} {method}", f"Contact: <sip:{args.number}@{args.own};transport={transport(args).lower()}>",
                "Max-Forwards: 70"]
    line.send(message(f"INVITE {scheme} SIP/2.0", fields("INVITE", 1), description(args.own, rtp)))
    while True:
        answer = line.receive()
        if answer.startswith(b"SIP/2.0 200"):
            break
    tag = ";tag=" + field(answer, "To").split(";tag=")[1]
    line.send(message(f"ACK {scheme} SIP/2.0", fields("ACK", 1, tag)))
    talk(args.own, rtp, *media_of(answer), args.seconds, 440)
    line.send(message(f"BYE {scheme} SIP/2.0", fields("BYE", 2, tag)))
    assert line.receive().startswith(b"SIP/2.0 200")


def answer(line, args):
    """Answers what a connection brings until it ends."""
    count = 0
    while True:
        try:
            request = line.receive()
        except (EOFError, ConnectionError, ssl.SSLError):
            return
        method = request.split(b" ", 1)[0].decode()
        same = [f"{name}: {field(request, name)}" for name in ("Via", "From", "Call-ID", "CSeq")]
        to = "To: " + field(request, "To")
        if method == "INVITE":
            rtp, count = args.rtp + 1000 + 4 * count, count + 1
            to += ";tag=far"
            contact = f"Contact: <sip:{args.address}:{args.port};transport={transport(args).lower()}>"
            line.send(message("SIP/2.0 100 Trying", [*same, "To: " + field(request, "To")]))
            line.send(message("SIP/2.0 180 Ringing", [*same, to, contact]))
            time.sleep(0.2)
            line.send(message("SIP/2.0 200 OK", [*same, to, contact], description(args.address, rtp)))
            peer = media_of(request)
            threading.Thread(target=talk, args=(args.address, rtp, *peer, args.seconds, 620)).start()
        elif method != "ACK":
            line.send(message("SIP/2.0 200 OK", [*same, to]))


def context(args, is_client):
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_client else ssl.PROTOCOL_TLS_SERVER)
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[args.tls]
    settings.minimum_version = settings.maximum_version = version
    if args.ciphers:
        settings.set_ciphers(args.ciphers)
    if args.keylog:
        settings.keylog_filename = args.keylog
    if is_client:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    else:
        settings.load_cert_chain(args.cert, args.key)
    return settings


def wrap(sock, args, is_client):
    if args.ws:
        return Frames(sock, args.pieces, is_client, args.deflate, f"{args.address}:{args.port}")
    return Lines(sock, args.pieces)


def main():
    args = arguments()
    if args.role == "callee":
        settings = context(args, False) if args.tls else None
        listener = socket.create_server((args.address, args.port))
        while True:
            sock, _ = listener.accept()
            if settings:
                sock = settings.wrap_socket(sock, server_side=True)
            answer(wrap(sock, args, False), args)
    settings = context(args, True) if args.tls else None
    line = session = None
    for number in range(args.calls):
        if line is None or args.reconnect:
            if line:
                session = line.sock.session if settings else None
                line.sock.close()
            sock = socket.create_connection((args.address, args.port), source_address=(args.own, 0))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings:
                sock = settings.wrap_socket(sock, session=session)
            line = wrap(sock, args, True)
        call(line, args, number)
        time.sleep(0.3)
    line.sock.close()


if __name__ == "__main__":
    main()
