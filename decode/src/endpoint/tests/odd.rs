//! Requests that break rules, in the spirit of RFC 4475: each gets the answer that it deserves, or none, and nothing stays.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn expect(text: &str, line: &str) {
    let mut bench = Bench::new();
    let sent = bench.give(text);
    assert_eq!(sent.first().map_or("", |text| first_line(text)), line, "{text}");
    assert_eq!(bench.agent.counts().calls, 0);
    bench.wait(33_000);
    bench.expect_empty();
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let invite = Bench::invite("");
    let options = Bench::text("OPTIONS", 1, "", "");
    for (text, line) in [
        (invite.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), "SIP/2.0 400 CSeq Names Another Method"),
        (invite.replace("CSeq: 1 INVITE\r\n", ""), "SIP/2.0 400 A Mandatory Header Field Is Missing"),
        (invite.replace("Call-ID: one@192.0.2.9\r\n", ""), "SIP/2.0 400 A Mandatory Header Field Is Missing"),
        (invite.replace("Call-ID: one@192.0.2.9", "Call-ID:"), "SIP/2.0 400 Call-ID Is Empty"),
        (
            invite.replace("Call-ID: one", "Call-ID: two\r\nCall-ID: one"),
            "SIP/2.0 400 A Header Field Is Repeated",
        ),
        (invite.replace("CSeq: 1 ", "CSeq: 4294967296 "), "SIP/2.0 400 CSeq Is Wrong"),
        (invite.replace("CSeq: 1 ", "CSeq: 2147483648 "), "SIP/2.0 400 CSeq Is Wrong"),
        (invite.replace("Content-Length: ", "Content-Length: -"), "SIP/2.0 400 Content-Length Is Wrong"),
        (invite.replace("Content-Length: ", "Content-Length: 99"), "SIP/2.0 400 Content-Length Is Wrong"),
        (
            invite.replace("Content-Length: ", "Content-Length: 1\r\nl: "),
            "SIP/2.0 400 Content-Length Is Wrong",
        ),
        (invite.replace("INVITE sip", "INVITE  sip"), "SIP/2.0 400 Blanks In The Start Line"),
        (invite.replace("Contact: <sip:pbx@192.0.2.9:5060>\r\n", ""), "SIP/2.0 400 Contact Missing"),
        (invite.replace("sip:5999@192.0.2.1 SIP", "nobodyKnows:x SIP"), "SIP/2.0 416 Unsupported URI Scheme"),
        (Bench::invite("Require: a, timer, b"), "SIP/2.0 420 Bad Extension"),
        (Bench::invite("Content-Encoding: gzip"), "SIP/2.0 415 Unsupported Media Type"),
        (invite.replace("application/sdp", "text/plain"), "SIP/2.0 415 Unsupported Media Type"),
        (invite.replace("RTP/AVP", "RTP/SAVP"), "SIP/2.0 488 Not Acceptable Here"),
        (invite.replace("m=audio", "m=video"), "SIP/2.0 488 Not Acceptable Here"),
        (Bench::invite("Session-Expires: soon"), "SIP/2.0 400 Session-Expires Is Wrong"),
        (options.replace("OPTIONS", "REGISTER"), "SIP/2.0 405 Method Not Allowed"),
        (options.replace("OPTIONS", "REFER"), "SIP/2.0 405 Method Not Allowed"),
        (
            options.replace("OPTIONS", "!interesting-Method0123456789_*+`.%indeed'~"),
            "SIP/2.0 501 Not Implemented",
        ),
        (Bench::text("BYE", 1, "none", ""), "SIP/2.0 481 Call/Transaction Does Not Exist"),
        (Bench::text("BYE", 1, "", ""), "SIP/2.0 481 Call/Transaction Does Not Exist"),
        (Bench::text("INVITE", 1, "none", ""), "SIP/2.0 481 Call/Transaction Does Not Exist"),
        (Bench::text("CANCEL", 1, "", ""), "SIP/2.0 481 Call/Transaction Does Not Exist"),
        (options.clone(), "SIP/2.0 200 OK"),
        // An offer of nothing, and a folded header.
        (
            invite.replace("Max-Forwards: 70", "Max-Forwards:\r\n 70\r\nSubject:\r\n\t\r\n x"),
            "SIP/2.0 200 OK",
        ),
    ] {
        if line.ends_with("200 OK") {
            assert_eq!(first_line(&Bench::new().give(&text)[0]), line, "{text}");
        } else {
            expect(&text, line);
        }
    }
}

