//! New rules while calls run.

use super::changes::{Call, at};
use super::*;
use crate::channels::Overload;
use crate::devices::RecordedDevice;
use crate::modes::Mode;
use crate::pause::codes::{CodeProfile, Codes};
use crate::pause::windows::WindowRule;
use crate::rules::{ListRule, RuleType};
use crate::testing::legs;

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
