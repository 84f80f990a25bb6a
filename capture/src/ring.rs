//! Mirror ports and HEP sockets at work: threads empty the kernel's buffers into a bounded ring, which is a
//! [`FrameSource`].
//!
//! Nothing downstream holds a capture thread up: when the ring is full, what comes is dropped and counted. Frames travel
//! in batches, whose buffers go back to the threads when they are read, so that a running capture allocates nothing.
//! A port that fails is opened again every [`REOPEN_EVERY`], and its reader is told once.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use decode::{Frame, Timestamp};
use pcap::BreakLoop;

use crate::link::Links;
use crate::port::{CLOCK_OFF_MS_MAX, TimeStamps};
use crate::{
    Adapter, Advance, Counters, EndpointListener, Error, FrameSource, HepListener, MirrorPort, PortOptions,
    port,
};

/// The most bytes of frames in one batch (a longer frame still gets its own); a batch is handed over at least every 20 ms. Small, so that those in
/// turn stay in the processor's caches.
pub const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Batches that may wait in a ring, whatever their size: more than a minute of a quiet port.
pub const RING_BATCHES_MAX: usize = 4096;
/// Empty batches kept for use again: 4 MiB.
const SPARE_BATCHES_MAX: usize = 32;
/// Between two tries to open a lost port.
const REOPEN_EVERY: Duration = Duration::from_secs(1);
/// Capture time between two questions to the kernel how much it dropped.
const STATISTICS_EVERY_MS: u64 = 500;

/// Frames of one port, one behind the other.
pub(crate) struct Batch {
    port: usize,
    link: u16,
    bytes: Vec<u8>,
    frames: Vec<Record>,
}

struct Record {
    at: Timestamp,
    wire_len: u32,
    /// End in the batch's bytes; it begins where the one before ends.
    end: usize,
}

pub(crate) enum Message {
    Batch(Batch),
    Trouble(Error),
}

/// What the threads and the reader share.
pub(crate) struct Shared {
    pub(crate) ports: Vec<Port>,
    /// Bytes of frames in the channel.
    queued: AtomicUsize,
    ring_bytes: usize,
    /// Empty batches, for use again: the last one given back first, while caches still have it.
    spares: Mutex<Vec<Batch>>,
    stop: AtomicBool,
    /// Wake a thread that waits for frames; one per open port.
    wakers: Mutex<Vec<Option<BreakLoop>>>,
}

/// One port's name and numbers.
pub(crate) struct Port {
    interface: String,
    pub(crate) up: AtomicBool,
    /// Its adapter has a link, as far as that is known.
    pub(crate) has_link: AtomicBool,
    /// In nanoseconds; `i64::MIN` before the first.
    last_frame: AtomicI64,
    dropped_kernel: AtomicU64,
    dropped_interface: AtomicU64,
    dropped_ring: AtomicU64,
    refused: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    outages: AtomicU64,
    away_ms: AtomicU64,
    /// Nothing is taken from it any more.
    pub(crate) closed: AtomicBool,
}

/// How a port is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// Its interface.
    pub interface: String,
    /// Open, and with a link; false while it is lost.
    pub up: bool,
    /// Capture time of the last frame taken; none before the first.
    pub last_frame: Option<Timestamp>,
    /// Since the ring was started, over all times that the port was opened. `frames` and `bytes` count what came from
    /// the kernel, read or dropped by the ring.
    pub counters: Counters,
    /// How often it was lost or not there, and for how long in all, in milliseconds; an outage that lasts is not among them.
    pub outages: u64,
    /// See above.
    pub away_ms: u64,
}

/// Running mirror ports, as one source of frames; a frame's `source` is its port's place in the list given.
///
/// Frames of one port come in the kernel's order, those of two ports up to a batch apart.
pub struct Ring {
    receiver: Option<Receiver<Message>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    batch: Option<Batch>,
    /// In the batch: which frame comes next, and where it and the current one begin.
    next: usize,
    from: usize,
    to: usize,
    frames: u64,
    bytes: u64,
    stopper: Stopper,
}

