//! The feed's line protocol over TCP: who may connect, how much, how fast. What a line means is `policy::feed`'s business.
//!
//! One thread accepts, one serves each connection; reports reach the recorder as jobs (`control`), and each line has its answer. There is
//! no encryption: what comes from another machine belongs into a network that nobody else is in, or into a tunnel.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use policy::feed::line::{Key, Line};
use policy::feed::{FEED_VERSION, REPORT_LEN_MAX, Report};
use policy::gate::Told;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock;
use crate::control::Control;
use crate::failure::Failure;
use crate::sources::{Link, Sources};

/// Connections at one time; a further one is told so and closed.
const CONNECTIONS_MAX: usize = 32;
/// Lines a second of one connection. Of a faster one the rest is read later: nothing is lost, its sender has to wait.
const LINES_PER_S_MAX: u32 = 500;
/// Reports that one connection hands over at once.
const AT_ONCE_MAX: usize = 64;
/// How long a connection may be silent before it is closed; `ping` is a sign of life.
const IDLE: Duration = Duration::from_secs(600);
/// How long it may take to let itself in.
const GREETING: Duration = Duration::from_secs(10);
/// How often a thread that waits looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who may report, and how.
pub(crate) struct Admission {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// From where; from this machine alone when empty.
    pub(crate) from: Vec<IpAddr>,
    /// What the first line must say.
    pub(crate) key: Option<Zeroizing<String>>,
}

/// May this address connect? This machine alone may, where nobody is named.
pub(crate) fn admits(from: &[IpAddr], address: IpAddr) -> bool {
    let address = address.to_canonical();
    match from {
        [] => address.is_loopback(),
        from => from.iter().any(|own| own.to_canonical() == address),
    }
}

/// Takes reports. Called from the thread of each connection.
pub(crate) trait Takes: Send + Sync + 'static {
    /// Gives these to the recorder; none when it does not take them now.
    fn take(&self, reports: Vec<Report>) -> Option<Vec<Told>>;
}

impl Takes for Control {
    fn take(&self, reports: Vec<Report>) -> Option<Vec<Told>> {
        self.take_reports(reports).ok()
    }
}

/// The listening feed, until it is stopped.
pub(crate) struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    address: SocketAddr,
}

/// What all connections share.
struct Shared {
    admission: Admission,
    takes: Box<dyn Takes>,
    sources: Sources,
    stop: Arc<AtomicBool>,
    connections: AtomicUsize,
}

impl Feed {
    /// Listens from now on; `sources` are told who is there.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub(crate) fn start(admission: Admission, takes: impl Takes, sources: Sources) -> Result<Feed, Failure> {
        let listen = admission.listen;
        let wrong =
            |error: io::Error| Failure::new(format!("cannot listen for the feed at {listen}: {error}"));
        let listener = TcpListener::bind(listen).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let stop = Arc::new(AtomicBool::new(false));
        sources.await_anybody("feed");
        let shared = Arc::new(Shared {
            admission,
            takes: Box::new(takes),
            sources,
            stop: Arc::clone(&stop),
            connections: AtomicUsize::new(0),
        });
        let thread = std::thread::Builder::new().name("feed".into());
        let thread = thread.spawn(move || accept(&listener, &shared)).map_err(wrong)?;
        Ok(Feed { stop, thread, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and waits for that.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the feed did not end in order");
        }
    }
}

/// Takes connections until it is stopped, then waits for their threads.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((stream, peer)) = listener.accept() else {
            std::thread::park_timeout(LOOK_EVERY);
            continue;
        };
        running.retain(|thread| !thread.is_finished());
        if !admits(&shared.admission.from, peer.ip()) {
            tracing::warn!(%peer, "the feed refuses a connection: the address is not named by [feed] from");
            refuse(stream, "this address may not report");
            continue;
        }
        if shared.connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            tracing::warn!(%peer, max = CONNECTIONS_MAX, "the feed refuses a connection: there are too many");
            refuse(stream, "too many connections");
            continue;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let own = Arc::clone(shared);
        let serve = move || {
            let ended = Connection::new(&own, stream).and_then(|connection| connection.run());
            tracing::debug!(%peer, error = ?ended.err(), "a feed connection has ended");
            own.connections.fetch_sub(1, Ordering::Relaxed);
        };
        match std::thread::Builder::new().name(format!("feed {peer}")).spawn(serve) {
            Ok(thread) => running.push(thread),
            Err(error) => {
                shared.connections.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%error, "no thread for a feed connection");
            }
        }
    }
    for thread in running {
        // One that panicked has been told by the runtime.
        let _ = thread.join();
    }
}