#[test]
fn what_is_said_to_be_read_is_read() {
    let mut bench = Bench::new();
    let told = field(&bench.give(&Bench::text("OPTIONS", 1, "", ""))[0], "Accept");
    let tag = bench.call("");
    assert_eq!(field(&bench.give(&Bench::text("OPTIONS", 2, &tag, ""))[0], "Accept"), told);
    let update = |cseq: u32, kind: &str, body: &str| {
        Bench::text("UPDATE", cseq, &tag, &format!("\r\n\r\n{body}")).replacen("application/sdp", kind, 1)
    };
    let refused = bench.give(&update(3, "text/plain", OFFER)).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 415 Unsupported Media Type");
    assert_eq!(field(&refused, "Accept"), told);

    let metadata = "<recording/>";
    let parts = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{OFFER}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n\
         {metadata}\r\n--b--\r\n"
    );
    let kinds: Vec<&str> = told.split(", ").collect();
    let bodies = [
        ("application/sdp", OFFER),
        ("multipart/mixed", parts.as_str()),
        ("application/rs-metadata+xml", metadata),
        ("application/rs-metadata", metadata),
    ];
    assert_eq!(kinds, bodies.map(|(kind, _)| kind));
    for (cseq, (kind, body)) in (4..).zip(bodies) {
        let kind = kind.replace("mixed", "mixed;boundary=b");
        assert_eq!(first_line(&bench.give(&update(cseq, &kind, body))[0]), "SIP/2.0 200 OK", "{kind}");
    }
}

#[test]
fn nobody_is_answered_who_cannot_be() {
    let invite = Bench::invite("");
    for text in [
        // RFC 4475 badvers, and no start line at all.
        invite.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        "hello\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        // No Via, and one that names nobody.
        invite.replace("Via: ", "X: "),
        invite.replace("SIP/2.0/UDP 192.0.2.9:5060;", "SIP/2.0/UDP ;"),
        // An ACK of nothing, responses to nothing.
        Bench::text("ACK", 1, "none", ""),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 1 BYE\r\n\r\n".to_owned(),
        "SIP/2.0 100 Trying\r\n\r\n".to_owned(),
        // A header that is larger than is kept.
        Bench::invite(&format!("X: {}", "a".repeat(9_000))),
    ] {
        expect(&text, "");
    }
}

#[test]
fn a_request_that_comes_by_two_ways_is_one() {
    let mut bench = Bench::new();
    bench.give(&Bench::invite(""));
    let other = bench.give(&Bench::invite("").replace("z9hG4bKINVITE1", "z9hG4bKother")).remove(0);
    assert_eq!(first_line(&other), "SIP/2.0 482 Loop Detected");
    assert_eq!(bench.agent.counts().calls, 1);
}

#[test]
fn a_caller_from_before_rfc_3261_is_understood() {
    let old = |text: String| text.replace(";branch=z9hG4bKINVITE1", "").replace(";branch=z9hG4bKACK1", "");
    let mut bench = Bench::new();
    let answer = bench.give(&old(Bench::invite(""))).remove(0);
    assert_eq!(first_line(&answer), "SIP/2.0 200 OK");
    assert!(bench.give(&old(Bench::invite(""))).is_empty(), "the same again");
    bench.give(&old(Bench::text("ACK", 1, &tag_of(&answer), "")));
    assert!(bench.wait_lines(20_000).is_empty(), "acknowledged");
}

