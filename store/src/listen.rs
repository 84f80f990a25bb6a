//! Listening to a recording that runs: what the disk gets, a listener gets, and nothing else.
//!
//! The writer of each running recording has a tail here. While nobody listens it costs one relaxed load for each chunk. When
//! somebody does, the content of a chunk is copied once, before it is sealed, and handed to all listeners when the disk thread
//! has been given the sealed one: a pause, an exclusion or a recording that can no longer be written is silent here as it is on
//! disk. A listener's queue is bounded: who does not keep up loses the oldest chunks and is told how many; the recorder never
//! waits. What is heard was never in a file in clear, and is wiped when the last listener has let go of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use decode::{Party, Timestamp};
use zeroize::Zeroizing;

use crate::disk::locked;
use crate::record::{Content, Mark, Record, RecordError};
use crate::shared::Shared;
use crate::{Archive, RecordingId};

/// Chunks that wait for one listener: 2.4 s of a call. The oldest gives way.
pub const LISTENER_CHUNKS_MAX: usize = 16;
/// Listeners of one recording; there is no tap for the next one.
pub const LISTENERS_MAX: usize = 100;

/// What stands still of a recording at one moment: what a listener must know who comes in, or who lost chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Paused since then.
    pub paused: Option<Timestamp>,
    /// Put on hold by the near, by the far party.
    pub held: [bool; 2],
}

impl Standing {
    /// Takes in a mark.
    pub fn handle_mark(&mut self, at: Timestamp, mark: &Mark) {
        match mark {
            Mark::PauseStart { .. } => drop(self.paused.get_or_insert(at)),
            Mark::PauseEnd { .. } => self.paused = None,
            Mark::Hold { by } => self.hold(*by, true),
            Mark::Retrieve { by } => self.hold(*by, false),
            Mark::Digit { .. } | Mark::SenderReport { .. } | Mark::CaptureDrops { .. } => {}
        }
    }

    fn hold(&mut self, by: Party, is_held: bool) {
        if let Some(held) = self.held.get_mut(by.index()) {
            *held = is_held;
        }
    }

    /// Is the call on hold, by either?
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.contains(&true)
    }
}

/// One chunk as it went to the disk, in clear. Its `Debug` shows none of it.
pub struct LiveChunk {
    first: Timestamp,
    latest: Timestamp,
    before: Standing,
    content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for LiveChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveChunk")
            .field("first", &self.first)
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}

impl LiveChunk {
    /// Capture time of its first record.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        self.first
    }

    /// The latest capture time in it.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// What stood before its first record.
    #[must_use]
    pub fn before(&self) -> Standing {
        self.before
    }

    /// Its records, in the order in which they were written. SIP messages are not passed over here; what a listener does not need
    /// it lets go.
    ///
    /// # Errors
    /// What `each` gives; [`RecordError`] is a bug of the writer's and ends the records.
    pub fn for_each(&self, mut each: impl FnMut(Record<'_>)) -> Result<(), RecordError> {
        let content = Content::parse(&self.content, self.first);
        content.records().try_for_each(|record| record.map(&mut each))
    }
}

/// How a recording ended for those who listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveEnd {
    /// The call did, or its segment.
    Finished,
    /// A rule excluded it: it is destroyed.
    Discarded,
    /// It can no longer be written, or the archive is closed.
    Interrupted,
}

/// What a listener is given next.
#[derive(Clone, Debug)]
pub enum Live {
    /// Audio and marks.
    Chunk(Arc<LiveChunk>),
    /// So many chunks were lost, because the listener did not keep up. The next one says what stood before it.
    Lagged(u64),
    /// Nothing comes any more.
    Ended(LiveEnd),
}

/// A listener's end of a running recording; dropped, it listens no more.
pub struct LiveTap {
    id: RecordingId,
    started: Timestamp,
    standing: Standing,
    tail: Arc<Tail>,
    queue: Arc<Mutex<Queue>>,
}

