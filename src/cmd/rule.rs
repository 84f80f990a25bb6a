//! `rule`: the rule book of an archive, in versions; and putting changes of it in force.

use std::path::Path;

use serde_json::json;
use store::{Archive, BookChange, BookVersion};

use super::upkeep::open;
use super::{print_json, print_line, warn, whatif};
use crate::cli::{ArchiveDir, Change, ListCommand, Replacement, RuleCommand};
use crate::clock;
use crate::config::{Book, RuleEntry, Settings};
use crate::console::{self, Opened, who};
use crate::failure::{Done, Failure};
use crate::rules::compare::{self, Difference};
use crate::rules::{self, checked};
use crate::tables::plain;

mod place;

pub(crate) fn run(command: RuleCommand) -> Result<Done, Failure> {
    match command {
        RuleCommand::Show { version, dir, json } => show(&dir, version, json.json),
        RuleCommand::Log { dir, json } => log(&dir, json.json),
        RuleCommand::Diff { a, b, dir, json } => diff(&dir, a, b, json.json),
        RuleCommand::Import { file, how } => import(file.as_deref(), &how),
        RuleCommand::Export { version, dir } => show(&dir, version, false),
        RuleCommand::Rollback { number, how } => rollback(number, &how),
        RuleCommand::Include { command } => list(command, "record.include", |book| &mut book.record.include),
        RuleCommand::Exclude { command } => list(command, "record.exclude", |book| &mut book.record.exclude),
        RuleCommand::Ports { command, dir, json } => place::ports(command, &dir, json.json),
        RuleCommand::Pbx { command, dir, json } => place::pbx(command, &dir, json.json),
        RuleCommand::Test { file, version, since, until, dir, json } => {
            let range = (since.as_str(), until.as_deref());
            whatif::run(&dir, file.as_deref(), version, range, json.json)
        }
    }
}

/// From now on the archive's rule book decides, if it has one; gives its version, 0 without one. Says what of the configuration
/// is not used then.
pub(super) fn follow_book(settings: &mut Settings, archive: &Archive) -> Result<u64, Failure> {
    let version = archive.book_version()?;
    if !settings.follow_book(archive)? {
        return Ok(version);
    }
    let ignored = settings.book.sections();
    if !ignored.is_empty() {
        warn(&format!(
            "of the configuration {} are not used: the archive's rule book (version {version}) decides. Take them out; `earwitness \
             rule import -c FILE --why ...` shows first what they would change",
            ignored.join(", ")
        ));
    }
    Ok(version)
}

/// The rules in force, on their way to others.
pub(super) struct InForce {
    pub(super) archive: Opened,
    pub(super) settings: Settings,
    /// 0 without a book: these are the configuration's rules then.
    pub(super) version: u64,
    pub(super) book: Book,
}

impl InForce {
    /// Those of an archive.
    pub(super) fn open(dir: &ArchiveDir) -> Result<InForce, Failure> {
        let (archive, settings) = open(dir)?;
        let (version, book) = match archive.book()? {
            Some(newest) => (newest.version, Book::of_version(&newest)?),
            None => (0, settings.book.clone()),
        };
        Ok(InForce { archive, settings, version, book })
    }

    /// One version, or the one that is in force.
    pub(super) fn version(&self, number: Option<u64>) -> Result<Book, Failure> {
        match number {
            None => Ok(self.book.clone()),
            Some(number) => Book::of_version(&self.kept(number)?),
        }
    }

    fn kept(&self, number: u64) -> Result<BookVersion, Failure> {
        let mut all = self.archive.book_versions()?;
        let last = all.last().map_or(0, |newest| newest.version);
        let place = all.iter().position(|version| version.version == number);
        place.map(|place| all.swap_remove(place)).ok_or_else(|| match last {
            0 => Failure::usage("this archive has no rule book yet: `rule import` makes one"),
            last => Failure::usage(format!("no version {number} of the rule book; there are 1 to {last}")),
        })
    }

    /// Puts other rules in force, as a new version; those of retention at once, so that their grace runs.
    pub(super) fn put(
        &self,
        book: Book,
        why: &str,
        restores: Option<u64>,
    ) -> Result<(BookVersion, Vec<Difference>), Failure> {
        let differences = compare::differences(&self.book, &book)?;
        let change = BookChange {
            from: self.version,
            at: clock::now(),
            who: who(),
            why: why.to_owned(),
            restores,
            text: book.text()?,
        };
        let new = rules::put(&self.archive, &checked(book, &self.settings.machine)?, change)?;
        Ok((new, differences))
    }

    /// The same by a command that acts at once. Without a reason the change is its own.
    pub(super) fn change(self, book: Book, done: &str, change: &Change) -> Result<Done, Failure> {
        if book == self.book && self.version > 0 {
            return Err(Failure::new("that changes nothing: the rules say so already"));
        }
        let why = change.why.as_deref().unwrap_or(done);
        let (new, differences) = self.put(book, why, None)?;
        if self.version == 0 {
            let of = match console::appliances_config().unwrap_or_else(|| change.dir.config.clone()) {
                Some(file) => format!("of the rules in {} and this change", file.display()),
                None => "of this change alone, since no configuration was named (-c)".to_owned(),
            };
            warn(&format!("this archive's first rule book is made {of}; from now on it decides"));
        }
        tell(&new, &differences, change.json.json)?;
        self.archive.close()?;
        Ok(Done::All)
    }

