//! What adds something is done once, however often it is asked for: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).
//!
//! A program that got no answer asks again with the same key, and gets the answer that was lost. Answers are kept for a day, in memory and
//! for each program by itself, so that none can push out what another's keys stand for. What was refused has added nothing, and is not kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::server::App;
use crate::server::refusal::Refusal;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was kept.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
const KEY_MAX: usize = 255;
/// How long a key stands for its request.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys of one program; the oldest gives way.
const KEYS_MAX: usize = 5_000;
/// Bytes of all answers that are kept of one program; the oldest gives way.
const ANSWERS_BYTES_MAX: usize = 4 << 20;
/// Bytes of one answer; of a longer one its status is kept alone.
const ANSWER_MAX: usize = 64 * 1024;
/// Programs.
const PROGRAMS_MAX: usize = 200;

/// The answer that is kept in place of one that has a secret in it.
#[derive(Clone, Debug)]
struct KeptAs(Value);

/// An answer with what there is now, and with what lets somebody in or signs. That is told once: what is kept for a key has none of it.
pub(super) fn told_once(made: (&str, &Value), secret: (&str, Option<&str>)) -> Response {
    let told = |secret_now: Option<&str>| json!({ made.0: made.1, secret.0: secret_now });
    let mut response = Json(told(secret.1)).into_response();
    response.extensions_mut().insert(KeptAs(told(None)));
    response
}

/// An answer that can be given again.
#[derive(Clone, Debug)]
struct Kept {
    status: StatusCode,
    kind: Option<HeaderValue>,
    location: Option<HeaderValue>,
    body: Bytes,
}

#[derive(Debug)]
struct Entry {
    key: String,
    /// Of method, address and body.
    request: [u8; 32],
    since: Instant,
    /// None while it is being done.
    answer: Option<Kept>,
}

/// The keys that count now, by program.
#[derive(Debug, Default)]
pub(in crate::server) struct Keys(Mutex<BTreeMap<String, VecDeque<Entry>>>);

/// What a key says.
#[derive(Debug)]
enum Said {
    /// It is new: the request is to be done.
    New,
    /// It was done: the same answer.
    Done(Kept),
    /// It is being done.
    UnderWay,
    /// It stands for another request.
    Other,
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, program: &str, key: &str, request: [u8; 32], now: Instant) -> Said {
        let mut programs = self.lock();
        if programs.len() >= PROGRAMS_MAX && !programs.contains_key(program) {
            programs.pop_first();
        }
        let entries = programs.entry(program.to_owned()).or_default();
        entries.retain(|entry| now.saturating_duration_since(entry.since) < KEPT_FOR);
        if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
            return match &entry.answer {
                _ if entry.request != request => Said::Other,
                Some(answer) => Said::Done(answer.clone()),
                None => Said::UnderWay,
            };
        }
        if entries.len() >= KEYS_MAX {
            entries.pop_front();
        }
        entries.push_back(Entry { key: key.to_owned(), request, since: now, answer: None });
        Said::New
    }

    /// It was done: with this answer, or with none that counts.
    fn end(&self, program: &str, key: &str, answer: Option<Kept>) {
        let mut programs = self.lock();
        let Some(entries) = programs.get_mut(program) else { return };
        match answer {
            None => entries.retain(|entry| entry.key != key),
            Some(answer) => {
                if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) {
                    entry.answer = Some(answer);
                }
            }
        }
        let bytes = |entries: &VecDeque<Entry>| -> usize {
            entries.iter().filter_map(|entry| entry.answer.as_ref()).map(|answer| answer.body.len()).sum()
        };
        while bytes(entries) > ANSWERS_BYTES_MAX {
            entries.pop_front();
        }
    }
}

/// How the document tells of it.
pub(super) fn parameter() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "A new one for each thing that is to be added: asked again with the same key within 24 hours, it is not added twice, and \
            the answer is the first one's, with `Idempotency-Replayed: true`.",
        "schema": { "type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[A-Za-z0-9._~:+/=-]+$" },
    })
}

/// The key of a request; it may stand in quotes, as the draft has it.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut fields = headers.get_all(KEY).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    let text = field.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._~:+/=-".contains(&b);
    let is_right =
        (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(is_plain) && fields.next().is_none();
    if !is_right {
        return Err(Problem::Wrong(format!(
            "Idempotency-Key: 1 to {KEY_MAX} letters, digits and ._~:+/=-, once"
        )));
    }
    Ok(Some(text.to_owned()))
}

