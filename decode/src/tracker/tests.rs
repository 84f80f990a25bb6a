//! The tracker against built traffic: two phones, a PBX between or not, everything in order and not.

mod quality;
mod secrecy;

use std::fmt::Write as _;

use self::trace::told;
use super::*;
use crate::net::Endpoint;

mod calls;
mod connected;
mod foreign;
mod joined;
mod outside;
mod redundant;
mod session;
mod shapes;
mod streams;
mod trace;

const PHONE: [u8; 4] = [192, 0, 2, 20];
const PBX: [u8; 4] = [192, 0, 2, 10];
const STRANGER: [u8; 4] = [192, 0, 2, 66];
const RAW_IP: u16 = 101;
const SYN: u8 = 0x02;
const DATA: u8 = 0x18;

/// Sends frames into a tracker and writes down what it tells.
struct Wire {
    tracker: Tracker,
    now_ms: i64,
    heard: Vec<String>,
    ends: Vec<LegEnd>,
    audio: Vec<(u64, Side, u32, u16)>,
    payloads: Vec<Vec<u8>>,
    /// SIP messages told: of which leg, when, and as one line.
    signals: Vec<(u64, Timestamp, String)>,
}

impl Wire {
    fn new() -> Self {
        Wire {
            tracker: Tracker::new(),
            now_ms: 1_000,
            heard: Vec::new(),
            ends: Vec::new(),
            audio: Vec::new(),
            payloads: Vec::new(),
            signals: Vec::new(),
        }
    }

    fn udp(&mut self, src: ([u8; 4], u16), dst: ([u8; 4], u16), payload: &[u8]) {
        let udp_len = 8 + payload.len() as u16;
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        packet[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
        packet.extend(src.0);
        packet.extend(dst.0);
        for field in [src.1, dst.1, udp_len, 0] {
            packet.extend(field.to_be_bytes());
        }
        packet.extend(payload);
        self.frame(&packet);
    }

    fn tcp(&mut self, src: ([u8; 4], u16), dst: ([u8; 4], u16), flags: u8, sequence: u32, payload: &[u8]) {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
        packet[2..4].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        packet.extend(src.0);
        packet.extend(dst.0);
        packet.extend(src.1.to_be_bytes());
        packet.extend(dst.1.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);
        self.frame(&packet);
    }

    fn frame(&mut self, packet: &[u8]) {
        let at = Timestamp::from_millis(self.now_ms);
        self.tracker.handle_frame(&Frame {
            at,
            link: RAW_IP,
            source: 0,
            wire_len: packet.len() as u32,
            data: packet,
        });
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.tracker.poll_event() {
            match event {
                Event::LegStarted(facts) => self.heard.push(format!("{} started", facts.leg)),
                Event::Tied(facts) => {
                    let why = facts.ties.last().map(|tie| tie.why.to_string());
                    self.heard.push(format!("{} tied: {}", facts.leg, why.unwrap_or_default()));
                }
                Event::Ringing(facts) => self.heard.push(format!("{} rings", facts.leg)),
                Event::Answered(facts) => self.heard.push(format!("{} answered", facts.leg)),
                Event::AudioStarted(facts) => self.heard.push(format!("{} audio", facts.leg)),
                Event::Audio { leg, side, frame } => {
                    self.audio.push((leg.serial(), side, frame.ssrc, frame.sequence));
                    self.payloads.push(frame.payload.to_vec());
                }
                Event::Described { .. } => {}
                Event::Joined { leg, number, name, .. } => {
                    self.heard.push(format!("{leg} {number} {name} takes part"))
                }
                Event::Identified { facts, side, number, name, .. } => {
                    self.heard.push(format!("{} {side:?} is {number} {name}", facts.leg))
                }
                Event::Signal { leg, signal } => self.signals.push((leg.serial(), signal.at, told(&signal))),
                Event::Digit { leg, side, digit } => {
                    self.heard.push(format!("{leg} {side:?} keyed {}", digit.digit))
                }
                Event::Hold { leg, by, .. } => self.heard.push(format!("{leg} held by {by:?}")),
                Event::Retrieve { leg, by, .. } => self.heard.push(format!("{leg} retrieved by {by:?}")),
                Event::SenderReport { leg, side, .. } => self.heard.push(format!("{leg} {side:?} report")),
                Event::LegEnded(end) => {
                    self.heard.push(format!("{} ended {:?}", end.facts.leg, end.facts.ending));
                    self.ends.push(*end);
                }
                Event::UnannouncedRtp(rtp) => {
                    let look = if rtp.looks_encrypted { ", looks encrypted" } else { "" };
                    self.heard.push(format!("unannounced {}{look}", rtp.packets));
                }
                Event::CopiedRtp(rtp) => {
                    self.heard.push(format!("copied {} of {} {:?}", rtp.packets, rtp.leg, rtp.side));
                }
                Event::ForeignRtp(rtp) => {
                    self.heard.push(format!("foreign {}, taken {}", rtp.packets, rtp.taken));
                }
                Event::Oddity { what, .. } => self.heard.push(format!("odd: {what}")),
                Event::TlsUndecryptable { why, .. } => self.heard.push(format!("TLS: {why}")),
            }
        }
    }

    /// Time passes: a harmless frame each second.
    fn wait(&mut self, ms: i64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = (self.now_ms + 1_000).min(until_ms);
            self.udp((STRANGER, 9), (STRANGER, 9), b"tick");
        }
    }

