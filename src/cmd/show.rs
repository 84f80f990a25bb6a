//! `archive show`: everything about one recording.
//!
//! Facts stand in clear and are always shown. The completeness record and the gaps come from the sealed packets
//! themselves: they need the private key, and say so when it is not there.

use std::fmt::Write as _;

use decode::playout::Timeline;
use serde_json::{Value, json};
use store::locations::Duty;
use store::quality::Reported;
use store::{
    Archive, CopyAt, Deletion, Hold, Recoded, RecordingFacts, RecordingId, Row, Signalling, State, Track,
    Verdict,
};
use web::Trace;
use web::words::{self, length, named, party as name, secrecy, size, state, units};

use super::{copies, export, open_archive, print_json, print_line, warn};
use crate::config::Settings;
use crate::failure::{Done, Failure};
use crate::tables::{cell, plain};

/// Shorter gaps are not worth a line: the edges of two parties never fall on the same packet.
const GAP_MS_MIN: u64 = 100;
/// Why a re-encoded recording has no completeness record.
const RECODED: &str =
    "it was re-encoded, its packets are gone; what was missing of them stands with its tracks";
/// Gaps and imperfect seconds shown; the JSON has all of them.
const LISTED_MAX: usize = 20;

pub(crate) fn run(settings: &Settings, id: &str, sip: bool, json: bool) -> Result<Done, Failure> {
    let archive = open_archive(&settings.archive)?;
    copies::use_locations(&archive, settings, Duty::Read)?;
    let id = archive.resolve(id)?;
    let row = archive.row(id)?;
    if sip && !json {
        return show_sip(&archive, id);
    }
    let signature = signature(&archive, id);
    let survey = export::survey(&archive, id);
    if json {
        let mut object = serde_json::to_value(&row)?;
        object["verified"] = json!(signature.1);
        match &survey {
            Ok(_) if row.facts.recoded.is_some() => object["completeness_missing"] = json!(RECODED),
            Ok(survey) => {
                object["completeness"] = completeness_json(survey.timeline());
                object["not_decodable"] = json!(survey.warnings(web::Shape::Stereo));
            }
            Err(error) => object["completeness_missing"] = json!(error.to_string()),
        }
        if sip {
            let trace = Trace::read(&archive, id)?;
            object["sip"] = json!({ "left_out": trace.left_out(), "messages": trace.steps() });
        }
        print_json(&object)?;
    } else {
        print_facts(&row)?;
        if row.deleted.is_some() {
            return Ok(if signature.1 { Done::All } else { Done::IntegrityBroken });
        }
        print_line(&format!("{:<14} {}", "signature", signature.0))?;
        match &survey {
            Ok(_) if row.facts.recoded.is_some() => {
                print_line(&format!("{:<14} not shown: {RECODED}", "completeness"))?;
            }
            Ok(survey) => {
                print_timeline(survey.timeline())?;
                for warning in survey.warnings(web::Shape::Stereo) {
                    print_line(&format!("{:<14} {warning}", "not decodable"))?;
                }
            }
            Err(error) => print_line(&format!("{:<14} not shown: {error}", "completeness"))?,
        }
    }
    Ok(if signature.1 { Done::All } else { Done::IntegrityBroken })
}

/// The call's SIP alone: the ladder that an engineer asks for first. The recording is verified as it is read.
fn show_sip(archive: &Archive, id: RecordingId) -> Result<Done, Failure> {
    let trace = Trace::read(archive, id)?;
    if trace.is_empty() {
        print_line("no SIP is kept with this recording")?;
    } else {
        for line in trace.ladder() {
            print_line(&line)?;
        }
    }
    for warning in trace.warnings() {
        warn(&warning);
    }
    Ok(Done::All)
}

/// Verified now, not read from the index.
fn signature(archive: &Archive, id: RecordingId) -> (String, bool) {
    let is_told =
        |finding: &store::Finding| finding.is_problem() || matches!(finding.verdict, Verdict::Away { .. });
    let problem = archive.verify(Some(&[id])).find(is_told);
    match problem.map(|finding| finding.verdict) {
        None => ("valid".to_owned(), true),
        Some(Verdict::Changed { what }) => (format!("INVALID: {what}"), false),
        Some(Verdict::Away { what }) => (format!("not looked at: {what}"), true),
        Some(Verdict::NotCopied { what }) => (what.clone(), false),
        Some(Verdict::Missing) => ("the file is gone".to_owned(), false),
        Some(Verdict::Unlisted) => ("valid, but the ledger does not name this recording".to_owned(), false),
        Some(Verdict::Unreadable { what }) => (format!("cannot be read: {what}"), false),
        Some(Verdict::Intact { .. } | Verdict::Recording | Verdict::Deleted | Verdict::Stamped { .. }) => {
            ("valid".to_owned(), true)
        }
    }
}

