//! Listening to a recording that runs: a listener gets what the disk gets, in its order, and nothing else.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use common::{START, append, archive, ended, facts, play};
use decode::Party;
use store::{LISTENER_CHUNKS_MAX, LISTENERS_MAX, Live, LiveEnd, LiveTap, Mark, Record, Standing};

/// What a listener has been given: payloads, marks, chunks that it lost, and the end.
#[derive(Debug, Default)]
struct Heard {
    payloads: Vec<Vec<u8>>,
    marks: Vec<Mark>,
    chunks: usize,
    lost: u64,
    ended: Option<LiveEnd>,
}

impl Heard {
    fn take(&mut self, tap: &mut LiveTap) {
        while self.ended.is_none() {
            match tap.try_next() {
                Some(Live::Chunk(chunk)) => {
                    self.chunks += 1;
                    let taken = chunk.for_each(|record| match record {
                        Record::Audio { frame, .. } => self.payloads.push(frame.payload.to_vec()),
                        Record::Mark { mark, .. } => self.marks.push(mark),
                        Record::Signal { .. } => {}
                    });
                    taken.expect("what the writer wrote");
                }
                Some(Live::Lagged(lost)) => self.lost += lost,
                Some(Live::Ended(how)) => self.ended = Some(how),
                None => break,
            }
        }
    }
}

#[test]
fn a_listener_hears_what_the_disk_gets_to_the_end_and_then_that_it_has_ended() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let id = writer.id();
    let mut tap = archive.listen(id).expect("it runs");
    assert_eq!((tap.id(), tap.started(), tap.standing()), (id, facts(1).started, Standing::default()));
    let mut heard = Heard::default();
    for i in 0..200 {
        append(&mut writer, 1, i).expect("kept");
        heard.take(&mut tap);
    }
    let (chunks, early) = (heard.chunks, heard.payloads.len());
    assert!(chunks >= 10 && early < 200, "{chunks} chunks, {early} packets: what is not sealed is not heard");
    writer.finish(ended(1, 2_000)).expect("finished");
    heard.take(&mut tap);
    assert_eq!(heard.ended, Some(LiveEnd::Finished));
    assert_eq!((heard.lost, &heard.payloads), (0, &play(&archive, id).expect("plays").0));
    assert!(archive.listen(id).is_none(), "it does not run any more");
}

#[test]
fn marks_come_in_their_place_and_who_comes_late_is_told_what_stands() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let mut tap = archive.listen(writer.id()).expect("it runs");
    let at = |ms: i64| START.plus_millis(1_000 + ms);
    for i in 0..4 {
        append(&mut writer, 1, i).expect("kept");
    }
    let pause = Mark::PauseStart { source: "the agent".into() };
    writer.mark(at(40), &Mark::Hold { by: Party::Far }).expect("kept");
    writer.mark(at(45), &pause).expect("kept");
    let late = archive.listen(writer.id()).expect("it runs");
    let expected = Standing { paused: Some(at(45)), held: [false, true] };
    assert_eq!(late.standing(), expected);
    assert!(late.standing().is_held());
    writer.seal_stale(at(400)).expect("sealed");
    let mut heard = Heard::default();
    heard.take(&mut tap);
    assert_eq!((heard.payloads.len(), &heard.marks), (4, &vec![Mark::Hold { by: Party::Far }, pause]));

    writer.mark(at(900), &Mark::PauseEnd { source: "the agent".into() }).expect("kept");
    writer.mark(at(910), &Mark::Retrieve { by: Party::Far }).expect("kept");
    let after = archive.listen(writer.id()).expect("it runs");
    assert_eq!(after.standing(), Standing::default());
    writer.finish(ended(1, 1_000)).expect("finished");
    heard.take(&mut tap);
    assert_eq!((heard.marks.len(), heard.ended), (4, Some(LiveEnd::Finished)));
}

