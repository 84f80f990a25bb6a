//! Media of calls: what comes in, what is sent, and silence.

use super::call::{HELD_S_MAX, Stage, Voice};
use super::stream::PACKET_MS;
use super::{Output, RecordFrom, Sends, Taken, Timer, UserAgent};
use crate::net::Endpoint;
use crate::time::{NS_PER_MS, Timestamp};

/// How often RTCP goes out, in milliseconds (RFC 3550, 6.2).
const REPORT_MS: i64 = 5_000;
/// A packet that is due for longer than this is not made up for: the machine stood still.
const LATE_MS_MAX: i64 = 200;

impl UserAgent {
    /// A packet came in on a port pair.
    pub fn handle_media(
        &mut self,
        pair: usize,
        is_rtcp: bool,
        from: Endpoint,
        bytes: &[u8],
        now: Timestamp,
    ) -> Taken {
        self.now = self.now.max(now);
        let now = self.now;
        let owner = self.ports.owner(pair);
        let is_peer = self.peers.entry(from.ip()).is_some();
        let call = owner.and_then(|owner| Some((owner.line, self.calls.get_mut(&owner.call)?)));
        let Some((line, call)) = call else {
            self.counts.foreign_media += 1;
            return Taken::Stranger;
        };
        let is_signalling = from.ip() == call.path.peer.ip();
        let stream = call.streams.get_mut(line).and_then(Option::as_mut);
        if !stream.is_some_and(|stream| stream.take(from, is_rtcp, is_peer || is_signalling, bytes, now)) {
            self.counts.foreign_media += 1;
            return Taken::Stranger;
        }
        call.heard = now;
        let is_early = self.options.record_from == RecordFrom::AnnouncementEnd
            && matches!(call.voice, Voice::Idle | Voice::Announcing(_));
        if is_early { Taken::Early } else { Taken::Taken }
    }

    /// The call's session is agreed on: it is watched, and something may be said.
    pub(super) fn begin_media(&mut self, key: u64) {
        self.timer_in(Timer::Silence(key), i64::from(self.options.silence_s) * 1_000);
        self.timer_in(Timer::Report(key), REPORT_MS);
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.voice != Voice::Idle {
            return;
        }
        if call.joined.is_some() {
            // A passive participant is not heard, whatever others are told or sent.
            call.voice = Voice::Over(false);
            return;
        }
        let announcement = self.options.announcement.as_deref();
        let can_say = |announcement: &super::Announcement| {
            call.streams.iter().flatten().any(|s| {
                s.agreed.is_sent() && s.agreed.format().is_some_and(|f| announcement.packet(f, 0).is_some())
            })
        };
        call.voice = match announcement {
            Some(announcement) if can_say(announcement) => Voice::Announcing(0),
            Some(_) => {
                self.counts.not_announced += 1;
                Voice::Over(false)
            }
            None => Voice::Over(false),
        };
        if call.voice == Voice::Announcing(0) || self.options.sends == Sends::Silence {
            self.timer_in(Timer::Send(key), 0);
        }
    }

    /// The next 20 ms of what we say; `due` is when they were due.
    pub(super) fn send_voice(&mut self, key: u64, due: Timestamp) {
        let (now, announcement) = (self.now, self.options.announcement.clone());
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.stage != Stage::Ringing) else { return };
        if let (Voice::Announcing(nth), Some(announcement)) = (call.voice, &announcement)
            && nth >= announcement.packets()
        {
            call.voice = Voice::Over(false);
        }
        let (voice, sends) = (call.voice, self.options.sends);
        let is_first = matches!(voice, Voice::Announcing(0) | Voice::Over(false));
        if matches!(voice, Voice::Over(_)) && sends == Sends::Nothing {
            return;
        }
        for stream in call.streams.iter_mut().flatten().filter(|stream| stream.agreed.is_sent()) {
            let Some(format) = stream.agreed.format().cloned() else { continue };
            let payload = match (voice, &announcement) {
                (Voice::Announcing(nth), Some(announcement)) => {
                    announcement.packet(&format, nth).map(<[u8]>::to_vec)
                }
                _ => super::announcement::silence(&format),
            };
            let packet = payload.and_then(|payload| stream.packet(&payload, is_first));
            if let (Some(bytes), Some(to)) = (packet, stream.rtp_to()) {
                let pair = stream.agreed.pair;
                self.out.push_back(Output::Media { pair, is_rtcp: false, to, bytes });
            }
        }
        call.voice = match voice {
            Voice::Announcing(nth) => Voice::Announcing(nth + 1),
            _ => Voice::Over(true),
        };
        let late_ms = now.nanos_since(due) / NS_PER_MS;
        let next = if late_ms > LATE_MS_MAX { now } else { due };
        self.timers.set(Timer::Send(key), next.plus_millis(PACKET_MS));
    }

    /// Was anything heard of the call lately? On hold it may be silent for long.
    pub(super) fn check_silence(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else { return };
        let limit_s = if call.is_heard() { i64::from(self.options.silence_s) } else { HELD_S_MAX };
        let ends = call.heard.plus_millis(limit_s * 1_000);
        if ends > self.now {
            // On hold or not may change meanwhile.
            let soon = self.now.plus_millis(i64::from(self.options.silence_s) * 1_000);
            self.timers.set(Timer::Silence(key), ends.min(soon));
            return;
        }
        self.counts.silent += 1;
        self.hang_up(key);
    }

    /// RTCP of each stream; with a goodbye when the call ends.
    pub(super) fn send_reports(&mut self, key: u64, is_last: bool) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.stage == Stage::Confirmed {
            let name = format!("earwitness@{}", call.path.local.ip());
            for stream in call.streams.iter_mut().flatten() {
                let Some(to) = stream.rtcp_to() else { continue };
                let (pair, is_rtcp) = (stream.agreed.pair, !stream.agreed.mux);
                let bytes = stream.report(now, &name, is_last);
                self.out.push_back(Output::Media { pair, is_rtcp, to, bytes });
            }
        }
        if !is_last {
            self.timer_in(Timer::Report(key), REPORT_MS);
        }
    }
}
