//! A PBX on this machine, over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use decode::{Dissector, sip};

use super::*;
use crate::{Advance, FrameSource, Ring};

const PBX: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

fn noon() -> Timestamp {
    Timestamp::from_millis(43_200_000)
}

const AUTHORITY: &[u8] = include_bytes!("tests/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tests/cert.pem");
const KEY: &[u8] = include_bytes!("tests/key.pem");

fn secure() -> EndpointTls {
    let authorities = EndpointTls::authorities(AUTHORITY).expect("certificates");
    EndpointTls::new(SocketAddr::from(([127, 0, 0, 1], 0)), CERTIFICATE, KEY, &authorities).expect("they fit")
}

/// An endpoint that a PBX at 127.0.0.2 may call, with so many port pairs.
fn listener(pairs: u16) -> EndpointListener {
    listener_with(pairs, |_| {})
}

fn listener_with(pairs: u16, change: impl Fn(&mut EndpointOptions)) -> EndpointListener {
    // Ports that are free now; another program may take one before we do.
    for from in (20_000..60_000).step_by(200) {
        let mut agent = Options::new(Vec::new(), [1; 32]);
        agent.peers = vec!["127.0.0.2/32".parse().expect("a subnet")];
        let mut options = EndpointOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            rtp_ports: from..=from + 2 * pairs - 1,
            agent,
            now: noon,
        };
        change(&mut options);
        if let Ok(listener) = EndpointListener::bind(options) {
            return listener;
        }
    }
    panic!("no free ports on this machine");
}

