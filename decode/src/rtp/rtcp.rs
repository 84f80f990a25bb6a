//! Sender reports out of RTCP compound packets (RFC 3550, 6.4.1).
//!
//! A recorder notes them: they tie a stream's RTP clock to the sender's wall clock. Everything else in a compound packet
//! is stepped over by its length.

/// The sender information of one SR packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Source that sent it.
    pub ssrc: u32,
    /// NTP time stamp, 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// The same moment on the stream's RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packets: u32,
}

/// Packet type of a sender report.
const SENDER_REPORT: u8 = 200;
/// More packets than this in one compound are not looked at.
const COMPOUND_MAX: usize = 32;

/// The sender reports in a compound packet; ends quietly where lengths stop making sense.
pub fn sender_reports(compound: &[u8]) -> impl Iterator<Item = SenderReport> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<4>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let packet = rest.get(..length.min(rest.len()))?;
        rest = rest.get(length..).unwrap_or_default();
        Some((header[1] == SENDER_REPORT).then(|| report(packet)).flatten())
    })
    .take(COMPOUND_MAX)
    .flatten()
}

fn report(packet: &[u8]) -> Option<SenderReport> {
    let word = |at: usize| packet.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_be_bytes);
    Some(SenderReport {
        ssrc: word(4)?,
        ntp: u64::from(word(8)?) << 32 | u64::from(word(12)?),
        rtp_timestamp: word(16)?,
        packets: word(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compound() -> Vec<u8> {
        // A receiver report without blocks, then a sender report without blocks.
        let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
        bytes.extend([0x80, 200, 0, 6]);
        for word in [7u32, 1, 2, 3, 4, 5] {
            bytes.extend(word.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn a_sender_report_behind_another_packet_is_found() {
        let found: Vec<_> = sender_reports(&compound()).collect();
        assert_eq!(found, [SenderReport { ssrc: 7, ntp: 1 << 32 | 2, rtp_timestamp: 3, packets: 4 }]);
    }

    #[test]
    fn lengths_that_lie_end_it() {
        let mut bytes = compound();
        bytes[3] = 0xff;
        assert_eq!(sender_reports(&bytes).count(), 0);
        for cut in 0..bytes.len() {
            let _ = sender_reports(&bytes[..cut]).count();
        }
        assert_eq!(sender_reports(&[0x80, 200, 0, 0].repeat(1000)).count(), 0);
    }
}
