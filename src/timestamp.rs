//! Asking a time-stamp authority over HTTP (RFC 3161, 3.4).
//!
//! How a request travels, and nothing of what is in it: request and reply are `store`'s. An authority is believed by the
//! signature in its reply alone, so plain `http` loses nothing but privacy of the times of day.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// The longest that one request takes, all in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS_MAX: u32 = 3;

/// Where a time-stamp authority listens; `http` or `https`, without a name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority(Uri);

impl FromStr for Authority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|e| format!("{text:?} is no address: {e}"))?;
        let place = uri.authority().map(|place| place.as_str()).unwrap_or_default();
        match uri.scheme_str() {
            Some("http" | "https") if place.contains('@') => {
                Err("a name and password in the address would stand in the log: not supported".into())
            }
            Some("http" | "https") if !place.is_empty() => Ok(Authority(uri)),
            _ => Err(format!("{text:?} is no address as http://timestamp.example.net/tsr")),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Authority {
    /// What sends a request and gives the reply.
    pub(crate) fn into_ask(self) -> impl FnMut(&[u8]) -> Result<Vec<u8>, String> + Send + 'static {
        let agent = agent(self.0.scheme_str() == Some("https"));
        move |request| post(&agent, &self.0, request).map_err(|e| format!("{}: {e}", self.0))
    }
}

/// For `https` the certificates of this machine are believed, as its administrator keeps them.
fn agent(tls: bool) -> Agent {
    let mut config = Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(REDIRECTS_MAX);
    if tls {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::warn!(
                "no certificate authorities on this machine (package ca-certificates): https cannot work"
            );
        }
        let roots = found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::from(roots.collect::<Vec<_>>()))
            .unversioned_rustls_crypto_provider(provider);
        config = config.tls_config(tls.build());
    }
    config.build().new_agent()
}

fn post(agent: &Agent, to: &Uri, request: &[u8]) -> Result<Vec<u8>, ureq::Error> {
    let sent = agent
        .post(to)
        .header("Content-Type", "application/timestamp-query")
        .header("Accept", "application/timestamp-reply")
        .send(request);
    sent?.body_mut().with_config().limit(store::REPLY_MAX as u64).read_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_https_without_a_password() {
        for right in ["http://tsa.example/tsr", "https://tsa.example:8443/", "http://[::1]:3161"] {
            assert_eq!(right.parse::<Authority>().map(|_| ()), Ok(()), "{right}");
        }
        for wrong in ["", "tsa.example", "ftp://tsa.example/", "http://", "http://me:secret@tsa.example/"] {
            let told = wrong.parse::<Authority>().expect_err(wrong);
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
