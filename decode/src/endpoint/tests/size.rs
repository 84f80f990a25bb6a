//! Requests that are too large for a datagram (RFC 3261, 18.1.1), and what else is said by the way that a peer takes.

use super::asking::{branch, join, joining, let_in, local, respond};
use super::who::paths;
use super::*;

/// So long that the INVITE does not go into a datagram: it stands in the request line and in To.
fn long_uri() -> String {
    format!("sip:{}@192.0.2.9", "a".repeat(230))
}

fn large() -> (Bench, Path, String) {
    let mut bench = joining();
    assert_eq!(bench.agent.join(&long_uri(), "2001", local(), bench.now), Ok(()));
    let mut sent = paths(&mut bench);
    let (path, invite) = sent.remove(0);
    assert!(sent.is_empty() && invite.len() > UDP_REQUEST_BYTES_MAX, "{} bytes", invite.len());
    (bench, path, invite)
}

#[test]
fn a_large_request_goes_over_tcp_and_its_via_says_so() {
    let (mut bench, path, invite) = large();
    assert_eq!((path.carrier, path.connection, path.peer), (Carrier::Tcp, 0, pbx()));
    assert!(field(&invite, "Via").starts_with("SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK"), "{invite}");
    // What follows comes as it would have.
    assert_eq!(field(&invite, "Contact"), "<sip:earwitness@192.0.2.1:5060>");
    assert!(bench.wait(20_000).is_empty(), "nothing gets lost on a connection");
    bench.agent.handle_message(&path, let_in(&invite, "them").as_bytes(), bench.now);
    let (by, ack) = paths(&mut bench).remove(0);
    assert!(ack.starts_with("ACK ") && field(&ack, "Via").starts_with("SIP/2.0/UDP "), "{ack}");
    assert_eq!((by.carrier, by.peer.ip()), (Carrier::Udp, pbx().ip()));
    assert_eq!(bench.agent.counts().joined, 1);
    assert!(bench.agent.leave(&long_uri(), bench.now));
    assert_eq!(paths(&mut bench).last().map(|(path, _)| path.carrier), Some(Carrier::Udp), "a BYE is small");
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn who_takes_no_connection_gets_it_over_udp_again_and_again_until_it_is_answered() {
    let (mut bench, path, invite) = large();
    bench.agent.handle_unreachable(&path, bench.now);
    let (by, again) = paths(&mut bench).remove(0);
    assert_eq!(by.carrier, Carrier::Udp);
    assert_eq!(again, invite.replace("SIP/2.0/TCP", "SIP/2.0/UDP"));
    let sent = bench.wait_lines(2_000);
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [500, 1_500], "{sent:?}");
    bench.give(&let_in(&again, "them"));
    assert_eq!(bench.agent.counts().joined, 1);

    // That is remembered for a while.
    let more = long_uri().replace("aaa@", "bbb@");
    assert_eq!(bench.agent.join(&more, "2001", local(), bench.now), Ok(()));
    assert_eq!(paths(&mut bench).remove(0).0.carrier, Carrier::Udp);
    let later = bench.now.plus_millis(600_000);
    bench.agent.handle_timeout(later);
    bench.sent();
    assert_eq!(bench.agent.join(&more.replace("bbb@", "ccc@"), "2001", local(), later), Ok(()));
    assert_eq!(paths(&mut bench).remove(0).0.carrier, Carrier::Tcp);
}

