use super::*;
use proptest::prelude::*;

fn with_body(start: &str, headers: &str, kind: &str, body: &str) -> String {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n{headers}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn of(message: &str, digits: Digits) -> (String, Redacted) {
    let (bytes, redacted) = redact(message.as_bytes(), digits);
    assert_eq!(bytes.len(), message.len(), "lengths stay");
    let before = sip::parse(message.as_bytes()).expect("a message");
    let after = sip::parse(&bytes).expect("still a message");
    assert_eq!((after.start, after.call_id(), after.cseq()), (before.start, before.call_id(), before.cseq()));
    assert_eq!((after.body.len(), after.oddities), (before.body.len(), before.oddities));
    (String::from_utf8(bytes).expect("text"), redacted)
}

const KEYS: Redacted = Redacted { keys: true, credentials: false, body: false, digits: false };
const CREDENTIALS: Redacted = Redacted { credentials: true, keys: false, ..KEYS };
const BODY: Redacted = Redacted { body: true, keys: false, ..KEYS };
const DIGITS: Redacted = Redacted { digits: true, keys: false, ..KEYS };

const INVITE: &str = "INVITE sip:c@d SIP/2.0";

#[test]
fn no_key_of_a_session_description_stays_and_everything_else_does() {
    let key = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let sdp = |key: &str, more: &str, password: &str, mikey: &str, old: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nk=clear:{old}\r\na=key-mgmt:mikey {mikey}\r\nm=audio 4000 RTP/SAVP 0\r\n\
             a=ice-pwd:{password}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4;inline:{key}|2:4 KDR=3 FEC_KEY=inline:{more}\r\n\
             a=crypto:2 AES_CM_128_HMAC_SHA1_32\tINLINE:{key}\r\na=sendrecv\r\n"
        )
    };
    let message = with_body(
        INVITE,
        "",
        "application/sdp",
        &sdp(key, "AAAA", "asd88fgpdd777uzjYhagZg", "AQAFgM0X", "secret"),
    );
    let x = |n: usize| "x".repeat(n);
    let expected = with_body(INVITE, "", "application/sdp", &sdp(&x(40), "xxxx", &x(22), &x(8), &x(6)));
    assert_eq!(of(&message, Digits::Kept), (expected, KEYS));
}

#[test]
fn a_key_does_not_hide_behind_odd_writing() {
    for line in [
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline: SeCrEtKeY",
        "a=crypto: 1 AES_CM_128_HMAC_SHA1_80 inline:SeCrEtKeY|SeCrEtKeY",
        "a=crypto:1inline:SeCrEtKeY",
        " A=Crypto:1 X Inline:SeCrEtKeY",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 uri:SeCrEtKeY",
        "a=x-crypto:1 AES inline:SeCrEtKeY",
        "k=SeCrEtKeY",
        "k=base64:SeCrEtKeY",
        "a=key-mgmt:SeCrEtKeY",
        "a=key-mgmt:mikey SeCrEtKeY SeCrEtKeY",
    ] {
        for end in ["\r\n", "\n", "\r", ""] {
            let message = with_body(INVITE, "", "Application/SDP;x=1", &format!("v=0\r\n{line}{end}"));
            let (text, redacted) = of(&message, Digits::Kept);
            assert!(!text.contains("SeCrEt"), "{text}");
            assert_eq!(redacted, KEYS);
        }
    }
}

