# Sourced, behind wire.sh, by the make.sh of captures with SIP over TLS or WebSocket: sip_peer.py on both hosts.
# Needs also python3 and openssl; editcap (wireshark-common) where keys go into the capture.
#
# Gives: peers_call PORT [OPTION…]: extension 2001 on $A calls 01632960142 on $B over one connection; $KEYS is the key log.
KEYS=$WORK/keys
PEER=$(dirname "$WIRE")/sip_peer.py

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=pbx.example.com \
    -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
# For the suites whose key is exchanged by RSA alone.
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=pbx.example.com \
    -keyout "$WORK/rsa-key.pem" -out "$WORK/rsa-cert.pem" 2>/dev/null

peers_call() {
    port=$1
    shift
    cert=$WORK/cert.pem key=$WORK/key.pem
    case "$*" in *RSA=yes*) cert=$WORK/rsa-cert.pem key=$WORK/rsa-key.pem; shift ;; esac
    # Without a shell between, the number is that of the program.
    (exec ip netns exec "$B" python3 "$PEER" callee "$B4" "$port" --cert "$cert" --key "$key" "$@" 2>"$WORK/callee.log") &
    callee=$!
    sleep 1
    in_a python3 "$PEER" caller "$B4" "$port" "$A4" 2001 01632960142 --keylog "$KEYS" "$@" 2>"$WORK/caller.log" ||
        { cat "$WORK/caller.log" "$WORK/callee.log" >&2; exit 1; }
    kill "$callee"
    wait "$callee" 2>/dev/null || true
}
