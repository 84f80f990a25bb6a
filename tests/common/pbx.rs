//! A PBX that conferences a recorder in: SIP over UDP and RTP, as far as a test needs it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use decode::{Endpoint, rtp, sdp, sip};
use xtask::g711::Law;

/// Length of a packet.
const PACKET: Duration = Duration::from_millis(20);
/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many ports in a row that are free now, as the configuration writes them.
pub fn free_ports(count: u16) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..500 {
        // Tests of several processes begin at several places.
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let first = 10_000 + (std::process::id() as u16 % 97 * 200 + turn * 200) % 20_000;
        let sockets: Result<Vec<UdpSocket>, _> =
            (first..first + count).map(|port| UdpSocket::bind(("127.0.0.1", port))).collect();
        if sockets.is_ok() {
            return format!("{first}-{}", first + count - 1);
        }
    }
    panic!("no free ports on this machine");
}

/// One call of it.
pub struct Call {
    sip: UdpSocket,
    recorder: SocketAddr,
    pub rtp: UdpSocket,
    from: String,
    call_id: String,
    tag: String,
    cseq: u32,
    place: Option<Endpoint>,
    sequence: u16,
    timestamp: u32,
    /// Header fields of its requests.
    more: String,
    /// The second stream of a recording session.
    second: Option<(UdpSocket, Endpoint)>,
}

impl Call {
    /// Asks for a call from this address, with further header fields; the status line where it is refused.
    pub fn begin(recorder: SocketAddr, from: &str, call_id: &str, more: &str) -> Result<Call, String> {
        let mut call = Call::ready(recorder, from, call_id, more);
        let offer = call.offer("8 0 101", "sendrecv");
        let answer = call.ask("INVITE", &offer);
        if !answer.starts_with("SIP/2.0 200 ") {
            call.send("ACK", "", "INVITE");
            return Err(answer.lines().next().unwrap_or_default().to_owned());
        }
        call.take(&answer);
        call.send("ACK", "", "");
        Ok(call)
    }

