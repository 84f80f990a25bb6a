//! A change of the rule book on its way: what a form asks for, and what the text becomes by it. It travels as what was asked for, not as
//! the whole text, so that nobody is handed parts of the book that they may not see, and what somebody else has changed meanwhile
//! elsewhere in the book stays. An edit of a whole entry or list takes the place of all of it.

use policy::{Direction, Mode, Permission, RuleType};
use serde::de::DeserializeOwned;
use store::{Archive, Source};

use crate::rules::forms::{Entries, Part, Written};
use crate::rules::{
    DeviceLine, Edit, List, Preset, RuleBook, RuleLine, RulesError, UnitLine, UserLine, Words, Wrong,
};
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::refusal::Refusal;

use super::rights;

/// Fields of a form that belong to what it asks for, and what those are called that people write.
const FIELDS: [(&str, &str); 32] = [
    ("change", ""),
    ("edit", ""),
    ("list", ""),
    ("of", ""),
    ("place", ""),
    ("was", ""),
    ("which", ""),
    ("version", ""),
    ("on", ""),
    ("preset", ""),
    ("kind", "Type"),
    ("value", "Value"),
    ("description", "Why it is there"),
    ("words", "Values, with commas between"),
    ("number", "Numbers"),
    ("name", "Name"),
    ("mode", "Mode"),
    ("priority", "Priority"),
    ("source", "Source"),
    ("ip", "IP address"),
    ("mac", "Ethernet address"),
    ("id", "Id"),
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("email", "E-mail address"),
    ("unit", "Unit"),
    ("parent", "Below"),
    ("hidden", ""),
    ("deleted", "Deleted from"),
    ("users", ""),
    ("mode_from", "The mode counts from"),
    ("devices", "Extensions and agents, a line each"),
];
/// Fields of several lines.
const LONG: [&str; 1] = ["devices"];
/// What the field of a value begins with; its key in the book comes behind.
pub(super) const VALUE: &str = "value.";
/// Values of one form, and the bytes of one.
const VALUES_MAX: usize = 40;
const VALUE_LEN_MAX: usize = 4_000;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// What a form changes.
    Edit(Edit),
    /// Another text.
    Text(String),
    /// The text of an older version.
    Restore(u64),
    /// What the configuration says becomes the first book.
    Begin,
}

/// A change, and the version that it was made from.
#[derive(Debug)]
pub(super) struct Draft {
    /// 0 without a book.
    pub(super) from: u64,
    pub(super) change: Change,
    /// As the form had it, to be sent again.
    pub(super) fields: Vec<Field>,
}

/// A field of a form.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Empty for what nobody writes.
    pub(super) label: String,
    pub(super) value: String,
    /// Of several lines.
    pub(super) is_long: bool,
}

impl Draft {
    /// Reads a form. What somebody wrote and cannot be meant comes as [`Wrong`], with the draft's fields.
    pub(super) fn of(form: &Form, presets: &[Preset]) -> Result<Draft, (Vec<Field>, u64, Wrong)> {
        let from = form.text("from").parse().unwrap_or(0);
        let given = FIELDS.iter().filter(|(name, _)| form.iter().any(|(given, _)| given == *name));
        let field = |(name, label): &(&'static str, &'static str)| Field {
            name: (*name).to_owned(),
            label: (*label).to_owned(),
            value: match *name {
                // What names an entry is compared to the letter.
                "was" => form.raw(name).to_owned(),
                "users" => chosen_users(form).join("\n"),
                _ => form.text(name).to_owned(),
            },
            is_long: LONG.contains(name),
        };
        let mut fields: Vec<Field> = given.map(field).collect();
        fields.extend(written(form).into_iter().map(|(key, value)| Field {
            name: format!("{VALUE}{key}"),
            label: key.replace('_', " "),
            value,
            is_long: false,
        }));
        match change(form, presets) {
            Ok(change) => Ok(Draft { from, change, fields }),
            Err(wrong) => Err((fields, from, wrong)),
        }
    }

    /// # Errors
    /// [`Refusal::NoPage`]: what is changed by it is asked once more when it is known what that is.
    pub(super) fn need(&self, asker: &Asker) -> Result<(), Refusal> {
        match &self.change {
            Change::Edit(edit) => asker.need(of_edit(edit)),
            _ if rights::may_whole(asker) => Ok(()),
            _ => Err(Refusal::NoPage),
        }
    }