fn refuse(mut stream: TcpStream, why: &str) {
    let _ = stream.set_write_timeout(Some(LOOK_EVERY));
    let _ = writeln!(stream, "error {why}");
}

/// How far a connection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// A key is asked for.
    Locked,
    /// The key was right, or none is asked for; the version was not said.
    Strange,
    /// It may report, under this name.
    Known(String),
}

struct Connection<'s> {
    shared: &'s Shared,
    stream: TcpStream,
    stage: Stage,
    /// From whom it is, once that was said.
    link: Option<Link>,
    /// What was read and is no whole line yet.
    buffer: Vec<u8>,
    /// Lines of the second that began then.
    second: (Instant, u32),
}

/// What becomes of a line.
enum Turn {
    /// Its answer.
    Answer(String),
    /// Its answer, and then the connection is over.
    Last(String),
    /// To be handed over.
    Report(Box<Report>),
}

impl<'s> Connection<'s> {
    fn new(shared: &'s Shared, stream: TcpStream) -> io::Result<Connection<'s>> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_write_timeout(Some(GREETING))?;
        let stage = if shared.admission.key.is_some() { Stage::Locked } else { Stage::Strange };
        let (link, buffer) = (None, Vec::new());
        Ok(Connection { shared, stream, stage, link, buffer, second: (Instant::now(), 0) })
    }

    fn run(mut self) -> io::Result<()> {
        writeln!(self.stream, "earwitness-feed {FEED_VERSION}")?;
        let mut heard = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let patience = if matches!(self.stage, Stage::Known(_)) { IDLE } else { GREETING };
            if heard.elapsed() > patience {
                return writeln!(self.stream, "error nothing was heard for {} s", patience.as_secs());
            }
            let mut block = [0; 4096];
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    heard = Instant::now();
                    if let Some(link) = &self.link {
                        link.heard();
                    }
                    self.buffer.extend_from_slice(block.get(..read).unwrap_or_default());
                }
                Err(error) if is_pause(&error) => continue,
                Err(error) => return Err(error),
            }
            if !self.take_lines()? {
                return Ok(());
            }
        }
        writeln!(self.stream, "error the recorder ends")
    }

    /// Answers the whole lines in the buffer; false when the connection is over.
    fn take_lines(&mut self) -> io::Result<bool> {
        while let Some(end) = self.buffer.iter().position(|&b| b == b'\n') {
            let (mut answers, mut reports, mut is_last) = (Vec::new(), Vec::new(), false);
            let mut end = Some(end);
            while let Some(at) = end.filter(|_| !is_last && answers.len() < AT_ONCE_MAX) {
                self.slow_down();
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let line = Zeroizing::new(line);
                answers.push(match self.turn(line.strip_suffix(b"\n").unwrap_or_default()) {
                    Turn::Answer(answer) => Some(answer),
                    Turn::Last(answer) => {
                        is_last = true;
                        Some(answer)
                    }
                    Turn::Report(report) => {
                        reports.push(*report);
                        None
                    }
                });
                end = self.buffer.iter().position(|&b| b == b'\n');
            }
            self.answer(answers, reports)?;
            if is_last {
                return Ok(false);
            }
        }
        if self.buffer.len() > REPORT_LEN_MAX {
            writeln!(self.stream, "error a line is longer than {REPORT_LEN_MAX} bytes")?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Hands reports over and writes all answers, in the order of the lines.
    fn answer(&mut self, answers: Vec<Option<String>>, reports: Vec<Report>) -> io::Result<()> {
        let told = if reports.is_empty() { Some(Vec::new()) } else { self.shared.takes.take(reports) };
        let mut told = told.map(Vec::into_iter);
        let mut text = String::new();
        for answer in answers {
            let answer = answer.unwrap_or_else(|| match told.as_mut().map(Iterator::next) {
                Some(Some(told)) => in_words(&told),
                // It may have taken them all the same: said twice, a report changes nothing.
                _ => "error busy: the recorder does not answer, say it again".to_owned(),
            });
            text.push_str(&answer);
            text.push('\n');
        }
        self.stream.write_all(text.as_bytes())
    }

    /// What becomes of one line.
    fn turn(&mut self, line: &[u8]) -> Turn {
        let line = match Line::parse(line, clock::now()) {
            Ok(line) => line,
            // Somebody who does not know the key learns nothing of what is understood.
            Err(_) if self.stage == Stage::Locked => return self.keep_out(),
            Err(error) => return Turn::Answer(format!("error {error}")),
        };
        match (&self.stage, line) {
            (Stage::Locked, Line::Key(key)) if self.opens(key) => {
                self.stage = Stage::Strange;
                Turn::Answer("ok".into())
            }
            (Stage::Locked, _) => self.keep_out(),
            (_, Line::Key(_)) => Turn::Answer("error key: none is asked for here".into()),
            (_, Line::Ping) => Turn::Answer("ok".into()),
            (Stage::Strange, Line::Hello { version: FEED_VERSION, source }) => {
                tracing::info!(source, "a source of reports has connected");
                // The ledger tells systems from people by this word.
                let who = format!("feed {source}");
                let link = self.shared.sources.connected(&who);
                link.heard();
                (self.link, self.stage) = (Some(link), Stage::Known(who));
                Turn::Answer(format!("ok version {FEED_VERSION}"))
            }
            (Stage::Strange, Line::Hello { version, .. }) => Turn::Last(format!(
                "error version: this recorder speaks {FEED_VERSION}, the other side {version}; both must be the same"
            )),
            (Stage::Strange, Line::Report(_)) => {
                Turn::Last(format!("error hello: begin with hello version={FEED_VERSION} source=NAME"))
            }
            (Stage::Known(_), Line::Hello { .. }) => Turn::Answer("error hello: was said before".into()),
            (Stage::Known(source), Line::Report(report)) => Turn::Report(Box::new(report.said_by(source))),
        }
    }

    fn opens(&self, key: Key<'_>) -> bool {
        self.shared.admission.key.as_ref().is_some_and(|own| own.as_bytes().ct_eq(key.0).into())
    }

    fn keep_out(&self) -> Turn {
        let peer = self.stream.peer_addr().ok();
        tracing::warn!(?peer, "the feed refuses a connection: its first line is not the key");
        Turn::Last("error key: the first line must be the right key".into())
    }

    /// A sender that is too fast waits for the next second.
    fn slow_down(&mut self) {
        let (since, lines) = &mut self.second;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *lines) = (Instant::now(), 0);
        }
        *lines += 1;
        while *lines > LINES_PER_S_MAX && !self.shared.stop.load(Ordering::Relaxed) {
            let left = Duration::from_secs(1).saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left.min(LOOK_EVERY));
        }
    }
}

