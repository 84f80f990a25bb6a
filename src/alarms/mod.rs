//! What somebody must look at: conditions of a running recorder, told when they begin, again while they last, and when they end.
//!
//! Pure: statuses and times in, notices out. Who is told, and how, is in [`sinks`].

pub(crate) mod archive;
pub(crate) mod drives;
pub(crate) mod history;
pub(crate) mod mail;
pub(crate) mod sinks;

use std::collections::{BTreeMap, BTreeSet};

use decode::Timestamp;
use jiff::tz::TimeZone;
use policy::rules::Hours;
use serde::{Deserialize, Serialize};
use web::live::Status;

use archive::Condition;
use drives::Drive;
use history::{StillUp, Which};

/// How far above the limit, in percent, the room on a drive must rise before its alarm ends.
const DISK_AGAIN_PERCENT: u64 = 2;
/// A drive that is full within so many hours, as it fills now, is told.
const FULL_WITHIN_H: u64 = 24;
/// A drop, or a refused call, keeps its alarm up for so long.
const EVENT_LASTS_MS: i64 = 5 * 60_000;
/// What was up when the program ended stays up for so long, until it can be known again.
const STILL_UP_MS: i64 = 2 * 60_000;

/// A kind of condition; the place that it is about stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The archive does not take what is recorded.
    ArchiveFailed,
    /// What is recorded is in the journal alone.
    ArchiveBehind,
    /// Little room on a drive.
    DiskLow,
    /// A drive is full soon, as it fills now.
    DiskForecast,
    /// An archive location takes no copies.
    LocationFailed,
    /// Recordings are not what was sealed.
    ScrubFound,
    /// Retention deletes nothing until somebody says so.
    RetentionHalted,
    /// Checkpoints of the log are not copied.
    CheckpointFailed,
    /// The log gets no time stamp.
    StampFailed,
    /// A way in is closed: an adapter is gone or down.
    PortDown,
    /// Nothing comes in although somebody should be telephoning.
    PortSilent,
    /// A system that says facts of calls is not heard.
    FactsStale,
    /// Frames were lost on this machine.
    FramesDropped,
    /// Audio of calls was left out for its ports.
    PortsOutside,
    /// Calls were refused for want of a channel.
    NoChannel,
    /// A recording has been paused for long.
    PauseLong,
    /// The mail server does not take mail.
    MailFailed,
    /// The call that the recorder makes to itself was not heard as it was said.
    CanaryFailed,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 18] = [
        Kind::ArchiveFailed,
        Kind::ArchiveBehind,
        Kind::DiskLow,
        Kind::DiskForecast,
        Kind::LocationFailed,
        Kind::ScrubFound,
        Kind::RetentionHalted,
        Kind::CheckpointFailed,
        Kind::StampFailed,
        Kind::PortDown,
        Kind::PortSilent,
        Kind::FactsStale,
        Kind::FramesDropped,
        Kind::PortsOutside,
        Kind::NoChannel,
        Kind::PauseLong,
        Kind::MailFailed,
        Kind::CanaryFailed,
    ];

    /// As people see it: what is wrong when it is up.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Kind::ArchiveFailed => "The archive takes nothing",
            Kind::ArchiveBehind => "The archive is behind",
            Kind::DiskLow => "Little room on a drive",
            Kind::DiskForecast => "A drive is full within a day",
            Kind::LocationFailed => "An archive location takes no copies",
            Kind::ScrubFound => "Recordings are not what was sealed",
            Kind::RetentionHalted => "Retention waits for somebody",
            Kind::CheckpointFailed => "Checkpoints are not copied",
            Kind::StampFailed => "The log gets no time stamp",
            Kind::PortDown => "A way in is closed",
            Kind::PortSilent => "Nothing comes in",
            Kind::FactsStale => "Facts of calls are stale",
            Kind::FramesDropped => "Packets were lost here",
            Kind::PortsOutside => "Audio was left out for its ports",
            Kind::NoChannel => "No channel was free",
            Kind::PauseLong => "A pause lasts long",
            Kind::MailFailed => "The mail server takes no mail",
            Kind::CanaryFailed => "The canary was not heard",
        }
    }

    /// One word, as in metrics and messages.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Kind::ArchiveFailed => "archive-failed",
            Kind::ArchiveBehind => "archive-behind",
            Kind::DiskLow => "disk-low",
            Kind::DiskForecast => "disk-forecast",
            Kind::LocationFailed => "location-failed",
            Kind::ScrubFound => "scrub-found",
            Kind::RetentionHalted => "retention-halted",
            Kind::CheckpointFailed => "checkpoint-failed",
            Kind::StampFailed => "stamp-failed",
            Kind::PortDown => "port-down",
            Kind::PortSilent => "port-silent",
            Kind::FactsStale => "facts-stale",
            Kind::FramesDropped => "frames-dropped",
            Kind::PortsOutside => "ports-outside",
            Kind::NoChannel => "no-channel",
            Kind::PauseLong => "pause-long",
            Kind::MailFailed => "mail-failed",
            Kind::CanaryFailed => "canary-failed",
        }
    }

    /// Does it cost recordings now? (RFC 5424, 6.2.1: critical or warning.)
    pub(crate) const fn is_critical(self) -> bool {
        matches!(
            self,
            Kind::ArchiveFailed
                | Kind::ArchiveBehind
                | Kind::ScrubFound
                | Kind::PortDown
                | Kind::FramesDropped
                | Kind::PortsOutside
                | Kind::CanaryFailed
        )
    }
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Turn {
    /// It began.
    Raised,
    /// It lasts.
    Lasts,
    /// It is over.
    Cleared,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Notice {
    pub(crate) at: Timestamp,
    pub(crate) alarm: Kind,
    pub(crate) turn: Turn,
    /// The adapter or drive that it is about; empty where it is about the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) place: String,
    /// In words; no number and no name of a caller.
    pub(crate) words: String,
}

/// What is looked at beside the recorder's status.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The drives that something is written to, the archive's first.
    pub(crate) drives: Vec<Drive>,
    /// What the archive has to tell.
    pub(crate) archive: Vec<Condition>,
    /// Why mail is not taken.
    pub(crate) mail: Option<String>,
    /// What was wrong with the last canary.
    pub(crate) canary: Option<String>,
    /// What somebody has taken note of, in the words of then: while it reads like that, it is not told again.
    pub(crate) acknowledged: BTreeMap<Which, String>,
}

