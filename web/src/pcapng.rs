//! Messages as a capture file that Wireshark and sngrep read: pcapng (draft-ietf-opsawg-pcapng), with headers made anew around
//! each message.
//!
//! A message is one packet, however long: an IP packet of up to 64 KiB, as an adapter that leaves the cutting to its hardware
//! shows it. Fragments would make every reader put together what was whole, and their times would be invented.
//! Over TCP, sequence numbers run on from message to message in each direction, so that a stream can be followed; there is no
//! handshake, since none was kept. What came over TLS stands in TCP as it was inside; what came in WebSocket frames stands in UDP,
//! because on the ports of a web server readers look for HTTP alone.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use decode::{Carrier, Endpoint, Flow, Timestamp};

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
/// The longest IP packet, in bytes.
const IP_BYTES_MAX: usize = u16::MAX as usize;
/// Longest headers behind Ethernet: IPv6 and TCP.
const HEADERS_BYTES: usize = 40 + 20;
/// Longest comment, in bytes: an option counts in 16 bits.
const COMMENT_MAX: usize = 4_096;
const UDP: u8 = 17;
const TCP: u8 = 6;

/// A message and where it goes.
pub(crate) struct Packet<'a> {
    pub(crate) at: Timestamp,
    pub(crate) flow: Flow,
    pub(crate) carrier: Carrier,
    pub(crate) bytes: &'a [u8],
    /// Shown beside it; none when empty.
    pub(crate) comment: &'a str,
}

/// A capture file being written.
pub(crate) struct Writer<W: Write> {
    out: W,
    /// The next sequence number of each direction of TCP.
    sequences: BTreeMap<Flow, u32>,
    /// The next identification of an IPv4 packet.
    identification: u16,
}

impl<W: Write> Writer<W> {
    /// Begins a file; `comment` says what it is.
    pub(crate) fn new(mut out: W, comment: &str) -> io::Result<Self> {
        let mut section = Vec::new();
        section.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        section.extend_from_slice(&[1, 0, 0, 0]);
        section.extend_from_slice(&u64::MAX.to_le_bytes());
        option(&mut section, 1, comment);
        option(&mut section, 4, concat!("earwitness ", env!("CARGO_PKG_VERSION")));
        end_options(&mut section);
        block(&mut out, 0x0a0d_0d0a, &section)?;
        // No snap length; times in microseconds, which is what an interface without an option for it has.
        let mut interface = Vec::new();
        interface.extend_from_slice(&ETHERNET.to_le_bytes());
        interface.extend_from_slice(&[0; 6]);
        block(&mut out, 1, &interface)?;
        Ok(Writer { out, sequences: BTreeMap::new(), identification: 0 })
    }

    /// Adds a message.
    pub(crate) fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let frame = self.frame(packet);
        let micros = u64::try_from(packet.at.as_nanos().div_euclid(1_000)).unwrap_or(0);
        let len = (frame.len() as u32).to_le_bytes();
        let mut body = Vec::with_capacity(frame.len() + 64);
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&((micros >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(micros as u32).to_le_bytes());
        body.extend_from_slice(&len);
        body.extend_from_slice(&len);
        body.extend_from_slice(&frame);
        pad(&mut body);
        if !packet.comment.is_empty() {
            option(&mut body, 1, packet.comment);
            end_options(&mut body);
        }
        block(&mut self.out, 6, &body)
    }

    /// Writes what is still held.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn frame(&mut self, packet: &Packet<'_>) -> Vec<u8> {
        let Flow { src, dst } = packet.flow;
        // A recorder keeps messages far below this.
        let bytes = packet.bytes.get(..IP_BYTES_MAX - HEADERS_BYTES).unwrap_or(packet.bytes);
        let (protocol, mut segment) = match packet.carrier {
            Carrier::Tcp | Carrier::Tls => (TCP, self.tcp(packet.flow, bytes)),
            Carrier::Udp | Carrier::WebSocket | Carrier::SecureWebSocket => (UDP, udp(src, dst, bytes)),
        };
        let checksum_at = if protocol == TCP { 16 } else { 6 };
        let mut frame = [mac(dst), mac(src)].concat();
        let ip = match (src.ip(), dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let (src, dst) = (src.octets(), dst.octets());
                seal(&mut segment, checksum_at, &src, &dst, protocol);
                frame.extend_from_slice(&[0x08, 0x00]);
                self.ipv4(src, dst, protocol, segment.len())
            }
            (src, dst) => {
                let (src, dst) = (sixteen(src), sixteen(dst));
                seal(&mut segment, checksum_at, &src, &dst, protocol);
                frame.extend_from_slice(&[0x86, 0xdd]);
                ipv6(src, dst, protocol, segment.len())
            }
        };
        frame.extend_from_slice(&ip);
        frame.extend_from_slice(&segment);
        frame
    }

    /// A segment with PSH and ACK (RFC 9293, 3.1).
    fn tcp(&mut self, flow: Flow, bytes: &[u8]) -> Vec<u8> {
        let acknowledged = *self.sequences.entry(flow.reversed()).or_insert(1);
        let sequence = self.sequences.entry(flow).or_insert(1);
        let mut segment = ports(flow.src, flow.dst);
        segment.extend_from_slice(&sequence.to_be_bytes());
        segment.extend_from_slice(&acknowledged.to_be_bytes());
        segment.extend_from_slice(&[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(bytes);
        *sequence = sequence.wrapping_add(bytes.len() as u32);
        segment
    }

    /// RFC 791, 3.1; "don't fragment" is set.
    fn ipv4(&mut self, src: [u8; 4], dst: [u8; 4], protocol: u8, payload: usize) -> Vec<u8> {
        self.identification = self.identification.wrapping_add(1);
        let mut header = vec![0x45, 0];
        header.extend_from_slice(&((20 + payload) as u16).to_be_bytes());
        header.extend_from_slice(&self.identification.to_be_bytes());
        header.extend_from_slice(&[0x40, 0, 64, protocol]);
        let mut sum = sum(0, &header);
        sum = self::sum(self::sum(sum, &src), &dst);
        header.extend_from_slice(&fold(sum).to_be_bytes());
        header.extend_from_slice(&src);
        header.extend_from_slice(&dst);
        header
    }
}

/// RFC 8200, 3.
fn ipv6(src: [u8; 16], dst: [u8; 16], protocol: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&(payload as u16).to_be_bytes());
    header.extend_from_slice(&[protocol, 64]);
    header.extend_from_slice(&src);
    header.extend_from_slice(&dst);
    header
}

