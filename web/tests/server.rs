//! The pages as a browser asks for them: who gets in, what every reply carries, what a stranger's text can do, and
//! whether the audio is the export's to the byte.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use common::{facts, started};
use decode::codec::g711::{self, Law};
use decode::{AudioFrame, Codec, Format, Party};
use policy::gate::Cleared;
use store::{Archive, CallRow, Outcome, RecordingFacts, RecordingId};
use tower::ServiceExt;
use web::server::{App, Beside, Place, Reached, Server, router};
use web::{Error, FileFormat, Shape};

/// Samples in a packet: 20 ms.
const PACKET: usize = 160;
const ADDRESS: &str = "127.0.0.1:8480";
const ORIGIN: &str = "http://127.0.0.1:8480";
const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\u{0}</bdi></title>";

/// Records `ms` milliseconds of noise that never repeats, both parties.
fn record(archive: &Archive, facts: RecordingFacts, codec: Codec) -> RecordingId {
    let format = Format { payload_type: 0, codec, clock_rate: 8_000, channels: 1, fmtp: String::new() };
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let mut dice = 1_u32;
    for i in 0..facts.duration_ms as usize / 20 {
        for (party, ssrc) in [(Party::Near, 1), (Party::Far, 2)] {
            let payload: Vec<u8> = (0..PACKET)
                .map(|_| {
                    dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    g711::encode(Law::Mu, (dice >> 18) as i16 - 8_192)
                })
                .collect();
            let frame = AudioFrame {
                at: facts.started.plus_millis(20 * i as i64),
                ssrc,
                sequence: i as u16,
                timestamp: (i * PACKET) as u32,
                marker: i == 0,
                format: &format,
                payload: &payload,
            };
            writer.append(&Cleared::for_test(party, &frame)).expect("room");
        }
    }
    writer.finish(facts).expect("a finished recording")
}

/// A folder for an archive.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive");
    (dir, path)
}

/// A new archive with one recording of `ms` milliseconds in it.
fn archive_of_one(dir: &Path, ms: u64) -> (Archive, RecordingId) {
    let (archive, _) = Archive::open_or_create(dir).expect("an archive");
    let id = record(&archive, facts(1, ms, "2041"), Codec::Pcmu);
    archive.sync().expect("a disk");
    (archive, id)
}

/// A clock that stands a minute behind the recordings that the tests make.
fn beside() -> Beside {
    Beside::new(|| started().plus_millis(60_000))
}

