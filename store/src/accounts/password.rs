//! Passwords: how they are hashed (argon2id, RFC 9106), how many at once, and which ones are taken.

use std::sync::{Condvar, Mutex};

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::bytes::{from_hex, hex};
use crate::disk::locked;

/// The longest password, in bytes; the shortest is the policy's.
pub const PASSWORD_MAX: usize = 255;
/// Hashes computed at once: each takes 64 MiB.
const AT_ONCE: usize = 4;
/// Those who wait for their turn; one more is told to come again.
const WAITING_MAX: usize = 64;
/// What a new hash costs.
#[cfg(not(test))]
const COST: Cost = SHIPPED;
/// Tests that are not about the cost are spared it.
#[cfg(test)]
const COST: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// Memory in KiB, passes, lanes: RFC 9106's second recommendation, one lane.
const SHIPPED: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// The most that a file may ask for: 1 GiB, 32 passes, 8 lanes.
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 32, lanes: 8 };
/// Old passwords that can be kept for comparison.
pub const REUSE_MAX: u32 = 24;
/// Under the modern rules so many characters must be left beside common words, runs, and the account's own names.
const OWN_CHARACTERS_MIN: usize = 6;

/// A password as it was typed. Blank in `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Takes it as typed, or as it stands in a file: line ends at its end are no part of it. What is too long to be one is cut, and
    /// is nobody's.
    #[must_use]
    pub fn new(text: &str) -> Password {
        let text = text.trim_end_matches(['\r', '\n']);
        let end = text.floor_char_boundary(PASSWORD_MAX + 1);
        Password(Zeroizing::new(text.get(..end).unwrap_or_default().to_owned()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A hash with its salt and cost, so that the cost can be raised later. Blank in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hash {
    kdf: Kdf,
    #[serde(flatten)]
    cost: Cost,
    salt: String,
    hash: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kdf {
    Argon2id,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

impl Hash {
    /// Of a new password, with a new salt.
    pub(super) fn of(password: &Password) -> Result<Hash, Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)
            .map_err(|e| Error::Refused { what: format!("a salt: no random bytes: {e}") })?;
        let hash = derive(password, &salt, COST)?;
        Ok(Hash { kdf: Kdf::Argon2id, cost: COST, salt: hex(&salt), hash: hex(&hash[..]) })
    }

    /// Is it this password's? Takes as long whatever the answer.
    pub(super) fn is_of(&self, password: &Password) -> bool {
        let (Some(salt), Some(hash)) = (from_hex::<16>(&self.salt), from_hex::<32>(&self.hash)) else {
            return false;
        };
        derive(password, &salt, self.cost).is_ok_and(|made| is_same(&made, &hash))
    }

    /// The work of a comparison, for an account that is not there.
    pub(super) fn of_nobody(password: &Password) {
        drop(derive(password, &[0; 16], COST));
    }
}

/// Compares in a time that says nothing of where two hashes differ.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

fn derive(password: &Password, salt: &[u8; 16], cost: Cost) -> Result<Zeroizing<[u8; 32]>, Error> {
    let fail = |e: argon2::Error| Error::Refused { what: format!("argon2id: {e}") };
    if cost.memory_kib > COST_MAX.memory_kib || cost.passes > COST_MAX.passes || cost.lanes > COST_MAX.lanes {
        return Err(Error::Refused { what: "a password hash that costs more than is believed".into() });
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(fail)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = Zeroizing::new([0; 32]);
    argon2.hash_password_into(password.0.as_bytes(), salt, &mut out[..]).map_err(fail)?;
    Ok(out)
}

/// Lets so many compute at once, and so many wait.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Computing, waiting.
    taken: Mutex<(usize, usize)>,
    free: Condvar,
}

/// The right to compute; given back when it goes.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn; none when too many wait already.
    pub(super) fn take(&self) -> Option<Turn<'_>> {
        let mut taken = locked(&self.taken);
        if taken.0 >= AT_ONCE {
            if taken.1 >= WAITING_MAX {
                return None;
            }
            taken.1 += 1;
            while taken.0 >= AT_ONCE {
                taken = self.free.wait(taken).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            taken.1 -= 1;
        }
        taken.0 += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(&self.0.taken).0 -= 1;
        self.0.free.notify_one();
    }
}

/// Which passwords are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// 6 characters and more.
    Low,
    /// 8 and more, with a lower and an upper case letter and a digit.
    Secure,
    /// 10 and more, with these and one of `# @ ? ! £ $ % ^ & * - = +`.
    High,
    /// 12 and more, not made of common words, runs and the account's own names; no rule what kinds of characters.
    #[default]
    Modern,
}

impl Strength {
    /// All of them.
    pub const ALL: [Strength; 4] = [Strength::Low, Strength::Secure, Strength::High, Strength::Modern];

    /// As files and commands write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Strength::Low => "low",
            Strength::Secure => "secure",
            Strength::High => "high",
            Strength::Modern => "modern",
        }
    }

    /// The fewest characters.
    #[must_use]
    pub const fn length_min(self) -> usize {
        match self {
            Strength::Low => 6,
            Strength::Secure => 8,
            Strength::High => 10,
            Strength::Modern => 12,
        }
    }
}

