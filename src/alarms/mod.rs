//! What somebody must look at: conditions of a running recorder, told when they begin, again while they last, and when they end.
//!
//! Pure: statuses and times in, notices out. Who is told, and how, is in [`sinks`].

pub(crate) mod sinks;

use std::collections::BTreeMap;

use decode::Timestamp;
use jiff::tz::TimeZone;
use policy::rules::Hours;
use serde::Serialize;
use store::Space;
use web::live::Status;

/// Free share of the disk that is told, in percent; the archive itself tells 20 and 5 too, in the log.
const DISK_LOW_PERCENT: u64 = 10;
/// How far above it the room must rise before the alarm ends.
const DISK_AGAIN_PERCENT: u64 = 12;
/// A drop, or a refused call, keeps its alarm up for so long.
const EVENT_LASTS_MS: i64 = 5 * 60_000;
/// A pause that lasts so long may have been forgotten; rules may set it otherwise for the recording itself.
const PAUSE_LONG_MS: u64 = 10 * 60_000;

/// A kind of condition; the place that it is about stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The archive does not take what is recorded.
    ArchiveFailed,
    /// Little room on the archive's disk.
    DiskLow,
    /// A way in is closed: an adapter is gone or down.
    PortDown,
    /// Nothing comes in although somebody should be telephoning.
    PortSilent,
    /// Frames were lost on this machine.
    FramesDropped,
    /// Calls were refused for want of a channel.
    NoChannel,
    /// A recording has been paused for long.
    PauseLong,
}

impl Kind {
    /// One word, as in metrics and messages.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Kind::ArchiveFailed => "archive-failed",
            Kind::DiskLow => "disk-low",
            Kind::PortDown => "port-down",
            Kind::PortSilent => "port-silent",
            Kind::FramesDropped => "frames-dropped",
            Kind::NoChannel => "no-channel",
            Kind::PauseLong => "pause-long",
        }
    }

    /// Does it cost recordings now? (RFC 5424, 6.2.1: critical or warning.)
    pub(crate) const fn is_critical(self) -> bool {
        matches!(self, Kind::ArchiveFailed | Kind::PortDown | Kind::FramesDropped)
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
    /// In words; no number and no name of a caller.
    pub(crate) words: String,
}

/// When conditions count.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A way in is silent after so many milliseconds; never when absent.
    pub(crate) silent_ms: Option<u64>,
    /// Silence counts in these hours only; always when absent.
    pub(crate) office_hours: Option<Hours>,
    pub(crate) zone: TimeZone,
    /// A condition that lasts is told again after so many milliseconds.
    pub(crate) repeat_ms: u64,
}

/// A condition that holds.
#[derive(Clone, Debug)]
struct Raised {
    told: Timestamp,
    words: String,
}

/// Watches a recorder.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    raised: BTreeMap<(Kind, String), Raised>,
    /// Counts at the last look, and until when what they told is told.
    dropped: (u64, Option<Timestamp>),
    refused: (u64, Option<Timestamp>),
    disk_is_low: bool,
    first_look: Option<Timestamp>,
}

impl Watch {
    pub(crate) fn new(limits: Limits) -> Watch {
        Watch {
            limits,
            raised: BTreeMap::new(),
            dropped: (0, None),
            refused: (0, None),
            disk_is_low: false,
            first_look: None,
        }
    }

