//! Session descriptions (RFC 8866) as far as a recorder needs them: where audio is received, in which formats, which way.
//!
//! Read line by line, leniently: a line that cannot be read loses itself and nothing else, since one broken attribute
//! must not cost a call. Offer/answer (RFC 3264) is the tracker's.

use std::net::IpAddr;

use memchr::memchr;

use crate::media::{Codec, Format};
use crate::net::Endpoint;
use crate::sip::text;
use crate::srtp::sdes::{self, Crypto};

/// Most media descriptions that are looked at in one session description.
pub const MEDIA_MAX: usize = 32;
/// Most formats of one media description that are looked at.
pub const FORMATS_MAX: usize = 64;
/// Most `a=crypto` lines of one media description that are looked at.
pub const CRYPTO_LINES_MAX: usize = 16;

/// Bytes of format parameters that are kept.
const FMTP_BYTES_MAX: usize = 512;
/// Bytes of a label that are kept.
const LABEL_BYTES_MAX: usize = 64;

/// Which way media flows, seen from the sender of the description (RFC 8866, 6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Only from the sender of this description: it has put the other side on hold.
    SendOnly,
    /// Only to the sender of this description.
    RecvOnly,
    /// Neither way.
    Inactive,
}

/// The kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `m=audio`
    Audio,
    /// Anything else: video, image (T.38), text, application, message.
    Other,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Audio or not.
    pub kind: Kind,
    /// Where the sender of the description receives; `None` when the port is 0 (refused or removed), or no address is given.
    pub receives_at: Option<Endpoint>,
    /// Where it receives RTCP when that is said (`a=rtcp:`, RFC 3605); otherwise the next port, or the same with `rtcp_mux`.
    pub rtcp_at: Option<Endpoint>,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// SRTP is asked for: a SAVP profile, `a=crypto` (RFC 4568), a DTLS fingerprint (RFC 5763) or MIKEY (RFC 4567).
    pub encrypted: bool,
    /// The profile allows nothing but SRTP; without it, an offer of keys may be answered without (RFC 8643).
    pub secure_profile: bool,
    /// Keys that the sender of the description protects with what it sends (RFC 4568, 6).
    pub crypto: Vec<Crypto>,
    /// Other ways to agree on keys that it names.
    pub keying: Keying,
    /// Which way.
    pub direction: Direction,
    /// The address is 0.0.0.0 or ::, the old way to say hold (RFC 3264, 8.4).
    pub held_by_address: bool,
    /// Packetization time in milliseconds, when given.
    pub ptime_ms: Option<u32>,
    /// Formats in order of preference.
    pub formats: Vec<Format>,
    /// What metadata names it by (RFC 4574).
    pub label: Option<String>,
}

/// Ways to agree on keys that leave none in the description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keying {
    /// `a=fingerprint`: DTLS-SRTP (RFC 5763).
    pub dtls: bool,
    /// `a=key-mgmt:mikey` (RFC 4567).
    pub mikey: bool,
    /// `a=zrtp-hash` (RFC 6189, 8).
    pub zrtp: bool,
}

impl Keying {
    /// Takes over what the name and value of an attribute say.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"fingerprint" => self.dtls = true,
            b"key-mgmt" => {
                self.mikey |= value.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"mikey"))
            }
            b"zrtp-hash" => self.zrtp = true,
            _ => {}
        }
    }

    /// What either says.
    pub(crate) fn or(self, other: Keying) -> Keying {
        Keying { dtls: self.dtls | other.dtls, mikey: self.mikey | other.mikey, zrtp: self.zrtp | other.zrtp }
    }
}

/// A session description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The `o=` line as written: with its version number it names this very description (RFC 8866, 5.2).
    pub origin: String,
    /// The media, in order.
    pub media: Vec<Media>,
}

impl Session {
    /// The audio sections that are in use.
    pub fn audio(&self) -> impl Iterator<Item = &Media> {
        self.media.iter().filter(|m| m.kind == Kind::Audio)
    }
}

/// Session-level values that a media section inherits.
#[derive(Default)]
struct Defaults {
    address: Option<IpAddr>,
    direction: Direction,
    keying: Keying,
}

