//! The SIP of a recording: its messages read back, what an engineer sees of them first, and the way out as a capture file.
//!
//! Every text of a message was chosen by a stranger: what is shown of it is cut, and characters that do not show are replaced.
//! Which bytes go into a capture file is `pcapng.rs`'s.

use std::cmp::Ordering;
use std::io::Write;

use decode::sip::{self, StartLine};
use decode::{Carrier, Endpoint, Flow, Signal, Timestamp};
use policy::Redacted;
use serde::Serialize;
use store::{Archive, Record, RecordingFacts, RecordingId};

use crate::dat::is_unprintable;
use crate::error::Error;
use crate::export::Counted;
use crate::pcapng::{Packet, Writer};

/// Bytes of messages that are read of one recording; a recorder keeps a sixteenth of it. What is beyond is not shown.
const BYTES_MAX: usize = 16 << 20;
/// Characters shown of one text of a message.
const TEXT_CHARS_MAX: usize = 60;
/// Ends that a ladder has a line for; messages between more are told as a list.
const LADDER_ENDS_MAX: usize = 5;
/// Characters from one end's line to the next.
const LADDER_STEP: usize = 36;
/// Characters before the first one's: a time of day with its microseconds stands there.
const LADDER_MARGIN: usize = 25;

/// A message as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    at: Timestamp,
    flow: Flow,
    carrier: Carrier,
    is_repeated: bool,
    left_out: u32,
    redacted: Redacted,
    bytes: Vec<u8>,
}

/// The SIP messages of one recording, in the order in which they were captured.
#[derive(Clone, Debug)]
pub struct Trace {
    facts: RecordingFacts,
    messages: Vec<Kept>,
    /// The recording has more than [`BYTES_MAX`].
    is_cut: bool,
}

/// What is shown of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When it was captured.
    pub at: Timestamp,
    /// Microseconds of that, of which `at` shows thousands.
    pub at_us: i64,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// UDP, TCP, TLS, WS or WSS.
    pub transport: &'static str,
    /// Method of a request, or status and reason of a response.
    pub what: String,
    /// Number and method of its CSeq.
    pub cseq: String,
    /// Its Call-ID.
    pub call_id: String,
    /// It carries a session description.
    pub has_sdp: bool,
    /// Length in bytes.
    pub bytes: usize,
    /// It was sent before.
    pub repeated: bool,
    /// What was replaced in it before it was kept.
    pub redacted: Vec<&'static str>,
}

impl Step {
    /// Hours to microseconds, UTC.
    #[must_use]
    pub fn time_of_day(&self) -> String {
        time_of_day(self.at)
    }
}

impl Trace {
    /// Reads the messages of a recording, from end to end: all of its chunks are opened and authenticated.
    ///
    /// # Errors
    /// When the archive cannot give the recording: no such one, no key, tampered with.
    pub fn read(archive: &Archive, id: RecordingId) -> Result<Trace, Error> {
        let mut reader = archive.read(id)?;
        let facts = reader.facts().clone();
        let (mut messages, mut bytes, mut is_cut) = (Vec::new(), 0_usize, false);
        while let Some(chunk) = reader.next_chunk()? {
            for record in chunk.records() {
                let Record::Signal { signal, redacted } = record? else { continue };
                bytes = bytes.saturating_add(signal.bytes.len());
                if bytes > BYTES_MAX {
                    is_cut = true;
                    continue;
                }
                messages.push(Kept::new(&signal, redacted));
            }
        }
        messages.sort_by_key(|message| message.at);
        Ok(Trace { facts, messages, is_cut })
    }

    /// Are there none? Of recordings from before SIP was kept, of imports, and where the configuration says so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Messages of the call that a limit has left out, as far as later ones tell.
    #[must_use]
    pub fn left_out(&self) -> u32 {
        self.messages.iter().map(|message| message.left_out).max().unwrap_or(0)
    }

