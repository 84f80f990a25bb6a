//! Calls made up for tests: SIP (RFC 3261), SDP offers and answers (RFC 3264) and G.711 over RTP (RFC 3550, 3551).
//!
//! A [`Scenario`] decides everything; the same scenario gives the same bytes on every machine. Each party of each call
//! speaks a tone of its own whose loudness alternates every second of audio (12,000 in even seconds, 6,000 in odd
//! ones), so that a recording proves by itself whose it is, that nothing is missing and that both sides lie right.
//! The near party (the extension) has an even frequency in 300..=1798 Hz, the far party an odd one in 1801..=3299 Hz;
//! no two of 562,500 calls share a pair.
//!
//! Addresses are of ranges for documentation and benchmarks (RFC 5737, RFC 2544, RFC 3849), outside numbers of the
//! ranges that Ofcom keeps for drama. Nothing here is a real person's.

mod dialog;
mod media;
mod plan;
mod rtcp;
mod shape;
mod spray;
mod tcp;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::g711::Law;
use crate::pcap::{Container, Frame, Writer};

/// Frequencies of near parties, in Hz; only even ones are used.
pub const NEAR_HZ: std::ops::RangeInclusive<u32> = 300..=1799;
/// Frequencies of far parties, in Hz; only odd ones are used.
pub const FAR_HZ: std::ops::RangeInclusive<u32> = 1800..=3299;
/// Amplitude of a tone in even and in odd seconds of its audio, of 32,767.
pub const LOUDNESS: [f64; 2] = [12_000.0, 6_000.0];
/// Most lines of one scenario: the ports of the one PBX.
pub const LINES_MAX: u32 = 25_000;
/// Samples a second, and ticks of the RTP clock.
pub const RATE: u32 = 8000;
/// Payload type of telephone events (RFC 4733).
pub const EVENT_PT: u8 = 101;
/// Payload type of comfort noise (RFC 3389).
pub const NOISE_PT: u8 = 13;
/// 2026-03-02 09:00:00 UTC, a Monday.
pub const EPOCH_NS: i64 = 1_772_442_000_000_000_000;

/// Which party of a call: the extension or the one it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The extension.
    Near,
    /// The other side.
    Far,
}

impl Party {
    /// The one that this party talks to.
    #[must_use]
    pub const fn other(self) -> Party {
        match self {
            Party::Near => Party::Far,
            Party::Far => Party::Near,
        }
    }
}

/// Which way calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Inbound or outbound, by the seed.
    #[default]
    Mixed,
    /// From outside to the extension.
    Inbound,
    /// From the extension to the outside.
    Outbound,
    /// From the extension to another one.
    Internal,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ending {
    /// One party hangs up.
    #[default]
    Bye,
    /// The audio stops and nothing more is said.
    NoBye,
    /// The caller gives up while it rings: CANCEL, 487.
    Cancelled,
    /// 486 Busy Here.
    Busy,
}

impl Ending {
    /// Whether the call is answered before it ends.
    #[must_use]
    pub const fn answered(self) -> bool {
        matches!(self, Ending::Bye | Ending::NoBye)
    }
}

/// What SIP travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transport {
    /// One message, one datagram.
    #[default]
    Udp,
    /// One connection for each call, one message, one segment (more when it is long).
    Tcp,
    /// The same in odd pieces: messages split anywhere, two in one segment, segments swapped and sent again.
    TcpPieces,
}

/// A number and the name shown with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Extension or outside number.
    pub number: String,
    /// Display name.
    pub name: String,
}

