//! Messages that are right, odd and wrong. The messages are ours; the kinds of oddity are RFC 4475's.

use super::*;

const INVITE: &[u8] = b"INVITE sip:2001@192.0.2.10 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK1\r\n\
    From: \"Ann \\\"The\\\" Example\" <sip:2000@192.0.2.10;user=phone>;tag=abc\r\n\
    To: <sip:2001@192.0.2.10>\r\n\
    Call-ID: 1@192.0.2.20\r\n\
    CSeq: 7 INVITE\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\r\nv=0\r\n";

fn odd(message: &[u8]) -> Vec<Oddity> {
    parse(message).expect("SIP").oddities
}

#[test]
fn a_plain_invite_is_read() {
    let message = parse(INVITE).expect("SIP");
    assert_eq!(message.oddities, []);
    assert_eq!(message.method(), Some(&b"INVITE"[..]));
    assert_eq!(message.call_id(), Some(&b"1@192.0.2.20"[..]));
    assert_eq!(message.cseq(), Some((7, &b"INVITE"[..])));
    assert_eq!(sdp_body(&message), Some(&b"v=0\r\n"[..]));
    let from = message.from().expect("From");
    assert_eq!(
        (from.tag(), from.uri.user, from.uri.host),
        (Some(&b"abc"[..]), &b"2000"[..], &b"192.0.2.10"[..])
    );
    assert_eq!(text(from.display), "Ann \\\"The\\\" Example");
    assert_eq!(message.to().expect("To").tag(), None);
}

#[test]
fn compact_forms_and_folded_lines_are_read() {
    let message = parse(
        b"INVITE sip:a@example.com SIP/2.0\nf: <sip:b@example.com>\n ;tag=1\ni:\n\tx@y\nt: sip:a@example.com;tag=2\nCSeq: 1\n  INVITE\nl: 0\n\n",
    )
    .expect("SIP");
    assert_eq!(message.oddities, []);
    assert_eq!(message.call_id(), Some(&b"x@y"[..]));
    assert_eq!(message.from().and_then(|from| from.tag()), Some(&b"1"[..]));
    assert_eq!(message.to().and_then(|to| to.tag()), Some(&b"2"[..]));
    assert_eq!(message.cseq(), Some((1, &b"INVITE"[..])));
}

#[test]
fn a_start_line_with_stray_spaces_is_read_and_told() {
    for line in ["INVITE  sip:a@example.com  SIP/2.0", "INVITE sip:a@example.com; lr SIP/2.0"] {
        let message =
            [line.as_bytes(), b"\r\nCall-ID: 1\r\nFrom: <sip:b>\r\nTo: <sip:a>\r\nCSeq: 1 INVITE\r\n\r\n"]
                .concat();
        assert_eq!(odd(&message), [Oddity::StartLineSpacing], "{line}");
    }
}

#[test]
fn what_is_no_start_line_is_refused() {
    for line in [
        "",
        "\r\n\r\n",
        "HTTP/1.1 200 OK",
        "GET / HTTP/1.1",
        "INVITE sip:a SIP/7.0",
        "OPTIONS sip:a SIP/2.0  ",
        "SIP/2.0 4294967301 x",
        "SIP/2.0 99 x",
        "SIP/2.0 700 x",
        "SIP/2.0",
        "INVITE SIP/2.0",
        "IN(V)ITE sip:a SIP/2.0",
        "hello",
    ] {
        assert!(parse(format!("{line}\r\n\r\n").as_bytes()).is_err(), "{line:?}");
        assert!(!looks_like_sip(line.as_bytes()) || line.contains("SIP/2.0"), "{line:?}");
    }
}

#[test]
fn a_response_needs_no_reason() {
    for (line, status, reason) in
        [("SIP/2.0 200", 200, ""), ("SIP/2.0 180 ", 180, ""), ("SIP/2.0 603 No \u{e9}", 603, "No \u{e9}")]
    {
        let bytes = format!("{line}\r\n\r\n");
        let message = parse(bytes.as_bytes()).expect("SIP");
        assert_eq!(message.start, StartLine::Response { status, reason: reason.as_bytes() });
    }
}

#[test]
fn content_length_that_lies_leaves_the_body_as_it_came() {
    for (length, expected) in
        [("9999", Oddity::ContentLength), ("-999", Oddity::ContentLength), ("x", Oddity::ContentLength)]
    {
        let message = String::from_utf8_lossy(INVITE)
            .replace("Content-Length: 5", &format!("Content-Length: {length}"));
        let message = parse(message.as_bytes()).expect("SIP");
        assert_eq!((message.oddities.clone(), message.body), (vec![expected], &b"v=0\r\n"[..]), "{length}");
    }
}

