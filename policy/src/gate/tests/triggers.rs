//! Key codes and window rules, and what reordering does at the edges of a pause.

use super::changes::{Call, at};
use super::*;
use crate::devices::RecordedDevice;
use crate::modes::{Ask, Mode, Role};
use crate::pause::codes::{CodeProfile, Codes};
use crate::pause::windows::WindowRule;
use crate::{Request, Whom};

fn with_codes() -> Rules {
    let card = CodeProfile { name: "card".into(), pause: "*12".into(), resume: "*#".into() };
    Rules { codes: Codes::new(vec![card], 3_000).expect("codes"), ..Rules::default() }
}

impl Call {
    /// Digits of one side, 500 ms apart, 100 ms long; the extension is the caller.
    fn key(&mut self, side: Side, digits: &str, from_ms: i64) {
        for (digit, n) in digits.chars().zip(0..) {
            let digit = Digit { at: at(from_ms + 500 * n), digit, duration_ms: 100 };
            self.gate.handle_event(&Event::Digit { leg: self.facts.leg, side, digit });
        }
    }

    /// The digits that are to be kept, so far.
    fn kept(&mut self) -> String {
        let told = std::iter::from_fn(|| self.gate.poll_action());
        told.filter_map(|action| match action {
            Action::Keyed { digit, .. } => Some(digit.digit),
            _ => None,
        })
        .collect()
    }
}

#[test]
fn a_code_of_the_extension_pauses_and_its_digits_are_not_kept() {
    let mut call = Call::new(with_codes());
    call.key(Side::Caller, "5*12", 2_000);
    assert_eq!(call.kept(), "5");
    assert!(!call.is_taken(3_500) && call.is_taken(3_499), "from the capture time of the last digit");
    call.key(Side::Callee, "4111", 4_000);
    call.key(Side::Caller, "99*#", 7_000);
    assert_eq!(call.kept(), "", "nothing that was keyed in the pause, and no code");
    assert!(!call.is_taken(8_599) && call.is_taken(8_600), "behind the digit that resumes");
    let (.., why) = call.end();
    let steps: Vec<&str> = why.iter().filter(|s| s.rule == "request").map(|s| s.fact.as_str()).collect();
    assert_eq!(steps, ["key code card", "key code card"]);
}

/// A call between two extensions without a PBX between: one leg, two recordings.
fn between_extensions(rules: Rules) -> Call {
    let mut gate = Gate::new(rules);
    let mut facts = facts("2000", "2001");
    facts.parties.iter_mut().for_each(|party| party.registered = true);
    gate.handle_event(&Event::LegStarted(&facts));
    gate.handle_event(&Event::AudioStarted(&facts));
    Call { gate, facts }
}

/// In how many recordings a packet of this time is kept.
fn taken(call: &mut Call, ms: i64, format: &Format) -> usize {
    let frame = AudioFrame { at: at(ms), timestamp: 8 * ms as u32, ..frame(format) };
    call.gate.admit(call.facts.leg, Side::Callee, &frame).count()
}

#[test]
fn a_code_pauses_both_recordings_of_a_leg_and_is_in_neither() {
    let mut call = between_extensions(with_codes());
    for (side, from) in [(Side::Caller, 2_000), (Side::Callee, 12_000)] {
        call.key(side, "5*12", from);
        assert_eq!(call.kept(), "55", "once in each recording");
        assert_eq!(
            (taken(&mut call, from + 1_499, &format()), taken(&mut call, from + 1_500, &format())),
            (2, 0)
        );
        call.key(side, "7*#", from + 4_000);
        assert_eq!(call.kept(), "");
        assert_eq!(
            (taken(&mut call, from + 5_099, &format()), taken(&mut call, from + 5_100, &format())),
            (0, 2)
        );
    }
    let events = Format { codec: Codec::TelephoneEvent, ..format() };
    assert_eq!(taken(&mut call, 30_000, &events), 0);
}

#[test]
fn an_extension_that_is_not_recorded_pauses_nothing() {
    let (devices, windows) = (listed("2000"), vec![WindowRule::prefix("card", true).expect("a rule")]);
    let mut call = between_extensions(Rules { devices, windows, ..with_codes() });
    call.gate.handle_windows("desk 7", "2001", &["card"], at(1_500)).expect("room");
    call.key(Side::Callee, "*12", 2_000);
    assert_eq!((call.kept().as_str(), taken(&mut call, 5_000, &format())), ("*12", 1));
    call.key(Side::Caller, "*12", 6_000);
    assert_eq!((call.kept().as_str(), taken(&mut call, 9_000, &format())), ("", 0));
}

#[test]
fn a_pause_of_one_extension_is_one_of_its_whole_leg() {
    let windows = vec![WindowRule::prefix("card", true).expect("a rule")];
    let rules = Rules { windows, ..Rules::default() };
    let mut call = between_extensions(rules.clone());
    let shows = |call: &mut Call, texts: &[&str], ms| {
        call.gate.handle_windows("desk 7", "2001", texts, at(ms)).expect("room");
    };
    shows(&mut call, &["card"], 2_000);
    assert_eq!(taken(&mut call, 2_000, &format()), 0);
    shows(&mut call, &[], 3_000);
    assert_eq!(taken(&mut call, 3_000, &format()), 2);
    let ask = |call: &mut Call, ask, ms| {
        let (whom, role) = (Whom::Extension("2000".into()), Role::Agent);
        call.gate.handle_request(&Request { whom, ask, role, name: "ann".into() }, at(ms)).done
    };
    assert_eq!((ask(&mut call, Ask::Pause, 4_000), taken(&mut call, 4_000, &format())), (2, 0));
    assert_eq!((ask(&mut call, Ask::Resume, 5_000), taken(&mut call, 5_000, &format())), (2, 2));
    // One that begins behind the window.
    shows(&mut call, &["card"], 6_000);
    let mut later = between_extensions(rules);
    later.gate.desks = call.gate.desks;
    later.gate.handle_event(&Event::AudioStarted(&later.facts));
    assert_eq!(taken(&mut later, 7_000, &format()), 0);
}