fn message(first: &str, transport: &str, more: &str) -> String {
    let (fields, body) = more.split_once("\r\n\r\n").unwrap_or((more, ""));
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    format!(
        "{first} sip:5999@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.2;branch=z9hG4bK{first};rport\r\n\
         From: <sip:2001@127.0.0.2>;tag=pbx\r\nTo: <sip:5999@127.0.0.1>\r\nCall-ID: one\r\nCSeq: 1 {first}\r\n\
         Contact: <sip:127.0.0.2>\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Datagrams that frames hold, until there are so many.
fn datagrams(ring: &mut Ring, count: usize) -> Vec<(Flow, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut dissector = Dissector::default();
    while seen.len() < count {
        match ring.advance_within(Duration::from_secs(20)) {
            Ok(Advance::Frame) => {
                let frame = ring.frame().expect("a frame");
                assert_eq!(frame.at, noon());
                let datagram = dissector.handle_frame(&frame).expect("a datagram");
                seen.push((datagram.flow, datagram.payload.to_vec()));
            }
            other => panic!("{other:?} after {} frames", seen.len()),
        }
    }
    seen
}

fn udp(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

#[test]
fn a_call_becomes_frames_with_what_both_sides_say() {
    let listener = listener(2);
    let (address, gauges) = (listener.address(), listener.gauges());
    let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let pbx = udp(PBX);
    let rtp = udp(PBX);
    let port = rtp.local_addr().expect("bound").port();
    let offer = format!(
        "Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 127.0.0.2\r\nm=audio {port} RTP/AVP 8\r\n"
    );
    // Where it wants to have the BYE.
    let contact = format!("Contact: <sip:127.0.0.2:{}>", pbx.local_addr().expect("bound").port());
    let invite = message("INVITE", "UDP", &offer).replace("Contact: <sip:127.0.0.2>", &contact);
    pbx.send_to(invite.as_bytes(), address).expect("sent");
    let mut buffer = [0; 4_096];
    let length = pbx.recv(&mut buffer).expect("an answer");
    let answer = sip::parse(&buffer[..length]).expect("SIP");
    assert_eq!(answer.start, sip::StartLine::Response { status: 200, reason: b"OK" });
    // Nobody hangs up on who has not acknowledged.
    let to = answer.headers_named("To").next().expect("a To field");
    let to = format!("To: {}", String::from_utf8_lossy(to));
    let ack = message("ACK", "UDP", "").replace("To: <sip:5999@127.0.0.1>", &to);
    pbx.send_to(ack.as_bytes(), address).expect("sent");
    let session = decode::sdp::parse(answer.body);
    let place = session.media[0].receives_at.expect("a place");
    let packet = [&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xd5; 160]].concat();
    rtp.send_to(&packet, (place.ip(), place.port)).expect("sent");
    rtp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], (place.ip(), place.port + 1)).expect("sent");
    let seen = datagrams(&mut ring, 5);
    let ours = Endpoint::new(address.ip(), address.port());
    let theirs = pbx.local_addr().expect("bound").port();
    assert_eq!((seen[0].0.src.port, seen[0].0.dst), (theirs, ours));
    assert_eq!((seen[1].0.src, seen[1].0.dst.port), (ours, theirs));
    assert_eq!(seen[1].1, &buffer[..length]);
    let media: Vec<_> =
        seen[2..].iter().map(|(flow, bytes)| (flow.src.port, flow.dst, bytes.len())).collect();
    let rtcp = place.with_port(place.port + 1);
    assert!(media.contains(&(port, place, 172)) && media.contains(&(port, rtcp, 8)), "{media:?}");
    assert_eq!(ring.ports()[0].interface, format!("record-a-call {address}"));

    // A stranger is not answered, neither over UDP nor over TCP; his packets are nobody's.
    let stranger = udp([127, 0, 0, 1].into());
    stranger.send_to(message("OPTIONS", "UDP", "").as_bytes(), address).expect("sent");
    stranger.send_to(&packet, (place.ip(), place.port)).expect("sent");
    let mut stream = TcpStream::connect(address).expect("connected");
    assert_eq!(stream.read(&mut buffer).unwrap_or(0), 0, "closed");
    for _ in 0..2_000 {
        // What is counted there shows a moment after the ring has it.
        let counts = gauges.counts();
        if ring.counters().refused >= 3 && counts.strangers >= 2 && counts.foreign_media >= 1 {
            break;
        }
        assert_eq!(ring.advance_within(Duration::from_millis(10)).ok(), Some(Advance::Idle));
    }
    let counts = gauges.counts();
    assert_eq!((counts.calls, counts.answered, counts.strangers, counts.foreign_media), (1, 1, 2, 1));

    // The end: the call is hung up in order.
    ring.stopper().stop();
    let mut bye = [0; 4_096];
    loop {
        let length = pbx.recv(&mut bye).expect("a BYE");
        if bye[..length].starts_with(b"BYE ") {
            break;
        }
    }
}

/// A connection from the PBX's address: std has no way to bind before it connects.
fn connected(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
        .expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::new(PBX, 0)).expect("bound");
    rustix::net::connect(&socket, &address).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

/// Reads until there is a whole message without a body, or so much of one.
fn read_head(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains("\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("a message");
        assert!(length > 0, "closed: {text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).expect("text"));
    }
    text
}

#[test]
fn a_bye_finds_its_way_when_the_connection_of_its_call_is_gone() {
    let listener = listener_with(1, |options| options.agent.silence_s = 1);
    let address = listener.address();
    let ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let pbx = TcpListener::bind((PBX, 0)).expect("a socket");
    let contact = format!("Contact: <sip:{};transport=tcp>", pbx.local_addr().expect("bound"));
    let offer = "Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 127.0.0.2\r\nm=audio 9 RTP/AVP 8\r\n";
    let invite = message("INVITE", "TCP", offer).replace("Contact: <sip:127.0.0.2>", &contact);
    let mut stream = connected(address);
    stream.write_all(invite.as_bytes()).expect("sent");
    let answer = read_head(&mut stream);
    let to = answer.lines().find(|line| line.starts_with("To: ")).expect("a To field");
    let ack = message("ACK", "TCP", "").replace("To: <sip:5999@127.0.0.1>", to);
    // With a ping behind it.
    stream.write_all(format!("{ack}\r\n\r\n").as_bytes()).expect("sent");
    let mut byte = [0; 1];
    let mut rest = answer.clone();
    while !rest.ends_with("recvonly\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the rest of the answer, and a pong");
        rest.push(char::from(byte[0]));
    }
    drop(stream);
    let (mut stream, from) = pbx.accept().expect("a connection of the recorder's");
    assert_eq!(from.ip(), address.ip());
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let bye = read_head(&mut stream);
    assert!(
        bye.starts_with("BYE sip:127.0.0.2:") && bye.contains("\r\nVia: SIP/2.0/TCP 127.0.0.1:"),
        "{bye}"
    );
    ring.stopper().stop();
}

