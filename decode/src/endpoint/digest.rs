//! Digest authentication (RFC 3261, 22; RFC 7616; RFC 8760), both ways: peers are asked who they are, and we say who we are.
//!
//! SHA-256 and MD5, with `qop=auth` where we ask. A nonce of ours is a time and a number with a seal over both: none has to be
//! remembered before it was used well, so that questions without an answer cost no memory. One that was used is remembered with the
//! highest count that came with it: a request that is played back has a count that was there before.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::sip::{self, Message};
use crate::time::Timestamp;

/// How long a nonce of ours may be used, in milliseconds.
pub const NONCE_MS_MAX: i64 = 300_000;
/// Nonces that were used and are remembered; beyond, the oldest and all before it count as too old.
pub const NONCES_MAX: usize = 4_096;
/// Parameters of one field that are read.
const PARAMETERS_MAX: usize = 32;
/// Bytes of one field that are read.
const FIELD_BYTES_MAX: usize = 4_096;
/// Challenges of one response that are looked at.
const CHALLENGES_MAX: usize = 8;

/// A password. Its `Debug` is blank, and its memory is wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Of this text.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A name and its password.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What peers are asked for.
#[derive(Clone, Debug)]
pub struct Demand {
    /// What the name is good for, as the question says.
    pub realm: String,
    /// With which hashes it may be answered, in the order in which they are asked for: one question for each. There are user agents that
    /// answer none when they do not know the first one, or one of them.
    pub algorithms: Vec<Algorithm>,
    /// Who may call.
    pub account: Account,
}

/// A hash that digests are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256 (RFC 7616).
    Sha256,
    /// MD5: all that many user agents know.
    Md5,
}

impl Algorithm {
    /// All, the better one first (RFC 8760, 2.4).
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// By its name in a field; MD5 where none is named (RFC 7616, 3.3).
    fn of(parameters: &Parameters) -> Option<Algorithm> {
        match parameters.value("algorithm") {
            None => Some(Algorithm::Md5),
            Some(name) => Algorithm::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name)),
        }
    }

    fn hex(self, parts: &[&[u8]]) -> String {
        let joined = Zeroizing::new(parts.join(&b':'));
        match self {
            Algorithm::Sha256 => hex(&Sha256::digest(&*joined)),
            Algorithm::Md5 => hex(&Md5::digest(&*joined)),
        }
    }

    /// What the digest of a request has to be (RFC 7616, 3.4.1); without `protection` that of RFC 2069.
    fn response(
        self,
        account: &Account,
        request: &Request<'_>,
        protection: Option<Protection<'_>>,
    ) -> String {
        let Request { realm, nonce, method, uri } = request;
        let own = [account.user.as_bytes(), realm.as_bytes(), account.password.0.as_bytes()];
        let own = Zeroizing::new(self.hex(&own));
        let asked = self.hex(&[method, uri]);
        let (own, asked) = (own.as_bytes(), asked.as_bytes());
        match protection {
            Some(Protection { count, client_nonce }) => {
                let parts =
                    [own, nonce.as_bytes(), count.as_bytes(), client_nonce.as_bytes(), b"auth", asked];
                self.hex(&parts)
            }
            None => self.hex(&[own, nonce.as_bytes(), asked]),
        }
    }
}

/// What a digest is about.
struct Request<'r> {
    realm: &'r str,
    nonce: &'r str,
    method: &'r [u8],
    uri: &'r [u8],
}

/// `qop=auth`.
struct Protection<'p> {
    count: &'p str,
    client_nonce: &'p str,
}

