//! Every page for every built-in profile, with a recording of one's own and one of somebody else's: what the profile permits and the
//! scope admits is there, everything else looks as what there is not. And signing in.

mod common;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use common::book::Lines;
use common::{Voice, facts, record, started, tone};
use decode::Party;
use decode::codec::g711::Law;
use policy::access::{Role, Scope, built_in_profiles};
use policy::modes::Role::Agent;
use policy::people::User;
use policy::{People, Permission};
use serde_json::Value;
use store::{
    AccountChange, AccountEdit, Archive, Password, PasswordPolicy, RecordingFacts, RecordingId, TotpSecret,
};
use tower::ServiceExt;
use web::machine::{LogLine, Machinery, Setting, Severity};
use web::server::{App, Beside, Reached, Right, Token, Tokens, router};

const ADDRESS: &str = "127.0.0.1:8480";
const ORIGIN: &str = "http://127.0.0.1:8480";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// One that an administrator has made up.
const GIVEN: &str = "blauer hut elf kiesel";
const PASSWORD: &str = "kupfer lampe neun seil";

/// A program that has little to tell.
struct Told;

impl Machinery for Told {
    fn log(&self) -> Vec<LogLine> {
        vec![LogLine {
            at: now(),
            severity: Severity::Warning,
            part: "store".into(),
            what: "broke <b>".into(),
            fields: vec![("late_ms", "7".into())],
        }]
    }

    fn support_bundle(&self) -> Result<Vec<u8>, web::Error> {
        web::support::pack(&[("README.txt", "nothing".to_owned())])
    }

    fn website(&self) -> Vec<Setting> {
        Vec::new()
    }
}

struct Site {
    router: Router,
    archive: Arc<Archive>,
    entrance: String,
    _dir: tempfile::TempDir,
}

struct Reply {
    status: StatusCode,
    location: String,
    cookie: String,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn now() -> decode::Timestamp {
    started().plus_millis(3_600_000)
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
        let mut people = People::default();
        people.add_unit("Claims", None).expect("a unit");
        for id in ["ann", "bob"] {
            people
                .add_user(User { id: id.into(), unit: Some("Claims".into()), ..User::default() })
                .expect("a user");
        }
        archive.know_people(Arc::new(people), Some("Leeds".into()));
        let (archive, links) = (Arc::new(archive), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&links);
        let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
        let reached = Reached::plain(ADDRESS.parse().expect("an address"));
        let token = Token::new("crm", TOKEN, Agent, [Right::Recordings])
            .expect("a token")
            .of_account(Some("crm".into()));
        let nobody =
            Token::new("old", &TOKEN.replace('0', "f"), Agent, [Right::Recordings]).expect("a token");
        let beside = Beside {
            tokens: Arc::new(Tokens::new(vec![token, nobody])),
            rules: Some(Arc::new(Lines::new("", now()))),
            machinery: Some(Arc::new(Told)),
            ..Beside::new(now)
        };
        let router = router(App::new(Arc::clone(&archive), reached, beside, announce));
        let entrance = links.lock().expect("no panic")[0].strip_prefix(ORIGIN).expect("ours").to_owned();
        Site { router, archive, entrance, _dir: dir }
    }

    /// A recording that counts for somebody.
    fn record(&self, number: u8, user: &str, unit: &str) -> RecordingId {
        let facts = RecordingFacts {
            call: format!("call-{number}"),
            user: Some(user.into()),
            user_name: None,
            business_unit: Some(unit.into()),
            site: Some("Leeds".into()),
            ..facts(number, 400, "2041")
        };
        let id = record(&self.archive, facts, &[Voice::g711(Party::Near, Law::Mu, &tone(3_200, 440.0))]);
        self.archive.sync().expect("a disk");
        id
    }

    fn change(&self, change: AccountChange) {
        self.archive.change_accounts("test", now(), change).expect("changed");
    }

    /// An account with a profile of its own role.
    fn account(&self, name: &str, profile: &str, scope: Scope) {
        let role = Role {
            name: format!("{name}'s"),
            description: String::new(),
            profile: profile.into(),
            scope,
            filters: vec![],
        };
        self.change(AccountChange::PutRole(role));
        let edit = AccountEdit {
            role: Some(format!("{name}'s")),
            person: Some("ann".into()),
            ..AccountEdit::default()
        };
        let password = Some(Password::new(PASSWORD));
        self.change(AccountChange::Add { name: name.into(), edit, password, must_change: false });
    }

    async fn ask(&self, method: Method, path: &str, cookie: &str, body: &str) -> Reply {
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
        let body = to_bytes(body, usize::MAX).await.map(|body| body.to_vec()).unwrap_or_default();
        Reply { status: parts.status, location: field(header::LOCATION), cookie, body }
    }

