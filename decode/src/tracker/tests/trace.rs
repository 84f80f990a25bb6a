//! The SIP messages of calls, as they are told to whoever keeps them.

use super::*;
use crate::signal::{Carrier, Signal};

/// First line and what is said of the message beside its bytes.
pub(super) fn told(signal: &Signal<'_>) -> String {
    let line = signal.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let again = if signal.is_repeated { " again" } else { "" };
    let left_out = if signal.left_out > 0 { format!(" after {}", signal.left_out) } else { String::new() };
    format!("{} {}{again}{left_out}", signal.carrier.name(), String::from_utf8_lossy(line))
}

fn tracing() -> Wire {
    Wire { tracker: Tracker::new().with_trace(true), ..Wire::new() }
}

impl Wire {
    fn lines_of(&self, leg: u64) -> Vec<&str> {
        self.signals.iter().filter(|(of, ..)| *of == leg).map(|(.., line)| line.as_str()).collect()
    }

    fn ok_to_bye(&mut self, id: &str) {
        self.udp(A, B, &message("SIP/2.0 200 OK", id, "2 BYE", "b", "a", ""));
    }
}

#[test]
fn what_came_before_the_audio_is_told_with_it_and_the_end_is_there() {
    let mut wire = tracing();
    wire.answered_call("1", 4000);
    assert!(wire.signals.is_empty(), "nobody knows yet whether it is kept");
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    assert_eq!(
        wire.lines_of(1),
        [
            "UDP INVITE sip:2001@192.0.2.10 SIP/2.0",
            "UDP SIP/2.0 180 Ringing",
            "UDP SIP/2.0 200 OK",
            "UDP ACK sip:2001@192.0.2.10 SIP/2.0"
        ]
    );
    let times: Vec<i64> = wire.signals.iter().map(|(_, at, _)| at.as_millis()).collect();
    assert_eq!(times, [1_000, 1_000, 2_000, 2_000], "when they came, not when they are told");
    wire.bye("1");
    wire.ok_to_bye("1");
    wire.wait(2_000);
    assert_eq!(wire.lines_of(1)[4..], ["UDP BYE sip:2000@192.0.2.20 SIP/2.0", "UDP SIP/2.0 200 OK"]);
    assert_eq!(wire.tracker.core.out.traces.held(), 0);
}

#[test]
fn messages_that_come_out_of_order_have_the_times_of_their_capture() {
    let mut wire = tracing();
    wire.udp(B, C, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.now_ms -= 130;
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.now_ms += 300;
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    let times: Vec<i64> = wire.signals.iter().map(|(_, at, _)| at.as_millis()).collect();
    assert_eq!(times, [1_000, 870, 1_170]);
}

#[test]
fn nothing_is_told_or_held_unless_it_was_asked_for() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    assert_eq!(wire.tracker.core.out.traces.held(), 0);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    wire.bye("1");
    wire.finish();
    assert!(wire.signals.is_empty());
}

#[test]
fn a_call_without_audio_tells_nothing_and_gives_its_room_back() {
    let mut wire = tracing();
    wire.answered_call("1", 4000);
    assert!(wire.tracker.core.out.traces.held() > 0);
    wire.bye("1");
    wire.wait(2_000);
    assert!(wire.signals.is_empty());
    assert_eq!(wire.tracker.core.out.traces.held(), 0);
}

#[test]
fn a_mirrors_copy_is_told_once_and_a_retransmission_each_time() {
    let mut wire = tracing();
    let invite = message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, ""));
    for after_ms in [0, 1, 499, 1_000] {
        wire.now_ms += after_ms;
        wire.udp(A, B, &invite);
    }
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    let (invite, ok) = ("UDP INVITE sip:2001@192.0.2.10 SIP/2.0", "UDP SIP/2.0 200 OK");
    assert_eq!(wire.lines_of(1), [invite, &format!("{invite} again"), &format!("{invite} again"), ok]);
    assert_eq!(wire.tracker.counts().signal_copies, 1);
}