/// Ends a [`Ring`] from another thread: what was captured is still given, then the ring is at its end.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
    /// Dropped to wake the threads that wait to open a lost port.
    awake: Arc<Mutex<Option<Sender<()>>>>,
}

impl Stopper {
    /// Stops all ports. May be called more than once.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.awake.lock().unwrap_or_else(PoisonError::into_inner).take();
        for waker in self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten() {
            waker.breakloop();
        }
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").field("stopped", &self.shared.stop).finish_non_exhaustive()
    }
}

/// Reads how the ports of a [`Ring`] are doing, from anywhere.
#[derive(Clone)]
pub struct Gauges(Arc<Shared>);

impl Gauges {
    /// How the ports are doing that are not closed, in the order given.
    #[must_use]
    pub fn ports(&self) -> Vec<PortStatus> {
        self.0.status()
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gauges").field(&self.ports()).finish()
    }
}

impl Shared {
    fn status(&self) -> Vec<PortStatus> {
        let status = |port: &Port| PortStatus {
            interface: port.interface.clone(),
            up: port.up.load(Ordering::Relaxed) && port.has_link.load(Ordering::Relaxed),
            last_frame: Some(port.last_frame.load(Ordering::Relaxed))
                .filter(|&nanos| nanos != i64::MIN)
                .map(Timestamp::from_nanos),
            counters: port.counters(),
            outages: port.outages.load(Ordering::Relaxed),
            away_ms: port.away_ms.load(Ordering::Relaxed),
        };
        self.ports.iter().filter(|port| !port.closed.load(Ordering::Relaxed)).map(status).collect()
    }
}

/// Sockets that frames are made of.
#[derive(Debug)]
pub enum Listener {
    /// What agents send.
    Hep(HepListener),
    /// Calls that a PBX sends.
    Endpoint(Box<EndpointListener>),
}

impl From<HepListener> for Listener {
    fn from(listener: HepListener) -> Listener {
        Listener::Hep(listener)
    }
}

impl From<EndpointListener> for Listener {
    fn from(listener: EndpointListener) -> Listener {
        Listener::Endpoint(Box::new(listener))
    }
}

impl Listener {
    fn name(&self) -> String {
        match self {
            Listener::Hep(listener) => listener.name(),
            Listener::Endpoint(listener) => listener.name(),
        }
    }

    fn start(self, sink: Sink, asleep: Receiver<()>) -> std::io::Result<Vec<JoinHandle<()>>> {
        match self {
            Listener::Hep(listener) => listener.start(sink, asleep).map(Vec::from),
            Listener::Endpoint(listener) => listener.start(sink).map(|thread| vec![thread]),
        }
    }
}

impl Ring {
    /// Starts a capture thread for each port; at most `ring_bytes` of frames wait for the reader.
    ///
    /// # Errors
    ///
    /// [`Error::Port`] when the system gives no thread.
    pub fn start(ports: Vec<MirrorPort>, ring_bytes: usize) -> Result<Ring, Error> {
        let adapters = ports.into_iter().map(Adapter::Open).collect();
        Ring::start_with(adapters, Vec::<Listener>::new(), ring_bytes)
    }

