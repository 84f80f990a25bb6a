//! What changes during a call: late facts, channels, requests, orders, pauses.

use super::*;
use crate::channels::Overload;
use crate::devices::RecordedDevice;
use crate::modes::orders::{Lasting, Order, Whose};
use crate::modes::{Ask, Mode, Role};
use crate::pause::PauseSource;
use crate::rules::{Fact, FactRefusal, ListRule, RuleType};
use crate::{Priority, Request, Whom};

/// A gate with a call that began at 1.000 s.
pub(super) struct Call {
    pub(super) gate: Gate,
    pub(super) facts: LegFacts,
}

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn rule(kind: RuleType, value: &str) -> ListRule {
    ListRule::new(kind, value, "").expect("a rule")
}

pub(super) fn in_mode(mode: Mode) -> Rules {
    let entry = RecordedDevice { mode, ..RecordedDevice::new("2000".parse().expect("a pattern")) };
    Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() }
}

impl Call {
    pub(super) fn new(rules: Rules) -> Call {
        Call::within(Gate::new(rules))
    }

    pub(super) fn within(mut gate: Gate) -> Call {
        let mut facts = facts("2000", "01632960001");
        facts.answered = Some(facts.started);
        gate.handle_event(&Event::LegStarted(&facts));
        gate.handle_event(&Event::AudioStarted(&facts));
        Call { gate, facts }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.gate.poll_action()).collect()
    }

    fn fact(&mut self, fact: Fact, ms: i64) {
        let whom = Whom::Leg(self.facts.leg);
        assert_eq!(self.gate.handle_fact(&whom, &fact, at(ms)), Ok(1));
    }

    fn ask(&mut self, ask: Ask, role: Role, ms: i64) -> Reply {
        let whom = Whom::Extension("2000".into());
        self.gate.handle_request(&Request { whom, ask, role, name: "eve".into() }, at(ms))
    }

    pub(super) fn is_taken(&mut self, ms: i64) -> bool {
        let format = format();
        let frame = AudioFrame { at: at(ms), timestamp: 8 * ms as u32, ..frame(&format) };
        self.gate.admit(self.facts.leg, Side::Callee, &frame).count() == 1
    }

    /// Ends it; gives how its recordings ended, its outcome and reason.
    pub(super) fn end(mut self) -> (Vec<Action>, Outcome, String, Vec<Step>) {
        let mut actions = end(&mut self.gate, self.facts);
        let Some(Action::Account { outcome, reason, why, .. }) = actions.pop() else { panic!("{actions:?}") };
        assert_eq!(self.gate.channels_in_use(), 0);
        (actions, outcome, reason, why)
    }
}

#[test]
fn a_late_exclusion_destroys_what_there_is_and_says_by_which_rule() {
    let exclude = vec![rule(RuleType::AccountCode, "77%")];
    let mut call = Call::new(Rules { exclude, channels: Some(1), ..Rules::default() });
    assert!(matches!(call.actions()[..], [Action::Start(_)]) && call.is_taken(2_000));
    call.fact(Fact::AccountCode("771".into()), 13_300);
    let actions = call.actions();
    let [Action::Discard(_, why)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(why, "exclusion 1: account code 77%; known 12.3 s into the call");
    assert!(!call.is_taken(13_400) && !call.is_taken(2_000));
    assert_eq!(call.gate.channels_in_use(), 0);
    let (actions, outcome, reason, why) = call.end();
    assert_eq!((actions, outcome), (vec![], Outcome::Excluded));
    assert_eq!(
        reason,
        "exclusion 1: account code 77%; known 12.3 s into the call, what had been recorded was destroyed"
    );
    let lines: Vec<String> = why.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "     0.0 s  2000: recorded devices [endpoint 2000]: every extension is recorded, mode always",
            "     0.0 s  2000: exclusions: none of 1 matches",
            "     0.0 s  2000: channels [1 in use]: one is free",
            "    12.3 s  2000: fact [account code 771]: judged again",
            "    12.3 s  2000: exclusion 1 [account code 771]: excluded: account code 77%",
            "    12.3 s  2000: late fact: what had been recorded is destroyed",
        ]
    );
}