#[test]
fn credentials_go_and_the_rest_of_the_challenge_stays() {
    for (before, after) in [
        (
            "Authorization: Digest username=\"a\", realm=\"r\", response=\"0123abcd\", nonce=\"n\"\r\n",
            "Authorization: Digest username=\"a\", realm=\"r\", response=\"xxxxxxxx\", nonce=\"n\"\r\n",
        ),
        (
            "PROXY-authorization : digest nc=1,Response = 0123abcd,qop=auth\r\n",
            "PROXY-authorization : digest nc=1,Response = xxxxxxxx,qop=auth\r\n",
        ),
        (
            "Proxy-Authorization: Digest realm=\"r\",\r\n response=\r\n \"0123abcd\"\r\n",
            "Proxy-Authorization: Digest realm=\"r\",\r\n response=\r\n \"xxxxxxxx\"\r\n",
        ),
        ("Authorization: Basic QWxhZGRpbg==\r\n", "Authorization: Basicxxxxxxxxxxxxx\r\n"),
        ("Authorization: Bearer\r\n abc.def\r\n", "Authorization: Bearer\r\n xxxxxxx\r\n"),
        ("Authorization: response=\"ab\"\r\n", "Authorization:xxxxxxxxxxxxxx\r\n"),
        (
            "WWW-Authenticate: Digest nonce=\"n\", ck=\"00112233\", ik=\"44\"\r\n",
            "WWW-Authenticate: Digest nonce=\"n\", ck=\"xxxxxxxx\", ik=\"xx\"\r\n",
        ),
        (
            "Authentication-Info: rspauth=\"ab\", qop=auth\r\n",
            "Authentication-Info: rspauth=\"xx\", qop=auth\r\n",
        ),
        (
            "Authorization\r\n : Digest response=\"0123\"\r\n",
            "Authorization\r\n : Digest response=\"xxxx\"\r\n",
        ),
        (
            "Contact: <sip:a:1;x=sip:b?c:pass@192.0.2.1>\r\n",
            "Contact: <sip:a:1;x=sip:b?c:xxxx@192.0.2.1>\r\n",
        ),
        ("Contact: <sip:ann:pass@192.0.2.1:5060>\r\n", "Contact: <sip:ann:xxxx@192.0.2.1:5060>\r\n"),
        (
            "Contact: <SIPS:ann:p@192.0.2.1>, \"x\" <sip:b@c>\r\n",
            "Contact: <SIPS:ann:x@192.0.2.1>, \"x\" <sip:b@c>\r\n",
        ),
    ] {
        let message = with_body(INVITE, before, "application/sdp", "");
        assert_eq!(
            of(&message, Digits::Kept),
            (with_body(INVITE, after, "application/sdp", ""), CREDENTIALS)
        );
    }
    for harmless in [
        "Contact: <sip:ann@192.0.2.1:5060;ob>, <sip:192.0.2.1:5060>\r\n",
        "Proxy-Authenticate: Digest realm=\"r\", nonce=\"response\"\r\n",
        "Refer-To: <sip:b@c?Replaces=1%40d%3Bto-tag%3D2>\r\n",
    ] {
        let message = with_body(INVITE, harmless, "application/sdp", "");
        assert_eq!(of(&message, Digits::Withheld), (message.clone(), Redacted::default()));
    }
}

#[test]
fn credentials_behind_more_fields_than_are_looked_at_go_too() {
    let many = "X: y\r\n".repeat(sip::HEADERS_MAX + 10) + "Authorization: Digest response=\"0123abcd\"\r\n";
    let message = with_body(INVITE, &many, "application/sdp", "");
    assert!(!String::from_utf8_lossy(&redact(message.as_bytes(), Digits::Kept).0).contains("0123"));
}

#[test]
fn a_body_that_is_no_session_description_leaves_its_length_and_type() {
    for kind in
        ["text/plain", "application/isup", "application/pkcs7-mime", "message/cpim", "multipart/mixed"]
    {
        let message = with_body("MESSAGE sip:c@d SIP/2.0", "", kind, "meet me\r\nat 7");
        let expected = with_body("MESSAGE sip:c@d SIP/2.0", "", kind, "xxxxxxx\r\nxxxx");
        assert_eq!(of(&message, Digits::Kept), (expected, BODY));
    }
    // Said to be a description, but packed: nobody can look into it.
    let (text, _) =
        of(&with_body(INVITE, "Content-Encoding: gzip\r\n", "application/sdp", "\u{1f}secret"), Digits::Kept);
    assert!(!text.contains("secret"));
}

#[test]
fn what_stands_behind_the_end_of_a_message_goes() {
    let message = with_body(INVITE, "", "application/sdp", "") + "and a text";
    assert!(!String::from_utf8_lossy(&redact(message.as_bytes(), Digits::Kept).0).contains("text"));
}

#[test]
fn of_a_transfers_progress_the_status_stays() {
    let message =
        with_body("NOTIFY sip:c@d SIP/2.0", "", "message/sipfrag;version=2.0", "SIP/2.0 200 OK\r\nX: y\r\n");
    let expected =
        with_body("NOTIFY sip:c@d SIP/2.0", "", "message/sipfrag;version=2.0", "SIP/2.0 200 OK\r\nxxxx\r\n");
    assert_eq!(of(&message, Digits::Kept), (expected, BODY));
}

