//! Random callers and segments against a model that is slow, simple and written another way, and the facts by name.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::field::Field;
use crate::people::units::{DELETED, UNASSIGNED};

/// A segment as a table of its values.
#[derive(Clone, Debug, Default)]
struct Table {
    values: BTreeMap<Field, String>,
    tags: Vec<String>,
    units: Vec<String>,
    duration_ms: u64,
}

impl Segment for Table {
    fn value(&self, field: Field) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        self.tags.iter().map(String::as_str)
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.units.iter().map(String::as_str)
    }

    fn duration_ms(&self) -> u64 {
        self.duration_ms
    }
}

/// A filter as it is asked for: deny or not; literal values, of which all must be there; shortest and longest.
#[derive(Clone, Debug)]
struct Asked {
    deny: bool,
    fields: Vec<(Field, &'static str)>,
    lengths: Option<(u64, u64)>,
}

/// Is the literal value there, looked for in the whole segment without any pattern?
fn has(segment: &Table, field: Field, value: &str) -> bool {
    let of = |field: Field| segment.values.get(&field).cloned().unwrap_or_default();
    match field {
        Field::Tag => segment.tags.iter().any(|tag| tag == value),
        Field::BusinessUnit => segment.units.iter().any(|unit| unit == value),
        Field::User => [of(Field::User), of(Field::UserName)].iter().any(|form| form == value),
        field => of(field) == value,
    }
}

fn matches(asked: &Asked, segment: &Table) -> bool {
    let seconds = segment.duration_ms as f64 / 1000.0;
    let fits = asked.lengths.is_none_or(|(min, max)| seconds >= min as f64 && seconds < max as f64 + 1.0);
    fits && asked.fields.iter().filter(|(field, value)| !has(segment, *field, value)).count() == 0
}

/// The order of judgement, from its last word to its first.
fn model(scope: Scope, standing: &Standing, filters: &[Asked], segment: &Table) -> bool {
    let own = |kept: &Option<String>| kept.clone().unwrap_or_else(|| "nobody's".into());
    let unit = own(&standing.unit);
    let is_system = unit == UNASSIGNED || unit == DELETED;
    let mut sees = match scope {
        Scope::None => false,
        Scope::Own => segment.value(Field::User) == own(&standing.person),
        Scope::Unit => !is_system && segment.units.first() == Some(&unit),
        Scope::UnitAndBelow => !is_system && segment.units.contains(&unit),
        Scope::Site => segment.value(Field::Site) == standing.site.clone().unwrap_or_default(),
        Scope::Organization => true,
    };
    // A hidden user's calls are for nobody else, as far as scopes go.
    for user in standing.hidden.iter() {
        sees &= segment.value(Field::User) != user || own(&standing.person) == *user;
    }
    for filter in filters.iter().filter(|filter| !filter.deny) {
        sees |= matches(filter, segment);
    }
    for filter in filters.iter().filter(|filter| filter.deny) {
        sees &= !matches(filter, segment);
    }
    sees
}

const TEXTS: [&str; 3] = ["1000", "ann", "Leeds"];
const UNITS: [&str; 4] = ["Claims", "Insurance", "Banking", UNASSIGNED];

fn value_of(field: Field) -> impl Strategy<Value = &'static str> {
    select(match field.words() {
        [] => match field {
            Field::BusinessUnit => UNITS.to_vec(),
            Field::Tag => vec!["vip", "claim"],
            Field::Rating => vec!["1", "5"],
            _ => TEXTS.to_vec(),
        },
        words => words.to_vec(),
    })
}

fn segment() -> impl Strategy<Value = Table> {
    let single = |field: &Field| !matches!(field, Field::Tag | Field::BusinessUnit);
    let singles: Vec<Field> = Field::ALL.into_iter().filter(single).collect();
    let values = singles.into_iter().map(|field| (Just(field), proptest::option::of(value_of(field))));
    let values = values.collect::<Vec<_>>().prop_map(|all| {
        all.into_iter().filter_map(|(field, value)| Some((field, value?.to_owned()))).collect()
    });
    let tags = subsequence(vec!["vip".to_owned(), "claim".to_owned()], 0..=2);
    let units = subsequence(UNITS.map(str::to_owned).to_vec(), 0..=3);
    (values, tags, units, 0_u64..4_000).prop_map(|(values, tags, units, duration_ms)| Table {
        values,
        tags,
        units,
        duration_ms,
    })
}

fn filter() -> impl Strategy<Value = Asked> {
    let one = select(Field::ALL.to_vec()).prop_flat_map(|field| (Just(field), value_of(field)));
    let lengths = proptest::option::of((0_u64..3, 0_u64..3).prop_map(|(a, b)| (a.min(b), a.max(b))));
    (any::<bool>(), proptest::collection::vec(one, 0..3), lengths)
        .prop_filter("a condition at least", |(_, fields, lengths)| !fields.is_empty() || lengths.is_some())
        .prop_map(|(deny, fields, lengths)| Asked { deny, fields, lengths })
}

