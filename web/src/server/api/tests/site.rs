//! A recorder with a recording, a running call and an account that may everything, as a program meets it.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request as HttpRequest, StatusCode, header};
use decode::codec::g711::{self, Law};
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::Permission;
use policy::access::{Profile, Role, Scope};
use policy::gate::{Cleared, Reply, Request, Told};
use policy::modes::Role as As;
use policy::modes::orders::{Lasting, Whose};
use serde_json::Value;
use store::{
    AccountChange, AccountEdit, Archive, CustomFields, Direction, Password, RecordingFacts, RecordingId,
    Source,
};
use tower::ServiceExt;

use super::book::Lines;
use crate::alerts::{Acknowledged, Alert, Alerts, NotAcknowledged, Watched};
use crate::live::{Live, LiveCall, LiveOrder, LiveWho, NotTaken, Status, Unavailable};
use crate::machine::{LogLine, Machinery, Setting, Severity};
use crate::mail::{Letter, Post};
use crate::rules::RuleBook;
use crate::server::token::{Right, Token, Tokens};
use crate::server::{App, Beside, Reached, router};
use crate::webhooks::{WebhookState, Webhooks};

pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Of a program that may nothing.
pub(super) const POOR: &str = "fedcba9876543210fedcba9876543210";
pub(super) const PASSWORD: &str = "kupfer lampe neun seil";
/// The account of [`TOKEN`].
pub(super) const ACCOUNT: &str = "crm";
pub(super) const EXTENSION: &str = "2041";
/// Where the pages are.
const ADDRESS: &str = "127.0.0.1:8480";

/// A recorder that does whatever it is asked.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) status: Mutex<Arc<Status>>,
    pub(super) asked: Mutex<Vec<Request>>,
    pub(super) ordered: Mutex<Vec<(Whose, Lasting, As, String)>>,
}

impl Live for Recorder {
    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.lock().expect("no panic"))
    }

    fn request(&self, request: Request) -> Result<Reply, Unavailable> {
        let policy::gate::Whom::Extension(extension) = &request.whom else { return Ok(Reply::default()) };
        let status = self.status();
        let all = status.calls.iter().chain(&status.waiting);
        let done = all.filter(|call| call.extension == *extension).count();
        self.asked.lock().expect("no panic").push(request);
        Ok(Reply { done: done as u32, ..Reply::default() })
    }

    fn orders(&self) -> Result<Vec<LiveOrder>, Unavailable> {
        Ok(self.status().orders.clone())
    }

    fn order(&self, whose: Whose, what: Lasting, role: As, name: String) -> Result<(), NotTaken> {
        if whose == Whose::Extension("9999".into()) {
            return Err(NotTaken::Full("no room for one more order".into()));
        }
        self.ordered.lock().expect("no panic").push((whose, what, role, name));
        Ok(())
    }

    fn withdraw(&self, whose: Whose, by: String) -> Result<bool, Unavailable> {
        let mut status = self.status.lock().expect("no panic");
        let mut orders = status.orders.clone();
        let order = orders.iter_mut().find(|order| order.whose == whose && order.end.is_none());
        let was_there = order.map(|order| order.end = Some((format!("withdrawn by {by}"), now()))).is_some();
        *status = Arc::new(Status { orders, ..Status::clone(&status) });
        Ok(was_there)
    }

    fn report(&self, json: &[u8], _: &str) -> Result<Vec<Told>, NotTaken> {
        policy::feed::Batch::from_json(json, now()).map_err(|error| NotTaken::Wrong(error.to_string()))?;
        Ok(Vec::new())
    }

    fn windows(&self, _: String, _: String, _: Vec<String>) -> Result<(), NotTaken> {
        Ok(())
    }

    fn client_gone(&self, _: String) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// A program that has little to tell.
pub(super) struct Workshop;

impl Machinery for Workshop {
    fn log(&self) -> Vec<LogLine> {
        let line = |severity, what: &str| LogLine {
            at: now(),
            severity,
            part: "store".into(),
            what: what.into(),
            fields: vec![("late_ms", "7".into())],
        };
        vec![
            line(Severity::Notice, "begun"),
            line(Severity::Error, "broke <b>"),
            line(Severity::Warning, "late"),
        ]
    }

    fn support_bundle(&self) -> Result<Vec<u8>, crate::Error> {
        crate::support::pack(&[("README.txt", "nothing".to_owned())])
    }

    fn website(&self) -> Vec<Setting> {
        Vec::new()
    }
}

/// Tells webhooks: those that say they are slow do not take it.
pub(super) struct Teller;

impl Webhooks for Teller {
    fn state(&self, _: &str) -> WebhookState {
        WebhookState {
            told: 7,
            last_failed: Some((now(), "it answered 500".into())),
            ..WebhookState::default()
        }
    }

    fn test(&self, name: &str) -> Result<u16, String> {
        if name == "slow" { Err("no answer within 15 s".into()) } else { Ok(204) }
    }
}

