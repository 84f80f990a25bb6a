//! What is said to the parties at the beginning: a WAV file, made into packets of each encoding once (requirement rows RAC-10 to
//! RAC-12).

use crate::codec::g711::{self, Law};
use crate::codec::g722;
use crate::codec::resample;
use crate::media::{Codec, Format};

/// Longest announcement, in milliseconds.
pub const ANNOUNCEMENT_MS_MAX: usize = 120_000;
/// Bytes of a packet of G.711 or G.722, 20 ms.
const PACKET_BYTES: usize = 160;

/// Samples as packets of 20 ms.
#[derive(Clone, Debug)]
pub struct Announcement {
    a_law: Vec<u8>,
    mu_law: Vec<u8>,
    g722: Vec<u8>,
}

/// What is wrong with an announcement's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// It is no WAV file.
    #[error("it is no WAV file")]
    NotWav,
    /// Its audio is coded in a way that is not read.
    #[error("its audio is of WAV format {0}; save it as PCM, A-law or mu-law")]
    Encoding(u16),
    /// Its rate, channels or bits are out of range.
    #[error(
        "{rate} Hz, {channels} channels, {bits} bits: save it with 8000 to 96000 Hz, 1 or 2 channels, 8, 16, 24 or 32 bits"
    )]
    Shape {
        /// Samples per second.
        rate: u32,
        /// Channels.
        channels: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// It has no audio.
    #[error("there is no audio in it")]
    Empty,
    /// It is too long.
    #[error("it is longer than {} s", ANNOUNCEMENT_MS_MAX / 1_000)]
    Long,
}

impl Announcement {
    /// Reads a WAV file of PCM, A-law or mu-law in any rate, and codes it. Several channels become one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_wav(file: &[u8]) -> Result<Announcement, AnnouncementError> {
        let (samples, rate) = samples_of(file)?;
        let at = |wanted: u32| {
            if wanted == rate {
                return samples.clone();
            }
            let mut out = Vec::new();
            let mut resampler = resample::Resampler::new(rate, wanted);
            resampler.push(&samples, &mut out);
            out
        };
        let narrow = at(8_000);
        if narrow.is_empty() {
            return Err(AnnouncementError::Empty);
        }
        let coded = |law| {
            let mut bytes: Vec<u8> = narrow.iter().map(|&sample| g711::encode(law, sample)).collect();
            bytes.resize(bytes.len().next_multiple_of(PACKET_BYTES), g711::encode(law, 0));
            bytes
        };
        let (a_law, mu_law) = (coded(Law::A), coded(Law::Mu));
        let mut wide = at(g722::SAMPLE_RATE);
        wide.resize(2 * a_law.len(), 0);
        Ok(Announcement { g722: g722::encode(&wide), a_law, mu_law })
    }

    /// How long it lasts, in packets of 20 ms.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.a_law.len() / PACKET_BYTES
    }

    /// The payload of a packet; none in an encoding that it was not made in.
    pub(super) fn packet(&self, format: &Format, nth: usize) -> Option<&[u8]> {
        let coded = match &format.codec {
            Codec::Pcma if format.clock_rate == 8_000 && format.channels == 1 => &self.a_law,
            Codec::Pcmu if format.clock_rate == 8_000 && format.channels == 1 => &self.mu_law,
            Codec::Other(name) if &**name == "G722" && format.channels == 1 => &self.g722,
            _ => return None,
        };
        let from = nth.checked_mul(PACKET_BYTES)?;
        coded.get(from..from + PACKET_BYTES)
    }
}

/// 20 ms of silence; none in an encoding that we do not send.
pub(super) fn silence(format: &Format) -> Option<Vec<u8>> {
    match &format.codec {
        Codec::Pcma if format.clock_rate == 8_000 => Some(vec![g711::encode(Law::A, 0); PACKET_BYTES]),
        Codec::Pcmu if format.clock_rate == 8_000 => Some(vec![g711::encode(Law::Mu, 0); PACKET_BYTES]),
        Codec::Other(name) if &**name == "G722" => Some(g722::encode(&[0; 2 * PACKET_BYTES])),
        _ => None,
    }
}

const PCM: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// The format stands in the first bytes of a longer name.
const EXTENSIBLE: u16 = 0xfffe;

