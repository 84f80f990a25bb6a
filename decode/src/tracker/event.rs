//! What the tracker tells: facts of legs, audio, digits, hold, oddities.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::absence::Absence;
use super::quality::Quality;
use super::secrecy::NoKey;
use super::signalling::Named;
use crate::media::{AudioFrame, Format, Side};
use crate::net::{Endpoint, Ethernet, Flow, Mac};
use crate::rtp::dtmf::Digit;
use crate::rtp::rtcp::SenderReport;
use crate::sdp::Session;
use crate::signal::Signal;
use crate::time::Timestamp;

/// One leg that the tracker follows: a slot that is used again, and a serial number that is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    pub(super) serial: u64,
    pub(super) slot: u32,
}

impl LegId {
    /// Counts up from 1 in the order in which legs were seen.
    #[must_use]
    pub fn serial(self) -> u64 {
        self.serial
    }

    /// A small number that no other running leg has: the place of what belongs to it in a plain array.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.serial)
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}", self.serial)
    }
}

/// The logical call that legs and recordings belong to: start time and a hash of the first leg's dialog, so that two
/// recorders, or the same capture read twice, give it the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(u128);

impl CallId {
    /// From the start of the call and what names its first dialog.
    #[must_use]
    pub fn new(started: Timestamp, dialog: &[&[u8]]) -> Self {
        // FNV-1a, 64 bit: stable over versions and machines, which std's and rustc-hash's hashers do not promise.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in dialog {
            for &byte in part.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        CallId(u128::from(started.as_millis().max(0) as u64 & 0xffff_ffff_ffff) << 64 | u128::from(hash))
    }
}

/// Twelve hexadecimal digits of the start in milliseconds, a hyphen, sixteen of the hash.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{:016x}", (self.0 >> 64) as u64, self.0 as u64)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who stands at one end of a leg, as the signalling says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User part of the address: the number, in most systems. May be empty.
    pub number: String,
    /// Display name. May be empty.
    pub name: String,
    /// Host part of the address.
    pub host: String,
    /// Where its SIP messages come from and go to.
    pub signalling: Endpoint,
    /// This user was seen to register successfully, or is listed with its address: it is a device of the site.
    pub registered: bool,
    /// Devices register at this address, it was seen to pass calls on, or it is listed as the PBX's: it is the PBX.
    pub is_registrar: bool,
}

impl Identity {
    /// The number is withheld, or there is none (RFC 3323, 4.1: Anonymous; the rest as gateways write it).
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        let word = self.number.to_ascii_lowercase();
        matches!(
            word.as_str(),
            "" | "anonymous" | "unavailable" | "restricted" | "unknown" | "private" | "withheld"
        ) || self.host.eq_ignore_ascii_case("anonymous.invalid")
    }
}

/// Why a leg is thought to be part of a call that another leg had begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TieReason {
    /// The INVITE was forked: another device rings or answers for it (RFC 3261, 12.1 and 16.7).
    Fork,
    /// The same Call-ID under other tags, while that leg runs: the next hop of a gateway.
    CallId,
    /// Its INVITE replaces that leg's dialog (RFC 3891).
    Replaces,
    /// A party of that leg was sent to this target (RFC 3515).
    Refer,
    /// Both carry the same session identifier (RFC 7989).
    SessionId,
    /// Both carry the same value in this header field, or it names that leg's Call-ID.
    Header(String),
    /// Under another Call-ID, but with the caller's tag: a proxy that hides the topology behind it.
    Tag,
    /// Both announce the same place for media, in the words of two senders: a B2BUA that leaves the media to the phones.
    Media,
    /// It comes out of the host that the other went into, with the same numbers, while that one runs.
    Numbers,
}

impl fmt::Display for TieReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TieReason::Fork => f.write_str("forked INVITE"),
            TieReason::CallId => f.write_str("same Call-ID"),
            TieReason::Replaces => f.write_str("Replaces"),
            TieReason::Refer => f.write_str("REFER"),
            TieReason::SessionId => f.write_str("same Session-ID"),
            TieReason::Header(name) => write!(f, "same {name}"),
            TieReason::Tag => f.write_str("same tag"),
            TieReason::Media => f.write_str("same media address"),
            TieReason::Numbers => f.write_str("numbers and time"),
        }
    }
}

