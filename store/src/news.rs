//! What the ledger says that is new, in the order in which it was written: for whoever tells programs of it.
//!
//! A reader has a place of its own behind which it goes on, also after the program has ended. So nothing that the ledger has is left out, and what was
//! told before a crash may be told again, under the same number.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, read_whole};
use crate::ledger::{self, Fate, Lines, RecordingLine};
use crate::log::LEAVES;
use crate::{Archive, CallRow, Deletion, Error, Event, RecordingId, Row, What};

/// Where readers are, by their names.
const PLACES: &str = "webhooks.json";
const FORMAT: u32 = 1;
/// The longest document of places that is believed, in bytes.
const PLACES_MAX: u64 = 16 << 20;

/// What a program can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A recording has ended and is sealed.
    RecordingFinished,
    /// What is known of a recording is another: marks, notes, holds, facts that came late.
    RecordingChanged,
    /// A finished recording was destroyed, by a rule of retention or by hand.
    RecordingDeleted,
    /// A recording was destroyed before it was finished: a rule came late, or nobody kept it.
    RecordingDiscarded,
    /// A call has its line in the balance sheet.
    CallEnded,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 5] = [
        Topic::RecordingFinished,
        Topic::RecordingChanged,
        Topic::RecordingDeleted,
        Topic::RecordingDiscarded,
        Topic::CallEnded,
    ];

    /// Its name, as programs see it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Topic::RecordingFinished => "recording.finished",
            Topic::RecordingChanged => "recording.changed",
            Topic::RecordingDeleted => "recording.deleted",
            Topic::RecordingDiscarded => "recording.discarded",
            Topic::CallEnded => "call.ended",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Topic::RecordingFinished => "a recording has ended and is sealed",
            Topic::RecordingChanged => {
                "what is known of a recording is another: tags, notes, rating, holds, late facts"
            }
            Topic::RecordingDeleted => "a recording was destroyed, by a rule of retention or by hand",
            Topic::RecordingDiscarded => {
                "a recording was destroyed before its end: a late rule, or nobody kept it"
            }
            Topic::CallEnded => "a call has its line in the balance sheet, recorded or not",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// There is no such topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such topic")]
pub struct NoTopic;

impl FromStr for Topic {
    type Err = NoTopic;

    fn from_str(key: &str) -> Result<Topic, NoTopic> {
        Topic::ALL.into_iter().find(|topic| topic.key() == key).ok_or(NoTopic)
    }
}

impl Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Topic, D::Error> {
        let key = String::deserialize(deserializer)?;
        key.parse().map_err(|_| serde::de::Error::custom(format!("no topic {key:?}")))
    }
}

/// Something that the ledger says.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A recording was finished: it is in the lists.
    Finished {
        /// The recording.
        id: RecordingId,
    },
    /// A recording was destroyed while it ran.
    Discarded {
        /// The recording.
        id: RecordingId,
        /// When, by the capture clock.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// A finished recording was destroyed.
    Deleted {
        /// The recording.
        id: RecordingId,
        /// The receipt.
        deletion: Deletion,
        /// What stays of it; none when its facts went too.
        row: Option<Box<Row>>,
    },
    /// Something was done to a recording that stays.
    Changed {
        /// The recording.
        id: RecordingId,
        /// What, and by whom.
        event: Box<Event>,
    },
    /// A call is over.
    Ended(Box<CallRow>),
}

impl News {
    /// What it is about.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            News::Finished { .. } => Topic::RecordingFinished,
            News::Discarded { .. } => Topic::RecordingDiscarded,
            News::Deleted { .. } => Topic::RecordingDeleted,
            News::Changed { .. } => Topic::RecordingChanged,
            News::Ended(_) => Topic::CallEnded,
        }
    }
}

/// Up to where somebody has read the ledger. Empty, it is the ledger's beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewsPlace(BTreeMap<String, u64>);

