//! Finding the SDP in a body: alone, or one part of a multipart (RFC 2046, 5.1; RFC 5621).

use memchr::memmem;

use super::address::parameter;
use super::{Message, after_line, first_line, trim};

/// How deep multiparts inside multiparts are opened.
const MULTIPART_DEPTH_MAX: usize = 4;
/// How many parts of one multipart are looked at.
const MULTIPART_PARTS_MAX: usize = 32;

/// The session description in a message's body, if there is one.
///
/// A body without Content-Type counts as SDP when it begins like one: some gateways leave the field out.
#[must_use]
pub fn sdp_body<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    find_sdp(message.header("Content-Type"), message.body, MULTIPART_DEPTH_MAX)
}

fn find_sdp<'a>(content_type: Option<&[u8]>, body: &'a [u8], depth: usize) -> Option<&'a [u8]> {
    let Some(content_type) = content_type else {
        return body.starts_with(b"v=0").then_some(body);
    };
    let media_type_end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
    let (media_type, parameters) = content_type.split_at_checked(media_type_end)?;
    let media_type = trim(media_type);
    if media_type.eq_ignore_ascii_case(b"application/sdp") {
        return (!body.is_empty()).then_some(body);
    }
    let is_multipart = media_type.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"));
    if !is_multipart || depth == 0 {
        return None;
    }
    let boundary = parameter(parameters, "boundary").filter(|b| !b.is_empty())?;
    parts(body, boundary).take(MULTIPART_PARTS_MAX).find_map(|part| {
        let (content_type, inner) = split_part(part);
        find_sdp(content_type, inner, depth - 1)
    })
}

/// The parts between the boundary lines; a missing end boundary ends the last part at the end of the body.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut delimiter = b"--".to_vec();
    delimiter.extend_from_slice(boundary);
    let mut rest = memmem::find(body, &delimiter).and_then(|at| body.get(at + delimiter.len()..));
    std::iter::from_fn(move || {
        let from = rest?;
        if from.starts_with(b"--") {
            return None;
        }
        let part = after_line(from, first_line(from));
        let end = memmem::find(part, &delimiter);
        rest = end.and_then(|at| part.get(at + delimiter.len()..));
        part.get(..end.unwrap_or(part.len()))
    })
}

/// A part's Content-Type and content.
fn split_part(part: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut content_type = None;
    let mut rest = part;
    loop {
        let line = first_line(rest);
        let next = after_line(rest, line);
        if line.is_empty() {
            return (content_type, next);
        }
        if let Some(colon) = memchr::memchr(b':', line) {
            let (name, value) =
                (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
            if trim(name).eq_ignore_ascii_case(b"Content-Type") || trim(name).eq_ignore_ascii_case(b"c") {
                content_type = Some(trim(value));
            }
        }
        rest = next;
    }
}
