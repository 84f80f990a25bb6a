//! One extension's part in a leg between its judgement and its end: what is wanted, what runs, what was left out.

use decode::rtp::dtmf::Digit;
use decode::tracker::LegEnd;
use decode::{AudioFrame, Side, Timestamp};

use super::{RecordingKey, RecordingPlan};
use crate::channels::Channel;
use crate::modes::orders::Whose;
use crate::modes::{Answer, Ask, Machine, Role};
use crate::outcome::Outcome;
use crate::pause::codes::Listener;
use crate::pause::{PauseSource, Pauses};
use crate::rules::{Asked, Judgement, SegmentFacts, Step, Trace, Verdict};
use crate::whatif::{PartNames, PastPart};

/// Stretches that are left out of one recording; the last one then goes on to its end.
pub(super) const GAPS_MAX: usize = 1_000;

/// Later than everything.
pub(super) const FOREVER: Timestamp = Timestamp::from_nanos(i64::MAX);

/// Where packets of a recording pass: what each packet is held against, and no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) recording: RecordingKey,
    pub(super) near: Side,
    /// Packets pass from here on ..
    pub(super) from: Timestamp,
    /// .. and before this; [`FOREVER`] while it is open.
    pub(super) until: Timestamp,
    /// The latest packet that has passed; [`Timestamp::MIN`] before the first.
    pub(super) last: Timestamp,
    /// Telephone events of these sides do not pass: they may be a key code.
    pub(super) hides_keys: [bool; 2],
    /// Until then a packet may come that was sent in the pause before ..
    pub(super) guard: Timestamp,
    /// .. which this tells, by the side that speaks: the source and the latest media time that were refused.
    pub(super) refused: [Option<(u32, u32)>; 2],
}

/// How long after a pause a packet may come that was overtaken on its way, in milliseconds.
pub(super) const GUARD_MS: i64 = 2_000;

impl Lane {
    pub(super) fn is_open(&self) -> bool {
        self.until == FOREVER
    }

    /// Was it sent in the pause that is just over, and overtaken?
    pub(super) fn is_overtaken(&self, speaker: Side, frame: &AudioFrame<'_>) -> bool {
        let refused = self.refused.get(speaker.index()).copied().flatten();
        refused.is_some_and(|(ssrc, latest)| {
            // Media time wraps (RFC 3550, 5.1): up to half a turn behind is before.
            ssrc == frame.ssrc && latest.wrapping_sub(frame.timestamp) < 1 << 31
        })
    }

    /// Notes a packet that came in a pause.
    pub(super) fn note_refused(&mut self, speaker: Side, frame: &AudioFrame<'_>) {
        if !self.is_overtaken(speaker, frame)
            && let Some(place) = self.refused.get_mut(speaker.index())
        {
            *place = Some((frame.ssrc, frame.timestamp));
        }
    }
}

/// See the module's text.
pub(super) struct Part {
    /// What is told when it starts; `started` and `segment` are set then. Its facts are kept up to date.
    pub(super) plan: Box<RecordingPlan>,
    pub(super) verdict: Verdict,
    pub(super) machine: Machine,
    pub(super) pauses: Pauses,
    /// What is keyed at the extension.
    pub(super) listener: Listener,
    /// Digits that may yet become a code.
    pub(super) held: Vec<Digit>,
    trace: Trace,
    /// The step of the trace that says what decided of its mode.
    of_mode: Option<Asked>,
    /// When it was judged first.
    pub(super) judged: Timestamp,
    /// The moment that its user and unit are asked for: its beginning, or when its agent became another one.
    pub(super) counted_at: Timestamp,
    /// A recording of it is open in the archive.
    pub(super) begun: bool,
    /// It began after the leg's audio did.
    pub(super) began_late: Option<Timestamp>,
    pub(super) channel: Option<Channel>,
    /// So many channels were in use, and none free.
    pub(super) refused: Option<usize>,
    /// Its channel was taken away.
    pub(super) cut: bool,
    /// Since when what destroyed it is known or in force.
    pub(super) destroyed: Option<String>,
    /// What was left out: over, and going on.
    pub(super) gaps: Vec<(Timestamp, Timestamp)>,
    pub(super) gap: Option<Timestamp>,
    /// When it was stopped, by people or for want of a channel.
    pub(super) stopped: Option<Timestamp>,
    /// The standing order that it follows.
    pub(super) order: Option<Followed>,
    /// What the balance sheet says beside the rule.
    pub(super) notes: String,
    /// Somebody asked for something else than its mode does by itself, or an order did.
    pub(super) by_people: bool,
    /// What was said of its leg alone, and not of the whole call.
    pub(super) said: super::request::Said,
    /// Who asked for it to be destroyed at its end; nobody, where that is its mode's own way.
    pub(super) asked_by: String,
}

