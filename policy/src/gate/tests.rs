//! The gate as a whole: from what the tracker tells to what the recorder is to do.

mod carried;
mod changes;
mod early;
mod model;
mod people;
mod renew;
mod reports;
mod triggers;

use super::*;
use crate::rules::{Fact, ListRule, RuleType};
use crate::testing::{facts, over};
use crate::{Pattern, RecordedDevices};
use decode::tracker::{Ending, NoKey, TrackReport};
use decode::{Codec, Format};

fn listed(numbers: &str) -> RecordedDevices {
    numbers.parse::<Pattern>().expect("a pattern").into()
}

fn started(rules: Rules, caller: &str, callee: &str) -> (Gate, LegFacts, Vec<Action>) {
    let mut gate = Gate::new(rules);
    let facts = facts(caller, callee);
    gate.handle_event(&Event::AudioStarted(&facts));
    let actions = std::iter::from_fn(|| gate.poll_action()).collect();
    (gate, facts, actions)
}

pub(super) fn end(gate: &mut Gate, facts: LegFacts) -> Vec<Action> {
    let end = over(facts);
    gate.handle_event(&Event::LegEnded(Box::new(end)));
    std::iter::from_fn(|| gate.poll_action()).collect()
}

fn format() -> Format {
    Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() }
}

fn frame(format: &Format) -> AudioFrame<'_> {
    let at = Timestamp::from_millis(0);
    AudioFrame { at, ssrc: 1, sequence: 1, timestamp: 1, marker: false, format, payload: &[0xff] }
}

#[test]
fn audio_of_a_leg_that_no_rule_has_judged_is_not_admitted() {
    let mut gate = Gate::new(Rules::default());
    let format = format();
    assert_eq!(gate.admit(facts("2000", "01632960001").leg, Side::Caller, &frame(&format)).count(), 0);
}

