//! Strangers who send to the media ports of a call: what an attacker, a broken device or a scan does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Scenario;
use super::plan::Call;
use crate::rng::Rng;
use crate::wire::{self, Host, Path};

const MS: i64 = 1_000_000;
/// The strangers begin before the parties do and stay after them.
const LEAD_MS: i64 = 200;
/// One packet of each kind, to each of the call's four ports, this often.
const EVERY_MS: i64 = 20;
/// Audio of a stranger: not a tone of anybody.
const PAYLOAD: [u8; 40] = [0x2a; 40];

/// All that strangers send to a call's ports, in order of time: one from one place all the time, one from another
/// address each time.
pub(super) fn frames(s: &Scenario, call: &Call) -> Vec<(i64, Vec<u8>)> {
    let mut rng = Rng::new(s.seed, 0x3_0000_0000 + u64::from(call.index));
    let steady = rng.next() as u32;
    let samples = PAYLOAD.len() as u32;
    let (from, until) = (call.media_from - LEAD_MS * MS, call.end + LEAD_MS * MS);
    let mut frames = Vec::new();
    for (n, at) in (from..until).step_by((EVERY_MS * MS) as usize).enumerate() {
        for end in [&call.near, &call.far] {
            for port in [end.rtp_port, end.rtp_port + 1] {
                let one = (stranger(s.ipv6, 1), 7_000);
                let many = (stranger(s.ipv6, 2 + rng.below(200) as u8), 1_024 + rng.below(60_000) as u16);
                for (sender, ssrc, sequence) in
                    [(one, steady, n as u16), (many, rng.next() as u32, rng.next() as u16)]
                {
                    let mut rtp = vec![0x80, s.law.payload_type()];
                    rtp.extend(sequence.to_be_bytes());
                    rtp.extend((u32::from(sequence) * samples).to_be_bytes());
                    rtp.extend(ssrc.to_be_bytes());
                    rtp.extend(PAYLOAD);
                    let path = Path { from: sender, to: (end.host, port), vlans: &s.vlans };
                    let late = rng.below(1_000) as i64 * 1_000;
                    frames
                        .extend(wire::udp(path, n as u16, &rtp).into_iter().map(|bytes| (at + late, bytes)));
                }
            }
        }
    }
    frames.sort_by_key(|(at, _)| *at);
    frames
}

/// 203.0.113.0/24, or a subnet of its own for IPv6.
fn stranger(ipv6: bool, n: u8) -> Host {
    let ip: IpAddr = if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0x66, 0, 0, 0, n.into()).into()
    } else {
        Ipv4Addr::new(203, 0, 113, n).into()
    };
    Host { mac: [0x02, 0x00, 0x5e, 0x66, 0, n], ip }
}
