//! Archive locations: copies of finished recordings in other places, at most [`LOCATIONS_MAX`], each a folder (the mount of
//! another machine) or a bucket of S3-compatible storage.
//!
//! Each location has a courier, a thread that copies, reads back, compares and only then has the ledger say that there is a
//! copy; and a thread that reads for playback. Whatever a location does (hangs, fills, refuses, garbles), recording does not
//! wait for it, and the original stays until every location has a copy that was read back. What a copy is, and who may then
//! remove the original, is in `mover.rs`. Copies are sealed like the originals: a location can read nothing.

mod bucket;
pub(crate) mod copies;
mod courier;
mod mover;
mod place;
mod reads;
pub(crate) mod stub;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use decode::Timestamp;
use zeroize::Zeroizing;

use crate::disk::{ReadAt, locked};
use crate::scribe::{Command, Commands};
use crate::shared::Shared;
use crate::source::Source;
use crate::{Archive, Error, RecordingId, Space};
use courier::{Desk, Look};
use place::{Folder, Place};
use reads::{Copy, Reads};
use stub::Stub;

/// Locations of one archive.
pub const LOCATIONS_MAX: usize = 5;
/// How long the end of the archive waits for a location that hangs.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// An operation that takes longer than this hangs, for whoever asks.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// An archive location.
#[derive(Clone, Debug)]
pub struct Location {
    /// Its name in the ledger: another name is another location. Letters, digits, `-` and `_`.
    pub name: String,
    /// Where it is.
    pub place: PlaceConfig,
}

/// Where a location is.
#[derive(Clone, Debug)]
pub enum PlaceConfig {
    /// A folder that is there.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Bucket),
}

/// A bucket of S3-compatible object storage.
#[derive(Clone)]
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with; empty for none.
    pub prefix: String,
    /// The server, as `https://s3.example.com`; AWS when absent.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` when absent.
    pub region: Option<String>,
    /// The access key's id, and its secret.
    pub key: (String, Zeroizing<String>),
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for PlaceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PlaceConfig::Folder(path) => write!(f, "{}", path.display()),
            PlaceConfig::Bucket(bucket) => {
                let at =
                    bucket.endpoint.as_deref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
                write!(f, "s3://{}/{}{at}", bucket.bucket, bucket.prefix)
            }
        }
    }
}

/// What is done with locations while an archive is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Recordings are read from them.
    Read,
    /// Copies are brought there and taken away too, and originals are removed.
    Copy,
}

/// What is done about copies.
#[derive(Clone, Debug, Default)]
pub struct CopyRules {
    /// The locations, the nearest first: that is the order in which they are asked for playback.
    pub locations: Vec<Location>,
    /// Recordings are copied when they ended so many milliseconds ago.
    pub after_ms: i64,
    /// The original goes when it ended so many milliseconds ago and every location has a copy; never when absent.
    pub keep_local_ms: Option<i64>,
    /// On a disk that is getting full the oldest originals that every location has go earlier.
    pub make_room: bool,
}

/// How a location does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "why")]
pub enum LocationState {
    /// Not asked yet.
    Starting,
    /// Everything that is due is there.
    UpToDate,
    /// Copying.
    Copying,
    /// It answers; nothing is copied now.
    Reachable,
    /// It does not take copies, and is tried again.
    Failing(String),
    /// It has not answered for so many seconds.
    Hanging(u64),
}

/// What is known of a location.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LocationStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: String,
    /// How it does.
    #[serde(flatten)]
    pub state: LocationState,
    /// The room there, where it tells.
    pub space: Option<Space>,
    /// Copies that were read back and compared.
    pub copies: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Finished recordings without a copy there, those that are not yet due among them.
    pub missing: u64,
    /// Copies of deleted recordings that are still there, or that are to be made again.
    pub stale: u64,
    /// Recordings that cannot be copied, with the reason; the first [`TROUBLES_MAX`].
    pub troubles: Vec<(RecordingId, String)>,
    /// When the ledger last got a line of copies there, since the archive was opened.
    pub last_copied: Option<Timestamp>,
    /// When the location last took no copies, since the archive was opened, and why.
    pub last_failed: Option<(Timestamp, String)>,
}

