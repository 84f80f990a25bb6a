//! Why a request is not served: `application/problem+json` (RFC 9457), each kind with a name that programs can tell it by.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::live::{NotTaken, Unavailable};
use crate::server::NoRecorder;
use crate::server::refusal::Refusal;
use crate::server::token::Right;

/// What names of kinds begin with.
pub(super) const URN: &str = "urn:earwitness:problem:";

/// The kinds of problems, as the document and `docs/api.md` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) enum Kind {
    /// See [`Problem`], also for those that follow.
    NoToken,
    NotAllowed,
    NoAccount,
    NoSuchPlace,
    NoSuchCall,
    NoSuchRecording,
    NoSuchName,
    WrongMethod,
    WrongRequest,
    WrongRange,
    TooLarge,
    KeyReused,
    Refused,
    Failed,
    Full,
    NoRecorder,
    Unavailable,
}

impl Kind {
    /// All of them.
    #[cfg(test)]
    pub(in crate::server) const ALL: [Kind; 17] = [
        Kind::NoToken,
        Kind::NotAllowed,
        Kind::NoAccount,
        Kind::NoSuchPlace,
        Kind::NoSuchCall,
        Kind::NoSuchRecording,
        Kind::NoSuchName,
        Kind::WrongMethod,
        Kind::WrongRequest,
        Kind::WrongRange,
        Kind::TooLarge,
        Kind::KeyReused,
        Kind::Refused,
        Kind::Failed,
        Kind::Full,
        Kind::NoRecorder,
        Kind::Unavailable,
    ];

    /// The last part of its name.
    pub(in crate::server) fn name(self) -> &'static str {
        match self {
            Kind::NoToken => "no-token",
            Kind::NotAllowed => "not-allowed",
            Kind::NoAccount => "no-account",
            Kind::NoSuchPlace => "no-such-place",
            Kind::NoSuchCall => "no-such-call",
            Kind::NoSuchRecording => "no-such-recording",
            Kind::NoSuchName => "no-such-name",
            Kind::WrongMethod => "wrong-method",
            Kind::WrongRequest => "wrong-request",
            Kind::WrongRange => "wrong-range",
            Kind::TooLarge => "too-large",
            Kind::KeyReused => "key-reused",
            Kind::Refused => "refused",
            Kind::Failed => "failed",
            Kind::Full => "full",
            Kind::NoRecorder => "no-recorder",
            Kind::Unavailable => "unavailable",
        }
    }

    /// The statuses that it comes with.
    pub(in crate::server) fn statuses(self) -> &'static [u16] {
        match self {
            Kind::NoToken => &[401],
            Kind::NotAllowed | Kind::NoAccount => &[403],
            Kind::NoSuchPlace | Kind::NoSuchCall | Kind::NoSuchRecording | Kind::NoSuchName => &[404],
            Kind::WrongMethod => &[405],
            Kind::WrongRequest => &[400],
            Kind::WrongRange => &[416],
            Kind::TooLarge => &[413],
            Kind::KeyReused => &[422],
            Kind::Refused => &[409],
            // As verification, the formats, the program and the keys have it.
            Kind::Failed => &[409, 422, 500, 503],
            Kind::Full | Kind::NoRecorder | Kind::Unavailable => &[503],
        }
    }
}

/// Why a request is not served.
#[derive(Debug)]
pub(in crate::server) enum Problem {
    /// No token, or one that is not known.
    NoToken,
    /// The token does not let its program do this.
    NotAllowed(Right),
    /// The token names no account, or one that is gone or disabled.
    NoAccount,
    /// There is nothing of this kind, or not for the token's account.
    Nothing(Kind),
    /// Something is here, and not done this way.
    WrongMethod,
    /// The request's words are off: how.
    Wrong(String),
    /// The file has so many bytes, and none of those asked for.
    WrongRange(u64),
    /// The body is longer than so many bytes.
    TooLarge(usize),
    /// The key of idempotency stands for another request.
    KeyReused,
    /// What is there does not allow it: why.
    Refused(String),
    /// It could not be given.
    Failed(StatusCode, String),
    /// There is no room for more: of what.
    Full(String),
    /// Nothing records beside these pages.
    NoRecorder,
    /// It does not answer.
    Unavailable(Unavailable),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoPage => Problem::Nothing(Kind::NoSuchRecording),
            Refusal::NoSuchCall => Problem::Nothing(Kind::NoSuchCall),
            Refusal::Wrong(what) => Problem::Wrong(what),
            Refusal::WrongQuery => Problem::Wrong("the address or the body is not one of ours".to_owned()),
            Refusal::WrongRange { total } => Problem::WrongRange(total),
            Refusal::Declined(why) | Refusal::Guarded(why) => Problem::Refused(why),
            Refusal::NoRecorder => Problem::NoRecorder,
            Refusal::Unavailable => Problem::Unavailable(Unavailable),
            refusal => {
                let status = refusal.status();
                if status.is_server_error() {
                    tracing::error!(?refusal, "a request of the API failed");
                }
                Problem::Failed(status, refusal.words())
            }
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Refusal::from(error).into()
    }
}

