//! A rule book of another make than the recorder's: a rule a line, `exclude endpoint 2005`, `include ddi 1000`, `device 2000`,
//! `pbx 192.0.2.1`, `country GB`, `code *1 *2`, `keep NAME AUDIO DATA`, `unit NAME PARENT`, `user ID UNIT extension 2001, agent 7`, `mode ID MODE
//! FROM`, with `-` for none. A line that begins with `wrong` cannot be meant.

use std::collections::BTreeSet;
use std::sync::Mutex;

use decode::Timestamp;
use policy::retention::{Consent, Grace, OFF_MAX_DEFAULT, Reading, Rule, RuleSet};
use policy::{Outcome, RuleType};
use store::{Archive, BookChange, BookVersion, Pruned, Retention, Take};
use web::rules::forms::{Entries, Entry, Forms, Input, Part, Value};
use web::rules::{
    Answer, CodeLine, DeviceLine, Difference, Edit, KeepLine, List, NotPruned, Planned, Preset, Question,
    RuleBook, RuleLine, RulesError, Sections, Seen, SeenExtension, SeenExtensions, Setting, Trial, TriedCall,
    UnitLine, UserLine, Words, Wrong, digest,
};

/// What counts without a book, and what the clocks show.
pub struct Lines {
    pub configured: String,
    pub clock: Mutex<Reading>,
}

impl Lines {
    pub fn new(configured: &str, wall: Timestamp) -> Lines {
        let reading = Reading { wall, since_boot_ns: 3_600_000_000_000, boot: "boot".into() };
        Lines { configured: configured.into(), clock: Mutex::new(reading) }
    }

    /// Takes the rules up and looks at the clock, as a recorder does that runs. The archive was made by another clock than the tests'.
    pub fn look(&self, archive: &Archive) {
        let mut retention = self.retention(archive, Take::InForce).expect("taken up");
        if retention.freeze().is_some() {
            retention.confirm_clock("test", self.reading().wall).expect("confirmed");
        }
    }

    fn reading(&self) -> Reading {
        self.clock.lock().expect("no panic").clone()
    }

    fn set(&self, archive: &Archive) -> Result<RuleSet, RulesError> {
        let text = archive.book()?.map_or(self.configured.clone(), |book| book.text);
        let rules = text.lines().filter_map(keep);
        RuleSet::new(rules.collect()).map_err(|error| Wrong::new(error.to_string()).into())
    }

    fn retention<'a>(&self, archive: &'a Archive, how: Take) -> Result<Retention<'a>, RulesError> {
        let set = self.set(archive)?;
        Ok(archive.retention(set, Grace::Immediate, OFF_MAX_DEFAULT, self.reading(), how)?)
    }
}

fn keep(line: &str) -> Option<Rule> {
    let mut words = line.strip_prefix("keep ")?.split(' ');
    let (name, audio, data) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Rule::everything(name, audio, data))
}

/// A country and codes, as forms have them.
fn forms(country: &[String], codes: &[String]) -> Forms {
    let value =
        |key, input, written: &str| Value { key, label: key, hint: "", input, written: written.into() };
    let both =
        Input::AnyOf(vec![("inbound".into(), "inbound".into()), ("outbound".into(), "outbound".into())]);
    let keep = || vec![value("name", Input::Text, ""), value("direction", both.clone(), "inbound")];
    let code = |written: &str| vec![value("pause", Input::Text, written)];
    let entry = |written: &String| Entry { name: "keys".into(), values: code(written) };
    Forms {
        parts: vec![
            (Part::DialPlan, vec![value("country", Input::Text, country.first().map_or("", String::as_str))]),
            (Part::Pause, vec![value("on", Input::Yes, "yes"), value("max_min", Input::Number, "30")]),
        ],
        entries: vec![(Entries::Codes, codes.iter().map(entry).collect())],
        fresh: vec![(Entries::Codes, code("")), (Entries::Keeping, keep())],
    }
}

fn checked(text: &str) -> Result<(), Wrong> {
    let wrong = text.lines().position(|line| line.starts_with("wrong"));
    wrong.map_or(Ok(()), |line| Err(Wrong { place: Some((line + 1, 1)), what: "it cannot be meant".into() }))
}

