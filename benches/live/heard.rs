//! What is heard meanwhile: browsers that listen in and browsers that play, while all of the load is recorded. Right is: no packet dropped,
//! every call right, and nobody kept waiting.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use decode::Timestamp;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use xtask::load::EPOCH_NS;

use crate::common::Bench;
use crate::common::appliance::Appliance;
use crate::{Load, SETTLE, cpu_s, dropped, enter, ids, listen};

const LISTENERS: usize = 100;
const PLAYERS: usize = 50;
/// Browsers at one address: of one more than twice as many the pages refuse connections.
const OF_ONE_ADDRESS: usize = 25;
/// Bytes that a player asks for at a time, and how often: two seconds of audio.
const RANGE_BYTES: usize = 64_000;
const RANGE_EVERY: Duration = Duration::from_secs(2);

/// A browser that is signed in.
#[derive(Clone)]
struct Browser {
    web: SocketAddr,
    /// This machine has more than one address of its own.
    own: SocketAddr,
    cookie: String,
}

impl Browser {
    fn nth(n: usize, web: SocketAddr, cookie: &str) -> Browser {
        let host = u8::try_from(2 + n / OF_ONE_ADDRESS).expect("a few addresses");
        let own = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
        Browser { web, own, cookie: cookie.to_owned() }
    }

    fn ask(&self, path: &str, more: &str) -> TcpStream {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &self.own).expect("an address of this machine");
        connect(&socket, &self.web).expect("it listens");
        let mut stream = TcpStream::from(socket);
        let Browser { web, cookie, .. } = self;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {web}\r\nCookie: {cookie}\r\n{more}\r\n")
            .expect("asked");
        stream
    }
}

/// What a listener met: how long the call was heard, and the longest wait for more of it.
struct Heard {
    listened: Duration,
    waited: Duration,
}

/// Listens to a call until it is over.
fn listen_in(browser: &Browser, id: &str) -> Heard {
    let upgrade = format!(
        "Origin: http://{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        browser.web
    );
    let mut stream = browser.ask(&format!("/live/{id}/listen"), &upgrade);
    let mut bytes = [0; 16 * 1024];
    let len = stream.read(&mut bytes).expect("an answer");
    assert!(bytes[..len].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes[..len]));
    let begun = Instant::now();
    let (mut last, mut waited) = (begun, Duration::ZERO);
    while stream.read(&mut bytes).is_ok_and(|len| len > 0) {
        waited = waited.max(last.elapsed());
        last = Instant::now();
    }
    Heard { listened: last - begun, waited }
}

/// Plays a recording that runs, range by range from its beginning; how long each range took, in milliseconds.
fn play(browser: &Browser, id: &str, stop: &AtomicBool) -> Vec<f64> {
    let (mut at, mut took) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let range = format!("Range: bytes={at}-{}\r\nConnection: close\r\n", at + RANGE_BYTES - 1);
        let mut reply = Vec::new();
        let mut stream = browser.ask(&format!("/recordings/{id}/audio.wav"), &range);
        stream.read_to_end(&mut reply).expect("a reply");
        let body = reply.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| reply.len() - end - 4);
        // There may be nothing new of it yet (416).
        if reply.starts_with(b"HTTP/1.1 206") {
            took.push(asked.elapsed().as_secs_f64() * 1000.0);
            at += body;
        }
        std::thread::sleep(RANGE_EVERY.saturating_sub(asked.elapsed()));
    }
    took
}

/// Records the load once while it is heard.
pub(crate) fn run(load: &Load, bench: &Bench) {
    let mut running = Appliance::start_on(bench, &format!("\"{}\"", load.wire.near), "");
    let cookie = enter(&mut running);
    let stop = Arc::new(AtomicBool::new(false));
    let mut listeners: Vec<JoinHandle<Heard>> = Vec::new();
    let mut players: Vec<JoinHandle<Vec<f64>>> = Vec::new();
    let sent = load.send(|_| {
        let all_speak = load.truth.iter().filter_map(|call| call.answer_ns).max().expect("calls") - EPOCH_NS;
        std::thread::sleep(Duration::from_nanos(all_speak.max(0) as u64) + Duration::from_millis(500));
        let ids: Vec<String> = ids(&running).into_values().collect();
        for (n, id) in ids.into_iter().take(LISTENERS + PLAYERS).enumerate() {
            let browser = Browser::nth(n, running.web, &cookie);
            if n < LISTENERS {
                listeners.push(std::thread::spawn(move || listen_in(&browser, &id)));
            } else {
                let stop = Arc::clone(&stop);
                players.push(std::thread::spawn(move || play(&browser, &id, &stop)));
            }
        }
    });
    stop.store(true, Ordering::Relaxed);
    let heard: Vec<Heard> = listeners.into_iter().map(|thread| thread.join().expect("it heard")).collect();
    let mut took: Vec<f64> =
        players.into_iter().flat_map(|thread| thread.join().expect("it played")).collect();
    std::thread::sleep(SETTLE);
    let (cpu_s, dropped) = (cpu_s(&running.child), dropped(&running));
    running.stop();
    let report = listen(&bench.archive(), Timestamp::from_millis(0), &load.truth);
    println!(
        "{} packets, {dropped} dropped, {} of {} calls right, {cpu_s:.2} CPU s (sender at most {} ms late)",
        sent.packets, report.right, report.calls, sent.late_ms
    );
    report.faulty.iter().take(5).for_each(|(call, fault)| println!("  {call}: {fault:?}"));
    let shortest = heard.iter().map(|heard| heard.listened).min().unwrap_or_default();
    let waited = heard.iter().map(|heard| heard.waited).max().unwrap_or_default();
    println!(
        "{} listened in for {:.1} s and more; the longest wait for what was next: {} ms",
        heard.len(),
        shortest.as_secs_f64(),
        waited.as_millis()
    );
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len().saturating_sub(1) as f64 * share) as usize).copied();
    println!(
        "{PLAYERS} played: {} ranges of two seconds, median {:.0} ms, p99 {:.0} ms",
        took.len(),
        at(0.5).unwrap_or_default(),
        at(0.99).unwrap_or_default()
    );
}