/// How all locations do, and what they hold.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CopyStatus {
    /// Each of them, in the order of the configuration.
    pub locations: Vec<LocationStatus>,
    /// Recordings that there are, here or there.
    pub recordings: u64,
    /// Those whose original is not here any more.
    pub moved: u64,
}

/// Recordings named that could not be copied.
pub const TROUBLES_MAX: usize = 100;

/// All locations of an open archive.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    posts: Mutex<Vec<Arc<Post>>>,
    mover: Mutex<Option<mover::Handle>>,
}

/// A location's name, and a copy there.
pub(crate) type NamedCopy = (String, Arc<dyn ReadAt>);

/// One location at work.
#[derive(Debug)]
struct Post {
    location: Location,
    reads: Reads,
    /// None while it is only read.
    desk: Option<Arc<Desk>>,
}

impl Locations {
    /// Something about this recording may have to be done at every location. Never waits.
    pub(crate) fn tell(&self, id: RecordingId) {
        locked(&self.posts).iter().filter_map(|post| post.desk.as_ref()).for_each(|desk| desk.tell(id));
    }

    /// No more is copied: waits a moment for what is on its way.
    pub(crate) fn close(&self) {
        drop(locked(&self.mover).take());
        let posts = std::mem::take(&mut *locked(&self.posts));
        let desks = || posts.iter().filter_map(|post| Some((&post.location.name, post.desk.as_ref()?)));
        desks().for_each(|(_, desk)| desk.stop());
        let deadline = Instant::now() + CLOSE_WAIT;
        for (location, desk) in desks() {
            if !desk.wait_for_end(deadline) {
                tracing::warn!(location, "the archive location does not answer: it is left alone");
            }
        }
    }

    /// The copies of a recording in these locations, in the order of the locations but for `last`, which comes last; each with
    /// this header in place of its own.
    pub(crate) fn copies_of(
        &self,
        shared: &Shared,
        id: RecordingId,
        head: &[u8],
        last: Option<&str>,
    ) -> Result<Vec<NamedCopy>, Error> {
        let copies = shared.index.copies(id)?;
        let mut posts = locked(&self.posts).clone();
        posts.retain(|post| copies.at(&post.location.name).is_some());
        posts.sort_by_key(|post| Some(post.location.name.as_str()) == last);
        let copy = |post: &Arc<Post>| {
            let copy: Arc<dyn ReadAt> = Arc::new(Copy::new(post.reads.clone(), head.to_vec()));
            (post.location.name.clone(), copy)
        };
        Ok(posts.iter().map(copy).collect())
    }

    /// Does the location of this name answer, and is it the place that it is said to be? A folder whose mount is away is not.
    pub(crate) fn is_here(&self, shared: &Shared, name: &str) -> bool {
        let post = locked(&self.posts).iter().find(|post| post.location.name == name).cloned();
        let ours = place::Marker { archive: shared.id.clone(), location: name.to_owned() };
        post.is_some_and(|post| post.reads.probe().is_ok_and(|(marker, _)| marker == Some(ours)))
    }

    /// The first copy, in the order of the locations, that is whole and ours.
    pub(crate) fn open(&self, shared: &Shared, stub: Stub) -> Result<Source, Error> {
        let (id, layout) = (stub.layout.parsed.head.id, stub.layout);
        let (mut why, mut bad) = (Vec::new(), None);
        for (name, disk) in self.copies_of(shared, id, &stub.head, None)? {
            match layout.verify(&*disk, &shared.keys.signer()) {
                Ok(_) => return Ok(Source { disk, layout, is_verified: true }),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    why.push(format!("{name}: the copy is gone"));
                }
                Err(Error::Io { source, .. }) => why.push(format!("{name}: {source}")),
                Err(e) => {
                    tracing::error!(recording = %id, location = name, error = %e, "a copy is not what was sealed");
                    why.push(format!("{name}: {e}"));
                    bad = Some(e);
                }
            }
        }
        let posts = locked(&self.posts).clone();
        let copies = shared.index.copies(id)?;
        for (name, _) in
            copies.iter().filter(|(name, _)| posts.iter().all(|post| post.location.name != *name))
        {
            why.push(format!("{name}: not in the configuration; name it there"));
        }
        if let (Some(bad), 1) = (bad, why.len()) {
            return Err(bad);
        }
        if why.is_empty() {
            why.push("the ledger knows no copy of it".into());
        }
        Err(Error::Away { what: id.to_string(), why: why.join("; ") })
    }
}