/// When conditions count.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A way in is silent after so many milliseconds; never when absent.
    pub(crate) silent_ms: Option<u64>,
    /// This way in is silent between two calls of the canary, which is what watches it.
    pub(crate) of_canary: Option<String>,
    /// Silence counts in these hours only; always when absent.
    pub(crate) office_hours: Option<Hours>,
    pub(crate) zone: TimeZone,
    /// A condition that lasts is told again after so many milliseconds.
    pub(crate) repeat_ms: u64,
    /// A drive is low when less than this is free, in percent. It is told again at a half and at a quarter of that.
    pub(crate) disk_low_percent: u64,
}

/// What holds now.
#[derive(Clone, Debug)]
struct Holding {
    words: String,
    /// How bad it is, of those that worsen in steps.
    step: u8,
}

/// A condition that holds.
#[derive(Clone, Debug)]
struct Raised {
    told: Timestamp,
    words: String,
    step: u8,
    /// It was up when the program ended, and has not been seen since: until then.
    is_remembered_until: Option<Timestamp>,
}

/// Watches a recorder.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    raised: BTreeMap<Which, Raised>,
    /// Counts at the last look, and until when what they told is told.
    dropped: (u64, Option<Timestamp>),
    refused: (u64, Option<Timestamp>),
    outside: (u64, Option<Timestamp>),
    low_drives: BTreeSet<String>,
    first_look: Option<Timestamp>,
}

impl Watch {
    pub(crate) fn new(limits: Limits) -> Watch {
        Watch {
            limits,
            raised: BTreeMap::new(),
            dropped: (0, None),
            refused: (0, None),
            outside: (0, None),
            low_drives: BTreeSet::new(),
            first_look: None,
        }
    }

    /// Conditions count by these limits from now on.
    pub(crate) fn use_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Goes on with what was up when the program ended. Some of it cannot be known at once: for a while it is not over for that.
    pub(crate) fn go_on_with(&mut self, still_up: Vec<StillUp>, now: Timestamp) {
        let until = Some(now.plus_millis(STILL_UP_MS));
        self.raised.extend(still_up.into_iter().map(|StillUp { which, told, words }| {
            (which, Raised { told, words, step: 0, is_remembered_until: until })
        }));
    }