    /// The same, also with adapters that are waited for, and with sockets, which stand behind the adapters in the order of sources.
    ///
    /// # Errors
    ///
    /// As [`Ring::start`].
    pub fn start_with(
        adapters: Vec<Adapter>,
        listeners: Vec<impl Into<Listener>>,
        ring_bytes: usize,
    ) -> Result<Ring, Error> {
        let listeners: Vec<Listener> = listeners.into_iter().map(Into::into).collect();
        let names: Vec<String> = listeners.iter().map(Listener::name).collect();
        let interfaces = adapters.iter().map(|adapter| adapter.options().interface.as_str());
        let (mut ring, sinks, asleep) =
            Ring::wired(interfaces.chain(names.iter().map(String::as_str)), ring_bytes);
        if let Some(sink) = sinks.first().filter(|_| !adapters.is_empty()) {
            let watched = adapters.iter().map(|adapter| adapter.options().interface.as_str());
            let links = Links::new(watched, &sink.shared, &sink.sender);
            let asleep = asleep.clone();
            let thread = std::thread::Builder::new()
                .name("capture links".to_owned())
                .spawn(move || links.run(&asleep))
                .map_err(|error| Error::Port { interface: "any".to_owned(), message: error.to_string() })?;
            ring.threads.push(thread);
        }
        let mut sinks = sinks.into_iter();
        for (adapter, mut sink) in adapters.into_iter().zip(sinks.by_ref()) {
            let options = adapter.options().clone();
            let interface = options.interface.clone();
            let port = match adapter {
                Adapter::Open(port) => Some(port),
                Adapter::Awaited(..) => None,
            };
            sink.link = port.as_ref().map_or(0, MirrorPort::link);
            sink.up(port.is_some());
            let worker = Worker { options, sink, asleep: asleep.clone(), away_since: None };
            // Dropping the ring on this error stops the threads that run already.
            let thread = std::thread::Builder::new()
                .name(format!("capture {interface}"))
                .spawn(move || worker.run(port))
                .map_err(|error| Error::Port { interface, message: error.to_string() })?;
            ring.threads.push(thread);
        }
        for ((listener, sink), name) in listeners.into_iter().zip(sinks).zip(names) {
            let threads = listener
                .start(sink, asleep.clone())
                .map_err(|error| Error::Port { interface: name, message: error.to_string() })?;
            ring.threads.extend(threads);
        }
        Ok(ring)
    }

    /// A ring without threads, and where these will put their frames.
    pub(crate) fn wired<'a>(
        interfaces: impl Iterator<Item = &'a str>,
        ring_bytes: usize,
    ) -> (Ring, Vec<Sink>, Receiver<()>) {
        let (sender, receiver) = bounded(RING_BATCHES_MAX);
        let (awake, asleep) = bounded(0);
        let ports: Vec<Port> = interfaces.map(Port::new).collect();
        let shared = Arc::new(Shared {
            wakers: Mutex::new(ports.iter().map(|_| None).collect()),
            ports,
            queued: AtomicUsize::new(0),
            ring_bytes,
            spares: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let sinks = (0..shared.ports.len())
            .map(|port| Sink { port, link: 0, shared: shared.clone(), sender: sender.clone(), batch: None })
            .collect();
        let stopper = Stopper { shared: shared.clone(), awake: Arc::new(Mutex::new(Some(awake))) };
        let ring = Ring {
            receiver: Some(receiver),
            shared,
            threads: Vec::new(),
            batch: None,
            next: 0,
            from: 0,
            to: 0,
            frames: 0,
            bytes: 0,
            stopper,
        };
        (ring, sinks, asleep)
    }

    /// A handle to stop the ring with.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Takes nothing more from the port in this place of those given, for good: its thread ends and lets the adapter go. What it had handed
    /// over before still comes, and the other ports keep their places.
    pub fn close(&self, port: usize) {
        if let Some(port) = self.shared.ports.get(port) {
            port.closed.store(true, Ordering::SeqCst);
        }
        if let Some(Some(waker)) = self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner).get(port)
        {
            waker.breakloop();
        }
    }

    /// How the ports are doing that are not closed, in the order given.
    #[must_use]
    pub fn ports(&self) -> Vec<PortStatus> {
        self.shared.status()
    }

    /// The same for whoever has the ring no more: it was handed to its reader.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges(self.shared.clone())
    }

    /// Goes to the next frame of the batch in hand.
    fn step(&mut self) -> bool {
        let Some(record) = self.batch.as_ref().and_then(|batch| batch.frames.get(self.next)) else {
            return false;
        };
        self.from = self.to;
        self.to = record.end;
        self.next += 1;
        self.frames += 1;
        self.bytes += (self.to - self.from) as u64;
        true
    }

    /// Gives the batch in hand back to the threads.
    fn give_back(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            self.shared.queued.fetch_sub(batch.bytes.len(), Ordering::AcqRel);
            batch.bytes.clear();
            batch.frames.clear();
            let mut spares = self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner);
            // When enough are spare, this one is freed.
            if spares.len() < SPARE_BATCHES_MAX {
                spares.push(batch);
            }
        }
        self.next = 0;
        self.from = 0;
        self.to = 0;
    }

    fn wait(&mut self, patience: Option<Duration>) -> Result<Advance, Error> {
        loop {
            if self.step() {
                return Ok(Advance::Frame);
            }
            self.give_back();
            let Some(receiver) = &self.receiver else { return Ok(Advance::End) };
            let message = match patience {
                Some(patience) => receiver.recv_timeout(patience),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Batch(batch)) => self.batch = Some(batch),
                Ok(Message::Trouble(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => return Ok(Advance::Idle),
                Err(RecvTimeoutError::Disconnected) => return Ok(Advance::End),
            }
        }
    }
}