fn made(asked: &Asked) -> AccessFilter {
    let mode = if asked.deny { FilterMode::Deny } else { FilterMode::Grant };
    let lengths = asked.lengths.map(|(min_s, max_s)| Lengths { min_s, max_s });
    AccessFilter::new("f", mode, &asked.fields, lengths).expect("a filter")
}

fn caller(scope: Scope, filters: &[Asked], standing: Standing) -> Caller {
    let permissions = [Permission::Play].into_iter().collect();
    Caller::new("ann", permissions, scope, filters.iter().map(made).collect(), standing)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn callers_agree_with_the_model(
        scope in select(Scope::ALL.to_vec()),
        person in proptest::option::of(select(TEXTS.to_vec())),
        unit in proptest::option::of(select(UNITS.to_vec())),
        site in proptest::option::of(select(TEXTS.to_vec())),
        filters in proptest::collection::vec(filter(), 0..4),
        segment in segment(),
        hidden in subsequence(TEXTS.map(str::to_owned).to_vec(), 0..=2),
    ) {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let hidden = std::sync::Arc::new(hidden.into_iter().collect());
        let standing = Standing { person: text(person), unit: text(unit), site: text(site), hidden };
        let caller = caller(scope, &filters, standing.clone());
        let wanted = model(scope, &standing, &filters, &segment);
        prop_assert_eq!(caller.admits(&segment), wanted);
        prop_assert_eq!(caller.permit(Permission::Play, &segment).is_ok(), wanted);
        prop_assert_eq!(
            caller.permit(Permission::Save, &segment),
            Err(Refusal::NoPermission(Permission::Save))
        );
        // Whoever is shown something is told that there may be something.
        prop_assert!(!wanted || caller.sees_any());
        prop_assert!(wanted || !caller.sees_all());
        prop_assert!(Caller::console("root").permit(Permission::Delete, &segment).is_ok());
    }

    #[test]
    fn whatever_grants_a_denied_segment_stays_unseen(segment in segment(), grants in proptest::collection::vec(filter(), 0..4)) {
        let everything = Asked { deny: true, fields: vec![], lengths: Some((0, 10)) };
        let mut filters: Vec<Asked> = grants.into_iter().map(|grant| Asked { deny: false, ..grant }).collect();
        filters.push(everything);
        prop_assert!(!caller(Scope::Organization, &filters, Standing::default()).admits(&segment));
    }

    #[test]
    fn a_filter_is_the_same_after_it_was_written_and_read(asked in filter(), segment in segment()) {
        let filter = made(&asked);
        let read: AccessFilter = serde_json::from_str(&serde_json::to_string(&filter).expect("JSON")).expect("read");
        prop_assert_eq!(read.matches(&segment), filter.matches(&segment));
        prop_assert_eq!(read, filter);
    }
}

#[test]
fn every_field_can_grant_and_deny() {
    for field in Field::ALL {
        let value = field.words().first().copied().unwrap_or("7");
        let mut segment = Table::default();
        let other = segment.clone();
        match field {
            Field::Tag => segment.tags.push(value.into()),
            Field::BusinessUnit => segment.units.push(value.into()),
            field => drop(segment.values.insert(field, value.into())),
        }
        let judge = |scope, deny, segment: &Table| {
            caller(scope, &[Asked { deny, fields: vec![(field, value)], lengths: None }], Standing::default())
                .admits(segment)
        };
        assert!(judge(Scope::None, false, &segment) && !judge(Scope::None, false, &other), "{field}");
        assert!(!judge(Scope::Organization, true, &segment), "{field}");
        assert!(judge(Scope::Organization, true, &other), "{field}");
    }
}

#[test]
fn ranges_and_wildcards_are_those_of_searches() {
    let filter = |field, written| AccessFilter::new("f", FilterMode::Grant, &[(field, written)], None);
    let with = |field, value: &str| {
        let mut segment = Table::default();
        segment.values.insert(field, value.to_owned());
        segment
    };
    let range = filter(Field::Extension, "1000-1005,!1003").expect("a filter");
    assert!(
        range.matches(&with(Field::Extension, "1002")) && !range.matches(&with(Field::Extension, "1003"))
    );
    let wild = filter(Field::OutsideNumber, "0163296%").expect("a filter");
    assert!(wild.matches(&with(Field::OutsideNumber, "01632960001")));
    // A field of texts keeps its kind when it is written down.
    let text = filter(Field::AccountCode, "12-34").expect("a filter");
    let read: AccessFilter =
        serde_json::from_value(serde_json::to_value(&text).expect("JSON")).expect("read");
    assert!(
        read.matches(&with(Field::AccountCode, "12-34")) && !read.matches(&with(Field::AccountCode, "20"))
    );
    // The manuals' own example.
    let told = filter(Field::Extension, "2003-1005").expect_err("backwards").to_string();
    assert!(told.contains("runs backwards"), "{told}");
}

