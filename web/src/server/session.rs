//! Who is let in: by a link that works once, or by signing in; a session behind it, and its end when nobody uses it.
//!
//! Secrets are 128 random bits, compared in constant time, and never printed by `Debug`. The time comes as an argument.
//! What somebody may do is asked anew with each request (`caller`): a session says who somebody is, and nothing else.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use decode::Timestamp;
use subtle::ConstantTimeEq;

/// A session that nobody used for so long has ended.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// No session lasts longer, however much it is used.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at the same time; whoever has not used theirs for longest is signed out for one more.
const SESSIONS_MAX: usize = 1_000;
/// Sessions of one account at the same time.
pub(super) const SESSIONS_OF_ONE_MAX: usize = 10;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 16;

/// Whom a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Whoever can read what the process says where it was started.
    Console,
    /// An account, by its user name.
    Account(String),
}

/// The ways in, and who has come in.
#[derive(Debug)]
pub(super) struct Door {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the link carries, until it is used.
    token: Option<Secret>,
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    secret: Secret,
    who: Who,
    begun: Instant,
    /// The same by the clock, which accounts are judged by.
    begun_at: Timestamp,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) > IDLE_MAX
            || now.saturating_duration_since(self.begun) > AGE_MAX
    }
}

impl Door {
    /// A door, and the token that opens it once.
    pub(super) fn new() -> (Door, String) {
        let token = Secret::new();
        let text = token.0.clone();
        (Door { state: Mutex::new(State { token: Some(token), sessions: Vec::new() }) }, text)
    }

    /// Uses the token up: gives the value of the session's cookie when it is the right one.
    pub(super) fn enter(&self, token: &str, now: Instant) -> Option<String> {
        let mut state = self.lock();
        state.token.take_if(|secret| secret.is(token))?;
        Some(state.open(Who::Console, Timestamp::default(), now))
    }

    /// Begins a session of somebody who has shown who they are; gives the value of its cookie.
    pub(super) fn open(&self, account: &str, at: Timestamp, now: Instant) -> String {
        self.lock().open(Who::Account(account.to_owned()), at, now)
    }

    /// Whose session the cookie belongs to, and since when. That counts as a use of it.
    pub(super) fn knows(&self, cookie: &str, now: Instant) -> Option<(Who, Timestamp)> {
        let mut state = self.lock();
        // All are compared, so that the time tells nothing.
        let found = state
            .sessions
            .iter_mut()
            .fold(None, |found, session| if session.secret.is(cookie) { Some(session) } else { found });
        let session = found.filter(|session| !session.is_over(now))?;
        session.used = now;
        Some((session.who.clone(), session.begun_at))
    }

    /// The same, and no use of it.
    pub(super) fn peek(&self, cookie: &str, now: Instant) -> Option<(Who, Timestamp)> {
        let state = self.lock();
        let session =
            state.sessions.iter().find(|session| session.secret.is(cookie) && !session.is_over(now))?;
        Some((session.who.clone(), session.begun_at))
    }

    /// Ends the session of this cookie; gives whose it was.
    pub(super) fn leave(&self, cookie: &str) -> Option<Who> {
        let mut state = self.lock();
        let place = state.sessions.iter().position(|session| session.secret.is(cookie))?;
        Some(state.sessions.swap_remove(place).who)
    }

    /// Ends all sessions of an account but the one of this cookie.
    pub(super) fn turn_out(&self, account: &str, but: Option<&str>) {
        let account = account.to_lowercase();
        let is_theirs =
            |session: &Session| matches!(&session.who, Who::Account(name) if name.to_lowercase() == account);
        let stays = |session: &Session| but.is_some_and(|cookie| session.secret.is(cookie));
        self.lock().sessions.retain(|session| !is_theirs(session) || stays(session));
    }

