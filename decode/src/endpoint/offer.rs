//! Offer and answer (RFC 3264): what of a peer's description is taken, and the descriptions that we write.
//!
//! An answer has the media lines of its offer, in its order. Of a line that is taken one encoding is agreed on, the first of the
//! offer's that we know, and telephone events beside it; every other line is refused with port 0.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::media::{Codec, Format};
use crate::net::Endpoint;
use crate::sdp::{self, Direction, Kind, MEDIA_MAX, Media};
use crate::sip;

/// Bytes of a description that are read; a longer one is refused.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;
/// First payload type of those that a description gives a meaning (RFC 3551, 6).
const DYNAMIC_FROM: u8 = 96;
/// What we offer telephone events as.
const EVENTS_PAYLOAD_TYPE: u8 = 101;

/// One media line of a peer's description.
#[derive(Clone, Debug)]
pub(super) struct Section {
    media: Vec<u8>,
    protocol: Vec<u8>,
    formats: Vec<u8>,
    /// Port 0: refused, or taken away.
    is_off: bool,
    read: Option<Media>,
}

/// The media lines; none when the description is too long, or has more than can be answered.
pub(super) fn sections(body: &[u8]) -> Option<Vec<Section>> {
    if body.len() > DESCRIPTION_BYTES_MAX {
        return None;
    }
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in body.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"m=") {
            starts.push(at);
        }
        at += line.len();
    }
    if starts.len() > MEDIA_MAX {
        return None;
    }
    let session = body.get(..starts.first().copied().unwrap_or(body.len())).unwrap_or_default();
    let ends = starts.iter().skip(1).copied().chain([body.len()]);
    let whole = starts.iter().zip(ends).filter_map(|(&from, to)| body.get(from..to));
    Some(whole.map(|section| read_section(session, section)).collect())
}

fn read_section(session: &[u8], section: &[u8]) -> Section {
    let line = section.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = sip::trim(line.get(2..).unwrap_or_default());
    let mut words = line.splitn(4, |&b| b == b' ');
    let mut word = || words.next().unwrap_or_default().to_vec();
    let (media, port, protocol, formats) = (word(), word(), word(), word());
    // Alone with the session's part: a line that cannot be read must not shift those behind it.
    let read = sdp::parse(&[session, section].concat()).media.into_iter().next();
    Section { media, protocol, formats, is_off: port.split(|&b| b == b'/').next() == Some(b"0"), read }
}

/// What is agreed on for a media line.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    /// Which of our port pairs.
    pub(super) pair: usize,
    /// Where the peer receives; nowhere while it holds in the old way (RFC 3264, 8.4).
    pub(super) remote: Option<Endpoint>,
    /// Where it receives RTCP, when that is not the next port.
    pub(super) remote_rtcp: Option<Endpoint>,
    /// RTP and RTCP share our port (RFC 5761).
    pub(super) mux: bool,
    /// The encodings, the one that is used first; of an offer of ours that is not answered all that we know.
    pub(super) formats: Vec<Format>,
    /// Which way, in the peer's words.
    pub(super) theirs: Direction,
    /// What metadata names it by.
    pub(super) label: Option<String>,
}

impl Agreed {
    /// On this line of the peer's, in `format`, with digits in `events` where both know them.
    fn on(media: &Media, pair: usize, format: &Format, events: Option<&Format>) -> Agreed {
        Agreed {
            pair,
            remote: media.receives_at,
            remote_rtcp: media.rtcp_at,
            mux: media.rtcp_mux,
            formats: [Some(format), events].into_iter().flatten().cloned().collect(),
            theirs: media.direction,
            label: media.label.clone(),
        }
    }

    /// The encoding of the audio.
    pub(super) fn format(&self) -> Option<&Format> {
        self.formats.first()
    }

    /// Does the peer say that it sends now?
    pub(super) fn is_heard(&self) -> bool {
        // Without an address it is held in the way of RFC 2543.
        matches!(self.theirs, Direction::SendRecv | Direction::SendOnly) && self.remote.is_some()
    }