    async fn get(&self, path: &str, cookie: &str) -> Reply {
        self.ask(Method::GET, path, cookie, "").await
    }

    async fn sign_in(&self, name: &str, password: &str) -> Reply {
        let password = password.replace(' ', "+");
        self.ask(Method::POST, "/sign-in", "", &format!("name={name}&password={password}&to=/calls")).await
    }
}

/// What a page takes.
enum Takes {
    /// A permission, of what is about no recording.
    May(Permission),
    /// A permission, and a recording that the scope admits.
    Of(Permission),
    /// A recording that the scope admits.
    Sees,
    /// Some scope.
    SeesAny,
    /// A scope that takes in all.
    SeesAll,
    /// To be signed in.
    Nothing,
    /// The link that works once: no account has it.
    TheLink,
}

fn routes(id: RecordingId) -> Vec<(Method, String, &'static str, Takes)> {
    use Permission as P;
    let of = |rest: &str| format!("/recordings/{id}{rest}");
    let (get, post) = (Method::GET, Method::POST);
    vec![
        (get.clone(), "/recordings?range=all".into(), "", Takes::SeesAny),
        (get.clone(), "/recordings/filters".into(), "", Takes::SeesAny),
        (post.clone(), "/recordings/filters".into(), "do=save&name=x&search=/x?tag=vip", Takes::SeesAny),
        (get.clone(), of(""), "", Takes::Sees),
        (get.clone(), of("/audio.wav"), "", Takes::Of(P::Play)),
        (get.clone(), of("/peaks"), "", Takes::Of(P::Play)),
        (get.clone(), of("/timeline.json"), "", Takes::Of(P::Play)),
        (get.clone(), of("/save?as=wav"), "", Takes::Of(P::Save)),
        (get.clone(), of("/save"), "", Takes::Of(P::Save)),
        (get.clone(), of("/email"), "", Takes::Of(P::Email)),
        (post.clone(), "/recordings/email".into(), "how=link", Takes::May(P::Email)),
        (post.clone(), "/recordings/selected".into(), "do=email", Takes::May(P::Email)),
        (post.clone(), of("/facts"), "tags=x", Takes::Of(P::ModifyDetails)),
        (post.clone(), of("/notes"), "text=x", Takes::Of(P::ModifyDetails)),
        (post.clone(), of("/user"), "do=back", Takes::Of(P::ModifyDetails)),
        (post.clone(), "/recordings/zip".into(), "search=/recordings?range%3Dall", Takes::May(P::Save)),
        (get.clone(), "/usage".into(), "", Takes::May(P::LiveView)),
        (get.clone(), "/calls".into(), "", Takes::SeesAll),
        (get.clone(), "/calls.csv".into(), "", Takes::SeesAll),
        (get.clone(), "/users".into(), "", Takes::May(P::Security)),
        (get.clone(), "/users/new".into(), "", Takes::May(P::Security)),
        (get.clone(), "/users/user0".into(), "", Takes::May(P::Security)),
        (post.clone(), "/users".into(), "name=x", Takes::May(P::Security)),
        (post.clone(), "/users/user0".into(), "do=unlock", Takes::May(P::Security)),
        (get.clone(), "/roles".into(), "", Takes::May(P::Security)),
        (post.clone(), "/roles".into(), "do=remove-role&name=nobody's", Takes::May(P::Security)),
        (post.clone(), "/roles/filters".into(), "do=remove&name=x", Takes::May(P::Security)),
        (get.clone(), "/website".into(), "", Takes::May(P::Security)),
        (post.clone(), "/website".into(), "do=renew", Takes::May(P::Security)),
        (get.clone(), "/locations".into(), "", Takes::May(P::Servers)),
        (get.clone(), "/keys".into(), "", Takes::May(P::Servers)),
        (post.clone(), "/keys".into(), "proof=x", Takes::May(P::Servers)),
        (get.clone(), "/keys/public.json".into(), "", Takes::May(P::Servers)),
        (get.clone(), "/keys/checkpoint".into(), "", Takes::May(P::Servers)),
        (get.clone(), "/logs".into(), "", Takes::May(P::Servers)),
        (get.clone(), "/support-bundle.zip".into(), "", Takes::May(P::Servers)),
        (get.clone(), "/alerts".into(), "", Takes::May(P::Dashboard)),
        (post.clone(), "/alerts".into(), "alert=0", Takes::May(P::Servers)),
        (get.clone(), "/tokens".into(), "", Takes::May(P::Security)),
        (post.clone(), "/tokens".into(), "do=remove&name=x&confirm=x", Takes::May(P::Security)),
        (get.clone(), "/webhooks".into(), "", Takes::May(P::Security)),
        (post.clone(), "/webhooks".into(), "do=remove&name=x&confirm=x", Takes::May(P::Security)),
        (get.clone(), "/set-up".into(), "", Takes::TheLink),
        (get.clone(), "/set-up/administrator".into(), "", Takes::TheLink),
        (post.clone(), "/set-up/administrator".into(), "name=x", Takes::TheLink),
        (get.clone(), "/set-up/connection".into(), "", Takes::TheLink),
        (get.clone(), "/set-up/key".into(), "", Takes::TheLink),
        (post.clone(), "/set-up/key".into(), "do=show", Takes::TheLink),
        (get.clone(), "/set-up/heard".into(), "", Takes::TheLink),
        (post.clone(), "/set-up/heard".into(), "which=all", Takes::TheLink),
        (get.clone(), "/set-up/events".into(), "", Takes::TheLink),
        (get.clone(), "/set-up/first".into(), "", Takes::TheLink),
        (get.clone(), "/rules".into(), "", Takes::May(P::PauseRules)),
        (get.clone(), "/rules/device".into(), "", Takes::May(P::PhoneSystems)),
        (get.clone(), "/rules/extensions".into(), "", Takes::May(P::PhoneSystems)),
        (get.clone(), "/rules/values?of=dial_plan".into(), "", Takes::May(P::DialPlan)),
        (get.clone(), "/rules/entry?of=keep".into(), "", Takes::May(P::Retention)),
        (get.clone(), "/rules/entry?of=code".into(), "", Takes::May(P::PauseRules)),
        (get.clone(), "/people".into(), "", Takes::May(P::People)),
        (get.clone(), "/people/user".into(), "", Takes::May(P::People)),
        (get.clone(), "/rules/try".into(), "", Takes::May(P::Inclusions)),
        (get.clone(), "/rules/text".into(), "", Takes::May(P::Retention)),
        (get.clone(), "/rules/versions".into(), "", Takes::May(P::DialPlan)),
        (
            post.clone(),
            "/rules/review".into(),
            "from=0&edit=add-rule&list=exclude&kind=endpoint&value=1",
            Takes::May(P::Exclusions),
        ),
        (get.clone(), "/retention".into(), "", Takes::May(P::Retention)),
        (post.clone(), "/retention".into(), "do=clock&at=0&confirm=x", Takes::May(P::Retention)),
        (get.clone(), "/holds".into(), "", Takes::May(P::Holds)),
        (post.clone(), "/holds".into(), "do=hold&name=x", Takes::May(P::Holds)),
        (post.clone(), of("/holds"), "do=hold&name=x", Takes::Of(P::Holds)),
        (post.clone(), of("/delete"), "confirm=x", Takes::Of(P::Delete)),
        (get.clone(), "/audit".into(), "", Takes::May(P::AuditTrail)),
        (get.clone(), "/audit.csv".into(), "", Takes::May(P::AuditTrail)),
        (get.clone(), "/me".into(), "", Takes::Nothing),
        (get, "/session".into(), "", Takes::Nothing),
    ]
}