impl FrameSource for Ring {
    fn advance(&mut self) -> Result<bool, Error> {
        Ok(self.wait(None)? == Advance::Frame)
    }

    fn advance_within(&mut self, patience: Duration) -> Result<Advance, Error> {
        self.wait(Some(patience))
    }

    #[inline]
    fn frame(&self) -> Option<Frame<'_>> {
        let batch = self.batch.as_ref()?;
        let record = batch.frames.get(self.next.checked_sub(1)?)?;
        Some(Frame {
            at: record.at,
            link: batch.link,
            source: u16::try_from(batch.port).unwrap_or(u16::MAX),
            wire_len: record.wire_len,
            data: batch.bytes.get(self.from..self.to)?,
        })
    }

    fn look_ahead<'a>(&'a self, places: &mut [Frame<'a>]) -> usize {
        let Some(batch) = &self.batch else { return 0 };
        let mut from = self.to;
        let mut found = 0;
        for (place, record) in places.iter_mut().zip(batch.frames.get(self.next..).unwrap_or_default()) {
            let Some(data) = batch.bytes.get(from..record.end) else { break };
            *place = Frame { link: batch.link, wire_len: record.wire_len, data, ..*place };
            from = record.end;
            found += 1;
        }
        found
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for port in &self.shared.ports {
            sum += port.counters();
        }
        Counters { frames: self.frames, bytes: self.bytes, ..sum }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.stopper.stop();
        // A thread that hands over its last batch must not wait for a reader that is gone.
        self.receiver = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("ports", &self.ports()).finish_non_exhaustive()
    }
}

