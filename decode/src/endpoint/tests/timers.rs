//! Timers and retransmissions of RFC 3261, 17, and RFC 3262, 3: packets are withheld.

use super::*;

/// 500 ms, twice as late each time up to four seconds, until 32 s: G, and the 2xx.
const DOUBLING: [i64; 10] = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

#[track_caller]
fn expect_times(sent: &[(i64, String)], line: &str, times: &[i64]) {
    let found: Vec<i64> = sent.iter().filter(|(_, text)| text == line).map(|(at, _)| *at).collect();
    assert_eq!(found, times, "{sent:?}");
}

#[test]
fn an_answer_goes_again_until_it_is_acknowledged_and_then_the_call_is_hung_up() {
    let mut bench = Bench::new();
    let answer = bench.give(&Bench::invite("")).remove(0);
    assert_eq!(first_line(&answer), "SIP/2.0 200 OK");
    // The INVITE again is taken in silence (RFC 6026): the answer has a timer of its own.
    assert!(bench.give(&Bench::invite("")).is_empty());
    let sent = bench.wait_lines(40_000);
    expect_times(&sent, "SIP/2.0 200 OK", &DOUBLING);
    // E of the BYE: 500 ms, doubling up to 4 s; then F.
    let byes: Vec<i64> = DOUBLING.iter().map(|at| at + 32_000).take_while(|&at| at <= 40_000).collect();
    expect_times(&sent, "BYE sip:pbx@192.0.2.9:5060 SIP/2.0", &[&[32_000], &byes[..]].concat());
    assert_eq!(bench.agent.counts().lost, 1);
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn over_tcp_an_answer_goes_again_but_a_bye_does_not() {
    let mut bench = Bench::new().over_tcp();
    bench.give(&Bench::invite(""));
    let sent = bench.wait_lines(70_000);
    expect_times(&sent, "SIP/2.0 200 OK", &DOUBLING);
    expect_times(&sent, "BYE sip:pbx@192.0.2.9:5060 SIP/2.0", &[32_000]);
    bench.expect_empty();
}

#[test]
fn an_acknowledged_answer_goes_no_more() {
    let mut bench = Bench::new();
    let answer = bench.give(&Bench::invite("")).remove(0);
    assert_eq!(bench.wait_lines(600).len(), 1);
    let tag = tag_of(&answer);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    assert!(bench.wait_lines(10_000).is_empty());
    // The ACK again, late.
    assert!(bench.give(&Bench::text("ACK", 1, &tag, "")).is_empty());
    let bye = Bench::text("BYE", 2, &tag, "");
    assert_eq!(first_line(&bench.give(&bye)[0]), "SIP/2.0 200 OK");
    // The 200 was lost: the BYE comes again, for as long as J runs.
    assert_eq!(first_line(&bench.give(&bye)[0]), "SIP/2.0 200 OK");
    bench.wait(31_900);
    assert_eq!(first_line(&bench.give(&bye)[0]), "SIP/2.0 200 OK");
    bench.wait(200);
    assert_eq!(first_line(&bench.give(&bye)[0]), "SIP/2.0 481 Call/Transaction Does Not Exist");
    bench.wait(40_000);
    bench.expect_empty();
}

#[test]
fn a_refusal_goes_again_until_it_is_acknowledged() {
    let refused = Bench::invite("Require: nothing");
    let mut bench = Bench::new();
    assert_eq!(first_line(&bench.give(&refused)[0]), "SIP/2.0 420 Bad Extension");
    let sent = bench.wait_lines(40_000);
    // H ends it.
    expect_times(&sent, "SIP/2.0 420 Bad Extension", &DOUBLING);
    bench.expect_empty();

    let mut bench = Bench::new();
    let tag = tag_of(&bench.give(&refused)[0]);
    assert_eq!(first_line(&bench.give(&refused)[0]), "SIP/2.0 420 Bad Extension", "asked again, told again");
    let ack = Bench::text("ACK", 1, &tag, "").replace("z9hG4bKACK1", "z9hG4bKINVITE1");
    assert!(bench.give(&ack).is_empty());
    // I: for 5 s neither the INVITE nor the ACK begins anything.
    assert!(bench.wait_lines(4_900).is_empty());
    assert!(bench.give(&refused).is_empty() && bench.give(&ack).is_empty());
    bench.wait(200);
    bench.expect_empty();
}

#[test]
fn over_tcp_a_refusal_goes_once() {
    let mut bench = Bench::new().over_tcp();
    let tag = tag_of(&bench.give(&Bench::invite("Require: nothing"))[0]);
    assert!(bench.wait_lines(31_000).is_empty());
    bench.give(&Bench::text("ACK", 1, &tag, "").replace("z9hG4bKACK1", "z9hG4bKINVITE1"));
    bench.expect_empty();
    // Without an ACK, H ends it.
    bench.give(&Bench::invite("Require: nothing"));
    bench.wait(32_100);
    bench.expect_empty();
}

#[test]
fn a_bye_goes_again_until_it_is_answered() {
    for (response, resent) in [
        ("", &[500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500][..]),
        // After a provisional response E is 4 s.
        ("SIP/2.0 100 Trying", &[500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500]),
        ("SIP/2.0 200 OK", &[]),
        ("SIP/2.0 481 Gone", &[]),
    ] {
        let mut bench = Bench::new();
        bench.call("");
        bench.agent.hang_up_all(bench.now);
        let bye = bench.sent().remove(0);
        assert!(bye.starts_with("BYE sip:pbx@192.0.2.9:5060 SIP/2.0\r\n"), "{bye}");
        if !response.is_empty() {
            let head: String = bye.lines().skip(1).map(|line| format!("{line}\r\n")).collect();
            bench.give(&format!("{response}\r\n{head}"));
        }
        let times: Vec<i64> = bench.wait(33_000).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, resent, "{response}");
        // F, or K.
        bench.expect_empty();
    }
}

