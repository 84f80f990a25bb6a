//! Who is told of alarms: the log always, a syslog server (RFC 5424 over UDP, RFC 5426) and a web hook if they are named.
//!
//! A thread of its own, behind a short queue: a server that hangs delays other notices, and nothing else.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use store::Archive;
use web::live::Live;
use zeroize::Zeroizing;

use super::{Kind, Notice, Turn, Watch};
use crate::clock;
use crate::control::Control;
use crate::failure::Failure;
use crate::http::Address;

/// Notices that wait to be sent; of more, the log alone tells.
const QUEUE_MAX: usize = 256;
/// How often the recorder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a notice is tried, and how long is waited in between.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
/// Facility `daemon` (RFC 5424, 6.2.1).
const DAEMON: u8 = 3;

/// Where notices go.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    /// A syslog server, as host and port.
    pub(crate) syslog: Option<String>,
    pub(crate) webhook: Option<Webhook>,
}

/// A web hook, by Standard Webhooks 1.0: an id, a time, and a signature over both and the body.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) address: Address,
    /// Signs, where it is given.
    pub(crate) secret: Option<Zeroizing<Vec<u8>>>,
}

/// The kinds of alarms that hold, for whoever wants to show them.
pub(crate) type Shown = Arc<Mutex<Vec<Kind>>>;

/// The threads that watch and tell.
pub(crate) struct Alarms {
    threads: Vec<JoinHandle<()>>,
    /// Dropped to end them.
    awake: Sender<()>,
    shown: Shown,
}

impl Alarms {
    /// Starts to watch.
    pub(crate) fn start(
        mut watch: Watch,
        sinks: Sinks,
        control: Control,
        archive: Arc<Archive>,
    ) -> Result<Alarms, Failure> {
        let (awake, asleep) = bounded(0);
        let (notices, queue) = bounded(QUEUE_MAX);
        let shown = Shown::default();
        let seen = Arc::clone(&shown);
        let look = move || {
            // Nobody sends: each wait ends by its time, or for good.
            while asleep.recv_timeout(LOOK_EVERY).is_err_and(|error| error.is_timeout()) {
                for notice in watch.look(&control.status(), archive.space(), clock::now()) {
                    log(&notice);
                    if notices.try_send(notice).is_err() {
                        tracing::warn!("too many notices wait: this one stands in the log alone");
                    }
                }
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = watch.kinds();
            }
        };
        let tell = move || tell(&sinks, &queue);
        let threads = vec![
            std::thread::Builder::new().name("alarms".into()).spawn(look)?,
            std::thread::Builder::new().name("notices".into()).spawn(tell)?,
        ];
        Ok(Alarms { threads, awake, shown })
    }

    /// What holds now.
    pub(crate) fn shown(&self) -> Shown {
        Arc::clone(&self.shown)
    }

    /// Ends them. A notice that is being sent is sent to its end.
    pub(crate) fn stop(self) {
        drop(self.awake);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the alarms broke off");
            }
        }
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

fn tell(sinks: &Sinks, queue: &Receiver<Notice>) {
    for notice in queue {
        if let Some(server) = &sinks.syslog
            && let Err(error) = send_syslog(server, &notice)
        {
            tracing::error!(server, %error, "syslog is not told");
        }
        if let Some(hook) = &sinks.webhook {
            let mut tried = 0;
            while let Err(error) = post(hook, &notice) {
                tried += 1;
                if tried == TRIES {
                    tracing::error!(hook = %hook.address, error, "the web hook is not told");
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

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // RFC 5424, 6.2.4: printable ASCII, or a hyphen for none.
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { name } else { "-".into() }
}

/// RFC 5424, 6.
fn syslog(notice: &Notice, host: &str) -> String {
    let Notice { at, alarm, turn, words } = notice;
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

fn post(hook: &Webhook, notice: &Notice) -> Result<(), String> {
    let body = serde_json::json!({
        "type": format!("alarm.{}", notice.alarm.key()), "timestamp": notice.at.to_string(), "data": notice,
    })
    .to_string();
    let id = format!("msg_{}_{}", notice.alarm.key(), notice.at.as_nanos());
    let sent_at = clock::now();
    let mut request = hook
        .address
        .agent()
        .post(hook.address.uri())
        .header("Content-Type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", unix_seconds(sent_at).to_string());
    if let Some(secret) = &hook.secret {
        request = request.header("webhook-signature", signature(secret, &id, sent_at, &body));
    }
    request.send(&body).map(|_| ()).map_err(|error| error.to_string())
}

fn unix_seconds(at: Timestamp) -> i64 {
    at.as_nanos() / 1_000_000_000
}

/// Standard Webhooks 1.0, "Verifying webhook authenticity": HMAC-SHA-256 over id, time and body.
fn signature(secret: &[u8], id: &str, at: Timestamp, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{}.{body}", unix_seconds(at)).as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(alarm: Kind, turn: Turn) -> Notice {
        let at = Timestamp::from_millis(1_795_392_000_123);
        Notice { at, alarm, turn, words: "eth1 is down".into() }
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

    #[test]
    fn a_signature_is_what_another_implementation_makes_of_it() {
        // printf %s 'msg_1.1614265330.{"test": 2432232314}' | openssl dgst -sha256 -hmac secret -binary | base64
        let signed =
            signature(b"secret", "msg_1", Timestamp::from_parts(1_614_265_330, 0), "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,T49pOLi9Y59Pd0W8q5zvP9qTIc61pr4XaCUOi3i6Wj4=");
    }
}
