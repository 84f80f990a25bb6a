//! Which copies there are of a recording in archive locations: lines of the ledger, and what they come to.
//!
//! A copy counts when it was read back and compared. The last line about a location counts. Kept in the index by recording;
//! an index that is lost is built anew from the ledger.

use std::collections::BTreeMap;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RecordingId;

/// A verified copy, as its line of the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyLine {
    /// The recording.
    pub id: RecordingId,
    /// Length of the copy in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
    /// The key that its data key is wrapped to in it, in hexadecimal.
    pub key: String,
}

/// A recording whose audio is no longer in the archive's folder, as its line of the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLine {
    /// The recording.
    pub id: RecordingId,
    /// SHA-256 of the stub that stays, with its wrapped key as zeros, in hexadecimal.
    pub stub: String,
}

/// A verified copy of a recording, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyAt {
    /// The archive location.
    pub location: String,
    /// When it was verified.
    pub at: Timestamp,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
    /// It is to be looked at: the recording was deleted, or its key wrapped anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// A copy as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopyKept {
    pub(crate) at: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) key: String,
    /// It is not as it should be: the data key is wrapped to another key now, or the recording was re-encoded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stale: bool,
    /// The ledger says that the recording was destroyed: the copy is to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
}

/// All copies of one recording, by location: the number of the line that counts, and the copy; none where one was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copies(BTreeMap<String, (u64, Option<CopyKept>)>);

impl Copies {
    /// Takes a line in; lines may come in any order, and again. True when it counts.
    pub(crate) fn take(&mut self, leaf: u64, location: &str, copy: Option<CopyKept>) -> bool {
        let counts = self.0.get(location).is_none_or(|(last, _)| *last < leaf);
        if counts {
            self.0.insert(location.to_owned(), (leaf, copy));
        }
        counts
    }

    /// None of the copies is as it should be any more. True when there is one.
    pub(crate) fn make_stale(&mut self) -> bool {
        let there = self.0.values_mut().filter_map(|(_, copy)| copy.as_mut());
        there.fold(false, |_, copy| {
            copy.stale = true;
            true
        })
    }

    /// The recording was destroyed. True when there is a copy.
    pub(crate) fn make_gone(&mut self) -> bool {
        let there = self.0.values_mut().filter_map(|(_, copy)| copy.as_mut());
        there.fold(false, |_, copy| {
            copy.gone = true;
            true
        })
    }

    /// The copy at a location.
    pub(crate) fn at(&self, location: &str) -> Option<&CopyKept> {
        self.0.get(location)?.1.as_ref()
    }

    /// All copies, in the order of their locations' names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &CopyKept)> {
        self.0.iter().filter_map(|(location, (_, copy))| Some((location.as_str(), copy.as_ref()?)))
    }

    /// As lists show them.
    pub(crate) fn listed(&self) -> Vec<CopyAt> {
        let listed = |(location, copy): (&str, &CopyKept)| CopyAt {
            location: location.to_owned(),
            at: copy.at,
            sha256: copy.sha256.clone(),
            stale: copy.stale || copy.gone,
        };
        self.iter().map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_about_a_location_counts_in_whatever_order_they_come() {
        let copy = |sha: &str| {
            let at = Timestamp::from_millis(1);
            Some(CopyKept { at, bytes: 1, sha256: sha.into(), key: "k".into(), stale: false, gone: false })
        };
        let mut copies = Copies::default();
        assert!(copies.take(5, "nas", copy("new")));
        assert!(!copies.take(3, "nas", None), "an older line");
        assert!(copies.take(4, "cloud", copy("other")));
        assert!(!copies.take(4, "cloud", copy("again")), "the same line");
        assert_eq!(copies.at("nas").map(|copy| copy.sha256.as_str()), Some("new"));
        assert!(copies.make_stale() && copies.iter().all(|(_, copy)| copy.stale));
        assert!(copies.take(9, "nas", None));
        assert_eq!(copies.listed().iter().map(|copy| copy.location.as_str()).collect::<Vec<_>>(), ["cloud"]);
        assert!(copies.take(10, "cloud", None) && !copies.make_stale());
    }
}
