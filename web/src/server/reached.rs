//! Where browsers reach the pages: which hosts are ours, and which origin.
//!
//! A page of another site can make its own name point to our address (DNS rebinding) and would then be of the same origin
//! as ours: only requests that name us by an address or by a name of ours are answered.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub(super) address: SocketAddr,
    pub(super) is_secure: bool,
    names: Vec<String>,
    /// Of the certificate, SHA-256 as browsers show it; empty over HTTP.
    fingerprint: String,
}

impl Reached {
    /// Over HTTP, at this address alone.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Reached {
        Reached { address, is_secure: false, names: Vec::new(), fingerprint: String::new() }
    }

    /// Over HTTPS, by these names too, with a certificate of this fingerprint.
    #[must_use]
    pub fn secure(address: SocketAddr, names: Vec<String>, fingerprint: String) -> Reached {
        Reached { address, is_secure: true, names, fingerprint }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What this recorder is called: its name, or its address.
    pub(super) fn host(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.address.ip().to_string())
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// What stands before the path of a link to us.
    pub(super) fn origin(&self) -> String {
        let (scheme, port) = (self.scheme(), self.address.port());
        match self.names.first() {
            Some(name) if self.address.ip().is_unspecified() => format!("{scheme}://{name}:{port}"),
            _ => format!("{scheme}://{}", self.address),
        }
    }

    /// What stands before the path of a link that goes to other people: by name, where there is one, and without a port that
    /// browsers take by themselves.
    pub(super) fn website(&self) -> String {
        let (scheme, port) = (self.scheme(), self.address.port());
        let Some(name) = self.names.first() else { return format!("{scheme}://{}", self.address) };
        if port == self.default_port() {
            return format!("{scheme}://{name}");
        }
        format!("{scheme}://{name}:{port}")
    }

    fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }

    /// Does the request name our own host and our port, in each place where it names one (RFC 9112, 3.2)?
    pub(super) fn is_named(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let is_ours = |name: &str| self.is_our_name(name);
        host.to_str().is_ok_and(is_ours)
            && uri.authority().is_none_or(|authority| is_ours(authority.as_str()))
    }

    /// Was the request sent by a page of ours, as browsers tell (Fetch Metadata; RFC 6454, 7)? Cookies are not told apart by
    /// port, so that a page of another server on this machine could send ours along.
    pub(super) fn is_from_us(&self, headers: &HeaderMap) -> bool {
        let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let is_ours = |origin: &str| {
            origin.split_once("://").is_some_and(|(scheme, host)| {
                scheme == self.scheme()
                    && self.is_our_name(host)
                    && field("host").is_some_and(|named| named.eq_ignore_ascii_case(host))
            })
        };
        match (field("origin"), field("sec-fetch-site")) {
            (Some(origin), _) => is_ours(origin),
            (None, Some(site)) => site == "same-origin",
            (None, None) => false,
        }
    }

    fn is_our_name(&self, name: &str) -> bool {
        let (default, port) = (self.default_port(), self.address.port());
        let host = match name.strip_suffix(&format!(":{port}")) {
            Some(host) => host,
            // Browsers leave the scheme's own port out.
            None if port == default => name,
            None => return false,
        };
        let ip: Option<IpAddr> = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse().ok().filter(IpAddr::is_ipv6),
            None => host.parse().ok().filter(IpAddr::is_ipv4),
        };
        match ip {
            // A name that somebody made point to us is no address.
            Some(ip) if self.is_secure => !ip.is_unspecified(),
            Some(ip) => {
                ip == self.address.ip()
                    || [[127, 0, 0, 1].into(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])].contains(&ip)
            }
            None => {
                host.eq_ignore_ascii_case("localhost")
                    || self.names.iter().any(|name| host.eq_ignore_ascii_case(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_own_names_with_the_own_port_are_ours() {
        let at = |address: &str, name| Reached::plain(address.parse().expect("an address")).is_our_name(name);
        for name in ["localhost:8480", "LocalHost:8480", "127.0.0.1:8480", "[::1]:8480"] {
            assert!(at("127.0.0.1:8480", name), "{name}");
        }
        for name in [
            "localhost",
            "127.0.0.1",
            "localhost:80",
            "localhost:84800",
            "localhost.:8480",
            "evil.example:8480",
            "localhost.evil.example:8480",
            "127.0.0.2:8480",
            "::1:8480",
            "127.0.0.1:8480@evil.example",
            "",
        ] {
            assert!(!at("127.0.0.1:8480", name), "{name}");
        }
        assert!(at("127.0.0.1:80", "localhost") && at("127.0.0.1:80", "127.0.0.1:80"));
        assert!(at("127.0.0.2:8480", "127.0.0.2:8480") && at("[::1]:8480", "[::1]:8480"));
    }

    #[test]
    fn over_https_addresses_and_given_names_are_ours_and_no_other_name() {
        let address = "0.0.0.0:8443".parse().expect("an address");
        let reached = Reached::secure(address, vec!["recorder.lan".into()], String::new());
        for name in [
            "recorder.lan:8443",
            "RECORDER.lan:8443",
            "192.0.2.7:8443",
            "[2001:db8::7]:8443",
            "localhost:8443",
        ] {
            assert!(reached.is_our_name(name), "{name}");
        }
        for name in [
            "recorder.lan",
            "recorder.lan:443",
            "evil.example:8443",
            "0.0.0.0:8443",
            "192.0.2.7",
            "[192.0.2.7]:8443",
            ":8443",
        ] {
            assert!(!reached.is_our_name(name), "{name}");
        }
        assert_eq!(reached.origin(), "https://recorder.lan:8443");
    }

    #[test]
    fn a_link_for_others_has_the_site_s_name_and_a_port_where_browsers_need_one() {
        let at = |address: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Reached::secure(address.parse().expect("an address"), names, String::new()).website()
        };
        let names = ["recorder.lan", "recorder.example"];
        assert_eq!(at("192.0.2.7:8443", &names), "https://recorder.lan:8443");
        assert_eq!(at("0.0.0.0:443", &names), "https://recorder.lan");
        assert_eq!(at("[2001:db8::7]:8443", &[]), "https://[2001:db8::7]:8443");
        let plain = Reached::plain("127.0.0.1:8480".parse().expect("an address"));
        assert_eq!(plain.website(), "http://127.0.0.1:8480");
    }

    #[test]
    fn a_request_that_names_two_hosts_or_none_is_not_for_us() {
        let reached = Reached::plain("127.0.0.1:8480".parse().expect("an address"));
        let ours = HeaderValue::from_static("localhost:8480");
        let mut headers = HeaderMap::new();
        assert!(!reached.is_named(&Uri::from_static("/"), &headers));
        headers.append(header::HOST, ours.clone());
        assert!(reached.is_named(&Uri::from_static("/"), &headers));
        assert!(reached.is_named(&Uri::from_static("http://127.0.0.1:8480/"), &headers));
        assert!(!reached.is_named(&Uri::from_static("http://evil.example/"), &headers));
        headers.append(header::HOST, ours);
        assert!(!reached.is_named(&Uri::from_static("/"), &headers));
    }

    #[test]
    fn what_another_page_sends_is_not_from_us() {
        let reached = Reached::plain("127.0.0.1:8480".parse().expect("an address"));
        let headers = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.append(header::HOST, HeaderValue::from_static("localhost:8480"));
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        for ours in [
            &[("origin", "http://localhost:8480")][..],
            &[("sec-fetch-site", "same-origin")],
            &[("origin", "http://localhost:8480"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(reached.is_from_us(&headers(ours)), "{ours:?}");
        }
        for other in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://localhost:8480")],
            &[("origin", "http://localhost:9000")],
            &[("origin", "http://127.0.0.1:8480")],
            &[("origin", "http://evil.example")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!reached.is_from_us(&headers(other)), "{other:?}");
        }
    }
}