/// What couriers and the mover have in common: the archive, without keeping it open, and the way to its disk thread.
#[derive(Clone, Debug)]
struct Office {
    shared: std::sync::Weak<Shared>,
    commands: Commands,
}

impl Office {
    fn shared(&self) -> Result<Arc<Shared>, Error> {
        self.shared.upgrade().ok_or(Error::Closed)
    }

    /// Sends a command that answers, and waits for the answer.
    fn ask(&self, command: impl FnOnce(Sender<Result<(), Error>>) -> Command) -> Result<(), Error> {
        let (answer, result) = crossbeam_channel::bounded(1);
        self.commands.send(command(answer))?;
        result.recv().map_err(|_| Error::Closed)?
    }
}

impl Archive {
    /// From now on recordings that were moved are read from these locations. With [`Duty::Copy`] finished recordings are copied
    /// there, those that were finished before too, and originals are removed where the rules say so. In threads of their own:
    /// nothing here waits for a location.
    ///
    /// # Errors
    /// [`Error::Refused`] for more than [`LOCATIONS_MAX`] locations, two of one name, a name that is none, or a bucket whose
    /// address is none; [`Error::Io`] when no thread can be started.
    pub fn use_locations(&self, rules: &CopyRules, duty: Duty) -> Result<(), Error> {
        let refused = |what: String| Err(Error::Refused { what });
        if rules.locations.len() > LOCATIONS_MAX {
            return refused(format!("more than {LOCATIONS_MAX} archive locations"));
        }
        for (i, Location { name, .. }) in rules.locations.iter().enumerate() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
                return refused(format!(
                    "the archive location {name:?}: its name has letters, digits, - and _ alone"
                ));
            }
            if rules.locations.iter().take(i).any(|other| other.name == *name) {
                return refused(format!("two archive locations of the name {name}"));
            }
        }
        let places = rules.locations.iter().map(|location| {
            let place: Arc<dyn Place> = match &location.place {
                PlaceConfig::Folder(path) => Arc::new(Folder::new(path)),
                PlaceConfig::Bucket(bucket) => Arc::new(bucket::Store::new(bucket)?),
            };
            Ok((location.clone(), place))
        });
        let places = places.collect::<Result<Vec<_>, Error>>()?;
        self.use_places(places, rules, duty)
    }

    /// The same with any places.
    fn use_places(
        &self,
        places: Vec<(Location, Arc<dyn Place>)>,
        rules: &CopyRules,
        duty: Duty,
    ) -> Result<(), Error> {
        let office = Office { shared: Arc::downgrade(&self.shared), commands: self.commands()? };
        let io = |e: io::Error| Error::io(self.dir(), e);
        // Those that were in use until now are left.
        self.shared.locations.close();
        let mut posts = locked(&self.shared.locations.posts);
        for (location, place) in places {
            let reads = Reads::new(Arc::clone(&place)).map_err(io)?;
            if duty == Duty::Read {
                posts.push(Arc::new(Post { location, reads, desk: None }));
                continue;
            }
            let desk = Arc::new(Desk::default());
            let job = courier::Job { after_ms: rules.after_ms, name: location.name.clone() };
            let courier =
                courier::spawn(job, office.clone(), Arc::clone(&place), reads.clone(), Arc::clone(&desk));
            courier.map_err(io)?;
            posts.push(Arc::new(Post { location, reads, desk: Some(desk) }));
        }
        let posts = posts.clone();
        let moves = duty == Duty::Copy && !posts.is_empty();
        if moves && (rules.keep_local_ms.is_some() || rules.make_room) {
            let mover = mover::spawn(office, posts, rules.keep_local_ms, rules.make_room).map_err(io)?;
            *locked(&self.shared.locations.mover) = Some(mover);
        }
        Ok(())
    }

    /// Waits until every location has all that is due, or does not take it, or until the time is over. True when all is done.
    #[must_use]
    pub fn wait_for_copies(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let posts = locked(&self.shared.locations.posts).clone();
        let desks = || posts.iter().filter_map(|post| post.desk.as_ref());
        loop {
            // What was finished a moment ago must be in the index: only then are the couriers told.
            if self.sync().is_err() {
                return false;
            }
            // Of all: one that fails does not keep the others from being waited for.
            let rested: Vec<bool> = desks().map(|desk| desk.wait_for_rest(deadline)).collect();
            if rested.contains(&false) {
                return false;
            }
            // And what they said must be there too. It may have told them something.
            if self.sync().is_ok() && desks().all(|desk| desk.rests()) {
                return true;
            }
        }
    }

    /// Removes the originals that the rules let go, now; gives their number. Nothing without rules that remove any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn move_out(&self) -> Result<u64, Error> {
        self.sync()?;
        let mover = locked(&self.shared.locations.mover).as_ref().map(mover::Handle::worker);
        mover.map_or(Ok(0), |mover| mover.pass()).map_err(|e| e.under(self.dir()))
    }

    /// How the locations do. Counts over all recordings.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`] when the index cannot be read.
    pub fn locations(&self) -> Result<Vec<LocationStatus>, Error> {
        Ok(self.copy_status()?.locations)
    }

    /// The same, with what they hold of all recordings.
    ///
    /// # Errors
    /// As [`Archive::locations`].
    pub fn copy_status(&self) -> Result<CopyStatus, Error> {
        let posts = locked(&self.shared.locations.posts).clone();
        let mut all: Vec<LocationStatus> = posts.iter().map(|post| post.status()).collect();
        let index = &self.shared.index;
        let (mut recordings, mut moved) = (0, 0);
        for id in index.ids() {
            let row = index.bare_row(id?)?;
            let row = row.filter(|row| row.deleted.is_none());
            recordings += u64::from(row.is_some());
            moved += u64::from(row.is_some_and(|row| row.moved));
        }
        for entry in index.all_copies() {
            let (_, copies) = entry?;
            for status in &mut all {
                let Some(copy) = copies.at(&status.name) else { continue };
                if copy.stale || copy.gone {
                    status.stale += 1;
                } else {
                    status.copies += 1;
                    status.bytes += copy.bytes;
                }
            }
        }
        for status in &mut all {
            status.missing = recordings.saturating_sub(status.copies);
        }
        Ok(CopyStatus { locations: all, recordings, moved })
    }
}

