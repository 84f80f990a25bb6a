//! One TLS connection, followed with the secrets of a key log: records over any segments, versions 1.2 and 1.3 (RFC 5246,
//! RFC 8446).
//!
//! What was sealed before its key is known waits, in the order of the capture, for a bounded time and size: a program
//! writes its key log when the handshake is done. Records that the capture lost cost what was in them; the next whole
//! record is found again by its number. Nothing is checked but what opening a record needs: certificates, signatures and
//! the Finished messages are the parties' business.

mod cipher;
mod hello;
mod keylog;
mod suite;

use std::collections::VecDeque;

use super::Way;
use crate::time::Timestamp;
use cipher::{HEADER_BYTES, Header, Opener};
use hello::{ClientHello, Joiner, ServerHello};
pub use keylog::SECRETS_MAX;
pub(crate) use keylog::Secrets;
use keylog::{By, Known, Secret};
use suite::Suite;

/// Sealed bytes of one connection that wait for a key; more gives it up.
pub const WAITING_BYTES_MAX: usize = 64 * 1024;
/// Milliseconds of capture time that sealed bytes wait for a key.
pub const KEY_WAIT_MS: u64 = 10_000;
/// Longest record: 16 KiB of content and what versions before 1.3 may add (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048;
/// Records of TLS 1.3 that no key of the handshake opens and that are passed over, as early data is (RFC 8446, 4.2.10).
const PASSED_RECORDS_MAX: u32 = 256;
/// Behind a gap, so many records may be missing.
const LOST_RECORDS_MAX: u64 = 64;
/// Bytes behind a gap in which a whole record must be found.
const SEARCHED_BYTES_MAX: usize = 256 * 1024;
/// Places behind a gap that are tried per look.
const PLACES_MAX: usize = 16;

/// Why a connection cannot be read (any more).
pub(super) type Unread = &'static str;
pub(super) const NO_KEY: Unread = "no key";
pub(super) const JOINED_LATE: Unread = "its beginning is not in the capture";
const WRONG_KEY: Unread = "the key does not fit";
const SUITE: Unread = "a cipher suite that is not read";
const VERSION: Unread = "a version that is not read";
const LOST: Unread = "a piece is missing in the capture";

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It cannot be told yet.
    Wait,
    /// A hello: the beginning of a connection.
    Hello,
    /// Another record.
    Record,
    No,
}

/// Tells by the first bytes.
pub(super) fn look(bytes: &[u8]) -> Look {
    match *bytes {
        [20..=24] | [20..=24, 3] | [20..=24, 3, 0..=4, ..] if bytes.len() < HEADER_BYTES + 1 => Look::Wait,
        [kind @ 20..=24, 3, 0..=4, a, b, first, ..] => {
            let length = usize::from(u16::from_be_bytes([a, b]));
            match (kind, first) {
                _ if length == 0 || length > RECORD_BYTES_MAX => Look::No,
                (HANDSHAKE, hello::CLIENT_HELLO | hello::SERVER_HELLO) => Look::Hello,
                _ => Look::Record,
            }
        }
        _ => Look::No,
    }
}

/// Content of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) way: Way,
    /// When the record came.
    pub(super) at: Timestamp,
    pub(super) bytes: &'a [u8],
    /// Content before it is missing.
    pub(super) after_gap: bool,
}

/// Where opened content goes.
pub(super) type Sink<'s> = dyn FnMut(Opened<'_>) + 's;

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    client: Option<Way>,
    hello: Option<ClientHello>,
    server: Option<Server>,
    sides: [Side; 2],
    waiting: VecDeque<Sealed>,
    waiting_bytes: usize,
    /// TLS 1.2: of the session that runs.
    master: Option<Secret>,
}

/// What was agreed on.
#[derive(Debug)]
struct Server {
    suite: Suite,
    is_13: bool,
    hello: ServerHello,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    handshake: Joiner,
    phase: Phase,
    opener: Option<Opener>,
    /// The key that comes after the next change.
    next: Option<Opener>,
    /// Bytes are missing, and no record was found since.
    lost: bool,
    /// Records are missing: the number of the next one is not known.
    skipped: bool,
    /// The same for who reads the content.
    gap: bool,
    searched: usize,
    passed: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Clear,
    /// TLS 1.3: under the keys of the handshake.
    Handshake,
    /// Under the keys for content; in TLS 1.2 from ChangeCipherSpec on.
    Sealed,
}

/// A record that waits for its key.
#[derive(Debug)]
struct Sealed {
    at: Timestamp,
    way: Way,
    header: Header,
    body: Vec<u8>,
}

