//! Who telephones in the demonstration: the five calls of `pcaps/demo`, in turn by two offices and with other people outside.

use std::net::IpAddr;

use capture::{FrameSource, PcapFile};
use decode::{Dissector, Endpoint, Flow};

use super::hep;
use crate::failure::Failure;

/// The captures that `pcaps/demo/make.sh` makes.
const CAPTURES: [(&str, &[u8]); 5] = [
    ("01-inbound.pcap", include_bytes!("../../../pcaps/demo/01-inbound.pcap")),
    ("02-outbound.pcap", include_bytes!("../../../pcaps/demo/02-outbound.pcap")),
    ("03-internal.pcap", include_bytes!("../../../pcaps/demo/03-internal.pcap")),
    ("04-not-answered.pcap", include_bytes!("../../../pcaps/demo/04-not-answered.pcap")),
    ("05-outbound-hold.pcap", include_bytes!("../../../pcaps/demo/05-outbound-hold.pcap")),
];
/// A round of the five calls begins so long after the one before.
pub(super) const ROUND_MS: i64 = 56_000;

/// Extensions with their names as they stand in the captures, in the order of [`Office::people`].
const PEOPLE: [(&str, &str); 3] =
    [("2041", "Tess, Front Desk"), ("2052", "Callum, Purchasing"), ("2063", "Ben, Workshop")];
/// Numbers outside with their names: who calls, who is called, and who hangs up before anybody answers.
const OUTSIDE: [(&str, &str); 3] = [
    ("01632960101", "Harold Moss"),
    ("02079460123", "Brightwater Papers"),
    ("01632960177", "Private Caller"),
];
/// Others in their place, round by round. All of these numbers are kept free for such use by the regulator.
const CALLERS: [(&str, &str); 5] = [
    ("01632960101", "Harold Moss"),
    ("01614960118", "Ines Carter"),
    ("01134960142", "Dunmore and Sons"),
    ("07700900134", "Ruth Okafor"),
    ("01514960177", "Penrose Books"),
];
const CALLED: [(&str, &str); 4] = [
    ("02079460123", "Brightwater Papers"),
    ("01214960155", "Tannery Lane"),
    DOCTOR,
    ("01174960161", "Gilt and Leaf"),
];
const UNANSWERED: [(&str, &str); 3] =
    [("01632960177", "Private Caller"), ("02079460164", "Fairway Surveys"), ("07700900190", "Anton Reyes")];
/// Whose calls the demonstration's rules leave out.
pub(super) const DOCTOR: (&str, &str) = ("02079460188", "Dr Hale, Surgery");

/// A place with a PBX and three telephones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Office {
    /// Number and name of each telephone.
    pub(super) people: [(&'static str, &'static str); 3],
    /// The last part of the PBX's address; the telephones' network follows from it.
    host: u8,
}

/// Both of them.
pub(super) const OFFICES: [Office; 2] = [
    Office { people: PEOPLE, host: 10 },
    Office {
        people: [("3041", "Priya, Reception"), ("3052", "Owen, Orders"), ("3063", "Mei, Bindery")],
        host: 11,
    },
];

impl Office {
    /// Where its PBX is.
    pub(super) fn pbx(self) -> IpAddr {
        IpAddr::from([192, 0, 2, self.host])
    }

    /// An address of the captures, at this place.
    fn address(self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) => match v4.octets() {
                [192, 0, 2, 10] => self.pbx(),
                [198, 18, 1, telephone] => IpAddr::from([198, 18, self.host - 9, telephone]),
                other => IpAddr::from(other),
            },
            IpAddr::V6(_) => ip,
        }
    }

    /// What the captures' messages say, as this place says it in this round.
    fn text(self, message: &str, round: usize) -> String {
        let mut text = message
            .replace("192.0.2.10", &self.pbx().to_string())
            .replace("198.18.1.", &format!("198.18.{}.", self.host - 9))
            // No Call-ID comes twice.
            .replace("@xtask.invalid", &format!("-{round}@pbx{}.demo.invalid", self.host))
            .replace("earwitness-xtask", "Demo PBX");
        let outside = [&CALLERS[..], &CALLED, &UNANSWERED];
        let theirs = outside.iter().zip(OUTSIDE).filter_map(|(list, was)| {
            let now = list.get((round + usize::from(self.host)) % list.len())?;
            Some((was, *now))
        });
        for ((number, name), (number_now, name_now)) in PEOPLE.into_iter().zip(self.people).chain(theirs) {
            text = text
                .replace(name, name_now)
                .replace(&format!("sip:{number}@"), &format!("sip:{number_now}@"));
        }
        text
    }
}

