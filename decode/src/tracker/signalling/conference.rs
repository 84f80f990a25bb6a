//! Calls in which a PBX conferences the recorder in (Record-A-Call): whom the signalling names as the recorded extension.
//!
//! Systems say it in different places. All that are looked at are told in the configured order; which of them is an extension, only
//! `policy` knows. A call is known as such by the way that its INVITE came in.

use std::fmt;

use super::{Heard, Tables, shown, shown_user};
use crate::endpoint::EXTENSION_FIELD;
use crate::media::Side;
use crate::sdp;
use crate::sip::metadata::{self, Metadata};
use crate::sip::{self, Address, Message};
use crate::tracker::event::LegId;
use crate::tracker::outbox::Queued;

/// Places that are looked at, at most.
pub const NAMED_BY_MAX: usize = 16;

/// A place where a PBX names the recorded extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The user part of the Request-URI: the number of the application that was called.
    Application,
    /// From.
    From,
    /// Diversion (RFC 5806): who diverted the call last.
    Diversion,
    /// History-Info (RFC 7044): the target before the last one.
    HistoryInfo,
    /// P-Asserted-Identity (RFC 3325).
    AssertedIdentity,
    /// Remote-Party-ID.
    RemoteParty,
    /// A header field of the PBX's own: an address, or the number alone.
    Header(String),
    /// Nobody's INVITE but ours: somebody told for whom a conversation is joined ([`crate::endpoint::EXTENSION_FIELD`]).
    Joined,
}

impl NamedBy {
    /// The order in which they are asked unless another one is configured: what the PBX says of diversions first, since then From is
    /// whoever called; the application last, since all calls name the same one.
    #[must_use]
    pub fn default_order() -> Vec<NamedBy> {
        vec![
            NamedBy::Diversion,
            NamedBy::HistoryInfo,
            NamedBy::AssertedIdentity,
            NamedBy::RemoteParty,
            NamedBy::From,
            NamedBy::Application,
        ]
    }

    /// By its name: `application`, or a header field's. None when a header field cannot have this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<NamedBy> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
            return None;
        }
        Some(match name.to_ascii_lowercase().as_str() {
            "application" => NamedBy::Application,
            "from" => NamedBy::From,
            "diversion" => NamedBy::Diversion,
            "history-info" => NamedBy::HistoryInfo,
            "p-asserted-identity" => NamedBy::AssertedIdentity,
            "remote-party-id" => NamedBy::RemoteParty,
            _ => NamedBy::Header(name.to_owned()),
        })
    }
}

/// As it is written in the configuration.
impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NamedBy::Application => "application",
            NamedBy::From => "From",
            NamedBy::Diversion => "Diversion",
            NamedBy::HistoryInfo => "History-Info",
            NamedBy::AssertedIdentity => "P-Asserted-Identity",
            NamedBy::RemoteParty => "Remote-Party-ID",
            NamedBy::Header(name) => name,
            NamedBy::Joined => "feed",
        })
    }
}

/// Somebody whom the signalling names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where.
    pub by: NamedBy,
    /// The number.
    pub number: String,
    /// The display name beside it; may be empty.
    pub name: String,
}

/// How such calls are known, and where they are looked at.
#[derive(Clone, Debug)]
pub(in crate::tracker) struct Conference {
    pub(in crate::tracker) source: u16,
    pub(in crate::tracker) order: Vec<NamedBy>,
}

impl Conference {
    /// Whom an INVITE names, in order; each place that names somebody once.
    pub(super) fn named(&self, message: &Message<'_>, uri: &[u8]) -> Vec<Named> {
        // The endpoint takes an INVITE with this field from nobody: it is our own.
        if let Some(number) = message.header(EXTENSION_FIELD).map(shown) {
            return vec![Named { by: NamedBy::Joined, number, name: String::new() }];
        }
        let named = |by: &NamedBy| {
            let (number, name) = match by {
                NamedBy::Application => (shown_user(uri), String::new()),
                NamedBy::From => of(message.from()?),
                NamedBy::Diversion => of(Address::parse(first(message, "Diversion")?)),
                NamedBy::HistoryInfo => of(Address::parse(diverted(message, uri)?)),
                NamedBy::AssertedIdentity => of(Address::parse(first(message, "P-Asserted-Identity")?)),
                NamedBy::RemoteParty => of(Address::parse(first(message, "Remote-Party-ID")?)),
                NamedBy::Joined => return None,
                NamedBy::Header(field) => {
                    let value = first(message, field)?;
                    match of(Address::parse(value)) {
                        (number, _) if number.is_empty() => (shown(value), String::new()),
                        found => found,
                    }
                }
            };
            (!number.is_empty()).then(|| Named { by: by.clone(), number, name })
        };
        self.order.iter().take(NAMED_BY_MAX).filter_map(named).collect()
    }
}