    /// What the text becomes, made from this one.
    pub(super) fn text(
        &self,
        rules: &dyn RuleBook,
        archive: &Archive,
        base: &str,
    ) -> Result<String, RulesError> {
        match &self.change {
            Change::Edit(edit) => rules.edit(base, edit),
            Change::Text(text) => Ok(text.clone()),
            Change::Begin => rules.configured(),
            Change::Restore(version) => text_of_version(archive, *version),
        }
    }

    /// The page that it was made on.
    pub(super) fn page(&self) -> &'static str {
        match &self.change {
            Change::Edit(edit) => match of_edit(edit) {
                Permission::People => "/people",
                Permission::PauseRules => "/rules#pause",
                Permission::DialPlan => "/rules#dial_plan",
                Permission::Retention => "/rules#retention",
                _ => "/rules",
            },
            _ => "/rules",
        }
    }

    pub(super) fn restores(&self) -> Option<u64> {
        if let Change::Restore(version) = self.change { Some(version) } else { None }
    }
}

/// The text of an older version.
///
/// # Errors
/// [`RulesError::Wrong`] where there is none.
pub(in crate::server) fn text_of_version(archive: &Archive, version: u64) -> Result<String, RulesError> {
    let found = archive.book_versions()?.into_iter().find(|old| old.version == version);
    found.map(|old| old.text).ok_or_else(|| Wrong::new(format!("There is no version {version}.")).into())
}

/// The permission that a form takes.
fn of_edit(edit: &Edit) -> Permission {
    match edit {
        Edit::AddRule(list, _) | Edit::RemoveRule(list, ..) | Edit::MoveRule(list, ..) => match list {
            List::Exclude => Permission::Exclusions,
            List::Include => Permission::Inclusions,
        },
        Edit::ExcludeInternal(_) => Permission::Exclusions,
        Edit::AddDevice(_)
        | Edit::SetDevice(..)
        | Edit::RemoveDevice(..)
        | Edit::MoveDevice(..)
        | Edit::Set(..) => Permission::PhoneSystems,
        Edit::AddUser(_)
        | Edit::SetUser(..)
        | Edit::SetModes(..)
        | Edit::DeleteUser(..)
        | Edit::RemoveUser(_)
        | Edit::AddUnit(_)
        | Edit::SetUnit(..)
        | Edit::RemoveUnit(_) => Permission::People,
        Edit::SetValues(part, _) => of_part(*part),
        Edit::AddEntry(which, _)
        | Edit::SetEntry(which, ..)
        | Edit::RemoveEntry(which, ..)
        | Edit::MoveEntry(which, ..) => of_entries(*which),
    }
}

/// The permission that a form of a section takes.
pub(super) const fn of_part(part: Part) -> Permission {
    match part {
        Part::Record => Permission::PhoneSystems,
        Part::Pause => Permission::PauseRules,
        Part::DialPlan => Permission::DialPlan,
        Part::Retention => Permission::Retention,
    }
}

/// The permission that a form of a list's entry takes.
pub(super) const fn of_entries(which: Entries) -> Permission {
    match which {
        Entries::Codes | Entries::Windows => Permission::PauseRules,
        Entries::Keeping => Permission::Retention,
    }
}

/// What was written into the fields of values, by key; several of one key with commas between.
fn written(form: &Form) -> Written {
    let mut all = Written::new();
    for (name, value) in form.iter() {
        let Some(key) = name.strip_prefix(VALUE) else { continue };
        let value = value.trim();
        let has_room = all.len() < VALUES_MAX;
        match all.iter_mut().find(|(known, _)| known == key) {
            Some((_, before)) if before.is_empty() => *before = value.to_owned(),
            Some((_, before)) if !value.is_empty() && before.len() < VALUE_LEN_MAX => {
                *before += ", ";
                *before += value;
            }
            Some(_) => {}
            None if has_room => all.push((key.to_owned(), value.to_owned())),
            None => {}
        }
    }
    all
}

