//! From what the tracker tells to what the archive keeps: the facts of a recording and the lines of the balance sheet.

use decode::tracker::{Absence, Ending, LegEnd, LegFacts, Tie, TrackReport, UnannouncedRtp};
use decode::{Codec, Party, Side, Timestamp};
use policy::people::{Person, Who};
use policy::{Closing, Outcome, PastPart, RecordingPlan, Rules, SegmentFacts};
use store::{CallRow, DtmfFact, RecordingFacts, RecordingId, Signalling, Span, State, Step, Tied, Track};

use crate::quality;

/// Media that begins within this time of the answer, or ends within it before the hang-up, bounds the recording itself;
/// a longer silence at either edge is a part of the call and becomes time.
const EDGE_MS: i64 = 200;

/// The facts of a recording at its start.
pub(crate) fn at_start(plan: &RecordingPlan) -> RecordingFacts {
    let (sip_call_id, known) = (&plan.sip_call_id, &plan.facts);
    let facts = RecordingFacts {
        id: RecordingId::new(plan.started),
        call: plan.call.to_string(),
        segment: plan.segment,
        state: State::Recording,
        source: known.source,
        extension: known.extension.clone(),
        extension_name: some(&plan.extension_name),
        outside_number: None,
        other_party: some(&known.other_party),
        other_party_name: some(&plan.other_party_name),
        direction: known.direction,
        started: plan.started,
        answered: None,
        ended: None,
        duration_ms: 0,
        ring_ms: 0,
        hold_ms: 0,
        talk_ms: 0,
        tracks: Vec::new(),
        pauses: Vec::new(),
        holds: Vec::new(),
        one_way: Vec::new(),
        dtmf: Vec::new(),
        user: None,
        user_name: None,
        business_unit: None,
        units_above: Vec::new(),
        site: plan.site.clone(),
        agent: None,
        account_code: None,
        hunt_group: None,
        trunk: None,
        ddi: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: Vec::new(),
        fields: Default::default(),
        held: false,
        sip_call_ids: some(sip_call_id).into_iter().collect(),
        ties: Vec::new(),
        rule: plan.rule.clone(),
        named_by: plan.named_by.clone(),
        signalling: if sip_call_id.is_empty() { Signalling::None } else { Signalling::Sip },
        foreign_packets: 0,
        joined_late: false,
        shares_media: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
    };
    with_known(facts, known)
}

/// The facts of a recording with what is known of its segment by now.
pub(crate) fn with_known(facts: RecordingFacts, known: &SegmentFacts) -> RecordingFacts {
    RecordingFacts {
        outside_number: known.outside_e164.clone().or_else(|| known.outside_number.clone()),
        direction: known.direction,
        ddi: known.ddi.clone(),
        ddi_name: known.ddi_name.clone(),
        contact: known.contact.clone(),
        transferred_from: known.transferred_from.clone(),
        other_party_name: match &known.other_party_name {
            Some(name) => some(name),
            None => facts.other_party_name,
        },
        user: known.who.user.as_ref().map(|user| user.id.clone()),
        user_name: known.who.user.as_ref().map(|user| user.name.clone()),
        business_unit: known.who.unit.clone(),
        units_above: known.who.units_above.clone(),
        agent: known.agent.clone(),
        account_code: known.account_code.clone(),
        hunt_group: known.hunt_group.clone(),
        trunk: known.trunk.clone(),
        tags: known.tags.iter().cloned().collect(),
        fields: known.fields.clone(),
        ..facts
    }
}

/// What rules can ask of a recording that is finished. Of its outside number the archive keeps one form; the other follows from what
/// was signalled, where that is the same number. A unit that is not the one of the user then was named from outside.
pub(crate) fn known_of(facts: &RecordingFacts, rules: &Rules) -> SegmentFacts {
    let site = &rules.site;
    let by_people = rules.people.who(&facts.extension, facts.agent.as_deref(), facts.started).unit;
    let other_party = facts.other_party.clone().unwrap_or_default();
    let signalled = site.clean_outside(&other_party, facts.direction);
    let outside_number = facts.outside_number.clone().map(|stored| match site.e164(&signalled) {
        Some(e164) if e164 == stored => signalled,
        _ => stored,
    });
    SegmentFacts {
        extension: facts.extension.clone(),
        other_party,
        outside_e164: outside_number.as_deref().and_then(|number| site.e164(number)),
        outside_number,
        direction: facts.direction,
        ddi: facts.ddi.clone(),
        account_code: facts.account_code.clone(),
        agent: facts.agent.clone(),
        hunt_group: facts.hunt_group.clone(),
        trunk: facts.trunk.clone(),
        who: who_of(facts),
        named_unit: facts.business_unit.clone().filter(|unit| by_people.as_ref() != Some(unit)),
        ddi_name: facts.ddi_name.clone(),
        contact: facts.contact.clone(),
        transferred_from: facts.transferred_from.clone(),
        other_party_name: facts.other_party_name.clone(),
        tags: facts.tags.iter().cloned().collect(),
        fields: facts.fields.clone(),
        source: facts.source,
        started: facts.started,
    }
}

