//! Recording sessions whose metadata comes in pieces, and conversations that the recorder has joined.

use super::*;
use crate::tracker::NamedBy;

const CLIENT: ([u8; 4], u16) = (PBX, 5060);
const OURS: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);

fn wire() -> Wire {
    let mut wire = Wire::new();
    wire.tracker.know_conference(0, NamedBy::default_order());
    wire
}

/// Of a session's client; `more` are header fields, each with its line end.
fn request(method: &str, cseq: u32, tags: [&str; 2], more: &str, body: &str) -> String {
    let to = if tags[1].is_empty() { String::new() } else { format!(";tag={}", tags[1]) };
    format!(
        "{method} sip:rec@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK{method}{cseq}\r\n\
         From: <sip:src@192.0.2.10>;tag={}\r\nTo: <sip:rec@192.0.2.1>{to}\r\nCall-ID: session\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:src@192.0.2.10>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        tags[0],
        body.len()
    )
}

fn metadata(mode: &str, who: &[(&str, &str)]) -> String {
    let each = who.iter().map(|(id, label)| {
        format!(
            "<participant participant_id='{id}'><nameID aor='sip:{id}@pbx.example'><name>N{id}</name></nameID></participant>\
             <stream stream_id='s{id}'><label>{label}</label></stream>\
             <participantstreamassoc participant_id='{id}'><send>s{id}</send></participantstreamassoc>"
        )
    });
    format!("<recording><datamode>{mode}</datamode>{}</recording>", each.collect::<String>())
}

const XML: &str = "Content-Type: application/rs-metadata+xml\r\n";

/// A description of two lines in this direction.
fn lines(direction: &str) -> String {
    format!(
        "v=0\r\nc=IN IP4 192.0.2.10\r\nm=audio 4000 RTP/AVP 8\r\na=label:1\r\na={direction}\r\n\
         m=audio 4002 RTP/AVP 8\r\na=label:2\r\na={direction}\r\n"
    )
}

/// Begins a session of two lines in which these take part.
fn begin(wire: &mut Wire, who: &[(&str, &str)]) {
    begin_with(wire, who, "sendrecv");
}

fn begin_with(wire: &mut Wire, who: &[(&str, &str)], direction: &str) {
    let sdp = lines(direction);
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\n{XML}\r\n{}\r\n--b--\r\n",
        metadata("complete", who)
    );
    let more = "Content-Type: multipart/mixed;boundary=b\r\n";
    wire.udp(CLIENT, OURS, request("INVITE", 1, ["c", ""], more, &body).as_bytes());
    let answer = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 12000 RTP/AVP 8\r\nm=audio 12002 RTP/AVP 8\r\n";
    let ok = request("INVITE", 1, ["c", "r"], "Content-Type: application/sdp\r\n", answer);
    wire.udp(OURS, CLIENT, ok.replacen("INVITE sip:rec@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1).as_bytes());
}

fn end(wire: &mut Wire) -> LegEnd {
    wire.udp(CLIENT, OURS, request("BYE", 9, ["c", "r"], "", "").as_bytes());
    wire.now_ms += 60_000;
    wire.tracker.handle_timeout(Timestamp::from_millis(wire.now_ms));
    wire.drain();
    wire.ends.remove(0)
}

#[test]
fn before_any_audio_metadata_that_comes_later_counts_as_if_it_had_come_first() {
    let mut wire = wire();
    begin(&mut wire, &[("2001", "1")]);
    let update = request("UPDATE", 2, ["c", "r"], XML, &metadata("partial", &[("2002", "2")]));
    wire.udp(CLIENT, OURS, update.as_bytes());
    let facts = end(&mut wire).facts;
    assert_eq!(facts.parties.clone().map(|party| party.number), ["2001", "2002"]);
    assert_eq!((facts.conferenced.as_deref(), facts.caller_known), (Some(&[][..]), false));
}

#[test]
fn after_it_who_was_not_named_before_is_told_once() {
    let mut wire = wire();
    begin(&mut wire, &[("2001", "1"), ("2002", "2")]);
    wire.udp((PBX, 4000), ([192, 0, 2, 1], 12_000), &rtp(8, 7, 1, 160, &[0xd5; 160]));
    let update = request("UPDATE", 2, ["c", "r"], XML, &metadata("partial", &[("2003", "2"), ("2001", "1")]));
    wire.udp(CLIENT, OURS, update.as_bytes());
    wire.udp(CLIENT, OURS, update.as_bytes());
    let told: Vec<&String> = wire.heard.iter().filter(|line| line.contains("takes part")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("2003 N2003 takes part"));
    // Another session's party says nothing here, and what somebody else says who is not the client neither.
    let stranger = request("UPDATE", 3, ["r", "c"], XML, &metadata("partial", &[("2009", "2")]));
    wire.udp(OURS, CLIENT, stranger.as_bytes());
    assert!(!wire.heard.iter().any(|line| line.contains("2009")));
    assert_eq!(end(&mut wire).facts.parties.map(|party| party.number), ["2001", "2002"]);
}

/// Another offer of the session's client, which is accepted.
fn change(wire: &mut Wire, cseq: u32, direction: &str) {
    let kind = "Content-Type: application/sdp\r\n";
    wire.udp(CLIENT, OURS, request("INVITE", cseq, ["c", "r"], kind, &lines(direction)).as_bytes());
    let answer = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 12000 RTP/AVP 8\r\nm=audio 12002 RTP/AVP 8\r\n";
    let ok = request("INVITE", cseq, ["c", "r"], kind, answer);
    wire.udp(OURS, CLIENT, ok.replacen("INVITE sip:rec@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1).as_bytes());
}

#[test]
fn a_paused_session_goes_on_when_its_client_sends_again() {
    let who = [("2001", "1"), ("2002", "2")];
    let mut sends = wire();
    begin_with(&mut sends, &who, "sendonly");
    sends.now_ms += 1_000;
    change(&mut sends, 2, "inactive");
    sends.now_ms += 2_000;
    change(&mut sends, 3, "sendonly");
    assert_eq!((sends.told("held by Caller"), sends.told("retrieved by Caller")), (1, 1));
    let holds = end(&mut sends).holds;
    assert_eq!(holds.iter().map(|(from, to)| to.millis_since(*from)).collect::<Vec<_>>(), [2_000]);

    // Whoever has listened before and only sends then has put the other side on hold.
    let mut listens = wire();
    begin(&mut listens, &who);
    change(&mut listens, 2, "sendonly");
    assert_eq!((listens.told("held by Caller"), listens.told("retrieved by Caller")), (1, 0));
}

#[test]
fn of_a_conversation_that_the_recorder_joins_the_one_is_named_for_whom_it_does() {
    let mut wire = wire();
    let more = format!("{}: 2001\r\n", crate::endpoint::EXTENSION_FIELD);
    wire.udp(OURS, CLIENT, request("INVITE", 1, ["c", ""], &more, "").as_bytes());
    wire.udp(
        CLIENT,
        OURS,
        request("INVITE", 1, ["c", "r"], "", "")
            .replacen("INVITE sip:rec@192.0.2.1 SIP/2.0", "SIP/2.0 486 No", 1)
            .as_bytes(),
    );
    wire.now_ms += 60_000;
    wire.tracker.handle_timeout(Timestamp::from_millis(wire.now_ms));
    wire.drain();
    let named = wire.ends.remove(0).facts.conferenced.expect("the recorder's own");
    assert_eq!((named.len(), &named[0].by, named[0].number.as_str()), (1, &NamedBy::Joined, "2001"));
}
