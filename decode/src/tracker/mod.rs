//! The call tracker: frames in, events out.
//!
//! A pure machine. [`Tracker::handle_frame`] takes a captured frame; then [`Tracker::poll_event`] is called until it gives
//! `None`. Capture time comes with the frames: the tracker's clock is the latest time stamp it has seen. At the end of the
//! input, [`Tracker::finish`] ends what still runs.
//!
//! Inside, the way of a frame is: [`crate::dissect`] (layers off) → SIP by its look on any port → `signalling` (legs) →
//! `media` (claims, flows, sources) → `outbox` (events).

mod absence;
mod calls;
mod devices;
mod event;
mod foresight;
mod hardware;
mod leg;
mod media;
mod outbox;
mod quality;
mod secrecy;
mod signalling;
mod trace;

pub use absence::{ABSENT_MS, Absence};
pub use devices::{Address, DEVICES_MAX, Device, DeviceError, Devices, STREAM_IDLE_MS, Subnet};
pub use event::{
    CallId, CopiedRtp, Ending, Event, ForeignRtp, Identity, LegEnd, LegFacts, LegId, OtherLeg, Tie,
    TieReason, TrackReport, UnannouncedRtp,
};
pub use foresight::SourcePlace;
pub use leg::LEGS_MAX;
pub use media::{HELD_AGE_MS_MAX, HELD_BYTES_MAX, HELD_FLOW_BYTES_MAX, HELD_MS_MAX};
pub use quality::{Quality, Reported};
pub use secrecy::NoKey;
pub use signalling::{CALL_HEADERS_MAX, HALF_OPEN_MAX, LINGER_MS, NAMED_BY_MAX, Named, NamedBy};
pub use trace::{
    TRACE_BYTES_MAX, TRACE_COPY_MS, TRACE_ENDING_MESSAGES_MAX, TRACE_HELD_BYTES_MAX, TRACE_MESSAGE_BYTES_MAX,
    TRACE_MESSAGES_MAX, TRACES_HELD_BYTES_MAX,
};

use crate::dissect::Dissector;
use crate::media::Side;
use crate::net::{Datagram, Ethernet, Flow, Frame, Transport};
use crate::ports::Ports;
use crate::signal::Carrier;
use crate::sip;
use crate::stream::{Found, Streams};
use crate::tcp;
use crate::time::{NS_PER_MS, Timestamp};
use calls::Calls;
use leg::{Leg, Legs};
use media::{Media, SourceReport};
use outbox::{LegNews, Outbox, Queued};
use signalling::{Conference, Signalling, Tables};
use trace::Received;

/// Stretches of hold kept per leg; later ones are heard, but not listed.
pub(crate) const HOLDS_MAX: usize = 1_000;
/// How often old legs, flows and digits are looked for.
const HOUSEKEEPING_MS: i64 = 250;
/// An INVITE that nobody responds to is given up by its sender after 32 s (RFC 3261, 17.1.1.2: timer B).
const NO_RESPONSE_MS: i64 = 40_000;
/// A call that rings without any message for this long is over.
const INVITE_IDLE_MS: i64 = 300_000;
/// An answered call without audio and messages for this long is over: its BYE was missed.
const MEDIA_IDLE_MS: i64 = 120_000;
/// The same while it is on hold, or when no audio was ever seen: only the signalling keeps it alive.
const HOLD_IDLE_MS: i64 = 4 * 3_600_000;
/// A session that is refreshed (RFC 4028) and was not is over so long after its refresh was due: retransmissions and a BYE.
const REFRESH_GRACE_MS: i64 = 40_000;
/// A time stamp further behind the latest one than this is counted as odd.
const BACKWARDS_MS: i64 = 100;
/// So many such frames in a row, with none in time between them, tell that the clock was set back.
const BEHIND_FRAMES: u32 = 16;
/// A time stamp further ahead of the latest one than this is a leap: time has passed, or the clock was set, which a stream
/// that goes on over the leap tells.
const LEAP_MS: i64 = 60_000;
/// A leap of more than this is taken back when the next frame is where time was before: a damaged record.
const FAR_LEAP_MS: i64 = 24 * 3_600_000;
/// Of a pause between two frames, so much counts as silence of the calls: the capture may have stood still.
const IDLE_STEP_MS: i64 = 2_000;

