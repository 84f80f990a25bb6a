//! The audit trail: who signed in, saw, heard, took along and changed what. Lines of the ledger like all events; this file owns what
//! is written of access, and reading the newest lines first.
//!
//! What is read here is not verified: verification goes over every line of the ledger anyway.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::event::{Event, What};
use crate::ledger::{self, is_blank};
use crate::scribe::Command;
use crate::{Archive, Error, RecordingId};

/// Recordings that one line names; more are counted.
pub const TRAIL_IDS_MAX: usize = 200;
/// The longest text that a line takes, in bytes: of a format, a session's name, a setting before and after.
pub const TRAIL_TEXT_MAX: usize = 100_000;
/// Bytes read at a time.
const BLOCK_LEN: u64 = 64 * 1024;
/// The longest line that is believed, in bytes.
const LINE_MAX: usize = 1024 * 1024;
/// By so much a clock may have been set back: so far lines may stand behind ones that are newer.
const SLACK_MS: i64 = 24 * 3_600_000;

/// Something that somebody did with recordings, calls or settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessEvent {
    /// Signed out, or the session was ended.
    SignedOut {
        /// By whom or what, as `user`, `idle`, `administrator`.
        by: String,
    },
    /// Looked at the facts of a recording.
    Viewed {
        /// The recording.
        id: RecordingId,
    },
    /// Played a recording. One line for a play, however many ranges it was fetched in.
    Played {
        /// The recording.
        id: RecordingId,
        /// Names the play.
        session: String,
    },
    /// Listened to a call that ran.
    Listened {
        /// Its recording.
        id: RecordingId,
        /// Names the stretch of listening.
        session: String,
    },
    /// Took recordings along as files.
    Exported {
        /// Them, [`TRAIL_IDS_MAX`] at most.
        ids: Vec<RecordingId>,
        /// How many there were.
        count: u64,
        /// As what: `wav`, `zip` …
        format: String,
    },
    /// Sends recordings by mail. One line for each addressee, before the letter leaves.
    Mailed {
        /// Them, [`TRAIL_IDS_MAX`] at most.
        ids: Vec<RecordingId>,
        /// How many there are.
        count: u64,
        /// To which address.
        to: String,
        /// How: `link`, `attachment`, `lasting-link`.
        how: String,
        /// As what: `wav`, `zip` … Empty where no file goes out.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        format: String,
        /// Tells a single-use link from others; it opens nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        link: String,
    },
    /// A letter that was to be sent was not taken.
    NotMailed {
        /// Recordings, [`TRAIL_IDS_MAX`] at most.
        ids: Vec<RecordingId>,
        /// How many there are.
        count: u64,
        /// To which address.
        to: String,
        /// How it was to be sent.
        how: String,
        /// Why it was not taken.
        why: String,
    },
    /// A single-use link was used, by whoever has it. The event's who is the sender, by whose rights it is done.
    LinkUsed {
        /// Recordings, [`TRAIL_IDS_MAX`] at most.
        ids: Vec<RecordingId>,
        /// How many there are.
        count: u64,
        /// To which address it had been mailed.
        to: String,
        /// As what they were fetched.
        format: String,
        /// Which link, as the line of the mailing names it.
        link: String,
    },
    /// Took a call's SIP messages along.
    SipDownloaded {
        /// The recording.
        id: RecordingId,
    },
    /// Started, stopped, kept, discarded, paused or resumed the recording of a running call.
    Controlled {
        /// The recording, where there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RecordingId>,
        /// What was asked for.
        action: String,
    },
    /// Deleted a recording by hand. Why stands in the receipt of the deletion.
    Deleted {
        /// The recording. Under a name of its own: the line stays, as the receipt does, when what is known of the call is blanked.
        #[serde(rename = "recording")]
        id: RecordingId,
    },
    /// Had what is due by the rules of retention deleted. The receipts say what went by which rule.
    Pruned {
        /// Deletions that were shown; no more are done.
        deletions: u64,
        /// More than half was let go.
        more_than_half: bool,
    },
    /// Took note of an alert, which is not told again while nothing about it changes.
    Acknowledged {
        /// Which alarm, and what it is about.
        alarm: String,
        /// What they said.
        note: String,
    },
    /// Changed a setting.
    SettingsChanged {
        /// Which.
        what: String,
        /// As it was, without secrets.
        before: String,
        /// As it is, likewise.
        after: String,
    },
    /// One of a later version.
    #[serde(other)]
    Unknown,
}

