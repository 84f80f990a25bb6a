//! The facts of a recording and of a call, as files, index and `--json` carry them.
//!
//! Facts are not audio: they stand in clear in the recording's file, so that a box without the private key can still
//! list, retain and count. What a caller keyed in is sealed with the audio; here stands only that a digit was keyed.
//! Fields may be added, never renamed: they are a public format (`docs/format.md`).

pub use decode::tracker::NoKey;
use decode::{Codec, Party, Timestamp};
pub use policy::outcome::{Source, State};
pub use policy::{CustomField, CustomFields, Direction, Outcome, PastPart, Step};
use serde::{Deserialize, Serialize};

use crate::id::RecordingId;
use crate::quality::Quality;

/// What told of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signalling {
    /// SIP.
    #[default]
    Sip,
    /// Nothing: the media of a phone that is known by its address.
    None,
}

/// A stretch of the recording's timeline, in milliseconds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub start_ms: u64,
    /// Where it ends; never before `start_ms`.
    pub end_ms: u64,
}

/// A keyed digit was heard at this place; the digit itself is sealed with the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtmfFact {
    /// Milliseconds from the start of the recording.
    pub at_ms: u64,
    /// Who keyed it.
    pub party: Party,
    /// How long the key was held.
    pub duration_ms: u32,
}

/// A stretch of an answered call in which nothing came of one party while the other one was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// Who was not heard.
    pub party: Party,
    /// Where it begins, in milliseconds from the start of the recording.
    pub start_ms: u64,
    /// Where it ends.
    pub end_ms: u64,
}

/// What a recording's audio was before it was re-encoded, and how that came about. Stands in the facts, which are signed, and
/// in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recoded {
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// Who asked for it.
    pub who: String,
    /// The rule, in words.
    pub rule: String,
    /// The digest that the file before was signed over, in hexadecimal: whoever has a copy of it can prove that this is the one.
    pub from_signed: String,
    /// Its length.
    pub from_bytes: u64,
    /// The encodings of its audio.
    pub from_codecs: Vec<Codec>,
    /// Samples per second of what is played.
    pub rate: u32,
    /// How long that is, in samples.
    pub samples: u64,
}

/// One party's side of a recording: what was received and what was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Whose voice it is.
    pub party: Party,
    /// The audio encoding as received; of the most packets when it changed during the call.
    pub codec: Codec,
    /// The encoding that it is kept in now, where it was re-encoded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stored: Option<Codec>,
    /// Its RTP clock in Hz.
    pub clock_rate: u32,
    /// Synchronization sources, in order of appearance.
    pub ssrcs: Vec<u32>,
    /// Packets received (duplicates not counted; telephone events counted), those that could not be decrypted and those in a
    /// pause, which are not kept, among them.
    pub packets: u64,
    /// Of these, SRTP that was decrypted with a key from the signalling.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub decrypted: u64,
    /// Encrypted packets that no key opened: they are not in the recording.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub undecryptable: u64,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_key: Option<NoKey>,
    /// Packets announced as plain audio whose bytes look encrypted: they are in the recording, and noise.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub looks_encrypted: u64,
    /// Packets missing by sequence number while the capture itself lost nothing.
    pub lost_network: u64,
    /// Packets missing while the kernel or a ring of ours dropped frames, or cut short by the capture.
    pub lost_capture: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Copies of a packet already kept.
    pub duplicates: u64,
    /// Interarrival jitter at the end (RFC 3550, 6.4.1), largest of the sources, in milliseconds.
    pub jitter_ms: f64,
    /// Estimated listening quality of the call, 1.0 to 4.5 (G.107 E-model from codec, network loss and lateness); none when it
    /// cannot be told. What our own capture lost is not the call's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mos: Option<f64>,
    /// How much faster the sender's clock ran than the capture clock, in parts per million.
    pub skew_ppm: f64,
    /// Audio time of this track by its RTP timestamps, first packet to the end of the last one.
    pub audio_ms: u64,
    /// The rest of what was measured. Recordings of earlier versions have none.
    #[serde(default)]
    pub quality: Quality,
}

