//! What protects a leg's media, and the keys that its signalling has shown (RFC 4568, 5.1; RFC 8643; RFC 5763; RFC 6189).
//!
//! A key in a description protects what the sender of that description sends. An offer may leave the choice between SRTP and RTP; the
//! answer decides, and until it is seen, what authenticates is SRTP. Opening packets is `media`'s and [`crate::srtp`]'s.

use serde::{Deserialize, Serialize};

use super::leg::Leg;
use crate::media::Side;
use crate::sdp::{self, Keying};
use crate::srtp::receiver::KEYS_MAX;
use crate::srtp::{ControlSession, Key};

/// Why encrypted media could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoKey {
    /// DTLS-SRTP: the keys were agreed on between the parties alone.
    DtlsSrtp,
    /// ZRTP: as with DTLS.
    Zrtp,
    /// MIKEY: its messages are not read.
    Mikey,
    /// SDES with crypto suites that are not known.
    Suite,
    /// SRTP, but no description with its sender's key was seen.
    NotSeen,
    /// SRTP, and no key of its sender authenticates it.
    NoneFits,
}

impl NoKey {
    /// In words, for tables and the balance sheet.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            NoKey::DtlsSrtp => "DTLS-SRTP, whose keys are not in the signalling",
            NoKey::Zrtp => "ZRTP, whose keys are not in the signalling",
            NoKey::Mikey => "MIKEY, whose keys are not read",
            NoKey::Suite => "SRTP with a crypto suite that is not known",
            NoKey::NotSeen => "SRTP, and its key was not seen",
            NoKey::NoneFits => "SRTP, and none of the keys that were seen fits",
        }
    }
}

/// What an offer asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Plain,
    /// SRTP where the other side can do it.
    Either,
    Secure,
}

/// A key of one side.
struct Held {
    /// Never used again within the leg.
    id: u32,
    key: Key,
    tag: u32,
    /// The description that it was seen in last.
    description: u32,
    /// The answer took its line, or it stood in an answer.
    is_selected: bool,
    /// Made when the first RTCP packet comes.
    control: Option<Box<ControlSession>>,
}

/// What is known of a leg's protection.
#[derive(Default)]
pub(super) struct Secrecy {
    offer: Option<Offer>,
    /// The answer to it takes SRTP.
    answer: Option<bool>,
    /// What the answer before said: holds while another offer waits, and when it is refused.
    settled: Option<bool>,
    keying: Keying,
    /// Sides that sent DTLS.
    dtls: [bool; 2],
    /// A ZRTP exchange has ended in keys.
    zrtp: bool,
    /// Crypto lines of which no key could be used were seen.
    unknown_suite: bool,
    /// By side, newest first, [`KEYS_MAX`] at most: the oldest makes room.
    keys: [Vec<Held>; 2],
    next_id: u32,
    descriptions: u32,
}

impl Secrecy {
    /// For the leg of another device that the same INVITE has reached: what the caller said, and nothing of its callee's.
    pub(super) fn of_fork(&self) -> Secrecy {
        let caller = self.keys.first().into_iter().flatten();
        let copied = caller.map(|held| Held { key: held.key.clone(), control: None, ..*held }).collect();
        Secrecy {
            offer: self.offer,
            keying: self.keying,
            unknown_suite: self.unknown_suite,
            keys: [copied, Vec::new()],
            next_id: self.next_id,
            descriptions: self.descriptions,
            ..Secrecy::default()
        }
    }

    /// Takes what a side's description says about its audio.
    pub(super) fn describe(&mut self, side: Side, audio: &[&sdp::Media], is_offer: bool) {
        let is_secure = audio.iter().all(|media| media.encrypted);
        if is_offer {
            self.offer = Some(match audio.iter().any(|media| media.encrypted) {
                true if audio.iter().all(|media| media.secure_profile) => Offer::Secure,
                true => Offer::Either,
                false => Offer::Plain,
            });
            self.settled = self.answer.take().or(self.settled);
        } else {
            self.answer = Some(is_secure);
        }
        self.keying = audio.iter().fold(self.keying, |known, media| known.or(media.keying));
        self.descriptions = self.descriptions.wrapping_add(1);
        let lines = audio.iter().flat_map(|media| &media.crypto);
        if !is_offer {
            lines.clone().for_each(|line| self.select(side.other(), line.tag));
        }
        self.unknown_suite |= lines.clone().any(|line| line.keys.is_empty());
        // The last of a description first, so that its first line becomes the newest.
        let keys: Vec<(u32, &Key)> =
            lines.flat_map(|line| line.keys.iter().map(|key| (line.tag, key))).take(KEYS_MAX).collect();
        for (tag, key) in keys.into_iter().rev() {
            self.hold(side, tag, key, !is_offer);
        }
    }