impl AccessEvent {
    /// What was taken along.
    #[must_use]
    pub fn exported(ids: &[RecordingId], format: &str) -> AccessEvent {
        AccessEvent::Exported {
            ids: ids.iter().take(TRAIL_IDS_MAX).copied().collect(),
            count: ids.len() as u64,
            format: format.to_owned(),
        }
    }

    /// The recordings that it is about, of those kinds that may be about several.
    #[must_use]
    pub fn several(&mut self) -> Option<&mut Vec<RecordingId>> {
        self.several_of().map(|(ids, _)| ids)
    }

    /// The same, with how many there are.
    fn several_of(&mut self) -> Option<(&mut Vec<RecordingId>, &mut u64)> {
        match self {
            AccessEvent::Exported { ids, count, .. }
            | AccessEvent::Mailed { ids, count, .. }
            | AccessEvent::NotMailed { ids, count, .. }
            | AccessEvent::LinkUsed { ids, count, .. } => Some((ids, count)),
            _ => None,
        }
    }

    /// The one recording that it is about.
    #[must_use]
    pub fn recording(&self) -> Option<RecordingId> {
        match self {
            AccessEvent::Viewed { id }
            | AccessEvent::Played { id, .. }
            | AccessEvent::Listened { id, .. }
            | AccessEvent::SipDownloaded { id }
            | AccessEvent::Deleted { id } => Some(*id),
            AccessEvent::Controlled { id, .. } => *id,
            AccessEvent::Exported { .. }
            | AccessEvent::Mailed { .. }
            | AccessEvent::NotMailed { .. }
            | AccessEvent::LinkUsed { .. }
            | AccessEvent::Pruned { .. }
            | AccessEvent::SignedOut { .. }
            | AccessEvent::Acknowledged { .. }
            | AccessEvent::SettingsChanged { .. }
            | AccessEvent::Unknown => None,
        }
    }

    /// Whether the recording is one of those that it is about, as far as they are named.
    fn is_about(&self, wanted: RecordingId) -> bool {
        match self {
            AccessEvent::Viewed { id }
            | AccessEvent::Played { id, .. }
            | AccessEvent::Listened { id, .. }
            | AccessEvent::SipDownloaded { id }
            | AccessEvent::Deleted { id } => *id == wanted,
            AccessEvent::Exported { ids, .. }
            | AccessEvent::Mailed { ids, .. }
            | AccessEvent::NotMailed { ids, .. }
            | AccessEvent::LinkUsed { ids, .. } => ids.contains(&wanted),
            AccessEvent::Controlled { id, .. } => *id == Some(wanted),
            AccessEvent::SignedOut { .. }
            | AccessEvent::Pruned { .. }
            | AccessEvent::Acknowledged { .. }
            | AccessEvent::SettingsChanged { .. }
            | AccessEvent::Unknown => false,
        }
    }

    /// Its texts, which must not be too long.
    fn texts(&self) -> [&str; 4] {
        match self {
            AccessEvent::SignedOut { by } => [by, "", "", ""],
            AccessEvent::Played { session, .. } | AccessEvent::Listened { session, .. } => {
                [session, "", "", ""]
            }
            AccessEvent::Exported { format, .. } => [format, "", "", ""],
            AccessEvent::Mailed { to, how, format, link, .. } => [to, how, format, link],
            AccessEvent::NotMailed { to, how, why, .. } => [to, how, why, ""],
            AccessEvent::LinkUsed { to, format, link, .. } => [to, format, link, ""],
            AccessEvent::Controlled { action, .. } => [action, "", "", ""],
            AccessEvent::Acknowledged { alarm, note } => [alarm, note, "", ""],
            AccessEvent::SettingsChanged { what, before, after } => [what, before, after, ""],
            AccessEvent::Viewed { .. }
            | AccessEvent::SipDownloaded { .. }
            | AccessEvent::Deleted { .. }
            | AccessEvent::Pruned { .. }
            | AccessEvent::Unknown => [""; 4],
        }
    }
}

