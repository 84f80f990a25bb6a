//! Whom a segment counts for, and rules about it.

use super::changes::{Call, at};
use super::*;
use crate::Fact;
use crate::Whom;
use crate::devices::RecordedDevice;
use crate::modes::Mode;
use crate::pause::windows::WindowRule;
use crate::people::Who;
use crate::people::{Assignment, Device, DeviceKind, OwnMode, People, Tenure, UNASSIGNED, User};
use crate::rules::{ListRule, RuleType};

/// Ann of Claims, which is below Insurance, has extension 2000 until 5.000 s, Bob, of no unit, from then on and agent 77.
fn people() -> People {
    with_modes(None, None)
}

/// The same, with modes of their own.
fn with_modes(of_ann: Option<OwnMode>, of_bob: Option<OwnMode>) -> People {
    let mut people = People::default();
    people.add_unit("Insurance", None).expect("new");
    people.add_unit("Claims", Some("Insurance")).expect("new");
    let ann = User { id: "ann".into(), unit: Some("Claims".into()), mode: of_ann, ..User::default() };
    people.add_user(ann).expect("new");
    people.add_user(User { id: "bob".into(), mode: of_bob, ..User::default() }).expect("new");
    let mut give = |id: &str, kind, number: &str, from: Option<i64>, until: Option<i64>| {
        let tenure = Tenure { from: from.map(at), until: until.map(at) };
        let device = Device { kind, number: number.into() };
        people.assign(id, Assignment { device, primary: false, tenure }).expect("free");
    };
    give("ann", DeviceKind::Extension, "2000", None, Some(5_000));
    give("bob", DeviceKind::Extension, "2000", Some(5_000), None);
    give("bob", DeviceKind::Agent, "77", None, None);
    people
}

fn with_people(exclude: &[(RuleType, &str)]) -> Rules {
    let rule = |&(kind, value): &(RuleType, &str)| ListRule::new(kind, value, "").expect("a rule");
    Rules { people: people(), exclude: exclude.iter().map(rule).collect(), ..Rules::default() }
}

fn planned(call: &mut Call) -> Who {
    match call.gate.poll_action() {
        Some(Action::Start(plan)) => plan.facts.who,
        other => panic!("{other:?}"),
    }
}

/// Whom the recording counts for in the end: user and unit.
fn closed(call: Call) -> (String, String) {
    let (actions, ..) = call.end();
    let who = actions.into_iter().find_map(|action| match action {
        Action::Finish { closing, .. } => Some(closing.facts.who),
        _ => None,
    });
    let who = who.expect("a recording");
    let units = who.units().collect::<Vec<_>>().join("<");
    (who.user.map(|user| user.id).unwrap_or_default(), units)
}

fn tell(call: &mut Call, fact: Fact, ms: i64) {
    call.gate.handle_fact(&Whom::Leg(call.facts.leg), &fact, at(ms)).expect("taken");
}

#[test]
fn a_segment_counts_for_who_has_the_extension_when_it_begins() {
    let mut call = Call::new(with_people(&[]));
    let who = planned(&mut call);
    assert_eq!(who.user.as_ref().map(|user| user.id.as_str()), Some("ann"));
    // Bob gets the extension while it runs: it stays Ann's.
    tell(&mut call, Fact::AccountCode("1".into()), 6_000);
    assert_eq!(closed(call), ("ann".into(), "Claims<Insurance".into()));
}

#[test]
fn a_unit_that_is_named_late_leaves_the_call_to_who_had_it() {
    let mut call = Call::new(with_people(&[]));
    planned(&mut call);
    // The extension is Bob's by now.
    tell(&mut call, Fact::BusinessUnit("Insurance".into()), 6_000);
    assert_eq!(closed(call), ("ann".into(), "Insurance".into()));
    let mut call = Call::new(with_people(&[]));
    planned(&mut call);
    tell(&mut call, Fact::BusinessUnit("Insurance".into()), 6_000);
    tell(&mut call, Fact::BusinessUnit(String::new()), 7_000);
    assert_eq!(closed(call), ("ann".into(), "Claims<Insurance".into()));
}