/// What passwords must be, and what failed tries come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordPolicy {
    /// Which ones are taken; tested when one is set, so that those that are there stay.
    pub strength: Strength,
    /// Days after which one must be changed; never without.
    pub expires_days: Option<u32>,
    /// So many of an account's passwords, the one in force among them, cannot be set again. 0 is off, at most [`REUSE_MAX`].
    pub reuse: u32,
    /// Failed tries in a row after which the account is locked; 0 is never.
    pub tries: u32,
    /// For so many minutes.
    pub locked_minutes: u32,
    /// Everybody must have a second factor.
    pub second_factor: bool,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        PasswordPolicy {
            strength: Strength::Modern,
            expires_days: None,
            reuse: 4,
            tries: 10,
            locked_minutes: 30,
            second_factor: false,
        }
    }
}

/// What is asked of a password of the middle strengths.
fn is_special(c: char) -> bool {
    "#@?!£$%^&*-=+".contains(c)
}

/// The commonest ingredients of passwords, in lower case and without digits; what is left beside them must do.
const COMMON: [&str; 48] = [
    "password",
    "passwort",
    "passw",
    "qwerty",
    "qwertz",
    "azerty",
    "asdf",
    "yxcv",
    "zxcv",
    "letmein",
    "welcome",
    "admin",
    "administrator",
    "login",
    "master",
    "secret",
    "geheim",
    "hallo",
    "hello",
    "iloveyou",
    "love",
    "monkey",
    "dragon",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "batman",
    "shadow",
    "michael",
    "jordan",
    "summer",
    "winter",
    "spring",
    "autumn",
    "sommer",
    "herbst",
    "company",
    "office",
    "change",
    "default",
    "earwitness",
    "recorder",
    "phone",
    "test",
    "user",
    "root",
];

impl PasswordPolicy {
    /// Why a password is not taken for an account with this user name and these other names; none when it is.
    pub(super) fn objection(&self, password: &Password, user: &str, names: &[&str]) -> Option<String> {
        let text = password.0.as_str();
        let length = text.chars().count();
        let min = self.strength.length_min();
        if length < min {
            return Some(format!("it has {length} characters; take {min} or more"));
        }
        if text.len() > PASSWORD_MAX {
            return Some(format!("it is longer than {PASSWORD_MAX} bytes; take a shorter one"));
        }
        if text.to_lowercase() == user.to_lowercase() {
            return Some("it is the user name; take another one".into());
        }
        let lacks = |has: fn(char) -> bool| !text.chars().any(has);
        let mixed = matches!(self.strength, Strength::Secure | Strength::High);
        for (is_lacking, what) in [
            (mixed && lacks(char::is_lowercase), "a lower case letter"),
            (mixed && lacks(char::is_uppercase), "an upper case letter"),
            (mixed && lacks(|c| c.is_ascii_digit()), "a digit"),
            (self.strength == Strength::High && lacks(is_special), "one of # @ ? ! £ $ % ^ & * - = +"),
        ] {
            if is_lacking {
                return Some(format!("it lacks {what}"));
            }
        }
        if self.strength == Strength::Modern && own_characters(text, user, names) < OWN_CHARACTERS_MIN {
            return Some(
                "it is made of common words, runs or your own names; take four words that do not belong together".into(),
            );
        }
        None
    }
}

/// How many characters are left beside common words, the account's names, and runs as `1234` and `aaaa`.
fn own_characters(text: &str, user: &str, names: &[&str]) -> usize {
    let lower =
        |text: &str| text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect::<Vec<char>>();
    let text = lower(text);
    let plain: Vec<char> = text.iter().copied().map(undisguised).collect();
    let mut is_own = vec![true; text.len()];
    let names = names.iter().flat_map(|name| name.split(|c: char| !c.is_alphanumeric()));
    for word in names.chain([user]).chain(COMMON) {
        let word: Vec<char> = lower(word).into_iter().map(undisguised).collect();
        // Shorter ones are in everything.
        if word.len() < 3 {
            continue;
        }
        for (start, place) in plain.windows(word.len()).enumerate() {
            if place == word {
                is_own.iter_mut().skip(start).take(word.len()).for_each(|own| *own = false);
            }
        }
    }
    // A character that goes on a run, up, down or on the spot, is none of one's own.
    let goes_on = |(one, other): (char, char)| u32::from(one).abs_diff(u32::from(other)) <= 1;
    let runs = text.iter().copied().zip(text.iter().copied().skip(1)).map(goes_on);
    is_own.iter_mut().skip(1).zip(runs).for_each(|(own, is_run)| *own &= !is_run);
    let own: Vec<char> = text.into_iter().zip(is_own).filter_map(|(c, own)| own.then_some(c)).collect();
    let distinct: std::collections::BTreeSet<&char> = own.iter().collect();
    distinct.len()
}

