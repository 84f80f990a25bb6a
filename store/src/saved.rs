//! Saved filters: what somebody looks for again and again, under a name of its own (requirement rows FLT).
//!
//! One document, `filters.json`, put in place as a whole. What a filter asks for is the query of a list's address, as text: what that
//! means is the pages'. Whose right it is to change what is shared is the callers' to look at.
//!
//! A document that cannot be read costs nobody anything but these filters: nothing is saved over it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use decode::Timestamp;
use policy::people::check_name;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, locked, read_whole};
use crate::event::{Event, What};
use crate::scribe::Command;
use crate::{Archive, Error};

/// The document.
pub(crate) const SAVED_FILTERS: &str = "filters.json";
const FORMAT: u32 = 1;
/// Its longest, in bytes.
const DOCUMENT_MAX: u64 = 32 << 20;
/// Filters that one account may have, and that all may share.
const FILTERS_MAX: usize = 200;
/// Bytes of what a filter asks for.
pub const SAVED_QUERY_MAX: usize = 8_000;

/// A filter that was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFilter {
    /// Its name: one of its own among the account's, or among the shared ones. Case does not tell names apart.
    pub name: String,
    /// The account whose it is; none for one that is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it asks for, as the query of an address: `extension=1000-1005&tag=vip`. At most [`SAVED_QUERY_MAX`] bytes.
    pub query: String,
    /// Who saved it last.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Whose a filter is, and its name, both without their case.
type Key = (Option<String>, String);

fn key(owner: Option<&str>, name: &str) -> Key {
    (owner.map(str::to_lowercase), name.to_lowercase())
}

/// The document as it is now.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Held for moments alone: whoever asks must not wait for a disk.
    state: Mutex<State>,
    /// Who changes it, one at a time.
    changes: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    filters: Arc<BTreeMap<Key, SavedFilter>>,
    /// Why the document cannot be read.
    broken: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    filters: Vec<SavedFilter>,
}

impl Saved {
    /// Reads the document of an archive.
    pub(crate) fn open(disk: &dyn Disk) -> Saved {
        let (filters, broken) = match read(disk) {
            Ok(filters) => (filters, None),
            Err(what) => {
                tracing::error!(file = SAVED_FILTERS, error = %what, "saved filters cannot be read");
                (BTreeMap::new(), Some(what))
            }
        };
        Saved { state: Mutex::new(State { filters: Arc::new(filters), broken }), ..Saved::default() }
    }
}

fn read(disk: &dyn Disk) -> Result<BTreeMap<Key, SavedFilter>, String> {
    let json = read_whole(disk, SAVED_FILTERS, DOCUMENT_MAX).map_err(|e| e.to_string())?;
    let Some(json) = json else { return Ok(BTreeMap::new()) };
    let Document { format, filters } = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    if format > FORMAT {
        return Err(format!("it has format {format}, this program knows formats up to {FORMAT}"));
    }
    Ok(filters.into_iter().map(|filter| (key(filter.owner.as_deref(), &filter.name), filter)).collect())
}

impl Archive {
    /// The filters of an account and those that are shared, by name; the account's own first.
    #[must_use]
    pub fn saved_filters(&self, account: &str) -> Vec<SavedFilter> {
        let filters = self.all_saved();
        let of = |owner: Option<&str>| {
            let owner = owner.map(str::to_lowercase);
            filters.iter().filter(move |((whose, _), _)| *whose == owner).map(|(_, filter)| filter.clone())
        };
        let own: Vec<SavedFilter> = of(Some(account)).collect();
        own.into_iter().chain(of(None)).collect()
    }

    /// One filter: the account's own, or a shared one without an owner.
    #[must_use]
    pub fn saved_filter(&self, owner: Option<&str>, name: &str) -> Option<SavedFilter> {
        self.all_saved().get(&key(owner, name)).cloned()
    }

