//! The least that any sealing recorder of a mirror port does: take each packet out of the kernel's ring, find its stream by its
//! addresses, append the payload, seal 8 KiB of a stream at a time with AES-256-GCM, and write all of it to one file. It follows
//! no signalling, judges nothing, and keeps no time.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use pcap::Capture;

/// Bytes of an Ethernet, IPv4 and UDP header, and of an RTP header behind them.
const HEADERS: usize = 14 + 20 + 8;
const RTP_HEADER: usize = 12;
const SEALED: usize = 8 * 1024;

/// Multiplies: the addresses are the bench's own.
#[derive(Default)]
struct Cheap(u64);

impl Hasher for Cheap {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }
}

struct Stream {
    payload: Vec<u8>,
    next: u16,
}

/// Records from `interface` into a file of `folder` until `stop`; prints packets, gaps in sequence numbers, and what the kernel dropped.
pub(crate) fn record(interface: &str, folder: &Path, stop: &Arc<AtomicBool>) {
    let mut port = Capture::from_device(interface)
        .and_then(|port| port.promisc(true).timeout(20).buffer_size(256 << 20).open())
        .expect("the adapter opens");
    let waker = port.breakloop_handle();
    let flag = Arc::clone(stop);
    std::thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        waker.breakloop();
    });
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from([7; 32]));
    let mut file = BufWriter::with_capacity(4 << 20, File::create(folder.join("segment")).expect("a file"));
    let mut streams: HashMap<[u64; 2], Stream, BuildHasherDefault<Cheap>> = HashMap::default();
    let (mut packets, mut gaps, mut count) = (0_u64, 0_u64, 0_u64);
    println!("ready");
    while !stop.load(Ordering::Relaxed) {
        let taken = port.dispatch(None, |packet| {
            packets += 1;
            let frame = packet.data;
            let Some(payload) = frame.get(HEADERS + RTP_HEADER..).filter(|_| frame[HEADERS] == 0x80) else {
                return;
            };
            let number = |at: usize| u64::from_be_bytes(frame[at..at + 8].try_into().expect("8 bytes"));
            // Source and destination, then both ports.
            let key = [number(26), number(34) >> 32];
            let sequence = u16::from_be_bytes([frame[HEADERS + 2], frame[HEADERS + 3]]);
            let stream = streams
                .entry(key)
                .or_insert_with(|| Stream { payload: Vec::with_capacity(SEALED), next: sequence });
            gaps += u64::from(stream.next != sequence);
            stream.next = sequence.wrapping_add(1);
            if stream.payload.len() + payload.len() > SEALED {
                seal(&mut file, &cipher, &mut stream.payload, &mut count);
            }
            stream.payload.extend_from_slice(payload);
        });
        match taken {
            Ok(_) | Err(pcap::Error::TimeoutExpired) => {}
            // It was woken to end.
            Err(_) if stop.load(Ordering::Relaxed) => break,
            Err(error) => panic!("capturing: {error}"),
        }
    }
    for stream in streams.values_mut() {
        seal(&mut file, &cipher, &mut stream.payload, &mut count);
    }
    file.flush().expect("writes");
    let dropped = port.stats().map_or(0, |stats| stats.dropped);
    println!("yardstick {packets} {gaps} {dropped} {}", streams.len());
}

fn seal(file: &mut impl Write, cipher: &Aes256Gcm, payload: &mut Vec<u8>, count: &mut u64) {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    *count += 1;
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(nonce), b"", payload.as_mut_slice().into())
        .expect("seals");
    file.write_all(payload).and_then(|()| file.write_all(&tag)).expect("writes");
    payload.clear();
}