/// Why a leg is thought to be part of a call that another leg began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tied {
    /// Call-ID of the leg by which the call was found.
    pub sip_call_id: String,
    /// What tied the two, in words: `same Session-ID`, `Replaces`, `forked INVITE`.
    pub why: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Everything known about one recording that is not audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingFacts {
    /// The recording.
    pub id: RecordingId,
    /// The logical call that it is a part of.
    pub call: String,
    /// Which stretch of the logical call, from 1.
    pub segment: u32,
    /// How far it has come.
    pub state: State,
    /// Where the audio came from.
    pub source: Source,
    /// The recorded extension.
    pub extension: String,
    /// Its name, as its phone or the PBX gave it.
    pub extension_name: Option<String>,
    /// The outside number, for inbound and outbound calls, cleaned by the dial plan; in E.164 where that names a country.
    pub outside_number: Option<String>,
    /// The other side, number or user, for every direction.
    pub other_party: Option<String>,
    /// Its name, as signalled.
    #[serde(default)]
    pub other_party_name: Option<String>,
    /// Which way the call went.
    pub direction: Direction,
    /// Where the timeline begins.
    pub started: Timestamp,
    /// When the call was answered.
    pub answered: Option<Timestamp>,
    /// Where the timeline ends.
    pub ended: Option<Timestamp>,
    /// Length of the audio.
    pub duration_ms: u64,
    /// From the INVITE to the answer (or to the end when it was never answered).
    pub ring_ms: u64,
    /// Time on hold, either side.
    pub hold_ms: u64,
    /// Answered time less hold.
    pub talk_ms: u64,
    /// Near first, then far; a party that never sent audio has no track.
    pub tracks: Vec<Track>,
    /// Stretches in which nothing was kept, on request.
    pub pauses: Vec<Span>,
    /// Stretches on hold.
    pub holds: Vec<Span>,
    /// One-way audio: stretches of 10 s and more in which one party was not heard, holds left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_way: Vec<Absence>,
    /// Keyed digits (not which).
    pub dtmf: Vec<DtmfFact>,
    /// The id of the user whom it counts for, when known: the agent's, or else the extension's.
    pub user: Option<String>,
    /// The user's name as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The business unit that it counts for, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_unit: Option<String>,
    /// The units above that one as they were then, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units_above: Vec<String>,
    /// The site that it was recorded at, where that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Agent logged in at the extension, when known.
    pub agent: Option<String>,
    /// Account code entered on the call, when known.
    pub account_code: Option<String>,
    /// Hunt group that the call came through, when known.
    pub hunt_group: Option<String>,
    /// Trunk that the call used, when known.
    pub trunk: Option<String>,
    /// The number that the outside party dialled, when it differs from the extension.
    pub ddi: Option<String>,
    /// What the telephone system calls that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddi_name: Option<String>,
    /// Who the outside number belongs to, by somebody's list of contacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The extension that passed the call on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_from: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The five fields that the site fills as it likes, where something stands in them.
    #[serde(default, skip_serializing_if = "CustomFields::is_empty")]
    pub fields: CustomFields,
    /// Under a legal hold.
    pub held: bool,
    /// SIP Call-IDs of the legs in it.
    pub sip_call_ids: Vec<String>,
    /// Why its leg is part of this call; empty for the leg that began it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tied>,
    /// Which rule said that it is to be kept.
    pub rule: String,
    /// What named the extension, of a call that the PBX conferenced the recorder into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_by: Option<String>,
    /// What told of the call.
    #[serde(default)]
    pub signalling: Signalling,
    /// RTP packets that somebody else sent to the call's ports; they are not in the recording.
    #[serde(default)]
    pub foreign_packets: u64,
    /// The call had begun before it was seen.
    #[serde(default)]
    pub joined_late: bool,
    /// Another call announced the same places for its audio at the same time: the recording may hold the audio of both.
    #[serde(default)]
    pub shares_media: bool,
    /// Nothing but a BYE was seen of its signalling: its audio is what stopped with that, when nothing else did.
    #[serde(default)]
    pub known_by_end: bool,
    /// RTP packets of such a call, from so long before its first message was seen that they were not held any more; they are not
    /// in the recording.
    #[serde(default)]
    pub not_held_packets: u64,
    /// Its audio was re-encoded; everything else here is of the audio as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recoded: Option<Box<Recoded>>,
}

