//! The recorder and the rule book of its archive.

use capture::{FrameSource, MergedFiles};
use decode::tracker::Devices;
use jiff::tz::TimeZone;
use policy::gate::Whom;
use policy::modes::{Ask, Role};
use store::{BookChange, CallRow};
use xtask::load::{Direction, Scenario};
use xtask::pcap::Container;

use super::*;

mod marker;

/// A new version of the book counts after so much capture time at the latest.
const SOON_MS: i64 = 100;

fn machine() -> Machine {
    Machine { zone: TimeZone::UTC, name: None, lans: Vec::new(), canary: None }
}

/// A frame as a capture has it.
fn frame_of(at_ns: i64, data: &[u8]) -> Frame<'_> {
    Frame { at: Timestamp::from_nanos(at_ns), link: 1, source: 0, wire_len: data.len() as u32, data }
}

/// A call of extension 2000 that talks for so long.
fn one_call(talk_ms: u32) -> xtask::load::Traffic {
    let direction = Direction::Outbound;
    Scenario { calls: 1, talk_ms, ramp_ms: 0, direction, ..Scenario::default() }.traffic()
}

/// What its agent asks.
fn asked(ask: Ask) -> Request {
    Request { whom: Whom::Extension("2000".into()), ask, role: Role::Agent, name: "ann".into() }
}

fn change(archive: &Archive, text: &str) {
    let from = archive.book_version().expect("known");
    let change = BookChange {
        from,
        at: Timestamp::from_millis(0),
        who: "eve".into(),
        why: "a test".into(),
        restores: None,
        text: text.into(),
    };
    archive.change_book(change).expect("taken");
}

/// Records a call of 4 s of extension 2000 while the book becomes `after` in the middle; gives when that was, the call's line, and
/// when its recordings began.
fn recorded(before: &str, after: &str) -> (Timestamp, CallRow, Vec<Timestamp>) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("call.pcap");
    let scenario =
        Scenario { calls: 1, talk_ms: 4_000, direction: Direction::Outbound, ..Scenario::default() };
    scenario.write(std::fs::File::create(&file).expect("a file"), Container::Pcap).expect("a capture");
    let archive = Archive::open_or_create(&dir.path().join("archive")).expect("made").0;
    change(&archive, before);
    let ruling = Ruling::in_force(&archive, &machine()).expect("read").expect("a book");
    let mut recorder =
        Recorder::new(&archive, ruling.rules, None, Devices::default()).following_book(machine(), 1);
    let mut source = MergedFiles::open(&[file]).expect("opens");
    let (mut began, mut changed) = (None, None);
    while source.advance().expect("read") {
        let frame = source.frame().expect("a frame");
        recorder.handle_frame(&frame);
        let began = *began.get_or_insert(frame.at);
        if changed.is_none() && frame.at > began.plus_millis(2_500) {
            change(&archive, after);
            changed = Some(frame.at);
        }
    }
    let report = recorder.finish(capture::Counters::default());
    report.failure.into_result().expect("written");
    let calls: Vec<CallRow> = archive.calls().expect("read").map(|row| row.expect("a row")).collect();
    let [call] = <[CallRow; 1]>::try_from(calls).expect("one call");
    let started = call.recordings.iter().map(|&id| archive.row(id).expect("listed").facts.started).collect();
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    (changed.expect("in the middle"), call, started)
}

#[test]
fn a_recorder_that_runs_takes_up_a_device_that_is_listed_now() {
    let (changed, call, started) =
        recorded("[record]\ndevices = \"3000\"\n", "[record]\ndevices = \"2000\"\n");
    assert_eq!(call.outcome, Outcome::Recorded, "{}", call.reason);
    let [started] = started[..] else { panic!("{started:?}") };
    assert!((0..=SOON_MS).contains(&(started.nanos_since(changed) / 1_000_000)), "{changed} {started}");
}

#[test]
fn a_recorder_that_runs_destroys_what_new_rules_exclude() {
    let excluded = "[[record.exclude]]\ntype = \"endpoint\"\nvalue = \"2000\"\n";
    let (_, call, started) = recorded("[record]\nsip = false\n", excluded);
    assert_eq!((call.outcome, started.len()), (Outcome::Excluded, 0));
    assert!(call.reason.contains("in force ") && call.reason.ends_with("was destroyed"), "{}", call.reason);
}

