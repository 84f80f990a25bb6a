//! Judges exported audio against a manifest: which call a file belongs to is read from its tones alone.

use std::collections::HashMap;

use crate::load::{FAR_HZ, NEAR_HZ, Truth};
use crate::tones;
use crate::wav::Audio;

/// What is tolerated before a recording counts as wrong.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Difference between the length of the file and the time that was sent, in milliseconds.
    pub length_ms: u64,
    /// Least share of the energy that is the party's tone, 0.0 to 1.0.
    pub purity: f64,
    /// Longest stretch below -50 dBFS inside the audio, in milliseconds; `None` where silence belongs (holds, turns).
    pub gap_ms: Option<u32>,
}

impl Default for Limits {
    /// A quarter of a second, 90 %, and 100 ms.
    fn default() -> Self {
        Limits { length_ms: 250, purity: 0.9, gap_ms: Some(100) }
    }
}

/// What is wrong with a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// One party's tone is not in the file.
    OneSided,
    /// The file is longer (positive) or shorter than what was sent, by this many milliseconds.
    Length(i64),
    /// The less pure of the two tones has this share of its channel's energy.
    Impure(f64),
    /// There is a silence of this many milliseconds in it.
    Gap(u32),
    /// The extension is not on the left.
    Swapped,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Calls that should have a recording: both parties sent audio.
    pub calls: usize,
    /// Calls with one recording without fault.
    pub right: usize,
    /// Call-IDs without any recording.
    pub missing: Vec<String>,
    /// Call-ID and fault.
    pub faulty: Vec<(String, Fault)>,
    /// Names of files that belong to no call, or to one that had a file already.
    pub stray: Vec<String>,
}

impl Report {
    /// Whether every call has exactly one recording without fault.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.right == self.calls && self.stray.is_empty()
    }
}

/// Silence, for the purpose of finding gaps.
const SILENT_DBFS: f64 = -50.0;

/// Judges `files` (name and audio, the extension left and the other party right) against `truth`.
pub fn check(truth: &[Truth], files: impl IntoIterator<Item = (String, Audio)>, limits: Limits) -> Report {
    let expected: Vec<&Truth> = truth.iter().filter(|t| t.near.packets > 0 && t.far.packets > 0).collect();
    let by_near: HashMap<u32, Vec<usize>> = index(&expected, |t| t.near.tone_hz);
    let by_far: HashMap<u32, Vec<usize>> = index(&expected, |t| t.far.tone_hz);
    let mut seen = vec![false; expected.len()];
    let mut report = Report { calls: expected.len(), ..Report::default() };
    for (name, audio) in files {
        let heard = hear(&audio);
        let call = match heard {
            // Calls on one line, one after the other, have the same tones.
            (Some((near, _)), Some((far, _))) => (expected.iter().zip(&seen))
                .position(|(t, seen)| !seen && t.near.tone_hz == near && t.far.tone_hz == far),
            (Some((near, _)), None) => only(by_near.get(&near)),
            (None, Some((far, _))) => only(by_far.get(&far)),
            (None, None) => None,
        };
        let Some((n, call)) = call.and_then(|n| Some((n, *expected.get(n)?))).filter(|(n, _)| !seen[*n])
        else {
            report.stray.push(name);
            continue;
        };
        seen[n] = true;
        match judge(call, &audio, heard, limits) {
            None => report.right += 1,
            Some(fault) => report.faulty.push((call.call_id.clone(), fault)),
        }
    }
    report.missing =
        expected.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(t, _)| t.call_id.clone()).collect();
    report
}

/// A tone found: its whole frequency, and where and how pure it is.
type Heard = Option<(u32, (usize, f64))>;

/// The near and the far party's tone, in whichever channel they are.
fn hear(audio: &Audio) -> (Heard, Heard) {
    let find = |range: std::ops::RangeInclusive<u32>, parity: u32| {
        audio
            .channels
            .iter()
            .enumerate()
            .filter_map(|(n, samples)| Some((n, tones::detect(samples, audio.rate, range.clone())?)))
            .max_by(|a, b| a.1.purity.total_cmp(&b.1.purity))
            .map(|(n, tone)| (tone.hz.round() as u32, (n, tone.purity)))
            .filter(|(hz, _)| hz % 2 == parity)
    };
    (find(NEAR_HZ, 0), find(FAR_HZ, 1))
}

fn judge(call: &Truth, audio: &Audio, heard: (Heard, Heard), limits: Limits) -> Option<Fault> {
    let (Some((_, (near_at, near_purity))), Some((_, (far_at, far_purity)))) = heard else {
        return Some(Fault::OneSided);
    };
    if audio.channels.len() == 2 && (near_at, far_at) != (0, 1) {
        return Some(Fault::Swapped);
    }
    let length = audio.channels.first().map_or(0, Vec::len) as i64 * 1000 / i64::from(audio.rate.max(1));
    let difference = length - sent_ms(call);
    if difference.unsigned_abs() > limits.length_ms {
        return Some(Fault::Length(difference));
    }
    let purity = near_purity.min(far_purity);
    if audio.channels.len() == 2 && purity < limits.purity {
        return Some(Fault::Impure(purity));
    }
    limits.gap_ms.and_then(|min| longest_gap(audio, min)).map(Fault::Gap)
}