    fn finish(&mut self) {
        self.tracker.finish();
        self.drain();
    }

    /// RTP of 20 ms packets, one after the other in time.
    fn rtp(&mut self, src: ([u8; 4], u16), dst: ([u8; 4], u16), ssrc: u32, sequences: std::ops::Range<u16>) {
        for sequence in sequences {
            self.now_ms += 20;
            self.udp(src, dst, &rtp(0, ssrc, sequence, u32::from(sequence) * 160, &[0xd5; 160]));
        }
    }

    fn packets_of(&self, leg: u64, side: Side) -> usize {
        self.audio.iter().filter(|&&(l, s, ..)| l == leg && s == side).count()
    }

    fn told(&self, what: &str) -> usize {
        self.heard.iter().filter(|line| line.contains(what)).count()
    }
}

fn rtp(payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn sdp(address: [u8; 4], port: u16, more: &str) -> String {
    let [a, b, c, d] = address;
    format!(
        "v=0\r\no=- {port} 1 IN IP4 {a}.{b}.{c}.{d}\r\nc=IN IP4 {a}.{b}.{c}.{d}\r\nm=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
    )
}

/// A message of the dialog `id`: `start` line, CSeq, tags of the request's sender and receiver, body.
fn message(start: &str, id: &str, cseq: &str, from_tag: &str, to_tag: &str, body: &str) -> Vec<u8> {
    let mut text = format!(
        "{start}\r\nCall-ID: {id}\r\nCSeq: {cseq}\r\nFrom: <sip:2000@192.0.2.10>;tag={from_tag}\r\nTo: <sip:2001@192.0.2.10>"
    );
    if !to_tag.is_empty() {
        let _ = write!(text, ";tag={to_tag}");
    }
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let _ = write!(text, "\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

const A: ([u8; 4], u16) = (PHONE, 5060);
const B: ([u8; 4], u16) = (PBX, 5060);
const C: ([u8; 4], u16) = ([192, 0, 2, 21], 5060);
const INVITE: &str = "INVITE sip:2001@192.0.2.10 SIP/2.0";

impl Wire {
    /// The phone calls and is answered; media between PHONE:`port` and PBX:`port`.
    fn answered_call(&mut self, id: &str, port: u16) {
        self.udp(A, B, &message(INVITE, id, "1 INVITE", "a", "", &sdp(PHONE, port, "")));
        self.udp(B, A, &message("SIP/2.0 180 Ringing", id, "1 INVITE", "a", "b", ""));
        self.now_ms += 1_000;
        self.udp(B, A, &message("SIP/2.0 200 OK", id, "1 INVITE", "a", "b", &sdp(PBX, port, "")));
        self.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", id, "1 ACK", "a", "b", ""));
    }

    fn bye(&mut self, id: &str) {
        self.udp(B, A, &message("BYE sip:2000@192.0.2.20 SIP/2.0", id, "2 BYE", "b", "a", ""));
    }
}

#[test]
fn a_call_is_told_from_invite_to_bye() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..50);
    wire.bye("1");
    wire.wait(2_000);
    assert_eq!(wire.heard, ["1 started", "1 rings", "1 answered", "1 audio", "1 ended Bye { by: Callee }"]);
    let end = &wire.ends[0];
    let packets: Vec<_> =
        end.tracks.iter().map(|t| (t.side, t.packets, t.lost_network, t.audio_ms)).collect();
    assert_eq!(packets, [(Side::Caller, 50, 0, 1000), (Side::Callee, 50, 0, 1000)]);
    assert_eq!(end.facts.party(Side::Caller).number, "2000");
    assert!(!end.facts.early_media);
}

#[test]
fn every_frame_twice_changes_nothing() {
    let mut wire = Wire::new();
    let mut twice = Wire::new();
    for (wire, copies) in [(&mut wire, 1), (&mut twice, 2)] {
        for sequence in 0..20u16 {
            for _ in 0..copies {
                if sequence == 0 {
                    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
                }
                if sequence == 1 {
                    wire.udp(
                        B,
                        A,
                        &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")),
                    );
                }
                wire.udp(
                    (PHONE, 4000),
                    (PBX, 4000),
                    &rtp(0, 7, sequence, u32::from(sequence) * 160, &[0; 160]),
                );
            }
            wire.now_ms += 20;
        }
        wire.finish();
    }
    assert_eq!(wire.heard, twice.heard);
    assert_eq!(wire.audio, twice.audio);
    assert_eq!(twice.ends[0].tracks[0].duplicates, 20);
}

#[test]
fn early_media_belongs_to_the_call() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 183 Progress", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..10);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 10..20);
    wire.finish();
    assert_eq!(wire.packets_of(1, Side::Callee), 20);
    assert!(wire.ends[0].facts.early_media);
}