/// Takes letters, and keeps them.
#[derive(Default)]
pub(super) struct Postbox(pub(super) Mutex<Vec<Letter>>);

impl Post for Postbox {
    fn is_open(&self) -> bool {
        true
    }

    fn send(&self, letter: &Letter) -> Result<(), crate::mail::NotTaken> {
        self.0.lock().expect("no panic").push(letter.clone());
        Ok(())
    }
}

/// One alert that is up, and what came of it.
#[derive(Default)]
pub(super) struct OneAlert(Mutex<Option<Acknowledged>>);

impl Alerts for OneAlert {
    fn watched(&self) -> Vec<Watched> {
        let watched =
            |key, is_critical, is_on| Watched { key, label: "Something is wrong", is_critical, is_on };
        vec![
            watched("port-down", true, true),
            watched("no-channel", false, true),
            watched("mail", false, false),
        ]
    }

    fn all(&self) -> Vec<Alert> {
        vec![Alert {
            number: 0,
            alarm: "port-down",
            place: "eth1".into(),
            words: "eth1 is down: <b>".into(),
            critical: true,
            raised: now(),
            told: now(),
            told_to: vec!["log".into()],
            cleared: None,
            acknowledged: self.0.lock().expect("no panic").clone(),
        }]
    }

    fn acknowledge(&self, number: u64, who: &str, note: &str, at: Timestamp) -> Result<(), NotAcknowledged> {
        if number > 0 {
            return Err(NotAcknowledged::NoSuch);
        }
        let noted = Acknowledged { who: who.into(), at, note: note.into(), has_changed: false };
        match self.0.lock().expect("no panic").replace(noted) {
            None => Ok(()),
            Some(earlier) => Err(NotAcknowledged::Already(earlier.who)),
        }
    }
}

pub(super) struct Site {
    pub(super) archive: Arc<Archive>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) recording: RecordingId,
    pub(super) running: RecordingId,
    pub(super) lines: Arc<Lines>,
    pub(super) postbox: Arc<Postbox>,
    app: App,
    _dir: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn field(&self, name: header::HeaderName) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

pub(super) fn now() -> Timestamp {
    crate::page::tests::facts().started.plus_millis(3_600_000)
}

/// A running call of [`EXTENSION`].
pub(in crate::server) fn call(number: u8) -> LiveCall {
    LiveCall {
        recording: Some(RecordingId::from_parts(now(), [number; 10])),
        call: format!("call-{number}"),
        segment: 1,
        extension: EXTENSION.into(),
        extension_name: None,
        other_party: "441632960500".into(),
        direction: Direction::Inbound,
        agent: None,
        who: LiveWho::default(),
        outside_number: None,
        other_party_name: None,
        account_code: None,
        hunt_group: None,
        trunk: None,
        ddi: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: vec![],
        fields: CustomFields::default(),
        told_by: Default::default(),
        stale: vec![],
        source: Source::Mirror,
        started: now(),
        paused_since: None,
        paused_by: vec![],
        stopped: false,
        pause_forgotten: false,
        pause_ends: None,
        no_channel: false,
        machine: policy::modes::Machine::new(policy::modes::Mode::Always),
    }
}

impl Site {
    pub(super) fn new() -> Site {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
        let (archive, recorder) = (Arc::new(archive), Arc::new(Recorder::default()));
        let recording = record(&archive);
        let token = |secret, rights: &[Right]| {
            let token = Token::new(ACCOUNT, secret, As::Supervisor, rights.iter().copied()).expect("a token");
            token.of_account(Some(ACCOUNT.into()))
        };
        let tokens = Arc::new(Tokens::new(vec![token(TOKEN, &Right::ALL), token(POOR, &[])]));
        let live: Arc<dyn Live> = Arc::clone(&recorder) as Arc<dyn Live>;
        let lines = Arc::new(Lines::new("exclude endpoint 2005\n", now()));
        lines.look(&archive);
        let rules: Arc<dyn RuleBook> = Arc::clone(&lines) as Arc<dyn RuleBook>;
        let alerts: Option<Arc<dyn Alerts>> = Some(Arc::new(OneAlert::default()));
        let postbox = Arc::new(Postbox::default());
        let beside = Beside {
            mail: Some(Arc::clone(&postbox) as Arc<dyn Post>),
            tokens,
            live: Some(live),
            rules: Some(rules),
            alerts,
            machinery: Some(Arc::new(Workshop)),
            webhooks: Some(Arc::new(Teller)),
            ..Beside::new(now)
        };
        let reached = Reached::plain(ADDRESS.parse().expect("an address"));
        let app = App::new(Arc::clone(&archive), reached, beside, |_: &str| {});
        let running = call(9).recording.expect("it is recorded");
        let site = Site { running, archive, recorder, recording, lines, postbox, app, _dir: dir };
        site.run(vec![call(9)]);
        site.account();
        site
    }