fn kind_key(kind: RuleType) -> String {
    serde_json::to_value(kind).expect("JSON").as_str().expect("a word").to_owned()
}

fn rule(line: &str, list: &str) -> Option<RuleLine> {
    let rest = line.strip_prefix(list)?.trim_start();
    let mut words = rest.splitn(3, ' ');
    let kind = serde_json::from_value(serde_json::json!(words.next()?)).ok()?;
    let (value, why) = (words.next()?.to_owned(), words.next().unwrap_or_default().to_owned());
    Some(RuleLine { kind, value, description: why })
}

fn word_of(list: List) -> &'static str {
    match list {
        List::Exclude => "exclude",
        List::Include => "include",
    }
}

fn device(number: &str) -> DeviceLine {
    let none = String::new;
    DeviceLine {
        number: number.into(),
        name: none(),
        ip: none(),
        mac: none(),
        source: None,
        mode: policy::Mode::Always,
        priority: None,
    }
}

fn none(word: &str) -> String {
    Some(word).filter(|word| *word != "-").unwrap_or_default().to_owned()
}

fn unit(line: &str) -> Option<UnitLine> {
    let (name, parent) = line.strip_prefix("unit ")?.split_once(' ')?;
    Some(UnitLine { name: name.into(), parent: none(parent) })
}

fn user(line: &str) -> Option<UserLine> {
    let mut words = line.strip_prefix("user ")?.splitn(3, ' ');
    let (id, unit) = (words.next()?.to_owned(), none(words.next()?));
    let devices = words.next().unwrap_or_default().split(", ").filter_map(|line| line.parse().ok()).collect();
    Some(UserLine { id, unit, devices, ..UserLine::default() })
}

/// The mode that a line gives to a user: id, mode, since when.
fn own_mode(line: &str) -> Option<(&str, policy::Mode, String)> {
    let mut words = line.strip_prefix("mode ")?.split(' ');
    let (id, mode, from) = (words.next()?, words.next()?, words.next()?);
    let mode = policy::Mode::ALL.into_iter().find(|known| known.key() == mode)?;
    Some((id, mode, none(from)))
}

fn users(text: &str) -> Vec<UserLine> {
    let with_mode = |user: UserLine| match text.lines().filter_map(own_mode).find(|(id, ..)| *id == user.id) {
        Some((_, mode, mode_from)) => UserLine { mode: Some(mode), mode_from, ..user },
        None => user,
    };
    text.lines().filter_map(user).map(with_mode).collect()
}

fn user_line(user: &UserLine) -> String {
    let devices: Vec<String> = user.devices.iter().map(ToString::to_string).collect();
    let unit = if user.unit.is_empty() { "-" } else { &user.unit };
    format!("user {} {unit} {}", user.id, devices.join(", "))
}

fn unit_line(unit: &UnitLine) -> String {
    format!("unit {} {}", unit.name, if unit.parent.is_empty() { "-" } else { &unit.parent })
}

/// The section that a line belongs to.
fn section(line: &str) -> &'static str {
    match line.split(' ').next().unwrap_or_default() {
        "exclude" => "record.exclude",
        "include" => "record.include",
        "device" => "record.device",
        "pbx" => "site",
        "country" => "site.dial_plan",
        "code" => "pause.code",
        "keep" => "retention.rule",
        "unit" => "unit",
        "user" | "mode" => "user",
        "internal" => "record",
        _ => "",
    }
}

impl RuleBook for Lines {
    /// Whom calls were for.
    fn seen(&self, archive: &Archive, since: Option<Timestamp>) -> Result<SeenExtensions, RulesError> {
        let text = archive.book()?.map_or(self.configured.clone(), |book| book.text);
        let listed = self.read(&text)?.devices;
        let mut found = SeenExtensions::default();
        for row in archive.calls_begun(since, None)? {
            let (_, row) = row?;
            let is_entry = listed.iter().any(|device| device.number == row.to);
            found.list.push(SeenExtension {
                calls: 1,
                recorded: 1,
                last: Some(row.started),
                ip: vec!["192.0.2.33".parse().expect("an address")],
                entry: is_entry.then(|| row.to.clone()),
                listed: is_entry || listed.is_empty(),
                extension: row.to,
                ..SeenExtension::default()
            });
        }
        Ok(found)
    }

