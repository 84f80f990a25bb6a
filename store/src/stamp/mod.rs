//! Time stamps (RFC 3161): somebody else's signed word that a checkpoint was there at some time.
//!
//! A checkpoint says when it was signed by our clock, and whoever has the signing key can write one for any day. A time-stamp
//! authority has its own clock and key. What it answers is kept as an event of the ledger, which makes it evidence like any
//! other line, and goes with the stamped note to the places that checkpoints are copied to.
//!
//! How a request travels is the caller's: [`Archive::stamp`] is handed a function that asks. An authority that is slow, dead or
//! lying costs a line in the log and nothing else.

pub(crate) mod authority;
pub(crate) mod der;
pub(crate) mod token;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use decode::Timestamp;
use sha2::{Digest, Sha256};

use crate::disk::{Disk, locked, read_whole};
use crate::event::{Event, What};
use crate::keys::random;
use crate::ledger::{self, Lines};
use crate::log::CHECKPOINT;
use crate::log::checkpoint::{Checkpoint, NOTE_MAX, Note};
use crate::scribe::{Command, Commands};
use crate::shared::{Shared, wall_clock};
use crate::trouble::Hindrance;
use crate::{Archive, Error};
use authority::Authorities;
use token::Token;

/// How long it takes until an authority that did not answer is asked again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// The longest of these waits.
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// A time stamp that was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The authority's time.
    pub at: Timestamp,
    /// Lines of the ledger that it covers.
    pub lines: u64,
    /// The checkpoint that it stamps: a signed note.
    pub note: String,
    /// The authority's reply (a TimeStampResp in DER), as `openssl ts -verify -in` takes it.
    pub reply: Vec<u8>,
}

/// Sends a request (a TimeStampReq in DER) to an authority and gives its reply; the error says what came in between.
pub type Ask = dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + Send;

/// What stops the thread that stamps. The thread holds the archive only while it holds `closed`, never while it asks.
#[derive(Debug)]
pub(crate) struct Stamper {
    closed: Arc<Mutex<bool>>,
    _stop: Sender<()>,
}

impl Stamper {
    /// Returns when the thread does nothing more to the archive; an authority that hangs is not waited for.
    pub(crate) fn close(&self) {
        *locked(&self.closed) = true;
    }
}

impl Archive {
    /// Has the newest checkpoint stamped now, and keeps the stamp.
    ///
    /// # Errors
    /// [`Error::NotStamped`] when the authority does not answer, refuses, or answers something else; as
    /// [`Archive::checkpoint`].
    pub fn stamp(&self, ask: &mut Ask) -> Result<Stamp, Error> {
        let commands = &self.handle.as_ref().ok_or(Error::Closed)?.commands;
        let stamp = checkpoint(&self.shared, commands)
            .and_then(|note| stamp(note, ask))
            .and_then(|stamp| keep(&self.shared, commands, &stamp).map(|()| stamp));
        stamp.map_err(|e| e.under(self.dir()))
    }

    /// From now on has the newest checkpoint stamped every so often, by a thread of its own. The first time when `every` has
    /// passed since the last stamp of the ledger, or at once.
    ///
    /// # Errors
    /// [`Error::Io`] when no thread can be started.
    pub fn stamp_every(&self, every: Duration, mut ask: Box<Ask>) -> Result<(), Error> {
        let commands = self.handle.as_ref().ok_or(Error::Closed)?.commands.clone();
        let (stop, stopped) = bounded(0);
        let closed = Arc::new(Mutex::new(false));
        let stamping =
            Stamping { shared: Arc::downgrade(&self.shared), commands, closed: Arc::clone(&closed), stopped };
        let run = move || stamping.run(every, &mut *ask);
        let thread = std::thread::Builder::new().name("archive-stamp".into()).spawn(run);
        thread.map_err(|e| Error::io(self.dir(), e))?;
        if let Some(before) = locked(&self.stamper).replace(Stamper { closed, _stop: stop }) {
            before.close();
        }
        Ok(())
    }
}

/// The newest checkpoint; one is made first if lines have come since the last.
fn checkpoint(shared: &Shared, commands: &Commands) -> Result<String, Error> {
    let (answer, result) = bounded(1);
    commands.send(Command::Checkpoint(answer))?;
    result.recv().map_err(|_| Error::Closed)??;
    let note =
        read_whole(&*shared.disk, CHECKPOINT, NOTE_MAX as u64).map_err(|e| Error::io(CHECKPOINT, e))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    note.ok_or_else(|| Error::damaged(CHECKPOINT, "it is no checkpoint"))
}