fn print_facts(row: &Row) -> Result<(), Failure> {
    let facts = &row.facts;
    let other = named(facts.other_party.as_deref().unwrap_or("?"), facts.other_party_name.as_deref());
    let direction = serde_json::to_value(facts.direction)?;
    // The recorder that was stopped in the middle could not say how the call went on.
    let is_cut = facts.state == State::Interrupted;
    let unknown = if is_cut { "not known" } else { "never" };
    let answered = facts.answered.map_or_else(|| unknown.to_owned(), |at| at.to_string());
    let times = [facts.ring_ms, facts.talk_ms, facts.hold_ms]
        .map(|ms| if is_cut { "-".to_owned() } else { length(ms) });
    let ended = facts.ended.map_or_else(|| "-".to_owned(), |at| at.to_string());
    for (name, value) in [
        ("recording", facts.id.to_string()),
        ("call", format!("{} segment {}", facts.call, facts.segment)),
        ("extension", cell(&named(&facts.extension, facts.extension_name.as_deref()))),
        ("other party", cell(&other)),
        ("user", cell(&named(facts.user.as_deref().unwrap_or("-"), facts.user_name.as_deref()))),
        ("unit", if facts.business_unit.is_some() { plain(&units(facts)) } else { "-".to_owned() }),
        ("direction", direction.as_str().unwrap_or_default().to_owned()),
        ("started", facts.started.to_string()),
        ("answered", answered),
        ("ended", ended),
        ("length", length(facts.duration_ms)),
        ("ring/talk/hold", times.join(" / ")),
        ("state", state(facts.state).to_owned()),
        ("kept because", cell(&facts.rule)),
        ("named by", plain(facts.named_by.as_deref().unwrap_or("-"))),
        ("signalling", signalling(facts)),
        ("SIP Call-ID", facts.sip_call_ids.iter().map(|id| cell(id)).collect::<Vec<_>>().join(" ")),
        ("file", file(row)),
    ] {
        print_line(&format!("{name:<14} {value}"))?;
    }
    if let Some(given) = &row.reassigned {
        let reported = given.reported.user.as_ref().map_or("nobody", |user| user.id.as_str());
        let (who, at) = (cell(&given.who), given.at);
        print_line(&format!(
            "{:<14} by {who} at {at}; the telephone system named {}",
            "user set",
            cell(reported)
        ))?;
    }
    for pause in &facts.pauses {
        print_line(&format!("{:<14} {} to {}", "paused", length(pause.start_ms), length(pause.end_ms)))?;
    }
    for CopyAt { location, at, stale, .. } in &row.copies {
        let stale = if *stale { ", to be removed or made again" } else { "" };
        print_line(&format!("{:<14} {location}, compared at {at}{stale}", "copy"))?;
    }
    if let Some(deletion) = &row.deleted {
        let Deletion { at, who, rule, why } = deletion;
        print_line(&format!(
            "{:<14} {at} by {}, rule {}: {}",
            "audio deleted",
            cell(who),
            cell(rule),
            cell(why)
        ))?;
    }
    if let Some(recoded) = &facts.recoded {
        let Recoded { at, who, rule, from_signed, from_bytes, from_codecs, .. } = &**recoded;
        let from: Vec<String> = from_codecs.iter().map(|codec| cell(codec.name())).collect();
        print_line(&format!("{:<14} {at} by {}, rule {}", "re-encoded", cell(who), plain(rule)))?;
        let was = format!("{} in {}, signed over {from_signed}", from.join(", "), size(*from_bytes));
        print_line(&format!("{:<14} received as {was}", ""))?;
    }
    for hold in &row.legal_holds {
        let Hold { hold, why, at, who } = hold;
        print_line(&format!(
            "{:<14} {}: {}, by {} at {at}",
            "legal hold",
            cell(hold),
            plain(why),
            cell(who)
        ))?;
    }
    for (field, value) in facts.fields.iter() {
        print_line(&format!("{:<14} {}", words::field(field), plain(value)))?;
    }
    if let Some(stars) = row.rating {
        print_line(&format!("{:<14} {}", "rating", words::stars(stars)))?;
    }
    if !facts.tags.is_empty() {
        print_line(&format!("{:<14} {}", "tags", cell(&facts.tags.join(", "))))?;
    }
    for note in &row.notes {
        let place = note.at_ms.map(|ms| format!(" at {}", length(ms))).unwrap_or_default();
        print_line(&format!(
            "{:<14} {} ({}, {}{place})",
            "note",
            cell(&note.text),
            cell(&note.who),
            note.at
        ))?;
    }
    let ddi = facts.ddi.as_ref().map(|ddi| named(ddi, facts.ddi_name.as_deref()));
    for (name, value) in [
        ("site", &facts.site),
        ("DDI", &ddi),
        ("contact", &facts.contact),
        ("agent", &facts.agent),
        ("account code", &facts.account_code),
        ("hunt group", &facts.hunt_group),
        ("trunk", &facts.trunk),
        ("passed on by", &facts.transferred_from),
    ] {
        if let Some(value) = value {
            print_line(&format!("{name:<14} {}", cell(value)))?;
        }
    }
    for tie in &facts.ties {
        print_line(&format!("{:<14} {} as {}", "tied", tie.why, cell(&tie.sip_call_id)))?;
    }
    print_tracks(facts)?;
    if facts.foreign_packets > 0 {
        let kept_out = "RTP packets from strangers to this call's ports; they are not in the recording";
        print_line(&format!("{:<14} {} {kept_out}", "kept out", facts.foreign_packets))?;
    }
    if facts.joined_late {
        let not_held = match facts.not_held_packets {
            0 => String::new(),
            packets => format!(", {packets} RTP packets before the recording begins"),
        };
        print_line(&format!("{:<14} the call had begun before it was seen{not_held}", "begun earlier"))?;
        if facts.known_by_end {
            print_line(&format!("{:<14} only its BYE was seen; its audio is what stopped with that", ""))?;
        }
    }
    if facts.shares_media {
        let what =
            "another call announced the same addresses and ports at the same time; its audio may be in here";
        print_line(&format!("{:<14} {what}", "shared"))?;
    }
    for hold in &facts.holds {
        print_line(&format!("{:<14} {} to {}", "hold", length(hold.start_ms), length(hold.end_ms)))?;
    }
    if !facts.dtmf.is_empty() {
        let at: Vec<String> = facts.dtmf.iter().take(LISTED_MAX).map(|key| length(key.at_ms)).collect();
        print_line(&format!("{:<14} {} keyed, at {}", "digits", facts.dtmf.len(), at.join(" ")))?;
    }
    Ok(())
}

