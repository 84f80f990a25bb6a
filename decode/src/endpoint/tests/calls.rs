//! Calls: offers, changes, ends, limits.

use super::*;

fn sdp_of(text: &str) -> crate::sdp::Session {
    crate::sdp::parse(sip::sdp_body(&read(text)).expect("a description"))
}

#[test]
fn a_call_is_answered_with_what_was_offered_and_ended_by_either_side() {
    let mut bench = Bench::new();
    let answer =
        bench.give(&Bench::invite("Record-Route: <sip:192.0.2.9;lr>, <sip:198.51.100.7;lr>")).remove(0);
    let session = sdp_of(&answer);
    let audio = session.audio().next().expect("audio");
    assert_eq!(audio.receives_at, Some(Endpoint::v4([192, 0, 2, 1], 12_000)));
    assert_eq!(audio.direction, crate::sdp::Direction::RecvOnly);
    assert_eq!(audio.formats.iter().map(|format| format.payload_type).collect::<Vec<_>>(), [8, 101]);
    assert_eq!(field(&answer, "Contact"), "<sip:earwitness@192.0.2.1:5060>;+sip.srs");
    assert_eq!(field(&answer, "Record-Route"), "<sip:192.0.2.9;lr>, <sip:198.51.100.7;lr>");
    let tag = tag_of(&answer);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    assert_eq!((bench.agent.counts().calls, bench.agent.channels_in_use()), (1, 1));
    bench.agent.hang_up_all(bench.now);
    let bye = bench.sent().remove(0);
    assert_eq!(field(&bye, "Route"), "<sip:192.0.2.9;lr>");
    assert_eq!(field(&bye, "To"), "\"Ann\" <sip:2001@192.0.2.9>;tag=pbx");
    assert_eq!(field(&bye, "From"), format!("<sip:5999@192.0.2.1>;tag={tag}"));
    assert_eq!((field(&bye, "Call-ID").as_str(), field(&bye, "CSeq").as_str()), ("one@192.0.2.9", "1 BYE"));
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn an_invite_without_an_offer_is_given_one_and_its_ack_answers_it() {
    let late = Bench::text("INVITE", 1, "", "");
    let mut bench = Bench::new();
    let answer = bench.give(&late).remove(0);
    let audio = sdp_of(&answer).media.remove(0);
    assert!(audio.formats.len() > 5 && audio.receives_at.is_some());
    let tag = tag_of(&answer);
    let g722 = OFFER.replace("8 0 101", "9");
    bench.give(&Bench::text("ACK", 1, &tag, &format!("\r\n\r\n{g722}")));
    let call = bench.agent.calls.values().next().expect("a call");
    let stream = call.streams[0].as_ref().expect("a stream");
    assert_eq!(stream.agreed.format().map(|format| format.codec.name()), Some("G722"));
    assert_eq!(stream.rtp_to().map(|to| to.port), Some(4000));

    // An ACK without an answer, or with one that refuses, leaves no session.
    for more in ["".to_owned(), format!("\r\n\r\n{}", OFFER.replace("audio 4000", "audio 0"))] {
        let mut bench = Bench::new();
        let tag = tag_of(&bench.give(&late)[0]);
        let sent = bench.give(&Bench::text("ACK", 1, &tag, &more));
        assert!(sent[0].starts_with("BYE "), "{sent:?}");
        bench.wait(64_000);
        bench.expect_empty();
    }
}

#[test]
fn a_re_invite_or_update_changes_codec_address_and_hold() {
    let mut bench = Bench::new();
    let tag = bench.call("");
    let stream = |bench: &Bench| {
        let call = bench.agent.calls.values().next().expect("a call");
        let agreed = call.streams[0].as_ref().expect("a stream").agreed.clone();
        (agreed.format().map(|format| format.payload_type), agreed.remote.map(|to| to.port), call.is_heard())
    };
    let first = sdp_of(&Bench::invite("")).origin;
    let held = OFFER.replace("8 0 101", "0").replace("4000", "4004") + "a=inactive\r\n";
    for (method, cseq) in [("INVITE", 2), ("UPDATE", 4)] {
        let answer = bench.give(&Bench::text(method, cseq, &tag, &format!("\r\n\r\n{held}"))).remove(0);
        let session = sdp_of(&answer);
        assert!(session.origin != first && session.media[0].direction == crate::sdp::Direction::Inactive);
        assert_eq!(session.media[0].receives_at.map(|at| at.port), Some(12_000), "the port stays");
        if method == "INVITE" {
            bench.give(&Bench::text("ACK", cseq, &tag, ""));
        }
        assert_eq!(stream(&bench), (Some(0), Some(4004), false));
        let answer = bench.give(&Bench::text(method, cseq + 1, &tag, &format!("\r\n\r\n{OFFER}"))).remove(0);
        assert_eq!(sdp_of(&answer).media[0].direction, crate::sdp::Direction::RecvOnly);
        if method == "INVITE" {
            bench.give(&Bench::text("ACK", cseq + 1, &tag, ""));
        }
        assert_eq!(stream(&bench), (Some(8), Some(4000), true));
    }
    // One that cannot be agreed to leaves everything as it was.
    let strange = OFFER.replace("8 0 101", "15");
    let refused = bench.give(&Bench::text("INVITE", 6, &tag, &format!("\r\n\r\n{strange}"))).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 488 Not Acceptable Here");
    assert_eq!(stream(&bench), (Some(8), Some(4000), true));
    assert_eq!(bench.agent.ports.free(), 49);
    // And one without an offer is given the session as it is.
    let answer = bench.give(&Bench::text("INVITE", 7, &tag, "")).remove(0);
    assert_eq!(sdp_of(&answer).media[0].formats[0].payload_type, 8);
    bench.give(&Bench::text("ACK", 7, &tag, &format!("\r\n\r\n{OFFER}")));
    assert_eq!(bench.agent.counts().calls, 1);
}

#[test]
fn requests_that_cross_each_other_wait_their_turn() {
    let mut bench = Bench::new();
    let tag = tag_of(&bench.give(&Bench::invite(""))[0]);
    let again = |cseq| Bench::text("INVITE", cseq, &tag, &format!("\r\n\r\n{OFFER}"));
    let refused = bench.give(&again(2)).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 500 Another Request Is Pending");
    assert_eq!(field(&refused, "Retry-After"), "1");
    let refused = bench.give(&Bench::text("UPDATE", 3, &tag, &format!("\r\n\r\n{OFFER}"))).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 500 Another Request Is Pending");
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    assert_eq!(first_line(&bench.give(&again(4))[0]), "SIP/2.0 200 OK");
    bench.give(&Bench::text("ACK", 4, &tag, ""));
    // An older number is out of order (RFC 3261, 12.2.2).
    assert_eq!(
        first_line(&bench.give(&Bench::text("INFO", 3, &tag, ""))[0]),
        "SIP/2.0 500 Request Out Of Order"
    );
    assert_eq!(first_line(&bench.give(&Bench::text("INFO", 5, &tag, ""))[0]), "SIP/2.0 200 OK");
}

#[test]
fn a_recording_session_has_a_port_for_each_of_two_streams() {
    let metadata = "<recording><participant participant_id=\"a\"/></recording>";
    let two = format!("{OFFER}a=label:96\r\nm=audio 4002 RTP/AVP 8\r\na=label:97\r\n");
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{two}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n\
         {metadata}\r\n--b--\r\n"
    );
    let invite = |body: &str, kind: &str| {
        Bench::text("INVITE", 1, "", &format!("Require: siprec\r\n\r\n{body}"))
            .replace("application/sdp\r\nContent-Length", kind)
    };
    let mut bench = Bench::new();
    let answer = bench.give(&invite(&body, "multipart/mixed;boundary=b\r\nContent-Length")).remove(0);
    let session = sdp_of(&answer);
    let ports: Vec<_> = session.audio().filter_map(|media| media.receives_at.map(|at| at.port)).collect();
    assert_eq!(ports, [12_000, 12_002]);
    let labels: Vec<_> = session.audio().filter_map(|media| media.label.as_deref()).collect();
    assert_eq!(labels, ["96", "97"]);
    let tag = tag_of(&answer);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    // News of who takes part come alone.
    let news = Bench::text("UPDATE", 2, &tag, &format!("\r\n\r\n{metadata}"));
    let answered = bench.give(&news.replace("application/sdp", "application/rs-metadata+xml")).remove(0);
    assert_eq!(first_line(&answered), "SIP/2.0 200 OK");
    // One stream goes: its port is given back.
    let one = two.replace("audio 4002", "audio 0");
    let answered = bench.give(&Bench::text("UPDATE", 3, &tag, &format!("\r\n\r\n{one}"))).remove(0);
    assert!(answered.contains("m=audio 0 RTP/AVP 8\r\n"), "{answered}");
    assert_eq!(bench.agent.ports.free(), 49);
    bench.give(&Bench::text("BYE", 4, &tag, ""));
    bench.wait(33_000);
    bench.expect_empty();
    // Of any other call one is listened to.
    let answer = bench.give(&Bench::text("INVITE", 1, "", &format!("\r\n\r\n{two}"))).remove(0);
    assert!(answer.contains("m=audio 0 RTP/AVP 8\r\n"), "{answer}");
}