#[tokio::test]
async fn what_a_profile_permits_and_a_scope_admits_is_there_and_all_else_looks_as_what_there_is_not() {
    let site = Site::new();
    let (own, others) = (site.record(1, "ann", "Claims"), site.record(2, "bob", "Sales"));
    let scopes = [Scope::Organization, Scope::UnitAndBelow, Scope::Own, Scope::None];
    let nowhere = RecordingId::from_bytes([9; 16]);
    let mut looked = 0;
    for (i, profile) in built_in_profiles().into_iter().enumerate() {
        let (name, scope) = (format!("user{i}"), scopes[i % scopes.len()]);
        site.account(&name, &profile.name, scope);
        let may = |permission| profile.permissions.has(permission);
        let reply = site.sign_in(&name, PASSWORD).await;
        if !may(Permission::WebAccess) {
            assert_eq!(
                (reply.status, reply.cookie.as_str()),
                (StatusCode::FORBIDDEN, ""),
                "{name} has no access to the pages"
            );
            continue;
        }
        assert_eq!(
            (reply.status, reply.location.as_str()),
            (StatusCode::SEE_OTHER, "/calls"),
            "{name}: {}",
            reply.text()
        );
        let cookie = reply.cookie;
        for id in [own, others, nowhere] {
            let admits = match scope {
                Scope::Organization => id != nowhere,
                Scope::None => false,
                _ => id == own,
            };
            for (method, path, body, takes) in routes(id) {
                let expected = match takes {
                    Takes::May(permission) => may(permission),
                    Takes::Of(permission) => may(permission) && admits,
                    Takes::Sees => admits,
                    Takes::SeesAny => scope != Scope::None,
                    Takes::SeesAll => scope == Scope::Organization,
                    Takes::Nothing => true,
                    Takes::TheLink => false,
                };
                let reply = site.ask(method.clone(), &path, &cookie, body).await;
                let is_there = !matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
                assert_eq!(
                    is_there, expected,
                    "{} ({scope}): {method} {path}: {}",
                    profile.name, reply.status
                );
                if !is_there && path.contains(&id.to_string()) {
                    // Of what is somebody else's one learns as much as of what there is not.
                    let missing = site
                        .ask(method, &path.replace(&id.to_string(), &nowhere.to_string()), &cookie, body)
                        .await;
                    assert_eq!((missing.status, missing.text()), (reply.status, reply.text()), "{path}");
                }
                looked += 1;
            }
        }
        let list = site.get("/recordings?range=all", &cookie).await.text();
        assert_eq!(list.contains(&others.to_string()), scope == Scope::Organization, "{}", profile.name);
    }
    assert!(looked > 300, "{looked}");
}