/// The answer to a request of the recorder's, with further header fields.
fn answer(request: &str, status: &str, more: &str) -> String {
    let head: String = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "]
        .map(|name| format!("{}\r\n", request.lines().find(|line| line.starts_with(name)).expect("a field")))
        .concat();
    format!("SIP/2.0 {status}\r\n{head}{more}Content-Length: 0\r\n\r\n")
}

/// The next datagram.
fn read_datagram(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 4_096];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    (String::from_utf8(buffer[..length].to_vec()).expect("text"), from)
}

fn registering(carrier: Carrier, registrar: SocketAddr) -> EndpointListener {
    listener_with(1, |options| {
        options.agent.registration = Some(decode::endpoint::Registration {
            registrar: Endpoint::new(registrar.ip(), registrar.port()),
            carrier,
            domain: "pbx.example".into(),
            user: "5999".into(),
            expires_s: 3_600,
        });
    })
}

#[test]
fn the_registration_is_withdrawn_at_the_end_and_what_gets_lost_goes_again() {
    let registrar = udp(PBX);
    let listener = registering(Carrier::Udp, registrar.local_addr().expect("bound"));
    let gauges = listener.gauges();
    let ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let (register, recorder) = read_datagram(&registrar);
    registrar.send_to(answer(&register, "200 OK", "Expires: 600\r\n").as_bytes(), recorder).expect("sent");
    let begun = Instant::now();
    while gauges.counts().registration != decode::endpoint::RegistrationState::Registered {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", gauges.counts());
        std::thread::yield_now();
    }
    let begun = Instant::now();
    let ended = std::thread::spawn(move || drop(ring));
    let (lost, _) = read_datagram(&registrar);
    assert!(lost.contains("\r\nExpires: 0\r\n"), "{lost}");
    let (again, _) = read_datagram(&registrar);
    assert_eq!(again, lost);
    assert!(begun.elapsed() >= Duration::from_millis(400), "T1 later");
    registrar.send_to(answer(&again, "200 OK", "").as_bytes(), recorder).expect("sent");
    ended.join().expect("it ends");
    assert!(begun.elapsed() < LEAVE_MAX, "as soon as it is answered: {:?}", begun.elapsed());
}

#[test]
fn a_registration_over_tcp_is_withdrawn_over_a_new_connection_and_nobody_is_waited_for_long() {
    let registrar = TcpListener::bind((PBX, 0)).expect("a socket");
    let listener = registering(Carrier::Tcp, registrar.local_addr().expect("bound"));
    let gauges = listener.gauges();
    let ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let accept = || {
        let (stream, _) = registrar.accept().expect("a connection of the recorder's");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    };
    let mut stream = accept();
    let register = read_head(&mut stream);
    stream.write_all(answer(&register, "200 OK", "Expires: 600\r\n").as_bytes()).expect("sent");
    let begun = Instant::now();
    while gauges.counts().registration != decode::endpoint::RegistrationState::Registered {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", gauges.counts());
        std::thread::yield_now();
    }
    // The recorder sees the end of the connection before its own.
    drop(stream);
    let begun = Instant::now();
    let ended = std::thread::spawn(move || drop(ring));
    // Where it had not seen that yet, what it wrote into it goes again.
    let mut stream = accept();
    assert!(read_head(&mut stream).contains("\r\nExpires: 0\r\n"));
    ended.join().expect("it ends");
    let waited = begun.elapsed();
    assert!(waited >= LEAVE_MAX && waited < 5 * LEAVE_MAX, "nobody answers: {waited:?}");
}