/// A leg continues a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The leg of that call by which it was found.
    pub leg: LegId,
    /// That leg's Call-ID as text.
    pub sip_call_id: String,
    /// Why it is thought so.
    pub why: TieReason,
}

/// How a leg ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It has not.
    #[default]
    Running,
    /// BYE.
    Bye {
        /// Who hung up.
        by: Side,
    },
    /// CANCEL before an answer.
    Cancelled,
    /// It rang at this device until another one answered.
    AnsweredElsewhere,
    /// A final response of 300 or more.
    Rejected {
        /// Its status; 0 when only its ACK was seen.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// Nothing was heard of it for too long.
    TimedOut,
    /// It had no signalling, and its media stopped or became another call's.
    MediaStopped,
    /// The capture ended first.
    EndOfInput,
}

/// A leg beside another one in a call, as far as it tells whose that one is: a PBX has a leg with the telephone and one with the trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLeg {
    /// The leg.
    pub leg: LegId,
    /// Its caller and callee.
    pub parties: [Identity; 2],
    /// User part of its Request-URI.
    pub request_user: String,
    /// That user was seen to register.
    pub request_registered: bool,
}

impl OtherLeg {
    /// The party on that side.
    #[must_use]
    pub fn party(&self, side: Side) -> &Identity {
        let [caller, callee] = &self.parties;
        match side {
            Side::Caller => caller,
            Side::Callee => callee,
        }
    }
}

/// Everything known about a leg so far.
#[derive(Clone, Debug, PartialEq)]
pub struct LegFacts {
    /// The leg.
    pub leg: LegId,
    /// The logical call that it belongs to.
    pub call: CallId,
    /// Which leg of that call, from 1.
    pub segment: u32,
    /// Why it is part of that call; empty for a leg that began one.
    pub ties: Vec<Tie>,
    /// The legs that its call had beside it when this leg was last told of, the oldest first; not all of a call with very many.
    pub others: Vec<OtherLeg>,
    /// Call-ID as text; empty when the leg was made from its media alone.
    pub sip_call_id: String,
    /// Caller and callee; index with [`Side::index`].
    pub parties: [Identity; 2],
    /// User part of the Request-URI of the INVITE; of the hop that leads to the device, once that is known.
    pub request_user: String,
    /// That user was seen to register: it is a device of the site.
    pub request_registered: bool,
    /// Who has sent the call on to here, as the INVITE says it; empty where it says of nobody.
    pub diverted_by: String,
    /// The first INVITE.
    pub started: Timestamp,
    /// The first 180 or 183.
    pub ringing: Option<Timestamp>,
    /// The 2xx to the INVITE; when the capture missed it, the ACK, or the BYE that only an answered call has. Of a call that had begun
    /// before, the first that was seen of it.
    pub answered: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How.
    pub ending: Ending,
    /// Some audio came before the answer.
    pub early_media: bool,
    /// The media is encrypted: SRTP was agreed on, or DTLS or ZRTP was seen on its ports.
    pub encrypted: bool,
    /// Why it cannot be read, when it is encrypted and keys are missing for one side at least.
    pub no_key: Option<NoKey>,
    /// The call had begun before the capture: its INVITE was not seen.
    pub joined_late: bool,
    /// Who called whom is known: the first INVITE was seen, or the ACK of its answer. Of a call that ran already, either party may
    /// have sent the first message that was seen; it stands as the caller then.
    pub caller_known: bool,
    /// Nothing but a BYE was seen of its signalling; its audio is what stopped with that, and nothing else did.
    pub known_by_end: bool,
    /// Mandatory header fields were missing.
    pub malformed: bool,
    /// A session description announced audio.
    pub audio_announced: bool,
    /// Audio packets kept, by the side that sent them.
    pub audio_packets: [u64; 2],
    /// When the first audio packet came.
    pub first_audio: Option<Timestamp>,
    /// The PBX conferenced the recorder in: whom its INVITE names, in the order of [`Tracker::know_conference`]. The caller's side is
    /// all parties mixed, and the callee is the recorder; of a conversation that the recorder has joined it is the other way round.
    ///
    /// [`Tracker::know_conference`]: super::Tracker::know_conference
    pub conferenced: Option<Box<[Named]>>,
}

impl LegFacts {
    /// No signalling tells of this leg: it was made from the media of a phone that is known by its address. Then who called
    /// whom is not known, and the caller's side is the phone's.
    #[must_use]
    pub fn is_stream_only(&self) -> bool {
        self.sip_call_id.is_empty()
    }

