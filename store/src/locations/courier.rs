//! The courier of one archive location: what is due there is brought there, or taken away.
//!
//! It goes through all recordings once and then follows what it is told. A copy counts when it was read back and has the hash
//! of what was read here, and when the marker was there afterwards: an unmounted folder is the archive's own disk. The ledger
//! gets a line for some dozens of copies together; a crash before it makes these copies once more. A recording that does not verify here is
//! never copied over a good copy. What the location refuses is tried again, ever more rarely, for as long as it takes:
//! nothing is forgotten, because what is due follows from recordings and copies alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use decode::Timestamp;
use sha2::{Digest, Sha256};

use super::place::{BLOCK_LEN, Marker, Place};
use super::reads::{Copy, Reads};
use super::stub::{Stub, home_of, layout_at};
use super::{HANGS_AFTER, LocationState, Office, TROUBLES_MAX, wait_until};
use crate::bytes::hex;
use crate::disk::{ReadAt, locked};
use crate::event::{Event, What};
use crate::layout::Layout;
use crate::locations::copies::CopyLine;
use crate::recovery::wrap_key_at;
use crate::scribe::Command;
use crate::shared::{Shared, wall_clock};
use crate::wave::path_of;
use crate::{Error, RecordingId, Space};

/// Recordings told of and not yet looked at; with more, all recordings are looked at again.
const NEWS_MAX: usize = 100_000;
/// Recordings that are not yet due and are remembered; with more, all are looked at again later.
const YOUNG_MAX: usize = 1_000_000;
/// When those are looked at again that were too many to be remembered.
const YOUNG_AGAIN_MS: i64 = 3_600_000;
/// Copies that one line of the ledger names.
const BATCH_MAX: usize = 64;
/// The longest that a copy waits for its line.
const BATCH_WAIT: Duration = Duration::from_secs(10);
/// How often a location with nothing to do is looked at.
const IDLE_LOOK: Duration = Duration::from_secs(60);
/// After a failure: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a courier has to do.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The location.
    pub(super) name: String,
    /// Recordings are due so long after their end, in milliseconds.
    pub(super) after_ms: i64,
}

/// Where a courier is told what there is, and tells how it does.
#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    news: BTreeSet<RecordingId>,
    /// There were too many.
    all_anew: bool,
    stop: bool,
    ended: bool,
    phase: Phase,
    /// When the location was last heard of, while it is being waited for.
    waiting_since: Option<Instant>,
    space: Option<Space>,
    troubles: Vec<(RecordingId, String)>,
    last_copied: Option<Timestamp>,
    last_failed: Option<(Timestamp, String)>,
}

/// How a location does, at a look.
pub(super) struct Look {
    pub(super) state: LocationState,
    pub(super) space: Option<Space>,
    pub(super) troubles: Vec<(RecordingId, String)>,
    pub(super) last_copied: Option<Timestamp>,
    pub(super) last_failed: Option<(Timestamp, String)>,
}

impl Look {
    /// Of a location that nothing is known of but this.
    pub(super) fn of(state: LocationState, space: Option<Space>) -> Look {
        Look { state, space, troubles: Vec::new(), last_copied: None, last_failed: None }
    }
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Starting,
    Resting,
    Working,
    Failing(String),
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut locked(&self.state));
        self.changed.notify_all();
    }

    pub(super) fn tell(&self, id: RecordingId) {
        self.change(|state| {
            state.news.insert(id);
            if state.news.len() > NEWS_MAX {
                state.news.clear();
                state.all_anew = true;
            }
            if matches!(state.phase, Phase::Resting) {
                state.phase = Phase::Working;
            }
        });
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.stop = true);
    }

    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        wait_until(&self.state, &self.changed, deadline, |state| state.ended)
    }

    /// Waits until all that is due is done, or refused. True when it is done.
    pub(super) fn wait_for_rest(&self, deadline: Instant) -> bool {
        let settled =
            |state: &State| matches!(state.phase, Phase::Resting | Phase::Failing(_)) || state.ended;
        wait_until(&self.state, &self.changed, deadline, settled) && self.rests()
    }

    /// Has it nothing to do?
    pub(super) fn rests(&self) -> bool {
        let state = locked(&self.state);
        matches!(state.phase, Phase::Resting) && state.news.is_empty()
    }

    pub(super) fn look(&self) -> Look {
        let state = locked(&self.state);
        let waits = state.waiting_since.map(|since| since.elapsed()).filter(|waits| *waits > HANGS_AFTER);
        let how = match (&state.phase, waits) {
            (_, Some(waits)) => LocationState::Hanging(waits.as_secs()),
            (Phase::Starting, _) => LocationState::Starting,
            (Phase::Resting, _) => LocationState::UpToDate,
            (Phase::Working, _) => LocationState::Copying,
            (Phase::Failing(why), _) => LocationState::Failing(why.clone()),
        };
        let State { space, troubles, last_copied, last_failed, .. } = &*state;
        Look {
            state: how,
            space: *space,
            troubles: troubles.clone(),
            last_copied: *last_copied,
            last_failed: last_failed.clone(),
        }
    }

    /// The location is waited for now, or is no longer.
    fn waits(&self, waits: bool) {
        locked(&self.state).waiting_since = waits.then(Instant::now);
    }

    fn trouble(&self, id: RecordingId, why: String) {
        self.change(|state| {
            state.troubles.retain(|(other, _)| *other != id);
            if state.troubles.len() < TROUBLES_MAX {
                state.troubles.push((id, why));
            }
        });
    }
}

