//! What is answered when a request cannot be served: the status, and a page that says what to do.
//!
//! The one place where errors become statuses. Paths of this machine and the words of operating systems stay in the
//! log; the page says what a listener can act on.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html as HtmlBody, IntoResponse, Response};

use super::html::{Frame, Html, page};
use crate::Error;

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No session.
    NotLetIn,
    /// The link was used before, or never was one.
    WrongToken,
    /// The request was meant for another host: a page elsewhere gave its name our address.
    WrongHost,
    /// A page of another site asks to listen.
    WrongOrigin,
    /// What can only be had over a WebSocket was asked for without one.
    NoSocket,
    /// There is no such page.
    NoPage,
    /// Only reading is served.
    WrongMethod,
    /// The query's words are off.
    WrongQuery,
    /// The file has none of the bytes asked for.
    WrongRange {
        /// Its length.
        total: u64,
    },
    /// Too many are listening at once.
    Busy,
    /// The work for it broke off.
    BrokeOff,
    /// The archive or the export could not give it.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Failed(error)
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Refusal::Failed(Error::Store(error))
    }
}

impl Refusal {
    /// The status: the only place that chooses one for a failure.
    pub(super) fn status(&self) -> StatusCode {
        use store::Error as E;
        match self {
            Refusal::NotLetIn | Refusal::WrongToken => StatusCode::FORBIDDEN,
            Refusal::WrongHost | Refusal::WrongOrigin => StatusCode::MISDIRECTED_REQUEST,
            Refusal::NoSocket => StatusCode::UPGRADE_REQUIRED,
            Refusal::NoPage => StatusCode::NOT_FOUND,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::WrongQuery => StatusCode::BAD_REQUEST,
            Refusal::WrongRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BrokeOff => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Failed(Error::Store(error)) => match error {
                E::NotFound { .. } | E::Ambiguous { .. } => StatusCode::NOT_FOUND,
                // What is asked for is at odds with the state of the archive, and only a person can settle that.
                E::Tampered { .. } | E::Damaged { .. } | E::Replaced { .. } => StatusCode::CONFLICT,
                E::KeyMissing { .. }
                | E::KeyLocked { .. }
                | E::KeyUnknown { .. }
                | E::WrongKey { .. }
                | E::Closed => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Refusal::Failed(Error::TooLong { .. } | Error::Unsuited { .. } | Error::Undecodable { .. }) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::FORBIDDEN => "You are not signed in",
            StatusCode::MISDIRECTED_REQUEST => "Wrong address",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::CONFLICT => "Not as it was sealed",
            StatusCode::SERVICE_UNAVAILABLE => "Not available now",
            StatusCode::INTERNAL_SERVER_ERROR => "This did not work",
            _ => "This cannot be answered",
        }
    }

    /// What happened and what to do, in words for a listener.
    pub(super) fn words(&self) -> String {
        match self {
            Refusal::NotLetIn => "Open the link that `earwitness serve` printed in its terminal; it lets one browser \
                in, once. If the link has been used up, stop `earwitness serve` with Ctrl-C and start it again. A session \
                ends after 15 minutes without use: a new link is then in the terminal."
                .to_owned(),
            Refusal::WrongToken => "This link has been used, or it is not the one that was printed last. Stop `earwitness \
                serve` with Ctrl-C and start it again to get a new one."
                .to_owned(),
            Refusal::WrongHost => "These pages answer only to this machine's own names: localhost, 127.0.0.1 or [::1] with \
                the port that `earwitness serve` printed."
                .to_owned(),
            Refusal::WrongOrigin => "A running call can be listened to from the pages of this recorder alone. Open it there.".to_owned(),
            Refusal::NoSocket => "A running call is listened to over a WebSocket: open its page, and listen there.".to_owned(),
            Refusal::NoPage => "There is no page at this address.".to_owned(),
            Refusal::WrongMethod => "These pages can only be read.".to_owned(),
            Refusal::WrongQuery => "The part of the address behind the question mark is not one of ours.".to_owned(),
            Refusal::WrongRange { total } => format!("The audio has {total} bytes and none of those asked for."),
            Refusal::Busy => "Too many are listening at once. Stop one of them and try again.".to_owned(),
            Refusal::BrokeOff => "The recorder's log says more.".to_owned(),
            Refusal::Failed(error) => failure(error),
        }
    }
}

/// A failure without the paths of this machine.
fn failure(error: &Error) -> String {
    use store::Error as E;
    match error {
        Error::Store(E::NotFound { .. }) => "The archive has no such recording.".to_owned(),
        Error::Store(E::Tampered { what, .. }) => {
            format!("The recording's file is not as it was sealed: {what}. Nothing of it is played. Restore the file from a copy.")
        }
        Error::Store(E::Damaged { what, .. }) => {
            format!("The recording's file cannot be read: {what}. `earwitness archive check` tells more.")
        }
        Error::Store(E::KeyMissing { .. }) => {
            "The archive's private key is not on this machine: recordings are listed and verified here, and cannot be \
             opened."
                .to_owned()
        }
        Error::Store(E::KeyLocked { .. }) => {
            "The archive's private key is sealed with a passphrase that `earwitness serve` was not given: recordings are \
             listed and verified here, and cannot be opened."
                .to_owned()
        }
        Error::Store(E::KeyUnknown { key, .. }) => {
            format!("It is sealed to key {key}, which this archive does not have. `earwitness archive check` tells more.")
        }
        Error::Store(E::WrongKey { needed, found, .. }) => {
            format!("It was sealed to key {needed}, and this machine has key {found}.")
        }
        Error::Store(E::Closed) => "The archive is being closed.".to_owned(),
        Error::TooLong { .. } | Error::Unsuited { .. } | Error::Undecodable { .. } => format!("{error}."),
        _ => "The archive could not be read; the log of `earwitness serve` says more.".to_owned(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(refusal = ?self, "a request failed");
        }
        let mut body = Html::default();
        body.raw("<h1>").raw(self.title()).raw("</h1>\n<p>").sentence(self.words()).raw("</p>\n");
        let frame = match self {
            Refusal::NotLetIn | Refusal::WrongToken | Refusal::WrongHost => Frame::Outside,
            _ => Frame::Inside,
        };
        let mut response = (status, HtmlBody(page(frame, self.title(), &body))).into_response();
        if let Refusal::WrongRange { total } = self
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{total}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        response
    }
}