    /// May we send now?
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.theirs, Direction::SendRecv | Direction::RecvOnly) && self.remote.is_some()
    }

    /// Where RTCP goes to.
    pub(super) fn rtcp(&self) -> Option<Endpoint> {
        let remote = self.remote?;
        if self.mux {
            return Some(remote);
        }
        self.remote_rtcp.or_else(|| Some(remote.with_port(remote.port.checked_add(1)?)))
    }
}

/// What an offer can be agreed on by.
pub(super) struct Terms<'t> {
    /// Encodings that are taken.
    pub(super) codecs: &'t [Codec],
    /// Of these, those that are taken before the others, whatever the offer prefers.
    pub(super) first: &'t [Codec],
}

/// What can be agreed on for this section, on the port pair that the caller has for it; `None` when it must be refused.
pub(super) fn agree(section: &Section, pair: usize, terms: &Terms<'_>) -> Option<Agreed> {
    let media = section.read.as_ref().filter(|_| !section.is_off)?;
    let is_plain =
        [&b"RTP/AVP"[..], b"RTP/AVPF"].iter().any(|name| section.protocol.eq_ignore_ascii_case(name));
    if media.kind != Kind::Audio || !is_plain || media.receives_at.is_none() && !media.held_by_address {
        return None;
    }
    let is_taken = |format: &&Format| terms.codecs.contains(&format.codec);
    let first = media.formats.iter().find(|format| is_taken(format) && terms.first.contains(&format.codec));
    let format = first.or_else(|| media.formats.iter().find(is_taken))?;
    let events = media.formats.iter().find(|other| {
        other.codec == Codec::TelephoneEvent
            && (other.clock_rate == format.clock_rate || other.clock_rate == 8000)
    });
    Some(Agreed::on(media, pair, format, events))
}

/// Could this section be agreed on at all?
pub(super) fn is_acceptable(section: &Section, terms: &Terms<'_>) -> bool {
    agree(section, 0, terms).is_some()
}

/// What an answer makes of an offer of ours; `None` when the peer refuses the line.
pub(super) fn settle(offered: &Agreed, answer: &Section) -> Option<Agreed> {
    let media = answer.read.as_ref().filter(|_| !answer.is_off)?;
    let known = |format: &&Format| offered.formats.iter().any(|ours| ours.codec == format.codec);
    let audio = |format: &&Format| !matches!(format.codec, Codec::TelephoneEvent | Codec::ComfortNoise);
    let format = media.formats.iter().filter(known).find(audio)?;
    let events = media.formats.iter().find(|format| format.codec == Codec::TelephoneEvent);
    Some(Agreed::on(media, offered.pair, format, events))
}

/// An offer of everything that we know.
pub(super) fn offer(pair: usize, codecs: &[Codec]) -> Agreed {
    let mut dynamic = DYNAMIC_FROM;
    let mut formats = Vec::new();
    for codec in codecs {
        let fixed =
            (0..35).map(sdp::static_format).find(|format| format.codec == *codec && format.channels == 1);
        let format = fixed.unwrap_or_else(|| {
            if dynamic == EVENTS_PAYLOAD_TYPE {
                dynamic += 1;
            }
            let (clock_rate, channels) = match codec.name() {
                "OPUS" => (48_000, 2),
                "AMR-WB" => (16_000, 1),
                _ => (8_000, 1),
            };
            let payload_type = dynamic;
            dynamic = dynamic.saturating_add(1).min(127);
            Format { payload_type, codec: codec.clone(), clock_rate, channels, fmtp: String::new() }
        });
        formats.push(format);
    }
    formats.push(Format {
        payload_type: EVENTS_PAYLOAD_TYPE,
        codec: Codec::TelephoneEvent,
        clock_rate: 8_000,
        channels: 1,
        fmtp: "0-16".into(),
    });
    Agreed {
        pair,
        remote: None,
        remote_rtcp: None,
        mux: false,
        formats,
        theirs: Direction::SendRecv,
        label: None,
    }
}

