//! Recordings by mail: what a letter says, single-use links, who may send, and what becomes of what a server does not take.

mod common;

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use common::site::Site;
use common::{Voice, facts, record, tone};
use decode::Party;
use decode::codec::g711::Law;
use policy::access::{AccessFilter, FilterMode, Scope};
use policy::{Field, Permission};
use store::{AccountChange, RecordingId};
use tower::ServiceExt;
use web::mail::{Letter, NotTaken, Post};
use web::server::Beside;

/// Takes letters and keeps them, or says why not.
#[derive(Default)]
struct Postbox {
    letters: Mutex<Vec<Letter>>,
    refuses: Mutex<Option<NotTaken>>,
}

impl Postbox {
    fn letters(&self) -> Vec<Letter> {
        self.letters.lock().expect("no panic").clone()
    }

    fn refuse(&self, why: &str, of_server: bool) {
        *self.refuses.lock().expect("no panic") = Some(NotTaken { why: why.into(), of_server });
    }
}

impl Post for Postbox {
    fn is_open(&self) -> bool {
        true
    }

    fn send(&self, letter: &Letter) -> Result<(), NotTaken> {
        self.letters.lock().expect("no panic").push(letter.clone());
        let refuses = self.refuses.lock().expect("no panic").clone();
        match refuses.filter(|_| letter.to.as_str() != "good@example.net") {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

fn office() -> (Site, Arc<Postbox>) {
    let postbox = Arc::new(Postbox::default());
    let post: Arc<dyn Post> = Arc::clone(&postbox) as Arc<dyn Post>;
    (Site::with("", |beside| Beside { mail: Some(post), ..beside }), postbox)
}

const MAILS: [Permission; 2] = [Permission::Email, Permission::Play];

/// A form for this recording, with something else in it where that is said.
fn form<'f>(id: &'f str, how: &'f str, other: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let usual = [
        ("do", "send"),
        ("id", id),
        ("to", "ann@example.net"),
        ("subject", "For you"),
        ("text", "Please listen."),
        ("how", how),
        ("as", "wav"),
    ];
    let is_other = |name: &str| other.iter().any(|(other, _)| *other == name);
    usual.into_iter().filter(|(name, _)| !is_other(name)).chain(other.iter().copied()).collect()
}

const SEND: &str = "/recordings/email";

/// The path of the link in a letter.
fn link(letter: &Letter) -> String {
    let from = letter.text.find("/once/").expect("a link");
    letter.text[from..].split_whitespace().next().expect("a link").to_owned()
}

/// What somebody without a session gets: status and body.
async fn anybody(site: &Site, method: Method, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8480")
        .header(header::ORIGIN, "http://127.0.0.1:8480")
        .body(Body::empty())
        .expect("a request");
    let (parts, body) = site.router.clone().oneshot(request).await.expect("never fails").into_parts();
    (parts.status, to_bytes(body, usize::MAX).await.expect("a whole body").to_vec())
}

#[tokio::test]
async fn each_addressee_gets_a_letter_with_the_facts_and_a_link_of_their_own() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    let page = site.get(&format!("/recordings/{id}"), &bob).await.text;
    assert!(page.contains(&format!("href=\"/recordings/{id}/email\"")), "{page}");
    let empty = site.get(&format!("/recordings/{id}/email"), &bob).await;
    assert_eq!(empty.status, StatusCode::OK);
    for part in ["not encrypted any more", "http://127.0.0.1:8480", "value=\"link\" required checked"] {
        assert!(empty.text.contains(part), "{part} in {}", empty.text);
    }
    let to = [("to", "ann@example.net, Eve@example.net;\r\nANN@example.net")];
    let sent = site.post(SEND, &bob, &form(&id, "link", &to)).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    assert!(sent.text.contains("<bdi>ann@example.net</bdi>, <bdi>Eve@example.net</bdi>"), "{}", sent.text);
    let letters = postbox.letters();
    assert_eq!(
        letters.iter().map(|letter| letter.to.as_str()).collect::<Vec<_>>(),
        ["ann@example.net", "Eve@example.net"]
    );
    assert!(link(&letters[0]) != link(&letters[1]));
    for part in [
        "Please listen.\n",
        "Call answered: 2026-03-04 05:07:07 UTC\n",
        "Duration: 0:00\n",
        "Outside number: 2041\n",
    ] {
        assert!(letters[0].text.contains(part), "{part} in {}", letters[0].text);
    }
    assert!(letters[0].text.contains("Extension: 2041\n") && letters[0].text.contains("Hunt group: 2041\n"));
    let url = format!("http://127.0.0.1:8480{}\n", link(&letters[0]));
    assert!(letters[0].text.contains(&url) && !letters[0].text.contains("Eve"), "{}", letters[0].text);
    assert_eq!(letters[0].attachment, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_who_use_a_link_at_the_same_moment_one_gets_the_file() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    site.post(SEND, &bob, &form(&id, "link", &[])).await;
    let path = link(&postbox.letters()[0]);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (router, path) = (site.router.clone(), path.clone());
        tries.spawn(async move {
            let request = Request::post(path)
                .header(header::HOST, "127.0.0.1:8480")
                .header(header::ORIGIN, "http://127.0.0.1:8480")
                .body(Body::empty())
                .expect("a request");
            let (parts, body) = router.oneshot(request).await.expect("never fails").into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a whole body");
            (parts.status, body.starts_with(b"RIFF"))
        });
    }
    let all = tries.join_all().await;
    let count = |wanted: (StatusCode, bool)| all.iter().filter(|one| **one == wanted).count();
    assert_eq!((count((StatusCode::OK, true)), count((StatusCode::GONE, false))), (1, 99), "{all:?}");
    let max = site.somebody("max", &[Permission::AuditTrail], Scope::Organization).await;
    let trail = site.get("/audit.csv?kind=saved", &max).await.text;
    assert_eq!(trail.matches("link used").count(), 1, "{trail}");
}

