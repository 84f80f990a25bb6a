//! Ports that carry no audio here: what is left out, and what is told of it.

use super::*;

fn ports(list: &[&str]) -> Ports {
    Ports::new(list.iter().map(|text| text.parse().expect("a range")).collect()).expect("a few")
}

fn wire(list: &[&str]) -> Wire {
    let mut wire = Wire::new();
    wire.tracker.use_ports(ports(list));
    wire
}

#[test]
fn announced_audio_outside_the_ports_is_left_out_and_counted_with_its_call() {
    let mut wire = wire(&["10000-20000"]);
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..50);
    wire.bye("1");
    wire.wait(2_000);
    assert_eq!((wire.audio.len(), wire.ends[0].outside_packets), (0, 100));
    assert_eq!(wire.told("odd: audio of a call on ports"), 1, "{:?}", wire.heard);
    let counts = wire.tracker.counts();
    assert_eq!((counts.outside_rtp, counts.outside_unannounced_rtp, counts.rtp_packets), (100, 0, 0));
}

#[test]
fn one_end_inside_is_enough_and_signalling_is_found_on_any_port() {
    let mut wire = wire(&["4000-4001"]);
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    // A phone that sends from another port than it has announced.
    wire.rtp((PBX, 9), (PHONE, 4000), 8, 0..50);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ends[0].outside_packets), (50, 0));
    assert_eq!(wire.packets_of(1, Side::Callee), 50);
}

#[test]
fn what_nobody_announced_outside_the_ports_is_no_call_and_counted_apart() {
    let mut wire = wire(&["10000-20000"]);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..30);
    wire.rtp((PHONE, 4000), (PBX, 10_000), 8, 0..30);
    wire.wait(60_000);
    assert_eq!(wire.heard, ["unannounced 30"]);
    assert_eq!(wire.tracker.counts().outside_unannounced_rtp, 30);
    assert_eq!(wire.tracker.core.media.watched(), 0);
}

#[test]
fn other_ports_act_on_a_call_that_runs_both_ways() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let talk = |wire: &mut Wire, sequences: std::ops::Range<u16>| {
        for sequence in sequences {
            wire.rtp((PHONE, 4000), (PBX, 4000), 7, sequence..sequence + 1);
            wire.udp(
                (PBX, 4000),
                (PHONE, 4000),
                &rtp(0, 8, sequence, u32::from(sequence) * 160, &[0xd5; 160]),
            );
        }
    };
    talk(&mut wire, 0..50);
    wire.tracker.use_ports(ports(&["10000-20000"]));
    talk(&mut wire, 50..150);
    // Longer than a call without audio is waited for: it is not taken for one.
    for _ in 0..100 {
        wire.wait(2_000);
        talk(&mut wire, 150..151);
    }
    wire.tracker.use_ports(ports(&["10000-20000", "4000"]));
    talk(&mut wire, 151..201);
    wire.bye("1");
    wire.wait(2_000);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (100, 100));
    assert_eq!(wire.ends[0].outside_packets, 400);
    assert!(matches!(wire.ends[0].facts.ending, Ending::Bye { .. }));
    let of_run: Vec<_> = wire.heard.iter().filter(|line| line.contains("unannounced")).collect();
    assert!(of_run.is_empty(), "{of_run:?}");
}

#[test]
fn what_was_watched_is_told_when_its_ports_are_taken_off_the_list() {
    let mut wire = Wire::new();
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..30);
    wire.tracker.use_ports(ports(&["10000-20000"]));
    wire.drain();
    assert_eq!(wire.heard, ["unannounced 30"]);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 30..40);
    wire.finish();
    assert_eq!((wire.heard.len(), wire.tracker.counts().outside_unannounced_rtp), (1, 10));
}