/// What the tracker has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames handled.
    pub frames: u64,
    /// SIP messages read.
    pub sip_messages: u64,
    /// RTP packets of calls and of unannounced flows, copies included.
    pub rtp_packets: u64,
    /// Unannounced RTP flows that are over.
    pub unannounced_rtp: u64,
    /// Flows that nobody announced, and that were copies of a call's.
    pub copied_rtp: u64,
    /// RTP packets of calls left out for their ports; see [`Tracker::use_ports`].
    pub outside_rtp: u64,
    /// The same of flows that nobody announced, as far as packets look like RTP.
    pub outside_unannounced_rtp: u64,
    /// Oddities told.
    pub oddities: u64,
    /// SIP messages of calls that were not told because a limit was reached; see [`Tracker::with_trace`].
    pub signals_left_out: u64,
    /// Copies of SIP messages that a mirror port made, told once.
    pub signal_copies: u64,
    /// TLS connections that may have carried SIP and could not be read.
    pub tls_undecryptable: u64,
}

/// Frames to call events. See the module's text.
#[derive(Default)]
pub struct Tracker {
    dissector: Dissector,
    core: Core,
}

/// Everything behind the dissector, which lends its buffer while the rest works.
#[derive(Default)]
struct Core {
    tcp: tcp::Reassembler,
    streams: Streams,
    signalling: Signalling,
    legs: Legs,
    calls: Calls,
    media: Media,
    out: Outbox,
    /// Time of the tracker by the frames: never goes back.
    now: Option<Timestamp>,
    /// What has passed since without a frame: up to when.
    waited: Option<Timestamp>,
    /// Time of the frame at hand; that of one out of order is not `now`.
    frame_at: Option<Timestamp>,
    /// What is added to capture time since its clock was set, in nanoseconds.
    shift: i64,
    /// Frames that came well behind the latest time, in a row: how far the first one was, in nanoseconds, and how many.
    behind: Option<(i64, u32)>,
    /// Where time was before the latest frame leapt far ahead.
    before_leap: Option<Timestamp>,
    /// The same, while the frame that leaps is handled.
    doubted: Option<Timestamp>,
    /// How long calls have had the chance to be heard, in nanoseconds: time that passes while frames come.
    idle_clock: i64,
    next_housekeeping: Option<Timestamp>,
    frames: u64,
}

