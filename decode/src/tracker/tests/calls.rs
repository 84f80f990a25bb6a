//! Forks, relays, transfers and the legs that a PBX makes of one call.

use super::*;

#[test]
fn a_proxy_that_tries_one_phone_after_the_other_keeps_the_call() {
    let mut wire = Wire::new();
    let [proxy, first, second] = [10, 31, 32].map(|host| ([192, 0, 2, host], 5060));
    wire.udp(A, proxy, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(
        proxy,
        first,
        &message("INVITE sip:2001@192.0.2.31 SIP/2.0", "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")),
    );
    wire.udp(first, proxy, &message("SIP/2.0 180 Ringing", "1", "1 INVITE", "a", "f1", ""));
    wire.wait(5_000);
    wire.udp(proxy, first, &message("CANCEL sip:2001@192.0.2.31 SIP/2.0", "1", "1 CANCEL", "a", "", ""));
    wire.udp(first, proxy, &message("SIP/2.0 487 Request Terminated", "1", "1 INVITE", "a", "f1", ""));
    wire.udp(
        proxy,
        second,
        &message("INVITE sip:2002@192.0.2.32 SIP/2.0", "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")),
    );
    wire.wait(5_000);
    wire.udp(second, proxy, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "f2", &sdp(second.0, 4002, "")));
    wire.udp(proxy, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "f2", &sdp(second.0, 4002, "")));
    wire.rtp((PHONE, 4000), (second.0, 4002), 7, 0..10);
    wire.finish();
    // Each device that rang is a leg of the one call.
    assert_eq!(
        (wire.ends.len(), wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)),
        (2, 0, 10)
    );
    let [first_facts, facts] = [&wire.ends[0].facts, &wire.ends[1].facts];
    assert_eq!(first_facts.call, facts.call);
    assert_eq!((first_facts.answered, facts.answered.is_some()), (None, true));
    assert_eq!(first_facts.request_user, "2001");
    assert_eq!(first_facts.ending, Ending::Rejected { status: 487, reason: "Request Terminated".into() });
    assert_eq!(facts.ties[0].why, TieReason::Fork);
    // The hop that the answer came from names the device.
    assert_eq!(
        (facts.request_user.as_str(), facts.party(Side::Callee).signalling.ip()),
        ("2002", second.0.into())
    );
}

#[test]
fn of_two_forks_that_answer_the_one_that_is_kept_is_the_call() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "f1", &sdp(PBX, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "f2", &sdp(PBX, 4002, "")));
    wire.udp(A, B, &message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "2 BYE", "a", "f2", ""));
    wire.wait(2_000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp(A, B, &message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "3 BYE", "a", "f1", ""));
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (10, 0));
    let endings: Vec<_> = wire.ends.iter().map(|end| (end.facts.leg.serial(), &end.facts.ending)).collect();
    let hung_up = Ending::Bye { by: Side::Caller };
    assert_eq!(endings, [(2, &hung_up), (1, &hung_up)]);
}

/// The caller's INVITE goes through a proxy to two devices; both ring.
fn forked(wire: &mut Wire) -> [([u8; 4], u16); 3] {
    let [proxy, first, second] = [10, 31, 32].map(|host| ([192, 0, 2, host], 5060));
    wire.udp(A, proxy, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    for (device, start) in
        [(first, "INVITE sip:2001@192.0.2.31 SIP/2.0"), (second, "INVITE sip:2002@192.0.2.32 SIP/2.0")]
    {
        wire.udp(proxy, device, &message(start, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    }
    for (device, tag, port) in [(first, "f1", 4001), (second, "f2", 4002)] {
        let progress = message("SIP/2.0 183 Progress", "1", "1 INVITE", "a", tag, &sdp(device.0, port, ""));
        wire.udp(device, proxy, &progress);
        wire.udp(proxy, A, &progress);
    }
    [proxy, first, second]
}

#[test]
fn devices_that_ring_at_once_are_kept_apart_with_their_early_audio() {
    let mut wire = Wire::new();
    let [proxy, first, second] = forked(&mut wire);
    for sequence in 0..10 {
        wire.rtp((first.0, 4001), (PHONE, 4000), 71, sequence..sequence + 1);
        wire.rtp((second.0, 4002), (PHONE, 4000), 72, sequence..sequence + 1);
    }
    let answer = message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "f2", &sdp(second.0, 4002, ""));
    wire.udp(second, proxy, &answer);
    wire.udp(proxy, A, &answer);
    wire.udp(proxy, first, &message("CANCEL sip:2001@192.0.2.31 SIP/2.0", "1", "1 CANCEL", "a", "", ""));
    wire.udp(first, proxy, &message("SIP/2.0 487 Request Terminated", "1", "1 INVITE", "a", "f1", ""));
    wire.rtp((PHONE, 4000), (second.0, 4002), 7, 0..10);
    wire.udp(A, second, &message("BYE sip:2002@192.0.2.32 SIP/2.0", "1", "2 BYE", "a", "f2", ""));
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Callee), wire.packets_of(2, Side::Callee)), (10, 10));
    assert!(wire.audio.iter().all(|&(leg, side, ssrc, _)| side == Side::Caller || ssrc == 70 + leg as u32));
    let ends: Vec<_> = wire.ends.iter().map(|end| &end.facts).collect();
    let [one, two] = ends[..] else { panic!("{ends:?}") };
    let [one, two] = if one.leg.serial() == 1 { [one, two] } else { [two, one] };
    assert_eq!((one.call, one.segment, two.segment), (two.call, 1, 2));
    assert_eq!((&one.ending, &two.ending), (&Ending::AnsweredElsewhere, &Ending::Bye { by: Side::Caller }));
    assert_eq!((one.answered, two.answered.is_some()), (None, true));
    assert_eq!([one, two].map(|f| f.request_user.as_str()), ["2001", "2002"]);
}

