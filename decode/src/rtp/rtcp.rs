//! RTCP compound packets (RFC 3550, 6) and extended reports (RFC 3611), as far as a recorder uses them.
//!
//! Sender reports tie a stream's RTP clock to the sender's wall clock. Reception reports say what the far end received of a
//! stream, which differs from what a mirror port sees when the network between them loses packets. Names and goodbyes say
//! who an SSRC is and when it leaves. Application packets and feedback (RFC 4585) are stepped over by their length.
//! Lengths are the sender's word: whatever they say, nothing beyond the datagram is read.

/// Packets of one compound that are looked at.
pub const COMPOUND_MAX: usize = 32;
/// Report blocks, source descriptions and the like of one compound that are told.
pub const ITEMS_MAX: usize = 256;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const EXTENDED_REPORT: u8 = 207;
/// Item type of the canonical name in a source description.
const CNAME: u8 = 1;

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

/// A report block: what somebody received of a source (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// The source that it is about.
    pub ssrc: u32,
    /// Share of packets lost since the report before, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, copies counted against it.
    pub lost: i32,
    /// Highest sequence number received, with its cycles.
    pub highest: u32,
    /// Interarrival jitter in ticks of the stream's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time in the latest sender report; 0 when there was none.
    pub last_report: u32,
    /// Since that one came, in 65,536ths of a second.
    pub delay: u32,
}

/// A VoIP metrics block (RFC 3611, 4.7). Scores and factors that the sender does not know are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Voip {
    /// The source that it is about.
    pub ssrc: u32,
    /// Packets lost, in percent.
    pub loss_percent: f64,
    /// Packets that came too late, in percent.
    pub discard_percent: f64,
    /// Round trip between the RTP interfaces, in milliseconds; 0 when unknown.
    pub round_trip_ms: u16,
    /// Delay inside the end system, in milliseconds; 0 when unknown.
    pub end_system_ms: u16,
    /// Rating of the voice quality, 0 to 100.
    pub r_factor: Option<u8>,
    /// Listening quality, 1.0 to 5.0.
    pub mos_lq: Option<f64>,
    /// Conversational quality, 1.0 to 5.0.
    pub mos_cq: Option<f64>,
    /// Nominal delay of the jitter buffer, in milliseconds.
    pub jitter_buffer_ms: u16,
}

/// A statistics summary block (RFC 3611, 4.6): what it has of loss and copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The source that it is about.
    pub ssrc: u32,
    /// Packets lost between its two sequence numbers, when it tells.
    pub lost: Option<u32>,
    /// Copies between them, when it tells.
    pub duplicates: Option<u32>,
}

/// One thing that a compound packet says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// Sender information.
    SenderReport(SenderReport),
    /// What `from` received.
    Reception {
        /// Who reports.
        from: u32,
        /// What.
        block: Reception,
    },
    /// The canonical name of a source: the same for all streams of one sender.
    Name {
        /// The source.
        ssrc: u32,
        /// `user@host`, or anything.
        cname: &'a [u8],
    },
    /// A source leaves.
    Goodbye {
        /// Which.
        ssrc: u32,
    },
    /// Receiver reference time: a sender report's time from somebody who may not send (RFC 3611, 4.4).
    ReferenceTime {
        /// Who reports.
        from: u32,
        /// NTP time stamp.
        ntp: u64,
    },
    /// The answer to a reference time (RFC 3611, 4.5).
    LastReference {
        /// Whose reference time it answers.
        ssrc: u32,
        /// Middle 32 bits of that time.
        last: u32,
        /// Since it came, in 65,536ths of a second.
        delay: u32,
    },
    /// VoIP metrics.
    Voip(Voip),
    /// Statistics.
    Summary(Summary),
}

/// Tells everything that a compound packet says; ends quietly where lengths stop making sense.
pub fn read<'a>(compound: &'a [u8], mut tell: impl FnMut(Item<'a>)) {
    let mut left = ITEMS_MAX;
    let mut tell = |item| {
        if left > 0 {
            left -= 1;
            tell(item);
        }
    };
    for packet in packets(compound).take(COMPOUND_MAX) {
        match packet.kind {
            SENDER_REPORT => {
                if let Some(report) = sender_report(packet.body) {
                    tell(Item::SenderReport(report));
                    receptions(packet, 24, &mut tell);
                }
            }
            RECEIVER_REPORT => receptions(packet, 4, &mut tell),
            SOURCE_DESCRIPTION => names(packet, &mut tell),
            GOODBYE => (0..packet.count)
                .filter_map(|n| word(packet.body, 4 * n))
                .for_each(|ssrc| tell(Item::Goodbye { ssrc })),
            EXTENDED_REPORT => extended(packet.body, &mut tell),
            _ => {}
        }
    }
}

/// The first packet's sender, and the source that its first report block is about: enough to find whose RTCP this is.
#[must_use]
pub fn sources(compound: &[u8]) -> (Option<u32>, Option<u32>) {
    let Some(first) = packets(compound).next() else { return (None, None) };
    let about = match first.kind {
        SENDER_REPORT if first.count > 0 => word(first.body, 24),
        RECEIVER_REPORT if first.count > 0 => word(first.body, 4),
        _ => None,
    };
    (word(first.body, 0), about)
}

