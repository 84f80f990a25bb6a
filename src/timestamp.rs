//! Asking a time-stamp authority over HTTP (RFC 3161, 3.4).
//!
//! How a request travels, and nothing of what is in it: request and reply are `store`'s. An authority is believed by the
//! signature in its reply alone, so plain `http` loses nothing but privacy of the times of day.

use ureq::Agent;

use crate::http::Address;

/// What sends a request to this authority and gives the reply.
pub(crate) fn ask(authority: Address) -> impl FnMut(&[u8]) -> Result<Vec<u8>, String> + Send + 'static {
    let agent = authority.agent();
    move |request| post(&agent, &authority, request).map_err(|e| format!("{authority}: {e}"))
}

fn post(agent: &Agent, to: &Address, request: &[u8]) -> Result<Vec<u8>, ureq::Error> {
    let sent = agent
        .post(to.uri())
        .header("Content-Type", "application/timestamp-query")
        .header("Accept", "application/timestamp-reply")
        .send(request);
    sent?.body_mut().with_config().limit(store::REPLY_MAX as u64).read_to_vec()
}
