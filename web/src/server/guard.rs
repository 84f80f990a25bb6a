//! What stands before every page: the right host, a session, changes asked for by our own pages alone, and strict headers on
//! whatever leaves.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::caller::{Asker, First};
use super::limited::Peer;
use super::refusal::Refusal;

/// On every reply. Script and style come from our own files, and nothing from anywhere else.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
         connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Browsers say where a form of ours comes from only where the page may be named to us.
    (header::REFERRER_POLICY, "same-origin"),
    // What is decrypted for a listener is not to lie about in a browser's cache.
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), usb=(), payment=(), display-capture=()",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
];
/// With HTTPS: for a year, browsers ask no other way. Without those below us, which are not ours.
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// The path of the link that works once, up to its token.
pub(super) const ENTRANCE: &str = "/enter/";
/// Files that everybody may have: style and script, which know nothing.
pub(super) const ASSETS: &str = "/assets/";
/// The path of links that fetch what was mailed, up to their secret: they open to whoever has one.
pub(super) const ONCE: &str = "/once/";
/// Where people sign in.
pub(super) const SIGN_IN: &str = "/sign-in";
/// Where somebody who must change the password does so.
const PASSWORD: &str = "/me/password";
/// Where somebody sets up a second factor, and what the page sends it to.
const ME: &str = "/me";
const SECOND_FACTOR: &str = "/me/totp";
const SIGN_OUT: &str = "/sign-out";

/// Lets a request through or refuses it, and dresses the answer.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let fields = response.headers_mut();
    for (name, value) in HEADERS {
        // What says more of itself, as files that never change, keeps its word.
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if app.reached().is_secure {
        fields.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT_TRANSPORT));
    }
    response
}

/// Where a request comes from.
pub(super) fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<Peer>>();
    // Without a socket there is no other machine.
    info.map_or(Ipv4Addr::LOCALHOST.into(), |ConnectInfo(Peer(address))| address.ip().to_canonical())
}

fn admit(app: &App, request: &mut Request) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    if !app.reached().is_named(uri, headers) {
        return Err(Refusal::WrongHost);
    }
    let path = uri.path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !app.reached().is_from_us(headers) {
        return Err(Refusal::NotFromUs);
    }
    let is_entrance =
        path.strip_prefix(ENTRANCE).is_some_and(|token| !token.is_empty() && !token.contains('/'));
    let is_open = is_entrance
        || path.starts_with(ASSETS)
        || path.starts_with(ONCE)
        || (app.has_accounts() && path.starts_with(SIGN_IN));
    let peer = peer(request);
    match app.session(headers, peer, Instant::now()) {
        Some(asker) => {
            let way = match asker.first {
                None => &[][..],
                Some(First::Password) => &[PASSWORD, SIGN_OUT],
                Some(First::SecondFactor) => &[ME, SECOND_FACTOR, SIGN_OUT],
            };
            if let Some(to) = way.first()
                && !is_open
                && !way.contains(&path)
            {
                return Err(Refusal::Before { to });
            }
            request.extensions_mut().insert(asker);
            Ok(())
        }
        None if is_open => Ok(()),
        None => {
            app.renew(Instant::now());
            Err(if app.has_accounts() && request.method() == Method::GET {
                Refusal::SignInFirst {
                    to: request.uri().path_and_query().map_or("/", |to| to.as_str()).to_owned(),
                }
            } else {
                Refusal::NotLetIn
            })
        }
    }
}

/// The peer of a request that is no page's, for handlers.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub(super) IpAddr);

impl<S: Sync> axum::extract::FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<From, std::convert::Infallible> {
        let info = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(From(
            info.map_or(Ipv4Addr::LOCALHOST.into(), |ConnectInfo(Peer(address))| address.ip().to_canonical()),
        ))
    }
}

impl axum::extract::FromRequestParts<App> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &App) -> Result<Asker, Refusal> {
        // The guard put it there for every page that is not open to all.
        parts.extensions.get::<Asker>().cloned().ok_or(Refusal::NotLetIn)
    }
}
