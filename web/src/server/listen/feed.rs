//! What one listener is sent: chunks of the tap in, messages out. Pure: the shell reads the clock and moves the bytes.
//!
//! Owns the pace. Frames leave 20 ms by 20 ms although chunks come seven packets at a time, so that a browser needs little room
//! of its own; what a frame holds and when it is due is `decode::playout::Live`'s. The layout of the messages is in
//! `docs/live.md`.

use std::collections::VecDeque;

use decode::playout::{Live as Player, live};
use decode::time::NS_PER_MS;
use decode::{Party, Timestamp};
use serde_json::{Value, json};
use store::{CHUNK_SPAN_MS, Live, LiveChunk, LiveEnd, Mark, Record, Standing};

/// A packet is in a chunk that the listener has at the latest so long after its capture, in milliseconds: a chunk's span, and
/// the time until a silent call is looked after.
const SEALED_MS: i64 = CHUNK_SPAN_MS + 50;
/// When no packet has told by then what rate is needed, listening begins with [`RATE_UNKNOWN`], in milliseconds.
const START_WAIT_MS: i64 = 400;
/// Samples per second while nobody has spoken: all of what most telephones send.
const RATE_UNKNOWN: u32 = 16_000;
/// Chunks by which the capture's clock is told from this machine's: some seconds.
const PACE_CHUNKS: usize = 16;
/// The wall clock is believed to be the capture's, before there is a chunk, for recordings that have run no longer than this, in
/// milliseconds: a week.
const WALL_MS_MAX: u64 = 7 * 86_400_000;
/// The capture's clock was set back when it is this much behind what it was, in milliseconds.
const SET_BACK_MS: i64 = 500;
/// Bytes of a frame before its samples.
const FRAME_HEAD: usize = 8;

/// What is sent next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    Text(String),
    Frame(Vec<u8>),
}

/// The messages to one listener.
pub(super) struct Feed {
    started: Timestamp,
    standing: Standing,
    player: Option<Player>,
    pace: Pace,
    /// When listening began, by the listener's clock.
    began: i64,
    /// Capture time of the newest record.
    latest: Option<Timestamp>,
    /// The latest moment of the capture's clock so far.
    capture: Timestamp,
    /// The next chunk says what stands.
    lagged: bool,
    ended: Option<LiveEnd>,
    over: bool,
    out: VecDeque<Out>,
    sequence: u32,
}

impl Feed {
    /// A listener who comes at `now` of a monotonic clock in nanoseconds, which is `wall` by the wall clock.
    pub(super) fn new(started: Timestamp, standing: Standing, now: i64, wall: Timestamp) -> Feed {
        let is_plausible = wall >= started && wall.millis_since(started) <= WALL_MS_MAX;
        let wall = if is_plausible { wall } else { standing.paused.unwrap_or(started) };
        Feed {
            started,
            standing,
            player: None,
            pace: Pace { offsets: VecDeque::new(), first: wall.as_nanos().saturating_sub(now) },
            began: now,
            latest: None,
            capture: Timestamp::MIN,
            lagged: false,
            ended: None,
            over: false,
            out: VecDeque::new(),
            sequence: 0,
        }
    }

    /// Takes what the tap gave at `now`.
    pub(super) fn handle(&mut self, live: Live, now: i64) {
        match live {
            Live::Chunk(chunk) => self.handle_chunk(&chunk, now),
            Live::Lagged(chunks) => {
                self.begin(RATE_UNKNOWN, now);
                self.lagged = true;
                self.say(json!({ "type": "lagged", "chunks": chunks }));
            }
            Live::Ended(how) => {
                self.ended = Some(how);
                self.handle_time(now);
            }
        }
    }

    /// Time has passed.
    pub(super) fn handle_time(&mut self, now: i64) {
        if self.over {
            return;
        }
        if self.player.is_none() && now.saturating_sub(self.began) >= START_WAIT_MS * NS_PER_MS {
            self.begin(RATE_UNKNOWN, now);
        }
        let capture = self.pace.at(now);
        if let Some(rate) = self.player.as_ref().map(Player::rate)
            && capture.plus_millis(SET_BACK_MS) < self.capture
        {
            self.play_from(capture.plus_millis(-SEALED_MS - live::REORDER_MS), rate);
            self.capture = capture;
        }
        self.capture = self.capture.max(capture);
        if let Some(player) = &mut self.player {
            player.handle_time(capture.plus_millis(-SEALED_MS));
        }
        self.take_frames();
        let Some(how) = self.ended else { return };
        // What was sealed is heard to its end; what was destroyed is not.
        let heard_until =
            self.player.as_ref().map(|player| self.started.plus_millis(player.position_ms() as i64));
        let last = self.latest.map(|latest| latest.plus_millis(i64::from(live::FRAME_MS)));
        if how != LiveEnd::Finished || last.is_none() || heard_until >= last {
            self.over = true;
            self.say(json!({ "type": "ended", "reason": reason(how) }));
        }
    }

    /// The next message.
    pub(super) fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Has everything been said?
    pub(super) fn is_over(&self) -> bool {
        self.over && self.out.is_empty()
    }

