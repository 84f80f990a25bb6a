//! Addresses in From, To, Contact and the like (RFC 3261, 20.10 and 19.1), read leniently.

use memchr::memchr;

use super::trim;

/// A name-addr or addr-spec with its header parameters, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Display name, without quotes; empty when there is none.
    pub display: &'a [u8],
    /// The URI between the angle brackets, or the bare one.
    pub uri: Uri<'a>,
    parameters: &'a [u8],
}

impl<'a> Address<'a> {
    /// Reads a header value. Never fails: what cannot be told is empty.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Address<'a> {
        let value = trim(value);
        let (display, rest) = split_display(value);
        if let Some(inner) = rest.strip_prefix(b"<") {
            let end = memchr(b'>', inner).unwrap_or(inner.len());
            let (uri, after) = inner.split_at_checked(end).unwrap_or((inner, &[]));
            return Address {
                display,
                uri: Uri::parse(uri),
                parameters: after.strip_prefix(b">").unwrap_or(after),
            };
        }
        // An addr-spec: parameters behind the first `;` belong to the header (RFC 3261, 20).
        let end = memchr(b';', rest).unwrap_or(rest.len());
        let (uri, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        Address { display, uri: Uri::parse(trim(uri)), parameters: after }
    }

    /// A parameter's value, as `tag`; `None` when it is absent, empty when it has no value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        parameter(self.parameters, name)
    }

    /// The tag that names this end of the dialog (RFC 3261, 19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.parameter("tag").filter(|tag| !tag.is_empty())
    }
}

/// Splits a display name off: quoted (with backslash escapes; an open quote runs to the angle bracket) or tokens before `<`.
fn split_display(value: &[u8]) -> (&[u8], &[u8]) {
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let mut escaped = false;
        for (i, &b) in quoted.iter().enumerate() {
            match b {
                b'\\' if !escaped => escaped = true,
                b'"' if !escaped => {
                    let rest = quoted.get(i + 1..).unwrap_or_default();
                    return (quoted.get(..i).unwrap_or_default(), trim(rest));
                }
                _ => escaped = false,
            }
        }
        // RFC 4475 quotbal: no closing quote. The angle bracket ends the name.
        let end = memchr(b'<', quoted).unwrap_or(quoted.len());
        return quoted.split_at_checked(end).map_or((quoted, &[][..]), |(name, rest)| (trim(name), rest));
    }
    match memchr(b'<', value) {
        Some(bracket) => {
            value.split_at_checked(bracket).map_or((&[][..], value), |(name, rest)| (trim(name), rest))
        }
        None => (&[], value),
    }
}

/// A SIP, SIPS or tel URI, borrowed. Unknown schemes keep their text in `host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Scheme as written, without the colon.
    pub scheme: &'a [u8],
    /// User part without password and user parameters; the number of a tel URI. Not unescaped (RFC 4475 esc01).
    pub user: &'a [u8],
    /// Host, with the brackets of an IPv6 reference; empty for tel.
    pub host: &'a [u8],
    /// Port, when it is written and fits.
    pub port: Option<u16>,
}

impl<'a> Uri<'a> {
    /// Reads a URI. Never fails: what cannot be told is empty.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Uri<'a> {
        let text = trim(text);
        let Some(colon) = memchr(b':', text) else {
            return Uri { scheme: &[], user: &[], host: text, port: None };
        };
        let (scheme, rest) =
            (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default());
        if scheme.eq_ignore_ascii_case(b"tel") {
            return Uri { scheme, user: before(rest, b";?"), host: &[], port: None };
        }
        let (userinfo, hostport) = match rest.iter().rposition(|&b| b == b'@') {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (&[][..], rest),
        };
        let hostport = before(hostport, b";?");
        let (host, port) = split_port(hostport);
        Uri { scheme, user: before(userinfo, b";:"), host, port }
    }
}

fn split_port(hostport: &[u8]) -> (&[u8], Option<u16>) {
    let after_bracket = hostport.iter().position(|&b| b == b']').map_or(0, |i| i + 1);
    let tail = hostport.get(after_bracket..).unwrap_or_default();
    match memchr(b':', tail) {
        Some(colon) => {
            let port = tail
                .get(colon + 1..)
                .and_then(|p| std::str::from_utf8(p).ok())
                .and_then(|p| p.trim().parse().ok());
            (hostport.get(..after_bracket + colon).unwrap_or_default(), port)
        }
        None => (hostport, None),
    }
}

/// What stands before the first of `ends`.
fn before<'a>(bytes: &'a [u8], ends: &[u8]) -> &'a [u8] {
    let end = bytes.iter().position(|b| ends.contains(b)).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

/// Finds `;name=value` in a list of parameters; a quoted value loses its quotes, and a `;` inside quotes does not end it.
pub(crate) fn parameter<'a>(parameters: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = parameters;
    while let Some(start) = memchr(b';', rest) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let mut quoted = false;
        let end = rest
            .iter()
            .position(|&b| {
                quoted ^= b == b'"';
                !quoted && (b == b';' || b == b',')
            })
            .unwrap_or(rest.len());
        let item = rest.get(..end).unwrap_or_default();
        let (key, value) = match memchr(b'=', item) {
            Some(eq) => (item.get(..eq).unwrap_or_default(), item.get(eq + 1..).unwrap_or_default()),
            None => (item, &[][..]),
        };
        if trim(key).eq_ignore_ascii_case(name.as_bytes()) {
            let value = trim(value);
            return Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    None
}

/// The Replaces value that a Refer-To names in its URI's headers (RFC 3891, 3), unescaped: Call-ID and tags.
#[must_use]
pub fn replaces_of(refer_to: &[u8]) -> Option<Vec<u8>> {
    let headers = refer_to.get(memchr(b'?', refer_to)? + 1..)?;
    let headers = before(headers, b">");
    headers.split(|&b| b == b'&').find_map(|header| {
        let equals = memchr(b'=', header)?;
        let (name, value) = (header.get(..equals)?, header.get(equals + 1..)?);
        trim(name).eq_ignore_ascii_case(b"Replaces").then(|| unescape(value))
    })
}

/// Undoes the escapes of a URI (RFC 3261, 19.1.2); what is none stays.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// Bytes of a message as text to show: UTF-8 where it is, else Latin-1; folds become one space, control characters `\u{fffd}`.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let raw: String = match std::str::from_utf8(bytes) {
        Ok(utf8) => utf8.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    };
    if !raw.chars().any(char::is_control) {
        return raw;
    }
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\r' | '\n' | '\t' | ' ' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.trim_end().to_owned()
}