    fn ready(recorder: SocketAddr, from: &str, call_id: &str, more: &str) -> Call {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket
        };
        Call {
            sip: socket(),
            recorder,
            rtp: socket(),
            from: from.to_owned(),
            call_id: call_id.to_owned(),
            tag: String::new(),
            cseq: 0,
            place: None,
            sequence: 1,
            timestamp: 0,
            more: more.to_owned(),
            second: None,
        }
    }

    /// A session recording client's call (RFC 7866): a stream for each of two participants, with identifier, address and name.
    pub fn begin_session(recorder: SocketAddr, call_id: &str, participants: [(&str, &str, &str); 2]) -> Call {
        let more = "Require: siprec\r\n";
        let mut call = Call::ready(recorder, "<sip:src@127.0.0.1>", call_id, more);
        let second = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let ports = [&call.rtp, &second].map(|socket| socket.local_addr().expect("bound").port());
        let mut sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n".to_owned();
        let mut xml =
            "<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>complete</datamode>".to_owned();
        for (n, ((id, aor, name), port)) in participants.iter().zip(ports).enumerate() {
            sdp += &format!("m=audio {port} RTP/AVP 8\r\na=sendonly\r\na=label:{}\r\n", 96 + n);
            xml += &format!(
                "<participant participant_id=\"{id}\"><nameID aor=\"{aor}\"><name>{name}</name></nameID></participant>\
                 <stream stream_id=\"s{n}\"><label>{}</label></stream>\
                 <participantstreamassoc participant_id=\"{id}\"><send>s{n}</send></participantstreamassoc>",
                96 + n
            );
        }
        xml += "</recording>";
        let body = format!(
            "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\
             Content-Disposition: recording-session\r\n\r\n{xml}\r\n--b--\r\n"
        );
        let answer = call.ask("INVITE", &body);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        call.take(&answer);
        call.more.clear();
        let message = sip::parse(answer.as_bytes()).expect("SIP");
        let session = sip::sdp_body(&message).map(sdp::parse).expect("a description");
        call.second = Some((second, session.media[1].receives_at.expect("a place")));
        call.send("ACK", "", "");
        call
    }

    /// Sends a tone on each stream of a recording session.
    pub fn talk_both(&mut self, law: Law, hz: [f64; 2], ms: u64) {
        let (socket, place) = self.second.take().expect("a recording session");
        let mut other = Call { rtp: socket, place: Some(place), ..Call::ready(self.recorder, "", "", "") };
        std::thread::scope(|scope| {
            scope.spawn(|| other.talk(law, hz[1], ms));
            self.talk(law, hz[0], ms);
        });
    }

    /// A description of the call's media, in these formats.
    pub fn offer(&self, formats: &str, direction: &str) -> String {
        let port = self.rtp.local_addr().expect("bound").port();
        format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n\
             a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
            self.cseq + 1
        )
    }

    fn take(&mut self, answer: &str) {
        let message = sip::parse(answer.as_bytes()).expect("SIP");
        self.tag = sip::text(message.to().and_then(|to| to.tag()).expect("a tag"));
        let session = sip::sdp_body(&message).map(sdp::parse).expect("a description");
        self.place = session.media[0].receives_at;
    }

    /// Sends a request within the call, or one that begins it; gives the final response.
    pub fn ask(&mut self, method: &str, body: &str) -> String {
        self.cseq += 1;
        self.send(method, body, "");
        let wanted = format!("CSeq: {} {method}\r\n", self.cseq);
        let mut buffer = [0; 8_192];
        loop {
            let length = self.sip.recv(&mut buffer).expect("an answer");
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            if text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1") && text.contains(&wanted) {
                return text.to_owned();
            }
        }
    }

    /// Another offer within the call, acknowledged.
    pub fn change(&mut self, formats: &str, direction: &str) -> String {
        let offer = self.offer(formats, direction);
        let answer = self.ask("INVITE", &offer);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        self.take(&answer);
        self.send("ACK", "", "");
        answer
    }

    /// `of` names the transaction that an ACK belongs to, when it is not one of its own.
    fn send(&self, method: &str, body: &str, of: &str) {
        let branch = if of.is_empty() { method } else { of };
        let tag = if self.tag.is_empty() { String::new() } else { format!(";tag={}", self.tag) };
        let own = self.sip.local_addr().expect("bound");
        let kind = match body {
            "" => "",
            _ if body.starts_with("--b") => "Content-Type: multipart/mixed;boundary=b\r\n",
            _ if body.starts_with("Signal=") => "Content-Type: application/dtmf-relay\r\n",
            _ => "Content-Type: application/sdp\r\n",
        };
        let text = format!(
            "{method} sip:5999@{} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{}{branch}{};rport\r\nMax-Forwards: 70\r\n\
             From: {};tag=pbx\r\nTo: <sip:5999@{}>{tag}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContact: <sip:pbx@{own}>\r\n\
             {}{kind}Content-Length: {}\r\n\r\n{body}",
            self.recorder,
            self.call_id,
            self.cseq,
            self.from,
            self.recorder,
            self.call_id,
            self.cseq,
            self.more,
            body.len()
        );
        self.sip.send_to(text.as_bytes(), self.recorder).expect("sent");
    }

    /// Sends a tone for so long, as it would be spoken.
    pub fn talk(&mut self, law: Law, hz: f64, ms: u64) {
        let place = self.place.expect("an answer");
        let payload_type = if law == Law::A { 8 } else { 0 };
        // Each stream has a source of its own.
        let source = u32::from(self.rtp.local_addr().expect("bound").port());
        let begun = Instant::now();
        for packet in 0..ms / 20 {
            let mut bytes = vec![0x80, payload_type];
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.timestamp.to_be_bytes());
            bytes.extend(source.to_be_bytes());
            bytes.extend((0..160).map(|n| {
                let at = f64::from(self.timestamp + n) / 8_000.0;
                law.encode(((std::f64::consts::TAU * hz * at).sin() * 8_000.0) as i16)
            }));
            self.rtp.send_to(&bytes, (place.ip(), place.port)).expect("sent");
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = self.timestamp.wrapping_add(160);
            let due = begun + PACKET * (packet as u32 + 1);
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                std::thread::park_timeout(wait);
            }
        }
    }

    /// Keys a digit (RFC 4733): events for `ms`, and its end three times.
    pub fn key(&mut self, digit: char, ms: u64) {
        let place = self.place.expect("an answer");
        let event = "0123456789*#".find(digit).expect("a digit") as u8;
        let source = u32::from(self.rtp.local_addr().expect("bound").port());
        let packets = ms / 20;
        for packet in 1..=packets + 2 {
            let is_over = packet >= packets;
            let mut bytes = vec![0x80, 101 | if packet == 1 { 0x80 } else { 0 }];
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.timestamp.to_be_bytes());
            bytes.extend(source.to_be_bytes());
            bytes.extend([event, if is_over { 0x8a } else { 0x0a }]);
            bytes.extend((160 * packet.min(packets) as u16).to_be_bytes());
            self.rtp.send_to(&bytes, (place.ip(), place.port)).expect("sent");
            self.sequence = self.sequence.wrapping_add(1);
            std::thread::park_timeout(PACKET);
        }
        self.timestamp = self.timestamp.wrapping_add(160 * (packets as u32 + 2));
    }

    /// Keys a digit by INFO (application/dtmf-relay); it is answered.
    pub fn key_by_info(&mut self, digit: char) {
        let answer = self.ask("INFO", &format!("Signal={digit}\r\nDuration=100\r\n"));
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }

    /// Time of the media in which nothing is sent.
    pub fn pause(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while let Some(wait) = until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
        self.timestamp = self.timestamp.wrapping_add(8 * ms as u32);
    }

    /// Payloads of RTP that the recorder has sent until now.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.rtp.set_nonblocking(true).expect("ours");
        let mut buffer = [0; 2_048];
        let mut payloads = Vec::new();
        while let Ok(length) = self.rtp.recv(&mut buffer) {
            if let Ok(packet) = rtp::parse(&buffer[..length]) {
                payloads.push(packet.payload.to_vec());
            }
        }
        payloads
    }

    /// Waits until the recorder hangs up, and says that it may.
    pub fn wait_for_bye(&self) {
        let mut buffer = [0; 8_192];
        loop {
            let length = self.sip.recv(&mut buffer).expect("a BYE");
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            if text.starts_with("BYE ") {
                let head: Vec<&str> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
                let answer = format!("SIP/2.0 200 OK\r\n{}\r\n\r\n", head.join("\r\n"));
                self.sip.send_to(answer.as_bytes(), self.recorder).expect("sent");
                return;
            }
        }
    }

    /// Hangs up.
    pub fn end(mut self) {
        let answer = self.ask("BYE", "");
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }
}

