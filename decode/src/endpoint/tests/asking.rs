//! What we ask others for: to be let in to a conversation, and to be registered.

use super::*;

const URI: &str = "sip:conf@192.0.2.9";

pub(super) fn local() -> Endpoint {
    Endpoint::v4([192, 0, 2, 1], 5060)
}

pub(super) fn joining() -> Bench {
    Bench::with(|options| options.joins = vec!["192.0.2.9/32".parse().expect("a subnet")])
}

/// The INVITE that goes out.
pub(super) fn join(bench: &mut Bench, uri: &str) -> String {
    assert_eq!(bench.agent.join(uri, "2001", local(), bench.now), Ok(()));
    bench.sent().remove(0)
}

/// A response to a request of ours; `more` are header fields and, behind an empty line, a body.
pub(super) fn respond(request: &str, status: &str, tag: &str, more: &str) -> String {
    let (fields, body) = more.split_once("\r\n\r\n").unwrap_or((more, ""));
    let fields = if fields.is_empty() { String::new() } else { format!("{}\r\n", fields.trim()) };
    let to = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{fields}{}Content-Length: {}\r\n\r\n{body}",
        field(request, "Via"),
        field(request, "From"),
        field(request, "To"),
        field(request, "Call-ID"),
        field(request, "CSeq"),
        if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
        body.len()
    )
}

pub(super) fn let_in(invite: &str, tag: &str) -> String {
    let more = "Contact: <sip:media@192.0.2.9:5080>\r\nRecord-Route: <sip:192.0.2.9:5070;lr>, <sip:198.51.100.7;lr>\r\nAllow: UPDATE";
    respond(invite, "200 OK", tag, &format!("{more}\r\n\r\n{OFFER}"))
}

pub(super) fn branch(text: &str) -> String {
    field(text, "Via")
        .split("branch=")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .unwrap_or_default()
        .into()
}

#[test]
fn a_conversation_is_joined_heard_and_left() {
    let mut bench = joining();
    let invite = join(&mut bench, URI);
    assert!(invite.starts_with("INVITE sip:conf@192.0.2.9 SIP/2.0\r\n") && invite.contains("a=recvonly\r\n"));
    assert_eq!(
        (field(&invite, EXTENSION_FIELD).as_str(), field(&invite, "Supported").as_str()),
        ("2001", "timer")
    );
    assert_eq!(bench.agent.join(URI, "2001", local(), bench.now), Err(JoinError::Joined));
    assert!(bench.give(&respond(&invite, "180 Ringing", "them", "")).is_empty());
    let answer = let_in(&invite, "them");
    let ack = bench.give(&answer).remove(0);
    assert!(ack.starts_with("ACK sip:media@192.0.2.9:5080 SIP/2.0\r\n"), "{ack}");
    let routes = read(&ack).headers_named("Route").map(sip::text).collect::<Vec<_>>();
    assert_eq!(routes, ["<sip:198.51.100.7;lr>", "<sip:192.0.2.9:5070;lr>"], "the other way round");
    assert_eq!(bench.give(&answer), [ack], "the 200 again, the ACK again");
    let counts = bench.agent.counts();
    assert_eq!((counts.calls, counts.joins, counts.joined, counts.not_joined), (1, 2, 1, 1));
    // Somebody else answers the same INVITE: one is enough.
    let sent = bench.give(&let_in(&invite, "another"));
    assert!(
        sent[0].starts_with("ACK ") && sent[1].starts_with("BYE ") && sent[1].contains(";tag=another\r\n")
    );
    // The other side changes its mind, asks, and puts us on hold.
    let request = |method: &str, cseq: u32, more: &str| {
        Bench::text(method, cseq, "", more)
            .replace("From: \"Ann\" <sip:2001@192.0.2.9>;tag=pbx", "From: <sip:conf@192.0.2.9>;tag=them")
            .replace("To: <sip:5999@192.0.2.1>", &format!("To: {}", field(&invite, "From")))
            .replace("Call-ID: one@192.0.2.9", &format!("Call-ID: {}", field(&invite, "Call-ID")))
    };
    let held = bench.give(&request("INVITE", 1, &format!("\r\n\r\n{OFFER}a=inactive\r\n"))).remove(0);
    assert!(held.starts_with("SIP/2.0 200 ") && held.contains("a=inactive\r\n"), "{held}");
    bench.give(&request("ACK", 1, "").replace("z9hG4bKINVITE1", "z9hG4bKack"));
    assert!(bench.agent.leave(URI, bench.now) && !bench.agent.leave(URI, bench.now));
    let bye = bench.sent().into_iter().find(|text| text.starts_with("BYE ")).expect("a BYE");
    assert_eq!(field(&bye, "To"), "<sip:conf@192.0.2.9>;tag=them");
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn nothing_is_said_there_whatever_others_are_told() {
    let mut bench = Bench::with(|options| {
        options.joins = vec!["192.0.2.9/32".parse().expect("a subnet")];
        options.sends = Sends::Silence;
        options.announcement = Some(super::media::announcement(200));
        options.record_from = RecordFrom::AnnouncementEnd;
    });
    let invite = join(&mut bench, URI);
    assert!(invite.contains("a=recvonly\r\n"));
    bench.agent.handle_message(&bench.path, let_in(&invite, "them").as_bytes(), bench.now);
    bench.agent.handle_timeout(bench.now.plus_millis(2_000));
    assert_eq!(bench.packets(false), Vec::<Vec<u8>>::new());
    let rtp = [&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xd5; 160]].concat();
    let from = Endpoint::v4([192, 0, 2, 9], 4000);
    assert_eq!(bench.agent.handle_media(0, false, from, &rtp, bench.now), Taken::Taken);
}