impl Archive {
    /// How the locations do that this process copies to. Asks nobody.
    pub(crate) fn copying_states(&self) -> Vec<(String, LocationState)> {
        let posts = locked(&self.shared.locations.posts).clone();
        let state = |post: &Arc<Post>| Some((post.location.name.clone(), post.desk.as_ref()?.look().state));
        posts.iter().filter_map(state).collect()
    }
}

impl Post {
    fn status(&self) -> LocationStatus {
        let probe = || match self.reads.probe() {
            Ok((_, space)) => Look::of(LocationState::Reachable, space),
            Err(e) => Look::of(LocationState::Failing(e.to_string()), None),
        };
        let Look { state, space, troubles, last_copied, last_failed } =
            self.desk.as_ref().map_or_else(probe, |desk| desk.look());
        LocationStatus {
            name: self.location.name.clone(),
            place: self.location.place.to_string(),
            state,
            space,
            copies: 0,
            bytes: 0,
            missing: 0,
            stale: 0,
            troubles,
            last_copied,
            last_failed,
        }
    }
}

/// Waits on a condition until `deadline`; true when it came about.
fn wait_until<T>(state: &Mutex<T>, changed: &Condvar, deadline: Instant, done: impl Fn(&T) -> bool) -> bool {
    let mut guard = locked(state);
    loop {
        if done(&guard) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        guard = changed.wait_timeout(guard, left).map_or_else(|e| e.into_inner().0, |(guard, _)| guard);
    }
}

#[cfg(test)]
mod tests;