#[test]
fn a_filter_that_would_match_everything_or_nothing_is_refused() {
    let new = |conditions: &[(Field, &str)], lengths| {
        AccessFilter::new("f", FilterMode::Grant, conditions, lengths).expect_err("refused").to_string()
    };
    assert!(new(&[], None).contains("has no condition"));
    assert!(new(&[], Some(Lengths { min_s: 2, max_s: 1 })).contains("run backwards"));
    assert!(new(&[(Field::Direction, "sideways")], None).contains("none of inbound"));
    assert!(new(&vec![(Field::Call, "a"); CONDITIONS_MAX + 1], None).contains("more than"));
    let unnamed = AccessFilter::new(" ", FilterMode::Grant, &[(Field::Call, "a")], None);
    assert!(unnamed.expect_err("refused").to_string().contains("is empty"));
}

#[test]
fn a_scope_without_what_it_is_relative_to_shows_nothing_and_says_why() {
    let segment = Table { units: vec![UNASSIGNED.into()], ..Table::default() };
    let unassigned = Standing { unit: Some(UNASSIGNED.into()), ..Standing::default() };
    for scope in [Scope::None, Scope::Own, Scope::Unit, Scope::UnitAndBelow] {
        let caller = caller(scope, &[], unassigned.clone());
        assert!(!caller.sees_any(), "{scope}");
        assert_eq!(caller.permit(Permission::Play, &segment), Err(Refusal::SeesNone));
    }
    assert!(Refusal::SeesNone.to_string().contains("no access scope"));
}

#[test]
fn a_hidden_users_calls_are_seen_by_the_user_and_by_whom_a_filter_grants_them() {
    let of = |user: &str| {
        let mut segment = Table::default();
        segment.values.insert(Field::User, user.to_owned());
        segment
    };
    let hidden = std::sync::Arc::new(["ann".to_owned()].into());
    let standing = |person: &str| Standing {
        person: Some(person.into()),
        hidden: std::sync::Arc::clone(&hidden),
        ..Standing::default()
    };
    let bob = caller(Scope::Organization, &[], standing("bob"));
    assert!(
        !bob.admits(&of("ann")) && bob.admits(&of("bob")) && bob.admits(&Table::default()) && !bob.sees_all()
    );
    let ann = caller(Scope::Organization, &[], standing("ann"));
    assert!(ann.admits(&of("ann")) && ann.sees_all());
    let grant =
        |fields: &[(Field, &'static str)]| [Asked { deny: false, fields: fields.to_vec(), lengths: None }];
    let eve = caller(Scope::Organization, &grant(&[(Field::User, "ann")]), standing("eve"));
    assert!(eve.admits(&of("ann")) && eve.sees_all());
    let some =
        caller(Scope::Organization, &grant(&[(Field::User, "ann"), (Field::Tag, "vip")]), standing("eve"));
    assert!(!some.admits(&of("ann")) && !some.sees_all());
}

#[test]
fn a_user_of_another_unit_sees_that_units_calls() {
    let of =
        |units: &[&str]| Table { units: units.iter().map(|u| (*u).to_owned()).collect(), ..Table::default() };
    let (motor, claims) = (of(&["Motor", "Claims", "Insurance"]), of(&["Claims", "Insurance"]));
    let at =
        |scope, unit: &str| caller(scope, &[], Standing { unit: Some(unit.into()), ..Standing::default() });
    assert!(at(Scope::Unit, "Motor").admits(&motor) && !at(Scope::Unit, "Motor").admits(&claims));
    assert!(at(Scope::Unit, "Claims").admits(&claims) && !at(Scope::Unit, "Claims").admits(&motor));
    assert!(
        at(Scope::UnitAndBelow, "Claims").admits(&motor)
            && at(Scope::UnitAndBelow, "Insurance").admits(&motor)
    );
    assert!(!at(Scope::UnitAndBelow, "Motor").admits(&claims));
}

#[test]
fn the_built_in_profiles_are_the_manuals_seven() {
    let profiles = built_in_profiles();
    assert_eq!(profiles.len(), 7);
    assert!(profiles.iter().all(|profile| is_built_in(&profile.name) && !profile.description.is_empty()));
    assert!(is_built_in("admin") && !is_built_in("Auditor"));
    assert!(profiles.iter().any(|profile| profile.name == ADMIN));
}
