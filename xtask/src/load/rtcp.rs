//! RTCP of a party (RFC 3550, 6): once a second a sender report with a block about the other party, and a name.
//!
//! The far end is said to lose one packet a second beyond the place of the capture, and to see a jitter of 3 ms: figures
//! that a recorder cannot have measured itself.

/// From one report to the next, and from the first audio to the first report.
pub(super) const EVERY_MS: u64 = 1_000;
/// Jitter that is reported, in ticks.
const REPORTED_JITTER: u32 = 24;
/// Seconds from 1900 to 1970.
const NTP_EPOCH_S: u64 = 2_208_988_800;

/// What a report says.
pub(super) struct Report<'a> {
    pub(super) ssrc: u32,
    pub(super) at: i64,
    pub(super) timestamp: u32,
    pub(super) packets: u32,
    pub(super) cname: &'a str,
    /// The other party's source.
    pub(super) about: u32,
    /// How many reports came before this one: as many packets are said to be lost.
    pub(super) before: u32,
    /// When the other party's latest report was captured on its way here; none before the first.
    pub(super) heard: Option<i64>,
    /// From the place of the capture to this party and back, in nanoseconds.
    pub(super) trip: i64,
}

impl Report<'_> {
    /// The compound packet.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let now = ntp(self.at);
        // Heard half a trip after it was captured, answered half a trip before the answer is.
        let delay = self.heard.map_or(0, |heard| (self.at - heard - self.trip).max(0));
        let last = self.heard.map_or(0, |heard| (ntp(heard) >> 16) as u32);
        let fraction = if self.before > 0 { 256 / 50 } else { 0 };
        let words = [
            self.ssrc,
            (now >> 32) as u32,
            now as u32,
            self.timestamp,
            self.packets,
            self.packets.wrapping_mul(160),
            self.about,
            fraction << 24 | self.before & 0x00ff_ffff,
            self.before.wrapping_mul(50),
            REPORTED_JITTER,
            last,
            (i128::from(delay) * 65_536 / 1_000_000_000) as u32,
        ];
        let mut bytes = packet(1, 200, words.into_iter().flat_map(u32::to_be_bytes).collect());
        let mut name = self.ssrc.to_be_bytes().to_vec();
        name.extend([1, self.cname.len() as u8]);
        name.extend(self.cname.as_bytes());
        name.push(0);
        name.resize(name.len().next_multiple_of(4), 0);
        bytes.extend(packet(1, 202, name));
        bytes
    }
}

fn ntp(at: i64) -> u64 {
    let (seconds, nanos) = (at.div_euclid(1_000_000_000) as u64, at.rem_euclid(1_000_000_000) as u64);
    ((seconds + NTP_EPOCH_S) << 32) | ((nanos << 32) / 1_000_000_000)
}

fn packet(count: u8, kind: u8, body: Vec<u8>) -> Vec<u8> {
    let [high, low] = ((body.len() / 4) as u16).to_be_bytes();
    let mut bytes = vec![0x80 | count, kind, high, low];
    bytes.extend(body);
    bytes
}