#[test]
fn it_ends_when_the_other_side_hangs_up_or_nothing_is_heard() {
    for hangs_up in [true, false] {
        let mut bench = joining();
        let invite = join(&mut bench, URI);
        bench.give(&let_in(&invite, "them"));
        if hangs_up {
            let bye = Bench::text("BYE", 7, "", "")
                .replace("tag=pbx", "tag=them")
                .replace("To: <sip:5999@192.0.2.1>", &format!("To: {}", field(&invite, "From")))
                .replace("one@192.0.2.9", &field(&invite, "Call-ID"));
            assert_eq!(first_line(&bench.give(&bye)[0]), "SIP/2.0 200 OK");
        } else {
            assert!(
                bench.wait_lines(61_000).iter().any(|(at, line)| *at == 60_000 && line.starts_with("BYE "))
            );
            assert_eq!(bench.agent.counts().silent, 1);
        }
        bench.wait(64_000);
        bench.expect_empty();
    }
}

#[test]
fn an_invite_goes_again_until_it_is_answered_and_then_is_given_up() {
    for (over_tcp, times) in [(false, &[500, 1_500, 3_500, 7_500, 15_500, 31_500][..]), (true, &[])] {
        let mut bench = joining();
        let uri = if over_tcp { "sip:conf@192.0.2.9;transport=tcp" } else { URI };
        join(&mut bench, uri);
        let sent = bench.wait_lines(40_000);
        // A, and B.
        assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), times, "{sent:?}");
        assert_eq!((bench.agent.counts().calls, bench.agent.counts().not_joined), (0, 1));
        bench.expect_empty();
    }
}

#[test]
fn a_refusal_is_acknowledged_and_a_redirection_not_followed() {
    for status in ["486 Busy", "302 Elsewhere", "503 No"] {
        let mut bench = joining();
        let invite = join(&mut bench, URI);
        let refusal = respond(&invite, status, "them", "Contact: <sip:victim@192.0.2.9>");
        let sent = bench.give(&refusal);
        assert!(sent.len() == 1 && sent[0].starts_with("ACK sip:conf@192.0.2.9 SIP/2.0\r\n"), "{sent:?}");
        assert_eq!(branch(&sent[0]), branch(&invite));
        assert_eq!(bench.give(&refusal), sent, "D: again, and the same");
        assert_eq!((bench.agent.counts().calls, bench.agent.counts().not_joined), (0, 1));
        bench.wait(33_000);
        bench.expect_empty();
    }
}

#[test]
fn who_is_to_leave_before_being_let_in_takes_the_invite_back() {
    // Not before anything was answered (RFC 3261, 9.1).
    let mut bench = joining();
    let invite = join(&mut bench, URI);
    assert!(bench.agent.leave(URI, bench.now) && bench.sent().is_empty());
    let cancel = bench.give(&respond(&invite, "100 Trying", "", "")).remove(0);
    assert!(cancel.starts_with("CANCEL sip:conf@192.0.2.9 SIP/2.0\r\n"), "{cancel}");
    assert_eq!((branch(&cancel), field(&cancel, "CSeq")), (branch(&invite), "1 CANCEL".into()));
    assert!(bench.give(&respond(&cancel, "200 OK", "them", "")).is_empty());
    let ack = bench.give(&respond(&invite, "487 Terminated", "them", "")).remove(0);
    assert_eq!((ack.starts_with("ACK "), bench.agent.counts().calls), (true, 0));
    bench.wait(33_000);
    bench.expect_empty();

    // It rings for too long.
    let mut bench = joining();
    let invite = join(&mut bench, URI);
    bench.give(&respond(&invite, "180 Ringing", "them", ""));
    let sent = bench.wait_lines(60_000);
    assert_eq!(sent, [(60_000, "CANCEL sip:conf@192.0.2.9 SIP/2.0".to_owned())]);
    // The 200 had been on its way: acknowledged, and hung up.
    let sent = bench.give(&let_in(&invite, "them"));
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:?}");
    bench.wait(64_000);
    bench.expect_empty();

    // Nothing comes any more.
    let mut bench = joining();
    let invite = join(&mut bench, URI);
    bench.give(&respond(&invite, "180 Ringing", "them", ""));
    bench.agent.hang_up_all(bench.now);
    bench.wait(33_000);
    bench.expect_empty();
}

