//! What is answered when a request cannot be served: the status, and a page that says what to do.
//!
//! The one place where errors become statuses. Paths of this machine and the words of operating systems stay in the
//! log; the page says what a listener can act on.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use form_urlencoded::Serializer;

use super::guard::SIGN_IN;
use crate::Error;

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No session, and no accounts to sign in with.
    NotLetIn,
    /// No session: to sign in comes first, then what was asked for.
    SignInFirst {
        /// Path and query.
        to: String,
    },
    /// Something else comes first.
    Before {
        /// The page of it.
        to: &'static str,
    },
    /// The link was used before, or never was one.
    WrongToken,
    /// The request was meant for another host: a page elsewhere gave its name our address.
    WrongHost,
    /// A change that none of our own pages asked for.
    NotFromUs,
    /// A page of another site asks to listen.
    WrongOrigin,
    /// What can only be had over a WebSocket was asked for without one.
    NoSocket,
    /// There is no such page, or not for whoever asks.
    NoPage,
    /// The role has neither a scope nor a filter that grants.
    SeesNothing,
    /// It is not done this way.
    WrongMethod,
    /// A hold stands against it: which, and what would lift it.
    Guarded(String),
    /// The query's words, or the form's, are off.
    WrongQuery,
    /// They are off: how, and what would be right.
    Wrong(String),
    /// What is there does not allow it: why, and what to do.
    Declined(String),
    /// The file has none of the bytes asked for.
    WrongRange {
        /// Its length.
        total: u64,
    },
    /// Nothing records beside these pages.
    NoRecorder,
    /// The recorder does not answer.
    Unavailable,
    /// The call is over.
    NoSuchCall,
    /// Too many are listening at once.
    Busy,
    /// The work for it broke off.
    BrokeOff,
    /// The archive or the export could not give it.
    Failed(Error),
}

/// A page that says why.
#[derive(askama::Template)]
#[template(path = "refused.html")]
struct Refused {
    title: &'static str,
    words: Vec<Part>,
    /// There is a way back.
    is_inside: bool,
}

/// A stretch of a sentence.
struct Part {
    is_code: bool,
    text: String,
}

/// What stands in backticks is code.
fn parts(sentence: &str) -> Vec<Part> {
    let part = |(i, text): (usize, &str)| Part { is_code: i % 2 == 1, text: text.to_owned() };
    sentence.split('`').enumerate().map(part).collect()
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
            Refusal::NotLetIn | Refusal::WrongToken | Refusal::NotFromUs | Refusal::SeesNothing => {
                StatusCode::FORBIDDEN
            }
            Refusal::SignInFirst { .. } | Refusal::Before { .. } => StatusCode::SEE_OTHER,
            Refusal::WrongHost | Refusal::WrongOrigin => StatusCode::MISDIRECTED_REQUEST,
            Refusal::NoSocket => StatusCode::UPGRADE_REQUIRED,
            Refusal::NoPage | Refusal::NoSuchCall => StatusCode::NOT_FOUND,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::WrongQuery => StatusCode::BAD_REQUEST,
            Refusal::Wrong(_) | Refusal::Declined(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Guarded(_) => StatusCode::CONFLICT,
            Refusal::NoRecorder | Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::WrongRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BrokeOff => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Failed(Error::Store(error)) => match error {
                E::NotFound { .. } | E::Ambiguous { .. } => StatusCode::NOT_FOUND,
                E::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                // What is asked for is at odds with the state of the archive, and only a person can settle that.
                E::Tampered { .. } | E::Damaged { .. } | E::Replaced { .. } | E::Guarded { .. } => {
                    StatusCode::CONFLICT
                }
                E::KeyMissing { .. }
                | E::KeyLocked { .. }
                | E::KeyUnknown { .. }
                | E::WrongKey { .. }
                | E::Closed => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Refusal::Failed(
                Error::TooLong { .. }
                | Error::Unsuited { .. }
                | Error::Undecodable { .. }
                | Error::NothingThere { .. },
            ) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::FORBIDDEN if matches!(self, Refusal::SeesNothing) => "Your role sees no recordings",
            StatusCode::FORBIDDEN if matches!(self, Refusal::NotFromUs) => {
                "This was not asked by one of our pages"
            }
            StatusCode::FORBIDDEN => "You are not signed in",
            StatusCode::MISDIRECTED_REQUEST => "Wrong address",
            StatusCode::NOT_FOUND => "There is nothing here, or not for you",
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
            Refusal::WrongHost => "These pages answer to addresses of this machine and to the names of `[web] names` alone, with \
                the port that they listen at."
                .to_owned(),
            Refusal::NotFromUs => "A change was asked for by a page of another site, or by a program. Programs have the API: \
                `docs/api.md`."
                .to_owned(),
            Refusal::WrongOrigin => "A running call can be listened to from the pages of this recorder alone. Open it there.".to_owned(),
            Refusal::NoSocket => "A running call is listened to over a WebSocket: open its page, and listen there.".to_owned(),
            Refusal::SignInFirst { .. } | Refusal::Before { .. } => "Go on there.".to_owned(),
            Refusal::NoPage => "The address may be mistyped, what was here may be gone, or your role does not let you see it. If \
                you need it, ask whoever administers accounts."
                .to_owned(),
            Refusal::SeesNothing => "It has neither an access scope nor a filter that grants access to calls, and permissions \
                alone show none. Ask whoever administers accounts for a scope."
                .to_owned(),
            Refusal::WrongMethod => "This is not done with that method.".to_owned(),
            Refusal::WrongQuery => "The address or the form is not one of ours.".to_owned(),
            Refusal::Wrong(why) | Refusal::Declined(why) | Refusal::Guarded(why) => why.clone(),
            Refusal::NoRecorder => "Nothing records here: these pages are served over an archive alone. `earwitness run` records."
                .to_owned(),
            Refusal::Unavailable => "The recorder does not answer now. Try again in a moment.".to_owned(),
            Refusal::NoSuchCall => "No such call is running any more.".to_owned(),
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
        Error::Store(E::Refused { what }) => format!("This is not done: {what}."),
        Error::Store(E::Guarded { why, .. }) => format!("This is not done: {why}."),
        Error::Store(E::Closed) => "The archive is being closed.".to_owned(),
        Error::TooLong { .. }
        | Error::Unsuited { .. }
        | Error::Undecodable { .. }
        | Error::NothingThere { .. } => format!("{error}."),
        _ => "The archive could not be read; the log of `earwitness serve` says more.".to_owned(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        match &self {
            Refusal::SignInFirst { to } => {
                let to = Serializer::new(String::new()).append_pair("to", to).finish();
                return Redirect::to(&format!("{SIGN_IN}?{to}")).into_response();
            }
            Refusal::Before { to } => return Redirect::to(to).into_response(),
            _ if status.is_server_error() => tracing::error!(refusal = ?self, "a request failed"),
            _ => {}
        }
        let is_inside = !matches!(self, Refusal::NotLetIn | Refusal::WrongToken | Refusal::WrongHost);
        let refused = Refused { title: self.title(), words: parts(&self.words()), is_inside };
        // A page that cannot be written leaves its status.
        let page = askama::Template::render(&refused).unwrap_or_default();
        let mut response = (status, Html(page)).into_response();
        if let Refusal::WrongRange { total } = self
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{total}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backticks_is_code() {
        let parts = parts("say `a <b>` twice");
        let shown: Vec<(bool, &str)> = parts.iter().map(|part| (part.is_code, part.text.as_str())).collect();
        assert_eq!(shown, [(false, "say "), (true, "a <b>"), (false, " twice")]);
    }
}
