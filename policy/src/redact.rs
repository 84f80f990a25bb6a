//! What of a SIP message is never kept: keys, credentials, texts, and digits where they are withheld.
//!
//! Bytes are replaced by as many `x`, line ends stay: lengths, Content-Length and the shape of the message are what they were,
//! so that every tool still reads it. Of a body nothing stays but what is known to be harmless; header fields stay but for what
//! is known to be secret. Which messages are kept at all is the gate's to say.

use std::ops::Range;

use decode::sip::{self, Leaf, Message};

/// What stands in the place of each byte.
const FILLER: u8 = b'x';
/// Longest word of an `a=crypto` line that stays beside its key, in bytes: tag, suite, parameters.
const CRYPTO_WORD_MAX: usize = 32;
/// Longest first line of a `message/sipfrag` that stays, in bytes.
const SIPFRAG_LINE_MAX: usize = 256;

/// Are the digits that SIP messages carry kept?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// As the recording keeps digits of telephone events.
    Kept,
    /// Those of INFO requests; those of KPML not, since a report of them may come long after they were keyed (RFC 4730).
    OfInfo,
    /// No: the recording is paused.
    Withheld,
}

/// What was replaced in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Keys of media and passwords of ICE in a session description.
    pub keys: bool,
    /// What proves a user's identity: responses to a challenge, passwords.
    pub credentials: bool,
    /// A body, or a part of one, that is no session description.
    pub body: bool,
    /// Digits that were keyed in a pause.
    pub digits: bool,
}

impl Redacted {
    /// As a number, one bit each in the order of the fields.
    #[must_use]
    pub fn bits(self) -> u8 {
        let Redacted { keys, credentials, body, digits } = self;
        [keys, credentials, body, digits].iter().rev().fold(0, |bits, &is| bits << 1 | u8::from(is))
    }

    /// From such a number; bits that are not known say nothing.
    #[must_use]
    pub fn from_bits(bits: u8) -> Redacted {
        let is = |n: u8| bits >> n & 1 == 1;
        Redacted { keys: is(0), credentials: is(1), body: is(2), digits: is(3) }
    }

    /// In words, one for each kind.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.keys, "keys"), (self.credentials, "credentials"), (self.body, "body"), (self.digits, "digits")]
            .into_iter()
            .filter_map(|(is, word)| is.then_some(word))
    }
}

/// A copy of the message without what is never kept.
#[must_use]
pub fn redact(message: &[u8], digits: Digits) -> (Vec<u8>, Redacted) {
    let mut copy = Copy { bytes: message.to_vec(), redacted: Redacted::default() };
    let Ok(parsed) = sip::parse(message) else {
        // What cannot be read cannot be judged.
        copy.redacted.body = copy.fill(0..message.len());
        return (copy.bytes, copy.redacted);
    };
    let head = message.get(..parsed.head_len()).unwrap_or(message);
    copy.credentials(head);
    copy.uri_passwords(head);
    copy.body(message, &parsed, digits);
    (copy.bytes, copy.redacted)
}

/// The message as it will be kept.
struct Copy {
    bytes: Vec<u8>,
    redacted: Redacted,
}

impl Copy {
    /// Replaces everything there but line ends and the blank by which a field goes on in the next line; says whether there was
    /// anything.
    fn fill(&mut self, range: Range<usize>) -> bool {
        let mut filled = false;
        let mut begins_line = false;
        for byte in self.bytes.get_mut(range).unwrap_or_default() {
            let folds = std::mem::replace(&mut begins_line, *byte == b'\n') && matches!(byte, b' ' | b'\t');
            if !matches!(byte, b'\r' | b'\n') && !folds {
                *byte = FILLER;
                filled = true;
            }
        }
        filled
    }

    /// Values of header fields that prove who somebody is (RFC 3261, 22; RFC 8760), and keys that a network hands to its proxy
    /// with a challenge (3GPP TS 24.229, 7.2A.1: ck, ik).
    fn credentials(&mut self, head: &[u8]) {
        for (name, value) in fields(head) {
            let name = sip_token(head.get(name).unwrap_or_default());
            let is_answer = matches!(name.as_slice(), b"authorization" | b"proxy-authorization");
            let is_concerned = is_answer
                || matches!(
                    name.as_slice(),
                    b"authentication-info"
                        | b"proxy-authentication-info"
                        | b"www-authenticate"
                        | b"proxy-authenticate"
                );
            if !is_concerned {
                continue;
            }
            let text = head.get(value.clone()).unwrap_or_default();
            let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let scheme = text.iter().skip(blank).take_while(|byte| !byte.is_ascii_whitespace()).count();
            let word = text.get(blank..blank + scheme).unwrap_or_default();
            if is_answer && !word.eq_ignore_ascii_case(b"Digest") {
                // Basic, Bearer and whatever else: the rest is the secret.
                let word_is_scheme =
                    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
                let from = value.start + if word_is_scheme { blank + scheme } else { 0 };
                self.redacted.credentials |= self.fill(from..value.end);
                continue;
            }
            for secret in [&b"response"[..], b"rspauth", b"password", b"passwd", b"ck", b"ik"] {
                for found in parameter_values(text, secret) {
                    self.redacted.credentials |=
                        self.fill(value.start + found.start..value.start + found.end);
                }
            }
        }
    }

