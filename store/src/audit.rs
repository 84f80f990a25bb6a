//! Verification of the ledger: is every line that was ever written still there, as it was, and is no other?
//!
//! Needs public keys alone. Checkpoints kept elsewhere say what the ledger was at some time; without one, whoever has the
//! signing key and the disk can still write everything anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decode::Timestamp;
use serde::Deserialize;

use crate::archive_copy::UNKNOWN;
use crate::disk::read_whole;
use crate::event::{Event, What, erasure_text};
use crate::layout::digest_of;
use crate::ledger::{self, Lines};
use crate::log::begin::Adopted;
use crate::log::checkpoint::{Checkpoint, NOTE_MAX, Note};
use crate::log::tree::{Hash, Tree, leaf_hash};
use crate::log::{CHECKPOINT, HASH_LEN, LEAVES, each_leaf};
use crate::shared::Shared;
use crate::stamp::authority::Authorities;
use crate::stamp::{self, Checked};
use crate::{Error, Finding, Verdict, bytes};

/// Findings of one kind that are told one by one; more are counted.
const TOLD_MAX: usize = 100;

/// What verification may hold the archive against: things that were kept elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Checkpoints as they were copied: where each came from, and the note.
    pub checkpoints: Vec<(String, String)>,
    /// The Ed25519 key that must have signed everything.
    pub public_key: Option<[u8; 32]>,
    /// Who must have signed the time stamps; without any, these are held against the ledger alone.
    pub authorities: Option<Authorities>,
}

/// What the beginning of a line says.
#[derive(Deserialize)]
struct Start {
    leaf: Option<u64>,
}

/// What the log is held against.
struct Due {
    place: String,
    checkpoint: Checkpoint,
    /// An authority's time, where it is a time stamp of the ledger itself.
    stamped: Option<Timestamp>,
}

/// Everything that is wrong with ledger and log, and the time stamps that hold.
pub(crate) fn findings(shared: &Shared, trusted: &Trusted) -> Vec<Finding> {
    let mut audit = Audit {
        shared,
        found: Vec::new(),
        leaves: Vec::new(),
        seen: Vec::new(),
        erased: BTreeSet::new(),
        adopted: BTreeMap::new(),
        stamps: Vec::new(),
        not_copied: BTreeSet::new(),
        copies: Vec::new(),
    };
    if let Err(e) = audit.run(trusted) {
        audit.add(LEAVES, Verdict::Unreadable { what: e.to_string() });
    }
    audit.found
}

struct Audit<'a> {
    shared: &'a Shared,
    found: Vec<Finding>,
    leaves: Vec<Hash>,
    /// Leaves whose line was met.
    seen: Vec<bool>,
    /// Leaves that were blanked in order, by the receipts.
    erased: BTreeSet<u64>,
    /// Files from before the log, by path.
    adopted: BTreeMap<String, Adopted>,
    /// Time stamps that stand in lines which the log knows: the file, the note, the token.
    stamps: Vec<(String, String, String)>,
    /// Numbers of lines that a copy of the archive lacked when it was opened.
    not_copied: BTreeSet<u64>,
    /// Copies that were opened: when, and how many lines the log had.
    copies: Vec<(Timestamp, u64)>,
}

