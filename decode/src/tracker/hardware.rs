//! Which Ethernet address a phone has, by the SIP messages that come from its IP address.
//!
//! A frame has the address of who sent it on its last hop: a phone's own only where no router stands between. An address that speaks for
//! several IP addresses at a time is a router's, or a host's with several, and says nothing of a phone.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::Timestamp;
use crate::net::Mac;
use crate::time::NS_PER_MS;

/// Addresses that are known at one time; of more nothing is learnt.
const ADDRESSES_MAX: usize = 50_000;
/// An Ethernet address that comes with another IP address after so long has moved there; sooner it is a router's, in milliseconds.
const MOVED_MS: i64 = 3_600_000;

/// Whose an Ethernet address is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// The device of this IP address, last heard then.
    Device(IpAddr, Timestamp),
    /// Several devices'.
    Several,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Hardware {
    /// The sender of the frame at hand.
    pub(super) sender: Option<(IpAddr, Mac)>,
    by_ip: FxHashMap<IpAddr, Mac>,
    by_mac: FxHashMap<Mac, Owner>,
}

impl Hardware {
    /// A SIP message came from this IP address.
    pub(super) fn heard(&mut self, from: IpAddr, at: Timestamp) {
        // What a stream or an agent hands over later may be another sender's.
        let Some((_, mac)) = self.sender.filter(|&(ip, mac)| ip == from && is_of_one(mac)) else { return };
        let is_full = self.by_ip.len() >= ADDRESSES_MAX || self.by_mac.len() >= ADDRESSES_MAX;
        match self.by_mac.get_mut(&mac) {
            Some(Owner::Several) => {}
            Some(Owner::Device(ip, last)) if *ip == from => {
                *last = at.max(*last);
                // Another phone may have had the address since.
                self.by_ip.insert(from, mac);
            }
            Some(owner) => {
                let has_moved =
                    matches!(owner, Owner::Device(_, last) if at.nanos_since(*last) >= MOVED_MS * NS_PER_MS);
                if let Owner::Device(ip, _) = *owner
                    && self.by_ip.get(&ip) == Some(&mac)
                {
                    self.by_ip.remove(&ip);
                }
                *owner = if has_moved { Owner::Device(from, at) } else { Owner::Several };
                if has_moved {
                    self.by_ip.insert(from, mac);
                }
            }
            None if is_full => {}
            None => {
                self.by_mac.insert(mac, Owner::Device(from, at));
                self.by_ip.insert(from, mac);
            }
        }
    }

    /// The Ethernet address of the device at this IP address, if it is known.
    pub(super) fn of(&self, ip: IpAddr) -> Option<Mac> {
        self.by_ip.get(&ip).copied()
    }
}

/// No group's, and not the empty one of captures that have none.
fn is_of_one(mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac != Mac([0; 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn heard(hardware: &mut Hardware, from: u8, mac: u8, minute: i64) {
        hardware.sender = Some((ip(from), Mac([2, 0, 0, 0, 0, mac])));
        hardware.heard(ip(from), Timestamp::from_millis(minute * 60_000));
    }

    #[test]
    fn a_phone_has_its_own_address_and_a_routers_is_nobodys() {
        let mut hardware = Hardware::default();
        heard(&mut hardware, 20, 1, 0);
        assert_eq!(hardware.of(ip(20)), Some(Mac([2, 0, 0, 0, 0, 1])));
        heard(&mut hardware, 21, 7, 0);
        heard(&mut hardware, 22, 7, 1);
        assert_eq!((hardware.of(ip(21)), hardware.of(ip(22))), (None, None));
        heard(&mut hardware, 21, 7, 600);
        assert_eq!(hardware.of(ip(21)), None, "a router stays one");
    }

    #[test]
    fn a_phone_that_gets_another_ip_address_takes_its_own_along() {
        let mut hardware = Hardware::default();
        heard(&mut hardware, 20, 1, 0);
        heard(&mut hardware, 30, 1, 61);
        assert_eq!((hardware.of(ip(20)), hardware.of(ip(30))), (None, Some(Mac([2, 0, 0, 0, 0, 1]))));
    }

    #[test]
    fn what_another_frame_carried_and_what_is_no_devices_says_nothing() {
        let sender = Some((ip(20), Mac([2, 0, 0, 0, 0, 1])));
        let mut hardware = Hardware { sender, ..Hardware::default() };
        hardware.heard(ip(21), Timestamp::from_millis(0));
        for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            hardware.sender = Some((ip(22), Mac(mac)));
            hardware.heard(ip(22), Timestamp::from_millis(0));
        }
        hardware.sender = None;
        hardware.heard(ip(23), Timestamp::from_millis(0));
        assert!((20..24).all(|n| hardware.of(ip(n)).is_none()));
    }
}