#[test]
fn a_caller_who_gives_up_ends_every_device_that_rings() {
    let mut wire = Wire::new();
    let [proxy, ..] = forked(&mut wire);
    wire.udp(A, proxy, &message("CANCEL sip:2001@192.0.2.10 SIP/2.0", "1", "1 CANCEL", "a", "", ""));
    wire.udp(proxy, A, &message("SIP/2.0 487 Request Terminated", "1", "1 INVITE", "a", "p", ""));
    wire.wait(3_000);
    assert_eq!(wire.ends.len(), 2, "{:?}", wire.heard);
    assert!(wire.ends.iter().all(|end| end.facts.ending == Ending::Cancelled));
}

/// A call through a proxy with a media relay beside it: each party is told of the relay's place instead of the other's.
fn through_a_relay(wire: &mut Wire) -> [([u8; 4], u16); 4] {
    let [proxy, callee, relay] = [10, 31, 40].map(|host| ([192, 0, 2, host], 5060));
    let (outer, inner) = ((relay.0, 30_000), (relay.0, 30_010));
    wire.udp(A, proxy, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(proxy, callee, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(inner.0, inner.1, "")));
    wire.udp(callee, proxy, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(callee.0, 4002, "")));
    wire.udp(proxy, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(outer.0, outer.1, "")));
    [(PHONE, 4000), outer, inner, (callee.0, 4002)]
}

#[test]
fn a_relay_with_sources_of_its_own_is_heard_once() {
    let mut wire = Wire::new();
    let [phone, outer, inner, callee] = through_a_relay(&mut wire);
    for k in 0..50 {
        wire.rtp(phone, outer, 7, k..k + 1);
        wire.rtp(inner, callee, 77, k..k + 1);
        wire.rtp(callee, inner, 8, k..k + 1);
        wire.rtp(outer, phone, 88, k..k + 1);
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (50, 50));
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| ssrc < 10), "the phones' own sources");
    assert_eq!(wire.ends[0].tracks.iter().map(|track| track.relayed).collect::<Vec<_>>(), [50, 50]);
    assert_eq!(wire.told("odd"), 0);
}

#[test]
fn two_directions_are_two_parties_whatever_the_descriptions_mixed_up() {
    // Both descriptions name the callee's host; the caller's own is in none.
    let mut wire = Wire::new();
    let (callee, caller) = ((PBX, 4374), (STRANGER, 4376));
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", ""));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4376, "")));
    wire.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", &sdp(PBX, 4374, "")));
    for k in 0..100 {
        wire.rtp(callee, caller, 7, k..k + 1);
        wire.rtp(caller, (PBX, 4376), 8, k..k + 1);
    }
    wire.finish();
    let of = |ssrc, side| wire.audio.iter().filter(|a| (a.2, a.1) == (ssrc, side)).count();
    assert!(of(8, Side::Caller) >= 99, "{}", of(8, Side::Caller));
    assert!(of(7, Side::Callee) >= 98, "{}", of(7, Side::Callee));
}

#[test]
fn a_relay_that_is_heard_alone_is_heard() {
    // The capture sees the phone's hop for the first packets only.
    let mut wire = Wire::new();
    let [phone, outer, inner, callee] = through_a_relay(&mut wire);
    wire.rtp(phone, outer, 7, 0..10);
    wire.rtp(inner, callee, 77, 0..300);
    wire.finish();
    assert!(wire.packets_of(1, Side::Caller) >= 10 + 300 - 160, "{}", wire.packets_of(1, Side::Caller));
}

