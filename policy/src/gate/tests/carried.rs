//! What a gate that starts anew in the middle of calls carries on with.

use super::changes::{Call, at, in_mode};
use super::*;
use crate::feed::{Report, Word};
use crate::modes::orders::{self, Lasting, Order};
use crate::modes::{Ask, Mode, Role};
use crate::{Request, Whom};

fn ask(call: &mut Call, ask: Ask, ms: i64) {
    let whom = Whom::Extension("2000".into());
    let request = Request { whom, ask, role: Role::Supervisor, name: "eve".into() };
    assert_eq!(call.gate.handle_request(&request, at(ms)).done, 1);
}

/// What is given to the next gate, by way of its document.
fn carried(gate: &mut Gate) -> Carried {
    let carried = gate.poll_carried().expect("it has changed");
    let text = serde_json::to_string(&carried).expect("JSON");
    assert!(!text.contains("0163"), "no number but the extension's: {text}");
    serde_json::from_str(&text).expect("what was written")
}

/// The next gate, with the call that ran already.
fn next(rules: Rules, carried: Carried, ms: i64) -> Call {
    let mut gate = Gate::new(rules);
    gate.carry_on(carried, at(ms));
    let mut facts = facts("2000", "01632960001");
    (facts.started, facts.answered, facts.joined_late) = (at(ms), Some(at(ms)), true);
    facts.first_audio = Some(at(ms));
    gate.handle_event(&Event::LegStarted(&facts));
    gate.handle_event(&Event::AudioStarted(&facts));
    Call { gate, facts }
}

#[test]
fn a_call_that_was_paused_begins_paused_until_its_source_lets_go() {
    let mut call = Call::new(Rules::default());
    ask(&mut call, Ask::Pause, 2_000);
    let given = carried(&mut call.gate);
    assert_eq!(call.gate.poll_carried(), None, "nothing has changed");
    let mut after = next(Rules::default(), given, 10_000);
    assert!(!after.is_taken(10_100));
    assert!(!after.is_taken(9_990), "a packet from before its first message that is told of only now");
    assert_eq!(after.gate.poll_carried(), None, "a recorder that ends once more carries the same pause on");
    ask(&mut after, Ask::Resume, 12_000);
    assert!(after.is_taken(12_100));
    assert_eq!(carried(&mut after.gate), Carried::default());
    let (.., why) = after.end();
    let told: Vec<String> = why.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|step| step.contains("before the recorder was started anew")), "{told:?}");
    // One that is over when it ends is none.
    let ended = end(&mut call.gate, call.facts);
    assert!(!ended.is_empty());
    assert_eq!(carried(&mut call.gate), Carried::default());
}

#[test]
fn a_pause_that_may_end_by_itself_ends_by_its_own_beginning() {
    let pauses = PauseLimits { resume_ms: Some(60_000), forgotten_ms: Some(30_000) };
    let rules = || Rules { pauses, ..Rules::default() };
    let mut call = Call::new(rules());
    ask(&mut call, Ask::Pause, 2_000);
    let mut after = next(rules(), carried(&mut call.gate), 50_000);
    after.gate.handle_timeout(at(61_999));
    let forgotten = std::iter::from_fn(|| after.gate.poll_action());
    assert!(forgotten.into_iter().any(|action| matches!(action, Action::PauseForgotten { .. })));
    assert!(!after.is_taken(61_999));
    after.gate.handle_timeout(at(62_000));
    assert!(after.is_taken(62_100));
}