#[test]
fn a_connection_that_ends_without_an_answer_counts_as_none() {
    let (mut bench, path, _) = large();
    bench.agent.handle_closed(&Path { connection: 9, ..path }, bench.now);
    let (by, again) = paths(&mut bench).remove(0);
    assert_eq!(by.carrier, Carrier::Udp);
    assert!(again.starts_with("INVITE "));
    // Of somebody else's nothing follows, nor of one over which it rang.
    let (mut bench, path, invite) = large();
    bench.agent.handle_closed(&Path { connection: 9, peer: path.peer.with_port(9), ..path }, bench.now);
    assert!(paths(&mut bench).is_empty());
    bench.agent.handle_message(&path, respond(&invite, "180 Ringing", "them", "").as_bytes(), bench.now);
    bench.agent.handle_closed(&Path { connection: 9, ..path }, bench.now);
    let sent = paths(&mut bench);
    assert!(sent.iter().all(|(path, _)| path.carrier == Carrier::Tcp), "{sent:?}");
}

#[test]
fn how_much_goes_into_a_datagram_depends_on_the_way() {
    let mut bench = joining();
    bench.agent.learn_packet_bytes(pbx().ip(), 1_000);
    let invite = join(&mut bench, "sip:conf@192.0.2.9");
    assert!((800..=UDP_REQUEST_BYTES_MAX).contains(&invite.len()), "{} bytes", invite.len());
    assert!(field(&invite, "Via").starts_with("SIP/2.0/TCP "), "{invite}");
    let mut bench = joining();
    bench.agent.learn_packet_bytes(pbx().ip(), 1_500);
    let invite = join(&mut bench, "sip:conf@192.0.2.9");
    assert!(field(&invite, "Via").starts_with("SIP/2.0/UDP "), "{invite}");
}

#[test]
fn what_makes_a_request_large_may_be_its_credentials() {
    let mut bench = Bench::with(|options| {
        options.joins = options.peers.clone();
        let password = Secret::new(zeroize::Zeroizing::new("sesame".into()));
        options.account = Some(Account { user: "5999".into(), password });
    });
    let uri = format!("sip:{}@192.0.2.9", "a".repeat(80));
    let invite = join(&mut bench, &uri);
    assert!(field(&invite, "Via").starts_with("SIP/2.0/UDP "), "{} bytes", invite.len());
    let asks =
        format!("Proxy-Authenticate: Digest realm=\"pbx\", nonce=\"{}\", qop=\"auth\"", "n".repeat(64));
    bench.agent.handle_message(&bench.path, respond(&invite, "407 Who", "p", &asks).as_bytes(), bench.now);
    let sent = paths(&mut bench);
    assert!(sent[0].1.starts_with("ACK ") && sent[0].0.carrier == Carrier::Udp);
    let (path, again) = &sent[1];
    assert!(again.len() > UDP_REQUEST_BYTES_MAX && path.carrier == Carrier::Tcp, "{} bytes", again.len());
    assert!(field(again, "Via").starts_with("SIP/2.0/TCP ") && branch(again) != branch(&invite));
    assert!(field(again, "Proxy-Authorization").contains("username=\"5999\""));
}

#[test]
fn a_conversation_behind_a_proxy_is_acknowledged_where_its_contact_says() {
    let mut bench = Bench::with(|options| options.joins = options.peers.clone());
    let invite = join(&mut bench, "sip:conf@192.0.2.9");
    let contact = "Contact: <sip:media@198.51.100.7:5080>";
    let answer = respond(&invite, "200 OK", "them", &format!("{contact}\r\n\r\n{OFFER}"));
    bench.agent.handle_message(&bench.path, answer.as_bytes(), bench.now);
    let (path, ack) = paths(&mut bench).remove(0);
    assert!(ack.starts_with("ACK sip:media@198.51.100.7:5080 SIP/2.0\r\n"), "{ack}");
    assert_eq!(path.peer, Endpoint::v4([198, 51, 100, 7], 5080));
    // But nobody is called who may not be.
    let mut bench = joining();
    let invite = join(&mut bench, "sip:conf@192.0.2.9");
    let answer = respond(&invite, "200 OK", "them", &format!("{contact}\r\n\r\n{OFFER}"));
    bench.agent.handle_message(&bench.path, answer.as_bytes(), bench.now);
    assert_eq!(paths(&mut bench).remove(0).0.peer, pbx());
}