#[test]
fn the_ninth_call_is_busy_and_a_call_that_ends_makes_room() {
    let mut bench = Bench::new();
    let invite =
        |n: u32| Bench::invite("").replace("one@", &format!("{n}@")).replace("INVITE1", &format!("I{n}"));
    let tags: Vec<String> = (0..8).map(|n| tag_of(&bench.give(&invite(n))[0])).collect();
    let refused = bench.give(&invite(8)).remove(0);
    assert_eq!(first_line(&refused), "SIP/2.0 486 Busy Here (8 of 8 channels in use)");
    assert_eq!(field(&refused, "Retry-After"), "10");
    // Another peer has channels of its own.
    bench.path.peer = Endpoint::v4([198, 51, 100, 7], 5060);
    assert_eq!(first_line(&bench.give(&invite(20))[0]), "SIP/2.0 200 OK");
    bench.path.peer = pbx();
    bench.give(&Bench::text("BYE", 2, &tags[3], "").replace("one@", "3@"));
    assert_eq!(first_line(&bench.give(&invite(9))[0]), "SIP/2.0 200 OK");
    let counts = bench.agent.counts();
    assert_eq!((counts.invites, counts.answered, counts.busy), (11, 10, 1));
}

#[test]
fn without_a_free_port_a_call_is_told_when_to_come_again() {
    let mut bench = Bench::with(|options| {
        options.ports.truncate(1);
        options.channels = 100;
    });
    bench.call("");
    for offer in [OFFER, ""] {
        let other = Bench::text("INVITE", 5, "", &format!("\r\n\r\n{offer}"))
            .replace("one@", &format!("two{}@", offer.len()));
        let refused = bench.give(&other.replace("INVITE5", &format!("I{}", offer.len()))).remove(0);
        assert_eq!(first_line(&refused), "SIP/2.0 503 Service Unavailable (no RTP port is free)");
        assert_eq!(field(&refused, "Retry-After"), "10");
    }
    assert_eq!((bench.agent.counts().overloaded, bench.agent.channels_in_use()), (2, 1));
}

