#!/usr/bin/env python3
"""Makes decode/src/stream/tls/vectors: what two ends of Python's ssl module (OpenSSL) say to each other over TLS, with the
key log of it. No network: both ends are in memory. Each run gives other keys, so only run it to add a vector.

A file is lines: `key` and a line of the key log; `client` or `server` and the bytes that it sends, in hexadecimal; `new` where
another connection begins; `says client` or `says server` and the text that must come out."""

import os
import ssl
import subprocess
import sys
import tempfile

OUT = os.path.join(os.path.dirname(__file__), "../../decode/src/stream/tls/vectors")
NO_ENCRYPT_THEN_MAC = 1 << 19


def certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", "/CN=pbx.example.com", "-keyout", key, "-out", cert],
        check=True, stderr=subprocess.DEVNULL,
    )
    return cert, key


class Pair:
    """A client's and a server's settings, and the lines of a vector."""

    def __init__(self, folder, version, ciphers=None, options=0, curve=None):
        cert, key = certificate(folder)
        self.log = os.path.join(folder, "keys")
        open(self.log, "w").close()
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client.check_hostname = False
        self.client.verify_mode = ssl.CERT_NONE
        self.server.load_cert_chain(cert, key)
        for context in (self.client, self.server):
            context.minimum_version = context.maximum_version = version
            context.options |= options
            if ciphers:
                context.set_ciphers(ciphers)
        if curve:
            self.server.set_ecdh_curve(curve)
        self.client.keylog_filename = self.log
        self.lines = []
        # A server's end that goes without a farewell takes its session with it.
        self.ends = []

    def connect(self, session=None, keys=True):
        """A handshake, two words from each side; gives the client's session."""
        before = len(open(self.log).read().splitlines())
        # What each end reads, and what it writes.
        ears, mouths = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
        client = self.client.wrap_bio(ears[0], mouths[0], session=session)
        server = self.server.wrap_bio(ears[1], mouths[1], server_side=True)
        self.ends += [client, server]
        sent = []

        def carry(end):
            # What an end has just written goes to the file; the other end reads the same bytes.
            by, mouth, ear = ("client", mouths[0], ears[1]) if end is client else ("server", mouths[1], ears[0])
            data = mouth.read()
            if data:
                sent.append(f"{by} {data.hex()}")
                ear.write(data)

        done = set()
        while len(done) < 2:
            for end in (client, server):
                try:
                    end.do_handshake()
                    done.add(end)
                except ssl.SSLWantReadError:
                    pass
                carry(end)
        said = []
        for number in range(2):
            for end, by, other in ((client, "client", server), (server, "server", client)):
                text = f"words {number} of the {by}, and {'some more ' * (40 * number)}"
                end.write(text.encode())
                carry(end)
                assert other.read(100_000) == text.encode()
                said.append(f"says {by} {text}")
        if session is not None:
            assert client.session_reused
        keys_now = [line for line in open(self.log).read().splitlines()[before:] if not line.startswith("#")]
        self.lines.append("new")
        if keys:
            self.lines += [f"key {line}" for line in keys_now]
        self.lines += sent + said
        return client.session, client.cipher()[0]

    def save(self, name):
        with open(os.path.join(OUT, name + ".txt"), "w") as file:
            file.write("\n".join(self.lines) + "\n")


def main():
    os.makedirs(OUT, exist_ok=True)
    if len(sys.argv) == 3:
        # One suite of TLS 1.3, which only OpenSSL's own settings choose: called below with OPENSSL_CONF set.
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(folder, ssl.TLSVersion.TLSv1_3)
            _, cipher = pair.connect()
            assert cipher == sys.argv[2], cipher
            pair.save(sys.argv[1])
        return
    for name, suite in (("tls13-aes128-gcm", "TLS_AES_128_GCM_SHA256"), ("tls13-aes256-gcm", "TLS_AES_256_GCM_SHA384"),
                        ("tls13-chacha20", "TLS_CHACHA20_POLY1305_SHA256")):
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as settings:
            settings.write("openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\n"
                           f"Ciphersuites={suite}\n")
            settings.flush()
            subprocess.run([sys.executable, __file__, name, suite], check=True,
                           env={**os.environ, "OPENSSL_CONF": settings.name})
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(folder, ssl.TLSVersion.TLSv1_3, curve="secp384r1")
        pair.connect()
        pair.save("tls13-retry")
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(folder, ssl.TLSVersion.TLSv1_3)
        session, _ = pair.connect()
        pair.connect(session)
        pair.save("tls13-resumed")
    for name, ciphers, options in (
        ("tls12-aes128-gcm", "ECDHE-ECDSA-AES128-GCM-SHA256", 0),
        ("tls12-aes256-gcm", "ECDHE-ECDSA-AES256-GCM-SHA384", 0),
        ("tls12-chacha20", "ECDHE-ECDSA-CHACHA20-POLY1305", 0),
        ("tls12-aes128-cbc-sha1-etm", "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0", 0),
        ("tls12-aes256-cbc-sha1", "ECDHE-ECDSA-AES256-SHA@SECLEVEL=0", NO_ENCRYPT_THEN_MAC),
        ("tls12-aes128-cbc-sha256", "ECDHE-ECDSA-AES128-SHA256@SECLEVEL=0", NO_ENCRYPT_THEN_MAC),
        ("tls12-aes256-cbc-sha384-etm", "ECDHE-ECDSA-AES256-SHA384@SECLEVEL=0", 0),
    ):
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(folder, ssl.TLSVersion.TLSv1_2, ciphers, options)
            _, cipher = pair.connect()
            assert cipher == ciphers.split("@")[0], cipher
            pair.save(name)
    # The second connection resumes the first and has no line of its own in the key log.
    for name, options in (("tls12-resumed-by-ticket", 0), ("tls12-resumed-by-id", ssl.OP_NO_TICKET)):
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(folder, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", options)
            session, _ = pair.connect()
            pair.connect(session, keys=False)
            pair.save(name)


if __name__ == "__main__":
    main()
