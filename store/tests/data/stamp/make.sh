#!/bin/sh
# Makes ca.pem and token.der with `openssl ts`: a time stamp of note.checkpoint by an authority that nobody else has. The private
# keys are thrown away, so a second run makes other files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > tsa.cnf <<'CNF'
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[tsa]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
[tsa_section]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
signer_cert = tsa.pem
signer_key = tsa.key
CNF
echo 01 > serial
new="openssl req -x509 -nodes -days 36500 -config tsa.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256"
$new -subj /CN=ca -extensions ca -out ca.pem -keyout ca.key
$new -subj /CN=tsa -extensions tsa -CA ca.pem -CAkey ca.key -out tsa.pem -keyout tsa.key
openssl ts -query -data "$here/note.checkpoint" -sha256 -cert -out q.tsq
openssl ts -reply -config tsa.cnf -section tsa_section -queryfile q.tsq -token_out -out "$here/token.der"
openssl ts -verify -data "$here/note.checkpoint" -in "$here/token.der" -token_in -CAfile ca.pem
cp ca.pem "$here/ca.pem"