impl Tracker {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Tracker::default()
    }

    /// Header fields whose value names a call across the legs that a PBX gives it, as `X-Call-ID`: legs with the same
    /// value, or with another leg's Call-ID in it, are one call. At most [`CALL_HEADERS_MAX`]; `X-Call-ID` and `X-CID` unless
    /// this is called.
    #[must_use]
    pub fn with_call_headers(mut self, names: &[String]) -> Self {
        self.core.signalling.set_call_headers(names);
        self
    }

    /// Tell the SIP messages of legs that have audio ([`Event::Signal`]), or not: without this they are not.
    #[must_use]
    pub fn with_trace(mut self, wanted: bool) -> Self {
        self.keep_trace(wanted);
        self
    }

    /// The same while it runs, for messages that come from now on.
    pub fn keep_trace(&mut self, wanted: bool) {
        self.core.out.traces.wanted = wanted;
    }

    /// Phones that no signalling names are told by these addresses: their media alone makes calls. In place of those that were told
    /// before; calls that run stay what they are.
    pub fn know_devices(&mut self, devices: Devices) {
        self.core.media.know_devices(devices);
    }

    /// Audio is looked for on these ports alone, from now on, in calls that run too: a flow with neither end on one of them is left out,
    /// and counted. Signalling is found on any port.
    pub fn use_ports(&mut self, ports: Ports) {
        let Core { media, legs, out, .. } = &mut self.core;
        media.use_ports(ports, legs, out);
    }

    /// What comes from this source ([`Frame::source`]) is what a PBX sends the recorder itself ([`crate::endpoint`]): its calls are
    /// [conferenced](LegFacts::conferenced), and these places in their INVITEs name the recorded extension, at most [`NAMED_BY_MAX`].
    pub fn know_conference(&mut self, source: u16, order: Vec<NamedBy>) {
        self.core.signalling.conference = Some(Conference { source, order });
    }

    /// Takes the next frame, in capture order.
    pub fn handle_frame(&mut self, frame: &Frame<'_>) {
        self.core.begin(frame.at);
        self.core.signalling.source = frame.source;
        if let Some(datagram) = &self.dissector.handle_frame(frame) {
            let at = self.core.frame_at.unwrap_or(datagram.at);
            self.core.out.traces.frame = (at, frame.at.plus_nanos(self.core.shift));
            self.core.signalling.hardware.sender =
                datagram.ethernet.map(|ethernet| (datagram.flow.src.ip(), ethernet.src));
            self.core.handle_datagram(datagram, at);
        }
    }

    /// Time goes on without a frame: a live source is silent.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.core.wait(now);
    }

    /// The capture lost frames just before `at`: loss in the second that follows is charged to it, not to the network.
    pub fn note_drops(&mut self, at: Timestamp) {
        self.core.media.note_drops(at);
    }

    /// Takes lines of a TLS key log (whole ones, any number of times), as `SSLKEYLOGFILE` has them: SIP inside the connections
    /// that they name becomes readable, also where it came a moment before. Gives how many secrets were new.
    pub fn add_tls_secrets(&mut self, lines: &[u8]) -> usize {
        let Core { streams, signalling, legs, calls, media, out, .. } = &mut self.core;
        let tables = &mut Tables { legs, calls, media, out };
        streams.add_secrets(lines, &mut |found| take(found, signalling, tables))
    }

    /// Users that were seen to register and have not said since that they are gone; in no order.
    pub fn registered(&self) -> impl Iterator<Item = &str> {
        self.core.signalling.registered()
    }

    /// Addresses that behave as a telephone system does: devices register there, or calls are passed on; in no order.
    pub fn registrars(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        self.core.signalling.registrars()
    }

    /// The tracker's time: the latest that it was given, and going on from there where capture time ran backwards. Events
    /// are on this clock.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.core.time()
    }

    /// Ends every call and flow that still runs: the input is over.
    pub fn finish(&mut self) {
        let Some(now) = self.core.time() else { return };
        let Core { streams, signalling, legs, calls, media, out, .. } = &mut self.core;
        let tables = &mut Tables { legs, calls, media, out };
        streams.finish(now, &mut |found| take(found, signalling, tables));
        signalling.settle_goodbyes(now, true, tables);
        for id in self.core.legs.ids() {
            self.core.close(id, now, &Ending::EndOfInput);
        }
        self.core.media.expire_loose(None, &mut self.core.out);
    }

    /// The next event. Call until it gives `None` after each [`handle_frame`](Self::handle_frame) and after
    /// [`finish`](Self::finish).
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        self.core.poll_event()
    }

    /// A time of the machine's clock, on the tracker's own: that one goes on evenly when the other is set during a call.
    #[must_use]
    pub fn on_its_clock(&self, wall: Timestamp) -> Timestamp {
        wall.plus_nanos(self.core.shift)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let core = &self.core;
        Counts {
            frames: core.frames,
            sip_messages: core.signalling.messages,
            rtp_packets: core.media.rtp_packets,
            unannounced_rtp: core.media.unannounced,
            copied_rtp: core.media.copied,
            outside_rtp: core.media.outside,
            outside_unannounced_rtp: core.media.outside_unannounced,
            oddities: core.out.oddities,
            signals_left_out: core.out.traces.left_out,
            signal_copies: core.out.traces.copies,
            tls_undecryptable: core.streams.counts().tls_undecryptable,
        }
    }

    /// What the network layers counted.
    #[must_use]
    pub fn layers(&self) -> crate::dissect::Counts {
        self.dissector.counts()
    }
}

impl Core {
    fn begin(&mut self, at: Timestamp) {
        self.frames += 1;
        self.pass(at);
    }

    /// The latest time that frames or the lack of them have told.
    fn time(&self) -> Option<Timestamp> {
        self.now.max(self.waited)
    }

    /// No frame comes while time passes. A capture may hand over late what it has caught already, so that this is no news of
    /// where the next frame's time stamp should be.
    fn wait(&mut self, at: Timestamp) {
        self.out.begin();
        let before = self.time();
        let now = before.max(Some(at.plus_nanos(self.shift)));
        self.waited = now;
        if let Some(now) = now {
            self.spend(before.map_or(0, |before| now.nanos_since(before)), now);
        }
    }