/// Letters that people write as digits and signs.
fn undisguised(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(strength: Strength, text: &str) -> Option<String> {
        let policy = PasswordPolicy { strength, ..PasswordPolicy::default() };
        policy.objection(&Password::new(text), "ann.bell", &["Ann Bell", "ann@example.com"])
    }

    #[test]
    fn each_strength_takes_what_the_manual_says() {
        use Strength::{High, Low, Secure};
        for (strength, yes, no) in [
            (Low, "abcdef", "abcde"),
            (Secure, "abcdEF78", "abcdEF7"),
            (Secure, "Zoë1zoë2", "zoë1zoë2"),
            (Secure, "abcdEF78", "ABCDEF78"),
            (Secure, "abcdEF78", "abcdEFGH"),
            (High, "abcdEF78£x", "abcdEF78£"),
            (High, "abcdEF78+x", "abcdEF78xx"),
        ] {
            assert_eq!(objection(strength, yes), None, "{yes}");
            assert!(objection(strength, no).is_some(), "{no}");
        }
        for special in "#@?!£$%^&*-=+".chars() {
            assert_eq!(objection(High, &format!("abcdEF78{special}x")), None, "{special}");
        }
        assert!(objection(Low, "Ann.Bell").expect("refused").contains("user name"));
    }

    #[test]
    fn the_modern_rules_want_length_and_something_of_ones_own_and_nothing_else() {
        for yes in [
            "correct horse battery staple",
            "kupfer lampe neun seil",
            "wq8;fG2kXz!p",
            "verschiedene wörter hier",
            "ann.bell wants four lamps",
        ] {
            assert_eq!(objection(Strength::Modern, yes), None, "{yes}");
        }
        for no in [
            "short-one-1",
            "password1234",
            "Password2026!",
            "P@ssw0rdP@ssw0rd",
            "qwertyqwerty",
            "123456789012",
            "abcdefghijkl",
            "aaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "annbell12345",
            "Welcome123456",
            "Summer2026!!!",
            "letmeinletmein1",
        ] {
            assert!(objection(Strength::Modern, no).is_some(), "{no}");
        }
        assert!(
            objection(Strength::Modern, &"kupfer lampe ".repeat(20)).expect("refused").contains("longer")
        );
    }

    #[test]
    fn a_hash_is_of_its_password_alone_and_shows_nothing() {
        let hash = Hash::of(&Password::new("kupfer lampe neun seil\n")).expect("hashed");
        assert!(hash.is_of(&Password::new("kupfer lampe neun seil")));
        assert!(!hash.is_of(&Password::new("kupfer lampe neun seiL")) && !hash.is_of(&Password::new("")));
        let other = Hash::of(&Password::new("kupfer lampe neun seil")).expect("hashed");
        assert_ne!(hash, other, "salted");
        assert_eq!(format!("{hash:?} {:?}", Password::new("x")), "Hash Password");
        let json = serde_json::to_value(&hash).expect("JSON");
        assert_eq!(json["kdf"], "argon2id");
        assert_eq!(serde_json::from_value::<Hash>(json).expect("read"), hash);
    }

    #[test]
    fn what_ships_costs_64_mib_and_three_passes_and_a_file_cannot_ask_for_the_machine() {
        assert_eq!(SHIPPED, Cost { memory_kib: 65_536, passes: 3, lanes: 1 });
        let password = Password::new("kupfer lampe neun seil");
        derive(&password, &[7; 16], SHIPPED).expect("works");
        let greedy = Cost { memory_kib: COST_MAX.memory_kib + 1, ..SHIPPED };
        assert!(derive(&password, &[7; 16], greedy).is_err());
        let zero = Hash {
            kdf: Kdf::Argon2id,
            cost: Cost { lanes: 0, ..COST },
            salt: hex(&[0; 16]),
            hash: hex(&[0; 32]),
        };
        assert!(!zero.is_of(&password));
    }

    #[test]
    fn four_compute_at_once_and_so_many_wait() {
        let turns = Turns::default();
        let held: Vec<_> = (0..AT_ONCE).map(|_| turns.take().expect("free")).collect();
        locked(&turns.taken).1 = WAITING_MAX;
        assert!(turns.take().is_none());
        locked(&turns.taken).1 = 0;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.take().is_some());
            while locked(&turns.taken).1 == 0 {
                std::thread::yield_now();
            }
            assert_eq!(locked(&turns.taken).0, AT_ONCE);
            drop(held);
            assert!(waits.join().expect("came"));
        });
        assert_eq!(*locked(&turns.taken), (0, 0));
    }
}
