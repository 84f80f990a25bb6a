//! What is kept of alarms: each time that one was up, whom it was told, and who took note of it. A document in the archive's folder, written
//! whole whenever something changes, which is seldom, by a thread of its own.
//!
//! A recorder that starts again goes on with what was up: who took note of it is not told once more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use decode::Timestamp;
use serde::{Deserialize, Serialize};
use web::alerts::{Acknowledged, Alert, Alerts, NotAcknowledged, Watched};

use super::{Kind, Notice, Turn};

/// The document in the archive's folder.
pub(crate) const FILE: &str = "alerts.json";
/// Alerts that are kept; of more, the oldest that is over goes.
const ALERTS_MAX: usize = 500;
/// Bytes that are read of a document.
const DOCUMENT_MAX: u64 = 4 << 20;
const FORMAT: u32 = 1;
/// How long the end waits for the last alerts to be written.
const SETTLE_WAIT: Duration = Duration::from_secs(2);

/// Somebody took note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Noted {
    who: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    /// What was wrong then, in words.
    words: String,
}

/// One time that an alarm was up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    number: u64,
    alarm: Kind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    place: String,
    words: String,
    raised: Timestamp,
    told: Timestamp,
    told_to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cleared: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Noted>,
}

/// An alarm that is up: which, and where.
pub(crate) type Which = (Kind, String);

/// What of an alarm that was up when the program ended goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StillUp {
    pub(crate) which: Which,
    pub(crate) told: Timestamp,
    pub(crate) words: String,
}

#[derive(Debug, Default)]
struct History {
    /// The oldest first.
    alerts: VecDeque<Entry>,
    next: u64,
}

#[derive(Serialize, Deserialize)]
struct Document<E> {
    format: u32,
    next: u64,
    alerts: Vec<E>,
}

impl History {
    fn parse(json: &[u8]) -> Result<History, String> {
        let document: Document<serde_json::Value> =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if document.format > FORMAT {
            return Err(format!("it has format {}, this program knows {FORMAT}", document.format));
        }
        // An alarm that this version does not know is none of its own.
        let known = document.alerts.into_iter().filter_map(|alert| serde_json::from_value(alert).ok());
        let alerts: VecDeque<Entry> = known.take(ALERTS_MAX).collect();
        let next = alerts.iter().map(|alert| alert.number.saturating_add(1)).max().unwrap_or_default();
        Ok(History { alerts, next: next.max(document.next) })
    }

    fn json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Document {
            format: FORMAT,
            next: self.next,
            alerts: self.alerts.iter().collect(),
        })
    }

    fn is_up(&mut self, which: (Kind, &str)) -> Option<&mut Entry> {
        self.alerts
            .iter_mut()
            .rev()
            .find(|alert| alert.cleared.is_none() && (alert.alarm, alert.place.as_str()) == which)
    }

    fn take(&mut self, notice: &Notice, told_to: &[String]) {
        let Notice { at, alarm, turn, place, words } = notice;
        match (self.is_up((*alarm, place)), turn) {
            (Some(entry), Turn::Cleared) => entry.cleared = Some(*at),
            (Some(entry), Turn::Raised | Turn::Lasts) => {
                (entry.told, entry.told_to) = (*at, told_to.to_vec());
                entry.words.clone_from(words);
            }
            (None, Turn::Cleared) => {}
            (None, Turn::Raised | Turn::Lasts) => self.add(Entry {
                number: self.next,
                alarm: *alarm,
                place: place.clone(),
                words: words.clone(),
                raised: *at,
                told: *at,
                told_to: told_to.to_vec(),
                cleared: None,
                acknowledged: None,
            }),
        }
    }

    fn add(&mut self, entry: Entry) {
        if self.alerts.len() >= ALERTS_MAX {
            let over = self.alerts.iter().position(|alert| alert.cleared.is_some()).unwrap_or(0);
            self.alerts.remove(over);
        }
        self.next += 1;
        self.alerts.push_back(entry);
    }
}

