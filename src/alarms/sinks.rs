//! Who is told of alarms: the log always, a syslog server (RFC 5424 over UDP, RFC 5426), a web hook and people by mail if they are
//! named.
//!
//! Threads of their own, behind short queues: a server that hangs delays other notices, and nothing else.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use web::live::Live;
use zeroize::Zeroizing;

use super::archive::OfArchive;
use super::drives::{Drive, Drives};
use super::history::Kept;
use super::mail::{Mail, Trouble};
use super::{Beside, Kind, Limits, Notice, Turn, Watch};
use crate::canary;
use crate::clock;
use crate::control::Control;
use crate::failure::Failure;
use crate::http::Address;
use crate::standard_webhook::{self, NotTaken};

/// Notices that wait to be sent; of more, the log alone tells.
const QUEUE_MAX: usize = 256;
/// How often the recorder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a notice is tried, and how long is waited in between.
pub(super) const TRIES: u32 = 3;
pub(super) const BETWEEN_TRIES: Duration = Duration::from_secs(2);
/// Facility `daemon` (RFC 5424, 6.2.1).
const DAEMON: u8 = 3;

/// Where notices go.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    /// A syslog server, as host and port.
    pub(crate) syslog: Option<String>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) mail: Option<Mail>,
}

impl Sinks {
    /// Who is told, the log among them.
    fn names(&self) -> Vec<String> {
        let all = [
            ("log", true),
            ("syslog", self.syslog.is_some()),
            ("web hook", self.webhook.is_some()),
            ("mail", self.mail.is_some()),
        ];
        all.into_iter().filter(|(_, is_told)| *is_told).map(|(name, _)| name.to_owned()).collect()
    }
}

/// A web hook, by Standard Webhooks 1.0: an id, a time, and a signature over both and the body.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) address: Address,
    /// Signs, where it is given.
    pub(crate) secret: Option<Zeroizing<Vec<u8>>>,
}

/// What holds, for whoever wants to show it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The kinds of alarms.
    pub(crate) kinds: Vec<Kind>,
    /// The drives, as they were at the last look.
    pub(crate) drives: Vec<Drive>,
}

pub(crate) type Shown = Arc<Mutex<State>>;

/// The threads that watch and tell.
pub(crate) struct Alarms {
    thread: JoinHandle<()>,
    /// Dropped, with its clones, to end them.
    changer: Changer,
    shown: Shown,
}

/// Changes when conditions count, and who is told, while it runs.
#[derive(Clone)]
pub(crate) struct Changer(Sender<(Limits, Sinks)>);

impl Changer {
    pub(crate) fn change(&self, limits: Limits, sinks: Sinks) {
        // Ended threads tell nobody anything.
        let _ = self.0.send((limits, sinks));
    }
}

