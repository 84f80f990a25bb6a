//! A PBX against the endpoint, packet by packet: what is withheld is sent again, exactly when RFC 3261 says so.

mod asking;
mod calls;
mod media;
mod odd;
mod size;
mod timers;
mod torture;
mod who;

use super::*;
use crate::sip::Message;

/// The PBX, and the endpoint that it speaks to.
pub(super) struct Bench {
    pub(super) agent: UserAgent,
    pub(super) now: Timestamp,
    pub(super) path: Path,
}

pub(super) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

pub(super) fn pbx() -> Endpoint {
    Endpoint::v4([192, 0, 2, 9], 5060)
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Options)) -> Bench {
        let ports = (0..50).map(|n| 12_000 + 2 * n).collect();
        let mut options = Options::new(ports, [7; 32]);
        options.peers =
            ["192.0.2.9/32", "198.51.100.0/24"].map(|net| net.parse().expect("a subnet")).to_vec();
        change(&mut options);
        let local = Endpoint::v4([192, 0, 2, 1], 5060);
        let path = Path { carrier: Carrier::Udp, connection: 0, local, peer: pbx() };
        Bench { agent: UserAgent::new(options), now: Timestamp::from_millis(1_000_000), path }
    }

    pub(super) fn over_tcp(mut self) -> Bench {
        self.path.carrier = Carrier::Tcp;
        self.path.connection = 1;
        self
    }

    /// Lets a message in; gives what is sent by then.
    pub(super) fn give(&mut self, text: &str) -> Vec<String> {
        self.agent.handle_message(&self.path, text.as_bytes(), self.now);
        self.sent()
    }

    /// SIP that is sent.
    pub(super) fn sent(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(output) = self.agent.poll_output() {
            if let Output::Sip { bytes, .. } = output {
                texts.push(String::from_utf8(bytes).expect("text"));
            }
        }
        texts
    }

    /// Packets that are sent, RTP or RTCP.
    pub(super) fn packets(&mut self, rtcp: bool) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(output) = self.agent.poll_output() {
            if let Output::Media { bytes, .. } = output
                && crate::rtp::is_rtcp(&bytes) == rtcp
            {
                packets.push(bytes);
            }
        }
        packets
    }

    /// Time goes on; gives what is sent meanwhile, each with its time in milliseconds from now.
    pub(super) fn wait(&mut self, ms: i64) -> Vec<(i64, String)> {
        let (begun, until) = (self.now, self.now.plus_millis(ms));
        let mut sent = Vec::new();
        while let Some(due) = self.agent.poll_timeout().filter(|&due| due <= until) {
            self.agent.handle_timeout(due);
            let at = due.millis_since(begun) as i64;
            sent.extend(self.sent().into_iter().map(|text| (at, text)));
        }
        self.now = until;
        self.agent.handle_timeout(until);
        sent
    }

    /// The same: first lines alone.
    pub(super) fn wait_lines(&mut self, ms: i64) -> Vec<(i64, String)> {
        self.wait(ms).into_iter().map(|(at, text)| (at, first_line(&text).to_owned())).collect()
    }

    /// A request of the PBX; `more` are header fields and, behind an empty line, a body.
    pub(super) fn text(method: &str, cseq: u32, to_tag: &str, more: &str) -> String {
        let (fields, body) = more.split_once("\r\n\r\n").unwrap_or((more, ""));
        let fields = if fields.is_empty() { String::new() } else { format!("{}\r\n", fields.trim_end()) };
        let of = if method == "ACK" || method == "CANCEL" { "INVITE" } else { method };
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        // The ACK of an answer is a transaction of its own.
        let branch = if method == "ACK" && !to_tag.is_empty() { "ACK" } else { of };
        format!(
            "{method} sip:5999@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{branch}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: \"Ann\" <sip:2001@192.0.2.9>;tag=pbx\r\nTo: <sip:5999@192.0.2.1>{tag}\r\n\
             Call-ID: one@192.0.2.9\r\nCSeq: {cseq} {method}\r\nContact: <sip:pbx@192.0.2.9:5060>\r\n\
             Allow: INVITE, ACK, BYE, UPDATE\r\n{fields}{}Content-Length: {}\r\n\r\n{body}",
            if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
            body.len()
        )
    }

    /// An INVITE with an offer.
    pub(super) fn invite(more: &str) -> String {
        Bench::text("INVITE", 1, "", &format!("{more}\r\n\r\n{OFFER}"))
    }

    /// Begins a call and acknowledges it; gives our tag.
    pub(super) fn call(&mut self, more: &str) -> String {
        let answer = self.give(&Bench::invite(more)).remove(0);
        assert_eq!(first_line(&answer), "SIP/2.0 200 OK");
        let tag = tag_of(&answer);
        assert_eq!(self.give(&Bench::text("ACK", 1, &tag, "")), Vec::<String>::new());
        tag
    }

    /// Nothing is left of any call or transaction.
    #[track_caller]
    pub(super) fn expect_empty(&mut self) {
        let agent = &self.agent;
        assert_eq!((agent.calls.len(), agent.by_tag.len(), agent.channels_in_use()), (0, 0, 0));
        assert_eq!(agent.ports.free(), agent.options.ports.len());
        assert_eq!((agent.servers.len(), agent.by_key.len(), agent.merged.len()), (0, 0, 0));
        assert_eq!((agent.clients.len(), agent.by_branch.len(), agent.servers_of.len()), (0, 0, 0));
        assert_eq!((agent.server_bytes, agent.timers.len()), (0, 0));
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub(super) fn read(text: &str) -> Message<'_> {
    sip::parse(text.as_bytes()).expect("a message")
}

pub(super) fn tag_of(text: &str) -> String {
    let message = read(text);
    sip::text(message.to().and_then(|to| to.tag()).expect("a tag"))
}

pub(super) fn field(text: &str, name: &str) -> String {
    read(text).header(name).map(sip::text).unwrap_or_default()
}
