//! What is heard while nothing is recorded: a mirror's observer for each adapter, and a tracker that tells extensions, systems and codecs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use capture::Interface;
use decode::health::Observer;
use decode::net::Mac;
use decode::tracker::{Event, LegFacts, Tracker};
use decode::{Codec, Frame, Timestamp};
use policy::{Direction, Site};
use web::set_up::{Heard, HeardAdapter, HeardExtension, HeardPbx};

use super::twins::Twins;
use crate::config::Book;

/// Extensions that are told apart; more are not listed.
const EXTENSIONS_MAX: usize = 2_000;
/// Telephone systems likewise.
const SYSTEMS_MAX: usize = 64;
/// Codecs likewise.
const CODECS_MAX: usize = 32;
/// Extensions that speak with a telephone system, if nothing else says that it is one.
const SYSTEM_EXTENSIONS_MIN: usize = 2;
/// What was heard of a name or number, in characters.
const TEXT_MAX: usize = 64;

/// What is known of an extension.
struct Seen {
    name: String,
    address: IpAddr,
    calls: u64,
    /// Whom it spoke with last: a telephone system, or another phone.
    pbx: IpAddr,
}

/// What was heard.
pub(super) struct Listening {
    since: Instant,
    adapters: Vec<(HeardAdapter, Observer)>,
    tracker: Tracker,
    site: Site,
    extensions: BTreeMap<String, Seen>,
    has_more: bool,
    twins: Twins,
    codecs: BTreeSet<String>,
}

impl Listening {
    pub(super) fn new(adapters: &[(Interface, Option<String>)], book: &Book, since: Instant) -> Listening {
        let adapter = |(interface, failure): &(Interface, Option<String>)| {
            let about: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
            let heard = HeardAdapter {
                name: interface.name.clone(),
                about: about.join(", "),
                failure: failure.clone(),
                ..HeardAdapter::default()
            };
            (heard, Observer::new(interface.mac.map(Mac)))
        };
        Listening {
            since,
            adapters: adapters.iter().map(adapter).collect(),
            tracker: Tracker::new(),
            site: Site {
                extensions: book.site.extensions.clone(),
                pbx: book.site.pbx.clone(),
                trunks: book.site.trunks.clone(),
                ..Site::default()
            },
            extensions: BTreeMap::new(),
            has_more: false,
            twins: Twins::default(),
            codecs: BTreeSet::new(),
        }
    }

