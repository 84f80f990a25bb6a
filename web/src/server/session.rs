//! Who is let in: one link that works once, one session behind it, an end when nobody uses it.
//!
//! There are no passwords and no users yet: whoever can read the terminal where the pages are served may listen. Secrets
//! are 128 random bits, compared in constant time, and never printed by `Debug`. The time comes as an argument.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// A session that nobody used for so long has ended.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// Random bytes of a secret.
const SECRET_BYTES: usize = 16;

/// The way in, and who has come in by it.
#[derive(Debug)]
pub(super) struct Door {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the link carries, until it is used.
    token: Option<Secret>,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    secret: Secret,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) > IDLE_MAX
    }
}

impl Door {
    /// A door, and the token that opens it once.
    pub(super) fn new() -> (Door, String) {
        let token = Secret::new();
        let text = token.0.clone();
        (Door { state: Mutex::new(State { token: Some(token), session: None }) }, text)
    }

    /// Uses the token up: gives the value of the session's cookie when it is the right one.
    pub(super) fn enter(&self, token: &str, now: Instant) -> Option<String> {
        let mut state = self.lock();
        state.token.take_if(|secret| secret.is(token))?;
        let secret = Secret::new();
        let cookie = secret.0.clone();
        state.session = Some(Session { secret, used: now });
        Some(cookie)
    }

    /// Does the cookie belong to the running session? That counts as a use of it.
    pub(super) fn knows(&self, cookie: &str, now: Instant) -> bool {
        let mut state = self.lock();
        let session = state.session.as_mut().filter(|s| s.secret.is(cookie) && !s.is_over(now));
        session.map(|session| session.used = now).is_some()
    }

    /// Listening is a use, too: called while audio leaves for somebody who was let in.
    pub(super) fn keep_open(&self, now: Instant) {
        if let Some(session) = self.lock().session.as_mut().filter(|session| !session.is_over(now)) {
            session.used = now;
        }
    }

    /// A new token once the session has ended by itself; none while one is open or a token still waits.
    pub(super) fn renew(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        state.session.take_if(|session| session.is_over(now))?;
        let token = Secret::new();
        let text = token.0.clone();
        state.token = Some(token);
        Some(text)
    }

    /// Nothing here can be left half done, so a panic elsewhere makes it no worse.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 128 random bits in hexadecimal.
struct Secret(String);

impl Secret {
    /// # Panics
    /// When the operating system has no random numbers to give; nobody can be told from anybody then.
    fn new() -> Secret {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let mut text = String::with_capacity(2 * SECRET_BYTES);
        for byte in bytes {
            // A String takes everything.
            let _ = write!(text, "{byte:02x}");
        }
        Secret(text)
    }

    /// Takes the same time wherever the first difference is.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_128_bits_and_opens_once() {
        let now = Instant::now();
        let (door, token) = Door::new();
        assert_eq!((token.len(), Door::new().1 == token), (32, false));
        for wrong in ["", "0", &token[1..], &token.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")]
        {
            assert_eq!(door.enter(wrong, now), None, "{wrong}");
        }
        let cookie = door.enter(&token, now).expect("the right token");
        assert!(cookie != token && door.knows(&cookie, now));
        assert_eq!(door.enter(&token, now), None, "a second time");
        assert!(!door.knows(&token, now) && !door.knows("", now));
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_lasts_while_it_is() {
        let start = Instant::now();
        let (door, token) = Door::new();
        let cookie = door.enter(&token, start).expect("the right token");
        let mut now = start;
        for _ in 0..10 {
            now += IDLE_MAX;
            assert!(door.knows(&cookie, now));
        }
        now += IDLE_MAX;
        door.keep_open(now);
        now += IDLE_MAX;
        assert!(door.knows(&cookie, now), "audio was leaving");
        now += IDLE_MAX + Duration::from_millis(1);
        door.keep_open(now);
        assert!(!door.knows(&cookie, now), "an ended session does not come back");
    }

    #[test]
    fn a_new_token_comes_when_a_session_has_ended_and_at_no_other_time() {
        let start = Instant::now();
        let (door, token) = Door::new();
        assert_eq!(door.renew(start + 2 * IDLE_MAX), None, "the first token still waits");
        let cookie = door.enter(&token, start).expect("the right token");
        assert_eq!(door.renew(start + IDLE_MAX), None, "the session is open");
        let later = start + IDLE_MAX + Duration::from_millis(1);
        let second = door.renew(later).expect("a new token");
        assert_eq!(door.renew(later), None, "one at a time");
        assert!(door.enter(&token, later).is_none() && !door.knows(&cookie, later));
        assert!(door.enter(&second, later).is_some());
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let (door, token) = Door::new();
        assert!(!format!("{door:?}").contains(&token));
    }
}