/// Asks, and believes the answer only if it is one to this request.
fn stamp(note: String, ask: &mut Ask) -> Result<Stamp, Error> {
    let not = |why: String| Error::NotStamped { why };
    let lines =
        Note::parse(&note).ok_or_else(|| Error::damaged(CHECKPOINT, "it is no checkpoint"))?.checkpoint.size;
    let imprint: [u8; 32] = Sha256::digest(&note).into();
    let nonce = token::nonce(*random());
    let reply = ask(&token::request(&imprint, &nonce)).map_err(not)?;
    let token = token::granted(&reply).map_err(not)?;
    let token =
        Token::parse(token).ok_or_else(|| not("what it sent holds no time stamp of SHA-256".into()))?;
    if token.nonce != Some(&nonce) {
        return Err(not("what it sent answers another request (its nonce is another)".into()));
    }
    if token.imprint != imprint {
        return Err(not("what it sent stamps something else".into()));
    }
    let at = token.at;
    Ok(Stamp { at, lines, note, reply })
}

/// Puts the stamp into the ledger, and beside the copies of checkpoints.
fn keep(shared: &Shared, commands: &Commands, stamp: &Stamp) -> Result<(), Error> {
    let token = token::granted(&stamp.reply).map_err(|why| Error::NotStamped { why })?;
    let what = What::Stamped {
        lines: stamp.lines,
        checkpoint: stamp.note.clone(),
        time: stamp.at,
        token: BASE64.encode(token),
    };
    let event = Box::new(Event::by_itself(wall_clock(), what));
    let (answer, result) = bounded(1);
    commands.send(Command::Event { event, answer })?;
    result.recv().map_err(|_| Error::Closed)??;
    if let Some(note) = Note::parse(&stamp.note) {
        shared.witnesses.tell_stamp(&note.checkpoint, &stamp.note, &stamp.reply);
    }
    Ok(())
}

/// The thread.
struct Stamping {
    shared: Weak<Shared>,
    commands: Commands,
    closed: Arc<Mutex<bool>>,
    stopped: Receiver<()>,
}

impl Stamping {
    fn run(&self, every: Duration, ask: &mut Ask) {
        let mut wait = self.with(|shared| until_due(newest(&shared.disk), wall_clock(), every));
        let mut retry = RETRY_FIRST;
        while let Some(until) = wait
            && self.stopped.recv_timeout(until) == Err(RecvTimeoutError::Timeout)
        {
            let note = self.with(|shared| checkpoint(shared, &self.commands));
            let stamped = note.map(|note| note.and_then(|note| stamp(note, ask)));
            let kept = stamped.and_then(|stamp| self.with(|shared| keep(shared, &self.commands, &stamp?)));
            let why = kept.as_ref().and_then(|kept| kept.as_ref().err()).map(ToString::to_string);
            let _ = self.with(|shared| shared.board.put(Hindrance::Stamping, why));
            wait = kept.map(|kept| match kept {
                Ok(()) => {
                    retry = RETRY_FIRST;
                    every
                }
                Err(e) => {
                    // Told once for each time that it begins to fail.
                    if retry == RETRY_FIRST {
                        tracing::warn!(error = %e, "no time stamp: asked for again later");
                    } else {
                        tracing::debug!(error = %e, "still no time stamp");
                    }
                    let next = (retry * 2).min(RETRY_MAX);
                    std::mem::replace(&mut retry, next).min(every)
                }
            });
        }
    }

    /// Does something to the archive, unless it was closed.
    fn with<T>(&self, f: impl FnOnce(&Shared) -> T) -> Option<T> {
        let closed = locked(&self.closed);
        if *closed {
            return None;
        }
        self.shared.upgrade().map(|shared| f(&shared))
    }
}

/// When the ledger's newest stamp was got, by our clock.
fn newest(disk: &Arc<dyn Disk>) -> Option<Timestamp> {
    let files = ledger::months(&**disk, ledger::EVENTS).unwrap_or_default();
    files.iter().rev().find_map(|file| {
        let events = Lines::<Event>::new(Arc::clone(disk), file.clone(), 0).flatten();
        events.filter(|event| matches!(event.what, What::Stamped { .. })).map(|event| event.at).last()
    })
}