/// The parameters of a field that says `Digest`, in lower case and without quotes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a value of Authorization, WWW-Authenticate or their proxy's kind. None of another scheme, or when it cannot be read.
    fn parse(field: &[u8]) -> Option<Parameters> {
        let text = std::str::from_utf8(field.get(..field.len().min(FIELD_BYTES_MAX))?).ok()?.trim_start();
        let (scheme, mut rest) = text.split_once(|c: char| c.is_ascii_whitespace())?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut found = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
            if rest.is_empty() {
                return Some(Parameters(found));
            }
            let (name, behind) = rest.split_once('=')?;
            let (name, behind) = (name.trim(), behind.trim_start());
            let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !is_token || found.len() >= PARAMETERS_MAX {
                return None;
            }
            let (value, behind) = match behind.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = behind.find(',').unwrap_or(behind.len());
                    let (value, behind) = behind.split_at(end);
                    (value.trim().to_owned(), behind)
                }
            };
            let name = name.to_ascii_lowercase();
            // What stands there twice can mean two things.
            if found.iter().any(|(known, _)| *known == name) {
                return None;
            }
            found.push((name, value));
            rest = behind;
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The text up to the closing quote, and what stands behind that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars().filter(|c| !c.is_control()) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(*DIGITS.get(usize::from(value & 15)).unwrap_or(&b'0'));
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It says nothing, or nothing that is right.
    Unknown {
        /// It did say something.
        is_wrong: bool,
    },
    /// All is right but the nonce: too old, or its count was there before. The client may say the same with a new one.
    Stale,
}

/// The door.
#[derive(Debug)]
pub(super) struct Guard {
    demand: Demand,
    seal: [u8; 32],
    /// Nonces given.
    given: u64,
    /// Those that were used, with the highest count of each. They begin with their time: the oldest stands first.
    used: BTreeMap<String, u32>,
    /// Nonces of this time and before are too old, in milliseconds.
    floor_ms: u64,
}

impl Guard {
    /// One whose nonces nobody else can make.
    pub(super) fn new(demand: Demand, seed: &[u8; 32]) -> Guard {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update(b"nonces");
        Guard { demand, seal: hash.finalize().into(), given: 0, used: BTreeMap::new(), floor_ms: 0 }
    }

    /// The questions, one for each hash, as values of WWW-Authenticate.
    pub(super) fn questions(&mut self, is_stale: bool, now: Timestamp) -> Vec<String> {
        let (realm, algorithms) = (quoted(&self.demand.realm), self.demand.algorithms.clone());
        let stale = if is_stale { ", stale=true" } else { "" };
        let question = |algorithm: Algorithm| {
            let nonce = self.nonce(now);
            let name = algorithm.name();
            format!("Digest realm={realm}, nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
        };
        algorithms.into_iter().map(question).collect()
    }

    fn nonce(&mut self, now: Timestamp) -> String {
        self.given += 1;
        let head = format!("{:016x}{:016x}", millis(now), self.given);
        let seal = self.sealed(&head);
        format!("{head}{seal}")
    }

    fn sealed(&self, head: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.seal) else {
            unreachable!("HMAC takes a key of any length");
        };
        mac.update(head.as_bytes());
        hex(mac.finalize().into_bytes().get(..16).unwrap_or_default())
    }

    /// The time of a nonce of ours, in milliseconds; none of what is not ours.
    fn time_of(&self, nonce: &str) -> Option<u64> {
        let (head, seal) = nonce.split_at_checked(32)?;
        let is_ours: bool = self.sealed(head).as_bytes().ct_eq(seal.as_bytes()).into();
        is_ours.then(|| u64::from_str_radix(head.get(..16)?, 16).ok())?
    }

