//! Histories of people against a naive model: a table of who has which device in each minute.

use decode::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Minutes that the model knows.
const MINUTES: i64 = 40;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute * 60_000)
}

fn extension(number: &str) -> Device {
    Device { kind: DeviceKind::Extension, number: number.into() }
}

fn agent(number: &str) -> Device {
    Device { kind: DeviceKind::Agent, number: number.into() }
}

fn user(id: &str) -> User {
    User { id: id.into(), ..User::default() }
}

fn tenure(from: Option<i64>, until: Option<i64>) -> Tenure {
    Tenure { from: from.map(at), until: until.map(at) }
}

fn secondary(device: Device, tenure: Tenure) -> Assignment {
    Assignment { device, primary: false, tenure }
}

fn people(ids: &[&str]) -> People {
    let mut people = People::default();
    people.add_unit("Insurance", None).expect("new");
    people.add_unit("Claims", Some("Insurance")).expect("new");
    for id in ids {
        people.add_user(user(id)).expect("new");
    }
    people
}

fn id_at<'p>(people: &'p People, device: &Device, minute: i64) -> Option<&'p str> {
    people.assignments.holder(device, at(minute))
}

#[test]
fn a_call_counts_for_whoever_had_the_device_then() {
    let mut people = people(&["ann", "bob"]);
    people.assign("ann", secondary(extension("2001"), tenure(None, Some(10)))).expect("free");
    people.assign("bob", secondary(extension("2001"), tenure(Some(10), None))).expect("free from then on");
    let who = |minute| people.who("2001", None, at(minute)).user.map(|person| person.id);
    assert_eq!(
        [who(-5), who(9), who(10), who(99)].map(Option::unwrap_or_default),
        ["ann", "ann", "bob", "bob"]
    );
}

#[test]
fn the_agent_goes_before_the_extension_and_one_that_is_nobodys_says_nothing() {
    let mut people = people(&["ann", "bob"]);
    people.assign("ann", secondary(extension("2001"), Tenure::default())).expect("free");
    people.assign("bob", secondary(agent("2001"), Tenure::default())).expect("an agent is no extension");
    let who = |agent| people.who("2001", agent, at(0)).user.map(|person| person.id);
    assert_eq!(who(Some("2001")).as_deref(), Some("bob"));
    assert_eq!(who(Some("77")).as_deref(), Some("ann"));
    assert_eq!(who(None).as_deref(), Some("ann"));
    assert_eq!(people.who("2002", Some("77"), at(0)).user, None);
}

#[test]
fn a_segment_counts_for_its_users_unit_and_nobodys_for_the_unassigned() {
    let mut people = people(&[]);
    let ann = User {
        first_name: "Ann".into(),
        last_name: "Bell".into(),
        unit: Some("Claims".into()),
        ..user("ann")
    };
    people.add_user(ann).expect("new");
    people.add_user(user("bob")).expect("new");
    people.assign("ann", secondary(extension("2001"), Tenure::default())).expect("free");
    people.assign("bob", secondary(extension("2002"), Tenure::default())).expect("free");
    let who = people.who("2001", None, at(0));
    assert_eq!(who.user, Some(Person { id: "ann".into(), name: "Ann Bell".into() }));
    assert_eq!(who.units().collect::<Vec<_>>(), ["Claims", "Insurance"]);
    let units = |extension: &str| people.who(extension, None, at(0)).units().collect::<Vec<_>>().join("<");
    assert_eq!([units("2002"), units("2003")], [UNASSIGNED, UNASSIGNED]);
    assert_eq!(people.who("2002", None, at(0)).user.map(|person| person.name).as_deref(), Some("bob"));
    assert_eq!(People::default().who("2001", None, at(0)), Who::default());
}

#[test]
fn an_overlap_is_refused_and_names_both() {
    let mut people = people(&["ann", "bob"]);
    people.assign("ann", secondary(extension("2001"), tenure(Some(0), Some(10)))).expect("free");
    let told = people.assign("bob", secondary(extension("2001"), tenure(Some(9), None))).expect_err("taken");
    assert_eq!(
        told.to_string(),
        "extension 2001 belongs to ann from 1970-01-01T00:00:00.000Z until 1970-01-01T00:10:00.000Z, so bob cannot have it \
         from 1970-01-01T00:09:00.000Z on; end the one before the other begins"
    );
    assert_eq!(people.assign("bob", secondary(extension("2001"), tenure(Some(10), None))), Ok(()));
    let backwards = people.assign("bob", secondary(extension("2009"), tenure(Some(5), Some(5))));
    assert!(matches!(backwards, Err(PeopleError::Backwards { .. })));
    for number in ["", "20 01", "20%", "2001,2002", &"1".repeat(65)] {
        let unfit = people.assign("bob", secondary(extension(number), Tenure::default()));
        assert!(matches!(unfit, Err(PeopleError::Unfit { .. })), "{number:?}");
    }
}

