//! Who calls whom, when, from which addresses and with which tones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Direction, LINES_MAX, Party, Person, Scenario};
use crate::rng::Rng;
use crate::wire::Host;

const MS: i64 = 1_000_000;
/// Pause between two calls of one line.
const GAP_MS: i64 = 50;
/// From the 200 OK to the first audio.
const MEDIA_DELAY_MS: i64 = 30;
/// From the last audio to the BYE.
const TAIL_MS: i64 = 40;
/// From a re-INVITE to its 200.
pub(super) const REINVITE_MS: i64 = 20;
/// From the INVITE to the 180 or 183.
const RING_DELAY_MS: i64 = 60;

/// One end of a call.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) host: Host,
    pub(super) rtp_port: u16,
    pub(super) person: Person,
}

/// One call with all its times, in nanoseconds since the epoch.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) index: u32,
    pub(super) call_id: String,
    pub(super) direction: Direction,
    pub(super) near: End,
    pub(super) far: End,
    /// The PBX: the far host itself, or the proxy between two phones.
    pub(super) pbx: Host,
    pub(super) caller: Party,
    pub(super) hangs_up: Party,
    pub(super) tones: [u32; 2],
    /// Local port of the caller's TCP connection.
    pub(super) tcp_port: u16,
    pub(super) tags: [u64; 2],
    pub(super) invite: i64,
    pub(super) ringing: i64,
    /// The 200 OK; none when the call is not answered.
    pub(super) answer: Option<i64>,
    /// First moment at which answered parties may send.
    pub(super) media_from: i64,
    /// Last moment at which they may.
    pub(super) media_until: i64,
    /// BYE, CANCEL or 486.
    pub(super) end: i64,
    /// The re-INVITEs that hold and retrieve.
    pub(super) hold: Option<(i64, i64)>,
    /// The re-INVITE that moves the extension's port.
    pub(super) moved: Option<i64>,
    /// When a NAT gives the extension's audio another port.
    pub(super) rebound: Option<i64>,
    /// When the far side's source changes.
    pub(super) ssrc_change: Option<i64>,
}

impl Call {
    pub(super) fn end_of(&self, party: Party) -> &End {
        match party {
            Party::Near => &self.near,
            Party::Far => &self.far,
        }
    }

    /// The port that the extension moves to.
    pub(super) fn moved_port(&self) -> u16 {
        self.near.rtp_port + 1000
    }

    /// The port that a NAT gives the extension's audio later.
    pub(super) fn rebound_port(&self) -> u16 {
        self.near.rtp_port + 2000
    }

    /// When something that a re-INVITE asked for comes into force.
    pub(super) fn in_force(reinvite: i64) -> i64 {
        reinvite + REINVITE_MS * MS
    }
}

/// All calls of a scenario, by line, then by time.
pub(super) fn calls(s: &Scenario) -> Vec<Call> {
    assert!(s.first_line + s.calls <= LINES_MAX, "there are at most {LINES_MAX} lines");
    assert!(s.ring_ms >= 120, "ringing takes 120 ms at least");
    assert!(s.ptime_ms > 0, "a packet holds at least a millisecond of audio");
    let mut calls = Vec::new();
    for line in s.first_line..s.first_line + s.calls {
        let mut rng = Rng::new(s.seed, u64::from(line));
        let mut start = s.epoch_ns + rng.below(u64::from(s.ramp_ms) * 1000) as i64 * 1000;
        for turn in 0..s.calls_per_line {
            let call = call(s, &mut rng, line, line + turn * s.calls, start);
            start = call.end + GAP_MS * MS;
            calls.push(call);
        }
    }
    calls
}