/// A media line of a session: agreed on, or refused.
#[derive(Clone, Debug)]
pub(super) struct Line {
    media: Vec<u8>,
    protocol: Vec<u8>,
    formats: Vec<u8>,
    pub(super) agreed: Option<Agreed>,
}

impl Line {
    /// The answer to this section.
    pub(super) fn of(section: &Section, agreed: Option<Agreed>) -> Line {
        let Section { media, protocol, formats, .. } = section.clone();
        Line { media, protocol, formats, agreed }
    }

    /// A line of an offer of ours.
    pub(super) fn offered(agreed: Agreed) -> Line {
        Line {
            media: b"audio".to_vec(),
            protocol: b"RTP/AVP".to_vec(),
            formats: Vec::new(),
            agreed: Some(agreed),
        }
    }
}

/// Who writes a description, and which one it is.
pub(super) struct Origin {
    /// Where we receive.
    pub(super) ip: IpAddr,
    /// Number of the session, and of the description in it (RFC 8866, 5.2).
    pub(super) session: u64,
    pub(super) version: u64,
    /// We have something to send.
    pub(super) sends: bool,
    /// It is an offer of ours, and no answer: what the peer said before binds nobody (RFC 3264, 8).
    pub(super) is_offer: bool,
}

/// Writes a description; `port_of` tells the RTP port of a pair.
pub(super) fn describe(lines: &[Line], origin: &Origin, port_of: impl Fn(usize) -> u16) -> Vec<u8> {
    let Origin { ip, session, version, sends, is_offer } = origin;
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let mut out = format!(
        "v=0\r\no=earwitness {session} {version} IN {family} {ip}\r\ns=earwitness\r\nc=IN {family} {ip}\r\nt=0 0\r\n"
    )
    .into_bytes();
    for line in lines {
        let Some(agreed) = &line.agreed else {
            let blank = |bytes: &[u8]| if bytes.is_empty() { b"0".to_vec() } else { bytes.to_vec() };
            for part in [b"m=", &line.media[..], b" 0 ", &line.protocol, b" ", &blank(&line.formats)] {
                out.extend(part.iter().filter(|byte| !byte.is_ascii_control()));
            }
            out.extend_from_slice(b"\r\n");
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut lines = format!("m=audio {} {}", port_of(agreed.pair), text(&line.protocol));
        // A String takes everything.
        for format in &agreed.formats {
            let _ = write!(lines, " {}", format.payload_type);
        }
        lines.push_str("\r\n");
        for format in &agreed.formats {
            let _ = write!(lines, "a=rtpmap:{} {}/{}", format.payload_type, format.codec, format.clock_rate);
            let _ = match format.channels {
                1 => write!(lines, "\r\n"),
                channels => write!(lines, "/{channels}\r\n"),
            };
            if !format.fmtp.is_empty() && !format.fmtp.contains(['\r', '\n']) {
                let _ = write!(lines, "a=fmtp:{} {}\r\n", format.payload_type, format.fmtp);
            }
        }
        if agreed.mux {
            lines.push_str("a=rtcp-mux\r\n");
        }
        if let Some(label) = agreed.label.as_ref().filter(|label| !label.contains(char::is_control)) {
            let _ = write!(lines, "a=label:{label}\r\n");
        }
        let theirs = if *is_offer { Direction::SendRecv } else { agreed.theirs };
        let direction = match reply(theirs, *sends) {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        };
        let _ = write!(lines, "a={direction}\r\n");
        out.extend_from_slice(lines.as_bytes());
    }
    out
}

/// Our direction for theirs (RFC 3264, 6.1).
fn reply(theirs: Direction, sends: bool) -> Direction {
    match (theirs, sends) {
        (Direction::SendRecv, true) => Direction::SendRecv,
        (Direction::SendRecv, false) | (Direction::SendOnly, _) => Direction::RecvOnly,
        (Direction::RecvOnly, true) => Direction::SendOnly,
        (Direction::RecvOnly, false) | (Direction::Inactive, _) => Direction::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=video 5000 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 18 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=sendonly\r\na=label:7\r\nm=audio 6000 RTP/AVP 0\r\n";
    const TERMS: Terms<'_> = Terms { codecs: &[Codec::Pcma, Codec::Pcmu], first: &[] };

    fn answer(offer: &str, sends: bool) -> String {
        let sections = sections(offer.as_bytes()).expect("not too long");
        let lines: Vec<Line> =
            sections.iter().enumerate().map(|(nth, s)| Line::of(s, agree(s, nth, &TERMS))).collect();
        let origin =
            Origin { ip: IpAddr::from([192, 0, 2, 1]), session: 5, version: 6, sends, is_offer: false };
        String::from_utf8(describe(&lines, &origin, |pair| 12_000 + 2 * pair as u16)).expect("text")
    }

    #[test]
    fn an_answer_has_the_lines_of_its_offer_and_one_encoding_of_each() {
        assert_eq!(
            answer(OFFER, false),
            "v=0\r\no=earwitness 5 6 IN IP4 192.0.2.1\r\ns=earwitness\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=video 0 RTP/AVP 31\r\nm=audio 12002 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=label:7\r\na=recvonly\r\n\
             m=audio 12004 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=recvonly\r\n"
        );
        assert!(answer(OFFER, true).contains("RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"));
    }

    #[test]
    fn encryption_other_encodings_and_lines_that_are_off_are_refused() {
        for (from, to) in [("4000 RTP/AVP", "4000 RTP/SAVP"), ("audio 4000", "audio 0"), ("18 8 0", "18 4 3")]
        {
            let text = answer(&OFFER.replace(from, to), false);
            assert!(text.contains("m=audio 0 RTP/"), "{text}");
        }
        // Held in the old way: the line stays.
        let held = OFFER.replace("IN IP4 192.0.2.9\r\nt", "IN IP4 0.0.0.0\r\nt");
        assert!(answer(&held, false).contains("m=audio 12002"), "{held}");
    }

    #[test]
    fn a_line_that_cannot_be_read_shifts_none_behind_it() {
        let text = answer(&OFFER.replace("m=video 5000 RTP/AVP 31", "m=video"), false);
        assert!(text.contains("m=video 0  0\r\nm=audio 12002 "), "{text}");
    }

    #[test]
    fn too_many_lines_and_too_long_descriptions_are_not_read() {
        let many = "m=audio 4000 RTP/AVP 0\r\n".repeat(MEDIA_MAX + 1);
        assert!(sections(many.as_bytes()).is_none());
        assert!(sections(&vec![b'a'; DESCRIPTION_BYTES_MAX + 1]).is_none());
        assert_eq!(sections(b"").map(|sections| sections.len()), Some(0));
    }

    #[test]
    fn an_answer_settles_our_offer() {
        let codecs = ["PCMA", "OPUS", "iLBC"].map(Codec::from_name);
        let offered = offer(3, &codecs);
        let types: Vec<u8> = offered.formats.iter().map(|format| format.payload_type).collect();
        assert_eq!(types, [8, 96, 97, 101]);
        let answer = "c=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\n\
                      a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";
        let settled = settle(&offered, &sections(answer.as_bytes()).expect("short")[0]).expect("agreed");
        assert_eq!(settled.format().map(|format| format.codec.name()), Some("OPUS"));
        assert_eq!((settled.pair, settled.remote.map(|at| at.port)), (3, Some(4000)));
        let refused = sections(b"m=audio 0 RTP/AVP 0\r\n").expect("short");
        assert!(settle(&offered, &refused[0]).is_none());
    }

    #[test]
    fn directions_answer_each_other() {
        let of = |theirs| [false, true].map(|sends| reply(theirs, sends));
        assert_eq!(of(Direction::SendRecv), [Direction::RecvOnly, Direction::SendRecv]);
        assert_eq!(of(Direction::SendOnly), [Direction::RecvOnly; 2]);
        assert_eq!(of(Direction::RecvOnly), [Direction::Inactive, Direction::SendOnly]);
        assert_eq!(of(Direction::Inactive), [Direction::Inactive; 2]);
    }
}