impl Port {
    fn new(interface: &str) -> Port {
        Port {
            interface: interface.to_owned(),
            up: AtomicBool::new(true),
            has_link: AtomicBool::new(true),
            last_frame: AtomicI64::new(i64::MIN),
            dropped_kernel: AtomicU64::new(0),
            dropped_interface: AtomicU64::new(0),
            dropped_ring: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            away_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// It was away for so long.
    pub(crate) fn count_outage(&self, away_ms: u64) {
        self.outages.fetch_add(1, Ordering::Relaxed);
        self.away_ms.fetch_add(away_ms, Ordering::Relaxed);
    }

    fn counters(&self) -> Counters {
        Counters {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped_kernel: self.dropped_kernel.load(Ordering::Relaxed),
            dropped_interface: self.dropped_interface.load(Ordering::Relaxed),
            dropped_ring: self.dropped_ring.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            ..Counters::default()
        }
    }
}

/// Where a capture thread puts its frames.
pub(crate) struct Sink {
    port: usize,
    pub(crate) link: u16,
    shared: Arc<Shared>,
    sender: Sender<Message>,
    batch: Option<Batch>,
}

impl Sink {
    /// One for another thread of the same port.
    pub(crate) fn another(&self) -> Sink {
        Sink {
            port: self.port,
            link: self.link,
            shared: self.shared.clone(),
            sender: self.sender.clone(),
            batch: None,
        }
    }

    /// Has the ring been stopped, or this port closed?
    pub(crate) fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
            || self.shared.ports.get(self.port).is_some_and(|port| port.closed.load(Ordering::SeqCst))
    }

    /// The way in is open, or not.
    fn up(&self, up: bool) {
        if let Some(port) = self.shared.ports.get(self.port) {
            port.up.store(up, Ordering::Relaxed);
        }
    }

    /// Counts a packet that may not come in.
    pub(crate) fn refuse(&self) {
        if let Some(port) = self.shared.ports.get(self.port) {
            port.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts packets that the kernel dropped.
    pub(crate) fn kernel_dropped(&self, packets: u64) {
        if let Some(port) = self.shared.ports.get(self.port) {
            port.dropped_kernel.fetch_add(packets, Ordering::Relaxed);
        }
    }

    pub(crate) fn push(&mut self, at: Timestamp, wire_len: u32, data: &[u8]) {
        // Before it grows: a batch takes the same room for good.
        if self.batch.as_ref().is_some_and(|batch| batch.bytes.len() + data.len() > BATCH_BYTES_MAX) {
            self.hand_over();
        }
        let batch = self.batch.get_or_insert_with(|| {
            let spare = self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
            spare.unwrap_or_else(|| Batch { port: 0, link: 0, bytes: Vec::new(), frames: Vec::new() })
        });
        if batch.frames.is_empty() {
            // One that was another port's, or that the ring refused; and the port may have been opened anew since.
            (batch.port, batch.link) = (self.port, self.link);
        }
        let (len, room) = (batch.bytes.len(), batch.bytes.capacity());
        if len + data.len() > room {
            // By doubling, and no further than a batch goes.
            batch.bytes.reserve_exact(room.clamp(data.len(), BATCH_BYTES_MAX.max(len + data.len()) - len));
        }
        batch.bytes.extend_from_slice(data);
        batch.frames.push(Record { at, wire_len, end: batch.bytes.len() });
    }

    /// To the reader, or, when the ring is full, nowhere.
    pub(crate) fn hand_over(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let Some(port) = self.shared.ports.get(self.port) else { return };
        let (frames, bytes) = (batch.frames.len() as u64, batch.bytes.len());
        port.frames.fetch_add(frames, Ordering::Relaxed);
        port.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(last) = batch.frames.last() {
            port.last_frame.store(last.at.as_nanos(), Ordering::Relaxed);
        }
        let queued = self.shared.queued.fetch_add(bytes, Ordering::AcqRel);
        // An empty ring takes any batch, so that a ring smaller than one still passes frames.
        let refused = if queued > 0 && queued.saturating_add(bytes) > self.shared.ring_bytes {
            Some(batch)
        } else {
            match self.sender.try_send(Message::Batch(batch)) {
                Ok(()) => None,
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => match message {
                    Message::Batch(batch) => Some(batch),
                    Message::Trouble(_) => None,
                },
            }
        };
        if let Some(mut batch) = refused {
            self.shared.queued.fetch_sub(bytes, Ordering::AcqRel);
            port.dropped_ring.fetch_add(frames, Ordering::Relaxed);
            batch.bytes.clear();
            batch.frames.clear();
            self.batch = Some(batch);
        }
    }
}

/// A capture thread.
struct Worker {
    options: PortOptions,
    sink: Sink,
    /// Gives an error, and so wakes, when the ring is stopped.
    asleep: Receiver<()>,
    /// When the adapter was lost.
    away_since: Option<Instant>,
}

impl Worker {
    fn run(mut self, port: Option<MirrorPort>) {
        if port.is_none() {
            self.away_since = Some(Instant::now());
        }
        let mut open = port;
        while !self.stopped() {
            let Some(port) = open.take() else {
                // Nobody sends: this waits for the time to pass or the ring to stop.
                let _ = self.asleep.recv_timeout(REOPEN_EVERY);
                open = MirrorPort::open(self.options.clone()).ok();
                continue;
            };
            self.sink.link = port.link();
            self.sink.up(true);
            self.tell_missed();
            let failure = self.capture(port);
            self.sink.hand_over();
            if let Some(message) = failure {
                self.sink.up(false);
                self.away_since = Some(Instant::now());
                let interface = self.options.interface.clone();
                tracing::warn!(interface, message, "capture stopped, trying to go on");
                // A full ring drops this too; the port's status still tells it.
                let _ = self.sink.sender.try_send(Message::Trouble(Error::PortLost { interface, message }));
            }
        }
    }

    /// Empties one open port until the ring is stopped (`None`) or libpcap gives up (its message).
    fn capture(&mut self, port: MirrorPort) -> Option<String> {
        let mut capture = port.capture;
        self.register(Some(capture.breakloop_handle()));
        let (mut newest, mut asked) = (Timestamp::MIN, Timestamp::MIN);
        // An adapter's clock is believed when its first stamp is near the machine's.
        let mut doubted = match self.options.time_stamps {
            TimeStamps::Adapter { clock } => Some(clock),
            TimeStamps::Host => None,
        };
        let mut off_ms = None;
        // The kernel counts in 32 bits and from 0 at each opening.
        let (mut kernel, mut interface) = (0_u32, 0_u32);
        let failure = loop {
            if self.stopped() {
                break None;
            }
            let sink = &mut self.sink;
            let result = capture.dispatch(None, |packet| {
                let seconds = packet.header.ts.tv_sec;
                newest = Timestamp::from_parts(seconds, packet.header.ts.tv_usec.saturating_mul(1000));
                if let Some(clock) = doubted.take() {
                    off_ms = clock_is_off(newest, clock());
                }
                if off_ms.is_some() {
                    return;
                }
                sink.push(newest, packet.header.len, packet.data);
            });
            self.sink.hand_over();
            if let Some(off_ms) = off_ms {
                self.options.time_stamps = TimeStamps::Host;
                break Some(format!(
                    "the adapter's clock is {off_ms} ms off the machine's (is ptp4l running?): from now on the kernel stamps its frames"
                ));
            }
            // Or the clock was set back.
            if newest.millis_since(asked) >= STATISTICS_EVERY_MS || newest < asked || result.is_err() {
                asked = newest;
                if let (Ok(seen), Some(port)) = (capture.stats(), self.sink.shared.ports.get(self.sink.port))
                {
                    let more = u64::from(seen.dropped.wrapping_sub(kernel));
                    port.dropped_kernel.fetch_add(more, Ordering::Relaxed);
                    let more = u64::from(seen.if_dropped.wrapping_sub(interface));
                    port.dropped_interface.fetch_add(more, Ordering::Relaxed);
                    (kernel, interface) = (seen.dropped, seen.if_dropped);
                }
            }
            match result {
                // What a broken loop gives too: the next round looks whether the ring was stopped.
                Ok(_) | Err(pcap::Error::NoMorePackets | pcap::Error::TimeoutExpired) => {}
                Err(_) if self.stopped() => break None,
                Err(error) => break Some(port::message(&error)),
            }
        };
        self.register(None);
        failure
    }

    fn register(&self, waker: Option<BreakLoop>) {
        let mut wakers = self.sink.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = wakers.get_mut(self.sink.port) {
            *place = waker;
        }
    }

    fn stopped(&self) -> bool {
        self.sink.stopped()
    }

    /// The adapter is open again: says for how long it was not, before a frame of it comes.
    fn tell_missed(&mut self) {
        let Some(since) = self.away_since.take() else { return };
        let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(port) = self.sink.shared.ports.get(self.sink.port) {
            port.count_outage(away_ms);
        }
        let interface = self.options.interface.clone();
        // A full ring drops this too; the port's status still tells it.
        let _ = self.sink.sender.try_send(Message::Trouble(Error::Missed { interface, away_ms }));
    }
}

/// How far an adapter's stamp is from the machine's time, in milliseconds, where that is too far.
fn clock_is_off(stamp: Timestamp, now: Timestamp) -> Option<u64> {
    let off_ms = stamp.max(now).millis_since(stamp.min(now));
    (off_ms > CLOCK_OFF_MS_MAX).then_some(off_ms)
}

#[cfg(test)]
impl Ring {
    /// The next trouble that was told, if there is one.
    pub(crate) fn heard(&self) -> Option<Error> {
        match self.receiver.as_ref()?.try_recv().ok()? {
            Message::Trouble(error) => Some(error),
            Message::Batch(_) => None,
        }
    }
}

#[cfg(test)]
impl Sink {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn sender(&self) -> &Sender<Message> {
        &self.sender
    }
}

#[cfg(test)]
mod tests;
