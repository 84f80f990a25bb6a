//! Telling a program something by Standard Webhooks 1.0: a POST with an id, a time, and a signature over both and the body.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decode::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::http::Address;

/// How long one request takes at most: the standard has 15 to 30 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest wait that an answer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It was answered with another status than 2xx, and perhaps with how long to wait.
    Status(u16, Option<Duration>),
    /// It was not answered.
    Away(String),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotTaken::Status(status @ 300..=399, _) => {
                write!(f, "it answered {status}: redirects are not followed, give the address itself")
            }
            NotTaken::Status(status, _) => write!(f, "it answered {status}"),
            NotTaken::Away(why) => f.write_str(why),
        }
    }
}

/// Tells a message once; gives the status with which it was taken. Redirects are not followed: what is signed is for one address.
///
/// # Errors
/// [`NotTaken`].
pub(crate) fn post(
    to: &Address,
    id: &str,
    at: Timestamp,
    body: &str,
    secret: Option<&[u8]>,
) -> Result<u16, NotTaken> {
    let mut request = to
        .agent()
        .post(to.uri())
        .config()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .header("Content-Type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", unix_seconds(at).to_string());
    if let Some(secret) = secret {
        request = request.header("webhook-signature", signature(secret, id, at, body));
    }
    let answer = request.send(body).map_err(|error| NotTaken::Away(error.to_string()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(status.as_u16());
    }
    // RFC 9110, 10.2.3: seconds, or a date, which nobody sends here.
    let wait = answer.headers().get("Retry-After").and_then(|wait| wait.to_str().ok()?.parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    Err(NotTaken::Status(status.as_u16(), wait))
}

fn unix_seconds(at: Timestamp) -> i64 {
    at.as_nanos() / 1_000_000_000
}

/// "Verifying webhook authenticity": HMAC-SHA-256 over id, time and body.
fn signature(secret: &[u8], id: &str, at: Timestamp, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{}.{body}", unix_seconds(at)).as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_another_implementation_makes_of_it() {
        // printf %s 'msg_1.1614265330.{"test": 2432232314}' | openssl dgst -sha256 -hmac secret -binary | base64
        let signed =
            signature(b"secret", "msg_1", Timestamp::from_parts(1_614_265_330, 0), "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,T49pOLi9Y59Pd0W8q5zvP9qTIc61pr4XaCUOi3i6Wj4=");
    }
}