/// How long it is until the next stamp. A last one that lies ahead is of a clock that was wrong.
fn until_due(last: Option<Timestamp>, now: Timestamp, every: Duration) -> Duration {
    let since = last.filter(|last| *last <= now).map(|last| Duration::from_millis(now.millis_since(last)));
    since.map_or(Duration::ZERO, |since| every.saturating_sub(since))
}

/// What an event of the ledger says of a stamp, held against the stamp itself.
pub(crate) struct Checked {
    /// The authority's time.
    pub(crate) at: Timestamp,
    /// The checkpoint that it stamps, whose signature is still to be looked at.
    pub(crate) checkpoint: Checkpoint,
}

/// Does the token stamp this note, and by one of these authorities? The error says what does not fit.
pub(crate) fn check(note: &str, encoded: &str, by: Option<&Authorities>) -> Result<Checked, String> {
    let bytes = BASE64.decode(encoded).map_err(|_| "its token cannot be read")?;
    let token = Token::parse(&bytes).ok_or("its token is no time stamp of SHA-256")?;
    if token.imprint != &Sha256::digest(note)[..] {
        return Err("it is not of the checkpoint that stands with it".into());
    }
    let checkpoint = Note::parse(note).ok_or("what it stamps is no checkpoint")?.checkpoint;
    by.map_or(Ok(()), |by| by.vouch_for(&token))?;
    Ok(Checked { at: token.at, checkpoint })
}

/// The reply that belongs to a token of the ledger, as `openssl ts -verify -in` takes it; none for what is no token.
#[must_use]
pub fn reply_of_token(encoded: &str) -> Option<Vec<u8>> {
    let token = BASE64.decode(encoded).ok()?;
    Token::parse(&token)?;
    Some(token::reply_of(&token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp by `openssl ts`, made by `tests/data/stamp/make.sh`.
    const NOTE: &str = include_str!("../../tests/data/stamp/note.checkpoint");
    const TOKEN: &[u8] = include_bytes!("../../tests/data/stamp/token.der");
    const CA: &[u8] = include_bytes!("../../tests/data/stamp/ca.pem");

    #[test]
    fn a_stamp_holds_for_its_own_note_and_authority_alone() {
        let by = Authorities::from_pem(CA).expect("a certificate");
        let token = BASE64.encode(TOKEN);
        let checked = check(NOTE, &token, Some(&by)).expect("holds");
        assert_eq!(checked.checkpoint.size, 12);
        assert!(check(&NOTE.replace("\n12\n", "\n13\n"), &token, None).is_err(), "another note");
        assert!(Authorities::from_pem(b"").is_err() && Authorities::from_pem(NOTE.as_bytes()).is_err());
    }

    #[test]
    fn no_flipped_bit_makes_a_stamp_say_something_else() {
        let by = Authorities::from_pem(CA).expect("a certificate");
        let at = check(NOTE, &BASE64.encode(TOKEN), Some(&by)).expect("holds").at;
        let mut held = 0;
        for place in 0..TOKEN.len() {
            let mut token = TOKEN.to_vec();
            token[place] ^= 1 << (place % 8);
            if let Ok(checked) = check(NOTE, &BASE64.encode(token), Some(&by)) {
                // Not everything in a token is signed: what is not, says nothing.
                assert_eq!(checked.at, at, "byte {place}");
                held += 1;
            }
        }
        assert!(held < TOKEN.len() / 4, "{held} of {} bytes do not matter", TOKEN.len());
    }

    #[test]
    fn a_token_cut_anywhere_is_none() {
        for len in 0..TOKEN.len() {
            assert!(Token::parse(&TOKEN[..len]).is_none(), "{len}");
        }
        let reply = token::reply_of(TOKEN);
        assert_eq!(token::granted(&reply), Ok(TOKEN));
    }

    #[test]
    fn a_stamp_is_due_when_its_time_has_passed_also_over_a_restart_and_a_wrong_clock() {
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let now = Timestamp::from_millis(1_795_000_000_000);
        assert_eq!(until_due(None, now, day), Duration::ZERO);
        assert_eq!(until_due(Some(now.plus_millis(-3_600_000)), now, day), day - hour);
        assert_eq!(until_due(Some(now.plus_millis(-90_000_000)), now, day), Duration::ZERO);
        assert_eq!(until_due(Some(now.plus_millis(1)), now, day), Duration::ZERO);
    }
}