impl fmt::Debug for LiveTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTap").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LiveTap {
    /// The recording.
    #[must_use]
    pub fn id(&self) -> RecordingId {
        self.id
    }

    /// Where its timeline begins.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// What stood when listening began. A mark of it may come again with the next chunk.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What comes next. May be dropped before it is ready: nothing is lost.
    pub async fn next(&mut self) -> Live {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for whoever polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Live> {
        let mut queue = locked(&self.queue);
        match queue.take() {
            Some(live) => Poll::Ready(live),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// What is there already; none when that is nothing.
    pub fn try_next(&mut self) -> Option<Live> {
        locked(&self.queue).take()
    }
}

impl Drop for LiveTap {
    fn drop(&mut self) {
        let mut inner = locked(&self.tail.inner);
        inner.listeners.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.tail.listeners.store(inner.listeners.len(), Ordering::Relaxed);
    }
}

/// What waits for one listener.
#[derive(Default)]
struct Queue {
    chunks: VecDeque<Arc<LiveChunk>>,
    /// Chunks that gave way since the listener was told last.
    lost: u64,
    ended: Option<LiveEnd>,
    waker: Option<Waker>,
}

impl Queue {
    fn take(&mut self) -> Option<Live> {
        match std::mem::take(&mut self.lost) {
            0 => {}
            lost => return Some(Live::Lagged(lost)),
        }
        self.chunks.pop_front().map(Live::Chunk).or(self.ended.map(Live::Ended))
    }
}

/// The writer's end.
#[derive(Default)]
pub(crate) struct Tail {
    /// How many listen: read once for each chunk.
    listeners: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    listeners: Vec<Arc<Mutex<Queue>>>,
    /// With the marks of the open chunk.
    standing: Standing,
    /// Behind the last chunk that was published.
    before: Standing,
    ended: Option<LiveEnd>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Tail {
    /// Notes a mark that went into the open chunk: marks are rare, so somebody who comes in later finds what stands.
    pub(crate) fn note(&self, at: Timestamp, mark: &Mark) {
        locked(&self.inner).standing.handle_mark(at, mark);
    }

    /// A copy of the open chunk's content when somebody listens; to be [published](Tail::publish) when the disk has it.
    #[inline]
    pub(crate) fn copy(&self, first: Timestamp, latest: Timestamp, content: &[u8]) -> Option<LiveChunk> {
        if self.listeners.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let before = locked(&self.inner).before;
        Some(LiveChunk { first, latest, before, content: Zeroizing::new(content.to_vec()) })
    }

    /// With the marks of the open chunk.
    pub(crate) fn standing(&self) -> Standing {
        locked(&self.inner).standing
    }

    /// A chunk has gone to the disk: with its content, if somebody listened when it was sealed, and with what stands behind it, where it
    /// has marks.
    pub(crate) fn publish(&self, chunk: Option<LiveChunk>, standing: Option<Standing>) {
        if chunk.is_none() && standing.is_none() {
            return;
        }
        let mut wakers = Vec::new();
        let mut inner = locked(&self.inner);
        inner.before = standing.unwrap_or(inner.before);
        if let Some(chunk) = chunk.map(Arc::new) {
            for queue in &inner.listeners {
                let mut queue = locked(queue);
                if queue.chunks.len() >= LISTENER_CHUNKS_MAX {
                    queue.chunks.pop_front();
                    queue.lost = queue.lost.saturating_add(1);
                }
                queue.chunks.push_back(Arc::clone(&chunk));
                wakers.extend(queue.waker.take());
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing more comes. The first word counts.
    pub(crate) fn end(&self, how: LiveEnd) {
        let mut wakers = Vec::new();
        let mut inner = locked(&self.inner);
        if inner.ended.is_some() {
            return;
        }
        inner.ended = Some(how);
        for queue in &inner.listeners {
            let mut queue = locked(queue);
            if how == LiveEnd::Discarded {
                // What is destroyed is not played to its end.
                queue.chunks.clear();
            }
            queue.ended = Some(how);
            wakers.extend(queue.waker.take());
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn listen(self: &Arc<Self>, id: RecordingId, started: Timestamp) -> Option<LiveTap> {
        let mut inner = locked(&self.inner);
        if inner.ended.is_some() || inner.listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let queue = Arc::new(Mutex::new(Queue::default()));
        inner.listeners.push(Arc::clone(&queue));
        self.listeners.store(inner.listeners.len(), Ordering::Relaxed);
        Some(LiveTap { id, started, standing: inner.standing, tail: Arc::clone(self), queue })
    }
}

impl Shared {
    /// Makes the tail of a recording that begins.
    pub(crate) fn begin_tail(&self, id: RecordingId) -> Arc<Tail> {
        let tail = Arc::new(Tail::default());
        locked(&self.tails).insert(id, Arc::clone(&tail));
        tail
    }

    /// A recording has no tail any more.
    pub(crate) fn end_tail(&self, id: RecordingId, tail: &Tail, how: LiveEnd) {
        locked(&self.tails).remove(&id);
        tail.end(how);
    }

    /// The archive is being closed: nobody hears anything any more.
    pub(crate) fn end_tails(&self) {
        let tails = std::mem::take(&mut *locked(&self.tails));
        tails.values().for_each(|tail| tail.end(LiveEnd::Interrupted));
    }
}

impl Archive {
    /// Listens to a recording that runs, from its next chunk on; none when it does not run, is kept by nobody, or when
    /// [`LISTENERS_MAX`] listen already. No key is needed: what is heard has not been sealed yet.
    #[must_use]
    pub fn listen(&self, id: RecordingId) -> Option<LiveTap> {
        let started = locked(&self.shared.live).get(&id)?.facts.started;
        let tail = locked(&self.shared.tails).get(&id).cloned()?;
        tail.listen(id, started)
    }
}