    /// The same by a command that shows first what it would do.
    fn replace(self, book: Book, restores: Option<u64>, how: &Replacement) -> Result<Done, Failure> {
        let differences = compare::differences(&self.book, &book)?;
        if differences.is_empty() && self.version > 0 {
            print_line("nothing would change: these are the rules in force")?;
            self.archive.close()?;
            return Ok(Done::All);
        }
        if how.yes {
            let (new, differences) = self.put(book, &how.why, restores)?;
            tell(&new, &differences, how.json.json)?;
        } else {
            checked(book, &self.settings.machine)?;
            for difference in &differences {
                print(difference, how.json.json)?;
            }
            warn(
                "nothing was changed: --yes does it; `earwitness rule test` tells what it would have meant for past calls",
            );
        }
        self.archive.close()?;
        Ok(Done::All)
    }
}

/// One difference, a line.
fn print(difference: &Difference, json: bool) -> Result<(), Failure> {
    if json { print_json(difference) } else { print_line(&plain(&difference.to_string())) }
}

fn tell(new: &BookVersion, differences: &[Difference], json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ "version": new.version, "sha256": new.sha256, "changes": differences }));
    }
    for difference in differences {
        print(difference, false)?;
    }
    print_line(&format!("version {} of the rule book is in force", new.version))
}

fn show(dir: &ArchiveDir, number: Option<u64>, json: bool) -> Result<Done, Failure> {
    let in_force = InForce::open(dir)?;
    let book = in_force.version(number)?;
    if json {
        let version = number.unwrap_or(in_force.version);
        print_json(&json!({ "version": version, "rules": book }))?;
    } else {
        if in_force.version == 0 {
            warn("this archive has no rule book: these are the rules of the configuration");
        }
        print_line(book.text()?.trim_end())?;
    }
    in_force.archive.close()?;
    Ok(Done::All)
}

fn log(dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    let (archive, _) = open(dir)?;
    let versions = archive.book_versions()?;
    if versions.is_empty() && !json {
        print_line("this archive has no rule book: the configuration decides")?;
    }
    for BookVersion { version, at, who, why, restores, sha256, .. } in &versions {
        if json {
            let restores = restores.map(|old| json!({ "restores": old }));
            let mut line = json!({ "version": version, "at": at, "who": who, "why": why, "sha256": sha256 });
            if let (Some(line), Some(serde_json::Value::Object(more))) = (line.as_object_mut(), restores) {
                line.extend(more);
            }
            print_json(&line)?;
        } else {
            let old = restores.map(|old| format!(" (version {old} again)")).unwrap_or_default();
            print_line(&format!("{version:>4}  {at}  {:<12}  {}{old}", plain(who), plain(why)))?;
        }
    }
    archive.close()?;
    Ok(Done::All)
}

fn diff(dir: &ArchiveDir, a: Option<u64>, b: Option<u64>, json: bool) -> Result<Done, Failure> {
    let in_force = InForce::open(dir)?;
    let newer = b.unwrap_or(in_force.version);
    // What is before the first version is nothing at all.
    let book = |number: u64| match number {
        0 => Ok(Book::default()),
        number => in_force.version(Some(number)),
    };
    let differences = compare::differences(&book(a.unwrap_or(newer.saturating_sub(1)))?, &book(newer)?)?;
    differences.iter().try_for_each(|difference| print(difference, json))?;
    if differences.is_empty() && !json {
        print_line("no difference")?;
    }
    in_force.archive.close()?;
    Ok(Done::All)
}

fn import(file: Option<&Path>, how: &Replacement) -> Result<Done, Failure> {
    // Read first: a file that is wrong is told without an archive.
    let read = file.map(Book::read).transpose()?;
    let config = console::appliances_config().unwrap_or_else(|| how.dir.config.clone());
    if read.is_none() && config.is_none() {
        return Err(Failure::usage(
            "name a file with rules, or the configuration (-c) whose sections are to become the book",
        ));
    }
    let in_force = InForce::open(&how.dir)?;
    let book = read.unwrap_or_else(|| in_force.settings.book.clone());
    in_force.replace(book, None, how)
}

fn rollback(number: u64, how: &Replacement) -> Result<Done, Failure> {
    let in_force = InForce::open(&how.dir)?;
    let book = in_force.version(Some(number))?;
    in_force.replace(book, Some(number), how)
}

/// `include` and `exclude`: one list of rules.
fn list(
    command: ListCommand,
    section: &str,
    of: impl Fn(&mut Book) -> &mut Vec<RuleEntry>,
) -> Result<Done, Failure> {
    match command {
        ListCommand::Add { kind, value, description, change } => {
            let kind = serde_json::from_value(json!(kind))
                .map_err(|error| Failure::usage(format!("--type: {error}")))?;
            let entry = RuleEntry { kind, value, description };
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            let done = format!("{section} added: {} {}", entry.kind.words(), entry.value);
            of(&mut book).push(entry);
            in_force.change(book, &done, &change)
        }
        ListCommand::Remove { place, change } => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            let rules = of(&mut book);
            let Some(index) = place.checked_sub(1).filter(|&index| index < rules.len()) else {
                return Err(Failure::usage(format!("no rule {place} in {section}: it has {}", rules.len())));
            };
            let entry = rules.remove(index);
            let done = format!("{section} removed: {} {}", entry.kind.words(), entry.value);
            in_force.change(book, &done, &change)
        }
    }
}