#[test]
fn both_legs_hear_phones_whose_first_packet_comes_between_the_two_answers() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, C, &message(INVITE, "2", "1 INVITE", "c", "", &sdp(PHONE, 4000, "")));
    wire.rtp((C.0, 4002), (PHONE, 4000), 8, 0..1);
    wire.udp(C, B, &message("SIP/2.0 200 OK", "2", "1 INVITE", "c", "d", &sdp(C.0, 4002, "")));
    wire.rtp((C.0, 4002), (PHONE, 4000), 8, 1..3);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(C.0, 4002, "")));
    wire.rtp((C.0, 4002), (PHONE, 4000), 8, 3..20);
    wire.finish();
    assert!(wire.packets_of(1, Side::Callee) >= 17, "{}", wire.packets_of(1, Side::Callee));
    assert_eq!(wire.packets_of(2, Side::Callee), 20);
}

/// The PBX gets a call and makes another one under its own Call-ID. Gives what tied the second leg.
fn relayed(wire: &mut Wire, first: &[u8], second: &[u8]) -> Option<TieReason> {
    wire.udp(A, B, first);
    wire.now_ms += 50;
    wire.udp(B, C, second);
    wire.finish();
    let second = wire.ends.iter().find(|end| end.facts.leg.serial() == 2).expect("two legs");
    let first = wire.ends.iter().find(|end| end.facts.leg.serial() == 1).expect("two legs");
    assert_eq!(first.facts.call == second.facts.call, !second.facts.ties.is_empty());
    second.facts.ties.first().map(|tie| tie.why.clone())
}

#[test]
fn legs_of_a_pbx_are_tied_by_what_is_there_and_say_why() {
    let invite = |id: &str, tag: &str, from: &str, to: &str, more: &str| {
        between(message(INVITE, id, "1 INVITE", tag, "", ""), from, to, more)
    };
    let tie = |first: &[u8], second: &[u8]| {
        let mut wire = Wire::new();
        wire.tracker = Tracker::new().with_call_headers(&["X-Call".to_owned()]);
        relayed(&mut wire, first, second)
    };
    let uuid = "ab30317f1a784dc48ff824d0d3715d86";
    let session = format!("Session-ID: {uuid};remote={}\r\n", "0".repeat(32));
    assert_eq!(
        tie(&invite("1", "a", "2000", "900", &session), &invite("2", "b", "main", "2077", &session)),
        Some(TieReason::SessionId)
    );
    assert_eq!(
        tie(
            &invite("1", "a", "2000", "900", "X-Call: 0123456789\r\n"),
            &invite("2", "b", "main", "2077", "x-call: 0123456789\r\n")
        ),
        Some(TieReason::Header("X-Call".into()))
    );
    assert_eq!(
        tie(
            &invite("first@pbx", "a", "2000", "900", ""),
            &invite("2", "b", "main", "2077", "X-Call: first@pbx\r\n")
        ),
        Some(TieReason::Header("X-Call".into()))
    );
    // Both numbers, however they are dialled; or one long number alone.
    assert_eq!(
        tie(&invite("1", "a", "2000", "2077", ""), &invite("2", "b", "2000", "2077", "")),
        Some(TieReason::Numbers)
    );
    assert_eq!(
        tie(&invite("1", "a", "2000", "901632960101", ""), &invite("2", "b", "main", "+441632960101", "")),
        Some(TieReason::Numbers)
    );
    // One short number is anybody's.
    assert_eq!(tie(&invite("1", "a", "2000", "900", ""), &invite("2", "b", "2000", "2077", "")), None);
    assert_eq!(tie(&invite("1", "a", "2000", "900", ""), &invite("2", "b", "main", "2077", "")), None);
}

#[test]
fn two_calls_between_the_same_numbers_are_not_guessed_at() {
    let mut wire = Wire::new();
    for (id, tag) in [("1", "a"), ("2", "b")] {
        wire.udp(A, B, &message(INVITE, id, "1 INVITE", tag, "", ""));
    }
    wire.udp(B, C, &message(INVITE, "3", "1 INVITE", "c", "", ""));
    wire.finish();
    assert!(wire.ends.iter().all(|end| end.facts.ties.is_empty()));
}

#[test]
fn a_session_identifier_in_an_answer_ties_late() {
    let mut wire = Wire::new();
    let [a, b] = ["ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"];
    let with =
        |text: Vec<u8>, value: &str| between(text, "2000", "2001", &format!("Session-ID: {value}\r\n"));
    wire.udp(A, B, &with(message(INVITE, "1", "1 INVITE", "a", "", ""), &format!("{a};remote=0")));
    wire.udp(C, B, &between(message(INVITE, "2", "1 INVITE", "c", "", ""), "777", "900", ""));
    assert_eq!(wire.told("tied"), 0);
    wire.udp(
        B,
        C,
        &with(message("SIP/2.0 200 OK", "2", "1 INVITE", "c", "d", ""), &format!("{b};remote={a}")),
    );
    assert_eq!(wire.told("2 tied: same Session-ID"), 1, "{:?}", wire.heard);
    wire.finish();
    assert_eq!(wire.ends[0].facts.call, wire.ends[1].facts.call);
    assert_eq!(wire.ends.iter().map(|end| end.facts.segment).sum::<u32>(), 3);
}

