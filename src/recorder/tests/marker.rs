//! A marker that both parties send during a pause is looked for everywhere: in every file of the archive as it lies there, the journal among
//! them, in what is sealed, in what listeners get, in the file that is exported, and in the log at its most talkative.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use policy::modes::Ask;
use store::{Live, LiveTap, Record};
use web::export::{Export, FileFormat, Shape};

use super::*;

/// Loud in either law, and nothing that a telephone says.
const MARKER: &[u8; 16] = b"MARKER-OF-PAUSE!";
/// Headers of Ethernet, IPv4, UDP and RTP before a payload.
const HEADERS: usize = 14 + 20 + 8 + 12;
/// Behind a pause's beginning and before its end: where every sample is zero.
const EDGE_MS: u64 = 20;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn holds_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER)
}

/// Files below a folder that hold the marker.
fn marked(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            marked(&path, found);
        } else if holds_marker(&std::fs::read(&path).unwrap_or_default()) {
            found.push(path);
        }
    }
}

/// Opens what is sealed of a recording: none of its frames has the marker. Gives how many there are.
fn heard_in(archive: &Archive, id: RecordingId) -> usize {
    let (mut reader, mut frames) = (archive.read(id).expect("its file"), 0);
    while let Some(chunk) = reader.next_chunk().expect("whole") {
        for record in chunk.records() {
            if let Record::Audio { frame, .. } = record.expect("readable") {
                assert!(!holds_marker(frame.payload), "the recording has the marker");
                frames += 1;
            }
        }
    }
    frames
}

/// What somebody hears who listens from the beginning on.
struct Listener {
    tap: LiveTap,
    player: decode::playout::Live,
    /// Of each millisecond that was played: the loudest sample of both.
    loudest: Vec<u16>,
}

impl Listener {
    fn new(tap: LiveTap) -> Listener {
        let player = decode::playout::Live::new(tap.started(), 8_000, tap.started());
        Listener { tap, player, loudest: Vec::new() }
    }

    fn listen(&mut self) {
        while let Some(Live::Chunk(chunk)) = self.tap.try_next() {
            chunk
                .for_each(|record| match record {
                    Record::Audio { party, frame } => {
                        assert!(!holds_marker(frame.payload), "a listener gets the marker");
                        self.player.handle_frame(party, &frame);
                    }
                    Record::Mark { at, mark: store::Mark::PauseStart { .. } } => self.player.handle_pause(at),
                    Record::Mark { at, mark: store::Mark::PauseEnd { .. } } => self.player.handle_resume(at),
                    _ => {}
                })
                .expect("readable");
            self.player.handle_time(chunk.latest());
            while let Some(block) = self.player.poll_frame() {
                let place = usize::try_from(block.start / 8).expect("short");
                self.loudest.resize(place, 0);
                let loud = |samples: &[i16]| samples.iter().map(|sample| sample.unsigned_abs()).max();
                for (near, far) in block.near.chunks(8).zip(block.far.chunks(8)) {
                    self.loudest.push(loud(near).max(loud(far)).unwrap_or_default());
                }
            }
        }
    }
}

#[test]
fn a_marker_that_is_sent_in_a_pause_is_in_no_file_no_live_feed_no_export_and_no_log() {
    let log = Log::default();
    let told = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || told.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, look_for_the_marker);
    let log = log.0.lock().expect("no panic");
    assert!(!log.is_empty() && !holds_marker(&log), "{}", String::from_utf8_lossy(&log));
    // As a dump would have it.
    let text = String::from_utf8_lossy(&log).to_lowercase();
    let hex: String = MARKER.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = MARKER.map(|byte| byte.to_string()).join(", ");
    assert!(!text.contains(&hex) && !text.contains(&list));
}

fn look_for_the_marker() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("archive");
    let traffic = one_call(6_000);
    let archive = Archive::open_or_create(&root).expect("made").0;
    let mut recorder = Recorder::new(&archive, Rules::default(), None, Devices::default());
    let begun = traffic.frames[0].at_ns;
    let (mut sent, mut listener, mut is_paused) = (0, None, false);
    for (nth, made) in traffic.frames.iter().enumerate() {
        if nth % 100 == 0 {
            // Another test may have met a place that logs in the moment in which nobody listened, and then nobody is asked there again.
            tracing::callsite::rebuild_interest_cache();
        }
        let since_ms = (made.at_ns - begun) / 1_000_000;
        let at = Timestamp::from_nanos(made.at_ns);
        let is_due = (2_500..4_500).contains(&since_ms);
        if is_due != is_paused {
            let ask = if is_due { Ask::Pause } else { Ask::Resume };
            assert_eq!(recorder.handle_request(&asked(ask), at).done, 1);
            is_paused = is_due;
        }
        let mut bytes = made.bytes.clone();
        let is_audio = bytes.len() == HEADERS + 160;
        if is_paused && is_audio {
            bytes[HEADERS..].copy_from_slice(&MARKER.repeat(10));
            sent += 1;
        }
        recorder.handle_frame(&frame_of(made.at_ns, &bytes));
        if listener.is_none() {
            let id = recorder.open.iter().next().map(|(_, open)| open.writer.id());
            listener = id.and_then(|id| archive.listen(id)).map(Listener::new);
        }
        if let Some(listener) = &mut listener {
            listener.listen();
        }
        // In the middle of it, and at its end: what is on its way to the disk, too. What lies there unsealed would show; what is sealed is
        // opened.
        if is_paused && sent % 80 == 1 {
            archive.sync().expect("written");
            let mut found = Vec::new();
            marked(&root, &mut found);
            assert!(found.is_empty(), "{found:?}");
            let (_, open) = recorder.open.iter().next().expect("it runs");
            assert!(heard_in(&archive, open.writer.id()) > 50, "speech before it is sealed by now");
        }
    }
    assert!(sent > 150, "{sent} markers were sent");
    recorder.finish(capture::Counters::default()).failure.into_result().expect("written");
    let mut listener = listener.expect("somebody listened");
    listener.listen();

    let row = archive.rows().next().expect("one recording").expect("a row");
    let [pause] = row.facts.pauses[..] else { panic!("{:?}", row.facts.pauses) };
    let within = pause.start_ms + EDGE_MS..pause.end_ms - EDGE_MS;
    assert!(within.end - within.start > 1_500, "{pause:?}");
    assert!(heard_in(&archive, row.facts.id) > 200, "speech around it");
    let mut file = Vec::new();
    let export = Export::prepare(&archive, row.facts.id).expect("readable");
    export.write(FileFormat::Wav, Shape::Stereo, &mut file).expect("written");
    let audio = xtask::wav::parse(&file).expect("a WAV file");
    let loudest_in = |from: u64, to: u64| {
        let place = |ms: u64| (ms * u64::from(audio.rate) / 1_000) as usize;
        let stretches = audio.channels.iter().flat_map(|channel| &channel[place(from)..place(to)]);
        stretches.map(|sample| sample.unsigned_abs()).max().expect("samples")
    };
    assert_eq!(loudest_in(within.start, within.end), 0, "the export");
    assert!(loudest_in(pause.start_ms - 500, pause.start_ms) > 1_000, "speech before it");
    let heard = |from: u64, to: u64| listener.loudest[from as usize..to as usize].iter().max().copied();
    assert_eq!(heard(within.start, within.end), Some(0), "the live feed");
    assert!(heard(pause.start_ms - 500, pause.start_ms) > Some(1_000), "speech before it");
    let mut found = Vec::new();
    archive.sync().expect("written");
    marked(&root, &mut found);
    assert!(found.is_empty(), "{found:?}");
}