    /// The kinds that hold now.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.raised.keys().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        kinds
    }

    /// Takes a look; gives what is to be told.
    pub(crate) fn look(&mut self, status: &Status, space: Option<Space>, now: Timestamp) -> Vec<Notice> {
        self.first_look.get_or_insert(now);
        let holding = self.holding(status, space, now);
        let mut notices = Vec::new();
        let mut tell =
            |alarm, turn, words: &str| notices.push(Notice { at: now, alarm, turn, words: words.to_owned() });
        self.raised.retain(|key, raised| {
            let holds = holding.contains_key(key);
            if !holds {
                tell(key.0, Turn::Cleared, &raised.words);
            }
            holds
        });
        for (key, words) in holding {
            match self.raised.get_mut(&key) {
                None => {
                    tell(key.0, Turn::Raised, &words);
                    self.raised.insert(key, Raised { told: now, words });
                }
                Some(raised) => {
                    if now.millis_since(raised.told) >= self.limits.repeat_ms {
                        tell(key.0, Turn::Lasts, &words);
                        raised.told = now;
                    }
                    raised.words = words;
                }
            }
        }
        notices
    }

    /// What holds now, in words, by kind and place.
    fn holding(
        &mut self,
        status: &Status,
        space: Option<Space>,
        now: Timestamp,
    ) -> BTreeMap<(Kind, String), String> {
        let mut holding = BTreeMap::new();
        let mut holds =
            |kind, place: &str, words: String| drop(holding.insert((kind, place.to_owned()), words));
        if status.failure.is_some() {
            holds(
                Kind::ArchiveFailed,
                "",
                "the archive does not take what is recorded; the recorder's log says why".into(),
            );
        }
        if let Some(space) = space {
            let limit = if self.disk_is_low { DISK_AGAIN_PERCENT } else { DISK_LOW_PERCENT };
            self.disk_is_low = space.percent() < limit;
            if self.disk_is_low {
                holds(Kind::DiskLow, "", format!("{} % of the archive's disk is free", space.percent()));
            }
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
        if let Some(lost) = grown(&mut self.dropped, status.dropped(), now) {
            holds(Kind::FramesDropped, "", format!("{lost} frames were lost on this machine so far"));
        }
        let refused = status.outcomes.iter().find(|(key, _)| *key == policy::Outcome::NoChannel.key());
        if let Some(refused) = grown(&mut self.refused, refused.map_or(0, |(_, n)| *n), now) {
            holds(Kind::NoChannel, "", format!("{refused} calls found no channel free so far"));
        }
        let long = |call: &&web::live::LiveCall| {
            call.paused_since.is_some_and(|since| now.millis_since(since) >= PAUSE_LONG_MS)
        };
        let paused = status.calls.iter().filter(long).count();
        if paused > 0 {
            let minutes = PAUSE_LONG_MS / 60_000;
            holds(
                Kind::PauseLong,
                "",
                format!("{paused} recordings have been paused for {minutes} min and more"),
            );
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
    use web::live::Port;

    use super::*;

    fn at(s: i64) -> Timestamp {
        // A Monday, 00:00 UTC.
        Timestamp::from_parts(1_795_392_000 + s, 0)
    }

    fn watch(office_hours: Option<&str>) -> Watch {
        Watch::new(Limits {
            silent_ms: Some(600_000),
            office_hours: office_hours.map(|text| Hours::new(text).expect("hours")),
            zone: TimeZone::UTC,
            repeat_ms: 3_600_000,
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
        assert_eq!(told(watch.look(&port(true, Some(0)), None, at(0))), []);
        assert_eq!(told(watch.look(&port(false, Some(0)), None, at(5))), [(Kind::PortDown, Turn::Raised)]);
        assert_eq!(told(watch.look(&port(false, Some(0)), None, at(1_000))), []);
        assert_eq!(told(watch.look(&port(false, Some(0)), None, at(3_605))), [(Kind::PortDown, Turn::Lasts)]);
        assert_eq!(watch.kinds(), [Kind::PortDown]);
        assert_eq!(
            told(watch.look(&port(true, Some(3_610)), None, at(3_611))),
            [(Kind::PortDown, Turn::Cleared)]
        );
        assert_eq!(watch.kinds(), []);
    }

    #[test]
    fn silence_counts_from_the_start_and_in_office_hours_only() {
        let mut always = watch(None);
        assert_eq!(told(always.look(&port(true, None), None, at(0))), []);
        assert_eq!(told(always.look(&port(true, None), None, at(599))), []);
        assert_eq!(told(always.look(&port(true, None), None, at(600))), [(Kind::PortSilent, Turn::Raised)]);
        let mut office = watch(Some("Mon-Fri 08:00-18:00"));
        assert_eq!(told(office.look(&port(true, None), None, at(0))), []);
        assert_eq!(told(office.look(&port(true, Some(10)), None, at(7 * 3_600))), []);
        let morning = office.look(&port(true, Some(10)), None, at(8 * 3_600));
        assert_eq!(told(morning), [(Kind::PortSilent, Turn::Raised)]);
        assert_eq!(
            told(office.look(&port(true, Some(8 * 3_600 + 9)), None, at(8 * 3_600 + 10))),
            [(Kind::PortSilent, Turn::Cleared)]
        );
    }

    #[test]
    fn drops_and_refused_calls_are_told_for_a_while() {
        let mut watch = watch(None);
        let mut status = Status::default();
        assert_eq!(told(watch.look(&status, None, at(0))), []);
        status.counters.packets_dropped_kernel = 7;
        status.outcomes = vec![("no_channel", 1)];
        let both = [(Kind::FramesDropped, Turn::Raised), (Kind::NoChannel, Turn::Raised)];
        assert_eq!(told(watch.look(&status, None, at(5))), both);
        status.counters.packets_dropped_kernel = 8;
        assert_eq!(told(watch.look(&status, None, at(200))), []);
        assert_eq!(told(watch.look(&status, None, at(306))), [(Kind::NoChannel, Turn::Cleared)]);
        assert_eq!(told(watch.look(&status, None, at(501))), [(Kind::FramesDropped, Turn::Cleared)]);
    }

    #[test]
    fn the_disk_is_low_until_it_is_well_above() {
        let mut watch = watch(None);
        let status = Status::default();
        let space = |percent| Some(Space { free: percent, total: 100 });
        assert_eq!(told(watch.look(&status, space(10), at(0))), []);
        assert_eq!(told(watch.look(&status, space(9), at(1))), [(Kind::DiskLow, Turn::Raised)]);
        assert_eq!(told(watch.look(&status, space(11), at(2))), []);
        assert_eq!(told(watch.look(&status, space(12), at(3))), [(Kind::DiskLow, Turn::Cleared)]);
    }
}