#[tokio::test]
async fn a_link_is_not_used_up_by_looking_and_used_ones_look_as_ones_that_never_were() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    site.post(SEND, &bob, &form(&id, "link", &[("as", "flac")])).await;
    let path = link(&postbox.letters()[0]);
    for method in [Method::GET, Method::HEAD, Method::GET] {
        assert_eq!(anybody(&site, method, &path).await.0, StatusCode::OK);
    }
    let page = String::from_utf8(anybody(&site, Method::GET, &path).await.1).expect("text");
    assert!(page.contains("within 10 min") && page.contains(&format!("action=\"{path}\"")), "{page}");
    assert!(!page.contains("<script") && !page.contains("2041") && !page.contains(&id), "{page}");
    let from_elsewhere = Request::post(&path)
        .header(header::HOST, "127.0.0.1:8480")
        .header(header::ORIGIN, "http://evil.example")
        .body(Body::empty())
        .expect("a request");
    let refused = site.router.clone().oneshot(from_elsewhere).await.expect("never fails");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let (status, file) = anybody(&site, Method::POST, &path).await;
    assert_eq!((status, &file[..4]), (StatusCode::OK, &b"fLaC"[..]));
    let never = format!("/once/{}", "0".repeat(32));
    let unknown = anybody(&site, Method::GET, &never).await;
    assert_eq!(unknown.0, StatusCode::GONE);
    for (method, path) in [(Method::GET, &path), (Method::POST, &path), (Method::POST, &never)] {
        assert_eq!(anybody(&site, method, path).await, unknown, "{path}");
    }
    assert_eq!(anybody(&site, Method::GET, "/once/%ff").await, unknown);
    let page = String::from_utf8(unknown.1).expect("text");
    assert!(page.contains("has expired") && !page.contains("<script"), "{page}");
}

#[tokio::test]
async fn the_trail_has_who_sent_what_to_whom_and_each_use_and_nothing_that_opens_a_link() {
    let (site, postbox) = office();
    let ids = [site.record(1, "2041"), site.record(2, "2042")].map(|id| id.to_string());
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    let selected =
        site.post("/recordings/selected", &bob, &[("do", "email"), ("id", &ids[0]), ("id", &ids[1])]).await;
    assert!(selected.status == StatusCode::OK && selected.text.contains("As one ZIP"), "{}", selected.text);
    let both = [("id", ids[0].as_str()), ("id", ids[1].as_str()), ("as", "")];
    assert_eq!(site.post(SEND, &bob, &form("", "link", &both)).await.status, StatusCode::OK);
    let path = link(&postbox.letters()[0]);
    let (status, file) = anybody(&site, Method::POST, &path).await;
    assert_eq!((status, &file[..2]), (StatusCode::OK, &b"PK"[..]));
    let max = site.somebody("max", &[Permission::AuditTrail], Scope::Organization).await;
    let trail = site.get("/audit.csv?kind=saved", &max).await.text;
    let mailed = trail.lines().find(|line| line.contains("mailed")).expect("a line");
    let used = trail.lines().find(|line| line.contains("link used")).expect("a line");
    for part in ["bob", "127.0.0.1", "to: ann@example.net", "format: zip", &ids[0], &ids[1]] {
        assert!(mailed.contains(part) && used.contains(part), "{part} in {trail}");
    }
    assert!(mailed.contains("how: link"), "{mailed}");
    let name = |line: &str| line.split("link: ").nth(1).map(|rest| rest[..16].to_owned());
    assert_eq!(name(mailed), name(used), "which link it was");
    let secret = path.strip_prefix("/once/").expect("ours");
    let secret = &secret[..12];
    let is_kept = |path: &std::path::Path| {
        String::from_utf8_lossy(&std::fs::read(path).expect("read")).contains(secret)
    };
    let mut folders = vec![site.archive.dir().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(!is_kept(&path), "{}", path.display());
            }
        }
    }
    assert!(site.archive.verify(None).all(|finding| !finding.is_problem()));
}