#[test]
fn each_hop_of_a_proxied_message_is_told() {
    let mut wire = tracing();
    let invite = message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, ""));
    wire.udp(A, B, &invite);
    wire.udp(B, C, &invite);
    wire.udp(C, B, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp([192, 0, 2, 21], 4000, "")));
    wire.rtp((PHONE, 4000), ([192, 0, 2, 21], 4000), 7, 0..5);
    assert_eq!(wire.lines_of(1).len(), 3);
}

#[test]
fn a_fork_has_the_invite_too_and_not_what_the_other_device_said() {
    let mut wire = tracing();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 183 Progress", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    // Early audio of the first device: what was held of its leg is told, and still there for the second one.
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..5);
    wire.udp(B, A, &message("SIP/2.0 180 Ringing", "1", "1 INVITE", "a", "c", ""));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "c", &sdp(PBX, 4010, "")));
    wire.rtp((PBX, 4010), (PHONE, 4000), 9, 0..5);
    let invite = "UDP INVITE sip:2001@192.0.2.10 SIP/2.0";
    assert_eq!(wire.lines_of(1), [invite, "UDP SIP/2.0 183 Progress"]);
    assert_eq!(wire.lines_of(2), [invite, "UDP SIP/2.0 180 Ringing", "UDP SIP/2.0 200 OK"]);
}

#[test]
fn a_message_over_tcp_says_so() {
    let mut wire = tracing();
    let invite = message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, ""));
    wire.tcp(A, B, SYN, 99, b"");
    let (first, second) = invite.split_at(100);
    wire.tcp(A, B, DATA, 100, first);
    wire.tcp(A, B, DATA, 200, second);
    let ok = message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, ""));
    wire.tcp(B, A, DATA, 500, &ok);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    assert_eq!(wire.lines_of(1), ["TCP INVITE sip:2001@192.0.2.10 SIP/2.0", "TCP SIP/2.0 200 OK"]);
    assert_eq!(Carrier::Tls.in_websocket().name(), "WSS");
}

#[test]
fn an_answer_that_was_seen_before_its_call_is_kept_with_it() {
    let mut wire = tracing();
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", ""));
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..5);
    assert_eq!(wire.lines_of(1), ["UDP SIP/2.0 200 OK", "UDP ACK sip:2001@192.0.2.10 SIP/2.0"]);
}

#[test]
fn limits_leave_out_and_count_and_the_bye_is_there_all_the_same() {
    let mut wire = tracing();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..5);
    for n in 2..TRACE_MESSAGES_MAX + 100 {
        wire.now_ms += 10;
        wire.udp(
            A,
            B,
            &message("OPTIONS sip:2001@192.0.2.10 SIP/2.0", "1", &format!("{n} OPTIONS"), "a", "b", ""),
        );
    }
    wire.bye("1");
    let lines = wire.lines_of(1);
    assert_eq!(lines.len() as u32, TRACE_MESSAGES_MAX + 1);
    assert_eq!(lines.last(), Some(&"UDP BYE sip:2000@192.0.2.20 SIP/2.0 after 102"));
    assert_eq!(wire.tracker.counts().signals_left_out, 102);
}

#[test]
fn an_endless_message_is_left_out_and_what_is_held_before_the_audio_is_bounded() {
    let mut wire = tracing();
    let long = "a=x".repeat(TRACE_MESSAGE_BYTES_MAX / 3);
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, &long)));
    for n in 0..100 {
        wire.now_ms += 1_000;
        let body = sdp(PBX, 4000, &format!("a={n}{}", "x".repeat(2_000)));
        wire.udp(B, A, &message("SIP/2.0 183 Progress", "1", "1 INVITE", "a", "b", &body));
        assert!(wire.tracker.core.out.traces.held() <= TRACE_HELD_BYTES_MAX);
    }
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..5);
    let kept = wire.signals.len();
    assert!((20..40).contains(&kept), "{kept}");
    assert_eq!(wire.signals[0].2, "UDP SIP/2.0 183 Progress after 1");
    assert_eq!(wire.tracker.counts().signals_left_out, 101 - kept as u64);
}