/// Starts a courier.
pub(super) fn spawn(
    job: Job,
    office: Office,
    place: Arc<dyn Place>,
    reads: Reads,
    desk: Arc<Desk>,
) -> io::Result<()> {
    let courier = Courier {
        job,
        office,
        place,
        reads,
        desk,
        scan: Some(None),
        todo: BTreeSet::new(),
        young: BTreeSet::new(),
        copied: Vec::new(),
        removed: Vec::new(),
        settling: BTreeMap::new(),
        refused: BTreeMap::new(),
        oldest: None,
        is_known: false,
        retry: RETRY_FIRST,
    };
    std::thread::Builder::new().name("archive-courier".into()).spawn(move || courier.run()).map(|_| ())
}

struct Courier {
    job: Job,
    office: Office,
    place: Arc<dyn Place>,
    reads: Reads,
    desk: Arc<Desk>,
    /// After which recording the going through all of them goes on; none when it is over.
    scan: Option<Option<RecordingId>>,
    /// To be looked at.
    todo: BTreeSet<RecordingId>,
    /// Not yet due, and when they will be.
    young: BTreeSet<(Timestamp, RecordingId)>,
    /// Copies that the ledger does not know yet, and removals.
    copied: Vec<CopyLine>,
    removed: Vec<RecordingId>,
    /// Copies that the ledger knows and the index may not know yet, with their hashes.
    settling: BTreeMap<RecordingId, String>,
    /// Recordings that the location refused, with the reason: each is tried again when its time comes, the others go on.
    refused: BTreeMap<RecordingId, String>,
    /// Since when.
    oldest: Option<Instant>,
    /// The marker was there since the last failure.
    is_known: bool,
    retry: Duration,
}

/// Why nothing more can be done for now.
enum Stop {
    /// The location refuses.
    Refused(String),
    /// The archive is closed, or cannot write.
    Archive(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Archive(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Refused(error.to_string())
    }
}

impl Courier {
    fn run(mut self) {
        loop {
            if self.take_news() {
                break;
            }
            match self.work() {
                Ok(true) => self.retry = RETRY_FIRST,
                Ok(false) => {
                    self.retry = RETRY_FIRST;
                    self.rest();
                }
                Err(Stop::Archive(Error::Closed)) => break,
                Err(Stop::Archive(e)) => self.fail(format!("the archive: {e}")),
                Err(Stop::Refused(why)) => self.fail(why),
            }
        }
        // What was copied is safe without its line; it is only made again.
        let _ = self.flush();
        self.desk.change(|state| state.ended = true);
    }

    /// Takes what was told; true when it is time to stop.
    fn take_news(&mut self) -> bool {
        let mut state = locked(&self.desk.state);
        self.todo.append(&mut state.news);
        if std::mem::take(&mut state.all_anew) {
            self.scan = Some(None);
        }
        state.stop
    }

    /// Waits for something to do.
    fn rest(&mut self) {
        let due = self.young.first().map(|(due, _)| due.millis_since(wall_clock()));
        let patience = due.map_or(IDLE_LOOK, |ms| IDLE_LOOK.min(Duration::from_millis(ms)));
        let space = self.waiting(|place| place.space());
        self.desk.change(|state| {
            state.space = space;
            match self.refused.values().next() {
                Some(why) => state.phase = Phase::Failing(why.clone()),
                None if state.news.is_empty() && !state.all_anew => state.phase = Phase::Resting,
                None => {}
            }
        });
        let awake = |state: &State| state.stop || state.all_anew || !state.news.is_empty();
        wait_until(&self.desk.state, &self.desk.changed, Instant::now() + patience, awake);
    }