#[tokio::test]
async fn what_the_sender_may_not_do_any_more_their_link_does_not_do() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let send = async |name: &str| {
        let cookie = site.somebody(name, &MAILS, Scope::Organization).await;
        assert_eq!(site.post(SEND, &cookie, &form(&id, "link", &[])).await.status, StatusCode::OK);
        link(postbox.letters().last().expect("a letter"))
    };
    let (disabled, deaf, blind) = (send("bob").await, send("eve").await, send("cid").await);
    site.change(AccountChange::Disable { name: "bob".into(), disabled: true });
    site.somebody_may("eve", &[Permission::Email]);
    let filter = AccessFilter::new("No 2041", FilterMode::Deny, &[(Field::Extension, "2041")], None);
    site.change(AccountChange::PutFilter(filter.expect("a filter")));
    let mut role = site.archive.accounts().role("cid's").expect("there").clone();
    role.filters = vec!["No 2041".into()];
    site.change(AccountChange::PutRole(role));
    for path in [disabled, deaf, blind] {
        assert_eq!(anybody(&site, Method::POST, &path).await.0, StatusCode::GONE);
        assert_eq!(anybody(&site, Method::GET, &path).await.0, StatusCode::GONE, "for good");
    }
}

#[tokio::test]
async fn an_attachment_is_the_file_and_one_that_is_too_large_is_refused_with_what_to_do() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let long = facts(2, 320_000, "2042");
    let long = record(&site.archive, long, &[Voice::g711(Party::Near, Law::Mu, &tone(320 * 8_000, 440.0))])
        .to_string();
    site.archive.sync().expect("a disk");
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    assert_eq!(site.post(SEND, &bob, &form(&id, "attachment", &[])).await.status, StatusCode::OK);
    let letter = postbox.letters().remove(0);
    let file = letter.attachment.expect("a file");
    assert_eq!(
        (file.name, file.media_type, &file.bytes[..4]),
        (format!("{id}.wav"), "audio/wav", &b"RIFF"[..])
    );
    assert!(letter.text.contains("not encrypted") && !letter.text.contains("/once/"), "{}", letter.text);
    let large = site.post(SEND, &bob, &form(&long, "attachment", &[])).await;
    assert_eq!((large.status, postbox.letters().len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert!(
        large.text.contains("more than 10 MB") && large.text.contains("ann@example.net"),
        "{}",
        large.text
    );
    let small = site.post(SEND, &bob, &form(&long, "attachment", &[("as", "ogg")])).await;
    assert_eq!(small.status, StatusCode::OK, "{}", small.text);
    let two = [("id", id.as_str()), ("id", long.as_str()), ("as", "wav")];
    let two = site.post(SEND, &bob, &form("", "link", &two)).await;
    assert!(two.status == StatusCode::UNPROCESSABLE_ENTITY && two.text.contains("one ZIP"), "{}", two.text);
}

#[tokio::test]
async fn who_may_not_hear_sends_addresses_of_pages_alone_and_nobody_sends_what_they_do_not_see() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let deaf = site.somebody("eve", &[Permission::Email], Scope::Organization).await;
    for how in ["link", "attachment"] {
        assert_eq!(site.post(SEND, &deaf, &form(&id, how, &[])).await.status, StatusCode::NOT_FOUND, "{how}");
    }
    let page = site.get(&format!("/recordings/{id}/email"), &deaf).await.text;
    assert!(!page.contains("value=\"attachment\"") && page.contains("value=\"lasting-link\""), "{page}");
    assert_eq!(site.post(SEND, &deaf, &form(&id, "lasting-link", &[])).await.status, StatusCode::OK);
    let letter = postbox.letters().remove(0);
    assert!(letter.text.contains(&format!("http://127.0.0.1:8480/recordings/{id}\n")), "{}", letter.text);
    assert!(!letter.text.contains("/once/") && letter.attachment.is_none());

    let none = site.somebody("cid", &[Permission::Play, Permission::Save], Scope::Organization).await;
    let narrow = site.somebody("dan", &MAILS, Scope::Own).await;
    let nowhere = RecordingId::from_bytes([9; 16]).to_string();
    for (cookie, id) in [(&none, &id), (&narrow, &id), (&deaf, &nowhere)] {
        let get = site.get(&format!("/recordings/{id}/email"), cookie).await.status;
        // What is off with a form is told to nobody who may not send it.
        let post = site.post(SEND, cookie, &form(id, "lasting-link", &[("to", "x")])).await.status;
        assert_eq!((get, post), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{id}");
    }
    let both = [("id", id.as_str()), ("id", nowhere.as_str())];
    let both = site.post(SEND, &deaf, &form("", "lasting-link", &both)).await;
    assert_eq!((both.status, postbox.letters().len()), (StatusCode::NOT_FOUND, 1), "all or none");
    assert!(!site.get(&format!("/recordings/{id}"), &none).await.text.contains("/email\""));
}

#[tokio::test]
async fn what_a_form_has_wrong_is_told_and_kept_and_nothing_is_sent() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    let (long, many) = ("x".repeat(201), (0..21).map(|n| format!("a{n}@example.net,")).collect::<String>());
    for (name, value, why) in [
        ("to", "", "at least one address"),
        ("to", "ann", "no address"),
        ("to", "Ann <ann@example.net>", "no address"),
        ("to", many.as_str(), "at most 20"),
        ("subject", "", "one line"),
        ("subject", "a\r\nBcc: all@example.net", "one line"),
        ("subject", long.as_str(), "one line"),
    ] {
        let reply = site.post(SEND, &bob, &form(&id, "attachment", &[(name, value), ("as", "flac")])).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {value:?}");
        assert!(
            reply.text.contains(why) && reply.text.contains("Please listen.</textarea>"),
            "{why}: {}",
            reply.text
        );
        let kept = ["value=\"attachment\" required checked", "value=\"flac\" selected"];
        assert!(kept.iter().all(|part| reply.text.contains(part)), "{}", reply.text);
    }
    for wrong in [("how", "pigeon"), ("as", "exe")] {
        assert_eq!(site.post(SEND, &bob, &form(&id, "link", &[wrong])).await.status, StatusCode::BAD_REQUEST);
    }
    let none = site.post(SEND, &bob, &form("", "link", &[])).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(postbox.letters(), []);
}