    /// What their reader must know of them as a whole, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut said = Vec::new();
        match self.left_out() {
            0 => {}
            left_out => {
                said.push(format!("{left_out} SIP messages were more than is kept of a call, or longer"))
            }
        }
        if self.is_cut {
            said.push("there are more SIP messages than are read of one recording".to_owned());
        }
        said
    }

    /// What is shown of each.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.messages.iter().map(Kept::step).collect()
    }

    /// The messages as lines: who sent what to whom, each end with a line of its own, as telephone engineers draw it.
    #[must_use]
    pub fn ladder(&self) -> Vec<String> {
        ladder(&self.messages)
    }

    /// Writes a capture file (pcapng): each message a packet, at the time at which it was captured. Gives its length in bytes.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write_pcapng(&self, out: impl Write) -> Result<u64, Error> {
        let RecordingFacts { id, call, segment, started, extension, .. } = &self.facts;
        let mut comment = format!(
            "SIP of earwitness recording {id}, call {}, segment {segment}, extension {}, started {started}. Messages stand as captured; \
             keys, credentials, texts and withheld digits are replaced by x of the same length. Ethernet, IP and transport headers are \
             made anew around them.",
            shown(call),
            shown(extension)
        );
        for warning in self.warnings() {
            comment.push_str(&format!(" Note: {warning}."));
        }
        let mut out = Counted { out, bytes: 0 };
        let mut writer = Writer::new(&mut out, &comment)?;
        for message in &self.messages {
            let Kept { at, flow, carrier, .. } = *message;
            writer.write(&Packet { at, flow, carrier, bytes: &message.bytes, comment: &message.notes() })?;
        }
        writer.finish()?;
        Ok(out.bytes)
    }
}

impl Kept {
    fn new(signal: &Signal<'_>, redacted: Redacted) -> Kept {
        let &Signal { at, flow, carrier, is_repeated, left_out, bytes } = signal;
        Kept { at, flow, carrier, is_repeated, left_out, redacted, bytes: bytes.to_vec() }
    }

    fn step(&self) -> Step {
        let message = sip::parse(&self.bytes).ok();
        let cseq = message.as_ref().and_then(sip::Message::cseq);
        Step {
            at: self.at,
            at_us: self.at.as_nanos().div_euclid(1_000),
            from: self.flow.src.to_string(),
            to: self.flow.dst.to_string(),
            transport: self.carrier.name(),
            what: message.as_ref().map_or_else(|| "not readable".to_owned(), |message| what(&message.start)),
            cseq: cseq.map_or_else(String::new, |(n, method)| format!("{n} {}", shown(&sip::text(method)))),
            call_id: message
                .as_ref()
                .and_then(|m| m.call_id())
                .map(|id| shown(&sip::text(id)))
                .unwrap_or_default(),
            has_sdp: message.as_ref().and_then(sip::sdp_body).is_some(),
            bytes: self.bytes.len(),
            repeated: self.is_repeated,
            redacted: self.redacted.words().collect(),
        }
    }

    /// What is to be said of it beside its bytes.
    fn notes(&self) -> String {
        let mut notes = Vec::new();
        if self.is_repeated {
            notes.push("sent again".to_owned());
        }
        if matches!(self.carrier, Carrier::Tls | Carrier::WebSocket | Carrier::SecureWebSocket) {
            notes.push(format!("came over {}", self.carrier.name()));
        }
        let redacted: Vec<&str> = self.redacted.words().collect();
        if !redacted.is_empty() {
            notes.push(format!("replaced: {}", redacted.join(", ")));
        }
        notes.join("; ")
    }
}

fn what(start: &StartLine<'_>) -> String {
    match start {
        StartLine::Request { method, .. } => shown(&sip::text(method)),
        StartLine::Response { status, reason } => shown(format!("{status} {}", sip::text(reason)).trim_end()),
    }
}

/// A stranger's text as it is shown: cut, and nothing in it that does not show.
fn shown(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect()
}

/// Hours to microseconds, UTC.
fn time_of_day(at: Timestamp) -> String {
    let micros = at.as_nanos().div_euclid(1_000).rem_euclid(86_400_000_000);
    let (s, us) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{us:06}", s / 3_600, s / 60 % 60, s % 60)
}

