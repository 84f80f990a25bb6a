# Sourced after net.sh: user agents and servers. Needs, as far as used, the Debian packages kamailio, rtpengine-daemon, baresip,
# linphone-cli, and pjsua2-python from PyPI ($PYTHON is the interpreter that has it).

PYTHON=${PYTHON:-python3}

# phone HOST ADDRESS NUMBER NAME WORD… -- STEP…: a telephone of phone.py; it says the tone $WORK/HOST.wav.
phone() {
    where=$1 address=$2 number=$3 name=$4
    shift 4
    on "$where" "$PYTHON" "$PEERS/phone.py" "$address" "$number" "$name" "$WORK/$where.wav" "$@" >"$WORK/$where.log" 2>&1 ||
        { cat "$WORK/$where.log" >&2; return 1; }
}

# proxy HOST ADDRESS [DEFINE…]: Kamailio in the background.
proxy() {
    where=$1 address=$2
    shift 2
    defines=
    for word in "$@"; do defines="$defines -A $word"; done
    # shellcheck disable=SC2086 # a list of words
    on "$where" kamailio -f "$PEERS/kamailio.cfg" -l "udp:$address:5060" -l "tcp:$address:5060" -DD -E -m 32 -M 4 -Y "$WORK" \
        -P "$WORK/kamailio.pid" $defines >"$WORK/kamailio.log" 2>&1 &
    sleep 1.5
}

# relay HOST ADDRESS: rtpengine in user space, in the background.
relay() {
    on "$1" rtpengine --foreground --table=-1 --interface="$2" --listen-ng=127.0.0.1:2223 --port-min=30000 --port-max=30100 \
        --log-stderr --log-level=6 --pidfile="$WORK/rtpengine.pid" --delete-delay=0 >"$WORK/rtpengine.log" 2>&1 &
    sleep 1
}

# office: a proxy and three telephones, one (2001), two (2002), three (2003), each with its tone.
office() {
    host proxy 192.0.2.5
    host one 192.0.2.21
    host two 192.0.2.22
    host three 192.0.2.23
    tone one 15 440
    tone two 15 620
    tone three 15 830
    proxy proxy 192.0.2.5 "$@"
}
# one, two, three OPTION… -- STEP…: those telephones, registered.
one() { phone one 192.0.2.21 2001 "Desk One" registrar=192.0.2.5 "$@"; }
two() { phone two 192.0.2.22 2002 "Desk Two" registrar=192.0.2.5 "$@"; }
three() { phone three 192.0.2.23 2003 "Desk Three" registrar=192.0.2.5 "$@"; }

# b2bua HOST ADDRESS NEXT: Sippy's B2BUA (PyPI package sippy) in the background; it passes session descriptions on as they are.
b2bua() {
    (cd "$WORK" && SIPLOG_LOGFILE_FILE="$WORK/b2bua-sip.log" on "$1" "$(dirname "$PYTHON")/b2bua_simple" -f -l "$2" -p 5060 -n "$3:5060" >"$WORK/b2bua.log" 2>&1) &
    sleep 1.5
}
# b2bua_apart HOST ADDRESS NEXT: the same with Call-IDs of its own.
b2bua_apart() {
    (cd "$WORK" && SIPLOG_LOGFILE_FILE="$WORK/b2bua-sip.log" on "$1" "$(dirname "$PYTHON")/b2bua_radius" --foreground=on --sip_address="$2" --sip_port=5060 \
        --static_route="$3:5060;expires=10" --auth_enable=off --acct_enable=off --hide_call_id=on \
        --pidfile="$WORK/b2bua.pid" --logfile="$WORK/b2bua.log" --b2bua_socket="$WORK/b2bua.sock" >"$WORK/b2bua.out" 2>&1) &
    sleep 3
}

# baresip_at HOST ADDRESS NUMBER NAME HZ CODEC RATE CHANNELS ANSWER [LINE…]: the configuration of a baresip without sound card in $WORK/HOST,
# which says a sine; ACCOUNT holds more parameters of its account. CODEC as baresip writes it (G722/16000/1), RATE and CHANNELS of what it says. LINEs go into the configuration.
baresip_at() {
    folder=$WORK/$1 at=$2 number=$3 name=$4 hertz=$5 codec=$6 rate=$7 channels=$8 answer=$9
    shift 9
    mkdir -p "$folder"
    sox -n -r "$rate" -c "$channels" -b 16 "$folder/says.wav" synth 30 sine "$hertz" vol 0.35
    case $at in *:*) at="[$at]" ;; esac
    {
        echo "sip_listen $at:5060"
        echo "audio_player aubridge,nobody"
        echo "audio_source aufile,$folder/says.wav"
        echo "audio_alert aubridge,nobody"
        for way in ausrc auplay; do
            echo "${way}_srate $rate"
            echo "${way}_channels $channels"
        done
        echo "rtp_stats no"
        echo "module_path ${BARESIP_MODULES:-/usr/lib/baresip/modules}"
        for module in g711 g722 g726 gsm l16 opus amr codec2 avcodec aubridge aufile ice; do echo "module $module.so"; done
        for module in account menu; do echo "module_app $module.so"; done
        for line in "$@"; do echo "$line"; done
    } >"$folder/config"
    echo "\"$name\" <sip:$number@$at${TRANSPORT:-}>;regint=0;audio_codecs=$codec;answermode=$answer;ptime=20${ACCOUNT:-}" >"$folder/accounts"
    : >"$folder/contacts"
}

