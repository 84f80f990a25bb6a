//! Handshake messages of TLS, as far as they say how records are read (RFC 5246, 7.4; RFC 8446, 4).

use super::keylog::{RANDOM_BYTES, Random};

/// A ServerHello with this random asks for another ClientHello (RFC 8446, 4.1.3): the hash of "HelloRetryRequest".
const RETRY_RANDOM: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Bytes of one handshake message that are kept; of a longer one nothing is read.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPT_THEN_MAC: u16 = 22;
const SESSION_TICKET: u16 = 35;
const SUPPORTED_VERSIONS: u16 = 43;

/// Types of handshake messages.
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const NEW_SESSION_TICKET: u8 = 4;
pub(super) const FINISHED: u8 = 20;
pub(super) const KEY_UPDATE: u8 = 24;

/// What a ClientHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) random: Random,
    pub(super) session: Vec<u8>,
    pub(super) ticket: Vec<u8>,
    /// It names SIP as what it wants to speak, or a server of that name.
    pub(super) is_sip: bool,
}

/// What a ServerHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) version: u16,
    pub(super) random: Random,
    pub(super) session: Vec<u8>,
    pub(super) suite: u16,
    pub(super) encrypt_then_mac: bool,
    /// It only asks for another ClientHello.
    pub(super) is_retry: bool,
}

/// Takes lengths and numbers off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.bytes(2)?.first_chunk()?))
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    fn random(&mut self) -> Option<Random> {
        self.bytes(RANDOM_BYTES)?.first_chunk().copied()
    }

    /// Extensions by type, to the end; a broken one ends them.
    fn extensions(mut self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut list = Cursor(self.long().unwrap_or_default());
        std::iter::from_fn(move || Some((list.u16()?, list.long()?)))
    }
}

impl ClientHello {
    /// From the body of the message.
    pub(super) fn parse(body: &[u8]) -> Option<ClientHello> {
        let mut cursor = Cursor(body);
        let version = cursor.u16()?;
        let random = cursor.random()?;
        let session = cursor.short()?.to_vec();
        let suites = cursor.long()?;
        let _compression = cursor.short()?;
        if version >> 8 != 3 || suites.is_empty() {
            return None;
        }
        let mut hello = ClientHello { random, session, ticket: Vec::new(), is_sip: false };
        for (kind, content) in cursor.extensions() {
            match kind {
                SERVER_NAME => hello.is_sip |= names_sip_server(content),
                ALPN => hello.is_sip |= offers_sip(content),
                SESSION_TICKET => hello.ticket = content.to_vec(),
                _ => {}
            }
        }
        Some(hello)
    }
}

impl ServerHello {
    /// From the body of the message.
    pub(super) fn parse(body: &[u8]) -> Option<ServerHello> {
        let mut cursor = Cursor(body);
        let version = cursor.u16()?;
        let random = cursor.random()?;
        let session = cursor.short()?.to_vec();
        let suite = cursor.u16()?;
        let _compression = cursor.u8()?;
        let is_retry = random == RETRY_RANDOM;
        let mut hello = ServerHello { version, random, session, suite, encrypt_then_mac: false, is_retry };
        for (kind, content) in cursor.extensions() {
            match kind {
                SUPPORTED_VERSIONS => hello.version = Cursor(content).u16().unwrap_or(version),
                ENCRYPT_THEN_MAC => hello.encrypt_then_mac = true,
                _ => {}
            }
        }
        Some(hello)
    }
}

/// The ticket in a NewSessionTicket of TLS 1.2 (RFC 5077, 3.3).
pub(super) fn ticket(body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor(body);
    cursor.bytes(4)?;
    cursor.long()
}

/// A name whose first label is sip or sips (RFC 6066, 3).
fn names_sip_server(content: &[u8]) -> bool {
    let mut list = Cursor(Cursor(content).long().unwrap_or_default());
    std::iter::from_fn(move || Some((list.u8()?, list.long()?))).any(|(_, name)| {
        let label = name.split(|&byte| byte == b'.').next().unwrap_or_default();
        label.eq_ignore_ascii_case(b"sip") || label.eq_ignore_ascii_case(b"sips")
    })
}

