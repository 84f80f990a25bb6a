//! The way through the gate for the SIP messages of a recorded leg.
//!
//! What a leg's audio is kept in, its signalling is kept in too, less what is never kept ([`crate::redact`]). A leg that is not
//! recorded keeps none.

use std::fmt;

use decode::Signal;
use decode::tracker::LegId;

use super::{Gate, RecordingKey, takes};
use crate::redact::{Digits, Redacted, redact};

/// A SIP message that may be kept, without what is never kept. Only [`Gate::admit_signal`] makes one.
#[derive(Clone)]
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

impl Gate {
    /// Judges one SIP message of a leg: for each recording that it may go into, the message cleared.
    pub fn admit_signal<'a>(
        &self,
        leg: LegId,
        signal: &'a Signal<'a>,
    ) -> impl Iterator<Item = (RecordingKey, ClearedSignal<'a>)> {
        self.recordings(leg).map(move |(recording, _)| {
            (recording, ClearedSignal::new(signal, self.digits_of(recording, signal)))
        })
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
        let gate = Gate::new(Rules::default());
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
        let keeps = |gate: &Gate, bytes, ms, is_repeated| {
            let signal = Signal { bytes, at: Timestamp::from_millis(ms), is_repeated, ..signal() };
            let mut cleared = gate.admit_signal(facts.leg, &signal);
            let (_, cleared) = cleared.next().expect("a recording");
            let digits_are_kept = cleared.signal().bytes == bytes;
            assert_eq!(cleared.redacted().digits, !digits_are_kept);
            digits_are_kept
        };
        assert!(keeps(&gate, KEYED, 2_000, true) && keeps(&gate, REPORT, 2_000, true));
        pause(&mut gate, true, 5_000);
        assert!(!keeps(&gate, KEYED, 5_000, false) && !keeps(&gate, KEYED, 4_999, false), "it is paused");
        pause(&mut gate, false, 8_000);
        assert!(keeps(&gate, KEYED, 4_999, false) && !keeps(&gate, KEYED, 7_000, false));
        assert!(!keeps(&gate, KEYED, 8_000, false) && !keeps(&gate, KEYED, 9_999, false), "under way");
        assert!(keeps(&gate, KEYED, 10_000, false) && !keeps(&gate, KEYED, 10_000, true), "sent again");
        assert!(!keeps(&gate, REPORT, 60_000, false), "a report reaches back");
        // An earlier pause has the same edge.
        pause(&mut gate, true, 20_000);
        pause(&mut gate, false, 21_000);
        assert!(!keeps(&gate, KEYED, 9_999, false) && keeps(&gate, KEYED, 30_000, false));
    }
}
