//! Who a party turns out to be within the dialog.

use super::*;

const PHONE: ([u8; 4], u16) = ([192, 0, 2, 20], 5060);
const SWITCH: ([u8; 4], u16) = (PBX, 5060);

/// Of the dialog that the PBX began for `from`; `back` is the other way round.
fn request(method: &str, cseq: u32, from: &str, is_within: bool, back: bool, more: &str) -> String {
    let (mut caller, mut callee) =
        (format!("<sip:{from}@192.0.2.10>;tag=c"), "<sip:2000@192.0.2.20>".to_owned());
    if is_within {
        callee += ";tag=d";
    }
    if back {
        std::mem::swap(&mut caller, &mut callee);
    }
    format!(
        "{method} sip:x@192.0.2.20 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK{method}{cseq}{back}\r\n\
         From: {caller}\r\nTo: {callee}\r\nCall-ID: one\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn ok(request: &str) -> String {
    let (_, rest) = request.split_once("\r\n").expect("lines");
    format!("SIP/2.0 200 OK\r\n{rest}")
}

/// A call from this number to 2000, answered with this.
fn answered(from: &str, more: &str) -> Wire {
    let mut wire = Wire::new();
    wire.udp(SWITCH, PHONE, request("INVITE", 1, from, false, false, "").as_bytes());
    wire.udp(PHONE, SWITCH, ok(&request("INVITE", 1, from, true, false, more)).as_bytes());
    wire.heard.clear();
    wire
}

#[test]
fn a_caller_who_was_withheld_is_named_by_an_update_once() {
    let mut wire = answered("anonymous", "");
    let named = "P-Asserted-Identity: \"Ann Bee\" <sip:01632960001@192.0.2.10>\r\n";
    for cseq in [2, 3] {
        wire.udp(SWITCH, PHONE, request("UPDATE", cseq, "anonymous", true, false, named).as_bytes());
    }
    assert_eq!(wire.heard.len(), 1, "{:?}", wire.heard);
    assert!(wire.heard[0].ends_with(" Caller is 01632960001 Ann Bee"), "{:?}", wire.heard);
    // Another one, by the From of a re-INVITE (RFC 4916), and the first one again.
    wire.udp(SWITCH, PHONE, request("INVITE", 4, "01632960002", true, false, "").as_bytes());
    wire.udp(SWITCH, PHONE, request("UPDATE", 5, "anonymous", true, false, named).as_bytes());
    assert_eq!(wire.heard.len(), 3, "{:?}", wire.heard);
}

#[test]
fn who_says_what_is_known_or_no_number_says_nothing() {
    let mut wire = answered("01632960001", "P-Asserted-Identity: <sip:01632960500@192.0.2.20>\r\n");
    for (cseq, from, more) in [
        (2, "01632960001", ""),
        (3, "anonymous", ""),
        (4, "moh", ""),
        (5, "01632960001", "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n"),
        (6, "01632960001", "Remote-Party-ID: <sip:music-on-hold@192.0.2.10>\r\n"),
    ] {
        wire.udp(SWITCH, PHONE, request("UPDATE", cseq, from, true, false, more).as_bytes());
    }
    wire.udp(PHONE, SWITCH, request("UPDATE", 1, "01632960001", true, true, "").as_bytes());
    assert_eq!(wire.heard, Vec::<String>::new(), "the answer is of whom was dialled, too");
}
