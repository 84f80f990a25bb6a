//! The signalling of one call as messages with their time and path. What they travel on is not decided here.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::media::secret;
use super::plan::{Call, REINVITE_MS};
use super::{EVENT_PT, Ending, NOISE_PT, Party, Scenario, Transport};
use crate::wire::Host;

const MS: i64 = 1_000_000;
/// Time that a proxy takes to pass a message on.
const PROXY_MS: i64 = 2;
const SIP_PORT: u16 = 5060;
/// What a phone behind a NAT takes for its address.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

/// One SIP message on one hop.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) at: i64,
    pub(super) from: Host,
    pub(super) to: Host,
    /// Whether it travels in the direction in which the call was set up.
    pub(super) forward: bool,
    pub(super) bytes: Vec<u8>,
}

/// A request that waits for its responses.
struct Transaction {
    sender: Party,
    branch: String,
    cseq: String,
    /// Whether the request already carried both tags.
    in_dialog: bool,
}

struct Script<'a> {
    scenario: &'a Scenario,
    call: &'a Call,
    requests: u32,
    out: Vec<Message>,
}

/// All messages of a call, in order of time.
pub(super) fn messages(scenario: &Scenario, call: &Call) -> Vec<Message> {
    let mut script = Script { scenario, call, requests: 0, out: Vec::new() };
    script.set_up();
    if call.answer.is_some() {
        script.reinvites();
        if scenario.ending == Ending::Bye {
            let bye = script.request(call.end, call.hangs_up, "BYE", 90, None);
            script.response(call.end + 8 * MS, &bye, "200 OK", None);
        }
    }
    script.out.sort_by_key(|message| message.at);
    script.out
}