/// A datagram of a telephone or PBX.
#[derive(Clone, Debug)]
struct Said {
    /// From the round's beginning, in milliseconds.
    at_ms: i64,
    flow: Flow,
    payload: Vec<u8>,
}

impl Said {
    fn message(&self) -> Option<&str> {
        // RTP begins with its version, which no text does.
        if self.payload.first()? & 0xc0 == 0x80 { None } else { std::str::from_utf8(&self.payload).ok() }
    }
}

/// A packet of HEP that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    /// From the round's beginning, in milliseconds.
    pub(super) at_ms: i64,
    /// The packet.
    pub(super) packet: Vec<u8>,
}

/// The five calls.
#[derive(Clone, Debug)]
pub(super) struct Calls(Vec<Said>);

impl Calls {
    /// Reads the captures.
    ///
    /// # Errors
    /// None of ours: the captures are part of the program.
    pub(super) fn read() -> Result<Calls, Failure> {
        let (mut said, mut began) = (Vec::new(), None);
        for (name, bytes) in CAPTURES {
            let mut file = PcapFile::from_reader(name, bytes).map_err(Failure::new)?;
            let mut dissector = Dissector::new();
            while let Some(frame) = file.next_frame().map_err(Failure::new)? {
                let began = *began.get_or_insert(frame.at);
                let Some(datagram) = dissector.handle_frame(&frame) else { continue };
                let at_ms = datagram.at.nanos_since(began) / 1_000_000;
                said.push(Said { at_ms, flow: datagram.flow, payload: datagram.payload.to_vec() });
            }
        }
        // Of the same moment, what came first stays first.
        said.sort_by_key(|said| said.at_ms);
        Ok(Calls(said))
    }

    /// A round of them at a place, in order of time.
    pub(super) fn round(&self, office: Office, round: usize) -> impl Iterator<Item = Due> {
        self.0.iter().filter_map(move |said| {
            let there = |end: Endpoint| Endpoint::new(office.address(end.ip()), end.port);
            let flow = Flow { src: there(said.flow.src), dst: there(said.flow.dst) };
            let packet = match said.message() {
                Some(message) => hep::packet(flow, true, office.text(message, round).as_bytes()),
                None => hep::packet(flow, false, &said.payload),
            };
            Some(Due { at_ms: said.at_ms, packet: packet? })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn texts(calls: &Calls, office: Office, round: usize) -> Vec<String> {
        calls.0.iter().filter_map(Said::message).map(|message| office.text(message, round)).collect()
    }

    #[test]
    fn a_round_is_over_before_the_next_one_begins_and_in_order() {
        let calls = Calls::read().expect("the captures");
        assert!(calls.0.len() > 4_000);
        assert!(calls.0.is_sorted_by_key(|said| said.at_ms));
        assert!(calls.0.iter().all(|said| (0..ROUND_MS - 1_000).contains(&said.at_ms)));
        assert_eq!(calls.round(OFFICES[1], 3).count(), calls.0.len());
    }

    #[test]
    fn the_first_office_in_a_round_of_its_own_says_what_the_captures_say() {
        let calls = Calls::read().expect("the captures");
        // The lists begin with who is in the captures; this is the first round in which all of them are there.
        let round = 60 - usize::from(OFFICES[0].host);
        for (said, message) in
            texts(&calls, OFFICES[0], round).iter().zip(calls.0.iter().filter_map(Said::message))
        {
            let back = said.replace(&format!("-{round}@pbx10.demo.invalid"), "@xtask.invalid");
            assert_eq!(back.replace("Demo PBX", "earwitness-xtask"), message);
        }
    }

    #[test]
    fn two_offices_share_no_telephone_no_call_and_no_address() {
        let calls = Calls::read().expect("the captures");
        let ids = |office, round| -> BTreeSet<String> {
            let texts = texts(&calls, office, round);
            let ids = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("Call-ID"));
            ids.map(str::to_owned).collect()
        };
        let all: Vec<BTreeSet<String>> =
            [(0, 1), (0, 2), (1, 1), (1, 2)].map(|(office, round)| ids(OFFICES[office], round)).to_vec();
        assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), 4 * CAPTURES.len());
        for text in texts(&calls, OFFICES[1], 7) {
            for there in ["192.0.2.10", "198.18.1.", "2041", "2052", "2063", "Tess", "xtask"] {
                assert!(!text.contains(there), "{there} in {text}");
            }
            // A body is as long as its header says (RFC 3261, 20.14).
            let (head, body) = text.split_once("\r\n\r\n").expect("a message");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("told");
            assert_eq!(length.parse(), Ok(body.len()), "{text}");
        }
    }
}