/// Whom a recording counts for, as it was made with.
fn who_of(facts: &RecordingFacts) -> Who {
    let name = facts.user_name.clone().unwrap_or_default();
    Who {
        user: facts.user.clone().map(|id| Person { id, name }),
        unit: facts.business_unit.clone(),
        units_above: facts.units_above.clone(),
    }
}

/// A keyed digit of a recording: when, who, how long.
pub(crate) type Keyed = (Timestamp, Party, u32);

/// The facts of a recording that goes on, from here, with a call whose recording has ended.
pub(crate) fn of_the_rest(before: RecordingFacts, at: Timestamp) -> RecordingFacts {
    RecordingFacts { id: RecordingId::new(at), started: at, ..before }
}

/// The facts of a recording at its end; `from` is where it began when that is not where its audio did.
pub(crate) fn at_end(
    start: RecordingFacts,
    near: Side,
    end: &LegEnd,
    closing: &Closing,
    keyed: &[Keyed],
    from: Option<Timestamp>,
) -> RecordingFacts {
    let facts = &end.facts;
    let (started, ended) = within(bounds(end, start.started), closing);
    let started = from.map_or(started, |from| from.max(started));
    let ended = ended.max(started);
    let offset_ms = |at: Timestamp| at.millis_since(started).min(ended.millis_since(started));
    let span =
        |&(from, to): &(Timestamp, Timestamp)| Span { start_ms: offset_ms(from), end_ms: offset_ms(to) };
    let holds: Vec<Span> = end.holds.iter().map(span).collect();
    let hold_ms = holds.iter().map(|span| span.end_ms - span.start_ms).sum();
    let answered_ms = facts.answered.map_or(0, |answered| ended.millis_since(answered.max(started)));
    let rang_until = facts.answered.or(facts.ended).unwrap_or(ended);
    let track = |side: Side| end.tracks.iter().find(|track| track.side == side);
    let party = |side: Side| if side == near { Party::Near } else { Party::Far };
    let at_end = RecordingFacts {
        call: facts.call.to_string(),
        ties: ties(facts),
        state: State::Complete,
        started,
        answered: facts.answered,
        ended: Some(ended),
        duration_ms: ended.millis_since(started),
        ring_ms: if facts.joined_late { 0 } else { rang_until.millis_since(facts.started) },
        hold_ms,
        talk_ms: answered_ms.saturating_sub(hold_ms),
        tracks: [near, near.other()]
            .into_iter()
            .filter_map(|side| {
                let (this, other) = (track(side)?, track(side.other()));
                Some(track_facts(this, other, party(side), started))
            })
            .collect(),
        holds,
        pauses: closing.pauses.iter().map(span).collect(),
        one_way: end
            .absences
            .iter()
            .map(|&Absence { side, from, to }| store::Absence {
                party: party(side),
                start_ms: offset_ms(from),
                end_ms: offset_ms(to),
            })
            .collect(),
        foreign_packets: end.foreign_packets,
        joined_late: facts.joined_late,
        shares_media: end.shares_media,
        known_by_end: facts.known_by_end,
        not_held_packets: end.not_held_packets,
        dtmf: keyed
            .iter()
            .map(|&(at, party, duration_ms)| DtmfFact { at_ms: offset_ms(at), party, duration_ms })
            .collect(),
        ..start
    };
    with_known(at_end, &closing.facts)
}

/// Where the recording's timeline begins and ends: from the answer, or the first audio when that came before it, to the
/// end of the call. The signalling's own delay at the edges (see [`EDGE_MS`]) is not time of the call.
fn bounds(end: &LegEnd, first_packet: Timestamp) -> (Timestamp, Timestamp) {
    let audio_start = end.tracks.iter().filter_map(|track| track.start).min().unwrap_or(first_packet);
    let audio_end = end.tracks.iter().filter_map(|track| track.end).max().unwrap_or(audio_start);
    let started = match end.facts.answered {
        Some(answered) if !end.facts.joined_late && answered.plus_millis(EDGE_MS) < audio_start => answered,
        _ => audio_start,
    };
    let hung_up = matches!(end.facts.ending, Ending::Bye { .. });
    let ended = match end.facts.ended {
        Some(ended) if hung_up && audio_end.plus_millis(EDGE_MS) < ended => ended,
        _ => audio_end,
    };
    (started, ended.max(started))
}