/// What the documents of a recording session have told until now (RFC 7865).
#[derive(Debug, Default)]
pub(in crate::tracker) struct Session {
    metadata: Metadata,
    /// Labels of the audio lines, in their order.
    labels: Vec<String>,
}

/// Number, name and host of somebody.
type Speaker = (String, String, String);

impl Session {
    /// Takes what a message tells, if it tells anything of a recording session.
    pub(super) fn of(message: &Message<'_>) -> Option<Box<Session>> {
        let mut session = Session::default();
        session.update(message).then(|| Box::new(session))
    }

    fn update(&mut self, message: &Message<'_>) -> bool {
        let Some(document) = sip::metadata_body(message) else { return false };
        if let Some(body) = sip::sdp_body(message) {
            self.labels = sdp::parse(body).audio().filter_map(|media| media.label.clone()).collect();
        }
        self.metadata.update(metadata::parse(document));
        true
    }

    /// The speakers of the first two audio lines. None unless both are known.
    pub(super) fn speakers(&self) -> Option<[Speaker; 2]> {
        let mut speakers = self.labels.iter().filter_map(|label| self.metadata.speaker(label)).map(speaker);
        Some([speakers.next()?, speakers.next()?])
    }

    fn numbers(&self) -> Vec<String> {
        self.metadata
            .participants
            .iter()
            .map(|one| speaker(one).0)
            .filter(|number| !number.is_empty())
            .collect()
    }
}

fn speaker(participant: &metadata::Participant) -> Speaker {
    let uri = sip::Uri::parse(participant.aor.as_bytes());
    (shown(uri.user), shown(participant.name.as_bytes()), shown(uri.host))
}

/// A message within a recording session tells more of who takes part (RFC 7866, 7.1). Before any audio it counts as if the INVITE had said
/// so; later whoever was not named before is told of.
pub(super) fn tell_more(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id).filter(|_| side == Side::Caller) else { return };
    if leg.facts.conferenced.is_none() || sip::metadata_body(heard.message).is_none() {
        return;
    }
    let session = leg.session.get_or_insert_default();
    let known = session.numbers();
    if !session.update(heard.message) {
        return;
    }
    if leg.facts.first_audio.is_none()
        && let Some(speakers) = session.speakers()
    {
        for (party, (number, name, host)) in leg.facts.parties.iter_mut().zip(speakers) {
            (party.number, party.name, party.host) = (number, name, host);
            (party.registered, party.is_registrar) = (false, false);
        }
        leg.facts.conferenced = Some(Box::default());
        leg.facts.caller_known = false;
        return;
    }
    let joined = session.metadata.participants.iter().map(speaker);
    for (number, name, _) in joined.filter(|(number, ..)| !number.is_empty() && !known.contains(number)) {
        tables.out.push(Queued::Joined { leg: id, at: heard.at, who: Box::new([number, name]) });
    }
}

fn of(address: Address<'_>) -> (String, String) {
    (shown(address.uri.user), shown(address.display))
}

/// The first value of a field that has any number of them.
fn first<'a>(message: &Message<'a>, name: &str) -> Option<&'a [u8]> {
    sip::values(message, name).into_iter().next()
}

/// The last entry that is not the number called: the last one of all is where the call went, to us (RFC 7044, 5), and a call that was not
/// diverted has no other.
fn diverted<'a>(message: &Message<'a>, uri: &[u8]) -> Option<&'a [u8]> {
    let application = shown_user(uri);
    let entries = sip::values(message, "History-Info");
    entries.into_iter().rev().find(|entry| of(Address::parse(entry)).0 != application)
}