/// What to make. `Scenario::default()` is one clean ten-second mu-law call over UDP and IPv4; change what matters:
///
/// ```
/// use xtask::load::{Scenario, Transport};
/// let traffic = Scenario { calls: 20, loss_pct: 1.0, transport: Transport::TcpPieces, ..Scenario::default() }.traffic();
/// assert_eq!(traffic.truth.len(), 20);
/// ```
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides every draw.
    pub seed: u64,
    /// Lines: calls that run at the same time; with `first_line` at most [`LINES_MAX`].
    pub calls: u32,
    /// Number of the first line: scenarios with other lines share neither phones, ports nor tones.
    pub first_line: u32,
    /// Calls on each line, one after the other, 50 ms apart, on the same addresses and ports.
    pub calls_per_line: u32,
    /// From the answer to the end of the audio, in milliseconds.
    pub talk_ms: u32,
    /// From the INVITE to the answer (or to CANCEL or 486), in milliseconds; at least 120.
    pub ring_ms: u32,
    /// The lines' first calls start at random within this time, in milliseconds.
    pub ramp_ms: u32,
    /// When the first call starts, in nanoseconds since the Unix epoch.
    pub epoch_ns: i64,
    /// Codec.
    pub law: Law,
    /// Audio in one packet, in milliseconds.
    pub ptime_ms: u32,
    /// Which way the calls go.
    pub direction: Direction,
    /// The extension; by default 2000 and up by line.
    pub extension: Option<Person>,
    /// The other party; by default a number of its own for each call.
    pub remote: Option<Person>,
    /// What near and far say (8 kHz, repeated when it is over) in place of the tones.
    pub voices: Option<[Arc<[i16]>; 2]>,

    /// IPv6 in place of IPv4.
    pub ipv6: bool,
    /// 802.1Q tags around every frame, from the outside in.
    pub vlans: Vec<u16>,
    /// What SIP travels on.
    pub transport: Transport,
    /// Pads the INVITE beyond an Ethernet frame, so that over UDP it comes as IP fragments.
    pub big_invite: bool,
    /// The two parties are phones with a proxy between them: each message is seen twice under one Call-ID, once before
    /// and once after the proxy, and the audio goes straight from phone to phone.
    pub proxied: bool,
    /// RTP packets that never arrive, in percent.
    pub loss_pct: f64,
    /// RTP packets that come after their successor, in percent.
    pub reorder_pct: f64,
    /// RTP packets that come twice, in percent.
    pub duplicate_pct: f64,
    /// RTP packets are late by anything up to this, in milliseconds.
    pub jitter_ms: u32,

    /// The media is SRTP, with a key of each party in its descriptions.
    pub srtp: bool,

    /// How the calls end.
    pub ending: Ending,
    /// The INVITE has no SDP: the offer stands in the 200, the answer in the ACK.
    pub late_offer: bool,
    /// A 183 with SDP, and the callee's audio from then on.
    pub early_media: bool,
    /// The extension puts the call on hold after 40 % of the talk and retrieves it after 60 %; nobody sends meanwhile.
    pub hold: bool,
    /// After 70 % of the talk the extension moves its audio to another port by re-INVITE.
    pub move_port: bool,
    /// After 30 % of the talk the far side's audio goes on with another SSRC, sequence and timestamp.
    pub change_ssrc: bool,
    /// Digits that the extension keys as telephone events (RFC 4733), from 1.5 s after its first audio, one each 400 ms.
    pub digits: String,
    /// Parties speak in turns and send comfort noise (RFC 3389) in place of silence.
    pub silence_suppression: bool,
    /// How much faster than the capture clock the near and the far party's clock run, in parts per million.
    pub skew_ppm: [f64; 2],

    /// What `skew_ppm` becomes after half of the talk; none when it stays.
    pub later_skew_ppm: Option<[f64; 2]>,
    /// After 40 % of the talk nothing comes of the far side any more: one-way audio.
    pub one_way: bool,
    /// Both parties send RTCP once a second, on the port above their audio's. This long is the way from the capture to either
    /// of them and back, in milliseconds; none is no RTCP.
    pub rtcp_trip_ms: Option<u32>,

    /// No SIP at all.
    pub rtp_only: bool,
    /// The extension is behind a NAT: its SDP names a private address, and in the middle of the talk the NAT gives its audio
    /// another port.
    pub nat: bool,
    /// Strangers send RTP to the call's four ports, from 200 ms before the audio to 200 ms after the call.
    pub spray: bool,
    /// Every frame comes a second time 2 us later, as from a mirror of both directions of a port.
    pub span_copies: bool,
    /// Bytes captured of each frame at most; 0 is no limit.
    pub snaplen: u32,
    /// The capture begins this long after the first frame, in milliseconds.
    pub skip_ms: u32,
    /// In the middle of the capture its clock is set back by this, in milliseconds.
    pub step_back_ms: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            seed: 1,
            calls: 1,
            first_line: 0,
            calls_per_line: 1,
            talk_ms: 10_000,
            ring_ms: 300,
            ramp_ms: 1000,
            epoch_ns: EPOCH_NS,
            law: Law::Mu,
            ptime_ms: 20,
            direction: Direction::Mixed,
            extension: None,
            remote: None,
            voices: None,
            ipv6: false,
            vlans: Vec::new(),
            transport: Transport::Udp,
            big_invite: false,
            proxied: false,
            loss_pct: 0.0,
            reorder_pct: 0.0,
            duplicate_pct: 0.0,
            jitter_ms: 0,
            srtp: false,
            ending: Ending::Bye,
            late_offer: false,
            early_media: false,
            hold: false,
            move_port: false,
            change_ssrc: false,
            digits: String::new(),
            silence_suppression: false,
            skew_ppm: [0.0; 2],
            later_skew_ppm: None,
            one_way: false,
            rtcp_trip_ms: None,
            rtp_only: false,
            nat: false,
            spray: false,
            span_copies: false,
            snaplen: 0,
            skip_ms: 0,
            step_back_ms: 0,
        }
    }
}