#[test]
fn a_book_that_cannot_be_meant_leaves_the_rules_as_they_are() {
    let (_, call, started) = recorded("[record]\nsip = false\n", "[record]\nfrom_a_later_version = 1\n");
    assert_eq!((call.outcome, started.len()), (Outcome::Recorded, 1), "{}", call.reason);
}

/// Records a call of 6 s whose machine's clock is set by `step_ms` at 1 s, is paused by the wall clock at 3 s and resumed at 4.5 s;
/// gives the pauses that its facts tell, and the packets that are in the recording within the first of them.
fn paused_across_a_step(step_ms: i64) -> (Vec<store::Span>, usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let traffic = one_call(6_000);
    let archive = Archive::open_or_create(&dir.path().join("archive")).expect("made").0;
    let mut recorder = Recorder::new(&archive, Rules::default(), None, Devices::default()).keeping_sip(false);
    let (control, desk) = crate::control::control();
    let ask = |ask| {
        let control = control.clone();
        let whom = policy::gate::Whom::Extension("2000".into());
        let request = Request { whom, ask, role: policy::modes::Role::Supervisor, name: "eve".into() };
        std::thread::spawn(move || web::live::Live::request(&control, request).expect("it answers"))
    };
    let begun = traffic.frames[0].at_ns;
    let mut asks =
        [(3_000, policy::modes::Ask::Pause), (4_500, policy::modes::Ask::Resume)].into_iter().peekable();
    for made in &traffic.frames {
        let since_ms = (made.at_ns - begun) / 1_000_000;
        let step = if since_ms >= 1_000 { step_ms } else { 0 };
        let wall = Timestamp::from_nanos(made.at_ns).plus_millis(step);
        if let Some((_, what)) = asks.next_if(|(due, _)| since_ms >= *due) {
            let asked = ask(what);
            while !asked.is_finished() {
                desk.serve(&mut recorder, wall);
            }
            assert_eq!(asked.join().expect("no panic").done, 1, "{what:?}");
        }
        let (data, wire_len) = (&made.bytes[..], made.bytes.len() as u32);
        recorder.handle_frame(&decode::Frame { at: wall, link: 1, source: 0, wire_len, data });
    }
    recorder.finish(capture::Counters::default()).failure.into_result().expect("written");
    let row = archive.rows().next().expect("one recording").expect("a row");
    let started = row.facts.started;
    let mut reader = archive.read(row.facts.id).expect("its file");
    let mut inside = 0;
    while let Some(chunk) = reader.next_chunk().expect("whole") {
        let is_inside = |at: Timestamp| {
            let ms = at.millis_since(started);
            row.facts.pauses.first().is_some_and(|pause| (pause.start_ms + 1..pause.end_ms).contains(&ms))
        };
        let is_kept = |record: &store::Record<'_>| matches!(record, store::Record::Audio { .. });
        let records = chunk.records().map(|record| record.expect("readable"));
        inside += records.filter(|record| is_kept(record) && is_inside(record.at())).count();
    }
    (row.facts.pauses, inside)
}

#[test]
fn a_pause_takes_effect_whatever_the_machines_clock_was_set_to() {
    for step_ms in [0, -100_000, 100_000] {
        let (pauses, inside) = paused_across_a_step(step_ms);
        let [pause] = &pauses[..] else { panic!("{step_ms}: {pauses:?}") };
        assert!((1_400..=1_600).contains(&(pause.end_ms - pause.start_ms)), "{step_ms}: {pause:?}");
        assert_eq!(inside, 0, "{step_ms}");
    }
}