fn udp(src: Endpoint, dst: Endpoint, bytes: &[u8]) -> Vec<u8> {
    let mut datagram = ports(src, dst);
    datagram.extend_from_slice(&((8 + bytes.len()) as u16).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(bytes);
    datagram
}

fn ports(src: Endpoint, dst: Endpoint) -> Vec<u8> {
    [src.port.to_be_bytes(), dst.port.to_be_bytes()].concat()
}

/// Puts the checksum of a datagram or segment in its place (RFC 768; RFC 9293, 3.1; RFC 8200, 8.1).
fn seal(segment: &mut [u8], at: usize, src: &[u8], dst: &[u8], protocol: u8) {
    let mut total = sum(sum(0, src), dst);
    total = sum(total, &(segment.len() as u32).to_be_bytes());
    total = sum(total, &[0, protocol]);
    let checksum = match fold(sum(total, segment)) {
        // No checksum is what 0 says in UDP.
        0 if protocol == UDP => u16::MAX,
        checksum => checksum,
    };
    if let Some(place) = segment.get_mut(at..at + 2) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Adds the 16-bit words of `bytes`.
fn sum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(2).fold(sum, |sum, word| {
        let low = word.get(1).copied().unwrap_or(0);
        sum + u64::from(u16::from_be_bytes([word.first().copied().unwrap_or(0), low]))
    })
}

fn fold(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A locally administered address for a host, of the end of its IP address: the real one is not kept.
fn mac(end: Endpoint) -> [u8; 6] {
    let [.., a, b, c, d] = sixteen(end.ip());
    [2, 0, a, b, c, d]
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let len = ((body.len() + 12) as u32).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&len)?;
    out.write_all(body)?;
    out.write_all(&len)
}

fn option(body: &mut Vec<u8>, code: u16, text: &str) {
    let end = (0..=text.len().min(COMMENT_MAX)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let text = text.get(..end).unwrap_or_default();
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(text.len() as u16).to_le_bytes());
    body.extend_from_slice(text.as_bytes());
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

/// Blocks and options end at a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(carrier: Carrier, flow: Flow, messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(Vec::new(), "").expect("a Vec takes everything");
        let at = Timestamp::from_millis(0);
        messages.iter().map(|bytes| writer.frame(&Packet { at, flow, carrier, bytes, comment: "" })).collect()
    }

    fn flow(v6: bool) -> Flow {
        let end = |n: u8| match v6 {
            true => Endpoint::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n], 5060),
            false => Endpoint::v4([192, 0, 2, n], 5060),
        };
        Flow { src: end(1), dst: end(2) }
    }

    /// The sum over a packet whose checksum is right, with its pseudo header, is nothing.
    fn is_sealed(frame: &[u8], v6: bool) -> bool {
        let ip = &frame[14..];
        let (header, protocol) = if v6 { (40, ip[6]) } else { (20, ip[9]) };
        let addresses = if v6 { &ip[8..40] } else { &ip[12..20] };
        let payload = &ip[header..];
        let pseudo = sum(sum(0, addresses), &(payload.len() as u32).to_be_bytes()) + u64::from(protocol);
        fold(sum(pseudo, payload)) == 0 && (v6 || fold(sum(0, &ip[..20])) == 0)
    }

    #[test]
    fn checksums_are_right_whatever_the_length() {
        for v6 in [false, true] {
            for carrier in [Carrier::Udp, Carrier::Tcp, Carrier::Tls, Carrier::WebSocket] {
                for len in [0, 1, 2, 1_473, 16_384, IP_BYTES_MAX] {
                    let frames = packets(carrier, flow(v6), &[&vec![0xff; len]]);
                    assert!(is_sealed(&frames[0], v6), "{carrier:?} {len} {v6}");
                }
            }
        }
    }

    #[test]
    fn sequence_numbers_run_on_in_each_direction() {
        let mut writer = Writer::new(Vec::new(), "").expect("a Vec takes everything");
        let mut frame = |flow, bytes: &[u8]| {
            let at = Timestamp::from_millis(0);
            let frame = writer.frame(&Packet { at, flow, carrier: Carrier::Tcp, bytes, comment: "" });
            let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("four"));
            (number(38), number(42))
        };
        assert_eq!(frame(flow(false), b"one"), (1, 1));
        assert_eq!(frame(flow(false), b"two!"), (4, 1));
        assert_eq!(frame(flow(false).reversed(), b"three"), (1, 8));
        assert_eq!(frame(flow(false), b"four"), (8, 6));
    }
}