#[test]
fn a_late_offer_is_understood() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", ""));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.udp(
        A,
        B,
        &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", &sdp(PHONE, 4000, "")),
    );
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (10, 10));
    assert_eq!(wire.told("held"), 0);
}

#[test]
fn audio_before_its_announcement_is_not_lost() {
    let mut wire = Wire::new();
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10..20);
    wire.finish();
    assert_eq!(wire.packets_of(1, Side::Caller), 20);
    assert_eq!(wire.told("unannounced"), 0);
}

#[test]
fn rtp_that_nobody_announces_is_accounted_for() {
    let mut wire = Wire::new();
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..30);
    wire.udp((PHONE, 53), (PBX, 53), &rtp(0, 1, 1, 1, &[0; 20]));
    wire.wait(60_000);
    assert_eq!(wire.heard, ["unannounced 30"]);
}

#[test]
fn ports_that_the_next_call_uses_at_once_are_its_own() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.bye("1");
    wire.answered_call("2", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 9, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (10, 10));
}

#[test]
fn ports_that_are_used_again_after_a_missed_bye_go_to_the_new_call() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    // The next call's other end is another port, so that both ends tell the calls apart.
    wire.udp(A, B, &message(INVITE, "2", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "2", "1 INVITE", "a", "b", &sdp(PBX, 4010, "")));
    wire.rtp((PHONE, 4000), (PBX, 4010), 9, 0..10);
    wire.rtp((PBX, 4010), (PHONE, 4000), 10, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (10, 0));
    assert_eq!((wire.packets_of(2, Side::Caller), wire.packets_of(2, Side::Callee)), (10, 10));
}

#[test]
fn media_that_a_pbx_leaves_to_the_phones_belongs_to_both_legs() {
    let mut wire = Wire::new();
    let other: ([u8; 4], u16) = ([192, 0, 2, 21], 5060);
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, other, &message(INVITE, "2", "1 INVITE", "c", "", &sdp(PHONE, 4000, "")));
    wire.udp(other, B, &message("SIP/2.0 200 OK", "2", "1 INVITE", "c", "d", &sdp(other.0, 4002, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(other.0, 4002, "")));
    wire.rtp((PHONE, 4000), (other.0, 4002), 7, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (10, 10));
}