    fn hold(&mut self, side: Side, tag: u32, key: &Key, is_selected: bool) {
        let description = self.descriptions;
        let id = self.next_id;
        let Some(keys) = self.keys.get_mut(side.index()) else { return };
        if let Some(known) = keys.iter_mut().find(|held| held.key == *key) {
            (known.tag, known.description) = (tag, description);
            known.is_selected |= is_selected;
            return;
        }
        self.next_id = self.next_id.wrapping_add(1);
        keys.insert(0, Held { id, key: key.clone(), tag, description, is_selected, control: None });
        keys.truncate(KEYS_MAX);
    }

    /// The answer took the line with this tag of that side's latest description.
    fn select(&mut self, side: Side, tag: u32) {
        let Some(keys) = self.keys.get_mut(side.index()) else { return };
        let latest = keys.iter().map(|held| held.description).max();
        for held in keys.iter_mut().filter(|held| Some(held.description) == latest) {
            held.is_selected = held.tag == tag;
        }
    }

    /// A side sent DTLS on the leg's places.
    pub(super) fn note_dtls(&mut self, side: Side) {
        if let Some(seen) = self.dtls.get_mut(side.index()) {
            *seen = true;
        }
    }

    /// A ZRTP exchange has agreed on keys, or put them aside again.
    pub(super) fn note_zrtp(&mut self, is_secure: bool) {
        self.zrtp = is_secure;
    }

    /// Is the media encrypted, by all that is known? DTLS of one side alone counts where it was announced: anybody could send a
    /// packet that looks like it.
    pub(super) fn is_encrypted(&self) -> bool {
        let [one, other] = self.dtls;
        let handshake = (one && other) || ((one || other) && self.keying.dtls);
        let agreed = self.answer.or(self.settled);
        self.zrtp || handshake || agreed.unwrap_or(self.offer == Some(Offer::Secure))
    }

    /// Is it open whether the media is SRTP: offered, and not answered yet?
    pub(super) fn is_undecided(&self) -> bool {
        self.answer.is_none() && matches!(self.offer, Some(Offer::Either | Offer::Secure))
    }

    /// The keys that packets of `side` may be protected with, newest first. One that authenticates nothing is used only when the
    /// signalling has chosen it.
    pub(super) fn keys(&self, side: Side) -> impl Iterator<Item = (u32, &Key)> + Clone {
        let held = self.keys.get(side.index()).map_or(&[][..], Vec::as_slice);
        held.iter()
            .filter(|held| held.key.authenticates() || held.is_selected)
            .map(|held| (held.id, &held.key))
    }

    /// Why packets of `side` cannot be read, when no key opens them.
    pub(super) fn missing(&self, side: Side) -> NoKey {
        let dtls = self.keying.dtls || self.dtls.contains(&true);
        if self.zrtp {
            NoKey::Zrtp
        } else if self.keys(side).next().is_some() {
            NoKey::NoneFits
        } else if self.unknown_suite {
            NoKey::Suite
        } else if self.keys.iter().any(|keys| !keys.is_empty()) {
            NoKey::NotSeen
        } else if dtls {
            NoKey::DtlsSrtp
        } else if self.keying.mikey {
            NoKey::Mikey
        } else if self.keying.zrtp {
            NoKey::Zrtp
        } else {
            NoKey::NotSeen
        }
    }

    /// The same for the leg as a whole; `None` while there are keys for both sides.
    pub(super) fn missing_for_leg(&self) -> Option<NoKey> {
        if !self.is_encrypted() {
            return None;
        }
        let has_keys = |side| !self.zrtp && self.keys(side).next().is_some();
        [Side::Caller, Side::Callee].into_iter().find(|&side| !has_keys(side)).map(|side| self.missing(side))
    }