#[test]
fn who_is_sent_to_a_target_goes_on_with_the_call() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let refer = between(
        message("REFER sip:2001@192.0.2.10 SIP/2.0", "1", "2 REFER", "a", "b", ""),
        "2000",
        "2001",
        "Refer-To: <sip:2077@192.0.2.10>\r\n",
    );
    wire.udp(A, B, &refer);
    let start = "INVITE sip:2077@192.0.2.21 SIP/2.0";
    wire.udp(B, C, &between(message(start, "2", "1 INVITE", "x", "", ""), "main", "2077", ""));
    wire.finish();
    let second = wire.ends.iter().find(|end| end.facts.leg.serial() == 2).expect("two legs");
    assert_eq!(second.facts.ties[0].why, TieReason::Refer);
    assert_eq!(second.facts.segment, 2);
}

#[test]
fn an_attended_transfer_joins_the_call_that_was_asked_for_and_the_one_that_is_replaced() {
    let mut wire = Wire::new();
    // 2001 holds the call of 2000, calls 2077, and sends 2000 there in its place.
    wire.answered_call("1", 4000);
    wire.udp(B, C, &between(message(INVITE, "2", "1 INVITE", "c", "", ""), "2001", "2077", ""));
    wire.udp(C, B, &message("SIP/2.0 200 OK", "2", "1 INVITE", "c", "d", ""));
    let refer = "Refer-To: <sip:2077@192.0.2.21?Replaces=2%3Bto-tag%3Dd%3Bfrom-tag%3Dc>\r\n";
    let start = "REFER sip:2000@192.0.2.20 SIP/2.0";
    wire.udp(B, A, &between(message(start, "1", "2 REFER", "b", "a", ""), "2001", "2000", refer));
    let replaces = "Replaces: 2;to-tag=d;from-tag=c\r\nReferred-By: <sip:2001@192.0.2.10>\r\n";
    let start = "INVITE sip:2077@192.0.2.21 SIP/2.0";
    wire.udp(A, C, &between(message(start, "3", "1 INVITE", "e", "", ""), "2000", "2077", replaces));
    wire.finish();
    let calls: std::collections::BTreeSet<CallId> = wire.ends.iter().map(|end| end.facts.call).collect();
    assert_eq!((wire.ends.len(), calls.len()), (3, 1), "{:?}", wire.heard);
    let segments: std::collections::BTreeSet<u32> = wire.ends.iter().map(|end| end.facts.segment).collect();
    assert_eq!(segments.len(), 3);
}

#[test]
fn a_pbx_that_hands_the_media_to_the_phones_later_ties_the_legs_then() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let invite = between(message(INVITE, "2", "1 INVITE", "c", "", &sdp(PBX, 4100, "")), "main", "2077", "");
    wire.udp(B, C, &invite);
    wire.udp(C, B, &message("SIP/2.0 200 OK", "2", "1 INVITE", "c", "d", &sdp(C.0, 5000, "")));
    assert_eq!(wire.told("tied"), 0);
    // The first phone is told to send to the second one.
    let again = message("INVITE sip:2000@192.0.2.20 SIP/2.0", "1", "9 INVITE", "b", "a", &sdp(C.0, 5000, ""));
    wire.udp(B, A, &again);
    assert_eq!(wire.told("2 tied: same media address"), 1, "{:?}", wire.heard);
}

#[test]
fn a_leg_is_told_of_with_the_other_legs_of_its_call() {
    let mut wire = Wire::new();
    let provider = ([192, 0, 2, 99], 5060);
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, provider, &message(INVITE, "2", "1 INVITE", "x", "", &sdp(PBX, 5000, "")));
    wire.udp(B, A, &message("SIP/2.0 180 Ringing", "1", "1 INVITE", "a", "b", ""));
    // Another call at the same time is none of it.
    wire.udp(C, B, &message(INVITE, "3", "1 INVITE", "c", "", &sdp(STRANGER, 4000, "")));
    wire.finish();
    let others = |serial: u64| {
        let facts = wire.ends.iter().map(|end| &end.facts).find(|facts| facts.leg.serial() == serial);
        let others = &facts.expect("a leg").others;
        others
            .iter()
            .map(|other| (other.leg.serial(), other.party(Side::Caller).signalling.ip()))
            .collect::<Vec<_>>()
    };
    assert_eq!((others(1), others(2)), (vec![(2, PBX.into())], vec![(1, PHONE.into())]));
    assert_eq!(others(3), []);
}