#[test]
fn lines_that_a_peer_puts_into_values_stay_values() {
    let mut bench = Bench::new();
    let invite = Bench::invite("").replace("tag=pbx\r\n", "tag=pbx;x=\"a\r\n Injected: yes\"\r\n");
    let answer = bench.give(&invite).remove(0);
    assert!(!answer.contains("\r\nInjected") && !answer.contains("\n Injected"), "{answer}");
}

#[test]
fn a_call_belongs_to_its_tags() {
    let mut bench = Bench::new();
    let tag = bench.call("");
    let bye = Bench::text("BYE", 2, &tag, "");
    for wrong in [bye.replace("tag=pbx", "tag=other"), bye.replace("one@", "two@")] {
        let sent = bench.give(&wrong.replace("BYE2", "other"));
        assert_eq!(first_line(&sent[0]), "SIP/2.0 481 Call/Transaction Does Not Exist");
        bench.wait(20_000);
        assert_eq!(bench.agent.counts().calls, 1);
    }
}

#[test]
fn a_bye_is_not_sent_to_somebody_else() {
    let mut bench = Bench::new();
    let invite =
        Bench::invite("").replace("Contact: <sip:pbx@192.0.2.9:5060>", "Contact: <sip:victim@203.0.113.9>");
    let tag = tag_of(&bench.give(&invite)[0]);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    bench.agent.hang_up_all(bench.now);
    let Some(Output::Sip { path, bytes, .. }) =
        std::iter::from_fn(|| bench.agent.poll_output()).find(|output| matches!(output, Output::Sip { .. }))
    else {
        panic!("a BYE");
    };
    assert!(bytes.starts_with(b"BYE sip:victim@203.0.113.9 SIP/2.0\r\n"));
    assert_eq!(path.peer, pbx());
}

proptest! {
    /// Whatever comes, in whatever order and however damaged: no panic, and nothing stays for ever.
    #[test]
    fn nothing_that_comes_stays(
        steps in proptest::collection::vec((0..12_usize, 1..6_u32, any::<proptest::sample::Index>(), 0..200_u8, 0..20_000_i64), 1..60)
    ) {
        let mut bench = Bench::with(|options| {
            options.ring_ms = 300;
            options.sends = Sends::Silence;
            options.silence_s = 5;
        });
        let mut tag = String::from("x");
        for (kind, cseq, at, damage, ms) in steps {
            let sdp = format!("\r\n\r\n{OFFER}");
            let text = match kind {
                0 | 1 => Bench::text("INVITE", cseq, "", &format!("Supported: 100rel, timer\r\nSession-Expires: 90\r\n\r\n{OFFER}")),
                2 => Bench::text("ACK", cseq, &tag, ""),
                3 => Bench::text("CANCEL", cseq, "", ""),
                4 => Bench::text("INVITE", cseq, &tag, &sdp),
                5 => Bench::text("UPDATE", cseq, &tag, &sdp),
                6 => Bench::text("BYE", cseq, &tag, ""),
                7 => Bench::text("PRACK", cseq, &tag, "RAck: 1 1 INVITE"),
                8 => Bench::text("INVITE", cseq, &tag, ""),
                9 => Bench::text("INVITE", cseq, "", ""),
                10 => Bench::text("OPTIONS", cseq, "", ""),
                _ => "SIP/2.0 481 X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 1 BYE\r\n\r\n".to_owned(),
            };
            let mut bytes = text.into_bytes();
            let place = at.index(bytes.len());
            if damage < 100 {
                bytes[place] ^= damage;
            }
            bench.agent.handle_message(&bench.path, &bytes, bench.now);
            bench.agent.handle_media(at.index(50), damage & 1 == 0, pbx(), &bytes, bench.now);
            for text in std::iter::from_fn(|| bench.agent.poll_output()) {
                if let Output::Sip { bytes, .. } = text
                    && let Ok(message) = sip::parse(&bytes)
                    && let Some(found) = message.to().and_then(|to| to.tag())
                {
                    tag = sip::text(found);
                }
            }
            bench.wait(ms);
        }
        bench.agent.hang_up_all(bench.now);
        bench.wait(300_000);
        bench.expect_empty();
    }
}
