//! What came in over a socket, as the IP packet that it travelled in: the tracker reads it as if it had been captured.

use std::net::IpAddr;

use decode::Flow;

/// Link type of packets that begin with their IP header (LINKTYPE_RAW).
pub(super) const LINK_RAW: u16 = 101;

const UDP: u8 = 17;
const HOPS: u8 = 64;
const UDP_BYTES: usize = 8;
const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;

/// Writes the packet into `out`; false when it would be longer than a packet can be, or the ends are of two families. What a
/// connection of TCP carried is a datagram here: one whole message.
pub(super) fn write(flow: Flow, payload: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Ok(udp) = u16::try_from(UDP_BYTES + payload.len()) else { return false };
    match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let Some(total) = udp.checked_add(V4_BYTES as u16) else { return false };
            let mut header = [0; V4_BYTES];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&total.to_be_bytes());
            // Not to be fragmented.
            header[6] = 0x40;
            (header[8], header[9]) = (HOPS, UDP);
            header[12..16].copy_from_slice(&src.octets());
            header[16..20].copy_from_slice(&dst.octets());
            out.extend_from_slice(&header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = [0; V6_BYTES];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&udp.to_be_bytes());
            (header[6], header[7]) = (UDP, HOPS);
            header[8..24].copy_from_slice(&src.octets());
            header[24..40].copy_from_slice(&dst.octets());
            out.extend_from_slice(&header);
        }
        _ => return false,
    }
    for number in [flow.src.port, flow.dst.port, udp, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(payload);
    true
}

#[cfg(test)]
mod tests {
    use decode::{Dissector, Endpoint, Frame, Timestamp, Transport};

    use super::*;

    #[test]
    fn the_decoder_reads_it_back() {
        let v4 = Flow { src: Endpoint::v4([192, 0, 2, 9], 4000), dst: Endpoint::v4([192, 0, 2, 1], 12_000) };
        let v6 = Flow { src: Endpoint::v6([1; 16], 4000), dst: Endpoint::v6([2; 16], 12_000) };
        for flow in [v4, v6] {
            for payload in [&b""[..], b"INVITE", &[7; 65_400]] {
                let mut out = vec![9; 3];
                assert!(write(flow, payload, &mut out));
                let wire_len = out.len() as u32;
                let frame = Frame { at: Timestamp::MIN, link: LINK_RAW, source: 0, wire_len, data: &out };
                let mut dissector = Dissector::default();
                let datagram = dissector.handle_frame(&frame).expect("a datagram");
                assert_eq!((datagram.flow, datagram.payload), (flow, payload));
                assert_eq!((datagram.transport, datagram.truncated), (Transport::Udp, false));
            }
            assert!(!write(flow, &vec![0; 65_530], &mut Vec::new()));
        }
        assert!(!write(Flow { src: v4.src, dst: v6.dst }, b"x", &mut Vec::new()));
    }
}