/// A standing order that a part follows, and what would be without it: that comes back when the order ends.
pub(super) struct Followed {
    pub(super) whose: Whose,
    /// Takes what people ask meanwhile, as the part's own does.
    pub(super) machine: Machine,
    pub(super) asked_by: String,
    /// By whom the order was given, where it is one to pause.
    pub(super) pauses: Option<String>,
}

impl Part {
    pub(super) fn new(plan: RecordingPlan, judgement: Judgement, at: Timestamp) -> Part {
        let of_mode = judgement.mode_step().cloned();
        let mut part = Part {
            machine: machine(&judgement.verdict),
            verdict: judgement.verdict,
            plan: Box::new(plan),
            pauses: Pauses::default(),
            listener: Listener::default(),
            held: Vec::new(),
            trace: Trace::default(),
            of_mode,
            judged: at,
            counted_at: at,
            begun: false,
            began_late: None,
            channel: None,
            refused: None,
            cut: false,
            destroyed: None,
            gaps: Vec::new(),
            gap: None,
            stopped: None,
            order: None,
            notes: String::new(),
            by_people: false,
            said: super::request::Said::default(),
            asked_by: String::new(),
        };
        part.say_all(at, judgement.asked);
        part
    }

    /// Takes a new judgement; says whether it is another one.
    pub(super) fn rejudge(&mut self, judgement: Judgement, at: Timestamp) -> bool {
        if judgement.verdict == self.verdict {
            return false;
        }
        let of_mode = judgement.mode_step().filter(|step| self.of_mode.as_ref() != Some(step)).cloned();
        let last = judgement.asked.last().filter(|last| of_mode.as_ref() != Some(last)).cloned();
        self.say_all(at, of_mode.clone().into_iter().chain(last));
        self.of_mode = of_mode.or(self.of_mode.take());
        let fresh = machine(&judgement.verdict);
        if judgement.verdict.is_record() && fresh.mode() != self.machine.mode() {
            // What is taken and kept stays, and so does what somebody asked to be destroyed. An order is followed anew.
            let (machine, asked_by) = match self.order.take() {
                Some(followed) => {
                    if let Some(name) = followed.pauses {
                        self.pauses.end(&PauseSource::Order(name));
                    }
                    (followed.machine, followed.asked_by)
                }
                None => (self.machine, std::mem::take(&mut self.asked_by)),
            };
            let is_asked = !machine.is_kept() && !asked_by.is_empty();
            let kept = if is_asked { false } else { fresh.is_kept() || self.begun && machine.is_kept() };
            self.by_people |= kept != fresh.is_kept();
            self.machine = fresh.with_kept(kept);
            self.asked_by = if is_asked { asked_by } else { String::new() };
        }
        self.verdict = judgement.verdict;
        true
    }

    /// Is its device one that is recorded, whatever is said of this call? Only such a one's keys and windows pause.
    pub(super) fn is_of_recorded_device(&self) -> bool {
        !matches!(self.verdict, Verdict::DeviceNotRecorded { .. })
    }