#[test]
fn a_late_inclusion_records_from_then_on_and_says_what_is_missing() {
    let (include, exclude) = (vec![rule(RuleType::Agent, "1021")], vec![rule(RuleType::Endpoint, "2000")]);
    let mut call = Call::new(Rules { include, exclude, ..Rules::default() });
    assert_eq!(call.actions(), []);
    call.fact(Fact::Agent("1021".into()), 6_000);
    let actions = call.actions();
    let [Action::Start(plan)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((plan.started, plan.segment, plan.rule.as_str()), (at(6_000), 1, "inclusion 1: agent 1021"));
    assert!(!call.is_taken(5_999) && call.is_taken(6_000));
    let (actions, outcome, reason, _) = call.end();
    let [Action::Finish { closing, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((closing.from, outcome), (Some(at(6_000)), Outcome::Recorded));
    assert!(
        reason.contains("recorded from 5.0 s into the call on, what came before was not kept"),
        "{reason}"
    );
}

#[test]
fn a_fact_that_comes_before_the_audio_is_there_for_the_judgement() {
    let exclude = vec![rule(RuleType::HuntGroup, "2500")];
    let mut gate = Gate::new(Rules { exclude, ..Rules::default() });
    let facts = facts("2000", "01632960001");
    let call = Whom::Call(facts.call);
    let fact = Fact::HuntGroup("2500".into());
    assert_eq!(gate.handle_fact(&call, &fact, at(900)), Err(FactRefusal::NoSuchCall));
    gate.handle_event(&Event::LegStarted(&facts));
    assert_eq!(gate.handle_fact(&call, &fact, at(1_000)), Ok(0));
    gate.handle_event(&Event::AudioStarted(&facts));
    assert_eq!(gate.poll_action(), None);
    let ended = end(&mut gate, facts);
    assert!(matches!(&ended[..], [Action::Account { outcome: Outcome::Excluded, .. }]), "{ended:?}");
    assert!(gate.early.is_empty());
}

#[test]
fn the_call_beyond_the_last_channel_is_refused_with_how_many_were_in_use() {
    let mut call = Call::new(Rules { channels: Some(0), ..Rules::default() });
    assert!(call.actions().is_empty() && !call.is_taken(2_000));
    let (_, outcome, reason, _) = call.end();
    assert_eq!((outcome, reason.as_str()), (Outcome::NoChannel, "no channel was free: 0 of 0 were in use"));
}

#[test]
fn a_more_important_call_takes_a_channel_and_the_other_recording_ends_in_order() {
    let entry = |numbers: &str, level| RecordedDevice {
        priority: Priority::new(level).expect("a priority"),
        ..RecordedDevice::new(numbers.parse().expect("a pattern"))
    };
    let rules = Rules {
        devices: RecordedDevices::new(vec![entry("2000", 7), entry("2001", 2)]),
        channels: Some(1),
        overload: Overload::TakeFromLeastImportant,
        ..Rules::default()
    };
    // Two legs of one tracker, so that their slots differ.
    let two = crate::testing::legs(&[("2000", "01632960001"), ("2001", "01632960002")]);
    let [mut first, mut second]: [LegFacts; 2] = two.try_into().expect("two legs");
    (first.answered, second.answered) = (Some(first.started), Some(second.started));
    let mut gate = Gate::new(rules);
    gate.handle_event(&Event::AudioStarted(&first));
    second.first_audio = Some(at(9_000));
    gate.handle_event(&Event::AudioStarted(&second));
    let actions: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
    let [Action::Start(_), Action::Start(important), Action::Pause { at: cut, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((important.facts.extension.as_str(), *cut), ("2001", at(9_000)));
    let format = format();
    let late = AudioFrame { at: at(9_000), ..frame(&format) };
    let early = AudioFrame { at: at(8_999), ..frame(&format) };
    assert_eq!(gate.admit(first.leg, Side::Caller, &late).count(), 0);
    assert_eq!(gate.admit(first.leg, Side::Caller, &early).count(), 1);
    let ended = end(&mut gate, first);
    let [Action::Finish { closing, .. }, Action::Account { outcome, reason, .. }] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((closing.until, *outcome), (Some(at(9_000)), Outcome::Recorded));
    assert!(reason.contains("its channel was taken by a call of priority 2, its own is 7"), "{reason}");
    assert_eq!(gate.channels_in_use(), 1);
}

#[test]
fn on_demand_begins_when_asked_and_ends_when_stopped() {
    let mut call = Call::new(in_mode(Mode::OnDemand));
    assert!(call.actions().is_empty() && !call.is_taken(1_500));
    assert_eq!(call.ask(Ask::Start, Role::Agent, 5_000).done, 1);
    assert!(
        matches!(call.actions()[..], [Action::Start(_)]) && call.is_taken(5_000) && !call.is_taken(4_999)
    );
    assert_eq!(call.ask(Ask::Stop, Role::Agent, 8_000).done, 1);
    assert_eq!(call.ask(Ask::Start, Role::Agent, 11_000).done, 1);
    assert!(call.is_taken(7_999) && !call.is_taken(8_000) && !call.is_taken(10_999) && call.is_taken(11_000));
    assert_eq!(call.ask(Ask::Stop, Role::Agent, 12_000).done, 1);
    let (actions, outcome, ..) = call.end();
    let [.., Action::Finish { closing, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((closing.from, closing.until), (Some(at(5_000)), Some(at(12_000))));
    assert_eq!((&closing.pauses[..], outcome), (&[(at(8_000), at(11_000))][..], Outcome::Recorded));
    let (_, outcome, reason, _) = Call::new(in_mode(Mode::OnDemand)).end();
    assert_eq!(outcome, Outcome::Excluded);
    assert!(reason.ends_with("mode on_demand: nobody asked for it to be recorded"), "{reason}");
}

#[test]
fn what_is_discarded_by_default_is_destroyed_unless_somebody_keeps_it() {
    let mut call = Call::new(in_mode(Mode::DiscardByDefault));
    assert!(matches!(call.actions()[..], [Action::Start(_)]));
    let (actions, outcome, reason, _) = call.end();
    assert!(matches!(&actions[..], [Action::Discard(_, why)] if why.contains("nobody asked to keep it")));
    assert_eq!(outcome, Outcome::Excluded, "{reason}");
    let mut call = Call::new(in_mode(Mode::DiscardByDefault));
    assert_eq!(call.ask(Ask::Keep, Role::Agent, 5_000).done, 1);
    let (actions, outcome, ..) = call.end();
    assert!(matches!(&actions[..], [Action::Start(_), Action::Finish { .. }]));
    assert_eq!(outcome, Outcome::Recorded);
}

#[test]
fn who_destroyed_a_recording_is_who_asked_for_that_and_nobody_else() {
    let ask = |call: &mut Call, what, name: &str, ms| {
        let whom = Whom::Extension("2000".into());
        let request = Request { whom, ask: what, role: Role::Supervisor, name: name.into() };
        call.gate.handle_request(&request, at(ms)).done
    };
    for (asked, why) in [
        (&[(Ask::Pause, "ann"), (Ask::Resume, "ann")][..], "nobody asked to keep it"),
        (&[(Ask::Stop, "ann")], "nobody asked to keep it"),
        (&[(Ask::Keep, "ann"), (Ask::Discard, "eve"), (Ask::Pause, "ann")], "discarded by supervisor eve"),
    ] {
        let mut call = Call::new(in_mode(Mode::DiscardByDefault));
        for (&(what, name), n) in asked.iter().zip(0..) {
            assert_eq!(ask(&mut call, what, name, 2_000 + 1_000 * n), 1);
        }
        let (_, outcome, reason, _) = call.end();
        assert!(outcome == Outcome::Excluded && reason.ends_with(why), "{asked:?}: {reason}");
    }
}

#[test]
fn a_supervisors_order_holds_for_the_next_calls_until_it_is_withdrawn() {
    let order = Order { what: Lasting::Start, role: Role::Supervisor, name: "eve".into(), at: at(0) };
    let agent = Whose::Agent("1021".into());
    let mut call = Call::new(in_mode(Mode::OnDemand));
    call.gate.handle_order(agent.clone(), order.clone(), at(1_100)).expect("room");
    assert!(!call.is_taken(1_200), "nobody is logged in there");
    call.fact(Fact::Agent("1021".into()), 2_000);
    assert!(call.is_taken(2_000) && !call.is_taken(1_999));
    assert_eq!(call.gate.orders().iter().count(), 1);
    assert!(call.gate.handle_withdrawal(&agent, "eve", at(3_000)));
    assert!(!call.is_taken(3_000) && call.is_taken(2_999));
    // One that changes nothing takes nothing back.
    let mut call = Call::new(in_mode(Mode::AlwaysWithStop));
    let extension = Whose::Extension("2000".into());
    call.gate.handle_order(extension.clone(), order.clone(), at(1_100)).expect("room");
    call.gate.handle_withdrawal(&extension, "eve", at(1_200));
    assert!(call.is_taken(1_300));
    // Another one in its place: what the first did is undone.
    let pause = Order { what: Lasting::Pause, ..order };
    call.gate.handle_order(extension.clone(), pause.clone(), at(2_000)).expect("room");
    assert!(!call.is_taken(2_000));
    call.gate.handle_order(extension, Order { what: Lasting::Start, ..pause }, at(3_000)).expect("room");
    assert!(call.is_taken(3_000));
}

#[test]
fn in_a_pause_nothing_passes_whenever_it_comes() {
    let mut call = Call::new(Rules::default());
    let whom = Whom::Leg(call.facts.leg);
    let keys = PauseSource::Keys("card".into());
    assert_eq!(call.ask(Ask::Pause, Role::Agent, 5_000).done, 1);
    assert_eq!(call.gate.handle_pause(&whom, &keys, true, at(6_000)).done, 1);
    assert_eq!(call.ask(Ask::Resume, Role::Agent, 7_000).done, 1);
    assert!(!call.is_taken(7_500), "the key code still holds it");
    assert_eq!(call.gate.handle_pause(&whom, &keys, false, at(8_000)).done, 1);
    // Captured in the pause, told after it.
    assert!(call.is_taken(8_000) && !call.is_taken(7_999) && !call.is_taken(5_000) && call.is_taken(4_999));
    let (recording, _) = call.gate.recordings(call.facts.leg).next().expect("one");
    assert!(!call.gate.keeps(recording, at(6_500)) && call.gate.keeps(recording, at(4_000)));
    let actions = call.actions();
    let [Action::Start(_), Action::Pause { at: from, source, .. }, Action::Resume { at: to, source: by, .. }] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*from, source.as_str()), (at(5_000), "agent eve"));
    assert_eq!((*to, by.as_str()), (at(8_000), "key code card"));
    let (actions, ..) = call.end();
    let [Action::Finish { closing, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((&closing.pauses[..], closing.until), (&[(at(5_000), at(8_000))][..], None));
}

#[test]
fn a_call_that_was_paused_throughout_says_so() {
    let mut call = Call::new(Rules::default());
    call.ask(Ask::Pause, Role::Agent, 1_000);
    assert!(!call.is_taken(1_000));
    let (_, outcome, reason, _) = call.end();
    assert_eq!(outcome, Outcome::Paused, "{reason}");
}

#[test]
fn a_forgotten_pause_is_told_and_the_longest_ends_by_itself() {
    let mut rules = Rules::default();
    rules.pauses.resume_ms = Some(900_000);
    let mut call = Call::new(rules);
    call.ask(Ask::Pause, Role::Agent, 2_000);
    call.actions();
    call.gate.handle_timeout(at(602_000));
    let actions = call.actions();
    assert!(
        matches!(&actions[..], [Action::PauseForgotten { source, .. }] if source == "request of agent eve")
    );
    call.gate.handle_timeout(at(902_000));
    assert!(matches!(&call.actions()[..], [Action::Resume { .. }]));
    assert!(call.is_taken(902_000) && !call.is_taken(901_999));
}

#[test]
fn nobody_stops_what_is_always_recorded() {
    let mut call = Call::new(Rules::default());
    let reply = call.ask(Ask::Stop, Role::Supervisor, 2_000);
    assert_eq!((reply.done, reply.refused), (0, 1));
    assert!(call.is_taken(3_000));
    assert_eq!(
        call.gate.handle_request(
            &Request {
                whom: Whom::Extension("2999".into()),
                ask: Ask::Stop,
                role: Role::Agent,
                name: "ann".into()
            },
            at(2_000),
        ),
        Reply::default()
    );
}

#[test]
fn a_call_that_turns_out_to_be_internal_is_left_out_whatever_is_included() {
    let include = vec![rule(RuleType::Endpoint, "2000")];
    let mut call = Call::new(Rules { include, exclude_internal: true, ..Rules::default() });
    call.fact(Fact::Direction(Direction::Internal), 2_000);
    assert!(!call.is_taken(2_000));
    let (actions, outcome, ..) = call.end();
    assert!(matches!(&actions[..], [Action::Start(_), Action::Discard(..)]), "{actions:?}");
    assert_eq!(outcome, Outcome::InternalExcluded);
}

#[test]
fn what_was_stopped_is_no_pause_and_a_forgotten_one_is_so_by_the_limit_of_the_rules() {
    let pauses = PauseLimits { forgotten_ms: Some(120_000), ..PauseLimits::default() };
    let mut call = Call::new(Rules { pauses, ..in_mode(Mode::AlwaysWithStop) });
    let state = |call: &Call| {
        let (recording, _) = call.gate.recordings(call.facts.leg).next().expect("it runs");
        call.gate.state_of(recording).expect("it runs")
    };
    let flags = |call: &Call| {
        let state = state(call);
        (state.left_out_since.is_some(), state.is_stopped, state.pause_forgotten)
    };
    assert_eq!(flags(&call), (false, false, false));
    call.ask(Ask::Stop, Role::Supervisor, 2_000);
    call.gate.handle_timeout(at(800_000));
    assert_eq!(flags(&call), (true, true, false));
    assert!(state(&call).machine.offers(Ask::Start, Role::Supervisor));
    assert!(!state(&call).machine.offers(Ask::Keep, Role::Supervisor));
    call.ask(Ask::Start, Role::Supervisor, 801_000);
    call.ask(Ask::Pause, Role::Supervisor, 802_000);
    call.gate.handle_timeout(at(921_999));
    assert_eq!(flags(&call), (true, false, false));
    call.gate.handle_timeout(at(922_000));
    assert_eq!(flags(&call), (true, false, true));
    call.ask(Ask::Stop, Role::Supervisor, 923_000);
    assert_eq!(flags(&call), (true, true, false), "nothing would be recorded if it went on");
    call.ask(Ask::Start, Role::Supervisor, 924_000);
    call.ask(Ask::Resume, Role::Supervisor, 925_000);
    assert_eq!(flags(&call), (false, false, false));
}

#[test]
fn what_runs_unrecorded_is_told_as_long_as_it_is_and_with_why() {
    let extensions =
        |gate: &Gate| -> Vec<String> { gate.unrecorded().map(|plan| plan.facts.extension.clone()).collect() };
    let mut call = Call::new(in_mode(Mode::OnDemand));
    assert_eq!(extensions(&call.gate), ["2000"]);
    assert_eq!(call.gate.speaking_unrecorded().collect::<Vec<_>>(), ["2000"]);
    let key = call.gate.unrecorded().next().map(|plan| plan.recording).expect("it runs");
    let has_no_channel = |gate: &Gate| gate.state_of(key).is_some_and(|state| state.has_no_channel);
    assert!(!has_no_channel(&call.gate));
    call.ask(Ask::Start, Role::Supervisor, 2_000);
    assert_eq!(extensions(&call.gate), [""; 0]);
    // Stopped, it is one that is recorded.
    call.ask(Ask::Stop, Role::Supervisor, 3_000);
    assert_eq!((extensions(&call.gate), call.gate.speaking_unrecorded().count()), (vec![], 0));
    let full = Call::new(Rules { channels: Some(0), ..Rules::default() });
    assert!(extensions(&full.gate) == ["2000"] && has_no_channel(&full.gate));
    // What rules exclude is nobody's to start, but somebody speaks.
    let excluded = Call::new(Rules { exclude: vec![rule(RuleType::Endpoint, "2000")], ..Rules::default() });
    assert_eq!(extensions(&excluded.gate), [""; 0]);
    assert_eq!(excluded.gate.speaking_unrecorded().collect::<Vec<_>>(), ["2000"]);
}

#[test]
fn the_trace_says_how_an_order_ended() {
    let mut call = Call::new(in_mode(Mode::AlwaysWithStop));
    let whose = Whose::Extension("2000".into());
    let order =
        |name: &str| Order { what: Lasting::Stop, role: Role::Supervisor, name: name.into(), at: at(1_500) };
    call.gate.handle_order(whose.clone(), order("eve"), at(1_500)).expect("room");
    call.gate.handle_order(whose.clone(), order("bob"), at(2_000)).expect("its own place");
    assert!(call.gate.handle_withdrawal(&whose, "cas", at(3_000)));
    assert_eq!(call.gate.stands_at(&whose), ("2000".to_owned(), None));
    let (_, _, _, why) = call.end();
    let told: Vec<&str> = why
        .iter()
        .filter(|step| step.rule == "standing order" && step.verdict.starts_with("ended"))
        .map(|step| step.verdict.as_str())
        .collect();
    assert_eq!(told, ["ended: another one takes its place", "ended: withdrawn by cas"]);
}