fn part(form: &Form) -> Result<Part, Wrong> {
    let found = Part::ALL.into_iter().find(|part| part.key() == form.text("of"));
    found.ok_or_else(|| Wrong::new("The form is not one of ours."))
}

fn entries(form: &Form) -> Result<Entries, Wrong> {
    let found = Entries::ALL.into_iter().find(|which| which.key() == form.text("of"));
    found.ok_or_else(|| Wrong::new("The form is not one of ours."))
}

/// A text as a browser sends it: its ends of lines are not ours, and a tab is nothing that pages show.
pub(super) fn text_of(form: &Form) -> String {
    form.raw("text").replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ")
}

fn change(form: &Form, presets: &[Preset]) -> Result<Change, Wrong> {
    match form.text("change") {
        "text" => Ok(Change::Text(text_of(form))),
        "restore" => {
            let version = form.text("version").parse();
            Ok(Change::Restore(version.map_err(|_| Wrong::new("No version is named."))?))
        }
        "begin" => Ok(Change::Begin),
        _ => edit(form, presets).map(Change::Edit),
    }
}

fn edit(form: &Form, presets: &[Preset]) -> Result<Edit, Wrong> {
    let was = || form.raw("was").to_owned();
    let place = || form.text("place").parse::<usize>().map_err(|_| Wrong::new("No entry is named."));
    let list = match form.text("list") {
        "include" => List::Include,
        _ => List::Exclude,
    };
    Ok(match form.text("edit") {
        "add-rule" => Edit::AddRule(list, rule(form)?),
        "remove-rule" => Edit::RemoveRule(list, place()?, was()),
        "rule-up" => Edit::MoveRule(list, place()?, was(), place()?.saturating_sub(1)),
        "rule-down" => Edit::MoveRule(list, place()?, was(), place()?.saturating_add(1)),
        "add-device" => Edit::AddDevice(device(form)?),
        "set-device" => Edit::SetDevice(place()?, was(), device(form)?),
        "remove-device" => Edit::RemoveDevice(place()?, was()),
        "device-up" => Edit::MoveDevice(place()?, was(), place()?.saturating_sub(1)),
        "device-down" => Edit::MoveDevice(place()?, was(), place()?.saturating_add(1)),
        "internal" => Edit::ExcludeInternal(form.text("on") == "yes"),
        "set" => set(form, presets)?,
        "add-user" => Edit::AddUser(user(form)?),
        "set-user" => Edit::SetUser(was(), user(form)?),
        "set-modes" => {
            let (mode, from) = own_mode(form)?;
            Edit::SetModes(chosen_users(form), mode, from)
        }
        "delete-user" => Edit::DeleteUser(was(), form.text("deleted").to_owned()),
        "remove-user" => Edit::RemoveUser(was()),
        "add-unit" => Edit::AddUnit(unit(form)?),
        "set-unit" => Edit::SetUnit(was(), unit(form)?),
        "remove-unit" => Edit::RemoveUnit(was()),
        "set-values" => Edit::SetValues(part(form)?, written(form)),
        "add-entry" => Edit::AddEntry(entries(form)?, written(form)),
        "set-entry" => Edit::SetEntry(entries(form)?, place()?, was(), written(form)),
        "remove-entry" => Edit::RemoveEntry(entries(form)?, place()?, was()),
        "entry-up" => Edit::MoveEntry(entries(form)?, place()?, was(), place()?.saturating_sub(1)),
        "entry-down" => Edit::MoveEntry(entries(form)?, place()?, was(), place()?.saturating_add(1)),
        _ => return Err(Wrong::new("The form is not one of ours.")),
    })
}

fn rule(form: &Form) -> Result<RuleLine, Wrong> {
    let kind: RuleType =
        word("type", form.text("kind"))?.ok_or_else(|| Wrong::new("A rule needs a type."))?;
    let value = form.text("value").to_owned();
    if value.is_empty() {
        return Err(Wrong::new("A rule needs a value."));
    }
    Ok(RuleLine { kind, value, description: form.text("description").to_owned() })
}