#[test]
fn who_is_not_listed_is_not_answered() {
    let mut bench = Bench::new();
    bench.path.peer = Endpoint::v4([203, 0, 113, 1], 5060);
    assert_eq!(
        bench.agent.handle_message(&bench.path, Bench::invite("").as_bytes(), bench.now),
        Taken::Stranger
    );
    assert!(bench.sent().is_empty());
    assert_eq!(bench.agent.counts().strangers, 1);
    bench.expect_empty();
}

#[test]
fn a_flood_of_one_peer_does_not_keep_another_waiting() {
    let mut bench = Bench::new();
    bench.path.peer = Endpoint::v4([198, 51, 100, 7], 5060);
    let mut answered = 0;
    for n in 0..50_000_u32 {
        let options = Bench::text("OPTIONS", n, "", "");
        answered += bench.give(&options).len();
    }
    assert_eq!(answered, BURST_MAX as usize);
    bench.path.peer = pbx();
    bench.call("");
    assert_eq!(bench.agent.counts().floods, 50_000 - u64::from(BURST_MAX));
}

#[test]
fn long_requests_of_one_peer_leave_room_for_another() {
    let mut bench = Bench::new();
    bench.path.peer = Endpoint::v4([198, 51, 100, 7], 5060);
    let long = format!("Subject: {}\r\n", "long".repeat(1_500));
    for n in 0..20_000_u32 {
        bench.give(&Bench::text("OPTIONS", n, "", &long));
        if n % 1_000 == 0 {
            // Within what an address may send.
            bench.wait(1_000);
        }
    }
    let held = bench.agent.server_bytes;
    assert!(held <= TRANSACTION_BYTES_PER_PEER_MAX + 65_536, "{held}");
    bench.path.peer = pbx();
    bench.call("");
}

#[test]
fn many_calls_leave_nothing_behind() {
    let mut bench = Bench::with(|options| options.channels = 50);
    for n in 0..3_000_u32 {
        let of_call =
            |text: String| text.replace("one@", &format!("{n}@")).replace("z9hG4bK", &format!("z9hG4bK{n}-"));
        let answer = bench.give(&of_call(Bench::invite(""))).remove(0);
        let tag = tag_of(&answer);
        bench.give(&of_call(Bench::text("ACK", 1, &tag, "")));
        bench.wait(50);
        assert_eq!(first_line(&bench.give(&of_call(Bench::text("BYE", 2, &tag, "")))[0]), "SIP/2.0 200 OK");
    }
    assert!(bench.agent.servers.len() < 2 * 32 * 21, "{}", bench.agent.servers.len());
    bench.wait(33_000);
    bench.expect_empty();
}