impl NewsPlace {
    /// Goes on behind this.
    pub fn pass(&mut self, line: &NewsLine) {
        self.0.insert(line.file.clone(), line.end);
    }
}

/// A line of the ledger that is news.
#[derive(Clone, Debug, PartialEq)]
pub struct NewsLine {
    /// Its number in the log: the same each time, and no other line's.
    pub leaf: u64,
    /// What it says.
    pub news: News,
    file: String,
    end: u64,
}

/// Some of what is new.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewsRead {
    /// In the order in which it was written.
    pub lines: Vec<NewsLine>,
    /// Where to go on when all of them are told.
    pub place: NewsPlace,
    /// There was nothing at all behind the place.
    pub is_end: bool,
}

/// Where somebody is who was told of it, and since when there is such a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderPlace {
    /// When the reader was made: another one of its name begins anew.
    pub made: Timestamp,
    /// Up to where it was told.
    pub place: NewsPlace,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    places: BTreeMap<String, ReaderPlace>,
}

/// A file that has grown.
struct Grown {
    file: String,
    len: u64,
    lines: Lines<serde::de::IgnoredAny>,
    /// The number of the line that comes next in it, the line, and where it ends.
    next: Option<(u64, Vec<u8>, u64)>,
}

impl Grown {
    fn advance(&mut self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Numbered {
            leaf: Option<u64>,
        }
        let line = self.lines.next_raw()?.map(|(at, line)| (at + line.len() as u64 + 1, line));
        // One that ends behind the end is being written.
        let whole = line.filter(|(end, _)| *end <= self.len);
        self.next = whole.map(|(end, line)| {
            // One that cannot be read is told when the archive is verified.
            let leaf = serde_json::from_slice(line).ok().and_then(|Numbered { leaf }| leaf);
            (leaf.unwrap_or_default(), line.to_vec(), end)
        });
        Ok(())
    }
}

impl Archive {
    /// The end of the ledger as it is now: behind it comes only what is not written yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn news_from_now(&self) -> Result<NewsPlace, Error> {
        let disk = &*self.shared.disk;
        let mut place = NewsPlace::default();
        for file in files(disk).map_err(|e| e.under(self.dir()))? {
            let len = disk.len(&file).map_err(|e| Error::io(&file, e).under(self.dir()))?.unwrap_or_default();
            place.0.insert(file, len);
        }
        Ok(place)
    }

    /// Reads what is new behind a place: so many lines of the ledger at most, of which those are given that are news.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`] for a line without end.
    pub fn news(&self, place: &NewsPlace, lines_max: usize) -> Result<NewsRead, Error> {
        read(&self.shared.disk, place, lines_max).map_err(|e| e.under(self.dir()))
    }

    /// How long the log of the ledger is, cheaply: while it is the same, nothing new can be read. Lines show in their files a moment before or after
    /// it grows.
    #[must_use]
    pub fn ledger_size(&self) -> Option<u64> {
        self.shared.disk.len(LEAVES).ok().flatten()
    }

    /// Where readers were when that was last kept, by their names. Empty where it was never kept, or cannot be read.
    #[must_use]
    pub fn reader_places(&self) -> BTreeMap<String, ReaderPlace> {
        let json = read_whole(&*self.shared.disk, PLACES, PLACES_MAX).ok().flatten();
        let document = json.and_then(|json| serde_json::from_slice::<Document>(&json).ok());
        document
            .filter(|document| document.format <= FORMAT)
            .map(|document| document.places)
            .unwrap_or_default()
    }

    /// Keeps where readers are.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn keep_reader_places(&self, places: BTreeMap<String, ReaderPlace>) -> Result<(), Error> {
        let refused = |e: serde_json::Error| Error::Refused { what: e.to_string() };
        let json = serde_json::to_vec(&Document { format: FORMAT, places }).map_err(refused)?;
        self.shared.disk.replace(PLACES, &json, true).map_err(|e| Error::io(PLACES, e).under(self.dir()))
    }
}