    /// What holds now, in words.
    pub(crate) fn up(&self) -> BTreeMap<Which, String> {
        self.raised.iter().map(|(which, raised)| (which.clone(), raised.words.clone())).collect()
    }

    /// The kinds that cannot come about: what they are about is not set up.
    pub(crate) fn unwatched(&self, has_canary: bool, has_mail: bool) -> BTreeSet<Kind> {
        let all = [
            (Kind::CanaryFailed, has_canary),
            (Kind::MailFailed, has_mail),
            (Kind::PortSilent, self.limits.silent_ms.is_some()),
        ];
        all.into_iter().filter(|(_, is_there)| !is_there).map(|(kind, _)| kind).collect()
    }

    /// The kinds that hold now.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.raised.keys().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        kinds
    }

    /// Takes a look; gives what is to be told.
    pub(crate) fn look(&mut self, status: &Status, beside: &Beside, now: Timestamp) -> Vec<Notice> {
        self.first_look.get_or_insert(now);
        let holding = self.holding(status, beside, now);
        let mut notices = Vec::new();
        let mut tell = |(alarm, place): &(Kind, String), turn, words: &str| {
            let (alarm, place, words) = (*alarm, place.clone(), words.to_owned());
            notices.push(Notice { at: now, alarm, turn, place, words });
        };
        self.raised.retain(|key, raised| {
            let is_remembered = raised.is_remembered_until.is_some_and(|until| now < until);
            let holds = holding.contains_key(key) || is_remembered;
            if !holds {
                tell(key, Turn::Cleared, &raised.words);
            }
            holds
        });
        for (key, Holding { words, step }) in holding {
            match self.raised.get_mut(&key) {
                None => {
                    tell(&key, Turn::Raised, &words);
                    self.raised.insert(key, Raised { told: now, words, step, is_remembered_until: None });
                }
                Some(raised) => {
                    let is_known = beside.acknowledged.get(&key) == Some(&words);
                    raised.is_remembered_until = None;
                    let has_worsened = step > raised.step;
                    if has_worsened || (now.millis_since(raised.told) >= self.limits.repeat_ms && !is_known) {
                        tell(&key, Turn::Lasts, &words);
                        raised.told = now;
                    }
                    (raised.words, raised.step) = (words, step);
                }
            }
        }
        notices
    }

    /// What holds now, in words, by kind and place.
    fn holding(&mut self, status: &Status, beside: &Beside, now: Timestamp) -> BTreeMap<Which, Holding> {
        let mut holding = BTreeMap::new();
        let mut steps = BTreeMap::new();
        let mut holds = |kind, place: &str, words: String| {
            drop(holding.insert((kind, place.to_owned()), Holding { words, step: 0 }));
        };
        if status.failure.is_some() {
            holds(
                Kind::ArchiveFailed,
                "",
                "the archive does not take what is recorded; the recorder's log says why".into(),
            );
        }
        for Condition { kind, place, words } in &beside.archive {
            holds(*kind, place, words.clone());
        }
        for Drive { name, space, full_in_h } in &beside.drives {
            let lowest = self.limits.disk_low_percent;
            let limit = if self.low_drives.contains(name) { lowest + DISK_AGAIN_PERCENT } else { lowest };
            if space.percent() < limit {
                let step = [2, 4].into_iter().filter(|part| space.percent() * part < lowest).count();
                steps.insert((Kind::DiskLow, name.clone()), u8::try_from(step).unwrap_or(u8::MAX));
                self.low_drives.insert(name.clone());
                holds(Kind::DiskLow, name, format!("{} % of the {name} drive is free", space.percent()));
            } else {
                self.low_drives.remove(name);
            }
            if let Some(hours) = full_in_h.filter(|&hours| hours < FULL_WITHIN_H) {
                holds(
                    Kind::DiskForecast,
                    name,
                    format!(
                        "the {name} drive is full in {hours} h, as it fills now; shorten retention or make room"
                    ),
                );
            }
        }
        if let Some(why) = &beside.canary {
            holds(Kind::CanaryFailed, "", format!("the canary failed, so calls may not be recorded: {why}"));
        }
        if let Some(why) = &beside.mail {
            holds(Kind::MailFailed, "", format!("alarms cannot be mailed: {why}"));
        }
        let since = self.first_look.unwrap_or(now);
        for port in &status.ports {
            if !port.up {
                holds(
                    Kind::PortDown,
                    &port.name,
                    format!("{} is down: nothing is recorded from it", port.name),
                );
            } else if let Some(silent_ms) = self.limits.silent_ms
                && self.limits.of_canary.as_ref() != Some(&port.name)
                && now.millis_since(port.last_frame.unwrap_or(since).max(since)) >= silent_ms
                && self
                    .limits
                    .office_hours
                    .as_ref()
                    .is_none_or(|hours| hours.contains(now, &self.limits.zone))
            {
                let minutes = silent_ms / 60_000;
                holds(
                    Kind::PortSilent,
                    &port.name,
                    format!("{}: no frame for {minutes} min; is the mirror still on?", port.name),
                );
            }
        }
        for (source, _) in status.stale() {
            let why = if source.up {
                "says nothing: facts of calls that it has said may not be so any more"
            } else {
                "is not connected: facts of calls that it has said may not be so any more"
            };
            holds(Kind::FactsStale, &source.name, format!("{} {why}", source.name));
        }
        if let Some(lost) = grown(&mut self.dropped, status.dropped(), now) {
            holds(Kind::FramesDropped, "", format!("{lost} frames were lost on this machine so far"));
        }
        if let Some(left_out) = grown(&mut self.outside, status.counters.outside_rtp, now) {
            holds(
                Kind::PortsOutside,
                "",
                format!(
                    "{left_out} audio packets of calls were on ports that site.rtp_ports does not list, so far"
                ),
            );
        }
        let refused = status.outcomes.iter().find(|(key, _)| *key == policy::Outcome::NoChannel.key());
        if let Some(refused) = grown(&mut self.refused, refused.map_or(0, |(_, n)| *n), now) {
            holds(Kind::NoChannel, "", format!("{refused} calls found no channel free so far"));
        }
        // How long is too long is the rules' to say.
        let forgotten = status.calls.iter().filter(|call| call.pause_forgotten).count();
        if forgotten > 0 {
            let words =
                format!("{forgotten} recordings are paused for so long that it may have been forgotten");
            holds(Kind::PauseLong, "", words);
        }
        for (which, step) in steps {
            if let Some(holds) = holding.get_mut(&which) {
                holds.step = step;
            }
        }
        holding
    }
}

