//! Figures for a monitoring system, in Prometheus' text format (version 0.0.4).
//!
//! Names follow its conventions: base units, `_total` for what only grows. No label holds a number, a name or an address of
//! a call: who reads metrics need not know who telephones.

use std::fmt::{Display, Write};

use decode::Timestamp;
use decode::endpoint::{Counts, RegistrationState};
use store::Space;

use crate::live::{Port, Status};

/// What is told beside the recorder's status.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Room on the archive's disk.
    pub space: Option<Space>,
    /// The drives that something is written to, by name, and in how many hours each is full, if that can be told.
    pub drives: Vec<(String, Space, Option<u64>)>,
    /// Bytes of memory of this process.
    pub resident_bytes: Option<u64>,
    /// Open files of this process.
    pub open_fds: Option<u64>,
    /// Processor time of this process, in seconds.
    pub cpu_seconds: Option<f64>,
    /// The calls that the recorder makes to itself; none where it makes none.
    pub canary: Option<Canary>,
    /// Conditions that need somebody's attention, by name.
    pub alarms: Vec<&'static str>,
}

/// What came of the calls that a recorder makes to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canary {
    /// Those that were made.
    pub calls: u64,
    /// Those that were not heard as they were said.
    pub failures: u64,
    /// When the last good one was.
    pub last_good: Option<Timestamp>,
    /// From its end until it could be played, in milliseconds.
    pub playable_ms: Option<u64>,
}

/// One family of samples after the other.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A String takes everything.
        let _ = write!(self.0, "# HELP earwitness_{name} {help}\n# TYPE earwitness_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "earwitness_{name}");
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// A label's value: backslash, quote and line end are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(at: Timestamp) -> f64 {
    at.as_nanos() as f64 / 1e9
}

