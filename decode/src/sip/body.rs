//! Finding the SDP in a body: alone, or one part of a multipart (RFC 2046, 5.1; RFC 5621).

use memchr::memmem;

use super::address::parameter;
use super::{Message, after_line, first_line, trim};

/// How deep multiparts inside multiparts are opened.
const MULTIPART_DEPTH_MAX: usize = 4;
/// How many parts of one multipart are looked at.
const MULTIPART_PARTS_MAX: usize = 32;
/// Header fields of a part that say what its content is, and nothing of what stands in it.
const PART_FIELDS: [&[u8]; 8] = [
    b"Content-Type",
    b"c",
    b"Content-Disposition",
    b"Content-Encoding",
    b"Content-ID",
    b"Content-Language",
    b"Content-Length",
    b"Content-Transfer-Encoding",
];

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
        let Part { content_type, content, .. } = split_part(part)?;
        find_sdp(content_type, content, depth - 1)
    })
}

/// The metadata of a recording session in a message's body (RFC 7866, 8.1), if there is one.
#[must_use]
pub fn metadata_body<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let is_metadata = |leaf: &Leaf<'a>| {
        let kind = leaf.content_type.unwrap_or_default().split(|&b| b == b';').next().map(trim);
        let names = [&b"application/rs-metadata+xml"[..], b"application/rs-metadata"];
        kind.is_some_and(|kind| names.iter().any(|name| kind.eq_ignore_ascii_case(name)))
    };
    body_parts(message).leaves.into_iter().find(is_metadata).map(|leaf| leaf.content)
}

/// One body that is no multipart: a message's own, or a part's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its Content-Type as written. A part whose header never ends has no header: it is `text/plain` (RFC 2046, 5.1).
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
    /// Boundaries, and what a part's header says of its content; of other lines in it nothing, since they may hold anything.
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
        let Some(Part { content_type, content, fields }) = split_part(part) else {
            body.leaves.push(Leaf { content_type: Some(b"text/plain"), content: part });
            continue;
        };
        body.framing.extend(fields);
        take_apart(content_type, content, depth - 1, body);
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

/// A part of a multipart.
struct Part<'a> {
    content_type: Option<&'a [u8]>,
    content: &'a [u8],
    /// The lines of its header that are known to describe the content.
    fields: Vec<&'a [u8]>,
}

/// Takes a part's header off; `None` without the empty line that ends one.
fn split_part(part: &[u8]) -> Option<Part<'_>> {
    let (mut content_type, mut fields) = (None, Vec::new());
    let mut rest = part;
    while !rest.is_empty() {
        let line = first_line(rest);
        let next = after_line(rest, line);
        if line.is_empty() {
            return Some(Part { content_type, content: next, fields });
        }
        rest = next;
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = trim(line.get(..colon).unwrap_or_default());
        if name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c") {
            content_type = Some(trim(line.get(colon + 1..).unwrap_or_default()));
        }
        if PART_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            // A bare CR may be a line end to somebody: what is behind it is no longer this field.
            fields.extend(line.split(|&byte| byte == b'\r').next());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"INFO sip:a SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n";

    fn taken_apart(body: &str) -> (Vec<String>, Vec<String>) {
        let message = [HEAD, body.as_bytes()].concat();
        let message = super::super::parse(&message).expect("a message");
        let body = body_parts(&message);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let leaves = body.leaves.iter().map(|leaf| text(leaf.content)).collect();
        (leaves, body.framing.iter().map(|bytes| text(bytes)).collect())
    }

    #[test]
    fn a_part_without_an_empty_line_is_all_content_and_no_framing() {
        let (leaves, framing) = taken_apart("--b\r\nContent-Type: a/b\r\nmeet me\r\n--b--\r\n");
        assert_eq!(leaves, ["Content-Type: a/b\r\nmeet me\r\n"]);
        assert_eq!(framing, ["--b", "--b", "--"]);
    }

    #[test]
    fn of_a_parts_header_only_what_describes_the_content_is_framing() {
        let (leaves, framing) = taken_apart(
            "--b meet me\r\nmeet me\r\nContent-Type: a/b\rmeet me\r\n meet me\r\ncontent-id: <7>\r\nX: meet me\r\n\r\nc\r\n--b",
        );
        assert_eq!(leaves, ["c\r\n", ""]);
        assert_eq!(framing, ["--b", "Content-Type: a/b", "content-id: <7>", "--b"]);
    }
}
