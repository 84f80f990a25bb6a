//! Opus as RTP payload (RFC 7587): one packet of RFC 6716 per payload, RTP clock and samples at 48000 Hz.
//!
//! The decoding is `ropus`; here are the packet's length by its first bytes and what to do with one that makes no sense.
//! Stereo is mixed to one channel by the decoder itself, as the RFC asks of a receiver that plays mono.
//!
//! A stream whose clock runs at another of Opus's rates is one that an archive coded itself, at the rate of what it had before:
//! its samples and its ticks are those of that rate.

use ropus::{Channels, DecodeMode};

/// Samples per second, and ticks of the RTP clock whatever the encoder's bandwidth was (RFC 7587, 4.1).
pub const SAMPLE_RATE: u32 = 48_000;
/// Every rate that Opus codes at and decodes to, in Hz (RFC 6716, 2.1).
pub const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, SAMPLE_RATE];
/// Longest packet: 120 ms (RFC 6716, 3.2.5).
const SAMPLES_MAX: usize = 5_760;

/// Samples at 48000 Hz in a packet, by its table of contents (RFC 6716, 3.1 and 3.2); none when it is no packet.
#[must_use]
pub fn samples_in(packet: &[u8]) -> Option<usize> {
    let (&toc, rest) = packet.split_first()?;
    let frame: usize = match toc >> 3 {
        // SILK in 10, 20, 40, 60 ms; hybrid in 10, 20 ms; CELT in 2.5, 5, 10, 20 ms.
        config @ 0..=11 => *[480, 960, 1_920, 2_880].get(usize::from(config & 3))?,
        config @ 12..=15 => *[480, 960].get(usize::from(config & 1))?,
        config => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(rest.first()? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=SAMPLES_MAX).contains(samples))
}

/// Ticks of a clock at one of [`RATES`] in a packet; none when it is no packet.
#[must_use]
pub fn ticks_in(packet: &[u8], clock_rate: u32) -> Option<usize> {
    Some(samples_in(packet)? * clock_rate as usize / SAMPLE_RATE as usize)
}

/// Decoder of an Opus stream.
pub struct Decoder {
    decoder: ropus::Decoder,
    rate: u32,
    pcm: Vec<i16>,
}

impl Decoder {
    /// At the start of a stream, to samples at one of [`RATES`]; none for any other rate.
    #[must_use]
    pub fn new(rate: u32) -> Option<Self> {
        if !RATES.contains(&rate) {
            return None;
        }
        let decoder = ropus::Decoder::new(rate, Channels::Mono).ok()?;
        Some(Decoder { decoder, rate, pcm: vec![0; SAMPLES_MAX * rate as usize / SAMPLE_RATE as usize] })
    }
}

/// What is no packet, or has damaged contents, gives no samples: it is covered like a loss.
impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        // An empty packet would ask the library to conceal a loss, which is the playout's affair.
        if samples_in(payload).is_none() {
            return;
        }
        let Ok(count) = self.decoder.decode(payload, &mut self.pcm, DecodeMode::Normal) else { return };
        out.extend_from_slice(self.pcm.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Decoder as _;

    #[test]
    fn the_first_bytes_tell_the_length() {
        for (packet, samples) in [
            (&[0x00][..], Some(480)),
            (&[0x08 | 1], Some(1_920)),
            (&[0x18], Some(2_880)),
            (&[0x78], Some(960)),
            (&[0x80], Some(120)),
            (&[0xf8], Some(960)),
            (&[0xff, 6], Some(5_760)),
            (&[0xff, 7], None),
            (&[0xff, 0], None),
            (&[0xff], None),
            (&[], None),
        ] {
            assert_eq!(samples_in(packet), samples, "{packet:02x?}");
        }
    }

    #[test]
    fn a_tone_survives_mono_and_stereo_alike() {
        for channels in [Channels::Mono, Channels::Stereo] {
            let mut encoder = ropus::Encoder::builder(SAMPLE_RATE, channels, ropus::Application::Audio)
                .build()
                .expect("an encoder");
            let mut decoder = Decoder::new(SAMPLE_RATE).expect("a decoder");
            let mut heard = Vec::new();
            for packet in 0..50_usize {
                let pcm: Vec<i16> = (packet * 960..(packet + 1) * 960)
                    .flat_map(|i| {
                        let sample = (i as f64 * std::f64::consts::TAU * 1_000.0 / 48_000.0).sin() * 8_000.0;
                        vec![sample as i16; channels.count()]
                    })
                    .collect();
                let mut bytes = [0; 1_500];
                let length = encoder.encode(&pcm, &mut bytes).expect("encodes");
                let payload = bytes.get(..length).expect("in the buffer");
                assert_eq!(samples_in(payload), Some(960));
                decoder.decode(payload, &mut heard);
            }
            assert_eq!(heard.len(), 48_000);
            let power = heard.iter().skip(4_800).map(|&s| f64::from(s).powi(2)).sum::<f64>() / 43_200.0;
            assert!(
                (power.sqrt() / (8_000.0 / 2_f64.sqrt()) - 1.0).abs() < 0.05,
                "{channels:?} {}",
                power.sqrt()
            );
        }
    }

    /// Packets of noise that swells and fades, at several bit rates and lengths: every mode of the encoder.
    static PACKETS: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
        let (mut packets, mut noise) = (Vec::new(), 1_u32);
        for (bits, application) in [
            (8_000, ropus::Application::Voip),
            (20_000, ropus::Application::Voip),
            (32_000, ropus::Application::Audio),
            (96_000, ropus::Application::Audio),
        ] {
            let rate = ropus::Bitrate::try_bits(bits).expect("a bit rate");
            let encoder = ropus::Encoder::builder(SAMPLE_RATE, Channels::Mono, application).bitrate(rate);
            let mut encoder = encoder.build().expect("an encoder");
            for packet in 0..20_i32 {
                let pcm: Vec<i16> = (0..960)
                    .map(|_| {
                        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        ((noise >> 16) as i16) / (1 + (packet % 7) as i16 * 4)
                    })
                    .collect();
                let mut bytes = [0; 1_500];
                let length = encoder.encode(&pcm, &mut bytes).expect("encodes");
                packets.push(bytes.get(..length).expect("in the buffer").to_vec());
            }
        }
        packets
    });

    proptest! {
        #[test]
        fn damaged_packets_neither_panic_nor_grow(
            damage in proptest::collection::vec((0..80_usize, any::<proptest::sample::Index>(), any::<u8>()), 1..60)
        ) {
            let mut packets = PACKETS.clone();
            for (packet, at, value) in damage {
                let packet = &mut packets[packet];
                let at = at.index(packet.len());
                packet[at] = value;
            }
            let mut decoder = Decoder::new(SAMPLE_RATE).expect("a decoder");
            for packet in packets {
                let mut out = Vec::new();
                decoder.decode(&packet, &mut out);
                prop_assert!(out.len() <= samples_in(&packet).unwrap_or(0));
            }
        }

        #[test]
        fn no_bytes_panic_and_none_give_more_than_they_say(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..8)
        ) {
            let mut decoder = Decoder::new(SAMPLE_RATE).expect("a decoder");
            for packet in packets {
                let mut out = Vec::new();
                decoder.decode(&packet, &mut out);
                prop_assert!(out.len() <= samples_in(&packet).unwrap_or(0));
            }
        }
    }
}
