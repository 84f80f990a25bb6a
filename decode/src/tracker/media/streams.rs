//! Calls without signalling: RTP to or from a phone that is known by its address makes a leg by itself.
//!
//! Such a leg claims the two places between which its media runs, as a session description would; everything else (sources,
//! strangers, loss, playback) is then as for any leg. It begins with the first packets, which were kept while the flow was
//! only watched, and ends when its media has been silent for a while, when the phone begins another stream with somebody
//! else, or when SIP announces media at one of its places: then that call goes on with it. Who called whom cannot be told from
//! a stream: the caller's side is the phone's.

use rustc_hash::FxHashMap;

use super::{Media, Owner, Use};
use crate::media::Side;
use crate::net::{Endpoint, Ethernet, Flow};
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::devices::{Devices, Found};
use crate::tracker::event::{CallId, Ending, Identity, LegFacts, LegId};
use crate::tracker::leg::{Digest, Hops, Leg, Legs};
use crate::tracker::outbox::{LegNews, Outbox, Queued};

/// A stream must last this long before it makes a leg: what SIP announces late is SIP's.
pub(super) const STREAM_START_MS: i64 = 500;

/// A phone that sends to somebody else has left the one before when it has sent nothing there for this long.
const TURNED_AWAY_MS: i64 = 200;

/// What is known of calls without signalling.
#[derive(Default)]
pub(super) struct Streams {
    devices: Option<Box<Devices>>,
    /// Running legs by the two hosts between which they run, the lower address first.
    by_hosts: FxHashMap<(Endpoint, Endpoint), Vec<Running>>,
}

/// A leg and the devices at its ends.
struct Running {
    leg: LegId,
    ends: [(Endpoint, Option<Found>); 2],
}

fn hosts(one: Endpoint, other: Endpoint) -> (Endpoint, Endpoint) {
    let (one, other) = (one.with_port(0), other.with_port(0));
    (one.min(other), one.max(other))
}

impl Streams {
    pub(super) fn are_known(&self) -> bool {
        self.devices.is_some()
    }

    /// Who the two ends of a flow are.
    fn ends(&self, flow: Flow, ethernet: Option<Ethernet>) -> [Option<Found>; 2] {
        let Some(devices) = &self.devices else { return [None; 2] };
        let ends = [(flow.src, ethernet.map(|e| e.src)), (flow.dst, ethernet.map(|e| e.dst))];
        ends.map(|(end, mac)| devices.find(end.ip(), mac))
    }
}

/// Could the payload be audio? Video has static types of its own (RFC 3551, table 5), and 35 to 95 are nobody's.
pub(super) fn may_be_audio(payload_type: u8) -> bool {
    matches!(payload_type, 0..=23 | 96..=127)
}

impl Media {
    pub(in crate::tracker) fn know_devices(&mut self, devices: Devices) {
        // Who stood at the ends of running legs was said by their places in the list before: by their addresses, in this one.
        for (end, found) in self.streams.by_hosts.values_mut().flatten().flat_map(|running| &mut running.ends)
        {
            *found = devices.find(end.ip(), None);
        }
        self.streams.devices = Some(Box::new(devices));
    }

    /// Is the address in a subnet that the PBX reaches without a router, as far as any is named?
    pub(in crate::tracker) fn is_local(&self, ip: std::net::IpAddr) -> bool {
        self.streams.devices.as_ref().is_none_or(|devices| devices.is_local(ip))
    }

    /// How long the media of a leg without signalling may be silent, in nanoseconds.
    pub(in crate::tracker) fn stream_idle_ns(&self) -> i64 {
        self.streams.devices.as_ref().map_or(i64::MAX, |devices| devices.idle_ns())
    }

    /// A watched flow has shown to be RTP. Says whether it belongs to a leg without signalling now.
    pub(super) fn begin_stream(
        &mut self,
        flow: Flow,
        ethernet: Option<Ethernet>,
        (started, now): (Timestamp, Timestamp),
        payload_type: u8,
        legs: &mut Legs,
        out: &mut Outbox,
    ) -> bool {
        if !may_be_audio(payload_type) {
            return false;
        }
        let ends = self.streams.ends(flow, ethernet);
        let ends = self.without_routers(ends, flow, started, legs, out);
        let (near, caller, callee) = match ends {
            [Some(near), _] => (near, flow.src, flow.dst),
            [None, Some(near)] => (near, flow.dst, flow.src),
            [None, None] => return false,
        };
        if let Some((leg, side)) = self.leg_to_join(flow, legs) {
            let [one, other] = [flow.src, flow.dst];
            let pair = if side == Side::Caller { [one, other] } else { [other, one] };
            self.claim_pair(leg, pair, started, legs);
            return true;
        }
        // The phone has turned to somebody else.
        self.end_streams_at(caller, None, now, legs, out);
        let far = ends.into_iter().flatten().find(|&found| found != near);
        if far.is_some() {
            self.end_streams_at(callee, None, now, legs, out);
        }
        self.open_stream([(caller, Some(near)), (callee, far)], started, legs, out)
    }

