//! `replay`: what the decoder sees in capture files, as stable text. This is also the golden text of the tests.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use capture::{FrameSource, MergedFiles};
use decode::sdp::{Direction, Kind, Media};
use decode::tracker::{CallId, Ending, Event, LegEnd, LegFacts, LegId, TrackReport, Tracker};
use decode::{Side, Timestamp};
use policy::Site;

use super::warn;
use crate::cli;
use crate::config;
use crate::failure::{Done, Failure};
use crate::keylog::KeyLogs;
use crate::tables::cell;

/// Less jitter than this is not worth a line, in milliseconds.
const JITTER_MS_MIN: f64 = 5.0;

pub(crate) fn run(args: &cli::Replay) -> Result<Done, Failure> {
    let settings = config::settings_of(args.config.as_deref(), None)?;
    let mut source = MergedFiles::open(&args.files).map_err(Failure::new)?;
    let mut tracker = Tracker::new();
    tracker.know_devices(settings.devices);
    KeyLogs::open(&args.tls.key_logs)?
        .read_on(true, |lines| _ = tracker.add_tls_secrets(lines))
        .map_err(Failure::new)?;
    let out = BufWriter::new(std::io::stdout().lock());
    let mut text = Text {
        out,
        start: None,
        site: settings.rules.site,
        last_oddity: String::new(),
        repeated: 0,
        told: BTreeMap::new(),
    };
    let mut troubles = 0;
    loop {
        let advanced = source.advance();
        if let Some(lines) = source.take_tls_secrets() {
            tracker.add_tls_secrets(&lines);
        }
        match advanced {
            Ok(true) => {
                let Some(frame) = source.frame() else { continue };
                text.start.get_or_insert(frame.at);
                tracker.handle_frame(&frame);
            }
            Ok(false) => break,
            Err(error) => {
                warn(&error.to_string());
                troubles += 1;
                continue;
            }
        }
        while let Some(event) = tracker.poll_event() {
            text.event(&event)?;
        }
    }
    tracker.finish();
    while let Some(event) = tracker.poll_event() {
        text.event(&event)?;
    }
    text.counts(&tracker)?;
    text.out.flush()?;
    Ok(if troubles == 0 { Done::All } else { Done::InPart })
}

/// Writes events as lines: seconds since the first frame, then what happened.
struct Text<W> {
    out: W,
    start: Option<Timestamp>,
    site: Site,
    /// The oddity told last, and how often it has come again since, with nothing else between.
    last_oddity: String,
    repeated: u64,
    /// What was told of the call that a leg belongs to: which, which segment of it, and how many ties.
    told: BTreeMap<LegId, (CallId, u32, usize)>,
}

impl<W: Write> Text<W> {
    fn line(&mut self, at: Timestamp, what: &str) -> Result<(), Failure> {
        self.end_repetition()?;
        let nanos = at.nanos_since(self.start.unwrap_or(at));
        let sign = if nanos < 0 { "-" } else { "" };
        let micros = nanos.unsigned_abs() / 1000;
        writeln!(self.out, "{sign}{:>4}.{:06} {what}", micros / 1_000_000, micros % 1_000_000)?;
        Ok(())
    }

    fn oddity(&mut self, at: Timestamp, what: String) -> Result<(), Failure> {
        if what == self.last_oddity {
            self.repeated += 1;
            return Ok(());
        }
        self.line(at, &what)?;
        self.last_oddity = what;
        Ok(())
    }