    fn configured(&self) -> Result<String, RulesError> {
        Ok(self.configured.clone())
    }

    fn read(&self, text: &str) -> Result<Sections, RulesError> {
        checked(text)?;
        let all = |list: &str| text.lines().filter_map(|line| rule(line, list)).collect();
        let words = |name: &str| {
            let found = text.lines().filter_map(|line| line.strip_prefix(name));
            found.map(|rest| rest.trim().to_owned()).collect::<Vec<_>>()
        };
        let code = |pair: &String| {
            let (pause, resume) = pair.split_once(' ').unwrap_or((pair, ""));
            CodeLine { name: "keys".into(), pause: pause.into(), resume: resume.into() }
        };
        let keep = |rule: Rule| KeepLine {
            of: "everything else".into(),
            audio: rule.audio.to_string(),
            data: rule.data.to_string(),
            name: rule.name,
        };
        let country = words("country");
        Ok(Sections {
            pbx: words("pbx"),
            exclude_internal: text.lines().any(|line| line == "internal excluded"),
            devices: words("device").iter().map(|number| device(number)).collect(),
            exclude: all("exclude"),
            include: all("include"),
            codes: words("code").iter().map(code).collect(),
            dial_plan: country
                .into_iter()
                .map(|value| Setting { key: "country", label: "Country", value })
                .collect(),
            keeping: text.lines().filter_map(self::keep).map(keep).collect(),
            units: text.lines().filter_map(unit).collect(),
            users: users(text),
            forms: forms(&words("country"), &words("code")),
            ..Sections::default()
        })
    }

    fn check(&self, text: &str) -> Result<String, RulesError> {
        checked(text)?;
        Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
    }

