//! Writing HEP version 3, as an agent beside a PBX does; reading it is `decode::hep`'s.

use decode::Flow;

/// Protocol types of payloads.
const SIP: u8 = 1;
const RTP: u8 = 4;

/// One datagram of a telephone or PBX with IPv4 addresses, as an agent sends it on. None for other addresses, and for what is longer than a
/// packet says.
pub(super) fn packet(flow: Flow, is_sip: bool, payload: &[u8]) -> Option<Vec<u8>> {
    let (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) = (flow.src.ip(), flow.dst.ip()) else {
        return None;
    };
    let kind = if is_sip { SIP } else { RTP };
    let chunks: [(u16, &[u8]); 8] = [
        // IPv4, UDP.
        (1, &[2]),
        (2, &[17]),
        (3, &src.octets()),
        (4, &dst.octets()),
        (7, &flow.src.port.to_be_bytes()),
        (8, &flow.dst.port.to_be_bytes()),
        (11, &[kind]),
        (15, payload),
    ];
    let mut packet = b"HEP3\0\0".to_vec();
    for (number, content) in chunks {
        // The vendor is 0, whose chunks are the protocol's own; the length counts the six bytes before the content.
        packet.extend([0, 0]);
        packet.extend(number.to_be_bytes());
        packet.extend(u16::try_from(content.len() + 6).ok()?.to_be_bytes());
        packet.extend(content);
    }
    let length = u16::try_from(packet.len()).ok()?;
    packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
    Some(packet)
}

#[cfg(test)]
mod tests {
    use decode::hep::{Kind, Payload, parse};

    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let flow = Flow {
            src: decode::Endpoint::v4([192, 0, 2, 10], 5060),
            dst: decode::Endpoint::v4([198, 18, 1, 42], 16_466),
        };
        for (is_sip, kind, payload) in [(true, Kind::Sip, &b"OPTIONS"[..]), (false, Kind::Rtp, &[0x80; 172])]
        {
            let bytes = packet(flow, is_sip, payload).expect("short enough");
            let read = parse(&bytes).expect("HEP");
            assert_eq!((read.flow, read.kind, read.payload), (flow, kind, Payload::Plain(payload)));
        }
        assert_eq!(packet(flow, true, &[0; 65_535]), None);
    }
}
