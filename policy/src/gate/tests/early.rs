//! What is asked and keyed before a call's audio begins.

use decode::rtp::dtmf::Digit;

use super::changes::{Call, at, in_mode};
use super::*;
use crate::modes::{Ask, Mode, Role};
use crate::pause::codes::{CodeProfile, Codes};
use crate::testing::legs;
use crate::{Request, Whom};

fn ask(gate: &mut Gate, whom: Whom, ask: Ask, ms: i64) -> Reply {
    gate.handle_request(&Request { whom, ask, role: Role::Agent, name: "ann".into() }, at(ms))
}

/// A call of extension 2000 that rings.
fn ringing(rules: Rules) -> (Gate, LegFacts) {
    let mut gate = Gate::new(rules);
    let facts = facts("2000", "01632960001");
    gate.handle_event(&Event::LegStarted(&facts));
    (gate, facts)
}

#[test]
fn a_pause_that_is_asked_for_before_the_first_audio_holds_the_recording_from_its_beginning() {
    let of =
        |facts: &LegFacts| [Whom::Extension("2000".into()), Whom::Leg(facts.leg), Whom::Call(facts.call)];
    for n in 0..3 {
        let (mut gate, facts) = ringing(Rules::default());
        let [whom, ..] = {
            let mut all = of(&facts);
            all.rotate_left(n);
            all
        };
        assert_eq!(ask(&mut gate, whom.clone(), Ask::Pause, 500).done, 1, "{whom:?}");
        assert_eq!(ask(&mut gate, whom.clone(), Ask::Pause, 600).already, 1);
        gate.handle_event(&Event::AudioStarted(&facts));
        let mut call = Call { gate, facts };
        assert!(!call.is_taken(1_000) && !call.is_taken(3_000), "{whom:?}");
        assert_eq!(ask(&mut call.gate, whom.clone(), Ask::Resume, 4_000).done, 1);
        assert!(call.is_taken(4_500), "{whom:?}");
        assert_eq!(call.end().1, Outcome::Recorded);
    }
}

#[test]
fn a_pause_that_was_taken_back_before_the_first_audio_holds_nothing() {
    let (mut gate, facts) = ringing(Rules::default());
    let whom = Whom::Extension("2000".into());
    ask(&mut gate, whom.clone(), Ask::Pause, 500);
    assert_eq!(ask(&mut gate, whom, Ask::Resume, 600).done, 1);
    // Somebody else's extension.
    assert_eq!(ask(&mut gate, Whom::Extension("2001".into()), Ask::Pause, 700), Reply::default());
    gate.handle_event(&Event::AudioStarted(&facts));
    assert!(Call { gate, facts }.is_taken(1_500));
}

#[test]
fn a_digit_that_was_keyed_in_a_pause_before_the_first_audio_is_in_no_recording() {
    let digit = |digit: char, ms: i64| Digit { at: at(ms), digit, duration_ms: 80 };
    for resumed_ms in [None, Some(400)] {
        let (mut gate, facts) = ringing(Rules::default());
        let whom = Whom::Extension("2000".into());
        let key = |gate: &mut Gate, c: char, ms: i64| {
            gate.handle_event(&Event::Digit { leg: facts.leg, side: Side::Caller, digit: digit(c, ms) });
        };
        key(&mut gate, '1', 100);
        ask(&mut gate, whom.clone(), Ask::Pause, 200);
        key(&mut gate, '4', 300);
        // Named otherwise it is the same pause.
        let by_leg = Whom::Leg(facts.leg);
        assert_eq!(ask(&mut gate, by_leg.clone(), Ask::Pause, 310).already, 1);
        if let Some(ms) = resumed_ms {
            assert_eq!(ask(&mut gate, by_leg, Ask::Resume, ms).done, 1);
            key(&mut gate, '7', 500);
        }
        gate.handle_event(&Event::AudioStarted(&facts));
        let mut call = Call { gate, facts: facts.clone() };
        assert_eq!(call.is_taken(1_500), resumed_ms.is_some());
        let told: String = std::iter::from_fn(|| call.gate.poll_action())
            .filter_map(|action| match action {
                Action::Keyed { digit, .. } => Some(digit.digit),
                _ => None,
            })
            .collect();
        assert!(!told.contains('4'), "{resumed_ms:?}: {told}");
    }
}