#[derive(Clone, Copy)]
struct Packet<'a> {
    kind: u8,
    /// Report blocks, chunks or sources in it, as it says.
    count: usize,
    /// Everything behind the header of four bytes.
    body: &'a [u8],
}

fn packets(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_first_chunk::<4>()?;
        let [first, kind, high, low] = *header;
        if first >> 6 != 2 {
            return None;
        }
        let length = 4 * usize::from(u16::from_be_bytes([high, low]));
        let body = behind.get(..length.min(behind.len()))?;
        rest = behind.get(length..).unwrap_or_default();
        Some(Packet { kind, count: usize::from(first & 0x1f), body })
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?).and_then(|half| half.try_into().ok()).map(u16::from_be_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(word(bytes, at)?) << 32 | u64::from(word(bytes, at + 4)?))
}

fn sender_report(body: &[u8]) -> Option<SenderReport> {
    Some(SenderReport {
        ssrc: word(body, 0)?,
        ntp: long(body, 4)?,
        rtp_timestamp: word(body, 12)?,
        packets: word(body, 16)?,
    })
}

fn receptions<'a>(packet: Packet<'a>, first: usize, tell: &mut impl FnMut(Item<'a>)) {
    let Some(from) = word(packet.body, 0) else { return };
    let blocks = packet.body.get(first..).unwrap_or_default().chunks_exact(24);
    for block in blocks.take(packet.count).filter_map(reception) {
        tell(Item::Reception { from, block });
    }
}

fn reception(block: &[u8]) -> Option<Reception> {
    let loss = word(block, 4)?;
    Some(Reception {
        ssrc: word(block, 0)?,
        fraction_lost: (loss >> 24) as u8,
        // 24 bits with a sign.
        lost: (loss << 8) as i32 >> 8,
        highest: word(block, 8)?,
        jitter: word(block, 12)?,
        last_report: word(block, 16)?,
        delay: word(block, 20)?,
    })
}

/// Chunks of a source description: an SSRC, items that end with a 0, and zeros up to the next whole word.
fn names<'a>(packet: Packet<'a>, tell: &mut impl FnMut(Item<'a>)) {
    let body = packet.body;
    let mut at = 0;
    for _ in 0..packet.count {
        let Some(ssrc) = word(body, at) else { return };
        at += 4;
        loop {
            match body.get(at..) {
                Some([0, ..]) => break,
                Some([kind, length, text @ ..]) => {
                    let Some(text) = text.get(..usize::from(*length)) else { return };
                    if *kind == CNAME {
                        tell(Item::Name { ssrc, cname: text });
                    }
                    at += 2 + text.len();
                }
                _ => return,
            }
        }
        at = (at + 4) & !3;
    }
}

fn extended<'a>(body: &'a [u8], tell: &mut impl FnMut(Item<'a>)) {
    let Some(from) = word(body, 0) else { return };
    let mut rest = body.get(4..).unwrap_or_default();
    while let Some((&[kind, flags, high, low], behind)) = rest.split_first_chunk::<4>() {
        let length = 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some(block) = behind.get(..length) else { return };
        rest = behind.get(length..).unwrap_or_default();
        match kind {
            4 => {
                if let Some(ntp) = long(block, 0) {
                    tell(Item::ReferenceTime { from, ntp });
                }
            }
            5 => {
                for part in block.chunks_exact(12) {
                    if let (Some(ssrc), Some(last), Some(delay)) =
                        (word(part, 0), word(part, 4), word(part, 8))
                    {
                        tell(Item::LastReference { ssrc, last, delay });
                    }
                }
            }
            6 => {
                if let Some(summary) = summary(block, flags) {
                    tell(Item::Summary(summary));
                }
            }
            7 => {
                if let Some(voip) = voip(block) {
                    tell(Item::Voip(voip));
                }
            }
            _ => {}
        }
    }
}

fn summary(block: &[u8], flags: u8) -> Option<Summary> {
    let (lost, duplicates) = (word(block, 8)?, word(block, 12)?);
    Some(Summary {
        ssrc: word(block, 0)?,
        lost: (flags & 0x80 != 0).then_some(lost),
        duplicates: (flags & 0x40 != 0).then_some(duplicates),
    })
}