#[test]
fn packets_sprayed_at_a_media_port_are_kept_out() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for sequence in 0..50u16 {
        wire.rtp((PHONE, 4000), (PBX, 4000), 7, sequence..sequence + 1);
        wire.udp((STRANGER, 7777), (PBX, 4000), &rtp(0, 66, sequence, 0, &[0; 160]));
    }
    wire.finish();
    assert_eq!(wire.packets_of(1, Side::Caller), 50);
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| ssrc == 7));
    assert!(wire.told("stranger") >= 1);
}

#[test]
fn behind_nat_the_real_source_is_learnt() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp([10, 0, 0, 5], 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PHONE, 61_000), (PBX, 4000), 7, 0..10);
    wire.rtp((PBX, 4000), (PHONE, 61_000), 8, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (10, 10));
}

#[test]
fn hold_and_retrieve_are_told_with_their_side() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendonly\r\n")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "2 INVITE", "a", "b", &sdp(PBX, 4000, "a=recvonly\r\n")));
    wire.now_ms += 5_000;
    wire.udp(A, B, &message(INVITE, "1", "3 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendrecv\r\n")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "3 INVITE", "a", "b", &sdp(PBX, 4000, "a=sendrecv\r\n")));
    wire.bye("1");
    wire.finish();
    assert_eq!(
        (wire.told("held by Caller"), wire.told("retrieved by Caller"), wire.told("by Callee")),
        (1, 1, 0)
    );
    let holds = &wire.ends[0].holds;
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0].1.millis_since(holds[0].0), 5_000);
}

#[test]
fn a_new_port_in_the_middle_of_a_call_loses_nothing() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4100, "")));
    wire.rtp((PBX, 4000), (PHONE, 4100), 8, 0..10);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "2 INVITE", "a", "b", &sdp(PBX, 4200, "")));
    wire.rtp((PHONE, 4100), (PBX, 4200), 77, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (20, 10));
    assert_eq!(wire.ends[0].tracks[0].ssrcs, [7, 77]);
}

#[test]
fn credentials_do_not_make_another_call() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 401 Unauthorized", "1", "1 INVITE", "a", "x", ""));
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a2", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "2 INVITE", "a2", "b", &sdp(PBX, 4000, "")));
    wire.finish();
    assert_eq!(wire.ends.len(), 1);
    assert!(wire.ends[0].facts.answered.is_some());
}

#[test]
fn a_call_id_used_again_after_the_call_is_another_call() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.bye("1");
    wire.now_ms += 100;
    wire.udp(A, B, &message(INVITE, "1", "9 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.finish();
    assert_eq!(wire.ends.len(), 2);
    assert_ne!(wire.ends[0].facts.call, wire.ends[1].facts.call);
}

#[test]
fn refused_and_cancelled_calls_say_so() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", ""));
    wire.udp(B, A, &message("SIP/2.0 486 Busy Here", "1", "1 INVITE", "a", "b", ""));
    wire.udp(A, B, &message(INVITE, "2", "1 INVITE", "a", "", ""));
    wire.udp(A, B, &message("CANCEL sip:2001@192.0.2.10 SIP/2.0", "2", "1 CANCEL", "a", "", ""));
    wire.udp(B, A, &message("SIP/2.0 487 Request Terminated", "2", "1 INVITE", "a", "b", ""));
    wire.udp(A, B, &message(INVITE, "3", "1 INVITE", "a", "", ""));
    wire.wait(400_000);
    let endings: Vec<_> = wire.ends.iter().map(|end| end.facts.ending.clone()).collect();
    assert!(endings.contains(&Ending::Rejected { status: 486, reason: "Busy Here".into() }), "{endings:?}");
    assert!(endings.contains(&Ending::Cancelled) && endings.contains(&Ending::TimedOut), "{endings:?}");
}

#[test]
fn a_missed_bye_is_noticed_when_the_audio_stops() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    let last_packet = Timestamp::from_millis(wire.now_ms);
    wire.wait(MEDIA_IDLE_MS + 1_000);
    assert_eq!(wire.ends[0].facts.ending, Ending::TimedOut);
    assert_eq!(wire.ends[0].facts.ended, Some(last_packet));
}