/// A place in the trail, between two lines: where the next page begins. Lines stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailPlace {
    /// `2026-11`.
    month: String,
    offset: u64,
}

impl fmt::Display for TrailPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.month, self.offset)
    }
}

/// It is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no place in the audit trail; begin at its newest line")]
pub struct NoTrailPlace;

impl FromStr for TrailPlace {
    type Err = NoTrailPlace;

    fn from_str(text: &str) -> Result<Self, NoTrailPlace> {
        let (month, offset) = text.split_once('.').ok_or(NoTrailPlace)?;
        let is_month = month.len() == 7 && month.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let offset = offset.parse().map_err(|_| NoTrailPlace)?;
        is_month.then(|| TrailPlace { month: month.to_owned(), offset }).ok_or(NoTrailPlace)
    }
}

/// Which lines are asked for. The default asks for all. Whatever is set must hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Done by this user, capitals or not.
    pub who: Option<String>,
    /// Of one of these kinds, as lines name them: `signed-in`, `played`, `tagged` … Empty for all.
    pub kinds: Vec<String>,
    /// About this recording.
    pub recording: Option<RecordingId>,
    /// Done at or after.
    pub since: Option<Timestamp>,
    /// Done before.
    pub until: Option<Timestamp>,
    /// Behind this place, newest first.
    pub before: Option<TrailPlace>,
}

impl AuditFilter {
    fn admits(&self, event: &Event) -> bool {
        let is_about = |id| match &event.what {
            What::Accessed { access, .. } => access.is_about(id),
            _ => event.recording() == Some(id),
        };
        self.who.as_ref().is_none_or(|who| who.to_lowercase() == event.who.to_lowercase())
            && self.recording.is_none_or(is_about)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }
}

/// What a line is of.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, default)]
    event: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    access: Option<std::borrow::Cow<'a, str>>,
}

impl Archive {
    /// Keeps what somebody did, before or while it is done. On disk when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`] for a text that is too long; [`Error::Full`], [`Error::Io`]: what must be in the trail is not to be done then.
    pub fn note_access(
        &self,
        who: &str,
        from: Option<IpAddr>,
        at: Timestamp,
        mut access: AccessEvent,
    ) -> Result<(), Error> {
        if access.texts().iter().map(|text| text.len()).sum::<usize>() > TRAIL_TEXT_MAX {
            return Err(Error::Refused {
                what: format!("more than {TRAIL_TEXT_MAX} bytes in the audit trail"),
            });
        }
        if let Some((ids, count)) = access.several_of() {
            *count = (*count).max(ids.len() as u64);
            ids.truncate(TRAIL_IDS_MAX);
        }
        let what = What::Accessed { from: from.map(|from| from.to_string()).unwrap_or_default(), access };
        let event = Box::new(Event { at, who: who.to_owned(), what });
        self.ask(|answer| Command::Event { event, answer })
    }

