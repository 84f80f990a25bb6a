//! Our registration at a PBX (RFC 3261, 10.2): so that it knows where we are without being told by hand.
//!
//! It is refreshed when three quarters of its time have passed. What fails is tried again later each time (RFC 5626, 4.5).

use serde::Serialize;

use super::compose::{self, Parts, Request};
use super::dialog::seconds;
use super::digest::Challenge;
use super::transaction::{About, Purpose};
use super::{Path, Timer, UserAgent};
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::sip::{Address, Message, values};
use crate::time::Timestamp;

/// After the first failure it is tried again in so many seconds, and twice as late each time.
pub const REGISTER_AGAIN_S_MIN: u32 = 30;
/// But not later than in so many.
pub const REGISTER_AGAIN_S_MAX: u32 = 1_800;
/// Shortest and longest time of a registration that is believed, in seconds.
const EXPIRES_S: std::ops::RangeInclusive<u32> = 10..=86_400;

/// Where we register, and as whom.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The PBX.
    pub registrar: Endpoint,
    /// By what.
    pub carrier: Carrier,
    /// The domain of the address of record: a name, or the PBX's address.
    pub domain: String,
    /// The user of it, which is called then.
    pub user: String,
    /// For how long, in seconds; the PBX may say less.
    pub expires_s: u32,
}

/// How far a registration has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationState {
    /// None is wanted.
    #[default]
    Off,
    /// It was not answered yet.
    Trying,
    /// It stands.
    Registered,
    /// It was refused or not answered, or it has run out; it is tried again.
    Failed,
}

/// The registration that is kept up.
#[derive(Debug)]
pub(super) struct Registrar {
    path: Path,
    call_id: String,
    tag: String,
    cseq: u32,
    expires_s: u32,
    state: RegistrationState,
    /// Until when it stands.
    until: Timestamp,
    failures: u32,
    challenge: Option<Challenge>,
    /// Our end in the request that is not answered yet.
    told: Option<Endpoint>,
    /// Our end that the PBX knows.
    known: Option<Endpoint>,
    /// It is to end.
    is_leaving: bool,
}

impl Registrar {
    pub(super) fn state(&self) -> RegistrationState {
        self.state
    }
}

impl UserAgent {
    /// Registers, where that is wanted. `local` is our end as the PBX reaches it.
    pub fn register(&mut self, local: Endpoint, now: Timestamp) {
        self.handle_timeout(now);
        let Some(registration) = &self.options.registration else { return };
        let Registration { registrar: peer, carrier, expires_s, .. } = *registration;
        self.registrar = Some(Registrar {
            path: Path { carrier, connection: 0, local, peer },
            call_id: format!("{}@{}", self.words.word(), local.ip()),
            tag: self.words.word(),
            cseq: 0,
            expires_s,
            state: RegistrationState::Trying,
            until: Timestamp::MIN,
            failures: 0,
            challenge: None,
            told: None,
            known: None,
            is_leaving: false,
        });
        self.register_again();
    }

    /// Our end as the PBX reaches it now. When it is another one, the PBX is told at once, and to forget the former one.
    pub fn register_from(&mut self, local: Endpoint, now: Timestamp) {
        self.handle_timeout(now);
        let moved = |registrar: &&mut Registrar| registrar.path.local != local && !registrar.is_leaving;
        let Some(registrar) = self.registrar.as_mut().filter(moved) else { return };
        registrar.path.local = local;
        // One request at a time (RFC 3261, 10.2): the answer to that one says that this one is due.
        if registrar.told.is_none() {
            self.register_again();
        }
    }

    /// Sends it, or sends it again.
    pub(super) fn register_again(&mut self) {
        self.timers.cancel(Timer::Register);
        let (branch, client_nonce) = (self.words.branch(), self.words.word());
        let (Some(registration), Some(registrar)) = (&self.options.registration, &mut self.registrar) else {
            return;
        };
        registrar.cseq = registrar.cseq.saturating_add(1);
        if registrar.state == RegistrationState::Registered && self.now >= registrar.until {
            registrar.state = RegistrationState::Failed;
        }
        let uri = format!("sip:{}", registration.domain);
        let of = format!("<sip:{}@{}>", registration.user, registration.domain);
        let from = format!("{of};tag={}", registrar.tag);
        let expires_s = if registrar.is_leaving { 0 } else { registrar.expires_s };
        let mut parts = Parts::none();
        if let (Some(challenge), Some(account)) = (&mut registrar.challenge, &self.options.account) {
            let (name, value) = challenge.answer(account, ("REGISTER", uri.as_bytes()), &client_nonce);
            parts = parts.field(name, value);
        }
        let (path, call_id, cseq) = (registrar.path, registrar.call_id.clone(), registrar.cseq);
        registrar.told = Some(path.local);
        let former = registrar.known.filter(|&known| known != path.local);
        parts = parts.field("Contact", self.contact(&path, false));
        if let Some(local) = former {
            let contact = self.contact(&Path { local, ..path }, false);
            parts = parts.field("Contact", format!("{contact};expires=0"));
        }
        parts = parts.field("Expires", expires_s);
        let request = Request {
            method: "REGISTER",
            uri: uri.as_bytes(),
            path: &path,
            own: self.own(path.local),
            branch: &branch,
            from: from.as_bytes(),
            to: of.as_bytes(),
            call_id: call_id.as_bytes(),
            cseq,
            routes: &[],
        };
        let bytes = compose::request(&request, &parts);
        let about = About { purpose: Purpose::Register, call: None, elsewhere: path.peer };
        self.begin_client(("REGISTER", &branch), path, bytes, about, 0);
    }