#[test]
fn an_agent_who_logs_in_takes_the_segment_over_and_back() {
    let mut call = Call::new(with_people(&[]));
    planned(&mut call);
    tell(&mut call, Fact::Agent("77".into()), 2_000);
    assert_eq!(closed(call), ("bob".into(), UNASSIGNED.into()));
    let mut call = Call::new(with_people(&[]));
    tell(&mut call, Fact::Agent("77".into()), 2_000);
    tell(&mut call, Fact::Agent(String::new()), 3_000);
    assert_eq!(closed(call), ("ann".into(), "Claims<Insurance".into()));
}

#[test]
fn a_rule_on_a_unit_takes_those_below_it_and_an_agent_may_bring_it_late() {
    let (_, outcome, reason, _) = Call::new(with_people(&[(RuleType::BusinessUnit, "Insurance")])).end();
    assert_eq!((outcome, reason.as_str()), (Outcome::Excluded, "exclusion 1: business unit Insurance"));
    let mut call = Call::new(with_people(&[(RuleType::BusinessUnit, UNASSIGNED)]));
    planned(&mut call);
    tell(&mut call, Fact::Agent("77".into()), 2_000);
    let discarded = std::iter::from_fn(|| call.gate.poll_action()).any(|a| matches!(a, Action::Discard(..)));
    assert!(discarded);
    assert_eq!(call.end().1, Outcome::Excluded);
}

#[test]
fn a_unit_that_is_named_from_outside_goes_before_the_users_own() {
    let mut call = Call::new(with_people(&[]));
    tell(&mut call, Fact::BusinessUnit("Insurance".into()), 2_000);
    tell(&mut call, Fact::Agent("77".into()), 2_500);
    assert_eq!(closed(call), ("bob".into(), "Insurance".into()));
    let mut call = Call::new(with_people(&[]));
    tell(&mut call, Fact::BusinessUnit("Elsewhere".into()), 2_000);
    tell(&mut call, Fact::BusinessUnit(String::new()), 2_500);
    assert_eq!(closed(call), ("ann".into(), "Claims<Insurance".into()));
}

#[test]
fn without_people_nobody_is_guessed() {
    let mut call = Call::new(Rules::default());
    assert_eq!(planned(&mut call), Who::default());
    assert_eq!(closed(call), (String::new(), String::new()));
}

#[test]
fn an_agent_who_is_known_before_the_first_audio_counts_from_the_beginning() {
    let mut gate = Gate::new(with_people(&[]));
    let facts = facts("2000", "01632960001");
    gate.handle_event(&Event::LegStarted(&facts));
    assert_eq!(gate.handle_fact(&Whom::Leg(facts.leg), &Fact::Agent("77".into()), at(900)), Ok(0));
    gate.handle_event(&Event::AudioStarted(&facts));
    let who = planned(&mut Call { gate, facts });
    assert_eq!(who.user.map(|user| user.id).as_deref(), Some("bob"));
}

/// What was told of the recording that runs.
fn known(call: &mut Call) -> Vec<Who> {
    let told = std::iter::from_fn(|| call.gate.poll_action());
    told.filter_map(|action| match action {
        Action::Known { facts, .. } => Some(facts.who),
        _ => None,
    })
    .collect()
}

#[test]
fn other_people_count_for_running_calls_as_of_their_beginning() {
    let mut call = Call::new(Rules::default());
    assert_eq!(planned(&mut call), Who::default());
    // It is Bob's extension by now, and was Ann's when the call began.
    call.gate.replace_rules(with_people(&[]), at(6_000));
    let told = known(&mut call);
    assert_eq!(told.iter().filter_map(|who| who.unit.as_deref()).collect::<Vec<_>>(), ["Claims"]);
    // The unit moves, and the call with it; the same people change nothing.
    let mut moved = with_people(&[]);
    moved.people.put_unit_under("Claims", None).expect("moved");
    call.gate.replace_rules(moved.clone(), at(7_000));
    assert_eq!(known(&mut call).len(), 1);
    call.gate.replace_rules(Rules { channels: Some(9), ..moved }, at(8_000));
    assert_eq!(known(&mut call), []);
    assert_eq!(closed(call), ("ann".into(), "Claims".into()));
}