/// A media server with a conversation that can be heard: it waits to be called.
pub struct Conversation {
    sip: UdpSocket,
    /// The recorder's request that is answered last.
    request: String,
    from: Option<SocketAddr>,
    call: Call,
}

impl Conversation {
    /// One to which the recorder at this address is to come.
    pub fn ready(recorder: SocketAddr) -> Conversation {
        let sip = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        sip.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Conversation { sip, request: String::new(), from: None, call: Call::ready(recorder, "", "", "") }
    }

    /// Where it can be heard.
    pub fn uri(&self) -> String {
        format!("sip:conf-17@{}", self.sip.local_addr().expect("bound"))
    }

    /// Waits for the recorder's next request of this kind.
    pub fn wait_for(&mut self, method: &str) -> String {
        let mut buffer = [0; 8_192];
        loop {
            let (length, from) = self.sip.recv_from(&mut buffer).expect("a request");
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            if text.starts_with(&format!("{method} ")) {
                (self.request, self.from) = (text.to_owned(), Some(from));
                return text.to_owned();
            }
        }
    }

    /// Answers the latest request.
    pub fn answer(&mut self, status: &str, body: &str) {
        let named = |name: &str| {
            let prefix = format!("{name}: ");
            self.request.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
        };
        let to = named("To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=server" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{}>\r\n\
             {}Content-Length: {}\r\n\r\n{body}",
            named("Via"),
            named("From"),
            named("Call-ID"),
            named("CSeq"),
            self.uri(),
            if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
            body.len()
        );
        self.sip.send_to(text.as_bytes(), self.from.expect("a request")).expect("sent");
    }

    /// Lets the recorder in when it comes; gives its INVITE.
    pub fn let_in(&mut self) -> String {
        let invite = self.wait_for("INVITE");
        let message = sip::parse(invite.as_bytes()).expect("SIP");
        let session = sip::sdp_body(&message).map(sdp::parse).expect("a description");
        self.call.place = session.media[0].receives_at;
        let answer = self.call.offer("8 101", "sendonly");
        self.answer("200 OK", &answer);
        self.wait_for("ACK");
        invite
    }

    /// Hangs up on the recorder, which has called with the latest request but the ACK.
    pub fn hang_up(&mut self) {
        let named = |name: &str| {
            let prefix = format!("{name}: ");
            self.request.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
        };
        let (own, to) = (self.sip.local_addr().expect("bound"), self.from.expect("a request"));
        let text = format!(
            "BYE sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            named("To"),
            named("From"),
            named("Call-ID")
        );
        self.sip.send_to(text.as_bytes(), to).expect("sent");
        let mut buffer = [0; 2_048];
        let length = self.sip.recv(&mut buffer).expect("an answer");
        assert!(buffer[..length].starts_with(b"SIP/2.0 200 "));
    }

    /// What is said there.
    pub fn talk(&mut self, law: Law, hz: f64, ms: u64) {
        self.call.talk(law, hz, ms);
    }

    /// Packets that the recorder has sent.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.call.heard()
    }
}