    /// May this request in?
    pub(super) fn admit(
        &mut self,
        message: &Message<'_>,
        (method, uri): (&[u8], &[u8]),
        now: Timestamp,
    ) -> Result<(), Denied> {
        let fields = message.headers_named("Authorization").take(CHALLENGES_MAX);
        let of_realm = |parameters: &Parameters| parameters.value("realm") == Some(&self.demand.realm);
        let Some(said) = fields.filter_map(Parameters::parse).find(of_realm) else {
            return Err(Denied::Unknown { is_wrong: message.header("Authorization").is_some() });
        };
        let wrong = Denied::Unknown { is_wrong: true };
        let value = |name| said.value(name).unwrap_or_default();
        let account = &self.demand.account;
        let (nonce, count, client_nonce) = (value("nonce"), value("nc"), value("cnonce"));
        let number = u32::from_str_radix(count, 16).ok().filter(|_| count.len() == 8);
        let is_asked = |algorithm: &Algorithm| self.demand.algorithms.contains(algorithm);
        let algorithm = Algorithm::of(&said).filter(is_asked).ok_or(wrong)?;
        let asked = value("uri").as_bytes();
        if !value("qop").eq_ignore_ascii_case("auth") || client_nonce.is_empty() || asked != uri {
            return Err(wrong);
        }
        let (number, given_ms) = (number.ok_or(wrong)?, self.time_of(nonce).ok_or(wrong)?);
        let request = Request { realm: &self.demand.realm, nonce, method, uri };
        let right = algorithm.response(account, &request, Some(Protection { count, client_nonce }));
        let is_user: bool = value("username").as_bytes().ct_eq(account.user.as_bytes()).into();
        let is_right: bool = value("response").to_ascii_lowercase().as_bytes().ct_eq(right.as_bytes()).into();
        if !(is_user && is_right) {
            return Err(wrong);
        }
        let oldest_ms = millis(now).saturating_sub(NONCE_MS_MAX as u64);
        if given_ms < oldest_ms || given_ms <= self.floor_ms {
            return Err(Denied::Stale);
        }
        let nonce = nonce.to_owned();
        self.forget(oldest_ms);
        match self.used.get_mut(&nonce) {
            Some(highest) if number <= *highest => return Err(Denied::Stale),
            Some(highest) => *highest = number,
            None => {
                if self.used.len() >= NONCES_MAX
                    && let Some((oldest, _)) = self.used.pop_first()
                {
                    self.floor_ms = self.floor_ms.max(time_in(&oldest));
                }
                self.used.insert(nonce, number);
            }
        }
        Ok(())
    }

    /// Nonces that are too old are refused for that: no need to know how often they were used.
    fn forget(&mut self, oldest_ms: u64) {
        while let Some(first) = self.used.first_entry().filter(|first| time_in(first.key()) < oldest_ms) {
            first.remove();
        }
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.used.len()
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanos() / crate::time::NS_PER_MS).unwrap_or_default()
}

/// The time that a nonce begins with.
fn time_in(nonce: &str) -> u64 {
    nonce.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// A question that was put to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Proxy-Authorization answers it, not Authorization.
    is_proxy: bool,
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    has_qop: bool,
    /// What was said before was right but for its nonce.
    pub(super) is_stale: bool,
    /// How often it was answered.
    count: u32,
}

impl Challenge {
    /// The first question of a 401 or 407 that we can answer: the sender puts the one that it likes best on top (RFC 8760, 2.4).
    pub(super) fn of(message: &Message<'_>) -> Option<Challenge> {
        let fields = [("WWW-Authenticate", false), ("Proxy-Authenticate", true)];
        let all = fields
            .into_iter()
            .flat_map(|(name, is_proxy)| message.headers_named(name).map(move |field| (field, is_proxy)));
        all.take(CHALLENGES_MAX).find_map(|(field, is_proxy)| {
            let said = Parameters::parse(field)?;
            let offers_auth =
                |list: &str| list.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth"));
            let has_qop = match said.value("qop") {
                Some(list) if offers_auth(list) => true,
                // Only the body's integrity: not answered.
                Some(_) => return None,
                None => false,
            };
            Some(Challenge {
                is_proxy,
                algorithm: Algorithm::of(&said)?,
                realm: said.value("realm")?.to_owned(),
                nonce: said.value("nonce")?.to_owned(),
                opaque: said.value("opaque").map(str::to_owned),
                has_qop,
                is_stale: said.value("stale").is_some_and(|word| word.eq_ignore_ascii_case("true")),
                count: 0,
            })
        })
    }