#[test]
fn a_code_keyed_while_nothing_is_taken_holds_what_is_started_later() {
    let entry =
        RecordedDevice { mode: Mode::OnDemand, ..RecordedDevice::new("2000".parse().expect("a pattern")) };
    let mut call = Call::new(Rules { devices: RecordedDevices::new(vec![entry]), ..with_codes() });
    call.key(Side::Caller, "*12", 2_000);
    let start =
        Request { whom: Whom::Leg(call.facts.leg), ask: Ask::Start, role: Role::Agent, name: "ann".into() };
    call.gate.handle_timeout(at(700_000));
    assert_eq!(call.gate.poll_action(), None, "there is no recording that it could be told of");
    assert_eq!(call.gate.handle_request(&start, at(705_000)).done, 1);
    assert!(!call.is_taken(706_000));
    call.key(Side::Caller, "*#", 707_000);
    assert!(call.is_taken(708_000));
}

#[test]
fn the_far_sides_digits_trigger_nothing() {
    let mut call = Call::new(with_codes());
    call.key(Side::Callee, "*12", 2_000);
    assert_eq!(call.kept(), "*12");
    assert!(call.is_taken(5_000));
}

#[test]
fn digits_that_become_no_code_are_told_in_the_end() {
    let mut call = Call::new(with_codes());
    call.key(Side::Caller, "*1", 2_000);
    assert_eq!(call.kept(), "");
    call.gate.handle_timeout(at(5_500));
    assert_eq!(call.kept(), "");
    call.gate.handle_timeout(at(5_501));
    assert_eq!(call.kept(), "*1");
    call.key(Side::Caller, "*", 9_000);
    let (actions, ..) = call.end();
    assert!(matches!(&actions[..], [Action::Keyed { .. }, Action::Finish { .. }]), "{actions:?}");
}

#[test]
fn where_codes_are_set_the_extensions_telephone_events_are_not_kept() {
    let events = Format {
        payload_type: 101,
        codec: Codec::TelephoneEvent,
        clock_rate: 8000,
        channels: 1,
        fmtp: String::new(),
    };
    let event = frame(&events);
    for (rules, near) in [(with_codes(), 0), (Rules::default(), 1)] {
        let mut call = Call::new(rules);
        assert_eq!(call.gate.admit(call.facts.leg, Side::Caller, &event).count(), near);
        assert_eq!(call.gate.admit(call.facts.leg, Side::Callee, &event).count(), 1);
    }
}

#[test]
fn a_packet_that_was_overtaken_on_its_way_out_of_a_pause_is_refused() {
    let mut call = Call::new(with_codes());
    let format = format();
    let packet = |ms: i64, timestamp: u32| AudioFrame { at: at(ms), timestamp, ..frame(&format) };
    let passes = |call: &mut Call, ms, timestamp| {
        call.gate.admit(call.facts.leg, Side::Callee, &packet(ms, timestamp)).count() == 1
    };
    // The media clock turns over in the pause.
    assert!(passes(&mut call, 3_000, u32::MAX - 400));
    call.key(Side::Caller, "*12", 3_000);
    assert!(!passes(&mut call, 4_020, u32::MAX - 100) && !passes(&mut call, 4_060, 219));
    call.key(Side::Caller, "*#", 4_100);
    // Sent before the last one of the pause, captured after it.
    assert!(!passes(&mut call, 4_710, 59));
    assert!(passes(&mut call, 4_720, 379));
}

#[test]
fn what_was_kept_already_is_not_called_paused() {
    let mut call = Call::new(with_codes());
    assert!(call.is_taken(5_000));
    // The pause is told with a time before that.
    call.key(Side::Caller, "*12", 3_000);
    let (actions, ..) = call.end();
    let Some(Action::Pause { at: from, .. }) = actions.iter().find(|a| matches!(a, Action::Pause { .. }))
    else {
        panic!("{actions:?}")
    };
    assert_eq!(*from, at(5_000).plus_nanos(1));
}

#[test]
fn a_window_pauses_while_it_is_shown_also_a_call_that_begins_behind_it() {
    let windows = vec![
        WindowRule::prefix("https://pay.example/", true).expect("a rule"),
        WindowRule::regex("(?i)card", true).expect("a rule"),
    ];
    let rules = Rules { windows, ..Rules::default() };
    let mut call = Call::new(rules.clone());
    let shows = |call: &mut Call, texts: &[&str], ms| {
        call.gate.handle_windows("desk 7", "2000", texts, at(ms)).expect("room");
    };
    shows(&mut call, &["Mail"], 2_000);
    assert!(call.is_taken(2_000));
    shows(&mut call, &["https://PAY.example/7"], 3_000);
    shows(&mut call, &["Card entry"], 4_000);
    assert!(!call.is_taken(3_000) && !call.is_taken(4_000) && !call.is_taken(4_500));
    // A client that is gone lets go of nothing.
    call.gate.handle_client_gone("desk 7");
    assert!(!call.is_taken(5_000));
    let mut gate = Gate::new(rules);
    gate.handle_windows("desk 7", "2000", &["card"], at(900)).expect("room");
    let mut call = Call::within(gate);
    assert!(!call.is_taken(1_500));
    shows(&mut call, &[], 2_000);
    assert!(call.is_taken(2_000) && !call.is_taken(1_999));
}