    /// Time goes on with a frame, never back.
    #[inline]
    fn pass(&mut self, at: Timestamp) {
        self.out.begin();
        match self.now {
            Some(now) if self.is_steady(now, at) => {
                let before = now.max(self.waited.unwrap_or(now));
                (self.waited, self.before_leap) = (None, None);
                let now = now.max(at);
                (self.now, self.frame_at) = (Some(now), Some(now));
                self.spend(now.nanos_since(before), now);
            }
            _ => self.pass_unsteadily(at),
        }
    }

    /// Capture time runs as it should: nothing is doubted or shifted, and the frame is neither far behind nor far ahead.
    #[inline]
    fn is_steady(&self, now: Timestamp, at: Timestamp) -> bool {
        self.shift == 0
            && self.behind.is_none()
            && self.doubted.is_none()
            && (-BACKWARDS_MS * NS_PER_MS..=LEAP_MS * NS_PER_MS).contains(&at.nanos_since(now))
    }

    /// Time goes on with the first frame, and with one where capture time runs oddly.
    #[inline(never)]
    fn pass_unsteadily(&mut self, at: Timestamp) {
        let before = self.time();
        self.waited = None;
        self.before_leap = self.doubted.take();
        let shifted = at.plus_nanos(self.shift);
        let now = match self.now {
            None => shifted,
            Some(_) if self.before_leap.is_some_and(|before| is_near(shifted, before)) => {
                let before = self.before_leap.unwrap_or(shifted);
                self.out.oddity(before, None, "a time stamp leapt ahead by more than a day, and back");
                self.media.leap = None;
                self.next_housekeeping = None;
                shifted.max(before)
            }
            Some(now) if now.nanos_since(shifted) > BACKWARDS_MS * NS_PER_MS => self.fall_behind(now, at),
            Some(now) if shifted.nanos_since(before.unwrap_or(now)) > LEAP_MS * NS_PER_MS => {
                self.leap_ahead(now, shifted)
            }
            Some(now) => {
                // Where capture time as it is has caught up, no shift is needed any more.
                if self.shift > 0 && at >= now { at } else { shifted.max(now) }
            }
        };
        if now == at {
            self.shift = 0;
        }
        self.frame_at = Some(now);
        if self.now.is_none_or(|latest| shifted.plus_millis(BACKWARDS_MS) >= latest) {
            self.behind = None;
        }
        if self.behind.is_some() {
            // Not believed yet: the next frame may well be where time was.
            return;
        }
        self.now = Some(now);
        self.spend(before.map_or(0, |before| now.nanos_since(before)), now);
    }

    /// So much time has passed, up to `now`.
    #[inline]
    fn spend(&mut self, passed: i64, now: Timestamp) {
        self.idle_clock = self.idle_clock.saturating_add(passed.clamp(0, IDLE_STEP_MS * NS_PER_MS));
        (self.media.idle_clock, self.signalling.idle_clock) = (self.idle_clock, self.idle_clock);
        if self.next_housekeeping.is_none_or(|due| now >= due) {
            self.housekeeping(now);
            self.next_housekeeping = Some(now.plus_millis(HOUSEKEEPING_MS));
        }
    }

    /// A time stamp well behind the latest one. A few of them are frames out of order, as of another adapter's buffer; when no
    /// other come any more, the clock was set back, or files were put together. Either way time goes on from where the
    /// first of them came, so that lengths stay right; only then for good.
    fn fall_behind(&mut self, now: Timestamp, at: Timestamp) -> Timestamp {
        let (shift, frames) = self.behind.unwrap_or((now.nanos_since(at), 0));
        self.behind = Some((shift, frames + 1));
        if frames + 1 >= BEHIND_FRAMES {
            self.behind = None;
            self.out.oddity(now, None, "capture time runs backwards");
            self.shift = shift;
        }
        now.max(at.plus_nanos(shift))
    }

    /// A time stamp far ahead of the latest one: believed, unless the next one takes it back.
    fn leap_ahead(&mut self, now: Timestamp, at: Timestamp) -> Timestamp {
        let leap = at.nanos_since(now);
        self.media.leap = Some(leap);
        self.doubted = (leap > FAR_LEAP_MS * NS_PER_MS).then_some(now);
        at
    }