#[test]
fn a_call_whose_recording_has_ended_goes_on_in_another_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let traffic = one_call(6_000);
    let archive = Archive::open_or_create(&dir.path().join("archive")).expect("made").0;
    let mut recorder = Recorder::new(&archive, Rules::default(), None, Devices::default());
    let begun = traffic.frames[0].at_ns;
    let (mut step, mut went_on) = (0, None);
    for made in &traffic.frames {
        let at = Timestamp::from_nanos(made.at_ns);
        recorder.handle_frame(&frame_of(made.at_ns, &made.bytes));
        let since_ms = (made.at_ns - begun) / 1_000_000;
        // The disk takes no more at 2.5 s, and again at 3.5 s, in the middle of a pause.
        match (step, since_ms) {
            (0, 2_500..) => recorder.open.iter_mut().for_each(|open| open.has_ended = true),
            (1, 3_000..) => drop(recorder.handle_request(&asked(Ask::Pause), at)),
            (2, 3_500..) => recorder.go_on(),
            (3, 4_000..) => drop(recorder.handle_request(&asked(Ask::Resume), at)),
            (4, 4_500..) => {
                recorder.go_on();
                went_on = Some(at);
            }
            // And for a moment once more: no third one begins so soon.
            (5, 6_500..) => {
                recorder.open.iter_mut().for_each(|open| open.has_ended = true);
                recorder.go_on();
                recorder.open.iter_mut().for_each(|open| open.has_ended = false);
            }
            _ => continue,
        }
        step += 1;
        let rows = archive.rows().count();
        assert_eq!(rows, if step > 4 { 2 } else { 1 }, "while it is paused, nothing begins");
    }
    recorder.finish(capture::Counters::default()).failure.into_result().expect("written");
    let went_on = went_on.expect("in the middle");
    let mut rows: Vec<store::Row> = archive.rows().map(|row| row.expect("a row")).collect();
    rows.sort_by_key(|row| row.facts.started);
    let [first, rest] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((first.facts.state, rest.facts.state), (store::State::Interrupted, store::State::Complete));
    assert_eq!((first.facts.segment, &first.facts.call), (rest.facts.segment, &rest.facts.call));
    // Facts count milliseconds.
    assert!(went_on.nanos_since(rest.facts.started).abs() < 1_000_000, "{} {went_on}", rest.facts.started);
    let ended = rest.facts.ended.expect("it has ended");
    assert!(rest.facts.duration_ms.abs_diff(ended.millis_since(went_on)) <= 1, "{:?}", rest.facts);
    assert!((1_000..2_500).contains(&rest.facts.duration_ms), "{}", rest.facts.duration_ms);
    let calls: Vec<CallRow> = archive.calls().expect("read").map(|row| row.expect("a row")).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].outcome, &calls[0].recordings),
        (Outcome::Recorded, &vec![first.facts.id, rest.facts.id])
    );
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    let mut file = Vec::new();
    let export = web::export::Export::prepare(&archive, rest.facts.id).expect("readable");
    let (format, shape) = (web::export::FileFormat::Wav, web::export::Shape::Stereo);
    export.write(format, shape, &mut file).expect("written");
    let audio = xtask::wav::parse(&file).expect("a WAV file");
    let length_ms = audio.channels[0].len() as u64 * 1_000 / u64::from(audio.rate);
    assert!(length_ms.abs_diff(rest.facts.duration_ms) <= 20, "{length_ms} {}", rest.facts.duration_ms);
}

#[test]
fn what_is_under_a_hold_stays_when_it_is_to_be_discarded_and_the_balance_sheet_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let traffic = one_call(4_000);
    let archive = Archive::open_or_create(&dir.path().join("archive")).expect("made").0;
    change(&archive, "[[record.device]]\nnumber = \"2000\"\nmode = \"discard_by_default\"\n");
    let ruling = Ruling::in_force(&archive, &machine()).expect("read").expect("a book");
    let mut recorder = Recorder::new(&archive, ruling.rules, None, Devices::default());
    let mut held = None;
    for made in &traffic.frames {
        let at = Timestamp::from_nanos(made.at_ns);
        recorder.handle_frame(&frame_of(made.at_ns, &made.bytes));
        if held.is_none()
            && let Some((_, open)) = recorder.open.iter().next()
        {
            let id = open.writer.id();
            let what = store::What::Held { id, hold: "case 7".into(), why: "a claim".into() };
            archive.edit(store::Event { at, who: "eve".into(), what }).expect("held");
            held = Some(id);
        }
    }
    recorder.finish(capture::Counters::default()).failure.into_result().expect("written");
    let id = held.expect("it ran");
    archive.sync().expect("written");
    let row = archive.row(id).expect("it is there");
    assert!(row.facts.held && row.bytes > 10_000, "{row:?}");
    let calls: Vec<CallRow> = archive.calls().expect("read").map(|row| row.expect("a row")).collect();
    assert_eq!(calls[0].recordings, [id]);
    assert!(calls[0].reason.contains("under a legal hold"), "{}", calls[0].reason);
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
}