/// What is kept, for those who watch and those who look. A thread of its own writes it: whoever tells of a disk that stands still must
/// not wait for it.
#[derive(Debug)]
pub(crate) struct Kept {
    inner: Arc<Inner>,
    /// Wakes the thread; none without one.
    changed: Option<Sender<()>>,
}

/// How far it is written.
#[derive(Debug, Default)]
struct Written {
    wanted: u64,
    done: u64,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Held for moments alone, never while something is written.
    history: Mutex<History>,
    /// One writes at a time.
    writing: Mutex<()>,
    written: Mutex<Written>,
    progress: Condvar,
    /// What is up now reads so: kept in memory, since figures in it change all the time.
    now: Mutex<BTreeMap<Which, String>>,
    /// What is not set up, and so not looked for.
    unwatched: Mutex<BTreeSet<Kind>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// Reads what is kept in this folder. What cannot be read is told, and begins anew: nobody may be left without alarms for it.
    pub(crate) fn open(folder: &Path) -> Kept {
        let path = folder.join(FILE);
        let read = || {
            let mut json = Vec::new();
            match std::fs::File::open(&path) {
                Ok(file) => file.take(DOCUMENT_MAX).read_to_end(&mut json).map_err(|e| e.to_string())?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(History::default()),
                Err(error) => return Err(error.to_string()),
            };
            History::parse(&json)
        };
        let history = read().unwrap_or_else(|error| {
            tracing::error!(file = FILE, error, "earlier alerts cannot be read, and are forgotten");
            History::default()
        });
        let inner = Arc::new(Inner {
            path,
            history: Mutex::new(history),
            writing: Mutex::default(),
            written: Mutex::default(),
            progress: Condvar::new(),
            now: Mutex::default(),
            unwatched: Mutex::default(),
        });
        let (changed, changes) = bounded::<()>(1);
        let own = Arc::clone(&inner);
        let write = move || {
            for () in changes {
                own.write_what_is_wanted();
            }
        };
        match std::thread::Builder::new().name("alerts".into()).spawn(write) {
            Ok(_) => Kept { inner, changed: Some(changed) },
            Err(error) => {
                tracing::error!(%error, "alerts are kept by whoever tells them");
                Kept { inner, changed: None }
            }
        }
    }

    /// Waits until everything is written, or what writes it stands still for two seconds.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + SETTLE_WAIT;
        let mut written = locked(&self.inner.written);
        while written.done < written.wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!(file = FILE, "the last alerts are not kept: the disk does not take them");
                return;
            }
            written =
                self.inner.progress.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What was up when the program ended.
    pub(crate) fn still_up(&self) -> Vec<StillUp> {
        let history = locked(&self.inner.history);
        let up = history.alerts.iter().filter(|alert| alert.cleared.is_none());
        up.map(|alert| StillUp {
            which: (alert.alarm, alert.place.clone()),
            told: alert.told,
            words: alert.words.clone(),
        })
        .collect()
    }

    /// What somebody has taken note of, in the words of then.
    pub(crate) fn acknowledged(&self) -> BTreeMap<Which, String> {
        let history = locked(&self.inner.history);
        let up = history.alerts.iter().filter(|alert| alert.cleared.is_none());
        up.filter_map(|alert| {
            Some(((alert.alarm, alert.place.clone()), alert.acknowledged.as_ref()?.words.clone()))
        })
        .collect()
    }

    /// These are not looked for.
    pub(crate) fn unwatch(&self, kinds: BTreeSet<Kind>) {
        *locked(&self.inner.unwatched) = kinds;
    }

    /// What is up reads so now; these notices are being told to these. Waits for no disk.
    pub(crate) fn take(&self, now: BTreeMap<Which, String>, notices: &[Notice], told_to: &[String]) {
        let inner = &self.inner;
        *locked(&inner.now) = now;
        if notices.is_empty() {
            return;
        }
        {
            let mut history = locked(&inner.history);
            notices.iter().for_each(|notice| history.take(notice, told_to));
        }
        locked(&inner.written).wanted += 1;
        match &self.changed {
            // One who waits is enough.
            Some(changed) => drop(changed.try_send(())),
            None => inner.write_what_is_wanted(),
        }
    }
}