    /// Passwords in addresses: `sip:user:password@host` (RFC 3261, 19.1.1).
    fn uri_passwords(&mut self, head: &[u8]) {
        for password in passwords(head) {
            self.redacted.credentials |= self.fill(password);
        }
    }

    fn body(&mut self, message: &[u8], parsed: &Message<'_>, digits: Digits) {
        let head_len = parsed.head_len();
        if head_len >= message.len() {
            return;
        }
        let parts = sip::body_parts(parsed);
        let mut keep: Vec<Range<usize>> =
            parts.framing.iter().filter_map(|bytes| place(message, bytes)).collect();
        for leaf in &parts.leaves {
            let Some(range) = place(message, leaf.content) else { continue };
            match kind_of(leaf) {
                Kind::Session => {
                    self.keys(message, &range);
                    keep.push(range);
                }
                Kind::Digits | Kind::KeyReport if digits == Digits::Kept => keep.push(range),
                Kind::Digits if digits == Digits::OfInfo => keep.push(range),
                Kind::Digits | Kind::KeyReport => self.redacted.digits |= !range.is_empty(),
                Kind::Fragment(line) => keep.push(range.start..range.start + line),
                Kind::Other => {}
            }
        }
        keep.sort_by_key(|range| range.start);
        let mut from = head_len;
        let (before, mut filled) = (self.redacted.digits, false);
        for range in keep {
            filled |= self.fill(from..range.start.max(from));
            from = from.max(range.end);
        }
        filled |= self.fill(from..message.len());
        // A body that held digits and nothing else is told as that.
        self.redacted.body |= filled && !(before && parts.leaves.len() == 1);
    }

    /// Keys in a session description: `a=crypto` (RFC 4568), `a=key-mgmt` (RFC 4567), `k=` (RFC 4566, 5.12), and the password of
    /// ICE (RFC 8839, 5.4).
    fn keys(&mut self, message: &[u8], session: &Range<usize>) {
        let mut start = session.start;
        for line in message.get(session.clone()).unwrap_or_default().split(|&b| b == b'\n' || b == b'\r') {
            let at = start;
            start += line.len() + 1;
            let lower = line.to_ascii_lowercase();
            let text = lower.trim_ascii_start();
            let blank = lower.len() - text.len();
            let behind = |mark: u8| text.iter().position(|&byte| byte == mark).map_or(2, |place| place + 1);
            let secret = if text.starts_with(b"k=") || text.starts_with(b"a=ice-pwd") {
                behind(b':')
            } else if text.starts_with(b"a=key-mgmt") {
                behind(b' ')
            } else {
                if text.starts_with(b"a=crypto") || memchr_inline(text).is_some() {
                    self.crypto(at, line);
                }
                continue;
            };
            self.redacted.keys |= self.fill(at + blank + secret..at + line.len());
        }
    }

    /// Of a line with SRTP keys, tag, suite, lifetimes and parameters stay.
    fn crypto(&mut self, at: usize, line: &[u8]) {
        let mut start = at;
        for (nth, word) in line.split(|&byte| byte == b' ' || byte == b'\t').enumerate() {
            let from = start;
            start += word.len() + 1;
            let is_plain = |byte: &u8| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_=-".contains(byte) || nth == 0
            };
            let lower = word.to_ascii_lowercase();
            if memchr_inline(&lower).is_none() && word.len() <= CRYPTO_WORD_MAX && word.iter().all(is_plain) {
                continue;
            }
            let mut from = from;
            for text in word.split(|&byte| byte == b';') {
                self.key_parameter(from, text);
                from += text.len() + 1;
            }
        }
    }

    /// `inline:<key and salt>[|lifetime][|MKI:length]`.
    fn key_parameter(&mut self, at: usize, text: &[u8]) {
        let key = memchr_inline(&text.to_ascii_lowercase()).unwrap_or(0);
        let rest = text.get(key..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'|').unwrap_or(rest.len());
        let is_harmless = |byte: &u8| byte.is_ascii_digit() || b"^|:".contains(byte);
        let end = if rest.iter().skip(end).all(is_harmless) { end } else { rest.len() };
        self.redacted.keys |= self.fill(at + key..at + key + end);
    }
}

/// What a body is, as far as keeping it goes.
enum Kind {
    Session,
    Digits,
    /// KPML (RFC 4730): digits, and when to tell them.
    KeyReport,
    /// `message/sipfrag`: how far a transfer has come is said in its first line, of so many bytes (RFC 3420, RFC 3515).
    Fragment(usize),
    Other,
}

