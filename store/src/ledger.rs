//! The ledger: lines of JSON that are only ever added to. What calls there were, what the runs counted, and which
//! recordings came to be or were destroyed.
//!
//! Owns the names of the files and reading them; they are written through the journal by [`crate::scribe`].

use std::sync::Arc;

use decode::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::wave::digest_text;
use crate::{
    CallRow, Deletion, Error, Outcome, Recoded, RecordingFacts, RecordingId, Row, SignatureState, State, Step,
};

/// The folder of the ledger.
pub(crate) const LEDGER_DIR: &str = "ledger";
/// Counters, one line per run.
pub(crate) const RUNS: &str = "ledger/runs.jsonl";
/// What happened to the archive's keys, one line per event.
pub(crate) const KEYS: &str = "ledger/keys.jsonl";
/// First part of the names of the balance sheet's files.
pub(crate) const CALLS: &str = "calls-";
/// First part of the names of the recordings' files.
pub(crate) const RECORDINGS: &str = "recordings-";
/// First part of the names of the files of what people and the archive itself did.
pub(crate) const EVENTS: &str = "events-";
/// Bytes read at a time.
const BLOCK_LEN: usize = 64 * 1024;
/// The longest line that is believed, in bytes.
const LINE_MAX: usize = 1024 * 1024;

/// The file of a month: `ledger/<kind>YYYY-MM.jsonl`.
pub(crate) fn month(kind: &str, at: Timestamp) -> String {
    let (year, month, _) = at.date();
    format!("{LEDGER_DIR}/{kind}{year:04}-{month:02}.jsonl")
}

/// Is this a file of the balance sheet?
pub(crate) fn is_of_calls(path: &str) -> bool {
    path.strip_prefix(LEDGER_DIR)
        .and_then(|name| name.strip_prefix('/'))
        .is_some_and(|n| n.starts_with(CALLS))
}

/// The files of one kind, oldest month first.
pub(crate) fn months(disk: &dyn Disk, kind: &str) -> Result<Vec<String>, Error> {
    let entries = disk.list(LEDGER_DIR).map_err(|e| Error::io(LEDGER_DIR, e))?;
    let ours = |name: &&String| name.starts_with(kind) && name.ends_with(".jsonl");
    Ok(entries
        .iter()
        .map(|entry| &entry.name)
        .filter(ours)
        .map(|name| format!("{LEDGER_DIR}/{name}"))
        .collect())
}

/// All files of lines.
pub(crate) fn all(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    months(disk, "")
}

/// What became of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fate {
    /// Finished in order.
    Complete,
    /// Closed after the recorder or the disk failed.
    Interrupted,
    /// Its key was destroyed, then its file, while it was being recorded: a rule came late.
    Discarded,
    /// Finished once; its key was destroyed, then its file, by a rule of retention or by hand.
    Deleted,
}

impl Fate {
    /// Is there no file any more?
    pub(crate) fn is_gone(self) -> bool {
        matches!(self, Fate::Discarded | Fate::Deleted)
    }
}

/// One line of `ledger/recordings-YYYY-MM.jsonl`; the month is that of the recording's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecordingLine {
    pub(crate) id: RecordingId,
    pub(crate) fate: Fate,
    /// When, by the capture clock.
    pub(crate) at: Timestamp,
    /// Length of its file.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// The digest that was signed, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) signed: String,
    /// Why it was discarded or deleted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
    /// Of a deleted one: the rest of the receipt, and what stays of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<Box<DeletionLine>>,
    /// Of a re-encoded one: what its facts say of the file that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recoded: Option<Box<Recoded>>,
}

/// What a line says of a deletion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeletionLine {
    /// The rule of retention, or `by hand`.
    pub(crate) rule: String,
    /// Who.
    pub(crate) who: String,
    /// Ed25519 over [`RecordingLine::receipt_text`], in hexadecimal.
    pub(crate) receipt: String,
    /// The facts, where they are to be kept for longer than the audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<RecordingFacts>,
    /// The rules excluded it by what became known after its call: what becomes of the call's line in the balance sheet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) excluded: Option<LateExclusion>,
}

/// What rules say of a call after its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LateExclusion {
    /// The call's outcome now.
    pub(crate) outcome: Outcome,
    /// How it was judged.
    pub(crate) why: Vec<Step>,
}

/// Recordings that were excluded after their calls, each with the rule.
pub(crate) type LateExclusions = std::collections::BTreeMap<RecordingId, (String, LateExclusion)>;

/// Such a line begins its exclusion so; all others need not be read.
const EXCLUDED: &str = "\"excluded\":{";