#[test]
fn an_answer_that_agrees_on_nothing_is_acknowledged_and_hung_up() {
    for answer in [String::new(), format!("\r\n\r\n{}", OFFER.replace("audio 4000", "audio 0"))] {
        let mut bench = joining();
        let invite = join(&mut bench, URI);
        let sent = bench.give(&respond(&invite, "200 OK", "them", &answer));
        assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:?}");
        assert_eq!(bench.agent.counts().joined, 0);
        bench.wait(64_000);
        bench.expect_empty();
    }
}

#[test]
fn only_addresses_that_are_listed_are_called() {
    use JoinError::{Busy, NoPort, NotAllowed, Unreadable};
    let mut bench = joining();
    for (uri, error) in [
        ("sip:conf@198.51.100.7", NotAllowed),
        ("sip:conf@203.0.113.9", NotAllowed),
        ("sip:conf@media.example", Unreadable),
        ("sip:conf@0.0.0.0", Unreadable),
        ("tel:+441632960001", Unreadable),
        ("sip:conf@192.0.2.9?Replaces=x", Unreadable),
        ("sip:conf@192.0.2.9>\r\nX: y", Unreadable),
        ("sip:conf@192.0.2.9;transport=sctp", Unreadable),
        ("", Unreadable),
    ] {
        assert_eq!(bench.agent.join(uri, "2001", local(), bench.now), Err(error), "{uri}");
    }
    assert!(bench.sent().is_empty());
    bench.expect_empty();
    let full = |change: fn(&mut Options)| {
        let mut bench = Bench::with(|options| {
            options.joins = vec!["192.0.2.9/32".parse().expect("a subnet")];
            change(options);
        });
        bench.agent.join(URI, "2001", local(), bench.now)
    };
    assert_eq!(full(|options| options.channels = 0), Err(Busy));
    assert_eq!(full(|options| options.ports.clear()), Err(NoPort));
    let carrier = |uri| destination(uri).map(|(carrier, at)| (carrier, at.port));
    assert_eq!(carrier("sips:a@192.0.2.9"), Some((Carrier::Tls, 5061)));
    assert_eq!(carrier("sip:a@192.0.2.9;transport=TCP"), Some((Carrier::Tcp, 5060)));
    assert_eq!(carrier("sip:a@[2001:db8::1]:5070"), Some((Carrier::Udp, 5070)));
}

#[test]
fn nobody_else_says_for_whom_a_conversation_is_joined() {
    let mut bench = Bench::new();
    let refused = bench.give(&Bench::invite(&format!("{EXTENSION_FIELD}: 2001"))).remove(0);
    assert!(refused.starts_with("SIP/2.0 400 "), "{refused}");
}

fn account() -> Account {
    Account { user: "5999".into(), password: Secret::new(zeroize::Zeroizing::new("sesame".into())) }
}

