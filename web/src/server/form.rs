//! What a form sends: names and values, each value as long as the body lets it be. Read by hand, since some names stand in it
//! several times and what is missing is no error but nothing.

use axum::extract::{FromRequest, Request};

use super::refusal::Refusal;

/// The names and values of an `application/x-www-form-urlencoded` body.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &str) -> Form {
        Form(form_urlencoded::parse(body.as_bytes()).into_owned().collect())
    }

    /// The first value of this name, without spaces around it; empty without one.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The same as it was written: spaces count in a password.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// All of it, in the order in which it was written.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Form, Refusal> {
        let body = String::from_request(request, state).await.map_err(|_| Refusal::WrongQuery)?;
        Ok(Form::parse(&body))
    }
}