    /// Somebody asks the mode; notes who it was when its end becomes that it is destroyed.
    pub(super) fn handle(&mut self, ask: Ask, role: Role, cause: &str) -> Answer {
        if let Some(Followed { machine, asked_by, .. }) = &mut self.order {
            handle(machine, asked_by, ask, role, cause);
        }
        let answer = handle(&mut self.machine, &mut self.asked_by, ask, role, cause);
        self.by_people |= answer == Answer::Done && !matches!(ask, Ask::Pause | Ask::Resume);
        answer
    }

    /// What is kept of it at its end.
    pub(super) fn past(&self, outcome: Outcome, end: &LegEnd) -> PastPart {
        let is_recorded = matches!(self.verdict, Verdict::Record { .. });
        PastPart {
            mode: is_recorded.then(|| self.machine.mode()),
            by_people: self.by_people,
            ..unjudged(self.plan.facts.clone(), self.plan.names(), self.plan.near, outcome, end)
        }
    }

    /// Notes a step with the time since the first judgement.
    pub(super) fn say(&mut self, at: Timestamp, rule: &str, fact: String, verdict: String) {
        let at_ms = at.millis_since(self.judged);
        let (extension, rule) = (self.plan.facts.extension.clone(), rule.to_owned());
        self.trace.push(Step { at_ms, extension, rule, fact, verdict });
    }

    fn say_all(&mut self, at: Timestamp, asked: impl IntoIterator<Item = Asked>) {
        for (rule, fact, verdict) in asked {
            self.say(at, &rule, fact, verdict);
        }
    }

    /// How it was judged so far.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.trace.clone().into_steps()
    }

    pub(super) fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.trace)
    }

    /// Seconds into the segment, for reasons.
    pub(super) fn how_far(&self, at: Timestamp) -> String {
        format!("{:.1} s into the call", at.millis_since(self.judged) as f64 / 1_000.0)
    }

    /// Was anything left out of it so far, before it began among that?
    pub(super) fn has_left_out(&self) -> bool {
        self.began_late.is_some() || self.gap.is_some() || !self.gaps.is_empty()
    }

    /// Is this time so near behind something left out that what belongs there may come now?
    pub(super) fn was_left_out_lately(&self, at: Timestamp) -> bool {
        let is_near = |&to: &Timestamp| (to..to.plus_millis(GUARD_MS)).contains(&at);
        self.gaps.iter().map(|(_, to)| to).chain(&self.began_late).any(is_near)
    }

    /// Was a packet of this time left out, although it lies behind the lane's last opening?
    pub(super) fn is_left_out(&self, at: Timestamp) -> bool {
        self.began_late.is_some_and(|began| at < began)
            || self.gap.is_some_and(|from| at >= from)
            || self.gaps.iter().any(|&(from, to)| (from..to).contains(&at))
    }
}

/// What is kept of an extension's part that no rule was asked about.
pub(super) fn unjudged(
    facts: SegmentFacts,
    names: PartNames,
    near: Side,
    outcome: Outcome,
    end: &LegEnd,
) -> PastPart {
    let leg = &end.facts;
    let phone = Some(leg.party(near).signalling.ip()).filter(|_| !leg.is_stream_only());
    let mac = end.macs.get(near.index()).copied().flatten().filter(|_| phone.is_some());
    PastPart { facts, outcome, mode: None, by_people: false, phone, mac, names: Some(names) }
}

fn handle(machine: &mut Machine, asked_by: &mut String, ask: Ask, role: Role, cause: &str) -> Answer {
    let was_kept = machine.is_kept();
    let answer = machine.handle(ask, role);
    match (was_kept, machine.is_kept()) {
        (true, false) => *asked_by = cause.to_owned(),
        (false, true) => asked_by.clear(),
        _ => {}
    }
    answer
}

fn machine(verdict: &Verdict) -> Machine {
    match verdict {
        Verdict::Record { mode, .. } => Machine::new(*mode),
        _ => Machine::new(crate::modes::Mode::Never),
    }
}