fn voip(block: &[u8]) -> Option<Voip> {
    let &[_, _, _, _, loss, discard, ..] = block else { return None };
    let &[r_factor, _, mos_lq, mos_cq, ..] = block.get(20..)? else { return None };
    // 127 says that it is not known; scores are in tenths.
    let score = |tenths: u8| (10..=50).contains(&tenths).then(|| f64::from(tenths) / 10.0);
    Some(Voip {
        ssrc: word(block, 0)?,
        loss_percent: f64::from(loss) * 100.0 / 256.0,
        discard_percent: f64::from(discard) * 100.0 / 256.0,
        round_trip_ms: half(block, 12)?,
        end_system_ms: half(block, 14)?,
        r_factor: (r_factor <= 100).then_some(r_factor),
        mos_lq: score(mos_lq),
        mos_cq: score(mos_cq),
        jitter_buffer_ms: half(block, 26)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let length = (words.len() as u16).to_be_bytes();
        let mut bytes = vec![0x80 | count, kind, length[0], length[1]];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    }

    fn items(compound: &[u8]) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        read(compound, |item| items.push(item));
        items
    }

    /// One of everything.
    fn compound() -> Vec<u8> {
        let mut bytes =
            packet(1, SENDER_REPORT, &[7, 1, 2, 3, 4, 5, 9, 0x40ff_fffe, 70_000, 16, 0x0001_0002, 0x8000]);
        bytes.extend(packet(1, RECEIVER_REPORT, &[8, 7, 0x0100_0003, 5, 6, 0, 0]));
        bytes.extend(packet(3, 205, &[1, 2, 3]));
        bytes.extend(packet(
            2,
            SOURCE_DESCRIPTION,
            &[7, 0x0103_6140, 0x6200_0000, 8, 0x0201_7a01, 0x0163_0000],
        ));
        bytes.extend(packet(2, GOODBYE, &[7, 8]));
        let mut report = vec![7];
        report.extend([0x0400_0002, 11, 12]);
        report.extend([0x0500_0003, 9, 13, 14]);
        report.extend([0x0680_0009, 9, 0x0001_0002, 15, 16, 0, 0, 0, 0, 0]);
        report.extend([0x0700_0008, 9, 0x8040_0000, 0, 0x0064_0014, 0, 0x5d7f_2c29, 0x0000_003c, 0]);
        bytes.extend(packet(0, EXTENDED_REPORT, &report));
        bytes
    }

    #[test]
    fn everything_in_a_compound_is_told_in_order() {
        let block = Reception {
            ssrc: 9,
            fraction_lost: 64,
            lost: -2,
            highest: 70_000,
            jitter: 16,
            last_report: 0x0001_0002,
            delay: 0x8000,
        };
        let second =
            Reception { ssrc: 7, fraction_lost: 1, lost: 3, highest: 5, jitter: 6, last_report: 0, delay: 0 };
        let metrics = Voip {
            ssrc: 9,
            loss_percent: 50.0,
            discard_percent: 25.0,
            round_trip_ms: 100,
            end_system_ms: 20,
            r_factor: Some(93),
            mos_lq: Some(4.4),
            mos_cq: Some(4.1),
            jitter_buffer_ms: 60,
        };
        let expected = [
            Item::SenderReport(SenderReport { ssrc: 7, ntp: 1 << 32 | 2, rtp_timestamp: 3, packets: 4 }),
            Item::Reception { from: 7, block },
            Item::Reception { from: 8, block: second },
            Item::Name { ssrc: 7, cname: b"a@b" },
            Item::Name { ssrc: 8, cname: b"c" },
            Item::Goodbye { ssrc: 7 },
            Item::Goodbye { ssrc: 8 },
            Item::ReferenceTime { from: 7, ntp: 11 << 32 | 12 },
            Item::LastReference { ssrc: 9, last: 13, delay: 14 },
            Item::Summary(Summary { ssrc: 9, lost: Some(15), duplicates: None }),
            Item::Voip(metrics),
        ];
        assert_eq!(items(&compound()), expected);
        assert_eq!(sources(&compound()), (Some(7), Some(9)));
        assert_eq!(sources(&packet(0, GOODBYE, &[])), (None, None));
    }

    #[test]
    fn cut_anywhere_it_tells_the_first_of_it() {
        let whole = compound();
        let all = items(&whole);
        for cut in 0..whole.len() {
            let told = items(&whole[..cut]);
            assert!(all.starts_with(&told), "cut at {cut}: {told:?}");
        }
    }

    #[test]
    fn lengths_that_lie_end_it() {
        let mut bytes = packet(31, RECEIVER_REPORT, &[8, 7, 1, 5, 6, 0, 0]);
        bytes[3] = 0xff;
        assert_eq!(items(&bytes).len(), 1);
        // An extended report whose block goes beyond it, and a name longer than its packet.
        assert_eq!(items(&packet(0, EXTENDED_REPORT, &[7, 0x0500_ffff, 9, 13, 14])), []);
        assert_eq!(items(&packet(1, SOURCE_DESCRIPTION, &[7, 0x01ff_6140])), []);
        assert_eq!(items(&[0x80, 200, 0, 0].repeat(1000)), []);
    }

    #[test]
    fn no_datagram_tells_more_than_its_share() {
        let blocks: Vec<u32> = std::iter::once(8).chain((0..31 * 6).map(|n| n as u32)).collect();
        let bytes = packet(31, RECEIVER_REPORT, &blocks).repeat(80);
        assert_eq!(items(&bytes).len(), ITEMS_MAX);
        let parts: Vec<u32> = [7, 0x0500_3000].into_iter().chain((0..0x3000).map(|n| n as u32)).collect();
        assert_eq!(items(&packet(0, EXTENDED_REPORT, &parts)).len(), ITEMS_MAX);
    }
}