fn kind_of(leaf: &Leaf<'_>) -> Kind {
    let kind = leaf.content_type.and_then(|kind| kind.split(|&byte| byte == b';').next()).unwrap_or_default();
    let looks_like_sdp = leaf.content.trim_ascii_start().starts_with(b"v=");
    match kind.trim_ascii().to_ascii_lowercase().as_slice() {
        // Packed or encoded otherwise it cannot be looked into.
        b"application/sdp" | b"" if looks_like_sdp => Kind::Session,
        b"application/dtmf-relay" | b"application/dtmf" | b"application/vnd.nortelnetworks.digits" => {
            Kind::Digits
        }
        b"application/kpml-request+xml" | b"application/kpml-response+xml" => Kind::KeyReport,
        kind if kind.starts_with(b"message/sipfrag") && leaf.content.starts_with(b"SIP/2.0 ") => {
            let line = leaf.content.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            Kind::Fragment(line.unwrap_or(leaf.content.len()).min(SIPFRAG_LINE_MAX))
        }
        _ => Kind::Other,
    }
}

/// Where a part of the message stands in it.
fn place(message: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(message.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= message.len()).then_some(start..end)
}

/// The header fields, as the places of name and value; both may run over folded lines. The start line is none of them and does
/// not go on in the next line, whatever that begins with.
fn fields(head: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    let (mut start, mut is_behind_start_line) = (0, false);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let range = start..start + line.len();
        start = range.end;
        if !is_behind_start_line {
            is_behind_start_line = !line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            continue;
        }
        match (line.first(), lines.last_mut()) {
            (Some(b' ' | b'\t'), Some(field)) => field.end = range.end,
            _ => lines.push(range),
        }
    }
    let split = |field: Range<usize>| {
        let colon = head.get(field.clone())?.iter().position(|&byte| byte == b':')? + field.start;
        Some((field.start..colon, colon + 1..field.end))
    };
    lines.into_iter().filter_map(split).collect()
}

/// Where passwords stand in the addresses of a header, in order; none lies in another. Each byte is looked at a few times,
/// however many addresses seem to stand in one another.
fn passwords(head: &[u8]) -> Vec<Range<usize>> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"<>\"@".contains(byte);
    let find = |range: Range<usize>, wanted: u8| {
        head.get(range.clone())?.iter().position(|&byte| byte == wanted).map(|at| range.start + at)
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(from) = head.get(at..).and_then(scheme_end) {
        at += from;
        let rest = head.get(at..).unwrap_or_default();
        let user_end = at + rest.iter().position(ends).unwrap_or(rest.len());
        let user = head.get(at..user_end).unwrap_or_default();
        let last_mark = user.iter().rposition(|byte| b";?/".contains(byte)).map(|mark| at + mark);
        // Without an @ nothing of it is a user.
        let mut next = (head.get(user_end) == Some(&b'@')).then_some(at);
        while let Some(start) = next {
            let Some(colon) = find(start..user_end, b':') else { break };
            // The colon of a port with parameters behind it is none of a password.
            if last_mark.is_none_or(|mark| mark < colon) {
                found.push(colon + 1..user_end);
                break;
            }
            next = head.get(start..user_end).and_then(scheme_end).map(|end| start + end);
        }
        at = user_end;
    }
    found
}

fn sip_token(name: &[u8]) -> Vec<u8> {
    name.trim_ascii().to_ascii_lowercase()
}

/// Where the values of a parameter stand in a header field, quotes not among them. Also inside quotes, where it is none: rather
/// too much is replaced than too little. None lies in another.
fn parameter_values(text: &[u8], name: &[u8]) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.!%*+`'~".contains(byte);
    let is_there = |at: usize| {
        lower.get(at..at + name.len()) == Some(name)
            && !at.checked_sub(1).and_then(|before| lower.get(before)).is_some_and(is_token)
    };
    let skip = |mut at: usize| {
        while lower.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < lower.len() {
        let equals = is_there(at).then(|| skip(at + name.len()));
        let Some(equals) = equals.filter(|&equals| lower.get(equals) == Some(&b'=')) else {
            at += 1;
            continue;
        };
        let start = skip(equals + 1);
        let rest = text.get(start..).unwrap_or_default();
        let value = match rest.first() {
            Some(b'"') => start + 1..start + 1 + quoted_len(rest.get(1..).unwrap_or_default()),
            _ => start..start + rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len()),
        };
        // What stands in a value is replaced with it, whatever it looks like.
        at = value.end;
        found.push(value);
    }
    found
}

/// Bytes up to the quote that ends a quoted text; all of them when none does.
fn quoted_len(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|&byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// Behind the next `sip:` or `sips:`.
fn scheme_end(text: &[u8]) -> Option<usize> {
    (0..text.len()).find_map(|at| {
        let rest = text.get(at..)?;
        let is = |scheme: &[u8]| rest.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        [&b"sip:"[..], b"sips:"].into_iter().find(|scheme| is(scheme)).map(|scheme| at + scheme.len())
    })
}

/// Behind the next `inline:` of a text in small letters.
fn memchr_inline(lower: &[u8]) -> Option<usize> {
    const INLINE: &[u8] = b"inline:";
    lower.windows(INLINE.len()).position(|window| window == INLINE).map(|at| at + INLINE.len())
}

#[cfg(test)]
mod tests;
