//! Lengths, sizes and states in the words that people read, the same on the pages and in the command line's tables.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use decode::playout::GapKind;
use decode::{Party, Timestamp};
use policy::{CustomField, CustomNames};
use store::{
    Counters, Direction, Finding, Outcome, Recoded, RecordingFacts, STARS_MAX, State, Track, Verdict,
};

/// Minutes and seconds, with tenths; hours when there are some.
#[must_use]
pub fn length(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    let (h, m, s, t) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10);
    if h > 0 { format!("{h}:{m:02}:{s:02}.{t}") } else { format!("{m}:{s:02}.{t}") }
}

/// Date and time to the second, UTC.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    at.to_string().get(..19).unwrap_or_default().replace('T', " ")
}

/// Bytes with a unit.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// How a recording was re-encoded, in one sentence. Names of encodings come from signalling: control characters are shown as
/// escapes.
#[must_use]
pub fn recoded(recoded: &Recoded) -> String {
    let names: Vec<&str> = recoded.from_codecs.iter().map(decode::Codec::name).collect();
    let (names, when) = (names.join(", ").escape_debug().to_string(), moment(recoded.at));
    format!("re-encoded at {when} ({}); received as {names}, {}", recoded.rule, size(recoded.from_bytes))
}

/// A number with its name, when it has one that says more.
#[must_use]
pub fn named(number: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() && name != number => format!("{number} {name}"),
        _ => number.to_owned(),
    }
}

static FIELD_NAMES: RwLock<CustomNames> = RwLock::new(CustomNames::NONE);

/// Says how people see the five fields from now on. Without it they are `tag1` to `tag5`.
pub fn name_fields(names: CustomNames) {
    *FIELD_NAMES.write().unwrap_or_else(PoisonError::into_inner) = names;
}

fn field_names() -> RwLockReadGuard<'static, CustomNames> {
    FIELD_NAMES.read().unwrap_or_else(PoisonError::into_inner)
}

/// A field as people see it.
#[must_use]
pub fn field(field: CustomField) -> String {
    field_names().of(field).to_owned()
}

/// Fields that have a name of their own: lists have a column for each.
pub fn named_fields() -> impl Iterator<Item = CustomField> {
    let names = field_names();
    CustomField::ALL.map(|field| names.has(field).then_some(field)).into_iter().flatten()
}

/// The field of this name, capitals or not.
#[must_use]
pub fn field_named(name: &str) -> Option<CustomField> {
    field_names().field(name)
}

/// A rating.
#[must_use]
pub fn stars(stars: u8) -> String {
    if stars == 0 { "none".to_owned() } else { format!("{stars} of {STARS_MAX}") }
}

/// The business unit that a recording counts for, with those above it; empty when it is not known.
#[must_use]
pub fn units(facts: &RecordingFacts) -> String {
    facts.units().collect::<Vec<_>>().join(", below ")
}

/// What is to be known of a track's encryption. One sentence each.
#[must_use]
pub fn secrecy(track: &Track) -> Vec<String> {
    let mut said = Vec::new();
    if track.undecryptable > 0 {
        let why = track.no_key.map_or(String::new(), |missing| format!(": {}", missing.words()));
        said.push(format!("{} packets could not be decrypted and are missing{why}", track.undecryptable));
    }
    if track.looks_encrypted > 0 {
        said.push(format!(
            "{} packets were announced as plain audio and look encrypted: what is heard of them is noise",
            track.looks_encrypted
        ));
    }
    said
}

/// How far a recording has come.
#[must_use]
pub fn state(state: State) -> &'static str {
    match state {
        State::Recording => "recording",
        State::Complete => "complete",
        State::Interrupted => "interrupted",
    }
}

/// Which way a call went: a sign, and the word for who cannot see it.
#[must_use]
pub fn direction(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Inbound => ("←", "inbound"),
        Direction::Outbound => ("→", "outbound"),
        Direction::Internal => ("↔", "internal"),
        Direction::Unknown => ("·", "unknown"),
    }
}

/// Whose channel.
#[must_use]
pub fn party(party: Party) -> &'static str {
    match party {
        Party::Near => "near (left)",
        Party::Far => "far (right)",
    }
}

/// Why there is no sound.
#[must_use]
pub fn gap(kind: GapKind) -> &'static str {
    match kind {
        GapKind::Loss => "packets lost",
        GapKind::Silence => "nothing sent",
        GapKind::Hold => "on hold",
        GapKind::Pause => "recording paused",
        GapKind::NotDecodable => "encoding not decodable here",
    }
}

/// What became of a call.
#[must_use]
pub fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Running => "still running".to_owned(),
        outcome => outcome.key().replace('_', " "),
    }
}

/// What a recorder counted beside the calls.
#[must_use]
pub fn counters(counters: &Counters) -> String {
    let outside = match counters.outside_rtp + counters.outside_unannounced_rtp {
        0 => String::new(),
        all => format!("; RTP packets on ports not listed {all}, {} of them of calls", counters.outside_rtp),
    };
    format!(
        "{} packets, {} SIP messages, {} RTP packets; dropped: kernel {}, ring {}; unannounced RTP flows {}, copies of a call's {}; oddities {}; TLS connections not decrypted {}{outside}",
        counters.packets_seen,
        counters.sip_messages,
        counters.rtp_packets,
        counters.packets_dropped_kernel,
        counters.packets_dropped_ring,
        counters.unannounced_rtp,
        counters.copied_rtp,
        counters.oddities,
        counters.tls_undecryptable
    )
}

/// What is wrong with a recording, by its verification.
#[must_use]
pub fn problem(finding: &Finding) -> Option<String> {
    match &finding.verdict {
        Verdict::Intact { .. } | Verdict::Recording | Verdict::Deleted | Verdict::Stamped { .. } => None,
        Verdict::Changed { what } => Some(format!("it is not as it was sealed: {what}")),
        Verdict::Away { what } => {
            Some(format!("it could not be looked at, its audio is in an archive location: {what}"))
        }
        Verdict::NotCopied { what } => Some(what.clone()),
        Verdict::Missing => Some("its file is gone".to_owned()),
        Verdict::Unlisted => Some("the ledger does not name this recording".to_owned()),
        Verdict::Unreadable { what } => Some(format!("it cannot be read: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_read_as_on_the_command_line() {
        assert_eq!([0, 12_340, 3_725_060].map(length), ["0:00.0", "0:12.3", "1:02:05.1"]);
        assert_eq!([512, 1_536, 3 << 30].map(size), ["512 bytes", "1.5 KiB", "3.0 GiB"]);
        assert_eq!(length(u64::MAX).matches(':').count(), 2);
    }
}
