//! Audio codecs: payload bytes to samples.
//!
//! Owns the choice of a decoder for a payload format and the length of a payload in RTP ticks. Each codec has its own
//! file; one that is not here is kept by the recorder as received and says so at playback. Comfort noise (RFC 3389)
//! is no codec but a description of silence: [`comfort_noise`] makes it audible.

pub mod comfort_noise;
pub mod g711;
pub mod gsm;

use crate::media::{Codec, Format};

/// Turns payloads of one stream into samples, in the order of their sequence numbers.
///
/// A decoder must take every payload: bytes that make no sense decode to something, never to a panic.
pub trait Decoder: Send {
    /// Samples per second of what [`decode`](Decoder::decode) gives.
    fn sample_rate(&self) -> u32;

    /// How many samples `payload` decodes to.
    fn samples_in(&self, payload: &[u8]) -> usize;

    /// Decodes one payload and appends its samples, one channel.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>);
}

/// Lowest and highest sample rate that a format may name and be believed, in Hz.
const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// A fresh decoder for a stream of this format; none when this crate cannot decode it. Several channels become one.
#[must_use]
pub fn decoder(format: &Format) -> Option<Box<dyn Decoder>> {
    let law = match &format.codec {
        Codec::Pcmu => g711::Law::Mu,
        Codec::Pcma => g711::Law::A,
        Codec::Other(name) if &**name == "GSM" && matches!(format.clock_rate, 0 | gsm::SAMPLE_RATE) => {
            return Some(Box::new(gsm::Decoder::new()));
        }
        Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Other(_) => return None,
    };
    let rate = if format.clock_rate == 0 { 8_000 } else { format.clock_rate };
    SAMPLE_RATES.contains(&rate).then(|| Box::new(g711::Decoder::new(law, rate, format.channels)) as Box<_>)
}

/// How long a payload of `payload_len` bytes lasts, in ticks of the format's RTP clock; none when its length alone
/// does not tell. Known for more codecs than can be decoded, because the timeline needs it for all (RFC 3551, 4.5).
#[must_use]
pub fn packet_ticks(format: &Format, payload_len: usize) -> Option<u32> {
    let channels = usize::from(format.channels.max(1));
    let ticks = match &format.codec {
        Codec::Pcmu | Codec::Pcma => payload_len / channels,
        Codec::ComfortNoise | Codec::TelephoneEvent => 0,
        Codec::Other(name) => match &**name {
            // The clock of G.722 runs at 8000 by an old mistake, and a byte holds two of its 16000 samples per second.
            "G722" | "L8" => payload_len / channels,
            "L16" => payload_len / 2 / channels,
            "GSM" => payload_len / gsm::FRAME_BYTES * gsm::FRAME_SAMPLES,
            // 10 ms frames of 10 bytes; a last one of 2 bytes describes silence and lasts no known time.
            "G729" => payload_len / 10 * 80,
            "G726-16" => payload_len.saturating_mul(4),
            "G726-32" => payload_len.saturating_mul(2),
            "ILBC" if payload_len.is_multiple_of(50) => payload_len / 50 * 240,
            "ILBC" if payload_len.is_multiple_of(38) => payload_len / 38 * 160,
            _ => return None,
        },
    };
    u32::try_from(ticks).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(codec: &str, channels: u8) -> Format {
        Format {
            payload_type: 96,
            codec: Codec::from_name(codec),
            clock_rate: 8000,
            channels,
            fmtp: String::new(),
        }
    }

    #[test]
    fn twenty_milliseconds_are_160_ticks_in_every_codec() {
        for (codec, channels, bytes) in [
            ("PCMU", 1, 160),
            ("PCMA", 2, 320),
            ("G722", 1, 160),
            ("GSM", 1, 33),
            ("G729", 1, 20),
            ("L16", 1, 320),
            ("G726-32", 1, 80),
            ("iLBC", 1, 38),
        ] {
            assert_eq!(packet_ticks(&format(codec, channels), bytes), Some(160), "{codec}");
        }
        assert_eq!(packet_ticks(&format("opus", 2), 120), None);
    }

    #[test]
    fn a_decoder_gives_as_many_samples_as_it_says() {
        for codec in ["PCMU", "PCMA"] {
            for (channels, bytes) in [(0, 160), (1, 160), (2, 321), (3, 2), (1, 0)] {
                let mut decoder = decoder(&format(codec, channels)).expect("G.711 can be decoded");
                let mut out = Vec::new();
                let payload = vec![0x55; bytes];
                decoder.decode(&payload, &mut out);
                assert_eq!(out.len(), decoder.samples_in(&payload), "{codec} {channels} {bytes}");
            }
        }
    }

    #[test]
    fn what_cannot_be_decoded_has_no_decoder() {
        assert!(decoder(&format("G729", 1)).is_none());
        assert!(decoder(&format("CN", 1)).is_none());
        assert!(decoder(&Format { clock_rate: 4_000_000_000, ..format("PCMU", 1) }).is_none());
    }
}