impl Inner {
    fn write_what_is_wanted(&self) {
        let _turn = locked(&self.writing);
        let wanted = locked(&self.written).wanted;
        if let Err(error) = self.write() {
            tracing::error!(file = FILE, error, "alerts are not kept");
        }
        locked(&self.written).done = wanted;
        self.progress.notify_all();
    }

    /// Whole or not at all.
    fn write(&self) -> Result<(), String> {
        let write = || {
            let json = locked(&self.history).json()?;
            let mut new = tempfile::NamedTempFile::new_in(self.path.parent().unwrap_or(Path::new(".")))?;
            std::io::Write::write_all(&mut new, &json)?;
            new.as_file().sync_all()?;
            new.persist(&self.path)?;
            Ok::<_, std::io::Error>(())
        };
        write().map_err(|error| error.to_string())
    }
}

impl Alerts for Kept {
    fn watched(&self) -> Vec<Watched> {
        let unwatched = locked(&self.inner.unwatched);
        let mut all = Kind::ALL.to_vec();
        all.sort_by_key(|kind| !kind.is_critical());
        let watched = |kind: Kind| Watched {
            key: kind.key(),
            label: kind.label(),
            is_critical: kind.is_critical(),
            is_on: !unwatched.contains(&kind),
        };
        all.into_iter().map(watched).collect()
    }

    fn all(&self) -> Vec<Alert> {
        let (now, history) = (locked(&self.inner.now).clone(), locked(&self.inner.history));
        let shown = |entry: &Entry| {
            let which = (entry.alarm, entry.place.clone());
            let words = now.get(&which).filter(|_| entry.cleared.is_none()).unwrap_or(&entry.words);
            Alert {
                number: entry.number,
                alarm: entry.alarm.key(),
                place: entry.place.clone(),
                words: words.clone(),
                critical: entry.alarm.is_critical(),
                raised: entry.raised,
                told: entry.told,
                told_to: entry.told_to.clone(),
                cleared: entry.cleared,
                acknowledged: entry.acknowledged.clone().map(|noted| Acknowledged {
                    has_changed: entry.cleared.is_none() && noted.words != *words,
                    who: noted.who,
                    at: noted.at,
                    note: noted.note,
                }),
            }
        };
        history.alerts.iter().rev().map(shown).collect()
    }

