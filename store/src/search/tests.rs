//! The search against the obvious: every row looked at, one field after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decode::Timestamp;
use policy::access::{AccessFilter, FilterMode, Permissions, Scope, Standing};
use policy::{Caller, Pattern, Person, Segment, Who};
use proptest::prelude::*;
use proptest::sample::select;

use super::sorted::{Order, OrderBy};
use super::{Field, Query, blocks, record};
use crate::disk::locked;
use crate::{
    Archive, CustomField, CustomFields, Deletion, Direction, Event, RecordingFacts, RecordingId, Row,
    SignatureState, Source, State, What,
};

const START_MS: i64 = 1_795_000_000_000;
/// Recordings that there can be: few, so that names, values and queries meet.
const IDS: u16 = 300;

/// Recording `n`: its name says when; everything else comes of `seed`.
fn row(n: u16, seed: u64, state: State) -> Row {
    // Several share a millisecond, some a second.
    let named = Timestamp::from_millis(START_MS + i64::from(n / 3) * 700);
    let mut random = [0; 10];
    random[..2].copy_from_slice(&n.to_be_bytes());
    let pick = |shift: u32, of: &[&str]| of[(seed >> shift) as usize % of.len()].to_owned();
    let maybe = |shift: u32, of: &[&str]| Some(pick(shift, of)).filter(|text| !text.is_empty());
    let outside = maybe(4, &["", "01632960001", "+441632960002", "09061"]);
    let started = named.plus_millis([0, 0, 0, -1, 40, -3_000, 90_000][(seed >> 40) as usize % 7]);
    // Names from a wire, of any length.
    let long = if seed.is_multiple_of(11) { "x".repeat(900) } else { String::new() };
    let facts = RecordingFacts {
        id: RecordingId::from_parts(named, random),
        call: match seed % 3 {
            0 => format!("{:012x}-{:016x}", named.as_millis() - (seed as i64 & 0xffff), seed % 4),
            1 => format!("call-{}", seed % 5),
            _ => format!("{:012x}-odd", named.as_millis() + 500),
        },
        segment: 1,
        state,
        source: [Source::Mirror, Source::RecordACall, Source::Import][(seed >> 8) as usize % 3],
        extension: pick(10, &["1000", "1003", "1040", "185", "1865", "2000", "", "0x7"]),
        extension_name: maybe(13, &["", "Ann", "Zoë", "Ann B"]).map(|name| name + &long),
        other_party: if seed & 1 == 0 { outside.clone() } else { maybe(15, &["", "1003", "2001"]) },
        outside_number: outside,
        other_party_name: maybe(17, &["", "Bob"]),
        direction: [Direction::Inbound, Direction::Outbound, Direction::Internal, Direction::Unknown]
            [(seed >> 19) as usize % 4],
        started,
        answered: None,
        ended: None,
        duration_ms: seed >> 20 & 0xffff,
        ring_ms: 0,
        hold_ms: 0,
        talk_ms: 0,
        tracks: vec![],
        pauses: vec![],
        holds: vec![],
        one_way: vec![],
        dtmf: vec![],
        user: maybe(22, &["", "ann", "bob"]),
        user_name: maybe(22, &["", "Ann Bell", "Bob"]),
        business_unit: maybe(42, &["", "Claims", "Banking"]),
        units_above: maybe(42, &["", "Insurance", ""]).into_iter().collect(),
        site: maybe(45, &["", "Leeds"]),
        agent: maybe(24, &["", "7", "12"]),
        account_code: maybe(26, &["", "12-34", "30"]),
        hunt_group: maybe(28, &["", "500"]),
        trunk: maybe(30, &["", "1", "2"]),
        ddi: maybe(32, &["", "441632"]),
        ddi_name: maybe(36, &["", "Sales"]),
        contact: maybe(38, &["", "Zoë", "Bob"]),
        transferred_from: maybe(41, &["", "1003"]),
        tags: [&[][..], &["vip"], &["vip", "claim 7"]][(seed >> 34) as usize % 3]
            .iter()
            .map(|tag| (*tag).to_owned())
            .collect(),
        fields: fields(maybe(47, &["", "AB-12", "CD"])),
        held: false,
        sip_call_ids: (0..(seed >> 36) % 3).map(|i| format!("{}@pbx{i}", seed % 5)).collect(),
        ties: vec![],
        rule: "all".into(),
        named_by: None,
        signalling: crate::Signalling::Sip,
        foreign_packets: 0,
        joined_late: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
        shares_media: false,
    };
    Row::of(facts, seed & 0xfff, SignatureState::Valid)
}