/// The pages, and every link that they announced.
struct Site {
    router: Router,
    links: Arc<Mutex<Vec<String>>>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn field(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

impl Site {
    fn new(archive: Archive) -> Site {
        let links = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&links);
        let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
        let reached = Reached::plain(ADDRESS.parse().expect("an address"));
        let app = App::new(archive, reached, beside(), announce);
        Site { router: router(app), links }
    }

    /// The path of the first link.
    fn entrance(&self) -> String {
        let links = self.links.lock().expect("no panic");
        links[0].strip_prefix(&format!("http://{ADDRESS}")).expect("our address").to_owned()
    }

    async fn ask(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.expect("never fails").into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Asks without a cookie.
    async fn get(&self, path: &str) -> Reply {
        self.ask(request(Method::GET, path).body(Body::empty()).expect("a request")).await
    }

    /// Goes in and gives the cookie.
    async fn enter(&self) -> String {
        let reply = self.get(&self.entrance()).await;
        assert_eq!((reply.status, reply.field(header::LOCATION)), (StatusCode::SEE_OTHER, Some("/")));
        let cookie = reply.field(header::SET_COOKIE).expect("a cookie");
        cookie.split(';').next().expect("a cookie").to_owned()
    }

    async fn get_as(&self, cookie: &str, path: &str) -> Reply {
        let request = request(Method::GET, path).header(header::COOKIE, cookie);
        self.ask(request.body(Body::empty()).expect("a request")).await
    }

    async fn range(&self, cookie: &str, path: &str, range: &str) -> Reply {
        let request = request(Method::GET, path).header(header::COOKIE, cookie).header(header::RANGE, range);
        self.ask(request.body(Body::empty()).expect("a request")).await
    }
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, ADDRESS)
}

/// Every route, as a browser would ask for it, and some that do not exist.
fn routes(id: RecordingId) -> Vec<String> {
    [
        "/",
        "/recordings",
        "/recordings?range=all",
        "/recordings?extension=5-1",
        "/recordings/columns",
        "/recordings/filters",
        "/recordings/selected",
        "/recordings/zip",
        "/live",
        "/live/events",
        "/calls",
        "/calls.csv",
        "/mine",
        "/dashboard",
        "/users",
        "/users/new",
        "/users/ann",
        "/roles",
        "/retention",
        "/holds",
        "/rules",
        "/rules/review",
        "/rules/text",
        "/rules/versions/1",
        "/audit",
        "/audit.csv",
        "/me",
        "/me/password",
        "/me/totp",
        "/session",
        "/sign-out",
        "/nowhere",
        "/enter/",
        "/enter/a/b",
        "/favicon.ico",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        ["", "/audio.wav", "/delete", "/facts", "/holds", "/notes", "/save", "/sip.pcapng"]
            .map(|of| format!("/recordings/{id}{of}")),
    )
    .chain([format!("/live/{id}"), format!("/mine/{id}")])
    .chain([format!("/recordings/{}", RecordingId::from_bytes([9; 16])), "/recordings/x".to_owned()])
    .collect()
}

#[tokio::test]
async fn without_a_session_every_route_is_forbidden_whatever_the_method() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 100);
    let site = Site::new(archive);
    for path in routes(id) {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS] {
            for cookie in
                ["", "earwitness-8480=", "earwitness-8480=00000000000000000000000000000000", "x=y; a"]
            {
                let request = request(method.clone(), &path)
                    .header(header::COOKIE, cookie)
                    .header(header::ORIGIN, ORIGIN);
                let reply = site.ask(request.body(Body::empty()).expect("a request")).await;
                assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path} {cookie}");
                if method == Method::GET {
                    assert!(
                        reply.text().contains("earwitness serve") && !reply.text().contains("2041"),
                        "{path}"
                    );
                }
            }
        }
    }
    let cookie = site.enter().await;
    assert_eq!(site.get_as(&cookie, "/recordings?range=all").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_link_lets_one_browser_in_once() {
    let (_dir, path) = folder();
    let (archive, _) = archive_of_one(&path, 100);
    let site = Site::new(archive);
    let wrong = format!("/enter/{}", "0".repeat(32));
    assert_eq!(site.get(&wrong).await.status, StatusCode::FORBIDDEN);
    // A preview of the link, as a chat program makes it.
    let preview = request(Method::HEAD, &site.entrance()).body(Body::empty()).expect("a request");
    assert_eq!(site.ask(preview).await.status, StatusCode::FORBIDDEN);

    let reply = site.get(&site.entrance()).await;
    let cookie = reply.field(header::SET_COOKIE).expect("a cookie");
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let (name, rest) = cookie.split_once('=').expect("a cookie");
    assert_eq!((name, rest.find(';')), ("earwitness-8480", Some(32)), "128 bits in hexadecimal");
    assert!(!cookie.contains(site.entrance().trim_start_matches("/enter/")), "the link is not the session");

    let again = site.get(&site.entrance()).await;
    assert_eq!((again.status, again.field(header::SET_COOKIE)), (StatusCode::FORBIDDEN, None));
    assert_eq!(site.links.lock().expect("no panic").len(), 1, "no second link while the session lasts");
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected_even_with_the_cookie_or_the_link() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 100);
    let site = Site::new(archive);
    let ask = async |path: &str, host: &str, cookie: &str| {
        let request = Request::builder().uri(path).header(header::HOST, host).header(header::COOKIE, cookie);
        site.ask(request.body(Body::empty()).expect("a request")).await
    };
    let foreign =
        ["evil.example:8480", "evil.example", "127.0.0.1", "127.0.0.1:80", "localhost", "0.0.0.0:8480", ""];
    for host in foreign {
        assert_eq!(ask(&site.entrance(), host, "").await.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let cookie = site.enter().await;
    for path in routes(id) {
        for host in foreign {
            assert_eq!(
                ask(&path, host, &cookie).await.status,
                StatusCode::MISDIRECTED_REQUEST,
                "{path} {host}"
            );
        }
    }
    for host in ["localhost:8480", "127.0.0.1:8480", "[::1]:8480"] {
        assert_eq!(ask("/calls", host, &cookie).await.status, StatusCode::OK, "{host}");
    }
    let no_host = Request::builder().uri("/").body(Body::empty()).expect("a request");
    assert_eq!(site.ask(no_host).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn every_reply_carries_the_strict_headers_and_no_page_has_script_or_style_in_it() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 1_000);
    let site = Site::new(archive);
    let mut replies =
        vec![site.get("/").await, site.get("/enter/wrong").await, site.get(&site.entrance()).await];
    let cookie =
        replies[2].field(header::SET_COOKIE).and_then(|c| c.split(';').next()).expect("a cookie").to_owned();
    for path in routes(id) {
        replies.push(site.get_as(&cookie, &path).await);
    }
    let audio = format!("/recordings/{id}/audio.wav");
    replies.push(site.range(&cookie, &audio, "bytes=0-9").await);
    replies.push(site.range(&cookie, &audio, "bytes=99999999-").await);
    let post = request(Method::POST, "/calls").header(header::COOKIE, &cookie).header(header::ORIGIN, ORIGIN);
    replies.push(site.ask(post.body(Body::empty()).expect("a request")).await);
    let elsewhere = Request::builder().uri("/").header(header::HOST, "evil.example");
    replies.push(site.ask(elsewhere.body(Body::empty()).expect("a request")).await);

    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [200, 204, 206, 303, 403, 404, 405, 416, 421, 422, 503]);
    for reply in &replies {
        for (name, value) in [
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
                 connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            let given: Vec<_> = reply.headers.get_all(&name).iter().collect();
            assert_eq!(given, [value], "{} {name}", reply.status);
        }
        if reply.field(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            let page = reply.text();
            let ours = "<script src=\"/assets/earwitness.js\" defer></script>";
            let page = page.replace(ours, "");
            assert!(
                !["<script", "<style", " style=", "javascript:", " onclick"].iter().any(|s| page.contains(s))
            );
            assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
        }
    }
}

#[tokio::test]
async fn what_a_stranger_wrote_stays_text_on_every_page() {
    let (_dir, path) = folder();
    let (archive, _) = Archive::open_or_create(&path).expect("an archive");
    let id = record(&archive, facts(1, 200, HOSTILE), Codec::Other(HOSTILE.into()));
    let row = CallRow {
        call: HOSTILE.to_owned(),
        sip_call_ids: vec![HOSTILE.to_owned()],
        from: HOSTILE.to_owned(),
        to: HOSTILE.to_owned(),
        started: started(),
        answered: None,
        ended: None,
        outcome: Outcome::Recorded,
        reason: HOSTILE.to_owned(),
        recordings: vec![id],
        ties: Vec::new(),
        why: Vec::new(),
        parts: Vec::new(),
    };
    archive.append_call(&row).expect("room");
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let list =
        format!("/recordings?range=all&extension={}", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%25,_%25");
    for path in [
        list,
        format!("/recordings/{id}"),
        "/calls?range=all&outcome=recorded".to_owned(),
        "/audit?who=%3Cscript%3E%3Cscript%3E".to_owned(),
    ] {
        let reply = site.get_as(&cookie, &path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let page = reply.text().replace("<script src=\"/assets/earwitness.js\" defer></script>", "");
        for part in ["<script", "<img", "\u{202e}", "\u{0}", "onerror=alert(1)>"] {
            assert!(!page.contains(part), "{part} in {path}: {page}");
        }
        assert!(page.matches("&lt;script&gt;").count() >= 1, "it is shown: {page}");
        assert_eq!(page.matches("<bdi>").count(), page.matches("</bdi>").count());
    }
}

#[tokio::test]
async fn the_audio_is_the_export_and_a_range_is_a_slice_of_it() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 30_000);
    let mut whole = Vec::new();
    web::export(&archive, id, FileFormat::Wav, Shape::Stereo, &mut whole).expect("an export");
    let total = whole.len();
    assert_eq!(total, 44 + 4 * 240_000);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let path = format!("/recordings/{id}/audio.wav");

    let reply = site.get_as(&cookie, &path).await;
    assert_eq!((reply.status, reply.field(header::CONTENT_TYPE)), (StatusCode::OK, Some("audio/wav")));
    assert_eq!(reply.field(header::CONTENT_LENGTH), Some(&*total.to_string()));
    assert_eq!(reply.field(header::ACCEPT_RANGES), Some("bytes"));
    assert!(reply.body == whole);

    for (range, expected) in [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=0-43".to_owned(), 0..44),
        ("bytes=0-".to_owned(), 0..total),
        ("bytes=44-47".to_owned(), 44..48),
        ("bytes=65535-65537".to_owned(), 65_535..65_538),
        ("bytes=480000-700001".to_owned(), 480_000..700_002),
        (format!("bytes={}-", total - 1), total - 1..total),
        (format!("bytes={}-99999999", total - 5), total - 5..total),
        ("bytes=-1".to_owned(), total - 1..total),
        ("bytes=-1000".to_owned(), total - 1_000..total),
        ("bytes=-99999999".to_owned(), 0..total),
    ] {
        let reply = site.range(&cookie, &path, &range).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{range}");
        let field = format!("bytes {}-{}/{total}", expected.start, expected.end - 1);
        assert_eq!(reply.field(header::CONTENT_RANGE), Some(&*field));
        assert_eq!(reply.field(header::CONTENT_LENGTH), Some(&*expected.len().to_string()), "{range}");
        assert!(reply.body == whole[expected], "{range}");
    }
    for range in [format!("bytes={total}-"), "bytes=-0".to_owned()] {
        let reply = site.range(&cookie, &path, &range).await;
        assert_eq!(reply.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(reply.field(header::CONTENT_RANGE), Some(&*format!("bytes */{total}")));
    }
    for ignored in ["bytes=0-1,5-6", "bytes=9-3", "lines=0-1"] {
        let reply = site.range(&cookie, &path, ignored).await;
        assert!(reply.status == StatusCode::OK && reply.body == whole, "{ignored}");
    }
    // A range of a version that we never gave out.
    let request =
        request(Method::GET, &path).header(header::COOKIE, &cookie).header(header::RANGE, "bytes=0-1");
    let request = request.header(header::IF_RANGE, "\"x\"").body(Body::empty()).expect("a request");
    assert_eq!(site.ask(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn head_says_the_length_and_sends_nothing() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 1_000);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    for range in [None, Some("bytes=0-9")] {
        let mut request =
            request(Method::HEAD, &format!("/recordings/{id}/audio.wav")).header(header::COOKIE, &cookie);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let reply = site.ask(request.body(Body::empty()).expect("a request")).await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
        assert_eq!(reply.field(header::CONTENT_LENGTH), Some("32044"));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_newest_first_and_in_any_order() {
    let (_dir, path) = folder();
    let (archive, _) = Archive::open_or_create(&path).expect("an archive");
    let one = |i: u8| {
        let of_its_own =
            RecordingFacts { call: format!("call-{i}"), ..facts(i, 20 + 20 * (u64::from(i) % 7), "x") };
        record(&archive, of_its_own, Codec::Pcmu).to_string()
    };
    let mut ids: Vec<String> = (0..250).map(one).collect();
    archive.sync().expect("a disk");
    ids.reverse();
    let site = Site::new(archive);
    let cookie = site.enter().await;
    for sort in ["", "&sort=-duration", "&sort=extension"] {
        let (mut seen, mut next, mut pages) = (Vec::new(), Some(format!("/recordings?range=all{sort}")), 0);
        while let Some(path) = next {
            let reply = site.get_as(&cookie, &path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}");
            let page = reply.text();
            seen.extend(page.split("name=\"id\" value=\"").skip(1).map(|rest| rest[..26].to_owned()));
            next = page
                .split("hx-get=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(|path| path.replace("&amp;", "&"));
            pages += 1;
        }
        assert_eq!((pages, seen.len()), (2, 250), "{sort}");
        if sort == "&sort=-duration" {
            seen.sort_unstable_by(|a, b| b.cmp(a));
        }
        assert!(seen == ids, "{sort}");
    }
    let past = site.get_as(&cookie, &format!("/recordings?range=all&before={}", ids[249])).await;
    assert!(past.text().contains("There are no more"));
    for wrong in ["before=x", "sort=duration&before=x", "extension=5-1", "from=soon"] {
        let reply = site.get_as(&cookie, &format!("/recordings?range=all&{wrong}")).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn the_last_search_is_remembered_and_a_number_is_found_at_all_times() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 100);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let first = site.get_as(&cookie, "/recordings").await;
    assert_eq!(first.field(header::LOCATION), Some("/recordings?range=15m"));
    site.get_as(&cookie, "/recordings?range=month&extension=9999").await;
    let again = site.get_as(&cookie, "/recordings").await;
    assert_eq!(again.field(header::LOCATION), Some("/recordings?range=month&extension=9999"));
    let number = &id.to_string()[..20];
    let found = site.get_as(&cookie, &format!("/recordings?range=15m&extension=9999&id={number}")).await;
    assert!(found.text().contains(&id.to_string()), "{}", found.text());
}

#[tokio::test]
async fn what_another_page_asks_to_be_changed_is_not_changed() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 100);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let post = async |path: &str, body: &str, fields: &[(&'static str, &'static str)]| {
        let mut request = request(Method::POST, path).header(header::COOKIE, &cookie);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        site.ask(request.body(Body::from(body.to_owned())).expect("a request")).await
    };
    let path = format!("/recordings/{id}/facts");
    for foreign in [
        &[][..],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:9999")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        assert_eq!(post(&path, "tags=claim", foreign).await.status, StatusCode::FORBIDDEN, "{foreign:?}");
    }
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert!(!page.text().contains("claim"));
    let ours = [("origin", ORIGIN)];
    assert_eq!(
        post(&path, "tags=claim, %3Ci%3Evip&stars=4&tag1=HD-1", &ours).await.status,
        StatusCode::SEE_OTHER
    );
    let note = format!("/recordings/{id}/notes");
    assert_eq!(post(&note, "text=asks+for+Anna&at=0:00.1", &ours).await.status, StatusCode::SEE_OTHER);
    assert_eq!(post(&note, "text=x&at=soon", &ours).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    for shown in ["value=\"&lt;i&gt;vip, claim\"", "value=\"4\" checked", "HD-1", "asks for Anna", "#t=0.1"] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert_eq!(post(&path, "tags=vip&stars=0", &ours).await.status, StatusCode::SEE_OTHER);
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert!(page.text().contains("value=\"vip\"") && !page.text().contains("claim"));
}

#[tokio::test]
async fn recordings_are_saved_one_by_one_and_as_a_zip_of_what_is_seen() {
    let (_dir, path) = folder();
    let (archive, _) = Archive::open_or_create(&path).expect("an archive");
    let ids: Vec<RecordingId> =
        (0..3).map(|i| record(&archive, facts(i, 200, "2041"), Codec::Pcmu)).collect();
    archive.sync().expect("a disk");
    let site = Site::new(archive);
    let cookie = site.enter().await;
    for (format, magic) in
        [("zip", &b"PK"[..]), ("wav", b"RIFF"), ("flac", b"fLaC"), ("ogg", b"OggS"), ("vcon", b"{")]
    {
        let reply = site.get_as(&cookie, &format!("/recordings/{}/save?as={format}", ids[0])).await;
        assert_eq!(reply.status, StatusCode::OK, "{format}");
        assert!(reply.body.starts_with(magic), "{format}");
        let name = reply.field(header::CONTENT_DISPOSITION).expect("a name");
        assert!(name.starts_with(&format!("attachment; filename=\"{}.", ids[0])), "{name}");
    }
    assert_eq!(
        site.get_as(&cookie, &format!("/recordings/{}/save?as=exe", ids[0])).await.status,
        StatusCode::BAD_REQUEST
    );
    let part =
        async |query: &str| site.get_as(&cookie, &format!("/recordings/{}/save?{query}", ids[0])).await;
    let cut = part("as=wav&from=0.1&to=0:00.2").await;
    assert_eq!((cut.status, cut.body.len()), (StatusCode::OK, 44 + 800 * 4), "a tenth of a second");
    let name = cut.field(header::CONTENT_DISPOSITION).expect("a name").to_owned();
    assert!(name.ends_with("-from-0.00.1.wav\""), "{name}");
    for (query, status) in [
        ("as=wav&from=soon", StatusCode::UNPROCESSABLE_ENTITY),
        ("as=wav&from=9:00", StatusCode::UNPROCESSABLE_ENTITY),
        ("as=zip&from=0:00", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(part(query).await.status, status, "{query}");
    }
    let post = async |path: &str, body: String| {
        let request =
            request(Method::POST, path).header(header::COOKIE, &cookie).header(header::ORIGIN, ORIGIN);
        site.ask(request.body(Body::from(body)).expect("a request")).await
    };
    let names = |reply: &Reply| {
        let zip = zip::ZipArchive::new(std::io::Cursor::new(reply.body.clone())).expect("a ZIP");
        zip.file_names()
            .map(|name| name.expect("a name").into_owned())
            .filter(|name| name.ends_with(".wav"))
            .collect::<Vec<_>>()
    };
    let all = post("/recordings/zip", "search=/recordings?range%3Dall".to_owned()).await;
    assert_eq!((all.status, names(&all).len()), (StatusCode::OK, 3));
    let two = post("/recordings/selected", format!("do=zip&id={}&id={}&id=nonsense", ids[0], ids[2])).await;
    assert_eq!((two.status, names(&two).len()), (StatusCode::OK, 2));
    assert_eq!(
        post("/recordings/selected", "do=zip".to_owned()).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let trail = site.get_as(&cookie, "/audit.csv?kind=saved").await;
    // What broke off before anything left was asked for, too.
    assert_eq!(trail.text().matches("\"exported\"").count(), 9, "{}", trail.text());
    assert!(trail.text().contains("wav, 0:00.1 to 0:00.2"), "{}", trail.text());
}

#[tokio::test]
async fn a_play_is_one_line_of_the_trail_and_stands_there_before_the_first_byte() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 5_000);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    for range in ["bytes=0-9", "bytes=44-99", "bytes=0-"] {
        site.range(&cookie, &format!("/recordings/{id}/audio.wav"), range).await;
    }
    let trail = site.get_as(&cookie, &format!("/audit.csv?recording={id}&kind=heard")).await;
    assert_eq!(trail.text().matches("\"played\"").count(), 1, "{}", trail.text());
    assert!(trail.text().contains("\"console\",\"127.0.0.1\""));
    let page = site.get_as(&cookie, "/audit").await;
    assert!(page.text().contains("played") && !page.text().contains(&cookie[20..]), "no secret in it");
}

#[tokio::test]
async fn the_page_of_a_sound_recording_says_so_and_plays_it() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 1_000);
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let reply = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.text().contains("valid, verified just now"));
    assert!(reply.text().contains(&format!("preload=\"none\" src=\"/recordings/{id}/audio.wav\"")));
    for path in [format!("/recordings/{}", RecordingId::from_bytes([9; 16])), "/recordings/zzz".to_owned()] {
        assert_eq!(site.get_as(&cookie, &path).await.status, StatusCode::NOT_FOUND);
        assert_eq!(site.get_as(&cookie, &format!("{path}/audio.wav")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_recording_that_was_changed_is_shown_as_such_and_not_played() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 3_000);
    archive.close().expect("a disk");
    let file = file_named(&path.join("recordings"), &id.to_string()).expect("the recording's file");
    let mut bytes = std::fs::read(&file).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("the file");
    let site = Site::new(Archive::open(&path).expect("the archive"));
    let cookie = site.enter().await;
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(
        page.text().contains("not as it was sealed") && !page.text().contains("<audio"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("2041"), "its facts are still shown");
    let audio = site.get_as(&cookie, &format!("/recordings/{id}/audio.wav")).await;
    assert_eq!(audio.status, StatusCode::CONFLICT);
    for reply in [page, audio] {
        assert!(!reply.text().contains(path.to_str().expect("UTF-8")), "no path of this machine");
    }
    assert_eq!(site.get_as(&cookie, "/recordings?range=all").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_recording_says_by_whom_and_why_and_has_no_player() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 100);
    let event = |what| store::Event { at: started(), who: "<b>eve".into(), what };
    archive.edit(event(store::What::Tagged { id, tag: "<i>claim".into() })).expect("tagged");
    archive.edit(event(store::What::Noted { id, text: "<u>asks".into(), at_ms: Some(50) })).expect("noted");
    let (rule, why) = ("by hand".into(), "article 17".into());
    let deletion = store::Deletion { at: started(), who: "<b>officer".into(), rule, why };
    archive.delete(id, deletion, true).expect("deleted");
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    for told in ["The audio was deleted", "&lt;b&gt;officer", "article 17", "&lt;i&gt;claim", "&lt;u&gt;asks"]
    {
        assert!(page.text().contains(told), "{told}: {}", page.text());
    }
    assert!(!page.text().contains("<audio"));
    assert!(site.get_as(&cookie, "/recordings?range=all").await.text().contains("the audio was deleted"));
    let audio = site.get_as(&cookie, &format!("/recordings/{id}/audio.wav")).await;
    assert_eq!(audio.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_the_private_key_everything_is_listed_and_a_sentence_stands_for_the_player() {
    let (_dir, path) = folder();
    let (archive, id) = archive_of_one(&path, 1_000);
    archive.close().expect("a disk");
    std::fs::remove_file(path.join("keys/unwrap.key")).expect("the key");
    let site = Site::new(Archive::open(&path).expect("the archive"));
    let cookie = site.enter().await;
    assert!(site.get_as(&cookie, "/recordings?range=all").await.text().contains(&id.to_string()));
    let page = site.get_as(&cookie, &format!("/recordings/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text().contains("valid, verified just now")
            && page.text().contains("private key is not on this machine")
    );
    assert!(!page.text().contains("<audio"));
    let audio = site.get_as(&cookie, &format!("/recordings/{id}/audio.wav")).await;
    assert_eq!(audio.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_balance_sheet_adds_up_and_names_the_last_calls_with_their_reason() {
    let (_dir, path) = folder();
    let (archive, _) = Archive::open_or_create(&path).expect("an archive");
    for i in 0..203_i64 {
        let row = CallRow {
            call: format!("call-{i}"),
            sip_call_ids: Vec::new(),
            from: format!("from-{i}"),
            to: "2041".to_owned(),
            started: started().plus_millis(i * 1_000),
            answered: None,
            ended: None,
            outcome: if i < 3 { Outcome::Excluded } else { Outcome::NotAnswered },
            reason: "486 Busy Here".to_owned(),
            recordings: Vec::new(),
            ties: Vec::new(),
            why: Vec::new(),
            parts: Vec::new(),
        };
        archive.append_call(&row).expect("room");
    }
    let site = Site::new(archive);
    let cookie = site.enter().await;
    let reply = site.get_as(&cookie, "/calls?range=all").await;
    let page = reply.text();
    for line in [
        "excluded</a></th><td class=\"n\">3<",
        "not answered</a></th><td class=\"n\">200<",
        "calls seen</th><td class=\"n\">203<",
    ] {
        assert!(page.contains(line), "{line}");
    }
    assert_eq!(page.matches("486 Busy Here").count(), 200);
    let (newest, oldest) = (page.find("from-202<"), page.find("from-3<"));
    assert!(newest.is_some() && newest < oldest && !page.contains("from-2<"));
}

#[test]
fn addresses_that_others_can_reach_are_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let (_dir, path) = folder();
        let (archive, _) = Archive::open_or_create(&path).expect("an archive");
        let refused =
            Server::bind(archive, Place::plain(address.parse().expect("an address")), beside(), |_| {});
        assert!(matches!(refused, Err(Error::NotLoopback { .. })), "{address}");
        Archive::open(&path).expect("the archive was closed");
    }
}

#[test]
fn the_server_ends_when_told_even_while_a_player_holds_its_reply_open() {
    let (_dir, path) = folder();
    // Far more than the buffers of a connection take: 5 minutes are 19 MB.
    let (archive, id) = archive_of_one(&path, 300_000);
    let links = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&links);
    let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
    let server =
        Server::bind(archive, Place::plain("127.0.0.1:0".parse().expect("an address")), beside(), announce)
            .expect("a port");
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        server.run_until(async {
            let _ = stopped.await;
        })
    });
    let link = links.lock().expect("no panic")[0].clone();
    let entrance = link.strip_prefix(&format!("http://{address}")).expect("our address").to_owned();
    let entered = whole_reply(address, &entrance, "");
    let cookie = entered.split("set-cookie: ").nth(1).and_then(|c| c.split(';').next()).expect("a cookie");
    assert!(whole_reply(address, "/recordings?range=all", cookie).contains(&id.to_string()));
    let mut player = ask(address, &format!("/recordings/{id}/audio.wav"), cookie);
    let mut first = [0; 12];
    player.read_exact(&mut first).expect("the reply begins");
    assert_eq!(&first, b"HTTP/1.1 200");

    stop.send(()).expect("it runs");
    thread.join().expect("no panic").expect("an orderly end");
    let mut rest = Vec::new();
    // However it breaks off, the player cannot take what it has for the whole.
    let _ = player.read_to_end(&mut rest);
    assert!(rest.len() < 19_000_000, "{}", rest.len());
    let archive = Archive::open(&path).expect("the archive was closed");
    assert_eq!(archive.recovered(), &store::Recovery::default());
}

fn ask(address: SocketAddr, path: &str, cookie: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    stream
}

fn whole_reply(address: SocketAddr, path: &str, cookie: &str) -> String {
    let mut reply = String::new();
    ask(address, path, cookie).read_to_string(&mut reply).expect("a reply");
    reply
}

/// The file below `dir` whose name has `part` in it.
fn file_named(dir: &Path, part: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).expect("a folder").find_map(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return file_named(&path, part);
        }
        path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)).then_some(path)
    })
}
