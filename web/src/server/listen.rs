//! Listening to a running call over one WebSocket (RFC 6455): `GET /live/{recording}/listen`.
//!
//! A shell: it waits for the tap, the clock and the browser, and lets `feed` say what is sent. A page of another site could open a
//! WebSocket here with our listener's cookie, which no same-origin policy forbids (RFC 6455, 10.2), so the request must name
//! one of our own pages as its origin. Whether the listener may still listen is asked each second, also while the browser does not
//! read; who has taken nothing for [`STALLED_MAX`] is let go.

mod feed;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use decode::Timestamp;
use decode::playout::live::FRAME_MS;
use policy::Permission;
use serde_json::json;
use store::{Live, LiveTap, RecordingId};
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::feed::{Feed, Out};
use super::App;
use super::caller::Asker;
use super::refusal::Refusal;

/// Listeners at once, of all calls.
pub(super) const LISTENERS_MAX: usize = 100;
/// How often it is asked whether a listener may still listen.
const RIGHT_EVERY: Duration = Duration::from_secs(1);
/// A listener who takes nothing for so long is gone.
const STALLED_MAX: Duration = Duration::from_secs(10);
/// The longest message that is taken from a browser, in bytes: it has nothing to say.
const MESSAGE_MAX: usize = 1_024;

/// May the listener still listen?
type Still = Arc<dyn Fn() -> bool + Send + Sync>;

/// `GET /live/{recording}/listen`.
pub(super) async fn listen(
    State(app): State<App>,
    asker: Asker,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, axum::extract::rejection::PathRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    if !headers.contains_key(header::ORIGIN) || !app.reached().is_from_us(&headers) {
        return Err(Refusal::WrongOrigin);
    }
    let upgrade = upgrade.map_err(|_| Refusal::NoSocket)?;
    let who = asker.clone();
    app.read(move |archive| who.permitted(archive, id, Permission::Monitor).map(drop)).await?;
    let place = Arc::clone(&app.0.listeners).try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let not_running = || store::Error::NotFound { what: id.to_string() };
    let tap = app.archive().listen(id).ok_or_else(not_running)?;
    // Before the first word is heard.
    app.note_listened(&asker, id).await?;
    let still: Still = {
        let app = app.clone();
        // Who they are and what the call's facts say may have changed. To listen is a use of the session.
        Arc::new(move || {
            let now = Instant::now();
            app.used(&asker, now)
                .is_some_and(|asker| asker.permitted(app.archive(), id, Permission::Monitor).is_ok())
        })
    };
    let upgrade = upgrade.max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        Listener { socket, right: every(RIGHT_EVERY), still }.attend(tap).await;
        drop(place);
    }))
}

/// One browser that listens.
struct Listener {
    socket: WebSocket,
    right: Interval,
    still: Still,
}

/// Why nothing more is sent: the browser is gone, or may not listen any more.
struct Gone;

impl Listener {
    /// Sends what the tap gives, until one side ends it.
    async fn attend(mut self, mut tap: LiveTap) {
        let began = Instant::now();
        let now = || i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let mut feed = Feed::new(tap.started(), tap.standing(), now(), wall_clock());
        let mut tick = every(Duration::from_millis(u64::from(FRAME_MS)));
        let mut has_more = true;
        while !feed.is_over() {
            tokio::select! {
                live = tap.next(), if has_more => {
                    has_more = !matches!(live, Live::Ended(_));
                    feed.handle(live, now());
                }
                _ = tick.tick() => feed.handle_time(now()),
                _ = self.right.tick() => if !(self.still)() {
                    return self.dismiss().await;
                },
                message = self.socket.recv() => match message {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return,
                    // Pings are answered by the socket itself.
                    Some(Ok(_)) => {}
                },
            }
            while let Some(out) = feed.poll() {
                let message = match out {
                    Out::Text(text) => Message::Text(text.into()),
                    Out::Frame(frame) => Message::Binary(frame.into()),
                };
                if self.send(message).await.is_err() {
                    return self.dismiss().await;
                }
            }
        }
        // Whether the browser still hears that is its own affair.
        let _ = self.send(Message::Close(None)).await;
    }

    /// Sends a message as soon as the browser takes it.
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let Listener { socket, right, still } = self;
        let mut sent = pin!(tokio::time::timeout(STALLED_MAX, socket.send(message)));
        loop {
            tokio::select! {
                sent = &mut sent => return match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(Gone),
                },
                _ = right.tick() => if !still() {
                    return Err(Gone);
                },
            }
        }
    }

    /// Ends it, with a word to whoever may not listen any more; the word is not waited for.
    async fn dismiss(mut self) {
        if !(self.still)() {
            let text = json!({ "type": "ended", "reason": "not-allowed" }).to_string();
            let farewell = async {
                let _ = self.socket.send(Message::Text(text.into())).await;
                let _ = self.socket.send(Message::Close(None)).await;
            };
            let _ = tokio::time::timeout(Duration::from_millis(100), farewell).await;
        }
    }
}

/// Ticks now and then every `period`; ticks that were missed do not come.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Where the capture's clock is thought to be until a chunk tells.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