#[test]
fn bytes_behind_the_message_are_told_and_not_read() {
    let message = [INVITE, INVITE].concat();
    let message = parse(&message).expect("SIP");
    assert_eq!((message.oddities.clone(), message.body), (vec![Oddity::TrailingBytes], &b"v=0\r\n"[..]));
}

#[test]
fn of_a_repeated_header_the_first_counts() {
    let message = b"INVITE sip:a SIP/2.0\r\nCall-ID: 1\r\nCall-ID: 2\r\nFrom: <sip:b>\r\nTo: <sip:a>\r\nCSeq: 1 INVITE\r\n\r\n";
    let message = parse(message).expect("SIP");
    assert_eq!(message.call_id(), Some(&b"1"[..]));
    assert_eq!(message.oddities, [Oddity::MandatoryTwice]);
}

#[test]
fn large_numbers_saturate() {
    let message = b"REGISTER sip:a SIP/2.0\r\nCSeq: 36893488147419103232 REGISTER\r\n\r\n";
    assert_eq!(parse(message).expect("SIP").cseq(), Some((u32::MAX, &b"REGISTER"[..])));
}

#[test]
fn an_open_quote_ends_at_the_bracket() {
    let to = Address::parse(b"\"Mr J. User <sip:j@example.com>;tag=9");
    assert_eq!((to.uri.user, to.tag()), (&b"j"[..], Some(&b"9"[..])));
}

#[test]
fn latin_1_names_become_text() {
    assert_eq!(text(b"J\xf6rg\x00\x1b[31m"), "J\u{f6}rg\u{fffd}\u{fffd}[31m");
    assert_eq!(text("Jörg".as_bytes()), "Jörg");
    assert_eq!(text(b"a\r\n  b"), "a b");
}

#[test]
fn uris_are_taken_apart() {
    let uri = Uri::parse(b"sip:+44-1632;phone-context=x:pw@[2001:db8::1]:5062;lr?x=y");
    assert_eq!((uri.user, uri.host, uri.port), (&b"+44-1632"[..], &b"[2001:db8::1]"[..], Some(5062)));
    assert_eq!(Uri::parse(b"tel:+441632960000;ext=1").user, b"+441632960000");
    assert_eq!(Uri::parse(b"sip:example.com").host, b"example.com");
    assert_eq!(Uri::parse(b"sip:a@b:99999").port, None);
    assert_eq!(Uri::parse(b"").host, b"");
}

#[test]
fn sdp_in_a_multipart_is_found_and_endless_nesting_ends() {
    let body = "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n";
    let message =
        format!("INVITE sip:a SIP/2.0\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n\r\n{body}");
    assert_eq!(sdp_body(&parse(message.as_bytes()).expect("SIP")), Some(&b"v=0\r\n\r\n"[..]));
    let nested: String = (0..1000)
        .map(|i| format!("--b{i}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n", i + 1))
        .collect();
    let message =
        format!("INVITE sip:a SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b0\r\n\r\n{nested}");
    assert_eq!(sdp_body(&parse(message.as_bytes()).expect("SIP")), None);
}

#[test]
fn a_cut_message_at_any_place_is_no_panic() {
    for cut in 0..INVITE.len() {
        let _ = parse(&INVITE[..cut]).map(|message| {
            let _ = (message.from(), message.to(), message.cseq(), sdp_body(&message));
        });
        let _ = next_message(&INVITE[..cut], cut % 2 == 0);
        let _ = looks_like_sip(&INVITE[..cut]);
    }
}

#[test]
fn thousands_of_headers_are_bounded() {
    let message = [b"INVITE sip:a SIP/2.0\r\n".to_vec(), b"X: y\r\n".repeat(5000), b"\r\n".to_vec()].concat();
    assert!(odd(&message).contains(&Oddity::TooManyHeaders));
}

/// So long that time in proportion to its square would never end.
#[test]
fn a_field_of_blank_lines_takes_time_in_proportion_to_its_length() {
    let message = [b"OPTIONS a SIP/2.0\r\nX: y\r\n", " \n".repeat(1 << 21).as_bytes(), b"\r\n"].concat();
    assert_eq!(parse(&message).expect("SIP").header("X"), Some(&b"y"[..]));
}
