//! The messages of RFC 4475, where `EARWITNESS_SHARED` points to them: each is answered, or is not, over UDP and as a stream, and when the
//! timers have run out nothing of it is left.

use std::path::PathBuf;

use super::*;
use crate::sip::{Framed, next_message};

/// By their names in the RFC (`test` has none there): the answer, 0 for none. What can be understood is taken, also where the RFC would
/// allow to refuse it; what is not a request, or not of this version, is not answered.
const ANSWERS: [(&str, u16); 50] = [
    ("badaspec", 200),
    ("badbranch", 200),
    ("baddate", 200),
    ("baddn", 400),
    ("badinv01", 200),
    ("badvers", 0),
    ("bcast", 0),
    ("bext01", 420),
    ("bigcode", 0),
    ("clerr", 400),
    ("cparam01", 405),
    ("cparam02", 405),
    ("dblreq", 405),
    ("esc01", 200),
    ("esc02", 501),
    ("escnull", 405),
    ("escruri", 200),
    ("insuf", 400),
    ("intmeth", 501),
    ("inv2543", 400),
    ("invut", 415),
    ("longreq", 200),
    ("ltgtruri", 200),
    ("lwsdisp", 200),
    ("lwsruri", 400),
    ("lwsstart", 400),
    ("mcl01", 400),
    ("mismatch01", 400),
    ("mismatch02", 400),
    ("mpart01", 405),
    ("multi01", 400),
    ("ncl", 400),
    ("noreason", 0),
    ("novelsc", 416),
    ("quotbal", 200),
    ("regaut01", 405),
    ("regbadct", 405),
    ("regescrt", 405),
    ("scalar02", 400),
    ("scalarlg", 0),
    ("sdp01", 200),
    ("semiuri", 200),
    ("test", 0),
    ("transports", 200),
    ("trws", 0),
    ("unkscm", 416),
    ("unksm2", 405),
    ("unreason", 0),
    ("wsinv", 481),
    ("zeromf", 200),
];

/// Of what a stream makes something else: a header that does not end, and a body that is never there, are waited for; behind a message
/// there may be another one.
const ON_A_STREAM: [(&str, &[u16]); 3] = [("baddn", &[]), ("clerr", &[]), ("dblreq", &[405, 400])];

/// The messages with their names; none, and it says so, where they are not at hand.
#[expect(clippy::disallowed_methods, reason = "messages that are no part of the project")]
fn messages() -> Vec<(String, Vec<u8>)> {
    let shared = std::env::var_os("EARWITNESS_SHARED").map(PathBuf::from).filter(|path| path.is_dir());
    let Some(shared) = shared else {
        eprintln!("skipped: EARWITNESS_SHARED names no folder with the messages of RFC 4475");
        return Vec::new();
    };
    let mut messages = Vec::new();
    for kind in ["invalid", "valid"] {
        let folder = shared.join("captures/corpora/rfc4475_torture").join(kind);
        for entry in std::fs::read_dir(folder).expect("the messages") {
            let path = entry.expect("a message").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            messages.push((name, std::fs::read(&path).expect("a message")));
        }
    }
    messages.sort();
    let names: Vec<&str> = messages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ANSWERS.map(|(name, _)| name));
    messages
}

/// What is answered; all that is sent is SIP.
fn answered(agent: &mut UserAgent) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(output) = agent.poll_output() {
        let Output::Sip { bytes, .. } = output else { continue };
        if let StartLine::Response { status, .. } = sip::parse(&bytes).expect("SIP").start {
            statuses.push(status);
        }
    }
    statuses
}

/// A stream that comes in pieces of `size` bytes; gives what is answered.
fn stream(bench: &mut Bench, bytes: &[u8], size: usize) -> Vec<u16> {
    let (mut unread, mut statuses) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        unread.extend_from_slice(piece);
        loop {
            match next_message(&unread, false) {
                Framed::Message(range) => {
                    bench.agent.handle_message(&bench.path, &unread[range.clone()], bench.now);
                    statuses.extend(answered(&mut bench.agent));
                    unread.drain(..range.end);
                }
                Framed::Wait { skip } => {
                    unread.drain(..skip);
                    break;
                }
            }
        }
    }
    statuses
}

/// Nobody acknowledges or answers anything until the last timer has run out.
#[track_caller]
fn rest(mut bench: Bench) {
    bench.wait(300_000);
    bench.expect_empty();
}

#[test]
fn each_torture_message_is_answered_or_not_and_nothing_of_it_stays() {
    for ((name, bytes), (_, status)) in messages().iter().zip(ANSWERS) {
        let over_udp: Vec<u16> = [status].into_iter().filter(|&status| status != 0).collect();
        let mut bench = Bench::new();
        bench.agent.handle_message(&bench.path, bytes, bench.now);
        assert_eq!(answered(&mut bench.agent), over_udp, "{name} over UDP");
        rest(bench);

        let otherwise = ON_A_STREAM.iter().find(|(other, _)| other == name);
        let on_a_stream = otherwise.map_or(&over_udp[..], |&(_, statuses)| statuses);
        for size in [1, 100, bytes.len()] {
            let mut bench = Bench::new().over_tcp();
            assert_eq!(stream(&mut bench, bytes, size), on_a_stream, "{name} in pieces of {size}");
            rest(bench);
        }
    }
}

#[test]
fn all_torture_messages_together_leave_nothing_either() {
    let messages = messages();
    let mut bench = Bench::new();
    for (_, bytes) in messages.iter().chain(messages.iter().rev()) {
        bench.agent.handle_message(&bench.path, bytes, bench.now);
        answered(&mut bench.agent);
        bench.wait(300);
    }
    rest(bench);
    let mut bench = Bench::new().over_tcp();
    let all: Vec<u8> = messages.into_iter().flat_map(|(_, bytes)| bytes).collect();
    stream(&mut bench, &all, 1_000);
    rest(bench);
}