/// Reads which recordings were excluded after their calls, of those that began in the month of `since` or later.
pub(crate) fn late_exclusions(
    disk: &Arc<dyn Disk>,
    since: Option<Timestamp>,
) -> Result<LateExclusions, Error> {
    #[derive(Deserialize)]
    struct Line {
        id: RecordingId,
        deletion: Option<DeletionLine>,
    }
    let mut all = LateExclusions::new();
    let first = since.map(|since| month(RECORDINGS, since));
    for path in months(&**disk, RECORDINGS)? {
        if first.as_ref().is_some_and(|first| path < *first) {
            continue;
        }
        let mut lines = Lines::<Line>::new(Arc::clone(disk), path, 0);
        while let Some((_, bytes)) = lines.next_raw()? {
            let Ok(text) = std::str::from_utf8(bytes) else { continue };
            if !text.contains(EXCLUDED) {
                continue;
            }
            // One that cannot be read is told when the recordings are verified.
            let Ok(Line { id, deletion: Some(deletion) }) = serde_json::from_str(text) else { continue };
            if let Some(excluded) = deletion.excluded {
                all.insert(id, (deletion.rule, excluded));
            }
        }
    }
    Ok(all)
}

/// When the call of a line of the balance sheet began, without reading the rest of it. None where that cannot be told so easily.
pub(crate) fn began(line: &[u8]) -> Option<Timestamp> {
    // A quote inside a text has a backslash before it: the first such name is the line's own.
    const NAME: &[u8] = b"\"started\":\"";
    let at = memchr::memmem::find(line, NAME)? + NAME.len();
    let text = line.get(at..)?;
    let end = memchr::memchr(b'"', text)?;
    std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()
}

/// Puts a late exclusion into a call's line: it is the call's outcome when no other recording of it is left.
pub(crate) fn with_exclusions(mut row: CallRow, all: &LateExclusions) -> CallRow {
    let of_row: Vec<_> = row.recordings.iter().filter_map(|id| all.get(id).map(|late| (id, late))).collect();
    let is_all = of_row.len() == row.recordings.len();
    for (id, (rule, excluded)) in of_row {
        row.why.extend(excluded.why.iter().cloned());
        if is_all {
            row.outcome = excluded.outcome;
            row.reason = format!("{rule}; known after the call, what had been recorded was destroyed");
        } else {
            row.reason += &format!("; {id} was destroyed after the call: {rule}");
        }
    }
    row
}

impl RecordingLine {
    /// The line of a finished file.
    pub(crate) fn finished(facts: &RecordingFacts, bytes: u64, signed: &[u8; 32]) -> Self {
        RecordingLine {
            id: facts.id,
            fate: if facts.state == State::Complete { Fate::Complete } else { Fate::Interrupted },
            at: facts.ended.unwrap_or(facts.started),
            bytes,
            signed: digest_text(signed),
            why: String::new(),
            deletion: None,
            recoded: facts.recoded.clone(),
        }
    }

    /// What the receipt of a deletion signs: which recording, as it was signed when it was finished, went when, by which
    /// rule, by whom and why.
    pub(crate) fn receipt_text(&self, deletion: &DeletionLine) -> Result<Vec<u8>, Error> {
        let text = (
            "earwitness deletion v1",
            self.id,
            self.at,
            &self.signed,
            &deletion.rule,
            &deletion.who,
            &self.why,
        );
        serde_json::to_vec(&text).map_err(|e| Error::Refused { what: e.to_string() })
    }

    /// The row that is left of a deleted recording; none when its facts went too.
    pub(crate) fn husk(&self) -> Option<Row> {
        let deletion = self.deletion.as_ref()?;
        let mut row = Row::of(deletion.facts.clone()?, 0, SignatureState::Missing);
        row.deleted = self.deletion();
        Some(row)
    }

    /// How a deleted recording came to its end.
    pub(crate) fn deletion(&self) -> Option<Deletion> {
        let deletion = self.deletion.as_ref()?;
        let (who, rule, why) = (deletion.who.clone(), deletion.rule.clone(), self.why.clone());
        Some(Deletion { at: self.at, who, rule, why })
    }
}

/// A line with its number. Lines from before there was a log have none.
#[derive(Debug, Deserialize)]
pub(crate) struct Logged<T> {
    #[serde(default)]
    pub(crate) leaf: Option<u64>,
    #[serde(flatten)]
    pub(crate) value: T,
}

/// A value as a line, newline at its end. JSON escapes newlines inside, so that one value is always one line.
pub(crate) fn line(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(value).map_err(|e| Error::Refused { what: e.to_string() })?;
    bytes.push(b'\n');
    if bytes.len() > LINE_MAX {
        return Err(Error::Refused { what: format!("a line of more than {LINE_MAX} bytes") });
    }
    Ok(bytes)
}

/// What stands in place of a line whose time was over: its number and nothing else, as long as the line was.
pub(crate) fn blank(leaf: u64, len: usize) -> Option<Vec<u8>> {
    let mut line = format!("{{\"leaf\":{leaf}{ERASED}").into_bytes();
    (line.len() <= len).then(|| {
        line.resize(len, b' ');
        line
    })
}

/// The end of a blanked line, before the spaces that fill it up.
const ERASED: &str = ",\"erased\":true}";