/// What one party of a call sent. Counts are of the wire: what a snap length, a late start of the capture or a copy by
/// a mirror port does to them is not in here.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Its tone in Hz.
    pub tone_hz: u32,
    /// Where its audio comes from at first.
    pub from: SocketAddr,
    /// Its synchronization sources, in order.
    pub ssrcs: Vec<u32>,
    /// RTP packets that arrive, of every kind, copies not counted.
    pub packets: u64,
    /// RTP packets that never arrive.
    pub lost: u64,
    /// Copies.
    pub duplicates: u64,
    /// Packets sent behind their successor on purpose (jitter may add more).
    pub reordered: u64,
    /// Of `packets`, telephone events.
    pub events: u64,
    /// Of `packets`, comfort noise.
    pub noise: u64,
    /// When the first and the last packet were sent, lost or not (without jitter); none when nothing was sent.
    pub sent_ns: Option<(i64, i64)>,
    /// From the first packet to the end of the last one by this party's own clock, in milliseconds.
    pub audio_ms: u64,
}

/// What is in one call of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// SIP Call-ID.
    pub call_id: String,
    /// The near party.
    pub extension: Person,
    /// The far party.
    pub remote: Person,
    /// Inbound, outbound or internal; never mixed.
    pub direction: Direction,
    /// Codec.
    pub law: Law,
    /// When the INVITE was sent.
    pub invite_ns: i64,
    /// When the 200 to the INVITE was sent.
    pub answer_ns: Option<i64>,
    /// When the BYE, the CANCEL or the 486 was sent; none with [`Ending::NoBye`].
    pub end_ns: Option<i64>,
    /// From the 200 to the re-INVITE that holds to the 200 to the one that retrieves.
    pub hold_ns: Option<(i64, i64)>,
    /// Digits keyed by the extension.
    pub digits: String,
    /// What the extension sent.
    pub near: Sent,
    /// What the other side sent.
    pub far: Sent,
}

/// A scenario's frames in order of capture, and what is in them.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The frames.
    pub frames: Vec<Frame>,
    /// One entry for each call, by line, then by time.
    pub truth: Vec<Truth>,
}

impl Scenario {
    /// Everything in memory: for tests. A call needs about 25 KB a second.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut frames = Vec::new();
        let truth = self.each_frame(|frame| {
            frames.push(frame);
            Ok(())
        });
        Traffic { frames, truth: truth.expect("pushing to a Vec does not fail") }
    }

    /// Writes a capture file as it goes: memory grows with the lines, not with the length.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: impl Write, container: Container) -> io::Result<Vec<Truth>> {
        let mut writer = Writer::new(out, container)?;
        let truth = self.each_frame(|frame| writer.write(&frame))?;
        writer.finish()?;
        Ok(truth)
    }

    /// Gives every frame to `sink`, in order of capture, and the truth at the end.
    ///
    /// # Errors
    /// The first error of `sink`.
    pub fn each_frame(&self, sink: impl FnMut(Frame) -> io::Result<()>) -> io::Result<Vec<Truth>> {
        shape::run(self, sink)
    }
}
