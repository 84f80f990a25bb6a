//! SIP messages on TCP connections, in order or in odd pieces: the stream is always right, its segments need not be.

use super::dialog::Message;
use super::plan::Call;
use super::{Scenario, Transport};
use crate::rng::Rng;
use crate::wire::{self, ACK, FIN, Host, PSH, Path, SYN, Segment};

const US: i64 = 1000;
/// Most bytes of a segment.
const MSS: usize = 1400;
const SIP_PORT: u16 = 5060;

/// One connection: who opened it, and both sides' next sequence numbers.
struct Connection<'a> {
    ends: [(Host, u16); 2],
    vlans: &'a [u16],
    next: [u32; 2],
    ident: u16,
    out: Vec<(i64, Vec<u8>)>,
}

/// All frames of a call's signalling: one connection for each pair of hosts, opened 3 ms before its first message.
pub(super) fn frames(s: &Scenario, call: &Call, messages: &[Message], rng: &mut Rng) -> Vec<(i64, Vec<u8>)> {
    let mut pairs: Vec<(Host, Host)> = Vec::new();
    let pair = |m: &Message| if m.forward { (m.from, m.to) } else { (m.to, m.from) };
    for message in messages {
        if !pairs.contains(&pair(message)) {
            pairs.push(pair(message));
        }
    }
    let mut out = Vec::new();
    for (client, server) in pairs {
        let own: Vec<&Message> = messages.iter().filter(|m| pair(m) == (client, server)).collect();
        let mut connection = Connection {
            ends: [(client, call.tcp_port), (server, SIP_PORT)],
            vlans: &s.vlans,
            next: [rng.next() as u32, rng.next() as u32],
            ident: 1,
            out: Vec::new(),
        };
        connection.carry(&own, s.transport == Transport::TcpPieces, rng);
        out.append(&mut connection.out);
    }
    out
}

impl Connection<'_> {
    fn carry(&mut self, messages: &[&Message], pieces: bool, rng: &mut Rng) {
        let Some(first) = messages.first() else { return };
        let start = first.at - 3000 * US;
        self.push(start, 0, SYN, 0, &[]);
        self.next[0] = self.next[0].wrapping_add(1);
        self.push(start + 300 * US, 1, SYN | ACK, 0, &[]);
        self.next[1] = self.next[1].wrapping_add(1);
        self.push(start + 600 * US, 0, ACK, 0, &[]);

        let mut waiting: Vec<u8> = Vec::new();
        let mut last = start;
        for (n, message) in messages.iter().enumerate() {
            waiting.extend(&message.bytes);
            // Two messages of one side in one write: the earlier waits for the later.
            let follower = messages.get(n + 1).is_some_and(|next| next.forward == message.forward);
            if pieces && follower && rng.chance(50.0) {
                continue;
            }
            let side = usize::from(!message.forward);
            last = self.write(message.at, side, &std::mem::take(&mut waiting), pieces, rng);
        }
        self.push(last + 5000 * US, 0, FIN | ACK, 0, &[]);
        self.next[0] = self.next[0].wrapping_add(1);
        self.push(last + 5300 * US, 1, FIN | ACK, 0, &[]);
        self.next[1] = self.next[1].wrapping_add(1);
        self.push(last + 5600 * US, 0, ACK, 0, &[]);
    }

    /// Sends `bytes` as segments and has them acknowledged; gives the time of the acknowledgement.
    fn write(&mut self, at: i64, side: usize, bytes: &[u8], pieces: bool, rng: &mut Rng) -> i64 {
        let mut cuts = vec![0, bytes.len()];
        if pieces {
            let count = rng.below(5);
            cuts.extend((0..count).map(|_| 1 + rng.below(bytes.len() as u64 - 1) as usize));
        }
        cuts.extend((0..bytes.len()).step_by(MSS));
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        if pieces && parts.len() > 1 {
            if rng.chance(40.0) {
                let k = rng.below(parts.len() as u64 - 1) as usize;
                parts.swap(k, k + 1);
            }
            if rng.chance(40.0) {
                parts.push(parts[rng.below(parts.len() as u64) as usize]);
            }
        }
        let mut now = at;
        for &(from, to) in &parts {
            self.push(now, side, PSH | ACK, from as u32, &bytes[from..to]);
            now += 150 * US;
        }
        self.next[side] = self.next[side].wrapping_add(bytes.len() as u32);
        self.push(now, 1 - side, ACK, 0, &[]);
        now
    }

    fn push(&mut self, at: i64, side: usize, flags: u8, offset: u32, payload: &[u8]) {
        let path = Path { from: self.ends[side], to: self.ends[1 - side], vlans: self.vlans };
        let acknowledged = if flags & ACK != 0 { self.next[1 - side] } else { 0 };
        let segment = Segment { sequence: self.next[side].wrapping_add(offset), acknowledged, flags };
        self.ident = self.ident.wrapping_add(1);
        self.out.push((at, wire::tcp(path, self.ident, segment, payload)));
    }
}