    /// What was done to the archive and with it, newest first, each with the place behind it. Of a month whose clock was set back, in the order in which
    /// it was written. A line that cannot be read is an error among the items; the ones behind it still come.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn audit_trail(
        &self,
        filter: &AuditFilter,
    ) -> Result<impl Iterator<Item = Result<(TrailPlace, Event), Error>> + use<'_>, Error> {
        let mut months = self.months(ledger::EVENTS)?;
        months.reverse();
        let filter = filter.clone();
        let first =
            filter.since.map(|since| month_of(&ledger::month(ledger::EVENTS, since.plus_millis(-SLACK_MS))));
        let last =
            filter.until.map(|until| month_of(&ledger::month(ledger::EVENTS, until.plus_millis(SLACK_MS))));
        let (first, last, before) = (first.flatten(), last.flatten(), filter.before.clone());
        let files = months.into_iter().filter_map(move |path| {
            let month = month_of(&path)?;
            let is_within = first.as_ref().is_none_or(|first| month >= *first)
                && last.as_ref().is_none_or(|last| month <= *last)
                && before.as_ref().is_none_or(|before| month <= before.month);
            let end = before.as_ref().filter(|before| before.month == month).map(|before| before.offset);
            is_within.then_some((path, month, end))
        });
        let disk = &self.shared.disk;
        let lines = files.flat_map(move |(path, month, end)| {
            Backward::open(Arc::clone(disk), path, end).map(move |line| (month.clone(), line))
        });
        let root = self.dir();
        let mut is_over = false;
        let read = move |(month, line): (String, Result<(u64, Vec<u8>), Error>)| {
            if is_over {
                return None;
            }
            let read =
                line.and_then(|(offset, bytes)| Ok(read(&bytes, &filter)?.map(|event| (offset, event))));
            let read = match read {
                Ok(Some((_, event)))
                    if filter.since.is_some_and(|since| event.at < since.plus_millis(-SLACK_MS)) =>
                {
                    is_over = true;
                    None
                }
                Ok(Some((offset, event))) if filter.admits(&event) => {
                    Some(Ok((TrailPlace { month, offset }, event)))
                }
                Ok(_) => None,
                Err(e) => Some(Err(e.under(root))),
            };
            Some(read)
        };
        Ok(lines.map_while(read).flatten())
    }
}

/// One line, if it is of a kind that is asked for; blanked ones are none.
fn read(line: &[u8], filter: &AuditFilter) -> Result<Option<Event>, Error> {
    if line.trim_ascii().is_empty() || is_blank(line) {
        return Ok(None);
    }
    let damaged = |e: serde_json::Error| Error::damaged("ledger", format!("a line of events: {e}"));
    if !filter.kinds.is_empty() {
        let kind: Kind<'_> = serde_json::from_slice(line).map_err(damaged)?;
        let kind = kind.access.unwrap_or(kind.event);
        if !filter.kinds.iter().any(|wanted| *wanted == kind) {
            return Ok(None);
        }
    }
    serde_json::from_slice(line).map(Some).map_err(damaged)
}

/// `2026-11` of `ledger/events-2026-11.jsonl`.
fn month_of(path: &str) -> Option<String> {
    let (_, name) = path.rsplit_once('/')?;
    Some(name.strip_prefix(ledger::EVENTS)?.strip_suffix(".jsonl")?.to_owned())
}

/// The lines of a file from its end, each with where it begins.
struct Backward {
    disk: Arc<dyn Disk>,
    path: String,
    /// What was read and not given: from here on.
    at: u64,
    buf: Vec<u8>,
    failed: Option<Error>,
    done: bool,
}

impl Backward {
    /// From this offset on backwards; from the end without one.
    fn open(disk: Arc<dyn Disk>, path: String, end: Option<u64>) -> Backward {
        let len = disk.len(&path).map(Option::unwrap_or_default);
        let (at, failed) = match len {
            Ok(len) => (end.map_or(len, |end| end.min(len)), None),
            Err(e) => (0, Some(Error::io(&path, e))),
        };
        Backward { disk, path, at, buf: Vec::new(), failed, done: false }
    }

    fn next_line(&mut self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        loop {
            let body = self.buf.strip_suffix(b"\n").unwrap_or(&self.buf);
            if let Some(newline) = body.iter().rposition(|&b| b == b'\n') {
                let line = self.buf.split_off(newline + 1);
                return Ok(Some((self.at + self.buf.len() as u64, trimmed(line))));
            }
            if self.at == 0 {
                self.done = true;
                let line = std::mem::take(&mut self.buf);
                return Ok((!line.is_empty()).then(|| (0, trimmed(line))));
            }
            if self.buf.len() > LINE_MAX {
                return Err(Error::damaged(&self.path, "a line is too long"));
            }
            let len = self.at.min(BLOCK_LEN);
            let mut block = vec![0; len as usize];
            let read = self.disk.read_at(&self.path, self.at - len, &mut block);
            let read = read.map_err(|e| Error::io(&self.path, e))?;
            if read < block.len() {
                return Err(Error::damaged(&self.path, "it is shorter than it was"));
            }
            self.at -= len;
            block.append(&mut self.buf);
            self.buf = block;
        }
    }
}

