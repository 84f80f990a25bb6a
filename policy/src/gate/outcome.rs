//! The one column of the balance sheet that a leg belongs to, and why, in words.

use decode::Side;
use decode::tracker::{Ending, LegEnd, UnannouncedRtp};

use super::part::Part;
use crate::modes::Mode;
use crate::outcome::Outcome;
use crate::rules::Verdict;

/// Of a leg between two strangers to the site.
pub(super) const NOBODY: &str = "no recorded device takes part";

/// Why RTP without signalling is not recorded, with what an administrator needs to list the device: its addresses stand in the
/// line beside it.
pub(super) fn unannounced(rtp: &UnannouncedRtp) -> String {
    let seen = rtp.ethernet.map_or_else(String::new, |e| format!(", Ethernet {} to {}", e.src, e.dst));
    let look = if rtp.looks_encrypted { ", whose bytes look encrypted" } else { "" };
    format!("RTP without signalling, no listed device, {} packets{look}{seen}", rtp.packets)
}

/// What became of a part, and whether its recording is to be destroyed.
pub(super) struct Fate {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    /// Why, if it is.
    pub(super) discard: Option<String>,
}

impl Fate {
    fn new(outcome: Outcome, reason: impl Into<String>) -> Fate {
        Fate { outcome, reason: reason.into(), discard: None }
    }

    fn discard(outcome: Outcome, reason: impl Into<String>, why: &str) -> Fate {
        Fate { discard: Some(why.to_owned()), ..Fate::new(outcome, reason) }
    }
}

/// What became of one extension's part; `any` says whether a packet of it was kept.
pub(super) fn fate(part: &Part, end: &LegEnd, keep_unanswered: bool, any: bool) -> Fate {
    let rule = match &part.verdict {
        Verdict::Record { rule, .. } => rule,
        Verdict::DeviceNotRecorded { why } => return Fate::new(Outcome::DeviceNotRecorded, why.as_str()),
        Verdict::InternalExcluded => {
            let reason = with_destroyed("internal calls are excluded", part);
            return Fate::new(Outcome::InternalExcluded, reason);
        }
        Verdict::Excluded { rule } => return Fate::new(Outcome::Excluded, with_destroyed(rule, part)),
    };
    if !part.begun {
        return match part.refused {
            Some(in_use) => Fate::new(
                Outcome::NoChannel,
                format!("no channel was free: {in_use} of {in_use} were in use{}", part.notes),
            ),
            None => Fate::new(
                Outcome::Excluded,
                format!("{rule}; mode {}: nobody asked for it to be recorded", part.machine.mode().key()),
            ),
        };
    }
    if end.facts.answered.is_none() && !keep_unanswered {
        return Fate::discard(Outcome::NotAnswered, "early audio is not kept", "the call was not answered");
    }
    if !part.machine.is_kept() {
        let why = match part.machine.mode() {
            Mode::DiscardByDefault if part.asked_by.is_empty() => "nobody asked to keep it".to_owned(),
            _ => format!("discarded by {}", part.asked_by),
        };
        let why = format!("mode {}: {why}", part.machine.mode().key());
        return Fate::discard(Outcome::Excluded, format!("{rule}; {why}"), &why);
    }
    if !any && part.gap.is_some() {
        return Fate::new(Outcome::Paused, format!("{rule}; it was paused throughout{}", part.notes));
    }
    let (outcome, reason) = recorded(end, rule);
    Fate::new(outcome, format!("{reason}{}", part.notes))
}

/// The reason of what is excluded, with what had been recorded until then.
fn with_destroyed(reason: &str, part: &Part) -> String {
    match &part.destroyed {
        Some(when) => format!("{reason}; {when}, what had been recorded was destroyed"),
        None => reason.to_owned(),
    }
}

/// Of a leg whose audio was never judged: none came that could be read.
pub(super) fn silent(end: &LegEnd) -> (Outcome, String) {
    let facts = &end.facts;
    let missing = end.tracks.iter().find_map(|track| track.no_key).or(facts.no_key);
    if let Some(missing) = missing.filter(|_| facts.encrypted && facts.answered.is_some()) {
        return (Outcome::Undecryptable, format!("the media is encrypted: {}", missing.words()));
    }
    if facts.answered.is_some() {
        return match facts.audio_announced {
            true if end.outside_packets > 0 => (Outcome::NoMedia, format!("answered{}", outside(end))),
            true => (Outcome::NoMedia, "answered, and no audio packet was seen".into()),
            false => (Outcome::NoMedia, "answered, and no audio was announced".into()),
        };
    }
    match &facts.ending {
        // The recorder's own refusals: all channels of the PBX are in use, or there is no port.
        Ending::Rejected { status: status @ (486 | 503), reason } if facts.conferenced.is_some() => {
            (Outcome::NoChannel, format!("no channel was free: refused with {status} {reason}"))
        }
        Ending::Rejected { status, reason } => {
            (Outcome::NotAnswered, format!("{status} {reason}").trim_end().into())
        }
        Ending::Cancelled => (Outcome::NotAnswered, "cancelled by the caller".into()),
        Ending::AnsweredElsewhere => (Outcome::NotAnswered, "answered at another device".into()),
        Ending::Running | Ending::EndOfInput => {
            (Outcome::Running, "the capture ended before an answer".into())
        }
        _ if facts.malformed => (Outcome::Malformed, "the signalling could not be followed".into()),
        Ending::TimedOut | Ending::MediaStopped => (Outcome::NotAnswered, "no answer was seen".into()),
        Ending::Bye { .. } => (Outcome::NotAnswered, "hung up before an answer".into()),
    }
}

/// What was left out of a leg for its ports.
fn outside(end: &LegEnd) -> String {
    format!(
        "; {} audio packets on ports that site.rtp_ports does not list were left out",
        end.outside_packets
    )
}

/// A call of which something was recorded: with what could not be read of it. What looks like ciphertext for the most part is kept
/// as evidence, and not counted as a recording of a call.
fn recorded(end: &LegEnd, rule: &str) -> (Outcome, String) {
    let (mut packets, mut scrambled) = (0, 0);
    let mut reason = String::new();
    if end.facts.joined_late {
        reason += "; it had begun before it was seen";
    }
    if end.facts.known_by_end {
        reason += ", and its audio is known by having stopped with its BYE";
    }
    if end.not_held_packets > 0 {
        reason += &format!(" ({} packets from before that were not held)", end.not_held_packets);
    }
    if end.outside_packets > 0 {
        reason += &outside(end);
    }
    if end.shares_media {
        reason += "; another call announced the same places for its audio";
    }
    for track in &end.tracks {
        let who = if track.side == Side::Caller { "caller" } else { "callee" };
        packets += track.packets;
        scrambled += track.looks_encrypted;
        if let Some(missing) = track.no_key {
            let (lost, why) = (track.undecryptable, missing.words());
            reason += &format!("; {lost} packets of the {who} could not be decrypted: {why}");
        }
        if track.looks_encrypted > 0 {
            reason += &format!(
                "; {} packets of the {who}, announced as plain, look encrypted",
                track.looks_encrypted
            );
        }
    }
    let outcome = if scrambled > packets / 2 { Outcome::Undecryptable } else { Outcome::Recorded };
    (outcome, format!("{rule}{reason}"))
}