/// A count that only grows: its value while it has grown lately.
fn grown(seen: &mut (u64, Option<Timestamp>), count: u64, now: Timestamp) -> Option<u64> {
    if count > seen.0 {
        *seen = (count, Some(now.plus_millis(EVENT_LASTS_MS)));
    }
    seen.1 = seen.1.filter(|&until| now < until);
    seen.1.map(|_| count)
}

#[cfg(test)]
mod tests {
    use store::Space;
    use web::live::Port;

    use super::*;

    fn at(s: i64) -> Timestamp {
        // A Monday, 00:00 UTC.
        Timestamp::from_parts(1_795_392_000 + s, 0)
    }

    fn watch(office_hours: Option<&str>) -> Watch {
        Watch::new(Limits {
            silent_ms: Some(600_000),
            of_canary: Some("lo".into()),
            office_hours: office_hours.map(|text| Hours::new(text).expect("hours")),
            zone: TimeZone::UTC,
            repeat_ms: 3_600_000,
            disk_low_percent: 10,
        })
    }

    fn port(up: bool, last: Option<i64>) -> Status {
        let port = Port { name: "eth1".into(), up, last_frame: last.map(at), ..Port::default() };
        Status { ports: vec![port], ..Status::default() }
    }

    fn told(notices: Vec<Notice>) -> Vec<(Kind, Turn)> {
        notices.into_iter().map(|notice| (notice.alarm, notice.turn)).collect()
    }