fn device(form: &Form) -> Result<DeviceLine, Wrong> {
    let text = |name: &str| form.text(name).to_owned();
    if form.text("number").is_empty() {
        return Err(Wrong::new("An entry needs a number, a range, or a pattern."));
    }
    let priority = match form.text("priority") {
        "" => None,
        written => Some(written.parse().map_err(|_| Wrong::new("The priority is 1 to 9."))?),
    };
    Ok(DeviceLine {
        number: text("number"),
        name: text("name"),
        ip: text("ip"),
        mac: text("mac"),
        source: word::<Source>("source", form.text("source"))?,
        mode: word::<Mode>("mode", form.text("mode"))?.unwrap_or_default(),
        priority,
    })
}

fn user(form: &Form) -> Result<UserLine, Wrong> {
    let text = |name: &str| form.text(name).to_owned();
    // Of one that is there the id is what it was.
    let id = if form.text("edit") == "add-user" { text("id") } else { form.raw("was").to_owned() };
    if id.is_empty() {
        return Err(Wrong::new("A user needs an id: letters, digits and .-_@+, as ann.b."));
    }
    let (mode, mode_from) = own_mode(form)?;
    let lines = form.text("devices").lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(UserLine {
        id,
        first_name: text("first_name"),
        last_name: text("last_name"),
        email: text("email"),
        unit: text("unit"),
        is_hidden: form.text("hidden") == "yes",
        mode,
        mode_from,
        deleted: text("deleted"),
        devices: lines.map(str::parse).collect::<Result<_, _>>()?,
    })
}

/// A mode of a user's own, and since when. Without a mode there is no time.
fn own_mode(form: &Form) -> Result<(Option<Mode>, String), Wrong> {
    let mode = word::<Mode>("mode", form.text("mode"))?;
    Ok((mode, mode.map(|_| form.text("mode_from").to_owned()).unwrap_or_default()))
}

