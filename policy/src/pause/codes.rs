//! Key codes: digits that pause and resume when they are keyed at the recorded extension (requirement rows CMP-03, TRP-19).
//!
//! A code counts when its digits come one after the other, none later than a set time after the one before. Of two codes that end
//! with the same digit the longer counts. Digits that may yet become a code are held back, and those that did are never told.

use decode::Timestamp;

/// Profiles of codes.
const PROFILES_MAX: usize = 32;
/// Digits of a code.
const CODE_LEN_MAX: usize = 16;
/// The longest time between two digits of a code, in milliseconds, where nothing else is set.
pub const INTER_DIGIT_MS: i64 = 3_000;
/// The longest that may be set: digits are held back for so long.
pub const INTER_DIGIT_MS_MAX: i64 = 30_000;

/// A pair of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeProfile {
    /// Stands in the pause's events.
    pub name: String,
    /// Pauses.
    pub pause: String,
    /// Resumes.
    pub resume: String,
}

/// The codes in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    profiles: Vec<CodeProfile>,
    inter_digit_ms: i64,
}

/// The codes cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Nothing in it, too long, or something else than keys in it.
    #[error("code {0:?}: 1 to {CODE_LEN_MAX} of 0-9, *, #, A-D")]
    NoCode(String),
    /// Two of them are the same: what they do could not be told.
    #[error("code {0:?} stands there twice; each code does one thing")]
    Twice(String),
    /// A code would count before the one that it stands in is complete, which then never would.
    #[error(
        "code {inner:?} stands inside code {outer:?}, which could never be keyed; it may only be its end"
    )]
    Inside {
        /// The one that would count.
        inner: String,
        /// The one that never would.
        outer: String,
    },
    /// Two profiles of one name: one would end the other's pause.
    #[error("two profiles are named {0:?}; each needs a name of its own")]
    Name(String),
    /// Too many profiles.
    #[error("{PROFILES_MAX} profiles at most")]
    TooMany,
    /// No time, or too much of it.
    #[error("between two digits of a code 1 to {INTER_DIGIT_MS_MAX} ms may pass")]
    InterDigit,
}

impl Codes {
    /// These profiles, and the longest time between two digits of a code.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn new(profiles: Vec<CodeProfile>, inter_digit_ms: i64) -> Result<Codes, CodeError> {
        if profiles.len() > PROFILES_MAX {
            return Err(CodeError::TooMany);
        }
        if !(1..=INTER_DIGIT_MS_MAX).contains(&inter_digit_ms) {
            return Err(CodeError::InterDigit);
        }
        for (nth, CodeProfile { name, .. }) in profiles.iter().enumerate() {
            if profiles.iter().take(nth).any(|other| other.name == *name) {
                return Err(CodeError::Name(name.clone()));
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for code in profiles.iter().flat_map(|profile| [profile.pause.as_str(), profile.resume.as_str()]) {
            let is_keys = code.chars().all(|c| c.is_ascii_digit() || "*#ABCD".contains(c));
            if code.is_empty() || code.len() > CODE_LEN_MAX || !is_keys {
                return Err(CodeError::NoCode(code.to_owned()));
            }
            if seen.contains(&code) {
                return Err(CodeError::Twice(code.to_owned()));
            }
            seen.push(code);
        }
        for outer in &seen {
            // All places but the last possible one: a code that is another's end does not hinder it.
            let before_end = outer.get(..outer.len() - 1).unwrap_or_default();
            if let Some(inner) = seen.iter().find(|inner| before_end.contains(**inner)) {
                return Err(CodeError::Inside { inner: (*inner).to_owned(), outer: (*outer).to_owned() });
            }
        }
        Ok(Codes { profiles, inter_digit_ms })
    }

    /// Is there any?
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.profiles.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = (&str, bool, &CodeProfile)> {
        self.profiles.iter().flat_map(|profile| {
            [(profile.pause.as_str(), true, profile), (profile.resume.as_str(), false, profile)]
        })
    }
}

/// A code was keyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Its profile.
    pub profile: String,
    /// It pauses; else it resumes.
    pub pauses: bool,
}

/// What has been keyed at one extension of late. Its `Debug` is blank: digits reach no log.
#[derive(Default)]
pub struct Listener {
    typed: Vec<(char, Timestamp)>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    /// A digit was keyed. Gives the code that it completes; [`Listener::held`] then says how many of the last digits may yet be part
    /// of one.
    pub fn handle_digit(&mut self, codes: &Codes, digit: char, at: Timestamp) -> Option<(Keyed, usize)> {
        if self.is_over(codes, at) {
            self.typed.clear();
        }
        self.typed.push((digit, at));
        if self.typed.len() > CODE_LEN_MAX {
            self.typed.remove(0);
        }
        let complete = codes.all().filter(|(code, ..)| self.ends_with(code));
        let (code, pauses, profile) = complete.max_by_key(|(code, ..)| code.len())?;
        let (len, profile) = (code.len(), profile.name.clone());
        self.typed.clear();
        Some((Keyed { profile, pauses }, len))
    }

