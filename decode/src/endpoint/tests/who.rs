//! Who calls must say who he is, connections that end before their calls, and what the tracker is told of all that.

use super::*;
use crate::endpoint::digest::Challenge;

const PASSWORD: &str = "open sesame";

fn account(password: &str) -> Account {
    Account { user: "pbx".into(), password: Secret::new(zeroize::Zeroizing::new(password.into())) }
}

fn guarded() -> Bench {
    Bench::with(|options| {
        options.demand = Some(Demand {
            realm: "earwitness".into(),
            algorithms: Algorithm::ALL.to_vec(),
            account: account(PASSWORD),
        });
    })
}

/// Everything that is sent, and whether the tracker is to have it.
fn seen(bench: &mut Bench, text: &str) -> (Taken, Vec<(bool, String)>) {
    let taken = bench.agent.handle_message(&bench.path, text.as_bytes(), bench.now);
    let mut sent = Vec::new();
    while let Some(output) = bench.agent.poll_output() {
        if let Output::Sip { bytes, is_seen, .. } = output {
            sent.push((is_seen, String::from_utf8(bytes).expect("text")));
        }
    }
    (taken, sent)
}

/// The same request with what answers the question.
fn saying_who(request: &str, refusal: &str, password: &str) -> String {
    let message = read(request);
    let StartLine::Request { method, uri } = message.start else { panic!("a request") };
    let mut challenge = Challenge::of(&read(refusal)).expect("a question");
    let method = std::str::from_utf8(method).expect("text");
    let (name, value) = challenge.answer(&account(password), (method, uri), "cnonce");
    request.replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\n{name}: {value}\r\n"))
}

