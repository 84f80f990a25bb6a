//! Who asks, and what they may: asked anew with each request, so that whoever is disabled is out at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use decode::Timestamp;
use policy::{Caller, Permission};
use store::{Archive, RecordingId, Row};

use super::App;
use super::refusal::Refusal;
use super::session::Who;
use super::token::Right;

/// As whom the holder of the link that works once asks.
pub(super) const CONSOLE: &str = "console";

/// What the place of a cookie begins with where a program asks, which no cookie does.
pub(super) const PROGRAM: &str = "token ";

/// The same where somebody has a link that a sender mailed.
pub(super) const LINK: &str = "link ";

/// Somebody who was let in, with all that may be asked.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// What is permitted.
    pub(super) caller: Caller,
    /// Whose session it is.
    pub(super) who: Who,
    /// Its cookie.
    pub(super) cookie: Arc<str>,
    /// From where.
    pub(super) peer: IpAddr,
    /// What comes before everything else.
    pub(super) first: Option<First>,
}

/// May somebody do what is about all calls, as a program with this right does: is there no call that is kept from them, and may they all that
/// goes with it?
pub(super) fn may_about_all(caller: &Caller, right: Right) -> bool {
    caller.sees_all() && right.of_account().iter().all(|permission| caller.may(*permission))
}

/// What somebody must do before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Choose another password.
    Password,
    /// Set up a second factor, because everybody must have one.
    SecondFactor,
}

impl Asker {
    /// # Errors
    /// [`Refusal::NoPage`]: what one may not do looks as what there is not.
    pub(super) fn need(&self, permission: Permission) -> Result<(), Refusal> {
        if self.caller.may(permission) { Ok(()) } else { Err(Refusal::NoPage) }
    }

    /// Is there a page of recordings for them?
    pub(super) fn sees_recordings(&self) -> bool {
        self.caller.sees_any()
    }

    /// The row of a recording that scope and filters admit.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] for one that is not there, and for one that is not theirs: they look alike.
    pub(super) fn row(&self, archive: &Archive, id: RecordingId) -> Result<Row, Refusal> {
        let row = archive.row(id).map_err(|error| match error {
            store::Error::NotFound { .. } => Refusal::NoPage,
            error => error.into(),
        })?;
        if self.caller.admits(&row) { Ok(row) } else { Err(Refusal::NoPage) }
    }

    /// The same, with a permission.
    ///
    /// # Errors
    /// As [`Asker::row`].
    pub(super) fn permitted(
        &self,
        archive: &Archive,
        id: RecordingId,
        permission: Permission,
    ) -> Result<Row, Refusal> {
        self.need(permission)?;
        self.row(archive, id)
    }
}

impl App {
    /// Whose session these headers carry the cookie of. That counts as a use of it.
    pub(super) fn session(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Option<Asker> {
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let (cookie, (who, since)) = cookies
            .flat_map(|field| field.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(given, _)| *given == name)
            .find_map(|(_, value)| Some((value, self.door().knows(value, now)?)))?;
        self.asker(who, since, cookie.into(), peer)
    }

    /// Somebody who was let in earlier, with what they may now, for what goes on by itself: that is no use of the session. None when it
    /// has ended, or the account is gone.
    pub(super) fn still(&self, asker: &Asker, now: Instant) -> Option<Asker> {
        let (who, since) = self.door().peek(&asker.cookie, now)?;
        self.asker(who, since, Arc::clone(&asker.cookie), asker.peer)
    }

    /// The same, for what is a use of it.
    pub(super) fn used(&self, asker: &Asker, now: Instant) -> Option<Asker> {
        let (who, since) = self.door().knows(&asker.cookie, now)?;
        self.asker(who, since, Arc::clone(&asker.cookie), asker.peer)
    }

    /// May what they began to take be taken to its end?
    pub(super) fn goes_on(&self, asker: &Asker, now: Instant) -> bool {
        match &asker.who {
            // Whoever has a link has no session either: the sender's rights are what counts.
            who if asker.cookie.starts_with(LINK) => self.sender(who).is_some(),
            // A program has no session.
            Who::Account(name) if asker.cookie.starts_with(PROGRAM) => {
                self.has_program(&asker.cookie) && self.archive().caller(name, self.now()).is_some()
            }
            _ => self.used(asker, now).is_some(),
        }
    }

    /// Does the token that an asker came with still count?
    fn has_program(&self, cookie: &str) -> bool {
        let Some(name) = cookie.strip_prefix(PROGRAM) else { return false };
        let is_kept =
            |now| self.archive().accounts().token(name).is_some_and(|token| !token.has_expired(now));
        self.0.tokens.all().iter().any(|token| token.name() == name) || is_kept(self.now())
    }

    /// Somebody with what they may at this moment; none for an account that is gone or disabled.
    fn asker(&self, who: Who, since: Timestamp, cookie: Arc<str>, peer: IpAddr) -> Option<Asker> {
        let (caller, first) = match &who {
            Who::Console => (Caller::console(CONSOLE), None),
            Who::Account(name) => self.account(name, since)?,
        };
        Some(Asker { caller, who, cookie, peer, first })
    }
}