fn ladder(messages: &[Kept]) -> Vec<String> {
    let mut ends: Vec<Endpoint> = Vec::new();
    for end in messages.iter().flat_map(|message| [message.flow.src, message.flow.dst]) {
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
    if ends.len() > LADDER_ENDS_MAX {
        return messages.iter().map(as_list).collect();
    }
    let mut heading = String::new();
    for (nth, end) in ends.iter().enumerate() {
        let name = end.to_string();
        let before = (place(nth) + 1).saturating_sub(name.chars().count() / 2);
        heading = format!("{heading:<before$}{name} ");
    }
    let rungs = messages.iter().map(|message| rung(message, &ends));
    std::iter::once(heading.trim_end().to_owned()).chain(rungs).collect()
}

/// Where the line of an end stands.
const fn place(nth: usize) -> usize {
    LADDER_MARGIN + LADDER_STEP * nth
}

/// One message between the lines of all ends.
fn rung(message: &Kept, ends: &[Endpoint]) -> String {
    let step = message.step();
    let of = |end: Endpoint| place(ends.iter().position(|&known| known == end).unwrap_or(0));
    let (from, to) = (of(message.flow.src), of(message.flow.dst));
    let (left, right) = (from.min(to), from.max(to));
    let mut line = vec![' '; place(ends.len().saturating_sub(1)) + 1];
    let mut write = |at: usize, text: &str| {
        for (cell, c) in line.iter_mut().skip(at).zip(text.chars()) {
            *cell = c;
        }
    };
    write(0, &time_of_day(message.at));
    write(left, &"-".repeat(right - left));
    match from.cmp(&to) {
        Ordering::Less => write(right - 1, ">"),
        Ordering::Greater => write(left + 1, "<"),
        Ordering::Equal => {}
    }
    (0..ends.len()).for_each(|nth| write(place(nth), "|"));
    // The words stand in the first stretch behind the sender.
    let sdp = if step.has_sdp { " (SDP)" } else { "" };
    let room = LADDER_STEP - 8 - sdp.len();
    let label = format!(" {}{sdp} ", step.what.chars().take(room).collect::<String>());
    let begin = if from <= to { left + 3 } else { right.saturating_sub(label.chars().count() + 2) };
    write(begin, &label);
    let line: String = line.into_iter().collect();
    format!("{line}  {}{}", step.cseq, in_brackets(&message.notes())).trim_end().to_owned()
}

fn as_list(message: &Kept) -> String {
    let step = message.step();
    let sdp = if step.has_sdp { " (SDP)" } else { "" };
    format!(
        "{}  {} -> {}  {}{sdp}  {}{}",
        time_of_day(message.at),
        step.from,
        step.to,
        step.what,
        step.cseq,
        in_brackets(&message.notes())
    )
}

fn in_brackets(notes: &str) -> String {
    if notes.is_empty() { String::new() } else { format!("  [{notes}]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ms: i64, from: u8, to: u8, text: &str) -> Kept {
        let end = |n| Endpoint::v4([192, 0, 2, n], 5060);
        Kept {
            at: "2026-03-04T05:06:07.000Z"
                .parse::<Timestamp>()
                .expect("a time")
                .plus_nanos(ms * 1_000_000 + 42_000),
            flow: Flow { src: end(from), dst: end(to) },
            carrier: Carrier::Udp,
            is_repeated: false,
            left_out: 0,
            redacted: Redacted::default(),
            bytes: text.replace('\n', "\r\n").into_bytes(),
        }
    }

    const INVITE: &str =
        "INVITE sip:a@b SIP/2.0\nCall-ID: 7\nCSeq: 1 INVITE\nContent-Type: application/sdp\n\nv=0\n";
    const RINGING: &str = "SIP/2.0 180 Ringing\nCall-ID: 7\nCSeq: 1 INVITE\n\n";

    #[test]
    fn a_ladder_shows_who_sent_what_to_whom() {
        let again = Kept { is_repeated: true, redacted: Redacted::from_bits(1), ..kept(500, 1, 2, INVITE) };
        let messages = [kept(0, 1, 2, INVITE), again, kept(501, 2, 3, INVITE), kept(700, 3, 1, RINGING)];
        assert_eq!(
            ladder(&messages),
            [
                "                   192.0.2.1:5060                      192.0.2.2:5060                      192.0.2.3:5060",
                "05:06:07.000042          |-- INVITE (SDP) ------------------>|                                   |  1 INVITE",
                "05:06:07.500042          |-- INVITE (SDP) ------------------>|                                   |  1 INVITE  [sent again; replaced: keys]",
                "05:06:07.501042          |                                   |-- INVITE (SDP) ------------------>|  1 INVITE",
                "05:06:07.700042          |<----------------------------------|-------------------- 180 Ringing --|  1 INVITE",
            ]
        );
    }

    #[test]
    fn a_call_between_many_is_a_list_and_no_text_breaks_a_line() {
        let hostile = "SIP/2.0 180 a\u{202e}\x1b[31mb\nCall-ID: 7\nCSeq: 1 INVITE\n\n";
        let messages: Vec<Kept> = (1..8).map(|n| kept(0, n, n + 1, hostile)).collect();
        let lines = ladder(&messages);
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[0],
            "05:06:07.000042  192.0.2.1:5060 -> 192.0.2.2:5060  180 a\u{fffd}\u{fffd}[31mb  1 INVITE"
        );
    }

    #[test]
    fn a_step_tells_what_an_engineer_asks_first() {
        let step = kept(0, 1, 2, INVITE).step();
        assert_eq!(
            (step.what.as_str(), step.cseq.as_str(), step.call_id.as_str()),
            ("INVITE", "1 INVITE", "7")
        );
        assert!(step.has_sdp && !step.repeated && step.redacted.is_empty());
        assert_eq!(kept(0, 1, 2, "nothing").step().what, "not readable");
    }
}
