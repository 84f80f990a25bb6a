//! The waveform of a recording for a player: `GET /recordings/{id}/peaks`, the smallest and the largest sample of each 20 ms of
//! both parties.
//!
//! Made by decoding the whole recording when somebody asks, on a thread that may wait, and kept in memory for the next one who asks;
//! never on disk, where it would tell what was said when. A recording that runs is drawn up to now, and not kept. The layout
//! is in `docs/live.md`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use policy::Permission;
use store::{Archive, RecordingId};

use super::App;
use super::caller::Asker;
use super::refusal::Refusal;
use crate::export::Export;

/// Bytes of waveforms kept: some twenty hours. The one asked for longest ago gives way.
const CACHE_BYTES_MAX: usize = 16 << 20;
/// Points of each second.
const PER_SECOND: u32 = 50;
/// What the bytes begin with.
const MAGIC: [u8; 4] = *b"EWPK";
const VERSION: u8 = 1;
/// Left and right.
const LANES: u8 = 2;

/// `GET /recordings/{id}/peaks`.
pub(super) async fn peaks(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let permit = app.playback_permit()?;
    let keeper = app.clone();
    let bytes = app.read(move |archive| {
        let _permit = permit;
        asker.permitted(archive, id, Permission::Play)?;
        keeper.0.peaks.find_or_draw(archive, id)
    });
    let bytes = bytes.await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Waveforms that were asked for, the last one behind.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<Kept>>);

struct Kept {
    id: RecordingId,
    /// The SHA-256 of the file that it was drawn of: what was re-encoded is drawn anew.
    of: String,
    bytes: Bytes,
}

impl Cache {
    fn find_or_draw(&self, archive: &Archive, id: RecordingId) -> Result<Bytes, Refusal> {
        // Asked first each time: of what was deleted nothing is shown.
        let row = match archive.row(id) {
            Ok(row) if row.deleted.is_none() => row,
            other => {
                self.forget(id);
                // The words for it are the export's.
                other?
            }
        };
        if let Some(bytes) = self.find(id, &row.sha256) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(draw(&Export::prepare(archive, id)?)?);
        self.keep(id, row.sha256, bytes.clone());
        Ok(bytes)
    }

    fn find(&self, id: RecordingId, of: &str) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.id == id && kept.of == of)?;
        let found = kept.remove(at)?;
        let bytes = found.bytes.clone();
        kept.push_back(found);
        Some(bytes)
    }

    /// Keeps one that is final: a recording that runs has no digest yet.
    fn keep(&self, id: RecordingId, of: String, bytes: Bytes) {
        if of.is_empty() || bytes.len() > CACHE_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.id != id);
        kept.push_back(Kept { id, of, bytes });
        while kept.iter().map(|kept| kept.bytes.len()).sum::<usize>() > CACHE_BYTES_MAX {
            kept.pop_front();
        }
    }

    fn forget(&self, id: RecordingId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.id != id);
    }
}

/// Decodes the recording into points.
fn draw(export: &Export<'_>) -> Result<Vec<u8>, crate::Error> {
    let timeline = export.timeline();
    let width = (timeline.rate / PER_SECOND).max(1);
    let points = u32::try_from(timeline.samples.div_ceil(u64::from(width))).unwrap_or(u32::MAX);
    let mut lanes = [Lane::new(width), Lane::new(width)];
    export.render(|near, far| {
        for (lane, samples) in lanes.iter_mut().zip([near, far]) {
            lane.take(samples);
        }
        Ok(())
    })?;
    let mut bytes = Vec::with_capacity(12 + 4 * points as usize);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, LANES]);
    bytes.extend_from_slice(&(PER_SECOND as u16).to_le_bytes());
    bytes.extend_from_slice(&points.to_le_bytes());
    for lane in lanes {
        bytes.extend(lane.finish(points as usize));
    }
    Ok(bytes)
}

/// The points of one party.
struct Lane {
    width: u32,
    taken: u32,
    low: i16,
    high: i16,
    points: Vec<u8>,
}

impl Lane {
    fn new(width: u32) -> Lane {
        Lane { width, taken: 0, low: 0, high: 0, points: Vec::new() }
    }

    fn take(&mut self, mut samples: &[i16]) {
        while !samples.is_empty() {
            let room = (self.width - self.taken) as usize;
            let (now, later) = samples.split_at(room.min(samples.len()));
            for &sample in now {
                (self.low, self.high) = (self.low.min(sample), self.high.max(sample));
            }
            self.taken += now.len() as u32;
            if self.taken == self.width {
                self.close();
            }
            samples = later;
        }
    }

    /// The upper eight bits, rounded away from zero so that what is there is seen.
    fn close(&mut self) {
        let low = (self.low >> 8) as i8;
        let high = i8::try_from((i32::from(self.high) + 255) >> 8).unwrap_or(i8::MAX);
        self.points.extend_from_slice(&[low.to_le_bytes()[0], high.to_le_bytes()[0]]);
        (self.taken, self.low, self.high) = (0, 0, 0);
    }

    fn finish(mut self, points: usize) -> Vec<u8> {
        if self.taken > 0 {
            self.close();
        }
        self.points.resize(2 * points, 0);
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_holds_the_extremes_of_its_samples_however_they_come() {
        for piece in [1, 3, 160, 1_000] {
            let mut lane = Lane::new(160);
            let mut samples = vec![0_i16; 400];
            (samples[10], samples[20]) = (32_767, -32_768);
            (samples[170], samples[399]) = (1, -1);
            samples.chunks(piece).for_each(|samples| lane.take(samples));
            let points: Vec<i8> = lane.finish(3).into_iter().map(|byte| byte as i8).collect();
            assert_eq!(points, [-128, 127, 0, 1, -1, 0], "in pieces of {piece}");
        }
    }

    #[test]
    fn the_cache_keeps_its_limit_and_what_was_asked_for_last() {
        let cache = Cache::default();
        let id = |n: u8| RecordingId::from_bytes([n; 16]);
        let keep = |n, of: &str, length| cache.keep(id(n), of.to_owned(), Bytes::from(vec![n; length]));
        let has = |n, of| cache.find(id(n), of).is_some();
        for n in 1..=3 {
            keep(n, "a", CACHE_BYTES_MAX / 3);
        }
        assert!(has(1, "a"));
        keep(4, "a", CACHE_BYTES_MAX / 3);
        assert!(!has(2, "a"), "asked for longest ago");
        assert!(has(1, "a") && has(4, "a") && !has(4, "b"), "of this file alone");
        keep(5, "", 10);
        assert!(!has(5, ""), "it still runs");
        keep(6, "a", CACHE_BYTES_MAX + 1);
        assert!(!has(6, "a") && has(1, "a"), "too long to be kept");
        cache.forget(id(4));
        assert!(!has(4, "a"));
    }
}
