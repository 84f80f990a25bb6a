//! New rules while calls run.

use super::changes::{Call, at};
use super::*;
use crate::channels::Overload;
use crate::devices::RecordedDevice;
use crate::feed::{Report, Whose, Word};
use crate::modes::{Ask, Mode, Role};
use crate::pause::PauseLimits;
use crate::pause::codes::{CodeProfile, Codes};
use crate::pause::windows::WindowRule;
use crate::rules::{Fact, ListRule, RuleType};
use crate::testing::legs;
use crate::{Request, Whom};

fn excluding(endpoint: &str) -> Rules {
    let rule = ListRule::new(RuleType::Endpoint, endpoint, "").expect("a rule");
    Rules { exclude: vec![rule], ..Rules::default() }
}

fn actions(gate: &mut Gate) -> Vec<Action> {
    std::iter::from_fn(|| gate.poll_action()).collect()
}

fn codes() -> Codes {
    let profile = CodeProfile { name: "card".into(), pause: "*12".into(), resume: "*#".into() };
    Codes::new(vec![profile], 3_000).expect("codes")
}

#[test]
fn a_device_newly_excluded_is_destroyed_and_the_line_says_since_when() {
    let mut call = Call::new(Rules { channels: Some(1), ..Rules::default() });
    assert!(call.is_taken(2_000));
    call.gate.replace_rules(Rules { channels: Some(1), ..excluding("2000") }, at(13_300));
    let done = actions(&mut call.gate);
    let [Action::Start(_), Action::Discard(_, why)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(why, "exclusion 1: endpoint 2000; in force 12.3 s into the call");
    assert!(!call.is_taken(2_000) && !call.is_taken(13_400));
    assert_eq!(call.gate.channels_in_use(), 0);
    let (done, outcome, reason, why) = call.end();
    assert_eq!((done, outcome), (vec![], Outcome::Excluded));
    assert!(
        reason.ends_with("in force 12.3 s into the call, what had been recorded was destroyed"),
        "{reason}"
    );
    let last = why.last().map(ToString::to_string).unwrap_or_default();
    assert_eq!(last, "    12.3 s  2000: new rules: what had been recorded is destroyed");
}

#[test]
fn a_device_newly_recorded_begins_now() {
    let mut call = Call::new(Rules { devices: listed("3000-3999"), ..Rules::default() });
    assert_eq!(actions(&mut call.gate), []);
    call.gate.replace_rules(Rules { devices: listed("2000-3999"), ..Rules::default() }, at(6_000));
    let done = actions(&mut call.gate);
    let [Action::Start(plan)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((plan.started, plan.facts.extension.as_str()), (at(6_000), "2000"));
    assert!(!call.is_taken(5_999) && call.is_taken(6_000));
    assert_eq!(call.end().1, Outcome::Recorded);
}

#[test]
fn an_extension_that_only_the_new_rules_know_begins_now() {
    let site = |numbers: &str| Rules {
        site: crate::Site { extensions: Some(numbers.parse().expect("a pattern")), ..Default::default() },
        ..Rules::default()
    };
    let mut call = Call::new(site("3000-3999"));
    assert_eq!(actions(&mut call.gate), []);
    call.gate.replace_rules(site("2000-3999"), at(6_000));
    let done = actions(&mut call.gate);
    let [Action::Start(plan)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((plan.facts.extension.as_str(), plan.started, plan.segment), ("2000", at(6_000), 1));
    assert!(!call.is_taken(5_999) && call.is_taken(6_000));
    let (_, outcome, reason, _) = call.end();
    assert_eq!(outcome, Outcome::Recorded);
    assert!(reason.contains("recorded from 5.0 s into the call on"), "{reason}");
}

#[test]
fn fewer_channels_cut_no_running_call_and_more_give_none_to_one_that_was_refused() {
    let rules = |channels| Rules { channels: Some(channels), ..Rules::default() };
    let mut gate = Gate::new(rules(2));
    let three = legs(&[("2000", "01632960001"), ("2001", "01632960002"), ("2002", "01632960003")]);
    for facts in &three {
        gate.handle_event(&Event::LegStarted(facts));
        gate.handle_event(&Event::AudioStarted(facts));
    }
    let begun = |done: &[Action]| done.iter().filter(|action| matches!(action, Action::Start(_))).count();
    assert_eq!(begun(&actions(&mut gate)), 2);
    gate.replace_rules(rules(1), at(2_000));
    assert_eq!((actions(&mut gate), gate.channels_in_use()), (vec![], 2));
    gate.replace_rules(Rules { overload: Overload::TakeFromLeastImportant, ..rules(9) }, at(3_000));
    assert_eq!(actions(&mut gate), [], "first come, first served, and none later");
}

#[test]
fn a_segment_that_ends_by_new_rules_gives_its_channel_to_one_that_begins() {
    let rules = |devices: &str| Rules { devices: listed(devices), channels: Some(1), ..Rules::default() };
    // Whichever stands first in the gate.
    for (before, after) in [("2000", "2001"), ("2001", "2000")] {
        let mut gate = Gate::new(rules(before));
        for facts in &legs(&[("2000", "01632960001"), ("2001", "01632960002")]) {
            gate.handle_event(&Event::LegStarted(facts));
            gate.handle_event(&Event::AudioStarted(facts));
        }
        assert!(matches!(&actions(&mut gate)[..], [Action::Start(_)]));
        gate.replace_rules(rules(after), at(2_000));
        let done = actions(&mut gate);
        let [Action::Discard(..), Action::Start(plan)] = &done[..] else { panic!("{done:?}") };
        assert_eq!(plan.facts.extension, after);
    }
}

#[test]
fn another_mode_acts_from_now_on_and_what_was_taken_stays() {
    let in_mode = |mode| {
        let entry = RecordedDevice { mode, ..RecordedDevice::new("2000".parse().expect("a pattern")) };
        Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() }
    };
    let mut call = Call::new(in_mode(Mode::Always));
    call.gate.replace_rules(in_mode(Mode::OnDemand), at(5_000));
    assert!(call.is_taken(4_999) && !call.is_taken(5_001), "nobody has asked for it yet");
    let (done, outcome, _, _) = call.end();
    assert!(matches!(done.last(), Some(Action::Finish { .. })), "{done:?}");
    assert_eq!(outcome, Outcome::Recorded);
}

/// The outcome of a call that was taken in one mode, asked something, and ended in another one.
fn outcome_over(before: Mode, ask: Option<Ask>, after: Mode) -> Outcome {
    let in_mode = |mode| {
        let entry = RecordedDevice { mode, ..RecordedDevice::new("2000".parse().expect("a pattern")) };
        Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() }
    };
    let mut call = Call::new(in_mode(before));
    if let Some(ask) = ask {
        let whom = Whom::Leg(call.facts.leg);
        let request = Request { whom, ask, role: Role::Supervisor, name: "eve".into() };
        assert_eq!(call.gate.handle_request(&request, at(2_000)).done, 1);
    }
    call.is_taken(3_000);
    call.gate.replace_rules(in_mode(after), at(5_000));
    call.end().1
}

#[test]
fn another_mode_destroys_nothing_that_was_kept_and_saves_nothing_that_somebody_discarded() {
    use Mode::*;
    for (before, ask, after, expected) in [
        (Always, None, DiscardByDefault, Outcome::Recorded),
        (SaveByDefault, None, DiscardByDefault, Outcome::Recorded),
        (AlwaysWithStop, Some(Ask::Stop), DiscardByDefault, Outcome::Recorded),
        (OnDemand, Some(Ask::Start), DiscardByDefault, Outcome::Recorded),
        (DiscardByDefault, Some(Ask::Keep), OnDemand, Outcome::Recorded),
        // Nothing was taken yet: the new mode says what becomes of it.
        (OnDemand, None, DiscardByDefault, Outcome::Excluded),
        (Never, None, DiscardByDefault, Outcome::Excluded),
        // What nobody had asked to destroy is kept by a mode that keeps.
        (DiscardByDefault, None, Always, Outcome::Recorded),
        (SaveByDefault, Some(Ask::Discard), Always, Outcome::Excluded),
        (SaveByDefault, Some(Ask::Discard), DiscardByDefault, Outcome::Excluded),
        (DiscardByDefault, Some(Ask::Start), DiscardByDefault, Outcome::Recorded),
    ] {
        assert_eq!(outcome_over(before, ask, after), expected, "{before:?}, {ask:?}, {after:?}");
    }
}

/// A call between two extensions without a PBX between: one leg, two recordings.
fn between(rules: Rules) -> Call {
    let mut facts = facts("2000", "2001");
    facts.parties.iter_mut().for_each(|party| party.registered = true);
    let mut gate = Gate::new(rules);
    gate.handle_event(&Event::LegStarted(&facts));
    gate.handle_event(&Event::AudioStarted(&facts));
    Call { gate, facts }
}

/// In how many recordings a packet of this time is kept.
fn taken(call: &mut Call, ms: i64) -> usize {
    let format = format();
    let frame = AudioFrame { at: at(ms), timestamp: 8 * ms as u32, ..frame(&format) };
    call.gate.admit(call.facts.leg, Side::Callee, &frame).count()
}

fn pause(call: &mut Call, ask: Ask, ms: i64) {
    let whom = Whom::Extension("2000".into());
    let request = Request { whom, ask, role: Role::Agent, name: "ann".into() };
    assert!(call.gate.handle_request(&request, at(ms)).done > 0);
}

fn windows() -> Vec<WindowRule> {
    vec![WindowRule::prefix("https://pay", true).expect("a rule")]
}

#[test]
fn a_window_at_the_desk_of_a_device_newly_recorded_holds_the_legs_other_recording_too() {
    let rules = |devices: &[&str]| {
        let entries = devices.iter().map(|own| RecordedDevice::new(own.parse().expect("a pattern")));
        let devices = RecordedDevices::new(entries.collect());
        Rules { devices, windows: windows(), ..Rules::default() }
    };
    let mut call = between(rules(&["2000"]));
    call.gate.handle_windows("desk 1", "2001", &["https://pay.example"], at(1_500)).expect("room");
    assert_eq!(taken(&mut call, 2_000), 1, "2001 is not recorded");
    call.gate.replace_rules(rules(&["2000", "2001"]), at(3_000));
    assert_eq!(taken(&mut call, 3_500), 0);
    call.gate.handle_windows("desk 1", "2001", &[], at(4_000)).expect("room");
    assert_eq!(taken(&mut call, 4_500), 2);
}

#[test]
fn a_paused_leg_stays_paused_in_a_recording_that_new_rules_or_facts_begin() {
    // A device newly recorded, while a person has paused the other one.
    let rules = |devices| Rules { devices: listed(devices), ..Rules::default() };
    let mut call = between(rules("2000"));
    pause(&mut call, Ask::Pause, 2_000);
    call.gate.replace_rules(rules("2000,2001"), at(3_000));
    assert_eq!(taken(&mut call, 3_500), 0);
    pause(&mut call, Ask::Resume, 4_000);
    assert_eq!(taken(&mut call, 4_500), 2);
    // An extension that only the new rules know, while a code holds the call.
    let site = |numbers: &str| Rules {
        site: crate::Site { extensions: Some(numbers.parse().expect("a pattern")), ..Default::default() },
        codes: codes(),
        ..Rules::default()
    };
    let mut call = Call::new(site("2000"));
    call.facts = facts("2000", "2001");
    call.gate = Gate::new(site("2000"));
    call.gate.handle_event(&Event::LegStarted(&call.facts));
    call.gate.handle_event(&Event::AudioStarted(&call.facts));
    for (ms, digit) in [(2_000, '*'), (2_200, '1'), (2_400, '2')] {
        let digit = Digit { digit, at: at(ms), duration_ms: 100 };
        call.gate.handle_event(&Event::Digit { leg: call.facts.leg, side: Side::Caller, digit });
    }
    assert_eq!(taken(&mut call, 2_900), 0);
    call.gate.replace_rules(site("2000-2001"), at(3_000));
    assert_eq!(taken(&mut call, 3_500), 0);
    assert_eq!(call.gate.recordings(call.facts.leg).count(), 2);
    // An exclusion that a fact lifts.
    let include = vec![ListRule::new(RuleType::AccountCode, "77", "").expect("a rule")];
    let mut call = between(Rules { include, ..excluding("2001") });
    pause(&mut call, Ask::Pause, 2_000);
    let whom = Whom::Part { leg: call.facts.leg, extension: "2001".into() };
    assert_eq!(call.gate.handle_fact(&whom, &Fact::AccountCode("77".into()), at(3_000)), Ok(1));
    assert_eq!((call.gate.recordings(call.facts.leg).count(), taken(&mut call, 3_500)), (2, 0));
}

#[test]
fn a_window_whose_longest_pause_is_over_does_not_pause_again_with_other_rules() {
    let pauses = PauseLimits { resume_ms: Some(10_000), forgotten_ms: None };
    let mut call = Call::new(Rules { windows: windows(), pauses, ..Rules::default() });
    call.gate.handle_windows("desk 1", "2000", &["https://pay.example"], at(2_000)).expect("room");
    assert!(!call.is_taken(3_000));
    let ends = |call: &Call| {
        let (recording, _) = call.gate.recordings(call.facts.leg).next().expect("it is recorded");
        call.gate.state_of(recording).expect("it runs").pause_ends
    };
    assert_eq!(ends(&call), Some(at(12_000)));
    call.gate.handle_timeout(at(12_000));
    assert!(call.is_taken(12_500));
    assert_eq!(ends(&call), None);
    let other = WindowRule::prefix("other", true).expect("a rule");
    let rules = Rules { windows: [vec![other], windows()].concat(), pauses, ..excluding("3000") };
    call.gate.replace_rules(rules, at(13_000));
    // Whatever settles it shows whether anything holds it.
    let whom = Whom::Leg(call.facts.leg);
    assert_eq!(call.gate.handle_fact(&whom, &Fact::Tag("x".into()), at(13_200)), Ok(1));
    assert!(call.is_taken(13_500));
}

#[test]
fn what_is_shown_is_held_against_the_new_windows() {
    let mut call = Call::new(Rules { windows: windows(), ..Rules::default() });
    call.gate.handle_windows("desk 1", "2000", &["Card entry"], at(2_000)).expect("room");
    assert!(call.is_taken(2_500));
    let rules = |words: &[&str]| Rules {
        windows: words.iter().map(|word| WindowRule::prefix(word, true).expect("a rule")).collect(),
        ..Rules::default()
    };
    call.gate.replace_rules(rules(&["Mail", "Card"]), at(3_000));
    assert!(!call.is_taken(3_500), "it is on the screen already");
    // The rule is another one by number; nothing lets go until the desk says so.
    call.gate.replace_rules(rules(&["Card", "Mail"]), at(4_000));
    call.gate.replace_rules(rules(&["Mail"]), at(4_500));
    assert!(!call.is_taken(5_000));
    // A call that begins now is held by what the rules match now: nothing.
    let desks = std::mem::take(&mut call.gate.desks);
    assert_eq!(desks.holding("2000").count(), 0);
    call.gate.desks = desks;
    call.gate.handle_windows("desk 1", "2000", &["Card entry"], at(6_000)).expect("room");
    assert!(call.is_taken(6_500));
}

#[test]
fn a_report_finds_the_extension_that_new_rules_have_added() {
    let site = |numbers: &str| Rules {
        site: crate::Site { extensions: Some(numbers.parse().expect("a pattern")), ..Default::default() },
        ..Rules::default()
    };
    let mut call = Call::new(site("3000-3999"));
    let of = |code: &str| Report {
        at: at(1_500),
        who: "pbx".into(),
        word: Word::Facts(Whose::Extension("2000".into()), vec![Fact::AccountCode(code.into())]),
    };
    assert!(call.gate.handle_report(of("77"), at(1_600)).waits);
    call.gate.replace_rules(site("2000-3999"), at(6_000));
    let recording = call.gate.recordings(call.facts.leg).next().expect("one").0;
    let code = |call: &Call| call.gate.facts_of(recording).and_then(|facts| facts.account_code.clone());
    assert_eq!(code(&call).as_deref(), Some("77"), "it had waited");
    assert_eq!(call.gate.handle_report(of("78"), at(7_000)).running, 1);
    assert_eq!(code(&call).as_deref(), Some("78"));
}

#[test]
fn digits_held_for_a_code_that_is_no_longer_are_told_and_codes_that_come_hide_what_follows() {
    let digit = |ms, digit| Digit { digit, at: at(ms), duration_ms: 100 };
    let keyed = |done: Vec<Action>| done.iter().filter(|a| matches!(a, Action::Keyed { .. })).count();
    let mut call = Call::new(Rules { codes: codes(), ..Rules::default() });
    let leg = call.facts.leg;
    call.gate.handle_event(&Event::Digit { leg, side: Side::Caller, digit: digit(2_000, '*') });
    assert_eq!(keyed(actions(&mut call.gate)), 0);
    call.gate.replace_rules(Rules::default(), at(2_500));
    assert_eq!(keyed(actions(&mut call.gate)), 1);
    call.gate.replace_rules(Rules { codes: codes(), ..Rules::default() }, at(3_000));
    for (ms, key) in [(4_000, '*'), (4_200, '1'), (4_400, '2')] {
        call.gate.handle_event(&Event::Digit { leg, side: Side::Caller, digit: digit(ms, key) });
    }
    let done = actions(&mut call.gate);
    assert!(matches!(&done[..], [Action::Pause { .. }]), "{done:?}");
    assert!(call.is_taken(4_300) && !call.is_taken(4_500));
}

#[test]
fn a_code_of_which_one_half_was_keyed_before_new_rules_still_counts() {
    let profile = |name: &str, pause: &str, resume: &str| CodeProfile {
        name: name.into(),
        pause: pause.into(),
        resume: resume.into(),
    };
    let with = |more: CodeProfile| {
        let profiles = vec![profile("card", "*12", "*#"), more];
        Rules { codes: Codes::new(profiles, 3_000).expect("codes"), ..Rules::default() }
    };
    let mut call = Call::new(with(profile("other", "#7", "#8")));
    let leg = call.facts.leg;
    let key = |call: &mut Call, ms, digit| {
        let digit = Digit { digit, at: at(ms), duration_ms: 100 };
        call.gate.handle_event(&Event::Digit { leg, side: Side::Caller, digit });
    };
    key(&mut call, 2_000, '*');
    key(&mut call, 2_200, '1');
    actions(&mut call.gate);
    call.gate.replace_rules(with(profile("other", "#6", "#9")), at(2_300));
    assert_eq!(actions(&mut call.gate), [], "it may yet be one");
    key(&mut call, 2_400, '2');
    assert!(!call.is_taken(2_500));
    // Complete by the new ones.
    key(&mut call, 3_000, '*');
    key(&mut call, 3_100, '#');
    assert!(call.is_taken(3_500));
    key(&mut call, 4_000, '#');
    actions(&mut call.gate);
    call.gate.replace_rules(with(profile("other", "#", "0")), at(4_100));
    assert!(!call.is_taken(4_500));
}

#[test]
fn a_window_shown_before_its_device_is_recorded_holds_it_from_the_beginning() {
    let rules = |devices| Rules {
        devices: listed(devices),
        windows: vec![WindowRule::prefix("https://pay", true).expect("a rule")],
        ..Rules::default()
    };
    let mut gate = Gate::new(rules("3000"));
    gate.handle_windows("desk 1", "2000", &["https://pay.example/card"], at(500)).expect("room");
    let mut call = Call::within(gate);
    call.gate.replace_rules(rules("2000,3000"), at(3_000));
    assert!(!call.is_taken(4_000), "the card is on the screen");
    call.gate.handle_windows("desk 1", "2000", &["https://intranet"], at(5_000)).expect("room");
    assert!(!call.is_taken(4_000) && call.is_taken(6_000));
}

#[test]
fn the_same_rules_again_do_nothing() {
    let mut call = Call::new(excluding("3000"));
    actions(&mut call.gate);
    call.gate.replace_rules(excluding("3000"), at(2_000));
    assert_eq!(actions(&mut call.gate), []);
    // Another rule of no meaning for this call says so in its trace alone.
    call.gate.replace_rules(excluding("3001"), at(3_000));
    assert_eq!(actions(&mut call.gate), []);
    assert!(call.is_taken(1_500) && call.is_taken(4_000));
}
