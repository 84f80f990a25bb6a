//! Audio codecs: payload bytes to samples.
//!
//! Owns the choice of a decoder for a payload format and the length of a payload in RTP ticks. Each codec has its own
//! file. Speech codecs that only an outside program can decode are [`external`]: here their payloads are taken apart. What is
//! neither is kept by the recorder as received and says so at playback. Comfort noise (RFC 3389) is no codec but a
//! description of silence: [`comfort_noise`] makes it audible. [`resample`] takes samples from one rate to another.

mod bits;
pub mod comfort_noise;
pub mod dvi4;
pub mod external;
pub mod g711;
pub mod g722;
pub mod g726;
pub mod gsm;
pub mod linear;
pub mod opus;
pub mod resample;

use crate::media::{Codec, Format};

/// Turns payloads of one stream into samples, in the order of their sequence numbers.
///
/// A decoder must take every payload: bytes that make no sense decode to something or to nothing, never to a panic.
pub trait Decoder: Send {
    /// Samples per second of what [`decode`](Decoder::decode) gives.
    fn sample_rate(&self) -> u32;

    /// Decodes one payload and appends its samples, one channel.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>);
}

/// Lowest and highest sample rate that a format may name and be believed, in Hz.
const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// A fresh decoder for a stream of this format; none when this crate cannot decode it. Several channels become one.
#[must_use]
pub fn decoder(format: &Format) -> Option<Box<dyn Decoder>> {
    let rate = if format.clock_rate == 0 { 8_000 } else { format.clock_rate };
    let sampled = SAMPLE_RATES.contains(&rate).then_some(rate);
    let name = match &format.codec {
        Codec::Pcmu => return Some(Box::new(g711::Decoder::new(g711::Law::Mu, sampled?, format.channels))),
        Codec::Pcma => return Some(Box::new(g711::Decoder::new(g711::Law::A, sampled?, format.channels))),
        Codec::ComfortNoise | Codec::TelephoneEvent => return None,
        Codec::Other(name) => &**name,
    };
    if let Some((bits, packing)) = g726::Bits::from_name(name) {
        return Some(Box::new(g726::Decoder::new(bits, packing, sampled?)));
    }
    let linear = |width| Some(Box::new(linear::Decoder::new(width, sampled?, format.channels)) as Box<_>);
    match name {
        "L16" => linear(linear::Width::Sixteen),
        "L8" => linear(linear::Width::Eight),
        "DVI4" => Some(Box::new(dvi4::Decoder::new(sampled?))),
        // Some senders name the rate of its samples, against RFC 3551, 4.5.2.
        "G722" if matches!(rate, 8_000 | g722::SAMPLE_RATE) => Some(Box::new(g722::Decoder::new())),
        "GSM" if rate == gsm::SAMPLE_RATE => Some(Box::new(gsm::Decoder::new())),
        "OPUS" => Some(Box::new(opus::Decoder::new(rate)?)),
        _ => None,
    }
}

/// Sample rate of a format's audio as it is decoded here or by an outside program; none when neither can.
#[must_use]
pub fn sample_rate(format: &Format, abilities: external::Abilities) -> Option<u32> {
    if let Some(decoder) = decoder(format) {
        return Some(decoder.sample_rate());
    }
    external::Framing::of(format)
        .filter(|framing| framing.is_within(abilities))
        .map(|framing| framing.sample_rate())
}

