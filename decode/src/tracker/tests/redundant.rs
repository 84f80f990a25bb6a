//! Redundant audio data (RFC 2198): what is kept of it, and digits inside it.

use super::*;
use crate::Codec;

const P: ([u8; 4], u16) = (PHONE, 4000);
const X: ([u8; 4], u16) = (PBX, 4000);
const RED: &str = "a=rtpmap:121 red/8000\r\na=fmtp:121 0/0\r\n";

/// A call whose descriptions announce redundant data as payload type 121.
fn wire() -> Wire {
    let mut wire = Wire::new();
    let offer = sdp(PHONE, 4000, RED).replace("AVP 0 101", "AVP 121 0 101");
    let answer = sdp(PBX, 4000, RED).replace("AVP 0 101", "AVP 121 0 101");
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &offer));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &answer));
    wire.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", ""));
    wire
}

/// The payload of such a packet: earlier payloads by type and offset, and its own.
fn red(earlier: &[(u8, u16, &[u8])], own: (u8, &[u8])) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (payload_type, offset, payload) in earlier {
        let word = u32::from(*offset) << 10 | payload.len() as u32;
        bytes.push(0x80 | payload_type);
        bytes.extend(&word.to_be_bytes()[1..]);
    }
    bytes.push(own.0);
    earlier.iter().for_each(|(.., payload)| bytes.extend(*payload));
    bytes.extend(own.1);
    bytes
}

impl Wire {
    fn red(&mut self, sequence: u16, earlier: &[(u8, u16, &[u8])], own: (u8, &[u8])) {
        self.now_ms += 20;
        self.udp(P, X, &rtp(121, 7, sequence, u32::from(sequence) * 160, &red(earlier, own)));
    }
}

#[test]
fn of_redundant_data_the_packets_own_frame_is_kept_and_no_earlier_one() {
    let mut wire = wire();
    let (first, second) = ([0x11; 160], [0x22; 160]);
    wire.red(1, &[], (0, &first));
    wire.red(2, &[(0, 160, &first)], (0, &second));
    assert_eq!(wire.payloads, [first.to_vec(), second.to_vec()]);
    wire.bye("1");
    wire.wait(2_000);
    let track = wire.ends[0].tracks.iter().find(|track| track.side == Side::Caller).expect("the phone's");
    assert_eq!((track.packets, track.lost_network), (2, 0));
    assert!(track.formats.iter().any(|(format, _)| format.codec == Codec::Pcmu), "{:?}", track.formats);
}

#[test]
fn digits_inside_redundant_data_are_told_once_also_where_their_own_packets_were_lost() {
    let mut wire = wire();
    let event = |digit: u8, ended: bool| [digit, if ended { 0x8a } else { 0x0a }, 3, 0x20];
    wire.red(1, &[], (0, &[0x11; 160]));
    // Sent three times: as the packet's own, and again as what came before.
    wire.red(2, &[(0, 160, &[0x11; 160])], (101, &event(5, true)));
    wire.red(3, &[(101, 160, &event(5, true))], (0, &[0x12; 160]));
    wire.red(4, &[(101, 320, &event(5, true)), (0, 160, &[0x12; 160])], (0, &[0x13; 160]));
    // Packet 5, which had the next one, is lost.
    wire.red(6, &[(101, 160, &event(7, true))], (0, &[0x14; 160]));
    wire.red(7, &[(101, 320, &event(7, true))], (0, &[0x15; 160]));
    let keyed: Vec<&String> = wire.heard.iter().filter(|line| line.contains("keyed")).collect();
    assert_eq!(keyed, ["1 Caller keyed 5", "1 Caller keyed 7"]);
}

#[test]
fn what_cannot_be_read_is_counted_and_not_kept() {
    let mut wire = wire();
    wire.red(1, &[], (0, &[0x11; 160]));
    for (sequence, payload) in [(2_u16, &[0x80][..]), (3, &[0x80, 0, 3, 0xff, 0, 1]), (4, &[121, 121, 0])] {
        wire.now_ms += 20;
        wire.udp(P, X, &rtp(121, 7, sequence, u32::from(sequence) * 160, payload));
    }
    assert_eq!(wire.payloads, [[0x11; 160].to_vec()]);
    assert_eq!((wire.told("that cannot be read"), wire.told("inside such data")), (2, 1), "{:?}", wire.heard);
}
