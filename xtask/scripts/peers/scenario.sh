# Sourced after net.sh: SIPp scenarios in a few words. Needs the Debian package sip-tester.
#
#   scenario near caller; say INVITE 1 "$(sdp)"; await 100? 180? 200; say ACK 1; play caller.ulaw; pause 2000; say BYE 2; await 200; done_scenario
#   scenario far callee; hear INVITE; reply 180 Ringing; reply 200 OK "$(sdp)"; hear ACK; play callee.ulaw; hear BYE; reply 200 OK; done_scenario
#
# `near` sends the INVITE, `far` gets it. Words of the session description are variables: DIR, FORMATS, MAPS, PTIME, VERSION, ADDRESS, PORT.
# ROUTED=yes: a proxy that record-routes is between them. EXTRA holds more header lines of a message, FEATURES parameters of its Contact, TYPE another type of body. FAR_TAG makes another To tag. `sipp_far HOST NAME` and `sipp_near HOST NAME TO` run them.

PCMU='a=rtpmap:0 PCMU/8000'
PCMA='a=rtpmap:8 PCMA/8000'

sdp() {
    echo "v=0"
    echo "o=- 1 ${VERSION:-1} IN IP4 [local_ip]"
    echo "s=-"
    echo "c=IN IP4 ${ADDRESS:-[media_ip]}"
    echo "t=0 0"
    echo "m=audio ${PORT:-[rtpstream_audio_port]} RTP/AVP ${FORMATS:-0}"
    echo "${MAPS:-$PCMU}"
    [ -z "${PTIME-20}" ] || echo "a=ptime:${PTIME:-20}"
    [ -z "${DIR-sendrecv}" ] || echo "a=${DIR:-sendrecv}"
}

scenario() {
    ROLE=$1
    SCENARIO=$WORK/$2.xml
    {
        echo '<?xml version="1.0" encoding="UTF-8"?>'
        echo "<scenario name=\"$2\">"
    } >"$SCENARIO"
}

done_scenario() {
    [ "$ROLE" != far ] || printf '<pause milliseconds="300"/><Reference variables="us,them,asked,via,target"/>\n' >>"$SCENARIO"
    echo '</scenario>' >>"$SCENARIO"
}

body() {
    if [ -n "$1" ]; then
        printf 'Content-Type: %s\nContent-Length: [len]\n\n%s\n' "${TYPE:-application/sdp}" "$1"
    else
        printf 'Content-Length: 0\n\n'
    fi
}

# say METHOD CSEQ [BODY [BRANCH]]: a request of ours. BRANCH names its transaction where it is not METHOD-CSEQ (an ACK of a refusal, a CANCEL).
say() {
    retrans=' retrans="500"'
    cseq_of=$1
    [ "$1" != ACK ] && [ -z "${ONCE:-}" ] || retrans=
    if [ "$ROLE" = near ]; then
        parties="From: \"[name]\" <sip:[number]@[local_ip]>;tag=[call_number]near${TAG-[pid]}
To: <sip:[service]@[remote_ip]>[peer_tag_param]"
        uri='sip:[service]@[remote_ip]:[remote_port]'
        [ -z "${ROUTED:-}" ] || [ "$1" = INVITE ] || uri='[next_url]'
        contact='<sip:[number]@[local_ip]:[local_port]>'
    else
        parties='From:[$us];tag=[call_number]far[pid]
To:[$them]'
        uri='[$target]'
        contact='<sip:[local_ip]:[local_port]>'
    fi
    {
        echo "<send$retrans><![CDATA["
        echo "$1 $uri SIP/2.0"
        echo "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK[call_number]-[pid]-$ROLE-${4:-$1-$2}"
        echo "$parties"
        echo "Call-ID: [call_id]"
        echo "CSeq: $2 $cseq_of"
        echo "Contact: $contact${FEATURES:-}"
        echo "Max-Forwards: 70"
        [ -z "${ROUTED:-}" ] || [ "$1" = INVITE ] || echo "[routes]"
        [ -z "${EXTRA:-}" ] || echo "$EXTRA"
        body "${3:-}"
        echo "]]></send>"
    } >>"$SCENARIO"
}

# await CODE…: responses; one with a question mark may stay out.
await() {
    for code in "$@"; do
        case $code in
            *\?) echo "<recv response=\"${code%\?}\" optional=\"true\"/>" ;;
            *) echo "<recv response=\"$code\"${ROUTED:+ rrs=\"true\"}/>" ;;
        esac
    done >>"$SCENARIO"
}

# await_second CODE: a response whose second media line's port is to be known, as [$second].
await_second() {
    {
        echo "<recv response=\"$1\"><action><ereg regexp=\"m=audio [0-9]+.*m=audio ([0-9]+)\" search_in=\"msg\" check_it=\"true\" assign_to=\"both,second\"/></action></recv>"
        echo '<Reference variables="both,second"/>'
    } >>"$SCENARIO"
}