/// The same of a recording that began late or ended early: no longer than what was wanted.
fn within((started, ended): (Timestamp, Timestamp), closing: &Closing) -> (Timestamp, Timestamp) {
    let started = closing.from.map_or(started, |from| from.max(started));
    let ended = closing.until.map_or(ended, |until| until.min(ended));
    (started, ended.max(started))
}

fn track_facts(report: &TrackReport, other: Option<&TrackReport>, party: Party, started: Timestamp) -> Track {
    let is_speech = |codec: &Codec| !matches!(codec, Codec::ComfortNoise | Codec::TelephoneEvent);
    let main = report.formats.iter().find(|(format, _)| is_speech(&format.codec)).or(report.formats.first());
    let main = main.map(|(format, _)| format);
    let codec = main.map_or_else(|| Codec::from_name("unknown"), |format| format.codec.clone());
    Track {
        party,
        mos: quality::listening(report, main),
        codec,
        stored: None,
        clock_rate: main.map_or(0, |format| format.clock_rate),
        ssrcs: report.ssrcs.clone(),
        packets: report.packets,
        decrypted: report.decrypted,
        undecryptable: report.undecryptable,
        no_key: report.no_key,
        looks_encrypted: report.looks_encrypted,
        lost_network: report.lost_network,
        lost_capture: report.lost_capture,
        reordered: report.reordered,
        duplicates: report.duplicates,
        jitter_ms: rounded(report.jitter_ms),
        skew_ppm: rounded(report.skew_ppm),
        audio_ms: report.audio_ms,
        quality: quality::facts(report, other, main, started),
    }
}

/// Why a line of the balance sheet is not the whole story.
pub(crate) const INTERRUPTED: &str = "interrupted: the recorder was stopped during the call";

/// To two places: more would be noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A leg's line of the balance sheet.
pub(crate) fn call_row(
    facts: &LegFacts,
    outcome: Outcome,
    reason: String,
    recordings: Vec<RecordingId>,
    why: Vec<Step>,
    parts: Vec<PastPart>,
) -> CallRow {
    let shown = |side: Side| {
        let party = facts.party(side);
        if party.number.is_empty() { party.host.clone() } else { party.number.clone() }
    };
    CallRow {
        call: facts.call.to_string(),
        sip_call_ids: some(&facts.sip_call_id).into_iter().collect(),
        from: shown(Side::Caller),
        to: shown(Side::Callee),
        // A call that ran already was heard before its first message came.
        started: facts.answered.map_or(facts.started, |answered| answered.min(facts.started)),
        answered: facts.answered,
        ended: facts.ended,
        outcome,
        reason,
        recordings,
        ties: ties(facts),
        why,
        parts,
    }
}

/// The line of a leg that runs, to be written if nothing more is heard of it.
pub(crate) fn running_row(facts: &LegFacts, recordings: Vec<RecordingId>) -> CallRow {
    let outcome = if recordings.is_empty() { Outcome::Running } else { Outcome::Recorded };
    call_row(facts, outcome, INTERRUPTED.into(), recordings, Vec::new(), Vec::new())
}

/// The line of a leg that runs, for whoever asks meanwhile.
pub(crate) fn still_running(row: CallRow, why: Vec<Step>) -> CallRow {
    CallRow { outcome: Outcome::Running, reason: "it runs, and may be judged again".into(), why, ..row }
}

/// Why the leg is part of its call, in words.
fn ties(facts: &LegFacts) -> Vec<Tied> {
    let tied = |tie: &Tie| Tied { sip_call_id: tie.sip_call_id.clone(), why: tie.why.to_string() };
    facts.ties.iter().map(tied).collect()
}

/// The line of a call whose recorder was stopped in the middle.
pub(crate) fn interrupted_row(facts: &RecordingFacts) -> CallRow {
    CallRow::of_recording(facts, facts.ended, INTERRUPTED.into())
}

/// The line of an RTP flow that nobody announced.
pub(crate) fn unannounced_row(rtp: &UnannouncedRtp, outcome: Outcome, reason: String) -> CallRow {
    let name = [rtp.flow.src.to_string(), rtp.flow.dst.to_string()];
    let [from, to] = name;
    CallRow {
        call: decode::tracker::CallId::new(rtp.started, &[from.as_bytes(), to.as_bytes()]).to_string(),
        sip_call_ids: Vec::new(),
        from,
        to,
        started: rtp.started,
        answered: None,
        ended: Some(rtp.ended),
        outcome,
        reason,
        recordings: Vec::new(),
        ties: Vec::new(),
        why: Vec::new(),
        parts: Vec::new(),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
