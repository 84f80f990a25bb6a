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

/// One body that is no multipart: a message's own, or a part's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its Content-Type as written.
    pub content_type: Option<&'a [u8]>,
    /// Its bytes.
    pub content: &'a [u8],
}

/// What a body is made of. Bytes that are in neither list belong to nothing: what stands before, behind and between the parts,
/// and everything beyond the limits of depth and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body<'a> {
    /// The bodies themselves, in order.
    pub leaves: Vec<Leaf<'a>>,
    /// Boundaries and the headers of parts.
    pub framing: Vec<&'a [u8]>,
}

/// Takes a message's body apart.
#[must_use]
pub fn body_parts<'a>(message: &Message<'a>) -> Body<'a> {
    let mut body = Body::default();
    take_apart(message.header("Content-Type"), message.body, MULTIPART_DEPTH_MAX, &mut body);
    body
}

fn take_apart<'a>(content_type: Option<&'a [u8]>, bytes: &'a [u8], depth: usize, body: &mut Body<'a>) {
    let kind = content_type.unwrap_or_default();
    let is_multipart = kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"));
    if !is_multipart {
        return body.leaves.push(Leaf { content_type, content: bytes });
    }
    let boundary = memchr::memchr(b';', kind)
        .and_then(|end| parameter(kind.get(end..)?, "boundary"))
        .filter(|boundary| !boundary.is_empty());
    let Some(boundary) = boundary.filter(|_| depth > 0) else { return };
    let delimiter = [b"--", boundary].concat();
    let mut next = memmem::find(bytes, &delimiter);
    let mut rest = bytes;
    for _ in 0..=MULTIPART_PARTS_MAX {
        let Some((line, behind)) = next.and_then(|at| rest.get(at..)?.split_at_checked(delimiter.len()))
        else {
            return;
        };
        body.framing.push(line);
        if behind.starts_with(b"--") {
            body.framing.extend(behind.get(..2));
            return;
        }
        let part = after_line(behind, first_line(behind));
        next = memmem::find(part, &delimiter);
        rest = part;
        let part = part.get(..next.unwrap_or(part.len())).unwrap_or_default();
        let (content_type, inner) = split_part(part);
        body.framing.extend(part.get(..part.len() - inner.len()));
        take_apart(content_type, inner, depth - 1, body);
    }
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
