//! The scrub: a thread that reads all finished recordings again and again, slowly, and tells what is no longer what was sealed.
//!
//! Disks lose bytes in silence, and nobody looks at a recording until it is needed. It goes from folder to folder (a folder is
//! a day), in the order of names, and remembers its place in [`SCRUB`]. What it finds is told in three places: the log, an event
//! of the ledger, [`Archive::scrub_findings`]. Mending is not here.
//!
//! A recording whose audio lies in archive locations alone is read there: at each of them, and once in [`MOVED_ROUNDS`] rounds,
//! since what is read from elsewhere costs a line, or money. A copy that is bad while another is good is made again from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, ReadAt, locked, read_whole};
use crate::event::{Event, What};
use crate::layout::Layout;
use crate::ledger::{self, Lines, RecordingLine};
use crate::locations::stub::{Stub, home_of, stub_path};
use crate::scribe::{Command, Commands};
use crate::shared::{Shared, wall_clock};
use crate::source::Source;
use crate::verify::{id_in, sealed, verdict};
use crate::wave::{RECORDINGS_DIR, id_of, path_of};
use crate::{Archive, Error, RecordingId, Verdict};

/// Where it is, and what the last round came to.
pub(crate) const SCRUB: &str = "scrub.json";
const SCRUB_MAX: u64 = 64 * 1024;
/// A moved recording is read in one of so many rounds: about once a month.
const MOVED_ROUNDS: u64 = 30;
/// A round begins no sooner than this after the one before began.
const ROUND_MIN: Duration = Duration::from_secs(24 * 3_600);
/// How often its place is written down.
const PLACE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it waits after something that it could not do.
const TROUBLE_WAIT: Duration = Duration::from_secs(600);
/// Findings that are kept, and told in the ledger; more are in the log alone.
const FINDINGS_MAX: usize = 10_000;
/// Bytes read at a time, at most: what one wait is for.
const READ_MAX: usize = 64 * 1024;

/// Something that the scrub found, and that was so when it looked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFinding {
    /// The recording.
    pub id: RecordingId,
    /// What is wrong with it.
    pub what: String,
}

/// A whole round of the scrub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// When it ended, by the machine's clock.
    pub ended: Timestamp,
    /// Recordings read.
    pub recordings: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Recordings that are not what was sealed.
    pub found: u64,
}

/// [`SCRUB`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The recording read last in this round; none at its beginning.
    after: Option<RecordingId>,
    /// When this round began, by the machine's clock; none when the last one has ended and no other has begun.
    begun: Option<Timestamp>,
    recordings: u64,
    bytes: u64,
    found: u64,
    last_round: Option<Scrubbed>,
    /// Rounds that have ended.
    #[serde(default)]
    rounds: u64,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Scrubber {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    findings: Arc<Mutex<BTreeMap<RecordingId, String>>>,
}

impl Scrubber {
    pub(crate) fn close(self) {
        drop(self.stop);
        // Its panic is in the log; the archive goes on ending.
        let _ = self.thread.join();
    }
}

impl Archive {
    /// From now on reads all finished recordings again and again, in a thread of its own, at most so many bytes a second.
    ///
    /// # Errors
    /// [`Error::Io`] when no thread can be started.
    pub fn scrub(&self, bytes_per_s: u64) -> Result<(), Error> {
        let mut scrubber = locked(&self.scrubber);
        if let Some(before) = scrubber.take() {
            before.close();
        }
        let commands = self.handle.as_ref().ok_or(Error::Closed)?.commands.clone();
        let (stop, stopped) = bounded(0);
        let scrub = Scrub::new(&self.shared, commands, bytes_per_s, stopped);
        let findings = Arc::clone(&scrub.findings);
        let run = move || scrub.run();
        let thread = std::thread::Builder::new().name("archive-scrub".into()).spawn(run);
        let thread = thread.map_err(|e| Error::io(self.dir(), e))?;
        *scrubber = Some(Scrubber { stop, thread, findings });
        Ok(())
    }

    /// What the scrub of this archive found wrong, by the recordings' names; nothing unless it runs.
    #[must_use]
    pub fn scrub_findings(&self) -> Vec<ScrubFinding> {
        let scrubber = locked(&self.scrubber);
        let Some(scrubber) = &*scrubber else { return Vec::new() };
        let findings = locked(&scrubber.findings);
        findings.iter().map(|(&id, what)| ScrubFinding { id, what: what.clone() }).collect()
    }

