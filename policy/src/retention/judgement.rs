//! The judgement of one recording by all rule sets that count.

use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::{Age, Grace};
use super::clock::{Freeze, Now};
use super::history::History;
use super::rules::{Rule, RuleSet, Subject};

/// How long a part is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// No rule ends it.
    Forever,
    /// It is due from this moment on, which is not included in the time that it is kept. Grace is counted in, as far as
    /// the history of rules goes today.
    At(Timestamp),
    /// The call still runs: its age does not count yet.
    Running,
    /// It is not there.
    Gone,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Nothing.
    Keep,
    /// The audio goes, the call data stay.
    DeleteAudio,
    /// The call data go; there is no audio.
    DeleteData,
    /// Audio and call data go.
    DeleteBoth,
}

/// What keeps something that the rules in force would delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withholding {
    /// So many holds lie on it.
    Holds(u32),
    /// The clock is in doubt.
    Frozen(Freeze),
    /// A rule set that was in force not long ago keeps it: until then.
    Grace(Timestamp),
}

/// What the rules say of one recording at one moment. Prints as a sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement<'r> {
    /// The rule in force that matches; none when it is kept for ever.
    pub rule: Option<&'r Rule>,
    /// Place of that rule in its set, from 0.
    pub place: usize,
    /// How long the audio is kept.
    pub audio: Until,
    /// How long the call data are kept; never less than the audio.
    pub data: Until,
    /// What is to be done now.
    pub decision: Decision,
    /// What the rules in force would delete beyond `decision`, and what keeps it.
    pub withheld: Option<(Decision, Withholding)>,
}

/// When audio and data are due; none is never.
#[derive(Clone, Copy)]
struct Due {
    audio: Option<Timestamp>,
    data: Option<Timestamp>,
}

impl Due {
    /// Under one rule set. Data wait for the audio where months of different length would have it otherwise.
    fn under(rules: &RuleSet, subject: &Subject) -> Due {
        let Some((_, rule)) = rules.rule_for(subject) else { return Due { audio: None, data: None } };
        let ended = subject.counted_from();
        let audio = rule.audio.after(ended);
        let data = rule.data.after(ended).zip(audio).map(|(data, audio)| data.max(audio));
        Due { audio, data }
    }

    /// Not before `other` either.
    fn and(self, other: Due) -> Due {
        let later = |a: Option<Timestamp>, b: Option<Timestamp>| a.zip(b).map(|(a, b)| a.max(b));
        Due { audio: later(self.audio, other.audio), data: later(self.data, other.data) }
    }

    /// At `end` at the latest.
    fn at_latest(self, end: Timestamp) -> Due {
        let sooner = |at: Option<Timestamp>| Some(at.map_or(end, |at| at.min(end)));
        Due { audio: sooner(self.audio), data: sooner(self.data) }
    }

    fn decide(self, subject: &Subject, now: Timestamp) -> Decision {
        let is_past = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        match (subject.has_audio && is_past(self.audio), subject.has_data && is_past(self.data)) {
            (false, false) => Decision::Keep,
            (true, false) => Decision::DeleteAudio,
            // Data are due with the audio or after it: where they are and the audio is not, there is none.
            (false, true) => Decision::DeleteData,
            (true, true) => Decision::DeleteBoth,
        }
    }
}

impl Decision {
    /// The audio goes.
    #[must_use]
    pub const fn takes_audio(self) -> bool {
        matches!(self, Decision::DeleteAudio | Decision::DeleteBoth)
    }

    /// The call data go.
    #[must_use]
    pub const fn takes_data(self) -> bool {
        matches!(self, Decision::DeleteData | Decision::DeleteBoth)
    }

    /// What remains of this when `done` is taken away.
    const fn without(self, done: Decision) -> Decision {
        match (self.takes_audio() && !done.takes_audio(), self.takes_data() && !done.takes_data()) {
            (false, false) => Decision::Keep,
            (true, false) => Decision::DeleteAudio,
            (false, true) => Decision::DeleteData,
            (true, true) => Decision::DeleteBoth,
        }
    }
}

