//! How long pages and the API take over an archive of a million recordings and a million lines of the balance sheet.
//!
//! `cargo bench --bench pages` (options: `-- --recordings N --runs N`). The archive is that of the bench `search`; requests go
//! through the whole router, with an account's session and its scope, and are read to their last byte. The limit of a page is
//! what `search` has for its query, and 250 ms for making 200 rows of it.

mod million;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use decode::Timestamp;
use policy::access::{Role, Scope};
use store::{AccountChange, AccountEdit, Archive, Password};
use tower::ServiceExt;
use web::server::{App, Beside, Reached, router};

use million::{DAY_MS, DAYS, EXTENSIONS, Rng, YEAR_MS, build, calls, measure, memory_mb, option, row};

const ADDRESS: &str = "127.0.0.1:8480";
const ORIGIN: &str = "http://127.0.0.1:8480";
const PASSWORD: &str = "kupfer lampe neun seil";

fn main() {
    let (recordings, runs) = (option("--recordings", 1_000_000), option("--runs", 20));
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let dir = scratch.path().join("archive");
    build(&dir, recordings);
    let archive = Arc::new(Archive::open(&dir).expect("the archive"));
    calls(&archive, recordings);
    people(&archive);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let site = Site::new(archive, &runtime);

    let mut rng = Rng(7);
    println!("{:<52} {:>8} {:>9} {:>9} {:>9}", "", "KB", "p50 ms", "p95 ms", "limit ms");
    let extension = |rng: &mut Rng| (2000 + rng.below(EXTENSIONS)).to_string();
    let month = |rng: &mut Rng| {
        let since = YEAR_MS + rng.below(DAYS as u64 - 31) as i64 * DAY_MS;
        let at = |ms: i64| Timestamp::from_millis(ms).to_string()[..16].to_owned();
        format!("from={}&to={}", at(since), at(since + 31 * DAY_MS))
    };
    type Make<'a> = &'a dyn Fn(&mut Rng) -> String;
    let pages: [(&str, u64, Make<'_>); 15] = [
        ("recordings: today", 300, &|_| "/recordings?range=today".into()),
        ("recordings: all, first page", 300, &|_| "/recordings?range=all".into()),
        ("recordings: all, a page of an extension", 300, &|rng| {
            format!("/recordings?range=all&extension={}", extension(rng))
        }),
        ("recordings: a month", 600, &|rng| format!("/recordings?{}", month(rng))),
        ("recordings: a month, an extension", 600, &|rng| {
            format!("/recordings?{}&extension={}", month(rng), extension(rng))
        }),
        ("recordings: a month, number holds 4711", 600, &|rng| {
            format!("/recordings?{}&other_party=%254711%25", month(rng))
        }),
        ("recordings: a month, sorted by length", 900, &|rng| {
            format!("/recordings?{}&sort=-duration", month(rng))
        }),
        ("recordings: a month, sorted by other party", 900, &|rng| {
            format!("/recordings?{}&sort=other_party", month(rng))
        }),
        ("recordings: the year, sorted by length", 5_000, &|_| "/recordings?range=all&sort=-duration".into()),
        ("recordings: by number", 300, &|rng| {
            format!("/recordings?id={}", row(rng.below(recordings), recordings).facts.id)
        }),
        ("recordings: a SIP Call-ID, the year", 600, &|rng| {
            format!("/recordings?id={}", row(rng.below(recordings), recordings).facts.sip_call_ids[0])
        }),
        ("recordings: nothing matches, the year", 600, &|_| "/recordings?range=all&extension=9999".into()),
        ("API: a page", 300, &|_| "/api/v1/recordings?limit=200".into()),
        ("calls: today", 300, &|_| "/calls?range=today".into()),
        ("calls: this month", 1_500, &|_| "/calls?range=month".into()),
    ];
    for (who, cookie) in &site.cookies {
        for (name, limit, make) in &pages {
            if *who != "all" && !name.starts_with("recordings") {
                continue;
            }
            measure(&format!("{name} ({who})"), Some(*limit), runs, || {
                let path = make(&mut rng);
                let begun = Instant::now();
                let len = runtime.block_on(site.get(&path, cookie));
                (len / 1_000, begun.elapsed())
            });
        }
    }
    println!("RSS {:.0} MB, peak {:.0} MB", memory_mb("VmRSS:"), memory_mb("VmHWM:"));
}

/// Somebody who sees all, and somebody whose scope has to be asked of each row.
fn people(archive: &Archive) {
    let change = |change| archive.change_accounts("bench", now(), change).expect("changed");
    for (name, scope) in [("all", Scope::Organization), ("own", Scope::Own)] {
        let profile = "Supervisor".into();
        let role = Role { name: name.into(), description: String::new(), profile, scope, filters: vec![] };
        change(AccountChange::PutRole(role));
        let edit = AccountEdit { role: Some(name.into()), ..AccountEdit::default() };
        let password = Some(Password::new(PASSWORD));
        change(AccountChange::Add { name: name.into(), edit, password, must_change: false });
    }
}

/// The last evening of the year.
fn now() -> Timestamp {
    Timestamp::from_millis(YEAR_MS + (DAYS - 1) * DAY_MS + 18 * 3_600_000)
}

struct Site {
    router: Router,
    /// Who asks, and with which cookie.
    cookies: Vec<(&'static str, String)>,
}

impl Site {
    fn new(archive: Arc<Archive>, runtime: &tokio::runtime::Runtime) -> Site {
        let reached = Reached::plain(ADDRESS.parse().expect("an address"));
        let router = router(App::new(archive, reached, Beside::new(now), |_| {}));
        let mut site = Site { router, cookies: vec![] };
        for name in ["all", "own"] {
            let body = format!("name={name}&password={}&to=/", PASSWORD.replace(' ', "+"));
            let (cookie, _) = runtime.block_on(site.ask(Method::POST, "/sign-in", "", body));
            assert!(!cookie.is_empty(), "{name} is let in");
            site.cookies.push((name, cookie));
        }
        site
    }

    /// Reads a page; gives its length in bytes.
    async fn get(&self, path: &str, cookie: &str) -> usize {
        self.ask(Method::GET, path, cookie, String::new()).await.1
    }

    async fn ask(&self, method: Method, path: &str, cookie: &str, body: String) -> (String, usize) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, ADDRESS)
            .header(header::ORIGIN, ORIGIN)
            .header(header::COOKIE, cookie)
            .body(Body::from(body))
            .expect("a request");
        let (parts, body) = self.router.clone().oneshot(request).await.expect("never fails").into_parts();
        assert!(
            !parts.status.is_client_error() && !parts.status.is_server_error(),
            "{path}: {}",
            parts.status
        );
        let cookie = parts.headers.get(header::SET_COOKIE).map_or("", |field| field.to_str().expect("ASCII"));
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        (cookie, to_bytes(body, usize::MAX).await.expect("a whole body").len())
    }
}
