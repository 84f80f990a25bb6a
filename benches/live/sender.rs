//! Sends a capture on an adapter by its own time stamps.

use std::fs::File;
use std::io::{BufReader, IoSlice, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use pcap::{Capture, Direction};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

/// Packets that one call of the kernel takes.
const BATCH: usize = 64;
/// Waiting for less than this costs more than it is worth.
const NAP: Duration = Duration::from_micros(200);

/// Sends the packets of `capture` (classic, little-endian, microseconds) on `interface`. Prints the wall clock's time of the first
/// one, then how far behind its time the latest one came.
pub(crate) fn send(interface: &str, capture: &Path) {
    let mut socket = Capture::from_device(interface)
        .and_then(|port| port.snaplen(64).buffer_size(1 << 20).open())
        .expect("the adapter opens");
    // It only sends.
    socket.direction(Direction::In).expect("one direction");
    socket.filter("less 1", true).expect("a filter that nothing passes");

    let mut file = BufReader::with_capacity(4 << 20, File::open(capture).expect("the capture"));
    file.read_exact(&mut [0; 24]).expect("a file header");
    let mut next = Packet::read(&mut file);
    let first_us = next.as_ref().expect("a packet").at_us;
    let (began, mut sent, mut worst) = (Instant::now(), 0_u64, Duration::ZERO);
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    println!("start {}", wall.as_nanos());
    let mut due: Vec<Packet> = Vec::with_capacity(BATCH);
    while let Some(packet) = &next {
        let at = Duration::from_micros(packet.at_us - first_us);
        let elapsed = began.elapsed();
        if at > elapsed {
            flush(&socket, &mut due, &mut sent);
            if let Some(wait) = at.checked_sub(began.elapsed()) {
                std::thread::sleep(wait + NAP);
            }
            continue;
        }
        worst = worst.max(elapsed - at);
        due.extend(next.take());
        if due.len() == BATCH {
            flush(&socket, &mut due, &mut sent);
        }
        next = Packet::read(&mut file);
    }
    flush(&socket, &mut due, &mut sent);
    println!("sent {sent} {} {}", began.elapsed().as_millis(), worst.as_millis());
}

struct Packet {
    at_us: u64,
    bytes: Vec<u8>,
}

impl Packet {
    fn read(file: &mut impl Read) -> Option<Packet> {
        let mut header = [0; 16];
        file.read_exact(&mut header).ok()?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut bytes = vec![0; word(8) as usize];
        file.read_exact(&mut bytes).ok()?;
        Some(Packet { at_us: u64::from(word(0)) * 1_000_000 + u64::from(word(4)), bytes })
    }
}

fn flush(socket: &Capture<pcap::Active>, due: &mut Vec<Packet>, sent: &mut u64) {
    let slices: Vec<[IoSlice<'_>; 1]> = due.iter().map(|packet| [IoSlice::new(&packet.bytes)]).collect();
    let mut nothing: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> =
        slices.iter().zip(&mut nothing).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
    let mut from = 0;
    while from < messages.len() {
        match sendmmsg(socket, &mut messages[from..], SendFlags::empty()) {
            Ok(count) => from += count,
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => panic!("sending: {error}"),
        }
    }
    *sent += due.len() as u64;
    drop(messages);
    due.clear();
}