#[test]
fn a_call_that_runs_already_is_joined_at_its_next_invite() {
    let mut wire = Wire::new();
    wire.udp(
        B,
        A,
        &message("INVITE sip:2000@192.0.2.20 SIP/2.0", "1", "5 INVITE", "b", "a", &sdp(PBX, 4000, "")),
    );
    wire.udp(A, B, &message("SIP/2.0 200 OK", "1", "5 INVITE", "b", "a", &sdp(PHONE, 4000, "")));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp(A, B, &message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "6 BYE", "a", "b", ""));
    wire.finish();
    assert!(wire.ends[0].facts.joined_late && wire.ends[0].facts.answered.is_some());
    assert_eq!(wire.packets_of(1, Side::Callee), 10);
    assert_eq!(wire.ends[0].facts.ending, Ending::Bye { by: Side::Callee });
}

#[test]
fn a_transfer_continues_the_logical_call() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let invite = String::from_utf8(message(INVITE, "2", "1 INVITE", "x", "", "")).expect("text");
    let replaces = invite.replacen("\r\nCSeq", "\r\nReplaces: 1;from-tag=a;to-tag=b\r\nCSeq", 1);
    wire.udp(B, A, replaces.as_bytes());
    wire.finish();
    assert_eq!(wire.ends[0].facts.call, wire.ends[1].facts.call);
    assert_eq!((wire.ends[0].facts.segment, wire.ends[1].facts.segment), (1, 2));
}

#[test]
fn digits_and_reports_are_told_with_their_side() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.udp((PHONE, 4000), (PBX, 4000), &rtp(101, 7, 1, 160, &[5, 0x8a, 3, 0x20]));
    let mut report = vec![0x80, 200, 0, 6];
    report.extend([0; 24]);
    wire.udp((PBX, 4001), (PHONE, 4001), &report);
    wire.finish();
    assert_eq!((wire.told("1 Caller keyed 5"), wire.told("1 Callee report")), (1, 1));
}

#[test]
fn sip_over_tcp_in_odd_pieces_is_a_call() {
    let mut wire = Wire::new();
    let stream = [
        message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")),
        message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", ""),
    ]
    .concat();
    wire.tcp((PHONE, 40_000), B, SYN, 99, b"");
    let pieces: Vec<(u32, &[u8])> =
        stream.chunks(37).enumerate().map(|(i, p)| (100 + 37 * i as u32, p)).collect();
    for pair in pieces.chunks(2) {
        // Swapped, and the first of each pair twice.
        for &(sequence, piece) in pair.iter().rev().chain(pair.first()) {
            wire.tcp((PHONE, 40_000), B, DATA, sequence, piece);
        }
    }
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    wire.finish();
    assert_eq!((wire.told("answered"), wire.packets_of(1, Side::Caller)), (1, 5));
}

#[test]
fn encrypted_media_is_never_told_as_audio() {
    let mut wire = Wire::new();
    let secure = |address, port| sdp(address, port, "").replace("RTP/AVP", "RTP/SAVP");
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &secure(PHONE, 4000)));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &secure(PBX, 4000)));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.finish();
    assert!(wire.audio.is_empty() && wire.ends[0].facts.encrypted);
}

#[test]
fn video_is_not_audio_and_not_unannounced() {
    let mut wire = Wire::new();
    let body = sdp(PHONE, 4000, "m=video 4002 RTP/AVP 34\r\n");
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &body));
    wire.udp(
        B,
        A,
        &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "m=video 4002 RTP/AVP 34\r\n")),
    );
    wire.rtp((PHONE, 4002), (PBX, 4002), 7, 0..50);
    wire.finish();
    assert_eq!((wire.audio.len(), wire.told("unannounced")), (0, 0));
}

#[test]
fn time_that_runs_backwards_is_told_and_lengths_stay_right() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.now_ms -= 3_600_000;
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.bye("1");
    wire.finish();
    assert_eq!(wire.told("backwards"), 1);
    let track = &wire.ends[0].tracks[0];
    assert_eq!((track.packets, track.audio_ms), (100, 2000));
    let length = track.end.zip(track.start).map(|(end, start)| end.millis_since(start));
    assert!(length.is_some_and(|ms| ms.abs_diff(2000) <= 20), "{length:?}");
}

