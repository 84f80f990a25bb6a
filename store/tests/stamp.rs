//! Time stamps from the archive's side: an authority that is dead, slow or silent holds nothing up. What real authorities
//! answer is in the workspace's `tests/timestamp.rs`.

mod common;

use std::time::{Duration, Instant};

use common::{archive, record};
use crossbeam_channel::bounded;
use store::{Archive, Error, Verdict, What};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn an_authority_that_hangs_holds_up_neither_recording_nor_the_end() {
    let (_temporary, dir, archive) = archive();
    let (asked, is_asked) = bounded(1);
    let (never, answer) = bounded::<()>(0);
    let ask = move |request: &[u8]| {
        let _ = asked.send(request.len());
        // Until the test is over.
        let _ = answer.recv();
        Err("gone".to_owned())
    };
    archive.stamp_every(DAY, Box::new(ask)).expect("a thread");
    assert!(is_asked.recv().expect("asked at once") > 40, "a request");
    record(&archive, 1, 50);
    let begun = Instant::now();
    archive.close().expect("closed");
    assert!(begun.elapsed() < Duration::from_secs(10), "waited for the authority");
    let archive = Archive::open(&dir).expect("the lock is free while the authority still hangs");
    assert_eq!(archive.verify(None).filter(|finding| finding.is_problem()).count(), 0);
    drop(never);
}

#[test]
fn an_answer_that_is_none_is_an_error_and_leaves_no_line() {
    let (_temporary, _dir, archive) = archive();
    for answer in [Ok(Vec::new()), Ok(vec![0x30; 100]), Err("no route".to_owned())] {
        let stamped = archive.stamp(&mut move |_: &[u8]| answer.clone());
        assert!(matches!(stamped, Err(Error::NotStamped { .. })), "{stamped:?}");
    }
    let stamps = archive.events().expect("events").flatten();
    assert_eq!(stamps.filter(|event| matches!(event.what, What::Stamped { .. })).count(), 0);
    assert!(!archive.verify(None).any(|finding| matches!(finding.verdict, Verdict::Stamped { .. })));
}