/// How long a payload lasts, in ticks of the format's RTP clock; none when it does not tell. Known for more codecs than
/// can be decoded, because the timeline needs it for all (RFC 3551, 4.5).
#[must_use]
pub fn packet_ticks(format: &Format, payload: &[u8]) -> Option<u32> {
    let channels = usize::from(format.channels.max(1));
    let length = payload.len();
    if channels == 1 && matches!(format.codec, Codec::Pcmu | Codec::Pcma) {
        // Most packets of most calls: asked by the tracker for each of them, and without a division.
        return u32::try_from(length).ok();
    }
    let ticks = match &format.codec {
        Codec::Pcmu | Codec::Pcma => length / channels,
        Codec::ComfortNoise | Codec::TelephoneEvent => 0,
        Codec::Other(name) => match &**name {
            // The clock of G.722 runs at 8000 by an old mistake, and a byte holds two of its 16000 samples per second.
            "G722" if format.clock_rate == g722::SAMPLE_RATE => length.saturating_mul(2) / channels,
            "G722" | "L8" => length / channels,
            "L16" => length / 2 / channels,
            "GSM" => length / gsm::FRAME_BYTES * gsm::FRAME_SAMPLES,
            "OPUS" if opus::RATES.contains(&format.clock_rate) => opus::ticks_in(payload, format.clock_rate)?,
            "OPUS" => opus::samples_in(payload)?,
            "DVI4" => length.saturating_sub(dvi4::HEADER_BYTES).saturating_mul(2),
            name => match g726::Bits::from_name(name) {
                Some((bits, _)) => length.saturating_mul(8) / bits.count() as usize,
                // The clock of all of these counts their samples.
                None => external::Framing::of(format)?.samples(payload),
            },
        },
    };
    u32::try_from(ticks).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(codec: &str, clock_rate: u32, channels: u8) -> Format {
        Format { payload_type: 96, codec: Codec::from_name(codec), clock_rate, channels, fmtp: String::new() }
    }

    /// Every format with a decoder here: name, RTP clock, channels, bytes of 20 ms, samples of 20 ms.
    const DECODED: [(&str, u32, u8, usize, usize); 17] = [
        ("PCMU", 8_000, 1, 160, 160),
        ("PCMA", 8_000, 2, 320, 160),
        ("PCMA", 16_000, 1, 320, 320),
        ("G722", 8_000, 1, 160, 320),
        ("GSM", 8_000, 1, 33, 160),
        ("L16", 8_000, 1, 320, 160),
        ("L16", 44_100, 2, 3_528, 882),
        ("L8", 8_000, 1, 160, 160),
        ("DVI4", 8_000, 1, 84, 160),
        ("DVI4", 16_000, 1, 164, 320),
        ("G721", 8_000, 1, 80, 160),
        ("G726-16", 8_000, 1, 40, 160),
        ("G726-24", 8_000, 1, 60, 160),
        ("G726-32", 8_000, 1, 80, 160),
        ("G726-40", 8_000, 1, 100, 160),
        ("AAL2-G726-24", 8_000, 1, 60, 160),
        ("AAL2-G726-40", 8_000, 1, 100, 160),
    ];

    #[test]
    fn twenty_milliseconds_are_as_many_ticks_and_samples_in_every_codec() {
        for (codec, clock_rate, channels, bytes, samples) in DECODED {
            let format = format(codec, clock_rate, channels);
            let payload = vec![0xd5; bytes];
            let ticks = packet_ticks(&format, &payload);
            assert_eq!(ticks, Some(clock_rate / 50), "{codec}/{clock_rate}");
            let mut decoder = decoder(&format).expect("can be decoded");
            assert_eq!(decoder.sample_rate() as usize / 50, samples, "{codec}/{clock_rate}");
            let mut out = Vec::new();
            decoder.decode(&payload, &mut out);
            assert_eq!(out.len(), samples, "{codec}/{clock_rate}");
        }
        for (codec, clock_rate, bytes, ticks) in [
            ("G729", 8_000, 20, 160),
            ("G729", 8_000, 12, 80),
            ("iLBC", 8_000, 38, 160),
            ("iLBC", 8_000, 50, 240),
            ("G723", 8_000, 24, 240),
        ] {
            assert_eq!(packet_ticks(&format(codec, clock_rate, 1), &vec![0; bytes]), Some(ticks), "{codec}");
        }
        // Configuration 15, two frames: hybrid, 20 ms each.
        assert_eq!(packet_ticks(&format("opus", 48_000, 2), &[15 << 3 | 1, 0, 0]), Some(1_920));
        // The same in a stream that an archive coded: its clock counts its samples.
        assert_eq!(packet_ticks(&format("opus", 8_000, 1), &[15 << 3 | 1, 0, 0]), Some(320));
        assert_eq!(packet_ticks(&format("BV32", 16_000, 1), &[0; 80]), None);
    }

    #[test]
    fn half_a_moment_of_several_channels_is_nothing() {
        for (channels, bytes, samples) in [(0, 160, 160), (2, 321, 160), (3, 2, 0), (1, 0, 0)] {
            let mut out = Vec::new();
            decoder(&format("PCMU", 8_000, channels)).expect("G.711").decode(&vec![0x55; bytes], &mut out);
            assert_eq!(out.len(), samples, "{channels} {bytes}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_has_no_decoder() {
        use external::{Abilities, Coding};
        let g729 = format("G729", 8_000, 1);
        assert!(decoder(&g729).is_none() && decoder(&format("CN", 8_000, 1)).is_none());
        assert!(decoder(&format("PCMU", 4_000_000_000, 1)).is_none());
        assert!(decoder(&format("opus", 44_100, 2)).is_none());
        assert_eq!(sample_rate(&g729, Abilities::NONE), None);
        assert_eq!(sample_rate(&g729, Abilities::of([Coding::G729])), Some(8_000));
        let wide = format("AMR-WB", 16_000, 1);
        assert_eq!(sample_rate(&wide, Abilities::of(Coding::ALL)), Some(16_000));
    }

    proptest! {
        #[test]
        fn no_payload_panics_in_any_codec(
            which in 0..DECODED.len(),
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..10)
        ) {
            let (codec, clock_rate, channels, ..) = DECODED[which];
            let format = format(codec, clock_rate, channels);
            let mut decoder = decoder(&format).expect("can be decoded");
            for payload in payloads {
                let mut out = Vec::new();
                decoder.decode(&payload, &mut out);
                let ticks = u64::from(packet_ticks(&format, &payload).expect("told by the payload"));
                let samples = ticks * u64::from(decoder.sample_rate()) / u64::from(clock_rate);
                // Narrow codes of one payload end with it or go on in the next.
                prop_assert!(out.len() as u64 == samples, "{codec}: {} and {samples}", out.len());
            }
        }

        #[test]
        fn no_payload_panics_when_it_is_taken_apart(
            which in 0..8_usize, fmtp in "(octet-align=1)?(;crc=1)?", payload in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let (codec, clock_rate) = [
                ("G729", 8_000), ("G723", 8_000), ("iLBC", 8_000), ("speex", 8_000), ("speex", 16_000), ("speex", 32_000),
                ("AMR", 8_000), ("AMR-WB", 16_000),
            ][which];
            let format = Format { fmtp, ..format(codec, clock_rate, 1) };
            let framing = external::Framing::of(&format).expect("taken apart");
            let mut pieces = 0;
            framing.cut(&payload, &mut |_| pieces += 1);
            let samples = framing.coding(&payload).frame_samples() * pieces;
            prop_assert_eq!(packet_ticks(&format, &payload).map(|ticks| ticks as usize), Some(samples));
        }
    }
}