    /// A stream has told that the clock was set: time goes back to where it would be.
    fn undo_leap(&mut self) {
        if std::mem::take(&mut self.media.clock_was_set)
            && let Some(leap) = self.media.leap.take()
        {
            self.shift = self.shift.saturating_sub(leap);
            if let Some(now) = self.now {
                self.out.oddity(now, None, "the capture's clock was set ahead during a call");
            }
            self.now = self.now.map(|now| now.plus_nanos(-leap));
            self.frame_at = self.now;
            self.next_housekeeping = self.now;
        }
    }

    /// A datagram, at the tracker's time.
    #[inline]
    fn handle_datagram(&mut self, datagram: &Datagram<'_>, at: Timestamp) {
        let Datagram { flow, payload, ethernet, .. } = datagram;
        match datagram.transport {
            Transport::Udp => {
                self.media.is_cut = datagram.truncated;
                let Core { signalling, legs, calls, media, out, .. } = self;
                let tables = &mut Tables { legs, calls, media, out };
                take_datagram(flow, at, payload, ethernet, signalling, tables);
                self.undo_leap();
            }
            Transport::Tcp { .. } => self.handle_segment(&Datagram { at, ..*datagram }),
        }
    }

    /// One TCP segment: in order through the reassembler, then read as what its connection carries.
    fn handle_segment(&mut self, segment: &Datagram<'_>) {
        let Core { tcp, streams, signalling, legs, calls, media, out, .. } = self;
        let tables = &mut Tables { legs, calls, media, out };
        if let Some(stream) = tcp.handle_segment(segment) {
            streams.handle(stream, segment.at, &mut |found| take(found, signalling, tables));
            self.undo_leap();
        }
    }

    /// Closes what is over and what has been silent for too long.
    #[inline(never)] // a few times a second
    fn housekeeping(&mut self, now: Timestamp) {
        let mut over = Vec::new();
        for leg in self.legs.iter() {
            self.media.open_digits(leg, now, &mut self.out);
            if leg.close_at.is_some_and(|due| now >= due) {
                over.push((leg.facts.leg, leg.facts.ending.clone()));
                continue;
            }
            if leg.facts.is_stream_only() && leg.close_at.is_none() {
                if self.idle_clock - leg.last_heard > self.media.stream_idle_ns() {
                    over.push((leg.facts.leg, Ending::MediaStopped));
                }
                continue;
            }
            let idle_max_ms = match leg.facts.answered {
                _ if leg.close_at.is_some() => continue,
                None if leg.responded || leg.facts.first_audio.is_some() => INVITE_IDLE_MS,
                None => NO_RESPONSE_MS,
                Some(_) if leg.is_quiet() || leg.facts.first_audio.is_none() => {
                    let refreshed_ms = leg.session_expires_s.map(|s| i64::from(s) * 1000 + REFRESH_GRACE_MS);
                    refreshed_ms.map_or(HOLD_IDLE_MS, |ms| ms.clamp(MEDIA_IDLE_MS, HOLD_IDLE_MS))
                }
                Some(_) => MEDIA_IDLE_MS,
            };
            if self.idle_clock - leg.last_heard > idle_max_ms * NS_PER_MS {
                over.push((leg.facts.leg, Ending::TimedOut));
            }
        }
        for (id, ending) in over {
            self.close(id, now, &ending);
        }
        self.media.release_overdue(now, &mut self.legs, &mut self.out);
        self.media.settle_suspects(now, &mut self.legs, &mut self.out);
        let Core { signalling, legs, calls, media, out, .. } = self;
        signalling.settle_goodbyes(now, false, &mut Tables { legs, calls, media, out });
        self.media.expire_loose(Some(now), &mut self.out);
        let Core { tcp, streams, signalling, legs, calls, media, out, .. } = self;
        let tables = &mut Tables { legs, calls, media, out };
        while let Some(stream) = tcp.poll_overdue(now) {
            streams.handle(stream, now, &mut |found| take(found, signalling, tables));
        }
        streams.handle_timeout(now, &mut |found| take(found, signalling, tables));
    }

