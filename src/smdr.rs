//! SMDR over TCP, both ways: what a telephone system tells becomes reports of the feed, and what is seen here is told to call loggers.
//!
//! Records and what they mean are `policy::smdr`'s. In: we connect to a telephone system, or it connects to us. Out: a logger connects
//! to us (local mode), or we connect to it (push mode); while nobody takes them, the last [`KEPT_MAX`] records wait.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use decode::Timestamp;
use jiff::tz::TimeZone;
use policy::smdr::{LINE_LEN_MAX, Record};

use crate::clock;
use crate::failure::Failure;
use crate::feed::{Takes, admits, is_pause};
use crate::sources::Sources;

/// Records that wait for a logger that is away, for each way out. Of more the oldest is dropped and counted.
const KEPT_MAX: usize = 1_000;
/// Connections at one time, of telephone systems and of loggers each.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long is waited before it is tried again: at first, and at most.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A telephone system that says nothing for so long is connected to anew: it may be gone without a word.
const SILENCE: Duration = Duration::from_secs(3_600);
/// How often a thread that waits looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Records of a telephone system that are handed over at once.
const AT_ONCE_MAX: usize = 64;

/// Where records come from and go to.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    /// Telephone systems that are connected to.
    pub(crate) connect: Vec<SocketAddr>,
    /// Where telephone systems connect to.
    pub(crate) take: Option<SocketAddr>,
    /// Where loggers connect to.
    pub(crate) listen: Option<SocketAddr>,
    /// The logger that is connected to.
    pub(crate) push: Option<SocketAddr>,
    /// Who may connect; this machine alone when empty.
    pub(crate) from: Vec<IpAddr>,
    /// What fills blank fields of numbers.
    pub(crate) padding: u8,
    /// The clock on the wall.
    pub(crate) zone: TimeZone,
}

impl Ways {
    /// Are records of telephone systems read?
    pub(crate) fn is_read(&self) -> bool {
        !self.connect.is_empty() || self.take.is_some()
    }
}

/// Everything that runs for it.
pub(crate) struct Smdr {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The ways out. Telling never waits.
#[derive(Clone, Default)]
pub(crate) struct Outlets {
    outlets: Vec<Arc<Outlet>>,
    padding: u8,
}

/// Records on their way to one logger.
#[derive(Default)]
struct Outlet {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    dropped: AtomicU64,
}

impl Outlet {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<u8>>> {
        // Whole records alone are put in and taken out.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, record: Vec<u8>) {
        let mut waiting = self.lock();
        if waiting.len() >= KEPT_MAX {
            waiting.pop_front();
            let before = self.dropped.fetch_add(1, Ordering::Relaxed);
            if before == 0 {
                tracing::warn!(
                    max = KEPT_MAX,
                    "SMDR records are dropped, oldest first: no logger takes them"
                );
            }
        }
        waiting.push_back(record);
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.lock().pop_front()
    }

    fn put_back(&self, record: Vec<u8>) {
        self.lock().push_front(record);
    }
}

impl Outlets {
    /// Is there anybody to tell?
    pub(crate) fn is_any(&self) -> bool {
        !self.outlets.is_empty()
    }

    /// Tells a record.
    pub(crate) fn tell(&self, record: &Record) {
        for outlet in &self.outlets {
            outlet.put(record.write(self.padding));
        }
    }

