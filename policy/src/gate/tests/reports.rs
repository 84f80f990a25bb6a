//! Reports of other systems: before, during and after the call that they are about.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::changes::{Call, at};
use super::*;
use crate::feed::{Report, Whose, Word};
use crate::modes::orders::{Lasting, Order};
use crate::modes::{Ask, Mode, Role, orders};
use crate::rules::{Fact, ListRule, RuleType};
use crate::{Late, Request, Told, Whom};

fn of_extension(fact: Fact, ms: i64) -> Report {
    let word = Word::Facts(Whose::Extension("2000".into()), vec![fact]);
    Report { at: at(ms), who: "pbx".into(), word }
}

fn of_call(call_id: &str, fact: Fact) -> Report {
    let whose = Whose::CallId { call_id: call_id.into(), extension: None };
    Report { at: at(1_000), who: "pbx".into(), word: Word::Facts(whose, vec![fact]) }
}

fn log(agent: &str, on: bool) -> Report {
    let (agent, extension) = (agent.to_owned(), "2000".to_owned());
    let word = match on {
        true => Word::LogOn { agent, extension },
        false => Word::LogOff { agent: Some(agent), extension: None },
    };
    Report { at: at(900), who: "pbx".into(), word }
}

fn excluding(kind: RuleType, value: &str) -> Rules {
    Rules { exclude: vec![ListRule::new(kind, value, "").expect("a rule")], ..Rules::default() }
}

fn account(code: &str) -> Fact {
    Fact::AccountCode(code.into())
}

fn actions(gate: &mut Gate) -> Vec<Action> {
    std::iter::from_fn(|| gate.poll_action()).collect()
}

#[test]
fn a_report_that_comes_before_its_call_is_there_for_the_judgement() {
    for report in [of_extension(account("77"), 900), of_call("1", account("77"))] {
        let mut gate = Gate::new(excluding(RuleType::AccountCode, "77"));
        let told = gate.handle_report(report, at(900));
        assert_eq!(told, Told { waits: true, ..Told::default() });
        let (actions, outcome, reason, why) = Call::within(gate).end();
        assert_eq!((actions, outcome), (vec![], Outcome::Excluded), "{reason}");
        assert!(
            why.iter()
                .any(|step| step.to_string().ends_with("fact [account code 77]: pbx says so: known before"))
        );
    }
}

#[test]
fn a_report_during_the_call_is_told_to_the_recording_and_destroys_what_it_excludes() {
    let mut call = Call::new(excluding(RuleType::AccountCode, "77"));
    assert!(matches!(actions(&mut call.gate)[..], [Action::Start(_)]));
    let told = call.gate.handle_report(of_extension(account("78"), 2_000), at(2_000));
    assert_eq!((told.running, told.over, told.waits), (1, 0, false));
    let known = actions(&mut call.gate);
    let [Action::Known { facts, .. }] = &known[..] else { panic!("{known:?}") };
    assert_eq!(facts.account_code.as_deref(), Some("78"));
    call.gate.handle_report(of_call("1", account("77")), at(3_000));
    assert!(matches!(actions(&mut call.gate)[..], [Action::Discard(..)]));
    let (_, outcome, _, why) = call.end();
    assert_eq!(outcome, Outcome::Excluded);
    assert!(
        why.iter().any(|step| step.to_string().ends_with("[account code 77]: pbx says so: judged again"))
    );
}

#[test]
fn a_call_record_destroys_the_call_that_it_is_about_and_not_the_one_that_waits_behind_it() {
    let mut gate = Gate::new(excluding(RuleType::AccountCode, "77"));
    let legs = crate::testing::legs(&[("01632960001", "2000"), ("01632960002", "2000")]);
    for leg in &legs {
        gate.handle_event(&Event::LegStarted(leg));
        gate.handle_event(&Event::AudioStarted(leg));
    }
    drop(actions(&mut gate));
    let zone = jiff::tz::TimeZone::UTC;
    let record = crate::smdr::Record {
        at: "1970-01-01T00:00:02".parse().expect("a time"),
        is_inbound: true,
        call: "41".into(),
        trunk: String::new(),
        endpoint: "2000".into(),
        source: String::new(),
        caller: "1632960001".into(),
        contact: String::new(),
        ddi: String::new(),
        dnis: String::new(),
        account_code: "77".into(),
        event: crate::smdr::SmdrEvent::Modified,
    };
    let report = record.report(crate::smdr::PADDING, &zone, at(2_000)).expect("a report");
    assert_eq!(gate.handle_report(report, at(2_000)).running, 1);
    let destroyed = actions(&mut gate).into_iter().filter_map(|action| match action {
        Action::Discard(recording, _) => Some(recording.leg()),
        _ => None,
    });
    assert_eq!(destroyed.collect::<Vec<_>>(), [legs[0].leg]);
}

