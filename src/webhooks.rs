//! Telling webhooks what the ledger says, each in its own time: a thread for each, which goes on where it was told to last, also after a restart.
//!
//! Nothing here holds up the recorder: what is told is read from the ledger. A message that is not taken is tried again for a day, while the next ones
//! wait, so that a program is told in order; then it is given up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use policy::Permission;
use store::{Archive, NewsLine, NewsPlace, ReaderPlace, Webhook};
use web::webhooks::{Message, WebhookState, Webhooks};

use crate::clock;
use crate::failure::Failure;
use crate::http::Address;
use crate::standard_webhook::{self, NotTaken};

#[cfg(test)]
mod tests;

/// Lines of the ledger that are read at a time.
const LINES_MAX: usize = 100;
/// A message gone for good (RFC 9110, 15.5.11).
const GONE: u16 = 410;
/// How long the end waits for messages that are on their way.
const END_WAIT: Duration = Duration::from_secs(2);

/// How long is waited for what.
#[derive(Clone, Debug)]
struct Times {
    /// Between two looks whether there are other webhooks.
    look: Duration,
    /// Between two looks whether the ledger has something new.
    read: Duration,
    /// How long the hash of a finished file is waited for; where the index was lost it comes much later.
    hash: Duration,
    /// Between two looks at the ledger while it has not grown.
    read_all_the_same: Duration,
    /// Between two times that places are kept: what is told twice after a crash.
    keep: Duration,
    /// Before the first tries of a message after the one that failed; the last one counts for all others.
    retries: Vec<Duration>,
    /// When a message is given up.
    give_up: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let retries = [5, 30, 120, 600, 1_800, 3_600].map(Duration::from_secs).into();
        Times {
            look: Duration::from_millis(250),
            read: Duration::from_secs(1),
            hash: Duration::from_secs(5),
            read_all_the_same: Duration::from_secs(60),
            keep: Duration::from_secs(1),
            retries,
            give_up: Duration::from_secs(24 * 3_600),
        }
    }
}

/// What is known of one webhook.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<WebhookState>,
    place: Mutex<NewsPlace>,
    /// The place was not kept since it changed.
    is_new: AtomicBool,
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut WebhookState)) {
        change(&mut locked(&self.state));
    }

    fn put(&self, place: NewsPlace) {
        *locked(&self.place) = place;
        self.is_new.store(true, Ordering::Release);
    }
}

type Desks = Arc<Mutex<BTreeMap<String, Arc<Desk>>>>;

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads that tell.
pub(crate) struct Tellers {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    shown: Shown,
}

/// What pages see of them.
#[derive(Clone)]
pub(crate) struct Shown {
    desks: Desks,
    archive: Weak<Archive>,
}

impl Webhooks for Shown {
    fn state(&self, name: &str) -> WebhookState {
        let desk = locked(&self.desks).get(&name.to_lowercase()).cloned();
        desk.map_or_else(WebhookState::default, |desk| locked(&desk.state).clone())
    }

    fn test(&self, name: &str) -> Result<u16, String> {
        let archive = self.archive.upgrade().ok_or("the archive is being closed")?;
        let webhook = archive.accounts().webhook(name).cloned().ok_or("there is no such webhook any more")?;
        let message = Message::test(&archive, &webhook.name, clock::now());
        drop(archive);
        post(&webhook, &message).map_err(|error| error.to_string())
    }
}

fn post(webhook: &Webhook, message: &Message) -> Result<u16, NotTaken> {
    let address: Address = webhook.address.parse().map_err(NotTaken::Away)?;
    let body = message.body.to_string();
    standard_webhook::post(&address, &message.id, clock::now(), &body, Some(webhook.secret.bytes()))
}

impl Tellers {
    /// Starts to tell the archive's webhooks, those that are made later, too.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(archive: &Arc<Archive>) -> Result<Tellers, Failure> {
        Tellers::with_times(archive, Times::default())
    }

    fn with_times(archive: &Arc<Archive>, times: Times) -> Result<Tellers, Failure> {
        let shown = Shown { desks: Desks::default(), archive: Arc::downgrade(archive) };
        let (stop, stopped) = bounded(0);
        let office = Office {
            archive: Arc::downgrade(archive),
            desks: Arc::clone(&shown.desks),
            times,
            tellers: BTreeMap::new(),
        };
        let thread =
            std::thread::Builder::new().name("webhooks".into()).spawn(move || office.run(&stopped))?;
        Ok(Tellers { stop, thread, shown })
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Tells nothing more, and keeps how far it came.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // Its panic is in the log.
        let _ = self.thread.join();
    }
}

