//! Asking servers over HTTP: addresses that may be configured, and how a connection is trusted.

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

/// Where a server listens; `http` or `https`, without a name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Uri);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|e| format!("{text:?} is no address: {e}"))?;
        let place = uri.authority().map(|place| place.as_str()).unwrap_or_default();
        match uri.scheme_str() {
            Some("http" | "https") if place.contains('@') => {
                Err("a name and password in the address would stand in the log: not supported".into())
            }
            Some("http" | "https") if !place.is_empty() => Ok(Address(uri)),
            _ => Err(format!("{text:?} is no address as https://www.example.net/path")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address {
    /// Scheme and server, for the log: of some services the rest is the secret.
    pub(crate) fn server(&self) -> String {
        let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
        format!("{}://{}", part(self.0.scheme_str()), part(self.0.authority().map(|place| place.as_str())))
    }

    /// For `ureq`.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// What asks this server. For `https` the certificates of this machine are believed, as its administrator keeps them.
    pub(crate) fn agent(&self) -> Agent {
        let mut config = Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(REDIRECTS_MAX);
        if self.0.scheme_str() == Some("https") {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_https_without_a_password() {
        for right in ["http://tsa.example/tsr", "https://tsa.example:8443/", "http://[::1]:3161"] {
            assert_eq!(right.parse::<Address>().map(|_| ()), Ok(()), "{right}");
        }
        for wrong in ["", "tsa.example", "ftp://tsa.example/", "http://", "http://me:secret@tsa.example/"] {
            let told = wrong.parse::<Address>().expect_err(wrong);
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