/// `ok`, how many calls were meant, and whether they run, are over, or are waited for.
fn in_words(told: &Told) -> String {
    let Told { running, over, waits, refused } = told;
    let count = running.saturating_add(*over);
    match (refused, waits, over) {
        (Some(refused), ..) => format!("error {refused}"),
        (None, true, _) => "ok 0 waits".to_owned(),
        (None, false, 0) => format!("ok {count}"),
        (None, false, over) => format!("ok {count} over {over}"),
    }
}

/// Did a read end because nothing came in time?
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use policy::feed::Word;

    use super::*;

    /// Takes everything and remembers who said it.
    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<Report>>>);

    impl Takes for Ear {
        fn take(&self, reports: Vec<Report>) -> Option<Vec<Told>> {
            let told = reports.iter().map(|_| Told { running: 1, ..Told::default() }).collect();
            self.0.lock().expect("no panic").extend(reports);
            Some(told)
        }
    }

    /// Takes nothing.
    struct Deaf;

    impl Takes for Deaf {
        fn take(&self, _: Vec<Report>) -> Option<Vec<Told>> {
            None
        }
    }

    fn admission() -> Admission {
        Admission { listen: (Ipv4Addr::LOCALHOST, 0).into(), from: Vec::new(), key: None }
    }

    /// Says these lines at once, and gives everything that is answered until the other side closes or `count` lines came.
    fn say(feed: &Feed, text: &str, count: usize) -> Vec<String> {
        let mut stream = TcpStream::connect(feed.address()).expect("connects");
        stream.write_all(text.as_bytes()).expect("sent");
        BufReader::new(stream).lines().take(count).map_while(Result::ok).collect()
    }

    #[test]
    fn each_line_is_answered_in_its_order_and_reports_are_handed_over_with_their_source() {
        let (ear, sources) = (Ear::default(), Sources::default());
        let feed = Feed::start(admission(), ear.clone(), sources.clone()).expect("listens");
        let there = || -> Vec<(String, bool)> {
            let sources = sources.look(clock::now()).into_iter();
            sources.map(|source| (source.name, source.last_heard.is_some())).collect()
        };
        assert_eq!(there(), [("feed".to_owned(), false)]);
        let lines =
            "hello version=1 source=pbx\nextension=2000 tag=x\r\nping\ncolour=red\nextension=2001 tag=y\n";
        assert_eq!(
            say(&feed, lines, 6),
            [
                "earwitness-feed 1",
                "ok version 1",
                "ok 1",
                "ok",
                "error unknown field `colour`, see docs/feed.md, line 1, column 1",
                "ok 1"
            ]
        );
        let heard = ear.0.lock().expect("no panic");
        assert!(heard.len() == 2 && heard.iter().all(|report| report.who == "feed pbx"));
        assert!(matches!(&heard[1].word, Word::Facts(_, facts) if facts[0].value() == "y"));
        drop(heard);
        feed.stop();
        assert_eq!(there(), [("feed pbx".to_owned(), true)]);
        assert!(!sources.look(clock::now())[0].up, "it is gone with its connection");
    }

    #[test]
    fn who_speaks_another_version_or_does_not_greet_is_shown_out() {
        let feed = Feed::start(admission(), Ear::default(), Sources::default()).expect("listens");
        let told = say(&feed, "hello version=2 source=pbx\nping\n", 9);
        assert_eq!(told.len(), 2, "it is closed: {told:?}");
        assert!(told[1].contains("this recorder speaks 1, the other side 2"), "{told:?}");
        let told = say(&feed, "extension=2000 tag=x\nping\n", 9);
        assert!(told.len() == 2 && told[1].contains("begin with hello"), "{told:?}");
        let told = say(&feed, &format!("hello version=1 source=pbx\n{}", "x".repeat(REPORT_LEN_MAX + 1)), 9);
        assert!(told.len() == 3 && told[2].contains("longer than"), "{told:?}");
        feed.stop();
    }

    #[test]
    fn without_the_key_nothing_is_understood() {
        let ear = Ear::default();
        let locked = Admission { key: Some(Zeroizing::new("open sesame".into())), ..admission() };
        let feed = Feed::start(locked, ear.clone(), Sources::default()).expect("listens");
        for wrong in ["hello version=1 source=pbx\n", "key open\n", "key open sesame!\n", "colour=red\n"] {
            let told = say(&feed, &format!("{wrong}extension=2000 tag=x\n"), 9);
            assert_eq!(
                told,
                ["earwitness-feed 1", "error key: the first line must be the right key"],
                "{wrong}"
            );
        }
        let right = "key open sesame\nhello version=1 source=pbx\nextension=2000 tag=x\n";
        assert_eq!(say(&feed, right, 4)[1..], ["ok", "ok version 1", "ok 1"]);
        assert_eq!(ear.0.lock().expect("no panic").len(), 1);
        feed.stop();
    }

    #[test]
    fn an_address_that_is_not_named_may_not_report_and_there_are_only_so_many_connections() {
        let elsewhere = Admission { from: vec!["192.0.2.1".parse().expect("an address")], ..admission() };
        let feed = Feed::start(elsewhere, Ear::default(), Sources::default()).expect("listens");
        assert_eq!(say(&feed, "", 9), ["error this address may not report"]);
        feed.stop();
        let feed = Feed::start(admission(), Ear::default(), Sources::default()).expect("listens");
        let open: Vec<TcpStream> = (0..CONNECTIONS_MAX)
            .map(|_| {
                let stream = TcpStream::connect(feed.address()).expect("connects");
                let mut greeting = String::new();
                BufReader::new(&stream).read_line(&mut greeting).expect("greets");
                stream
            })
            .collect();
        assert_eq!(say(&feed, "", 9), ["error too many connections"]);
        drop(open);
        feed.stop();
    }

    #[test]
    fn a_recorder_that_does_not_answer_is_told_to_the_sender() {
        let feed = Feed::start(admission(), Deaf, Sources::default()).expect("listens");
        let told = say(&feed, "hello version=1 source=pbx\nextension=2000 tag=x\n", 3);
        assert_eq!(told[2], "error busy: the recorder does not answer, say it again");
        feed.stop();
    }
}