fn file(row: &Row) -> String {
    if row.deleted.is_some() {
        "gone".to_owned()
    } else {
        let away = if row.moved { ", in archive locations alone" } else { "" };
        format!("{}, SHA-256 {}{away}", size(row.bytes), row.sha256)
    }
}

fn signalling(facts: &RecordingFacts) -> String {
    match facts.signalling {
        Signalling::Sip => "SIP".to_owned(),
        Signalling::None => "none: the phone is known by its address".to_owned(),
    }
}

fn print_tracks(facts: &RecordingFacts) -> Result<(), Failure> {
    for track in &facts.tracks {
        let ssrcs: Vec<String> = track.ssrcs.iter().map(|ssrc| format!("{ssrc:08x}")).collect();
        let mos = track.mos.map_or_else(String::new, |mos| format!(", MOS {mos:.2}"));
        print_line(&format!(
            "{:<14} {} {} Hz, {} of audio in {} packets; lost {} in the network, {} by the capture; {} out of order, {} copies; \
             jitter {:.1} ms, clock {:+.1} ppm{mos}; SSRC {}",
            name(track.party),
            track.stored.as_ref().map_or_else(
                || track.codec.to_string(),
                |stored| format!("{} (kept as {stored})", track.codec)
            ),
            track.clock_rate,
            length(track.audio_ms),
            track.packets,
            track.lost_network,
            track.lost_capture,
            track.reordered,
            track.duplicates,
            track.jitter_ms,
            track.skew_ppm,
            ssrcs.join(" ")
        ))?;
        if track.decrypted > 0 {
            let what = "packets were SRTP, decrypted with a key from the signalling";
            print_line(&format!("{:<14} {} {what}", "", track.decrypted))?;
        }
        for what in secrecy(track) {
            print_line(&format!("{:<14} {what}", ""))?;
        }
        for line in quality_lines(track) {
            print_line(&format!("{:<14} {line}", ""))?;
        }
    }
    for absence in &facts.one_way {
        print_line(&format!(
            "{:<14} {} not heard {} to {}",
            "one-way audio",
            name(absence.party),
            length(absence.start_ms),
            length(absence.end_ms)
        ))?;
    }
    Ok(())
}