#[test]
fn single_frames_out_of_order_move_no_time() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for k in 0..10 {
        wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10 * k..10 * k + 10);
        wire.now_ms -= 300;
        wire.udp((STRANGER, 9), (STRANGER, 9), b"late");
        wire.now_ms += 300;
    }
    wire.bye("1");
    let bye_ms = wire.now_ms;
    wire.finish();
    assert_eq!(wire.told("backwards"), 0);
    assert_eq!(wire.ends[0].facts.ended, Some(Timestamp::from_millis(bye_ms)));
}

#[test]
fn frames_that_a_slow_capture_hands_over_late_keep_their_time() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for k in 0..10 {
        wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10 * k..10 * k + 10);
        // The wall clock runs ahead while the frames of this moment still lie in a buffer.
        wire.tracker.handle_timeout(Timestamp::from_millis(wire.now_ms + 700));
        wire.drain();
    }
    wire.bye("1");
    let bye_ms = wire.now_ms;
    wire.finish();
    assert_eq!(wire.told("backwards"), 0);
    assert_eq!(wire.ends[0].facts.ended, Some(Timestamp::from_millis(bye_ms)));
    assert!(wire.ends[0].tracks[0].jitter_ms < 1.0, "{}", wire.ends[0].tracks[0].jitter_ms);
}

#[test]
fn a_burst_of_old_frames_moves_no_time() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    for _ in 0..5 {
        let now_ms = wire.now_ms;
        for k in 0..14 {
            wire.now_ms = now_ms - 400 + 9 * k;
            wire.udp((STRANGER, 9), (STRANGER, 9), b"late");
        }
        wire.now_ms = now_ms + 1;
        for _ in 0..20 {
            wire.now_ms += 1;
            wire.udp((STRANGER, 9), (STRANGER, 9), b"in time");
        }
    }
    wire.bye("1");
    let bye_ms = wire.now_ms;
    wire.finish();
    assert_eq!(wire.ends[0].facts.ended, Some(Timestamp::from_millis(bye_ms)));
}

#[test]
fn holds_that_cross_are_refused_and_the_next_one_counts() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let hold = "a=sendonly\r\n";
    let back = "INVITE sip:2000@192.0.2.20 SIP/2.0";
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, hold)));
    wire.udp(B, A, &message(back, "1", "7 INVITE", "b", "a", &sdp(PBX, 4000, hold)));
    wire.udp(B, A, &message("SIP/2.0 491 Request Pending", "1", "2 INVITE", "a", "b", ""));
    wire.udp(A, B, &message("SIP/2.0 491 Request Pending", "1", "7 INVITE", "b", "a", ""));
    assert_eq!(wire.told("held"), 0);
    wire.udp(A, B, &message(INVITE, "1", "3 INVITE", "a", "b", &sdp(PHONE, 4000, hold)));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "3 INVITE", "a", "b", &sdp(PBX, 4000, "a=recvonly\r\n")));
    assert_eq!(wire.told("1 held by Caller"), 1, "{:?}", wire.heard);
}

#[test]
fn an_invite_without_call_id_from_and_to_is_still_a_call() {
    let mut wire = Wire::new();
    let body = sdp(PHONE, 4000, "");
    let bare = format!("{INVITE}\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n{body}");
    wire.udp(A, B, bare.as_bytes());
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..5);
    wire.finish();
    assert_eq!(wire.ends.len(), 1);
    assert!(wire.ends[0].facts.malformed);
    assert_eq!(wire.packets_of(1, Side::Callee), 5);
}

#[test]
fn the_endpoint_of_ipv4_in_ipv6_form_is_the_same() {
    let mapped = Endpoint::new("::ffff:192.0.2.1".parse().expect("address"), 5060);
    assert_eq!(mapped, Endpoint::v4([192, 0, 2, 1], 5060));
}

/// A message with another From and To than `message` writes, and more header fields.
fn between(text: Vec<u8>, from: &str, to: &str, more: &str) -> Vec<u8> {
    let text = String::from_utf8(text).expect("text");
    let text = text.replacen("From: <sip:2000@", &format!("{more}From: <sip:{from}@"), 1);
    text.replacen("To: <sip:2001@", &format!("To: <sip:{to}@"), 1).into_bytes()
}