# baresip_between NEAR FAR SECONDS NUMBER@ADDRESS: NEAR dials FAR and hangs up by leaving.
baresip_between() {
    on "$2" baresip -f "$WORK/$2" -t $(($3 + 1)) >"$WORK/$2.log" 2>&1 &
    far=$!
    sleep 0.5
    on "$1" baresip -f "$WORK/$1" -t "$3" -e "/dial sip:$4" >"$WORK/$1.log" 2>&1 || { cat "$WORK/$1.log" "$WORK/$2.log" >&2; return 1; }
    wait "$far" || true
}

# linphone_at HOST NUMBER NAME CODEC [LINE…]: the configuration of a linphonec without sound card in $WORK/HOST; CODEC as mime/rate/channels, several with commas, or all.
linphone_at() {
    folder=$WORK/$1
    mkdir -p "$folder"
    mkdir -p "$folder/.local/share/linphone"
    wanted=$4
    {
        echo "[sip]
sip_port=5060
sip_tcp_port=0
sip_tls_port=0
use_ipv6=0
register_only_when_network_is_up=0
contact=\"$3\" <sip:$2@linphone>
default_proxy=-1
verify_server_certs=0
[net]
mtu=0
nat_policy_ref=none
[sound]
echocancellation=0
[video]
enabled=0
capture=0
display=0
[rtp]
audio_rtp_port=7078
video_rtp_port=9078"
        n=0
        for codec in opus/48000/2 speex/8000/1 speex/16000/1 speex/32000/1 G726-16/8000/1 G726-24/8000/1 G726-32/8000/1 G726-40/8000/1 \
            AAL2-G726-16/8000/1 AAL2-G726-24/8000/1 AAL2-G726-32/8000/1 AAL2-G726-40/8000/1 GSM/8000/1 PCMU/8000/1 PCMA/8000/1 \
            G722/8000/1 G729/8000/1 L16/44100/2 L16/44100/1; do
            enabled=0
            case ",$wanted," in *",$codec,"* | ,all,) enabled=1 ;; esac
            echo "[audio_codec_$n]
mime=${codec%%/*}
rate=$(echo "$codec" | cut -d/ -f2)
channels=${codec##*/}
enabled=$enabled"
            n=$((n + 1))
        done
    } >"$folder/linphonerc"
}

# linphone_between NEAR FAR SECONDS ADDRESS: NEAR calls FAR, each saying its folder's says.wav; NEAR hangs up. Both need a default route.
linphone_between() {
    # Linphone takes its time: what comes next is said when it has said that it is ready.
    said() { n=0; until grep -q "$2" "$WORK/$1.log" 2>/dev/null || [ "$n" -gt 100 ]; do sleep 0.1; n=$((n + 1)); done; }
    rm -f "$WORK/$1.log" "$WORK/$2.log"
    talks() { (cd "$WORK/$1" && HOME=$WORK/$1 on "$1" stdbuf -o0 linphonec -c "$WORK/$1/linphonerc" $2 >"$WORK/$1.log" 2>&1); }
    { said "$2" 'linphonec>'; echo "soundcard use files"; echo "play $WORK/$2/says.wav"; said "$2" 'ended'; echo quit; } | talks "$2" -a &
    far=$!
    said "$2" 'Using wav'
    { said "$1" 'linphonec>'; echo "soundcard use files"; echo "play $WORK/$1/says.wav"; said "$1" 'Using wav'; echo "call sip:$4"
      said "$1" 'connected'; sleep "$3"; echo terminate; said "$1" 'ended'; echo quit; } | talks "$1" ''
    wait "$far" || true
}

# linphone_calls HOST ADDRESS STEP…: HOST calls, saying its folder's says.wav, does the steps (words of linphonec, or `sleep SECONDS`), and hangs up.
# It needs a default route.
linphone_calls() {
    caller=$1 to=$2
    shift 2
    said() { n=0; until grep -q "$1" "$WORK/$caller.log" 2>/dev/null || [ "$n" -gt 100 ]; do sleep 0.1; n=$((n + 1)); done; }
    rm -f "$WORK/$caller.log"
    {
        said 'linphonec>'
        echo "soundcard use files"
        echo "play $WORK/$caller/says.wav"
        said 'Using wav'
        echo "call $to"
        said 'connected'
        for step in "$@"; do
            case $step in
                sleep*) sleep "${step#sleep }" ;;
                *) echo "$step" ;;
            esac
        done
        echo terminate
        said 'ended'
        echo quit
    } | (cd "$WORK/$caller" && HOME=$WORK/$caller on "$caller" stdbuf -o0 linphonec -c "$WORK/$caller/linphonerc" >"$WORK/$caller.log" 2>&1)
}