#[tokio::test]
async fn a_letter_that_the_server_does_not_take_is_told_is_an_event_and_its_link_opens_nothing() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let bob = site.somebody("bob", &MAILS, Scope::Organization).await;
    postbox.refuse("permanent error (550): no such user", false);
    let to = [("to", "bad@example.net, good@example.net, worse@example.net")];
    let some = site.post(SEND, &bob, &form(&id, "link", &to)).await;
    assert_eq!((some.status, postbox.letters().len()), (StatusCode::OK, 3), "{}", some.text);
    assert!(some.text.contains("Sent to <bdi>good@example.net</bdi>."), "{}", some.text);
    assert!(
        some.text.contains(
            "Not sent to <bdi>bad@example.net</bdi>: <bdi>permanent error (550): no such user</bdi>"
        )
    );
    let status =
        async |letter: usize| anybody(&site, Method::POST, &link(&postbox.letters()[letter])).await.0;
    assert_eq!((status(0).await, status(1).await), (StatusCode::GONE, StatusCode::OK));

    // A server that says nothing is not asked for each of them.
    postbox.refuse("Connection error: refused", true);
    let none = site.post(SEND, &bob, &form(&id, "link", &[("to", "a@example.net, b@example.net")])).await;
    assert_eq!((none.status, postbox.letters().len()), (StatusCode::UNPROCESSABLE_ENTITY, 4));
    assert!(none.text.contains("Nothing was sent: Connection error: refused"), "{}", none.text);
    let max = site.somebody("max", &[Permission::AuditTrail], Scope::Organization).await;
    let trail = site.get("/audit.csv?kind=saved", &max).await.text;
    assert_eq!(trail.matches("not mailed").count(), 3, "{trail}");
    assert!(trail.contains("why: permanent error (550): no such user"), "{trail}");
}

#[tokio::test]
async fn an_account_that_has_written_to_many_waits_and_others_do_not() {
    let (site, postbox) = office();
    let id = site.record(1, "2041").to_string();
    let (bob, eve) = (
        site.somebody("bob", &MAILS, Scope::Organization).await,
        site.somebody("eve", &MAILS, Scope::Organization).await,
    );
    let twenty: String = (0..20).map(|n| format!("a{n}@example.net ")).collect();
    for _ in 0..5 {
        let sent = site.post(SEND, &bob, &form(&id, "lasting-link", &[("to", twenty.as_str())])).await;
        assert_eq!(sent.status, StatusCode::OK);
    }
    let more = site.post(SEND, &bob, &form(&id, "lasting-link", &[])).await;
    assert!(
        more.status == StatusCode::UNPROCESSABLE_ENTITY && more.text.contains("go on in 60 minutes"),
        "{}",
        more.text
    );
    assert_eq!(site.post(SEND, &eve, &form(&id, "lasting-link", &[])).await.status, StatusCode::OK);
    assert_eq!(postbox.letters().len(), 101);
}