/// Reads a description. Never fails: what cannot be read is left out.
#[must_use]
pub fn parse(body: &[u8]) -> Session {
    let mut session = Session::default();
    let mut defaults = Defaults::default();
    let mut current: Option<Section> = None;
    for line in body.split(|&b| b == b'\n' || b == b'\r') {
        let Some((&[kind, b'='], value)) =
            line.split_at_checked(2).and_then(|(k, v)| Some((<&[u8; 2]>::try_from(k).ok()?, v)))
        else {
            continue;
        };
        match kind {
            b'm' => {
                if let Some(section) = current.take() {
                    session.media.push(section.finish(&defaults));
                }
                if session.media.len() >= MEDIA_MAX {
                    break;
                }
                current = Section::parse(value);
            }
            b'o' if current.is_none() => session.origin = text(value),
            b'c' => match &mut current {
                Some(section) => section.address = connection(value).or(section.address),
                None => defaults.address = connection(value).or(defaults.address),
            },
            b'a' => match &mut current {
                Some(section) => section.attribute(value),
                None => session_attribute(value, &mut defaults),
            },
            _ => {}
        }
    }
    if let Some(section) = current {
        session.media.push(section.finish(&defaults));
    }
    session
}

/// A media section while its lines are read.
struct Section {
    kind: Kind,
    port: u16,
    address: Option<IpAddr>,
    secure_profile: bool,
    crypto: Vec<Crypto>,
    has_crypto: bool,
    keying: Keying,
    direction: Option<Direction>,
    ptime_ms: Option<u32>,
    rtcp_mux: bool,
    rtcp: Option<(u16, Option<IpAddr>)>,
    payload_types: Vec<u8>,
    rtpmaps: Vec<(u8, Codec, u32, u8)>,
    fmtps: Vec<(u8, String)>,
    label: Option<String>,
}

impl Section {
    /// `audio 49170/2 RTP/AVP 0 8 97` (RFC 8866, 5.14). `None` when not even the media and port can be read.
    fn parse(value: &[u8]) -> Option<Section> {
        let mut words = value.split(|&b| b == b' ' || b == b'\t').filter(|w| !w.is_empty());
        let media = words.next()?;
        let port = words.next()?;
        let port = port.get(..memchr(b'/', port).unwrap_or(port.len()))?;
        // A port that does not fit a port is treated as none: the section is kept, without a place to listen.
        let port = number::<u16>(port).unwrap_or(0);
        let protocol = words.next().unwrap_or_default();
        let secure_profile = memchr::memmem::find(protocol, b"SAVP").is_some();
        let kind = if media.eq_ignore_ascii_case(b"audio") { Kind::Audio } else { Kind::Other };
        let payload_types = words.filter_map(number::<u8>).filter(|&pt| pt < 128).take(FORMATS_MAX).collect();
        Some(Section {
            kind,
            port,
            address: None,
            secure_profile,
            crypto: Vec::new(),
            has_crypto: false,
            keying: Keying::default(),
            direction: None,
            ptime_ms: None,
            rtcp_mux: false,
            rtcp: None,
            payload_types,
            rtpmaps: Vec::new(),
            fmtps: Vec::new(),
            label: None,
        })
    }

    fn attribute(&mut self, value: &[u8]) {
        let (name, value) = split_attribute(value);
        match name {
            b"rtpmap" if self.rtpmaps.len() < FORMATS_MAX => self.rtpmaps.extend(rtpmap(value)),
            b"fmtp" if self.fmtps.len() < FORMATS_MAX => {
                if let Some((pt, parameters)) = split_payload_type(value) {
                    let parameters = parameters.get(..FMTP_BYTES_MAX).unwrap_or(parameters);
                    self.fmtps.push((pt, text(parameters)));
                }
            }
            b"ptime" => self.ptime_ms = number::<u32>(value).filter(|&ms| ms > 0).or(self.ptime_ms),
            b"label" => self.label = value.get(..LABEL_BYTES_MAX.min(value.len())).map(text),
            b"rtcp-mux" => self.rtcp_mux = true,
            b"rtcp" => {
                let mut words = value.splitn(2, |&b| b == b' ');
                if let Some(port) = words.next().and_then(number::<u16>) {
                    self.rtcp = Some((port, words.next().and_then(connection)));
                }
            }
            b"crypto" => {
                self.has_crypto = true;
                if self.crypto.len() < CRYPTO_LINES_MAX {
                    self.crypto.extend(sdes::parse(value));
                }
            }
            other => {
                self.keying.note(other, value);
                self.direction = direction(other).or(self.direction);
            }
        }
    }