/// The file's samples, one channel, and their rate.
fn samples_of(file: &[u8]) -> Result<(Vec<i16>, u32), AnnouncementError> {
    if file.get(..4) != Some(b"RIFF") || file.get(8..12) != Some(b"WAVE") {
        return Err(AnnouncementError::NotWav);
    }
    let (mut shape, mut rest) = (None, file.get(12..).unwrap_or_default());
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let &[a, b, c, d, l0, l1, l2, l3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        // A recorder that was stopped in the middle leaves a length that is too long, or none.
        let body = behind.get(..length).unwrap_or(behind);
        match &[a, b, c, d] {
            b"fmt " => shape = read_shape(body),
            b"data" => {
                let (format, channels, rate, bits) = shape.ok_or(AnnouncementError::NotWav)?;
                return Ok((read_samples(body, format, (rate, channels, bits))?, rate));
            }
            _ => {}
        }
        rest = behind.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Err(AnnouncementError::NotWav)
}

/// Format, channels, rate, bits.
fn read_shape(body: &[u8]) -> Option<(u16, u16, u32, u16)> {
    let word = |at: usize| body.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    let rate = body.get(4..8)?.try_into().ok().map(u32::from_le_bytes)?;
    let format = word(0)?;
    let format = if format == EXTENSIBLE { word(24)? } else { format };
    Some((format, word(2)?, rate, word(14)?))
}

/// Reads one sample of a file.
type ReadSample = dyn Fn(&[u8]) -> i16;

fn read_samples(
    body: &[u8],
    format: u16,
    (rate, channels, bits): (u32, u16, u16),
) -> Result<Vec<i16>, AnnouncementError> {
    let of = |law| move |bytes: &[u8]| bytes.first().map_or(0, |&code| g711::decode(law, code));
    let read: Box<ReadSample> = match (format, bits) {
        (PCM, 8) => Box::new(|bytes| bytes.first().map_or(0, |&b| (i16::from(b) - 128) << 8)),
        // The two highest bytes, which stand last.
        (PCM, 16 | 24 | 32) => {
            Box::new(|bytes| bytes.last_chunk::<2>().map_or(0, |&pair| i16::from_le_bytes(pair)))
        }
        (A_LAW, 8) => Box::new(of(Law::A)),
        (MU_LAW, 8) => Box::new(of(Law::Mu)),
        (PCM | A_LAW | MU_LAW, _) => return Err(AnnouncementError::Shape { rate, channels, bits }),
        (other, _) => return Err(AnnouncementError::Encoding(other)),
    };
    if !(8_000..=96_000).contains(&rate) || !(1..=2).contains(&channels) {
        return Err(AnnouncementError::Shape { rate, channels, bits });
    }
    let width = usize::from(bits / 8);
    let moment = width * usize::from(channels);
    if body.len() / moment > ANNOUNCEMENT_MS_MAX * rate as usize / 1_000 {
        return Err(AnnouncementError::Long);
    }
    let samples: Vec<i16> = body
        .chunks_exact(moment)
        .map(|moment| {
            let sum: i32 = moment.chunks_exact(width).map(|sample| i32::from(read(sample))).sum();
            (sum / i32::from(channels)) as i16
        })
        .collect();
    if samples.is_empty() { Err(AnnouncementError::Empty) } else { Ok(samples) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::static_format;

    fn wav(format: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        out.extend(format.to_le_bytes());
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend([0; 6]);
        out.extend(bits.to_le_bytes());
        out.extend(b"data");
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out
    }

    /// A second of 400 Hz.
    fn tone(rate: u32) -> Vec<i16> {
        let step = std::f64::consts::TAU * 400.0 / f64::from(rate);
        (0..rate).map(|n| ((step * f64::from(n)).sin() * 8_000.0) as i16).collect()
    }

    fn level(samples: &[i16]) -> f64 {
        (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn files_of_every_kind_become_packets_of_every_encoding() {
        let stereo: Vec<u8> =
            tone(44_100).iter().flat_map(|s| [s.to_le_bytes(), s.to_le_bytes()].concat()).collect();
        let deep: Vec<u8> =
            tone(8_000).iter().flat_map(|s| [[0, 0].to_vec(), s.to_le_bytes().to_vec()].concat()).collect();
        let law = |law| tone(8_000).iter().map(|&s| g711::encode(law, s)).collect::<Vec<u8>>();
        for file in [
            wav(PCM, 2, 44_100, 16, &stereo),
            wav(PCM, 1, 8_000, 32, &deep),
            wav(A_LAW, 1, 8_000, 8, &law(Law::A)),
            wav(MU_LAW, 1, 8_000, 8, &law(Law::Mu)),
        ] {
            let made = Announcement::from_wav(&file).expect("an announcement");
            assert_eq!(made.packets(), 50);
            for (payload_type, rate) in [(0, 8_000), (8, 8_000), (9, 16_000)] {
                let format = static_format(payload_type);
                let mut decoder = crate::codec::decoder(&format).expect("a decoder");
                let mut heard = Vec::new();
                for nth in 0..made.packets() {
                    decoder.decode(made.packet(&format, nth).expect("a packet"), &mut heard);
                }
                assert_eq!(heard.len(), rate);
                let level = level(&heard[rate / 10..rate * 9 / 10]) / (8_000.0 / 2_f64.sqrt());
                assert!((0.95..1.05).contains(&level), "{payload_type}: {level}");
            }
            assert!(
                made.packet(&static_format(18), 0).is_none() && made.packet(&static_format(0), 50).is_none()
            );
        }
    }

    #[test]
    fn the_one_that_is_shipped_is_taken() {
        let file = include_bytes!("../../../packaging/announcements/recorded.wav");
        let made = Announcement::from_wav(file).expect("an announcement");
        assert_eq!(made.packets(), 211, "4.2 s");
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_reason() {
        let refused = |file: &[u8]| Announcement::from_wav(file).expect_err("refused").to_string();
        assert!(refused(b"ID3").contains("no WAV"));
        assert!(refused(&wav(85, 1, 44_100, 16, &[0; 100])).contains("format 85"));
        assert!(refused(&wav(PCM, 6, 48_000, 16, &[0; 100])).contains("6 channels"));
        assert!(refused(&wav(PCM, 1, 8_000, 12, &[0; 100])).contains("12 bits"));
        assert!(refused(&wav(PCM, 1, 8_000, 16, &[])).contains("no audio"));
        assert!(refused(&wav(A_LAW, 1, 8_000, 8, &vec![0; 960_001])).contains("longer than 120 s"));
    }

    #[test]
    fn silence_is_silent_in_every_encoding_that_we_send() {
        for payload_type in [0, 8, 9] {
            let format = static_format(payload_type);
            let mut heard = Vec::new();
            crate::codec::decoder(&format)
                .expect("one")
                .decode(&silence(&format).expect("silence"), &mut heard);
            assert!(heard.iter().all(|sample| sample.abs() <= 8), "{payload_type}: {heard:?}");
        }
        assert!(silence(&static_format(18)).is_none());
    }
}