#[test]
fn a_pause_that_was_granted_before_the_first_audio_holds_what_is_started_later() {
    let (mut gate, facts) = ringing(in_mode(Mode::OnDemand));
    let whom = Whom::Extension("2000".into());
    assert_eq!(ask(&mut gate, whom.clone(), Ask::Pause, 500).done, 1);
    gate.handle_event(&Event::AudioStarted(&facts));
    assert_eq!(ask(&mut gate, whom.clone(), Ask::Start, 1_500).done, 1);
    let mut call = Call { gate, facts };
    assert!(!call.is_taken(2_000));
    assert_eq!(ask(&mut call.gate, whom, Ask::Resume, 3_000).done, 1);
    assert!(call.is_taken(3_500));
}

#[test]
fn both_recordings_of_a_leg_begin_paused_and_a_leg_that_rings_on_stays_apart() {
    let mut gate = Gate::new(Rules::default());
    let mut both = legs(&[("2000", "2001"), ("2002", "01632960001")]);
    both.iter_mut()
        .flat_map(|leg| &mut leg.parties)
        .for_each(|party| party.registered = party.number.starts_with('2'));
    for leg in &both {
        gate.handle_event(&Event::LegStarted(leg));
    }
    assert_eq!(ask(&mut gate, Whom::Extension("2001".into()), Ask::Pause, 500).done, 1);
    for leg in &both {
        gate.handle_event(&Event::AudioStarted(leg));
    }
    let paused: Vec<bool> = both
        .iter()
        .flat_map(|leg| gate.recordings(leg.leg).collect::<Vec<_>>())
        .map(|(recording, _)| gate.state_of(recording).is_some_and(|state| state.left_out_since.is_some()))
        .collect();
    assert_eq!(paused, [true, true, false]);
}

#[test]
fn a_code_that_is_keyed_before_the_first_audio_counts_and_goes_with_its_leg() {
    let profile = CodeProfile { name: "card".into(), pause: "*12".into(), resume: "*#".into() };
    let rules = Rules { codes: Codes::new(vec![profile], 3_000).expect("codes"), ..Rules::default() };
    let (mut gate, facts) = ringing(rules);
    let key = |gate: &mut Gate, digits: &str, ms: i64| {
        for (digit, n) in digits.chars().zip(0..) {
            let digit = Digit { at: at(ms + 100 * n), digit, duration_ms: 80 };
            gate.handle_event(&Event::Digit { leg: facts.leg, side: Side::Caller, digit });
        }
    };
    key(&mut gate, &"7".repeat(100), -10_000);
    key(&mut gate, "*12", 500);
    gate.handle_event(&Event::AudioStarted(&facts));
    assert_eq!(
        gate.recordings(facts.leg)
            .filter(|(recording, _)| gate
                .state_of(*recording)
                .is_some_and(|state| state.left_out_since.is_some()))
            .count(),
        1
    );
    key(&mut gate, "*#", 5_000);
    let mut call = Call { gate, facts: facts.clone() };
    assert!(!call.is_taken(2_000) && call.is_taken(6_000));
    let (mut gate, facts) = ringing(Rules::default());
    gate.handle_event(&Event::Digit {
        leg: facts.leg,
        side: Side::Caller,
        digit: Digit { at: at(500), digit: '1', duration_ms: 80 },
    });
    ask(&mut gate, Whom::Leg(facts.leg), Ask::Pause, 600);
    end(&mut gate, facts);
    assert!(gate.early_asks.is_empty());
}