#[tokio::test]
async fn who_is_not_signed_in_comes_to_the_sign_in_and_on_from_there() {
    let site = Site::new();
    let id = site.record(1, "ann", "Claims");
    assert_eq!(site.get("/calls", "").await.status, StatusCode::FORBIDDEN, "nobody has an account yet");
    assert_eq!(site.get("/sign-in", "").await.status, StatusCode::FORBIDDEN);
    site.account("Ann", "Supervisor", Scope::Organization);
    let path = format!("/recordings/{id}");
    let reply = site.get(&path, "").await;
    assert_eq!(
        (reply.status, reply.location),
        (StatusCode::SEE_OTHER, format!("/sign-in?to=%2Frecordings%2F{id}"))
    );
    assert_eq!(site.ask(Method::POST, "/recordings/zip", "", "").await.status, StatusCode::FORBIDDEN);
    for (name, password) in [("ann", "wrong"), ("nobody", PASSWORD), ("", "")] {
        let reply = site.sign_in(name, password).await;
        assert_eq!((reply.status, reply.cookie.as_str()), (StatusCode::FORBIDDEN, ""), "{name}");
        assert!(
            reply.text().contains("did not let you in") && !reply.text().contains("wrong\""),
            "{}",
            reply.text()
        );
    }
    let reply = site.sign_in("ANN", PASSWORD).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let cookie = reply.cookie;
    assert_eq!(site.get(&path, &cookie).await.status, StatusCode::OK);
    assert_eq!(site.ask(Method::POST, "/sign-out", &cookie, "").await.location, "/sign-in");
    assert_eq!(site.get(&path, &cookie).await.status, StatusCode::SEE_OTHER, "the session is over");
    // The link of the console still works, for who has lost the password.
    let console = site.get(&site.entrance, "").await;
    assert_eq!(site.get("/users", &console.cookie).await.status, StatusCode::OK);
    let trail = site.get("/audit.csv?kind=sign-in", &console.cookie).await.text();
    let count = |did: &str| trail.matches(&format!("\"{did}\"")).count();
    assert_eq!((count("signed in"), count("sign-in refused"), count("signed out")), (2, 3, 1), "{trail}");
    assert!(!trail.contains("nobody") && !trail.contains("wrong"), "{trail}");
}

#[tokio::test]
async fn whoever_is_disabled_or_gets_another_password_is_out_at_once() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    site.account("ann", "Supervisor", Scope::Organization);
    let cookie = site.sign_in("ann", PASSWORD).await.cookie;
    assert_eq!(site.get("/me", &cookie).await.status, StatusCode::OK);
    let later = now().plus_millis(1);
    let disabled = AccountChange::Disable { name: "ann".into(), disabled: true };
    site.archive.change_accounts("test", later, disabled).expect("disabled");
    assert_eq!(site.get("/me", &cookie).await.status, StatusCode::SEE_OTHER);
    let enabled = AccountChange::Disable { name: "ann".into(), disabled: false };
    site.archive.change_accounts("test", later, enabled).expect("enabled");
    assert_eq!(site.get("/me", &cookie).await.status, StatusCode::SEE_OTHER, "what was ended stays ended");
}

