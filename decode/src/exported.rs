//! Exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU): what an analyser wrote out once it had taken everything else off.
//!
//! SIP that was decrypted from TLS is handed on in this form. Tags (number and length in 16 bits each, padded to four)
//! say what the payload is and between whom it travelled; number 0 ends them.

use crate::link::{Step, be16};
use crate::net::{Endpoint, Flow};

/// Tags of one PDU; one with more is given up.
const TAGS_MAX: usize = 64;

/// What a PDU holds.
pub(crate) enum Pdu<'a> {
    /// A whole message or packet and its addresses.
    Message(Flow, &'a [u8]),
    /// A packet with its own headers.
    Layer(Step<'a>),
}

/// Reads the tags; what comes behind them is the PDU.
pub(crate) fn parse(bytes: &[u8]) -> Option<Pdu<'_>> {
    const END: u16 = 0;
    const PROTOCOL: u16 = 12;
    const SOURCE_4: u16 = 20;
    const DESTINATION_4: u16 = 21;
    const SOURCE_6: u16 = 22;
    const DESTINATION_6: u16 = 23;
    const SOURCE_PORT: u16 = 25;
    const DESTINATION_PORT: u16 = 26;

    let port = |value: &[u8]| u16::try_from(u32::from_be_bytes(value.try_into().ok()?)).ok();
    let (mut src, mut dst) = (None, None);
    let (mut source_port, mut destination_port) = (0, 0);
    let mut protocol: &[u8] = &[];
    let mut rest = bytes;
    for _ in 0..TAGS_MAX {
        let (tag, length) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + length..)?;
        match tag {
            END => {
                // Padded with zeros.
                let name = protocol.split(|&byte| byte == 0).next().unwrap_or_default();
                return match name {
                    b"ip" | b"ipv6" => Some(Pdu::Layer(Step::Ip(rest))),
                    b"eth" | b"eth_withoutfcs" | b"eth_maybefcs" | b"eth_withfcs" => {
                        Some(Pdu::Layer(Step::Ethernet(rest)))
                    }
                    b"sip" | b"rtp" | b"rtcp" => {
                        let (src, dst): (Endpoint, Endpoint) = (src?, dst?);
                        let flow =
                            Flow { src: src.with_port(source_port), dst: dst.with_port(destination_port) };
                        Some(Pdu::Message(flow, rest))
                    }
                    _ => None,
                };
            }
            PROTOCOL => protocol = value,
            SOURCE_4 => src = Some(Endpoint::v4(value.try_into().ok()?, 0)),
            DESTINATION_4 => dst = Some(Endpoint::v4(value.try_into().ok()?, 0)),
            SOURCE_6 => src = Some(Endpoint::v6(value.try_into().ok()?, 0)),
            DESTINATION_6 => dst = Some(Endpoint::v6(value.try_into().ok()?, 0)),
            SOURCE_PORT => source_port = port(value)?,
            DESTINATION_PORT => destination_port = port(value)?,
            _ => {}
        }
    }
    None
}