impl History {
    /// Judges one recording.
    ///
    /// What still runs is kept. Holds keep everything, the data too; then a freeze of the clock; then the grace.
    #[must_use]
    pub fn judge(&self, subject: &Subject, now: &Now, grace: Grace) -> Judgement<'_> {
        let matched = self.current().and_then(|rules| rules.rule_for(subject));
        let (own, all) = self.due(subject, grace);
        let until = |is_there: bool, due: Option<Timestamp>| match due {
            _ if !is_there => Until::Gone,
            _ if subject.is_running() => Until::Running,
            Some(at) => Until::At(at),
            None => Until::Forever,
        };
        let mut judgement = Judgement {
            rule: matched.map(|(_, rule)| rule),
            place: matched.map_or(0, |(place, _)| place),
            audio: until(subject.has_audio, all.audio),
            data: until(subject.has_data, all.data),
            decision: Decision::Keep,
            withheld: None,
        };
        if subject.is_running() {
            return judgement;
        }
        let wanted = own.decide(subject, now.at());
        let ripe = all.decide(subject, now.at());
        match now.freeze() {
            _ if wanted == Decision::Keep => {}
            _ if subject.holds > 0 => judgement.withheld = Some((wanted, Withholding::Holds(subject.holds))),
            Some(freeze) if ripe != Decision::Keep => {
                judgement.withheld = Some((wanted, Withholding::Frozen(freeze)));
            }
            _ => {
                judgement.decision = ripe;
                let rest = wanted.without(ripe);
                let end = if rest.takes_audio() { all.audio } else { all.data };
                judgement.withheld =
                    end.filter(|_| rest != Decision::Keep).map(|end| (rest, Withholding::Grace(end)));
            }
        }
        judgement
    }

    /// When the set in force has it due; and when all do that count, if no set follows.
    ///
    /// An earlier set counts until a grace after its end, and so delays until then or until it has the subject due
    /// itself, whichever is first. "No rules" ended where the first set began.
    fn due(&self, subject: &Subject, grace: Grace) -> (Due, Due) {
        let never = Due { audio: None, data: None };
        let (Some(first), Some(current)) = (self.versions().first(), self.versions().last()) else {
            return (never, never);
        };
        let own = Due::under(&current.rules, subject);
        let mut all = own.and(never.at_latest(first.from.plus_nanos(grace.as_nanos())));
        for (version, next) in self.versions().iter().zip(self.versions().iter().skip(1)) {
            let leaves = next.from.plus_nanos(grace.as_nanos());
            all = all.and(Due::under(&version.rules, subject).at_latest(leaves));
        }
        (own, all)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decision::Keep => "nothing",
            Decision::DeleteAudio => "the audio",
            Decision::DeleteData => "the call data",
            Decision::DeleteBoth => "audio and call data",
        })
    }
}

impl fmt::Display for Withholding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withholding::Holds(1) => f.write_str("a hold lies on it"),
            Withholding::Holds(count) => write!(f, "{count} holds lie on it"),
            Withholding::Frozen(freeze) => freeze.fmt(f),
            Withholding::Grace(until) => {
                write!(
                    f,
                    "the rules were tightened not long ago, and until {until} the earlier ones count too"
                )
            }
        }
    }
}

/// Why, in a sentence or two.
impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rule) = self.rule else { return f.write_str("kept for ever: no rule matches") };
        write!(f, "rule {:?} keeps audio {} and data {}", rule.name, Kept(rule.audio), Kept(rule.data))?;
        if self.audio == Until::Running || self.data == Until::Running {
            return f.write_str(", counted from the end of the call, which still runs");
        }
        if self.decision != Decision::Keep {
            write!(f, ": {} is due", self.decision)?;
        }
        if let Some((rest, by)) = self.withheld {
            return write!(f, "; {rest} would be due, but {by}");
        }
        for (part, until) in [("audio", self.audio), ("data", self.data)] {
            let is_due =
                if part == "audio" { self.decision.takes_audio() } else { self.decision.takes_data() };
            if let Until::At(at) = until {
                write!(f, "; {part} {} {at}", if is_due { "due since" } else { "until" })?;
            }
        }
        Ok(())
    }
}