    #[test]
    fn a_condition_is_told_when_it_begins_again_while_it_lasts_and_when_it_ends() {
        let mut watch = watch(None);
        assert_eq!(told(watch.look(&port(true, Some(0)), &Beside::default(), at(0))), []);
        assert_eq!(
            told(watch.look(&port(false, Some(0)), &Beside::default(), at(5))),
            [(Kind::PortDown, Turn::Raised)]
        );
        assert_eq!(told(watch.look(&port(false, Some(0)), &Beside::default(), at(1_000))), []);
        assert_eq!(
            told(watch.look(&port(false, Some(0)), &Beside::default(), at(3_605))),
            [(Kind::PortDown, Turn::Lasts)]
        );
        assert_eq!(watch.kinds(), [Kind::PortDown]);
        assert_eq!(
            told(watch.look(&port(true, Some(3_610)), &Beside::default(), at(3_611))),
            [(Kind::PortDown, Turn::Cleared)]
        );
        assert_eq!(watch.kinds(), []);
    }

    #[test]
    fn what_somebody_has_taken_note_of_is_told_again_when_it_has_changed() {
        let mut watch = watch(None);
        let down = port(false, Some(0));
        assert_eq!(told(watch.look(&down, &Beside::default(), at(0))), [(Kind::PortDown, Turn::Raised)]);
        let noted = Beside { acknowledged: watch.up(), ..Beside::default() };
        assert_eq!(noted.acknowledged.len(), 1);
        assert_eq!(told(watch.look(&down, &noted, at(3_600))), []);
        let mut other = Beside { acknowledged: watch.up(), ..Beside::default() };
        other.acknowledged.values_mut().for_each(|words| words.push('!'));
        assert_eq!(told(watch.look(&down, &other, at(3_601))), [(Kind::PortDown, Turn::Lasts)]);
        let up = port(true, Some(3_602));
        assert_eq!(told(watch.look(&up, &noted, at(3_603))), [(Kind::PortDown, Turn::Cleared)]);
        let again = told(watch.look(&down, &Beside::default(), at(3_604)));
        assert_eq!(again, [(Kind::PortDown, Turn::Raised)], "another time is told");
    }

    #[test]
    fn what_was_up_when_the_program_ended_is_neither_over_nor_new_at_once() {
        let mut watch = watch(None);
        let still_up = |place: &str| StillUp {
            which: (Kind::PortDown, place.into()),
            told: at(-60),
            words: format!("{place} is down: nothing is recorded from it"),
        };
        watch.go_on_with(vec![still_up("eth1"), still_up("eth2")], at(0));
        assert_eq!(told(watch.look(&Status::default(), &Beside::default(), at(1))), [], "not known yet");
        assert_eq!(told(watch.look(&port(false, None), &Beside::default(), at(2))), []);
        let over = watch.look(&port(false, None), &Beside::default(), at(120));
        assert_eq!(over.iter().map(|notice| notice.place.as_str()).collect::<Vec<_>>(), ["eth2"]);
        assert_eq!(
            told(watch.look(&port(true, Some(121)), &Beside::default(), at(121))),
            [(Kind::PortDown, Turn::Cleared)]
        );
    }

    #[test]
    fn where_the_canary_goes_may_be_silent_and_must_be_there() {
        let mut watch = watch(None);
        let lo = |up| Status {
            ports: vec![Port { name: "lo".into(), up, ..Port::default() }],
            ..Status::default()
        };
        assert_eq!(told(watch.look(&lo(true), &Beside::default(), at(0))), []);
        assert_eq!(told(watch.look(&lo(true), &Beside::default(), at(3_000))), []);
        let gone = watch.look(&lo(false), &Beside::default(), at(3_001));
        assert_eq!(told(gone), [(Kind::PortDown, Turn::Raised)]);
    }

    #[test]
    fn silence_counts_from_the_start_and_in_office_hours_only() {
        let mut always = watch(None);
        assert_eq!(told(always.look(&port(true, None), &Beside::default(), at(0))), []);
        assert_eq!(told(always.look(&port(true, None), &Beside::default(), at(599))), []);
        assert_eq!(
            told(always.look(&port(true, None), &Beside::default(), at(600))),
            [(Kind::PortSilent, Turn::Raised)]
        );
        let mut office = watch(Some("Mon-Fri 08:00-18:00"));
        assert_eq!(told(office.look(&port(true, None), &Beside::default(), at(0))), []);
        assert_eq!(told(office.look(&port(true, Some(10)), &Beside::default(), at(7 * 3_600))), []);
        let morning = office.look(&port(true, Some(10)), &Beside::default(), at(8 * 3_600));
        assert_eq!(told(morning), [(Kind::PortSilent, Turn::Raised)]);
        assert_eq!(
            told(office.look(&port(true, Some(8 * 3_600 + 9)), &Beside::default(), at(8 * 3_600 + 10))),
            [(Kind::PortSilent, Turn::Cleared)]
        );
    }