    /// Records dropped so far.
    fn dropped(&self) -> u64 {
        self.outlets.iter().map(|outlet| outlet.dropped.load(Ordering::Relaxed)).sum()
    }
}

impl Smdr {
    /// Opens all ways; `sources` are told which telephone systems are there.
    ///
    /// # Errors
    /// When an address is not to be had.
    pub(crate) fn start(
        ways: &Ways,
        takes: impl Takes + Clone,
        sources: &Sources,
    ) -> Result<(Smdr, Outlets, Vec<SocketAddr>), Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut smdr = Smdr { stop: Arc::clone(&stop), threads: Vec::new() };
        let (mut outlets, mut bound) = (Vec::new(), Vec::new());
        let input = |name: String| Input {
            source: name,
            takes: Box::new(takes.clone()),
            sources: sources.clone(),
            padding: ways.padding,
            zone: ways.zone.clone(),
            stop: Arc::clone(&stop),
        };
        for &address in &ways.connect {
            let input = input(format!("smdr {}", address.ip()));
            sources.await_link(&input.source);
            smdr.spawn(format!("smdr {address}"), move || input.connect(address))?;
        }
        if let Some(address) = ways.take {
            let listener = bind(address, &mut bound)?;
            sources.await_anybody("smdr");
            let (from, stop) = (ways.from.clone(), Arc::clone(&stop));
            let (takes, padding, zone) = (takes.clone(), ways.padding, ways.zone.clone());
            let sources = sources.clone();
            let each = move |stream: TcpStream, peer: SocketAddr| {
                let (takes, stop): (Box<dyn Takes>, _) = (Box::new(takes.clone()), Arc::clone(&stop));
                let (source, zone) = (format!("smdr {}", peer.ip().to_canonical()), zone.clone());
                let input = Input { source, takes, sources: sources.clone(), padding, zone, stop };
                let run = move || drop(input.read(stream));
                std::thread::Builder::new().name(format!("smdr {peer}")).spawn(run).ok()
            };
            let stop = Arc::clone(&smdr.stop);
            smdr.spawn("smdr".into(), move || accept(&listener, &from, &stop, each))?;
        }
        if let Some(address) = ways.listen {
            let listener = bind(address, &mut bound)?;
            let outlet = Arc::new(Outlet::default());
            outlets.push(Arc::clone(&outlet));
            let (from, stop) = (ways.from.clone(), Arc::clone(&stop));
            smdr.spawn("smdr out".into(), move || serve(&listener, &from, &outlet, &stop))?;
        }
        if let Some(address) = ways.push {
            let outlet = Arc::new(Outlet::default());
            outlets.push(Arc::clone(&outlet));
            let stop = Arc::clone(&stop);
            smdr.spawn("smdr push".into(), move || push(address, &outlet, &stop))?;
        }
        Ok((smdr, Outlets { outlets, padding: ways.padding }, bound))
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Closes all ways. What still waits is gone, and its number is told.
    pub(crate) fn stop(self, outlets: &Outlets) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of SMDR did not end in order");
            }
        }
        let waiting: usize = outlets.outlets.iter().map(|outlet| outlet.lock().len()).sum();
        if waiting > 0 || outlets.dropped() > 0 {
            tracing::warn!(waiting, dropped = outlets.dropped(), "SMDR records that no logger took");
        }
    }
}

fn bind(address: SocketAddr, bound: &mut Vec<SocketAddr>) -> Result<TcpListener, Failure> {
    let wrong = |error: io::Error| Failure::new(format!("cannot listen for SMDR at {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    bound.push(listener.local_addr().map_err(wrong)?);
    Ok(listener)
}

/// The next connection of somebody who may connect.
fn next(listener: &TcpListener, from: &[IpAddr]) -> Option<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().ok()?;
    if !admits(from, peer.ip()) {
        tracing::warn!(%peer, "SMDR refuses a connection: the address is not named by [smdr] from");
        return None;
    }
    stream.set_nonblocking(false).ok()?;
    Some((stream, peer))
}

/// Takes telephone systems that connect, a thread each.
fn accept(
    listener: &TcpListener,
    from: &[IpAddr],
    stop: &AtomicBool,
    each: impl Fn(TcpStream, SocketAddr) -> Option<JoinHandle<()>>,
) {
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        running.retain(|thread| !thread.is_finished());
        match next(listener, from) {
            Some((stream, peer)) if running.len() < CONNECTIONS_MAX => running.extend(each(stream, peer)),
            Some((_, peer)) => tracing::warn!(%peer, max = CONNECTIONS_MAX, "SMDR refuses a connection"),
            None => std::thread::park_timeout(LOOK_EVERY),
        }
    }
    for thread in running {
        let _ = thread.join();
    }
}

/// Reads one telephone system's records.
struct Input {
    source: String,
    takes: Box<dyn Takes>,
    sources: Sources,
    padding: u8,
    zone: TimeZone,
    stop: Arc<AtomicBool>,
}

impl Input {
    /// Connects again and again.
    fn connect(&self, address: SocketAddr) {
        again(&self.stop, || {
            let stream = TcpStream::connect_timeout(&address, CONNECT)?;
            tracing::info!(%address, "connected to a telephone system's SMDR");
            self.read(stream)
        });
    }

    /// Reads until the other side ends it.
    fn read(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        let link = self.sources.connected(&self.source);
        let (mut buffer, mut heard, mut refused) = (Vec::new(), Instant::now(), 0_u64);
        while !self.stop.load(Ordering::Relaxed) && heard.elapsed() < SILENCE {
            let mut block = [0; 4096];
            match stream.read(&mut block) {
                Ok(0) => break,
                Ok(read) => buffer.extend_from_slice(block.get(..read).unwrap_or_default()),
                Err(error) if is_pause(&error) => continue,
                Err(error) => return Err(error),
            }
            heard = Instant::now();
            link.heard();
            refused += self.take_lines(&mut buffer);
            if buffer.len() > LINE_LEN_MAX {
                tracing::warn!(source = self.source, "what comes is no SMDR: a line is too long");
                break;
            }
        }
        if refused > 0 {
            tracing::warn!(source = self.source, refused, "SMDR records that could not be read");
        }
        Ok(())
    }

