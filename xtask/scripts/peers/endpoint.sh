#!/bin/sh
# The Record-A-Call endpoint among user agents and servers of others: they call it, over UDP, TCP and TLS and with digests; it registers at
# Kamailio, is called through it, joins conversations, and records a session of two streams (SIPREC). Each case is judged by its recording: is the tone right, and the length, and who
# is named? Optional: needs root and the packages of net.sh, peers.sh and appliance.sh, openssl.
#
#   xtask/scripts/peers/endpoint.sh [CASE…]      all of them without, but asterisk, which Debian 12 does not have; `endpoint.sh list` names them. KEEP=yes keeps the folder of each
PEERS=$(dirname "$0")
CASES='baresip-udp baresip-tcp baresip-tls baresip-digest pjsip-tls pjsip-digest linphone-tls linphone-digest
linphone-hold register-md5 register-sha256 register-tcp register-tls join-sipp join-baresip join-baresip-tls join-pjsip join-md5 join-sha256
join-large large-refused siprec-sipp route crash'
if [ "${1:-}" = list ]; then echo "$CASES"; exit; fi
if [ $# != 1 ]; then
    failed=
    for case in ${*:-$CASES}; do
        "$0" "$case" || failed="$failed $case"
    done
    [ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
    exit
fi
CASE=$1
. "$PEERS/net.sh"
. "$PEERS/peers.sh"
. "$PEERS/scenario.sh"
. "$PEERS/appliance.sh"
RECORDER_IP=192.0.2.2 PROXY_IP=192.0.2.5 ONE=192.0.2.21
host recorder "$RECORDER_IP"
host one "$ONE"
OWN="[record_a_call]
listen = \"0.0.0.0:5060\"
rtp_ports = \"12000-12100\"
from = [\"$ONE\", \"$PROXY_IP\"]
join = [\"$ONE\", \"$PROXY_IP\"]"
SITE='[site]
extensions = "2000-2999"'
(umask 077 && echo sesame >"$WORK/password")
DIGEST="[record_a_call.digest]
user = \"2001\"
password_file = \"$WORK/password\""

# An authority, and certificates for the addresses of the recorder and of who speaks with it.
certificates() {
    at() { openssl req -newkey rsa:2048 -nodes -keyout "$WORK/$1.key" -subj "/CN=$1" 2>/dev/null |
        openssl x509 -req -CA "$WORK/ca.pem" -CAkey "$WORK/ca.key" -days 2 -extfile "$WORK/$1.ext" -out "$WORK/$1.pem" 2>/dev/null; }
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/ca.key" -subj /CN=authority -days 2 -out "$WORK/ca.pem" 2>/dev/null
    for name in "recorder $RECORDER_IP" "one $ONE" "proxy $PROXY_IP"; do
        printf 'subjectAltName=IP:%s\nbasicConstraints=CA:FALSE\n' "${name#* }" >"$WORK/${name%% *}.ext"
        at "${name%% *}"
        cat "$WORK/${name%% *}.key" >"$WORK/${name%% *}-both.pem"
        cat "$WORK/${name%% *}.pem" >>"$WORK/${name%% *}-both.pem"
    done
    chmod 600 "$WORK/recorder.key"
    TLS="tls_listen = \"0.0.0.0:5061\"
certificate = \"$WORK/recorder.pem\"
key = \"$WORK/recorder.key\"
authorities = \"$WORK/ca.pem\""
}

# What a host heard and said, to be looked at afterwards.
watch() {
    ip netns exec "$1-$RUN" tcpdump -i eth0 -U -s 0 -w "$WORK/$1.pcap" 'tcp or udp' 2>"$WORK/tcpdump-$1.log" &
    until grep -qs listening "$WORK/tcpdump-$1.log"; do sleep 0.1; done
}
# sip_of HOST FILTER FIELD…: from what was watched.
sip_of() {
    sleep 1
    file=$WORK/$1.pcap filter=$2
    shift 2
    fields=
    for field in "$@"; do fields="$fields -e $field"; done
    # shellcheck disable=SC2086 # a list of options
    tshark -r "$file" -Y "$filter" -T fields $fields 2>/dev/null
}

# judge NTH HZ SECONDS EXTENSION OTHER: the recording of this number (0 the first) has this tone for as long, within half a second, and names
# these. FROM is where it is listened to.
judge() {
    stop_appliance
    recordings >"$WORK/list.json"
    row=$(sed -n "$(($1 + 1))p" "$WORK/list.json")
    [ -n "$row" ] || { echo "$CASE: no recording $1" >&2; cat "$WORK/appliance.log" >&2; exit 1; }
    "$EARWITNESS" archive export -a "$WORK/archive" "$(echo "$row" | jq -r .id)" -o "$WORK/$1.wav" 2>/dev/null
    heard=$(pitch "$WORK/$1.wav" 1 "${FROM:-1}" 1)
    told=$(echo "$row" | jq -r '"\(.extension) \(.outside_number // .other_party) \(.direction) \(.named_by) \(.codecs // .tracks[0].codec // "?") lost \(.tracks[0].lost_network)"')
    length=$(soxi -D "$WORK/$1.wav")
    echo "$CASE: $(soxi -r "$WORK/$1.wav") Hz sampled, tone $heard Hz (said $2), $length s (talked $3), $told"
    is_near "$heard" "$2" 3 && is_near "$length" "$3" 0.6 &&
        [ "$(echo "$row" | jq -r .extension)" = "$4" ] && [ "$(echo "$row" | jq -r '.outside_number // .other_party')" = "$5" ] ||
        { echo "$CASE: wrong" >&2; exit 1; }
}

# baresip_calls ADDRESS SECONDS
baresip_calls() { on one baresip -f "$WORK/one" -t "$2" -e "/dial sip:$1" >"$WORK/one.log" 2>&1 || { cat "$WORK/one.log" >&2; exit 1; }; }

# A proxy that registers, asks who one is, and record-routes: Kamailio. Conversations are its number conf, at ONE.
# registrar ALGORITHM [DEFINE…]
registrar() {
    host proxy "$PROXY_IP"
    PROXY_TLS="tls:$PROXY_IP:5061"
    algorithm=$1
    shift
    cat >"$WORK/tls.cfg" <<TLS
[server:default]
method = TLSv1.2+
private_key = $WORK/proxy.key
certificate = $WORK/proxy.pem
TLS
    listen=
    [ ! -e "$WORK/proxy.pem" ] || listen="-l $PROXY_TLS -A WITH_TLS"
    # shellcheck disable=SC2086 # lists of words
    on proxy kamailio -f "$PEERS/registrar.cfg" -l "udp:$PROXY_IP:5060" -l "tcp:$PROXY_IP:5060" $listen -DD -E -m 32 -M 8 -Y "$WORK" -P "$WORK/kamailio.pid" \
        -A "ALGORITHM=\"$algorithm\"" -A "TLS_CFG=\"$WORK/tls.cfg\"" "$@" >"$WORK/kamailio.log" 2>&1 &
    sleep 2
}
# REGISTER of the recorder, with the transport.
at_registrar() {
    REGISTER="[record_a_call.register]
registrar = \"$PROXY_IP:$([ "$1" = tls ] && echo 5061 || echo 5060)\"
transport = \"$1\"
user = \"5999\"
password_file = \"$WORK/password\""
}

# asterisk_at HOST: Asterisk there, as the page on Record-A-Call has it.
asterisk_at() {
    conf=$(mktemp -d "${ASTERISK_ROOT:-}/tmp/asterisk.XXXXXX")
    own=${conf#"${ASTERISK_ROOT:-}"}
    printf '[directories]\nastetcdir => %s\nastrundir => %s\nastlogdir => %s\nastdbdir => %s\n' "$own" "$own" "$own" "$own" >"$conf/asterisk.conf"
    printf '[modules]\nautoload = yes\nnoload = chan_sip.so\n' >"$conf/modules.conf"
    sed -n '/^; pjsip.conf/,/^```/p' "$PEERS/../../../docs/record-a-call.md" | sed "/^\`\`\`/d; /^; extensions.conf/,\$d; s/192\.0\.2\.5:/$RECORDER_IP:/" >"$conf/pjsip.conf"
    printf '[transport]\ntype = transport\nprotocol = udp\nbind = 0.0.0.0:5060\n' >>"$conf/pjsip.conf"
    printf '[recorder]\ntype = auth\nauth_type = userpass\nusername = pbx\npassword = sesame\n' >>"$conf/pjsip.conf"
    sed -i '0,/^type = endpoint/s//type = endpoint\noutbound_auth = recorder/' "$conf/pjsip.conf"
    for number in 2001 2002; do
        printf '[%s]\ntype = endpoint\ncontext = phones\naors = %s\nallow = !all,alaw,ulaw\ndirect_media = no\n[%s]\ntype = aor\nmax_contacts = 1\n' $number $number $number >>"$conf/pjsip.conf"
    done
    {
        echo '[phones]'
        sed -n '/^; extensions.conf/,/^```/p' "$PEERS/../../../docs/record-a-call.md" | grep '^exten'
        echo 'exten => _2XXX,2,Dial(PJSIP/${EXTEN},20)'
    } >"$conf/extensions.conf"
    # shellcheck disable=SC2086 # a command with its options
    on "$1" ${ASTERISK_ROOT:+chroot "$ASTERISK_ROOT"} asterisk -f -C "$own/asterisk.conf" >"$WORK/asterisk.log" 2>&1 &
}

# establish, clear: tell the recorder of the conversation at CONFERENCE, for extension 2001, with somebody outside.
establish() {
    answer=$(api POST /events "{\"event\": \"established\", \"uri\": \"$CONFERENCE\", \"extension\": \"2001\"}")
    case $answer in *'"status":4'*) echo "$CASE: $answer" >&2; exit 1 ;; esac
    api POST /events '{"extension": "2001", "outside_number": "01632960101"}' >"$WORK/report.json"
}
clear() { api POST /events "{\"event\": \"cleared\", \"uri\": \"$CONFERENCE\"}" >"$WORK/report.json"; }

# session DIRECTION VERSION: what a session recording client says: two streams, and whose voice each is (RFC 7865).
session() {
    printf -- '--session\nContent-Type: application/sdp\n\n'
    DIR=$1 VERSION=$2 MAPS="$PCMA
a=label:1" sdp
    printf 'm=audio 7000 RTP/AVP 8\n%s\na=label:2\na=ptime:20\na=%s\n\n' "$PCMA" "$1"
    printf -- '--session\nContent-Type: application/rs-metadata+xml\nContent-Disposition: recording-session\n\n'
    cat <<XML
<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
<datamode>complete</datamode>
<session session_id="hVpd7YQgRW2nD22h7q60JQ=="><sipSessionID>ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2</sipSessionID></session>
<participant participant_id="srfBElmCRp2QB23b7Mpk0w=="><nameID aor="tel:01632960001"><name xml:lang="en">Bob</name></nameID></participant>
<participant participant_id="zSfPoSvdSDCmU3A3TRDxAw=="><nameID aor="sip:2001@pbx.example"><name xml:lang="en">Ann Bell</name></nameID></participant>
<stream stream_id="UAAMm5GRQKSCMVvLyl4rFw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>1</label></stream>
<stream stream_id="i1Pz3to5hGk8fuXl+PbwCw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>2</label></stream>
<participantstreamassoc participant_id="srfBElmCRp2QB23b7Mpk0w=="><send>UAAMm5GRQKSCMVvLyl4rFw==</send><recv>i1Pz3to5hGk8fuXl+PbwCw==</recv></participantstreamassoc>
<participantstreamassoc participant_id="zSfPoSvdSDCmU3A3TRDxAw=="><send>i1Pz3to5hGk8fuXl+PbwCw==</send><recv>UAAMm5GRQKSCMVvLyl4rFw==</recv></participantstreamassoc>
</recording>
--session--
XML
}
# second_voice, second_hush: SIPp sends one stream of audio; the other one goes where the answer's second line says.
second_voice() {
    run "echo \$\$ >second.pid; exec ffmpeg -nostdin -loglevel error -re -i two.wav -af asetnsamples=160 -c:a pcm_alaw -f rtp 'rtp://$RECORDER_IP:[\$second]?localrtpport=7000&pkt_size=172'"
}
second_hush() { run "kill \$(cat second.pid)"; }

case $CASE in
    baresip-udp | baresip-tcp)
        appliance recorder "$OWN" "$SITE"
        TRANSPORT=";transport=${CASE#*-}" baresip_at one "$ONE" 2001 Ann 600 PCMA/8000/1 8000 1 manual
        baresip_calls "5999@$RECORDER_IP;transport=${CASE#*-}" 5
        judge 0 600 5 2001 5999
        ;;
    baresip-tls)
        certificates
        appliance recorder "$OWN" "$TLS" "$SITE"
        watch one
        TRANSPORT=';transport=tls' baresip_at one "$ONE" 2001 Ann 600 PCMU/8000/1 8000 1 manual "sip_certificate $WORK/one-both.pem" "sip_cafile $WORK/ca.pem"
        baresip_calls "5999@$RECORDER_IP:5061;transport=tls" 5
        judge 0 600 5 2001 5999
        [ -z "$(sip_of one 'sip' frame.number)" ] || { echo "SIP in clear" >&2; exit 1; }
        ;;
    baresip-digest)
        # It answers none of two questions when it does not know the first.
        appliance recorder "$OWN" "$DIGEST" 'algorithms = ["md5"]' "$SITE"
        watch one
        ACCOUNT=';auth_user=2001;auth_pass=sesame' baresip_at one "$ONE" 2001 Ann 600 PCMA/8000/1 8000 1 manual
        baresip_calls "5999@$RECORDER_IP" 5
        echo "$CASE: challenged $(count 'challenged_total{why="unsaid"}'), $(sip_of one 'sip.auth.username' sip.Method sip.auth.algorithm | sort | uniq -c | tr -s ' \n' ' ')"
        judge 0 600 5 2001 5999
        ;;
    pjsip-tls | pjsip-digest)
        certificates
        appliance recorder "$OWN" "$TLS" "$SITE" "$DIGEST"
        watch one
        tone one 15 600
        if [ "$CASE" = pjsip-tls ]; then
            phone one "$ONE" 2001 Ann transport=tls "ca=$WORK/ca.pem" secret=sesame codec=PCMA -- "call:5999@$RECORDER_IP:5061" up sleep:5 bye done
        else
            phone one "$ONE" 2001 Ann secret=sesame codec=PCMA -- "call:5999@$RECORDER_IP" up sleep:5 bye done
            echo "$CASE: $(sip_of one 'sip.auth.username' sip.Method sip.auth.algorithm | sort | uniq -c | tr -s ' \n' ' ')"
        fi
        judge 0 600 5 2001 5999
        ;;
    linphone-tls | linphone-digest)
        certificates
        on one ip route add default via "$RECORDER_IP"
        appliance recorder "$OWN" "$TLS" "$SITE" "$([ "$CASE" = linphone-tls ] || echo "$DIGEST")"
        watch one
        linphone_at one 2001 Ann PCMA/8000/1
        if [ "$CASE" = linphone-tls ]; then
            # Its TLS library knows no addresses in certificates.
            sed -i "s|^sip_tls_port=0|sip_tls_port=-1|; s|^verify_server_certs=0|verify_server_certs=1\nverify_server_cn=0\nroot_ca=$WORK/ca.pem|" "$WORK/one/linphonerc"
            to="sip:5999@$RECORDER_IP:5061;transport=tls"
        else
            printf '[auth_info_0]\nusername=2001\nuserid=2001\npasswd=sesame\nrealm=earwitness\nalgorithm=%s\n' "${ALGORITHM:-SHA-256}" >>"$WORK/one/linphonerc"
            to="sip:5999@$RECORDER_IP"
        fi
        sox -n -r 8000 -c 1 -b 16 "$WORK/one/says.wav" synth 30 sine 600 vol 0.35
        linphone_calls one "$to" 'sleep 5'
        [ "$CASE" = linphone-tls ] || echo "$CASE: $(sip_of one 'sip.auth.username' sip.Method sip.auth.algorithm | sort | uniq -c | tr -s ' \n' ' ')"
        judge 0 600 5 2001 5999
        ;;
    register-*)
        transport=udp algorithm=MD5
        case $CASE in *-tls | *-tcp) transport=${CASE#*-} ;; *-sha256) algorithm=SHA-256 ;; esac
        [ "$transport" != tls ] || certificates
        at_registrar "$transport"
        registrar "$algorithm"
        watch proxy
        appliance recorder "$OWN" "${TLS:-}" "$SITE" "$REGISTER"
        until_count registered 1 20
        echo "$CASE: $(sip_of proxy 'sip.Method == "REGISTER" && sip.auth.username' sip.auth.algorithm | sort | uniq -c | tr -s ' \n' ' ')"
        # Called through the proxy, which stays in the way.
        baresip_at one "$ONE" 2001 Ann 600 PCMA/8000/1 8000 1 manual
        baresip_calls "5999@$PROXY_IP" 5
        judge 0 600 5 2001 5999
        grep -q 'UNREGISTERED 5999' "$WORK/kamailio.log" || { echo "$CASE: not withdrawn at the end" >&2; exit 1; }
        ;;
    join-sipp)
        appliance recorder "$OWN" "$SITE"
        tone talk 10 600
        scenario far answers
        FORMATS=8 MAPS=$PCMA
        hear INVITE; reply 180 Ringing; pause 300; reply 200 OK "$(sdp)"; hear ACK; play talk.alaw 8 PCMA/8000; hear BYE; hush; reply 200 OK; done_scenario
        sipp_far one answers "$ONE"
        CONFERENCE=sip:conf@$ONE
        establish
        sleep 5.1
        clear
        wait "$FAR"
        judge 0 600 5 2001 01632960101
        ;;
    join-baresip | join-baresip-tls)
        certificates
        appliance recorder "$OWN" "$TLS" "$SITE"
        CONFERENCE=sip:conf@$ONE
        if [ "$CASE" = join-baresip-tls ]; then CONFERENCE="sip:conf@$ONE:5061;transport=tls" TRANSPORT=';transport=tls'; fi
        baresip_at one "$ONE" conf Conference 600 PCMA/8000/1 8000 1 auto "sip_certificate $WORK/one-both.pem" "sip_cafile $WORK/ca.pem"
        on one baresip -f "$WORK/one" -t 20 >"$WORK/one.log" 2>&1 &
        sleep 1
        establish
        sleep 5
        clear
        until_count running 0 10
        judge 0 600 5 2001 01632960101
        ;;
    join-pjsip)
        # The other side hangs up; where callers must say who they are, it need not.
        appliance recorder "$OWN" "$SITE" "$DIGEST"
        tone one 15 600
        phone one "$ONE" conf Conference codec=PCMA -- ring up sleep:5 bye done &
        far=$!
        sleep 2
        CONFERENCE=sip:conf@$ONE
        establish
        wait "$far"
        until_count running 0 10
        echo "$CASE: challenged $(count 'challenged_total{why="unsaid"}')"
        judge 0 600 5 2001 01632960101
        ;;
    join-md5 | join-sha256 | join-large)
        # Kamailio asks with 407, and stays in the way; the conversation is behind it. A large INVITE goes there over TCP (RFC 3261, 18.1.1).
        algorithm=MD5
        [ "$CASE" != join-sha256 ] || algorithm=SHA-256
        at_registrar udp
        registrar "$algorithm"
        watch proxy
        appliance recorder "$OWN" "$SITE" "$REGISTER"
        until_count registered 1 20
        baresip_at one "$ONE" conf Conference 600 PCMA/8000/1 8000 1 auto
        on one baresip -f "$WORK/one" -t 20 >"$WORK/one.log" 2>&1 &
        sleep 1
        CONFERENCE=sip:conf@$PROXY_IP
        [ "$CASE" != join-large ] || CONFERENCE="$CONFERENCE;x=$(printf 'a%.0s' $(seq 220))"
        establish
        sleep 5
        clear
        until_count running 0 10
        echo "$CASE: $(sip_of proxy "ip.src == $RECORDER_IP && sip.Method" sip.Method sip.auth.algorithm sip.Via.transport | uniq -c | tr -s ' \n' ' ')"
        judge 0 600 5 2001 01632960101
        ;;
    large-refused)
        # The INVITE is larger than 1,300 bytes, and nobody takes connections there: over UDP after all (RFC 3261, 18.1.1).
        appliance recorder "$OWN" "$SITE"
        watch one
        tone talk 10 600
        scenario far answers
        FORMATS=8 MAPS=$PCMA
        hear INVITE; reply 200 OK "$(sdp)"; hear ACK; play talk.alaw 8 PCMA/8000; hear BYE; hush; reply 200 OK; done_scenario
        sipp_far one answers "$ONE"
        CONFERENCE=sip:$(printf 'a%.0s' $(seq 230))@$ONE
        establish
        sleep 5.5
        clear
        wait "$FAR"
        [ -n "$(sip_of one "ip.src == $RECORDER_IP && tcp.dstport == 5060 && tcp.flags.syn == 1" frame.number)" ] || { echo "no connection was tried" >&2; exit 1; }
        # The half second is that in which nobody takes the connection.
        judge 0 600 5.5 2001 01632960101
        ;;
    siprec-sipp)
        # A recording session (RFC 7866): two streams with a tone each, whose parties the metadata names, paused and resumed by re-INVITE.
        appliance recorder "$OWN" "$SITE"
        tone one 15 700
        tone two 15 1300
        scenario near records
        FORMATS=8 FEATURES=';+sip.src' TYPE='multipart/mixed;boundary=session'
        wants='Require: siprec
