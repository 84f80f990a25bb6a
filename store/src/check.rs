//! Looking the archive over at three costs, and mending what can be mended without guessing.
//!
//! Without hashing, unless everything is asked for: what every byte says is [`crate::verify`]'s, in its words.

use std::collections::BTreeMap;

use crate::bytes::hex;
use crate::disk::Disk;
use crate::event::{Event, What};
use crate::journal::JOURNAL_DIR;
use crate::keys::manage::FOLDERS;
use crate::keys::rotation::ROTATION;
use crate::keys::{SEALED_KEY, SEALED_KEY_NEXT, SIGN_KEY, UNWRAP_KEY, UNWRAP_KEY_NEXT, shred};
use crate::layout::Layout;
use crate::ledger::{self, Fate, LEDGER_DIR, RecordingLine};
use crate::locations::stub::{home_of, layout_at, recording_at, stub_id};
use crate::recovery::{end_file, files, index_end, row_of};
use crate::search::hits::Hits;
use crate::shared::{Shared, wall_clock};
use crate::unrecorded::held;
use crate::verify::named;
use crate::wave::{RECORDINGS_DIR, path_of};
use crate::{Cost, Error, Problem, Query, RecordingId, Row, Trusted, Verdict};

/// How often the ledger is read again during one check, for recordings that ended meanwhile.
const READINGS_MAX: u32 = 100;

/// Appends a line to a ledger file, through the disk thread.
type Append<'a> = &'a dyn Fn(String, Vec<u8>) -> Result<(), Error>;