#[test]
fn a_user_has_one_primary_extension_and_one_primary_agent_at_a_time() {
    let mut people = people(&["ann"]);
    let primary = |device, tenure| Assignment { primary: true, ..secondary(device, tenure) };
    people.assign("ann", primary(extension("2001"), tenure(None, Some(10)))).expect("the first");
    people.assign("ann", primary(agent("77"), Tenure::default())).expect("of another kind");
    people.assign("ann", primary(extension("2002"), tenure(Some(10), None))).expect("behind the first");
    let told = people.assign("ann", primary(extension("2003"), tenure(Some(9), Some(12)))).expect_err("two");
    assert!(told.to_string().starts_with("extension 2001 is the primary one of ann until"), "{told}");
    people
        .assign("ann", secondary(extension("2003"), Tenure::default()))
        .expect("secondary ones may be many");
}

#[test]
fn a_deleted_user_keeps_the_calls_and_the_id_and_loses_the_devices() {
    let mut people = people(&["bob"]);
    people.add_user(User { unit: Some("Claims".into()), ..user("ann") }).expect("new");
    people.assign("ann", secondary(extension("2001"), tenure(Some(0), None))).expect("free");
    people.assign("ann", secondary(extension("2002"), tenure(Some(20), None))).expect("free");
    assert_eq!(
        people.remove_unit("Claims").map_err(|e| e.to_string()).expect_err("ann is in it"),
        "unit \"Claims\" holds 1 users and 0 units: move them first"
    );
    assert_eq!(people.remove_user("ann", at(10)), Ok(Removed::Deleted));
    assert_eq!(people.who("2001", None, at(9)).user.map(|person| person.id).as_deref(), Some("ann"));
    assert_eq!(people.who("2001", None, at(9)).unit.as_deref(), Some("Claims"));
    assert_eq!([people.who("2001", None, at(10)).user, people.who("2002", None, at(30)).user], [None, None]);
    assert_eq!(people.unit_of(people.user("ann").expect("still known"), at(10)), DELETED);
    people.assign("bob", secondary(extension("2001"), tenure(Some(10), None))).expect("free again");
    // Found no more, and not made anew by whoever imports users.
    assert_eq!(people.find("ann", at(10)).count(), 0);
    assert!(matches!(people.add_user(user("Ann")), Err(PeopleError::UserDeleted { .. })));
    assert!(matches!(
        people.assign("ann", secondary(extension("2009"), Tenure::default())),
        Err(PeopleError::NoUser { .. })
    ));
    assert_eq!(people.remove_unit("Claims"), Ok(()));
    assert_eq!(people.remove_user("ann", at(11)), Ok(Removed::ForGood));
    assert_eq!(people.who("2001", None, at(9)).user, None);
    assert_eq!(people.add_user(user("ann")), Ok(()));
    assert_eq!(people.remove_user("eve", at(11)), Err(PeopleError::NoUser { id: "eve".into() }));
}

#[test]
fn users_are_found_by_name_and_by_the_devices_they_have_now() {
    let mut people = people(&["bob"]);
    let ann = User { first_name: "Ann".into(), last_name: "Müller".into(), ..user("am") };
    people.add_user(ann).expect("new");
    people.assign("am", secondary(extension("2001"), tenure(None, Some(10)))).expect("free");
    people.assign("bob", secondary(agent("4711"), Tenure::default())).expect("free");
    let found = |text: &str, minute| people.find(text, at(minute)).map(|u| u.id.as_str()).collect::<Vec<_>>();
    assert_eq!(found("MÜLL", 0), ["am"]);
    assert_eq!(found("471", 0), ["bob"]);
    assert_eq!((found("2001", 0), found("2001", 10)), (vec!["am"], vec![]));
    assert_eq!(found("", 0), ["am", "bob"]);
}

#[test]
fn who_cannot_be_a_user_is_refused_and_changes_nothing() {
    let mut people = people(&["ann"]);
    let before = people.clone();
    for unfit in ["", "ann b", "a,b", "!ann", "a%", "a\n", &"x".repeat(101)] {
        assert!(matches!(people.add_user(user(unfit)), Err(PeopleError::Unfit { .. })), "{unfit:?}");
    }
    assert!(matches!(people.add_user(user("ANN")), Err(PeopleError::UserTaken { .. })));
    let named = |first_name: &str| User { first_name: first_name.into(), ..user("new") };
    assert!(matches!(people.add_user(named("a\u{1b}")), Err(PeopleError::Unfit { .. })));
    let of = |unit: &str| User { unit: Some(unit.into()), ..user("new") };
    assert!(matches!(people.add_user(of("Sales")), Err(PeopleError::NoUnit { .. })));
    assert!(matches!(people.add_user(of(DELETED)), Err(PeopleError::SystemUnit { .. })));
    assert!(people.add_unit("Motor", Some("Sales")).is_err());
    assert_eq!(people, before);
}