    /// A new token once no session is open; none while one is, or a token still waits.
    pub(super) fn renew(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        state.sweep(now);
        let is_needed = state.token.is_none() && !state.sessions.iter().any(|s| s.who == Who::Console);
        if !is_needed {
            return None;
        }
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

impl State {
    fn sweep(&mut self, now: Instant) {
        self.sessions.retain(|session| !session.is_over(now));
    }

    fn open(&mut self, who: Who, begun_at: Timestamp, now: Instant) -> String {
        self.sweep(now);
        let of_one = if who == Who::Console { 1 } else { SESSIONS_OF_ONE_MAX };
        self.make_room(of_one, |session| session.who == who);
        self.make_room(SESSIONS_MAX, |_| true);
        let secret = Secret::new();
        let cookie = secret.0.clone();
        self.sessions.push(Session { secret, who, begun: now, begun_at, used: now });
        cookie
    }

    /// Has fewer than `most` of these.
    fn make_room(&mut self, most: usize, is_meant: impl Fn(&Session) -> bool) {
        while self.sessions.iter().filter(|session| is_meant(session)).count() >= most {
            let meant = self.sessions.iter().enumerate().filter(|(_, session)| is_meant(session));
            let Some((place, _)) = meant.min_by_key(|(_, session)| session.used) else { return };
            self.sessions.swap_remove(place);
        }
    }
}

/// 128 random bits in hexadecimal.
pub(super) struct Secret(String);

impl Secret {
    /// # Panics
    /// When the operating system has no random numbers to give; nobody can be told from anybody then.
    pub(super) fn new() -> Secret {
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
    pub(super) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// For the one who is to have it.
    pub(super) fn text(&self) -> &str {
        &self.0
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

    const ANN: Who = Who::Console;
    const AT: Timestamp = Timestamp::from_nanos(1);

    fn whose(door: &Door, cookie: &str, now: Instant) -> Option<Who> {
        assert_eq!(door.peek(cookie, now), door.knows(cookie, now));
        door.knows(cookie, now).map(|(who, _)| who)
    }

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
        assert!(cookie != token);
        assert_eq!(whose(&door, &cookie, now), Some(ANN));
        assert_eq!(door.enter(&token, now), None, "a second time");
        assert_eq!((whose(&door, &token, now), whose(&door, "", now)), (None, None));
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_lasts_while_it_is_but_not_for_ever() {
        let start = Instant::now();
        let (door, _) = Door::new();
        let cookie = door.open("ann", AT, start);
        let mut now = start;
        while now + IDLE_MAX <= start + AGE_MAX {
            now += IDLE_MAX;
            assert_eq!(whose(&door, &cookie, now), Some(Who::Account("ann".into())));
        }
        assert_eq!(whose(&door, &cookie, start + AGE_MAX + Duration::from_millis(1)), None, "too old");
        let cookie = door.open("ann", AT, now);
        assert_eq!(whose(&door, &cookie, now + IDLE_MAX + Duration::from_millis(1)), None, "not used");
        assert_eq!(whose(&door, &cookie, now + IDLE_MAX), Some(Who::Account("ann".into())));
    }

    #[test]
    fn a_new_link_comes_when_the_console_s_session_has_ended_and_at_no_other_time() {
        let start = Instant::now();
        let (door, token) = Door::new();
        assert_eq!(door.renew(start + 2 * IDLE_MAX), None, "the first token still waits");
        let cookie = door.enter(&token, start).expect("the right token");
        assert_eq!(door.renew(start + IDLE_MAX), None, "the session is open");
        door.open("ann", AT, start + IDLE_MAX);
        let later = start + IDLE_MAX + Duration::from_millis(1);
        let second = door.renew(later).expect("a new token");
        assert_eq!(door.renew(later), None, "one at a time");
        assert!(door.enter(&token, later).is_none() && whose(&door, &cookie, later).is_none());
        assert!(door.enter(&second, later).is_some());
    }

    #[test]
    fn who_leaves_or_is_turned_out_is_out() {
        let now = Instant::now();
        let (door, _) = Door::new();
        let (here, there, other) =
            (door.open("ann", AT, now), door.open("ann", AT, now), door.open("bob", AT, now));
        door.turn_out("ANN", Some(&here));
        assert_eq!(whose(&door, &there, now), None);
        assert_eq!(door.leave(&here), Some(Who::Account("ann".into())));
        assert_eq!((whose(&door, &here, now), door.leave(&here)), (None, None));
        assert!(whose(&door, &other, now).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_that_rested_longest_goes() {
        let start = Instant::now();
        let (door, _) = Door::new();
        let first = door.open("ann", AT, start);
        let more: Vec<String> = (1..SESSIONS_OF_ONE_MAX as u64)
            .map(|i| door.open("ann", AT, start + Duration::from_millis(i)))
            .collect();
        let later = start + Duration::from_secs(1);
        assert!(whose(&door, &first, later).is_some(), "used last");
        door.open("ann", AT, later);
        assert!(whose(&door, &first, later).is_some() && whose(&door, &more[0], later).is_none());
        for i in 0..SESSIONS_MAX {
            door.open(&format!("user {i}"), AT, later);
        }
        assert_eq!(door.lock().sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let (door, token) = Door::new();
        assert!(!format!("{door:?}").contains(&token));
    }
}
