//! Cutting a TCP stream into SIP messages (RFC 3261, 18.3).
//!
//! Content-Length says where a message ends. A stream that is joined in the middle, lost a piece, or lies about a length
//! is caught again at the next line that is a SIP start line. The bytes that wait are kept by [`crate::tcp`], which bounds
//! them.

use std::ops::Range;

use memchr::memmem;

use super::{after_line, content_length, first_line, looks_like_sip, skip_blank_lines, start_line, trim};

/// A promised body longer than this is a lie.
const BODY_MAX: usize = 256 * 1024;
/// Longest start line that is waited for.
const START_LINE_MAX: usize = 2048;
/// Longest method in it (RFC 4475, 3.1.1.2 has one of 43 bytes).
const METHOD_BYTES_MAX: usize = 64;

/// What stands at the beginning of the unread bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A whole message; what stands before it is no SIP and may go.
    Message(Range<usize>),
    /// No whole message yet. `skip` bytes are of no use and may go; the rest waits for more.
    Wait {
        /// How many.
        skip: usize,
    },
}

/// Finds the first whole message in `bytes`. `ended` says that nothing will follow them.
#[must_use]
pub fn next_message(bytes: &[u8], ended: bool) -> Framed {
    let trimmed = skip_blank_lines(bytes);
    let blank = bytes.len() - trimmed.len();
    let skipped = if begins_message(trimmed) {
        0
    } else {
        match find_start(trimmed) {
            Resync::At(offset) => offset,
            Resync::Keep(tail) => return Framed::Wait { skip: bytes.len() - tail },
        }
    };
    let start = blank + skipped;
    let message = trimmed.get(skipped..).unwrap_or_default();
    let Some(header) = header_end(message) else { return Framed::Wait { skip: start } };
    let body = message.get(header..).unwrap_or_default();
    let length = match promised_length(message.get(..header).unwrap_or_default()) {
        Some(length) if length <= body.len() => length,
        // It may be on its way, unless another message begins inside it: then the length was a lie (RFC 4475, 3.1.2.2).
        Some(length) if length <= BODY_MAX && !ended => match start_in_body(body) {
            Some(next) => next,
            None => return Framed::Wait { skip: start },
        },
        // No usable length: the body runs to the next start line, or to what has come.
        _ => start_in_body(body).unwrap_or(body.len()),
    };
    Framed::Message(start..start + header + length)
}

/// The Content-Length in a header; 0 without one, since it must be there on a stream (RFC 3261, 20.14); `None` when it
/// cannot be used.
fn promised_length(header: &[u8]) -> Option<usize> {
    let mut rest = header;
    while !rest.is_empty() {
        let line = first_line(rest);
        if let Some(colon) = memchr::memchr(b':', line) {
            let (name, value) = (trim(line.get(..colon)?), line.get(colon + 1..).unwrap_or_default());
            if name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l") {
                return content_length(value);
            }
        }
        rest = after_line(rest, line);
    }
    Some(0)
}

/// Where the body begins: behind the first empty line.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let crlf = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4);
    let lf = memmem::find(bytes, b"\n\n").map(|at| at + 2);
    match (crlf, lf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Does a message begin here, as far as can be told from what has come?
fn begins_message(bytes: &[u8]) -> bool {
    match memchr::memchr(b'\n', bytes) {
        Some(_) => start_line(first_line(bytes), &mut Vec::new()).is_some(),
        None => bytes.len() < START_LINE_MAX && plausible_prefix(bytes),
    }
}

/// Could these bytes, of a line that is not complete yet, become a start line?
fn plausible_prefix(bytes: &[u8]) -> bool {
    let word = bytes.iter().take_while(|&&b| super::is_token(b)).count();
    bytes.starts_with(b"SIP/2.0 ")
        || (b"SIP/2.0 ".starts_with(bytes))
        || (word > 0 && word <= METHOD_BYTES_MAX && matches!(bytes.get(word), None | Some(b' ')))
}

enum Resync {
    /// A start line begins there.
    At(usize),
    /// None; keep so many bytes at the end, the piece of a line that may become one.
    Keep(usize),
}

fn find_start(bytes: &[u8]) -> Resync {
    let mut offset = 0;
    while let Some(newline) = bytes.get(offset..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        offset += newline + 1;
        let rest = bytes.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Resync::Keep(0);
        }
        if begins_message(rest) && (memchr::memchr(b'\n', rest).is_none() || looks_like_sip(rest)) {
            return Resync::At(offset);
        }
    }
    let tail = bytes.len() - offset;
    // A line too long to be a start line is let go.
    Resync::Keep(if tail > START_LINE_MAX || !plausible_prefix(bytes.get(offset..).unwrap_or_default()) {
        0
    } else {
        tail
    })
}

