//! Room on the disk as the disk thread sees it: the reserve for the ends of recordings, and checkpoints of the ledger, which
//! are made when there is time.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{CHECKPOINT_INTERVAL, RESERVE, Scribe};
use crate::Error;
use crate::log::CHECKPOINT;
use crate::log::checkpoint::Checkpoint;
use crate::shared::wall_clock;

impl Scribe {
    pub(super) fn set_full(&mut self, is_full: bool) {
        self.shared.full.store(is_full, Ordering::Release);
        self.full_since = is_full.then(Instant::now);
        if let Some(alert) = self.space.set_full(is_full) {
            self.shared.alert(alert);
        }
    }

    /// Signs how far the ledger has come. After a failure it is tried again later: the lines are safe without it.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        self.checkpoint_due = None;
        if !self.log.is_ahead() {
            return Ok(());
        }
        let signed = self.settle().and_then(|()| self.sign_checkpoint());
        match &signed {
            Ok(()) => self.log.mark_signed(),
            Err(e) => {
                tracing::error!(error = %e, "no checkpoint of the ledger can be made");
                self.checkpoint_due = Some(Instant::now() + CHECKPOINT_INTERVAL);
            }
        }
        signed
    }

    pub(super) fn sign_checkpoint(&mut self) -> Result<(), Error> {
        let shared = &self.shared;
        let checkpoint = Checkpoint {
            archive: shared.id.clone(),
            size: self.log.size(),
            root: self.log.root(),
            at: wall_clock(),
        };
        let note = checkpoint.to_note(shared.keys.sign_public(), |text| shared.keys.sign_note(text))?;
        // The lines are in the journal on disk, so the checkpoint never says more than a crash leaves.
        shared.disk.replace(CHECKPOINT, note.as_bytes(), false).map_err(|e| Error::io(CHECKPOINT, e))?;
        self.log.keep_peaks(&*shared.disk);
        shared.witnesses.tell(&checkpoint, &note);
        Ok(())
    }

    pub(super) fn give_reserve(&mut self) {
        if self.full_since.is_none() {
            // What the journal holds is in the files too; without it there is room again for a while.
            self.rotate_due = Some(Instant::now());
        }
        self.set_full(true);
        if let Err(e) = self.shared.disk.remove(RESERVE) {
            tracing::error!(error = %e, "the reserve cannot be given up");
        }
    }

    /// Sets room aside; if there is any, the disk is not full (any more).
    pub(super) fn take_reserve(&mut self) {
        let disk = &*self.shared.disk;
        let have = disk.len(RESERVE).ok().flatten().unwrap_or_default();
        if have < self.shared.tuning.reserve
            && let Err(e) = disk.set_aside(RESERVE, self.shared.tuning.reserve)
        {
            tracing::debug!(error = %e, "no room to set aside");
            let _ = disk.remove(RESERVE);
            self.set_full(true);
            return;
        }
        self.set_full(false);
        self.write_lines();
        if self.is_behind() {
            self.try_again_now();
        } else {
            self.end_left();
        }
    }
}
