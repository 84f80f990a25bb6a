//! What becomes known of recordings that run: kept in the journal, so that a recording whose end does not come has it.

use std::sync::Arc;

use super::{Open, Scribe};
use crate::journal::{Part, Transaction};
use crate::layout::Layout;
use crate::{RecordingFacts, RecordingId};

impl Scribe {
    /// Keeps facts in JSON. On a full disk they stay in memory until the next journal.
    pub(super) fn know(&mut self, open: &Arc<Open>, facts: Vec<u8>) {
        // Without a header there is nothing to know anything of.
        if !self.running.contains_key(&open.id) {
            return;
        }
        let entry = Transaction::new().push(&Part::Known { path: &open.path, facts: &facts }).finish();
        self.expected_behind |= self.commit(entry, None, None).is_err();
        if let Some(running) = self.running.get_mut(&open.id) {
            running.known = Some(facts);
        }
    }

    /// The facts of a recording's beginning with what became known since; none where nothing did.
    pub(super) fn known_of(&self, id: RecordingId, layout: &Layout) -> Option<RecordingFacts> {
        let known = self.running.get(&id)?.known.as_deref()?;
        Some(layout.parsed.head.facts.clone().knowing(known))
    }
}