    fn finish(self, defaults: &Defaults) -> Media {
        let address = self.address.or(defaults.address);
        let held_by_address = address.is_some_and(|a| a.is_unspecified());
        let usable = address.filter(|a| !a.is_unspecified());
        let receives_at = usable.filter(|_| self.port != 0).map(|ip| Endpoint::new(ip, self.port));
        let rtcp_at = self
            .rtcp
            .filter(|&(port, _)| port != 0)
            .and_then(|(port, ip)| Some(Endpoint::new(ip.or(usable)?, port)));
        let formats = self.payload_types.iter().map(|&pt| self.format(pt)).collect();
        let keying = self.keying.or(defaults.keying);
        Media {
            kind: self.kind,
            receives_at,
            rtcp_at,
            rtcp_mux: self.rtcp_mux,
            encrypted: self.secure_profile || self.has_crypto || keying.dtls || keying.mikey,
            secure_profile: self.secure_profile,
            crypto: self.crypto,
            keying,
            direction: self.direction.unwrap_or(defaults.direction),
            held_by_address,
            ptime_ms: self.ptime_ms,
            formats,
            label: self.label,
        }
    }

    fn format(&self, payload_type: u8) -> Format {
        let fmtp =
            self.fmtps.iter().find(|(pt, _)| *pt == payload_type).map(|(_, p)| p.clone()).unwrap_or_default();
        match self.rtpmaps.iter().find(|(pt, ..)| *pt == payload_type) {
            Some((_, codec, clock_rate, channels)) => Format {
                payload_type,
                codec: codec.clone(),
                clock_rate: *clock_rate,
                channels: *channels,
                fmtp,
            },
            None => Format { fmtp, ..static_format(payload_type) },
        }
    }
}

fn session_attribute(value: &[u8], defaults: &mut Defaults) {
    let (name, value) = split_attribute(value);
    defaults.keying.note(name, value);
    defaults.direction = direction(name).unwrap_or(defaults.direction);
}

fn split_attribute(value: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', value) {
        Some(colon) => {
            (trim(value.get(..colon).unwrap_or_default()), trim(value.get(colon + 1..).unwrap_or_default()))
        }
        None => (trim(value), &[]),
    }
}

fn direction(name: &[u8]) -> Option<Direction> {
    Some(match name {
        b"sendrecv" => Direction::SendRecv,
        b"sendonly" => Direction::SendOnly,
        b"recvonly" => Direction::RecvOnly,
        b"inactive" => Direction::Inactive,
        _ => return None,
    })
}

/// `97 iLBC/8000` or `101 opus/48000/2` (RFC 8866, 6.6).
fn rtpmap(value: &[u8]) -> Option<(u8, Codec, u32, u8)> {
    let (payload_type, encoding) = split_payload_type(value)?;
    let encoding = text(encoding);
    let mut parts = encoding.split('/').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty() && name.len() <= 64)?;
    let clock_rate = parts.next().and_then(|rate| rate.parse().ok()).filter(|&rate| rate > 0).unwrap_or(8000);
    let channels = parts.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0).unwrap_or(1);
    Some((payload_type, Codec::from_name(name), clock_rate, channels))
}

fn split_payload_type(value: &[u8]) -> Option<(u8, &[u8])> {
    let space = memchr(b' ', value)?;
    let payload_type = number::<u8>(value.get(..space)?).filter(|&pt| pt < 128)?;
    Some((payload_type, trim(value.get(space + 1..)?)))
}

/// `IN IP4 192.0.2.1`, with the TTL of a multicast address cut off; host names are not resolved.
fn connection(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?;
    let address = text.split_ascii_whitespace().last()?;
    address.split('/').next()?.parse().ok()
}

/// The meaning of a payload type that no `a=rtpmap` explains: RFC 3551, tables 4 and 5.
#[must_use]
pub fn static_format(payload_type: u8) -> Format {
    let (name, clock_rate, channels): (&str, u32, u8) = match payload_type {
        0 => ("PCMU", 8000, 1),
        // RFC 1890's word; RFC 3551 took it back, and senders without an rtpmap still mean it.
        2 => ("G721", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44100, 2),
        11 => ("L16", 44100, 1),
        12 => ("QCELP", 8000, 1),
        13 | 19 => ("CN", 8000, 1),
        14 => ("MPA", 90000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11025, 1),
        17 => ("DVI4", 22050, 1),
        18 => ("G729", 8000, 1),
        _ => ("", 8000, 1),
    };
    let codec = if name.is_empty() {
        Codec::Other(format!("PT{payload_type}").into())
    } else {
        Codec::from_name(name)
    };
    Format { payload_type, codec, clock_rate, channels, fmtp: String::new() }
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(trim(bytes)).ok()?.parse().ok()
}

