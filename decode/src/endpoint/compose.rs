//! Writing SIP messages: responses from their requests (RFC 3261, 8.2.6), and requests of our own.
//!
//! What a peer wrote goes back unfolded: a line end in a value would begin a field of its own.

use std::fmt::Write as _;

use super::Path;
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::sip::{self, Message, StartLine, end_of_value, values};

/// Default port of SIP (RFC 3261, 19.1.2).
const SIP_PORT: u16 = 5060;
/// The same of SIP over TLS.
const SIPS_PORT: u16 = 5061;

/// Bytes of a response's fixed part at most: what it repeats of the request. A request that makes more is refused.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What a message beside its first line and fixed fields says.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// Header fields, each with its line end.
    pub(super) fields: String,
    /// Content-Type of the body; without it there is none.
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Parts {
    pub(super) fn none() -> Parts {
        Parts::default()
    }

    pub(super) fn field(mut self, name: &str, value: impl std::fmt::Display) -> Parts {
        // A String takes everything.
        let _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }

    pub(super) fn sdp(mut self, body: Vec<u8>) -> Parts {
        self.content_type = "application/sdp";
        self.body = body;
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.fields.as_bytes());
        if !self.content_type.is_empty() {
            out.extend_from_slice(format!("Content-Type: {}\r\n", self.content_type).as_bytes());
        }
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        out.extend_from_slice(&self.body);
    }
}

/// The first value of the top Via (RFC 3261, 20.42), as far as responses need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via<'a> {
    /// The value up to its end, without further values of the same field.
    value: &'a [u8],
    /// Host and port that the sender names.
    pub(super) sent_by: &'a [u8],
    pub(super) port: Option<u16>,
    pub(super) branch: &'a [u8],
    /// The sender asks for the port that its request came from (RFC 3581).
    pub(super) has_rport: bool,
}

