#!/bin/sh
# SIPp offers SRTP and changes its key, ffmpeg speaks: see README.md.
WIRE=$(dirname "$0")/../../xtask/scripts/wire.sh
. "$WIRE"
command -v ffmpeg >/dev/null || { echo "$0: ffmpeg is missing" >&2; exit 1; }
# Thirty bytes of key and salt each.
KEY1=$(head -c 30 /dev/urandom | base64)
KEY2=$(head -c 30 /dev/urandom | base64)
KEY3=$(head -c 30 /dev/urandom | base64)
speak() {
    echo "exec ffmpeg -v error -re -f lavfi -i sine=frequency=$2:sample_rate=8000:duration=$3,volume=3 -c:a pcm_mulaw -ssrc $6 -f rtp" \
        "-srtp_out_suite AES_CM_128_HMAC_SHA1_32 -srtp_out_params $4 'srtp://$5&pkt_size=176&rtcpport=5999' </dev/null >/dev/null 2>&1"
}
{
    echo 'case $1 in'
    echo "near-1) $(speak - 500 1.9 "$KEY1" "$B4:4002?localrtpport=4000" 1001) ;;"
    echo "near-2) $(speak - 500 1.9 "$KEY2" "$B4:4002?localrtpport=4000" 1001) ;;"
    echo "far) $(speak - 800 3.5 "$KEY3" "$A4:4000?localrtpport=4002" 2002) ;;"
    echo 'esac'
} >"$WORK/say"
start_capture
sipp_call caller-rekey callee-rekey -key key1 "$KEY1" -key key2 "$KEY2" -key key3 "$KEY3"
finish_capture "$(dirname "$0")/capture.pcap"
