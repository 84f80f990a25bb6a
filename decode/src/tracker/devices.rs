//! Phones that are known by their address alone: no SIP names them (MiNET and other systems' own signalling), so the
//! administrator does, by IP or by Ethernet address.
//!
//! An Ethernet address is a phone's own only where no router stands between it and the mirrored port; behind a router every
//! phone has the router's. One device has one IP address at a time: an Ethernet address that is met under two is not a phone's
//! and counts no more.

use std::net::IpAddr;
use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ParseError;
use crate::net::Mac;
use crate::time::NS_PER_MS;

/// Most devices that may be listed.
pub const DEVICES_MAX: usize = 50_000;
/// How long the media of a call without signalling may be silent before the call counts as over, unless set otherwise.
pub const STREAM_IDLE_MS: i64 = 30_000;

/// By what a device is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Its IP address, as the recorder sees it; behind a NAT that has it for itself, the NAT's.
    Ip(IpAddr),
    /// Its Ethernet address.
    Mac(Mac),
}

/// A phone that the administrator lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its extension's number.
    pub number: String,
    /// Its name; may be empty.
    pub name: String,
    /// Where it is.
    pub address: Address,
}

/// Why a list of devices is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Two devices have one address: a stream could not be told to be one's.
    #[error("devices {0} and {1} have the same address")]
    SameAddress(String, String),
    /// The PBX itself is no device.
    #[error("device {0} has an address of the PBX")]
    IsPbx(String),
    /// More than can be held.
    #[error("more than {DEVICES_MAX} devices")]
    TooMany,
}

/// Addresses with the same first bits, as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    ip: IpAddr,
    bits: u32,
}

impl Subnet {
    /// Is the address in it?
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shift = |length: u32| length - self.bits;
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Subnet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError { offset: 0, expected: "a subnet as 192.0.2.0/24" };
        let (ip, bits) = text.split_once('/').ok_or(error)?;
        let ip: IpAddr = ip.parse().map_err(|_| error)?;
        let bits = bits.parse().ok().filter(|&bits| bits <= if ip.is_ipv4() { 32 } else { 128 });
        Ok(Subnet { ip, bits: bits.ok_or(error)? })
    }
}

/// The list, and what was learnt about it. Cannot be ambiguous.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    list: Vec<Device>,
    by_ip: FxHashMap<IpAddr, usize>,
    by_mac: FxHashMap<Mac, usize>,
    pbx: Vec<IpAddr>,
    lans: Vec<Subnet>,
    idle_ms: i64,
    /// Ethernet addresses that were met under several IP addresses at once.
    routers: FxHashSet<Mac>,
}

/// What an end of a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its place in the list.
    pub(super) device: usize,
    /// It was known by its Ethernet address.
    pub(super) by_mac: Option<Mac>,
}

impl Devices {
    /// A list beside the addresses of the PBX.
    ///
    /// # Errors
    /// [`DeviceError`] when an address is listed twice or is the PBX's.
    pub fn new(list: Vec<Device>, pbx: Vec<IpAddr>) -> Result<Self, DeviceError> {
        if list.len() > DEVICES_MAX {
            return Err(DeviceError::TooMany);
        }
        let mut devices = Devices { pbx, idle_ms: STREAM_IDLE_MS, ..Devices::default() };
        for (place, device) in list.iter().enumerate() {
            let before = match device.address {
                Address::Ip(ip) if devices.pbx.contains(&ip) => {
                    return Err(DeviceError::IsPbx(device.number.clone()));
                }
                Address::Ip(ip) => devices.by_ip.insert(ip, place),
                Address::Mac(mac) => devices.by_mac.insert(mac, place),
            };
            if let Some(other) = before.and_then(|before| list.get(before)) {
                return Err(DeviceError::SameAddress(other.number.clone(), device.number.clone()));
            }
        }
        devices.list = list;
        Ok(devices)
    }