    /// The last whole round of the scrub; none when there was none yet.
    #[must_use]
    pub fn scrubbed(&self) -> Option<Scrubbed> {
        read_place(&*self.shared.disk).last_round
    }
}

fn read_place(disk: &dyn Disk) -> Place {
    let json = read_whole(disk, SCRUB, SCRUB_MAX).ok().flatten();
    json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Why it does not go on.
enum Halt {
    /// The archive is being closed.
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

struct Scrub {
    shared: Arc<Shared>,
    commands: Commands,
    pace: Arc<Pace>,
    /// What is wrong, as of the last look.
    findings: Arc<Mutex<BTreeMap<RecordingId, String>>>,
    /// What the ledger has been told.
    told: BTreeSet<(RecordingId, String)>,
    place: Place,
    written: Instant,
    /// Archive locations that did not answer in this round: nobody waits for them again before the next one.
    silent: BTreeSet<String>,
}

/// What a look at a recording came to.
enum Looked {
    /// It is what was sealed.
    Whole,
    Wrong {
        what: String,
        /// One of its copies is good: the others are to be made again.
        has_good_copy: bool,
    },
    /// It was not read in this round.
    Unread,
}

impl Scrub {
    fn new(shared: &Arc<Shared>, commands: Commands, bytes_per_s: u64, stopped: Receiver<()>) -> Scrub {
        Scrub {
            shared: Arc::clone(shared),
            commands,
            pace: Arc::new(Pace { bytes_per_s: bytes_per_s.max(1), stopped, owed: Mutex::default() }),
            findings: Arc::default(),
            told: BTreeSet::new(),
            place: Place::default(),
            written: Instant::now(),
            silent: BTreeSet::new(),
        }
    }

    fn run(mut self) {
        self.remember();
        loop {
            let wait = match self.round() {
                Ok(wait) => wait,
                Err(Halt::Stopped) => break,
                Err(Halt::Failed(e)) => {
                    tracing::error!(error = %e, "the scrub cannot go on for now");
                    TROUBLE_WAIT
                }
            };
            if self.pace.wait(wait).is_err() {
                break;
            }
        }
        self.write_place();
    }

    /// What earlier runs found and where they stopped.
    fn remember(&mut self) {
        let disk = &self.shared.disk;
        self.place = read_place(&**disk);
        for file in ledger::months(&**disk, ledger::EVENTS).unwrap_or_default() {
            for event in Lines::<Event>::new(Arc::clone(disk), file, 0).flatten() {
                if let What::ScrubFound { id, what } = event.what
                    && self.told.len() < FINDINGS_MAX
                {
                    locked(&self.findings).insert(id, what.clone());
                    self.told.insert((id, what));
                }
            }
        }
    }

    /// The rest of a round, or all of one. Gives how long to wait for the next.
    fn round(&mut self) -> Result<Duration, Halt> {
        let now = wall_clock();
        let begun = match self.place.begun {
            Some(begun) => begun,
            None => {
                let last_round = self.place.last_round.take();
                let rounds = self.place.rounds;
                self.place = Place { begun: Some(now), last_round, rounds, ..Place::default() };
                self.silent.clear();
                now
            }
        };
        for day in days(&*self.shared.disk)? {
            // By the last name that the day could have.
            if self.place.after.is_none_or(|after| day >= day_of(after)) {
                self.day(&day)?;
            }
        }
        let Place { recordings, bytes, found, .. } = self.place;
        self.place.last_round = Some(Scrubbed { ended: wall_clock(), recordings, bytes, found });
        (self.place.begun, self.place.after) = (None, None);
        self.place.rounds += 1;
        self.write_place();
        let took = Duration::from_millis(wall_clock().millis_since(begun));
        Ok(ROUND_MIN.saturating_sub(took))
    }

    /// The recordings of one folder, and those that should be in it.
    fn day(&mut self, day: &str) -> Result<(), Halt> {
        let shared = Arc::clone(&self.shared);
        let there = shared.disk.list(day).map_err(|e| Error::io(day, e))?;
        let mut all: BTreeMap<RecordingId, Option<RecordingLine>> = there
            .iter()
            .filter_map(|entry| id_of(&format!("{day}/{}", entry.name)))
            .map(|id| (id, None))
            .collect();
        for (id, line) in self.named(day)? {
            all.insert(id, Some(line));
        }
        for (id, line) in all {
            if self.place.after.is_none_or(|after| id > after) {
                self.recording(id, line)?;
                self.place.after = Some(id);
                if self.written.elapsed() >= PLACE_INTERVAL {
                    self.write_place();
                }
            }
        }
        Ok(())
    }

    /// What the ledger says of the recordings of a day that should be there.
    fn named(&self, day: &str) -> Result<BTreeMap<RecordingId, RecordingLine>, Halt> {
        let disk = &self.shared.disk;
        let mut named = BTreeMap::new();
        // recordings/YYYY/MM/DD
        let mut parts = day.split('/').skip(1);
        let (year, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let file = format!("{}/{}{year}-{month}.jsonl", ledger::LEDGER_DIR, ledger::RECORDINGS);
        if disk.len(&file).map_err(|e| Error::io(&file, e))?.is_none() {
            return Ok(named);
        }
        let mut lines = Lines::<RecordingLine>::new(Arc::clone(disk), file, 0);
        while let Some((_, line)) = lines.next_raw()? {
            if let Some(id) = id_in(line).filter(|id| day_of(*id) == day)
                && let Ok(line) = serde_json::from_slice::<RecordingLine>(line)
            {
                if line.fate.is_gone() {
                    named.remove(&id)
                } else {
                    named.insert(id, line)
                };
            }
        }
        Ok(named)
    }

    fn recording(&mut self, id: RecordingId, line: Option<RecordingLine>) -> Result<(), Halt> {
        if self.shared.is_live(id) {
            return Ok(());
        }
        let mut looked = self.look(id, line.as_ref())?;
        if matches!(looked, Looked::Wrong { .. }) {
            // Finished, moved, deleted or rewritten since the ledger was read: what it says now counts.
            let line = self.named(&day_of(id))?.remove(&id);
            let there = home_of(&*self.shared.disk, id)?;
            looked = match (line, there) {
                _ if self.shared.is_live(id) => Looked::Unread,
                (None, None) => Looked::Whole,
                (line, _) => self.look(id, line.as_ref())?,
            };
        }
        match looked {
            Looked::Unread => return Ok(()),
            Looked::Whole => {
                if let Some(what) = locked(&self.findings).remove(&id) {
                    tracing::info!(recording = %id, "what the scrub found is mended, or the recording is deleted");
                    self.told.remove(&(id, what));
                }
            }
            Looked::Wrong { what, has_good_copy } => {
                self.place.found += 1;
                self.tell(id, what)?;
                if has_good_copy {
                    self.shared.index.make_copies_stale(id)?;
                    self.shared.locations.tell(id);
                }
            }
        }
        self.place.recordings += 1;
        Ok(())
    }

    /// Is a recording what was sealed?
    fn look(&mut self, id: RecordingId, line: Option<&RecordingLine>) -> Result<Looked, Halt> {
        let path = path_of(id);
        if home_of(&*self.shared.disk, id)? == Some(stub_path(id)) {
            return self.look_away(id, line);
        }
        let len = self.shared.disk.len(&path).map_err(|e| Error::io(&path, e))?.unwrap_or_default();
        let disk = self.slowly(Arc::clone(&self.shared.disk) as Arc<dyn ReadAt>);
        let looked = Layout::read(&*disk, &path).and_then(|layout| self.read(disk, layout, line));
        self.go_on()?;
        self.place.bytes += len;
        Ok(match wrong(looked) {
            None => Looked::Whole,
            Some(what) => Looked::Wrong { what, has_good_copy: false },
        })
    }

    /// Reads all of a file. True when the ledger names it.
    fn read(
        &self,
        disk: Arc<dyn ReadAt>,
        layout: Layout,
        line: Option<&RecordingLine>,
    ) -> Result<bool, Error> {
        let path = layout.path.clone();
        // What it was re-encoded from is for the whole ledger to say: verification looks.
        sealed(&self.shared, &Source { disk, layout, is_verified: false }, &path, line, false)
    }

    /// An end when it was told to stop: what was read then broke off for that.
    fn go_on(&self) -> Result<(), Halt> {
        self.pace.wait(Duration::ZERO).map_err(|_| Halt::Stopped)
    }

    /// The same of a recording that was moved, at each location that says it has it and that answers.
    fn look_away(&mut self, id: RecordingId, line: Option<&RecordingLine>) -> Result<Looked, Halt> {
        let turn = u64::from(id.as_bytes()[15]) % MOVED_ROUNDS;
        if turn != self.place.rounds % MOVED_ROUNDS && !locked(&self.findings).contains_key(&id) {
            return Ok(Looked::Unread);
        }
        let shared = Arc::clone(&self.shared);
        let stub = match Stub::read(&*shared.disk, id) {
            Ok(stub) => stub,
            Err(e @ Error::Io { .. }) => return Err(e.into()),
            Err(e) => {
                let what = verdict(Err(e)).words().1;
                return Ok(Looked::Wrong { what, has_good_copy: false });
            }
        };
        let (mut has_good_copy, mut bad) = (false, Vec::new());
        for (location, copy) in shared.locations.copies_of(&shared, id, &stub.head, None)? {
            if self.silent.contains(&location) {
                continue;
            }
            let looked = self.read(self.slowly(copy), stub.layout.clone(), line);
            self.go_on()?;
            match looked {
                Err(e @ Error::Io { .. }) => {
                    let is_gone =
                        matches!(&e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
                    if !is_gone || !shared.locations.is_here(&shared, &location) {
                        // That it does not answer is its courier's to tell.
                        tracing::warn!(location, error = %e, "the scrub reads no more copies there in this round");
                        self.silent.insert(location);
                        continue;
                    }
                    bad.push(format!("{location}: the copy is gone"));
                }
                looked => match wrong(looked) {
                    None => has_good_copy = true,
                    Some(what) => bad.push(format!("{location}: {what}")),
                },
            }
            self.place.bytes += stub.layout.len;
        }
        if bad.is_empty() {
            return Ok(if has_good_copy { Looked::Whole } else { Looked::Unread });
        }
        let then = if has_good_copy { "another is good: it is made again" } else { "none was found good" };
        let what = format!("a copy is not what was sealed ({}); {then}", bad.join("; "));
        Ok(Looked::Wrong { what, has_good_copy })
    }

    /// Something to read from, at the pace that is allowed.
    fn slowly(&self, from: Arc<dyn ReadAt>) -> Arc<dyn ReadAt> {
        Arc::new(Slow { inner: from, pace: Arc::clone(&self.pace) })
    }

    fn tell(&mut self, id: RecordingId, what: String) -> Result<(), Halt> {
        let mut findings = locked(&self.findings);
        if findings.len() < FINDINGS_MAX || findings.contains_key(&id) {
            findings.insert(id, what.clone());
        }
        drop(findings);
        if self.told.contains(&(id, what.clone())) {
            return Ok(());
        }
        tracing::error!(recording = %id, what, "the scrub found a recording that is not what was sealed");
        if self.told.len() >= FINDINGS_MAX {
            return Ok(());
        }
        let event = Event::by_itself(wall_clock(), What::ScrubFound { id, what: what.clone() });
        let (answer, result) = bounded(1);
        let command = Command::Event { event: Box::new(event), answer };
        self.commands.send(command).map_err(|_| Halt::Stopped)?;
        result.recv().map_err(|_| Halt::Stopped)??;
        self.told.insert((id, what));
        Ok(())
    }

    fn write_place(&mut self) {
        self.written = Instant::now();
        let json = serde_json::to_vec(&self.place).map_err(io::Error::other);
        if let Err(e) = json.and_then(|json| self.shared.disk.replace(SCRUB, &json, false)) {
            tracing::warn!(error = %e, "the scrub's place is not written down");
        }
    }
}

/// What is wrong with a file that was read; nothing when the ledger names it.
fn wrong(looked: Result<bool, Error>) -> Option<String> {
    let named = |named| if named { Verdict::Intact { opened: false } } else { Verdict::Unlisted };
    match verdict(looked.map(named)) {
        Verdict::Intact { .. } => None,
        wrong => Some(wrong.words().1),
    }
}

/// The folder of a recording's day.
fn day_of(id: RecordingId) -> String {
    crate::disk::parent(&path_of(id)).to_owned()
}

/// The folders of days, oldest first.
fn days(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    let mut folders = vec![RECORDINGS_DIR.to_owned()];
    for _level in ["year", "month", "day"] {
        let mut below = Vec::new();
        for folder in folders {
            let entries = disk.list(&folder).map_err(|e| Error::io(&folder, e))?;
            below.extend(entries.iter().filter(|e| e.is_dir).map(|e| format!("{folder}/{}", e.name)));
        }
        folders = below;
    }
    Ok(folders)
}

/// How fast may be read, of all that is read together. Waiting ends with an error when it is told to stop.
#[derive(Debug)]
struct Pace {
    bytes_per_s: u64,
    stopped: Receiver<()>,
    /// What was not waited yet.
    owed: Mutex<Duration>,
}

/// Less is not waited for at once: a look at a frame header would take longer than reading it.
const WAIT_MIN: Duration = Duration::from_millis(5);

impl Pace {
    /// Waits for what these bytes cost; an error when it is to stop.
    fn pay(&self, bytes: usize) -> io::Result<()> {
        let mut owed = locked(&self.owed);
        *owed += Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        if *owed < WAIT_MIN {
            return Ok(());
        }
        self.wait(std::mem::take(&mut *owed))
    }

    /// Waits; an error when it is to stop.
    fn wait(&self, time: Duration) -> io::Result<()> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(io::Error::other("the archive is being closed")),
        }
    }
}

/// Something whose reads take their time: after each, what the pace allows is waited for.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn ReadAt>,
    pace: Arc<Pace>,
}

impl ReadAt for Slow {
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        for block in buf.chunks_mut(READ_MAX) {
            let read = self.inner.read_at(path, offset.saturating_add(done as u64), block)?;
            done += read;
            self.pace.pay(read)?;
            if read < block.len() {
                break;
            }
        }
        Ok(done)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        self.inner.len(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::{append, facts};
    use crate::locations::{CopyRules, Duty, Location, PlaceConfig};

    /// An archive with recordings 1 to 4, finished and settled.
    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("made");
        for n in 1..=4 {
            let mut writer = archive.create(facts(n)).expect("begun");
            (0..40).try_for_each(|i| append(&mut writer, n, i)).expect("kept");
            let ended = facts(n).started.plus_millis(800);
            writer
                .finish(RecordingFacts { ended: Some(ended), duration_ms: 800, ..facts(n) })
                .expect("finished");
        }
        archive.sync().expect("synced");
        (dir, archive)
    }

    use crate::RecordingFacts;

    const FAST: u64 = 1 << 40;

    fn scrub(archive: &Archive, rate: u64) -> (Scrub, Sender<()>) {
        let (stop, stopped) = bounded(0);
        let commands = archive.handle.as_ref().expect("open").commands.clone();
        let mut scrub = Scrub::new(&archive.shared, commands, rate, stopped);
        scrub.remember();
        (scrub, stop)
    }

    fn round(scrub: &mut Scrub) -> Scrubbed {
        assert!(scrub.round().is_ok());
        scrub.place.last_round.clone().expect("a round")
    }

    fn events(archive: &Archive) -> Vec<RecordingId> {
        let events = archive.events().expect("events").flatten();
        let found = events.filter_map(|event| match event.what {
            What::ScrubFound { id, .. } => Some(id),
            _ => None,
        });
        found.collect()
    }

    #[test]
    fn what_is_changed_or_missing_is_told_once_and_forgotten_when_it_is_mended() {
        let (dir, archive) = archive();
        let file = |n| dir.path().join("archive").join(path_of(facts(n).id));
        let (mut first, _stop) = scrub(&archive, FAST);
        assert_eq!((round(&mut first).recordings, round(&mut first).found), (4, 0));
        let whole = std::fs::read(file(2)).expect("read");
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        std::fs::write(file(2), &changed).expect("written");
        std::fs::rename(file(3), dir.path().join("aside")).expect("moved");
        assert_eq!(round(&mut first).found, 2);
        assert_eq!(events(&archive), [2, 3].map(|n| facts(n).id));
        assert_eq!(round(&mut first).found, 2);
        drop(first);
        // A later run knows what was told.
        let (mut second, _stop) = scrub(&archive, FAST);
        assert_eq!(locked(&second.findings).len(), 2);
        assert_eq!(round(&mut second).found, 2);
        assert_eq!(events(&archive).len(), 2, "told once");
        std::fs::write(file(2), whole).expect("written");
        std::fs::rename(dir.path().join("aside"), file(3)).expect("moved");
        assert_eq!(round(&mut second).found, 0);
        assert!(locked(&second.findings).is_empty());
        assert_eq!(archive.scrubbed().map(|last| (last.recordings, last.found)), Some((4, 0)));
        assert_eq!(archive.check(false).expect("checked"), []);
    }

    #[test]
    fn a_moved_recording_is_read_where_its_copies_are_and_a_good_one_mends_a_bad_one() {
        let (dir, archive) = archive();
        let place = |name: &str| dir.path().join(name);
        let locations = ["near", "far"].map(|name| {
            std::fs::create_dir(place(name)).expect("made");
            Location { name: name.to_owned(), place: PlaceConfig::Folder(place(name)) }
        });
        let rules =
            CopyRules { locations: locations.to_vec(), keep_local_ms: Some(0), ..CopyRules::default() };
        archive.use_locations(&rules, Duty::Copy).expect("used");
        let copies = || assert!(archive.wait_for_copies(Duration::from_secs(60)));
        copies();
        assert_eq!(archive.move_out().expect("moved"), 4);
        let copy = |name, n| place(name).join(path_of(facts(n).id));
        let change = |name, n| {
            let mut bytes = std::fs::read(copy(name, n)).expect("read");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(copy(name, n), bytes).expect("written");
        };
        let (mut scrub, _stop) = scrub(&archive, FAST);
        let month = |scrub: &mut Scrub| {
            let rounds: Vec<Scrubbed> = (0..MOVED_ROUNDS).map(|_| round(scrub)).collect();
            (rounds.iter().map(|round| round.recordings).sum::<u64>(), rounds.last().map(|round| round.found))
        };
        assert_eq!(month(&mut scrub), (4, Some(0)), "each once, and none is wrong");
        change("near", 1);
        std::fs::remove_file(copy("far", 2)).expect("removed");
        month(&mut scrub);
        assert_eq!(events(&archive).len(), 2);
        copies();
        let same = |n| std::fs::read(copy("near", n)).ok() == std::fs::read(copy("far", n)).ok();
        assert!(same(1) && same(2), "made again, each from the other");
        assert_eq!(
            (round(&mut scrub).found, locked(&scrub.findings).len()),
            (0, 0),
            "what was found is read in each round"
        );
        change("near", 3);
        change("far", 3);
        assert_eq!(month(&mut scrub).1, Some(1), "nothing mends it");
        assert!(locked(&scrub.findings).values().any(|what| what.contains("none was found good")));
        assert_eq!(events(&archive).len(), 3);
        // A mount that is away is no recording's fault.
        for name in ["near", "far"] {
            std::fs::rename(place(name), dir.path().join(format!("{name} elsewhere"))).expect("moved");
            std::fs::create_dir(place(name)).expect("made");
        }
        month(&mut scrub);
        assert_eq!(events(&archive).len(), 3);
    }

    #[test]
    fn what_is_deleted_or_still_recorded_is_no_finding() {
        let (_dir, archive) = archive();
        let running = archive.create(facts(9)).expect("begun");
        let deletion = crate::Deletion {
            at: wall_clock(),
            who: "eve".into(),
            rule: "by hand".into(),
            why: "test".into(),
        };
        archive.delete(facts(1).id, deletion, true).expect("deleted");
        let (mut scrub, _stop) = scrub(&archive, FAST);
        let last = round(&mut scrub);
        assert_eq!((last.recordings, last.found), (3, 0));
        drop(running);
    }

    #[test]
    fn it_goes_on_where_it_was_stopped_and_stops_at_once() {
        let (_dir, archive) = archive();
        let (mut slow, stop) = scrub(&archive, 1);
        drop(stop);
        assert!(matches!(slow.round(), Err(Halt::Stopped)), "a byte a second would take hours");
        slow.place.after = Some(facts(2).id);
        slow.write_place();
        let (mut scrub, _stop) = scrub(&archive, FAST);
        assert_eq!(round(&mut scrub).recordings, 2, "the other two were read before");
        assert_eq!(round(&mut scrub).recordings, 4, "a new round");
        archive.scrub(1).expect("a thread");
        let begun = Instant::now();
        archive.close().expect("closed");
        assert!(begun.elapsed() < Duration::from_secs(10), "waits for nothing");
    }
}
