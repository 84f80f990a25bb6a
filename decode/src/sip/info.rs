//! A keyed digit in the body of an INFO request.
//!
//! No RFC describes these bodies; they are what gateways send: `application/dtmf-relay` with lines `Signal=5` and
//! `Duration=160`, and `application/dtmf` with the digit alone. RFC 6086 keeps such use as "legacy INFO".

use super::{Message, trim};

/// Longest duration that is believed, in milliseconds.
const DURATION_MAX_MS: u32 = 60_000;

/// The digit that an INFO request carries, and how long it was held in milliseconds; 0 when the body does not say.
#[must_use]
pub fn keyed_digit(message: &Message<'_>) -> Option<(char, u32)> {
    if message.method() != Some(b"INFO") {
        return None;
    }
    let content_type = message.header("Content-Type")?;
    let media_type = content_type.split(|&b| b == b';').next().map(trim)?;
    if media_type.eq_ignore_ascii_case(b"application/dtmf") {
        return Some((character(trim(message.body))?, 0));
    }
    if !media_type.eq_ignore_ascii_case(b"application/dtmf-relay") {
        return None;
    }
    let value = |name: &[u8]| {
        message.body.split(|&b| b == b'\n' || b == b'\r').find_map(|line| {
            let equals = memchr::memchr(b'=', line)?;
            let (key, value) = (line.get(..equals)?, line.get(equals + 1..)?);
            trim(key).eq_ignore_ascii_case(name).then(|| trim(value))
        })
    };
    let duration = value(b"Duration").and_then(|ms| std::str::from_utf8(ms).ok()?.parse().ok()).unwrap_or(0);
    Some((character(value(b"Signal")?)?, duration.min(DURATION_MAX_MS)))
}

/// A digit as written, or the number of its event (RFC 4733, table 3), as some gateways write `10` for `*`.
fn character(text: &[u8]) -> Option<char> {
    match text {
        b"10" => Some('*'),
        b"11" => Some('#'),
        [b'1', tens @ b'2'..=b'5'] => Some(char::from(b'A' + (tens - b'2'))),
        b"16" | b"!" => Some('!'),
        &[digit @ (b'0'..=b'9' | b'*' | b'#')] => Some(char::from(digit)),
        &[letter @ (b'A'..=b'D' | b'a'..=b'd')] => Some(char::from(letter.to_ascii_uppercase())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str, body: &str) -> Option<(char, u32)> {
        let text = format!(
            "INFO sip:2001@192.0.2.10 SIP/2.0\r\nCSeq: 5 INFO\r\nContent-Type: {content_type}\r\n\r\n{body}"
        );
        keyed_digit(&super::super::parse(text.as_bytes()).expect("a message"))
    }

    #[test]
    fn both_bodies_are_read() {
        assert_eq!(of("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), Some(('5', 160)));
        assert_eq!(of("Application/DTMF-Relay; x=1", "Duration= 90\nSignal= #"), Some(('#', 90)));
        assert_eq!(of("application/dtmf", "*"), Some(('*', 0)));
        assert_eq!(of("application/dtmf-relay", "Signal=11\r\n"), Some(('#', 0)));
        assert_eq!(of("application/dtmf-relay", "Signal=13\r\n"), Some(('B', 0)));
    }

    #[test]
    fn other_bodies_and_nonsense_tell_nothing() {
        assert_eq!(of("application/media_control+xml", "<x/>"), None);
        assert_eq!(of("application/dtmf-relay", "Signal=\r\n"), None);
        assert_eq!(of("application/dtmf-relay", "Signal=99\r\nDuration=-1"), None);
        assert_eq!(of("application/dtmf-relay", "Signal=1\r\nDuration=99999999999"), Some(('1', 0)));
        assert_eq!(of("application/dtmf", ""), None);
    }
}
