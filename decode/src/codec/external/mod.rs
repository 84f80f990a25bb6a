//! Speech codecs that this crate cannot decode and an outside program may: their frames, and the seam for that program.
//!
//! Owns which formats these are, how their payloads fall into frames, and how long a frame is. The frames are handed over in
//! the form in which files hold them, one by one, so that the program needs to know nothing of RTP. Frames that describe
//! silence (SID) are not handed over: what they stand for is silent.

mod amr;
mod speex;

use crate::media::{Codec, Format};

/// A coding that an outside program may decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// ITU-T G.729, A and B included: 10 ms in 10 bytes.
    G729,
    /// ITU-T G.723.1: 30 ms in 24 or 20 bytes.
    G7231,
    /// iLBC, 20 ms in 38 bytes (RFC 3951).
    Ilbc20,
    /// iLBC, 30 ms in 50 bytes.
    Ilbc30,
    /// Speex at 8000 Hz: 20 ms; each frame by itself, filled up as RFC 5574, 3.3 says.
    Speex8,
    /// Speex at 16000 Hz.
    Speex16,
    /// Speex at 32000 Hz.
    Speex32,
    /// AMR: 20 ms, as in a file (RFC 4867, 5.3).
    Amr,
    /// AMR-WB: 20 ms, as in a file.
    AmrWb,
}

impl Coding {
    /// All of them.
    pub const ALL: [Coding; 9] = [
        Coding::G729,
        Coding::G7231,
        Coding::Ilbc20,
        Coding::Ilbc30,
        Coding::Speex8,
        Coding::Speex16,
        Coding::Speex32,
        Coding::Amr,
        Coding::AmrWb,
    ];

    /// Samples per second.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Coding::Speex16 | Coding::AmrWb => 16_000,
            Coding::Speex32 => 32_000,
            _ => 8_000,
        }
    }

    /// Samples in a frame.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        let ms = match self {
            Coding::G729 => 10,
            Coding::G7231 | Coding::Ilbc30 => 30,
            _ => 20,
        };
        self.sample_rate() as usize / 1_000 * ms
    }
}

/// Which codings can be decoded outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(u16);

impl Abilities {
    /// No coding at all.
    pub const NONE: Abilities = Abilities(0);

    /// These ones.
    #[must_use]
    pub fn of(codings: impl IntoIterator<Item = Coding>) -> Self {
        Abilities(codings.into_iter().fold(0, |all, coding| all | 1 << coding as u16))
    }

    /// Is it one of them?
    #[must_use]
    pub const fn has(self, coding: Coding) -> bool {
        self.0 >> coding as u16 & 1 == 1
    }
}

/// A program that decodes.
pub trait External: Send {
    /// What it can decode.
    fn abilities(&self) -> Abilities;

    /// Decodes frames that follow each other, from the start of a stream. None, or other than
    /// [`Coding::frame_samples`] for each frame, means that it could not.
    fn decode(&mut self, coding: Coding, frames: &[Box<[u8]>]) -> Option<Vec<i16>>;
}

/// A stretch of one frame's length in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame to decode.
    Speech(&'a [u8]),
    /// Nothing was sent for it, or a description of silence.
    Silent,
}

/// How payloads of a format fall into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    G729,
    G7231,
    Ilbc,
    Speex(Coding),
    Amr(amr::Layout),
}

impl Framing {
    /// Of a format that may be decoded outside; none for every other.
    #[must_use]
    pub fn of(format: &Format) -> Option<Framing> {
        let Codec::Other(name) = &format.codec else { return None };
        // Several channels in one payload have been seen in none of these.
        if format.channels > 1 {
            return None;
        }
        let kind = match (&**name, format.clock_rate) {
            ("G729" | "G729A" | "G729B" | "G729AB", 0 | 8_000) => Kind::G729,
            ("G723", 0 | 8_000) => Kind::G7231,
            ("ILBC", 0 | 8_000) => Kind::Ilbc,
            ("SPEEX", 0 | 8_000) => Kind::Speex(Coding::Speex8),
            ("SPEEX", 16_000) => Kind::Speex(Coding::Speex16),
            ("SPEEX", 32_000) => Kind::Speex(Coding::Speex32),
            ("AMR", 0 | 8_000) => Kind::Amr(amr::Layout::of(Coding::Amr, &format.fmtp)?),
            ("AMR-WB", 0 | 16_000) => Kind::Amr(amr::Layout::of(Coding::AmrWb, &format.fmtp)?),
            _ => return None,
        };
        Some(Framing { kind })
    }

    /// What a payload is coded in: iLBC tells by its length alone whether it has frames of 20 or 30 ms.
    #[must_use]
    pub fn coding(self, payload: &[u8]) -> Coding {
        match self.kind {
            Kind::G729 => Coding::G729,
            Kind::G7231 => Coding::G7231,
            Kind::Ilbc if payload.len().is_multiple_of(50) => Coding::Ilbc30,
            Kind::Ilbc => Coding::Ilbc20,
            Kind::Speex(coding) => coding,
            Kind::Amr(layout) => layout.coding(),
        }
    }