fn call(s: &Scenario, rng: &mut Rng, line: u32, index: u32, invite: i64) -> Call {
    let inbound = rng.chance(50.0);
    let direction = match (s.direction, inbound) {
        (Direction::Mixed, true) => Direction::Inbound,
        (Direction::Mixed, false) => Direction::Outbound,
        (asked, _) => asked,
    };
    let answered_at = invite + i64::from(s.ring_ms) * MS;
    let media_from = answered_at + MEDIA_DELAY_MS * MS;
    let talk = i64::from(s.talk_ms) * MS;
    let at_percent = |percent: i64| media_from + talk / 100 * percent;
    let answered = s.ending.answered();
    let when = |wanted: bool, percent| (answered && wanted).then(|| at_percent(percent));
    let pbx = Host { mac: mac(0, 0), ip: pbx_ip(s.ipv6) };
    let phone = |kind| Host { mac: mac(kind, line), ip: phone_ip(s.ipv6, kind, line) };
    Call {
        index,
        call_id: format!("{:016x}-{index}@xtask.invalid", rng.next()),
        direction,
        near: End {
            host: phone(1),
            rtp_port: 16_384 + 2 * (line % 500) as u16,
            person: s.extension.clone().unwrap_or_else(|| extension(s.calls, line, "Desk")),
        },
        far: End {
            host: if s.proxied { phone(2) } else { pbx },
            rtp_port: 10_000 + 2 * line as u16,
            person: s.remote.clone().unwrap_or_else(|| match direction {
                Direction::Internal => extension(s.calls, s.first_line + s.calls + line, "Colleague"),
                _ => Person { number: outside_number(index), name: format!("Customer {index}") },
            }),
        },
        pbx,
        caller: if direction == Direction::Inbound { Party::Far } else { Party::Near },
        hangs_up: if rng.chance(50.0) { Party::Near } else { Party::Far },
        tones: tones(index),
        tcp_port: 20_000 + (index % 40_000) as u16,
        tags: [rng.next(), rng.next()],
        invite,
        ringing: invite + RING_DELAY_MS * MS,
        answer: answered.then_some(answered_at),
        media_from,
        media_until: media_from + talk,
        end: if answered { media_from + talk + TAIL_MS * MS } else { answered_at },
        hold: when(s.hold, 40).zip(when(s.hold, 60)),
        moved: when(s.move_port, 70),
        rebound: when(s.nat, 50),
        ssrc_change: when(s.change_ssrc, 30),
    }
}

/// The pair of frequencies of a call, near and far: no two of the first 562,500 are the same.
fn tones(index: u32) -> [u32; 2] {
    let (block, place) = (index / 750, index % 750);
    [300 + 2 * place, 1801 + 2 * ((11 * place + block) % 750)]
}

fn extension(lines: u32, n: u32, name: &str) -> Person {
    let number = if lines <= 3500 { 2000 + n } else { 20_000 + n };
    Person { number: number.to_string(), name: format!("{name} {number}") }
}

/// One of the 19,000 numbers that Ofcom keeps for drama; the first thousand are 01632 960000 to 960999.
fn outside_number(index: u32) -> String {
    const RANGES: [&str; 19] = [
        "01632960", "02079460", "01134960", "01144960", "01154960", "01164960", "01174960", "01184960",
        "01214960", "01314960", "01414960", "01514960", "01614960", "01914980", "02896496", "02920180",
        "07700900", "08081570", "03069990",
    ];
    let range = RANGES[index as usize / 1000 % RANGES.len()];
    format!("{range}{:03}", index % 1000)
}

/// Locally administered addresses: kind 0 is the PBX, 1 and 2 are phones.
fn mac(kind: u8, line: u32) -> [u8; 6] {
    let [_, _, high, low] = line.to_be_bytes();
    [0x02, 0x00, 0x5e, kind, high, low]
}

fn pbx_ip(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 10).into()
    }
}

/// 198.18.0.0/16 for near phones, 198.19.0.0/16 for far ones, 250 in each /24.
fn phone_ip(ipv6: bool, kind: u8, line: u32) -> IpAddr {
    if ipv6 {
        return Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(kind), 0, 0, 0, line as u16 + 1).into();
    }
    Ipv4Addr::new(198, 17 + kind, (line / 250) as u8 + 1, (line % 250) as u8 + 1).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_calls_share_a_pair_of_tones() {
        let pairs: HashSet<_> = (0..100_000).map(tones).collect();
        assert_eq!(pairs.len(), 100_000);
        assert!(pairs.iter().all(|[near, far]| super::super::NEAR_HZ.contains(near)
            && super::super::FAR_HZ.contains(far)
            && near % 2 == 0
            && far % 2 == 1));
    }

    #[test]
    fn no_two_lines_share_an_address_and_port() {
        let s = Scenario { calls: LINES_MAX, ..Scenario::default() };
        let calls = calls(&s);
        let near: HashSet<_> = calls.iter().map(|c| c.near.host.ip).collect();
        let far: HashSet<_> = calls.iter().map(|c| c.far.rtp_port).collect();
        assert_eq!((near.len(), far.len()), (calls.len(), calls.len()));
    }

    #[test]
    fn numbers_stay_in_ranges_kept_for_fiction() {
        assert_eq!(outside_number(7), "01632960007");
        assert_eq!(outside_number(16_123), "07700900123");
        assert_eq!(outside_number(19_001), "01632960001");
    }
}