fn files(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for kind in [ledger::RECORDINGS, ledger::CALLS, ledger::EVENTS] {
        all.extend(ledger::months(disk, kind)?);
    }
    Ok(all)
}

fn read(disk: &Arc<dyn Disk>, place: &NewsPlace, lines_max: usize) -> Result<NewsRead, Error> {
    let mut grown = Vec::new();
    let mut read = NewsRead { place: place.clone(), ..NewsRead::default() };
    for file in files(&**disk)? {
        let len = disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        let from = place.0.get(&file).copied().unwrap_or_default();
        if from > len {
            // An older copy of the archive was put in its place: what is written from now on is new.
            read.place.0.insert(file, len);
        } else if from < len {
            let lines = Lines::new(Arc::clone(disk), file.clone(), from);
            let mut one = Grown { file, len, lines, next: None };
            one.advance()?;
            grown.push(one);
        }
    }
    read.is_end = true;
    for _ in 0..lines_max {
        let oldest = grown.iter_mut().filter(|one| one.next.is_some());
        let Some(one) = oldest.min_by_key(|one| one.next.as_ref().map(|(leaf, ..)| *leaf)) else { break };
        let Some((leaf, line, end)) = one.next.take() else { break };
        read.is_end = false;
        read.place.0.insert(one.file.clone(), end);
        if let Some(news) = news_of(&one.file, &line) {
            read.lines.push(NewsLine { leaf, news, file: one.file.clone(), end });
        }
        one.advance()?;
    }
    Ok(read)
}

