//! The way through the gate for the SIP messages of a recorded leg.
//!
//! What a leg's audio is kept in, its signalling is kept in too, less what is never kept ([`crate::redact`]). A leg that is not
//! recorded keeps none; what it has said so far waits in memory, without any digits, for a recording that may begin later.

use std::fmt;

use decode::Signal;
use decode::tracker::LegId;

use super::{Action, Gate, Judged, RecordingKey, takes};
use crate::redact::{Digits, Redacted, redact};
use crate::rules::Verdict;

/// A SIP message that may be kept, without what is never kept. Only [`Gate::admit_signal`] makes one.
#[derive(Clone, PartialEq)]
pub struct ClearedSignal<'a> {
    /// When, where and in what it came; its bytes are `bytes` here.
    signal: Signal<'a>,
    bytes: Vec<u8>,
    redacted: Redacted,
}

/// Nothing of what the message says.
impl fmt::Debug for ClearedSignal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClearedSignal({:?})", self.signal())
    }
}

impl<'a> ClearedSignal<'a> {
    fn new(signal: &Signal<'a>, digits: Digits) -> Self {
        let (bytes, redacted) = redact(signal.bytes, digits);
        ClearedSignal { signal: Signal { bytes: &[], ..*signal }, bytes, redacted }
    }

    /// The message as it may be kept.
    #[must_use]
    pub fn signal(&self) -> Signal<'_> {
        Signal { bytes: &self.bytes, ..self.signal }
    }

    /// What was replaced in it.
    #[must_use]
    pub fn redacted(&self) -> Redacted {
        self.redacted
    }

    /// For tests of what stands behind the gate.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test(signal: &Signal<'a>, digits: Digits) -> Self {
        ClearedSignal::new(signal, digits)
    }
}

/// Messages of one leg that wait for a recording, in bytes; later ones are left out, and counted as such.
const WAITING_LEG_MAX: usize = 64 * 1024;
/// The same of all legs.
const WAITING_MAX: usize = 64 * 1024 * 1024;

/// What a leg has said while a recording of it may yet begin.
#[derive(Default)]
pub(super) struct Waiting {
    signals: Vec<ClearedSignal<'static>>,
    bytes: usize,
    /// Messages that there was no room for: a recording that begins late lacks them.
    left_out: u32,
}

impl Gate {
    /// Judges one SIP message of a leg: for each recording that it may go into, the message cleared. Where a recording may yet begin it is
    /// noted for that.
    pub fn admit_signal<'a>(
        &mut self,
        leg: LegId,
        signal: &'a Signal<'a>,
    ) -> impl Iterator<Item = (RecordingKey, ClearedSignal<'a>)> {
        self.note_signal(leg, signal);
        let gate = &*self;
        gate.recordings(leg).map(move |(recording, _)| {
            let mut cleared = ClearedSignal::new(signal, gate.digits_of(recording, signal));
            if gate.part(recording).is_some_and(|part| part.began_late.is_some()) {
                let lacks = gate.judged(leg).map_or(0, |judged| judged.waiting.left_out);
                cleared.signal.left_out = cleared.signal.left_out.saturating_add(lacks);
            }
            (recording, cleared)
        })
    }

    /// Keeps a message for a recording that has not begun. What was keyed before is not for it.
    fn note_signal(&mut self, leg: LegId, signal: &Signal<'_>) {
        let Gate { legs, waiting_bytes, .. } = self;
        let judged = legs.get_mut(leg.slot()).and_then(Option::as_deref_mut);
        let Some(judged) = judged.filter(|judged| judged.leg == leg && may_begin(judged)) else { return };
        let (waiting, len) = (&mut judged.waiting, signal.bytes.len());
        if waiting.bytes + len > WAITING_LEG_MAX || *waiting_bytes + len > WAITING_MAX {
            waiting.left_out = waiting.left_out.saturating_add(1);
            return;
        }
        let left_out = signal.left_out.saturating_add(waiting.left_out);
        let (bytes, redacted) = redact(signal.bytes, Digits::Withheld);
        let Signal { at, flow, carrier, is_repeated, .. } = *signal;
        let signal = Signal { at, flow, carrier, is_repeated, left_out, bytes: &[] };
        waiting.signals.push(ClearedSignal { signal, bytes, redacted });
        waiting.bytes += len;
        *waiting_bytes += len;
    }

    /// A recording begins: it has what its leg has said so far. Its messages to come say how many were left out.
    pub(super) fn tell_signals(&mut self, judged: &mut Judged, recording: RecordingKey) {
        for signal in &judged.waiting.signals {
            self.actions.push_back(Action::Signal { recording, signal: Box::new(signal.clone()) });
        }
        if !may_begin(judged) {
            self.forget_signals(judged);
        }
    }

    /// No recording of the leg can want them any more.
    pub(super) fn forget_signals(&mut self, judged: &mut Judged) {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(judged.waiting.bytes);
        judged.waiting = Waiting { left_out: judged.waiting.left_out, ..Waiting::default() };
    }

    /// Are digits in the signalling kept? They are where a recording keeps those of telephone events: not in a pause, and not
    /// where they may be a key code. A message may tell later than in the pause what was keyed in it: it was under way, it is sent
    /// again, or it reports what was keyed since when it was asked to.
    fn digits_of(&self, recording: RecordingKey, signal: &Signal<'_>) -> Digits {
        let nth = usize::from(recording.nth);
        let found = self.judged(recording.leg).and_then(|judged| {
            let lane = judged.lanes.get(nth)?.as_ref()?;
            Some((lane, judged.parts.get(nth)?, takes(lane, &judged.parts, signal.at)))
        });
        let Some((lane, part, true)) = found.filter(|_| !self.rules.codes.is_any()) else {
            return Digits::Withheld;
        };
        let has_paused = part.has_left_out();
        if !lane.is_open() || part.was_left_out_lately(signal.at) || has_paused && signal.is_repeated {
            return Digits::Withheld;
        }
        if has_paused { Digits::OfInfo } else { Digits::Kept }
    }
}