/// The second of the five fields.
/// To whom a recording with so many stars was given.
fn given_to(stars: u8) -> Who {
    let person = |id: &str, name: &str| Some(Person { id: id.into(), name: name.into() });
    let (claims, above) = (Some("Claims".to_owned()), vec!["Insurance".to_owned()]);
    match stars % 3 {
        0 => Who::default(),
        1 => Who { user: person("ann", "Ann Bell"), unit: claims, units_above: above },
        _ => Who { user: person("bob", "Bob"), unit: Some("Banking".into()), units_above: Vec::new() },
    }
}

fn fields(value: Option<String>) -> CustomFields {
    let mut fields = CustomFields::default();
    fields.set(CustomField::Tag2, &value.unwrap_or_default());
    fields
}

/// What a query is made of, kept so that it can be judged without it.
#[derive(Clone, Debug, Default)]
struct Asked {
    since: Option<i64>,
    until: Option<i64>,
    call: Option<String>,
    fields: Vec<(Field, &'static str)>,
}

impl Asked {
    fn query(&self) -> Query {
        let at = |ms: Option<i64>| ms.map(|ms| Timestamp::from_millis(START_MS + ms));
        let mut query = Query { since: at(self.since), until: at(self.until), ..Query::default() };
        if let Some(call) = &self.call {
            query.call(call).expect("a call");
        }
        for (field, pattern) in &self.fields {
            query.filter(*field, pattern).expect("a pattern");
        }
        query
    }