/// One thread that tells.
struct Teller {
    webhook: Webhook,
    desk: Arc<Desk>,
    /// Dropped to end it.
    stop: Option<Sender<()>>,
    thread: JoinHandle<()>,
}

/// Whoever starts and ends them, and keeps their places.
struct Office {
    archive: Weak<Archive>,
    desks: Desks,
    times: Times,
    /// By name in lower case.
    tellers: BTreeMap<String, Teller>,
}

impl Office {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut seen = None;
        let mut kept = Instant::now();
        loop {
            // The archive is closed by whoever else has it.
            if let Some(archive) = self.archive.upgrade() {
                let accounts = archive.accounts();
                if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &accounts)) {
                    self.follow(&archive, accounts.webhooks());
                    seen = Some(accounts);
                }
                if kept.elapsed() >= self.times.keep {
                    self.keep(&archive);
                    kept = Instant::now();
                }
            }
            if !matches!(stopped.recv_timeout(self.times.look), Err(RecvTimeoutError::Timeout)) {
                break;
            }
        }
        self.tellers.values_mut().for_each(|teller| teller.stop = None);
        // One that waits for an answer is left alone: its message is told again.
        let deadline = Instant::now() + END_WAIT;
        while !self.tellers.values().all(|teller| teller.thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(archive) = self.archive.upgrade() {
            self.keep(&archive);
        }
    }

    /// These are the webhooks from now on.
    fn follow(&mut self, archive: &Archive, webhooks: &[Webhook]) {
        self.tellers.retain(|_, teller| webhooks.contains(&teller.webhook));
        let places = archive.reader_places();
        for webhook in webhooks {
            let key = webhook.name.to_lowercase();
            if self.tellers.contains_key(&key) {
                continue;
            }
            let known = places.get(&key).filter(|place| place.made == webhook.made);
            let place = known.map_or_else(|| archive.news_from_now(), |known| Ok(known.place.clone()));
            match place.map_err(Failure::from).and_then(|place| self.teller(webhook, place)) {
                Ok(teller) => {
                    self.tellers.insert(key, teller);
                }
                Err(error) => tracing::error!(webhook = webhook.name, %error, "a webhook is not told"),
            }
        }
        let desks = self.tellers.iter().map(|(key, teller)| (key.clone(), Arc::clone(&teller.desk)));
        *locked(&self.desks) = desks.collect();
    }

    fn teller(&self, webhook: &Webhook, place: NewsPlace) -> Result<Teller, Failure> {
        let desk = Arc::new(Desk::default());
        // A new one is known from its beginning on.
        desk.put(place.clone());
        let (stop, stopped) = bounded(0);
        let telling = Telling {
            archive: Weak::clone(&self.archive),
            webhook: webhook.clone(),
            desk: Arc::clone(&desk),
            times: self.times.clone(),
            stopped,
        };
        let thread = std::thread::Builder::new().name("webhook".into()).spawn(move || telling.run(place))?;
        Ok(Teller { webhook: webhook.clone(), desk, stop: Some(stop), thread })
    }

    /// Keeps how far each was told.
    fn keep(&self, archive: &Archive) {
        let known = archive.reader_places();
        let mut is_new = false;
        for teller in self.tellers.values() {
            is_new |= teller.desk.is_new.swap(false, Ordering::AcqRel);
        }
        if !is_new && known.keys().eq(self.tellers.keys()) {
            return;
        }
        let place = |teller: &Teller| ReaderPlace {
            made: teller.webhook.made,
            place: locked(&teller.desk.place).clone(),
        };
        let places = self.tellers.iter().map(|(key, teller)| (key.clone(), place(teller)));
        if let Err(error) = archive.keep_reader_places(places.collect()) {
            tracing::error!(%error, "how far webhooks were told is not kept: they are told it again after a restart");
        }
    }
}

/// Why nothing more is told.
struct Ended;

/// Telling one webhook.
struct Telling {
    archive: Weak<Archive>,
    webhook: Webhook,
    desk: Arc<Desk>,
    times: Times,
    stopped: Receiver<()>,
}