    fn acknowledge(&self, number: u64, who: &str, note: &str, at: Timestamp) -> Result<(), NotAcknowledged> {
        let inner = &self.inner;
        let _turn = locked(&inner.writing);
        let now = locked(&inner.now).clone();
        let before = {
            let mut history = locked(&inner.history);
            let entry = history.alerts.iter_mut().find(|alert| alert.number == number);
            let entry = entry.ok_or(NotAcknowledged::NoSuch)?;
            let which = (entry.alarm, entry.place.clone());
            let words = now.get(&which).filter(|_| entry.cleared.is_none()).unwrap_or(&entry.words).clone();
            // What has changed since can be acknowledged once more.
            if let Some(noted) =
                entry.acknowledged.as_ref().filter(|noted| entry.cleared.is_some() || noted.words == words)
            {
                return Err(NotAcknowledged::Already(noted.who.clone()));
            }
            let noted = Noted { who: who.to_owned(), at, note: note.to_owned(), words };
            entry.acknowledged.replace(noted)
        };
        let written = inner.write();
        if written.is_err()
            && let Some(entry) = locked(&inner.history).alerts.iter_mut().find(|alert| alert.number == number)
        {
            entry.acknowledged = before;
        }
        written.map_err(NotAcknowledged::Unkept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_parts(1_795_392_000 + s, 0)
    }

    fn notice(alarm: Kind, turn: Turn, words: &str, s: i64) -> Notice {
        Notice { at: at(s), alarm, turn, place: "eth1".into(), words: words.into() }
    }

    fn up(words: &str) -> BTreeMap<Which, String> {
        BTreeMap::from([((Kind::PortDown, "eth1".to_owned()), words.to_owned())])
    }

    #[test]
    fn an_alert_is_kept_over_a_restart_with_whoever_took_note_of_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(dir.path());
        let told_to = ["log".to_owned(), "mail".to_owned()];
        kept.take(up("down"), &[notice(Kind::PortDown, Turn::Raised, "down", 0)], &told_to);
        assert_eq!(kept.acknowledge(7, "ann", "", at(1)), Err(NotAcknowledged::NoSuch));
        kept.acknowledge(0, "ann", "the switch is being changed", at(1)).expect("kept");
        assert_eq!(kept.acknowledge(0, "bob", "", at(2)), Err(NotAcknowledged::Already("ann".into())));
        kept.settle();
        let kept = Kept::open(dir.path());
        assert_eq!(kept.acknowledged(), up("down"));
        assert_eq!(kept.still_up().len(), 1);
        let alert = kept.all().remove(0);
        assert_eq!((alert.alarm, alert.raised, alert.told_to), ("port-down", at(0), told_to.to_vec()));
        let noted = alert.acknowledged.expect("noted");
        assert_eq!((noted.who.as_str(), noted.note.as_str()), ("ann", "the switch is being changed"));
        assert!(!noted.has_changed);
        // It reads otherwise: who looks sees that, and it can be acknowledged anew.
        kept.take(up("down again"), &[], &[]);
        assert!(kept.all()[0].acknowledged.as_ref().is_some_and(|noted| noted.has_changed));
        kept.acknowledge(0, "bob", "", at(3)).expect("kept");
        assert_eq!(kept.acknowledged(), up("down again"));
        kept.take(BTreeMap::new(), &[notice(Kind::PortDown, Turn::Cleared, "down", 9)], &told_to);
        assert_eq!((kept.acknowledged(), kept.all()[0].cleared), (BTreeMap::new(), Some(at(9))));
        kept.take(up("down"), &[notice(Kind::PortDown, Turn::Raised, "down", 20)], &told_to);
        let numbers: Vec<u64> = kept.all().iter().map(|alert| alert.number).collect();
        assert_eq!(numbers, [1, 0], "another time is another alert");
    }

    #[test]
    fn so_many_are_kept_and_what_is_up_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(dir.path());
        kept.take(up("down"), &[notice(Kind::PortDown, Turn::Raised, "down", 0)], &[]);
        let many: Vec<Notice> = (0..ALERTS_MAX as i64 + 20)
            .flat_map(|s| [Turn::Raised, Turn::Cleared].map(|turn| notice(Kind::NoChannel, turn, "none", s)))
            .collect();
        kept.take(up("down"), &many, &[]);
        kept.settle();
        let all = kept.all();
        assert_eq!((all.len(), all[ALERTS_MAX - 1].alarm), (ALERTS_MAX, "port-down"));
        assert!(std::fs::metadata(dir.path().join(FILE)).expect("there").len() < DOCUMENT_MAX / 2);
    }

    #[test]
    fn a_document_that_cannot_be_read_leaves_nobody_without_alarms() {
        let dir = tempfile::tempdir().expect("a folder");
        for text in ["", "{", "{\"format\":9,\"next\":1,\"alerts\":[]}", "[]"] {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            assert_eq!(Kept::open(dir.path()).all(), [], "{text}");
        }
        // An alarm of a later version is left out, the others stay.
        let text = "{\"format\":1,\"next\":9,\"alerts\":[{\"alarm\":\"moon-full\"},{\"number\":3,\"alarm\":\"port-down\",\"words\":\"w\",\
                    \"raised\":\"2026-11-23T00:00:00.000Z\",\"told\":\"2026-11-23T00:00:00.000Z\",\"told_to\":[]}]}";
        std::fs::write(dir.path().join(FILE), text).expect("written");
        let kept = Kept::open(dir.path());
        assert_eq!(kept.all().len(), 1);
        kept.take(BTreeMap::new(), &[notice(Kind::NoChannel, Turn::Raised, "none", 0)], &[]);
        assert_eq!(kept.all()[0].number, 9);
    }
}