    /// The PBX has asked who we are, and was told with this number: it is told at once the next time.
    pub(super) fn registers_with(&mut self, cseq: u32, challenge: Challenge) {
        if let Some(registrar) = &mut self.registrar {
            (registrar.cseq, registrar.challenge) = (registrar.cseq.max(cseq), Some(challenge));
        }
    }

    /// The final response.
    pub(super) fn registered(&mut self, message: &Message<'_>, status: u16) {
        let Some(told) = self.registrar.as_mut().and_then(|registrar| registrar.told.take()) else { return };
        let own = self.own(told);
        let Some(registrar) = &mut self.registrar else { return };
        match status {
            _ if registrar.is_leaving => {}
            200..300 => {
                let expires_s = granted(message, own).unwrap_or(registrar.expires_s);
                let expires_s = expires_s.clamp(*EXPIRES_S.start(), *EXPIRES_S.end());
                registrar.state = RegistrationState::Registered;
                registrar.failures = 0;
                registrar.until = self.now.plus_millis(i64::from(expires_s) * 1_000);
                registrar.known = Some(told);
                if registrar.path.local != told {
                    return self.register_again();
                }
                self.timer_in(Timer::Register, i64::from(expires_s) * 750);
            }
            423 => {
                let least = message.header("Min-Expires").and_then(seconds);
                match least.filter(|&least| least > registrar.expires_s && EXPIRES_S.contains(&least)) {
                    Some(least) => {
                        registrar.expires_s = least;
                        self.register_again();
                    }
                    None => self.registration_failed(None),
                }
            }
            _ => {
                // What was said may have been right once.
                registrar.challenge = None;
                self.registration_failed(message.header("Retry-After").and_then(seconds));
            }
        }
    }

    /// It is tried again: later each time, or when the PBX says.
    pub(super) fn registration_failed(&mut self, retry_after_s: Option<u32>) {
        let random = self.words.number() % 512;
        let Some(registrar) = self.registrar.as_mut().filter(|registrar| !registrar.is_leaving) else {
            return;
        };
        self.counts.not_registered += 1;
        registrar.told = None;
        if registrar.state != RegistrationState::Registered || self.now >= registrar.until {
            registrar.state = RegistrationState::Failed;
        }
        let doubled = REGISTER_AGAIN_S_MIN.saturating_mul(1 << registrar.failures.min(10));
        registrar.failures = registrar.failures.saturating_add(1);
        let told = retry_after_s.unwrap_or_default().min(REGISTER_AGAIN_S_MAX);
        let wait_ms = i64::from(doubled.min(REGISTER_AGAIN_S_MAX).max(told)) * 1_000;
        // Between three quarters and the whole, so that not all recorders of a site come back at once.
        self.timer_in(Timer::Register, wait_ms - wait_ms * random as i64 / 2_048);
    }

    /// We are gone.
    pub(super) fn unregister(&mut self) {
        self.timers.cancel(Timer::Register);
        let Some(registrar) = self.registrar.as_mut().filter(|registrar| !registrar.is_leaving) else {
            return;
        };
        registrar.is_leaving = true;
        if registrar.state == RegistrationState::Registered {
            self.register_again();
        }
    }
}

/// For how long, in seconds: as the PBX says of our contact, or of all (RFC 3261, 10.2.4).
fn granted(message: &Message<'_>, own: Endpoint) -> Option<u32> {
    let contacts = values(message, "Contact");
    let is_ours = |contact: &&&[u8]| compose::target(contact).1 == Some(own);
    let ours = contacts.iter().find(is_ours).or_else(|| contacts.first());
    let said = ours.and_then(|contact| seconds(Address::parse(contact).parameter("expires")?));
    said.or_else(|| message.header("Expires").and_then(seconds))
}