impl Telling {
    fn run(self, mut place: NewsPlace) {
        // Ends when it is told to, or with the archive.
        let mut size = None;
        while self.tell_some(&mut place, &mut size).is_ok() {}
    }

    /// Waits; an end when it is told to stop.
    fn wait(&self, time: Duration) -> Result<(), Ended> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Ended),
        }
    }

    fn archive(&self) -> Result<Arc<Archive>, Ended> {
        self.archive.upgrade().ok_or(Ended)
    }

    /// Reads what is new and tells it; waits when there is nothing. `size` is the ledger's at the last look.
    fn tell_some(&self, place: &mut NewsPlace, size: &mut Option<u64>) -> Result<(), Ended> {
        let (now, read) = {
            let archive = self.archive()?;
            (archive.ledger_size(), archive.news(place, LINES_MAX))
        };
        let has_grown = std::mem::replace(size, now) != now;
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(webhook = self.webhook.name, %error, "what happened cannot be read");
                return self.wait(self.times.read_all_the_same);
            }
        };
        for line in read.lines {
            self.tell(&line)?;
            place.pass(&line);
            self.desk.put(place.clone());
        }
        if read.place != *place {
            *place = read.place;
            self.desk.put(place.clone());
        }
        if !read.is_end {
            return Ok(());
        }
        let until = Instant::now() + self.times.read_all_the_same;
        self.wait(self.times.read)?;
        // A line shows in its file a moment before or after the log grows: the look at which it has grown may be too early.
        while !has_grown && Instant::now() < until && self.archive()?.ledger_size() == now {
            self.wait(self.times.read)?;
        }
        Ok(())
    }

    /// Tells a line until it is taken or given up.
    fn tell(&self, line: &NewsLine) -> Result<(), Ended> {
        if !self.webhook.topics.contains(&line.news.topic()) {
            return Ok(());
        }
        let until = Instant::now() + self.times.hash;
        while !Message::is_whole(&*self.archive()?, line) && Instant::now() < until {
            self.wait(self.times.look)?;
        }
        let (begun, since) = (Instant::now(), clock::now());
        let mut retries = self.times.retries.iter().copied();
        let mut last = Duration::ZERO;
        let mut is_told_of = false;
        loop {
            // What the account may see now counts, also for what was tried before.
            let why = match self.message(line)? {
                Ok(None) => break,
                Ok(Some(message)) => match post(&self.webhook, &message) {
                    Ok(_) => {
                        self.desk.change(|state| {
                            state.told += 1;
                            state.last_told = Some(clock::now());
                        });
                        break;
                    }
                    Err(NotTaken::Status(GONE, _)) => {
                        tracing::error!(
                            webhook = self.webhook.name,
                            "the webhook says that it is gone for good: it is told nothing more"
                        );
                        self.desk.change(|state| state.is_gone = true);
                        // Nobody sends anything: it ends when it is dropped.
                        let _ = self.stopped.recv();
                        return Err(Ended);
                    }
                    Err(why) => why,
                },
                Err(error) => NotTaken::Away(format!("what happened cannot be read: {error}")),
            };
            if !std::mem::replace(&mut is_told_of, true) {
                tracing::warn!(webhook = self.webhook.name, %why, "a webhook does not take a message: it is tried again");
            }
            let asked = match &why {
                NotTaken::Status(_, asked) => *asked,
                NotTaken::Away(_) => None,
            };
            self.desk.change(|state| {
                state.waiting_since = Some(since);
                state.last_failed = Some((clock::now(), why.to_string()));
            });
            last = retries.next().unwrap_or(last);
            let wait = asked.map_or(last, |asked| asked.max(last));
            if begun.elapsed() + wait > self.times.give_up {
                tracing::error!(webhook = self.webhook.name, %why, "a message to a webhook is given up");
                self.desk.change(|state| state.given_up += 1);
                break;
            }
            self.wait(wait)?;
        }
        self.desk.change(|state| state.waiting_since = None);
        Ok(())
    }

    /// What it is told of a line, as its account may see it now.
    fn message(&self, line: &NewsLine) -> Result<Result<Option<Message>, store::Error>, Ended> {
        let archive = self.archive()?;
        let caller = archive.caller(&self.webhook.account, clock::now());
        let Some(caller) = caller.filter(|caller| caller.may(Permission::WebAccess)) else {
            return Ok(Ok(None));
        };
        Ok(Message::of(&archive, &caller, line))
    }
}