Accept: application/sdp, application/rs-metadata'
        EXTRA=$wants say INVITE 1 "$(session sendonly 1)"; await 100? 180?; await_second 200; say ACK 1; second_voice; play one.alaw 8 PCMA/8000; pause 3000
        hush; second_hush; EXTRA=$wants say INVITE 2 "$(session inactive 2)"; await 100? 200; say ACK 2; pause 2000
        EXTRA=$wants say INVITE 3 "$(session sendonly 3)"; await 100?; await_second 200; say ACK 3; second_voice; resume; pause 3000
        hush; second_hush; say BYE 4; await 200; done_scenario
        FROM=src sipp_near one records "$ONE" "srs@$RECORDER_IP"
        until_count running 0 10
        # Whoever is one of the site's extensions is on the left.
        FROM=1.5 judge 0 1300 8 2001 01632960001
        for at in 1.5 6.5; do
            heard="$(pitch "$WORK/0.wav" 1 $at 1) $(pitch "$WORK/0.wav" 2 $at 1)"
            echo "$CASE: from $at s on $heard Hz"
            is_near "${heard% *}" 1300 3 && is_near "${heard#* }" 700 3 || { echo "$CASE: wrong at $at s" >&2; exit 1; }
        done
        for channel in 1 2; do
            heard=$(level "$WORK/0.wav" $channel 3.5 1)
            echo "$CASE: in the pause a level of $heard in channel $channel"
            is_near "$heard" 0 0.001 || { echo "$CASE: not silent in the pause" >&2; exit 1; }
        done
        jq -c '[.extension_name, .other_party_name, (.tracks | length), [.holds[] | [.start_ms, .end_ms]]]' "$WORK/list.json"
        jq -e '.extension_name == "Ann Bell" and .other_party_name == "Bob" and .named_by == "SIPREC metadata" and (.tracks | length) == 2 and
            (.holds | length) == 1 and (.holds[0] | .start_ms > 2700 and .start_ms < 3300 and .end_ms > 4700 and .end_ms < 5300)' "$WORK/list.json" >/dev/null ||
            { echo "$CASE: wrong" >&2; exit 1; }
        ;;
    route)
        # The recorder gets another address: the PBX is told.
        at_registrar udp
        registrar MD5
        appliance recorder "$OWN" "$SITE" "$REGISTER"
        until_count registered 1 20
        ip -n "recorder-$RUN" addr del "$RECORDER_IP/24" dev eth0
        ip -n "recorder-$RUN" addr add 192.0.2.3/24 dev eth0
        changed=$(date +%s)
        until grep -q 'REGISTERED 5999 .*sip:5999@192.0.2.3' "$WORK/kamailio.log"; do
            [ $(($(date +%s) - changed)) -lt 90 ] || { echo "$CASE: the registrar was not told" >&2; cat "$WORK/kamailio.log" >&2; exit 1; }
            sleep 0.5
        done
        echo "$CASE: told after $(($(date +%s) - changed)) s"
        baresip_at one "$ONE" 2001 Ann 600 PCMA/8000/1 8000 1 manual
        baresip_calls "5999@$PROXY_IP" 5
        judge 0 600 5 2001 5999
        ;;
    linphone-hold)
        # Opus, hold, retrieve, then G.722 by re-INVITE, hold, retrieve. And the same call as a mirror port saw it: is the audio the same?
        on one ip route add default via "$RECORDER_IP"
        # Linphone holds nobody who sends nothing.
        appliance recorder "$OWN" 'sends = "silence"' "$SITE"
        watch recorder
        linphone_at one 2001 Ann opus/48000/2,G722/8000/1
        sox -n -r 48000 -c 1 -b 16 "$WORK/one/says.wav" synth 60 sine 600 vol 0.35
        linphone_calls one "sip:5999@$RECORDER_IP" 'sleep 4' pause 'sleep 3' resume 'sleep 4' 'codec disable 0' pause 'sleep 2' resume 'sleep 4'
        sleep 1
        FROM=2 judge 0 600 17 2001 5999
        jq -c '[.holds[] | [.start_ms, .end_ms]]' "$WORK/list.json"
        [ "$(jq '.holds | length' "$WORK/list.json")" = 2 ] || exit 1
        # Before, on and after each hold; Linphone says its file all the time.
        for at in 1 5 8.5 11.5 14; do is_near "$(pitch "$WORK/0.wav" 1 $at 1)" 600 3 || { echo "$CASE: wrong at $at s" >&2; exit 1; }; done
        sip_of recorder 'sip.Method == "INVITE"' sdp.media sdp.media_attr | sed 's/telephone-event.*//'
        "$EARWITNESS" record -r "$WORK/recorder.pcap" -a "$WORK/replayed" >/dev/null 2>&1
        id=$("$EARWITNESS" archive list -a "$WORK/replayed" --json | jq -r .id)
        "$EARWITNESS" archive export -a "$WORK/replayed" "$id" -o "$WORK/replayed.wav" 2>/dev/null
        "$PYTHON" "$PEERS/same_audio.py" "$WORK/0.wav" "$WORK/replayed.wav"
        ;;
    asterisk)
        # A call between two telephones of Asterisk, which has the recorder hear it, as docs/record-a-call.md has it. ASTERISK_ROOT: the folder of another
        # system (chroot) that has Asterisk.
        host two 192.0.2.22
        host proxy "$PROXY_IP"
        appliance recorder "$OWN" "$SITE" "$(echo "$DIGEST" | sed 's/2001/pbx/')"
        asterisk_at proxy
        sleep 8
        tone one 15 440
        tone two 15 620
        phone two 192.0.2.22 2002 Ben registrar=$PROXY_IP codec=PCMA -- register ring up done &
        far=$!
        sleep 1.5
        phone one "$ONE" 2001 Ann registrar=$PROXY_IP codec=PCMA -- register "call:2002@$PROXY_IP" up sleep:5 bye done
        wait "$far" || true
        until_count running 0 5
        stop_appliance
        recordings >"$WORK/list.json"
        "$EARWITNESS" archive export -a "$WORK/archive" "$(jq -r .id "$WORK/list.json")" -o "$WORK/0.wav" 2>/dev/null
        for hertz in 440 620; do
            heard=$(sox "$WORK/0.wav" -n remix 1 trim 1 2 sinc $((hertz - 30))-$((hertz + 30)) stat 2>&1 | awk '/RMS.*amplitude/ {print $3}')
            echo "$CASE: $hertz Hz at a level of $heard"
            awk -v heard="$heard" 'BEGIN { exit !(heard > 0.1) }'
        done
        rm -rf "$conf"
        jq -c '[.extension, .other_party, .named_by, .duration_ms, .state]' "$WORK/list.json"
        is_near "$(jq .duration_ms "$WORK/list.json")" 5000 700
        ;;
    crash)
        # kill -9 in a call: what was heard up to then is there, and after a start it answers at once.
        appliance recorder "$OWN" "$SITE"
        tone talk 10 600
        scenario near talks
        FORMATS=8 MAPS=$PCMA
        say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play talk.alaw 8 PCMA/8000; pause 60000; done_scenario
        (cd "$WORK" && on one sipp -sf talks.xml -i "$ONE" -p 5060 -mp 20000 -m 5 -r 50 -nostdin -s 5999 -key number 2001 -key name Ann "$RECORDER_IP:5060" >/dev/null 2>&1) &
        until_count running 5 10
        sleep 5
        kill -9 "$APPLIANCE"
        killed=$(date +%s.%N)
        wait "$APPLIANCE" || true
        scenario near asks
        say OPTIONS 1; await 200; done_scenario
        ip netns exec "recorder-$RUN" "$EARWITNESS" run -c "$WORK/appliance.toml" -a "$WORK/archive" >>"$WORK/appliance.log" 2>&1 &
        APPLIANCE=$!
        on one "$PYTHON" "$PEERS/ping.py" "$RECORDER_IP" "$killed"
        sleep 1
        stop_appliance
        recordings >"$WORK/list.json"
        for id in $(jq -r .id "$WORK/list.json"); do
            "$EARWITNESS" archive export -a "$WORK/archive" "$id" -o "$WORK/one.wav" 2>/dev/null
            length=$(soxi -D "$WORK/one.wav")
            last=$(echo "$length" | awk '{print $1 - 0.15}')
            echo "$CASE: $(jq -r "select(.id == \"$id\") | .state" "$WORK/list.json"), $length s, at its end $(pitch "$WORK/one.wav" 1 "$last" 0.1) Hz"
        done
        [ "$(wc -l <"$WORK/list.json")" = 5 ]
        "$EARWITNESS" archive verify -a "$WORK/archive" | head -1
        ;;
    *) echo "$0: no case $CASE; there are $CASES" >&2; exit 2 ;;
esac