impl<'a> Via<'a> {
    /// Of a request; none without a Via that names its sender: such a request cannot be answered.
    pub(super) fn top(message: &Message<'a>) -> Option<Via<'a>> {
        let field = message.header("Via")?;
        let value = field.get(..end_of_value(field))?;
        let semicolon = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        let (head, parameters) = value.split_at_checked(semicolon)?;
        // `SIP / 2.0 / UDP host:port`, with blanks around the slashes and the host.
        let last_slash = head.iter().rposition(|&b| b == b'/')?;
        let rest = sip::trim(head.get(last_slash + 1..)?);
        let blank = rest.iter().position(u8::is_ascii_whitespace)?;
        let sent_by = sip::trim(rest.get(blank..)?);
        if sent_by.is_empty() {
            return None;
        }
        let port = port_of(sent_by);
        let branch = sip::parameter(parameters, "branch").unwrap_or_default();
        let has_rport = sip::parameter(parameters, "rport").is_some();
        Some(Via { value, sent_by, port, branch, has_rport })
    }

    /// Where the sender is to be reached when its connection is gone: at its address, and the port that it names (RFC 3261, 18.2.2).
    pub(super) fn elsewhere(&self, path: &Path) -> Endpoint {
        path.peer.with_port(self.port.unwrap_or_else(|| port_for(path.carrier)))
    }

    /// Where a response goes over UDP (RFC 3261, 18.2.2; RFC 3581, 4).
    pub(super) fn reply_to(&self, source: Endpoint) -> Endpoint {
        if self.has_rport { source } else { source.with_port(self.port.unwrap_or(SIP_PORT)) }
    }
}

/// The port behind a host, which may be an IPv6 reference.
fn port_of(sent_by: &[u8]) -> Option<u16> {
    let bracket = sent_by.iter().position(|&b| b == b']').map_or(0, |at| at + 1);
    let tail = sent_by.get(bracket..)?;
    let colon = tail.iter().position(|&b| b == b':')?;
    std::str::from_utf8(tail.get(colon + 1..)?).ok()?.trim().parse().ok().filter(|&port| port != 0)
}

/// Does one of the words of this field read so (RFC 3261, 7.3.1: in any case)?
pub(super) fn names(message: &Message<'_>, field: &str, word: &str) -> bool {
    values(message, field).iter().any(|value| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// Appends a value without its folds.
fn push_unfolded(out: &mut Vec<u8>, value: &[u8]) {
    out.extend(value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    push_unfolded(out, value);
    out.extend_from_slice(b"\r\n");
}

/// What every response to a request repeats of it: Via, From, To (with our tag when it has none), Call-ID, CSeq.
pub(super) fn head(request: &Message<'_>, via: &Via<'_>, source: Endpoint, to_tag: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut fields = request.headers_named("Via");
    if let Some(field) = fields.next() {
        push_field(&mut out, "Via", &stamped(field, via, source));
    }
    fields.for_each(|field| push_field(&mut out, "Via", field));
    if let Some(from) = request.header("From") {
        push_field(&mut out, "From", from);
    }
    if let Some(to) = request.header("To") {
        let mut value = to.to_vec();
        if request.to().is_some_and(|address| address.tag().is_none()) && !to_tag.is_empty() {
            value.extend_from_slice(format!(";tag={to_tag}").as_bytes());
        }
        push_field(&mut out, "To", &value);
    }
    for name in ["Call-ID", "CSeq", "Timestamp"] {
        if let Some(value) = request.header(name) {
            push_field(&mut out, name, value);
        }
    }
    out
}

/// The Via with where the request came from (RFC 3261, 18.2.1; RFC 3581, 4).
fn stamped(field: &[u8], via: &Via<'_>, source: Endpoint) -> Vec<u8> {
    let (value, others) = field.split_at_checked(via.value.len()).unwrap_or((field, &[]));
    let mut out = Vec::with_capacity(field.len() + 48);
    for (nth, item) in value.split(|&b| b == b';').enumerate() {
        let name = sip::trim(item.split(|&b| b == b'=').next().unwrap_or_default());
        // A sender must not write these itself.
        if nth > 0 && (name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport")) {
            continue;
        }
        if nth > 0 {
            out.push(b';');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(format!(";received={}", source.ip()).as_bytes());
    if via.has_rport {
        out.extend_from_slice(format!(";rport={}", source.port).as_bytes());
    }
    out.extend_from_slice(others);
    out
}

/// Record-Route fields of a request, to be repeated in a response that makes a dialog (RFC 3261, 12.1.1).
pub(super) fn record_routes(request: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.headers_named("Record-Route").for_each(|route| push_field(&mut out, "Record-Route", route));
    out
}

/// A response.
pub(super) fn response(head: &[u8], status: u16, reason: &str, parts: &Parts) -> Vec<u8> {
    let mut out = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
    out.extend_from_slice(head);
    out.extend_from_slice(b"Server: earwitness\r\n");
    parts.write(&mut out);
    out
}

/// What a request of ours needs beside its parts.
#[derive(Clone, Debug)]
pub(super) struct Request<'r> {
    pub(super) method: &'static str,
    pub(super) uri: &'r [u8],
    pub(super) path: &'r Path,
    /// Where we are reached, for Via.
    pub(super) own: Endpoint,
    pub(super) branch: &'r str,
    pub(super) from: &'r [u8],
    pub(super) to: &'r [u8],
    pub(super) call_id: &'r [u8],
    pub(super) cseq: u32,
    pub(super) routes: &'r [Vec<u8>],
}

/// A request.
pub(super) fn request(request: &Request<'_>, parts: &Parts) -> Vec<u8> {
    let Request { method, uri, path, own, branch, from, to, call_id, cseq, routes } = request;
    let mut out = format!("{method} ").into_bytes();
    push_unfolded(&mut out, uri);
    out.extend_from_slice(b" SIP/2.0\r\n");
    let via = format!("SIP/2.0/{} {own};branch={branch};rport", path.carrier.name());
    push_field(&mut out, "Via", via.as_bytes());
    push_field(&mut out, "Max-Forwards", b"70");
    routes.iter().for_each(|route| push_field(&mut out, "Route", route));
    push_field(&mut out, "From", from);
    push_field(&mut out, "To", to);
    push_field(&mut out, "Call-ID", call_id);
    push_field(&mut out, "CSeq", format!("{cseq} {method}").as_bytes());
    push_field(&mut out, "User-Agent", b"earwitness");
    parts.write(&mut out);
    out
}

/// The ACK of a refused INVITE of ours: its request line, Via, route, From, Call-ID and number, and the To of the refusal (RFC 3261,
/// 17.1.1.3).
pub(super) fn ack_of(invite: &[u8], to: &[u8]) -> Vec<u8> {
    within_transaction(invite, "ACK", Some(to))
}

/// A request of the transaction of `invite`, which is ours; with this To in place of its own.
fn within_transaction(invite: &[u8], method: &str, to: Option<&[u8]>) -> Vec<u8> {
    let Ok(message) = sip::parse(invite) else { return Vec::new() };
    let StartLine::Request { uri, .. } = message.start else { return Vec::new() };
    let mut out = format!("{method} ").into_bytes();
    push_unfolded(&mut out, uri);
    out.extend_from_slice(b" SIP/2.0\r\n");
    for name in ["Via", "Max-Forwards", "Route", "From"] {
        message.headers_named(name).for_each(|value| push_field(&mut out, name, value));
    }
    push_field(&mut out, "To", to.or_else(|| message.header("To")).unwrap_or_default());
    push_field(&mut out, "Call-ID", message.call_id().unwrap_or_default());
    let number = message.cseq().map_or(0, |(number, _)| number);
    push_field(&mut out, "CSeq", format!("{number} {method}").as_bytes());
    Parts::none().write(&mut out);
    out
}

/// The same request once more, with credentials: in a new transaction, with the next number. `request` is one of ours.
pub(super) fn again(request: &[u8], branch: &str, cseq: u32, (name, value): (&str, &str)) -> Vec<u8> {
    let end = memchr::memmem::find(request, b"\r\n\r\n").unwrap_or(request.len());
    let (head, body) = request.split_at_checked(end).unwrap_or((request, &[]));
    let mut out = Vec::with_capacity(request.len() + value.len() + 32);
    for (nth, line) in head.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"Authorization:") || line.starts_with(b"Proxy-Authorization:") {
            continue;
        }
        if line.starts_with(b"Via:")
            && let Some(at) = memchr::memmem::find(line, b";branch=")
        {
            let (before, behind) = line.split_at_checked(at + 8).unwrap_or((line, &[]));
            let rest =
                behind.iter().position(|&b| b == b';').and_then(|at| behind.get(at..)).unwrap_or_default();
            [before, branch.as_bytes(), rest].iter().for_each(|part| out.extend_from_slice(part));
        } else if line.starts_with(b"CSeq:") {
            let method = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
            out.extend_from_slice(format!("CSeq: {cseq} ").as_bytes());
            out.extend_from_slice(method);
        } else {
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"\r\n");
        if nth == 0 {
            push_field(&mut out, name, value.as_bytes());
        }
    }
    // The line end of the last field is there.
    out.extend_from_slice(body.get(2..).unwrap_or_default());
    out
}

/// The same request as its Via says when it goes by another carrier. `request` is one of ours.
pub(super) fn over(request: &[u8], carrier: Carrier) -> Vec<u8> {
    const BEFORE: &[u8] = b"\r\nVia: SIP/2.0/";
    // We write the Via first, and no name of a carrier has a blank in it.
    let begins = memchr::memmem::find(request, BEFORE).map(|at| at + BEFORE.len());
    let named = begins.and_then(|begins| {
        let (before, rest) = request.split_at_checked(begins)?;
        Some((before, rest.get(rest.iter().position(|&b| b == b' ')?..)?))
    });
    match named {
        Some((before, behind)) => [before, carrier.name().as_bytes(), behind].concat(),
        None => request.to_vec(),
    }
}

/// The CANCEL of an INVITE of ours: its request line, top Via, route, From, To, Call-ID and number (RFC 3261, 9.1).
pub(super) fn cancel_of(invite: &[u8]) -> Vec<u8> {
    within_transaction(invite, "CANCEL", None)
}

/// Where we are reached, for Contact. `is_sips` says that the peer's URIs are of that kind.
pub(super) fn contact(carrier: Carrier, own: Endpoint, user: &str, is_sips: bool) -> String {
    match carrier {
        Carrier::Udp => format!("<sip:{user}@{own}>"),
        Carrier::Tls if is_sips => format!("<sips:{user}@{own};transport=tls>"),
        Carrier::Tls => format!("<sip:{user}@{own};transport=tls>"),
        _ => format!("<sip:{user}@{own};transport=tcp>"),
    }
}

/// By what a URI is to be reached, as far as it says so (RFC 3261, 19.1.1 and 26.2.2).
pub(super) fn carrier_of(uri: &[u8]) -> Option<Carrier> {
    if sip::Uri::parse(uri).scheme.eq_ignore_ascii_case(b"sips") {
        return Some(Carrier::Tls);
    }
    let named = sip::parameter(uri, "transport")?;
    let known = [Carrier::Udp, Carrier::Tcp, Carrier::Tls];
    known.into_iter().find(|carrier| named.eq_ignore_ascii_case(carrier.name().as_bytes()))
}

/// The port where this is listened for unless another one is named (RFC 3261, 19.1.2).
pub(super) fn port_for(carrier: Carrier) -> u16 {
    if carrier == Carrier::Tls { SIPS_PORT } else { SIP_PORT }
}

/// The URI inside a Contact or Route value, and the place that it names when its host is an address.
pub(super) fn target(value: &[u8]) -> (&[u8], Option<Endpoint>) {
    let inner = match value.iter().position(|&b| b == b'<') {
        Some(open) => {
            let rest = value.get(open + 1..).unwrap_or_default();
            rest.split(|&b| b == b'>').next().unwrap_or_default()
        }
        None => sip::trim(value.split(|&b| b == b';').next().unwrap_or_default()),
    };
    let uri = sip::Uri::parse(inner);
    let host = uri.host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(uri.host);
    let ip = std::str::from_utf8(host).ok().and_then(|host| host.parse().ok());
    let port = || carrier_of(inner).map_or(SIP_PORT, port_for);
    (inner, ip.map(|ip| Endpoint::new(ip, uri.port.unwrap_or_else(port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:rec@192.0.2.1 SIP/2.0\r\n\
        Via: SIP / 2.0 / UDP 192.0.2.9:5070;branch=z9hG4bK1;rport;received=203.0.113.1, SIP/2.0/TCP a.example;branch=z\r\n\
        Via: SIP/2.0/TLS b.example\r\nFrom: \"a, b\" <sip:a@x>;tag=1\r\nTo:\r\n <sip:rec@y>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";

    #[test]
    fn a_response_repeats_the_request_and_says_where_it_came_from() {
        let message = sip::parse(OPTIONS.as_bytes()).expect("a request");
        let via = Via::top(&message).expect("a Via");
        assert_eq!(
            (via.sent_by, via.port, via.branch),
            (&b"192.0.2.9:5070"[..], Some(5070), &b"z9hG4bK1"[..])
        );
        let source = Endpoint::v4([198, 51, 100, 7], 1024);
        assert_eq!(via.reply_to(source), source);
        let head = head(&message, &via, source, "ours");
        let text = String::from_utf8(response(&head, 200, "OK", &Parts::none())).expect("text");
        assert_eq!(
            text,
            "SIP/2.0 200 OK\r\nVia: SIP / 2.0 / UDP 192.0.2.9:5070;branch=z9hG4bK1;received=198.51.100.7;rport=1024, \
             SIP/2.0/TCP a.example;branch=z\r\nVia: SIP/2.0/TLS b.example\r\nFrom: \"a, b\" <sip:a@x>;tag=1\r\n\
             To: <sip:rec@y>;tag=ours\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nServer: earwitness\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn without_rport_the_response_goes_to_the_port_that_the_sender_names() {
        let text = OPTIONS.replace(";rport", "");
        let message = sip::parse(text.as_bytes()).expect("a request");
        let source = Endpoint::v4([198, 51, 100, 7], 1024);
        let reply = |message: &Message<'_>| Via::top(message).map(|via| via.reply_to(source).port);
        assert_eq!(reply(&message), Some(5070));
        let text = text.replace(":5070", "");
        assert_eq!(reply(&sip::parse(text.as_bytes()).expect("a request")), Some(5060));
        let text = text.replace(" 192.0.2.9", " ");
        assert_eq!(reply(&sip::parse(text.as_bytes()).expect("a request")), None, "nobody to answer");
    }

    #[test]
    fn lists_are_split_outside_of_quotes_and_brackets() {
        let text = "INVITE sip:a SIP/2.0\r\nSupported: timer , 100rel\r\nk:replaces,\r\n\
                    Route: \"a,\\\",b\" <sip:x,y>;z, <sip:w>\r\n\r\n";
        let message = sip::parse(text.as_bytes()).expect("a request");
        assert_eq!(values(&message, "Supported"), [&b"timer"[..], b"100rel", b"replaces"]);
        assert_eq!(values(&message, "Route").len(), 2);
        assert!(names(&message, "Supported", "TIMER") && !names(&message, "Supported", "100"));
    }

    #[test]
    fn the_place_that_a_contact_names_is_read() {
        let place = |text: &'static str| target(text.as_bytes()).1.map(|place| place.to_string());
        assert_eq!(place("\"x\" <sip:a@192.0.2.1:5080;lr>;q=1").as_deref(), Some("192.0.2.1:5080"));
        assert_eq!(place("<sip:[2001:db8::1]>").as_deref(), Some("[2001:db8::1]:5060"));
        assert_eq!(place("sip:192.0.2.1;x=1").as_deref(), Some("192.0.2.1:5060"));
        assert_eq!(place("<sip:pbx.example>"), None);
    }
}