    /// The header field that answers it, name and value.
    pub(super) fn answer(
        &mut self,
        account: &Account,
        (method, uri): (&str, &[u8]),
        client_nonce: &str,
    ) -> (&'static str, String) {
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let request = Request { realm: &self.realm, nonce: &self.nonce, method: method.as_bytes(), uri };
        let protection = self.has_qop.then_some(Protection { count: &count, client_nonce });
        let response = self.algorithm.response(account, &request, protection);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\", algorithm={}",
            quoted(&account.user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(&sip::text(uri)),
            self.algorithm.name()
        );
        if self.has_qop {
            value.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{client_nonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        (if self.is_proxy { "Proxy-Authorization" } else { "Authorization" }, value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(user: &str, password: &str) -> Account {
        Account { user: user.into(), password: Secret::new(Zeroizing::new(password.into())) }
    }

    fn guard() -> Guard {
        guard_asking(&Algorithm::ALL)
    }

    fn guard_asking(algorithms: &[Algorithm]) -> Guard {
        let (realm, account) = ("rec \"1\"".into(), account("pbx", "open sesame"));
        Guard::new(Demand { realm, algorithms: algorithms.to_vec(), account }, &[5; 32])
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    /// The answer to the question with this number, by our own client.
    fn challenge(question: &str) -> Challenge {
        let text = format!("SIP/2.0 401 X\r\nWWW-Authenticate: {question}\r\n\r\n");
        Challenge::of(&sip::parse(text.as_bytes()).expect("a response")).expect("a question")
    }

    fn admit(guard: &mut Guard, authorization: &str, now: Timestamp) -> Result<(), Denied> {
        let field = if authorization.is_empty() {
            String::new()
        } else {
            format!("Authorization: {authorization}\r\n")
        };
        let text = format!("INVITE sip:5999@192.0.2.1 SIP/2.0\r\n{field}\r\n");
        let message = sip::parse(text.as_bytes()).expect("a request");
        guard.admit(&message, (b"INVITE", b"sip:5999@192.0.2.1"), now)
    }

    #[test]
    fn digests_are_those_of_rfc_7616() {
        // RFC 7616, 3.9.1.
        let mufasa = account("Mufasa", "Circle of Life");
        let request = Request {
            realm: "http-auth@example.org",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        let digest = |algorithm: Algorithm| {
            let client_nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            algorithm.response(&mufasa, &request, Some(Protection { count: "00000001", client_nonce }))
        };
        assert_eq!(digest(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            digest(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        // RFC 2617, 3.5, without qop: as RFC 2069 has it.
        let request = Request {
            realm: "testrealm@host.com",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        let digest = Algorithm::Md5.response(&account("Mufasa", "Circle Of Life"), &request, None);
        assert_eq!(digest, "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn who_knows_the_password_is_let_in_once_for_each_count() {
        for nth in 0..2 {
            let mut guard = guard();
            assert_eq!(admit(&mut guard, "", at(0)), Err(Denied::Unknown { is_wrong: false }));
            let question = guard.questions(false, at(0)).remove(nth);
            assert!(question.contains(["algorithm=SHA-256", "algorithm=MD5"][nth]), "{question}");
            let mut challenge = challenge(&question);
            let of = ("INVITE", &b"sip:5999@192.0.2.1"[..]);
            let (name, first) = challenge.answer(&account("pbx", "open sesame"), of, "c");
            assert_eq!(name, "Authorization");
            assert_eq!(admit(&mut guard, &first, at(10)), Ok(()));
            assert_eq!(admit(&mut guard, &first, at(20)), Err(Denied::Stale), "played back");
            let (_, second) = challenge.answer(&account("pbx", "open sesame"), of, "c");
            assert_eq!(admit(&mut guard, &second, at(30)), Ok(()));
            let (_, third) = challenge.answer(&account("pbx", "open sesame"), of, "c");
            assert_eq!(admit(&mut guard, &third, at(NONCE_MS_MAX + 1)), Err(Denied::Stale), "too old");
        }
    }

    #[test]
    fn only_the_hashes_that_are_asked_for_are_taken() {
        let of = ("INVITE", &b"sip:5999@192.0.2.1"[..]);
        let md5 = "Digest realm=\"rec \\\"1\\\"\", nonce=\"NONCE\", algorithm=MD5, qop=\"auth\"";
        for (asked, is_taken) in [(Algorithm::Sha256, false), (Algorithm::Md5, true)] {
            let mut guard = guard_asking(&[asked]);
            let questions = guard.questions(false, at(0));
            assert!(questions.len() == 1 && questions[0].contains(asked.name()), "{questions:?}");
            let nonce = guard.nonce(at(0));
            let said =
                challenge(&md5.replace("NONCE", &nonce)).answer(&account("pbx", "open sesame"), of, "c").1;
            assert_eq!(admit(&mut guard, &said, at(1)).is_ok(), is_taken, "{said}");
        }
    }

    #[test]
    fn what_is_not_right_is_wrong() {
        let mut guard = guard();
        let question = guard.questions(false, at(0)).remove(0);
        let of = ("INVITE", &b"sip:5999@192.0.2.1"[..]);
        let said = challenge(&question).answer(&account("pbx", "open sesame"), of, "c").1;
        let nonce = said.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let of_another = "0".repeat(64);
        for wrong in [
            challenge(&question).answer(&account("pbx", "sesame"), of, "c").1,
            challenge(&question).answer(&account("abx", "open sesame"), of, "c").1,
            challenge(&question).answer(&account("pbx", "open sesame"), ("BYE", of.1), "c").1,
            challenge(&question).answer(&account("pbx", "open sesame"), ("INVITE", b"sip:other"), "c").1,
            said.replace("qop=auth", "qop=auth-int"),
            said.replace("nc=00000001", "nc=00000002"),
            said.replace("nc=00000001", "nc=1"),
            said.replace("SHA-256", "SHA-512-256"),
            said.replace(nonce, &of_another),
            said.replace("Digest", "Basic"),
            format!("{said}, realm=\"again\""),
            "Digest".into(),
            "Digest =".into(),
            "Digest realm=\"rec".into(),
        ] {
            assert_eq!(admit(&mut guard, &wrong, at(1)), Err(Denied::Unknown { is_wrong: true }), "{wrong}");
        }
        assert_eq!(guard.remembered(), 0);
        assert_eq!(admit(&mut guard, &said, at(1)), Ok(()));
    }

    #[test]
    fn what_is_remembered_has_a_limit_and_nothing_that_was_forgotten_comes_in_again() {
        let mut guard = guard();
        let of = ("INVITE", &b"sip:5999@192.0.2.1"[..]);
        let mut said = Vec::new();
        for n in 0..NONCES_MAX as i64 + 10 {
            let question = guard.questions(false, at(n)).remove(1);
            let one = challenge(&question).answer(&account("pbx", "open sesame"), of, "c").1;
            assert_eq!(admit(&mut guard, &one, at(n)), Ok(()));
            said.push(one);
        }
        assert_eq!(guard.remembered(), NONCES_MAX);
        let again = said.iter().filter(|one| admit(&mut guard, one, at(5_000)) == Ok(()));
        assert_eq!(again.count(), 0);
    }

    #[test]
    fn of_several_questions_the_first_that_we_know_is_answered() {
        let text = "SIP/2.0 407 X\r\nProxy-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=SHA-512-256\r\n\
                    Proxy-Authenticate: Digest realm=\"b\", nonce=\"2\", qop=\"auth-int\"\r\n\
                    Proxy-Authenticate: Digest realm=\"c\\\"\", nonce=\"3\", qop=\"auth-int, auth\", opaque=\"o\", stale=TRUE\r\n\r\n";
        let mut found = Challenge::of(&sip::parse(text.as_bytes()).expect("a response")).expect("one");
        assert!(found.is_stale);
        let (name, value) = found.answer(&account("u\"", "p"), ("REGISTER", b"sip:x"), "z");
        assert_eq!(name, "Proxy-Authorization");
        let parts = ["username=\"u\\\"\"", "realm=\"c\\\"\"", "nonce=\"3\"", "opaque=\"o\"", "nc=00000001"];
        assert!(parts.iter().all(|part| value.contains(part)), "{value}");
    }

    proptest! {
        #[test]
        fn any_field_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "Digest [ -~]{0,120}") {
            let _ = (Parameters::parse(&bytes), Parameters::parse(text.as_bytes()));
        }
    }
}