    #[test]
    fn drops_and_refused_calls_are_told_for_a_while() {
        let mut watch = watch(None);
        let mut status = Status::default();
        assert_eq!(told(watch.look(&status, &Beside::default(), at(0))), []);
        status.counters.packets_dropped_kernel = 7;
        status.outcomes = vec![("no_channel", 1)];
        let both = [(Kind::FramesDropped, Turn::Raised), (Kind::NoChannel, Turn::Raised)];
        assert_eq!(told(watch.look(&status, &Beside::default(), at(5))), both);
        status.counters.packets_dropped_kernel = 8;
        assert_eq!(told(watch.look(&status, &Beside::default(), at(200))), []);
        assert_eq!(
            told(watch.look(&status, &Beside::default(), at(306))),
            [(Kind::NoChannel, Turn::Cleared)]
        );
        assert_eq!(
            told(watch.look(&status, &Beside::default(), at(501))),
            [(Kind::FramesDropped, Turn::Cleared)]
        );
    }

    fn live() -> web::live::LiveCall {
        web::live::LiveCall {
            recording: Some(store::RecordingId::new(at(0))),
            call: "call".into(),
            segment: 1,
            extension: "2000".into(),
            extension_name: None,
            other_party: "01632960001".into(),
            direction: store::Direction::Inbound,
            agent: None,
            who: web::live::LiveWho::default(),
            outside_number: None,
            other_party_name: None,
            account_code: None,
            hunt_group: None,
            trunk: None,
            ddi: None,
            ddi_name: None,
            contact: None,
            transferred_from: None,
            tags: Vec::new(),
            fields: policy::CustomFields::default(),
            told_by: BTreeMap::new(),
            stale: Vec::new(),
            source: store::Source::Mirror,
            started: at(0),
            paused_since: None,
            paused_by: Vec::new(),
            stopped: false,
            pause_forgotten: false,
            pause_ends: None,
            no_channel: false,
            machine: policy::modes::Machine::new(policy::modes::Mode::Always),
        }
    }

    #[test]
    fn a_pause_is_told_when_the_gate_takes_it_for_forgotten_however_long_that_is() {
        let mut watch = watch(None);
        let call = |since: i64, stopped, pause_forgotten| web::live::LiveCall {
            paused_since: Some(at(since)),
            stopped,
            pause_forgotten,
            ..live()
        };
        let status = |call| Status { calls: vec![call], ..Status::default() };
        // Stopped, or paused where more is allowed.
        for stopped in [true, false] {
            let holds = told(watch.look(&status(call(0, stopped, false)), &Beside::default(), at(3_000)));
            assert_eq!(holds, [], "{stopped}");
        }
        let forgotten = watch.look(&status(call(2_990, false, true)), &Beside::default(), at(3_001));
        assert_eq!(told(forgotten), [(Kind::PauseLong, Turn::Raised)]);
        let over = watch.look(&status(call(2_990, false, false)), &Beside::default(), at(3_002));
        assert_eq!(told(over), [(Kind::PauseLong, Turn::Cleared)]);
    }

    #[test]
    fn each_system_whose_facts_are_stale_has_an_alarm_until_it_is_heard_again() {
        let mut watch = watch(None);
        let source = |name: &str, up, stale_since: Option<i64>| web::live::FactSource {
            name: name.into(),
            up,
            last_heard: None,
            stale_since: stale_since.map(at),
        };
        let status = |facts| Status { facts, ..Status::default() };
        let stale = status(vec![
            source("feed pbx1", true, Some(0)),
            source("smdr 192.0.2.10", false, Some(5)),
            source("feed crm", true, None),
        ]);
        let notices = watch.look(&stale, &Beside::default(), at(60));
        let places: Vec<_> =
            notices.iter().map(|notice| (notice.alarm, notice.turn, notice.place.as_str())).collect();
        let raised = |place| (Kind::FactsStale, Turn::Raised, place);
        assert_eq!(places, [raised("feed pbx1"), raised("smdr 192.0.2.10")]);
        assert!(notices[0].words.contains("says nothing") && notices[1].words.contains("not connected"));
        let heard = status(vec![source("feed pbx1", true, None), source("smdr 192.0.2.10", false, Some(5))]);
        let over = watch.look(&heard, &Beside::default(), at(62));
        assert_eq!(
            over.iter().map(|n| (n.turn, n.place.as_str())).collect::<Vec<_>>(),
            [(Turn::Cleared, "feed pbx1")]
        );
    }

