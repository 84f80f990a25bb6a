//! The archive as those see it who answer for it: what verification finds, checkpoints, what was done to recordings and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::disk::{locked, read_whole};
use crate::ledger::{self, DeletionLine, Fate, LateExclusion, RecordingLine};
use crate::log::CHECKPOINT;
use crate::log::checkpoint::{NOTE_MAX, Note};
use crate::scribe::Command;
use crate::{
    Archive, Deletion, Error, Event, Finding, NOTE_TEXT_MAX, Outcome, RecordingFacts, RecordingId, Row,
    STARS_MAX, State, Step, Trusted, What,
};
use policy::custom::VALUE_MAX;

impl Archive {
    /// Verifies all recordings, or these: hashes, signature and structure, with public keys alone; opens every chunk too
    /// when the private key is here. Without `ids` also finds files that are missing and files that the ledger does not
    /// name. One finding per recording, in the order of names; [`Finding::is_problem`] tells the bad ones.
    pub fn verify<'a>(&'a self, ids: Option<&[RecordingId]>) -> impl Iterator<Item = Finding> + use<'a> {
        self.verify_against(ids, &Trusted::default())
    }

    /// The same, and holds the archive against what was kept elsewhere: checkpoints, the public key. Without `ids` the
    /// ledger is verified too: that no line of it was changed, taken out, put in or taken back.
    pub fn verify_against<'a>(
        &'a self,
        ids: Option<&[RecordingId]>,
        trusted: &Trusted,
    ) -> impl Iterator<Item = Finding> + use<'a> {
        // A rebuilt index must have taken in what was finished just now.
        let settled = self.ask(Command::Sync);
        crate::verify::findings(&self.shared, ids, trusted, settled)
    }

    /// The newest checkpoint, as a signed note (C2SP signed-note); one is made first if lines have come since the last.
    ///
    /// # Errors
    /// [`Error::KeyMissing`] without the signing key; [`Error::Io`].
    pub fn checkpoint(&self) -> Result<String, Error> {
        self.ask(Command::Checkpoint)?;
        let note = read_whole(&*self.shared.disk, CHECKPOINT, NOTE_MAX as u64)
            .map_err(|e| Error::io(self.dir().join(CHECKPOINT), e))?;
        let note = note.ok_or_else(|| Error::Missing { path: self.dir().join(CHECKPOINT) })?;
        String::from_utf8(note).map_err(|e| Error::damaged(self.dir().join(CHECKPOINT), e.to_string()))
    }

    /// From now on copies each checkpoint into this folder, best one on another machine. A folder that is away or hangs
    /// holds nothing up; it gets the newest checkpoint when it can take it.
    ///
    /// # Errors
    /// [`Error::Io`] when no thread can be started.
    pub fn copy_checkpoints_to(&self, folder: &Path) -> Result<(), Error> {
        let note = self.checkpoint()?;
        let first = Note::parse(&note).map(|parsed| parsed.checkpoint);
        let first = first.as_ref().map(|checkpoint| (checkpoint, note.as_str()));
        self.shared
            .witnesses
            .add(folder, first, Arc::clone(&self.shared.board))
            .map_err(|e| Error::io(folder, e))
    }

    /// What was done to the archive and its recordings, oldest first.
    ///
    /// # Errors
    /// As [`Archive::calls`].
    pub fn events(&self) -> Result<impl Iterator<Item = Result<Event, Error>> + '_, Error> {
        self.ask(Command::Flush)?;
        let months =
            ledger::months(&*self.shared.disk, ledger::EVENTS).map_err(|e| e.under(&self.shared.root))?;
        Ok(months.into_iter().flat_map(|path| self.lines(path)))
    }

    /// What was deleted, by when the recordings were begun: each with how.
    ///
    /// # Errors
    /// As [`Archive::calls`].
    pub fn deletions(
        &self,
    ) -> Result<impl Iterator<Item = Result<(RecordingId, Deletion), Error>> + '_, Error> {
        self.ask(Command::Flush)?;
        let months =
            ledger::months(&*self.shared.disk, ledger::RECORDINGS).map_err(|e| e.under(&self.shared.root))?;
        let lines = months.into_iter().flat_map(|path| self.lines::<RecordingLine>(path));
        Ok(lines.filter_map(|line| match line {
            Ok(line) => line.deletion().map(|deletion| Ok((line.id, deletion))),
            Err(e) => Some(Err(e)),
        }))
    }

    /// Does something to a recording and keeps for ever who did it: tags, fields, ratings, notes, holds, whom it counts for. On disk when this
    /// returns; a hold counts from then on. What stood in a field, the stars before, and whom it counted for are filled in here.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] for what is no such event, a value or a text that is too long, more than five
    /// stars, and a note behind the end of its recording; [`Error::Io`].
    pub fn edit(&self, mut event: Event) -> Result<(), Error> {
        let id =
            event.recording().ok_or_else(|| Error::Refused { what: "an event about no recording".into() })?;
        let _one_at_a_time = locked(&self.shared.decisions);
        let row = self.row(id)?;
        let refused = |what: String| Err(Error::Refused { what });
        match &mut event.what {
            What::FieldSet { value, .. } if value.len() > VALUE_MAX => {
                return refused(format!("a field holds {VALUE_MAX} bytes at most"));
            }
            What::FieldSet { field, before, .. } => {
                *before = row.facts.fields.of(*field).unwrap_or_default().to_owned();
            }
            What::Rated { stars, .. } if *stars > STARS_MAX => {
                return refused(format!("a rating has 1 to {STARS_MAX} stars, or 0 for none"));
            }
            What::Reassigned { .. } if row.facts.state == State::Recording => {
                return refused("it still runs: whom it counts for can be changed when it has ended".into());
            }
            What::Reassigned { before, .. } => *before = row.counts_for(),
            What::Rated { before, .. } => *before = row.rating.unwrap_or_default(),
            What::Noted { text, .. } if text.trim().is_empty() => {
                return refused("the note says nothing".into());
            }
            What::Noted { text, .. } if text.len() > NOTE_TEXT_MAX => {
                return refused(format!("a note holds {NOTE_TEXT_MAX} bytes at most"));
            }
            What::Noted { at_ms: Some(at_ms), .. }
                if row.facts.state != State::Recording && *at_ms > row.facts.duration_ms =>
            {
                let length = row.facts.duration_ms;
                return refused(format!(
                    "the recording is {length} ms long: there is no place at {at_ms} ms"
                ));
            }
            _ => {}
        }
        let is_hold = matches!(event.what, What::Held { .. });
        self.ask(|answer| Command::Event { event: Box::new(event), answer })?;
        if is_hold {
            // A rule may have destroyed it while it ran, in the moment before.
            self.row(id)?;
        }
        Ok(())
    }

    /// Deletes the audio of a finished recording: destroys its key, then its file, and leaves a signed receipt in the
    /// ledger. With `keep_facts` the recording stays listed, without audio.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Guarded`] for a recording that is under a hold, still running or deleted already;
    /// [`Error::Io`].
    pub fn delete(&self, id: RecordingId, deletion: Deletion, keep_facts: bool) -> Result<(), Error> {
        self.delete_with(id, deletion, keep_facts, None)
    }

    /// Destroys a recording that the rules exclude by what became known after its call: key, then file, with a signed receipt that names
    /// the rule. The facts stay, and from then on the call has this outcome in the balance sheet, with these steps.
    ///
    /// # Errors
    /// As [`Archive::delete`].
    pub fn exclude(
        &self,
        id: RecordingId,
        deletion: Deletion,
        outcome: Outcome,
        why: Vec<Step>,
    ) -> Result<(), Error> {
        self.delete_with(id, deletion, true, Some(LateExclusion { outcome, why }))
    }

    fn delete_with(
        &self,
        id: RecordingId,
        deletion: Deletion,
        keep_facts: bool,
        excluded: Option<LateExclusion>,
    ) -> Result<(), Error> {
        {
            let _one_at_a_time = locked(&self.shared.decisions);
            // Holds that were put before this are in the index then.
            self.ask(Command::Sync)?;
            let row = self.deletable(id, keep_facts)?;
            if row.deleted.is_some() {
                // The audio went before; now what is known of it goes too.
                let line = self.forgetting_line(id, deletion.clone());
                let lines = vec![line.map_err(|e| e.under(self.dir()))?];
                self.ask(|answer| Command::Forget { lines, answer })?;
            } else {
                let signed = crate::verify::signed_lines(&self.shared, &BTreeSet::from([id]));
                let signed = signed.map_err(|e| e.under(self.dir()))?;
                let line = self.deletion_line(row.reported_facts(), deletion.clone(), keep_facts, &signed);
                let mut line = line.map_err(|e| e.under(self.dir()))?;
                if let Some(entry) = &mut line.deletion {
                    entry.excluded = excluded;
                }
                let lines = vec![line];
                self.ask(|answer| Command::Delete { lines, answer })?;
            }
            self.ask(Command::Sync)?;
        }
        if keep_facts { Ok(()) } else { self.erase_about(&BTreeSet::from([id]), &deletion).map(|_| ()) }
    }

    /// The row of a recording that may be deleted now.
    fn deletable(&self, id: RecordingId, keep_facts: bool) -> Result<Row, Error> {
        let row = self.row(id)?;
        let guarded = |why: String| Err(Error::Guarded { what: id.to_string(), why });
        if let Some(hold) = row.legal_holds.first() {
            return guarded(format!("it is under the hold {} ({}); release that first", hold.hold, hold.why));
        }
        if row.facts.state == State::Recording {
            return guarded("it is being recorded".into());
        }
        if row.deleted.is_some() && keep_facts {
            return guarded(
                "its audio is gone already; without --keep-facts what is known of it goes too".into(),
            );
        }
        Ok(row)
    }

    /// The line that says that a finished recording is deleted, with its receipt.
    pub(crate) fn deletion_line(
        &self,
        facts: RecordingFacts,
        deletion: Deletion,
        keep_facts: bool,
        signed: &BTreeMap<RecordingId, (String, u64)>,
    ) -> Result<RecordingLine, Error> {
        let shared = &self.shared;
        // What was signed once stays in the receipt, so that a copy elsewhere can be told to be the deleted one.
        // It is the ledger's: the file may be damaged, and must be deleted all the same.
        let id = facts.id;
        let (signed, bytes) = signed.get(&id).cloned().unwrap_or_default();
        let Deletion { at, who, rule, why } = deletion;
        let mut entry = DeletionLine {
            rule,
            who,
            receipt: String::new(),
            facts: keep_facts.then_some(facts),
            excluded: None,
        };
        let (deletion, recoded) = (None, None);
        let mut line = RecordingLine { id, fate: Fate::Deleted, at, bytes, signed, why, deletion, recoded };
        entry.receipt = shared.keys.sign_receipt(&line.receipt_text(&entry)?)?;
        line.deletion = Some(Box::new(entry));
        Ok(line)
    }
}