#[test]
fn other_people_leave_an_agents_call_to_the_agent_and_a_named_unit_named() {
    let mut call = Call::new(Rules::default());
    planned(&mut call);
    tell(&mut call, Fact::Agent("77".into()), 2_000);
    tell(&mut call, Fact::BusinessUnit("Insurance".into()), 3_000);
    call.gate.replace_rules(with_people(&[]), at(6_000));
    assert_eq!(closed(call), ("bob".into(), "Insurance".into()));
}

#[test]
fn a_call_that_other_people_bring_under_an_exclusion_is_destroyed() {
    let rules = with_people(&[(RuleType::BusinessUnit, "Insurance")]);
    let mut call = Call::new(Rules { people: People::default(), ..rules.clone() });
    assert!(call.is_taken(2_000));
    call.gate.replace_rules(rules, at(3_000));
    assert!(
        std::iter::from_fn(|| call.gate.poll_action()).any(|action| matches!(action, Action::Discard(..)))
    );
    assert_eq!(call.end().1, Outcome::Excluded);
}

fn own(mode: Mode, from: Option<i64>) -> Option<OwnMode> {
    Some(OwnMode { mode, from: from.map(at) })
}

/// Devices in this mode, and users in modes of their own.
fn in_modes(device: Mode, of_ann: Option<OwnMode>, of_bob: Option<OwnMode>) -> Rules {
    let entry = RecordedDevice { mode: device, ..RecordedDevice::new("2000".parse().expect("a pattern")) };
    let devices = crate::devices::RecordedDevices::new(vec![entry]);
    Rules { devices, people: with_modes(of_ann, of_bob), ..Rules::default() }
}

fn steps(call: Call) -> Vec<String> {
    call.end().3.iter().map(ToString::to_string).collect()
}

#[test]
fn a_users_own_mode_goes_before_the_devices_for_calls_that_begin_at_its_time_or_later() {
    for (from, is_in_it) in [(None, true), (Some(999), true), (Some(1_000), true), (Some(1_001), false)] {
        for (device, of_user) in [(Mode::Always, Mode::OnDemand), (Mode::Never, Mode::Always)] {
            let taken = if is_in_it { of_user } else { device } == Mode::Always;
            let mut call = Call::new(in_modes(device, own(of_user, from), None));
            assert_eq!(call.is_taken(2_000), taken, "{from:?} {device:?} {of_user:?}");
        }
    }
    let call = Call::new(in_modes(Mode::Always, own(Mode::OnDemand, Some(0)), None));
    assert_eq!(
        steps(call),
        [
            "     0.0 s  2000: recorded devices [endpoint 2000]: recorded devices 2000, mode always",
            "     0.0 s  2000: mode of user [user ann]: on_demand since 1970-01-01T00:00:00.000Z; it goes before the device's",
        ]
    );
    let call = Call::new(in_modes(Mode::Always, own(Mode::OnDemand, Some(1_001)), None));
    let told = steps(call).remove(1);
    assert!(
        told.ends_with(
            "on_demand since 1970-01-01T00:00:01.001Z: this call began before, the device's counts"
        ),
        "{told}"
    );
}

#[test]
fn no_mode_of_a_user_brings_back_a_device_that_no_entry_names() {
    let rules = in_modes(Mode::Always, own(Mode::Always, None), None);
    let devices = "2001".parse::<crate::Pattern>().expect("a pattern").into();
    let site = crate::Site { extensions: Some("2000".parse().expect("a pattern")), ..Default::default() };
    assert_eq!(Call::new(Rules { devices, site, ..rules }).end().1, Outcome::DeviceNotRecorded);
    let (_, outcome, reason, _) = Call::new(in_modes(Mode::Always, own(Mode::Never, None), None)).end();
    assert_eq!(
        (outcome, reason.as_str()),
        (Outcome::DeviceNotRecorded, "calls of user ann are never recorded")
    );
}

#[test]
fn the_agents_mode_counts_while_the_agent_is_there_and_the_trace_says_whose_it_is() {
    let mut call = Call::new(in_modes(Mode::Always, None, own(Mode::OnDemand, None)));
    assert!(call.is_taken(2_000));
    tell(&mut call, Fact::Agent("77".into()), 3_000);
    assert!(!call.is_taken(3_500));
    tell(&mut call, Fact::Agent(String::new()), 4_000);
    assert!(call.is_taken(4_500) && !call.is_taken(3_500), "the extension is Ann's at 4.000 s");
    let steps = steps(call);
    let of_mode: Vec<&str> =
        steps.iter().filter(|step| step.contains("mode ")).map(|step| step.trim_start()).collect();
    assert_eq!(
        of_mode,
        [
            "0.0 s  2000: recorded devices [endpoint 2000]: recorded devices 2000, mode always",
            "2.0 s  2000: mode of user [user bob]: on_demand; it goes before the device's",
            "3.0 s  2000: recorded devices [endpoint 2000]: recorded devices 2000, mode always",
        ]
    );
}

