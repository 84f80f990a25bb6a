//! The Record-A-Call endpoint: messages and packets of a PBX that has gone mad, with time between them: as server, with digests or
//! without, and as client that registers and joins a conversation, over UDP and over connections that end. No panic, and in the end nothing
//! stays.
#![no_main]

use decode::endpoint::{
    Account, Algorithm, Announcement, Demand, Options, Output, Path, Registration, Secret, Sends, UserAgent,
    destination,
};
use decode::{Carrier, Endpoint, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Announcement::from_wav(bytes);
    let mut options = Options::new(vec![12_000, 12_002], [3; 32]);
    let (kind, rest) = bytes.split_first().unwrap_or((&0, &[]));
    options.sends = if kind & 1 == 0 { Sends::Silence } else { Sends::Nothing };
    options.ring_ms = if kind & 2 == 0 { 0 } else { 500 };
    options.silence_s = 5;
    let account = || Account { user: "u".into(), password: Secret::new("p".to_owned().into()) };
    let carrier = if kind & 4 == 0 { Carrier::Udp } else { Carrier::Tcp };
    let algorithms = vec![Algorithm::Sha256, Algorithm::Md5];
    options.demand = (kind & 8 != 0).then(|| Demand { realm: "r".into(), algorithms, account: account() });
    options.account = Some(account());
    options.joins = vec!["127.0.0.1/32".parse().expect("a subnet")];
    options.registration = (kind & 16 != 0).then(|| Registration {
        registrar: Endpoint::v4([127, 0, 0, 1], 5070),
        carrier,
        domain: "d".into(),
        user: "u".into(),
        expires_s: 60,
    });
    let mut agent = UserAgent::new(options);
    let place = |port| Endpoint::v4([127, 0, 0, 1], port);
    let path = Path { carrier, connection: 1, local: place(5060), peer: place(5070) };
    let mut now = Timestamp::from_millis(1_000_000);
    agent.register(path.local, now);
    if kind & 32 != 0 {
        let _ = agent.join("sip:c@127.0.0.1:5070", "2001", path.local, now);
    }
    // The latest request of ours: a response to it begins with `=`, and has its own first line and further fields behind that.
    let mut asked = Vec::new();
    for piece in rest.split(|&byte| byte == 0) {
        if piece.len() % 7 == 0 {
            agent.handle_media(piece.len() % 3, piece.len() % 2 == 0, place(4000), piece, now);
        } else if let Some(response) = piece.strip_prefix(b"=") {
            agent.handle_message(&path, &answer(&asked, response), now);
        } else if piece.first() == Some(&b'!') {
            let uri = String::from_utf8_lossy(piece);
            let _ = (destination(&uri), agent.leave("sip:c@127.0.0.1:5070", now));
            agent.handle_closed(&path, now);
            agent.handle_unreachable(&Path { connection: 0, ..path }, now);
        } else {
            agent.handle_message(&path, piece, now);
        }
        now = now.plus_millis(piece.len() as i64 * 10);
        agent.handle_timeout(now);
        while let Some(output) = agent.poll_output() {
            if let Output::Sip { bytes, .. } = output
                && !bytes.starts_with(b"SIP/2.0")
            {
                asked = bytes;
            }
        }
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

/// A response to this request: the first line and more fields and a body are the fuzzer's, what finds the transaction is the request's.
fn answer(request: &[u8], response: &[u8]) -> Vec<u8> {
    let at = response.iter().position(|&byte| byte == b'\n').map_or(response.len(), |at| at + 1);
    let (first, more) = response.split_at(at);
    let mut out = first.to_vec();
    for name in ["Via:", "From:", "To:", "Call-ID:", "CSeq:"] {
        let fields = request.split_inclusive(|&byte| byte == b'\n');
        fields.filter(|line| line.starts_with(name.as_bytes())).for_each(|line| out.extend_from_slice(line));
    }
    out.extend_from_slice(more);
    out
}
