//! Who may speak to the endpoint, how much, and on how many channels.
//!
//! Whoever is not listed is not answered: a scanner learns nothing. Each address has a budget of its own, so that a flood from one
//! delays no other; each entry of the list has so many channels, first come, first served (requirement row RAC-02).

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::Subnet;

/// Messages that one address may send in a row.
pub const BURST_MAX: u32 = 4_000;
/// Messages a second that one address may send for long.
pub const MESSAGES_PER_S_MAX: u32 = 2_000;
/// Addresses whose budgets are remembered; more are let in only when one of these has been quiet.
pub const SOURCES_MAX: usize = 4_096;

/// Nanoseconds in which an address earns one message.
const NS_PER_MESSAGE: i64 = 1_000 * NS_PER_MS / MESSAGES_PER_S_MAX as i64;

/// What an address may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may speak; the entry of the list that says so.
    Peer(usize),
    /// It is listed, and sends too much.
    Flood,
    /// It is not listed.
    Stranger,
}

/// The list, the budgets, and the channels in use.
#[derive(Debug)]
pub(super) struct Peers {
    list: Vec<Subnet>,
    channels_max: usize,
    in_use: Vec<usize>,
    sources: FxHashMap<IpAddr, Budget>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    /// Up to when it was paid out.
    paid: Timestamp,
}

impl Peers {
    /// These alone; this machine alone when there are none.
    pub(super) fn new(list: Vec<Subnet>, channels_max: usize) -> Peers {
        let in_use = vec![0; list.len().max(1)];
        Peers { list, channels_max, in_use, sources: FxHashMap::default() }
    }

    /// The entry that an address belongs to.
    pub(super) fn entry(&self, ip: IpAddr) -> Option<usize> {
        if self.list.is_empty() {
            return ip.to_canonical().is_loopback().then_some(0);
        }
        self.list.iter().position(|subnet| subnet.contains(ip))
    }

    /// Takes a message of this address into account.
    pub(super) fn admit(&mut self, ip: IpAddr, now: Timestamp) -> Admission {
        let Some(entry) = self.entry(ip) else { return Admission::Stranger };
        if !self.sources.contains_key(&ip) && self.sources.len() >= SOURCES_MAX {
            self.sources.retain(|_, budget| {
                budget.pay(now);
                budget.left < BURST_MAX
            });
            if self.sources.len() >= SOURCES_MAX {
                return Admission::Flood;
            }
        }
        let budget = self.sources.entry(ip).or_insert(Budget { left: BURST_MAX, paid: now });
        budget.pay(now);
        match budget.left.checked_sub(1) {
            Some(left) => {
                budget.left = left;
                Admission::Peer(entry)
            }
            None => Admission::Flood,
        }
    }

    /// Is there a channel for a call of this entry? The number in use when all are.
    pub(super) fn has_channel(&self, entry: usize) -> Result<(), usize> {
        let in_use = *self.in_use.get(entry).ok_or(0_usize)?;
        if in_use >= self.channels_max { Err(in_use) } else { Ok(()) }
    }

    /// A channel for a call of this entry; the number in use when all are.
    pub(super) fn take_channel(&mut self, entry: usize) -> Result<(), usize> {
        let in_use = self.in_use.get_mut(entry).ok_or(0_usize)?;
        if *in_use >= self.channels_max {
            return Err(*in_use);
        }
        *in_use += 1;
        Ok(())
    }

    /// A call of this entry is over.
    pub(super) fn release_channel(&mut self, entry: usize) {
        if let Some(in_use) = self.in_use.get_mut(entry) {
            *in_use = in_use.saturating_sub(1);
        }
    }

    /// Channels in use, of all entries.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.iter().sum()
    }
}

impl Budget {
    fn pay(&mut self, now: Timestamp) {
        let earned = now.nanos_since(self.paid) / NS_PER_MESSAGE;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST_MAX);
            self.left = self.left.saturating_add(earned).min(BURST_MAX);
            self.paid = if self.left == BURST_MAX {
                now
            } else {
                self.paid.plus_nanos(i64::from(earned) * NS_PER_MESSAGE)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn without_a_list_this_machine_alone_may_speak() {
        let mut peers = Peers::new(Vec::new(), 8);
        let now = Timestamp::from_millis(1);
        for own in ["127.0.0.1", "::1", "127.0.0.9"] {
            assert_eq!(peers.admit(ip(own), now), Admission::Peer(0), "{own}");
        }
        assert_eq!(peers.admit(ip("192.0.2.1"), now), Admission::Stranger);
    }

    #[test]
    fn a_flood_from_one_address_costs_no_other_its_budget() {
        let list = ["192.0.2.10/32", "198.51.100.0/24"].map(|net| net.parse().expect("a subnet"));
        let mut peers = Peers::new(list.to_vec(), 8);
        let now = Timestamp::from_millis(1_000);
        for _ in 0..BURST_MAX {
            assert_eq!(peers.admit(ip("192.0.2.10"), now), Admission::Peer(0));
        }
        assert_eq!(peers.admit(ip("192.0.2.10"), now), Admission::Flood);
        assert_eq!(peers.admit(ip("198.51.100.7"), now), Admission::Peer(1));
        assert_eq!(peers.admit(ip("127.0.0.1"), now), Admission::Stranger, "a list names all who may");
        // Half a second later half a second's worth is back.
        let later = now.plus_millis(500);
        let taken = (0..BURST_MAX).filter(|_| peers.admit(ip("192.0.2.10"), later) == Admission::Peer(0));
        assert_eq!(taken.count(), MESSAGES_PER_S_MAX as usize / 2);
    }

    #[test]
    fn the_ninth_call_finds_no_channel_until_one_is_given_back() {
        let mut peers = Peers::new(Vec::new(), 8);
        assert!((0..8).all(|_| peers.take_channel(0).is_ok()));
        assert_eq!(peers.take_channel(0), Err(8));
        peers.release_channel(0);
        assert_eq!((peers.take_channel(0), peers.in_use()), (Ok(()), 8));
    }

    #[test]
    fn many_addresses_of_one_subnet_take_no_more_memory_than_there_is() {
        let mut peers = Peers::new(vec!["2001:db8::/32".parse().expect("a subnet")], 8);
        let now = Timestamp::from_millis(1);
        for n in 0..2 * SOURCES_MAX as u128 {
            let ip = IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8 << 96 | n));
            peers.admit(ip, now);
        }
        assert_eq!(peers.sources.len(), SOURCES_MAX);
        assert_eq!(peers.admit(ip("2001:db8:ffff::1"), now), Admission::Flood);
        // Who has been quiet makes room.
        assert_eq!(peers.admit(ip("2001:db8:ffff::1"), now.plus_millis(5_000)), Admission::Peer(0));
    }
}