/// Is this a line that was blanked?
pub(crate) fn is_blank(line: &[u8]) -> bool {
    let leaf =
        line.trim_ascii_end().strip_prefix(b"{\"leaf\":").and_then(|l| l.strip_suffix(ERASED.as_bytes()));
    leaf.is_some_and(|leaf| !leaf.is_empty() && leaf.iter().all(u8::is_ascii_digit))
}

/// Reads one ledger file line by line, from an offset.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    disk: Arc<dyn Disk>,
    path: String,
    /// Where the next read of the file begins.
    at: u64,
    buf: Vec<u8>,
    /// Where the next line begins in `buf`.
    start: usize,
    /// Lines given so far, for errors.
    number: u64,
    done: bool,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: String, from: u64) -> Self {
        let of = std::marker::PhantomData;
        Lines { disk, path, at: from, buf: Vec::new(), start: 0, number: 0, done: false, of }
    }

    /// Lines given or passed over so far.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line as it stands, without its newline, and where it begins in the file; none at the end.
    pub(crate) fn next_raw(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        if self.done {
            return Ok(None);
        }
        self.number += 1;
        let Some(line) = self.next_line()? else { return Ok(None) };
        let from_end = (self.buf.len() - line.start) as u64;
        Ok(Some((self.at - from_end, &self.buf[line])))
    }

    /// Where the next line stands in `buf`, without its newline; none at the end of the file.
    fn next_line(&mut self) -> Result<Option<std::ops::Range<usize>>, Error> {
        let mut searched = self.start;
        loop {
            if let Some(i) = memchr::memchr(b'\n', &self.buf[searched..]) {
                let line = self.start..searched + i;
                self.start = line.end + 1;
                return Ok(Some(line));
            }
            self.buf.drain(..self.start);
            self.start = 0;
            searched = self.buf.len();
            if searched > LINE_MAX {
                self.done = true;
                return Err(Error::damaged(&self.path, format!("line {} is too long", self.number)));
            }
            self.buf.resize(searched + BLOCK_LEN, 0);
            let read = self.disk.read_at(&self.path, self.at, &mut self.buf[searched..]);
            let read = read.inspect_err(|_| self.done = true).map_err(|e| Error::io(&self.path, e))?;
            self.buf.truncate(searched + read);
            self.at += read as u64;
            if read == 0 {
                self.done = true;
                return Ok(if self.buf.is_empty() { None } else { Some(0..self.buf.len()) });
            }
        }
    }
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line that is meant by its bytes, with its number, the first being 1. The others are not parsed.
    pub(crate) fn next_if(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> Option<Result<(u64, T), Error>> {
        while !self.done {
            self.number += 1;
            match self.next_line() {
                Ok(Some(line)) => {
                    let line = &self.buf[line];
                    if line.is_empty() || is_blank(line) || !is_meant(line) {
                        continue;
                    }
                    let number = self.number;
                    let parsed = serde_json::from_slice(line)
                        .map_err(|e| Error::damaged(&self.path, format!("line {number}: {e}")));
                    return Some(parsed.map(|value| (number, value)));
                }
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
        None
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_if(|_| true)?.map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn read(bytes: &[u8]) -> Vec<Result<u32, String>> {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(RealDisk::new(dir.path()).expect("a disk"));
        disk.write_at("l", 0, bytes).expect("written");
        Lines::<u32>::new(disk, "l".into(), 0).map(|line| line.map_err(|e| e.to_string())).collect()
    }

    #[test]
    fn lines_read_back_and_a_broken_one_does_not_hide_the_next() {
        let lines = read(b"1\n2\nx\n\n4");
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], Ok(1));
        assert!(lines[2].as_ref().is_err_and(|e| e.contains("line 3")), "{:?}", lines[2]);
        assert_eq!(lines[3], Ok(4));
    }

    #[test]
    fn lines_longer_than_a_block_are_read_whole() {
        let many: Vec<u8> = (0..30_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
        let lines = read(&many);
        assert_eq!(lines.len(), 30_000);
        assert!(lines.iter().enumerate().all(|(i, line)| *line == Ok(i as u32)));
    }

    #[test]
    fn a_blanked_line_is_passed_over_and_has_the_length_of_the_old_one() {
        let line = blank(7, 40).expect("fits");
        assert_eq!(line.len(), 40);
        assert!(is_blank(&line) && !is_blank(b"{\"leaf\":7,\"salt\":1,\"erased\":true}"));
        assert_eq!(read(&[b"1\n", &line[..], b"\n2\n"].concat()), [Ok(1), Ok(2)]);
        assert_eq!(blank(7, 20), None);
    }

    #[test]
    fn an_endless_line_is_an_error_and_not_memory() {
        assert_eq!(read(&vec![b'1'; LINE_MAX + 2 * BLOCK_LEN]).len(), 1);
    }

    #[test]
    fn a_month_is_named_by_utc() {
        let at: Timestamp = "2026-11-30T23:59:59.999Z".parse().expect("a time");
        assert_eq!(month(CALLS, at), "ledger/calls-2026-11.jsonl");
    }
}