/// Where inside a body a whole start line stands at the beginning of a line.
fn start_in_body(body: &[u8]) -> Option<usize> {
    memmem::find_iter(body, b"SIP/2.0").find_map(|at| {
        let line_start = body.get(..at)?.iter().rposition(|&b| b == b'\n').map_or(0, |nl| nl + 1);
        let rest = body.get(line_start..)?;
        memchr::memchr(b'\n', rest)?;
        start_line(first_line(rest), &mut Vec::new()).map(|_| line_start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] =
        b"OPTIONS sip:a@example.com SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 4\r\n\r\nbody";

    /// Feeds a stream in pieces of `size` bytes and gives the messages cut out of it.
    fn cut(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut unread, mut messages) = (Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            unread.extend_from_slice(piece);
            loop {
                match next_message(&unread, false) {
                    Framed::Message(range) => {
                        messages.push(unread[range.clone()].to_vec());
                        unread.drain(..range.end);
                    }
                    Framed::Wait { skip } => {
                        unread.drain(..skip);
                        break;
                    }
                }
            }
        }
        messages
    }

    #[test]
    fn messages_are_found_whatever_the_pieces() {
        let stream = [OPTIONS, b"\r\n\r\n", OPTIONS, b"SIP/2.0 200 OK\r\nl: 0\r\n\r\n", OPTIONS].concat();
        for size in [1, 2, 3, 7, 50, 1000] {
            let messages = cut(&stream, size);
            assert_eq!(messages.len(), 4, "pieces of {size}");
            assert_eq!(messages[3], OPTIONS);
        }
    }

    #[test]
    fn a_long_method_is_waited_for() {
        let long: &[u8] =
            b"!interesting-Method0123456789_*+`.%indeed'~ sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";
        for size in [1, 40, 50, 1000] {
            assert_eq!(cut(long, size), [long], "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_joined_in_the_middle_is_caught_at_the_next_start_line() {
        let stream = [b"ip:b@example.com>\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n", OPTIONS].concat();
        for size in [1, 5, 1000] {
            assert_eq!(cut(&stream, size), [OPTIONS], "pieces of {size}");
        }
    }

    #[test]
    fn a_length_that_lies_ends_at_the_next_message() {
        let liar = b"OPTIONS sip:a@example.com SIP/2.0\r\nContent-Length: 9999\r\n\r\nshort\r\n";
        let stream = [&liar[..], OPTIONS].concat();
        assert_eq!(cut(&stream, 1000), [&liar[..], OPTIONS]);
        let negative = b"OPTIONS sip:a@example.com SIP/2.0\r\nContent-Length: -5\r\n\r\n";
        assert_eq!(cut(&[&negative[..], OPTIONS].concat(), 1000), [&negative[..], OPTIONS]);
    }

    #[test]
    fn what_is_no_sip_is_skipped() {
        let binary = b"\x16\x03\x01\x02\x00 binary\n and more";
        assert_eq!(next_message(binary, false), Framed::Wait { skip: binary.len() });
        let endless = [b'A'; 5000];
        assert_eq!(next_message(&endless, false), Framed::Wait { skip: 5000 });
    }
}