impl From<NoRecorder> for Problem {
    fn from(_: NoRecorder) -> Self {
        Problem::NoRecorder
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Unavailable(unavailable) => Problem::Unavailable(unavailable),
            NotTaken::Wrong(what) => Problem::Wrong(what),
            NotTaken::Full(what) => Problem::Full(what),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        Problem::Unavailable(unavailable)
    }
}

impl Problem {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Problem::NoToken => Kind::NoToken,
            Problem::NotAllowed(_) => Kind::NotAllowed,
            Problem::NoAccount => Kind::NoAccount,
            Problem::Nothing(kind) => *kind,
            Problem::WrongMethod => Kind::WrongMethod,
            Problem::Wrong(_) => Kind::WrongRequest,
            Problem::WrongRange(_) => Kind::WrongRange,
            Problem::TooLarge(_) => Kind::TooLarge,
            Problem::KeyReused => Kind::KeyReused,
            Problem::Refused(_) => Kind::Refused,
            Problem::Failed(..) => Kind::Failed,
            Problem::Full(_) => Kind::Full,
            Problem::NoRecorder => Kind::NoRecorder,
            Problem::Unavailable(_) => Kind::Unavailable,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Problem::Failed(status, _) => *status,
            problem => {
                let status = problem.kind().statuses().first().copied();
                status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default()
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoToken => f.write_str("send a token as Authorization: Bearer TOKEN; `earwitness token add` makes one"),
            Problem::NotAllowed(right) => write!(f, "the token does not have the right {right}, or its account may not use it: docs/api.md says what that takes"),
            Problem::NoAccount => f.write_str(
                "the token has no account whose rights it could have: it needs one that can sign in, and is neither disabled nor locked by hand",
            ),
            Problem::Nothing(Kind::NoSuchCall) => f.write_str("no such call is running"),
            Problem::Nothing(Kind::NoSuchRecording) => {
                f.write_str("there is no such recording, or the token's account may not do this with it")
            }
            Problem::Nothing(Kind::NoSuchName) => f.write_str("there is nothing of this name"),
            Problem::Nothing(_) => f.write_str(
                "there is nothing at this address, or not for the token's account; /api/v1/openapi.json has all addresses",
            ),
            Problem::WrongMethod => {
                f.write_str("this is not done with that method; /api/v1/openapi.json tells which")
            }
            Problem::WrongRange(total) => write!(f, "the file has {total} bytes and none of those asked for"),
            Problem::TooLarge(limit) => write!(f, "the body: at most {limit} bytes"),
            Problem::KeyReused => {
                f.write_str("this Idempotency-Key stands for another request: take a new key for each")
            }
            Problem::Wrong(what)
            | Problem::Refused(what)
            | Problem::Full(what)
            | Problem::Failed(_, what) => f.write_str(what),
            Problem::NoRecorder => {
                f.write_str("nothing records here: `earwitness run` serves this, not `serve`")
            }
            Problem::Unavailable(unavailable) => write!(f, "{unavailable}"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({
            "type": format!("{URN}{}", self.kind().name()), "title": status.canonical_reason(),
            "status": status.as_u16(), "detail": self.to_string(),
        });
        let mut response = (status, Json(body)).into_response();
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Problem::NoToken => {
                fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Problem::Unavailable(_) => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Problem::WrongRange(total) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
                    fields.insert(header::CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
        response
    }
}