    /// An Ethernet address that a running leg knows under another IP address is a router's.
    fn without_routers(
        &mut self,
        ends: [Option<Found>; 2],
        flow: Flow,
        at: Timestamp,
        legs: &Legs,
        out: &mut Outbox,
    ) -> [Option<Found>; 2] {
        let mut kept = ends;
        for (place, end) in kept.iter_mut().zip([flow.src, flow.dst]) {
            let Some(Found { device, by_mac: Some(mac) }) = *place else { continue };
            let elsewhere = |running: &Running| {
                legs.leg(running.leg).is_some_and(|leg| !leg.is_over())
                    && running.ends.iter().any(|(other, found)| {
                        found.is_some_and(|found| found.device == device) && other.ip() != end.ip()
                    })
            };
            if self.streams.by_hosts.values().flatten().any(elsewhere) {
                if let Some(devices) = self.streams.devices.as_deref_mut() {
                    devices.distrust(mac);
                }
                out.oddity(
                    at,
                    Some(flow),
                    "a device's Ethernet address has several IP addresses: a router's",
                );
                *place = None;
            }
        }
        kept
    }

    /// The leg between the same two hosts that this flow is the missing direction of (one that sends from other ports than it
    /// receives at), or goes on in.
    fn leg_to_join(&self, flow: Flow, legs: &Legs) -> Option<(LegId, Side)> {
        let between = self.streams.by_hosts.get(&hosts(flow.src, flow.dst)).map_or(&[][..], Vec::as_slice);
        let ssrc = self.loose_ssrc(flow)?;
        let running = || {
            let legs = between.iter().filter_map(|running| legs.leg(running.leg));
            legs.filter(|leg| !leg.is_over()).map(|leg| {
                let is_caller = leg.facts.party(Side::Caller).signalling.ip() == flow.src.ip();
                (leg, if is_caller { Side::Caller } else { Side::Callee })
            })
        };
        let goes_on = |&(leg, side): &(&Leg, Side)| {
            let sources = leg.side(side).sources.iter().filter_map(|&index| self.source(index));
            sources.into_iter().any(|source| source.ssrc == ssrc)
        };
        let found = running().find(goes_on).or_else(|| {
            let mut all = running();
            let only = all.next().filter(|_| all.next().is_none());
            only.filter(|(leg, side)| leg.side(*side).sources.is_empty())
        });
        found.map(|(leg, side)| (leg.facts.leg, side))
    }

    /// Both ends of a pair of places are a leg's. Not the ports beside them: without a description, nobody says that RTCP is
    /// there and not another call.
    pub(super) fn claim_pair(
        &mut self,
        leg: LegId,
        [caller, callee]: [Endpoint; 2],
        at: Timestamp,
        legs: &mut Legs,
    ) {
        for (side, place) in [(Side::Caller, caller), (Side::Callee, callee)] {
            self.claim(place, Owner { leg, side, purpose: Use::Audio, at, hops: Hops::ANY }, legs);
        }
    }

    fn open_stream(
        &mut self,
        ends: [(Endpoint, Option<Found>); 2],
        started: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) -> bool {
        let [(caller, _), (callee, _)] = ends;
        let names = [caller.to_string(), callee.to_string()];
        let call = CallId::new(started, &names.each_ref().map(|name| name.as_bytes()));
        let key = Digest::of(call.to_string().as_bytes());
        let Some(leg) = legs.next_id(key) else {
            out.oddity(started, None, "more calls at once than can be followed");
            return false;
        };
        let parties = ends.map(|(place, found)| self.party(place, found));
        legs.insert(self.stream_leg(leg, call, key, parties, started));
        out.push(Queued::Leg(LegNews::Started, leg));
        self.streams.by_hosts.entry(hosts(caller, callee)).or_default().push(Running { leg, ends });
        self.claim_pair(leg, [caller, callee], started, legs);
        true
    }

    fn party(&self, place: Endpoint, found: Option<Found>) -> Identity {
        let devices = self.streams.devices.as_deref();
        let device = devices.zip(found).and_then(|(devices, found)| devices.device(found));
        Identity {
            number: device.map(|device| device.number.clone()).unwrap_or_default(),
            name: device.map(|device| device.name.clone()).unwrap_or_default(),
            host: place.ip().to_string(),
            signalling: place,
            registered: device.is_some(),
            is_registrar: devices.is_some_and(|devices| devices.is_pbx(place.ip())),
        }
    }

