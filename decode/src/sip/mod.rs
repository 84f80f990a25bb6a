//! SIP messages as a recorder sees them: extracted leniently, never enforced.
//!
//! RFC 3261 syntax with the tolerance that a passive listener needs: the endpoints may have understood what we would
//! refuse, so everything that can be read is read and what is odd is told ([`Oddity`]). Values stay raw bytes of the
//! message; names and numbers are made text only where they are shown. Transactions and dialogs are the tracker's.

mod address;
mod body;
mod framing;
mod info;
pub mod metadata;

pub(crate) use address::parameter;
pub use address::{Address, Uri, replaces_of, text};
pub use body::{Body, Leaf, body_parts, metadata_body, sdp_body};
pub use framing::{Framed, next_message};
pub use info::keyed_digit;

use memchr::{memchr, memmem};

use crate::ParseError;

/// Most header fields that are looked at in one message; the rest is skipped.
pub const HEADERS_MAX: usize = 256;

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request: method and Request-URI, both as written (RFC 3261, 7.1).
    Request {
        /// The method; compared with case (RFC 3261, 7.1).
        method: &'a [u8],
        /// The Request-URI.
        uri: &'a [u8],
    },
    /// A response: status 100 to 699 and reason phrase (RFC 3261, 7.2).
    Response {
        /// Status code.
        status: u16,
        /// Reason phrase, often empty.
        reason: &'a [u8],
    },
}

/// Something about a message that breaks the rules and was read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// The start line has spaces where none belong.
    StartLineSpacing,
    /// Content-Length is missing digits, negative, or more than the datagram holds.
    ContentLength,
    /// Two Content-Length fields that differ.
    ContentLengthTwice,
    /// Bytes after the end that Content-Length gave; they are not looked at (RFC 3261, 18.3).
    TrailingBytes,
    /// Call-ID, From, To or CSeq is missing (RFC 3261, 8.1.1).
    MandatoryMissing,
    /// Call-ID, From, To or CSeq stands there twice; the first one counts.
    MandatoryTwice,
    /// The method of CSeq is not the one of the start line.
    CSeqMismatch,
    /// A line in the header that is no header field.
    StrayLine,
    /// More header fields than are looked at.
    TooManyHeaders,
    /// The header never ended (no empty line); the message was cut or is broken.
    NoEnd,
}

impl Oddity {
    /// The oddity in a few words, for tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Oddity::StartLineSpacing => "spaces in the SIP start line",
            Oddity::ContentLength => "wrong Content-Length",
            Oddity::ContentLengthTwice => "two different Content-Length fields",
            Oddity::TrailingBytes => "bytes after the SIP message",
            Oddity::MandatoryMissing => "SIP header field missing",
            Oddity::MandatoryTwice => "SIP header field repeated",
            Oddity::CSeqMismatch => "CSeq method differs from the request",
            Oddity::StrayLine => "stray line in the SIP header",
            Oddity::TooManyHeaders => "too many SIP header fields",
            Oddity::NoEnd => "SIP header without end",
        }
    }
}

/// One SIP message, borrowed from the datagram.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The first line.
    pub start: StartLine<'a>,
    /// What follows the empty line, cut to Content-Length.
    pub body: &'a [u8],
    /// What was odd about it, each kind once.
    pub oddities: Vec<Oddity>,
    headers: Vec<(&'a [u8], &'a [u8])>,
    head_len: usize,
}

impl<'a> Message<'a> {
    /// Bytes of the datagram before its body: blank lines, start line, header, empty line.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head_len
    }

    /// The method of a request; `None` for a response.
    #[must_use]
    pub fn method(&self) -> Option<&'a [u8]> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The first field of that name, given in its long form; compact forms are found too (RFC 3261, 7.3.3). The value
    /// may hold folded lines.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers_named(name).next()
    }

    /// All fields of that name, in order.
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let compact = compact_form(name);
        self.headers
            .iter()
            .filter(move |(field, _)| {
                field.eq_ignore_ascii_case(name.as_bytes())
                    || compact.is_some_and(|c| field.len() == 1 && field.eq_ignore_ascii_case(c))
            })
            .map(|&(_, value)| value)
    }

    /// Call-ID as written.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.header("Call-ID")
    }

    /// The From address.
    #[must_use]
    pub fn from(&self) -> Option<Address<'a>> {
        self.header("From").map(Address::parse)
    }

    /// The To address.
    #[must_use]
    pub fn to(&self) -> Option<Address<'a>> {
        self.header("To").map(Address::parse)
    }

    /// CSeq: number (saturating at `u32::MAX`, RFC 4475 scalar02) and method.
    #[must_use]
    pub fn cseq(&self) -> Option<(u32, &'a [u8])> {
        let value = trim(self.header("CSeq")?);
        let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, method) = value.split_at_checked(digits)?;
        if number.is_empty() {
            return None;
        }
        Some((saturating_number(number), trim(method)))
    }
}