#[test]
fn who_does_not_keep_up_loses_the_oldest_chunks_is_told_and_finds_what_stands() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let mut slow = archive.listen(writer.id()).expect("it runs");
    let mut quick = archive.listen(writer.id()).expect("it runs");
    let mut heard = Heard::default();
    let pause = Mark::PauseStart { source: "x".into() };
    for i in 0..1_000 {
        append(&mut writer, 1, i).expect("kept");
        if i == 20 {
            writer.mark(START.plus_millis(1_200), &pause).expect("kept");
        }
        heard.take(&mut quick);
    }
    assert_eq!(heard.lost, 0);
    let Some(Live::Lagged(lost)) = slow.try_next() else { panic!("it must be told first") };
    assert_eq!(lost as usize, heard.chunks - LISTENER_CHUNKS_MAX);
    let Some(Live::Chunk(chunk)) = slow.try_next() else { panic!("the newest are there") };
    assert_eq!(chunk.before().paused, Some(START.plus_millis(1_200)), "the mark itself was lost");
    let mut rest = Heard::default();
    rest.take(&mut slow);
    assert_eq!((rest.chunks, rest.lost), (LISTENER_CHUNKS_MAX - 1, 0));
    assert!(heard.payloads.ends_with(&rest.payloads));
}

#[test]
fn a_recording_that_is_discarded_is_silent_at_once_and_has_no_tap() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let id = writer.id();
    let mut tap = archive.listen(id).expect("it runs");
    for i in 0..100 {
        append(&mut writer, 1, i).expect("kept");
    }
    writer.discard("excluded").expect("destroyed");
    let mut heard = Heard::default();
    heard.take(&mut tap);
    assert_eq!((heard.chunks, heard.ended), (0, Some(LiveEnd::Discarded)));
    assert!(archive.listen(id).is_none());
    assert!(archive.listen(facts(2).id).is_none(), "never begun");
}

#[test]
fn a_recording_that_breaks_off_and_an_archive_that_closes_say_so() {
    let (_dir, _path, archive) = archive();
    let mut dropped = archive.create(facts(1)).expect("begun");
    append(&mut dropped, 1, 0).expect("kept");
    let mut tap = archive.listen(dropped.id()).expect("it runs");
    drop(dropped);
    let mut heard = Heard::default();
    heard.take(&mut tap);
    let nothing = (0, Some(LiveEnd::Interrupted));
    assert_eq!((heard.chunks, heard.ended), nothing, "what was not sealed is not heard");

    let running = archive.create(facts(2)).expect("begun");
    let mut tap = archive.listen(running.id()).expect("it runs");
    archive.close().expect("closed");
    let mut heard = Heard::default();
    heard.take(&mut tap);
    assert_eq!((heard.chunks, heard.ended), nothing);
    drop(running);
}

#[test]
fn a_hundred_listen_at_once_each_gets_everything_and_a_place_that_is_left_is_free() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let mut taps: Vec<_> = (0..LISTENERS_MAX).map(|_| archive.listen(writer.id()).expect("room")).collect();
    assert!(archive.listen(writer.id()).is_none(), "one more than there may be");
    taps.pop();
    taps.push(archive.listen(writer.id()).expect("room again"));
    for i in 0..40 {
        append(&mut writer, 1, i).expect("kept");
    }
    writer.finish(ended(1, 400)).expect("finished");
    for tap in &mut taps {
        let mut heard = Heard::default();
        heard.take(tap);
        assert_eq!((heard.payloads.len(), heard.ended), (40, Some(LiveEnd::Finished)));
    }
}

#[test]
fn what_is_heard_does_not_show_in_debug_output() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let mut tap = archive.listen(writer.id()).expect("it runs");
    for i in 0..40 {
        append(&mut writer, 1, i).expect("kept");
    }
    let live = tap.try_next().expect("a chunk");
    assert!(format!("{live:?} {tap:?}").len() < 300, "{live:?}");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_by_a_chunk_and_by_the_end_and_not_before() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let mut tap = archive.listen(writer.id()).expect("it runs");
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let rung = || bell.0.load(Ordering::Relaxed);
    let mut context = Context::from_waker(&waker);
    assert!(tap.poll_next(&mut context).is_pending());
    append(&mut writer, 1, 0).expect("kept");
    assert_eq!(rung(), 0, "nothing is sealed");
    writer.seal_stale(START.plus_millis(2_000)).expect("sealed");
    assert_eq!(rung(), 1);
    assert!(matches!(tap.poll_next(&mut context), Poll::Ready(Live::Chunk(_))));
    assert!(tap.poll_next(&mut context).is_pending());
    writer.finish(ended(1, 20)).expect("finished");
    assert_eq!(rung(), 2);
    assert!(matches!(tap.poll_next(&mut context), Poll::Ready(Live::Chunk(_))));
    assert!(matches!(tap.poll_next(&mut context), Poll::Ready(Live::Ended(LiveEnd::Finished))));
}