    /// Saves a filter; one of this name and owner is replaced. On disk when this returns, and in the ledger if it is shared.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that is none, a query that is too long, and when there are too many;
    /// [`Error::Damaged`] while the document cannot be read; [`Error::Full`], [`Error::Io`].
    pub fn save_filter(&self, filter: SavedFilter) -> Result<(), Error> {
        let refused = |what: String| Error::Refused { what };
        check_name("filter", &filter.name).map_err(|error| refused(error.to_string()))?;
        if filter.query.len() > SAVED_QUERY_MAX {
            return Err(refused(format!(
                "what filter {:?} asks for has more than {SAVED_QUERY_MAX} bytes",
                filter.name
            )));
        }
        let (by, at) = (filter.by.clone(), filter.at);
        self.change_saved(filter.owner.clone().as_deref(), &by, at, move |filters| {
            let key = key(filter.owner.as_deref(), &filter.name);
            let of_owner = filters.keys().filter(|(owner, _)| *owner == key.0).count();
            if !filters.contains_key(&key) && of_owner >= FILTERS_MAX {
                return Err(refused(format!(
                    "more than {FILTERS_MAX} filters: remove one that nobody needs"
                )));
            }
            let (name, after) = (filter.name.clone(), filter.query.clone());
            let before = filters.insert(key, filter).map(|before| before.query);
            Ok((name, before, Some(after)))
        })
    }

    /// Removes a filter. On disk when this returns, and in the ledger if it was shared.
    ///
    /// # Errors
    /// [`Error::NotFound`], and as [`Archive::save_filter`].
    pub fn remove_saved_filter(
        &self,
        owner: Option<&str>,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.change_saved(owner, by, at, |filters| {
            let gone = filters.remove(&key(owner, name));
            let gone = gone.ok_or_else(|| Error::NotFound { what: format!("the filter {name:?}") })?;
            Ok((gone.name, Some(gone.query), None))
        })
    }

    /// Removes all filters of an account that is removed, so that nobody who gets its name has them.
    pub(crate) fn forget_filters_of(&self, account: &str) -> Result<(), Error> {
        let account = account.to_lowercase();
        let _one_at_a_time = locked(&self.shared.saved.changes);
        let all = self.all_saved();
        let mut filters = (*all).clone();
        filters.retain(|(owner, _), _| owner.as_ref() != Some(&account));
        if filters.len() == all.len() { Ok(()) } else { self.keep_saved(filters) }
    }

    fn all_saved(&self) -> Arc<BTreeMap<Key, SavedFilter>> {
        Arc::clone(&locked(&self.shared.saved.state).filters)
    }

    fn change_saved(
        &self,
        owner: Option<&str>,
        who: &str,
        at: Timestamp,
        change: impl FnOnce(
            &mut BTreeMap<Key, SavedFilter>,
        ) -> Result<(String, Option<String>, Option<String>), Error>,
    ) -> Result<(), Error> {
        let _one_at_a_time = locked(&self.shared.saved.changes);
        let mut filters = (*self.all_saved()).clone();
        let (name, before, after) = change(&mut filters)?;
        self.check_saved().map_err(|e| e.under(self.dir()))?;
        if owner.is_none() {
            // Before it is done, as all that people do.
            let asks = |query: Option<String>| {
                query.map(|query| ("asks for".to_owned(), query)).into_iter().collect()
            };
            let (what, before, after) = ("shared filter".to_owned(), asks(before), asks(after));
            let what = What::AccountsChanged { what, name, before, after };
            let event = Box::new(Event { at, who: who.to_owned(), what });
            self.ask(|answer| Command::Event { event, answer }).map_err(|e| e.under(self.dir()))?;
        }
        self.keep_saved(filters).map_err(|e| e.under(self.dir()))
    }

    /// Can anything be saved?
    fn check_saved(&self) -> Result<(), Error> {
        match &locked(&self.shared.saved.state).broken {
            None => Ok(()),
            Some(what) => Err(Error::damaged(
                SAVED_FILTERS,
                format!("{what}; put a copy of it back, or move it away to begin anew, and start again"),
            )),
        }
    }