impl RecordingFacts {
    /// The business unit and those above it, the nearest first.
    pub fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.business_unit.iter().chain(&self.units_above).map(String::as_str)
    }
}

/// One line of the balance sheet: a call that was seen, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRow {
    /// The logical call.
    pub call: String,
    /// Its SIP Call-IDs; empty for calls without signalling and for RTP that nobody announced.
    pub sip_call_ids: Vec<String>,
    /// Calling party, as signalled.
    pub from: String,
    /// Called party, as signalled.
    pub to: String,
    /// First seen.
    pub started: Timestamp,
    /// Answered.
    pub answered: Option<Timestamp>,
    /// Ended.
    pub ended: Option<Timestamp>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in words: the rule, the SIP status, the missing key.
    pub reason: String,
    /// The recordings made of it.
    pub recordings: Vec<RecordingId>,
    /// Why this leg is part of its call; empty for the leg that began it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tied>,
    /// How it was judged, step by step; empty where nothing was, and in lines of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Step>,
    /// What each extension's part was judged by, so that other rules can be tried on it; empty likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PastPart>,
}

impl CallRow {
    /// Is this call meant: by its id or the beginning of that, or by the Call-ID of a leg?
    #[must_use]
    pub fn is_named(&self, call: &str) -> bool {
        !call.is_empty() && (self.call.starts_with(call) || self.sip_call_ids.iter().any(|id| id == call))
    }

    /// The line of a call that nothing but its recording tells of.
    #[must_use]
    pub fn of_recording(facts: &RecordingFacts, ended: Option<Timestamp>, reason: String) -> CallRow {
        let other = facts.other_party.clone().unwrap_or_default();
        let (from, to) = match facts.direction {
            Direction::Inbound => (other, facts.extension.clone()),
            Direction::Outbound | Direction::Internal | Direction::Unknown => {
                (facts.extension.clone(), other)
            }
        };
        CallRow {
            call: facts.call.clone(),
            sip_call_ids: facts.sip_call_ids.clone(),
            from,
            to,
            started: facts.started,
            answered: facts.answered,
            ended,
            outcome: Outcome::Recorded,
            reason,
            recordings: vec![facts.id],
            ties: facts.ties.clone(),
            why: Vec::new(),
            parts: Vec::new(),
        }
    }
}

/// What one run of the recorder counted beside the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// RTP flows that no signalling announced; they are among the calls seen.
    pub unannounced_rtp: u64,
    /// SIP messages parsed.
    pub sip_messages: u64,
    /// RTP packets that belong to a call or an unannounced flow.
    pub rtp_packets: u64,
    /// Frames read.
    pub packets_seen: u64,
    /// Frames that the kernel dropped.
    pub packets_dropped_kernel: u64,
    /// Frames that our own ring dropped.
    pub packets_dropped_ring: u64,
    /// Traffic that broke a rule.
    pub oddities: u64,
    /// TLS connections that may have carried SIP and could not be read.
    #[serde(default)]
    pub tls_undecryptable: u64,
    /// RTP flows that no signalling announced and that held what a call's source sent, packet for packet; they are not among the
    /// calls seen.
    #[serde(default)]
    pub copied_rtp: u64,
    /// RTP packets of calls left out, since `site.rtp_ports` lists neither of their ports.
    #[serde(default)]
    pub outside_rtp: u64,
    /// The same of flows that nobody announced.
    #[serde(default)]
    pub outside_unannounced_rtp: u64,
}

impl Counters {
    /// Adds another run's counts to these.
    pub fn add(&mut self, other: &Counters) {
        self.unannounced_rtp += other.unannounced_rtp;
        self.sip_messages += other.sip_messages;
        self.rtp_packets += other.rtp_packets;
        self.packets_seen += other.packets_seen;
        self.packets_dropped_kernel += other.packets_dropped_kernel;
        self.packets_dropped_ring += other.packets_dropped_ring;
        self.oddities += other.oddities;
        self.tls_undecryptable += other.tls_undecryptable;
        self.copied_rtp += other.copied_rtp;
        self.outside_rtp += other.outside_rtp;
        self.outside_unannounced_rtp += other.outside_unannounced_rtp;
    }
}
