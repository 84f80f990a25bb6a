//! One source's packets, opened: which key, and which roll-over counter (RFC 3711, 3.3.1 and 8.1).
//!
//! A recorder joins late, loses packets, and sees keys change before or after the packets do. So a packet that does not authenticate
//! where it should stand is tried with every key of its sender, the newest first, and with other counters: a bounded number of tries
//! a packet, moving on with each packet. What fits is taken as the place from then on.

use super::{Key, Session};

/// Keys of one sender that are tried; the oldest makes room.
pub const KEYS_MAX: usize = 16;
/// Roll-over counters tried a packet with one key, beside those near the expected one.
const GUESSES: u32 = 8;
/// Counters tried in all, while packet after packet fails: three and a half days of 20 ms packets.
const COUNTER_MAX: u32 = 256;
/// After so many failures in a row only each [`PATIENCE`]th packet is tried with everything.
const EAGER_FAILURES: u32 = 64;
const PATIENCE: u32 = 16;

/// A key's session and where its stream is.
struct Place {
    id: u32,
    session: Session,
    /// Roll-over counter and highest sequence number, once a packet has authenticated.
    at: Option<(u32, u16)>,
}

/// The keys of one source. The number of packets that failed since one was opened is [`failures`](Self::failures).
#[derive(Default)]
pub struct Receiver {
    /// Newest key first.
    places: Vec<Place>,
    /// Place of the key that opened the latest packet.
    current: usize,
    failures: u32,
}

impl Receiver {
    /// Takes over the keys that the sender has now, newest first, each with a number of its own. Known ones keep their place in the
    /// stream.
    pub fn learn<'k>(&mut self, keys: impl IntoIterator<Item = (u32, &'k Key)>) {
        let current = self.places.get(self.current).map(|place| place.id);
        let mut before = std::mem::take(&mut self.places);
        let mut is_new = false;
        for (id, key) in keys.into_iter().take(KEYS_MAX) {
            let known = before.iter().position(|place| place.id == id);
            is_new |= known.is_none();
            self.places.push(match known {
                Some(known) => before.swap_remove(known),
                None => Place { id, session: Session::new(key), at: None },
            });
        }
        self.current = self.places.iter().position(|place| Some(place.id) == current).unwrap_or(0);
        if is_new {
            self.failures = 0;
        }
    }

    /// Packets in a row that no key opened.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Was the latest packet that was opened shown to be made with its key?
    #[must_use]
    pub fn is_authentic(&self) -> bool {
        self.places.get(self.current).is_none_or(|place| place.session.authenticates())
    }

    /// Opens a packet: `out` becomes the RTP packet that was protected. False when no key authenticates it.
    pub fn open(&mut self, packet: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(sequence) =
            packet.get(2..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_be_bytes)
        else {
            return false;
        };
        let current = self.places.get_mut(self.current);
        let is_open = current.is_some_and(|place| {
            place.at.is_some_and(|at| place.open(packet, sequence, [expected(at, sequence)], out))
        });
        if is_open || self.search(packet, sequence, out) {
            self.failures = 0;
            return true;
        }
        self.failures = self.failures.saturating_add(1);
        false
    }

    #[cold]
    fn search(&mut self, packet: &[u8], sequence: u16, out: &mut Vec<u8>) -> bool {
        if self.failures > EAGER_FAILURES && !self.failures.is_multiple_of(PATIENCE) {
            return false;
        }
        // Where everything is tried only now and then, the window moves on by those tries.
        let round = if self.failures > EAGER_FAILURES { self.failures / PATIENCE } else { self.failures };
        let window = round % (COUNTER_MAX / GUESSES) * GUESSES;
        // A key that authenticates nothing would open everything: it comes last.
        for authenticates in [true, false] {
            for (n, place) in self.places.iter_mut().enumerate() {
                if place.session.authenticates() != authenticates {
                    continue;
                }
                let near = place.at.map(|at| expected(at, sequence));
                let around = near.into_iter().flat_map(|v| [v, v.wrapping_add(1), v.saturating_sub(1)]);
                let guesses = around.chain(0..4).chain(window..window + GUESSES);
                if place.open(packet, sequence, guesses, out) {
                    self.current = n;
                    return true;
                }
            }
        }
        false
    }
}

impl Place {
    fn open(
        &mut self,
        packet: &[u8],
        sequence: u16,
        guesses: impl IntoIterator<Item = u32>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(roc) = self.session.open(packet, guesses, out) else { return false };
        let index = |(roc, sequence): (u32, u16)| u64::from(roc) << 16 | u64::from(sequence);
        // A late packet leaves the place where it is; one that was found far off moves it.
        let is_late =
            self.at.is_some_and(|at| index((roc, sequence)) < index(at) && expected(at, sequence) == roc);
        if !is_late {
            self.at = Some((roc, sequence));
        }
        true
    }
}

/// The roll-over counter of a packet near this place (RFC 3711, appendix A).
fn expected((roc, highest): (u32, u16), sequence: u16) -> u32 {
    const HALF: u16 = 0x8000;
    if highest < HALF {
        if sequence.saturating_sub(highest) > HALF { roc.saturating_sub(1) } else { roc }
    } else if highest - HALF > sequence {
        roc.wrapping_add(1)
    } else {
        roc
    }
}