/// What stands at the beginning of bytes that should be records.
enum Parsed<'a> {
    Wait,
    Record(Header, &'a [u8]),
    Broken,
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(&header) = bytes.first_chunk::<HEADER_BYTES>() else { return Parsed::Wait };
    let [20..=24, 3, 0..=4, a, b] = header else { return Parsed::Broken };
    let length = usize::from(u16::from_be_bytes([a, b]));
    if length > RECORD_BYTES_MAX {
        return Parsed::Broken;
    }
    match bytes.get(HEADER_BYTES..HEADER_BYTES.saturating_add(length)) {
        Some(body) => Parsed::Record(header, body),
        None => Parsed::Wait,
    }
}

impl Session {
    /// Bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        let joined = self.sides.iter().map(|side| side.handshake.kept()).fold(0, usize::saturating_add);
        self.waiting_bytes.saturating_add(joined)
    }

    /// Which way the client speaks, once it is known.
    pub(super) fn client(&self) -> Option<Way> {
        self.client
    }

    /// Did the client say that it wants SIP?
    pub(super) fn asks_for_sip(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.is_sip)
    }

    /// Is a key waited for?
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Has a key been waited for in vain?
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        self.waiting.front().is_some_and(|first| now.millis_since(first.at) > KEY_WAIT_MS)
    }

    /// Reads a direction's whole records; gives how many bytes are of no more use. `lost` says that bytes before these are
    /// missing. Without `secrets` no key is waited for.
    pub(super) fn read(
        &mut self,
        way: Way,
        bytes: &[u8],
        lost: bool,
        at: Timestamp,
        secrets: &mut Option<Secrets>,
        sink: &mut Sink<'_>,
    ) -> (usize, Result<(), Unread>) {
        if lost {
            way.of_mut(&mut self.sides).lose();
        }
        let mut read = 0_usize;
        loop {
            if way.of(&self.sides).lost {
                match way.of_mut(&mut self.sides).find_place(bytes.get(read..).unwrap_or_default()) {
                    Ok((skip, found)) => {
                        read = read.saturating_add(skip);
                        if !found {
                            return (read, Ok(()));
                        }
                    }
                    Err(why) => return (bytes.len(), Err(why)),
                }
            }
            match parse(bytes.get(read..).unwrap_or_default()) {
                Parsed::Wait => return (read, Ok(())),
                Parsed::Record(header, body) => {
                    read = read.saturating_add(HEADER_BYTES).saturating_add(body.len());
                    if let Err(why) = self.record(way, at, header, body, secrets, sink) {
                        return (bytes.len(), Err(why));
                    }
                }
                Parsed::Broken => way.of_mut(&mut self.sides).lose(),
            }
        }
    }

    /// New secrets have come: opens what waited for them.
    pub(super) fn resume(&mut self, secrets: &mut Secrets, sink: &mut Sink<'_>) -> Result<(), Unread> {
        self.make_keys(Some(&mut *secrets));
        self.open_waiting(secrets, sink)
    }

    /// One record, whole.
    fn record(
        &mut self,
        way: Way,
        at: Timestamp,
        header: Header,
        body: &[u8],
        secrets: &mut Option<Secrets>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unread> {
        let [kind, ..] = header;
        let is_sealed = match way.of(&self.sides).phase {
            Phase::Clear => kind == APPLICATION_DATA,
            // Since 1.3 seals everything as application data, what else comes is in clear: an alert, or the
            // ChangeCipherSpec of RFC 8446, D.4.
            Phase::Handshake | Phase::Sealed => !self.is_13() || kind == APPLICATION_DATA,
        };
        if !is_sealed {
            return self.content(way, at, kind, body, false, secrets.as_mut(), sink);
        }
        if self.waiting.is_empty() && way.of(&self.sides).has_key() {
            return self.open(way, at, &header, body, secrets.as_mut(), sink);
        }
        if secrets.is_none() {
            return Err(NO_KEY);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(body.len());
        if self.waiting_bytes > WAITING_BYTES_MAX {
            return Err(NO_KEY);
        }
        self.waiting.push_back(Sealed { at, way, header, body: body.to_vec() });
        Ok(())
    }

    /// Opens a record; one that lacks early data's key is passed over.
    fn open(
        &mut self,
        way: Way,
        at: Timestamp,
        header: &Header,
        body: &[u8],
        secrets: Option<&mut Secrets>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unread> {
        let is_13 = self.is_13();
        let side = way.of_mut(&mut self.sides);
        if let Some((kind, content)) = side.open(header, body) {
            return self.content(way, at, kind, &content, true, secrets, sink);
        }
        if side.skipped {
            // What was taken for a record behind a gap may be none.
            side.lose();
            return Ok(());
        }
        side.passed = side.passed.saturating_add(1);
        if is_13 && side.phase == Phase::Handshake && side.passed <= PASSED_RECORDS_MAX {
            return Ok(());
        }
        Err(WRONG_KEY)
    }

    /// What a record held.
    #[allow(clippy::too_many_arguments, reason = "where the bytes came from, and who takes what is in them")]
    fn content(
        &mut self,
        way: Way,
        at: Timestamp,
        kind: u8,
        bytes: &[u8],
        was_sealed: bool,
        mut secrets: Option<&mut Secrets>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unread> {
        match kind {
            // Version 1.3 has one for show, perhaps before the version is agreed on (RFC 8446, D.4).
            CHANGE_CIPHER_SPEC if self.server.is_some() && !self.is_13() => {
                let side = way.of_mut(&mut self.sides);
                side.phase = Phase::Sealed;
                side.opener = side.next.take();
            }
            HANDSHAKE => {
                way.of_mut(&mut self.sides).handshake.push(bytes);
                while let Some((kind, body)) = way.of_mut(&mut self.sides).handshake.next() {
                    self.message(way, kind, &body, was_sealed, secrets.as_deref_mut())?;
                }
            }
            APPLICATION_DATA if was_sealed => {
                let after_gap = std::mem::take(&mut way.of_mut(&mut self.sides).gap);
                sink(Opened { way, at, bytes, after_gap });
            }
            _ => {}
        }
        match secrets {
            Some(secrets) if !was_sealed => self.open_waiting(secrets, sink),
            _ => Ok(()),
        }
    }

    /// One handshake message.
    fn message(
        &mut self,
        way: Way,
        kind: u8,
        body: &[u8],
        was_sealed: bool,
        secrets: Option<&mut Secrets>,
    ) -> Result<(), Unread> {
        match kind {
            hello::CLIENT_HELLO => {
                if let Some(hello) = ClientHello::parse(body) {
                    if self.server.is_some() && self.hello.is_some() && !was_sealed {
                        // Another connection, whose SYN was not seen.
                        *self = Session::default();
                    }
                    self.client = Some(way);
                    self.hello = Some(hello);
                    self.make_keys(secrets);
                }
            }
            hello::SERVER_HELLO => {
                if let Some(hello) = ServerHello::parse(body).filter(|hello| !hello.is_retry) {
                    self.agree(way, hello)?;
                    self.make_keys(secrets);
                }
            }
            hello::NEW_SESSION_TICKET if !self.is_13() => {
                if let (Some(secrets), Some(master), Some(ticket)) =
                    (secrets, &self.master, hello::ticket(body))
                {
                    secrets.remember_session(ticket, master);
                }
            }
            hello::FINISHED if self.is_13() && was_sealed => {
                let side = way.of_mut(&mut self.sides);
                if side.phase == Phase::Handshake {
                    side.phase = Phase::Sealed;
                    side.opener = side.next.take();
                    self.make_keys(secrets);
                }
            }
            hello::KEY_UPDATE if self.is_13() && was_sealed => {
                let side = way.of_mut(&mut self.sides);
                side.opener = side.opener.as_ref().and_then(Opener::updated);
            }
            _ => {}
        }
        Ok(())
    }

    fn agree(&mut self, way: Way, hello: ServerHello) -> Result<(), Unread> {
        let (is_13, suite) = match hello.version {
            TLS13 => (true, Suite::tls13(hello.suite)),
            TLS12 => (false, Suite::tls12(hello.suite)),
            _ => return Err(VERSION),
        };
        let suite = suite.ok_or(SUITE)?;
        self.client.get_or_insert(way.other());
        self.server = Some(Server { suite, is_13, hello });
        self.master = None;
        if is_13 {
            for side in &mut self.sides {
                side.phase = Phase::Handshake;
            }
        }
        Ok(())
    }

    fn is_13(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_13)
    }

    /// Makes what keys can be made by now.
    fn make_keys(&mut self, secrets: Option<&mut Secrets>) {
        let (Some(client), Some(hello), Some(server), Some(secrets)) =
            (self.client, &self.hello, &self.server, secrets)
        else {
            return;
        };
        let known = secrets.of(&hello.random);
        if server.is_13 {
            let Some(known) = known else { return };
            for (way, by) in [(client, By::Client), (client.other(), By::Server)] {
                way.of_mut(&mut self.sides).make_keys(server.suite, known, by);
            }
            return;
        }
        if self.master.is_some() && self.sides.iter().all(|side| side.next.is_some() || side.opener.is_some())
        {
            return;
        }
        let master = known
            .and_then(Known::master)
            .or_else(|| secrets.session(&server.hello.session))
            .or_else(|| secrets.session(&hello.ticket));
        let Some(master) = master.cloned() else { return };
        let made = Opener::tls12(
            server.suite,
            server.hello.encrypt_then_mac,
            &master,
            &hello.random,
            &server.hello.random,
        );
        let Some([of_client, of_server]) = made else { return };
        secrets.remember_session(&server.hello.session, &master);
        self.master = Some(master);
        for (way, opener) in [(client, of_client), (client.other(), of_server)] {
            let side = way.of_mut(&mut self.sides);
            if side.phase == Phase::Sealed && side.opener.is_none() {
                side.opener = Some(opener);
            } else {
                side.next = Some(opener);
            }
        }
    }

    /// Opens what waits, in order, as far as there are keys.
    fn open_waiting(&mut self, secrets: &mut Secrets, sink: &mut Sink<'_>) -> Result<(), Unread> {
        while let Some(first) = self.waiting.front() {
            if way_is_closed(&self.sides, first.way) {
                return Ok(());
            }
            let Some(Sealed { at, way, header, body }) = self.waiting.pop_front() else { return Ok(()) };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(body.len());
            self.open(way, at, &header, &body, Some(&mut *secrets), sink)?;
        }
        Ok(())
    }
}

/// Is there no key for this direction's next record, or is it not yet known how it is sealed?
fn way_is_closed(sides: &[Side; 2], way: Way) -> bool {
    let side = way.of(sides);
    side.phase == Phase::Clear || !side.has_key()
}

impl Side {
    fn has_key(&self) -> bool {
        self.opener.is_some() || (self.phase == Phase::Handshake && self.next.is_some())
    }

    fn lose(&mut self) {
        (self.lost, self.skipped, self.gap, self.searched) = (true, true, true, 0);
        self.handshake.clear();
    }

    /// TLS 1.3.
    fn make_keys(&mut self, suite: Suite, known: &Known, by: By) {
        let make = |secret: Option<&Secret>| secret.and_then(|secret| Opener::tls13(suite, secret));
        if self.phase == Phase::Handshake {
            self.opener = self.opener.take().or_else(|| make(known.handshake(by)));
            self.next = self.next.take().or_else(|| make(known.traffic(by)));
        } else if self.phase == Phase::Sealed && self.opener.is_none() {
            self.opener = make(known.traffic(by));
        }
    }

    /// Opens a record with the key that is due, or with the next one when the change was not seen.
    fn open(&mut self, header: &Header, body: &[u8]) -> Option<(u8, Vec<u8>)> {
        let window = if self.skipped { LOST_RECORDS_MAX } else { 1 };
        let mut opened = self.opener.as_mut().and_then(|opener| opener.open_from(window, header, body));
        if opened.is_none() && self.phase == Phase::Handshake {
            opened = self.next.as_mut().and_then(|next| next.open_from(window, header, body));
            if opened.is_some() {
                self.opener = self.next.take();
                self.phase = Phase::Sealed;
                self.handshake.clear();
            }
        }
        if opened.is_some() {
            self.skipped = false;
        }
        opened
    }

    /// Behind a gap: how many bytes to skip, and whether a record stands there. With a key, a record is one that opens;
    /// without, what looks like one and ends where another begins.
    fn find_place(&mut self, bytes: &[u8]) -> Result<(usize, bool), Unread> {
        let mut tried = 0;
        for at in 0..bytes.len() {
            let (header, body) = match parse(bytes.get(at..).unwrap_or_default()) {
                Parsed::Broken => continue,
                Parsed::Wait => return Ok((at, false)),
                Parsed::Record(header, body) => (header, body),
            };
            let found = if self.has_key() {
                tried += 1;
                self.fits(&header, body)
            } else {
                let after = at.saturating_add(HEADER_BYTES).saturating_add(body.len());
                !matches!(parse(bytes.get(after..).unwrap_or_default()), Parsed::Broken)
            };
            if found {
                self.lost = false;
                return Ok((at, true));
            }
            if tried >= PLACES_MAX {
                break;
            }
        }
        self.searched = self.searched.saturating_add(bytes.len());
        if self.searched > SEARCHED_BYTES_MAX { Err(LOST) } else { Ok((bytes.len(), false)) }
    }

    fn fits(&self, header: &Header, body: &[u8]) -> bool {
        let opens = |opener: &Option<Opener>| {
            opener.as_ref().is_some_and(|opener| opener.fits(LOST_RECORDS_MAX, header, body))
        };
        opens(&self.opener) || (self.phase == Phase::Handshake && opens(&self.next))
    }
}

#[cfg(test)]
mod tests;
