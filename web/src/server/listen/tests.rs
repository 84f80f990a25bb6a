//! A call that runs, a listener, and a clock that the test turns; then the socket itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::get;
use decode::codec::g711::{self, Law};
use decode::{AudioFrame, Codec, Format, Party};
use policy::gate::Cleared;
use serde_json::Value;
use store::{Archive, Mark, RecordingFacts, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::export::Export;

/// A packet is in the recorder's hands so long after its capture, in milliseconds.
const CAPTURE_MS: i64 = 25;
/// Room of a connection in each direction, in bytes.
const BUFFER: u32 = 8 << 10;
/// What a listener may be behind at most: 300 ms beyond the sealing.
const BEHIND_MAX_MS: i64 = store::CHUNK_SPAN_MS + 300;

/// A running call of two tones, and one who listens to it.
struct Call {
    _dir: tempfile::TempDir,
    archive: Archive,
    facts: RecordingFacts,
    writer: Option<Writer>,
    tap: Option<LiveTap>,
    feed: Option<Feed>,
    /// Milliseconds since the recording began.
    now: i64,
    codec: Codec,
    sequence: u16,
    /// Samples of all frames by their place, and how long after it each left.
    near: BTreeMap<u32, Vec<i16>>,
    far: BTreeMap<u32, Vec<i16>>,
    behind: Vec<i64>,
    texts: Vec<Value>,
}

impl Call {
    fn new() -> Call {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
        let facts = RecordingFacts { ended: None, ..crate::page::tests::facts() };
        let writer = archive.create(facts.clone()).expect("a recording");
        Call {
            _dir: dir,
            archive,
            facts,
            writer: Some(writer),
            tap: None,
            feed: None,
            now: 0,
            codec: Codec::Pcmu,
            sequence: 0,
            near: BTreeMap::new(),
            far: BTreeMap::new(),
            behind: Vec::new(),
            texts: Vec::new(),
        }
    }

    fn at(&self, ms: i64) -> Timestamp {
        self.facts.started.plus_millis(ms)
    }

    fn listen(&mut self) -> &mut Self {
        let tap = self.archive.listen(self.facts.id).expect("it runs");
        let wall = self.at(self.now);
        self.feed = Some(Feed::new(tap.started(), tap.standing(), self.now * 1_000_000, wall));
        self.tap = Some(tap);
        self
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it runs")
    }

    /// Packets of both parties, 20 ms each, but for those that `lost` names by their number in this stretch.
    fn talk(&mut self, packets: u32, lost: impl Fn(u32) -> bool) -> &mut Self {
        for i in 0..packets {
            if !lost(i) {
                self.packet();
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.pass(20);
        }
        self
    }

    fn packet(&mut self) {
        if self.now < CAPTURE_MS {
            return;
        }
        let captured = (self.now - CAPTURE_MS) / 20 * 20;
        let format = Format {
            payload_type: 0,
            codec: self.codec.clone(),
            clock_rate: match self.codec.name() {
                "L16" => 16_000,
                "OPUS" => 48_000,
                _ => 8_000,
            },
            channels: 1,
            fmtp: String::new(),
        };
        for (party, hz) in [(Party::Near, 440.0), (Party::Far, 620.0)] {
            let payload: Vec<u8> = (0..160)
                .map(|i| {
                    let t = (captured * 8 + i) as f64 / 8_000.0;
                    g711::encode(Law::Mu, ((std::f64::consts::TAU * hz * t).sin() * 9_000.0) as i16)
                })
                .collect();
            let frame = AudioFrame {
                at: self.at(captured),
                ssrc: 7 + party.index() as u32,
                sequence: self.sequence,
                timestamp: captured as u32 * format.clock_rate / 1_000,
                marker: false,
                format: &format,
                payload: &payload,
            };
            self.writer().append(&Cleared::for_test(party, &frame)).expect("room");
        }
    }

    /// Time passes: the recorder looks after its chunks every 50 ms, the listener every 10.
    fn pass(&mut self, ms: i64) -> &mut Self {
        for _ in 0..ms / 10 {
            self.now += 10;
            let captured = self.at(self.now - CAPTURE_MS);
            if self.now % 50 == 0
                && let Some(writer) = &mut self.writer
            {
                writer.seal_stale(captured).expect("sealed");
            }
            self.hear();
        }
        self
    }

    fn hear(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        let now = self.now * 1_000_000;
        while let Some(live) = self.tap.as_mut().and_then(LiveTap::try_next) {
            if matches!(live, Live::Ended(_)) {
                self.tap = None;
            }
            feed.handle(live, now);
        }
        feed.handle_time(now);
        while let Some(out) = feed.poll() {
            match out {
                Out::Text(text) => self.texts.push(serde_json::from_str(&text).expect("JSON")),
                Out::Frame(frame) => {
                    let position = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes"));
                    assert_eq!(frame[..4], (self.behind.len() as u32).to_le_bytes(), "frames are numbered");
                    self.behind.push(self.now - i64::from(position));
                    let samples = frame[8..].as_chunks().0.iter().map(|&bytes| i16::from_le_bytes(bytes));
                    let samples: Vec<i16> = samples.collect();
                    let channel = |which: usize| samples.iter().skip(which).step_by(2).copied().collect();
                    self.near.insert(position, channel(0));
                    self.far.insert(position, channel(1));
                }
            }
        }
    }

    fn types(&self) -> Vec<&str> {
        self.texts.iter().filter_map(|text| text["type"].as_str()).collect()
    }

    fn position(&self, kind: &str) -> i64 {
        let text = self.texts.iter().find(|text| text["type"] == kind).expect("it was said");
        text["position_ms"].as_i64().expect("a place")
    }

    /// Samples from `from_ms` to `to_ms` of the recording; frames that did not come are an error.
    fn heard(&self, frames: &BTreeMap<u32, Vec<i16>>, from_ms: u32, to_ms: u32) -> Vec<i16> {
        let frames = (from_ms / 20..to_ms.div_ceil(20)).map(|i| &frames[&(i * 20)]);
        let samples: Vec<i16> = frames.flatten().copied().collect();
        let skip = (from_ms % 20 * 8) as usize;
        samples[skip..skip + ((to_ms - from_ms) * 8) as usize].to_vec()
    }

    fn finish(&mut self) {
        let ms = self.now as u64;
        let facts = RecordingFacts { ended: Some(self.at(self.now)), duration_ms: ms, ..self.facts.clone() };
        self.writer.take().expect("it runs").finish(facts).expect("finished");
        self.hear();
    }

    /// Both channels as the finished recording plays them.
    fn played(&self) -> [Vec<i16>; 2] {
        let mut channels = [Vec::new(), Vec::new()];
        let export = Export::prepare(&self.archive, self.facts.id).expect("it plays");
        let each = |near: &[i16], far: &[i16]| {
            channels[0].extend_from_slice(near);
            channels[1].extend_from_slice(far);
            Ok(())
        };
        export.render(each).expect("it plays");
        channels
    }
}

#[test]
fn a_listener_hears_the_recording_itself_less_than_half_a_second_late() {
    let mut call = Call::new();
    call.listen().talk(500, |i| i % 40 == 33);
    let (most, mean) = (
        *call.behind.iter().max().expect("frames"),
        call.behind.iter().sum::<i64>() / call.behind.len() as i64,
    );
    println!("simulated clock: frames left {mean} ms after their beginning on average, {most} ms at most");
    assert!(most <= BEHIND_MAX_MS, "{most} ms");
    assert_eq!(call.texts[0]["rate"], 8_000);
    assert_eq!(call.texts[0]["started"], serde_json::to_value(call.facts.started).expect("JSON"));
    call.finish();
    call.pass(1_000);
    assert_eq!(call.types(), ["start", "ended"]);
    assert_eq!(call.texts[1]["reason"], "finished");
    assert!(call.feed.as_ref().is_some_and(Feed::is_over));
    let [near, far] = call.played();
    let first = *call.near.keys().next().expect("frames");
    assert!(first <= 40, "{first}");
    let range = (first * 8) as usize..9_900 * 8;
    assert_eq!(call.heard(&call.near, first, 9_900), near[range.clone()], "a loss sounds as it will");
    assert_eq!(call.heard(&call.far, first, 9_900), far[range]);
}

#[test]
fn a_pause_is_silence_on_the_socket_to_the_sample_and_said() {
    let mut call = Call::new();
    call.listen().talk(100, |_| false);
    let (from, to) = (call.now + 3, call.now + 2_993);
    let (paused, resumed) = (call.at(from), call.at(to));
    call.writer().mark(paused, &Mark::PauseStart { source: "the agent".into() }).expect("kept");
    call.pass(2_990);
    call.sequence += 150;
    call.writer().mark(resumed, &Mark::PauseEnd { source: "the agent".into() }).expect("kept");
    call.pass(10).talk(100, |_| false).pass(400);
    assert_eq!(call.types(), ["start", "paused", "resumed"]);
    assert_eq!((call.position("paused"), call.position("resumed")), (from, to));
    let edges = (from as u32, to as u32);
    for channel in [&call.near, &call.far] {
        assert!(call.heard(channel, edges.0, edges.1).iter().all(|&sample| sample == 0));
        for (a, b) in [(1_000, 1_900), (edges.1 + 60, edges.1 + 1_000)] {
            assert!(
                call.heard(channel, a, b).iter().filter(|sample| sample.unsigned_abs() > 500).count() > 3_000
            );
        }
    }
}

#[test]
fn who_comes_into_a_pause_or_a_hold_is_told_and_frames_come_all_the_same() {
    let mut call = Call::new();
    call.talk(50, |_| false);
    let at = call.at(call.now);
    call.writer().mark(at, &Mark::Hold { by: Party::Far }).expect("kept");
    call.writer().mark(at, &Mark::PauseStart { source: "x".into() }).expect("kept");
    call.pass(5_000).listen().pass(2_000);
    assert_eq!(call.types(), ["start", "paused", "hold"]);
    assert_eq!((call.position("paused"), &call.texts[0]["rate"]), (1_000, &Value::from(16_000)));
    assert!(call.near.len() > 60 && call.near.values().flatten().all(|&sample| sample == 0));
    assert!(call.behind.iter().all(|&behind| behind <= BEHIND_MAX_MS), "{:?}", call.behind);
    let at = call.at(call.now);
    call.writer().mark(at, &Mark::Retrieve { by: Party::Far }).expect("kept");
    call.pass(500);
    assert_eq!(call.types()[3..], ["retrieve"]);
}

#[test]
fn a_listener_that_stops_reading_is_told_what_it_lost_and_hears_the_present() {
    let mut call = Call::new();
    call.listen().talk(100, |_| false);
    let tap = call.tap.take();
    let feed = call.feed.take();
    call.talk(500, |_| false);
    let at = call.at(call.now);
    call.writer().mark(at, &Mark::PauseStart { source: "x".into() }).expect("kept");
    call.pass(300).talk(300, |_| true);
    // Only to have chunks: what a gate would never let through is not heard either.
    call.talk(300, |_| false);
    (call.tap, call.feed) = (tap, feed);
    let before = call.behind.len();
    call.hear();
    call.pass(500);
    assert_eq!(call.types(), ["start", "lagged", "paused"], "the mark itself was lost");
    assert!(call.texts[1]["chunks"].as_u64().is_some_and(|chunks| chunks > 10));
    assert!(call.behind.len() - before < 100, "no frames of long ago");
    assert!(call.behind.last().is_some_and(|&behind| behind <= BEHIND_MAX_MS));
    let (&last, samples) = call.near.last_key_value().expect("frames");
    assert!(i64::from(last) > call.now - BEHIND_MAX_MS && samples.iter().all(|&sample| sample == 0));
}

#[test]
fn an_excluded_call_is_silent_at_once_and_cannot_be_listened_to() {
    let mut call = Call::new();
    call.listen().talk(100, |_| false);
    let frames = call.near.len();
    call.writer.take().expect("it runs").discard("a rule").expect("destroyed");
    call.pass(1_000);
    assert_eq!(call.types(), ["start", "ended"]);
    assert_eq!((call.texts[1]["reason"].as_str(), call.near.len() - frames <= 1), (Some("discarded"), true));
    assert!(call.archive.listen(call.facts.id).is_none());
}

#[test]
fn the_rate_is_what_the_voices_need_and_an_unknown_coding_is_told() {
    for (codec, rate, told) in [
        ("PCMA", 8_000, 0),
        ("G722", 16_000, 0),
        ("L16", 16_000, 0),
        ("opus", 48_000, 0),
        ("G729", 16_000, 2),
    ] {
        let mut call = Call::new();
        call.codec = Codec::from_name(codec);
        call.listen().talk(30, |_| false);
        assert_eq!(call.texts[0]["rate"], rate, "{codec}");
        let undecodable = call.types().iter().filter(|&&kind| kind == "undecodable").count();
        assert_eq!(undecodable, told, "{codec}: once for each party");
        assert!(call.near.values().all(|samples| samples.len() == rate / 50));
    }
}

#[test]
fn a_capture_clock_that_is_not_this_machines_and_one_that_steps_are_followed() {
    let mut call = Call::new();
    call.listen();
    // The listener's machine thinks that it is a month later.
    let wall = call.at(30 * 86_400_000);
    call.feed = call.tap.as_ref().map(|tap| Feed::new(tap.started(), tap.standing(), 0, wall));
    call.talk(200, |_| false);
    assert!(call.behind.iter().all(|&behind| behind <= BEHIND_MAX_MS));
    // It is set back: chunks have older times from here on, and the first of them are thought to be late.
    call.facts.started = call.facts.started.plus_millis(-1_500);
    let before = call.behind.len();
    call.talk(300, |_| false);
    let came = call.behind.len() - before;
    assert!((150..330).contains(&came), "{came} frames in 300");
    assert!(call.behind.last().is_some_and(|&behind| behind <= BEHIND_MAX_MS + 1_500));
}

/// A recording that runs, and an address where it can be listened to as long as `still` says so.
async fn serve(still: Still) -> (tempfile::TempDir, Writer, RecordingFacts, std::net::SocketAddr) {
    let dir = tempfile::tempdir().expect("a folder");
    let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
    let facts = RecordingFacts { ended: None, ..crate::page::tests::facts() };
    let writer = archive.create(facts.clone()).expect("a recording");
    let archive = Arc::new(archive);
    let id = facts.id;
    let attend = move |upgrade: WebSocketUpgrade| {
        let (tap, still) = (archive.listen(id).expect("it runs"), Arc::clone(&still));
        async move {
            upgrade
                .on_upgrade(move |socket| Listener { socket, right: every(RIGHT_EVERY), still }.attend(tap))
        }
    };
    // Little room, so that what nobody reads soon fills it.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(BUFFER).expect("set");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = socket.listen(8).expect("listening");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/", get(attend));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (dir, writer, facts, address)
}

/// The browser's side of a WebSocket, as far as it only listens.
async fn connect(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(BUFFER).expect("set");
    let mut stream = socket.connect(address).await.expect("connected");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The next message: its kind (1 text, 2 binary, 8 close) and its bytes; none when the connection is gone.
async fn next_message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()? & 0x0f;
    let length = match stream.read_u8().await.ok()? {
        126 => usize::from(stream.read_u16().await.ok()?),
        length => usize::from(length),
    };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Some((kind, bytes))
}

/// 20 ms of linear samples at 48 kHz: big frames, so that what nobody reads fills a connection soon.
fn append_wide(writer: &mut Writer, started: Timestamp, number: u32) {
    let codec = Codec::from_name("L16");
    let format = Format { payload_type: 97, codec, clock_rate: 48_000, channels: 1, fmtp: String::new() };
    let frame = AudioFrame {
        at: started.plus_millis(20 * i64::from(number)),
        ssrc: 1,
        sequence: number as u16,
        timestamp: number * 960,
        marker: false,
        format: &format,
        payload: &[1; 1_920],
    };
    writer.append(&Cleared::for_test(Party::Near, &frame)).expect("room");
}

#[tokio::test]
async fn a_listener_whose_right_goes_is_cut_within_a_second_also_when_it_does_not_read() {
    for reads in [true, false] {
        let may = Arc::new(AtomicBool::new(true));
        let refused = Arc::new(AtomicBool::new(false));
        let still: Still = {
            let (may, refused) = (Arc::clone(&may), Arc::clone(&refused));
            Arc::new(move || {
                let may = may.load(Ordering::Relaxed);
                refused.fetch_or(!may, Ordering::Relaxed);
                may
            })
        };
        let (_dir, mut writer, facts, address) = serve(still).await;
        let mut stream = connect(address).await;
        let read = async move {
            let mut last = None;
            while let Some((kind, bytes)) = next_message(&mut stream).await {
                if kind == 1 {
                    last = serde_json::from_slice::<Value>(&bytes).ok();
                }
            }
            last
        };
        let (reader, unread) = if reads { (Some(tokio::spawn(read)), None) } else { (None, Some(read)) };
        let mut clock = every(Duration::from_millis(20));
        let mut cut_at = Instant::now();
        for number in 0..250 {
            clock.tick().await;
            append_wide(&mut writer, facts.started, number);
            if number == 100 {
                may.store(false, Ordering::Relaxed);
                cut_at = Instant::now();
            }
            if refused.load(Ordering::Relaxed) {
                break;
            }
        }
        let took = cut_at.elapsed();
        assert!(refused.load(Ordering::Relaxed) && took < Duration::from_millis(1_500), "{took:?}");
        let wait = Duration::from_secs(5);
        let last = match (reader, unread) {
            (Some(reader), _) => {
                tokio::time::timeout(wait, reader).await.expect("it ends").expect("no panic")
            }
            (None, Some(unread)) => tokio::time::timeout(wait, unread).await.expect("it ends"),
            (None, None) => None,
        };
        if reads {
            assert_eq!(last.expect("a text")["reason"], "not-allowed");
        }
    }
}

#[tokio::test]
async fn a_browser_gets_start_frames_and_the_end() {
    let (_dir, mut writer, facts, address) = serve(Arc::new(|| true)).await;
    let mut stream = connect(address).await;
    let format =
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8_000, channels: 1, fmtp: String::new() };
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for i in 0_u32..60 {
        clock.tick().await;
        let frame = AudioFrame {
            at: facts.started.plus_millis(20 * i64::from(i)),
            ssrc: 1,
            sequence: i as u16,
            timestamp: i * 160,
            marker: false,
            format: &format,
            payload: &[0x10; 160],
        };
        writer.append(&Cleared::for_test(Party::Near, &frame)).expect("room");
    }
    let ended = RecordingFacts { ended: Some(facts.started.plus_millis(1_200)), duration_ms: 1_200, ..facts };
    writer.finish(ended).expect("finished");
    let (mut texts, mut frames) = (Vec::new(), 0);
    while let Some((kind, bytes)) = next_message(&mut stream).await {
        match kind {
            1 => texts.push(serde_json::from_slice::<Value>(&bytes).expect("JSON")["type"].to_string()),
            2 => {
                assert_eq!(bytes.len(), 8 + 160 * 4);
                frames += 1;
            }
            _ => break,
        }
    }
    assert_eq!(texts, ["\"start\"", "\"ended\""]);
    assert!(frames > 50, "{frames}");
}