fn trimmed(mut line: Vec<u8>) -> Vec<u8> {
    line.pop_if(|last| *last == b'\n');
    line
}

impl Iterator for Backward {
    type Item = Result<(u64, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.done = true;
            return Some(Err(error));
        }
        if self.done {
            return None;
        }
        self.next_line().inspect_err(|_| self.done = true).transpose()
    }
}

/// Reads any bytes as the end of a file of events.
#[cfg(fuzzing)]
pub(crate) fn fuzz(disk: Arc<dyn Disk>, path: &str) {
    for line in Backward::open(disk, path.to_owned(), None).flatten() {
        let _ = read(&line.1, &AuditFilter { kinds: vec!["played".into()], ..AuditFilter::default() });
        let _ = read(&line.1, &AuditFilter::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn backward(bytes: &[u8]) -> Vec<(u64, String)> {
        let dir = tempfile::tempdir().expect("a folder");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()).expect("a disk"));
        disk.write_at("l", 0, bytes).expect("written");
        let lines = Backward::open(disk, "l".into(), None).map(|line| line.expect("a line"));
        lines.map(|(at, line)| (at, String::from_utf8(line).expect("text"))).collect()
    }

    #[test]
    fn lines_come_backwards_whole_and_with_their_places() {
        let text = |lines: &[(u64, String)]| lines.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>();
        assert_eq!(
            backward(b"1\n22\n\n4\n"),
            [(6, "4".into()), (5, String::new()), (2, "22".into()), (0, "1".into())]
        );
        assert_eq!(text(&backward(b"1\n2")), ["2", "1"]);
        assert_eq!(backward(b""), []);
        let many: Vec<u8> = (0..40_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
        let lines = text(&backward(&many));
        assert_eq!(lines.len(), 40_000);
        assert!(lines.iter().rev().enumerate().all(|(i, line)| *line == i.to_string()));
    }

    #[test]
    fn an_endless_line_is_an_error_and_not_memory() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()).expect("a disk"));
        disk.write_at("l", 0, &vec![b'1'; 2 * LINE_MAX + 4 * BLOCK_LEN as usize]).expect("written");
        let all: Vec<_> = Backward::open(disk, "l".into(), None).collect();
        assert!(all.len() == 1 && all[0].is_err());
    }

    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = Archive::open_or_create(&dir.path().join("a")).expect("made").0;
        (dir, archive)
    }

    fn id(n: u8) -> RecordingId {
        RecordingId::from_parts(START, [n; 10])
    }

    fn seen(archive: &Archive, filter: &AuditFilter) -> Vec<(TrailPlace, Event)> {
        archive.audit_trail(filter).expect("read").map(|line| line.expect("a line")).collect()
    }

    #[test]
    fn the_trail_is_read_newest_first_by_who_kind_recording_and_time_and_in_pages() {
        let (_dir, archive) = archive();
        let from: IpAddr = "192.0.2.7".parse().expect("an address");
        const DAY_MS: i64 = 86_400_000;
        for n in 0..90_u8 {
            let access = match n % 3 {
                0 => AccessEvent::Played { id: id(n % 4), session: format!("s{n}") },
                1 => AccessEvent::exported(&[id(n % 4), id(9)], "zip"),
                _ => AccessEvent::SignedOut { by: "idle".into() },
            };
            let who = if n % 2 == 0 { "Ann" } else { "bob" };
            let at = START.plus_millis(i64::from(n) * DAY_MS);
            archive.note_access(who, Some(from), at, access).expect("kept");
        }
        // What the archive itself does has the time of the day, which may be any.
        let ours = || AuditFilter {
            kinds: ["played", "exported", "signed-out"].map(str::to_owned).to_vec(),
            since: Some(START),
            until: Some(START.plus_millis(90 * DAY_MS)),
            ..AuditFilter::default()
        };
        let all = seen(&archive, &ours());
        assert_eq!(all.len(), 90);
        assert!(all.windows(2).all(|pair| pair[0].1.at > pair[1].1.at));
        assert!(matches!(&all[89].1.what, What::Accessed { from, .. } if from == "192.0.2.7"));
        let count = |filter: AuditFilter| seen(&archive, &filter).len();
        assert_eq!(count(AuditFilter { who: Some("ANN".into()), ..ours() }), 45);
        assert_eq!(count(AuditFilter { kinds: vec!["played".into(), "signed-out".into()], ..ours() }), 60);
        assert_eq!(count(AuditFilter { recording: Some(id(9)), ..ours() }), 30);
        assert_eq!(count(AuditFilter { until: Some(START.plus_millis(40 * DAY_MS)), ..ours() }), 40);
        assert_eq!(count(AuditFilter { since: Some(START.plus_millis(40 * DAY_MS)), ..ours() }), 50);
        let (mut paged, mut filter) = (Vec::new(), ours());
        loop {
            let page: Vec<_> = seen(&archive, &filter).into_iter().take(7).collect();
            let Some((last, _)) = page.last() else { break };
            // As an address carries it.
            filter.before = Some(last.to_string().parse().expect("a place"));
            paged.extend(page);
        }
        assert_eq!(paged, all);
        assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    }

    #[test]
    fn a_place_that_is_none_and_a_text_that_is_too_long_are_refused() {
        for wrong in ["", "2026-11", "2026-11.", "2026-11.x", "../../etc/passwd.0", "2026-11.-1"] {
            assert_eq!(wrong.parse::<TrailPlace>(), Err(NoTrailPlace), "{wrong}");
        }
        let (_dir, archive) = archive();
        let long = AccessEvent::SettingsChanged {
            what: "rules".into(),
            before: "x".repeat(TRAIL_TEXT_MAX),
            after: String::new(),
        };
        assert!(archive.note_access("ann", None, START, long).is_err());
        let many = AccessEvent::exported(&vec![id(1); 1_000], "zip");
        archive.note_access("ann", None, START, many).expect("kept");
        let kept = seen(&archive, &AuditFilter { kinds: vec!["exported".into()], ..AuditFilter::default() });
        let What::Accessed { access: AccessEvent::Exported { ids, count, .. }, from } = &kept[0].1.what
        else {
            panic!("{kept:?}")
        };
        assert_eq!((ids.len(), *count, from.as_str()), (TRAIL_IDS_MAX, 1_000, ""));
    }

    #[test]
    fn what_was_mailed_and_fetched_is_found_by_kind_and_recording() {
        let (_dir, archive) = archive();
        let (ids, link) = (vec![id(1), id(2)], "0123456789abcdef".to_owned());
        let to = || "ann@example.net".to_owned();
        for access in [
            AccessEvent::Mailed {
                ids: ids.clone(),
                count: 2,
                to: to(),
                how: "link".into(),
                format: "zip".into(),
                link: link.clone(),
            },
            AccessEvent::NotMailed {
                ids: ids.clone(),
                count: 2,
                to: to(),
                how: "link".into(),
                why: "550 no such user".into(),
            },
            AccessEvent::LinkUsed { ids, count: 2, to: to(), format: "zip".into(), link },
        ] {
            archive.note_access("bob", None, START, access).expect("kept");
        }
        let of = |kind: &str, recording| {
            let filter = AuditFilter { kinds: vec![kind.into()], recording, ..AuditFilter::default() };
            seen(&archive, &filter).len()
        };
        for kind in ["mailed", "not-mailed", "link-used"] {
            assert_eq!((of(kind, Some(id(2))), of(kind, Some(id(3)))), (1, 0), "{kind}");
        }
        assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    }

    #[test]
    fn an_access_of_a_later_version_is_read_as_one_that_is_not_known() {
        let line = r#"{"leaf":3,"salt":"00","at":"2026-11-20T00:00:00.000Z","who":"ann","event":"accessed","from":"::1","access":"dreamt","of":"x"}"#;
        let event = read(line.as_bytes(), &AuditFilter::default()).expect("read").expect("an event");
        assert_eq!(event.what, What::Accessed { from: "::1".into(), access: AccessEvent::Unknown });
    }
}
