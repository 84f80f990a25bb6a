//! RIFF/WAVE as exports and recordings for tests have it: PCM16, A-law, mu-law. Reads whole files into memory.
//!
//! Not the recorder's reader: what it exports is judged here by other eyes.

use crate::g711::Law;

/// Audio of one file, channel by channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Samples a second.
    pub rate: u32,
    /// One list of samples for each channel; all of one length.
    pub channels: Vec<Vec<i16>>,
}

/// Why a file is not audio that can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAudio {
    /// No RIFF/WAVE header, or no `fmt ` or no `data` chunk.
    NoWave,
    /// A format tag (of the registry in RFC 2361) that is not read here.
    Format(u16),
}

impl std::fmt::Display for NotAudio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotAudio::NoWave => f.write_str("no RIFF/WAVE file with fmt and data"),
            NotAudio::Format(tag) => write!(f, "format tag {tag} is neither PCM16 nor G.711"),
        }
    }
}

/// Reads a WAV file. A `data` chunk that claims more than there is gives what is there.
///
/// # Errors
/// [`NotAudio`] says what is missing.
pub fn parse(bytes: &[u8]) -> Result<Audio, NotAudio> {
    let (b"RIFF", b"WAVE") = (bytes.get(..4).unwrap_or_default(), bytes.get(8..12).unwrap_or_default())
    else {
        return Err(NotAudio::NoWave);
    };
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    while let [i0, i1, i2, i3, l0, l1, l2, l3, body @ ..] = rest {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let chunk = body.get(..length).unwrap_or(body);
        match (&[*i0, *i1, *i2, *i3], chunk, format) {
            (b"fmt ", [t0, t1, c0, c1, r0, r1, r2, r3, ..], _) => {
                let le = |a: &u8, b: &u8| u16::from_le_bytes([*a, *b]);
                format = Some((le(t0, t1), le(c0, c1), u32::from_le_bytes([*r0, *r1, *r2, *r3])));
            }
            (b"data", data, Some((tag, channels, rate))) => {
                let channels = usize::from(channels.max(1));
                return Ok(Audio { rate, channels: split(&samples(tag, data)?, channels) });
            }
            _ => {}
        }
        rest = body.get(length + length % 2..).unwrap_or_default();
    }
    Err(NotAudio::NoWave)
}

fn samples(tag: u16, data: &[u8]) -> Result<Vec<i16>, NotAudio> {
    match tag {
        1 | 0xfffe => Ok(data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()),
        6 => Ok(data.iter().map(|&byte| Law::A.decode(byte)).collect()),
        7 => Ok(data.iter().map(|&byte| Law::Mu.decode(byte)).collect()),
        other => Err(NotAudio::Format(other)),
    }
}

fn split(samples: &[i16], channels: usize) -> Vec<Vec<i16>> {
    let whole = samples.len() / channels * channels;
    let samples = samples.get(..whole).unwrap_or_default();
    (0..channels).map(|channel| samples.iter().skip(channel).step_by(channels).copied().collect()).collect()
}

/// A PCM16 file of `channels`, which must be of one length.
#[must_use]
pub fn build(audio: &Audio) -> Vec<u8> {
    let channels = audio.channels.len() as u32;
    let frames = audio.channels.iter().map(Vec::len).min().unwrap_or(0);
    let data_len = frames as u32 * channels * 2;
    let mut out = Vec::with_capacity(44 + data_len as usize);
    out.extend(b"RIFF");
    out.extend((36 + data_len).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16_u32.to_le_bytes());
    out.extend(1_u16.to_le_bytes());
    out.extend((channels as u16).to_le_bytes());
    out.extend(audio.rate.to_le_bytes());
    out.extend((audio.rate * channels * 2).to_le_bytes());
    out.extend((channels as u16 * 2).to_le_bytes());
    out.extend(16_u16.to_le_bytes());
    out.extend(b"data");
    out.extend(data_len.to_le_bytes());
    for n in 0..frames {
        for channel in &audio.channels {
            out.extend(channel.get(n).copied().unwrap_or(0).to_le_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let audio = Audio { rate: 8000, channels: vec![vec![1, -2, 3], vec![4, 5, -6]] };
        let mut bytes = build(&audio);
        assert_eq!(parse(&bytes), Ok(audio.clone()));
        // An odd chunk before the data, with its padding.
        bytes.splice(12..12, *b"note\x03\0\0\0abc\0");
        assert_eq!(parse(&bytes), Ok(audio));
    }

    #[test]
    fn what_is_no_wave_is_refused() {
        assert_eq!(parse(b""), Err(NotAudio::NoWave));
        assert_eq!(parse(b"RIFF\0\0\0\0WAVE"), Err(NotAudio::NoWave));
        let mut gsm = build(&Audio { rate: 8000, channels: vec![vec![0]] });
        gsm[20] = 49;
        assert_eq!(parse(&gsm), Err(NotAudio::Format(49)));
    }
}