#[test]
fn who_does_not_say_who_he_is_neither_begins_nor_ends_a_call() {
    let mut bench = guarded();
    let invite = Bench::invite("");
    let (taken, sent) = seen(&mut bench, &invite);
    assert_eq!((taken, sent.len()), (Taken::Aside, 1));
    let (is_seen, refusal) = &sent[0];
    assert_eq!((*is_seen, first_line(refusal)), (false, "SIP/2.0 401 Unauthorized"));
    assert_eq!(read(refusal).headers_named("WWW-Authenticate").count(), 2);
    let ack = Bench::text("ACK", 1, &tag_of(refusal), "").replace("z9hG4bKACK1", "z9hG4bKINVITE1");
    assert_eq!(seen(&mut bench, &ack).0, Taken::Aside);

    let again = invite.replace("INVITE1", "INVITE2").replace("CSeq: 1 ", "CSeq: 2 ");
    let wrong = saying_who(&again, refusal, "sesame");
    assert_eq!(first_line(&seen(&mut bench, &wrong).1[0].1), "SIP/2.0 401 Unauthorized");
    let again = again.replace("INVITE2", "INVITE3").replace("CSeq: 2 ", "CSeq: 3 ");
    let (taken, sent) = seen(&mut bench, &saying_who(&again, refusal, PASSWORD));
    assert_eq!((taken, sent[0].0, first_line(&sent[0].1)), (Taken::Taken, true, "SIP/2.0 200 OK"));
    let tag = tag_of(&sent[0].1);
    assert_eq!(seen(&mut bench, &Bench::text("ACK", 3, &tag, "")).0, Taken::Taken);
    let counts = bench.agent.counts();
    assert_eq!((counts.calls, counts.invites, counts.challenged, counts.denied), (1, 1, 2, 1));

    // Somebody else's BYE ends nothing; OPTIONS need no password.
    let bye = Bench::text("BYE", 4, &tag, "");
    let (taken, sent) = seen(&mut bench, &bye);
    assert_eq!((taken, sent[0].0, first_line(&sent[0].1)), (Taken::Aside, false, "SIP/2.0 401 Unauthorized"));
    assert_eq!(bench.agent.counts().calls, 1);
    let bye = saying_who(&bye.replace("BYE4", "BYE5").replace("CSeq: 4", "CSeq: 5"), &sent[0].1, PASSWORD);
    assert_eq!(first_line(&seen(&mut bench, &bye).1[0].1), "SIP/2.0 200 OK");
    assert_eq!(first_line(&bench.give(&Bench::text("OPTIONS", 9, "", ""))[0]), "SIP/2.0 200 OK");
    // What was said once is not believed twice.
    let played = saying_who(&again, refusal, PASSWORD).replace("INVITE3", "INVITE9").replace("one@", "two@");
    let refused = seen(&mut bench, &played).1.remove(0).1;
    assert!(refused.starts_with("SIP/2.0 401 ") && refused.contains("stale=true"), "{refused}");
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn what_is_refused_within_a_call_is_kept_from_the_tracker() {
    let mut bench = Bench::new();
    let tag = bench.call("");
    for text in [
        Bench::text("BYE", 2, &tag, "").replace("tag=pbx", "tag=other"),
        Bench::text("INVITE", 3, &tag, &format!("\r\n\r\n{}", OFFER.replace("8 0 101", "15"))),
        Bench::text("INFO", 1, &tag, ""),
        Bench::text("CANCEL", 77, "", ""),
    ] {
        let (taken, sent) = seen(&mut bench, &text);
        assert_eq!((taken, sent[0].0), (Taken::Aside, false), "{text}");
    }
    // But a call that is refused is in the balance sheet.
    let strange = Bench::invite("Require: nothing").replace("one@", "two@").replace("INVITE1", "x");
    assert_eq!(seen(&mut bench, &strange).0, Taken::Taken);
}

/// By what way everything goes.
pub(super) fn paths(bench: &mut Bench) -> Vec<(Path, String)> {
    std::iter::from_fn(|| bench.agent.poll_output())
        .filter_map(|output| match output {
            Output::Sip { path, bytes, .. } => Some((path, String::from_utf8(bytes).expect("text"))),
            Output::Media { .. } => None,
        })
        .collect()
}

fn of_connection(bench: &Bench, connection: u64) -> Path {
    Path { connection, ..bench.path }
}

#[test]
fn what_is_to_be_said_after_the_end_of_a_connection_goes_by_another() {
    // From a port that nobody listens on, as connections come.
    let connected = |ring_ms| {
        let mut bench = Bench::with(|options| options.ring_ms = ring_ms).over_tcp();
        bench.path.peer = pbx().with_port(40_000);
        bench
    };
    let mut bench = connected(0);
    bench.call("");
    bench.agent.handle_closed(&of_connection(&bench, 1), bench.now);
    bench.agent.hang_up_all(bench.now);
    let (path, bye) = paths(&mut bench).remove(0);
    assert!(bye.starts_with("BYE sip:pbx@192.0.2.9:5060 SIP/2.0\r\n"));
    assert_eq!((path.connection, path.peer, path.carrier), (0, pbx(), Carrier::Tcp));
    // No connection can be made: it is over.
    bench.agent.handle_unreachable(&path, bench.now);
    assert!(bench.agent.clients.is_empty());
    bench.wait(33_000);
    bench.expect_empty();

    // A BYE that was not answered goes again, once.
    let mut bench = connected(0);
    bench.call("");
    bench.agent.hang_up_all(bench.now);
    let (path, first) = paths(&mut bench).remove(0);
    assert_eq!((path.connection, path.peer.port), (1, 40_000));
    bench.agent.handle_closed(&of_connection(&bench, 1), bench.now);
    assert_eq!(paths(&mut bench), [(Path { connection: 0, peer: pbx(), ..path }, first)]);
    bench.wait(33_000);
    bench.expect_empty();

    // Of a connection that nobody has anything to say on, nothing follows.
    let mut bench = connected(2_000);
    bench.give(&Bench::invite("").replace("192.0.2.9:5060;branch", "192.0.2.9:5099;branch"));
    bench.agent.handle_closed(&of_connection(&bench, 2), bench.now);
    bench.agent.handle_closed(&of_connection(&bench, 1), bench.now);
    assert!(paths(&mut bench).is_empty());
    // An answer goes to where its Via says (RFC 3261, 18.2.2).
    bench.now = bench.now.plus_millis(2_000);
    bench.agent.handle_timeout(bench.now);
    let (path, answer) = paths(&mut bench).remove(0);
    assert_eq!((path.connection, path.peer.port, first_line(&answer)), (0, 5099, "SIP/2.0 200 OK"));
}

#[test]
fn a_contact_that_names_another_way_is_believed() {
    let mut bench = Bench::new();
    let invite =
        Bench::invite("").replace("<sip:pbx@192.0.2.9:5060>", "<sip:pbx@192.0.2.9:5066;transport=tcp>");
    let tag = tag_of(&bench.give(&invite)[0]);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    bench.agent.hang_up_all(bench.now);
    let (path, bye) = paths(&mut bench).remove(0);
    assert_eq!((path.carrier, path.connection, path.peer.port), (Carrier::Tcp, 0, 5066));
    assert!(field(&bye, "Via").starts_with("SIP/2.0/TCP 192.0.2.1:5060;"));
}

#[test]
fn signs_of_life_of_connections_are_answered_and_counted() {
    let mut bench = Bench::new().over_tcp();
    assert_eq!(bench.give("\r\n\r\n"), ["\r\n"]);
    assert_eq!(bench.give("\r\n"), Vec::<String>::new(), "an answer is not answered");
    assert_eq!(bench.agent.counts().keepalives, 1);
    let mut bench = Bench::new();
    assert_eq!(bench.give("\r\n\r\n"), Vec::<String>::new(), "over UDP it is nobody's question");
}

#[test]
fn over_tls_we_are_reached_by_tls_and_by_sips_who_asks_so() {
    let mut bench = Bench::new().over_tcp();
    (bench.path.carrier, bench.path.local) = (Carrier::Tls, Endpoint::v4([192, 0, 2, 1], 5061));
    let contact = field(&bench.give(&Bench::invite(""))[0], "Contact");
    assert_eq!(contact, "<sip:earwitness@192.0.2.1:5061;transport=tls>;+sip.srs");
    let secure = Bench::invite("")
        .replace("INVITE sip:", "INVITE sips:")
        .replace("one@", "two@")
        .replace("INVITE1", "x");
    let contact = field(&bench.give(&secure)[0], "Contact");
    assert_eq!(contact, "<sips:earwitness@192.0.2.1:5061;transport=tls>;+sip.srs");
}

#[test]
fn an_address_that_is_configured_stands_in_contact_and_via_too() {
    let mut bench = Bench::with(|options| options.address = Some([203, 0, 113, 5].into()));
    let answer = bench.give(&Bench::invite("")).remove(0);
    assert_eq!(field(&answer, "Contact"), "<sip:earwitness@203.0.113.5:5060>;+sip.srs");
    assert!(answer.contains("c=IN IP4 203.0.113.5\r\n"));
    bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
    bench.agent.hang_up_all(bench.now);
    let bye = bench.sent().into_iter().find(|text| text.starts_with("BYE ")).expect("a BYE");
    assert!(field(&bye, "Via").starts_with("SIP/2.0/UDP 203.0.113.5:5060;"), "{bye}");
}

#[test]
fn options_are_answered_alike_and_leave_nothing_behind() {
    let mut bench = Bench::new();
    let options = Bench::text("OPTIONS", 1, "", "");
    let answers = [bench.give(&options), bench.give(&options)].concat();
    assert_eq!((answers[0] == answers[1], first_line(&answers[0])), (true, "SIP/2.0 200 OK"));
    assert!(!tag_of(&answers[0]).is_empty());
    bench.expect_empty();
    let other = bench.give(&options.replace("OPTIONS1", "OPTIONS2")).remove(0);
    assert_ne!(tag_of(&other), tag_of(&answers[0]));
}

#[test]
fn a_reliable_ringing_to_an_invite_without_an_offer_has_one_and_prack_answers_it() {
    let late = Bench::text("INVITE", 1, "", "Require: 100rel");
    let mut bench = Bench::new();
    let ringing = bench.give(&late).remove(0);
    assert!(ringing.contains("m=audio 12000 ") && first_line(&ringing) == "SIP/2.0 180 Ringing", "{ringing}");
    let (tag, number) = (tag_of(&ringing), field(&ringing, "RSeq"));
    let prack = |body: &str| Bench::text("PRACK", 2, &tag, &format!("RAck: {number} 1 INVITE{body}"));
    let g722 = format!("\r\n\r\n{}", OFFER.replace("8 0 101", "9"));
    let sent = bench.give(&prack(&g722));
    assert_eq!([first_line(&sent[0]), first_line(&sent[1])], ["SIP/2.0 200 OK"; 2]);
    assert!(!sent[1].contains("m=audio"), "it was described before: {}", sent[1]);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    let call = bench.agent.calls.values().next().expect("a call");
    let agreed = &call.streams[0].as_ref().expect("a stream").agreed;
    assert_eq!((call.stage, agreed.format().map(|f| f.codec.name())), (call::Stage::Confirmed, Some("G722")));

    // Without an answer there is no session.
    let mut bench = Bench::new();
    let ringing = bench.give(&late).remove(0);
    let (tag, number) = (tag_of(&ringing), field(&ringing, "RSeq"));
    let sent = bench.give(&Bench::text("PRACK", 2, &tag, &format!("RAck: {number} 1 INVITE")));
    assert_eq!(
        [first_line(&sent[0]), first_line(&sent[1])],
        ["SIP/2.0 200 OK", "SIP/2.0 488 Not Acceptable Here"]
    );
    // And an offer in a PRACK comes too early for one that had its own.
    let mut bench = Bench::new();
    let ringing = bench.give(&Bench::invite("Require: 100rel")).remove(0);
    let (tag, number) = (tag_of(&ringing), field(&ringing, "RSeq"));
    let early = Bench::text("PRACK", 2, &tag, &format!("RAck: {number} 1 INVITE{g722}"));
    assert_eq!(first_line(&bench.give(&early)[0]), "SIP/2.0 488 Not Acceptable Here");
}

#[test]
fn without_a_channel_nothing_of_a_description_is_read() {
    let mut bench = Bench::with(|options| options.channels = 0);
    let strange = Bench::invite("").replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(first_line(&bench.give(&strange)[0]), "SIP/2.0 486 Busy Here (0 of 0 channels in use)");
}

#[test]
fn an_announcement_does_not_bring_back_an_encoding_that_is_not_taken() {
    let wav = crate::endpoint::tests::media::announcement(200);
    let mut bench = Bench::with(|options| {
        options.announcement = Some(wav);
        options.codecs = vec![Codec::from_name("G722")];
    });
    let offer = OFFER.replace("8 0 101", "8 0 9");
    let answer = bench.give(&Bench::text("INVITE", 1, "", &format!("\r\n\r\n{offer}"))).remove(0);
    assert!(answer.contains("RTP/AVP 9\r\n"), "{answer}");
}

#[test]
fn the_answer_to_our_refresh_is_taken() {
    let mut bench = Bench::with(|options| options.silence_s = 3_600);
    let invite =
        Bench::invite("Supported: timer\r\nSession-Expires: 100;refresher=uas").replace(", UPDATE", "");
    let answer = bench.give(&invite).remove(0);
    bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
    let asked =
        bench.wait(50_000).into_iter().find(|(_, text)| text.starts_with("INVITE ")).expect("a refresh").1;
    let head: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|name| format!("{name}: {}\r\n", field(&asked, name)))
        .concat();
    let body = OFFER.replace("4000", "4444");
    let length = body.len();
    bench.give(&format!(
        "SIP/2.0 200 OK\r\n{head}Contact: <sip:new@192.0.2.9:5077>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    let call = bench.agent.calls.values().next().expect("a call");
    let stream = call.streams[0].as_ref().expect("a stream");
    assert_eq!(stream.agreed.remote.map(|at| at.port), Some(4444));
    assert_eq!(call.target, b"<sip:new@192.0.2.9:5077>");
}