    /// Ends a leg: its places are free, its numbers are summed up, its last event is queued.
    fn close(&mut self, id: LegId, now: Timestamp, ending: &Ending) {
        self.media.release_waiting(id, now, &mut self.legs, &mut self.out);
        self.media.close_suspects(id, now, &mut self.legs, &mut self.out);
        self.media.settle_waiting(id, true, &mut self.legs, &mut self.out);
        let Some(leg) = self.legs.leg_mut(id) else { return };
        if leg.end.is_some() {
            return;
        }
        if leg.facts.ended.is_none() {
            leg.facts.ended = Some(if *ending == Ending::EndOfInput { now } else { leg.last_activity });
            leg.facts.ending = ending.clone();
        }
        let ended = leg.facts.ended.unwrap_or(now);
        if let Some(since) = leg.hold_since.take() {
            leg.holds.push((since, ended.max(since)));
        }
        let reports = self.media.release(leg);
        let absences = absence::settle(leg, ended);
        let tracks = track_reports(leg, &reports, &self.out);
        if !absences.is_empty() {
            self.out.oddity(ended, None, "one party of an answered call is not heard for long");
        }
        if tracks.iter().any(TrackReport::is_silent) {
            self.out.oddity(ended, None, "one party of a call sends nothing but silence");
        }
        let macs = leg.facts.parties.each_ref().map(|party| {
            let ip = party.signalling.ip();
            self.signalling.hardware.of(ip).filter(|_| self.media.is_local(ip))
        });
        leg.end = Some(Box::new(LegEnd {
            facts: leg.facts.clone(),
            macs,
            tracks,
            holds: std::mem::take(&mut leg.holds),
            absences,
            foreign_packets: leg.sides.iter().map(|side| side.foreign_packets).sum(),
            shares_media: leg.shares_media,
            not_held_packets: leg.not_held_packets,
            outside_packets: leg.outside_packets,
        }));
        trace::close(leg, &mut self.out);
        let call = leg.facts.call;
        self.calls.leave(call, id);
        self.legs.forget_dialog(id);
        self.out.push(Queued::LegEnded(id));
    }

    #[inline]
    fn poll_event(&mut self) -> Option<Event<'_>> {
        if let Some((leg, side, at, format, packet)) = self.out.pop_audio() {
            return Some(self.out.audio_event(leg, side, at, format, packet));
        }
        self.poll_other()
    }

    #[inline(never)]
    fn poll_other(&mut self) -> Option<Event<'_>> {
        let queued = self.out.pop()?;
        Some(match queued {
            Queued::LegEnded(id) => {
                // Nothing refers to the leg any more: the slot is free for another.
                let leg = self.legs.remove(id).expect("a leg stays until its end is polled, and ends once");
                Event::LegEnded(leg.end.expect("close sets it before it queues the end"))
            }
            Queued::Leg(news, id) => {
                self.calls.note_others(id, &mut self.legs);
                let facts =
                    &self.legs.leg(id).expect("a leg stays until its end is polled, which comes last").facts;
                match news {
                    LegNews::Started => Event::LegStarted(facts),
                    LegNews::Tied => Event::Tied(facts),
                    LegNews::Ringing => Event::Ringing(facts),
                    LegNews::Answered => Event::Answered(facts),
                    LegNews::AudioStarted => Event::AudioStarted(facts),
                }
            }
            Queued::Audio { leg, side, at, format, packet } => {
                self.out.audio_event(leg, side, at, format, packet)
            }
            Queued::Described { leg, side, at, is_offer, session } => {
                Event::Described { leg, side, at, is_offer, session }
            }
            Queued::Digit { leg, side, digit } => Event::Digit { leg, side, digit },
            Queued::Hold { leg, by, at } => Event::Hold { leg, by, at },
            Queued::Retrieve { leg, by, at } => Event::Retrieve { leg, by, at },
            Queued::Joined { leg, at, who } => {
                let [number, name] = *who;
                Event::Joined { leg, at, number, name }
            }
            Queued::Identified { leg, side, at, who } => {
                let facts =
                    &self.legs.leg(leg).expect("a leg stays until its end is polled, which comes last").facts;
                let [number, name] = *who;
                Event::Identified { facts, side, at, number, name }
            }
            Queued::SenderReport { leg, side, at, report } => Event::SenderReport { leg, side, at, report },
            Queued::Signal(stored) => self.out.signal_event(&stored),
            Queued::UnannouncedRtp(report) => Event::UnannouncedRtp(report),
            Queued::CopiedRtp(report) => Event::CopiedRtp(report),
            Queued::ForeignRtp(report) => Event::ForeignRtp(report),
            Queued::TlsUndecryptable { at, flow, why } => Event::TlsUndecryptable { at, flow, why },
            Queued::Oddity { at, flow, what } => Event::Oddity { at, flow, what },
        })
    }
}