    fn admits(&self, row: &Row) -> bool {
        let facts = &row.facts;
        let ms = facts.started.as_millis() - START_MS;
        self.since.is_none_or(|since| ms >= since)
            && self.until.is_none_or(|until| ms < until)
            && self.call.as_ref().is_none_or(|call| {
                facts.call.starts_with(call) || facts.sip_call_ids.iter().any(|id| id == call)
            })
            && self.fields.iter().all(|(field, pattern)| {
                let pattern: Pattern = match field.is_number() {
                    true => pattern.parse().expect("a pattern"),
                    false => Pattern::of_text(pattern).expect("a pattern"),
                };
                let text = |text: &Option<String>| pattern.matches(text.as_deref().unwrap_or_default());
                let word = |value: serde_json::Value| pattern.matches(value.as_str().expect("a word"));
                let yes = |yes: bool| pattern.matches(if yes { "yes" } else { "no" });
                match field {
                    Field::Extension => pattern.matches(&facts.extension),
                    Field::ExtensionName => text(&facts.extension_name),
                    Field::OutsideNumber => text(&facts.outside_number),
                    Field::OtherParty => text(&facts.other_party),
                    Field::OtherPartyName => text(&facts.other_party_name),
                    Field::User => {
                        let forms = facts.user.iter().chain(&facts.user_name).map(String::as_str);
                        pattern.matches_any(forms)
                    }
                    Field::UserName => text(&facts.user_name),
                    Field::Site => text(&facts.site),
                    Field::Tag1 => pattern.matches(facts.fields.of(CustomField::Tag1).unwrap_or_default()),
                    Field::Tag2 => pattern.matches(facts.fields.of(CustomField::Tag2).unwrap_or_default()),
                    Field::Tag3 | Field::Tag4 | Field::Tag5 => pattern.matches(""),
                    Field::Rating => {
                        pattern.matches(&row.rating.map(|stars| stars.to_string()).unwrap_or_default())
                    }
                    Field::BusinessUnit => pattern.matches_any(facts.units()),
                    Field::Agent => text(&facts.agent),
                    Field::AccountCode => text(&facts.account_code),
                    Field::HuntGroup => text(&facts.hunt_group),
                    Field::Trunk => text(&facts.trunk),
                    Field::Ddi => text(&facts.ddi),
                    Field::Call => pattern.matches(&facts.call),
                    Field::DdiName => text(&facts.ddi_name),
                    Field::Contact => text(&facts.contact),
                    Field::TransferredFrom => text(&facts.transferred_from),
                    Field::Tag => pattern.matches_any(facts.tags.iter().map(String::as_str)),
                    Field::Direction => word(serde_json::to_value(facts.direction).expect("json")),
                    Field::State => word(serde_json::to_value(facts.state).expect("json")),
                    Field::Source => word(serde_json::to_value(facts.source).expect("json")),
                    Field::Held => yes(facts.held),
                    Field::Deleted => yes(row.deleted.is_some()),
                }
            })
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let field = select(vec![
        (Field::Extension, "1000-1005,!1003,1040,18%5,2000+"),
        (Field::Extension, "!_%"),
        (Field::Contact, "Zo_,Bo%"),
        (Field::TransferredFrom, "1000+"),
        (Field::BusinessUnit, "Trad%"),
        (Field::ExtensionName, "Zo_%,An%"),
        (Field::OutsideNumber, "%632%"),
        (Field::OtherParty, "1000-2000"),
        (Field::OtherParty, "+44%"),
        (Field::OtherPartyName, "Bob"),
        (Field::User, "!ann"),
        (Field::User, "Bob,ann"),
        (Field::UserName, "%ell"),
        (Field::Site, "Leeds"),
        (Field::Tag2, "AB-1_"),
        (Field::Tag2, "!_%"),
        (Field::Tag5, "_%"),
        (Field::Rating, "3+"),
        (Field::Rating, "!_%"),
        (Field::BusinessUnit, "Insurance"),
        (Field::BusinessUnit, "!Claims"),
        (Field::Agent, "10-"),
        (Field::AccountCode, "12-34"),
        (Field::HuntGroup, "5__"),
        (Field::Trunk, "2+"),
        (Field::Ddi, "44%"),
        (Field::Call, "call-%"),
        (Field::Tag, "claim%"),
        (Field::Tag, "!vip"),
        (Field::Direction, "inbound,outbound"),
        (Field::Direction, "!unknown"),
        (Field::State, "recording"),
        (Field::State, "!recording, !interrupted"),
        (Field::Source, "mirror,import"),
        (Field::Held, "yes"),
        (Field::Deleted, "no"),
    ]);
    let call = prop_oneof![
        Just("call-1".to_owned()),
        Just("3@pbx1".to_owned()),
        Just("01".to_owned()),
        (0..IDS, 0..4_u64)
            .prop_map(|(n, hash)| format!("{:012x}-{hash:016x}", START_MS + i64::from(n / 3) * 700)),
        (0..IDS).prop_map(|n| format!("{:012x}-", START_MS + i64::from(n / 3) * 700 + 500)),
        any::<u64>().prop_map(|seed| row((seed % u64::from(IDS)) as u16, seed, State::Complete).facts.call),
    ];
    let time = || proptest::option::weighted(0.3, -5_000..80_000_i64);
    let fields = proptest::collection::vec(field, 0..3);
    (time(), time(), proptest::option::weighted(0.2, call), fields)
        .prop_map(|(since, until, call, fields)| Asked { since, until, call, fields })
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u16, u64),
    /// The writer has ended it; the index has it not yet.
    End(u16, u64),
    Settle(u16),
    /// Rows of a whole stretch at once, as a rebuild puts them.
    Put(u16, u16, u64),
    Tag(u16, &'static str, bool),
    Hold(u16, bool),
    /// Stars, and what is put into the second field.
    Mark(u16, u8, &'static str),
    Delete(u16, bool),
    Ask(Asked, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..IDS;
    let step = prop_oneof![
        3 => (id(), any::<u64>()).prop_map(|(n, seed)| Step::Begin(n, seed)),
        2 => (id(), any::<u64>()).prop_map(|(n, seed)| Step::End(n, seed)),
        2 => id().prop_map(Step::Settle),
        3 => (id(), 1..120_u16, any::<u64>()).prop_map(|(n, count, seed)| Step::Put(n, count, seed)),
        3 => (id(), select(vec!["vip", "claim 7", "other"]), any::<bool>()).prop_map(|(n, tag, on)| Step::Tag(n, tag, on)),
        2 => (id(), any::<bool>()).prop_map(|(n, on)| Step::Hold(n, on)),
        2 => (id(), 0..6_u8, select(vec!["", "AB-13", "EF"])).prop_map(|(n, stars, value)| Step::Mark(n, stars, value)),
        2 => (id(), any::<bool>()).prop_map(|(n, keep)| Step::Delete(n, keep)),
        8 => (asked(), 1..40_usize).prop_map(|(asked, page)| Step::Ask(asked, page)),
    ];
    proptest::collection::vec(step, 1..60)
}

/// An archive, and what it must hold.
struct Both {
    archive: Archive,
    _dir: tempfile::TempDir,
    /// As the files have them, by number.
    rows: BTreeMap<u16, Row>,
    live: BTreeSet<u16>,
    /// Of every recording that there can be: people's tags in order, and whether there is a hold.
    tags: BTreeMap<u16, BTreeMap<&'static str, bool>>,
    held: BTreeSet<u16>,
    marks: BTreeMap<u16, (u8, &'static str)>,
    leaf: u64,
}

impl Both {
    fn new() -> Both {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("made");
        let (rows, live, tags, held, marks) = Default::default();
        Both { archive, _dir: dir, rows, live, tags, held, marks, leaf: 0 }
    }

    fn event(&mut self, what: What) {
        self.leaf += 1;
        let event = Event { at: Timestamp::from_millis(START_MS), who: "ann".into(), what };
        self.archive.shared().index.take_event(self.leaf, &event).expect("taken");
    }

    fn step(&mut self, step: Step) {
        let id = |n| row(n, 0, State::Complete).facts.id;
        match step {
            Step::Begin(n, seed) if !self.rows.contains_key(&n) => {
                self.set_live(n, row(n, seed, State::Recording))
            }
            Step::End(n, seed) if self.live.contains(&n) => self.set_live(n, row(n, seed, State::Complete)),
            Step::Settle(n) if self.live.contains(&n) => {
                self.archive.shared().index.put(&self.rows[&n]).expect("put");
                locked(&self.archive.shared().live).remove(&id(n));
                self.live.remove(&n);
            }
            Step::Put(from, count, seed) => {
                let all = (from..from.saturating_add(count).min(IDS)).filter(|n| !self.live.contains(n));
                let state = if seed & 1 == 0 { State::Complete } else { State::Interrupted };
                let seeds = |n: u16| seed.rotate_left(u32::from(n)) ^ u64::from(n).wrapping_mul(0x9e37_79b9);
                let new: BTreeMap<u16, Row> = all.map(|n| (n, row(n, seeds(n), state))).collect();
                let mut rows: Vec<Row> = new.values().cloned().collect();
                if seed & 2 == 0 {
                    rows.reverse();
                }
                self.archive.shared().index.put_all(&rows).expect("put");
                self.rows.extend(new);
            }
            Step::Tag(n, tag, on) => {
                let (id, text) = (id(n), tag.to_owned());
                self.event(if on {
                    What::Tagged { id, tag: text }
                } else {
                    What::Untagged { id, tag: text }
                });
                self.tags.entry(n).or_default().insert(tag, on);
            }
            Step::Hold(n, on) => {
                let (id, hold, why) = (id(n), "case".to_owned(), "asked".to_owned());
                self.event(if on { What::Held { id, hold, why } } else { What::Released { id, hold, why } });
                if on {
                    self.held.insert(n)
                } else {
                    self.held.remove(&n)
                };
            }
            Step::Mark(n, stars, value) => {
                let (id, field, before) = (id(n), CustomField::Tag2, String::new());
                self.event(What::Rated { id, stars, before: 0 });
                self.event(What::FieldSet { id, field, value: value.to_owned(), before });
                self.event(What::Reassigned { id, to: Some(given_to(stars)), before: Who::default() });
                self.marks.insert(n, (stars, value));
            }
            Step::Delete(n, keep_facts) if self.rows.contains_key(&n) && !self.live.contains(&n) => {
                if keep_facts {
                    let row = self.rows.get_mut(&n).expect("there");
                    let (at, who, rule) = (Timestamp::from_millis(1), "ann".into(), "by hand".into());
                    row.deleted = Some(Deletion { at, who, rule, why: "old".into() });
                    self.archive.shared().index.put(row).expect("put");
                } else {
                    // What people added goes with it.
                    self.rows.remove(&n);
                    self.tags.remove(&n);
                    self.held.remove(&n);
                    self.marks.remove(&n);
                    self.archive.shared().index.remove(id(n)).expect("removed");
                }
            }
            Step::Ask(asked, page) => self.ask(&asked, page),
            _ => {}
        }
    }

    fn set_live(&mut self, n: u16, row: Row) {
        locked(&self.archive.shared().live).insert(row.facts.id, Arc::new(row.clone()));
        self.live.insert(n);
        self.rows.insert(n, row);
    }

    /// The row as lists show it.
    fn shown(&self, n: u16) -> Row {
        let mut row = self.rows[&n].clone();
        for (tag, on) in self.tags.get(&n).into_iter().flatten() {
            row.facts.tags.retain(|other| other != tag);
            if *on {
                row.facts.tags.push((*tag).to_owned());
            }
        }
        row.facts.held = self.held.contains(&n);
        if let Some((stars, value)) = self.marks.get(&n) {
            row.rating = Some(*stars).filter(|stars| *stars > 0);
            row.facts.fields.set(CustomField::Tag2, value);
            row = row.counting_for(given_to(*stars));
        }
        row
    }

    fn ask(&self, asked: &Asked, page: usize) {
        let mut wanted: Vec<Row> =
            self.rows.keys().map(|n| self.shown(*n)).filter(|row| asked.admits(row)).collect();
        wanted.sort_by_key(|row| std::cmp::Reverse(row.facts.id));
        // Times come back to the millisecond, holds with who and when: what was asked for is what is compared.
        let known = |row: &Row| {
            (row.facts.id, row.facts.tags.clone(), row.facts.held, row.facts.state, row.deleted.is_some())
        };
        let wanted: Vec<_> = wanted.iter().map(known).collect();
        let rows = |query: &Query| -> Vec<_> {
            self.archive.search(query).map(|row| known(&row.expect("a row"))).collect()
        };
        let query = asked.query();
        assert_eq!(rows(&query), wanted, "{asked:?}");

        let ids: Vec<_> = self.archive.find(&query).map(|id| id.expect("an id")).collect();
        assert_eq!(ids, wanted.iter().map(|row| row.0).collect::<Vec<_>>());
        let stats = self.archive.stats(&query).expect("summed");
        let by_extension: u64 = stats.by_extension.values().sum();
        assert_eq!((stats.recordings, by_extension), (wanted.len() as u64, wanted.len() as u64));

        let (mut paged, mut query) = (Vec::new(), Query { limit: Some(page), ..query });
        loop {
            let some = rows(&query);
            assert!(some.len() <= page);
            let Some(last) = some.last() else { break };
            query.before = Some(last.0);
            paged.extend(some);
        }
        assert_eq!(paged, wanted, "pages of {page}: {asked:?}");
        self.ask_in_order(asked, page);
    }

    /// Pages in another order, by a length, a number and a text, against all rows sorted at once.
    fn ask_in_order(&self, asked: &Asked, page: usize) {
        let rows: Vec<Row> =
            self.rows.keys().map(|n| self.shown(*n)).filter(|row| asked.admits(row)).collect();
        let extension = |row: &Row| {
            let text = row.facts.extension.clone();
            let number: Option<u64> = text.parse().ok();
            (!text.is_empty(), number.is_none(), number, text.to_lowercase())
        };
        let state = |row: &Row| (row.facts.state != State::Complete, row.facts.state == State::Recording);
        for descending in [false, true] {
            let compare = |by: OrderBy, a: &Row, b: &Row| {
                let order = match by {
                    OrderBy::Duration => a.facts.duration_ms.cmp(&b.facts.duration_ms),
                    OrderBy::Started => a.facts.started.as_millis().cmp(&b.facts.started.as_millis()),
                    OrderBy::Field(Field::Extension) => extension(a).cmp(&extension(b)),
                    _ => state(a).cmp(&state(b)),
                };
                let order = if descending { order.reverse() } else { order };
                order.then(b.facts.id.cmp(&a.facts.id))
            };
            for by in [
                OrderBy::Duration,
                OrderBy::Started,
                OrderBy::Field(Field::Extension),
                OrderBy::Field(Field::State),
            ] {
                let mut wanted = rows.clone();
                wanted.sort_by(|a, b| compare(by, a, b));
                let (mut paged, mut after) = (Vec::new(), None);
                loop {
                    let order = Order { by, descending };
                    let (some, next) =
                        self.archive.sorted(&asked.query(), order, after.as_ref(), page).expect("a page");
                    assert!(some.len() <= page && (next.is_none() || some.len() == page));
                    paged.extend(some.into_iter().map(|row| row.facts.id));
                    after = next.map(|place| place.to_string().parse().expect("as written"));
                    if after.is_none() {
                        break;
                    }
                }
                let wanted: Vec<_> = wanted.iter().map(|row| row.facts.id).collect();
                assert_eq!(paged, wanted, "{by} {descending}, pages of {page}: {asked:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_search_gives_what_looking_at_every_row_gives(steps in steps()) {
        let mut both = Both::new();
        steps.into_iter().for_each(|step| both.step(step));
        for asked in [Asked::default(), Asked { fields: vec![(Field::Tag, "vip")], ..Asked::default() }] {
            both.ask(&asked, 7);
        }
    }

    /// So scope and filters admit the same, whatever they are asked about.
    #[test]
    fn record_row_and_facts_say_the_same_of_a_recording(n in 0..IDS, seed: u64, stars in 0..=5_u8, is_deleted: bool) {
        let mut row = row(n, seed, State::Complete);
        row.rating = Some(stars).filter(|stars| *stars > 0);
        row.facts.held = seed & 1 == 0;
        let at = row.facts.started;
        let deletion = Deletion { at, who: "ann".into(), rule: "by hand".into(), why: "asked".into() };
        row.deleted = is_deleted.then_some(deletion);
        let mut record = Vec::new();
        record::encode_whole(&row, &mut record);
        let view = record::View::parse(row.facts.id, &record).expect("a record");
        for field in Field::ALL {
            prop_assert_eq!(view.value(field), row.value(field), "{}", field);
            let knows_more = matches!(field, Field::Rating | Field::Deleted);
            prop_assert!(knows_more || row.facts.value(field) == row.value(field), "{}", field);
            let written = field.words().first().copied().unwrap_or("1000,ann,Zo_");
            let asked = Asked { fields: vec![(field, written)], ..Asked::default() };
            let pattern = field.pattern(written).expect("a pattern");
            prop_assert_eq!(field.matches(&pattern, &row), asked.admits(&row), "{}", field);
        }
        let texts = |texts: &mut dyn Iterator<Item = &str>| texts.map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(texts(&mut Segment::tags(&view)), texts(&mut Segment::tags(&row)));
        prop_assert_eq!(texts(&mut Segment::units(&view)), texts(&mut Segment::units(&row)));
        prop_assert_eq!(Segment::duration_ms(&view), Segment::duration_ms(&row));
    }

    /// Lists, pages and sums show what the caller's scope and filters admit, and nothing else.
    #[test]
    fn a_search_for_somebody_gives_what_the_scope_and_filters_admit(
        steps in steps(),
        scope in select(Scope::ALL.to_vec()),
        filters in proptest::collection::vec((any::<bool>(), asked()), 0..3),
        asked in asked(),
        page in 1..9_usize,
    ) {
        let mut both = Both::new();
        steps.into_iter().filter(|step| !matches!(step, Step::Ask(..))).for_each(|step| both.step(step));
        let filters = filters.iter().filter(|(_, asked)| !asked.fields.is_empty()).map(|(deny, asked)| {
            let mode = if *deny { FilterMode::Deny } else { FilterMode::Grant };
            AccessFilter::new("f", mode, &asked.fields, None).expect("a filter")
        });
        let standing = Standing {
            person: Some("ann".into()),
            unit: Some("Insurance".into()),
            site: Some("Leeds".into()),
            hidden: std::sync::Arc::new(["bob".to_owned()].into()),
        };
        let caller = Caller::new("ann", Permissions::NONE, scope, filters.collect(), standing);
        let all = both.archive.search(&asked.query()).map(|row| row.expect("a row"));
        let wanted: Vec<RecordingId> = all.filter(|row| caller.admits(row)).map(|row| row.facts.id).collect();
        let mut query = Query { seen_by: Some(caller), ..asked.query() };
        prop_assert_eq!(both.archive.stats(&query).expect("summed").recordings, wanted.len() as u64);
        query.limit = Some(page);
        let mut paged = Vec::new();
        loop {
            let some: Vec<_> = both.archive.find(&query).map(|id| id.expect("an id")).collect();
            // The limit counts what is seen.
            prop_assert_eq!(some.len(), page.min(wanted.len() - paged.len()));
            let Some(last) = some.last() else { break };
            query.before = Some(*last);
            paged.extend(some);
        }
        prop_assert_eq!(paged, wanted);
    }

    #[test]
    fn a_record_that_is_any_bytes_is_read_without_harm(bytes: Vec<u8>, asked in asked()) {
        let id = RecordingId::from_bytes([7; 16]);
        if let Some(view) = record::View::parse(id, &bytes) {
            asked.query().admits(&view);
        }
        blocks::records(&bytes).flatten().for_each(drop);
    }
}

#[test]
fn a_page_stays_in_its_place_while_recordings_come_and_finish() {
    let mut both = Both::new();
    both.step(Step::Put(0, 100, 4));
    for n in 100..110 {
        both.step(Step::Begin(n, 5));
    }
    let mut query = Query { limit: Some(20), ..Query::default() };
    let mut paged = Vec::new();
    for step in [
        // One that was listed finishes, one that was not, a new one begins, another is tagged.
        Step::Settle(109),
        Step::Settle(100),
        Step::Begin(120, 6),
        Step::Tag(50, "vip", true),
        Step::Put(110, 10, 3),
        Step::Hold(3, true),
    ] {
        let page: Vec<RecordingId> = both.archive.find(&query).map(|id| id.expect("an id")).collect();
        query.before = page.last().copied();
        paged.extend(page);
        both.step(step);
    }
    let first_110: Vec<_> = (0..110).rev().map(|n| row(n, 0, State::Complete).facts.id).collect();
    assert_eq!(paged, first_110);
}

#[test]
fn a_recording_that_finishes_while_it_is_listed_is_listed_once() {
    let mut both = Both::new();
    both.step(Step::Put(0, 200, 4));
    for n in [201, 203, 205] {
        both.step(Step::Begin(n, 5));
    }
    let archive = &both.archive;
    let mut hits = archive.find(&Query::default()).map(|id| id.expect("an id"));
    let first = hits.next();
    for n in [203, 205] {
        let row = row(n, 5, State::Complete);
        archive.shared().index.put(&row).expect("put");
        locked(&archive.shared().live).remove(&row.facts.id);
    }
    let all: Vec<_> = first.into_iter().chain(hits).collect();
    let wanted: Vec<_> = [205, 203, 201]
        .into_iter()
        .chain((0..200).rev())
        .map(|n| row(n, 0, State::Complete).facts.id)
        .collect();
    assert_eq!(all, wanted);
}

#[test]
fn a_time_finds_recordings_whose_names_say_another() {
    let both = Both::new();
    let mut row = row(0, 4, State::Complete);
    row.facts.started = row.facts.id.started().plus_millis(-3_600_000);
    both.archive.shared().index.put(&row).expect("put");
    let query = Query { until: Some(row.facts.started.plus_millis(1)), ..Query::default() };
    assert_eq!(both.archive.find(&query).count(), 1);
    let query = Query { since: Some(row.facts.started.plus_millis(1)), ..Query::default() };
    assert_eq!(both.archive.find(&query).count(), 0);
}

#[test]
fn what_was_asked_for_in_words_that_are_none_is_refused() {
    let mut query = Query::default();
    let error = query.filter(Field::Direction, "inbound,!outbund").expect_err("refused").to_string();
    assert_eq!(error, "direction: \"outbund\" is none of inbound, outbound, internal, unknown");
    assert!(query.filter(Field::Held, "maybe").is_err());
    assert!(query.call("").is_err());
    assert_eq!(query, Query::default(), "nothing was taken in");
    for field in Field::ALL {
        assert_eq!(field.name().parse(), Ok(field));
    }
    for (i, field) in Field::ALL.into_iter().enumerate() {
        assert_eq!(
            (field as usize, field as usize >= Field::TEXTS),
            (i, i >= Field::TEXTS),
            "records count on it"
        );
    }
}

#[test]
fn a_search_record_that_is_lost_or_wrong_is_found_by_the_check_and_mended() {
    let both = Both::new();
    let (archive, index) = (&both.archive, &both.archive.shared().index);
    let facts = row(1, 4, State::Recording).facts;
    let writer = archive.create(facts.clone()).expect("begun");
    writer.finish(facts.clone()).expect("finished");
    let problems = |repair| archive.check(repair).expect("checked");
    assert_eq!(problems(false), []);
    let found = || archive.find(&Query::default()).count();
    let stray = row(2, 4, State::Complete).facts.id;
    let wrong = record::encode(&row(1, 5, State::Complete));
    for change in [(facts.id, None), (facts.id, Some(wrong.clone())), (stray, Some(wrong))] {
        index.change_blocks(&[change]).expect("changed");
        assert!(problems(false).iter().all(|problem| !problem.repaired) && !problems(false).is_empty());
        assert!(problems(true).iter().all(|problem| problem.repaired));
        assert_eq!((problems(false), found()), (vec![], 1));
    }
}