#[test]
fn a_large_invite_goes_over_tcp_and_over_udp_where_nobody_takes_connections() {
    let listener = listener_with(1, |options| options.agent.joins = options.agent.peers.clone());
    let control = listener.control();
    let ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let large = |name: &str, at: SocketAddr| format!("sip:{}@{at}", name.repeat(230));
    let media = TcpListener::bind((PBX, 0)).expect("a socket");
    let uri = large("a", media.local_addr().expect("bound"));
    assert_eq!(control.join(&uri, "2001"), Ok(Ok(())));
    let (mut stream, _) = media.accept().expect("a connection of the recorder's");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let invite = read_head(&mut stream);
    assert!(invite.starts_with(&format!("INVITE {uri} SIP/2.0\r\n")), "{invite}");
    assert!(invite.contains("\r\nVia: SIP/2.0/TCP 127.0.0.1:"), "{invite}");
    stream.write_all(answer(&invite, "486 Busy", "").as_bytes()).expect("sent");
    assert!(read_head(&mut stream).contains("ACK "));

    let media = udp(PBX);
    let uri = large("b", media.local_addr().expect("bound"));
    assert_eq!(control.join(&uri, "2001"), Ok(Ok(())));
    let (invite, recorder) = read_datagram(&media);
    assert!(invite.starts_with(&format!("INVITE {uri} SIP/2.0\r\n")), "{invite}");
    assert!(invite.contains("\r\nVia: SIP/2.0/UDP 127.0.0.1:"), "{invite}");
    media.send_to(answer(&invite, "486 Busy", "").as_bytes(), recorder).expect("sent");
    assert!(read_datagram(&media).0.starts_with("ACK "));
    ring.stopper().stop();
}

/// The other end of TLS, over a socket that waits.
struct Secure {
    tls: rustls::Connection,
    stream: TcpStream,
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            rustls::Connection::Client(tls) => rustls::Stream::new(tls, &mut self.stream).read(buffer),
            rustls::Connection::Server(tls) => rustls::Stream::new(tls, &mut self.stream).read(buffer),
        }
    }
}

impl Secure {
    fn say(&mut self, text: &str) {
        match &mut self.tls {
            rustls::Connection::Client(tls) => {
                rustls::Stream::new(tls, &mut self.stream).write_all(text.as_bytes())
            }
            rustls::Connection::Server(tls) => {
                rustls::Stream::new(tls, &mut self.stream).write_all(text.as_bytes())
            }
        }
        .expect("sent");
    }
}

#[test]
fn calls_come_and_conversations_are_joined_over_tls() {
    let listener = listener_with(1, |options| {
        options.tls = Some(secure());
        options.agent.joins = options.agent.peers.clone();
    });
    let (address, control) = (listener.tls_address().expect("it listens"), listener.control());
    let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    // The PBX knows the authority, and sees that it speaks with 127.0.0.1.
    let stream = connected(address);
    let tls = *secure().connect(address.ip()).expect("ready");
    let mut pbx = Secure { tls, stream };
    pbx.say(&message("OPTIONS", "TLS", ""));
    let answer = read_head(&mut pbx);
    let contact = format!("Contact: <sip:earwitness@127.0.0.1:{};transport=tls>", address.port());
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n") && answer.contains(&contact), "{answer}");
    assert_eq!(datagrams(&mut ring, 2)[1].1.get(..11), Some(&b"SIP/2.0 200"[..]));

    // And the other way round: the recorder connects, and looks at the certificate.
    let media = TcpListener::bind((PBX, 0)).expect("a socket");
    let uri = format!("sip:conf@{};transport=tls", media.local_addr().expect("bound"));
    assert_eq!(control.join(&uri, "2001"), Ok(Ok(())));
    let (stream, _) = media.accept().expect("a connection of the recorder's");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut server = Secure { tls: *secure().accept().expect("ready"), stream };
    let invite = read_head(&mut server);
    assert!(invite.starts_with(&format!("INVITE {uri} SIP/2.0\r\n")), "{invite}");
    assert!(invite.contains("\r\nX-Earwitness-Extension: 2001\r\n") && invite.contains(&contact), "{invite}");
    assert_eq!(control.leave("sip:nobody@127.0.0.2"), Ok(false));

    // Who does not speak TLS is disconnected.
    let mut plain = connected(address);
    plain.write_all(message("OPTIONS", "TCP", "").as_bytes()).expect("sent");
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"SIP"));
    ring.stopper().stop();
}