    #[test]
    fn the_disk_is_low_until_it_is_well_above() {
        let mut watch = watch(None);
        let status = Status::default();
        let drive = |percent| {
            let space = Space { free: percent, total: 100 };
            Beside {
                drives: vec![Drive { name: "archive".into(), space, full_in_h: None }],
                ..Beside::default()
            }
        };
        assert_eq!(told(watch.look(&status, &drive(10), at(0))), []);
        assert_eq!(told(watch.look(&status, &drive(9), at(1))), [(Kind::DiskLow, Turn::Raised)]);
        assert_eq!(told(watch.look(&status, &drive(11), at(2))), []);
        assert_eq!(told(watch.look(&status, &drive(12), at(3))), [(Kind::DiskLow, Turn::Cleared)]);
        assert_eq!(told(watch.look(&status, &drive(11), at(4))), []);
        // It is told again when a half, and when a quarter of it is left, and not for getting better.
        let mut turns = Vec::new();
        for (s, percent) in (5..).zip([9, 5, 4, 3, 2, 4, 2, 1]) {
            turns.extend(
                told(watch.look(&status, &drive(percent), at(s)))
                    .into_iter()
                    .map(|(_, turn)| (percent, turn)),
            );
        }
        let told_at = [(9, Turn::Raised), (4, Turn::Lasts), (2, Turn::Lasts), (2, Turn::Lasts)];
        assert_eq!(turns, told_at);
    }

    #[test]
    fn what_the_archive_has_to_tell_is_an_alarm_while_it_holds() {
        let mut watch = watch(None);
        let condition =
            |kind, place: &str| Condition { kind, place: place.into(), words: format!("{kind:?}") };
        let archive = vec![
            condition(Kind::ArchiveBehind, ""),
            condition(Kind::LocationFailed, "nas"),
            condition(Kind::LocationFailed, "bucket"),
        ];
        let mut beside = Beside { archive, ..Beside::default() };
        let notices = watch.look(&Status::default(), &beside, at(0));
        let places: Vec<_> = notices.iter().map(|notice| (notice.alarm, notice.place.as_str())).collect();
        assert_eq!(
            places,
            [(Kind::ArchiveBehind, ""), (Kind::LocationFailed, "bucket"), (Kind::LocationFailed, "nas")]
        );
        beside.archive.truncate(2);
        let over = watch.look(&Status::default(), &beside, at(1));
        assert_eq!(
            over.iter().map(|n| (n.turn, n.place.as_str())).collect::<Vec<_>>(),
            [(Turn::Cleared, "bucket")]
        );
        assert_eq!(Kind::ALL.len(), Kind::ALL.iter().map(|kind| kind.key()).collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn each_drive_and_the_mail_server_have_an_alarm_of_their_own() {
        let mut watch = watch(None);
        let drive = |name: &str, percent, full_in_h| Drive {
            name: name.into(),
            space: Space { free: percent, total: 100 },
            full_in_h,
        };
        let mut beside = Beside {
            drives: vec![drive("archive", 50, Some(23)), drive("nas", 5, None)],
            mail: Some("no answer".into()),
            ..Beside::default()
        };
        let notices = watch.look(&Status::default(), &beside, at(0));
        let places: Vec<_> = notices.iter().map(|notice| (notice.alarm, notice.place.as_str())).collect();
        assert_eq!(places, [(Kind::DiskLow, "nas"), (Kind::DiskForecast, "archive"), (Kind::MailFailed, "")]);
        assert!(notices[1].words.contains("full in 23 h"), "{notices:?}");
        beside.drives[0].full_in_h = Some(24);
        beside.mail = None;
        let over = told(watch.look(&Status::default(), &beside, at(2)));
        assert_eq!(over, [(Kind::DiskForecast, Turn::Cleared), (Kind::MailFailed, Turn::Cleared)]);
    }
}