/// Does what is asked, unless it was done for this key.
pub(super) async fn once(
    app: &App,
    program: &str,
    parts: Parts,
    body: Bytes,
    next: Next,
) -> Result<Response, Problem> {
    let Some(key) = key(&parts.headers)? else {
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    };
    let request = Sha256::new()
        .chain_update(parts.method.as_str())
        .chain_update(parts.uri.to_string())
        .chain_update([0])
        .chain_update(&body)
        .finalize()
        .into();
    match app.keys().begin(program, &key, request, Instant::now()) {
        Said::Done(kept) => return Ok(again(kept)),
        Said::Other => return Err(Problem::KeyReused),
        Said::UnderWay => {
            return Err(Problem::Refused(
                "the same request is under way: wait for it, or ask again in a moment".to_owned(),
            ));
        }
        Said::New => {}
    }
    let (app, program) = (app.clone(), program.to_owned());
    let (keys, whose, which) = (app.clone(), program.clone(), key.clone());
    // To its end, also when nobody waits for the answer any more: that is when it is asked for again.
    let done = tokio::spawn(async move {
        let answered = next.run(Request::from_parts(parts, Body::from(body))).await;
        let (answer, kept) = keep(answered).await;
        app.keys().end(&program, &key, kept);
        answer
    });
    done.await.map_err(|_| {
        // It can be asked for again.
        keys.keys().end(&whose, &which, None);
        Refusal::BrokeOff.into()
    })
}

/// An answer, and what is kept of it.
async fn keep(answer: Response) -> (Response, Option<Kept>) {
    if !answer.status().is_success() {
        return (answer, None);
    }
    let (mut parts, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return (Response::from_parts(parts, Body::empty()), None);
    };
    let kept = match parts.extensions.remove::<KeptAs>() {
        Some(KeptAs(value)) => Bytes::from(value.to_string()),
        None if body.len() <= ANSWER_MAX => body.clone(),
        None => Bytes::new(),
    };
    let field = |name| parts.headers.get(name).cloned();
    let kept = Kept {
        status: parts.status,
        kind: field(header::CONTENT_TYPE),
        location: field(header::LOCATION),
        body: kept,
    };
    (Response::from_parts(parts, Body::from(body)), Some(kept))
}

fn again(kept: Kept) -> Response {
    let Kept { status, kind, location, body } = kept;
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    for (name, value) in [(header::CONTENT_TYPE, kind), (header::LOCATION, location)] {
        if let Some(value) = value {
            fields.insert(name, value);
        }
    }
    fields.insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(length: usize) -> Option<Kept> {
        Some(Kept {
            status: StatusCode::OK,
            kind: None,
            location: None,
            body: Bytes::from(vec![b'x'; length]),
        })
    }

    #[test]
    fn a_key_stands_for_one_request_of_one_program_for_a_day() {
        let (keys, start) = (Keys::default(), Instant::now());
        let begin = |program, request, after| keys.begin(program, "k", [request; 32], start + after);
        let soon = Duration::from_secs(1);
        assert!(matches!(begin("crm", 1, Duration::ZERO), Said::New));
        assert!(matches!(begin("crm", 1, soon), Said::UnderWay));
        assert!(matches!(begin("board", 2, soon), Said::New), "another program's");
        keys.end("crm", "k", kept(3));
        assert!(matches!(begin("crm", 1, soon), Said::Done(kept) if kept.body.len() == 3));
        assert!(matches!(begin("crm", 2, soon), Said::Other));
        assert!(matches!(begin("crm", 2, KEPT_FOR), Said::New), "a day later");
        keys.end("crm", "k", None);
        assert!(matches!(begin("crm", 3, KEPT_FOR), Said::New), "what was refused is not kept");
    }

    #[test]
    fn keys_and_answers_have_their_limits() {
        let (keys, now) = (Keys::default(), Instant::now());
        for i in 0..=KEYS_MAX {
            assert!(matches!(keys.begin("crm", &i.to_string(), [0; 32], now), Said::New));
        }
        assert_eq!(keys.lock()["crm"].len(), KEYS_MAX);
        for i in 1..=KEYS_MAX {
            keys.end("crm", &i.to_string(), kept(ANSWER_MAX));
        }
        assert!(keys.lock()["crm"].len() <= ANSWERS_BYTES_MAX / ANSWER_MAX);
        for i in 0..=PROGRAMS_MAX {
            keys.begin(&format!("p{i}"), "k", [0; 32], now);
        }
        assert_eq!(keys.lock().len(), PROGRAMS_MAX);
    }
}
