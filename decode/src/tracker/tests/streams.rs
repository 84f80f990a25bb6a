//! Calls without signalling: phones that are known by address, alone and between SIP calls.

use super::*;
use crate::net::Mac;

const OTHER: [u8; 4] = [192, 0, 2, 21];
const PHONE_MAC: [u8; 6] = [2, 0, 0x5e, 1, 0, 1];
const PBX_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0, 0];

fn device(number: &str, address: Address) -> Device {
    Device { number: number.into(), name: String::new(), address }
}

fn by_ip(number: &str, ip: [u8; 4]) -> Device {
    device(number, Address::Ip(ip.into()))
}

fn wire(devices: Vec<Device>) -> Wire {
    let mut wire = Wire::new();
    wire.tracker.know_devices(Devices::new(devices, vec![PBX.into()]).expect("a list"));
    wire
}

impl Wire {
    /// Both directions for so many packets of 20 ms, one source each.
    fn both_talk(
        &mut self,
        one: ([u8; 4], u16),
        other: ([u8; 4], u16),
        ssrcs: [u32; 2],
        sequences: std::ops::Range<u16>,
    ) {
        for sequence in sequences {
            self.now_ms += 20;
            let timestamp = u32::from(sequence) * 160;
            self.udp(one, other, &rtp(0, ssrcs[0], sequence, timestamp, &[0xd5; 160]));
            self.udp(other, one, &rtp(0, ssrcs[1], sequence, timestamp, &[0xd5; 160]));
        }
    }

    /// One packet inside an Ethernet frame.
    fn ethernet(
        &mut self,
        macs: [[u8; 6]; 2],
        src: ([u8; 4], u16),
        dst: ([u8; 4], u16),
        ssrc: u32,
        sequence: u16,
    ) {
        let payload = rtp(0, ssrc, sequence, u32::from(sequence) * 160, &[0xd5; 160]);
        let mut frame = [macs[1], macs[0]].concat();
        frame.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        let udp_len = 8 + payload.len() as u16;
        frame[16..18].copy_from_slice(&(20 + udp_len).to_be_bytes());
        frame.extend(src.0);
        frame.extend(dst.0);
        for field in [src.1, dst.1, udp_len, 0] {
            frame.extend(field.to_be_bytes());
        }
        frame.extend(payload);
        self.tracker.handle_frame(&Frame {
            at: Timestamp::from_millis(self.now_ms),
            link: 1,
            source: 0,
            wire_len: frame.len() as u32,
            data: &frame,
        });
        self.drain();
    }
}

const P: ([u8; 4], u16) = (PHONE, 9000);
const X: ([u8; 4], u16) = (PBX, 50_000);
const Y: ([u8; 4], u16) = (PBX, 50_004);

#[test]
fn a_known_phone_is_a_call_from_its_first_packet_on() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..200);
    wire.wait(40_000);
    assert_eq!(wire.heard, ["1 started", "1 audio", "1 ended MediaStopped"]);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (200, 200));
    let facts = &wire.ends[0].facts;
    assert!(facts.is_stream_only() && facts.party(Side::Callee).is_registrar);
    assert_eq!(
        (facts.party(Side::Caller).number.as_str(), facts.party(Side::Callee).host.as_str()),
        ("2001", "192.0.2.10")
    );
    assert_eq!(facts.ended.map(Timestamp::as_millis), Some(1_000 + 200 * 20));
}

#[test]
fn the_phones_side_is_the_callers_whoever_sends_first() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(X, P, [8, 7], 0..100);
    wire.finish();
    assert_eq!(wire.packets_of(1, Side::Caller), 100);
    assert!(wire.audio.iter().all(|&(_, side, ssrc, _)| (side == Side::Caller) == (ssrc == 7)));
}

#[test]
fn what_lasts_no_half_second_or_is_no_audio_makes_no_call() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..10);
    for sequence in 0..100 {
        wire.now_ms += 20;
        wire.udp(P, Y, &rtp(34, 9, sequence, 0, &[0; 160]));
    }
    wire.wait(60_000);
    assert_eq!((wire.told("started"), wire.told("unannounced")), (0, 3));
}

#[test]
fn without_a_device_at_either_end_nothing_changes() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk((OTHER, 9000), X, [7, 8], 0..100);
    wire.wait(60_000);
    assert_eq!((wire.told("started"), wire.told("unannounced 100")), (0, 2));
}