    /// The party on that side.
    #[must_use]
    pub fn party(&self, side: Side) -> &Identity {
        let [caller, callee] = &self.parties;
        match side {
            Side::Caller => caller,
            Side::Callee => callee,
        }
    }
}

/// What one side sent during a leg.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackReport {
    /// Who spoke.
    pub side: Side,
    /// Formats with their packet counts, most used first.
    pub formats: Vec<(Format, u64)>,
    /// Sources in order of appearance.
    pub ssrcs: Vec<u32>,
    /// Unique packets, telephone events and what could not be decrypted included.
    pub packets: u64,
    /// Packets that were SRTP and were decrypted.
    pub decrypted: u64,
    /// Encrypted packets that no key opened: not kept.
    pub undecryptable: u64,
    /// Why not.
    pub no_key: Option<NoKey>,
    /// Packets announced as plain audio whose bytes look encrypted: kept as received.
    pub looks_encrypted: u64,
    /// Missing by sequence number, network's fault.
    pub lost_network: u64,
    /// Missing while the capture dropped frames, or cut short by it.
    pub lost_capture: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Copies.
    pub duplicates: u64,
    /// Packets in which a media relay said the same again at another hop, as a source of its own; left out.
    pub relayed: u64,
    /// Largest interarrival jitter of its sources at their ends, in milliseconds.
    pub jitter_ms: f64,
    /// Clock skew against the capture clock, parts per million.
    pub skew_ppm: f64,
    /// Audio time by RTP timestamps.
    pub audio_ms: u64,
    /// Where its first sample lies on the capture clock.
    pub start: Option<Timestamp>,
    /// Where its last sample ends.
    pub end: Option<Timestamp>,
    /// The rest of what was measured, and what the far end reported.
    pub quality: Quality,
}

/// A track of so much audio and more, in milliseconds, may be called silent.
const SILENT_TRACK_MS_MIN: u64 = 10_000;

impl TrackReport {
    /// Is nearly all of it digital silence?
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.audio_ms >= SILENT_TRACK_MS_MIN
            && self.quality.silent_ms.saturating_mul(20) >= self.audio_ms * 19
    }
}

/// A finished leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegEnd {
    /// Its facts, final.
    pub facts: LegFacts,
    /// The Ethernet addresses that the SIP of caller and callee came from, where no router stands between; in that order.
    pub macs: [Option<Mac>; 2],
    /// What each side sent; sides that sent nothing are left out.
    pub tracks: Vec<TrackReport>,
    /// Time on hold, both sides' holds merged: start and end on the capture clock.
    pub holds: Vec<(Timestamp, Timestamp)>,
    /// Stretches without one party, holds left out, by their beginning.
    pub absences: Vec<Absence>,
    /// RTP packets to its places that were not from its parties and were kept out.
    pub foreign_packets: u64,
    /// Another call announced the same places for its audio while this one ran: each was given the audio of both.
    pub shares_media: bool,
    /// RTP packets of a call that ran already, from so long before its first message was seen that they were not held any more.
    pub not_held_packets: u64,
    /// RTP packets of it that were left out, since neither end is on a port that carries audio ([`crate::ports`]).
    pub outside_packets: u64,
}

/// RTP to a call's places from somebody who is not its party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRtp {
    /// The leg whose place it was sent to.
    pub leg: LegId,
    /// Whose voice it would have been.
    pub side: Side,
    /// From where to where.
    pub flow: Flow,
    /// First packet.
    pub started: Timestamp,
    /// Last packet.
    pub ended: Timestamp,
    /// Latest source seen on it.
    pub ssrc: u32,
    /// Packets that were kept out.
    pub packets: u64,
    /// Packets that were taken for the party's and kept, before the party itself was heard.
    pub taken: u64,
}

/// RTP that no signalling announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnannouncedRtp {
    /// From where to where.
    pub flow: Flow,
    /// First packet.
    pub started: Timestamp,
    /// Last packet.
    pub ended: Timestamp,
    /// First source seen on it.
    pub ssrc: u32,
    /// Payload type of the first packet.
    pub payload_type: u8,
    /// Packets.
    pub packets: u64,
    /// Ethernet addresses around the first packet.
    pub ethernet: Option<Ethernet>,
    /// Its bytes look encrypted, although its payload type is a plain codec's.
    pub looks_encrypted: bool,
}

