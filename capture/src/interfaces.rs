//! The network interfaces that can be captured on, as libpcap lists them.

use std::net::IpAddr;

use pcap::{ConnectionStatus, Device};

use crate::Error;

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What `-i` takes.
    pub name: String,
    /// What libpcap says about it; empty when it says nothing.
    pub description: String,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address, where the system tells it.
    pub mac: Option<[u8; 6]>,
    /// Switched on.
    pub up: bool,
    /// Able to carry frames.
    pub running: bool,
    /// A cable or a partner is there; `None` where that means nothing or is not known.
    pub connected: Option<bool>,
    /// The machine's own loopback.
    pub loopback: bool,
    /// A radio.
    pub wireless: bool,
    /// It has a clock of its own that can stamp frames ([`crate::TimeStamps::Adapter`]).
    pub own_clock: bool,
}

/// All interfaces, in libpcap's order: the most likely one first.
///
/// # Errors
///
/// [`Error::Port`] when the system does not list them.
pub fn interfaces() -> Result<Vec<Interface>, Error> {
    let devices = Device::list().map_err(|error| Error::Port {
        interface: "any".to_owned(),
        message: crate::port::message(&error),
    })?;
    Ok(devices.into_iter().map(Interface::from).collect())
}

impl From<Device> for Interface {
    fn from(device: Device) -> Interface {
        Interface {
            mac: mac_address(&device.name),
            own_clock: has_clock(&device.name),
            description: device.desc.unwrap_or_default(),
            addresses: device.addresses.iter().map(|address| address.addr).collect(),
            up: device.flags.is_up(),
            running: device.flags.is_running(),
            connected: match device.flags.connection_status {
                ConnectionStatus::Connected => Some(true),
                ConnectionStatus::Disconnected => Some(false),
                ConnectionStatus::Unknown | ConnectionStatus::NotApplicable => None,
            },
            loopback: device.flags.is_loopback(),
            wireless: device.flags.is_wireless(),
            name: device.name,
        }
    }
}

/// A PTP hardware clock, from sysfs: where there is one, the driver stamps frames with it.
fn has_clock(name: &str) -> bool {
    let clocks = std::fs::read_dir(format!("/sys/class/net/{name}/device/ptp"));
    !name.contains('/') && clocks.is_ok_and(|mut clocks| clocks.next().is_some())
}

/// From sysfs; libpcap does not give it.
fn mac_address(name: &str) -> Option<[u8; 6]> {
    if name.contains('/') {
        return None;
    }
    parse_mac(std::fs::read_to_string(format!("/sys/class/net/{name}/address")).ok()?.trim())
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        *octet = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    (parts.next().is_none() && octets != [0; 6]).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_six_octets_and_not_all_zero() {
        assert_eq!(parse_mac("02:42:ac:11:00:02"), Some([0x02, 0x42, 0xac, 0x11, 0, 2]));
        for text in ["", "00:00:00:00:00:00", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "0x:1:2:3:4:5"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}