#[test]
fn digits_in_info_requests_are_told_once() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let info = |cseq: &str, digit: char| {
        let text = message(
            "INFO sip:2001@192.0.2.10 SIP/2.0",
            "1",
            cseq,
            "a",
            "b",
            &format!("Signal={digit}\r\nDuration=160\r\n"),
        );
        String::from_utf8(text)
            .expect("text")
            .replace("application/sdp", "application/dtmf-relay")
            .into_bytes()
    };
    wire.udp(A, B, &info("2 INFO", '5'));
    wire.udp(A, B, &info("2 INFO", '5'));
    wire.udp(A, B, &info("3 INFO", '5'));
    wire.udp(A, B, &info("4 INFO", '#'));
    assert_eq!((wire.told("1 Caller keyed 5"), wire.told("1 Caller keyed #")), (2, 1));
}

#[test]
fn a_held_call_whose_refresh_never_came_is_over() {
    let held = |expires: &str| {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
        let hold = message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendonly\r\n"));
        wire.udp(A, B, &hold);
        let accepted =
            message("SIP/2.0 200 OK", "1", "2 INVITE", "a", "b", &sdp(PBX, 4000, "a=recvonly\r\n"));
        wire.udp(B, A, &between(accepted, "2000", "2001", expires));
        wire.wait(1_000_000);
        wire.ends.len()
    };
    assert_eq!(held("Session-Expires: 90;refresher=uac\r\n"), 1);
    assert_eq!(held("x: 1800\r\n"), 0);
    assert_eq!(held(""), 0);
}

#[test]
fn a_refused_hold_is_no_hold() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendonly\r\n")));
    wire.udp(B, A, &message("SIP/2.0 491 Request Pending", "1", "2 INVITE", "a", "b", ""));
    wire.finish();
    assert_eq!((wire.told("held"), wire.ends[0].holds.len()), (0, 0));
}

#[test]
fn when_the_answer_takes_srtp_the_media_is_encrypted_whatever_else_was_offered() {
    let mut wire = Wire::new();
    let both = sdp(PHONE, 4000, "").replace("RTP/AVP", "RTP/SAVP") + "m=audio 4010 RTP/AVP 0\r\n";
    let answer = sdp(PBX, 4000, "").replace("RTP/AVP", "RTP/SAVP") + "m=audio 0 RTP/AVP 0\r\n";
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &both));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &answer));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.finish();
    assert!(wire.audio.is_empty() && wire.ends[0].facts.encrypted);
}

#[test]
fn an_answer_before_the_capture_and_its_ack_are_a_call_an_answer_alone_is_not() {
    let mut wire = Wire::new();
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "2", "1 INVITE", "a", "b", &sdp(PBX, 4002, "")));
    assert!(wire.heard.is_empty());
    wire.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", ""));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.bye("1");
    wire.finish();
    assert_eq!((wire.ends.len(), wire.packets_of(1, Side::Caller)), (1, 10));
    assert!(wire.ends[0].facts.joined_late);
}

#[test]
fn the_ack_of_a_refusal_that_was_not_seen_is_no_answer() {
    let mut wire = Wire::new();
    let with_branch = |start: &str, cseq: &str, branch: &str| {
        let text = String::from_utf8(message(start, "1", cseq, "a", "", "")).expect("text");
        text.replacen("\r\nCSeq", &format!("\r\nVia: SIP/2.0/UDP 192.0.2.20;branch={branch}\r\nCSeq"), 1)
            .into_bytes()
    };
    wire.udp(A, B, &with_branch(INVITE, "1 INVITE", "z9hG4bK1"));
    wire.udp(A, B, &with_branch("ACK sip:2001@192.0.2.10 SIP/2.0", "1 ACK", "z9hG4bK1"));
    wire.finish();
    assert_eq!(wire.ends[0].facts.answered, None);
    assert_eq!(wire.ends[0].facts.ending, Ending::Rejected { status: 0, reason: String::new() });
}