fn registering() -> (Bench, String) {
    let mut bench = Bench::with(|options| {
        options.account = Some(account());
        options.registration = Some(Registration {
            registrar: pbx(),
            carrier: Carrier::Udp,
            domain: "pbx.example".into(),
            user: "5999".into(),
            expires_s: 3_600,
        });
    });
    bench.agent.register(local(), bench.now);
    let register = bench.sent().remove(0);
    (bench, register)
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\r\n\
    WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\"";

#[test]
fn it_registers_says_who_it_is_and_does_so_again_in_time() {
    let (mut bench, register) = registering();
    assert!(register.starts_with("REGISTER sip:pbx.example SIP/2.0\r\n"), "{register}");
    assert_eq!(field(&register, "To"), "<sip:5999@pbx.example>");
    assert_eq!(field(&register, "Contact"), "<sip:5999@192.0.2.1:5060>");
    assert_eq!(
        (field(&register, "Expires").as_str(), field(&register, "Authorization")),
        ("3600", String::new())
    );
    assert_eq!(bench.agent.counts().registration, RegistrationState::Trying);
    let again = bench.give(&respond(&register, "401 Who", "r", CHALLENGE)).remove(0);
    let said = field(&again, "Authorization");
    assert!(said.contains("algorithm=SHA-256, qop=auth, nc=00000001"), "{said}");
    assert_eq!((field(&again, "CSeq").as_str(), branch(&again) == branch(&register)), ("2 REGISTER", false));
    let granted = "Contact: <sip:elsewhere@192.0.2.77:5060>;expires=7, <sip:5999@192.0.2.1:5060>;expires=100";
    assert!(bench.give(&respond(&again, "200 OK", "r", granted)).is_empty());
    assert_eq!(bench.agent.counts().registration, RegistrationState::Registered);
    let sent = bench.wait(75_000);
    assert_eq!((sent.len(), sent[0].0), (1, 75_000), "three quarters of what was granted");
    assert!(field(&sent[0].1, "Authorization").contains("nc=00000002"), "it is said at once");
    // The nonce is too old: a new one, and what was said with it.
    let stale = CHALLENGE.replace("n1", "n2").replace("SHA-256\r\n", "SHA-256, stale=true\r\n");
    let again = bench.give(&respond(&sent[0].1, "401 Who", "r", &stale)).remove(0);
    assert!(field(&again, "Authorization").contains("nonce=\"n2\""));
    bench.give(&respond(&again, "200 OK", "r", "Expires: 100"));
    // The end. The answer is waited for.
    assert!(bench.agent.is_at_rest());
    bench.agent.hang_up_all(bench.now);
    let last = bench.sent().remove(0);
    assert_eq!((field(&last, "Expires").as_str(), bench.agent.is_at_rest()), ("0", false));
    bench.give(&respond(&last, "200 OK", "r", ""));
    assert!(bench.agent.is_at_rest());
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn a_registration_that_fails_is_tried_later_each_time_and_what_stands_stands() {
    let (mut bench, register) = registering();
    let wrong = bench.give(&respond(&register, "401 Who", "r", CHALLENGE)).remove(0);
    // Asked again with the same question: the password is wrong, and is not said for ever.
    assert!(bench.give(&respond(&wrong, "401 Who", "r", CHALLENGE)).is_empty());
    assert_eq!(bench.agent.counts().registration, RegistrationState::Failed);
    for nth in 0..8 {
        let most = (i64::from(REGISTER_AGAIN_S_MIN) << nth).min(i64::from(REGISTER_AGAIN_S_MAX)) * 1_000;
        let mut waited = 0;
        let register = loop {
            waited += 1_000;
            let sent = bench.wait(1_000).into_iter().find(|(_, text)| text.starts_with("REGISTER "));
            if let Some((_, text)) = sent {
                break text;
            }
            assert!(waited <= most, "{nth}: not tried again");
        };
        assert!((most * 3 / 4..=most + 1_000).contains(&waited), "{nth}: {waited}");
        bench.give(&respond(&register, "403 No", "r", ""));
    }
    assert_eq!(bench.agent.counts().not_registered, 9);

    // It stood, is not refreshed, and runs out. The PBX wants longer intervals first.
    let (mut bench, register) = registering();
    let longer = bench.give(&respond(&register, "423 Brief", "r", "Min-Expires: 7200")).remove(0);
    assert_eq!(field(&longer, "Expires"), "7200");
    bench.give(&respond(&longer, "200 OK", "r", "Expires: 60"));
    bench.wait(46_000);
    assert_eq!(bench.agent.counts().registration, RegistrationState::Registered);
    bench.wait(120_000);
    assert_eq!(bench.agent.counts().registration, RegistrationState::Failed);
}

#[test]
fn who_is_reached_at_another_address_says_so_at_once_and_takes_the_former_one_back() {
    let moved = Endpoint::v4([198, 51, 100, 1], 5060);
    let contacts = |text: &str| read(text).headers_named("Contact").map(sip::text).collect::<Vec<_>>();
    let (mut bench, register) = registering();
    bench.give(&respond(&register, "200 OK", "r", "Expires: 100"));
    bench.agent.register_from(local(), bench.now);
    assert!(bench.sent().is_empty(), "that is known");
    bench.agent.register_from(moved, bench.now);
    let again = bench.sent().remove(0);
    assert_eq!(contacts(&again), ["<sip:5999@198.51.100.1:5060>", "<sip:5999@192.0.2.1:5060>;expires=0"]);
    assert!(field(&again, "Via").starts_with("SIP/2.0/UDP 198.51.100.1:5060;"), "{again}");
    // One request at a time: back again before that was answered.
    bench.agent.register_from(local(), bench.now);
    assert!(bench.sent().is_empty());
    let granted = "Contact: <sip:5999@198.51.100.1:5060>;expires=60, <sip:5999@192.0.2.1:5060>;expires=7";
    let back = bench.give(&respond(&again, "200 OK", "r", granted)).remove(0);
    assert_eq!(contacts(&back), ["<sip:5999@192.0.2.1:5060>", "<sip:5999@198.51.100.1:5060>;expires=0"]);
    bench.give(&respond(&back, "200 OK", "r", "Expires: 100"));
    let sent = bench.wait(75_000);
    assert_eq!((sent.len(), sent[0].0), (1, 75_000), "one timer");
    assert_eq!(contacts(&sent[0].1), ["<sip:5999@192.0.2.1:5060>"], "the former one is gone");
}

#[test]
fn an_address_behind_a_translation_is_found_among_the_contacts() {
    let mut bench = Bench::with(|options| {
        options.address = Some([203, 0, 113, 5].into());
        options.registration = Some(Registration {
            registrar: pbx(),
            carrier: Carrier::Udp,
            domain: "pbx.example".into(),
            user: "5999".into(),
            expires_s: 3_600,
        });
    });
    bench.agent.register(local(), bench.now);
    let register = bench.sent().remove(0);
    let granted =
        "Contact: <sip:5999@203.0.113.5:50600>;expires=2000, <sip:5999@203.0.113.5:5060>;expires=100";
    bench.give(&respond(&register, "200 OK", "r", granted));
    assert_eq!(bench.wait(75_000).len(), 1);
}

#[test]
fn a_conversation_that_we_have_joined_ends_without_a_password() {
    let mut bench = Bench::with(|options| {
        options.joins = options.peers.clone();
        options.demand =
            Some(Demand { realm: "rec".into(), algorithms: Algorithm::ALL.to_vec(), account: account() });
    });
    let invite = join(&mut bench, URI);
    bench.give(&let_in(&invite, "them"));
    let request = |method: &str, cseq, tag: &str| {
        Bench::text(method, cseq, "", "")
            .replace("tag=pbx", &format!("tag={tag}"))
            .replace("To: <sip:5999@192.0.2.1>", &format!("To: {}", field(&invite, "From")))
            .replace("one@192.0.2.9", &field(&invite, "Call-ID"))
    };
    // Who does not know the dialog is asked, as before.
    assert_eq!(first_line(&bench.give(&request("BYE", 6, "guessed"))[0]), "SIP/2.0 401 Unauthorized");
    assert_eq!(first_line(&bench.give(&request("INFO", 7, "them"))[0]), "SIP/2.0 200 OK");
    assert_eq!(first_line(&bench.give(&request("BYE", 8, "them"))[0]), "SIP/2.0 200 OK");
    assert_eq!(bench.agent.counts().challenged, 1);
    assert!(bench.agent.calls.is_empty());
}

#[test]
fn who_ends_takes_no_call_any_more() {
    let mut bench = Bench::new();
    bench.agent.hang_up_all(bench.now);
    let refused = bench.give(&Bench::invite("")).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 503 Service Unavailable (the recorder ends)");
    assert!(bench.agent.is_at_rest());
}

#[test]
fn nothing_is_taken_before_what_is_received_can_be_recorded() {
    let mut bench = Bench::with(|options| options.opens_later = true);
    let options = Bench::text("OPTIONS", 7, "", "");
    for early in [Bench::invite(""), options.clone()] {
        let refused = bench.give(&early).remove(0);
        assert_eq!(first_line(&refused), "SIP/2.0 503 Service Unavailable (the recorder starts)");
        assert!(!field(&refused, "Retry-After").is_empty(), "{refused}");
    }
    bench.give(&Bench::text("ACK", 1, "", ""));
    bench.wait(64_000);
    bench.expect_empty();
    bench.agent.open();
    assert_eq!(first_line(&bench.give(&options)[0]), "SIP/2.0 200 OK");
    bench.call("");
    // Whoever has ended stays so.
    let mut bench = Bench::with(|options| options.opens_later = true);
    bench.agent.hang_up_all(bench.now);
    bench.agent.open();
    assert_eq!(
        first_line(&bench.give(&Bench::invite(""))[0]),
        "SIP/2.0 503 Service Unavailable (the recorder ends)"
    );
}
