//! One call: its dialog (RFC 3261, 12), its media lines, its session's timer, and how far it has come.

use super::Path;
use super::offer::Line;
use super::stream::Stream;
use crate::net::Endpoint;
use crate::time::Timestamp;

/// Media lines of a recording session (RFC 7866) that are listened to, one for each of two parties. Of any other call it is one.
pub const STREAMS_MAX: usize = 2;
/// A call on hold is hung up when nothing is heard of it for so long, in seconds: its end was missed.
pub const HELD_S_MAX: i64 = 4 * 3_600;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is not answered yet.
    Ringing,
    /// We call, and are not answered yet.
    Calling,
    /// Our answer, to the first INVITE or a later one, is not acknowledged yet.
    Answered,
    /// It runs.
    Confirmed,
}

/// A provisional response that must be acknowledged (RFC 3262).
#[derive(Clone, Debug)]
pub(super) struct Reliable {
    pub(super) number: u32,
    pub(super) cseq: u32,
    pub(super) path: Path,
    pub(super) bytes: Vec<u8>,
    pub(super) resend_ms: i64,
}

/// How a session is kept alive (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionTimer {
    pub(super) interval_s: u32,
    pub(super) we_refresh: bool,
}

/// What we say to the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Nothing yet.
    Idle,
    /// The announcement, from this packet on.
    Announcing(usize),
    /// It is over, or there is none; the first packet of silence comes next, or some have gone.
    Over(bool),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Call {
    /// Whose channel it has.
    pub(super) entry: usize,
    /// By what way its latest request came.
    pub(super) path: Path,
    /// Where the peer is to be reached when that connection is gone, as its Via says.
    pub(super) elsewhere: Endpoint,
    /// Its URIs are of the kind that is encrypted all the way (RFC 3261, 12.1.1).
    pub(super) is_sips: bool,
    pub(super) call_id: Vec<u8>,
    pub(super) local_tag: String,
    pub(super) remote_tag: Vec<u8>,
    /// From and To of our own requests, with their tags.
    pub(super) local: Vec<u8>,
    pub(super) remote: Vec<u8>,
    /// Their Contact.
    pub(super) target: Vec<u8>,
    pub(super) routes: Vec<Vec<u8>>,
    /// The latest request's number, of either side; none before the peer's first.
    pub(super) remote_cseq: Option<u32>,
    pub(super) local_cseq: u32,
    pub(super) stage: Stage,
    /// The INVITE that is not answered, or whose answer is not acknowledged.
    pub(super) invite: Option<u64>,
    pub(super) invite_cseq: u32,
    /// That answer.
    pub(super) answer: Vec<u8>,
    pub(super) resend_ms: i64,
    pub(super) reliable: Option<Reliable>,
    /// The first reliable provisional response was acknowledged.
    pub(super) is_rung: bool,
    /// What the INVITE asked for of the session's timer.
    pub(super) wanted: Option<SessionTimer>,
    /// The peer knows session timers, and UPDATE.
    pub(super) knows_timer: bool,
    pub(super) knows_update: bool,
    pub(super) timer: Option<SessionTimer>,
    /// A request of ours that is not answered.
    pub(super) asking: Option<u64>,
    /// Our answer holds an offer, which their ACK or PRACK answers.
    pub(super) is_offering: bool,
    /// The answer came with the PRACK: the 2xx has no description any more.
    pub(super) is_described: bool,
    /// The conversation that we have joined: we are a passive participant, and say nothing.
    pub(super) joined: Option<String>,
    /// We are to leave as soon as that can be said.
    pub(super) is_leaving: bool,
    /// A session recording client sends it (RFC 7866).
    pub(super) is_siprec: bool,
    pub(super) lines: Vec<Line>,
    /// By line.
    pub(super) streams: Vec<Option<Stream>>,
    pub(super) session: u64,
    pub(super) version: u64,
    pub(super) voice: Voice,
    /// When something of it was heard last.
    pub(super) heard: Timestamp,
}

impl Call {
    /// Does the peer say that it sends?
    pub(super) fn is_heard(&self) -> bool {
        self.streams.iter().flatten().any(|stream| stream.agreed.is_heard())
    }

    /// Media lines that are listened to.
    pub(super) fn streams_max(&self) -> usize {
        if self.is_siprec { STREAMS_MAX } else { 1 }
    }

    /// Is this an end of the dialog with these tags (RFC 3261, 12.2.2)?
    pub(super) fn is_dialog(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        self.call_id == call_id && self.remote_tag == remote_tag
    }
}