    /// So many of the last digits may yet become a code.
    #[must_use]
    pub fn held(&self, codes: &Codes) -> usize {
        let begun = |len: &usize| {
            let last = self.typed.iter().rev().take(*len).rev().map(|(digit, _)| *digit);
            codes.all().any(|(code, ..)| code.len() > *len && code.chars().take(*len).eq(last.clone()))
        };
        (1..=self.typed.len()).rev().find(begun).unwrap_or(0)
    }

    /// Has so much time passed that what was keyed becomes no code any more?
    #[must_use]
    pub fn is_over(&self, codes: &Codes, now: Timestamp) -> bool {
        self.typed.last().is_some_and(|(_, last)| now > last.plus_millis(codes.inter_digit_ms))
    }

    /// Forgets what was keyed.
    pub fn clear(&mut self) {
        self.typed.clear();
    }

    fn ends_with(&self, code: &str) -> bool {
        let last = self.typed.iter().rev().map(|(digit, _)| *digit);
        code.len() <= self.typed.len() && code.chars().rev().eq(last.take(code.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, pause: &str, resume: &str) -> CodeProfile {
        CodeProfile { name: name.into(), pause: pause.into(), resume: resume.into() }
    }

    fn codes() -> Codes {
        Codes::new(vec![profile("card", "*123", "*321"), profile("long", "9*123", "##")], 3_000)
            .expect("codes")
    }

    /// Keys digits, each with its distance from the one before; gives what was heard and how many are held after each.
    fn key(listener: &mut Listener, digits: &[(char, i64)]) -> Vec<(Option<String>, usize)> {
        let (codes, mut now) = (codes(), 0);
        let mut told = Vec::new();
        for &(digit, after) in digits {
            now += after;
            let heard = listener.handle_digit(&codes, digit, Timestamp::from_millis(now));
            let word = |(keyed, len): (Keyed, usize)| {
                format!("{} {} {len}", keyed.profile, if keyed.pauses { "pauses" } else { "resumes" })
            };
            told.push((heard.map(word), listener.held(&codes)));
        }
        told
    }

    #[test]
    fn a_code_counts_with_its_last_digit_and_is_held_until_then() {
        let told = key(&mut Listener::default(), &[('5', 0), ('*', 500), ('1', 500), ('2', 500), ('3', 500)]);
        assert_eq!(told, [(None, 0), (None, 1), (None, 2), (None, 3), (Some("card pauses 4".into()), 0)]);
    }

    #[test]
    fn too_long_a_time_between_two_digits_is_no_code() {
        let mut listener = Listener::default();
        let told = key(&mut listener, &[('*', 0), ('1', 3_000), ('2', 3_001), ('3', 100)]);
        assert!(told.iter().all(|(heard, _)| heard.is_none()), "{told:?}");
        assert_eq!(told[1].1, 2);
        assert_eq!(told[2].1, 0, "a 2 begins no code");
        let told = key(&mut listener, &[('#', 0), ('#', 3_000)]);
        assert_eq!(told[1].0.as_deref(), Some("long resumes 2"));
    }

    #[test]
    fn a_false_start_does_not_hide_the_code_behind_it() {
        let digits = [('*', 0), ('1', 100), ('*', 100), ('3', 100), ('2', 100), ('1', 100)];
        assert_eq!(key(&mut Listener::default(), &digits)[5].0.as_deref(), Some("card resumes 4"));
    }

    #[test]
    fn of_two_codes_that_end_together_the_longer_counts() {
        let digits = [('9', 0), ('*', 100), ('1', 100), ('2', 100), ('3', 100)];
        assert_eq!(key(&mut Listener::default(), &digits)[4].0.as_deref(), Some("long pauses 5"));
    }

    #[test]
    fn a_code_inside_another_is_refused_unless_it_is_its_end() {
        let of = |one: &str, other: &str| {
            Codes::new(vec![profile("x", one, "#"), profile("y", other, "D")], 3_000)
        };
        for (inner, outer) in [("*1", "*12"), ("*1", "9*12"), ("*1", "*1*1")] {
            let error = Err(CodeError::Inside { inner: inner.into(), outer: outer.into() });
            assert_eq!(of(inner, outer), error);
            assert_eq!(of(outer, inner), error);
        }
        assert!(of("*1", "9*1").is_ok() && of("*12", "*21").is_ok());
        let message = of("*1", "*12").expect_err("inside").to_string();
        assert!(message.contains("\"*1\"") && message.contains("\"*12\""), "{message}");
    }

    #[test]
    fn two_profiles_of_one_name_are_refused() {
        let two = vec![profile("card", "*1", "*2"), profile("card", "*3", "*4")];
        assert_eq!(Codes::new(two, 3_000), Err(CodeError::Name("card".into())));
    }

    #[test]
    fn codes_that_cannot_be_meant_are_refused() {
        let of = |pause: &str, resume: &str| Codes::new(vec![profile("x", pause, resume)], 3_000);
        assert_eq!(of("*1", "*1"), Err(CodeError::Twice("*1".into())));
        assert!(matches!(of("", "1"), Err(CodeError::NoCode(_))));
        assert!(matches!(of("1x", "1"), Err(CodeError::NoCode(_))));
        assert!(matches!(of("12345678901234567", "1"), Err(CodeError::NoCode(_))));
        assert_eq!(Codes::new(vec![], 0), Err(CodeError::InterDigit));
    }
}