/// `for 90d`, `for ever`.
struct Kept(Age);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Age::Forever => f.write_str("for ever"),
            age @ Age::For(_) => write!(f, "for {age}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{ClockWatch, OFF_MAX_DEFAULT, Reading};
    use super::super::testing::{ENDED, at, history, judge, subject};
    use super::*;
    use crate::outcome::{Outcome, State};

    #[test]
    fn audio_goes_first_and_data_later_each_at_its_own_moment() {
        let history = history(&[("2020-01-01T00:00:00.000Z", "90d", "1y")]);
        let recording = subject(ENDED);
        for (now, decision) in [
            ("2026-04-01T11:59:59.999Z", Decision::Keep),
            ("2026-04-01T12:00:00.000Z", Decision::DeleteAudio),
            ("2027-01-01T11:59:59.999Z", Decision::DeleteAudio),
            ("2027-01-01T12:00:00.000Z", Decision::DeleteBoth),
        ] {
            assert_eq!(judge(&history, &recording, now).decision, decision, "{now}");
        }
        let silent = Subject { has_audio: false, ..recording.clone() };
        assert_eq!(judge(&history, &silent, "2026-12-31T00:00:00.000Z").decision, Decision::Keep);
        let gone = judge(&history, &silent, "2027-01-01T12:00:00.000Z");
        assert_eq!((gone.decision, gone.audio), (Decision::DeleteData, Until::Gone));
        let nothing = Subject { has_data: false, ..silent };
        assert_eq!(judge(&history, &nothing, "2030-01-01T00:00:00.000Z").decision, Decision::Keep);
    }

    #[test]
    fn age_counts_from_the_end_and_from_the_start_when_there_is_none() {
        let history = history(&[("2020-01-01T00:00:00.000Z", "1d", "1d")]);
        let long = Subject { started: at("2025-12-01T00:00:00.000Z"), ..subject(ENDED) };
        assert_eq!(judge(&history, &long, "2026-01-02T11:59:59.999Z").decision, Decision::Keep);
        let cut = Subject { ended: None, state: Some(State::Interrupted), ..long.clone() };
        assert_eq!(judge(&history, &cut, "2025-12-02T00:00:00.000Z").decision, Decision::DeleteBoth);
        // An end before the start is no end.
        let odd = Subject { ended: Some(at("2019-01-01T00:00:00.000Z")), ..long };
        assert_eq!(judge(&history, &odd, "2025-12-01T23:59:59.999Z").decision, Decision::Keep);
    }

    #[test]
    fn what_still_runs_is_never_due() {
        let history = history(&[("2020-01-01T00:00:00.000Z", "1d", "1d")]);
        for running in [
            Subject { state: Some(State::Recording), ended: None, ..subject(ENDED) },
            Subject { outcome: Outcome::Running, ..subject(ENDED) },
        ] {
            let judged = judge(&history, &running, "2036-01-01T00:00:00.000Z");
            assert_eq!(
                (judged.decision, judged.withheld, judged.audio),
                (Decision::Keep, None, Until::Running)
            );
            assert!(judged.to_string().ends_with("still runs"), "{judged}");
        }
    }

    #[test]
    fn a_hold_keeps_the_data_as_well() {
        let history = history(&[("2020-01-01T00:00:00.000Z", "1d", "1d")]);
        let held = Subject { holds: 2, ..subject(ENDED) };
        let judged = judge(&history, &held, "2036-01-01T00:00:00.000Z");
        assert_eq!(judged.decision, Decision::Keep);
        assert_eq!(judged.withheld, Some((Decision::DeleteBoth, Withholding::Holds(2))));
        assert!(judged.to_string().contains("2 holds"), "{judged}");
    }

    #[test]
    fn the_first_rules_wait_for_the_grace() {
        let history = history(&[("2026-06-01T00:00:00.000Z", "1d", "forever")]);
        let waits = judge(&history, &subject(ENDED), "2026-06-01T23:59:59.999Z");
        let end = at("2026-06-02T00:00:00.000Z");
        assert_eq!(waits.decision, Decision::Keep);
        assert_eq!(waits.withheld, Some((Decision::DeleteAudio, Withholding::Grace(end))));
        assert_eq!(waits.audio, Until::At(end));
        assert_eq!(
            judge(&history, &subject(ENDED), "2026-06-02T00:00:00.000Z").decision,
            Decision::DeleteAudio
        );
        let at_once =
            history.judge(&subject(ENDED), &Now::trusted(at("2026-06-01T00:00:00.000Z")), Grace::Immediate);
        assert_eq!(at_once.decision, Decision::DeleteAudio);
    }

    #[test]
    fn a_tightened_rule_waits_and_a_loosened_one_acts_at_once() {
        let tightened =
            history(&[("2020-01-01T00:00:00.000Z", "5y", "7y"), ("2026-06-01T00:00:00.000Z", "90d", "7y")]);
        let waits = judge(&tightened, &subject(ENDED), "2026-06-01T12:00:00.000Z");
        assert_eq!(waits.withheld.map(|(rest, _)| rest), Some(Decision::DeleteAudio));
        assert_eq!(
            judge(&tightened, &subject(ENDED), "2026-06-02T00:00:00.000Z").decision,
            Decision::DeleteAudio
        );
        let loosened =
            history(&[("2020-01-01T00:00:00.000Z", "90d", "7y"), ("2026-06-01T00:00:00.000Z", "5y", "7y")]);
        let kept = judge(&loosened, &subject(ENDED), "2026-06-01T00:00:00.000Z");
        assert_eq!((kept.decision, kept.withheld), (Decision::Keep, None));
        assert_eq!(kept.audio, Until::At(at("2031-01-01T12:00:00.000Z")));
    }

    #[test]
    fn loosening_for_a_moment_starts_the_grace_anew_and_what_was_due_under_both_goes_on() {
        let back_and_forth = history(&[
            ("2020-01-01T00:00:00.000Z", "30d", "30d"),
            ("2026-06-01T00:00:00.000Z", "60d", "60d"),
            ("2026-06-01T00:05:00.000Z", "30d", "30d"),
        ]);
        let young = subject("2026-04-20T00:00:00.000Z");
        assert_eq!(judge(&back_and_forth, &young, "2026-06-02T00:04:59.999Z").decision, Decision::Keep);
        assert_eq!(judge(&back_and_forth, &young, "2026-06-02T00:05:00.000Z").decision, Decision::DeleteBoth);
        assert_eq!(
            judge(&back_and_forth, &subject(ENDED), "2026-06-01T00:06:00.000Z").decision,
            Decision::DeleteBoth
        );
    }

    #[test]
    fn a_part_that_is_due_goes_while_the_other_waits() {
        let history =
            history(&[("2020-01-01T00:00:00.000Z", "30d", "7y"), ("2026-06-01T00:00:00.000Z", "30d", "60d")]);
        let judged = judge(&history, &subject(ENDED), "2026-06-01T12:00:00.000Z");
        assert_eq!(judged.decision, Decision::DeleteAudio);
        let end = at("2026-06-02T00:00:00.000Z");
        assert_eq!(judged.withheld, Some((Decision::DeleteData, Withholding::Grace(end))));
    }

    #[test]
    fn nothing_is_due_while_the_clock_is_in_doubt() {
        let mut history = history(&[("2020-01-01T00:00:00.000Z", "30d", "30d")]);
        let reading = |wall: &str, up: u64| Reading { wall: at(wall), since_boot_ns: up, boot: "a".into() };
        let mut watch = ClockWatch::new();
        watch.observe(reading("2026-01-02T00:00:00.000Z", 0), OFF_MAX_DEFAULT);
        let now = watch.observe(reading("2027-01-02T00:00:00.000Z", 0), OFF_MAX_DEFAULT);
        let judged = history.judge(&subject(ENDED), &now, Grace::default());
        assert_eq!(judged.decision, Decision::Keep);
        assert!(matches!(judged.withheld, Some((Decision::DeleteBoth, Withholding::Frozen(_)))), "{judged}");
        // Confirmed, it waits for the grace: a confirmation may be a mistake.
        watch.confirm("kim", now.at(), &mut history).expect("confirmed");
        for (wall, up_s, decision) in [
            ("2027-01-02T23:59:59.999Z", 86_400, Decision::Keep),
            ("2027-01-03T00:00:00.000Z", 86_400, Decision::DeleteBoth),
        ] {
            let now = watch.observe(reading(wall, up_s * 1_000_000_000), OFF_MAX_DEFAULT);
            assert_eq!(history.judge(&subject(ENDED), &now, Grace::default()).decision, decision);
        }
    }

    #[test]
    fn data_wait_for_the_audio_where_the_calendar_would_end_them_first() {
        // 30 days from 1 February end after the month does.
        let history = history(&[("2020-01-01T00:00:00.000Z", "30d", "1m")]);
        let recording = subject("2026-02-01T00:00:00.000Z");
        assert_eq!(judge(&history, &recording, "2026-03-02T00:00:00.000Z").decision, Decision::Keep);
        assert_eq!(judge(&history, &recording, "2026-03-03T00:00:00.000Z").decision, Decision::DeleteBoth);
    }

    #[test]
    fn without_rules_and_without_a_match_nothing_ends() {
        let none = History::new();
        let judged = judge(&none, &subject(ENDED), "2200-01-01T00:00:00.000Z");
        assert_eq!(
            (judged.decision, judged.audio, judged.data),
            (Decision::Keep, Until::Forever, Until::Forever)
        );
        let mut emptied = history(&[("2020-01-01T00:00:00.000Z", "30d", "30d")]);
        assert!(emptied.replace(RuleSet::default(), at("2026-06-01T00:00:00.000Z")));
        assert_eq!(judge(&emptied, &subject(ENDED), "2026-06-01T00:00:00.000Z").decision, Decision::Keep);
    }

    #[test]
    fn a_judgement_says_why() {
        let history = history(&[("2020-01-01T00:00:00.000Z", "90d", "7y")]);
        for (now, sentence) in [
            (
                "2026-02-01T00:00:00.000Z",
                "rule \"all\" keeps audio for 90d and data for 7y; audio until 2026-04-01T12:00:00.000Z; \
                 data until 2033-01-01T12:00:00.000Z",
            ),
            (
                "2026-06-01T00:00:00.000Z",
                "rule \"all\" keeps audio for 90d and data for 7y: the audio is due; audio due since \
                 2026-04-01T12:00:00.000Z; data until 2033-01-01T12:00:00.000Z",
            ),
        ] {
            assert_eq!(judge(&history, &subject(ENDED), now).to_string(), sentence);
        }
    }
}