    pub(super) fn handle_frame(&mut self, frame: &Frame<'_>) {
        if let Some((_, observer)) = self.adapters.get_mut(usize::from(frame.source)) {
            observer.handle_frame(frame);
        }
        self.twins.note(frame);
        self.tracker.handle_frame(frame);
        self.drain();
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        self.tracker.handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        let Listening { tracker, site, extensions, has_more, codecs, .. } = self;
        while let Some(event) = tracker.poll_event() {
            match event {
                Event::Answered(facts) => note_leg(facts, site, extensions, has_more),
                Event::Described { session, .. } => {
                    let offered = session.audio().flat_map(|media| &media.formats);
                    let voices = offered.filter(|format| format.codec != Codec::TelephoneEvent);
                    for format in voices.take(CODECS_MAX.saturating_sub(codecs.len())) {
                        codecs.insert(format.codec.to_string());
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn heard(&self, now: Instant) -> Heard {
        let name = |place: usize| self.adapters.get(place).map(|(adapter, _)| adapter.name.clone());
        let adapter = |(place, (adapter, observer)): (usize, &(HeardAdapter, Observer))| {
            let seen = observer.seen();
            HeardAdapter {
                same_as: self.twins.of(place).and_then(name),
                frames: seen.frames,
                sip: seen.requests + seen.responses,
                rtp: seen.rtp_packets,
                calls: seen.calls as u64,
                vlans: observer.vlans().map(|(vlan, _)| vlan).collect(),
                findings: observer
                    .findings()
                    .iter()
                    .map(|finding| (finding.is_serious(), finding.to_string()))
                    .collect(),
                ..adapter.clone()
            }
        };
        let mut extensions: Vec<HeardExtension> =
            self.extensions.iter().map(|(number, seen)| seen.told(number)).collect();
        // Who registers is an extension before its first call.
        let quiet: BTreeSet<&str> = self
            .tracker
            .registered()
            .filter(|user| is_number(user) && !self.extensions.contains_key(*user))
            .collect();
        let room = EXTENSIONS_MAX.saturating_sub(extensions.len());
        let has_more = self.has_more || quiet.len() > room;
        extensions.extend(
            quiet
                .into_iter()
                .take(room)
                .map(|number| HeardExtension { number: number.to_owned(), ..HeardExtension::default() }),
        );
        extensions.sort_by(|one, other| by_number(&one.number, &other.number));
        let mut systems: BTreeMap<IpAddr, (u64, usize)> = BTreeMap::new();
        for seen in self.extensions.values() {
            let (calls, extensions) = systems.entry(seen.pbx).or_default();
            (*calls, *extensions) = (*calls + seen.calls, *extensions + 1);
        }
        let known: BTreeSet<IpAddr> = self.tracker.registrars().collect();
        systems.retain(|address, (_, extensions)| {
            known.contains(address) || *extensions >= SYSTEM_EXTENSIONS_MIN
        });
        for address in known {
            systems.entry(address).or_default();
        }
        // Those that most speak with come first: a host that plays many systems pushes none of these out.
        let mut pbx: Vec<HeardPbx> = systems
            .into_iter()
            .map(|(address, (calls, extensions))| HeardPbx { address, calls, extensions: extensions as u64 })
            .collect();
        pbx.sort_by_key(|system| std::cmp::Reverse((system.extensions, system.calls)));
        let has_more = has_more || pbx.len() > SYSTEMS_MAX;
        pbx.truncate(SYSTEMS_MAX);
        Heard {
            seconds: now.saturating_duration_since(self.since).as_secs(),
            adapters: self.adapters.iter().enumerate().map(adapter).collect(),
            pbx,
            extensions,
            has_more,
            codecs: self.codecs.iter().cloned().collect(),
        }
    }
}

impl Seen {
    fn told(&self, number: &str) -> HeardExtension {
        let Seen { name, address, calls, .. } = self;
        HeardExtension {
            number: number.to_owned(),
            name: name.clone(),
            address: Some(*address),
            calls: *calls,
        }
    }
}

/// Could it be ticked? What rules would read as a pattern of several is none.
fn is_number(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "+*#.@".contains(c);
    !text.is_empty() && text.chars().count() <= TEXT_MAX && text.chars().all(is_plain) && !text.ends_with('+')
}

/// Shorter numbers first, as people read a list of extensions.
fn by_number(one: &str, other: &str) -> std::cmp::Ordering {
    (one.len(), one).cmp(&(other.len(), other))
}

/// A leg tells who at it is an extension, and which end the telephone system.
fn note_leg(facts: &LegFacts, site: &Site, extensions: &mut BTreeMap<String, Seen>, has_more: &mut bool) {
    let roles = site.roles(facts);
    if roles.direction == Direction::Unknown {
        return;
    }
    for side in roles.extensions {
        let (own, other) = (facts.party(side), facts.party(side.other()));
        let pbx = other.signalling.ip();
        let number = site.number(facts, side);
        if !is_number(&number) {
            continue;
        }
        if extensions.len() >= EXTENSIONS_MAX && !extensions.contains_key(&number) {
            *has_more = true;
            continue;
        }
        let address = own.signalling.ip();
        let seen =
            extensions.entry(number).or_insert_with(|| Seen { name: String::new(), address, calls: 0, pbx });
        seen.calls += 1;
        seen.address = address;
        seen.pbx = pbx;
        if !own.name.is_empty() {
            seen.name = own.name.chars().take(TEXT_MAX).collect();
        }
    }
}