    fn handle_chunk(&mut self, chunk: &LiveChunk, now: i64) {
        let is_first = self.latest.is_none();
        self.pace.push(chunk.latest(), now);
        self.latest = self.latest.max(Some(chunk.latest()));
        match self.player.as_mut().map(|player| player.rate()) {
            None => self.begin(rate_of(chunk), now),
            // It began by the wall clock alone.
            Some(rate) if is_first => self.play_from(chunk.first(), rate),
            Some(_) => {}
        }
        if std::mem::take(&mut self.lagged) {
            self.catch_up(chunk);
        }
        let mut marks = Vec::new();
        let Some(player) = &mut self.player else { return };
        let taken = chunk.for_each(|record| match record {
            Record::Audio { party, frame } => player.handle_frame(party, &frame),
            Record::Mark { at, mark } => {
                match mark {
                    Mark::PauseStart { .. } => player.handle_pause(at),
                    Mark::PauseEnd { .. } => player.handle_resume(at),
                    _ => {}
                }
                marks.push((at, mark));
            }
            Record::Signal { .. } => {}
        });
        if let Err(error) = taken {
            tracing::error!(%error, "a chunk of a running recording does not decode");
        }
        while let Some((party, codec)) = player.poll_silent() {
            let party = if party == Party::Near { "near" } else { "far" };
            let text = json!({ "type": "undecodable", "party": party, "codec": codec.name() });
            self.out.push_back(Out::Text(text.to_string()));
        }
        for (at, mark) in marks {
            let before = self.standing;
            self.standing.handle_mark(at, &mark);
            self.tell_change(before, at);
        }
        self.handle_time(now);
    }

    /// Chunks were lost, and marks with them.
    fn catch_up(&mut self, chunk: &LiveChunk) {
        let before = std::mem::replace(&mut self.standing, chunk.before());
        if let Some(player) = &mut self.player {
            match self.standing.paused {
                Some(at) => {
                    // One that ended unheard and one that began: the second counts.
                    player.handle_resume(before.paused.unwrap_or(at).max(at));
                    player.handle_pause(at);
                }
                None => player.handle_resume(chunk.first()),
            }
        }
        self.tell_change(before, chunk.first());
    }

    /// Says what changed.
    fn tell_change(&mut self, before: Standing, at: Timestamp) {
        let now = self.standing;
        if before.paused.is_some() != now.paused.is_some() {
            let what = if now.paused.is_some() { "paused" } else { "resumed" };
            self.tell(what, now.paused.unwrap_or(at));
        }
        if before.is_held() != now.is_held() {
            self.tell(if now.is_held() { "hold" } else { "retrieve" }, at);
        }
    }

    /// The first message, once.
    fn begin(&mut self, rate: u32, now: i64) {
        if self.player.is_some() {
            return;
        }
        let from = self.pace.at(now).plus_millis(-SEALED_MS - live::REORDER_MS);
        self.play_from(from.max(self.started), rate);
        let position = self.player.as_ref().map_or(0, Player::position_ms);
        self.say(json!({
            "type": "start", "rate": rate, "channels": 2, "started": self.started, "position_ms": position,
        }));
        if let Some(at) = self.standing.paused {
            self.tell("paused", at);
        }
        if self.standing.is_held() {
            let at = self.started.plus_millis(position as i64);
            self.tell("hold", at);
        }
    }

    fn play_from(&mut self, from: Timestamp, rate: u32) {
        let mut player = Player::new(self.started, rate, from);
        if let Some(at) = self.standing.paused {
            player.handle_pause(at);
        }
        self.player = Some(player);
    }

    fn take_frames(&mut self) {
        let Some(player) = &mut self.player else { return };
        let rate = u64::from(player.rate());
        while let Some(block) = player.poll_frame() {
            let position = u32::try_from(block.start.saturating_mul(1_000) / rate).unwrap_or(u32::MAX);
            let mut frame = Vec::with_capacity(FRAME_HEAD + 4 * block.near.len());
            frame.extend_from_slice(&self.sequence.to_le_bytes());
            frame.extend_from_slice(&position.to_le_bytes());
            for (near, far) in block.near.iter().zip(block.far) {
                frame.extend_from_slice(&near.to_le_bytes());
                frame.extend_from_slice(&far.to_le_bytes());
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.out.push_back(Out::Frame(frame));
        }
    }

    fn tell(&mut self, what: &str, at: Timestamp) {
        let position = if at > self.started { at.millis_since(self.started) } else { 0 };
        self.say(json!({ "type": what, "position_ms": position }));
    }

    fn say(&mut self, what: Value) {
        self.out.push_back(Out::Text(what.to_string()));
    }
}

/// The word for an end.
pub(super) const fn reason(how: LiveEnd) -> &'static str {
    match how {
        LiveEnd::Finished => "finished",
        LiveEnd::Discarded => "discarded",
        LiveEnd::Interrupted => "interrupted",
    }
}

/// The rate that a chunk's audio needs: that of most telephones, wide band, or all there is.
fn rate_of(chunk: &LiveChunk) -> u32 {
    let mut highest = None;
    // What is wrong with a chunk is said when it is played.
    let _ = chunk.for_each(|record| {
        if let Record::Audio { frame, .. } = record {
            highest = highest.max(live::rate_of(frame.format));
        }
    });
    match highest {
        None => RATE_UNKNOWN,
        Some(..=8_000) => 8_000,
        Some(..=16_000) => 16_000,
        Some(_) => 48_000,
    }
}

/// Where the capture's clock stands by the listener's. Chunks come late and never early, so the one that came soonest of the last
/// few tells; after a step of the capture's clock the older ones are soon forgotten.
struct Pace {
    /// Capture clock less listener's clock, in nanoseconds.
    offsets: VecDeque<i64>,
    /// The same before there is a chunk.
    first: i64,
}

impl Pace {
    fn push(&mut self, latest: Timestamp, now: i64) {
        if self.offsets.len() >= PACE_CHUNKS {
            self.offsets.pop_front();
        }
        self.offsets.push_back(latest.as_nanos().saturating_sub(now));
    }

    fn at(&self, now: i64) -> Timestamp {
        let offset = self.offsets.iter().copied().max().unwrap_or(self.first);
        Timestamp::from_nanos(now.saturating_add(offset))
    }
}