impl Script<'_> {
    fn set_up(&mut self) {
        let (s, c) = (self.scenario, self.call);
        let callee = c.caller.other();
        let offer = (!s.late_offer).then(|| self.sdp(c.caller, 1, "sendrecv", true));
        let invite = self.request(c.invite, c.caller, "INVITE", 1, offer);
        self.response(c.invite + 5 * MS, &invite, "100 Trying", None);
        if s.early_media {
            let answer = self.sdp(callee, 1, "sendrecv", false);
            self.response(c.ringing, &invite, "183 Session Progress", Some(answer));
        } else {
            self.response(c.ringing, &invite, "180 Ringing", None);
        }
        match (s.ending, c.answer) {
            (Ending::Cancelled, _) => {
                let cancel = self.request_like(c.end, &invite, "CANCEL");
                self.response(c.end + 3 * MS, &cancel, "200 OK", None);
                self.response(c.end + 6 * MS, &invite, "487 Request Terminated", None);
                self.request_like(c.end + 12 * MS, &invite, "ACK");
            }
            (Ending::Busy, _) => {
                self.response(c.end, &invite, "486 Busy Here", None);
                self.request_like(c.end + 5 * MS, &invite, "ACK");
            }
            (_, Some(at)) => {
                let body = self.sdp(callee, 1, "sendrecv", s.late_offer);
                self.response(at, &invite, "200 OK", Some(body));
                let answer = s.late_offer.then(|| self.sdp(c.caller, 1, "sendrecv", false));
                self.request(at + 12 * MS, c.caller, "ACK", 1, answer);
            }
            (_, None) => unreachable!("only CANCEL and 486 leave a call unanswered"),
        }
    }

    fn reinvites(&mut self) {
        if let Some((hold, retrieve)) = self.call.hold {
            self.reinvite(hold, 10, "sendonly", "recvonly");
            self.reinvite(retrieve, 11, "sendrecv", "sendrecv");
        }
        if let Some(moved) = self.call.moved {
            self.reinvite(moved, 12, "sendrecv", "sendrecv");
        }
    }

    /// A re-INVITE by the extension, with its 200 and ACK.
    fn reinvite(&mut self, at: i64, cseq: u32, offer: &str, answer: &str) {
        let body = self.sdp(Party::Near, cseq, offer, true);
        let invite = self.request(at, Party::Near, "INVITE", cseq, Some(body));
        let body = self.sdp(Party::Far, cseq, answer, false);
        self.response(at + REINVITE_MS * MS, &invite, "200 OK", Some(body));
        self.request(at + (REINVITE_MS + 8) * MS, Party::Near, "ACK", cseq, None);
    }

    /// A request with a branch of its own; inside the dialog unless it is the first INVITE.
    fn request(
        &mut self,
        at: i64,
        sender: Party,
        method: &str,
        cseq: u32,
        body: Option<String>,
    ) -> Transaction {
        self.requests += 1;
        let branch =
            format!("z9hG4bK{:08x}{:04x}{:02x}", self.call.tags[0] as u32, self.call.index, self.requests);
        let in_dialog = self.requests > 1;
        let transaction = Transaction { sender, branch, cseq: format!("{cseq} {method}"), in_dialog };
        self.send(at, &transaction, method, body);
        transaction
    }

    /// A CANCEL, or the ACK to a final response that is not 2xx: they share branch and number with their INVITE
    /// (RFC 3261, 9.1 and 17.1.1.3).
    fn request_like(&mut self, at: i64, invite: &Transaction, method: &str) -> Transaction {
        let transaction = Transaction {
            sender: invite.sender,
            branch: invite.branch.clone(),
            cseq: format!("1 {method}"),
            in_dialog: method == "ACK",
        };
        self.send(at, &transaction, method, None);
        transaction
    }

    fn send(&mut self, at: i64, t: &Transaction, method: &str, body: Option<String>) {
        let receiver = self.call.end_of(t.sender.other());
        let mut extra = self.contact(t.sender);
        if method == "INVITE" {
            extra.push_str("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE\r\n");
            if self.scenario.big_invite {
                extra.push_str(&history());
            }
        }
        let uri = |host: Host| format!("sip:{}@{}:{SIP_PORT}", receiver.person.number, uri_host(host.ip));
        let line = |host: Host| format!("{method} {} SIP/2.0", uri(host));
        let (sender, receiver, pbx) = (self.call.end_of(t.sender).host, receiver.host, self.call.pbx);
        let (via, body) = (self.via(sender, &t.branch), body.unwrap_or_default());
        if !self.scenario.proxied {
            let bytes = text(self.call, t, true, &line(receiver), &via, &extra, &body);
            return self.push(at, t, true, [sender, receiver], bytes);
        }
        // A request outside the dialog goes to the domain and the proxy puts itself into the route; one inside follows
        // the route to the other phone's contact (RFC 3261, 16.6 and 12.2.1.1).
        let route = format!("<sip:{};lr>\r\n", uri_host(pbx.ip));
        let (target, before, behind) = if t.in_dialog {
            (receiver, format!("Route: {route}{extra}"), extra)
        } else {
            (pbx, extra.clone(), format!("Record-Route: {route}{extra}"))
        };
        let bytes = text(self.call, t, true, &line(target), &via, &before, &body);
        self.push(at, t, true, [sender, pbx], bytes);
        let bytes = text(self.call, t, true, &line(receiver), &self.proxy_vias(t, &via), &behind, &body);
        self.push(at + PROXY_MS * MS, t, true, [pbx, receiver], bytes);
    }

    fn response(&mut self, at: i64, t: &Transaction, status: &str, body: Option<String>) {
        let line = format!("SIP/2.0 {status}");
        let is_trying = status.starts_with("100");
        let mut extra = if is_trying { String::new() } else { self.contact(t.sender.other()) };
        let (sender, receiver, pbx) =
            (self.call.end_of(t.sender).host, self.call.end_of(t.sender.other()).host, self.call.pbx);
        let (via, body) = (self.via(sender, &t.branch), body.unwrap_or_default());
        if self.scenario.proxied && !t.in_dialog && !is_trying {
            extra = format!("Record-Route: <sip:{};lr>\r\n{extra}", uri_host(pbx.ip));
        }
        let outside = text(self.call, t, false, &line, &via, &extra, &body);
        if !self.scenario.proxied {
            return self.push(at, t, false, [receiver, sender], outside);
        }
        // 100 Trying stays on its hop (RFC 3261, 16.7).
        if is_trying {
            return self.push(at, t, false, [pbx, sender], outside);
        }
        let bytes = text(self.call, t, false, &line, &self.proxy_vias(t, &via), &extra, &body);
        self.push(at, t, false, [receiver, pbx], bytes);
        self.push(at + PROXY_MS * MS, t, false, [pbx, sender], outside);
    }

    /// Sends one message over one hop.
    fn push(&mut self, at: i64, t: &Transaction, is_request: bool, [from, to]: [Host; 2], bytes: Vec<u8>) {
        let forward = (t.sender == self.call.caller) == is_request;
        self.out.push(Message { at, from, to, forward, bytes });
    }

    /// The Via lines behind the proxy: its own on top.
    fn proxy_vias(&self, t: &Transaction, via: &str) -> String {
        format!("{}{via}", self.via(self.call.pbx, &format!("{}p", t.branch)))
    }

    fn via(&self, host: Host, branch: &str) -> String {
        let transport = if self.scenario.transport == Transport::Udp { "UDP" } else { "TCP" };
        format!("Via: SIP/2.0/{transport} {}:{SIP_PORT};branch={branch};rport\r\n", uri_host(host.ip))
    }

    fn contact(&self, party: Party) -> String {
        let end = self.call.end_of(party);
        let transport = if self.scenario.transport == Transport::Udp { "" } else { ";transport=tcp" };
        format!("Contact: <sip:{}@{}:{SIP_PORT}{transport}>\r\n", end.person.number, uri_host(end.host.ip))
    }

    /// What `party` offers or answers; `version` grows with each change (RFC 3264, 8).
    fn sdp(&self, party: Party, version: u32, direction: &str, is_offer: bool) -> String {
        let (s, c) = (self.scenario, self.call);
        let end = c.end_of(party);
        let moved = party == Party::Near && version == 12;
        let port = if moved { c.moved_port() } else { end.rtp_port };
        let law = s.law;
        let ip = if s.nat && party == Party::Near { PRIVATE.into() } else { end.host.ip };
        let family = if ip.is_ipv6() { "IP6" } else { "IP4" };
        let mut formats = law.payload_type().to_string();
        let mut maps = format!("a=rtpmap:{} {}/8000\r\n", law.payload_type(), law.name());
        if s.silence_suppression {
            let _ = write!(formats, " {NOISE_PT}");
            let _ = write!(maps, "a=rtpmap:{NOISE_PT} CN/8000\r\n");
        }
        let _ = write!(formats, " {EVENT_PT}");
        let _ = write!(maps, "a=rtpmap:{EVENT_PT} telephone-event/8000\r\na=fmtp:{EVENT_PT} 0-15\r\n");
        if is_offer && s.big_invite {
            formats.push_str(" 9 18 3 4");
            maps.push_str("a=rtpmap:9 G722/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n");
            maps.push_str("a=rtpmap:3 GSM/8000\r\na=rtpmap:4 G723/8000\r\n");
        }
        let profile = if s.srtp { "SAVP" } else { "AVP" };
        if s.srtp {
            maps.push_str(&secret(s, c, party).crypto_line());
        }
        format!(
            "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=call\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/{profile} {formats}\r\n{maps}a=ptime:{ptime}\r\na={direction}\r\n",
            session = c.index + 1,
            ptime = s.ptime_ms,
        )
    }
}