#[test]
fn another_call_of_the_extension_is_not_held_and_one_without_signalling_is_if_it_is_heard_at_once() {
    let mut call = Call::new(Rules::default());
    ask(&mut call, Ask::Pause, 2_000);
    let given = carried(&mut call.gate);
    let within = |ms: i64, change: fn(&mut LegFacts)| {
        let mut gate = Gate::new(Rules::default());
        gate.carry_on(given.clone(), at(10_000));
        let mut facts = facts("2000", "01632960001");
        change(&mut facts);
        facts.first_audio = Some(at(ms));
        gate.handle_event(&Event::LegStarted(&facts));
        gate.handle_event(&Event::AudioStarted(&facts));
        Call { gate, facts }
    };
    let other = |facts: &mut LegFacts| facts.sip_call_id = "other".into();
    assert!(within(10_500, other).is_taken(10_600));
    let stream = |facts: &mut LegFacts| {
        facts.sip_call_id.clear();
        facts.parties[0].registered = true;
    };
    assert!(!within(10_500, stream).is_taken(10_600));
    assert!(within(500_000, stream).is_taken(500_100), "another call by then");
    // The other way round, its signalling is seen only now: in the middle of it, not in a new call's INVITE.
    let mut given_without = given.clone();
    given_without.pauses.iter_mut().for_each(|pause| pause.sip_call_id.clear());
    for joined_late in [true, false] {
        let mut gate = Gate::new(Rules::default());
        gate.carry_on(given_without.clone(), at(10_000));
        let mut facts = facts("2000", "01632960001");
        (facts.joined_late, facts.first_audio) = (joined_late, Some(at(10_500)));
        gate.handle_event(&Event::LegStarted(&facts));
        gate.handle_event(&Event::AudioStarted(&facts));
        assert_eq!(Call { gate, facts }.is_taken(10_600), !joined_late);
    }
    // Of the call that was paused nothing more is heard: a day later nothing is known of it.
    let mut idle = within(10_500, other);
    assert_eq!(idle.gate.poll_carried(), None, "it waits");
    idle.gate.carry_on(given.clone(), at(2_000 + CARRIED_MS_MAX));
    assert_eq!(idle.gate.poll_carried(), Some(Carried::default()));
}

#[test]
fn orders_and_who_is_logged_on_stand_until_somebody_ends_them() {
    let mut gate = Gate::new(in_mode(Mode::OnDemand));
    let word = Word::LogOn { agent: "1021".into(), extension: "2000".into() };
    gate.handle_report(Report { at: at(900), who: "pbx".into(), word }, at(900));
    let order = Order { what: Lasting::Start, role: Role::Supervisor, name: "eve".into(), at: at(950) };
    let whose = orders::Whose::Agent("1021".into());
    gate.handle_order(whose.clone(), order, at(950)).expect("room");
    let given = carried(&mut gate);
    let mut after = next(in_mode(Mode::OnDemand), given.clone(), 10_000);
    assert!(after.is_taken(10_100), "the agent's calls are started");
    let word = Word::LogOff { agent: Some("1021".into()), extension: None };
    after.gate.handle_report(Report { at: at(11_000), who: "pbx".into(), word }, at(11_000));
    assert!(!after.is_taken(11_100));
    assert_eq!(carried(&mut after.gate), Carried::default());
    // A shift that began more than a day ago is over, and the agent's order with it.
    let late = next(in_mode(Mode::OnDemand), given, 950 + CARRIED_MS_MAX);
    assert_eq!(late.gate.orders().iter().count(), 0);
}

#[test]
fn an_order_to_pause_holds_what_was_said_before_a_calls_first_message() {
    let mut gate = Gate::new(Rules::default());
    let order = Order { what: Lasting::Pause, role: Role::Supervisor, name: "eve".into(), at: at(9_500) };
    gate.handle_order(orders::Whose::Extension("2000".into()), order, at(9_500)).expect("room");
    let mut after = next(Rules::default(), carried(&mut gate), 10_000);
    assert!(!after.is_taken(10_100));
    assert!(!after.is_taken(9_990));
    assert!(after.is_taken(9_400), "it was not given yet");
}

#[test]
fn a_desk_holds_until_its_client_reports_anew() {
    let windows = vec![crate::pause::windows::WindowRule::prefix("card", true).expect("a rule")];
    let rules = || Rules { windows: windows.clone(), ..Rules::default() };
    let mut call = Call::new(rules());
    call.gate.handle_windows("till", "2000", &["Card payment of Ann"], at(2_000)).expect("room");
    let given = carried(&mut call.gate);
    assert!(!serde_json::to_string(&given).expect("JSON").contains("Ann"), "what is shown is not kept");
    let mut after = next(rules(), given, 10_000);
    assert!(!after.is_taken(10_100));
    assert!(!after.is_taken(9_990), "a packet from before its first message that is told of only now");
    after.gate.handle_windows("till", "2000", &["Mail"], at(11_000)).expect("room");
    assert!(after.is_taken(11_100));
}

#[test]
fn a_pause_that_was_asked_for_while_it_rang_is_carried_too() {
    let mut gate = Gate::new(Rules::default());
    let facts = facts("2000", "01632960001");
    gate.handle_event(&Event::LegStarted(&facts));
    let mut call = Call { gate, facts };
    ask(&mut call, Ask::Pause, 1_500);
    let given = carried(&mut call.gate);
    assert_eq!(given.pauses.len(), 1);
    assert!(!next(Rules::default(), given, 10_000).is_taken(10_100));
}