/// Who has sent the call on to whom this INVITE goes; empty where it says of nobody. Diversion names the last one first (RFC 5806);
/// History-Info does where its last entry has the cause of a diversion (RFC 4458, 2; RFC 7044, 5).
pub(super) fn diverted_by(message: &Message<'_>, uri: &[u8]) -> String {
    if let Some(last) = first(message, "Diversion") {
        return of(Address::parse(last)).0;
    }
    let has_cause = |entry: &&[u8]| entry.windows(6).any(|word| word.eq_ignore_ascii_case(b"cause="));
    let is_diversion = sip::values(message, "History-Info").last().is_some_and(has_cause);
    let by = is_diversion.then(|| diverted(message, uri)).flatten();
    by.map(|entry| of(Address::parse(entry)).0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_sent_a_call_on_is_who_did_last_and_an_ordinary_way_is_no_diversion() {
        let by = |fields: &str| {
            let text = format!("INVITE sip:2002@192.0.2.1 SIP/2.0\r\n{fields}\r\n");
            let message = sip::parse(text.as_bytes()).expect("a request");
            diverted_by(&message, b"sip:2002@192.0.2.1")
        };
        assert_eq!(by("Diversion: <sip:2001@pbx>;reason=no-answer, <sip:2000@pbx>\r\n"), "2001");
        let history = "History-Info: <sip:2001@pbx>;index=1, <sip:2002@192.0.2.1;cause=408>;index=1.1\r\n";
        assert_eq!(by(history), "2001");
        assert_eq!(by(&history.replace(";cause=408", "")), "", "a proxy found the phone");
        assert_eq!(by(""), "");
    }

    fn named(order: &[&str], fields: &str) -> Vec<(String, String)> {
        let text = format!(
            "INVITE sip:5999@192.0.2.1 SIP/2.0\r\nFrom: \"Ann\" <sip:2001@pbx>;tag=1\r\n{fields}\r\n"
        );
        let order = order.iter().map(|name| NamedBy::from_name(name).expect("a name")).collect();
        let conference = Conference { source: 1, order };
        let message = sip::parse(text.as_bytes()).expect("a request");
        let found = conference.named(&message, b"sip:5999@192.0.2.1");
        found.into_iter().map(|named| (named.by.to_string(), named.number)).collect()
    }

    #[test]
    fn every_place_is_told_in_the_order_that_is_configured() {
        let fields = "Diversion: \"Bob\" <sip:2002@pbx>;reason=unconditional, <sip:2003@pbx>\r\n\
                      History-Info: <sip:2004@pbx>;index=1, <sip:2005@pbx>;index=1.1\r\n\
                      History-Info: <sip:5999@192.0.2.1>;index=1.2\r\nP-Asserted-Identity: <tel:+441632960001>\r\n\
                      Remote-Party-ID: <sip:2006@pbx>;party=calling\r\nX-Extension: 2007\r\nX-Uri: <sip:2008@pbx>\r\n";
        let order = [
            "x-extension",
            "X-Uri",
            "application",
            "from",
            "Diversion",
            "history-info",
            "P-Asserted-Identity",
            "remote-party-id",
            "X-None",
        ];
        let found = named(&order, fields);
        let numbers: Vec<&str> = found.iter().map(|(_, number)| number.as_str()).collect();
        assert_eq!(numbers, ["2007", "2008", "5999", "2001", "2002", "2005", "+441632960001", "2006"]);
        assert_eq!((found[0].0.as_str(), found[5].0.as_str()), ("x-extension", "History-Info"));
    }

    #[test]
    fn what_is_not_there_names_nobody() {
        assert_eq!(named(&["diversion", "history-info", "x"], ""), []);
        assert_eq!(named(&["history-info"], "History-Info: <sip:2004@pbx>\r\n")[0].1, "2004");
        for wrong in ["", "a b", "a:b", "a\r\nb"] {
            assert_eq!(NamedBy::from_name(wrong), None);
        }
    }
}