# hear METHOD: a request of the other side; the first INVITE tells who is who.
hear() {
    if [ "$1" = INVITE ] && [ "$ROLE" = far ]; then
        echo "<recv request=\"INVITE\"><action>"
        echo "<ereg regexp=\".*\" search_in=\"hdr\" header=\"From:\" assign_to=\"them\"/>"
        echo "<ereg regexp=\"[^;]*\" search_in=\"hdr\" header=\"To:\" assign_to=\"us\"/>"
        echo "<ereg regexp=\".*\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"asked\"/>"
        echo "<ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>"
        echo "<ereg regexp=\"sip:[^&gt;;]*\" search_in=\"hdr\" header=\"Contact:\" assign_to=\"target\"/>"
        echo "</action></recv>"
    else
        echo "<recv request=\"$1\"/>"
    fi >>"$SCENARIO"
}

# reply CODE REASON [BODY]: a response to what was heard last.
reply() {
    retrans=
    # shellcheck disable=SC2016 # SIPp's own variables
    if [ "$ROLE" = far ] && [ "$1" != 100 ]; then
        to="To:[\$us];tag=[call_number]${FAR_TAG-far}[pid]"
        [ -z "${OWN_DIALOG:-}" ] || to='[last_To:]'
    else
        to='[last_To:]'
    fi
    [ -z "${3:-}" ] || retrans=${REPLY_RETRANS-' retrans="500"'}
    [ "$1" -ge 200 ] || retrans=
    {
        echo "<send$retrans><![CDATA["
        echo "SIP/2.0 $1 $2"
        echo "[last_Via:]"
        echo "[last_From:]"
        echo "$to"
        echo "[last_Call-ID:]"
        echo "[last_CSeq:]"
        [ -z "${ROUTED:-}" ] || echo "[last_Record-Route:]"
        echo "Contact: <sip:[local_ip]:[local_port]>"
        [ -z "${EXTRA:-}" ] || echo "$EXTRA"
        body "${3:-}"
        echo "]]></send>"
    } >>"$SCENARIO"
}

# answer CODE REASON [BODY]: the response to the first INVITE, when other requests came in between.
answer() {
    {
        echo '<send retrans="500"><![CDATA['
        echo "SIP/2.0 $1 $2"
        echo 'Via:[$via]'
        echo 'From:[$them]'
        echo 'To:[$us];tag=[call_number]far[pid]'
        echo '[last_Call-ID:]'
        echo 'CSeq:[$asked]'
        echo 'Contact: <sip:[local_ip]:[local_port]>'
        [ -z "${EXTRA:-}" ] || echo "$EXTRA"
        body "${3:-}"
        echo ']]></send>'
    } >>"$SCENARIO"
}

pause() { echo "<pause milliseconds=\"$1\"/>" >>"$SCENARIO"; }
play() { echo "<nop><action><exec rtp_stream=\"$1,-1,${2:-0},${3:-PCMU/8000}\"/></action></nop>" >>"$SCENARIO"; }
hush() { echo '<nop><action><exec rtp_stream="pause"/></action></nop>' >>"$SCENARIO"; }
resume() { echo '<nop><action><exec rtp_stream="resume"/></action></nop>' >>"$SCENARIO"; }
# run CMD: a command beside the call, as a sender of media of another kind.
run() { echo "<nop><action><exec command=\"$(echo "$1" | sed 's/&/\&amp;/g; s/"/\&quot;/g')\"/></action></nop>" >>"$SCENARIO"; }

# sipp_far HOST NAME ADDRESS [OPTION…]: answers in the background; its process is $FAR.
sipp_far() {
    where=$1 name=$2 address=$3
    shift 3
    (cd "$WORK" && on "$where" sipp -sf "$name.xml" -i "$address" -mi "$address" -p 5060 -m 1 -nostdin -trace_err "$@" >/dev/null 2>"$WORK/$name.log") &
    FAR=$!
    sleep 1
}

# sipp_near HOST NAME ADDRESS TO@REMOTE [OPTION…]: calls; FROM and CALLER are its number and name.
sipp_near() {
    where=$1 name=$2 address=$3 to=$4
    shift 4
    (cd "$WORK" && on "$where" sipp -sf "$name.xml" -i "$address" -mi "$address" -p 5060 -m 1 -nostdin -trace_err -s "${to%@*}" \
        -key number "${FROM:-2001}" -key name "${CALLER:-Front Desk}" "$@" "${to#*@}:5060" >/dev/null 2>"$WORK/$name.log") ||
        { cat "$WORK"/*.log "$WORK"/*_errors.log >&2; return 1; }
}
