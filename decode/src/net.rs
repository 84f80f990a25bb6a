//! What the network layers give: frames in, datagrams out.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ParseError;
use crate::time::Timestamp;

/// Link type of frames that are HEP packets as a socket received them ([`crate::hep`]). A number of ours: the registry of
/// LINKTYPE_ values has none for it, and its numbers are far from here.
pub const LINK_HEP: u16 = 0xfe01;

/// One captured frame, borrowed from the capture's own buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub at: Timestamp,
    /// How `data` begins: the capture format's link-layer type (LINKTYPE_ value of pcap and pcapng).
    pub link: u16,
    /// Which of the sources it came from, in the order given on the command line; frames of two mirror ports may be
    /// copies of each other.
    pub source: u16,
    /// Length on the wire; more than `data.len()` when the capture cut the frame (snap length).
    pub wire_len: u32,
    /// The bytes captured.
    pub data: &'a [u8],
}

/// An IP address and a port. IPv4 is kept in its IPv6-mapped form, so that both compare and hash alike.
///
/// The address is kept as two numbers of 64 bits, since one of 128 would have to lie on a boundary of 16 bytes: flows are keys,
/// copied and compared for each packet, and so they take a quarter less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    high: u64,
    low: u64,
    /// UDP or TCP port.
    pub port: u16,
}

/// The lower half of an IPv4-mapped address begins with this.
const V4_MAPPED: u64 = 0xffff_0000_0000;

impl Hash for Endpoint {
    /// Two numbers instead of three: the port over the bits that are the same in all IPv4-mapped addresses. These are turned
    /// to the lower end, from where a hash by multiplication spreads them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
        state.write_u64(self.low.rotate_left(16) ^ u64::from(self.port));
    }
}

impl Endpoint {
    /// From an address and a port.
    #[must_use]
    pub fn new(ip: IpAddr, port: u16) -> Self {
        match ip {
            IpAddr::V4(v4) => Endpoint::v4(v4.octets(), port),
            IpAddr::V6(v6) => Endpoint::v6(v6.octets(), port),
        }
    }

    /// From the four bytes of an IPv4 header.
    #[must_use]
    pub fn v4(octets: [u8; 4], port: u16) -> Self {
        Endpoint { high: 0, low: V4_MAPPED | u64::from(u32::from_be_bytes(octets)), port }
    }

    /// From the sixteen bytes of an IPv6 header.
    #[must_use]
    pub fn v6(octets: [u8; 16], port: u16) -> Self {
        let address = u128::from_be_bytes(octets);
        Endpoint { high: (address >> 64) as u64, low: address as u64, port }
    }

    /// The address, IPv4 where it is one.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match Ipv6Addr::from(self.host()).to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(self.host())),
        }
    }

    /// The address as a number: what compares hosts without their ports.
    pub(crate) fn host(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// The same address with another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Endpoint { port, ..self }
    }

    /// Is the address 0.0.0.0 or ::, which SDP once used to say "on hold" (RFC 3264, 8.4)?
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        match self.ip() {
            IpAddr::V4(v4) => v4 == Ipv4Addr::UNSPECIFIED,
            IpAddr::V6(v6) => v6 == Ipv6Addr::UNSPECIFIED,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            IpAddr::V4(v4) => write!(f, "{v4}:{}", self.port),
            IpAddr::V6(v6) => write!(f, "[{v6}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a datagram came from and went to.
///
/// The VLAN, VNI or label that it came through is no part of this, on purpose: one packet often shows up under two of them
/// (a router on a stick, a mirror of both sides of a trunk, the outer and the inner side of a tunnel), and a copy must be
/// known as a copy, or audio is kept twice and calls split in two. The price: two customers' networks that use the same
/// private addresses and ports at the same time and are mirrored to one port cannot be told apart by address. Their calls
/// stay apart by Call-ID, their media does not; such networks need a recorder each, or a filter (`vlan 100`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Sender.
    pub src: Endpoint,
    /// Receiver.
    pub dst: Endpoint,
}

impl Flow {
    /// The flow of the answers.
    #[must_use]
    pub fn reversed(self) -> Flow {
        Flow { src: self.dst, dst: self.src }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Six pairs of hexadecimal digits with colons between.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// In files as it is printed.
impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As written with colons, with hyphens, or with neither (`02005e000001`).
impl FromStr for Mac {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.replace([':', '-'], "");
        let bytes = u64::from_str_radix(&digits, 16).ok();
        let bytes = bytes.filter(|_| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let bytes = bytes.ok_or(ParseError { offset: 0, expected: "an Ethernet address" })?;
        let [_, _, octets @ ..] = bytes.to_be_bytes();
        Ok(Mac(octets))
    }
}

/// Sender and receiver of a frame on its last Ethernet hop: the device's own only where no router stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Sender.
    pub src: Mac,
    /// Receiver.
    pub dst: Mac,
}

/// What a frame carried, once link, tunnel and IP layers are off and fragments are joined.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When the frame that completed it was captured.
    pub at: Timestamp,
    /// From where to where.
    pub flow: Flow,
    /// UDP or TCP.
    pub transport: Transport,
    /// The UDP payload, or this TCP segment's bytes.
    pub payload: &'a [u8],
    /// The capture cut it (snap length); `payload` is the part that was captured.
    pub truncated: bool,
    /// The innermost Ethernet header around it, when there was one.
    pub ethernet: Option<Ethernet>,
}

/// The transport of a [`Datagram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// One TCP segment.
    Tcp {
        /// Sequence number of the first payload byte (of the SYN itself when `syn`).
        sequence: u32,
        /// SYN flag: `sequence` + 1 is the first byte of the stream.
        syn: bool,
        /// FIN flag.
        fin: bool,
        /// RST flag.
        rst: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_are_read_as_people_write_them() {
        let mac = Mac([0x02, 0, 0x5e, 0x10, 0xff, 1]);
        for text in ["02:00:5e:10:ff:01", "02-00-5E-10-FF-01", "02005e10ff01"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "02:00:5e:10:ff:01");
        for wrong in ["", "02:00:5e:10:ff", "02:00:5e:10:ff:01:02", "02:00:5e:10:ff:0g", "+2005e10ff01"] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