/// Those whose boxes are ticked; on the way through a review they stand in one field, a line each.
fn chosen_users(form: &Form) -> Vec<String> {
    let lines = form.all("users").flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

fn unit(form: &Form) -> Result<UnitLine, Wrong> {
    let name = form.text("name").to_owned();
    if name.is_empty() {
        return Err(Wrong::new("A unit needs a name."));
    }
    Ok(UnitLine { name, parent: form.text("parent").to_owned() })
}

fn set(form: &Form, presets: &[Preset]) -> Result<Edit, Wrong> {
    let written = form.text("words");
    let split = || {
        let words = written.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let words = match form.text("which") {
        "extensions" if written.is_empty() => return Ok(Edit::Set(Words::Extensions, Vec::new())),
        "extensions" => return Ok(Edit::Set(Words::Extensions, vec![written.to_owned()])),
        "pbx" => Words::Pbx,
        "trunks" => Words::Trunks,
        "rtp_ports" => Words::RtpPorts,
        _ => return Err(Wrong::new("The form is not one of ours.")),
    };
    let mut list = split();
    if let Some(preset) = presets.iter().find(|preset| preset.name == form.text("preset")) {
        list.extend(preset.ranges.iter().map(|range| (*range).to_owned()));
    }
    Ok(Edit::Set(words, list))
}

/// A word of the book; none where it is empty.
pub(super) fn word<T: DeserializeOwned>(what: &str, written: &str) -> Result<Option<T>, Wrong> {
    if written.is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_value(serde_json::Value::String(written.to_owned()));
    read.map(Some).map_err(|_| Wrong::new(format!("{written:?} is no {what}.")))
}

/// A direction as forms have it.
pub(super) fn direction(written: &str) -> Direction {
    word("direction", written).ok().flatten().unwrap_or(Direction::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::HeldLine;

    const PRESET: Preset = Preset { name: "pbx", of: "a PBX", ranges: &["1000-1999", "3000"] };

    fn read(body: &str) -> Result<Change, String> {
        Draft::of(&Form::parse(body), &[PRESET])
            .map(|draft| draft.change)
            .map_err(|(.., wrong)| wrong.to_string())
    }

    #[test]
    fn forms_are_read_and_what_cannot_be_meant_is_said() {
        let rule =
            |kind, value: &str| RuleLine { kind, value: value.into(), description: "the board".into() };
        assert_eq!(
            read("edit=add-rule&list=include&kind=outside_number&value=+0163%25&description=the+board"),
            Ok(Change::Edit(Edit::AddRule(List::Include, rule(RuleType::OutsideNumber, "0163%"))))
        );
        assert_eq!(
            read("edit=rule-up&list=exclude&place=2&was=endpoint+2005"),
            Ok(Change::Edit(Edit::MoveRule(List::Exclude, 2, "endpoint 2005".into(), 1)))
        );
        assert_eq!(
            read("edit=set&which=rtp_ports&words=10000-10999,+20000%0d%0a30000&preset=pbx"),
            Ok(Change::Edit(Edit::Set(
                Words::RtpPorts,
                ["10000-10999", "20000", "30000", "1000-1999", "3000"].map(str::to_owned).into()
            )))
        );
        assert_eq!(read("change=text&text=a%0d%0a%09b"), Ok(Change::Text("a\n    b".into())));
        let held = HeldLine { number: "2001".into(), from: "2026-01-01".into(), ..HeldLine::default() };
        let agent = HeldLine { is_agent: true, number: "7".into(), ..HeldLine::default() };
        let user =
            UserLine { id: "ann".into(), is_hidden: true, devices: vec![held, agent], ..UserLine::default() };
        assert_eq!(
            read(
                "edit=set-user&was=ann&id=eve&hidden=yes&devices=extension+2001+from+2026-01-01%0d%0a%0d%0a+agent+7"
            ),
            Ok(Change::Edit(Edit::SetUser("ann".into(), user)))
        );
        let modes = |mode, from: &str| {
            Ok(Change::Edit(Edit::SetModes(vec!["ann".into(), "bob".into()], mode, from.into())))
        };
        assert_eq!(
            read("edit=set-modes&users=ann&users=bob&mode=on_demand&mode_from=+2026-12-24+"),
            modes(Some(Mode::OnDemand), "2026-12-24")
        );
        assert_eq!(read("edit=set-modes&users=ann%0d%0abob&mode=&mode_from=2026-12-24"), modes(None, ""));
        assert_eq!(read("change=restore&version=3"), Ok(Change::Restore(3)));
        let written = |of: &[(&str, &str)]| -> Written {
            of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(
            read("edit=set-values&of=pause&value.max_min=+30+&value.forgotten_min="),
            Ok(Change::Edit(Edit::SetValues(
                Part::Pause,
                written(&[("max_min", "30"), ("forgotten_min", "")])
            )))
        );
        // Nothing ticked is sent as one that is empty.
        assert_eq!(
            read(
                "edit=set-entry&of=keep&place=1&was=+cards&value.tag=&value.tag=card&value.tag=vip&value.state="
            ),
            Ok(Change::Edit(Edit::SetEntry(
                Entries::Keeping,
                1,
                " cards".into(),
                written(&[("tag", "card, vip"), ("state", "")])
            )))
        );
        for (body, why) in [
            ("edit=add-rule&kind=colour&value=red", "no type"),
            ("edit=add-rule&kind=endpoint&value=+", "needs a value"),
            ("edit=set-device&place=1&number=2000&mode=sometimes", "no mode"),
            ("edit=add-device&number=2000&priority=high", "1 to 9"),
            ("edit=remove-rule&place=-1", "No entry"),
            ("edit=add-user&id=+&devices=", "needs an id"),
            ("edit=set-user&was=ann&devices=phone+2001", "is no line as"),
            ("edit=set-modes&users=ann&mode=sometimes", "no mode"),
            ("edit=add-unit&name=+", "needs a name"),
            ("edit=set-values&of=everything", "not one of ours"),
            ("edit=add-entry&of=pause", "not one of ours"),
            ("edit=remove-entry&of=keep", "No entry"),
            ("edit=everything", "not one of ours"),
            ("", "not one of ours"),
        ] {
            let told = read(body).expect_err(why);
            assert!(told.contains(why), "{body}: {told}");
        }
    }

    #[test]
    fn what_was_written_is_sent_again_and_nothing_else() {
        let draft = Draft::of(&Form::parse("from=4&edit=set&which=pbx&words=192.0.2.1&x=y&do=put"), &[])
            .expect("read");
        let fields: Vec<(&str, &str)> =
            draft.fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        assert_eq!(
            (draft.from, fields),
            (4, vec![("edit", "set"), ("which", "pbx"), ("words", "192.0.2.1")])
        );
    }
}