/// May a recording of the leg begin yet, by what somebody asks or by what becomes known? A device that is not recorded is none by either.
fn may_begin(judged: &Judged) -> bool {
    judged.parts.iter().any(|part| !part.begun && !matches!(part.verdict, Verdict::DeviceNotRecorded { .. }))
}

#[cfg(test)]
mod tests {
    use decode::tracker::Event;
    use decode::{Carrier, Endpoint, Flow, Timestamp};

    use super::*;
    use crate::gate::Whom;
    use crate::pause::PauseSource;
    use crate::rules::Rules;
    use crate::testing::facts;

    const MESSAGE: &[u8] = b"INFO sip:a@b SIP/2.0\r\nAuthorization: Basic c2VjcmV0\r\n\r\n";

    fn signal() -> Signal<'static> {
        let end = |n| Endpoint::v4([192, 0, 2, n], 5060);
        let flow = Flow { src: end(1), dst: end(2) };
        let at = Timestamp::from_millis(7);
        Signal { at, flow, carrier: Carrier::Udp, is_repeated: true, left_out: 3, bytes: MESSAGE }
    }

    #[test]
    fn signalling_of_a_leg_that_no_rule_has_judged_is_not_admitted() {
        let mut gate = Gate::new(Rules::default());
        assert_eq!(gate.admit_signal(facts("2000", "01632960001").leg, &signal()).count(), 0);
    }

    #[test]
    fn signalling_of_an_excluded_call_is_not_admitted() {
        let mut gate = Gate::new(Rules { exclude_internal: true, ..Rules::default() });
        let facts = facts("2000", "2001");
        gate.handle_event(&Event::AudioStarted(&facts));
        assert_eq!(gate.admit_signal(facts.leg, &signal()).count(), 0);
    }

    #[test]
    fn what_is_admitted_is_what_came_less_what_is_never_kept() {
        let mut gate = Gate::new(Rules::default());
        let facts = facts("2000", "01632960001");
        gate.handle_event(&Event::AudioStarted(&facts));
        let given = signal();
        let cleared: Vec<_> = gate.admit_signal(facts.leg, &given).map(|(_, cleared)| cleared).collect();
        let [cleared] = &cleared[..] else { panic!("{cleared:?}") };
        assert_eq!(Signal { bytes: MESSAGE, ..cleared.signal() }, given);
        assert_eq!(cleared.signal().bytes, b"INFO sip:a@b SIP/2.0\r\nAuthorization: Basicxxxxxxxxx\r\n\r\n");
        assert!(cleared.redacted().credentials && !format!("{cleared:?}").contains("INFO"));
    }

    const KEYED: &[u8] = b"INFO sip:a@b SIP/2.0\r\nContent-Type: application/dtmf\r\n\r\n7";
    const REPORT: &[u8] =
        b"NOTIFY sip:a@b SIP/2.0\r\nContent-Type: application/kpml-response+xml\r\n\r\n<kpml-response digits=\"7\"/>";

    #[test]
    fn digits_of_a_pause_are_kept_by_no_message_whenever_it_comes() {
        let mut gate = Gate::new(Rules::default());
        let facts = facts("2000", "01632960001");
        gate.handle_event(&Event::AudioStarted(&facts));
        let pause = |gate: &mut Gate, begins, ms| {
            let source = PauseSource::Request("ann".into());
            gate.handle_pause(&Whom::Leg(facts.leg), &source, begins, Timestamp::from_millis(ms));
        };
        let keeps = |gate: &mut Gate, bytes, ms, is_repeated| {
            let signal = Signal { bytes, at: Timestamp::from_millis(ms), is_repeated, ..signal() };
            let mut cleared = gate.admit_signal(facts.leg, &signal);
            let (_, cleared) = cleared.next().expect("a recording");
            let digits_are_kept = cleared.signal().bytes == bytes;
            assert_eq!(cleared.redacted().digits, !digits_are_kept);
            digits_are_kept
        };
        assert!(keeps(&mut gate, KEYED, 2_000, true) && keeps(&mut gate, REPORT, 2_000, true));
        pause(&mut gate, true, 5_000);
        assert!(
            !keeps(&mut gate, KEYED, 5_000, false) && !keeps(&mut gate, KEYED, 4_999, false),
            "it is paused"
        );
        pause(&mut gate, false, 8_000);
        assert!(keeps(&mut gate, KEYED, 4_999, false) && !keeps(&mut gate, KEYED, 7_000, false));
        assert!(
            !keeps(&mut gate, KEYED, 8_000, false) && !keeps(&mut gate, KEYED, 9_999, false),
            "under way"
        );
        assert!(
            keeps(&mut gate, KEYED, 10_000, false) && !keeps(&mut gate, KEYED, 10_000, true),
            "sent again"
        );
        assert!(!keeps(&mut gate, REPORT, 60_000, false), "a report reaches back");
        // An earlier pause has the same edge.
        pause(&mut gate, true, 20_000);
        pause(&mut gate, false, 21_000);
        assert!(!keeps(&mut gate, KEYED, 9_999, false) && keeps(&mut gate, KEYED, 30_000, false));
    }

    #[test]
    fn a_recording_that_begins_late_has_what_its_leg_has_said_without_digits() {
        let entry = crate::RecordedDevice {
            mode: crate::Mode::OnDemand,
            ..crate::RecordedDevice::new("2000".parse().expect("a pattern"))
        };
        let mut gate =
            Gate::new(Rules { devices: crate::RecordedDevices::new(vec![entry]), ..Rules::default() });
        let facts = facts("2000", "01632960001");
        gate.handle_event(&Event::AudioStarted(&facts));
        for (bytes, ms) in [(MESSAGE, 900), (KEYED, 2_000)] {
            let signal = Signal { bytes, at: Timestamp::from_millis(ms), ..signal() };
            assert_eq!(gate.admit_signal(facts.leg, &signal).count(), 0, "nothing is recorded");
        }
        assert_eq!(gate.poll_action(), None);
        let (whom, ask) = (Whom::Leg(facts.leg), crate::modes::Ask::Start);
        let request = crate::Request { whom, ask, role: crate::modes::Role::Agent, name: "ann".into() };
        gate.handle_request(&request, Timestamp::from_millis(5_000));
        let told: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
        let [Action::Start(_), Action::Signal { signal: first, .. }, Action::Signal { signal: second, .. }] =
            &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!(
            (first.signal().at, second.signal().at),
            (Timestamp::from_millis(900), Timestamp::from_millis(2_000))
        );
        assert!(
            first.signal().bytes.starts_with(b"INFO sip:a@b")
                && !first.signal().bytes.ends_with(b"c2VjcmV0\r\n\r\n")
        );
        assert!(second.redacted().digits && second.signal().bytes.ends_with(b"\r\n\r\nx"));
        assert_eq!(gate.waiting_bytes, 0, "nothing more can want them");
        assert_eq!(gate.admit_signal(facts.leg, &signal()).count(), 1);
    }

    #[test]
    fn what_waits_for_a_recording_is_bounded_and_goes_with_its_leg() {
        let internal = Rules { exclude_internal: true, ..Rules::default() };
        let mut gate = Gate::new(internal);
        let facts = facts("2000", "2001");
        gate.handle_event(&Event::AudioStarted(&facts));
        let long = [&MESSAGE[..MESSAGE.len() - 2], b"X: ", &[b'a'; 10_000][..], b"\r\n\r\n"].concat();
        for _ in 0..100 {
            gate.admit_signal(facts.leg, &Signal { bytes: &long, ..signal() }).for_each(drop);
        }
        assert!((50_000..=WAITING_LEG_MAX).contains(&gate.waiting_bytes), "{}", gate.waiting_bytes);
        gate.handle_event(&Event::LegEnded(Box::new(crate::testing::over(facts))));
        assert_eq!(gate.waiting_bytes, 0);
    }
}