    /// Takes the whole lines out of the buffer; gives the number of those that are no records.
    fn take_lines(&self, buffer: &mut Vec<u8>) -> u64 {
        let Some(end) = buffer.iter().rposition(|&b| b == b'\n') else { return 0 };
        let lines: Vec<u8> = buffer.drain(..=end).collect();
        let (mut reports, mut refused, now) = (Vec::new(), 0, clock::now());
        for line in lines.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match Record::parse(line, self.padding) {
                Ok(record) => reports.extend(record.report(self.padding, &self.zone, now)),
                Err(error) => {
                    refused += 1;
                    tracing::debug!(source = self.source, %error, "a line of SMDR");
                }
            }
        }
        for reports in reports.chunks(AT_ONCE_MAX) {
            let reports = reports.iter().map(|report| report.clone().said_by(&self.source)).collect();
            if self.takes.take(reports).is_none() {
                tracing::warn!(source = self.source, "the recorder does not answer: SMDR records are lost");
            }
        }
        refused
    }
}

/// Calls `run` until it is stopped, with longer and longer pauses while it fails.
fn again(stop: &AtomicBool, mut run: impl FnMut() -> io::Result<()>) {
    let [first, most] = AGAIN;
    let mut pause = first;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if let Err(error) = run() {
            tracing::debug!(%error, "an SMDR connection");
        }
        pause = if begun.elapsed() > most { first } else { pause };
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(LOOK_EVERY);
        }
        pause = (pause * 2).min(most);
    }
}