impl Audit<'_> {
    fn add(&mut self, path: &str, verdict: Verdict) {
        self.found.push(Finding { id: None, path: path.into(), verdict });
    }

    fn changed(&mut self, path: &str, what: impl Into<String>) {
        self.add(path, Verdict::Changed { what: what.into() });
    }

    fn run(&mut self, trusted: &Trusted) -> Result<(), Error> {
        let disk = &*self.shared.disk;
        let len = disk.len(LEAVES).map_err(|e| Error::io(LEAVES, e))?.unwrap_or_default();
        if len % HASH_LEN != 0 {
            self.changed(LEAVES, "it is cut inside a hash");
        }
        let mut leaves = Vec::new();
        each_leaf(disk, 0, len / HASH_LEN, |leaf| leaves.push(leaf))?;
        self.seen = vec![false; leaves.len()];
        self.leaves = leaves;
        let files = ledger::all(disk)?;
        for file in files.iter().filter(|file| file.contains(ledger::EVENTS)) {
            self.receipts(file);
        }
        for file in files.iter().filter(|file| file.contains(ledger::EVENTS)) {
            self.lines(file)?;
        }
        // The events name the files from before the log, so they come first.
        for file in files.iter().filter(|file| !file.contains(ledger::EVENTS)) {
            self.lines(file)?;
        }
        for (path, adopted) in std::mem::take(&mut self.adopted) {
            self.adopted(&path, &adopted)?;
        }
        self.missing();
        self.checkpoints(trusted)
    }

    /// Takes in what was blanked by the receipts of this archive. Whether the receipts themselves are what was written
    /// is looked at like any other line.
    fn receipts(&mut self, path: &str) {
        for event in Lines::<Event>::new(Arc::clone(&self.shared.disk), path.to_owned(), 0).flatten() {
            let Event { at, who, what: What::Erased { leaves, rule, why, receipt } } = event else {
                continue;
            };
            let text = erasure_text(at, &who, &leaves, &rule, &why);
            if text.is_ok_and(|text| self.shared.keys.verifies_receipt(&text, &receipt)) {
                self.erased.extend(leaves);
            }
        }
    }

    /// Follows one file of the ledger.
    fn lines(&mut self, path: &str) -> Result<(), Error> {
        let mut lines = Lines::<Start>::new(Arc::clone(&self.shared.disk), path.to_owned(), 0);
        let mut told = 0;
        loop {
            let verdict = match lines.next_raw() {
                Ok(None) => return Ok(()),
                Ok(Some((_, []))) => continue,
                Ok(Some((at, line))) => self.line(path, at, line),
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(e) => Err(e.to_string()),
            };
            if let Err(what) = verdict {
                told += 1;
                match told {
                    ..=TOLD_MAX => self.changed(path, format!("line {}: {what}", lines.number())),
                    _ if told == TOLD_MAX + 1 => self.changed(path, "and more lines of this file"),
                    _ => {}
                }
            }
        }
    }

    /// Looks at one line; the error says what is wrong with it.
    fn line(&mut self, path: &str, at: u64, line: &[u8]) -> Result<(), String> {
        let start: Start = serde_json::from_slice(line).map_err(|e| format!("it cannot be read ({e})"))?;
        let Some(leaf) = start.leaf else {
            let end = at + line.len() as u64;
            let covered = self.adopted.get(path).is_some_and(|adopted| end <= adopted.bytes);
            return covered.then_some(()).ok_or_else(|| "it was put in behind the log's back".to_owned());
        };
        let index = usize::try_from(leaf).unwrap_or(usize::MAX);
        let hash =
            self.leaves.get(index).ok_or("the log does not know it: it was put in, or the log was cut")?;
        let is_erased = ledger::is_blank(line);
        if is_erased && !self.erased.contains(&leaf) {
            return Err(format!("it was blanked, and no signed receipt says so (number {leaf})"));
        }
        if *hash != leaf_hash(path, line) && !is_erased {
            return Err(format!("it is not what was written (number {leaf})"));
        }
        if std::mem::replace(&mut self.seen[index], true) {
            return Err(format!("it repeats number {leaf}"));
        }
        if !path.contains(ledger::EVENTS) {
            return Ok(());
        }
        let event: Option<Event> = serde_json::from_slice(line).ok();
        let at = event.as_ref().map(|event| event.at).unwrap_or(Timestamp::MIN);
        match event.map(|event| event.what) {
            Some(What::LogBegun { archive, .. }) if archive != self.shared.id || leaf != 0 => {
                return Err("it is the beginning of another log".into());
            }
            Some(What::LogBegun { adopted, .. }) => {
                self.adopted = adopted.into_iter().map(|adopted| (adopted.file.clone(), adopted)).collect();
            }
            Some(What::Stamped { checkpoint, token, .. }) => {
                self.stamps.push((path.to_owned(), checkpoint, token));
            }
            Some(What::CopyOpened { log, lines, .. }) => {
                self.copies.push((at, log));
                let known = self.leaves.len() as u64;
                self.not_copied.extend(lines.into_iter().flat_map(|(first, last)| first..=last.min(known)));
            }
            _ => {}
        }
        Ok(())
    }

    /// A file from before the log must begin with what it held then.
    fn adopted(&mut self, path: &str, adopted: &Adopted) -> Result<(), Error> {
        let digest = match digest_of(&*self.shared.disk, path, adopted.bytes) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                self.add(path, Verdict::Missing);
                return Ok(());
            }
            digest => digest?,
        };
        if bytes::hex(&digest) != adopted.sha256 {
            self.changed(path, "its lines from before the log are not what they were when the log began");
        }
        Ok(())
    }

    /// Numbers of the log that no line has.
    fn missing(&mut self) {
        let mut runs: Vec<(usize, usize, bool)> = Vec::new();
        for (leaf, _) in self.seen.iter().enumerate().filter(|(_, seen)| !**seen) {
            let told = self.not_copied.contains(&(leaf as u64));
            match runs.last_mut() {
                Some((_, last, same)) if *last + 1 == leaf && *same == told => *last = leaf,
                _ => runs.push((leaf, leaf, told)),
            }
        }
        // Of each kind: what was taken out must not hide behind what was not copied.
        let (not_copied, taken_out): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(_, _, told)| *told);
        let which = |(first, last, _): &(usize, usize, bool)| match last - first {
            0 => format!("line number {first} of the log"),
            _ => format!("lines number {first} to {last} of the log"),
        };
        let more = |runs: &[(usize, usize, bool)]| {
            runs.len()
                .checked_sub(TOLD_MAX)
                .filter(|more| *more > 0)
                .map(|more| format!("{more} more runs of lines"))
        };
        for what in not_copied.iter().take(TOLD_MAX).map(which).chain(more(&not_copied)) {
            self.add(LEAVES, Verdict::NotCopied { what: format!("not in this copy: {what}") });
        }
        for what in taken_out.iter().take(TOLD_MAX).map(which).chain(more(&taken_out)) {
            self.changed(LEAVES, format!("taken out of the ledger: {what}"));
        }
    }

    /// Holds the log against every checkpoint.
    fn checkpoints(&mut self, trusted: &Trusted) -> Result<(), Error> {
        if trusted.public_key.is_some_and(|key| key != *self.shared.keys.sign_public()) {
            self.changed(
                crate::keys::PUBLIC_KEYS,
                "the archive's keys are not the given one: they were replaced",
            );
        }
        let own = read_whole(&*self.shared.disk, CHECKPOINT, NOTE_MAX as u64)
            .map_err(|e| Error::io(CHECKPOINT, e))?;
        let own = own.map(|note| (CHECKPOINT.to_owned(), String::from_utf8_lossy(&note).into_owned()));
        // A young archive, or one that was killed early, has none yet: its absence says nothing, and against somebody who
        // takes it away only a copy elsewhere helps.
        let mut due: BTreeMap<u64, Vec<Due>> = BTreeMap::new();
        for (place, note) in own.iter().chain(&trusted.checkpoints) {
            match self.believable(note) {
                Ok(checkpoint) => {
                    let stamped = None;
                    due.entry(checkpoint.size).or_default().push(Due {
                        place: place.clone(),
                        checkpoint,
                        stamped,
                    });
                }
                Err(what) => self.changed(place, what),
            }
        }
        for (file, note, token) in std::mem::take(&mut self.stamps) {
            let checked = stamp::check(&note, &token, trusted.authorities.as_ref())
                .and_then(|checked| self.believable(&note).map(|_| checked));
            match checked {
                Ok(Checked { at, checkpoint }) => {
                    let due = due.entry(checkpoint.size).or_default();
                    due.push(Due { place: file, checkpoint, stamped: Some(at) });
                }
                Err(what) => self.changed(&file, format!("a time stamp does not hold: {what}")),
            }
        }
        let unknown = |leaf: &u64| self.leaves.get(*leaf as usize).is_some_and(|hash| *hash == UNKNOWN);
        let first_unknown = self.not_copied.iter().copied().find(unknown);
        let mut tree = Tree::default();
        let mut leaves = std::mem::take(&mut self.leaves).into_iter();
        for Due { place, checkpoint, stamped } in due.into_values().flatten() {
            while tree.size() < checkpoint.size
                && let Some(leaf) = leaves.next()
            {
                tree.push(leaf);
            }
            let by = stamped.map(|at| format!(" (time stamp of {at})")).unwrap_or_default();
            // What was signed before a copy was opened, over more than the copy had.
            let beyond = self.copies.iter().filter(|(at, log)| checkpoint.at < *at && *log < checkpoint.size);
            let beyond = beyond.map(|(_, log)| *log).min();
            let differs = tree.size() < checkpoint.size || tree.root() != checkpoint.root;
            if let Some(log) = beyond.filter(|_| differs) {
                let what = format!(
                    "at {} the ledger had {} lines{by}: of these the last {} are not in this copy",
                    checkpoint.at,
                    checkpoint.size,
                    checkpoint.size - log
                );
                self.add(&place, Verdict::NotCopied { what });
            } else if tree.size() < checkpoint.size {
                let (have, had) = (tree.size(), checkpoint.size);
                self.changed(
                    &place,
                    format!(
                        "the ledger has {have} lines, at {} it had {had}{by}: an older state was put back",
                        checkpoint.at
                    ),
                );
            } else if tree.root() != checkpoint.root
                && first_unknown.is_some_and(|leaf| leaf < checkpoint.size)
            {
                let what = format!(
                    "the ledger up to line {} cannot be compared with its state at {}{by}: lines of it are not in this copy",
                    checkpoint.size, checkpoint.at
                );
                self.add(&place, Verdict::NotCopied { what });
            } else if tree.root() != checkpoint.root {
                let what = format!(
                    "the ledger up to line {} is not what it was at {}{by}",
                    checkpoint.size, checkpoint.at
                );
                self.changed(&place, what);
            } else if let Some(at) = stamped {
                let vouched = trusted.authorities.is_some();
                self.add(&place, Verdict::Stamped { at, lines: checkpoint.size, vouched });
            }
        }
        Ok(())
    }

    /// Reads a checkpoint; the error says why it says nothing, or too much, about this archive.
    fn believable(&self, note: &str) -> Result<Checkpoint, String> {
        let note = Note::parse(note).ok_or("it is no checkpoint")?;
        if note.checkpoint.archive != self.shared.id {
            return Err(format!("it is a checkpoint of another archive, {}", note.checkpoint.archive));
        }
        if !self.shared.keys.has_signed(&note) {
            return Err(
                "this archive's key did not sign it: the keys were replaced, or the checkpoint is forged"
                    .into(),
            );
        }
        Ok(note.checkpoint)
    }
}
