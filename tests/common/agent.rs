//! A HEP agent: hands a made call over as it happens.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use xtask::load::Traffic;
use xtask::wrap::{Layer, Wrapper};

/// What stands before the HEP packet in a wrapped frame: Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;

/// A port that is free now.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Hands every frame's HEP packet to `send`, at the pace of the capture.
pub fn pace(traffic: &Traffic, mut send: impl FnMut(&[u8])) {
    let mut wrapper = Wrapper::new(&[Layer::Hep3]);
    let (start, first_ns) = (Instant::now(), traffic.frames[0].at_ns);
    for frame in &traffic.frames {
        let due = start + Duration::from_nanos((frame.at_ns - first_ns) as u64);
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
        for wrapped in wrapper.wrap(frame.clone()) {
            send(&wrapped.bytes[HEADERS..]);
        }
    }
}