    fn end_repetition(&mut self) -> Result<(), Failure> {
        let repeated = std::mem::take(&mut self.repeated);
        self.last_oddity.clear();
        if repeated > 0 {
            writeln!(self.out, "            and {repeated} times more")?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        match event {
            Event::LegStarted(facts) => {
                let late = if facts.joined_late { " (already running)" } else { "" };
                let [from, to] = [Side::Caller, Side::Callee].map(|side| party(facts, side));
                if facts.is_stream_only() {
                    let [near, far] = facts.parties.each_ref().map(|party| party.signalling);
                    let what = format!(
                        "leg {} without signalling: {from} at {near} and {to} at {far} call {}",
                        facts.leg, facts.call
                    );
                    return self.line(facts.started, &what);
                }
                let verb = if facts.known_by_end { "known by its BYE" } else { "INVITE" };
                let what = format!(
                    "leg {} {verb} {from} -> {to} segment {} call {}{late}",
                    facts.leg, facts.segment, facts.call
                );
                self.line(facts.started, &what)?;
                self.ties(facts)
            }
            // A leg that is tied as it begins has told it.
            Event::Tied(facts)
                if self.told.get(&facts.leg) == Some(&(facts.call, facts.segment, facts.ties.len())) =>
            {
                Ok(())
            }
            Event::Tied(facts) => {
                let what = format!("leg {} is segment {} of call {}", facts.leg, facts.segment, facts.call);
                writeln!(self.out, "            {what}")?;
                self.ties(facts)
            }
            Event::Described { leg, side, at, is_offer, session } => {
                let verb = if *is_offer { "offers" } else { "answers" };
                let media: Vec<String> = session.media.iter().map(described).collect();
                self.line(*at, &format!("leg {leg} {} {verb} {}", word(*side), media.join("; ")))
            }
            Event::Joined { leg, at, number, name } => {
                self.line(*at, &format!("leg {leg} {number} {name} takes part"))
            }
            Event::Identified { facts, side, at, number, name } => {
                let who = format!("{number} {name}");
                self.line(*at, &format!("leg {} {} is {}", facts.leg, word(*side), who.trim_end()))
            }
            Event::Signal { .. } => Ok(()),
            Event::Ringing(facts) => {
                self.line(facts.ringing.unwrap_or(facts.started), &format!("leg {} rings", facts.leg))
            }
            Event::Answered(facts) => {
                self.line(facts.answered.unwrap_or(facts.started), &format!("leg {} answered", facts.leg))
            }
            Event::AudioStarted(facts) => {
                let roles = self.site.roles(facts);
                let extensions: Vec<String> =
                    roles.extensions.iter().map(|&side| self.site.number(facts, side)).collect();
                let early = if facts.early_media { " before the answer" } else { "" };
                let direction = format!("{:?}", roles.direction).to_lowercase();
                let what = format!(
                    "leg {} audio{early}, extension {} {direction}",
                    facts.leg,
                    extensions.join(" and ")
                );
                self.line(facts.first_audio.unwrap_or(facts.started), &what)
            }
            Event::Audio { .. } => Ok(()),
            // Captures hold made-up digits or the operator's own: replay shows what the wire shows.
            Event::Digit { leg, side, digit } => self.line(
                digit.at,
                &format!("leg {leg} {} keyed {} for {} ms", word(*side), digit.digit, digit.duration_ms),
            ),
            Event::Hold { leg, by, at } => self.line(*at, &format!("leg {leg} held by the {}", word(*by))),
            Event::Retrieve { leg, by, at } => {
                self.line(*at, &format!("leg {leg} retrieved by the {}", word(*by)))
            }
            Event::SenderReport { leg, side, at, report } => self
                .line(*at, &format!("leg {leg} {} sender report, {} packets", word(*side), report.packets)),
            Event::LegEnded(end) => self.leg_end(end),
            Event::UnannouncedRtp(rtp) => self.line(
                rtp.ended,
                &format!(
                    "unannounced RTP {} -> {}: {} packets of type {}{}{}",
                    rtp.flow.src,
                    rtp.flow.dst,
                    rtp.packets,
                    rtp.payload_type,
                    rtp.ethernet.map_or_else(String::new, |e| format!(", Ethernet {} -> {}", e.src, e.dst)),
                    if rtp.looks_encrypted { ", which look encrypted" } else { "" }
                ),
            ),
            Event::CopiedRtp(rtp) => self.line(
                rtp.ended,
                &format!(
                    "copied RTP {} -> {}: the {} packets of leg {}'s {} from {} to {} again",
                    rtp.flow.src,
                    rtp.flow.dst,
                    rtp.packets,
                    rtp.leg,
                    word(rtp.side),
                    rtp.original.src,
                    rtp.original.dst
                ),
            ),
            Event::ForeignRtp(rtp) => self.line(
                rtp.ended,
                &format!(
                    "foreign RTP {} -> {}: {} packets kept out of leg {} as no {}'s{}",
                    rtp.flow.src,
                    rtp.flow.dst,
                    rtp.packets,
                    rtp.leg,
                    word(rtp.side),
                    if rtp.taken == 0 {
                        String::new()
                    } else {
                        format!(", {} taken before the {} spoke", rtp.taken, word(rtp.side))
                    }
                ),
            ),
            Event::TlsUndecryptable { at, flow, why } => {
                self.line(*at, &format!("TLS {} -> {}: {why}", flow.src, flow.dst))
            }
            Event::Oddity { at, flow, what } => {
                let place = flow.map_or_else(String::new, |flow| format!(" {} -> {}", flow.src, flow.dst));
                self.oddity(*at, format!("oddity: {what}{place}"))
            }
        }
    }

    /// Why the leg is part of its call.
    fn ties(&mut self, facts: &LegFacts) -> Result<(), Failure> {
        self.told.insert(facts.leg, (facts.call, facts.segment, facts.ties.len()));
        for tie in &facts.ties {
            writeln!(self.out, "            leg {} continues leg {}: {}", facts.leg, tie.leg, tie.why)?;
        }
        Ok(())
    }

    fn leg_end(&mut self, end: &LegEnd) -> Result<(), Failure> {
        let facts = &end.facts;
        self.told.remove(&facts.leg);
        let how = match &facts.ending {
            Ending::Running => "running".to_owned(),
            Ending::Bye { by } => format!("BYE by the {}", word(*by)),
            Ending::Cancelled => "cancelled".to_owned(),
            Ending::AnsweredElsewhere => "answered elsewhere".to_owned(),
            Ending::Rejected { status: 0, .. } => "refused".to_owned(),
            Ending::Rejected { status, reason } => format!("{status} {}", cell(reason)).trim_end().to_owned(),
            Ending::TimedOut => "timed out".to_owned(),
            Ending::MediaStopped => "the media stopped".to_owned(),
            Ending::EndOfInput => "end of input".to_owned(),
        };
        let encrypted = match facts.no_key {
            _ if !facts.encrypted => String::new(),
            Some(missing) => format!(", encrypted: {}", missing.words()),
            None => ", SRTP with keys from the signalling".to_owned(),
        };
        let at = facts.ended.unwrap_or(facts.started);
        self.line(at, &format!("leg {} ended: {how}{encrypted}", facts.leg))?;
        if end.foreign_packets > 0 {
            writeln!(self.out, "            {} foreign packets kept out", end.foreign_packets)?;
        }
        if end.not_held_packets > 0 {
            let packets = end.not_held_packets;
            writeln!(self.out, "            {packets} packets from before its first message were not held")?;
        }
        if end.outside_packets > 0 {
            writeln!(self.out, "            {} packets on ports not listed for audio", end.outside_packets)?;
        }
        for track in &end.tracks {
            let formats: Vec<String> = track
                .formats
                .iter()
                .map(|(f, packets)| format!("{}/{} x{packets}", f.codec, f.clock_rate))
                .collect();
            let relayed =
                if track.relayed > 0 { format!(", relayed {}", track.relayed) } else { String::new() };
            writeln!(
                self.out,
                "            {} {}: {} packets, lost {}, out of order {}, copies {}{relayed}, {} ms of audio{}",
                word(track.side),
                formats.join(" "),
                track.packets,
                track.lost_network + track.lost_capture,
                track.reordered,
                track.duplicates,
                track.audio_ms,
                secrecy(track)
            )?;
            if let Some(quality) = quality(track) {
                writeln!(self.out, "            {} {quality}", word(track.side))?;
            }
        }
        for absence in &end.absences {
            let ms = absence.to.millis_since(absence.from);
            self.line(
                absence.from,
                &format!("leg {} {} not heard for {ms} ms", facts.leg, word(absence.side)),
            )?;
        }
        Ok(())
    }

    fn counts(&mut self, tracker: &Tracker) -> Result<(), Failure> {
        self.end_repetition()?;
        let counts = tracker.counts();
        let copied = match counts.copied_rtp {
            0 => String::new(),
            flows => format!(", {flows} copied flows"),
        };
        writeln!(
            self.out,
            "{} frames, {} SIP messages, {} RTP packets, {} unannounced flows{copied}, {} oddities",
            counts.frames, counts.sip_messages, counts.rtp_packets, counts.unannounced_rtp, counts.oddities
        )?;
        Ok(())
    }
}

/// One section of a session description.
fn described(media: &Media) -> String {
    let kind = if media.kind == Kind::Audio { "audio" } else { "other media" };
    let Some(place) = media.receives_at else {
        return format!("{kind}, {}", if media.held_by_address { "held by its address" } else { "refused" });
    };
    let direction = match media.direction {
        Direction::SendRecv => "",
        Direction::SendOnly => " sendonly",
        Direction::RecvOnly => " recvonly",
        Direction::Inactive => " inactive",
    };
    let formats: Vec<String> = match media.kind {
        Kind::Audio => {
            media.formats.iter().map(|f| format!(" {}/{}", cell(f.codec.name()), f.clock_rate)).collect()
        }
        Kind::Other => Vec::new(),
    };
    let encrypted = if media.encrypted { " SRTP" } else { "" };
    format!("{kind} at {place}{direction}{encrypted}{}", formats.concat())
}

/// What a track lacks, and what the far end says; nothing of a clean one.
fn quality(track: &TrackReport) -> Option<String> {
    let quality = &track.quality;
    let bursts = &quality.bursts;
    let mut words = Vec::new();
    if bursts.gaps > 0 {
        words.push(format!("{} gaps, longest {}, {} bursts", bursts.gaps, bursts.longest, bursts.count));
    }
    for (count, what) in [
        (track.lost_capture - quality.cut, "lost by the capture"),
        (quality.cut, "cut short"),
        (quality.late, "too late"),
        (quality.undecodable, "not decodable"),
        (quality.silent_ms, "ms of digital silence"),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    if let Some(reported) = &quality.reported {
        words.push(format!("far end reports {} lost in {} reports", reported.lost, reported.reports));
        if let Some(round_trip_ms) = reported.round_trip_ms {
            words.push(format!("{round_trip_ms:.1} ms there and back"));
        }
    }
    let jitter =
        || format!("jitter {:.1} ms, at most {:.1} ms", quality.jitter_mean_ms, quality.jitter_max_ms);
    if !words.is_empty() || quality.jitter_max_ms >= JITTER_MS_MIN {
        words.push(jitter());
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// What of a track was encrypted.
fn secrecy(track: &TrackReport) -> String {
    let mut said = String::new();
    for (count, what) in [
        (track.decrypted, "decrypted"),
        (track.undecryptable, "not decrypted"),
        (track.looks_encrypted, "look encrypted"),
    ] {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    if let Some(missing) = track.no_key {
        said += &format!(" ({})", missing.words());
    }
    said
}

fn party(facts: &LegFacts, side: Side) -> String {
    let party = facts.party(side);
    let number = if party.number.is_empty() { &party.host } else { &party.number };
    let name = if party.name.is_empty() { String::new() } else { format!(" \"{}\"", cell(&party.name)) };
    format!("{}{name}", cell(number))
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Callee => "callee",
    }
}