    fn stream_leg(
        &self,
        leg: LegId,
        call: CallId,
        key: Digest,
        parties: [Identity; 2],
        started: Timestamp,
    ) -> Leg {
        let [caller, callee] = parties.each_ref().map(|party| party.signalling);
        let facts = LegFacts {
            leg,
            call,
            segment: 1,
            ties: Vec::new(),
            others: Vec::new(),
            sip_call_id: String::new(),
            parties,
            request_user: String::new(),
            request_registered: false,
            diverted_by: String::new(),
            started,
            ringing: None,
            answered: Some(started),
            ended: None,
            ending: Ending::Running,
            early_media: false,
            encrypted: false,
            no_key: None,
            joined_late: false,
            caller_known: false,
            known_by_end: false,
            malformed: false,
            audio_announced: false,
            audio_packets: [0; 2],
            first_audio: None,
            conferenced: None,
        };
        Leg::new(facts, key, key, Flow { src: caller, dst: callee }, 0, self.idle_clock)
    }

    /// Is this packet, from a claimed place to one that its leg does not claim, rather the beginning of another call than a
    /// part of this one? Only a phone that goes on with the same source takes its call along.
    pub(super) fn may_be_another_stream(&self, owner: Owner, ssrc: u32, legs: &Legs) -> bool {
        let Some(leg) = legs.leg(owner.leg).filter(|leg| leg.facts.is_stream_only()) else { return false };
        let mut sources = leg.side(owner.side).sources.iter().filter_map(|&index| self.source(index));
        !(leg.facts.party(owner.side).registered && sources.any(|source| source.ssrc == ssrc))
    }

    /// A phone goes on with the same source and somebody else: that is the other party now.
    pub(super) fn follow_phone(&mut self, owner: Owner, flow: Flow, at: Timestamp, legs: &mut Legs) {
        let other = owner.side.other();
        let is_new = |leg: &Leg| leg.facts.is_stream_only() && !leg.side(other).claims.contains(&flow.dst);
        if legs.leg(owner.leg).is_some_and(is_new) {
            self.claim(
                flow.dst,
                Owner { leg: owner.leg, side: other, purpose: Use::Audio, at, hops: Hops::ANY },
                legs,
            );
            if let Some(leg) = legs.leg(owner.leg) {
                self.weigh_again(leg);
            }
        }
    }

    /// SIP announces media at these places: what ran there without signalling is over.
    pub(super) fn yield_to_sip(
        &mut self,
        leg: LegId,
        session: &sdp::Session,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        if self.streams.by_hosts.is_empty() {
            return;
        }
        for place in session.media.iter().filter_map(|media| media.receives_at) {
            self.end_streams_at(place, Some(leg), at, legs, out);
        }
    }

    /// Ends the legs without signalling that claim a place; what strangers sent to them is judged anew.
    fn end_streams_at(
        &mut self,
        place: Endpoint,
        but: Option<LegId>,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let owners = self.claims.get(&place).map_or(&[][..], |claim| &claim.owners);
        let is_over = |owner: &&Owner| {
            let Some(leg) = legs.leg(owner.leg).filter(|leg| leg.facts.is_stream_only() && !leg.is_over())
            else {
                return false;
            };
            // Of two listed phones, or one and the PBX, only a phone that has stopped sending there has turned away.
            let has_stopped = || {
                let mut sources = leg.side(owner.side).sources.iter().filter_map(|&index| self.source(index));
                leg.facts.party(owner.side).registered
                    && sources.all(|s| at.nanos_since(s.last_at) >= TURNED_AWAY_MS * NS_PER_MS)
            };
            owner.purpose == Use::Audio && Some(owner.leg) != but && (but.is_some() || has_stopped())
        };
        let over: Vec<LegId> = owners.iter().filter(is_over).map(|owner| owner.leg).collect();
        for id in over {
            let Some(leg) = legs.leg_mut(id) else { continue };
            leg.facts.ended = Some(leg.last_activity);
            leg.facts.ending = Ending::MediaStopped;
            leg.close_at = Some(at);
            let claims: Vec<Endpoint> =
                leg.sides.iter_mut().flat_map(|side| std::mem::take(&mut side.claims)).collect();
            for claim in claims {
                self.give_up(claim, id);
            }
            self.free_suspects(id, legs, out);
        }
    }

    /// A leg without signalling is closed.
    pub(super) fn forget_stream(&mut self, leg: &Leg) {
        let [caller, callee] = leg.facts.parties.each_ref().map(|party| party.signalling);
        let key = hosts(caller, callee);
        if let Some(ids) = self.streams.by_hosts.get_mut(&key) {
            ids.retain(|running| running.leg != leg.facts.leg);
            if ids.is_empty() {
                self.streams.by_hosts.remove(&key);
            }
        }
    }
}