#[test]
fn a_new_list_of_phones_counts_for_what_comes_and_running_calls_stay_one_each() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..100);
    // The other one takes the first place in the list.
    let devices = vec![by_ip("2002", OTHER), by_ip("2001", PHONE)];
    wire.tracker.know_devices(Devices::new(devices, vec![PBX.into()]).expect("a list"));
    for sequence in 100..200 {
        wire.both_talk(P, X, [7, 8], sequence..sequence + 1);
        wire.both_talk((OTHER, 9000), Y, [17, 18], sequence..sequence + 1);
    }
    wire.finish();
    let packets = [1, 2].map(|leg| wire.packets_of(leg, Side::Caller));
    assert_eq!((wire.ends.len(), packets, wire.told("oddity")), (2, [200, 100], 0));
}

#[test]
fn two_known_phones_peer_to_peer_are_one_leg() {
    let mut wire = wire(vec![by_ip("2001", PHONE), by_ip("2002", OTHER)]);
    wire.both_talk(P, (OTHER, 9000), [7, 8], 0..100);
    wire.finish();
    assert_eq!((wire.ends.len(), wire.audio.len()), (1, 200));
    let numbers = wire.ends[0].facts.parties.each_ref().map(|party| party.number.as_str());
    assert_eq!(numbers, ["2001", "2002"]);
}

#[test]
fn one_internal_call_over_the_pbx_is_a_leg_for_each_phone() {
    let mut wire = wire(vec![by_ip("2001", PHONE), by_ip("2002", OTHER)]);
    for sequence in 0..100 {
        wire.both_talk(P, X, [7, 8], sequence..sequence + 1);
        wire.both_talk((OTHER, 9000), Y, [17, 18], sequence..sequence + 1);
    }
    wire.finish();
    assert_eq!(
        (wire.ends.len(), wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)),
        (2, 100, 100)
    );
}

#[test]
fn a_direction_on_other_ports_belongs_to_the_only_leg_between_the_two() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    for sequence in 0..100 {
        wire.rtp(P, X, 7, sequence..sequence + 1);
        if sequence >= 10 {
            wire.udp(
                (PBX, 50_010),
                (PHONE, 9_010),
                &rtp(0, 8, sequence, u32::from(sequence) * 160, &[0; 160]),
            );
        }
    }
    wire.finish();
    assert_eq!(
        (wire.ends.len(), wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)),
        (1, 100, 90)
    );
}

#[test]
fn two_lines_of_one_phone_are_two_calls() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    for sequence in 0..100 {
        wire.both_talk(P, X, [7, 8], sequence..sequence + 1);
        wire.both_talk((PHONE, 9002), Y, [17, 18], sequence..sequence + 1);
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Callee), wire.packets_of(2, Side::Callee)), (100, 100));
}

#[test]
fn a_silence_of_a_hold_keeps_the_call_and_a_longer_one_ends_it() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..100);
    wire.wait(25_000);
    wire.both_talk(P, X, [7, 8], 100..200);
    assert_eq!(wire.ends.len(), 0);
    wire.wait(35_000);
    assert_eq!(wire.ends.len(), 1);
    // Retrieved after all, with the same sources: recorded again, and from its first packet on.
    wire.both_talk(P, X, [7, 8], 200..300);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (200, 100));
}

#[test]
fn another_source_to_somebody_else_is_the_next_call_and_loses_nothing() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..100);
    wire.both_talk(P, Y, [17, 18], 0..100);
    wire.finish();
    assert_eq!(wire.ends.len(), 2);
    for leg in [1, 2] {
        assert_eq!((wire.packets_of(leg, Side::Caller), wire.packets_of(leg, Side::Callee)), (100, 100));
    }
    assert_eq!(wire.ends.iter().map(|end| end.foreign_packets).sum::<u64>(), 0);
}

#[test]
fn a_phone_that_sends_to_two_at_once_has_two_calls() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..50);
    for sequence in 50..300 {
        wire.both_talk(P, X, [7, 8], sequence..sequence + 1);
        wire.both_talk(P, Y, [17, 18], sequence..sequence + 1);
    }
    wire.finish();
    assert_eq!(wire.ends.len(), 2);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (300, 250));
}