#[test]
fn of_each_fact_of_a_running_recording_it_is_known_who_has_said_it_last() {
    let mut gate = Gate::new(Rules::default());
    gate.handle_report(log("1021", true), at(900));
    gate.handle_report(of_extension(account("77"), 900), at(900));
    let mut call = Call::within(gate);
    let Some(Action::Start(plan)) = call.gate.poll_action() else { panic!("it is recorded") };
    let told =
        |gate: &Gate| -> Vec<(&'static str, String)> { gate.told_by(plan.recording).into_iter().collect() };
    let by = |who: &str, facts: &[&'static str]| {
        facts.iter().map(|&fact| (fact, who.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(told(&call.gate), by("pbx", &["account_code", "agent"]));
    let report = Report { who: "crm".into(), ..of_call("1", account("78")) };
    call.gate.handle_report(report, at(2_000));
    assert_eq!(told(&call.gate), [by("crm", &["account_code"]), by("pbx", &["agent"])].concat());
}

#[test]
fn a_number_that_signalling_tells_later_is_judged() {
    let rule = |kind, value| vec![ListRule::new(kind, value, "").expect("a rule")];
    let rules = || Rules {
        include: rule(RuleType::OutsideNumber, "01632%"),
        exclude: rule(RuleType::Endpoint, "2000"),
        ..Rules::default()
    };
    let identify = |gate: &mut Gate, facts: &LegFacts, side, number: &str| {
        let (number, name) = (number.to_owned(), "Ann Bee".to_owned());
        gate.handle_event(&Event::Identified { facts, side, at: at(3_000), number, name });
        actions(gate)
    };
    let facts = facts("anonymous", "2000");
    let begun = || {
        let mut gate = Gate::new(rules());
        gate.handle_event(&Event::LegStarted(&facts));
        gate
    };
    let mut gate = begun();
    gate.handle_event(&Event::AudioStarted(&facts));
    assert_eq!(actions(&mut gate), [], "nobody is known");
    // The extension's own number outside, and somebody of the site, are not who is spoken with outside.
    assert_eq!(identify(&mut gate, &facts, Side::Callee, "01632960500"), []);
    assert_eq!(identify(&mut gate, &facts, Side::Caller, "2003"), []);
    let started = identify(&mut gate, &facts, Side::Caller, "01632960001");
    let [Action::Start(_), Action::Known { facts: known, .. }] = &started[..] else { panic!("{started:?}") };
    assert_eq!(known.other_party_name.as_deref(), Some("Ann Bee"));
    // The same number as the network writes it: a rule asks for the form that is known.
    assert_eq!(identify(&mut gate, &facts, Side::Caller, "+441632960001"), []);
    assert!(matches!(identify(&mut gate, &facts, Side::Caller, "02079460018")[0], Action::Discard(..)));
    // While it rings: it is there for the judgement.
    let mut gate = begun();
    assert_eq!(identify(&mut gate, &facts, Side::Caller, "01632960001"), []);
    gate.handle_event(&Event::AudioStarted(&facts));
    let started = actions(&mut gate);
    let [Action::Start(plan)] = &started[..] else { panic!("{started:?}") };
    assert_eq!(plan.facts.other_party_name.as_deref(), Some("Ann Bee"));
}

#[test]
fn an_internal_call_that_is_passed_to_somebody_outside_is_none_any_more() {
    let mut gate = Gate::new(Rules { exclude_internal: true, ..Rules::default() });
    let facts = facts("2001", "2000");
    gate.handle_event(&Event::LegStarted(&facts));
    gate.handle_event(&Event::AudioStarted(&facts));
    assert_eq!(actions(&mut gate), []);
    let (number, name) = ("01632960001".to_owned(), String::new());
    // Of the two the caller is taken for the extension.
    gate.handle_event(&Event::Identified { facts: &facts, side: Side::Callee, at: at(3_000), number, name });
    let started = actions(&mut gate);
    let [Action::Start(plan)] = &started[..] else { panic!("{started:?}") };
    assert_eq!((plan.facts.direction, plan.started), (Direction::Outbound, at(3_000)));
    assert_eq!(plan.facts.outside_number.as_deref(), Some("01632960001"));
}

#[test]
fn a_report_after_the_call_is_handed_on_with_the_call_that_is_meant() {
    let mut call = Call::new(Rules::default());
    call.facts.ended = Some(at(9_000));
    let ended = end(&mut call.gate, call.facts.clone());
    assert!(matches!(&ended[..], [Action::Start(_), Action::Finish { .. }, Action::Account { .. }]));
    for report in [of_extension(account("77"), 5_000), of_call("1", account("77"))] {
        let told = call.gate.handle_report(report.clone(), at(20_000));
        assert_eq!((told.running, told.over), (0, 1));
        let of_extension = matches!(&report.word, Word::Facts(Whose::Extension(_), _));
        let late = Late { report, calls: vec![(call.facts.call, of_extension.then(|| "2000".into()))] };
        assert_eq!(actions(&mut call.gate), [Action::Late(Box::new(late))]);
    }
    // About a call that was never seen: it waits, and is handed on when its time is over.
    let unknown = of_call("nonesuch", account("77"));
    assert!(call.gate.handle_report(unknown.clone(), at(20_000)).waits);
    assert_eq!(actions(&mut call.gate), []);
    call.gate.handle_timeout(at(31_001));
    assert_eq!(actions(&mut call.gate), [Action::Late(Box::new(Late { report: unknown, calls: vec![] }))]);
}

#[test]
fn an_agent_stays_logged_on_over_calls_and_log_off_ends_the_agents_orders() {
    let entry = crate::RecordedDevice {
        mode: Mode::OnDemand,
        ..crate::RecordedDevice::new("2000".parse().expect("a pattern"))
    };
    let mut gate = Gate::new(Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() });
    gate.handle_report(log("1021", true), at(900));
    let order = Order { what: Lasting::Start, role: Role::Supervisor, name: "eve".into(), at: at(0) };
    gate.handle_order(orders::Whose::Agent("1021".into()), order, at(950)).expect("room");
    let mut first = Call::within(gate);
    assert!(first.is_taken(1_500), "the order holds for the agent's calls");
    let ended = end(&mut first.gate, first.facts);
    let finish = ended.iter().find_map(|action| match action {
        Action::Finish { closing, .. } => closing.facts.agent.clone(),
        _ => None,
    });
    assert_eq!(finish.as_deref(), Some("1021"));
    let mut second = Call::within(first.gate);
    assert!(second.is_taken(1_500));
    second.gate.handle_report(log("1021", false), at(2_000));
    assert!(!second.is_taken(2_000) && second.is_taken(1_999));
    assert_eq!(second.gate.orders().iter().count(), 0);
    let ended = end(&mut second.gate, second.facts);
    assert!(
        ended.iter().any(|action| matches!(action,
        Action::Finish { closing, .. } if closing.facts.agent.as_deref() == Some("1021"))),
        "it was that agent's call"
    );
    let mut third = Call::within(second.gate);
    assert!(!third.is_taken(1_500), "nobody is logged on");
    // Somebody else at the same extension ends the orders of who was there.
    third.gate.handle_report(log("1021", true), at(3_000));
    let order = Order { what: Lasting::Start, role: Role::Supervisor, name: "eve".into(), at: at(0) };
    third.gate.handle_order(orders::Whose::Agent("1021".into()), order, at(3_100)).expect("room");
    // A log-off from where the agent is not changes nothing.
    let elsewhere = Word::LogOff { agent: Some("1021".into()), extension: Some("2009".into()) };
    third.gate.handle_report(Report { word: elsewhere, ..log("1021", false) }, at(3_150));
    assert_eq!(third.gate.orders().iter().count(), 1);
    third.gate.handle_report(log("1022", true), at(3_200));
    assert_eq!(third.gate.orders().iter().count(), 0);
}

#[test]
fn what_is_said_of_a_call_holds_for_its_legs_that_come_later() {
    let mut gate = Gate::new(excluding(RuleType::AccountCode, "77"));
    let legs = crate::testing::legs(&[("2000", "01632960001"), ("2001", "01632960001")]);
    let [first, mut second]: [LegFacts; 2] = legs.try_into().expect("two legs");
    gate.handle_event(&Event::LegStarted(&first));
    gate.handle_event(&Event::AudioStarted(&first));
    gate.handle_report(of_call("1", account("77")), at(2_000));
    gate.handle_event(&Event::LegStarted(&second));
    second.call = first.call;
    gate.handle_event(&Event::Tied(&second));
    gate.handle_event(&Event::AudioStarted(&second));
    let all = actions(&mut gate);
    assert!(matches!(&all[..], [Action::Start(_), Action::Discard(..)]), "{all:?}");
    // Tied after its audio began: the same.
    let mut gate = Gate::new(excluding(RuleType::AccountCode, "77"));
    second.call = CallId::new(at(1_000), &[b"another"]);
    for leg in [&first, &second] {
        gate.handle_event(&Event::LegStarted(leg));
        gate.handle_event(&Event::AudioStarted(leg));
    }
    gate.handle_report(of_call("1", account("77")), at(2_000));
    second.call = first.call;
    gate.handle_event(&Event::Tied(&second));
    let discarded = actions(&mut gate).iter().filter(|action| matches!(action, Action::Discard(..))).count();
    assert_eq!(discarded, 2);
}

/// Two calls, each with a leg that runs.
fn two_calls() -> (Gate, [LegFacts; 2]) {
    let legs = crate::testing::legs(&[("2000", "01632960001"), ("2001", "01632960001")]);
    let mut legs: [LegFacts; 2] = legs.try_into().expect("two legs");
    legs[1].call = CallId::new(at(1_000), &[b"another"]);
    let mut gate = Gate::new(Rules::default());
    for leg in &legs {
        gate.handle_event(&Event::LegStarted(leg));
        gate.handle_event(&Event::AudioStarted(leg));
    }
    (gate, legs)
}

/// The account code of each leg's recording.
fn codes(gate: &Gate, legs: &[LegFacts]) -> Vec<Option<String>> {
    let keys = legs.iter().filter_map(|leg| gate.recordings(leg.leg).next());
    keys.map(|(key, _)| gate.facts_of(key).and_then(|facts| facts.account_code.clone())).collect()
}

fn tie(gate: &mut Gate, legs: &mut [LegFacts; 2]) {
    legs[1].call = legs[0].call;
    gate.handle_event(&Event::Tied(&legs[1]));
}

#[test]
fn of_what_was_said_of_two_calls_that_are_one_the_last_word_counts_for_each_leg() {
    for said in [&[(0, "70")][..], &[(1, "77")], &[(0, "70"), (1, "77")], &[(1, "77"), (0, "70")]] {
        let (mut gate, mut legs) = two_calls();
        for &(leg, code) in said {
            let whom = Whom::Call(legs[leg].call);
            gate.handle_fact(&whom, &account(code), at(2_000)).expect("room");
        }
        tie(&mut gate, &mut legs);
        let last = said.last().map(|(_, code)| (*code).to_owned());
        assert_eq!(codes(&gate, &legs), [last.clone(), last], "{said:?}");
    }
}

#[test]
fn what_was_said_of_a_leg_alone_stays_where_it_has_been_so_since_later() {
    // Who says what when, of the second leg alone (0) or of the first one's call (1): what the second leg has in the end.
    let of_leg = |gate: &mut Gate, legs: &[LegFacts; 2], since: i64, code: &str| {
        let whom = Whom::Leg(legs[1].leg);
        gate.learn(&whom, &account(code), "pbx", at(since), at(3_000)).expect("room");
    };
    let of_call = |gate: &mut Gate, legs: &[LegFacts; 2], since: i64, code: &str| {
        let whom = Whom::Call(legs[0].call);
        gate.learn(&whom, &account(code), "pbx", at(since), at(3_000)).expect("room");
    };
    for (own, call, is_own_first, last) in [
        (2_000, 2_500, true, "of the call"),
        (2_000, 2_500, false, "of the call"),
        (2_500, 2_000, true, "of the leg"),
        (2_500, 2_000, false, "of the leg"),
        (2_500, 2_500, true, "of the call"),
        (2_500, 2_500, false, "of the leg"),
    ] {
        let (mut gate, mut legs) = two_calls();
        if is_own_first {
            of_leg(&mut gate, &legs, own, "of the leg");
            of_call(&mut gate, &legs, call, "of the call");
        } else {
            of_call(&mut gate, &legs, call, "of the call");
            of_leg(&mut gate, &legs, own, "of the leg");
        }
        tie(&mut gate, &mut legs);
        assert_eq!(
            codes(&gate, &legs),
            [Some("of the call".into()), Some(last.into())],
            "{own} {call} {is_own_first}"
        );
    }
}

#[test]
fn what_was_said_of_a_call_moves_with_a_leg_also_while_another_leg_of_it_runs() {
    let (mut gate, mut legs) = two_calls();
    let mut third = crate::testing::legs(&[("1", "2"), ("3", "4"), ("2002", "01632960001")]).remove(2);
    third.call = legs[1].call;
    gate.handle_event(&Event::LegStarted(&third));
    gate.handle_fact(&Whom::Call(third.call), &account("77"), at(2_000)).expect("room");
    tie(&mut gate, &mut legs);
    assert_eq!(codes(&gate, &legs), [Some("77".into()), Some("77".into())]);
}

#[test]
fn what_is_said_again_takes_no_room_and_what_finds_none_is_refused() {
    let mut call = Call::new(Rules::default());
    let whom = Whom::Call(call.facts.call);
    for n in 0..100 {
        let of = |n: usize| [Fact::Tag("x".into()), Fact::Untag("x".into())][n % 2].clone();
        assert!(call.gate.handle_fact(&whom, &of(n), at(2_000)).is_ok(), "{n}");
        let direction = Fact::Direction(Direction::Inbound);
        assert!(call.gate.handle_fact(&whom, &direction, at(2_000)).is_ok(), "{n}");
    }
    let all = (0..100).map(|n| Fact::OutsideNumber(n.to_string()));
    let told: Vec<_> = all.map(|fact| call.gate.handle_fact(&whom, &fact, at(3_000))).collect();
    assert_eq!(told.first(), Some(&Ok(1)));
    assert_eq!(told.last(), Some(&Err(crate::rules::FactRefusal::TooEarly)));
}

#[test]
fn an_order_that_ends_leaves_a_call_as_it_would_have_been_without_it() {
    let of = |mode, what, asked: Option<Ask>| {
        let entry =
            crate::RecordedDevice { mode, ..crate::RecordedDevice::new("2000".parse().expect("a pattern")) };
        let rules = Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() };
        let mut call = Call::new(rules);
        let whose = orders::Whose::Extension("2000".into());
        let order = Order { what, role: Role::Supervisor, name: "eve".into(), at: at(0) };
        call.gate.handle_order(whose.clone(), order, at(2_000)).expect("room");
        if let Some(ask) = asked {
            let whom = Whom::Leg(call.facts.leg);
            call.gate
                .handle_request(&Request { whom, ask, role: Role::Agent, name: "ann".into() }, at(3_000));
        }
        call.is_taken(3_500);
        call.gate.handle_withdrawal(&whose, "eve", at(4_000));
        let taken = call.is_taken(4_500);
        (taken, call.end().1)
    };
    // Started by the order, it would be kept; without it nobody asked for that.
    assert_eq!(of(Mode::DiscardByDefault, Lasting::Start, None), (true, Outcome::Excluded));
    assert_eq!(of(Mode::DiscardByDefault, Lasting::Start, Some(Ask::Keep)), (true, Outcome::Recorded));
    assert_eq!(of(Mode::DiscardByDefault, Lasting::Stop, None), (true, Outcome::Excluded));
    assert_eq!(of(Mode::OnDemand, Lasting::Start, None), (false, Outcome::Recorded));
    assert_eq!(of(Mode::OnDemand, Lasting::Start, Some(Ask::Start)), (true, Outcome::Recorded));
    assert_eq!(of(Mode::AlwaysWithStop, Lasting::Stop, None), (true, Outcome::Recorded));
}

/// When a report comes: before the INVITE, before the audio, during the call, with its end, after it.
const MOMENTS: [i64; 5] = [500, 1_200, 5_000, 9_000, 12_000];

fn fact() -> impl Strategy<Value = Fact> {
    let value = prop::sample::select(vec!["77", "2001", "01632960002", "", "Ann"]).prop_map(str::to_owned);
    let kinds: [fn(String) -> Fact; 15] = [
        Fact::AccountCode,
        Fact::Agent,
        Fact::Ddi,
        Fact::OutsideNumber,
        Fact::PaddedDdi,
        Fact::PaddedOutsideNumber,
        Fact::HuntGroup,
        Fact::Trunk,
        Fact::BusinessUnit,
        Fact::Contact,
        Fact::DdiName,
        |value| Fact::Field(crate::CustomField::Tag3, value),
        Fact::TransferredFrom,
        Fact::Tag,
        Fact::Untag,
    ];
    let direction = prop::sample::select(Direction::ALL.to_vec()).prop_map(Fact::Direction);
    prop_oneof![
        4 => (prop::sample::select(kinds.to_vec()), value).prop_map(|(kind, value)| kind(value)),
        1 => direction,
    ]
}

/// A site with a dial plan of its own, and people who have extension and agents.
fn told_rules() -> Rules {
    let plan = crate::DialPlan::default().in_country("GB", "01632").expect("a country");
    let site = crate::Site { dial_plan: Some(plan), ..crate::Site::default() };
    let mut people = crate::People::default();
    people.add_unit("Ann", None).expect("new");
    for (id, kind, number) in [
        ("ann", crate::people::DeviceKind::Extension, "2000"),
        ("bob", crate::people::DeviceKind::Agent, "77"),
        ("cas", crate::people::DeviceKind::Agent, "2001"),
    ] {
        let user = crate::people::User { id: id.into(), ..crate::people::User::default() };
        people.add_user(user).expect("new");
        let device = crate::people::Device { kind, number: number.into() };
        let tenure = crate::people::Tenure::default();
        people.assign(id, crate::people::Assignment { device, primary: false, tenure }).expect("free");
    }
    Rules { site, people, ..Rules::default() }
}

/// What is known of a call in the end, with what came after it.
fn known(reports: &[(Report, usize)]) -> Result<SegmentFacts, TestCaseError> {
    let rules = told_rules();
    let mut gate = Gate::new(rules.clone());
    let mut leg = facts("2000", "01632960001");
    (leg.answered, leg.ended) = (Some(leg.started), Some(at(10_000)));
    let say = |gate: &mut Gate, moment: usize| {
        for (report, _) in reports.iter().filter(|(_, when)| *when == moment) {
            let told = gate.handle_report(report.clone(), at(MOMENTS[moment]));
            assert_eq!(told.refused, None);
        }
    };
    say(&mut gate, 0);
    gate.handle_event(&Event::LegStarted(&leg));
    say(&mut gate, 1);
    gate.handle_event(&Event::AudioStarted(&leg));
    say(&mut gate, 2);
    say(&mut gate, 3);
    let ended = end(&mut gate, leg);
    let closing = ended.into_iter().find_map(|action| match action {
        Action::Finish { closing, .. } => Some(closing),
        _ => None,
    });
    let mut facts = closing.ok_or_else(|| TestCaseError::fail("nothing was recorded"))?.facts;
    say(&mut gate, 4);
    for action in actions(&mut gate) {
        let Action::Late(late) = action else { return Err(TestCaseError::fail("no late report")) };
        let Word::Facts(_, said) = late.report.word else { return Err(TestCaseError::fail("no facts")) };
        for fact in said {
            let _ = facts.take(fact, &rules.site);
            gate.rules.people.tell(&mut facts, at(10_000));
        }
    }
    Ok(facts)
}

#[test]
fn it_makes_no_difference_whether_a_report_comes_before_during_or_after_its_call() {
    let reports =
        prop::collection::vec(((0_u8..3), prop::collection::vec(fact(), 1..4), 0..MOMENTS.len()), 0..6);
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&reports, |mut reports| {
        reports.sort_by_key(|(.., moment)| *moment);
        let all: Vec<(Report, usize)> = reports
            .into_iter()
            .map(|(whose, facts, moment)| {
                let whose = match whose {
                    0 => Whose::Extension("2000".into()),
                    1 => Whose::CallId { call_id: "1".into(), extension: None },
                    _ => Whose::CallId { call_id: "1".into(), extension: Some("2000".into()) },
                };
                (
                    Report {
                        at: at(5_000.min(MOMENTS[moment])),
                        who: "pbx".into(),
                        word: Word::Facts(whose, facts),
                    },
                    moment,
                )
            })
            .collect();
        let during: Vec<(Report, usize)> = all.iter().map(|(report, _)| (report.clone(), 2)).collect();
        prop_assert_eq!(known(&all)?, known(&during)?);
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}
