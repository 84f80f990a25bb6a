//! Pages with a rule book and accounts, asked in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use decode::codec::g711::Law;
use decode::{Party, Timestamp};
use policy::Permission;
use policy::access::{Profile, Role, Scope};
use serde_json::json;
use store::{AccountChange, AccountEdit, Archive, CallRow, Outcome, Password, RecordingFacts, RecordingId};
use tower::ServiceExt;
use web::server::{App, Beside, Reached, router};

use super::book::Lines;
use super::{Voice, facts, record, started, tone};

const ADDRESS: &str = "127.0.0.1:8480";
const ORIGIN: &str = "http://127.0.0.1:8480";
const PASSWORD: &str = "kupfer lampe neun seil";

/// What the pages' clock shows: an hour behind the first recording.
pub fn now() -> Timestamp {
    started().plus_millis(3_600_000)
}

/// A call without a recording, so many seconds behind the first; with an extension's part in it, or without.
pub fn call_of(number: u8, outcome: Outcome, extension: Option<&str>) -> CallRow {
    let at = started().plus_millis(i64::from(number) * 1_000);
    let part = |extension: &str| {
        let part = json!({
            "extension": extension, "other_party": "01632960500", "direction": "inbound", "source": "mirror", "started": at,
            "outcome": outcome, "names": { "extension_name": "Front desk" },
            "who": { "user": { "id": "ann", "name": "Ann Bell" }, "unit": "Claims", "units_above": ["Insurance"] },
        });
        serde_json::from_value(part).expect("a part")
    };
    CallRow {
        call: format!("call-{number}"),
        sip_call_ids: vec![],
        from: "01632960500".into(),
        to: extension.unwrap_or("2099").into(),
        started: at,
        answered: Some(at),
        ended: Some(at.plus_millis(10_000)),
        outcome,
        reason: "as the rules say".into(),
        recordings: vec![],
        ties: vec![],
        why: vec![],
        parts: extension.map(part).into_iter().collect(),
    }
}

pub struct Site {
    pub router: Router,
    pub archive: Arc<Archive>,
    pub lines: Arc<Lines>,
    _dir: tempfile::TempDir,
}

pub struct Reply {
    pub status: StatusCode,
    pub location: String,
    pub cookie: String,
    pub text: String,
}

impl Site {
    /// Pages over a new archive; `configured` is what counts without a rule book.
    pub fn new(configured: &str) -> Site {
        Site::with(configured, |beside| beside)
    }

    /// The same with more that stands beside.
    pub fn with(configured: &str, more: impl FnOnce(Beside) -> Beside) -> Site {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
        let (archive, lines) = (Arc::new(archive), Arc::new(Lines::new(configured, now())));
        let reached = Reached::plain(ADDRESS.parse().expect("an address"));
        let beside = more(Beside { rules: Some(lines.clone()), ..Beside::new(now) });
        let router = router(App::new(Arc::clone(&archive), reached, beside, |_| {}));
        let site = Site { router, archive, lines, _dir: dir };
        // Without an account there is no signing in.
        site.account("root", "Admin", Scope::Organization);
        site
    }

    pub fn record(&self, number: u8, extension: &str) -> RecordingId {
        let facts = RecordingFacts { call: format!("call-{number}"), ..facts(number, 400, extension) };
        let id = record(&self.archive, facts, &[Voice::g711(Party::Near, Law::Mu, &tone(3_200, 440.0))]);
        self.archive.sync().expect("a disk");
        id
    }

    /// A line of the balance sheet.
    pub fn call(&self, number: u8, from: &str, to: &str) {
        let at = started().plus_millis(i64::from(number) * 1_000);
        let row = CallRow {
            call: format!("call-{number}"),
            sip_call_ids: vec![],
            from: from.into(),
            to: to.into(),
            started: at,
            answered: Some(at),
            ended: Some(at),
            outcome: Outcome::Recorded,
            reason: "every extension".into(),
            recordings: vec![],
            ties: vec![],
            why: vec![],
            parts: vec![],
        };
        self.archive.append_call(&row).expect("room");
    }

    pub fn change(&self, change: AccountChange) {
        self.archive.change_accounts("test", now(), change).expect("changed");
    }

    /// An account whose role has a profile.
    pub fn account(&self, name: &str, profile: &str, scope: Scope) {
        let role = Role {
            name: format!("{name}'s"),
            description: String::new(),
            profile: profile.into(),
            scope,
            filters: vec![],
        };
        self.change(AccountChange::PutRole(role));
        let edit = AccountEdit { role: Some(format!("{name}'s")), ..AccountEdit::default() };
        let password = Some(Password::new(PASSWORD));
        self.change(AccountChange::Add { name: name.into(), edit, password, must_change: false });
    }

    /// Somebody who may do just this; gives the cookie.
    pub async fn somebody(&self, name: &str, permissions: &[Permission], scope: Scope) -> String {
        let profile = self.somebody_may(name, permissions);
        self.account(name, &profile, scope);
        self.sign_in(name).await
    }

    /// What somebody may do, from now on; gives the profile's name.
    pub fn somebody_may(&self, name: &str, permissions: &[Permission]) -> String {
        let profile = format!("{name} may");
        let all = permissions.iter().copied().chain([Permission::WebAccess]);
        self.change(AccountChange::PutProfile(Profile {
            name: profile.clone(),
            description: String::new(),
            permissions: all.collect(),
        }));
        profile
    }

    pub async fn sign_in(&self, name: &str) -> String {
        let body = format!("name={name}&password={}&to=/", PASSWORD.replace(' ', "+"));
        let reply = self.ask(Method::POST, "/sign-in", "", &body).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{name}: {}", reply.text);
        reply.cookie
    }

    pub async fn ask(&self, method: Method, path: &str, cookie: &str, body: &str) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, ADDRESS)
            .header(header::ORIGIN, ORIGIN)
            .header(header::COOKIE, cookie)
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let (parts, body) = self.router.clone().oneshot(request).await.expect("never fails").into_parts();
        let field =
            |name| parts.headers.get(name).map_or("", |value| value.to_str().expect("ASCII")).to_owned();
        let cookie = field(header::SET_COOKIE).split(';').next().unwrap_or_default().to_owned();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body");
        let text = String::from_utf8_lossy(&body).into_owned();
        Reply { status: parts.status, location: field(header::LOCATION), cookie, text }
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Reply {
        self.ask(Method::GET, path, cookie, "").await
    }

    pub async fn post(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Reply {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.ask(Method::POST, path, cookie, &body.finish()).await
    }
}
