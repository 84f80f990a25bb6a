//! What stands before every page: the right host, a session, and strict headers on whatever leaves.
//!
//! A page of another site can make its own name point to 127.0.0.1 (DNS rebinding) and would then be of the same origin
//! as ours: only requests that name this machine by its own names are answered. Cookies are not told apart by port,
//! so that a page of another server on this machine could send ours along; `Cross-Origin-Resource-Policy` and the policy
//! on framing keep it from seeing what comes back.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::refusal::Refusal;

/// On every reply. Pages have no script and no style but our one file.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // What is decrypted for a listener is not to lie about in a browser's cache.
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The path of the one page that is reached without a session, up to its token.
pub(super) const ENTRANCE: &str = "/enter/";

/// Lets a request through or refuses it, and dresses the answer.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match admit(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn admit(app: &App, request: &Request) -> Result<(), Refusal> {
    if !names_us(app.address(), request.uri(), request.headers()) {
        return Err(Refusal::WrongHost);
    }
    let is_entrance = request
        .uri()
        .path()
        .strip_prefix(ENTRANCE)
        .is_some_and(|token| !token.is_empty() && !token.contains('/'));
    if is_entrance || app.knows(request.headers(), Instant::now()) {
        return Ok(());
    }
    app.renew(Instant::now());
    Err(Refusal::NotLetIn)
}

/// Does the request name this machine's own host and our port, in each place where it names one (RFC 9112, 3.2)?
fn names_us(address: SocketAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let is_ours = |name: &str| is_our_name(address, name);
    host.to_str().is_ok_and(is_ours) && uri.authority().is_none_or(|authority| is_ours(authority.as_str()))
}

/// Was the request made by one of our own pages? Browsers say so of each WebSocket that they open (RFC 6455, 10.2; RFC 6454, 7).
pub(super) fn is_of_our_pages(address: SocketAddr, headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let host = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    host.is_some_and(|host| is_our_name(address, host))
}

fn is_our_name(address: SocketAddr, name: &str) -> bool {
    let port = address.port();
    // Browsers leave the port of http out.
    let ports = [format!(":{port}"), String::new()];
    let ports = ports.get(..if port == 80 { 2 } else { 1 }).unwrap_or_default();
    let ip = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    ["localhost", "127.0.0.1", "[::1]", &ip]
        .iter()
        .any(|host| ports.iter().any(|port| name.eq_ignore_ascii_case(&format!("{host}{port}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_names_with_the_own_port_are_ours() {
        let at = |address: &str, name| is_our_name(address.parse().expect("an address"), name);
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
    fn only_our_own_pages_are_an_origin_of_ours() {
        let address = "127.0.0.1:8480".parse().expect("an address");
        let of = |origins: &[&str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_str(origin).expect("ASCII"));
            }
            is_of_our_pages(address, &headers)
        };
        assert!(of(&["http://127.0.0.1:8480"]) && of(&["https://localhost:8480"]));
        for wrong in [
            "null",
            "http://localhost:9000",
            "http://evil.example",
            "ws://localhost:8480",
            "localhost:8480",
            "",
        ] {
            assert!(!of(&[wrong]), "{wrong}");
        }
        assert!(!of(&[]) && !of(&["http://localhost:8480", "http://localhost:8480"]));
    }

    #[test]
    fn a_request_that_names_two_hosts_or_none_is_not_for_us() {
        let address = "127.0.0.1:8480".parse().expect("an address");
        let ours = HeaderValue::from_static("localhost:8480");
        let mut headers = HeaderMap::new();
        assert!(!names_us(address, &Uri::from_static("/"), &headers));
        headers.append(header::HOST, ours.clone());
        assert!(names_us(address, &Uri::from_static("/"), &headers));
        assert!(names_us(address, &Uri::from_static("http://127.0.0.1:8480/"), &headers));
        assert!(!names_us(address, &Uri::from_static("http://evil.example/"), &headers));
        headers.append(header::HOST, ours);
        assert!(!names_us(address, &Uri::from_static("/"), &headers));
    }
}
