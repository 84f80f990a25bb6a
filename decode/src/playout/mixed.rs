//! Tests of calls whose parties, or whose packets, are not coded alike: other rates, other codecs, codecs decoded outside.

use std::f64::consts::TAU;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::codec::external::{Abilities, Coding, External};
use crate::codec::g711::{self, Law};
use crate::media::{AudioFrame, Codec, Format, Party};
use crate::playout::{Bounds, GapKind, Renderer, Survey, Timeline};
use crate::time::Timestamp;

const T0: i64 = 1_800_000_000_000_000_000;

fn format(name: &str, clock_rate: u32) -> Format {
    Format { payload_type: 96, codec: Codec::from_name(name), clock_rate, channels: 1, fmtp: String::new() }
}

/// 20 ms each, from `first` on.
struct Spoken {
    party: Party,
    format: Format,
    /// In units of 20 ms since [`T0`].
    first: i64,
    payloads: Vec<Vec<u8>>,
}

/// A tone of amplitude 10,000, in packets of 20 ms; its phase is that of the wall clock.
fn tone(party: Party, name: &str, rate: u32, hz: f64, first: i64, packets: i64) -> Spoken {
    let samples = i64::from(rate) / 50;
    let payload = |packet: i64| {
        let range = packet * samples..(packet + 1) * samples;
        let sample = |i: i64| ((i as f64 * TAU * hz / f64::from(rate)).sin() * 10_000.0).round() as i16;
        range
            .flat_map(|i| match name {
                "PCMU" => vec![g711::encode(Law::Mu, sample(i))],
                _ => sample(i).to_be_bytes().to_vec(),
            })
            .collect()
    };
    let payloads = (first..first + packets).map(payload).collect();
    Spoken { party, format: format(name, rate), first, payloads }
}

struct Heard {
    timeline: Timeline,
    channels: [Vec<i16>; 2],
    undecoded: u64,
}

/// Both passes; the formats of one party follow each other in sequence numbers and time, each on its own clock's ticks.
fn play(spoken: &[Spoken], external: Option<Box<dyn External>>, lost: &[i64]) -> Heard {
    let mut packets = Vec::new();
    for stretch in spoken {
        for (place, payload) in (stretch.first..).zip(&stretch.payloads) {
            if lost.contains(&place) {
                continue;
            }
            // Whole samples in each packet: at 11025 Hz, 20 ms are not quite 20 ms.
            let rate = i64::from(stretch.format.clock_rate);
            let ticks = place * (rate / 50);
            let frame = AudioFrame {
                at: Timestamp::from_nanos(T0 + ticks * 1_000_000_000 / rate),
                ssrc: 7 + stretch.party.index() as u32,
                sequence: place as u16,
                timestamp: ticks as u32,
                marker: false,
                format: &stretch.format,
                payload,
            };
            packets.push((stretch.party, frame));
        }
    }
    packets.sort_by_key(|(_, frame)| frame.at);
    let mut survey = Survey::new();
    if let Some(external) = &external {
        survey.handle_abilities(external.abilities());
    }
    for (party, frame) in &packets {
        survey.handle_frame(*party, frame);
    }
    let timeline = survey.finish(Bounds::default());
    let mut renderer = match external {
        Some(external) => Renderer::with_external(&timeline, external),
        None => Renderer::new(&timeline),
    };
    let mut channels = [Vec::new(), Vec::new()];
    for packet in packets.iter().map(Some).chain([None]) {
        match packet {
            Some((party, frame)) => renderer.push(*party, frame),
            None => renderer.finish(),
        }
        while let Some(block) = renderer.poll_block() {
            channels[0].extend_from_slice(block.near);
            channels[1].extend_from_slice(block.far);
        }
    }
    let undecoded = renderer.undecoded();
    assert_eq!(channels[0].len() as u64, timeline.samples);
    Heard { timeline, channels, undecoded }
}

/// How far, in decibels, what is not the tone lies below it; the phase is known as well.
fn noise_db(samples: &[i16], rate: u32, hz: f64, first: usize) -> f64 {
    let (mut noise, mut signal) = (0.0, 0.0);
    for (i, &sample) in samples.iter().enumerate() {
        let ideal = ((first + i) as f64 * TAU * hz / f64::from(rate)).sin() * 10_000.0;
        noise += (f64::from(sample) - ideal).powi(2);
        signal += ideal.powi(2);
    }
    10.0 * (noise / signal).log10()
}

#[test]
fn the_wider_party_stays_wide_and_the_narrower_one_is_raised_to_it_cleanly() {
    let heard = play(
        &[tone(Party::Near, "L16", 16_000, 6_000.0, 0, 100), tone(Party::Far, "L16", 8_000, 1_000.0, 0, 100)],
        None,
        &[],
    );
    assert_eq!((heard.timeline.rate, heard.timeline.samples), (16_000, 32_000));
    assert!(noise_db(&heard.channels[0], 16_000, 6_000.0, 0) < -80.0, "unchanged");
    let inside = &heard.channels[1][800..31_200];
    let db = noise_db(inside, 16_000, 1_000.0, 800);
    assert!(db < -65.0, "{db:.1} dB");
}