/// One change of a history.
#[derive(Clone, Debug)]
enum Change {
    /// The device goes to this user, and is taken from whoever has it.
    Move { device: Device, to: &'static str },
    /// It is nobody's any more.
    Release(Device),
    /// The user is deleted.
    Remove(&'static str),
}

const USERS: [&str; 3] = ["ann", "bob", "cas"];

fn device() -> impl Strategy<Value = Device> {
    select(vec![extension("2001"), extension("2002"), agent("2001")])
}

fn change() -> impl Strategy<Value = Change> {
    let user = || select(USERS.to_vec());
    prop_oneof![
        6 => (device(), user()).prop_map(|(device, to)| Change::Move { device, to }),
        2 => device().prop_map(Change::Release),
        1 => user().prop_map(Change::Remove),
    ]
}

proptest! {
    #[test]
    fn history_never_changes_when_a_device_moves(
        changes in proptest::collection::vec((0..3_i64, change()), 1..20),
    ) {
        let mut people = people(&USERS);
        let devices = [extension("2001"), extension("2002"), agent("2001")];
        // Whose each device is in each minute, as the changes so far leave it.
        let mut table = vec![vec![None::<&str>; MINUTES as usize]; devices.len()];
        let mut deleted: Vec<&str> = Vec::new();
        let mut now = 0_i64;
        for (later, change) in changes {
            now = (now + later).min(MINUTES - 1);
            let place = |device: &Device| devices.iter().position(|d| d == device).expect("one of them");
            match change {
                Change::Move { device, to } => {
                    let _ = people.release(&device, at(now));
                    let taken = people.assign(to, secondary(device.clone(), tenure(Some(now), None)));
                    prop_assert_eq!(taken.is_ok(), !deleted.contains(&to), "{:?}", taken);
                    let holder = taken.is_ok().then_some(to);
                    table[place(&device)][now as usize..].fill(holder);
                }
                Change::Release(device) => {
                    let held = table[place(&device)][now as usize].is_some();
                    prop_assert_eq!(people.release(&device, at(now)).is_ok(), held);
                    table[place(&device)][now as usize..].fill(None);
                }
                Change::Remove(id) if !deleted.contains(&id) => {
                    prop_assert_eq!(people.remove_user(id, at(now)), Ok(Removed::Deleted));
                    deleted.push(id);
                    for row in &mut table {
                        row[now as usize..].iter_mut().filter(|holder| **holder == Some(id)).for_each(|h| *h = None);
                    }
                }
                Change::Remove(_) => {}
            }
            for (device, row) in devices.iter().zip(&table) {
                for minute in 0..MINUTES {
                    prop_assert_eq!(id_at(&people, device, minute), row[minute as usize], "{} {}", device, minute);
                }
            }
        }
    }

    #[test]
    fn an_assignment_is_taken_if_and_only_if_the_device_is_free_all_the_while(
        wanted in proptest::collection::vec(
            (device(), select(USERS.to_vec()), proptest::option::of(0..MINUTES), proptest::option::of(0..MINUTES)),
            0..24,
        ),
    ) {
        let mut people = people(&USERS);
        let mut table = std::collections::BTreeMap::new();
        for (device, id, from, until) in wanted {
            let minutes = from.unwrap_or(-1)..until.unwrap_or(MINUTES + 1);
            let is_free = minutes.clone().all(|minute| !table.contains_key(&(device.clone(), minute)));
            let taken = people.assign(id, secondary(device.clone(), tenure(from, until)));
            prop_assert_eq!(taken.is_ok(), is_free && !minutes.is_empty(), "{:?}", taken);
            if taken.is_ok() {
                table.extend(minutes.map(|minute| ((device.clone(), minute), id)));
            }
        }
        for (device, minute) in [extension("2001"), extension("2002"), agent("2001")]
            .into_iter().flat_map(|device| (-1..=MINUTES).map(move |minute| (device.clone(), minute)))
        {
            let model = table.get(&(device.clone(), minute)).copied();
            prop_assert_eq!(id_at(&people, &device, minute), model, "{} {}", device, minute);
        }
    }
}
