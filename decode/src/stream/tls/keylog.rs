//! TLS secrets as key logs give them (the NSS key log format, draft-ietf-tls-keylogfile): lines of a label, the client's
//! random and a secret, in hexadecimal.
//!
//! Secrets are wiped when they go and never printed.

use std::collections::VecDeque;
use std::fmt;

use rustc_hash::FxHashMap;
use zeroize::Zeroizing;

/// Connections whose secrets are kept. One more forgets those that came first.
pub const SECRETS_MAX: usize = 65_536;
/// Sessions of TLS 1.2 remembered for those that resume them; one more forgets the first.
const SESSIONS_MAX: usize = 4096;
/// Longest secret: the output of SHA-384, or a master secret.
const SECRET_BYTES_MAX: usize = 48;
/// Length of a client's random.
pub(super) const RANDOM_BYTES: usize = 32;

/// A client's random, by which a key log names its connection.
pub(super) type Random = [u8; RANDOM_BYTES];

/// One secret.
#[derive(Clone)]
pub(super) struct Secret {
    bytes: Zeroizing<[u8; SECRET_BYTES_MAX]>,
    length: usize,
}

impl Secret {
    /// `None` when it is longer than any is.
    pub(super) fn new(bytes: &[u8]) -> Option<Secret> {
        let mut secret = Secret { bytes: Zeroizing::new([0; SECRET_BYTES_MAX]), length: bytes.len() };
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which side's secret, in TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Client,
    Server,
}

/// The secrets of one connection, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    master: Option<Secret>,
    handshake: [Option<Secret>; 2],
    traffic: [Option<Secret>; 2],
}

impl Known {
    /// TLS 1.2: the master secret.
    pub(super) fn master(&self) -> Option<&Secret> {
        self.master.as_ref()
    }

    /// TLS 1.3: the secret of a side's handshake records.
    pub(super) fn handshake(&self, by: By) -> Option<&Secret> {
        by.of(&self.handshake)
    }

    /// TLS 1.3: the secret of a side's first application records.
    pub(super) fn traffic(&self, by: By) -> Option<&Secret> {
        by.of(&self.traffic)
    }
}

impl By {
    fn of(self, [client, server]: &[Option<Secret>; 2]) -> Option<&Secret> {
        match self {
            By::Client => client.as_ref(),
            By::Server => server.as_ref(),
        }
    }
}

/// All secrets that were given.
#[derive(Default)]
pub(crate) struct Secrets {
    connections: FxHashMap<Random, Box<Known>>,
    order: VecDeque<Random>,
    /// Master secrets by session id or ticket.
    sessions: FxHashMap<Box<[u8]>, Secret>,
    session_order: VecDeque<Box<[u8]>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Takes whole lines; what is no line of a key log, a comment or an unknown label is passed over. Gives how many secrets
    /// were new.
    pub(crate) fn add(&mut self, lines: &[u8]) -> usize {
        lines.split(|&byte| byte == b'\n').filter(|line| self.add_line(line).is_some()).count()
    }

    fn add_line(&mut self, line: &[u8]) -> Option<()> {
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let (label, random, secret) = (words.next()?, words.next()?, words.next()?);
        let mut bytes = Zeroizing::new([0; SECRET_BYTES_MAX]);
        let secret = Secret::new(unhex(secret, &mut *bytes)?)?;
        let mut name = Random::default();
        if unhex(random, &mut name)?.len() != RANDOM_BYTES {
            return None;
        }
        if !is_label(label) {
            return None;
        }
        if !self.connections.contains_key(&name) {
            if self.order.len() >= SECRETS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.connections.remove(&oldest);
            }
            self.order.push_back(name);
        }
        let known = self.connections.entry(name).or_default();
        let place = match label {
            b"CLIENT_RANDOM" => &mut known.master,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => known.handshake.first_mut()?,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => known.handshake.last_mut()?,
            b"CLIENT_TRAFFIC_SECRET_0" => known.traffic.first_mut()?,
            _ => known.traffic.last_mut()?,
        };
        // A re-read file gives its lines again.
        place.is_none().then(|| *place = Some(secret))
    }

    /// What is known of the connection whose client said this random.
    pub(super) fn of(&self, random: &Random) -> Option<&Known> {
        self.connections.get(random).map(Box::as_ref)
    }

    /// The master secret of a session that this id or ticket resumes.
    pub(super) fn session(&self, name: &[u8]) -> Option<&Secret> {
        self.sessions.get(name)
    }

    /// Remembers a session of TLS 1.2 for those that resume it.
    pub(super) fn remember_session(&mut self, name: &[u8], master: &Secret) {
        if name.is_empty() || self.sessions.contains_key(name) {
            return;
        }
        if self.session_order.len() >= SESSIONS_MAX
            && let Some(oldest) = self.session_order.pop_front()
        {
            self.sessions.remove(&oldest);
        }
        self.session_order.push_back(name.into());
        self.sessions.insert(name.into(), master.clone());
    }
}

fn is_label(word: &[u8]) -> bool {
    let labels: [&[u8]; 5] = [
        b"CLIENT_RANDOM",
        b"CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        b"SERVER_HANDSHAKE_TRAFFIC_SECRET",
        b"CLIENT_TRAFFIC_SECRET_0",
        b"SERVER_TRAFFIC_SECRET_0",
    ];
    labels.contains(&word)
}

/// Hexadecimal digits as bytes, in `place`; `None` when they are none, an odd number, or more than there is room for.
fn unhex<'a>(digits: &[u8], place: &'a mut [u8]) -> Option<&'a [u8]> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|nibble| nibble as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return None;
    }
    let place = place.get_mut(..pairs.len())?;
    for (byte, [high, low]) in place.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_secrets_and_anything_else_is_passed_over() {
        let mut secrets = Secrets::default();
        let random = "0f".repeat(32);
        let lines = format!(
            "# a comment\r\nCLIENT_RANDOM {random} {m}\r\nCLIENT_RANDOM {random} xy\nCLIENT_RANDOM 00 {m}\n\
             SERVER_TRAFFIC_SECRET_0 {random} {t}\nEXPORTER_SECRET {random} {t}\nCLIENT_RANDOM {random}\n\n\
             CLIENT_TRAFFIC_SECRET_0 {random} {too_long}\n",
            m = "Ab".repeat(48),
            t = "cd".repeat(32),
            too_long = "00".repeat(49),
        );
        assert_eq!(secrets.add(lines.as_bytes()), 2);
        assert_eq!(secrets.add(lines.as_bytes()), 0, "the same lines again");
        let known = secrets.of(&[0x0f; 32]).expect("a connection");
        assert_eq!(known.master().expect("a secret").bytes(), [0xab; 48]);
        assert_eq!(known.traffic(By::Server).expect("a secret").bytes(), [0xcd; 32]);
        assert!(known.traffic(By::Client).is_none() && known.handshake(By::Server).is_none());
        let debug = format!("{secrets:?} {known:?}");
        assert!(!debug.contains("ab") && !debug.contains("171"), "{debug}");
    }

    #[test]
    fn secrets_are_bounded_and_the_first_goes() {
        let mut secrets = Secrets::default();
        for number in 0..SECRETS_MAX + 5 {
            secrets.add(format!("CLIENT_RANDOM {number:064x} 00").as_bytes());
        }
        assert_eq!(secrets.connections.len(), SECRETS_MAX);
        assert_eq!(secrets.order.len(), SECRETS_MAX);
        let mut first = [0; 32];
        assert!(secrets.of(&first).is_none());
        first[31] = 5;
        assert!(secrets.of(&first).is_some());
    }
}