/// Does it begin like a SIP message? A cheap look that RTP, STUN and DNS packets fail at the first bytes.
#[must_use]
pub fn looks_like_sip(bytes: &[u8]) -> bool {
    let bytes = skip_blank_lines(bytes);
    if bytes.starts_with(b"SIP/2.0 ") {
        return true;
    }
    let Some(space) = bytes.iter().take(32).position(|&b| b == b' ') else { return false };
    space > 0 && bytes.iter().take(space).all(|&b| is_token(b)) && {
        let line = first_line(bytes);
        memmem::find(line, b"SIP/2.0").is_some()
    }
}

/// Reads one message that fills a datagram.
///
/// # Errors
///
/// [`ParseError`] when the first line is no SIP start line; everything behind it is read leniently.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, ParseError> {
    let bytes = skip_blank_lines(datagram);
    let mut oddities = Vec::new();
    let line = first_line(bytes);
    let start = start_line(line, &mut oddities)
        .ok_or(ParseError { offset: datagram.len() - bytes.len(), expected: "a SIP/2.0 start line" })?;
    let after_start = after_line(bytes, line);
    let (headers, body) = header_fields(after_start, &mut oddities);
    let head_len = datagram.len() - body.len();
    let mut message = Message { start, body, oddities, headers, head_len };
    check_mandatory(&mut message);
    cut_body(&mut message);
    message.oddities.sort_unstable();
    message.oddities.dedup();
    Ok(message)
}

fn start_line<'a>(line: &'a [u8], oddities: &mut Vec<Oddity>) -> Option<StartLine<'a>> {
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let digits = rest.get(..3)?;
        if !digits.iter().all(u8::is_ascii_digit) || rest.get(3).is_some_and(|&b| b != b' ') {
            return None;
        }
        let status = digits.iter().fold(0u16, |n, &b| n * 10 + u16::from(b - b'0'));
        let reason = rest.get(4..).unwrap_or_default();
        return (100..700).contains(&status).then_some(StartLine::Response { status, reason });
    }
    let line_without_version = line.strip_suffix(b" SIP/2.0")?;
    let space = memchr(b' ', line_without_version)?;
    let (method, uri) = line_without_version.split_at_checked(space)?;
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return None;
    }
    let trimmed = trim(uri);
    if trimmed.is_empty() {
        return None;
    }
    if uri.len() != trimmed.len() + 1 || trimmed.contains(&b' ') {
        oddities.push(Oddity::StartLineSpacing);
    }
    Some(StartLine::Request { method, uri: trimmed })
}

type Headers<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Splits the header into fields; a field's value runs over folded lines (RFC 3261, 7.3.1). Gives the bytes behind the
/// empty line.
fn header_fields<'a>(mut rest: &'a [u8], oddities: &mut Vec<Oddity>) -> (Headers<'a>, &'a [u8]) {
    let mut headers: Headers<'a> = Vec::with_capacity(16);
    loop {
        let line = first_line(rest);
        if line.is_empty() {
            if rest.is_empty() {
                oddities.push(Oddity::NoEnd);
            }
            return (headers, after_line(rest, line));
        }
        // The field goes on for as long as the next line begins with white space.
        let mut field = line;
        let mut next = after_line(rest, line);
        let mut end = None;
        while matches!(next.first(), Some(b' ' | b'\t')) {
            let continuation = first_line(next);
            next = after_line(next, continuation);
            end = Some(rest.len() - next.len());
        }
        // Trimmed once and not line by line: of many blank lines each would be run over again for every one behind it.
        if let Some(folded) = end.and_then(|end| rest.get(..end)) {
            field = trim_end(folded);
        }
        match memchr(b':', field) {
            Some(colon) if headers.len() < HEADERS_MAX => {
                let (name, value) =
                    (field.get(..colon).unwrap_or_default(), field.get(colon + 1..).unwrap_or_default());
                headers.push((trim(name), trim(value)));
            }
            Some(_) => oddities.push(Oddity::TooManyHeaders),
            None => oddities.push(Oddity::StrayLine),
        }
        rest = next;
    }
}