    /// Sample rate of what comes out.
    #[must_use]
    pub fn sample_rate(self) -> u32 {
        self.coding(&[]).sample_rate()
    }

    /// Can a program of these abilities decode all of it?
    #[must_use]
    pub fn is_within(self, abilities: Abilities) -> bool {
        match self.kind {
            Kind::Ilbc => abilities.has(Coding::Ilbc20) && abilities.has(Coding::Ilbc30),
            _ => abilities.has(self.coding(&[])),
        }
    }

    /// Gives the pieces of a payload in order. What makes no sense ends it.
    pub fn cut(self, payload: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        match self.kind {
            // A rest of 2 bytes is a SID frame; it lasts until the next packet comes.
            Kind::G729 => payload.chunks_exact(10).for_each(|frame| emit(Piece::Speech(frame))),
            Kind::G7231 => cut_g7231(payload, emit),
            Kind::Ilbc => {
                let length = if self.coding(payload) == Coding::Ilbc30 { 50 } else { 38 };
                payload.chunks_exact(length).for_each(|frame| emit(Piece::Speech(frame)));
            }
            Kind::Speex(_) => speex::cut(payload, emit),
            Kind::Amr(layout) => layout.cut(payload, emit),
        }
    }

    /// Samples that a payload stands for.
    #[must_use]
    pub fn samples(self, payload: &[u8]) -> usize {
        let mut pieces = 0;
        self.cut(payload, &mut |_| pieces += 1);
        self.coding(payload).frame_samples() * pieces
    }
}

/// The two lowest bits of a frame's first byte tell its length (RFC 3551, 4.5.3).
fn cut_g7231(payload: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
    let mut rest = payload;
    while let Some(&first) = rest.first() {
        let (length, speech) = match first & 3 {
            0 => (24, true),
            1 => (20, true),
            2 => (4, false),
            _ => (1, false),
        };
        let Some((frame, after)) = rest.split_at_checked(length) else { return };
        emit(if speech { Piece::Speech(frame) } else { Piece::Silent });
        rest = after;
    }
}

/// A parameter of `a=fmtp`, `octet-align=1; mode-set=0,2`, by its name in any case.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(name: &str, clock_rate: u32) -> Framing {
        let codec = Codec::from_name(name);
        let format = Format { payload_type: 96, codec, clock_rate, channels: 1, fmtp: String::new() };
        Framing::of(&format).expect("one of these formats")
    }

    fn pieces(framing: Framing, payload: &[u8]) -> Vec<Option<usize>> {
        let mut pieces = Vec::new();
        framing.cut(payload, &mut |piece| {
            pieces.push(match piece {
                Piece::Speech(frame) => Some(frame.len()),
                Piece::Silent => None,
            });
        });
        pieces
    }

    #[test]
    fn g729_frames_are_ten_bytes_and_a_rest_of_two_describes_silence() {
        let framing = framing("g729", 8_000);
        assert_eq!(pieces(framing, &[0; 22]), [Some(10), Some(10)]);
        assert_eq!((framing.samples(&[0; 22]), framing.samples(&[0; 2])), (160, 0));
    }

    #[test]
    fn g7231_frames_tell_their_own_length() {
        let payload = [&[0; 24][..], &[1; 20], &[2; 4], &[3], &[0; 23]].concat();
        let framing = framing("G723", 8_000);
        assert_eq!(pieces(framing, &payload), [Some(24), Some(20), None, None]);
        assert_eq!(framing.samples(&payload), 4 * 240);
    }

    #[test]
    fn ilbc_tells_its_mode_by_length() {
        let framing = framing("iLBC", 8_000);
        for (length, coding, samples) in [
            (50, Coding::Ilbc30, 240),
            (100, Coding::Ilbc30, 480),
            (38, Coding::Ilbc20, 160),
            (76, Coding::Ilbc20, 320),
        ] {
            assert_eq!(
                (framing.coding(&vec![0; length]), framing.samples(&vec![0; length])),
                (coding, samples)
            );
        }
    }

    #[test]
    fn abilities_are_a_set() {
        let some = Abilities::of([Coding::G729, Coding::Ilbc30]);
        let has: Vec<_> = Coding::ALL.into_iter().filter(|&coding| some.has(coding)).collect();
        assert_eq!(has, [Coding::G729, Coding::Ilbc30]);
        assert!(!framing("iLBC", 8_000).is_within(some) && framing("G729", 8_000).is_within(some));
    }

    #[test]
    fn a_parameter_is_found_in_any_case_and_spacing() {
        let fmtp = "mode-set=0,2; Octet-Align = 1;crc";
        assert_eq!(parameter(fmtp, "octet-align"), Some("1"));
        assert_eq!((parameter(fmtp, "crc"), parameter(fmtp, "mode")), (Some(""), None));
    }
}