#[tokio::test]
async fn a_password_that_must_be_changed_comes_before_everything_else() {
    let site = Site::new();
    site.account("ann", "Supervisor", Scope::Organization);
    site.change(AccountChange::SetPassword {
        name: "ann".into(),
        password: Password::new(GIVEN),
        must_change: true,
    });
    let cookie = site.sign_in("ann", GIVEN).await.cookie;
    let reply = site.get("/recordings?range=all", &cookie).await;
    assert_eq!((reply.status, reply.location.as_str()), (StatusCode::SEE_OTHER, "/me/password"));
    assert!(site.get("/me/password", &cookie).await.text().contains("Choose a new password"));
    let (now, new) = (GIVEN.replace(' ', "+"), "gelbe+wolke+vier+tulpen");
    for (password, new) in [("wrong", new), (now.as_str(), "short"), (now.as_str(), now.as_str())] {
        let reply =
            site.ask(Method::POST, "/me/password", &cookie, &format!("password={password}&new={new}")).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{password} {new}");
    }
    let reply = site.ask(Method::POST, "/me/password", &cookie, &format!("password={now}&new={new}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(site.get("/me", &cookie).await.status, StatusCode::SEE_OTHER, "the old session is over");
    assert_eq!(site.get("/recordings?range=all", &reply.cookie).await.status, StatusCode::OK);
}

#[tokio::test]
async fn with_a_second_factor_the_password_alone_lets_nobody_in() {
    let site = Site::new();
    site.account("ann", "Supervisor", Scope::Organization);
    let secret = TotpSecret::new().expect("random bytes");
    site.change(AccountChange::BeginTotp { name: "ann".into(), secret: secret.clone() });
    site.change(AccountChange::ConfirmTotp {
        name: "ann".into(),
        code: secret.code_at(now().plus_millis(-30_000)),
    });
    let reply = site.sign_in("ann", PASSWORD).await;
    let page = reply.text();
    assert_eq!((reply.status, reply.cookie.as_str()), (StatusCode::OK, ""));
    assert!(page.contains("Second factor") && !page.contains(PASSWORD));
    let step = page
        .split("name=\"step\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a step")
        .to_owned();
    let code = secret.code_at(now());
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let try_code = async |step: &str, code: &str| {
        site.ask(Method::POST, "/sign-in/code", "", &format!("step={step}&code={code}&to=/calls")).await
    };
    assert_eq!(try_code(&step, wrong).await.status, StatusCode::FORBIDDEN);
    assert_eq!(try_code("0123", &code).await.status, StatusCode::FORBIDDEN, "a step of nobody's");
    let reply = try_code(&step, &code).await;
    assert_eq!(
        (reply.status, reply.location.as_str()),
        (StatusCode::SEE_OTHER, "/calls"),
        "{}",
        reply.text()
    );
    assert_eq!(
        try_code(&step, &code).await.status,
        StatusCode::FORBIDDEN,
        "the step and the code are used up"
    );
}

#[tokio::test]
async fn where_everybody_must_have_a_second_factor_it_comes_before_everything_else() {
    let site = Site::new();
    site.account("ann", "Supervisor", Scope::Organization);
    let cookie = site.sign_in("ann", PASSWORD).await.cookie;
    let policy = PasswordPolicy { second_factor: true, ..site.archive.accounts().password_policy() };
    site.change(AccountChange::SetPolicy(policy));
    let reply = site.get("/recordings?range=all", &cookie).await;
    assert_eq!((reply.status, reply.location.as_str()), (StatusCode::SEE_OTHER, "/me"));
    let begin = format!("do=begin&password={}", PASSWORD.replace(' ', "+"));
    let page = site.ask(Method::POST, "/me/totp", &cookie, &begin).await.text();
    assert!(page.contains("Set up the second factor") && page.contains("otpauth://totp/"), "{page}");
}

#[tokio::test]
async fn the_first_account_administers_and_makes_the_others() {
    let site = Site::new();
    let console = site.get(&site.entrance, "").await.cookie;
    assert!(site.get("/users", &console).await.text().contains("Make the first administrator"));
    let form = format!("name=root&display_name=Root&role=Administrator&new={}", PASSWORD.replace(' ', "+"));
    let short = site.ask(Method::POST, "/users", &console, "name=root&role=Administrator&new=short").await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.ask(Method::POST, "/users", &console, &form).await.location, "/users");
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let made = site.ask(Method::POST, "/users", &root, "name=eve&role=Supervisor&person=ann").await;
    let page = made.text();
    assert_eq!(made.status, StatusCode::OK, "{page}");
    let first = page
        .split("data-copy=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a password")
        .to_owned();
    assert_eq!(first.len(), 32);
    let reply = site.sign_in("eve", &first).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(
        site.get("/calls", &reply.cookie).await.location,
        "/me/password",
        "it is for the first time alone"
    );
    let last = site.ask(Method::POST, "/users/root", &root, "do=disable").await;
    assert_eq!(last.status, StatusCode::UNPROCESSABLE_ENTITY, "the last one who administers");
    assert_eq!(site.ask(Method::POST, "/users/eve", &root, "do=remove&confirm=eve").await.location, "/users");
    assert_eq!(site.get("/users/eve", &root).await.status, StatusCode::NOT_FOUND);
    // A profile is copied and changed; a role has it.
    let copied = site.ask(Method::POST, "/roles", &root, "do=profile&name=Ears&of=User").await;
    assert_eq!(copied.status, StatusCode::OK, "{}", copied.text());
    let changed = site
        .ask(Method::POST, "/roles", &root, "do=profile&name=Ears&permission=web_access&permission=play")
        .await;
    assert_eq!(changed.status, StatusCode::OK);
    let profile = site.archive.accounts().profile("Ears").expect("there");
    assert_eq!(profile.permissions.iter().collect::<Vec<_>>(), [Permission::WebAccess, Permission::Play]);
    let role = site.ask(Method::POST, "/roles", &root, "do=role&name=Ears&profile=Ears&scope=own").await;
    assert_eq!(role.status, StatusCode::OK);
    assert_eq!(site.archive.accounts().role("Ears").map(|role| role.scope), Some(Scope::Own));
}

#[tokio::test]
async fn what_passwords_must_be_is_set_on_the_page_and_told_where_it_is_set_elsewhere() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let page = site.get("/website", &root).await.text();
    assert!(page.contains("12 characters or more") && page.contains("15 min"), "{page}");
    let post = async |form: &str| site.ask(Method::POST, "/website", &root, form).await.status;
    let form = "do=policy&strength=high&expires_days=90&reuse=6&tries=5&locked_minutes=60";
    assert_eq!(post(form).await, StatusCode::OK);
    let policy = site.archive.accounts().password_policy();
    assert_eq!(
        (policy.strength.key(), policy.expires_days, policy.reuse, policy.tries, policy.locked_minutes),
        ("high", Some(90), 6, 5, 60)
    );
    for wrong in [
        "do=policy&strength=none&reuse=6&tries=5&locked_minutes=60",
        "do=policy&strength=high&reuse=x&tries=5&locked_minutes=60",
        "do=policy&strength=high&reuse=99&tries=5&locked_minutes=60",
        "do=policy&strength=high&reuse=6&tries=5&locked_minutes=0",
        "do=policy&strength=high&expires_days=0&reuse=6&tries=5&locked_minutes=60",
        "do=renew&confirm=some",
    ] {
        assert_eq!(post(wrong).await, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(site.archive.accounts().password_policy(), policy, "nothing was changed");
    assert_eq!(post("do=renew&confirm=everybody").await, StatusCode::OK);
    assert!(site.archive.accounts().account("root").is_some_and(|root| root.must_change));
    let page = site.get("/users", &root).await;
    assert_eq!((page.status, page.location.as_str()), (StatusCode::SEE_OTHER, "/me/password"));
}

#[tokio::test]
async fn access_filters_are_tried_made_given_to_a_role_and_taken_off_on_the_page() {
    let site = Site::new();
    let id = site.record(1, "ann", "Claims").to_string();
    site.account("root", "Admin", Scope::Organization);
    site.account("ann", "Supervisor", Scope::Organization);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let form = "name=Board&mode=deny&conditions=extension%3D2000-2099%0D%0A";
    let post = async |form: &str| site.ask(Method::POST, "/roles/filters", &root, form).await;
    let tried = post(&format!("do=try&{form}")).await.text();
    assert!(tried.contains("It would hide 1 of the last 1 recordings"), "{tried}");
    assert!(site.archive.accounts().filters().is_empty(), "tried, and not made");
    assert_eq!(post(&format!("do=put&{form}")).await.status, StatusCode::OK);
    for wrong in [
        "do=put&name=x&mode=deny&conditions=",
        "do=put&name=x&mode=deny&conditions=extension",
        "do=put&name=x&mode=deny&conditions=colour%3Dred",
        "do=put&name=x&mode=deny&conditions=extension%3D2003-1005",
        "do=put&name=x&mode=deny&min_s=5",
        "do=remove&name=x",
    ] {
        assert_eq!(post(wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    let ann = site.sign_in("ann", PASSWORD).await.cookie;
    let list = "/recordings?range=all";
    assert!(site.get(list, &ann).await.text().contains(&id));
    let role = "do=role&name=ann's&profile=Supervisor&scope=organization";
    let roles =
        async |more: &str| site.ask(Method::POST, "/roles", &root, &format!("{role}{more}")).await.status;
    assert_eq!(roles("&filters=shown&filter=Board").await, StatusCode::OK);
    assert!(!site.get(list, &ann).await.text().contains(&id), "at once");
    assert_eq!(roles("").await, StatusCode::OK);
    assert_eq!(
        site.archive.accounts().role("ann's").expect("there").filters,
        ["Board"],
        "not said, and kept"
    );
    assert_eq!(post("do=remove&name=Board").await.status, StatusCode::UNPROCESSABLE_ENTITY, "a role has it");
    assert_eq!(roles("&filters=shown").await, StatusCode::OK);
    assert_eq!(post("do=remove&name=Board").await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_are_shown_without_a_secret_and_a_line_of_the_sheet_shows_that_it_is_on_paper() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let sheet = site.archive.recovery_sheet().expect("a sheet");
    let line =
        sheet.lines().find_map(|line| line.trim().strip_prefix("K2")).expect("a line").trim().to_owned();
    let page = site.get("/keys", &root).await.text();
    assert!(
        page.contains("nobody has shown it") && page.contains("in a file") && !page.contains(&line),
        "{page}"
    );
    let wrong = site.ask(Method::POST, "/keys", &root, "proof=K2+AAAA").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let typed = format!("proof={}", line.replace(' ', "+"));
    let right = site.ask(Method::POST, "/keys", &root, &typed).await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.text());
    assert!(site.get("/keys", &root).await.text().contains("on paper"));
    let public = site.get("/keys/public.json", &root).await.text();
    assert!(public.contains(&site.archive.key_status().expect("read").key_id), "{public}");
    assert!(!site.get("/keys/checkpoint", &root).await.body.is_empty());
    let trail = site.get("/audit.csv?kind=changed", &root).await.text();
    assert!(
        trail.contains("recovery sheet") && trail.contains("proven") && !trail.contains(&line),
        "{trail}"
    );
}

#[tokio::test]
async fn the_log_is_text_on_its_page_and_a_bundle_that_is_taken_along_has_its_line() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let page = site.get("/logs", &root).await.text();
    assert!(page.contains("broke &lt;b&gt;") && page.contains("late_ms=7"), "{page}");
    assert!(site.get("/logs?level=error", &root).await.text().contains("Nothing of this kind"));
    assert_eq!(&site.get("/support-bundle.zip", &root).await.body[..2], b"PK");
    let trail = site.get("/audit.csv?kind=saved", &root).await.text();
    assert!(trail.contains("support bundle"), "{trail}");
}

#[tokio::test]
async fn a_token_that_is_made_on_the_page_is_shown_once_and_removed_by_its_name() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    site.account("desk", "Supervisor", Scope::Own);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    let page = site.get("/tokens", &root).await.text();
    assert!(page.contains("No token was made here yet") && page.contains("<bdi>crm</bdi>"), "{page}");
    let asked = "do=add&name=wall&account=desk&right=recordings&right=calls&as=agent&expires=2031-01-31";
    let made = site.ask(Method::POST, "/tokens", &root, asked).await;
    let page = made.text();
    assert_eq!(made.status, StatusCode::OK, "{page}");
    let secret = page.split("data-copy=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    assert!(secret.starts_with("ewk_"), "{secret}");
    assert!(page.contains("recordings, calls") && page.contains("2031-01-31 00:00:00 UTC"), "{page}");
    let asked = async || {
        let request = Request::builder()
            .uri("/api/v1/recordings?range=all")
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .body(Body::empty())
            .expect("a request");
        site.router.clone().oneshot(request).await.expect("never fails").status()
    };
    assert_eq!(asked().await, StatusCode::OK);
    assert!(!site.get("/tokens", &root).await.text().contains(secret), "once");
    for wrong in [
        "do=add&name=wall&account=desk&right=calls",
        "do=add&name=crm&account=desk&right=calls",
        "do=add&name=x&account=desk",
        "do=add&name=x&account=desk&right=fly",
        "do=add&name=x&account=&right=calls",
        "do=add&name=x&account=desk&right=calls&expires=soon",
        "do=remove&name=wall&confirm=",
    ] {
        let reply = site.ask(Method::POST, "/tokens", &root, wrong).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(asked().await, StatusCode::OK, "nothing was removed");
    let gone = site.ask(Method::POST, "/tokens", &root, "do=remove&name=wall&confirm=wall").await;
    assert_eq!((gone.status, asked().await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn a_webhook_that_is_made_on_the_page_shows_its_secret_once_and_is_removed_by_its_name() {
    let site = Site::new();
    site.account("root", "Admin", Scope::Organization);
    site.account("desk", "Supervisor", Scope::Own);
    let root = site.sign_in("root", PASSWORD).await.cookie;
    assert!(site.get("/webhooks", &root).await.text().contains("No program is told yet"));
    let hook = "address=https://crm.example/h&account=desk&topic=recording.finished&topic=call.ended";
    let made = site.ask(Method::POST, "/webhooks", &root, &format!("do=add&name=crm&{hook}")).await;
    let page = made.text();
    assert_eq!(made.status, StatusCode::OK, "{page}");
    let secret = page.split("data-copy=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a secret");
    assert!(secret.starts_with("whsec_"), "{secret}");
    assert!(
        page.contains("recording.finished, call.ended") && page.contains("https://crm.example/h"),
        "{page}"
    );
    let page = site.get("/webhooks", &root).await.text();
    assert!(!page.contains(secret) && page.contains("does not run here"), "{page}");
    for wrong in [
        format!("do=add&name=crm&{hook}"),
        format!("do=add&name=x&{}", hook.replace("https", "http")),
        format!("do=add&name=x&{}", hook.replace("crm.example", "me:pw@crm.example")),
        format!("do=add&name=x&{}", hook.replace("desk", "nobody")),
        format!("do=add&name=x&{}", hook.replace("call.ended", "call.missed")),
        "do=add&name=x&address=https://crm.example/h&account=desk".to_owned(),
        "do=remove&name=crm&confirm=".to_owned(),
    ] {
        let reply = site.ask(Method::POST, "/webhooks", &root, &wrong).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(site.archive.accounts().webhooks().len(), 1);
    let tried = site.ask(Method::POST, "/webhooks", &root, "do=test&name=crm").await;
    assert_eq!(tried.status, StatusCode::SERVICE_UNAVAILABLE, "nothing records here");
    let gone = site.ask(Method::POST, "/webhooks", &root, "do=remove&name=crm&confirm=crm").await;
    assert_eq!((gone.status, site.archive.accounts().webhooks().len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_program_has_the_rights_of_its_account_and_no_others() {
    let site = Site::new();
    let (own, others) = (site.record(1, "ann", "Claims"), site.record(2, "bob", "Sales"));
    let ask = async |method: &str, path: &str, token: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let (parts, body) = site.router.clone().oneshot(request).await.expect("never fails").into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        (parts.status, body)
    };
    let json = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("JSON");
    let list = "/recordings?range=all";
    let (status, body) = ask("GET", list, TOKEN, "").await;
    assert_eq!(
        (status, &json(&body)["type"]),
        (StatusCode::FORBIDDEN, &"urn:earwitness:problem:no-account".into())
    );
    assert_eq!(
        ask("GET", list, &TOKEN.replace('0', "f"), "").await.0,
        StatusCode::FORBIDDEN,
        "it names none"
    );
    assert_eq!(ask("GET", list, "wrong", "").await.0, StatusCode::UNAUTHORIZED);
    site.account("crm", "Supervisor", Scope::Own);
    let (status, body) = ask("GET", list, TOKEN, "").await;
    let found = json(&body);
    assert_eq!((status, found["recordings"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{found}");
    assert_eq!((&found["recordings"][0]["id"], &found["next"]), (&own.to_string().into(), &Value::Null));
    for (method, rest, body, there) in [
        ("GET", "", "", StatusCode::OK),
        ("GET", "/file?as=flac", "", StatusCode::OK),
        ("PUT", "/tags/claim%207", "", StatusCode::NO_CONTENT),
        ("PUT", "/tags/vip", "", StatusCode::NO_CONTENT),
        ("DELETE", "/tags/vip", "", StatusCode::NO_CONTENT),
        ("PUT", "/fields/tag2", "{\"value\": \"HD-1\"}", StatusCode::NO_CONTENT),
        ("PUT", "/rating", "{\"stars\": 4}", StatusCode::NO_CONTENT),
        ("POST", "/notes", "{\"text\": \"asks for Anna\", \"at_ms\": 100}", StatusCode::NO_CONTENT),
        ("PUT", "/user", "{\"user\": null}", StatusCode::CONFLICT),
        ("PUT", "/user", "{\"user\": \"ann\"}", StatusCode::NO_CONTENT),
        ("DELETE", "/user", "", StatusCode::NO_CONTENT),
        ("PUT", "/rating", "{\"stars\": 6}", StatusCode::BAD_REQUEST),
        ("PUT", "/fields/tag9", "{\"value\": \"\"}", StatusCode::NOT_FOUND),
        ("POST", "/notes", "{\"text\": \"\"}", StatusCode::BAD_REQUEST),
        ("GET", "/file?as=exe", "", StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = ask(method, &format!("/recordings/{own}{rest}"), TOKEN, body).await;
        assert_eq!(status, there, "{method} {rest}: {}", String::from_utf8_lossy(&answer));
        if there.is_success() {
            assert_eq!(
                ask(method, &format!("/recordings/{others}{rest}"), TOKEN, body).await.0,
                StatusCode::NOT_FOUND,
                "{rest}"
            );
        }
    }
    let row = json(&ask("GET", &format!("/recordings/{own}"), TOKEN, "").await.1);
    assert!(
        row["tags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&"claim 7".into()) && !tags.contains(&"vip".into())),
        "{row}"
    );
    assert_eq!((&row["rating"], &row["notes"][0]["text"]), (&4.into(), &"asks for Anna".into()));
    site.account("root", "Admin", Scope::Organization);
    site.change(AccountChange::Disable { name: "crm".into(), disabled: true });
    assert_eq!(ask("GET", list, TOKEN, "").await.0, StatusCode::FORBIDDEN, "at once");
}