/// From the first packet of either party to the end of the last one of either, in milliseconds.
fn sent_ms(call: &Truth) -> i64 {
    let spans = || [&call.near, &call.far].into_iter().filter_map(|sent| sent.sent_ns);
    let from = spans().map(|(first, _)| first).min().unwrap_or(0);
    let until = spans().map(|(_, last)| last).max().unwrap_or(0);
    // The last packet lasts as long as its party's audio says beyond the moment when it was sent.
    let packet = [&call.near, &call.far]
        .into_iter()
        .filter_map(|sent| {
            let (first, last) = sent.sent_ns?;
            Some(sent.audio_ms as i64 - (last - first) / 1_000_000)
        })
        .max()
        .unwrap_or(0);
    (until - from) / 1_000_000 + packet
}

/// The longest silence of any channel, the first and the last 100 ms left out: parties do not start in one instant.
fn longest_gap(audio: &Audio, min_ms: u32) -> Option<u32> {
    let edge = audio.rate as usize / 10;
    let longest = audio
        .channels
        .iter()
        .filter_map(|samples| samples.get(edge..samples.len().checked_sub(edge)?))
        .flat_map(|inner| tones::silences(inner, audio.rate, SILENT_DBFS, min_ms))
        .map(|silence| silence.end - silence.start)
        .max()?;
    Some((longest as u64 * 1000 / u64::from(audio.rate.max(1))) as u32)
}

fn index(truth: &[&Truth], key: impl Fn(&Truth) -> u32) -> HashMap<u32, Vec<usize>> {
    let mut index: HashMap<u32, Vec<usize>> = HashMap::new();
    for (n, t) in truth.iter().enumerate() {
        index.entry(key(t)).or_default().push(n);
    }
    index
}

/// The one call with a tone, when there is just one.
fn only(calls: Option<&Vec<usize>>) -> Option<usize> {
    match calls.map(Vec::as_slice) {
        Some([one]) => Some(*one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{LOUDNESS, Scenario};

    /// What a recorder without fault would export for a call.
    fn ideal(call: &Truth) -> Audio {
        let channel = |hz: u32| {
            (0..sent_ms(call) as usize * 8)
                .map(|n| {
                    let loudness = LOUDNESS[n / 8000 % 2];
                    (loudness * (std::f64::consts::TAU * f64::from(hz) * n as f64 / 8000.0).sin()) as i16
                })
                .collect()
        };
        Audio { rate: 8000, channels: vec![channel(call.near.tone_hz), channel(call.far.tone_hz)] }
    }

    fn two_calls() -> Vec<Truth> {
        Scenario { calls: 2, talk_ms: 3000, ..Scenario::default() }.traffic().truth
    }

    fn judge_first(spoil: impl Fn(&mut Audio)) -> Report {
        let truth = two_calls();
        let mut files: Vec<_> = truth.iter().map(|t| (t.call_id.clone(), ideal(t))).collect();
        spoil(&mut files[0].1);
        check(&truth, files, Limits::default())
    }

    #[test]
    fn ideal_recordings_are_right() {
        let report = judge_first(|_| {});
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.right, 2);
    }

    #[test]
    fn each_fault_is_named() {
        let fault = |spoil: fn(&mut Audio)| judge_first(spoil).faulty.pop().map(|(_, fault)| fault);
        let cut = fault(|audio| audio.channels.iter_mut().for_each(|c| c.truncate(20_000)));
        assert!(matches!(cut, Some(Fault::Length(-520..=-440))), "{cut:?}");
        assert_eq!(fault(|audio| audio.channels.swap(0, 1)), Some(Fault::Swapped));
        assert_eq!(fault(|audio| audio.channels[1].fill(0)), Some(Fault::OneSided));
        assert_eq!(fault(|audio| audio.channels[0][8000..10_400].fill(0)), Some(Fault::Gap(300)));
        let noisy = fault(|audio| {
            audio.channels[1]
                .iter_mut()
                .enumerate()
                .for_each(|(n, x)| *x = *x / 2 + (n as i16).wrapping_mul(7919) / 8);
        });
        assert!(matches!(noisy, Some(Fault::Impure(_))), "{noisy:?}");
    }

    #[test]
    fn a_second_file_of_a_call_is_stray_and_a_call_without_one_is_missing() {
        let truth = two_calls();
        let twice = vec![("a".to_owned(), ideal(&truth[0])), ("b".to_owned(), ideal(&truth[0]))];
        let report = check(&truth, twice, Limits::default());
        assert_eq!((report.right, &report.stray[..]), (1, &["b".to_owned()][..]));
        assert_eq!(report.missing, [truth[1].call_id.clone()]);
        assert!(!report.is_clean());
    }
}