    /// These calls run now.
    pub(super) fn run(&self, calls: Vec<LiveCall>) {
        *self.recorder.status.lock().expect("no panic") =
            Arc::new(Status { at: Some(now()), calls, ..Status::default() });
    }

    /// This is what the recorder does now.
    pub(super) fn stand(&self, status: Status) {
        *self.recorder.status.lock().expect("no panic") = Arc::new(Status { at: Some(now()), ..status });
    }

    pub(super) fn change(&self, change: AccountChange) {
        self.archive.change_accounts("test", now(), change).expect("changed");
    }

    fn account(&self) {
        let permissions = Permission::ALL.into_iter().collect();
        self.change(AccountChange::PutProfile(Profile {
            name: "All".into(),
            description: String::new(),
            permissions,
        }));
        let role = Role {
            name: "All".into(),
            description: String::new(),
            profile: "All".into(),
            scope: Scope::Organization,
            filters: vec![],
        };
        self.change(AccountChange::PutRole(role));
        let edit = AccountEdit { role: Some("All".into()), ..AccountEdit::default() };
        let password = Some(Password::new(PASSWORD));
        self.change(AccountChange::Add { name: ACCOUNT.into(), edit, password, must_change: false });
    }

    /// Asks; `fields` are the header's.
    pub(super) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = HttpRequest::builder()
            .method(method.parse::<Method>().expect("a method"))
            .uri(format!("{}{path}", super::PREFIX));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        self.answer(request).await
    }

    /// Signs in as a person does; gives the cookie.
    pub(super) async fn sign_in(&self) -> String {
        let form = format!("name={ACCOUNT}&password={}&to=/live", PASSWORD.replace(' ', "+"));
        let answer = self.visit("POST", "/sign-in", "", &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        answer.field(header::SET_COOKIE).split(';').next().expect("a cookie").to_owned()
    }

    /// Asks for a page, or sends its form, as a browser does.
    pub(super) async fn visit(&self, method: &str, path: &str, cookie: &str, form: &str) -> Answer {
        let request = HttpRequest::builder()
            .method(method.parse::<Method>().expect("a method"))
            .uri(path)
            .header(header::HOST, ADDRESS)
            .header(header::ORIGIN, format!("http://{ADDRESS}"))
            .header(header::COOKIE, cookie)
            .body(Body::from(form.to_owned()))
            .expect("a request");
        self.answer(request).await
    }

    async fn answer(&self, request: HttpRequest<Body>) -> Answer {
        let (parts, body) =
            router(self.app.clone()).oneshot(request).await.expect("never fails").into_parts();
        let is_endless =
            parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = if is_endless { Body::empty() } else { body };
        let body = to_bytes(body, usize::MAX).await.map(|body| body.to_vec()).unwrap_or_default();
        Answer { status: parts.status, fields: parts.headers, body }
    }

    /// Listens to events.
    pub(super) async fn stream(&self, fields: &[(&str, &str)]) -> Events {
        let mut request = HttpRequest::builder().uri(format!("{}/live/events", super::PREFIX));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = router(self.app.clone()).oneshot(request).await.expect("never fails");
        assert_eq!(answer.status(), StatusCode::OK);
        Events(answer.into_body())
    }

    /// Asks as the program that may everything.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(method, path, &[("authorization", &format!("Bearer {TOKEN}"))], body.as_bytes()).await
    }
}

/// Events as they come.
pub(super) struct Events(Body);

impl Events {
    /// The next one; none at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        let frame = std::future::poll_fn(|context| {
            http_body::Body::poll_frame(std::pin::Pin::new(&mut self.0), context)
        });
        let data = frame.await?.expect("no error").into_data().expect("data");
        Some(String::from_utf8(data.to_vec()).expect("UTF-8"))
    }
}

/// A recording of a second, of both parties.
fn record(archive: &Archive) -> RecordingId {
    let facts = RecordingFacts { duration_ms: 1_000, ..crate::page::tests::facts() };
    let format =
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8_000, channels: 1, fmtp: String::new() };
    let mut writer = archive.create(facts.clone()).expect("a recording");
    for i in 0..50_u32 {
        for (party, ssrc) in [(Party::Near, 1), (Party::Far, 2)] {
            let payload: Vec<u8> =
                (0..160).map(|n| g711::encode(Law::Mu, ((i * 160 + n) % 8_000) as i16)).collect();
            let frame = AudioFrame {
                at: facts.started.plus_millis(20 * i64::from(i)),
                ssrc,
                sequence: i as u16,
                timestamp: i * 160,
                marker: i == 0,
                format: &format,
                payload: &payload,
            };
            writer.append(&Cleared::for_test(party, &frame)).expect("room");
        }
    }
    let id = writer.finish(facts).expect("a finished recording");
    archive.sync().expect("a disk");
    id
}