#[test]
fn the_extension_is_near_and_the_other_side_far() {
    let (mut gate, facts, actions) = started(Rules::default(), "01632960001", "2000");
    let [Action::Start(plan)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(
        (plan.facts.extension.as_str(), plan.near, plan.facts.direction),
        ("2000", Side::Callee, Direction::Inbound)
    );
    let format = format();
    let frame = frame(&format);
    let mut parties = Vec::new();
    for side in [Side::Caller, Side::Callee] {
        parties.extend(gate.admit(facts.leg, side, &frame).map(|(_, cleared)| cleared.party()));
    }
    assert_eq!(parties, [Party::Far, Party::Near]);
}

#[test]
fn two_extensions_on_one_leg_are_two_segments_and_a_tie_renumbers_them() {
    let mut gate = Gate::new(Rules::default());
    let mut facts = facts("2000", "2001");
    facts.parties.iter_mut().for_each(|party| party.registered = true);
    gate.handle_event(&Event::LegStarted(&facts));
    gate.handle_event(&Event::AudioStarted(&facts));
    let segment = |action: &Action| match action {
        Action::Start(plan) => plan.segment,
        Action::Finish { segment, .. } => *segment,
        _ => 0,
    };
    let planned: Vec<u32> = std::iter::from_fn(|| gate.poll_action()).map(|a| segment(&a)).collect();
    assert_eq!(planned, [1, 2]);
    facts.call = CallId::new(Timestamp::from_millis(0), &[b"older"]);
    facts.segment = 4;
    gate.handle_event(&Event::Tied(&facts));
    let finished: Vec<u32> = end(&mut gate, facts).iter().map(segment).filter(|&n| n > 0).collect();
    assert_eq!(finished, [4, 5]);
    assert!(gate.segments.is_empty());
}

/// The legs of a call from a provider by way of a PBX to 2000, who is dialled as 01632960500.
fn dialled_from_outside() -> [LegFacts; 2] {
    let caller = "01632960001";
    let legs = [([30, 10], caller, "01632960500"), ([10, 20], caller, "2000")];
    crate::testing::legs_between(&legs).try_into().expect("two legs")
}

#[test]
fn a_call_through_a_pbx_is_judged_by_the_ddi_of_the_trunks_leg() {
    let exclude = vec![ListRule::new(RuleType::Ddi, "01632960500", "").expect("a rule")];
    let mut gate = Gate::new(Rules { exclude, ..Rules::default() });
    let [trunk, phone] = dialled_from_outside();
    for facts in [&trunk, &phone] {
        gate.handle_event(&Event::LegStarted(facts));
    }
    gate.handle_event(&Event::AudioStarted(&phone));
    assert_eq!(gate.poll_action(), None);
    let actions = end(&mut gate, phone);
    let [Action::Account { outcome, reason, parts, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((*outcome, reason.as_str()), (Outcome::Excluded, "exclusion 1: DDI 01632960500"));
    assert_eq!(parts[0].facts.ddi.as_deref(), Some("01632960500"));
}

#[test]
fn a_tie_that_comes_late_brings_the_ddi_where_nobody_has_told_another_one() {
    let [_, tied] = dialled_from_outside();
    let begun = || {
        let mut gate = Gate::new(Rules::default());
        let apart = LegFacts { others: Vec::new(), call: facts("1", "2").call, ..tied.clone() };
        gate.handle_event(&Event::LegStarted(&apart));
        gate.handle_event(&Event::AudioStarted(&apart));
        let Some(Action::Start(plan)) = gate.poll_action() else { panic!("it is recorded") };
        assert_eq!(plan.facts.ddi, None);
        gate
    };
    let mut gate = begun();
    gate.handle_event(&Event::Tied(&tied));
    let Some(Action::Known { facts, .. }) = gate.poll_action() else { panic!("it is news") };
    assert_eq!(facts.ddi.as_deref(), Some("01632960500"));
    gate.handle_event(&Event::Tied(&tied));
    assert_eq!(gate.poll_action(), None, "and no news again");
    let mut gate = begun();
    let said = Fact::Ddi("01632960777".into());
    gate.handle_fact(&Whom::Leg(tied.leg), &said, Timestamp::from_millis(2_000)).expect("a fact");
    assert!(matches!(gate.poll_action(), Some(Action::Known { .. })));
    gate.handle_event(&Event::Tied(&tied));
    assert_eq!(gate.poll_action(), None);
}

#[test]
fn a_leg_to_the_trunk_that_is_no_extensions_has_its_line_and_no_recording() {
    let rules = Rules {
        site: crate::Site { extensions: Some("2000".parse().expect("a pattern")), ..Default::default() },
        ..Rules::default()
    };
    let legs = [([20, 10], "2000", "01632960001"), ([10, 30], "2000", "01632960001")];
    let legs = crate::testing::legs_between(&legs);
    let mut gate = Gate::new(rules);
    for facts in &legs {
        gate.handle_event(&Event::LegStarted(facts));
        gate.handle_event(&Event::AudioStarted(facts));
    }
    let started: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
    let [Action::Start(plan)] = &started[..] else { panic!("{started:?}") };
    assert_eq!(plan.recording.leg(), legs[0].leg);
    let ended = legs.into_iter().rev().flat_map(|facts| end(&mut gate, facts)).collect::<Vec<_>>();
    let [Action::Account { outcome, parts, .. }, Action::Finish { .. }, Action::Account { .. }] = &ended[..]
    else {
        panic!("{ended:?}")
    };
    assert_eq!((*outcome, parts.len()), (Outcome::DeviceNotRecorded, 0));
}

#[test]
fn a_device_that_is_not_recorded_is_accounted_for() {
    let rules = Rules { devices: listed("3000-3999"), ..Rules::default() };
    let (mut gate, facts, actions) = started(rules, "2000", "01632960001");
    assert_eq!(actions, []);
    let actions = end(&mut gate, facts);
    assert!(
        matches!(&actions[..], [Action::Account { outcome: Outcome::DeviceNotRecorded, .. }]),
        "{actions:?}"
    );
}

#[test]
fn a_recorded_device_is_recorded_on_whichever_side_it_stands() {
    let rules = Rules { devices: listed("2001"), ..Rules::default() };
    let (_, _, actions) = started(rules, "2000", "2001");
    let [Action::Start(plan)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((plan.facts.extension.as_str(), plan.near), ("2001", Side::Callee));
}

#[test]
fn an_internal_call_is_excluded_when_the_rules_say_so() {
    let rules = Rules { exclude_internal: true, ..Rules::default() };
    let (mut gate, facts, actions) = started(rules, "2000", "2001");
    assert_eq!(actions, []);
    let actions = end(&mut gate, facts);
    assert!(
        matches!(&actions[..], [Action::Account { outcome: Outcome::InternalExcluded, .. }]),
        "{actions:?}"
    );
}

#[test]
fn early_audio_of_an_unanswered_call_is_kept_or_destroyed_as_the_rules_say() {
    let (mut gate, facts, _) = started(Rules::default(), "2000", "01632960001");
    assert!(matches!(end(&mut gate, facts)[0], Action::Finish { segment: 1, .. }));
    let rules = Rules { keep_unanswered: false, ..Rules::default() };
    let (mut gate, facts, _) = started(rules, "2000", "01632960001");
    let actions = end(&mut gate, facts);
    assert!(matches!(
        actions[..],
        [Action::Discard(..), Action::Account { outcome: Outcome::NotAnswered, .. }]
    ));
}

#[test]
fn a_call_without_audio_has_the_outcome_of_its_ending() {
    let of = |change: fn(&mut LegFacts)| {
        let mut facts = facts("2000", "2001");
        change(&mut facts);
        match end(&mut Gate::new(Rules::default()), facts).pop() {
            Some(Action::Account { outcome, reason, .. }) => (outcome, reason),
            other => panic!("{other:?}"),
        }
    };
    let busy = of(|f| f.ending = Ending::Rejected { status: 486, reason: "Busy Here".into() });
    assert_eq!(busy, (Outcome::NotAnswered, "486 Busy Here".into()));
    assert_eq!(of(|f| f.ending = Ending::EndOfInput).0, Outcome::Running);
    assert_eq!(of(|f| f.answered = Some(f.started)).0, Outcome::NoMedia);
    let encrypted = of(|f| (f.answered, f.encrypted, f.no_key) = (Some(f.started), true, Some(NoKey::Zrtp)));
    assert_eq!(encrypted.0, Outcome::Undecryptable);
    assert!(encrypted.1.contains("ZRTP"), "{}", encrypted.1);
    // The keys are there, and nobody spoke.
    assert_eq!(of(|f| (f.answered, f.encrypted) = (Some(f.started), true)).0, Outcome::NoMedia);
}

fn track(side: Side, undecryptable: u64, looks_encrypted: u64) -> TrackReport {
    TrackReport {
        side,
        formats: Vec::new(),
        ssrcs: vec![7],
        packets: 100,
        decrypted: 0,
        undecryptable,
        no_key: (undecryptable > 0).then_some(NoKey::NotSeen),
        looks_encrypted,
        lost_network: 0,
        lost_capture: 0,
        reordered: 0,
        relayed: 0,
        duplicates: 0,
        jitter_ms: 0.0,
        skew_ppm: 0.0,
        audio_ms: 2_000,
        start: None,
        end: None,
        quality: decode::tracker::Quality::default(),
    }
}

#[test]
fn what_could_not_be_read_of_a_recorded_call_is_in_its_reason() {
    for (tracks, expected, words) in [
        ([track(Side::Caller, 0, 0), track(Side::Callee, 0, 0)], Outcome::Recorded, ""),
        (
            [track(Side::Caller, 0, 0), track(Side::Callee, 100, 0)],
            Outcome::Recorded,
            "100 packets of the callee",
        ),
        ([track(Side::Caller, 0, 100), track(Side::Callee, 0, 0)], Outcome::Recorded, "look encrypted"),
        ([track(Side::Caller, 0, 100), track(Side::Callee, 0, 97)], Outcome::Undecryptable, "look encrypted"),
    ] {
        let (mut gate, facts, _) = started(Rules::default(), "2000", "01632960001");
        let end = LegEnd { tracks: tracks.into(), ..over(facts) };
        gate.handle_event(&Event::LegEnded(Box::new(end)));
        let actions: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
        let [Action::Finish { .. }, Action::Account { outcome, reason, .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(*outcome, expected, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
}