/// All figures. `now` tells how old the status is.
#[must_use]
pub fn text(status: &Status, machine: &Machine, now: Timestamp) -> String {
    let mut text = Text::default();
    text.family("build_info", "gauge", "The program's version.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    calls(&mut text, status);
    ports(&mut text, &status.ports);
    if let Some(counts) = &status.record_a_call {
        endpoint(&mut text, counts);
    }
    let counters = &status.counters;
    for (name, help, value) in [
        ("sip_messages_total", "SIP messages read.", counters.sip_messages),
        ("rtp_packets_total", "RTP packets of calls and of unannounced flows.", counters.rtp_packets),
        ("unannounced_rtp_total", "RTP flows that no signalling announced.", counters.unannounced_rtp),
        ("copied_rtp_total", "RTP flows that were copies of a call's.", counters.copied_rtp),
        (
            "outside_ports_packets_total",
            "RTP packets of calls left out for their ports.",
            counters.outside_rtp,
        ),
        (
            "outside_ports_unannounced_packets_total",
            "RTP packets of no call left out for their ports.",
            counters.outside_unannounced_rtp,
        ),
        ("oddities_total", "Traffic that broke a rule.", counters.oddities),
        (
            "tls_unreadable_total",
            "TLS connections that may carry SIP and were not read.",
            counters.tls_undecryptable,
        ),
    ] {
        text.single(name, "counter", help, value);
    }
    if let Some(at) = status.at {
        let age = now.millis_since(at) as f64 / 1e3;
        text.single(
            "recorder_status_age_seconds",
            "gauge",
            "Time since the recorder's last sign of life.",
            age,
        );
    }
    if let Some(since) = status.since {
        text.single(
            "recorder_first_frame_timestamp_seconds",
            "gauge",
            "When the first frame came.",
            seconds(since),
        );
    }
    archive(&mut text, status, machine);
    if let Some(of_machine) = &machine.canary {
        canary(&mut text, of_machine);
    }
    process(&mut text, machine);
    text.0
}

fn calls(text: &mut Text, status: &Status) {
    let paused = status.calls.iter().filter(|call| call.paused_since.is_some()).count();
    text.single("recordings_running", "gauge", "Recordings that run, paused ones too.", status.calls.len());
    text.single("recordings_paused", "gauge", "Running recordings of which nothing is kept now.", paused);
    text.single("channels_in_use", "gauge", "Channels in use.", status.channels_in_use);
    if let Some(channels) = status.channels {
        text.single("channels_limit", "gauge", "Channels there are.", channels);
    }
    text.family("calls_total", "counter", "Calls that have ended, by what became of them.");
    for outcome in policy::Outcome::ALL {
        let ended = status.outcomes.iter().find(|(key, _)| *key == outcome.key()).map_or(0, |(_, n)| *n);
        text.sample("calls_total", &[("outcome", outcome.key())], ended);
    }
}

fn ports(text: &mut Text, ports: &[Port]) {
    text.family("port_up", "gauge", "The way in is open.");
    for port in ports {
        text.sample("port_up", &[("port", &port.name)], u8::from(port.up));
    }
    text.family("port_frames_total", "counter", "Frames taken.");
    for port in ports {
        text.sample("port_frames_total", &[("port", &port.name)], port.frames);
    }
    text.family("port_bytes_total", "counter", "Bytes of frames taken.");
    for port in ports {
        text.sample("port_bytes_total", &[("port", &port.name)], port.bytes);
    }
    text.family("port_dropped_frames_total", "counter", "Frames lost on this machine, by where.");
    for port in ports {
        for (place, dropped) in [
            ("kernel", port.dropped_kernel),
            ("interface", port.dropped_interface),
            ("ring", port.dropped_ring),
        ] {
            text.sample("port_dropped_frames_total", &[("port", &port.name), ("at", place)], dropped);
        }
    }
    text.family("port_outages_total", "counter", "Times that a way in was closed, those that last left out.");
    for port in ports {
        text.sample("port_outages_total", &[("port", &port.name)], port.outages);
    }
    text.family("port_outage_seconds_total", "counter", "How long it was closed in all.");
    for port in ports {
        text.sample("port_outage_seconds_total", &[("port", &port.name)], port.away_ms as f64 / 1e3);
    }
    text.family("port_refused_total", "counter", "Packets and connections that were not let in.");
    for port in ports {
        text.sample("port_refused_total", &[("port", &port.name)], port.refused);
    }
    text.family("port_last_frame_timestamp_seconds", "gauge", "When the last frame came.");
    for port in ports {
        if let Some(last) = port.last_frame {
            text.sample("port_last_frame_timestamp_seconds", &[("port", &port.name)], seconds(last));
        }
    }
}

fn endpoint(text: &mut Text, counts: &Counts) {
    text.single("record_a_call_running", "gauge", "Calls that PBXs send.", counts.calls);
    text.single(
        "record_a_call_free_port_pairs",
        "gauge",
        "Pairs of RTP ports that are free.",
        counts.free_ports,
    );
    text.family(
        "record_a_call_invites_total",
        "counter",
        "Calls that PBXs wanted to send, by what was answered.",
    );
    for (answer, count) in [
        ("answered", counts.answered),
        ("busy", counts.busy),
        ("overloaded", counts.overloaded),
        ("refused", counts.refused),
    ] {
        text.sample("record_a_call_invites_total", &[("answer", answer)], count);
    }
    text.family(
        "record_a_call_dropped_total",
        "counter",
        "SIP and RTP that was not answered or kept, by why.",
    );
    for (why, count) in [
        ("stranger", counts.strangers),
        ("flood", counts.floods),
        ("unreadable", counts.unreadable),
        ("foreign_media", counts.foreign_media),
    ] {
        text.sample("record_a_call_dropped_total", &[("why", why)], count);
    }
    text.family("record_a_call_hung_up_total", "counter", "Calls that the recorder ended, by why.");
    for (why, count) in [("silent", counts.silent), ("lost", counts.lost)] {
        text.sample("record_a_call_hung_up_total", &[("why", why)], count);
    }
    text.family("record_a_call_joins_total", "counter", "Conversations to be joined, by what came of it.");
    for (outcome, count) in [("joined", counts.joined), ("not_joined", counts.not_joined)] {
        text.sample("record_a_call_joins_total", &[("outcome", outcome)], count);
    }
    text.single(
        "record_a_call_keepalives_total",
        "counter",
        "Signs of life of connections that were answered.",
        counts.keepalives,
    );
    text.family(
        "record_a_call_challenged_total",
        "counter",
        "Requests that were asked who sends them, by whether they had said so wrongly.",
    );
    let unsaid = counts.challenged.saturating_sub(counts.denied);
    for (why, count) in [("unsaid", unsaid), ("wrong", counts.denied)] {
        text.sample("record_a_call_challenged_total", &[("why", why)], count);
    }
    if counts.registration != RegistrationState::Off {
        let stands = u8::from(counts.registration == RegistrationState::Registered);
        text.single("record_a_call_registered", "gauge", "The PBX knows where we are.", stands);
        text.single(
            "record_a_call_registrations_failed_total",
            "counter",
            "Registrations and refreshes that were refused or not answered.",
            counts.not_registered,
        );
    }
    text.single(
        "record_a_call_not_announced_total",
        "counter",
        "Calls whose parties could not be told that they are recorded.",
        counts.not_announced,
    );
}

fn archive(text: &mut Text, status: &Status, machine: &Machine) {
    let failed = u8::from(status.failure.is_some());
    text.single("archive_failed", "gauge", "The archive does not take what is recorded.", failed);
    if let Some(Space { free, total }) = machine.space {
        text.single("archive_free_bytes", "gauge", "Room on the archive's disk.", free);
        text.single("archive_size_bytes", "gauge", "Size of the archive's disk.", total);
    }
    text.family("drive_free_bytes", "gauge", "Room on a drive that something is written to.");
    for (drive, space, _) in &machine.drives {
        text.sample("drive_free_bytes", &[("drive", drive)], space.free);
    }
    text.family("drive_size_bytes", "gauge", "Its size.");
    for (drive, space, _) in &machine.drives {
        text.sample("drive_size_bytes", &[("drive", drive)], space.total);
    }
    text.family(
        "drive_full_in_seconds",
        "gauge",
        "When it is full, if it goes on to fill as in the last day.",
    );
    for (drive, _, full_in_h) in &machine.drives {
        if let Some(hours) = full_in_h {
            text.sample("drive_full_in_seconds", &[("drive", drive)], hours.saturating_mul(3_600));
        }
    }
    text.family("alarm", "gauge", "A condition that needs somebody's attention, while it lasts.");
    for alarm in &machine.alarms {
        text.sample("alarm", &[("name", alarm)], 1);
    }
}

fn canary(text: &mut Text, canary: &Canary) {
    text.single("canary_calls_total", "counter", "Calls that the recorder made to itself.", canary.calls);
    let failures = canary.failures;
    text.single("canary_failures_total", "counter", "Those that were not heard as they were said.", failures);
    if let Some(at) = canary.last_good {
        text.single(
            "canary_last_good_timestamp_seconds",
            "gauge",
            "When the last good one was.",
            seconds(at),
        );
    }
    if let Some(ms) = canary.playable_ms {
        let help = "From its end until it could be played.";
        text.single("canary_playable_seconds", "gauge", help, ms as f64 / 1e3);
    }
}

fn process(text: &mut Text, machine: &Machine) {
    if let Some(bytes) = machine.resident_bytes {
        text.single("process_resident_memory_bytes", "gauge", "Memory of the process.", bytes);
    }
    if let Some(fds) = machine.open_fds {
        text.single("process_open_fds", "gauge", "Open files of the process.", fds);
    }
    if let Some(cpu) = machine.cpu_seconds {
        text.single("process_cpu_seconds_total", "counter", "Processor time of the process.", cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_parts(s, 0)
    }

    #[test]
    fn every_family_is_introduced_once_and_before_its_samples() {
        let port = Port { name: "eth\"1\\".into(), up: true, last_frame: Some(at(5)), ..Port::default() };
        let status = Status {
            at: Some(at(10)),
            since: Some(at(1)),
            ports: vec![port.clone(), Port { name: "eth2".into(), ..port }],
            outcomes: vec![("recorded", 7)],
            channels: Some(8),
            ..Status::default()
        };
        let machine = Machine {
            space: Some(Space { free: 1, total: 2 }),
            drives: vec![("archive".into(), Space { free: 1, total: 2 }, Some(24))],
            resident_bytes: Some(3),
            open_fds: Some(4),
            cpu_seconds: Some(0.5),
            canary: Some(Canary { calls: 3, failures: 1, last_good: Some(at(9)), playable_ms: Some(700) }),
            alarms: vec!["port-silent"],
        };
        let text = text(&status, &machine, at(12));
        let mut seen = std::collections::BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().expect("a name").to_owned();
                assert!(seen.insert(family.clone()), "{family} twice");
                assert_eq!(rest.ends_with("counter"), family.ends_with("_total"), "{rest}");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().expect("a name");
                assert_eq!(name, family, "a sample outside its family");
                assert!(line.rsplit(' ').next().expect("a value").parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.contains("earwitness_port_up{port=\"eth\\\"1\\\\\"} 1\n"), "{text}");
        assert!(text.contains("earwitness_calls_total{outcome=\"recorded\"} 7\n"));
        assert!(text.contains("earwitness_recorder_status_age_seconds 2\n"));
        assert!(text.contains("earwitness_alarm{name=\"port-silent\"} 1\n"));
    }
}