    /// Ethernet addresses count for IP addresses of these subnets only: those that the PBX reaches without a router.
    #[must_use]
    pub fn with_lans(self, lans: Vec<Subnet>) -> Self {
        Devices { lans, ..self }
    }

    /// A call without signalling is over when its media has been silent for so long.
    #[must_use]
    pub fn with_idle_ms(self, idle_ms: i64) -> Self {
        Devices { idle_ms: idle_ms.max(1), ..self }
    }

    pub(super) fn idle_ns(&self) -> i64 {
        self.idle_ms.saturating_mul(NS_PER_MS)
    }

    pub(super) fn is_pbx(&self, ip: IpAddr) -> bool {
        self.pbx.contains(&ip)
    }

    /// Is the address in a subnet that the PBX reaches without a router, as far as any is named?
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        self.lans.is_empty() || self.lans.iter().any(|lan| lan.contains(ip))
    }

    pub(super) fn device(&self, found: Found) -> Option<&Device> {
        self.list.get(found.device)
    }

    /// Which device has this address, if any.
    pub(super) fn find(&self, ip: IpAddr, mac: Option<Mac>) -> Option<Found> {
        if self.is_pbx(ip) {
            return None;
        }
        if let Some(&device) = self.by_ip.get(&ip) {
            return Some(Found { device, by_mac: None });
        }
        let mac = mac.filter(|mac| !self.routers.contains(mac))?;
        let &device = self.by_mac.get(&mac)?;
        self.is_local(ip).then_some(Found { device, by_mac: Some(mac) })
    }

    /// The address turned out to be a router's.
    pub(super) fn distrust(&mut self, mac: Mac) {
        self.routers.insert(mac);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: &str, address: Address) -> Device {
        Device { number: number.into(), name: String::new(), address }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_one_devices_and_never_the_pbxs() {
        let two = |a, b| Devices::new(vec![device("1", a), device("2", b)], vec![ip("192.0.2.10")]);
        let (first, second) = (Address::Ip(ip("192.0.2.20")), Address::Mac(Mac([2, 0, 0, 0, 0, 1])));
        assert!(two(first, second).is_ok());
        assert_eq!(two(first, first).err(), Some(DeviceError::SameAddress("1".into(), "2".into())));
        assert_eq!(two(second, second).err(), Some(DeviceError::SameAddress("1".into(), "2".into())));
        let pbx = Address::Ip(ip("192.0.2.10"));
        assert_eq!(two(first, pbx).err(), Some(DeviceError::IsPbx("2".into())));
    }

    #[test]
    fn an_ethernet_address_counts_in_the_pbxs_subnet_only() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let devices =
            Devices::new(vec![device("2001", Address::Mac(mac))], vec![ip("192.0.2.10")]).expect("a list");
        let local = devices.clone().with_lans(vec!["192.0.2.0/24".parse().expect("a subnet")]);
        let found = Some(Found { device: 0, by_mac: Some(mac) });
        assert_eq!(local.find(ip("192.0.2.77"), Some(mac)), found);
        assert_eq!(local.find(ip("198.51.100.1"), Some(mac)), None);
        // Where no subnet is named, it counts until it is met under two addresses.
        assert_eq!(devices.find(ip("198.51.100.1"), Some(mac)), found);
        // A frame of the PBX with that address is the PBX's.
        assert_eq!(devices.find(ip("192.0.2.10"), Some(mac)), None);
    }

    #[test]
    fn subnets_are_read_and_hold_what_they_should() {
        let has = |net: &str, address: &str| net.parse::<Subnet>().expect("a subnet").contains(ip(address));
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("0.0.0.0/0", "255.0.0.1") && has("192.0.2.7/32", "192.0.2.7"));
        assert!(has("2001:db8::/64", "2001:db8::1:2") && !has("2001:db8::/64", "192.0.2.1"));
        for wrong in ["", "192.0.2.0", "192.0.2.0/33", "192.0.2.0/-1", "x/8", "2001:db8::/129"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }
}