/// The text of a message. The request decides From and To, and the responses repeat them; only the tag of the To is
/// added by the first response that is not 100 (RFC 3261, 8.2.6.2).
fn text(
    c: &Call,
    t: &Transaction,
    is_request: bool,
    start: &str,
    vias: &str,
    extra: &str,
    body: &str,
) -> Vec<u8> {
    let domain = uri_host(c.pbx.ip);
    let who = |party: Party, tagged: bool| {
        let person = &c.end_of(party).person;
        let tag = c.tags[usize::from(party != c.caller)];
        let name = if person.name.is_empty() { String::new() } else { format!("\"{}\" ", person.name) };
        let tag = if tagged { format!(";tag={tag:016x}") } else { String::new() };
        format!("{name}<sip:{}@{domain}>{tag}", person.number)
    };
    let to_tagged = t.in_dialog || (!is_request && !start.starts_with("SIP/2.0 100"));
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let hops = if is_request { "Max-Forwards: 70\r\n" } else { "" };
    format!(
        "{start}\r\n{vias}{hops}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}User-Agent: earwitness-xtask\r\n\
         {kind}Content-Length: {}\r\n\r\n{body}",
        who(t.sender, true),
        who(t.sender.other(), to_tagged),
        c.call_id,
        t.cseq,
        body.len(),
    )
    .into_bytes()
}

/// Headers that make an INVITE longer than an Ethernet frame, of the kind that call diversion really leaves behind.
fn history() -> String {
    let mut lines = String::new();
    for n in 1..=16 {
        let _ = write!(
            lines,
            "History-Info: <sip:29{n:02}@192.0.2.10;user=phone?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22>;index=1.{n}\r\n"
        );
    }
    lines
}

/// An address as it stands in a URI: IPv6 in brackets (RFC 3986, 3.2.2).
fn uri_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
