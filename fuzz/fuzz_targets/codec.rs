//! Payloads of arbitrary bytes in every encoding: each decoder takes them, and what is decoded outside falls into frames of
//! the length that the payload's ticks say. The first byte chooses the encoding, each further payload begins with its length.

#![no_main]

use decode::codec::external::Framing;
use decode::codec::{decoder, packet_ticks};
use decode::{Codec, Format};
use libfuzzer_sys::fuzz_target;

/// Name, RTP clock, parameters.
const FORMATS: [(&str, u32, &str); 24] = [
    ("PCMU", 8_000, ""),
    ("PCMA", 16_000, ""),
    ("G722", 8_000, ""),
    ("GSM", 8_000, ""),
    ("L16", 44_100, ""),
    ("L8", 8_000, ""),
    ("DVI4", 8_000, ""),
    ("G726-16", 8_000, ""),
    ("G726-24", 8_000, ""),
    ("G726-32", 8_000, ""),
    ("G726-40", 8_000, ""),
    ("AAL2-G726-40", 8_000, ""),
    ("OPUS", 48_000, ""),
    ("OPUS", 8_000, ""),
    ("OPUS", 16_000, ""),
    ("G729", 8_000, ""),
    ("G723", 8_000, ""),
    ("ILBC", 8_000, ""),
    ("SPEEX", 8_000, ""),
    ("SPEEX", 32_000, ""),
    ("AMR", 8_000, ""),
    ("AMR", 8_000, "octet-align=1"),
    ("AMR-WB", 16_000, "octet-align=1;crc=1"),
    ("AMR-WB", 16_000, ""),
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let (name, clock_rate, fmtp) = FORMATS[usize::from(choice) % FORMATS.len()];
    let channels = choice / FORMATS.len() as u8 % 3;
    let codec = Codec::from_name(name);
    let format = Format { payload_type: 96, codec, clock_rate, channels, fmtp: fmtp.to_owned() };
    let mut decoder = decoder(&format);
    let framing = Framing::of(&format);
    while let Some((&length, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let ticks = packet_ticks(&format, payload);
        if let Some(decoder) = &mut decoder {
            let mut out = Vec::new();
            decoder.decode(payload, &mut out);
            assert!(out.len() <= 8 * payload.len() + 5_760);
        }
        if let Some(framing) = framing {
            let mut pieces = 0;
            framing.cut(payload, &mut |_| pieces += 1);
            let samples = framing.coding(payload).frame_samples() * pieces;
            assert_eq!(ticks.map(|ticks| ticks as usize), Some(samples));
        }
    }
});