/// Local mode: every logger that is connected gets every record.
fn serve(listener: &TcpListener, from: &[IpAddr], outlet: &Outlet, stop: &AtomicBool) {
    let mut loggers: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Some((stream, peer)) = next(listener, from) {
            if loggers.len() >= CONNECTIONS_MAX || stream.set_write_timeout(Some(CONNECT)).is_err() {
                tracing::warn!(%peer, max = CONNECTIONS_MAX, "SMDR refuses a logger");
            } else {
                loggers.push(stream);
            }
        }
        // One that has gone is noticed before a record is spent on it.
        loggers.retain(is_there);
        while !loggers.is_empty()
            && let Some(record) = outlet.take()
        {
            loggers.retain_mut(|logger| logger.write_all(&record).is_ok());
            if loggers.is_empty() {
                outlet.put_back(record);
            }
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Push mode: one logger, connected to again and again.
fn push(address: SocketAddr, outlet: &Outlet, stop: &AtomicBool) {
    again(stop, || {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_write_timeout(Some(CONNECT))?;
        tracing::info!(%address, "connected to a call logger");
        while !stop.load(Ordering::Relaxed) && is_there(&stream) {
            while let Some(record) = outlet.take() {
                if let Err(error) = stream.write_all(&record) {
                    outlet.put_back(record);
                    return Err(error);
                }
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    });
}

/// A logger says nothing; when it ends the connection, that can be read.
fn is_there(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let there = match stream.peek(&mut [0; 1]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => is_pause(&error),
    };
    there && stream.set_nonblocking(false).is_ok()
}

/// The recorder's side: its events as records.
pub(crate) struct Logger {
    teller: policy::smdr::teller::Teller,
    outlets: Outlets,
}

impl Logger {
    pub(crate) fn new(zone: TimeZone, outlets: Outlets) -> Logger {
        Logger { teller: policy::smdr::teller::Teller::new(zone), outlets }
    }

    pub(crate) fn handle_event(&mut self, event: &decode::tracker::Event<'_>, rules: &policy::Rules) {
        self.teller.handle_event(event, rules);
        self.tell();
    }

    pub(crate) fn handle_known(
        &mut self,
        leg: decode::tracker::LegId,
        known: &policy::SegmentFacts,
        at: Timestamp,
    ) {
        self.teller.handle_known(leg, known, at);
        self.tell();
    }

    pub(crate) fn handle_queue(&mut self, leg: decode::tracker::LegId, group: &str, at: Timestamp) {
        self.teller.handle_queue(leg, group, at);
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(record) = self.teller.poll_record() {
            self.outlets.tell(&record);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::Ipv4Addr;

    use policy::feed::{Report, Word};
    use policy::gate::Told;
    use policy::smdr::{PADDING, RECORD_LEN, SmdrEvent};

    use super::*;

    /// Takes everything, and hands it to the test.
    #[derive(Clone)]
    struct Ear(crossbeam_channel::Sender<Report>);

    impl Takes for Ear {
        fn take(&self, reports: Vec<Report>) -> Option<Vec<Told>> {
            let told = reports.iter().map(|_| Told::default()).collect();
            reports.into_iter().for_each(|report| drop(self.0.send(report)));
            Some(told)
        }
    }

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn record(n: usize) -> Record {
        Record {
            at: "2026-11-20T09:30:00".parse().expect("a time"),
            is_inbound: true,
            call: n.to_string(),
            trunk: String::new(),
            endpoint: "2000".into(),
            source: String::new(),
            caller: "1632960001".into(),
            contact: "Ann Bee".into(),
            ddi: String::new(),
            dnis: String::new(),
            account_code: "77".into(),
            event: SmdrEvent::Modified,
        }
    }

    fn ways() -> Ways {
        let (connect, from) = (Vec::new(), Vec::new());
        Ways { connect, take: None, listen: None, push: None, from, padding: PADDING, zone: TimeZone::UTC }
    }

    fn call_of(line: &[u8]) -> String {
        assert_eq!(line.len(), RECORD_LEN + 2);
        Record::parse(line, PADDING).expect("a record").call
    }

    #[test]
    fn a_telephone_system_that_connects_or_is_connected_to_reports() {
        let (sender, heard) = crossbeam_channel::unbounded();
        let system = TcpListener::bind(ANY).expect("a port");
        let address = system.local_addr().expect("bound");
        let ways = Ways { take: Some(ANY), connect: vec![address], ..ways() };
        let sources = Sources::default();
        let (smdr, outlets, bound) = Smdr::start(&ways, Ear(sender), &sources).expect("listens");
        let mut pushed = TcpStream::connect(bound[0]).expect("connects");
        pushed.write_all(b"no record\r\n").expect("sent");
        pushed.write_all(&record(1).write(PADDING)).expect("sent");
        let (mut local, _) = system.accept().expect("it connects");
        local.write_all(&record(2).write(PADDING)).expect("sent");
        for _ in 0..2 {
            let report = heard.recv_timeout(Duration::from_secs(20)).expect("a report");
            assert_eq!(report.who, "smdr 127.0.0.1");
            assert!(matches!(report.word, Word::Facts(_, facts) if facts.len() == 4));
        }
        let system = || sources.look(clock::now()).into_iter().find(|source| source.name == "smdr 127.0.0.1");
        assert!(system().is_some_and(|system| system.up && system.last_heard.is_some()));
        smdr.stop(&outlets);
        assert!(system().is_some_and(|system| !system.up));
    }

    #[test]
    fn records_wait_for_a_logger_and_the_oldest_goes_when_there_are_too_many() {
        let (sender, _) = crossbeam_channel::unbounded();
        let logger = TcpListener::bind(ANY).expect("a port");
        let push = Some(logger.local_addr().expect("bound"));
        let (smdr, outlets, bound) =
            Smdr::start(&Ways { listen: Some(ANY), push, ..ways() }, Ear(sender), &Sources::default())
                .expect("listens");
        let (pushed, _) = logger.accept().expect("it connects");
        for n in 1..=KEPT_MAX + 2 {
            outlets.tell(&record(n));
        }
        // The one that is there gets what it could take; of those for nobody the newest thousand are kept.
        let mut line = Vec::new();
        BufReader::new(pushed).read_until(b'\n', &mut line).expect("a record");
        assert!(!line.is_empty());
        let mut local = BufReader::new(TcpStream::connect(bound[0]).expect("connects"));
        for n in 3..=KEPT_MAX + 2 {
            line.clear();
            local.read_until(b'\n', &mut line).expect("a record");
            assert_eq!(call_of(&line), n.to_string());
        }
        assert!(outlets.dropped() >= 2);
        // It goes away and comes back: what came meanwhile is there.
        drop(local);
        let begun = Instant::now();
        let local = &outlets.outlets[0];
        loop {
            outlets.tell(&record(7));
            std::thread::park_timeout(2 * LOOK_EVERY);
            if local.lock().len() > 1 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "that it has gone is not noticed");
        }
        let mut again = BufReader::new(TcpStream::connect(bound[0]).expect("connects"));
        line.clear();
        again.read_until(b'\n', &mut line).expect("a record");
        assert_eq!(call_of(&line), "7");
        smdr.stop(&outlets);
    }

    #[test]
    fn who_is_not_named_gets_nothing() {
        let (sender, _) = crossbeam_channel::unbounded();
        let from = vec!["192.0.2.1".parse().expect("an address")];
        let (smdr, outlets, bound) =
            Smdr::start(&Ways { listen: Some(ANY), from, ..ways() }, Ear(sender), &Sources::default())
                .expect("listens");
        outlets.tell(&record(1));
        let mut stream = TcpStream::connect(bound[0]).expect("connects");
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or_default(), 0, "closed");
        assert_eq!(outlets.outlets[0].lock().len(), 1);
        smdr.stop(&outlets);
    }
}