impl Alarms {
    /// Starts to watch.
    pub(crate) fn start(
        mut watch: Watch,
        sinks: Sinks,
        control: Control,
        mut drives: Drives,
        canary: Option<canary::Shown>,
        kept: Arc<Kept>,
        archive: OfArchive,
    ) -> Result<Alarms, Failure> {
        let (sender, changes) = bounded::<(Limits, Sinks)>(1);
        let shown = Shown::default();
        let seen = Arc::clone(&shown);
        watch.go_on_with(kept.still_up(), clock::now());
        let not_set_up = archive.not_set_up.clone();
        let unwatched = move |watch: &Watch, has_canary: bool, has_mail: bool| {
            not_set_up.iter().copied().chain(watch.unwatched(has_canary, has_mail)).collect()
        };
        kept.unwatch(unwatched(&watch, canary.is_some(), sinks.mail.is_some()));
        let mut told_to = sinks.names();
        let mut tellers = Tellers::start(sinks)?;
        let look = move || {
            let mut former = Vec::new();
            loop {
                match changes.recv_timeout(LOOK_EVERY) {
                    Ok((limits, sinks)) => {
                        watch.use_limits(limits);
                        kept.unwatch(unwatched(&watch, canary.is_some(), sinks.mail.is_some()));
                        told_to = sinks.names();
                        match Tellers::start(sinks) {
                            Ok(fresh) => former.append(&mut std::mem::replace(&mut tellers, fresh).end()),
                            Err(error) => tracing::error!(%error, "those who were told are still told"),
                        }
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let now = clock::now();
                let mail = tellers.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let canary = canary_of(canary.as_ref());
                let (drives, archive) = (drives.look(now), archive.look());
                let beside = Beside { drives, archive, mail, canary, acknowledged: kept.acknowledged() };
                let notices = watch.look(&control.status(), &beside, now);
                // Who is told and looks finds it so.
                let state = State { kinds: watch.kinds(), drives: beside.drives };
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = state;
                kept.take(watch.up(), &notices, &told_to);
                for notice in notices {
                    log(&notice);
                    tellers.tell(notice);
                }
            }
            former.append(&mut tellers.end());
            kept.settle();
            for thread in former {
                if thread.join().is_err() {
                    tracing::error!("a thread of the alarms broke off");
                }
            }
        };
        let thread = std::thread::Builder::new().name("alarms".into()).spawn(look)?;
        Ok(Alarms { thread, changer: Changer(sender), shown })
    }

    /// To change them while they run.
    pub(crate) fn changer(&self) -> Changer {
        self.changer.clone()
    }

    /// What holds now.
    pub(crate) fn shown(&self) -> Shown {
        Arc::clone(&self.shown)
    }

    /// Ends them. A notice that is being sent is sent to its end.
    pub(crate) fn stop(self) {
        drop(self.changer);
        if self.thread.join().is_err() {
            tracing::error!("the alarms broke off");
        }
    }
}

/// What was wrong with the last canary.
fn canary_of(shown: Option<&canary::Shown>) -> Option<String> {
    shown?.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
}

/// The threads that tell.
struct Tellers {
    notices: Sender<Notice>,
    letters: Option<Sender<Notice>>,
    trouble: Trouble,
    threads: Vec<JoinHandle<()>>,
}

impl Tellers {
    fn start(sinks: Sinks) -> std::io::Result<Tellers> {
        let Sinks { syslog, webhook, mail } = sinks;
        let (notices, queue) = bounded(QUEUE_MAX);
        let trouble = Trouble::default();
        let run = move || tell(syslog.as_deref(), webhook.as_ref(), &queue);
        let mut threads = vec![std::thread::Builder::new().name("notices".into()).spawn(run)?];
        let mut letters = None;
        if let Some(mail) = mail {
            let (sender, queue) = bounded(QUEUE_MAX);
            let trouble = Arc::clone(&trouble);
            threads.push(
                std::thread::Builder::new().name("mail".into()).spawn(move || mail.run(&queue, &trouble))?,
            );
            letters = Some(sender);
        }
        Ok(Tellers { notices, letters, trouble, threads })
    }

    fn tell(&self, notice: Notice) {
        if self.letters.as_ref().is_some_and(|letters| letters.try_send(notice.clone()).is_err()) {
            tracing::warn!("too many notices wait: this one is not mailed");
        }
        if self.notices.try_send(notice).is_err() {
            tracing::warn!("too many notices wait: this one stands in the log alone");
        }
    }

    /// They tell what they have, and end.
    fn end(self) -> Vec<JoinHandle<()>> {
        self.threads
    }
}

fn log(notice: &Notice) {
    let Notice { alarm, turn, words, .. } = notice;
    let alarm = alarm.key();
    match turn {
        Turn::Cleared => tracing::info!(alarm, words, "alarm is over"),
        Turn::Raised => tracing::warn!(alarm, words, "alarm"),
        Turn::Lasts => tracing::warn!(alarm, words, "alarm lasts"),
    }
}

fn tell(syslog: Option<&str>, webhook: Option<&Webhook>, queue: &Receiver<Notice>) {
    for notice in queue {
        if let Some(server) = syslog
            && let Err(error) = send_syslog(server, &notice)
        {
            tracing::error!(server, %error, "syslog is not told");
        }
        if let Some(hook) = webhook {
            let mut tried = 0;
            while let Err(error) = post(hook, &notice) {
                tried += 1;
                if tried == TRIES {
                    tracing::error!(hook = hook.address.server(), %error, "the web hook is not told");
                    break;
                }
                std::thread::sleep(BETWEEN_TRIES);
            }
        }
    }
}

fn send_syslog(server: &str, notice: &Notice) -> std::io::Result<()> {
    let nowhere = || std::io::Error::other("no such server");
    let to: SocketAddr = server.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    let from: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    UdpSocket::bind(from)?.send_to(syslog(notice, &host()).as_bytes(), to).map(|_| ())
}

/// This machine's name; a hyphen for none.
pub(super) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // RFC 5424, 6.2.4: printable ASCII, or a hyphen for none.
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { name } else { "-".into() }
}

/// RFC 5424, 6.
fn syslog(notice: &Notice, host: &str) -> String {
    let Notice { at, alarm, turn, words, .. } = notice;
    let severity = match turn {
        Turn::Cleared => 5,
        _ if alarm.is_critical() => 2,
        _ => 4,
    };
    let priority = DAEMON * 8 + severity;
    let (key, process) = (alarm.key(), std::process::id());
    let turn = match turn {
        Turn::Raised => "raised",
        Turn::Lasts => "lasts",
        Turn::Cleared => "cleared",
    };
    format!("<{priority}>1 {at} {host} earwitness {process} {key} - {turn}: {words}")
}

fn post(hook: &Webhook, notice: &Notice) -> Result<(), NotTaken> {
    let body = serde_json::json!({
        "type": format!("alarm.{}", notice.alarm.key()), "timestamp": notice.at.to_string(), "data": notice,
    })
    .to_string();
    let id = format!("msg_{}_{}", notice.alarm.key(), notice.at.as_nanos());
    let secret = hook.secret.as_ref().map(|secret| secret.as_slice());
    standard_webhook::post(&hook.address, &id, clock::now(), &body, secret).map(|_| ())
}

#[cfg(test)]
mod tests {
    use decode::Timestamp;

    use super::*;

    fn notice(alarm: Kind, turn: Turn) -> Notice {
        let at = Timestamp::from_millis(1_795_392_000_123);
        Notice { at, alarm, turn, place: "eth1".into(), words: "eth1 is down".into() }
    }

    #[test]
    fn a_syslog_message_has_the_fields_of_rfc_5424() {
        let text = syslog(&notice(Kind::PortDown, Turn::Raised), "box");
        let process = std::process::id();
        assert_eq!(
            text,
            format!(
                "<26>1 2026-11-23T00:00:00.123Z box earwitness {process} port-down - raised: eth1 is down"
            )
        );
        assert!(syslog(&notice(Kind::DiskLow, Turn::Lasts), "box").starts_with("<28>1 "));
        assert!(syslog(&notice(Kind::DiskLow, Turn::Cleared), "box").starts_with("<29>1 "));
    }
}