    /// Says why, and waits before the next try.
    fn fail(&mut self, why: String) {
        self.is_known = false;
        let mut told = false;
        self.desk.change(|state| {
            told = matches!(&state.phase, Phase::Failing(before) if *before == why);
            state.phase = Phase::Failing(why.clone());
            state.last_failed = Some((wall_clock(), why.clone()));
        });
        if !told {
            tracing::error!(
                location = self.job.name,
                why,
                "the archive location takes no copies: it is tried again"
            );
        }
        wait_until(&self.desk.state, &self.desk.changed, Instant::now() + self.retry, |state| state.stop);
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    /// Something of the location, which may take its time.
    fn waiting<T>(&self, ask: impl FnOnce(&dyn Place) -> T) -> T {
        self.desk.waits(true);
        let answer = ask(&*self.place);
        self.desk.waits(false);
        answer
    }

    /// Does one thing; false when nothing is left to do.
    fn work(&mut self) -> Result<bool, Stop> {
        self.know_place()?;
        if self.oldest.is_some_and(|since| since.elapsed() >= BATCH_WAIT)
            || self.copied.len() + self.removed.len() >= BATCH_MAX
        {
            self.flush()?;
        }
        let Some((id, is_told)) = self.next()? else {
            return self.flush().map(|()| false);
        };
        self.desk.change(|state| {
            if matches!(state.phase, Phase::Resting | Phase::Starting) {
                state.phase = Phase::Working;
            }
        });
        // Whatever stops it, it is not forgotten.
        match self.look_at(id, is_told) {
            Ok(()) => {
                self.refused.remove(&id);
                self.desk.change(|state| {
                    if matches!(state.phase, Phase::Failing(_)) {
                        state.phase = Phase::Working;
                    }
                });
                Ok(true)
            }
            Err(Stop::Refused(why)) => {
                self.refused.insert(id, why.clone());
                let again = i64::try_from(self.retry.as_millis()).unwrap_or(i64::MAX).saturating_mul(2);
                self.young.insert((wall_clock().plus_millis(again), id));
                Err(Stop::Refused(why))
            }
            Err(e) => {
                self.todo.insert(id);
                Err(e)
            }
        }
    }

    /// The next recording to look at; true when something is known to have happened to it.
    fn next(&mut self) -> Result<Option<(RecordingId, bool)>, Error> {
        let now = wall_clock();
        while let Some(&(due, id)) = self.young.first().filter(|(due, _)| *due <= now) {
            self.young.remove(&(due, id));
            self.todo.insert(id);
        }
        if let Some(id) = self.todo.pop_first() {
            return Ok(Some((id, true)));
        }
        let Some(after) = self.scan else { return Ok(None) };
        let shared = self.office.shared()?;
        let next = shared.index.ids_after(after).next().transpose()?;
        self.scan = next.map(Some);
        if next.is_none() {
            // Then the copies of recordings that are gone, and those that are to be made again.
            for entry in shared.index.all_copies() {
                let (id, copies) = entry?;
                if copies.at(&self.job.name).is_some_and(|copy| copy.stale || copy.gone) {
                    self.todo.insert(id);
                }
            }
            return Ok(self.todo.pop_first().map(|id| (id, true)));
        }
        Ok(next.map(|id| (id, false)))
    }

    /// Is this the place that it is said to be? A new one is marked as ours.
    fn know_place(&mut self) -> Result<(), Stop> {
        if self.is_known {
            return Ok(());
        }
        let shared = self.office.shared()?;
        let ours = Marker { archive: shared.id.clone(), location: self.job.name.clone() };
        match self.waiting(|place| place.marker())? {
            Some(marker) if marker == ours => {}
            Some(Marker { archive, location }) => {
                return Err(Stop::Refused(format!(
                    "it belongs to the archive {archive}, which calls it {location}: each archive needs a folder or a prefix of its own"
                )));
            }
            None => {
                let has_copies = shared
                    .index
                    .all_copies()
                    .any(|entry| entry.is_ok_and(|(_, copies)| copies.at(&self.job.name).is_some()));
                if has_copies {
                    return Err(Stop::Refused("it is empty, and should have copies: is it mounted?".into()));
                }
                self.waiting(|place| place.put_marker(&ours))?;
            }
        }
        self.is_known = true;
        Ok(())
    }

    /// Brings one recording's copy to where it should be.
    fn look_at(&mut self, id: RecordingId, is_told: bool) -> Result<(), Stop> {
        let shared = self.office.shared()?;
        // It is told again when it is in the index.
        let is_on_its_way = self.copied.iter().any(|copy| copy.id == id) || self.removed.contains(&id);
        if shared.is_live(id) || is_on_its_way {
            return Ok(());
        }
        let row = shared.index.bare_row(id)?.filter(|row| row.deleted.is_none());
        let copies = shared.index.copies(id)?;
        let kept = copies.at(&self.job.name);
        let mut changed = false;
        if let Some(sha256) = self.settling.get(&id) {
            let Some(kept) = kept.filter(|kept| kept.sha256 == *sha256) else {
                // It is told when the index has it.
                return Ok(());
            };
            // While the line was on its way nobody could call the copy stale.
            changed = !is_still(&shared, id, &kept.key, kept.bytes)?;
            self.settling.remove(&id);
        }
        match (row, kept) {
            (_, Some(copy)) if copy.gone => {
                self.waiting(|place| place.remove(&path_of(id)))?;
                self.removed.push(id);
                self.oldest.get_or_insert_with(Instant::now);
                Ok(())
            }
            (Some(_), Some(copy)) if !copy.stale && !changed => Ok(()),
            // Nothing says that it was destroyed: the copy may be all that is left of it.
            (None, Some(_)) => {
                let why = "it is not in the archive any more, and nothing says why: its copy stays; `archive check --repair` brings it back";
                self.desk.trouble(id, why.into());
                Ok(())
            }
            // A copy that a stop kept from being told to the ledger.
            (None, None) if is_told => Ok(self.waiting(|place| place.remove(&path_of(id)))?),
            (None, None) => Ok(()),
            (Some(row), _) => {
                let ended = row.facts.ended.unwrap_or(row.facts.started);
                let due = ended.plus_millis(self.job.after_ms);
                if due > wall_clock() {
                    self.wait_for(due, id);
                    return Ok(());
                }
                self.copy(&shared, id, row.moved)
            }
        }
    }

    /// Remembers a recording that is not yet due.
    fn wait_for(&mut self, due: Timestamp, id: RecordingId) {
        if self.young.len() < YOUNG_MAX {
            self.young.insert((due, id));
        } else if self.scan.is_none() {
            // It comes up again when all are looked at; until then it is one of those that stand for the others.
            self.young.insert((wall_clock().plus_millis(YOUNG_AGAIN_MS), id));
            self.young.pop_last();
        }
    }

    /// Copies a recording, or what a copy of it has with the wrapped key as it is now.
    fn copy(&mut self, shared: &Arc<Shared>, id: RecordingId, moved: bool) -> Result<(), Stop> {
        let path = path_of(id);
        let sources: Vec<Arc<dyn ReadAt>> = if moved {
            // What the other locations have first: their copies may be better than the one here, or the only ones.
            let stub = Stub::read(&*shared.disk, id)?;
            let others = shared.locations.copies_of(shared, id, &stub.head, Some(&self.job.name))?;
            others.into_iter().map(|(_, copy)| copy).collect()
        } else {
            vec![Arc::clone(&shared.disk) as Arc<dyn ReadAt>]
        };
        let mut good = Err(Error::NotFound { what: id.to_string() });
        for source in sources {
            let layout = Layout::read(&*source, &path);
            good = layout.and_then(|layout| {
                layout.verify(&*source, &shared.keys.signer())?;
                Ok((source, layout))
            });
            if good.is_ok() {
                break;
            }
        }
        let (source, layout) = match good {
            Ok(good) => good,
            // Deleted a moment ago: that is told too.
            Err(Error::NotFound { .. }) if !moved => return Ok(()),
            Err(e @ Error::Io { .. }) if moved => return Err(Stop::Refused(e.to_string())),
            Err(e) => {
                tracing::error!(recording = %id, error = %e, "a recording that does not verify is not copied");
                self.desk.trouble(id, e.to_string());
                return Ok(());
            }
        };
        let key = hex(&layout.parsed.head.wrap.key_id);
        let sha256 = if moved {
            // The copy that is written over may be the source, and the only one there is: a second one stands beside it until the
            // first reads back.
            let beside = format!("{path}.beside");
            self.proven(&*source, &path, &beside, layout.len)?;
            let sha256 = self.proven(&*source, &path, &path, layout.len);
            let sha256 = match sha256 {
                Ok(sha256) => sha256,
                Err(_) => {
                    let fresh =
                        Beside { reads: Copy::new(self.reads.clone(), Vec::new()), name: beside.clone() };
                    self.proven(&fresh, &path, &path, layout.len)?
                }
            };
            self.waiting(|place| place.remove(&beside))?;
            sha256
        } else {
            self.proven(&*source, &path, &path, layout.len)?
        };
        // A mount that went away in the middle left the copy on this machine's own disk.
        self.is_known &= !self.place.can_vanish();
        self.know_place()?;
        self.desk.change(|state| state.troubles.retain(|(other, _)| *other != id));
        self.copied.push(CopyLine { id, bytes: layout.len, sha256, key });
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Puts a file there until it reads back as what it is, twice at most. Gives its hash.
    fn proven(&self, source: &dyn ReadAt, path: &str, name: &str, len: u64) -> Result<String, Stop> {
        for _ in 0..2 {
            if let Some(sha256) = self.bring(source, path, name, len)? {
                return Ok(sha256);
            }
        }
        Err(Stop::Refused(format!("{name}: what was written there does not read back the same, twice")))
    }

    /// Puts a file there and reads it back. Gives its hash; none when it reads back as something else.
    fn bring(&self, source: &dyn ReadAt, path: &str, name: &str, len: u64) -> Result<Option<String>, Stop> {
        let (mut hash, mut at, mut unread) = (Sha256::new(), 0, None);
        let mut feed = |buf: &mut [u8]| {
            // The location took what came before.
            self.desk.waits(true);
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(buf.len());
            let read =
                source.read_at(path, at, &mut buf[..want]).inspect_err(|e| unread = Some(e.to_string()))?;
            hash.update(&buf[..read]);
            at += read as u64;
            Ok(read)
        };
        let put = self.waiting(|place| place.put(name, len, &mut feed));
        if let Some(why) = unread {
            return Err(Stop::Refused(format!("{path} cannot be read: {why}")));
        }
        put?;
        let back = self.waiting(|place| digest_there(place, name, &|| self.desk.waits(true)))?;
        let sent: [u8; 32] = hash.finalize().into();
        Ok((at == len && back == Some((sent, len))).then(|| hex(&sent)))
    }

    /// Has the ledger say what was done.
    fn flush(&mut self) -> Result<(), Stop> {
        let location = &self.job.name;
        let mut events = Vec::new();
        if !self.copied.is_empty() {
            events.push(What::Copied { location: location.clone(), copies: self.copied.clone() });
        }
        if !self.removed.is_empty() {
            events.push(What::CopiesRemoved { location: location.clone(), ids: self.removed.clone() });
        }
        for what in events {
            let is_copies = matches!(what, What::Copied { .. });
            let event = Box::new(Event::by_itself(wall_clock(), what));
            self.office.ask(|answer| Command::Event { event, answer })?;
            if is_copies {
                self.desk.change(|state| state.last_copied = Some(wall_clock()));
                self.settling.extend(self.copied.drain(..).map(|copy| (copy.id, copy.sha256)));
            } else {
                self.removed.clear();
            }
        }
        self.oldest = None;
        Ok(())
    }
}

/// What stands beside a copy, read by the copy's name.
#[derive(Debug)]
struct Beside {
    reads: Copy,
    name: String,
}

impl ReadAt for Beside {
    fn read_at(&self, _: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.reads.read_at(&self.name, offset, buf)
    }

    fn len(&self, _: &str) -> io::Result<Option<u64>> {
        self.reads.len(&self.name)
    }
}

/// Is a recording what its copy was made of: wrapped to this key, of this length?
fn is_still(shared: &Shared, id: RecordingId, key: &str, bytes: u64) -> Result<bool, Error> {
    let Some(home) = home_of(&*shared.disk, id)? else { return Ok(false) };
    let wrapped = wrap_key_at(&*shared.disk, &home)?.as_deref() == Some(key);
    let whole = layout_at(&*shared.disk, &home).is_ok_and(|layout| layout.len == bytes);
    Ok(wrapped && whole)
}

/// SHA-256 and length of what is there; none when nothing is.
pub(super) fn digest_there(
    place: &dyn Place,
    path: &str,
    heard: &dyn Fn(),
) -> io::Result<Option<([u8; 32], u64)>> {
    if place.len(path)?.is_none() {
        return Ok(None);
    }
    let (mut hash, mut block, mut at) = (Sha256::new(), vec![0; BLOCK_LEN], 0);
    loop {
        let read = place.read_at(path, at, &mut block)?;
        heard();
        hash.update(&block[..read]);
        at += read as u64;
        if read < block.len() {
            return Ok(Some((hash.finalize().into(), at)));
        }
    }
}
