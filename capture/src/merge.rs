//! Several capture files as one, in time order.
//!
//! Files from two ports overlap, files of one port follow each other: the merge gives the earliest of the files' current
//! frames, and opens a file only when its first frame is due, so that a thousand files of a ring capture cost one open
//! file at a time. Nothing is copied: the current frame lies in its file's buffer. Inside a file the order is the file's.

use std::path::{Path, PathBuf};

use decode::{Frame, Timestamp};

use crate::{Counters, Error, FrameSource, PcapFile};

/// Files merged by capture time; a frame's `source` is its file's place in the list given.
#[derive(Debug)]
pub struct MergedFiles {
    files: Vec<Entry>,
    /// Whose frame is the current one.
    current: Option<usize>,
    /// The file that comes next after the current one, and when: until then the current file goes on alone.
    rival: Option<(Timestamp, usize)>,
    /// Of files that are closed.
    closed: Counters,
    /// Files broken before their first frame, to be told with the first frames.
    broken: Vec<Error>,
    /// Of files that are closed.
    tls_secrets: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Looked at and closed again; its first frame is at this time.
    Waiting(Timestamp),
    /// Standing on a frame.
    Open(Box<PcapFile>, Timestamp),
    Done,
}

impl MergedFiles {
    /// Looks at each file's first frame. A file without frames is no error. `-` is the standard input.
    ///
    /// # Errors
    ///
    /// For the first file that cannot be opened or is no capture. What is wrong inside a file is told by
    /// [`FrameSource::advance`], and the other files go on.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<MergedFiles, Error> {
        let mut merged = MergedFiles {
            files: Vec::new(),
            current: None,
            rival: None,
            closed: Counters::default(),
            broken: Vec::new(),
            tls_secrets: Vec::new(),
        };
        for path in paths {
            let path = path.as_ref().to_owned();
            let mut file = merged.open_file(&path, merged.files.len())?;
            if let Err(error) = file.advance() {
                merged.broken.push(error);
            }
            let first = file.frame().map(|frame| frame.at);
            let reopens = paths.len() > 1 && path.as_os_str() != "-" && path.is_file();
            let state = match first {
                Some(at) if reopens => State::Waiting(at),
                Some(at) => State::Open(Box::new(file), at),
                None => {
                    merged.closed += file.counters();
                    merged.tls_secrets.extend(file.take_tls_secrets().unwrap_or_default());
                    State::Done
                }
            };
            merged.files.push(Entry { path, state });
        }
        Ok(merged)
    }

    fn open_file(&self, path: &Path, number: usize) -> Result<PcapFile, Error> {
        // More files than numbers share the last one.
        Ok(PcapFile::open(path)?.with_source(u16::try_from(number).unwrap_or(u16::MAX)))
    }

    /// The two files whose frames come next, by time and then by place.
    fn earliest(&self) -> (Option<usize>, Option<(Timestamp, usize)>) {
        let mut first: Option<(Timestamp, usize)> = None;
        let mut second: Option<(Timestamp, usize)> = None;
        for (number, entry) in self.files.iter().enumerate() {
            let (State::Waiting(at) | State::Open(_, at)) = entry.state else { continue };
            let place = Some((at, number));
            if first.is_none() || place < first {
                second = first;
                first = place;
            } else if second.is_none() || place < second {
                second = place;
            }
        }
        (first.map(|(_, number)| number), second)
    }

    /// Goes on in one file; when that ends or fails, it is closed.
    fn step(&mut self, number: usize) -> Result<(), Error> {
        let Some(entry) = self.files.get_mut(number) else { return Ok(()) };
        let State::Open(file, at) = &mut entry.state else { return Ok(()) };
        let advanced = file.advance();
        if let (Ok(true), Some(frame)) = (&advanced, file.frame()) {
            *at = frame.at;
            return Ok(());
        }
        self.closed += file.counters();
        self.tls_secrets.extend(file.take_tls_secrets().unwrap_or_default());
        entry.state = State::Done;
        advanced.map(|_| ())
    }

    /// Makes `number` the current file, opened.
    fn choose(&mut self, number: usize) -> Result<(), Error> {
        let Some(entry) = self.files.get(number) else { return Ok(()) };
        if let State::Waiting(_) = entry.state {
            let opened = self.open_file(&entry.path, number).and_then(|mut file| {
                file.advance()?;
                Ok(file)
            });
            let (state, failure) = match opened {
                Ok(file) => match file.frame().map(|frame| frame.at) {
                    Some(at) => (State::Open(Box::new(file), at), None),
                    None => (State::Done, None),
                },
                Err(error) => (State::Done, Some(error)),
            };
            if let Some(entry) = self.files.get_mut(number) {
                entry.state = state;
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        self.current = Some(number);
        Ok(())
    }
}

impl FrameSource for MergedFiles {
    fn advance(&mut self) -> Result<bool, Error> {
        if let Some(error) = self.broken.pop() {
            return Err(error);
        }
        if let Some(number) = self.current.take() {
            self.step(number)?;
            // While no other file is due, there is nothing to search.
            if let Some(Entry { state: State::Open(_, at), .. }) = self.files.get(number)
                && self.rival.is_none_or(|rival| (*at, number) < rival)
            {
                self.current = Some(number);
                return Ok(true);
            }
        }
        while let (Some(number), rival) = self.earliest() {
            self.choose(number)?;
            self.rival = rival;
            if matches!(self.files.get(number), Some(Entry { state: State::Open(..), .. })) {
                return Ok(true);
            }
            self.current = None;
        }
        Ok(false)
    }

    fn look_ahead<'a>(&'a self, places: &mut [Frame<'a>]) -> usize {
        let current = self.current.and_then(|number| self.files.get(number));
        match current.map(|entry| &entry.state) {
            // Another file's frames may come between: then these are still what this file gives.
            Some(State::Open(file, _)) => file.look_ahead(places),
            _ => 0,
        }
    }

    #[inline]
    fn frame(&self) -> Option<Frame<'_>> {
        match &self.files.get(self.current?)?.state {
            State::Open(file, _) => file.frame(),
            _ => None,
        }
    }

    fn counters(&self) -> Counters {
        let mut sum = self.closed;
        for entry in &self.files {
            if let State::Open(file, _) = &entry.state {
                sum += file.counters();
            }
        }
        sum
    }

    fn take_tls_secrets(&mut self) -> Option<Vec<u8>> {
        if !self.tls_secrets.is_empty() {
            return Some(std::mem::take(&mut self.tls_secrets));
        }
        match &mut self.files.get_mut(self.current?)?.state {
            State::Open(file, _) => file.take_tls_secrets(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{LITTLE, MICROSECONDS, folder, gzip};

    /// A capture whose frames are at these seconds and hold this letter.
    fn file(letter: u8, seconds: &[u32]) -> Vec<u8> {
        let mut bytes = LITTLE.pcap(MICROSECONDS, 1);
        for second in seconds {
            bytes.extend(LITTLE.record(*second, 0, 1, &[letter]));
        }
        bytes
    }

    /// `second letter source` of each frame, and the errors in between.
    fn story(paths: &[PathBuf]) -> String {
        let mut merged = MergedFiles::open(paths).expect("captures");
        let mut story = Vec::new();
        loop {
            match merged.next_frame() {
                Ok(Some(frame)) => {
                    let letter = frame.data.first().map_or('-', |letter| char::from(*letter));
                    story.push(format!("{}{letter}{}", frame.at.as_millis() / 1000, frame.source));
                }
                Ok(None) => break,
                Err(error) => story.push(format!("{error}").split('/').next_back().unwrap_or("").to_owned()),
            }
        }
        let frames = story.iter().filter(|line| !line.contains(' ')).count() as u64;
        assert_eq!(merged.counters().frames, frames);
        story.join(" ")
    }

    #[test]
    fn overlapping_files_are_one_stream_in_time_order() {
        let (_folder, paths) = folder(&[
            ("late.pcap", file(b'l', &[10, 11, 30])),
            ("b.pcap.gz", gzip(&file(b'b', &[1, 3, 5, 12]))),
            ("none.pcap", file(b'n', &[])),
            ("a.pcap", file(b'a', &[2, 3, 4, 11])),
        ]);
        assert_eq!(story(&paths), "1b1 2a3 3b1 3a3 4a3 5b1 10l0 11l0 11a3 12b1 30l0");
        assert_eq!(story(&paths[..1]), "10l0 11l0 30l0");
        assert_eq!(story(&[]), "");
    }

    #[test]
    fn time_that_runs_back_inside_a_file_is_given_as_it_is() {
        let (_folder, paths) = folder(&[("a", file(b'a', &[5, 1, 6, 9])), ("b", file(b'b', &[2, 7]))]);
        assert_eq!(story(&paths), "2b1 5a0 1a0 6a0 7b1 9a0");
    }

    #[test]
    fn a_file_that_breaks_ends_alone() {
        let whole = file(b'a', &[1, 5, 9]);
        let (_folder, paths) = folder(&[
            ("a", whole[..whole.len() - 1].to_vec()),
            ("b", file(b'b', &[2, 6, 10])),
            ("c", whole[..30].to_vec()),
        ]);
        assert_eq!(
            story(&paths),
            "c is cut or damaged at byte 24, after 0 frames 1a0 2b1 5a0 \
             a is cut or damaged at byte 58, after 2 frames 6b1 10b1"
        );
    }

    #[test]
    fn a_file_that_is_no_capture_is_said_before_anything_is_read() {
        let (_folder, paths) = folder(&[("a", file(b'a', &[1])), ("b", b"<html>".to_vec())]);
        assert!(matches!(MergedFiles::open(&paths), Err(Error::NotACapture { .. })));
    }

    #[test]
    fn only_files_that_are_due_are_open() {
        let files: Vec<(String, Vec<u8>)> =
            (0..50).map(|number| (format!("{number}"), file(b'x', &[number, number]))).collect();
        let named: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let (_folder, paths) = folder(&named);
        let mut merged = MergedFiles::open(&paths).expect("captures");
        while merged.advance().expect("whole files") {
            let open = merged.files.iter().filter(|entry| matches!(entry.state, State::Open(..))).count();
            assert_eq!(open, 1);
        }
        assert_eq!(merged.counters().frames, 100);
    }
}