/// `sip`, `sip/2` and their like among the protocols (RFC 7301).
fn offers_sip(content: &[u8]) -> bool {
    let mut list = Cursor(Cursor(content).long().unwrap_or_default());
    std::iter::from_fn(move || list.short())
        .any(|name| name.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"sip")))
}

/// Joins handshake messages, which records cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    unread: Vec<u8>,
    to_pass: usize,
}

impl Joiner {
    /// Forgets what is not complete.
    pub(super) fn clear(&mut self) {
        *self = Joiner::default();
    }

    /// Takes a record's bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let passed = self.to_pass.min(bytes.len());
        self.to_pass -= passed;
        self.unread.extend_from_slice(bytes.get(passed..).unwrap_or_default());
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> usize {
        self.unread.capacity()
    }

    /// The next message: its type and body; the body is empty when nobody would read it.
    pub(super) fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let &[kind, a, b, c, ..] = self.unread.as_slice() else { return None };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let end = length.saturating_add(4);
        let is_read =
            matches!(kind, CLIENT_HELLO | SERVER_HELLO | NEW_SESSION_TICKET | FINISHED | KEY_UPDATE);
        if is_read && length <= MESSAGE_BYTES_MAX {
            let body = self.unread.get(4..end)?.to_vec();
            self.unread.drain(..end);
            return Some((kind, body));
        }
        self.to_pass = end.saturating_sub(self.unread.len());
        self.unread.drain(..end.min(self.unread.len()));
        Some((kind, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 1, 2]);
        body.extend([0, 2, 0x13, 0x01, 1, 0]);
        let mut list = Vec::new();
        for (kind, content) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend((content.len() as u16).to_be_bytes());
            list.extend(*content);
        }
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        body
    }

    #[test]
    fn a_client_that_asks_for_sip_says_so_by_protocol_or_by_name() {
        let is_sip = |extension: (u16, &[u8])| {
            ClientHello::parse(&client_hello(&[(10, b"x"), extension])).expect("a hello").is_sip
        };
        assert!(is_sip((ALPN, b"\0\x09\x02h2\x05sip/2")));
        assert!(!is_sip((ALPN, b"\0\x0c\x02h2\x08http/1.1")));
        assert!(is_sip((SERVER_NAME, b"\0\x12\0\0\x0fsip.example.com")));
        assert!(!is_sip((SERVER_NAME, b"\0\x13\0\0\x10gossip.example.c")));
        assert!(!is_sip((SERVER_NAME, b"\xff\xff")));
    }

    #[test]
    fn a_hello_cut_anywhere_is_none_or_has_fewer_extensions() {
        let whole = client_hello(&[(SESSION_TICKET, b"ticket")]);
        assert_eq!(ClientHello::parse(&whole).expect("a hello").ticket, b"ticket");
        for end in 0..whole.len() {
            let hello = ClientHello::parse(&whole[..end]);
            assert!(hello.is_none_or(|hello| hello.ticket.is_empty()), "{end}");
        }
    }

    #[test]
    fn messages_are_joined_and_long_ones_passed_over() {
        let mut joiner = Joiner::default();
        let certificate = [&[11, 1, 0, 0][..], &[9; 0x1_0000]].concat();
        let stream = [&certificate[..], &[SERVER_HELLO, 0, 0, 2, 5, 6], &[FINISHED, 0, 0, 1, 1]].concat();
        for size in [1, 7, 70_000] {
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                joiner.push(piece);
                while let Some(message) = joiner.next() {
                    seen.push(message);
                }
                assert!(joiner.kept() < 150_000);
            }
            assert_eq!(seen, [(11, vec![]), (SERVER_HELLO, vec![5, 6]), (FINISHED, vec![1])]);
        }
    }
}