    /// Puts the document in place, on disk and then here.
    fn keep_saved(&self, filters: BTreeMap<Key, SavedFilter>) -> Result<(), Error> {
        self.check_saved()?;
        let document = Document { format: FORMAT, filters: filters.values().cloned().collect() };
        let json =
            serde_json::to_vec_pretty(&document).map_err(|e| Error::Refused { what: e.to_string() })?;
        // What is longer would not be read again.
        if json.len() as u64 > DOCUMENT_MAX {
            let what = format!("saved filters of more than {DOCUMENT_MAX} bytes in all: remove some");
            return Err(Error::Refused { what });
        }
        self.shared.disk.replace(SAVED_FILTERS, &json, true).map_err(|e| Error::io(SAVED_FILTERS, e))?;
        locked(&self.shared.saved.state).filters = Arc::new(filters);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::{START, new_disk};
    use crate::sim::SimDisk;

    /// The archive, and the folder of its index.
    fn open(disk: &Arc<SimDisk>) -> (Archive, tempfile::TempDir) {
        let index = tempfile::tempdir().expect("a folder");
        (crate::crash::open(disk, index.path()).expect("opens"), index)
    }

    fn filter(name: &str, owner: Option<&str>, query: &str) -> SavedFilter {
        let (name, owner, query) = (name.to_owned(), owner.map(str::to_owned), query.to_owned());
        SavedFilter { name, owner, query, by: "ann".into(), at: START }
    }

    fn names(archive: &Archive, account: &str) -> Vec<String> {
        archive.saved_filters(account).into_iter().map(|filter| filter.name).collect()
    }

    #[test]
    fn filters_are_their_owners_or_everybodys_and_outlast_the_process() {
        let disk = new_disk();
        let (archive, _index) = open(&disk);
        for saved in [
            filter("VIP", Some("ann"), "tag=vip"),
            filter("Late", None, "least=600"),
            filter("vip", Some("Ann"), "tag=vip&least=5"),
            filter("Secret", Some("bob"), "agent=7"),
        ] {
            archive.save_filter(saved).expect("saved");
        }
        assert_eq!(names(&archive, "ANN"), ["vip", "Late"]);
        assert_eq!(names(&archive, "nobody"), ["Late"]);
        archive.close().expect("closed");

        let (archive, _index) = open(&disk);
        assert_eq!(archive.saved_filter(Some("ann"), "Vip").expect("there").query, "tag=vip&least=5");
        assert_eq!(archive.saved_filter(Some("ann"), "Secret"), None);
        archive.remove_saved_filter(None, "late", "ann", START).expect("removed");
        let again = archive.remove_saved_filter(None, "late", "ann", START);
        assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
        archive.forget_filters_of("ann").expect("forgotten");
        assert_eq!((names(&archive, "ann").len(), names(&archive, "bob").len()), (0, 1));
    }

    #[test]
    fn what_is_shared_is_in_the_trail_and_what_is_ones_own_is_not() {
        let disk = new_disk();
        let (archive, _index) = open(&disk);
        archive.save_filter(filter("Mine", Some("ann"), "tag=vip")).expect("saved");
        archive.save_filter(filter("Ours", None, "tag=vip")).expect("saved");
        archive.save_filter(filter("Ours", None, "tag=old")).expect("saved");
        archive.remove_saved_filter(None, "Ours", "bob", START).expect("removed");
        let trail = archive.audit_trail(&crate::AuditFilter::default()).expect("read");
        let told = trail.filter_map(|line| match line.expect("a line").1 {
            Event { who, what: What::AccountsChanged { what, name, before, after }, .. } => {
                let one = |values: std::collections::BTreeMap<String, String>| values.into_values().collect();
                Some((who, what, name, one(before), one(after)))
            }
            _ => None,
        });
        let mut told: Vec<(String, String, String, String, String)> = told.collect();
        told.sort();
        let line = |who: &str, before: &str, after: &str| {
            let [who, what, name, before, after] =
                [who, "shared filter", "Ours", before, after].map(str::to_owned);
            (who, what, name, before, after)
        };
        let all = [line("ann", "", "tag=vip"), line("ann", "tag=vip", "tag=old"), line("bob", "tag=old", "")];
        assert_eq!(told, all);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_not_written_over() {
        let disk = new_disk();
        open(&disk).0.close().expect("closed");
        disk.replace(SAVED_FILTERS, b"{", true).expect("written");
        let (archive, _index) = open(&disk);
        assert_eq!(names(&archive, "ann"), [""; 0]);
        let refused = archive.save_filter(filter("x", None, "tag=vip"));
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
        assert_eq!(read_whole(&*disk, SAVED_FILTERS, 10).expect("read").as_deref(), Some(&b"{"[..]));
    }

    #[test]
    fn bounds_are_told() {
        let (archive, _index) = open(&new_disk());
        let said = |filter| archive.save_filter(filter).expect_err("refused").to_string();
        assert!(said(filter(" x", None, "")).contains("space"));
        assert!(said(filter("x", None, &"a".repeat(SAVED_QUERY_MAX + 1))).contains("8000 bytes"));
        for n in 0..FILTERS_MAX {
            archive.save_filter(filter(&n.to_string(), Some("ann"), "")).expect("room");
        }
        assert!(said(filter("one more", Some("ann"), "")).contains("200"));
        archive.save_filter(filter("7", Some("ann"), "tag=x")).expect("replaced");
        archive.save_filter(filter("bob has room", Some("bob"), "")).expect("room");
    }
}