/// What is to be said of a track beyond its counts. Nothing of one that an earlier version has recorded.
fn quality_lines(track: &Track) -> Vec<String> {
    let quality = &track.quality;
    if quality.expected == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "sent {}, came whole {}, too late for a telephone {}; jitter {:.1} ms on average, at most {:.1} ms",
        quality.expected, quality.received, quality.late, quality.jitter_mean_ms, quality.jitter_max_ms
    )];
    if quality.loss_runs > 0 {
        lines.push(format!(
            "{} gaps, the longest of {} packets; {} bursts, {:.1} % lost in them and {:.2} % between them",
            quality.loss_runs,
            quality.loss_longest,
            quality.bursts,
            100.0 * quality.burst_density,
            100.0 * quality.gap_density
        ));
    }
    for (count, what) in [
        (quality.cut, "packets cut short by the capture"),
        (quality.undecodable, "packets in an encoding that could not be decoded here"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    if quality.silent_ms >= GAP_MS_MIN {
        lines.push(format!("{} of it digital silence", length(quality.silent_ms)));
    }
    if let Some(reported) = &quality.reported {
        lines.push(reported_line(reported));
    }
    if let Some(mos) = quality.mos_cq {
        lines.push(format!("conversational MOS {mos:.2}, with the delay that RTCP tells"));
    }
    lines
}

fn reported_line(reported: &Reported) -> String {
    let mut line = format!(
        "the far end reports: lost {} (at most {:.1} % at a time), jitter {:.1} ms, in {} reports",
        reported.lost, reported.loss_max_percent, reported.jitter_ms, reported.reports
    );
    if let Some(round_trip_ms) = reported.round_trip_ms {
        let _ = write!(line, "; {round_trip_ms:.1} ms there and back");
    }
    if let Some(mos) = reported.mos_lq {
        let _ = write!(line, "; MOS {mos:.1}");
    }
    line
}

fn print_timeline(timeline: &Timeline) -> Result<(), Failure> {
    let imperfect: Vec<String> = timeline
        .tracks
        .iter()
        .flat_map(|track| {
            track.seconds.iter().enumerate().filter(|(_, second)| second.received < second.expected).map(
                |(at, second)| {
                    let missing = second.expected - second.received;
                    format!("{} second {at}: {missing} of {} missing", name(track.party), second.expected)
                },
            )
        })
        .collect();
    let summary = if imperfect.is_empty() {
        "no packet is missing in what was recorded".to_owned()
    } else {
        format!("{} seconds with missing packets", imperfect.len())
    };
    print_line(&format!("{:<14} {summary}", "completeness"))?;
    for line in imperfect.iter().take(LISTED_MAX) {
        print_line(&format!("{:<14} {line}", ""))?;
    }
    let gaps: Vec<_> = timeline.gaps.iter().filter(|gap| gap.end_ms - gap.start_ms >= GAP_MS_MIN).collect();
    for gap in gaps.iter().take(LISTED_MAX) {
        let kind = serde_json::to_value(gap.kind)?;
        print_line(&format!(
            "{:<14} {} {} to {}: {}",
            "gap",
            name(gap.party),
            length(gap.start_ms),
            length(gap.end_ms),
            kind.as_str().unwrap_or_default()
        ))?;
    }
    let more = gaps.len().saturating_sub(LISTED_MAX) as u64 + timeline.gaps_left_out;
    if more > 0 {
        print_line(&format!("{:<14} and {more} more; --json lists them", ""))?;
    }
    Ok(())
}

fn completeness_json(timeline: &Timeline) -> Value {
    let tracks: Vec<Value> = timeline
        .tracks
        .iter()
        .filter(|track| track.received > 0)
        .map(|track| {
            json!({
                "party": track.party, "expected": track.expected, "received": track.received, "lost": track.lost,
                "duplicates": track.duplicates, "reordered": track.reordered, "undecodable": track.undecodable,
                "strays": track.strays, "audio_ms": track.audio_ms, "skew_ppm": track.skew_ppm,
                "residual_ms": track.residual_ms, "seconds": track.seconds,
            })
        })
        .collect();
    json!({
        "duration_ms": timeline.duration_ms(), "seconds_start": timeline.seconds_start, "tracks": tracks,
        "gaps": timeline.gaps, "gaps_left_out": timeline.gaps_left_out,
    })
}