#[test]
fn digits_stay_where_digits_are_kept_and_go_in_a_pause() {
    for (kind, body) in [
        ("application/dtmf-relay", "Signal=7\r\nDuration=160\r\n"),
        ("application/dtmf", "7"),
        ("Application/DTMF; x=1", "7"),
        ("application/kpml-response+xml", "<kpml-response digits=\"7\"/>"),
    ] {
        let message = with_body("INFO sip:c@d SIP/2.0", "", kind, body);
        assert_eq!(of(&message, Digits::Kept), (message.clone(), Redacted::default()));
        let (text, redacted) = of(&message, Digits::Withheld);
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(!body.contains('7') && head.contains(kind), "{text}");
        assert_eq!(redacted, DIGITS);
    }
    // A body of another kind is nobody's digits: it goes either way.
    let (text, redacted) = of(&with_body("INFO sip:c@d SIP/2.0", "", "text/plain", "d=7"), Digits::Kept);
    assert!(!text.contains("d=7"));
    assert_eq!(redacted, BODY);
}

#[test]
fn of_a_body_of_several_parts_the_description_stays_and_its_keys_go() {
    let parts = |key: &str, text: &str| {
        format!(
            "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n\r\n\
             --b1\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b1--\r\n"
        )
    };
    let kind = "multipart/mixed;boundary=b1";
    let message = with_body(INVITE, "", kind, &parts("AbCd", "hello"));
    let expected = with_body(INVITE, "", kind, &parts("xxxx", "xxxxx"));
    assert_eq!(of(&message, Digits::Kept), (expected, Redacted { keys: true, ..BODY }));
}

#[test]
fn a_part_without_an_empty_line_and_lines_around_a_parts_header_go() {
    let parts = |text: &str| {
        format!(
            "--b1{text}\r\n{text}\r\n--b1\r\nX: {text}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b1\r\nv=0\r\n{text}\r\n--b1--\r\n"
        )
    };
    let kind = "multipart/mixed;boundary=b1";
    let (text, redacted) = of(&with_body(INVITE, "", kind, &parts("hello")), Digits::Kept);
    assert!(!text.contains("hello") && text.contains("\r\nContent-Type: text/plain\r\n"), "{text}");
    assert_eq!(redacted, BODY);
}

#[test]
fn a_field_behind_the_start_line_is_one_whatever_it_begins_with() {
    let message = b"INFO sip:a@b SIP/2.0\r\n Authorization: Digest response=\"0123\"\r\n\r\n";
    assert!(!String::from_utf8_lossy(&redact(message, Digits::Kept).0).contains("0123"));
}

/// So long that time in proportion to its square would never end.
#[test]
fn values_that_seem_to_stand_in_one_another_take_time_in_proportion_to_their_length() {
    let many = |text: &str| text.repeat(1 << 20);
    let one = |range: Range<usize>| Vec::from_iter([range]);
    assert_eq!(parameter_values(many("ck=").as_bytes(), b"ck"), one(3..3 << 20));
    assert_eq!(passwords((many("sip:") + "@x").as_bytes()), one(8..4 << 20));
    for harmless in [many("sip:"), many("sip:") + ";@x", many("sip:@")] {
        assert!(passwords(harmless.as_bytes()).is_empty());
    }
}

#[test]
fn what_was_redacted_reads_back() {
    for bits in 0..16 {
        assert_eq!(Redacted::from_bits(bits).bits(), bits);
    }
    let all: Vec<_> = Redacted::from_bits(15).words().collect();
    assert_eq!(all, ["keys", "credentials", "body", "digits"]);
}

proptest! {
    #[test]
    fn any_bytes_are_redacted_without_panic_and_keep_their_length(bytes: Vec<u8>, start in "(INVITE a SIP/2.0|SIP/2.0 200 OK)?") {
        let message = [start.as_bytes(), b"\r\n", &bytes].concat();
        prop_assert_eq!(redact(&message, Digits::Withheld).0.len(), message.len());
    }

    #[test]
    fn a_second_time_changes_nothing(body in "[ -~\r\n]{0,200}", header in "[ -~]{0,60}") {
        for kind in ["application/sdp", "text/plain", "multipart/mixed;boundary=b"] {
            let message = with_body(INVITE, &format!("Authorization: {header}\r\n"), kind, &format!("v=0\r\n{body}"));
            let (once, _) = redact(message.as_bytes(), Digits::Withheld);
            prop_assert_eq!(redact(&once, Digits::Withheld).0, once);
        }
    }
}