fn check_mandatory(message: &mut Message<'_>) {
    for name in ["Call-ID", "From", "To", "CSeq"] {
        match message.headers_named(name).count() {
            0 => message.oddities.push(Oddity::MandatoryMissing),
            1 => {}
            _ => message.oddities.push(Oddity::MandatoryTwice),
        }
    }
    if let (Some(method), Some((_, cseq_method))) = (message.method(), message.cseq())
        && method != cseq_method
    {
        message.oddities.push(Oddity::CSeqMismatch);
    }
}

/// Cuts the body to Content-Length. A wrong one counts as absent: the datagram's end ends the body (RFC 3261, 18.3).
fn cut_body(message: &mut Message<'_>) {
    let lengths: Vec<_> = message.headers_named("Content-Length").map(content_length).collect();
    let mut oddity = None;
    if let Some(&first) = lengths.first() {
        if lengths.iter().any(|&l| l != first) {
            oddity = Some(Oddity::ContentLengthTwice);
        }
        match first {
            Some(length) if length <= message.body.len() => {
                if !skip_blank_lines(message.body.get(length..).unwrap_or_default()).is_empty() {
                    oddity = oddity.or(Some(Oddity::TrailingBytes));
                }
                message.body = message.body.get(..length).unwrap_or_default();
            }
            _ => oddity = oddity.or(Some(Oddity::ContentLength)),
        }
    }
    message.oddities.extend(oddity);
}

/// A Content-Length value; `None` when it is no number.
pub(crate) fn content_length(value: &[u8]) -> Option<usize> {
    let value = trim(value);
    (!value.is_empty() && value.iter().all(u8::is_ascii_digit)).then(|| saturating_number(value) as usize)
}

fn saturating_number(digits: &[u8]) -> u32 {
    digits.iter().fold(0u32, |n, &b| n.saturating_mul(10).saturating_add(u32::from(b.wrapping_sub(b'0'))))
}

/// Where the first of several values with commas between them ends.
pub(crate) fn end_of_value(field: &[u8]) -> usize {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, &byte) in field.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' if !quoted && !angle => return at,
            _ => {}
        }
    }
    field.len()
}

/// All values of a field, of every line of it, in order.
pub(crate) fn values<'a>(message: &Message<'a>, name: &str) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    for mut rest in message.headers_named(name).collect::<Vec<_>>() {
        while !rest.is_empty() && found.len() < HEADERS_MAX {
            let end = end_of_value(rest);
            let (value, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if !trim(value).is_empty() {
                found.push(trim(value));
            }
            rest = behind.get(1..).unwrap_or_default();
        }
    }
    found
}

fn compact_form(name: &str) -> Option<&'static [u8]> {
    // RFC 3261, 7.3.3 and 20; Refer-To and Referred-By from RFC 3515 and 3892, Session-Expires from RFC 4028.
    Some(match name {
        "Call-ID" => b"i",
        "From" => b"f",
        "To" => b"t",
        "Via" => b"v",
        "Contact" => b"m",
        "Content-Type" => b"c",
        "Content-Length" => b"l",
        "Content-Encoding" => b"e",
        "Subject" => b"s",
        "Supported" => b"k",
        "Refer-To" => b"r",
        "Referred-By" => b"b",
        "Session-Expires" => b"x",
        _ => return None,
    })
}

/// RFC 3261, 25.1 `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// The first line, without its CRLF, LF or CR LF mixture.
fn first_line(bytes: &[u8]) -> &[u8] {
    let line = memchr(b'\n', bytes).and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What follows `line`, which is the first line of `bytes`.
fn after_line<'a>(bytes: &'a [u8], line: &[u8]) -> &'a [u8] {
    let rest = bytes.get(line.len()..).unwrap_or_default();
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    rest.strip_prefix(b"\n").unwrap_or(rest)
}

/// Skips the blank lines that may stand before a message and are sent alone as keep-alive (RFC 3261, 7.5; RFC 5626, 3.5.1).
fn skip_blank_lines(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
    bytes.get(blank..).unwrap_or_default()
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    trim_end(bytes.get(start..).unwrap_or_default())
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
    bytes.get(..bytes.len() - blank).unwrap_or_default()
}

#[cfg(test)]
mod tests;