/// Could a frame of this time follow one of that time, as far as an ordinary capture goes?
fn is_near(at: Timestamp, before: Timestamp) -> bool {
    (-BACKWARDS_MS * NS_PER_MS..LEAP_MS * NS_PER_MS).contains(&at.nanos_since(before))
}

/// Takes what a TCP connection carried.
fn take(found: Found<'_>, signalling: &mut Signalling, tables: &mut Tables<'_>) {
    match found {
        Found::Message { at, flow, carrier, bytes } => {
            signalling.handle(&Received { at, flow, carrier, bytes }, tables);
        }
        Found::Datagram { at, flow, bytes } => {
            tables.media.is_cut = false;
            take_datagram(&flow, at, bytes, &None, signalling, tables);
        }
        Found::Oddity { at, flow, what } => tables.out.oddity(at, Some(flow), what),
        Found::Undecryptable { at, flow, why } => {
            tables.out.push(Queued::TlsUndecryptable { at, flow, why });
        }
    }
}

/// Takes a datagram: SIP by its look, else media. RTP begins with a byte from 128 on, SIP with a letter.
#[inline]
fn take_datagram(
    flow: &Flow,
    at: Timestamp,
    bytes: &[u8],
    ethernet: &Option<Ethernet>,
    signalling: &mut Signalling,
    tables: &mut Tables<'_>,
) {
    let is_text = bytes.first().is_some_and(|&byte| byte < 128);
    if is_text && sip::looks_like_sip(bytes) {
        tables.media.is_cut = false;
        signalling.handle(&Received { at, flow: *flow, carrier: Carrier::Udp, bytes }, tables);
    } else if bytes.len() >= 2 {
        tables.media.handle(flow, at, bytes, ethernet, tables.legs, tables.out);
    }
}

/// What each side sent, over its sources.
fn track_reports(leg: &Leg, reports: &[Vec<SourceReport>; 2], out: &Outbox) -> Vec<TrackReport> {
    [Side::Caller, Side::Callee]
        .into_iter()
        .zip(reports)
        .filter(|(_, sources)| !sources.is_empty())
        .map(|(side, sources)| {
            let mut formats: Vec<(outbox::FormatId, u64)> = Vec::new();
            for &(format, packets) in sources.iter().flat_map(|source| &source.formats) {
                match formats.iter_mut().find(|(known, _)| *known == format) {
                    Some((_, count)) => *count += packets,
                    None => formats.push((format, packets)),
                }
            }
            formats.sort_by_key(|&(_, packets)| std::cmp::Reverse(packets));
            let sum = |of: fn(&SourceReport) -> u64| sources.iter().map(of).sum::<u64>();
            let secret = sources.iter().fold([0; 3], |sum, source| {
                std::array::from_fn(|n| sum.get(n).unwrap_or(&0) + source.secrecy.get(n).unwrap_or(&0))
            });
            let [decrypted, undecryptable, looks_encrypted] = secret;
            let clock = &leg.side(side).clock;
            TrackReport {
                side,
                formats: formats
                    .into_iter()
                    .map(|(id, packets)| (out.formats.by_id(id).clone(), packets))
                    .collect(),
                ssrcs: sources.iter().map(|source| source.ssrc).collect(),
                packets: sum(|s| s.packets),
                decrypted,
                undecryptable,
                no_key: (undecryptable > 0).then(|| leg.secrecy.missing(side)),
                looks_encrypted,
                lost_network: sum(|s| s.found.lost_network),
                lost_capture: sum(|s| s.found.lost_capture),
                reordered: sum(|s| s.reordered),
                duplicates: sum(|s| s.duplicates),
                relayed: leg.side(side).relayed_packets,
                jitter_ms: sources.iter().map(|s| s.timing.jitter_ms()).fold(0.0, f64::max),
                skew_ppm: clock.skew_ppm(),
                audio_ms: clock.audio_ms(),
                start: clock.start(),
                end: clock.end(),
                quality: quality::summed_up(sources, out),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