/// Finds what is wrong; with `repair`, mends what can be mended.
pub(crate) fn check(
    shared: &Shared,
    cost: Cost,
    repair: bool,
    append: Append<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Problem>, Error> {
    let mut problems = Problems { shared, cost, repair, append, found: Vec::new() };
    problems.folders()?;
    problems.keys()?;
    let lines = problems.ledger()?;
    if cost == Cost::Bytes {
        problems.recordings(&lines, &mut |_, _| {})?;
        problems.bytes(&lines, progress)?;
    } else {
        problems.recordings(&lines, progress)?;
    }
    problems.unrecorded()?;
    Ok(problems.found)
}

struct Problems<'a> {
    shared: &'a Shared,
    cost: Cost,
    repair: bool,
    append: Append<'a>,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, path: &str, what: impl Into<String>, repaired: bool) {
        self.found.push(Problem { path: path.into(), what: what.into(), repaired });
    }

    fn disk(&self) -> &dyn Disk {
        &*self.shared.disk
    }

    fn folders(&mut self) -> Result<(), Error> {
        let top = self.disk().list("").map_err(|e| Error::io("", e))?;
        for folder in [RECORDINGS_DIR, JOURNAL_DIR, LEDGER_DIR] {
            if !top.iter().any(|entry| entry.is_dir && entry.name == folder) {
                if self.repair {
                    self.disk().create_dir(folder).map_err(|e| Error::io(folder, e))?;
                }
                self.add(folder, "the folder is missing", self.repair);
            }
        }
        Ok(())
    }

    fn keys(&mut self) -> Result<(), Error> {
        for path in [SIGN_KEY, UNWRAP_KEY, SEALED_KEY] {
            if self.disk().len(path).map_err(|e| Error::io(path, e))?.is_none() {
                // Without the unwrapping key the machine only records, which is a way to run it.
                if path == SIGN_KEY {
                    self.add(path, "the signing key is missing: nothing can be recorded", false);
                }
                continue;
            }
            if !self.disk().is_private(path).map_err(|e| Error::io(path, e))? {
                if self.repair {
                    self.disk().make_private(path).map_err(|e| Error::io(path, e))?;
                }
                self.add(path, "others can read the private key", self.repair);
            }
        }
        for path in self.shared.keys.strangers() {
            self.add(path, "the private key does not belong to this archive's public one", false);
        }
        self.key_files()
    }

    /// Months' keys: readable, sealed to everybody, for their owner's eyes.
    fn key_files(&mut self) -> Result<(), Error> {
        let keys = &self.shared.keys;
        if keys.is_rotating() {
            let what =
                "a rotation of keys was interrupted: `earwitness archive key rotate --yes` goes on with it";
            self.add(ROTATION, what, false);
        } else {
            let disk = std::sync::Arc::clone(&self.shared.disk);
            let there =
                |path: &str| Ok::<_, Error>(disk.len(path).map_err(|e| Error::io(path, e))?.is_some());
            for (path, next) in [(UNWRAP_KEY, UNWRAP_KEY_NEXT), (SEALED_KEY, SEALED_KEY_NEXT)] {
                if there(path)? && there(next)? {
                    // Only one that is surely not needed goes.
                    let spare = self.shared.keys.is_spare(self.disk(), path)?;
                    if spare && self.repair {
                        shred(self.disk(), next)?;
                    }
                    self.add(next, "a private key that a crash left behind", spare && self.repair);
                }
            }
            if there(UNWRAP_KEY)? && there(SEALED_KEY)? {
                let what = "the private key lies here without its passphrase too: set the passphrase again";
                self.add(UNWRAP_KEY, what, false);
            }
        }
        for (path, error) in keys.troubles() {
            self.add(&path, error, false);
        }
        for (path, id) in keys.not_sealed_to() {
            self.add(&path, format!("key {id} does not open it: add that recipient again"), false);
        }
        for folder in FOLDERS {
            for entry in self.disk().list(folder).map_err(|e| Error::io(folder, e))? {
                let path = format!("{folder}/{}", entry.name);
                if !self.disk().is_private(&path).map_err(|e| Error::io(&path, e))? {
                    if self.repair {
                        self.disk().make_private(&path).map_err(|e| Error::io(&path, e))?;
                    }
                    self.add(&path, "others can read it", self.repair);
                }
            }
        }
        Ok(())
    }

    /// The key that a recording is wrapped to must be among the archive's.
    fn key_of(&mut self, path: &str, layout: &Layout) {
        let id = layout.parsed.head.wrap.key_id;
        if !self.shared.keys.knows(&id) {
            let error = Error::KeyUnknown { path: path.into(), key: hex(&id) };
            self.add(path, error.to_string(), false);
        }
    }

    fn ledger(&mut self) -> Result<BTreeMap<RecordingId, RecordingLine>, Error> {
        let named = named(self.shared)?;
        for (file, error) in &named.unreadable {
            self.add(file, error.to_string(), false);
        }
        Ok(named.lines)
    }

    /// Files against ledger and index.
    fn recordings(
        &mut self,
        lines: &BTreeMap<RecordingId, RecordingLine>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let mut unseen = lines.clone();
        // Of recordings that have ended since: the ledger is read again, a few times.
        let (mut later, mut readings) = (BTreeMap::new(), 0);
        let files = files(self.disk())?;
        let total = files.len() as u64;
        for (done, path) in files.into_iter().enumerate() {
            progress(done as u64 + 1, total);
            let Some(id) = recording_at(&path) else {
                self.add(&path, "not a recording in its place", false);
                continue;
            };
            unseen.remove(&id);
            if self.shared.is_live(id) {
                continue;
            }
            if !lines.contains_key(&id) && !later.contains_key(&id) && readings < READINGS_MAX {
                (later, readings) = (self.ledger()?, readings + 1);
            }
            let line = lines.get(&id).or_else(|| later.get(&id));
            match self.cost {
                Cost::Index => self.named(id, &path, line)?,
                Cost::Headers | Cost::Bytes => self.recording(id, &path, line)?,
            }
        }
        for (id, line) in unseen.iter().filter(|(_, line)| !line.fate.is_gone()) {
            let repaired = self.bring_back(line)?;
            self.add(&path_of(*id), "the ledger names it, but there is no file", repaired);
        }
        for id in self.shared.index.ids() {
            let id = id?;
            let path = path_of(id);
            if home_of(self.disk(), id)?.is_none() {
                // The row is kept unless the ledger explains why the file is gone: it is the trace of what is missing.
                let end = lines.get(&id).filter(|line| line.fate.is_gone());
                let explained = end.is_some();
                let row = self.shared.index.bare_row(id)?;
                if let Some(row) = row.filter(|row| row.deleted.is_some())
                    && self.shared.index.finds(&row)?
                    && end.and_then(RecordingLine::husk) == Some(row)
                {
                    continue;
                }
                if let (Some(line), true) = (end, self.repair) {
                    index_end(self.shared, line)?;
                }
                self.add(&path, "the index names it, but there is no file", explained && self.repair);
            }
        }
        for hit in Hits::new(self.shared, &Query::default(), |_| ()) {
            let (id, ()) = hit?;
            if !self.shared.is_live(id) && self.shared.index.bare_row(id)?.is_none() {
                if self.repair {
                    self.shared.index.remove(id)?;
                }
                self.add(&path_of(id), "the index finds it, but has no row of it", self.repair);
            }
        }
        Ok(())
    }

    /// What searches find of calls without a recording against the balance sheet.
    fn unrecorded(&mut self) -> Result<(), Error> {
        const ANEW: &str = "`earwitness archive rebuild` makes the index anew";
        for (file, differing) in held::differing(self.shared)? {
            if self.repair {
                held::mend(self.shared, &differing)?;
            }
            for (names, how) in [
                (&differing.missing, "not found by searches"),
                (&differing.other, "found otherwise than it says"),
                (&differing.surplus, "found that it does not name"),
            ] {
                if !names.is_empty() {
                    let calls = if names.len() == 1 { "call" } else { "calls" };
                    let what = format!("{} {calls} without a recording {how}: {ANEW}", names.len());
                    self.add(&file, what, self.repair);
                }
            }
        }
        Ok(())
    }

    /// Brings a recording back from an archive location; false when that is not to be done, or no location has a good copy.
    fn bring_back(&self, line: &RecordingLine) -> Result<bool, Error> {
        if !self.repair {
            return Ok(false);
        }
        let Some(location) = crate::repair::from_location(self.shared, line)? else { return Ok(false) };
        let event = Event::by_itself(wall_clock(), What::Repaired { id: line.id, location });
        (self.append)(ledger::month(ledger::EVENTS, event.at), ledger::line(&event)?)?;
        Ok(true)
    }

    /// Ledger and index about a file that is there, without looking into it.
    fn named(&mut self, id: RecordingId, path: &str, line: Option<&RecordingLine>) -> Result<(), Error> {
        match line {
            None => self.add(path, "the ledger does not name it", false),
            Some(line) if line.fate.is_gone() => {
                self.add(path, "the ledger says that it was destroyed, but it is there", false);
            }
            Some(line) => {
                let row = self.shared.index.bare_row(id)?.filter(|row| row.bytes == line.bytes);
                let shown = row.map(|row| self.shared.index.finds(&row)).transpose()?.unwrap_or_default();
                if !shown {
                    if self.repair {
                        self.shared.index.put(&row_of(self.shared, path)?)?;
                    }
                    self.add(path, "the index does not show it as the ledger has it", self.repair);
                }
            }
        }
        Ok(())
    }

    /// What verification finds and was not told yet.
    fn bytes(
        &mut self,
        lines: &BTreeMap<RecordingId, RecordingLine>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let total = files(self.disk())?.len() as u64;
        let mut done = 0;
        for finding in crate::verify::findings(self.shared, None, &Trusted::default(), Ok(())) {
            done = total.min(done + u64::from(finding.id.is_some()));
            progress(done, total);
            let is_changed = matches!(finding.verdict, Verdict::Changed { .. } | Verdict::Unreadable { .. });
            let what = match finding.verdict {
                // Told by the names of files already.
                Verdict::Missing if finding.id.is_some() => continue,
                Verdict::Unlisted => continue,
                _ if !finding.is_problem() => continue,
                verdict => verdict.words().1,
            };
            if !self.found.iter().any(|known| known.path == finding.path && known.what == what) {
                let line = finding.id.filter(|_| is_changed).and_then(|id| lines.get(&id));
                let repaired = line.map_or(Ok(false), |line| self.bring_back(line))?;
                self.found.push(Problem { path: finding.path, what, repaired });
            }
        }
        Ok(())
    }

    fn recording(&mut self, id: RecordingId, path: &str, line: Option<&RecordingLine>) -> Result<(), Error> {
        let layout = match layout_at(self.disk(), path) {
            Ok(layout) => layout,
            Err(Error::Tampered { what, .. } | Error::Damaged { what, .. }) => {
                let repaired = line.map_or(Ok(false), |line| self.bring_back(line))?;
                self.add(path, what, repaired);
                return Ok(());
            }
            Err(e) => {
                self.add(path, e.to_string(), false);
                return Ok(());
            }
        };
        match line.map(|line| line.fate) {
            Some(Fate::Discarded | Fate::Deleted) => {
                self.add(path, "the ledger says that it was destroyed, but it is there", false)
            }
            Some(_) if layout.end.is_none() => {
                let repaired = line.map_or(Ok(false), |line| self.bring_back(line))?;
                self.add(path, "it is cut: the ledger says that it was finished", repaired);
            }
            None if layout.end.is_some() => self.add(path, "the ledger does not name it", false),
            None => return self.unfinished(id, path, &layout),
            Some(_) => {
                self.key_of(path, &layout);
                self.indexed(id, path, &layout)?;
            }
        }
        Ok(())
    }

    /// A file without an end that nobody is writing.
    fn unfinished(&mut self, id: RecordingId, path: &str, layout: &Layout) -> Result<(), Error> {
        if self.repair {
            let ending = end_file(self.shared, layout)?;
            (self.append)(ledger::month(ledger::RECORDINGS, id.started()), ledger::line(&ending.line())?)?;
            self.shared.index.put(&row_of(self.shared, path)?)?;
        }
        self.add(path, "it has no end", self.repair);
        Ok(())
    }

    /// Is the row in the index that of this file?
    fn indexed(&mut self, id: RecordingId, path: &str, layout: &Layout) -> Result<(), Error> {
        // Before and after: its hash may be told, or made void, in between.
        let before = self.shared.index.is_unhashed(id)?;
        let row = self.shared.index.bare_row(id)?;
        let unhashed = before || self.shared.index.is_unhashed(id)?;
        let facts = layout.end.as_ref().map(|end| &end.footer.facts);
        // Of one that was moved the hash is that of its copies; in a copy of the archive these may be what is not known.
        let unhashed =
            unhashed || stub_id(path).is_some() && self.shared.index.copies(id)?.iter().next().is_none();
        let as_it_is = |row: &Row| {
            row.bytes == layout.len && Some(&row.facts) == facts && (!row.sha256.is_empty() || unhashed)
        };
        let fits = match row.filter(as_it_is) {
            Some(row) => self.shared.index.finds(&row)?,
            None => false,
        };
        if !fits {
            if self.repair {
                self.shared.index.put(&row_of(self.shared, path)?)?;
            }
            self.add(path, "the index does not show it as it is", self.repair);
        }
        Ok(())
    }
}