fn trim(bytes: &[u8]) -> &[u8] {
    crate::sip::trim(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &[u8] = b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 49170 RTP/AVP 8 97 101\r\na=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=30\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=ptime:30\r\na=sendonly\r\n\
        m=video 51372 RTP/AVP 31\r\nc=IN IP4 192.0.2.2\r\n";

    #[test]
    fn audio_is_found_with_its_formats() {
        let session = parse(OFFER);
        let audio = &session.media[0];
        assert_eq!(audio.receives_at, Some(Endpoint::v4([192, 0, 2, 1], 49170)));
        assert_eq!(audio.direction, Direction::SendOnly);
        assert_eq!(audio.ptime_ms, Some(30));
        let names: Vec<_> =
            audio.formats.iter().map(|f| (f.payload_type, f.codec.name().to_owned())).collect();
        assert_eq!(names, [(8, "PCMA".into()), (97, "ILBC".into()), (101, "telephone-event".into())]);
        assert_eq!(audio.formats[1].fmtp, "mode=30");
        assert_eq!(session.media[1].kind, Kind::Other);
        assert_eq!(session.media[1].receives_at, Some(Endpoint::v4([192, 0, 2, 2], 51372)));
    }

    #[test]
    fn broken_lines_lose_only_themselves() {
        let body = b"v=0\nno equals sign\no=\xff\xfe\nc=IN IP4 999.1.1.1\nc=IN IP4 192.0.2.9\nz=\n\
            m=audio 99999999999 RTP/AVP 0\nm=audio 4000 RTP/AVP 0 999 x 8\na=rtpmap:8 PCMA/0\na=rtpmap:zz\na=inactive\n";
        let session = parse(body);
        assert_eq!(session.media[0].receives_at, None);
        assert_eq!(session.media[1].receives_at, Some(Endpoint::v4([192, 0, 2, 9], 4000)));
        assert_eq!(session.media[1].formats.len(), 2);
        assert_eq!(session.media[1].formats[1].clock_rate, 8000);
        assert_eq!(session.media[1].direction, Direction::Inactive);
    }

    #[test]
    fn an_unspecified_address_means_hold_and_no_place() {
        let session = parse(b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n");
        assert!(session.media[0].held_by_address);
        assert_eq!(session.media[0].receives_at, None);
    }

    #[test]
    fn thousands_of_media_lines_are_bounded() {
        let body = b"m=audio 4000 RTP/AVP 0\r\n".repeat(10_000);
        assert_eq!(parse(&body).media.len(), MEDIA_MAX);
    }

    #[test]
    fn keys_and_the_ways_to_agree_on_others_are_read() {
        let session = parse(
            b"a=fingerprint:SHA-1 4A:AD\r\nm=audio 4000 RTP/SAVP 0\r\n\
              a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4\r\n\
              a=crypto:2 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\na=crypto:\r\n\
              m=audio 4002 RTP/AVP 0\r\na=key-mgmt:mikey AQAFgM0\r\na=zrtp-hash:1.10 fe30\r\n",
        );
        let [first, second] = &session.media[..] else { panic!("{session:?}") };
        let keys: Vec<_> = first.crypto.iter().map(|line| (line.tag, line.keys.len())).collect();
        assert_eq!(keys, [(1, 1), (2, 0)]);
        assert!(first.encrypted && first.secure_profile && first.keying.dtls && !first.keying.mikey);
        assert!(second.encrypted && !second.secure_profile && second.crypto.is_empty());
        assert_eq!(second.keying, Keying { dtls: true, mikey: true, zrtp: true });
        assert!(!format!("{session:?}").contains("wDfvg"));
        let many = [&b"m=audio 4000 RTP/SAVP 0\r\n"[..], &b"a=crypto:1 X\r\n".repeat(1000)].concat();
        assert_eq!(parse(&many).media[0].crypto.len(), CRYPTO_LINES_MAX);
    }

    #[test]
    fn ipv6_and_rtcp_attributes_are_read() {
        let session = parse(b"c=IN IP6 2001:db8::1\r\nm=audio 4000/2 RTP/SAVP 0\r\na=rtcp:4009 IN IP6 2001:db8::2\r\na=rtcp-mux\r\n");
        let audio = &session.media[0];
        assert!(audio.encrypted && audio.rtcp_mux);
        assert_eq!(audio.rtcp_at.map(|e| e.to_string()).as_deref(), Some("[2001:db8::2]:4009"));
    }
}
