//! Which UDP ports carry audio: ranges that an administrator lists (`docs/ports.md`). Signalling is known by its look on any port, and is
//! not filtered.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;
use crate::net::Flow;

/// Ranges in a list.
pub const PORT_RANGES_MAX: usize = 64;

/// Ports from one to another, both included; as `10000-20000`, or `5004` for one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Both included.
    ///
    /// # Errors
    /// [`ParseError`] when it is empty or begins with port 0, which nobody sends from.
    pub const fn new(first: u16, last: u16) -> Result<PortRange, ParseError> {
        if first == 0 || first > last {
            return Err(ParseError { offset: 0, expected: "two ports, the lower one first" });
        }
        Ok(PortRange { first, last })
    }

    /// Is this port in it?
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let port = |text: &str, offset| {
            let text = text.trim();
            let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|_| is_plain)
                .ok_or(ParseError { offset, expected: "a port from 1 to 65535" })
        };
        match text.split_once('-') {
            None => port(text, 0).and_then(|port| PortRange::new(port, port)),
            Some((first, last)) => PortRange::new(port(first, 0)?, port(last, first.len() + 1)?),
        }
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |error| format!("{text:?} is no port and no range of ports as \"10000-20000\": {error}");
        text.parse().map_err(|error: ParseError| wrong(error))
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        range.to_string()
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// The ports that carry audio: all of them, unless some are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<PortRange>);

impl Ports {
    /// Those of a list, all without one.
    ///
    /// # Errors
    /// [`ParseError`] for more than [`PORT_RANGES_MAX`].
    pub fn new(mut ranges: Vec<PortRange>) -> Result<Ports, ParseError> {
        if ranges.len() > PORT_RANGES_MAX {
            return Err(ParseError { offset: PORT_RANGES_MAX, expected: "at most 64 ranges of ports" });
        }
        ranges.sort_unstable();
        ranges.dedup();
        Ok(Ports(ranges))
    }

    /// May this flow carry audio? One end on a listed port is enough: the ranges of a PBX need not be those of its phones.
    #[must_use]
    pub fn take(&self, flow: &Flow) -> bool {
        let is_listed = |port| self.0.iter().any(|range| range.contains(port));
        self.0.is_empty() || is_listed(flow.src.port) || is_listed(flow.dst.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Endpoint;

    fn flow(src: u16, dst: u16) -> Flow {
        let end = |port| Endpoint::new([192, 0, 2, 1].into(), port);
        Flow { src: end(src), dst: end(dst) }
    }

    #[test]
    fn a_range_is_read_as_it_is_written_and_nothing_else_is() {
        for (text, first, last) in
            [("5004", 5004, 5004), ("10000-20000", 10_000, 20_000), (" 1 - 65535", 1, 65_535)]
        {
            assert_eq!(text.parse(), PortRange::new(first, last), "{text}");
        }
        for text in
            ["", "-", "1-", "-1", "0", "0-5", "20000-10000", "65536", "+5", "1-2-3", "sip", "1,2", "١"]
        {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
        for text in ["5004", "10000-20000"] {
            assert_eq!(text.parse::<PortRange>().map(|range| range.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_flow_passes_with_one_end_in_a_range_and_every_flow_without_a_list() {
        let ports = |list: &[&str]| {
            Ports::new(list.iter().map(|text| text.parse().expect("a range")).collect()).expect("a few")
        };
        for (list, src, dst, passes) in [
            (&[][..], 1, 2, true),
            (&["10000-20000"], 10_000, 9, true),
            (&["10000-20000"], 9, 20_000, true),
            (&["10000-20000"], 9_999, 20_001, false),
            (&["10000-20000", "5004"], 5004, 9, true),
            (&["10000-20000", "5004"], 5005, 9, false),
        ] {
            assert_eq!(ports(list).take(&flow(src, dst)), passes, "{list:?} {src} {dst}");
        }
        assert!(Ports::new(vec!["1".parse().expect("a port"); PORT_RANGES_MAX + 1]).is_err());
    }
}
