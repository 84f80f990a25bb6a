//! The Record-A-Call endpoint: messages and packets of a PBX that has gone mad, with time between them. No panic, and in the end
//! nothing stays.
#![no_main]

use decode::endpoint::{Announcement, Options, Path, Sends, UserAgent};
use decode::{Carrier, Endpoint, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Announcement::from_wav(bytes);
    let mut options = Options::new(vec![12_000, 12_002], [3; 32]);
    let (kind, rest) = bytes.split_first().unwrap_or((&0, &[]));
    options.sends = if kind & 1 == 0 { Sends::Silence } else { Sends::Nothing };
    options.ring_ms = if kind & 2 == 0 { 0 } else { 500 };
    options.silence_s = 5;
    let mut agent = UserAgent::new(options);
    let place = |port| Endpoint::v4([127, 0, 0, 1], port);
    let carrier = if kind & 4 == 0 { Carrier::Udp } else { Carrier::Tcp };
    let path = Path { carrier, connection: 1, local: place(5060), peer: place(5070) };
    let mut now = Timestamp::from_millis(1_000_000);
    for piece in rest.split(|&byte| byte == 0) {
        if piece.len() % 7 == 0 {
            agent.handle_media(piece.len() % 3, piece.len() % 2 == 0, place(4000), piece, now);
        } else {
            agent.handle_message(&path, piece, now);
        }
        now = now.plus_millis(piece.len() as i64 * 10);
        agent.handle_timeout(now);
        while agent.poll_output().is_some() {}
    }
    agent.hang_up_all(now);
    for _ in 0..1_000 {
        let Some(due) = agent.poll_timeout() else { break };
        agent.handle_timeout(due);
        while agent.poll_output().is_some() {}
    }
    assert!(agent.poll_timeout().is_none(), "something stays");
    assert_eq!((agent.counts().calls, agent.counts().free_ports, agent.channels_in_use()), (0, 2, 0));
});