#[test]
fn a_reliable_ringing_goes_again_until_prack_and_ends_in_504() {
    let mut bench = Bench::new();
    let ringing = bench.give(&Bench::invite("Require: 100rel")).remove(0);
    assert_eq!(first_line(&ringing), "SIP/2.0 180 Ringing");
    assert_eq!(field(&ringing, "Require"), "100rel");
    // The INVITE again is given the ringing again.
    assert_eq!(bench.give(&Bench::invite("Require: 100rel")), [ringing]);
    let sent = bench.wait_lines(33_000);
    expect_times(&sent, "SIP/2.0 180 Ringing", &[500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    expect_times(&sent, "SIP/2.0 504 Server Time-out", &[32_000, 32_500]);
    bench.wait(40_000);
    bench.expect_empty();
}

#[test]
fn prack_lets_the_call_be_answered() {
    let mut bench = Bench::new();
    let ringing = bench.give(&Bench::invite("Require: 100rel")).remove(0);
    let (tag, number) = (tag_of(&ringing), field(&ringing, "RSeq"));
    for wrong in
        ["1 1 INVITE".to_owned(), format!("{number} 2 INVITE"), format!("{number} 1 BYE"), String::new()]
    {
        let cseq =
            bench.agent.calls.values().next().expect("a call").remote_cseq.map_or(1, |latest| latest + 1);
        let refused = bench.give(&Bench::text("PRACK", cseq, &tag, &format!("RAck: {wrong}"))).remove(0);
        assert_eq!(first_line(&refused), "SIP/2.0 481 Call/Transaction Does Not Exist", "{wrong}");
    }
    let prack = Bench::text("PRACK", 9, &tag, &format!("RAck: {number} 1 INVITE"));
    let sent = bench.give(&prack);
    assert_eq!(first_line(&sent[0]), "SIP/2.0 200 OK");
    assert_eq!((first_line(&sent[1]), field(&sent[1], "CSeq").as_str()), ("SIP/2.0 200 OK", "1 INVITE"));
    assert_eq!(bench.give(&prack), [sent[0].clone()], "again, and the same");
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    bench.give(&Bench::text("BYE", 10, &tag, ""));
    bench.wait(40_000);
    bench.expect_empty();
}

#[test]
fn it_rings_for_as_long_as_it_is_told() {
    for (more, is_reliable) in [("", false), ("Supported: 100rel", true)] {
        let mut bench = Bench::with(|options| options.ring_ms = 2_000);
        let ringing = bench.give(&Bench::invite(more)).remove(0);
        assert_eq!(first_line(&ringing), "SIP/2.0 180 Ringing");
        let (tag, number) = (tag_of(&ringing), field(&ringing, "RSeq"));
        assert_eq!(number.is_empty(), !is_reliable);
        if is_reliable {
            let sent = bench.give(&Bench::text("PRACK", 2, &tag, &format!("RAck: {number} 1 INVITE")));
            assert_eq!(sent.len(), 1, "it rings on");
        }
        assert_eq!(bench.wait_lines(2_400), [(2_000, "SIP/2.0 200 OK".to_owned())]);
    }
}

#[test]
fn a_cancel_ends_what_rings_and_nothing_else() {
    let mut bench = Bench::with(|options| options.ring_ms = 2_000);
    bench.give(&Bench::invite(""));
    let sent = bench.give(&Bench::text("CANCEL", 1, "", ""));
    let lines: Vec<&str> = sent.iter().map(|text| first_line(text)).collect();
    assert_eq!(lines, ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert_eq!(bench.agent.counts().calls, 0);
    // Withheld: G again.
    let sent = bench.wait_lines(32_500);
    expect_times(&sent, "SIP/2.0 487 Request Terminated", &DOUBLING);
    bench.wait(1_000);
    bench.expect_empty();

    let mut bench = Bench::new();
    bench.call("");
    let sent = bench.give(&Bench::text("CANCEL", 1, "", ""));
    assert_eq!((sent.len(), first_line(&sent[0])), (1, "SIP/2.0 200 OK"));
    assert_eq!(bench.agent.counts().calls, 1, "it was answered before");
    let sent = bench.give(&Bench::text("CANCEL", 77, "", ""));
    assert_eq!(first_line(&sent[0]), "SIP/2.0 481 Call/Transaction Does Not Exist");
}

#[test]
fn a_session_that_is_not_refreshed_is_hung_up() {
    let mut bench = Bench::new();
    let answer =
        bench.give(&Bench::invite("Supported: timer\r\nSession-Expires: 90;refresher=uac")).remove(0);
    assert_eq!(field(&answer, "Session-Expires"), "90;refresher=uac");
    assert_eq!(field(&answer, "Require"), "timer");
    let tag = tag_of(&answer);
    bench.give(&Bench::text("ACK", 1, &tag, ""));
    let keep = |ms: i64, bench: &mut Bench| {
        // Packets come: only the session's timer can end it.
        (0..ms / 10_000)
            .flat_map(|_| {
                let sent = bench.wait(10_000);
                let rtp = [&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xd5; 160]].concat();
                bench.agent.handle_media(0, false, Endpoint::v4([192, 0, 2, 9], 4000), &rtp, bench.now);
                sent
            })
            .collect::<Vec<_>>()
    };
    assert!(keep(50_000, &mut bench).is_empty());
    let refresh = "Supported: timer\r\nSession-Expires: 90;refresher=uac";
    let sent = bench.give(&Bench::text("UPDATE", 2, &tag, refresh));
    assert_eq!(field(&sent[0], "Session-Expires"), "90;refresher=uac");
    assert!(keep(50_000, &mut bench).is_empty());
    // 90 s less a third.
    let sent = bench.wait_lines(10_000);
    assert_eq!(sent, [(10_000, "BYE sip:pbx@192.0.2.9:5060 SIP/2.0".to_owned())]);
    assert_eq!(bench.agent.counts().lost, 1);
}

#[test]
fn a_session_that_we_refresh_is_refreshed_at_half_time() {
    for (allow, request) in [("UPDATE", "UPDATE sip:pbx"), ("BYE", "INVITE sip:pbx")] {
        let mut bench = Bench::with(|options| options.silence_s = 3_600);
        let more = "Supported: timer\r\nSession-Expires: 100;refresher=uas";
        let invite =
            Bench::invite(more).replace("Allow: INVITE, ACK, BYE, UPDATE", &format!("Allow: {allow}"));
        let answer = bench.give(&invite).remove(0);
        assert_eq!(field(&answer, "Session-Expires"), "100;refresher=uas");
        bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
        let sent = bench.wait(50_000);
        let asked = &sent.iter().find(|(_, text)| text.starts_with(request)).expect("a refresh").1;
        assert_eq!(sent[0].0, 50_000);
        assert_eq!(field(asked, "Session-Expires"), "100;refresher=uac");
        let head: String = asked
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter(|line| !line.starts_with("Cont") && !line.starts_with("Session"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let answered = format!("SIP/2.0 200 OK\r\n{head}Session-Expires: 100;refresher=uac\r\n\r\n");
        let sent = bench.give(&answered);
        if request.starts_with("INVITE") {
            assert!(sent[0].starts_with("ACK sip:pbx@192.0.2.9:5060 SIP/2.0\r\n"), "{sent:?}");
            assert_eq!(bench.give(&answered), sent, "the 200 again, the ACK again");
        } else {
            assert!(sent.is_empty());
        }
        // And again, half an interval later.
        let sent = bench.wait_lines(50_100);
        assert!(sent.len() == 1 && sent[0].1.starts_with(request), "{sent:?}");
        // Nobody answers: the end comes when the interval is nearly over.
        let sent = bench.wait_lines(40_000);
        assert!(sent.iter().any(|(_, line)| line.starts_with("BYE ")), "{sent:?}");
        bench.wait(70_000);
        bench.expect_empty();
    }
}

#[test]
fn a_refresh_that_is_refused_ends_the_call_or_is_tried_otherwise() {
    let refreshed = |status: &str| {
        let mut bench = Bench::with(|options| options.silence_s = 3_600);
        let answer =
            bench.give(&Bench::invite("Supported: timer\r\nSession-Expires: 100;refresher=uas")).remove(0);
        bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
        let asked = bench.wait(50_000).remove(0).1;
        let head: String = asked
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter(|line| !line.starts_with("Content"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        bench.give(&format!("SIP/2.0 {status}\r\n{head}Min-SE: 200\r\n\r\n"))
    };
    assert!(refreshed("481 Gone")[0].starts_with("BYE "));
    assert!(refreshed("408 Late")[0].starts_with("BYE "));
    assert!(refreshed("501 What")[0].starts_with("INVITE "));
    let longer = refreshed("422 Short").remove(0);
    assert_eq!(field(&longer, "Session-Expires"), "200;refresher=uac");
    assert!(refreshed("491 Pending").is_empty());
}

#[test]
fn too_short_an_interval_is_told_so() {
    let mut bench = Bench::new();
    let refused = bench.give(&Bench::invite("Supported: timer\r\nSession-Expires: 60")).remove(0);
    assert_eq!(
        (first_line(&refused), field(&refused, "Min-SE").as_str()),
        ("SIP/2.0 422 Session Interval Too Small", "90")
    );
    // Who does not know timers cannot be asked to refresh: we do.
    let answer =
        bench.give(&Bench::text("INVITE", 2, "", &format!("Session-Expires: 60\r\n\r\n{OFFER}"))).remove(0);
    assert_eq!(first_line(&answer), "SIP/2.0 200 OK");
    assert_eq!(field(&answer, "Session-Expires"), "90;refresher=uas");
}