    fn edit(&self, text: &str, edit: &Edit) -> Result<String, RulesError> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let gone = |was: &str| Wrong::new(format!("{was:?} does not stand there any more"));
        match edit {
            Edit::AddRule(list, rule) => {
                let RuleLine { kind, value, description } = rule;
                lines.push(format!("{} {} {value} {description}", word_of(*list), kind_key(*kind)));
            }
            Edit::RemoveRule(list, place, was) => {
                let mut rules =
                    lines.iter().enumerate().filter_map(|(n, line)| Some((n, rule(line, word_of(*list))?)));
                let found = rules.nth(*place).filter(|(_, rule)| rule.named() == *was).map(|(n, _)| n);
                lines.remove(found.ok_or_else(|| gone(was))?);
            }
            Edit::AddDevice(device) => lines.push(format!("device {}", device.number)),
            Edit::Set(Words::Pbx, words) => {
                lines.retain(|line| !line.starts_with("pbx"));
                lines.extend(words.iter().map(|word| format!("pbx {word}")));
            }
            Edit::SetValues(Part::DialPlan, written) => {
                lines.retain(|line| !line.starts_with("country"));
                lines.extend(written.iter().map(|(key, value)| format!("{key} {value}")));
            }
            Edit::AddEntry(Entries::Codes, written) => {
                lines.extend(written.iter().map(|(_, value)| format!("code {value}")));
            }
            Edit::ExcludeInternal(true) => lines.push("internal excluded".into()),
            Edit::ExcludeInternal(false) => lines.retain(|line| line != "internal excluded"),
            Edit::AddUser(new) => lines.push(user_line(new)),
            Edit::SetUser(id, new) => {
                let is_it = |line: &&mut String| user(line).is_some_and(|user| user.id == *id);
                *lines.iter_mut().find(is_it).ok_or_else(|| gone(id))? = user_line(new);
            }
            Edit::SetModes(ids, mode, from) => {
                for id in ids {
                    if !lines.iter().any(|line| user(line).is_some_and(|user| user.id == *id)) {
                        return Err(gone(id).into());
                    }
                    lines.retain(|line| own_mode(line).is_none_or(|(of, ..)| of != id));
                    let from = if from.is_empty() { "-" } else { from };
                    lines.extend(mode.map(|mode| format!("mode {id} {} {from}", mode.key())));
                }
            }
            Edit::RemoveUser(id) => lines.retain(|line| user(line).is_none_or(|user| user.id != *id)),
            Edit::AddUnit(new) => lines.push(unit_line(new)),
            Edit::SetUnit(was, new) => {
                let is_it = |line: &&mut String| unit(line).is_some_and(|unit| unit.name == *was);
                *lines.iter_mut().find(is_it).ok_or_else(|| gone(was))? = unit_line(new);
            }
            Edit::RemoveUnit(name) => lines.retain(|line| unit(line).is_none_or(|unit| unit.name != *name)),
            _ => return Err(Wrong::new("this book has no such thing").into()),
        }
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    }

    fn compare(&self, old: &str, new: &str) -> Result<Vec<Difference>, RulesError> {
        let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (old.lines().collect(), new.lines().collect());
        let difference = |sign: char, line: &str| Difference {
            section: section(line).into(),
            keys: if line.starts_with("internal") { vec!["exclude_internal".into()] } else { vec![] },
            line: format!("{sign} {line}"),
        };
        let gone = old.difference(&new).map(|line| difference('-', line));
        Ok(gone.chain(new.difference(&old).map(|line| difference('+', line))).collect())
    }

    fn try_on(
        &self,
        archive: &Archive,
        text: &str,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Trial, RulesError> {
        let excluded: Vec<String> = self.read(text)?.exclude.into_iter().map(|rule| rule.value).collect();
        let mut trial = Trial::default();
        for call in archive.calls()? {
            let call = call?;
            if call.started < since || until.is_some_and(|until| call.started >= until) {
                continue;
            }
            trial.calls += 1;
            if call.outcome != Outcome::Excluded && excluded.contains(&call.to) {
                trial.list.push(TriedCall {
                    call: call.call,
                    started: call.started,
                    from: call.from,
                    to: call.to,
                    was: call.outcome,
                    was_reason: call.reason,
                    would: Outcome::Excluded,
                    would_reason: "an exclusion".into(),
                    by_channels: false,
                    not_known: vec!["what other pauses would have left out"],
                    recordings: call.recordings,
                });
            }
        }
        if !trial.list.is_empty() {
            trial.turns.push((Outcome::Recorded, Outcome::Excluded, trial.list.len() as u64));
        }
        Ok(trial)
    }

    fn ask(&self, text: &str, question: &Question) -> Result<Answer, RulesError> {
        let excluded = self.read(text)?.exclude.into_iter().find(|rule| rule.value == question.extension);
        let verdict = excluded.as_ref().map_or("every extension".into(), RuleLine::named);
        let step = ("exclusions".to_owned(), format!("endpoint {}", question.extension), verdict.clone());
        Ok(Answer { is_recorded: excluded.is_none(), verdict, steps: vec![step] })
    }

    fn put(&self, archive: &Archive, change: BookChange) -> Result<BookVersion, RulesError> {
        self.check(&change.text)?;
        Ok(archive.change_book(change)?)
    }

    fn presets(&self) -> Vec<Preset> {
        vec![Preset { name: "some", of: "some PBX", ranges: &["10000-10999"] }]
    }

    fn plan(&self, archive: &Archive) -> Result<Planned, RulesError> {
        let plan = self.retention(archive, Take::Look)?.plan()?;
        let text = archive.book()?.map_or(self.configured.clone(), |book| book.text);
        let rules = self.read(&text)?.keeping;
        Ok(Planned { rules, grace: "immediate".into(), version: archive.book_version()?, plan })
    }

    fn prune(&self, archive: &Archive, seen: Seen) -> Result<Pruned, NotPruned> {
        let retention = self.retention(archive, Take::InForce)?;
        let mut plan = retention.plan()?;
        if let Some(freeze) = plan.freeze {
            return Err(NotPruned::Frozen(freeze));
        }
        plan.items.retain(|item| item.due_since <= seen.at);
        let is_other = plan.items.len() != seen.deletions || digest(&plan) != seen.digest;
        if archive.book_version()? != seen.version || is_other {
            return Err(NotPruned::Changed);
        }
        let consent = if seen.more_than_half { Consent::MoreThanHalf } else { Consent::Ordinary };
        let approved = plan.approve(consent).map_err(NotPruned::MoreThanHalf)?;
        Ok(retention.carry_out(&approved, |_, _| {})?)
    }

    fn confirm_clock(&self, archive: &Archive, who: &str, at: Timestamp) -> Result<(), RulesError> {
        Ok(self.retention(archive, Take::InForce)?.confirm_clock(who, at)?)
    }
}