#[test]
fn what_is_no_certificate_is_refused_and_a_key_is_not_shown() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    assert!(EndpointTls::new(listen, b"", KEY, &[]).expect_err("none").contains("no certificate"));
    assert!(EndpointTls::new(listen, CERTIFICATE, b"", &[]).expect_err("none").contains("no private key"));
    assert!(EndpointTls::new(listen, AUTHORITY, KEY, &[]).is_err(), "another's key");
    assert!(EndpointTls::authorities(b"x").is_err());
    assert!(!format!("{:?}", secure()).contains("PRIVATE"));
}

#[test]
fn messages_of_a_connection_are_cut_and_answered_on_it() {
    let listener = listener(1);
    let address = listener.address();
    let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
    let mut stream = connected(address);
    let both = [message("OPTIONS", "TCP", ""), "\r\n\r\n".into(), message("BYE", "TCP", "")].concat();
    for piece in both.as_bytes().chunks(100) {
        stream.write_all(piece).expect("sent");
        stream.flush().expect("sent");
    }
    let mut answers = String::new();
    let mut buffer = [0; 4_096];
    while answers.matches("SIP/2.0 ").count() < 2 || !answers.ends_with("\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("answers");
        assert!(length > 0, "{answers}");
        answers.push_str(std::str::from_utf8(&buffer[..length]).expect("text"));
    }
    assert!(answers.starts_with("SIP/2.0 200 OK\r\n") && answers.contains("SIP/2.0 481 "), "{answers}");
    let seen = datagrams(&mut ring, 4);
    assert!(seen.iter().all(|(flow, _)| flow.src.ip() != flow.dst.ip()));
    // Who sends without end and says nothing is disconnected.
    let endless = [b"OPTIONS sip:a SIP/2.0\r\nX: ".to_vec(), vec![b'a'; 80_000]].concat();
    let _ = stream.write_all(&endless);
    assert_eq!(stream.read(&mut buffer).unwrap_or(0), 0);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let first = listener(4);
    let mut options = EndpointOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        rtp_ports: first.options.rtp_ports.clone(),
        agent: Options::new(Vec::new(), [1; 32]),
        now: noon,
    };
    let taken = *options.rtp_ports.start();
    let error = EndpointListener::bind(options.clone()).expect_err("refused").to_string();
    assert!(error.starts_with(&format!("cannot listen for RTP on 127.0.0.1:{taken}: ")), "{error}");
    options.listen = first.address();
    let error = EndpointListener::bind(options).expect_err("refused").to_string();
    assert!(error.starts_with(&format!("cannot listen for SIP on {}: ", first.address())), "{error}");
}

#[test]
fn drops_are_read_from_the_kernels_tables() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                 10: 0100007F:2EE0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 5\n\
                 11: 00000000:2EE1 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 7\n\
                 12: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 9\n";
    assert_eq!(drops_of(table, |port| (12_000..12_002).contains(&port)), 12);
}

#[test]
fn tokens_are_read_back() {
    for token in [
        Token::Sip,
        Token::Listener,
        Token::SecureListener,
        Token::Media { pair: 0, is_rtcp: false },
        Token::Media { pair: RTP_PAIRS_MAX, is_rtcp: true },
        Token::Connection(0),
        Token::Connection(1 << 40),
    ] {
        assert_eq!(Token::of(token.number()), token);
    }
}