#[test]
fn an_agent_who_is_never_recorded_has_what_there_is_destroyed() {
    let mut call = Call::new(in_modes(Mode::Always, None, own(Mode::Never, None)));
    planned(&mut call);
    tell(&mut call, Fact::Agent("77".into()), 3_000);
    assert!(
        std::iter::from_fn(|| call.gate.poll_action()).any(|action| matches!(action, Action::Discard(..)))
    );
    assert_eq!(call.end().1, Outcome::DeviceNotRecorded);
}

#[test]
fn another_mode_or_another_extension_of_a_user_counts_for_running_calls_at_once() {
    let mut call = Call::new(in_modes(Mode::Always, None, own(Mode::OnDemand, None)));
    assert!(call.is_taken(2_000));
    call.gate.replace_rules(in_modes(Mode::Always, own(Mode::OnDemand, None), None), at(3_000));
    assert!(!call.is_taken(3_500));
    // Ann has another extension, and nobody this one.
    let mut moved = in_modes(Mode::Always, own(Mode::OnDemand, None), None);
    let device = Device { kind: DeviceKind::Extension, number: "2000".into() };
    moved.people.release(&device, at(0)).expect("held");
    call.gate.replace_rules(moved, at(4_000));
    assert!(call.is_taken(4_500));
    // A mode that begins to count now is for calls to come.
    call.gate.replace_rules(in_modes(Mode::Always, own(Mode::OnDemand, Some(5_000)), None), at(5_000));
    assert!(call.is_taken(5_500));
}

#[test]
fn a_window_that_is_shown_holds_a_call_that_an_agents_mode_brings_in() {
    let rules = in_modes(Mode::Never, None, own(Mode::Always, None));
    let windows = vec![WindowRule::prefix("pay", true).expect("a rule")];
    let mut gate = Gate::new(Rules { windows, ..rules });
    gate.handle_windows("desk", "2000", &["Pay"], at(500)).expect("room");
    let mut call = Call::within(gate);
    tell(&mut call, Fact::Agent("77".into()), 3_000);
    assert!(!call.is_taken(3_500));
    call.gate.handle_windows("desk", "2000", &[], at(4_000)).expect("room");
    assert!(call.is_taken(4_500));
}

#[test]
fn the_line_of_a_call_that_is_not_recorded_has_what_access_to_its_part_is_judged_by() {
    let site = crate::Site { name: Some("Hull".into()), ..Default::default() };
    let rules = Rules { site, ..with_people(&[(RuleType::Endpoint, "2000")]) };
    let named = |mut facts: LegFacts| {
        facts.parties[Side::Caller.index()].name = "Front desk".into();
        facts.parties[Side::Callee.index()].name = "Bell & Co".into();
        facts
    };
    let parts = |mut gate: Gate, facts: LegFacts| match end(&mut gate, facts).pop() {
        Some(Action::Account { parts, .. }) => parts,
        other => panic!("{other:?}"),
    };
    // One that a rule excludes, and one without audio, about which no rule is asked.
    for is_heard in [true, false] {
        let mut gate = Gate::new(rules.clone());
        let facts = named(facts("2000", "01632960001"));
        gate.handle_event(&Event::LegStarted(&facts));
        if is_heard {
            gate.handle_event(&Event::AudioStarted(&facts));
        }
        let parts = parts(gate, facts);
        let [part] = &parts[..] else { panic!("{parts:?}") };
        let names = part.names.as_ref().expect("of this version");
        assert_eq!(
            (&*names.extension_name, &*names.other_party_name, names.site.as_deref()),
            ("Front desk", "Bell & Co", Some("Hull")),
            "{is_heard}"
        );
        assert_eq!(part.facts.who.user.as_ref().map(|user| &*user.id), Some("ann"));
    }
}