#[test]
fn the_same_source_to_somebody_else_is_the_same_call() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..100);
    for sequence in 100..200 {
        wire.rtp(P, (OTHER, 9000), 7, sequence..sequence + 1);
        wire.udp((OTHER, 9000), P, &rtp(0, 28, sequence, u32::from(sequence) * 160, &[0; 160]));
    }
    wire.finish();
    assert_eq!(
        (wire.ends.len(), wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)),
        (1, 200, 200)
    );
}

#[test]
fn another_source_on_the_same_places_is_the_same_call() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..100);
    wire.both_talk(P, X, [17, 18], 40_000..40_100);
    wire.finish();
    assert_eq!(
        (wire.ends.len(), wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)),
        (1, 200, 200)
    );
}

#[test]
fn one_source_of_the_pbx_for_many_phones_makes_a_leg_for_each() {
    let mut wire = wire(vec![by_ip("2001", PHONE), by_ip("2002", OTHER)]);
    for sequence in 0..100 {
        wire.rtp(X, P, 8, sequence..sequence + 1);
        wire.udp(X, (OTHER, 9000), &rtp(0, 8, sequence, u32::from(sequence) * 160, &[0; 160]));
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Callee), wire.packets_of(2, Side::Callee)), (100, 100));
}

#[test]
fn a_call_that_sip_announces_takes_over_and_nothing_is_twice() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk((PHONE, 4000), (PBX, 4000), [7, 8], 0..100);
    wire.answered_call("1", 4000);
    wire.both_talk((PHONE, 4000), (PBX, 4000), [7, 8], 100..200);
    wire.finish();
    assert_eq!((wire.ends.len(), wire.audio.len()), (2, 400));
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(2, Side::Caller)), (100, 100));
    assert_eq!(wire.ends.iter().filter(|end| end.facts.is_stream_only()).count(), 1);
}

#[test]
fn a_sip_call_of_a_listed_phone_is_the_sip_call_alone() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..15);
    wire.answered_call("1", 4000);
    wire.both_talk((PHONE, 4000), (PBX, 4000), [7, 8], 15..100);
    wire.bye("1");
    wire.wait(2_000);
    wire.both_talk((PHONE, 4000), (PBX, 4000), [7, 8], 100..150);
    wire.finish();
    assert_eq!((wire.ends.len(), wire.told("started")), (1, 1));
    assert_eq!(wire.packets_of(1, Side::Callee), 100);
}

#[test]
fn strangers_are_kept_out_of_a_call_without_signalling_too() {
    let mut wire = wire(vec![by_ip("2001", PHONE)]);
    wire.both_talk(P, X, [7, 8], 0..50);
    for sequence in 50..200 {
        wire.both_talk(P, X, [7, 8], sequence..sequence + 1);
        wire.udp((STRANGER, 7777), P, &rtp(0, 66, sequence, 0, &[0; 160]));
        wire.udp((STRANGER, 7777), X, &rtp(0, 66, sequence, 0, &[0; 160]));
    }
    wire.finish();
    assert_eq!((wire.ends.len(), wire.audio.len(), wire.ends[0].foreign_packets), (1, 400, 300));
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| ssrc != 66));
}

#[test]
fn an_ethernet_address_tells_the_phone_until_it_shows_to_be_a_routers() {
    let mut wire = wire(vec![device("2001", Address::Mac(Mac(PHONE_MAC)))]);
    for sequence in 0..50 {
        wire.now_ms += 20;
        wire.ethernet([PHONE_MAC, PBX_MAC], P, X, 7, sequence);
        wire.ethernet([PBX_MAC, PHONE_MAC], X, P, 8, sequence);
    }
    assert_eq!((wire.told("started"), wire.packets_of(1, Side::Callee)), (1, 50));
    for sequence in 50..100 {
        wire.now_ms += 20;
        wire.ethernet([PHONE_MAC, PBX_MAC], P, X, 7, sequence);
        wire.ethernet([PHONE_MAC, PBX_MAC], (OTHER, 9000), Y, 9, sequence);
    }
    wire.finish();
    assert_eq!((wire.told("a router's"), wire.told("started"), wire.told("unannounced 50")), (1, 1, 1));
    assert_eq!(wire.packets_of(1, Side::Caller), 100);
}