/// A flow that nobody announced, whose packets are those of a call's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedRtp {
    /// From where to where.
    pub flow: Flow,
    /// First packet.
    pub started: Timestamp,
    /// Last packet.
    pub ended: Timestamp,
    /// Packets.
    pub packets: u64,
    /// The leg that has the source.
    pub leg: LegId,
    /// Whose voice it is.
    pub side: Side,
    /// Where that leg hears it.
    pub original: Flow,
}

/// What the tracker tells, in the order in which it happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// An INVITE began a leg.
    LegStarted(&'a LegFacts),
    /// The leg turned out to be part of an older call: its `call`, `segment` and `ties` are new.
    Tied(&'a LegFacts),
    /// It rings.
    Ringing(&'a LegFacts),
    /// It was answered.
    Answered(&'a LegFacts),
    /// Its first audio packet follows.
    AudioStarted(&'a LegFacts),
    /// One audio packet.
    Audio {
        /// The leg.
        leg: LegId,
        /// Who speaks.
        side: Side,
        /// The packet.
        frame: AudioFrame<'a>,
    },
    /// A side has described its session anew: an offer or an answer (RFC 3264).
    Described {
        /// The leg.
        leg: LegId,
        /// Whose description it is.
        side: Side,
        /// When.
        at: Timestamp,
        /// An offer; else the answer to the other side's.
        is_offer: bool,
        /// What it says.
        session: Box<Session>,
    },
    /// A digit was keyed.
    Digit {
        /// The leg.
        leg: LegId,
        /// Who keyed it.
        side: Side,
        /// Which, when, how long.
        digit: Digit,
    },
    /// A side put the other on hold.
    Hold {
        /// The leg.
        leg: LegId,
        /// Who did.
        by: Side,
        /// When.
        at: Timestamp,
    },
    /// A side took the call back.
    Retrieve {
        /// The leg.
        leg: LegId,
        /// Who did.
        by: Side,
        /// When.
        at: Timestamp,
    },
    /// The metadata of a recording session names somebody who was not named before its audio began (RFC 7866, 7.1).
    Joined {
        /// The leg.
        leg: LegId,
        /// When.
        at: Timestamp,
        /// The number.
        number: String,
        /// The name; may be empty.
        name: String,
    },
    /// A party is named by another number than before, within the dialog (RFC 4916). [`LegFacts::parties`] stay as the INVITE named them.
    Identified {
        /// The leg.
        facts: &'a LegFacts,
        /// Which party.
        side: Side,
        /// When.
        at: Timestamp,
        /// The number.
        number: String,
        /// The name; may be empty.
        name: String,
    },
    /// RTCP tied a stream's clock to its sender's wall clock.
    SenderReport {
        /// The leg.
        leg: LegId,
        /// Who sent it.
        side: Side,
        /// When it was captured.
        at: Timestamp,
        /// What it says.
        report: SenderReport,
    },
    /// A SIP message of a leg that has audio, when [`Tracker::with_trace`](super::Tracker::with_trace) asks for them: those from
    /// before follow [`Event::AudioStarted`].
    Signal {
        /// The leg.
        leg: LegId,
        /// The message, as received.
        signal: Signal<'a>,
    },
    /// The leg is over; nothing more comes of it.
    LegEnded(Box<LegEnd>),
    /// An RTP flow that nobody announced is over.
    UnannouncedRtp(Box<UnannouncedRtp>),
    /// A flow that nobody announced is over, and was the copy of a call's: the other side of a relay, say. It is no call.
    CopiedRtp(Box<CopiedRtp>),
    /// RTP from a stranger to a call's port is over, or its call is; its packets are in no call. Flows of a few packets are
    /// counted at the leg's end only.
    ForeignRtp(Box<ForeignRtp>),
    /// A TLS connection that may carry SIP cannot be read from here on. Told once for a connection.
    TlsUndecryptable {
        /// When that was clear.
        at: Timestamp,
        /// From the client to the server, as far as it is known who is who.
        flow: Flow,
        /// Why, in a few words.
        why: &'static str,
    },
    /// Traffic that broke a rule.
    Oddity {
        /// When.
        at: Timestamp,
        /// Where, when it can be told.
        flow: Option<Flow>,
        /// What, in a few words.
        what: &'static str,
    },
}