#[test]
fn packets_after_the_bye_are_no_call_of_their_own() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.bye("1");
    wire.wait(1_500);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10..200);
    wire.wait(60_000);
    assert_eq!((wire.ends.len(), wire.told("unannounced")), (1, 0));
}

#[test]
fn a_call_that_follows_on_the_same_pair_of_ports_after_a_missed_bye_is_not_heard_in_the_first() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.now_ms += 30_000;
    wire.answered_call("2", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 9, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (10, 10));
}

#[test]
fn a_clock_that_is_set_ahead_during_a_call_ends_nothing_and_adds_nothing() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.now_ms += 3_600_000;
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.bye("1");
    wire.finish();
    let end = &wire.ends[0];
    let length = end.tracks[0].end.zip(end.tracks[0].start).map(|(end, start)| end.millis_since(start));
    assert!(length.is_some_and(|ms| ms.abs_diff(2000) <= 40), "{length:?}");
    assert_eq!((wire.ends.len(), end.tracks[0].packets, wire.told("clock was set")), (1, 100, 1));
    assert_eq!(end.facts.ending, Ending::Bye { by: Side::Callee });
}

#[test]
fn a_damaged_time_stamp_moves_nothing() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    let before = wire.now_ms;
    wire.now_ms += 400 * 24 * 3_600_000;
    wire.udp((STRANGER, 9), (STRANGER, 9), b"tick");
    wire.now_ms = before;
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.finish();
    assert_eq!((wire.ends.len(), wire.ends[0].tracks[0].audio_ms), (1, 2000));
    assert!(wire.ends[0].facts.ended.is_some_and(|ended| ended.as_millis() < before + 60_000));
}

#[test]
fn a_flood_of_invites_fills_no_table_and_costs_no_call_that_lives() {
    let mut wire = Wire::new();
    wire.answered_call("honest", 4000);
    let mut most = 0;
    for i in 0..2 * HALF_OPEN_MAX {
        // 5,000 a second.
        wire.now_ms = 10_000 + i as i64 / 5;
        wire.udp((STRANGER, 5060), B, &message(INVITE, &format!("flood {i}"), "1 INVITE", "f", "", ""));
        wire.heard.clear();
        most = most.max(i - wire.ends.len());
        if i % 1_000 == 0 {
            wire.rtp((PHONE, 4000), (PBX, 4000), 7, (i / 1_000) as u16..(i / 1_000) as u16 + 1);
        }
    }
    assert!(most < HALF_OPEN_MAX + 2_000, "{most}");
    wire.bye("honest");
    wire.finish();
    assert_eq!(wire.ends.len(), 2 * HALF_OPEN_MAX + 1);
    let honest = wire.ends.iter().find(|end| end.facts.sip_call_id == "honest").expect("the call");
    assert_eq!(honest.facts.ending, Ending::Bye { by: Side::Callee });
    assert_eq!(honest.facts.audio_packets[0], 66);
}

#[test]
fn floods_of_places_tags_and_names_are_bounded() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for i in 0..200u16 {
        let more: String = (0..30)
            .map(|k| {
                format!("m=audio {} RTP/AVP 96\r\na=rtpmap:96 C{i}x{k}/8000\r\n", 10_000 + i * 60 + 2 * k)
            })
            .collect();
        let update = "UPDATE sip:2001@192.0.2.10 SIP/2.0";
        wire.udp(
            A,
            B,
            &message(update, "1", &format!("{} UPDATE", i + 2), "a", "b", &sdp(PHONE, 4000, &more)),
        );
    }
    for i in 0..100 {
        wire.udp(A, B, &message(INVITE, "same", "1 INVITE", &format!("t{i}"), "", ""));
    }
    assert!(wire.told("started") <= 1 + 64, "{}", wire.told("started"));
    // An honest call is still itself.
    wire.answered_call("2", 5000);
    wire.rtp((PHONE, 5000), (PBX, 5000), 9, 0..10);
    wire.finish();
    let honest = wire.ends.iter().find(|end| end.facts.sip_call_id == "2").expect("the call");
    assert_eq!(honest.tracks[0].formats[0].0.codec, crate::media::Codec::Pcmu);
}