    /// An RTCP packet of `side`, in clear; `None` when it is encrypted and no key opens it.
    pub(super) fn open_control<'b>(
        &mut self,
        side: Side,
        bytes: &'b [u8],
        opened: &'b mut Vec<u8>,
    ) -> Option<&'b [u8]> {
        let (is_encrypted, is_undecided) = (self.is_encrypted(), self.is_undecided());
        if !is_encrypted && !is_undecided {
            return Some(bytes);
        }
        let keys = self.keys.get_mut(side.index()).into_iter().flatten();
        for held in keys {
            let control = held.control.get_or_insert_with(|| Box::new(ControlSession::new(&held.key)));
            if control.open(bytes, opened) {
                return Some(opened);
            }
        }
        (!is_encrypted).then_some(bytes)
    }
}

impl Leg {
    /// What is known of the protection goes into the facts.
    pub(super) fn settle_encryption(&mut self) {
        self.facts.encrypted = self.secrecy.is_encrypted();
        self.facts.no_key = self.secrecy.missing_for_leg();
    }
}

/// What a datagram on a call's audio port says about keys, beside the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPacket {
    /// A DTLS record (RFC 7983: content types 20 to 63).
    Dtls,
    /// ZRTP keys are in use from here on.
    ZrtpSecure,
    /// They are not any more.
    ZrtpClear,
}

impl KeyPacket {
    pub(super) fn of(bytes: &[u8]) -> Option<KeyPacket> {
        /// RFC 6189, 5: packets begin with these bits and carry this cookie.
        const ZRTP_FIRST: u8 = 0x10;
        const ZRTP_COOKIE: &[u8] = b"ZRTP";
        match bytes {
            [20..=23, 254, ..] => Some(KeyPacket::Dtls),
            [first, ..] if first & 0xf0 == ZRTP_FIRST && bytes.get(4..8) == Some(ZRTP_COOKIE) => {
                match bytes.get(16..24)? {
                    b"Confirm2" | b"Conf2ACK" => Some(KeyPacket::ZrtpSecure),
                    b"ClearACK" => Some(KeyPacket::ZrtpClear),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_zrtp_exchange_makes_media_secret() {
        let zrtp = |kind: &[u8; 8]| {
            let mut packet = vec![0x10, 0, 0, 1];
            packet.extend(b"ZRTP\0\0\0\x07\x50\x5a\0\x03");
            packet.extend(kind);
            packet
        };
        assert_eq!(KeyPacket::of(&zrtp(b"Hello   ")), None);
        assert_eq!(KeyPacket::of(&zrtp(b"Commit  ")), None);
        assert_eq!(KeyPacket::of(&zrtp(b"Confirm2")), Some(KeyPacket::ZrtpSecure));
        assert_eq!(KeyPacket::of(&zrtp(b"ClearACK")), Some(KeyPacket::ZrtpClear));
        assert_eq!(KeyPacket::of(&[22, 254, 255]), Some(KeyPacket::Dtls));
        for cut in 0..24 {
            assert_eq!(KeyPacket::of(&zrtp(b"Confirm2")[..cut]), None);
        }
    }

    #[test]
    fn of_more_keys_than_are_kept_the_newest_stay() {
        let mut secrecy = Secrecy::default();
        for n in 0..40u8 {
            let body = format!(
                "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}AAA\r\n",
                char::from(b'A' + n % 26).to_string().repeat(if n < 26 { 37 } else { 36 })
                    + if n < 26 { "" } else { "B" },
            );
            let session = sdp::parse(body.as_bytes());
            let audio: Vec<_> = session.audio().collect();
            secrecy.describe(Side::Caller, &audio, true);
        }
        let ids: Vec<u32> = secrecy.keys(Side::Caller).map(|(id, _)| id).collect();
        assert_eq!(ids, (24..40).rev().collect::<Vec<u32>>());
        assert_eq!(secrecy.missing(Side::Callee), NoKey::NotSeen);
    }
}