#[test]
fn rates_that_do_not_divide_leave_no_seams() {
    let heard = play(
        &[
            tone(Party::Near, "L16", 48_000, 9_000.0, 0, 100),
            tone(Party::Far, "L16", 11_025, 1_000.0, 0, 100),
        ],
        None,
        &[],
    );
    assert_eq!(heard.timeline.rate, 48_000);
    // A packet of 220 samples is 957.8 of the timeline's.
    let db = noise_db(&heard.channels[1][2_400..90_000], 48_000, 1_000.0, 2_400);
    assert!(db < -60.0, "{db:.1} dB");
}

#[test]
fn a_codec_that_changes_within_the_call_changes_without_a_hole_or_a_click() {
    let spoken = [
        tone(Party::Near, "PCMU", 8_000, 500.0, 0, 50),
        tone(Party::Near, "L16", 8_000, 500.0, 50, 50),
        tone(Party::Far, "L16", 16_000, 500.0, 0, 100),
    ];
    let heard = play(&spoken, None, &[]);
    assert_eq!((heard.timeline.rate, heard.timeline.samples), (16_000, 32_000));
    assert_eq!(heard.timeline.gaps.len(), 0, "{:?}", heard.timeline.gaps);
    let near = &heard.channels[0];
    let db = noise_db(&near[15_000..17_000], 16_000, 500.0, 15_000);
    assert!(db < -30.0, "{db:.1} dB around the change");
}

/// Decodes G.729 to a line at the height that a frame's first byte says.
struct Program {
    /// How many frames each call has.
    calls: Sender<usize>,
    works: bool,
}

impl External for Program {
    fn abilities(&self) -> Abilities {
        Abilities::of([Coding::G729])
    }

    fn decode(&mut self, coding: Coding, frames: &[Box<[u8]>]) -> Option<Vec<i16>> {
        assert_eq!(coding, Coding::G729);
        self.calls.send(frames.len()).expect("the test listens");
        let height = |frame: &[u8]| i16::from(frame.first().copied().unwrap_or_default()) * 100;
        self.works.then(|| frames.iter().flat_map(|frame| [height(frame); 80]).collect())
    }
}

fn g729(party: Party, packets: i64) -> Spoken {
    let payload = |packet: i64| [vec![(packet % 200) as u8; 10], vec![(packet % 200) as u8 + 1; 10]].concat();
    Spoken { party, format: format("G729", 8_000), first: 0, payloads: (0..packets).map(payload).collect() }
}

fn program(works: bool) -> (Option<Box<dyn External>>, Receiver<usize>) {
    let (calls, heard) = channel();
    (Some(Box::new(Program { calls, works })), heard)
}

#[test]
fn frames_decoded_outside_land_in_their_packets_places() {
    let (external, calls) = program(true);
    let heard = play(&[g729(Party::Near, 5_000)], external, &[]);
    assert_eq!((heard.timeline.track(Party::Near).undecodable, heard.undecoded), (0, 0));
    assert_eq!(heard.timeline.samples, 5_000 * 160);
    for (frame, samples) in heard.channels[0].chunks(80).enumerate() {
        let (packet, second) = (frame / 2 % 200, frame % 2);
        assert!(samples.iter().all(|&sample| sample == (packet + second) as i16 * 100), "frame {frame}");
    }
    // 100 s of audio in a handful of calls, each but the first with a second of what went before.
    let calls: Vec<usize> = calls.try_iter().collect();
    assert!((3..=5).contains(&calls.len()), "{calls:?}");
    assert_eq!(calls.iter().sum::<usize>(), 10_000 + (calls.len() - 1) * 100);
}

#[test]
fn a_loss_between_frames_decoded_outside_is_covered_like_any_other() {
    let (external, _calls) = program(true);
    let heard = play(&[g729(Party::Near, 200)], external, &[100]);
    assert_eq!(heard.timeline.samples, 200 * 160);
    let gaps: Vec<_> = heard.timeline.gaps.iter().filter(|gap| gap.party == Party::Near).collect();
    assert_eq!(gaps.iter().map(|gap| (gap.start_ms, gap.kind)).collect::<Vec<_>>(), [(2_000, GapKind::Loss)]);
    // Some milliseconds on, where the blend from the concealment has ended.
    assert_eq!(heard.channels[0].get(101 * 160 + 150), Some(&10_200));
}

#[test]
fn without_a_program_or_with_one_that_fails_it_is_a_gap_or_counted() {
    let heard = play(&[g729(Party::Near, 100)], None, &[]);
    assert_eq!(heard.timeline.track(Party::Near).undecodable, 100);
    assert!(heard.timeline.gaps.iter().any(|gap| gap.kind == GapKind::NotDecodable));
    let (external, _calls) = program(false);
    let heard =
        play(&[g729(Party::Near, 100), tone(Party::Far, "PCMU", 8_000, 500.0, 0, 100)], external, &[]);
    assert_eq!(heard.undecoded, 100);
    assert!(heard.channels[0].iter().all(|&sample| sample == 0));
    assert!(heard.channels[1].iter().any(|&sample| sample > 9_000));
}