/// What a line says; nothing for one of other things, one that was blanked, and one that cannot be read.
fn news_of(file: &str, line: &[u8]) -> Option<News> {
    let name = file.strip_prefix(ledger::LEDGER_DIR)?.strip_prefix('/')?;
    if ledger::is_blank(line) {
        return None;
    }
    if name.starts_with(ledger::RECORDINGS) {
        let line: RecordingLine = serde_json::from_slice(line).ok()?;
        let id = line.id;
        return match line.fate {
            // It was finished before, and is kept otherwise now.
            Fate::Complete | Fate::Interrupted if line.recoded.is_some() => None,
            Fate::Complete | Fate::Interrupted => Some(News::Finished { id }),
            Fate::Discarded => Some(News::Discarded { id, at: line.at, why: line.why }),
            Fate::Deleted => {
                Some(News::Deleted { id, deletion: line.deletion()?, row: line.husk().map(Box::new) })
            }
        };
    }
    if name.starts_with(ledger::CALLS) {
        return serde_json::from_slice(line).ok().map(|row| News::Ended(Box::new(row)));
    }
    let event: Event = serde_json::from_slice(line).ok()?;
    // What was brought in is told as finished.
    let id = event.recording().filter(|_| !matches!(event.what, What::Imported { .. }))?;
    Some(News::Changed { id, event: Box::new(event) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordingFacts;
    use crate::crash::{append, facts};

    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("made");
        (dir, archive)
    }

    fn record(archive: &Archive, n: u8) {
        let mut writer = archive.create(facts(n)).expect("begun");
        append(&mut writer, n, 0).expect("kept");
        let ended = facts(n).started.plus_millis(800);
        writer.finish(RecordingFacts { ended: Some(ended), ..facts(n) }).expect("finished");
        archive.sync().expect("synced");
    }

    fn tag(archive: &Archive, n: u8) {
        let what = What::Tagged { id: facts(n).id, tag: "vip".into() };
        archive.edit(Event { at: facts(n).started, who: "eve".into(), what }).expect("tagged");
        archive.sync().expect("synced");
    }

    fn topics(read: &NewsRead) -> Vec<Topic> {
        read.lines.iter().map(|line| line.news.topic()).collect()
    }

    #[test]
    fn what_comes_behind_a_place_is_told_in_its_order_and_once() {
        let (_dir, archive) = archive();
        record(&archive, 1);
        let begun = archive.news_from_now().expect("a place");
        assert!(archive.news(&begun, 100).expect("read").is_end);
        record(&archive, 2);
        tag(&archive, 2);
        let row = CallRow::of_recording(&facts(2), Some(facts(2).started), String::new());
        archive.append_call(&row).expect("room");
        let deletion =
            Deletion { at: facts(2).started, who: "eve".into(), rule: "by hand".into(), why: "test".into() };
        archive.delete(facts(2).id, deletion.clone(), true).expect("deleted");
        archive.sync().expect("synced");
        let all = archive.news(&begun, 100).expect("read");
        let told =
            [Topic::RecordingFinished, Topic::RecordingChanged, Topic::CallEnded, Topic::RecordingDeleted];
        assert_eq!(topics(&all), told);
        assert!(all.lines.is_sorted_by_key(|line| line.leaf));
        let News::Deleted { deletion: of_line, row: Some(row), .. } = &all.lines[3].news else {
            panic!("{:?}", all.lines[3])
        };
        assert_eq!((of_line, row.facts.id), (&deletion, facts(2).id));
        // One by one, the same.
        let (mut place, mut one_by_one) = (begun.clone(), Vec::new());
        loop {
            let read = archive.news(&place, 1).expect("read");
            if read.is_end {
                break;
            }
            place = read.place;
            one_by_one.extend(read.lines);
        }
        assert_eq!(one_by_one, all.lines);
        assert!(archive.news(&all.place, 100).expect("read").is_end);
        // A reader that stops in the middle goes on there.
        let mut place = begun;
        place.pass(&all.lines[0]);
        place.pass(&all.lines[1]);
        assert_eq!(archive.news(&place, 100).expect("read").lines, all.lines[2..]);
    }

    #[test]
    fn a_line_that_is_being_written_is_told_when_it_is_whole() {
        let (dir, archive) = archive();
        let place = archive.news_from_now().expect("a place");
        let file = dir.path().join("archive/ledger/events-2031-01.jsonl");
        let event = Event {
            at: facts(1).started,
            who: "eve".into(),
            what: What::Rated { id: facts(1).id, stars: 5, before: 0 },
        };
        let line = ledger::line(&event).expect("a line");
        std::fs::write(&file, &line[..line.len() - 1]).expect("written");
        assert!(archive.news(&place, 100).expect("read").is_end);
        std::fs::write(&file, &line).expect("written");
        assert_eq!(topics(&archive.news(&place, 100).expect("read")), [Topic::RecordingChanged]);
    }

    #[test]
    fn places_are_kept_and_an_older_archive_in_its_place_tells_only_what_is_new() {
        let (_dir, archive) = archive();
        assert!(archive.reader_places().is_empty());
        let ahead = NewsPlace(BTreeMap::from([("ledger/events-2026-01.jsonl".to_owned(), 1 << 40)]));
        let place = ReaderPlace { made: facts(1).started, place: ahead };
        let places = BTreeMap::from([("crm".to_owned(), place)]);
        archive.keep_reader_places(places.clone()).expect("kept");
        assert_eq!(archive.reader_places(), places);
        let now = archive.news_from_now().expect("a place");
        let (file, len) = now.0.iter().next().expect("the log has begun");
        let ahead = NewsPlace(BTreeMap::from([(file.clone(), len + 100)]));
        let read = archive.news(&ahead, 100).expect("read");
        assert_eq!((read.lines.len(), read.place), (0, now.clone()));
        record(&archive, 1);
        tag(&archive, 1);
        let topics = topics(&archive.news(&now, 100).expect("read"));
        assert_eq!(topics, [Topic::RecordingFinished, Topic::RecordingChanged]);
    }

    #[test]
    fn topics_read_back() {
        for topic in Topic::ALL {
            assert_eq!(topic.key().parse(), Ok(topic));
        }
        assert_eq!("recording".parse::<Topic>(), Err(NoTopic));
    }
}
