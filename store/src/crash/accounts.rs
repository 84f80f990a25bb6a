//! A change of accounts that the process or the power was cut off at: document and ledger both have it, or neither.

use super::*;
use crate::accounts::{AccountChange, AccountEdit, Password};
use crate::{AuditFilter, What};

/// The first is whoever administers, so that the others may go again.
const NAMES: [&str; 3] = ["ann", "bob", "eve"];

fn add(name: &str) -> AccountChange {
    let edit = AccountEdit { role: Some("Administrator".into()), ..AccountEdit::default() };
    let password = Some(Password::new("kupfer lampe neun seil"));
    AccountChange::Add { name: name.into(), edit, password, must_change: false }
}

/// Three accounts, of which the last one is removed; gives how many changes the archive said are kept.
fn change(disk: &Arc<SimDisk>, index: &Path) -> usize {
    let Ok(archive) = open(disk, index) else { return 0 };
    let last = AccountChange::Remove { name: "eve".into() };
    let changes = NAMES.into_iter().map(add).chain([last]);
    let kept = changes.map_while(|change| archive.change_accounts("root", START, change).ok()).count();
    disk.fail_at(0, Fault::Die);
    drop(archive);
    kept
}

/// The accounts that follow from the lines of the ledger, and how many lines there are.
fn by_the_ledger(archive: &Archive) -> (Vec<String>, usize) {
    let (mut names, mut lines) = (Vec::new(), 0);
    for event in archive.events().expect("read") {
        if let What::AccountsChanged { what, name, .. } = event.expect("a line").what {
            lines += 1;
            match what.as_str() {
                "account added" => names.push(name),
                _ => names.retain(|other| *other != name),
            }
        }
    }
    (names, lines)
}

fn cut(at: u64) {
    let folder = || tempfile::tempdir().expect("a folder");
    let (disk, index) = (new_disk(), folder());
    disk.fail_at(at, Fault::Die);
    let promised = change(&disk, &index.path().join("index"));
    for (how, disk) in [("killed", disk.after_kill()), ("cut", disk.after_power_cut(at * 7919 + 1))] {
        let index = folder();
        let archive =
            open(&disk, &index.path().join("index")).unwrap_or_else(|e| panic!("{how} at {at}: {e}"));
        let names: Vec<String> = archive.accounts().accounts().map(|account| account.name.clone()).collect();
        let (told, lines) = by_the_ledger(&archive);
        assert_eq!(names, told, "{how} at {at}");
        assert!(lines >= promised && lines <= promised + 1, "{how} at {at}: {lines} of {promised}");
        assert_eq!(
            archive.audit_trail(&AuditFilter::default()).expect("read").filter(Result::is_err).count(),
            0
        );
        assert!(archive.verify(None).all(|finding| !finding.is_problem()), "{how} at {at}");
        // The next one goes on where these end.
        archive.change_accounts("root", START, add("zoe")).unwrap_or_else(|e| panic!("{how} at {at}: {e}"));
        assert_eq!(by_the_ledger(&archive).1, lines + 1, "{how} at {at}");
    }
}

#[test]
fn a_change_that_was_promised_survives_a_cut_at_any_operation_and_is_told_once() {
    let (disk, index) = (new_disk(), tempfile::tempdir().expect("a folder"));
    assert_eq!(change(&disk, &index.path().join("index")), 4);
    let last = disk.operations();
    assert!(last > 30, "{last}");
    at_each(1..last + 1, cut);
}
