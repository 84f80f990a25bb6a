//! Tokens that are data: made here, told once, never more than their account.

use axum::http::StatusCode;
use policy::Permission;
use policy::access::{Profile, Right, Role, Scope};
use serde_json::{Value, json};
use store::{AccountChange, AccountEdit, Password};

use super::site::{ACCOUNT, Answer, PASSWORD, Site, TOKEN, now};
use crate::server::token::kept;

impl Site {
    async fn with(&self, token: &str, method: &str, path: &str) -> Answer {
        self.ask_with(method, path, &[("authorization", &format!("Bearer {token}"))], b"").await
    }

    /// Makes a token by the API; gives what its program shows.
    pub(super) async fn token(&self, name: &str, account: &str, rights: &[&str]) -> String {
        let body = json!({ "name": name, "account": account, "rights": rights }).to_string();
        let made = self.ask("POST", "/tokens", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
        made.json()["secret"].as_str().expect("told").to_owned()
    }

    /// An account of a profile with these permissions.
    fn person(&self, name: &str, permissions: &[Permission], scope: Scope) {
        self.change(AccountChange::PutProfile(Profile {
            name: format!("{name}'s"),
            description: String::new(),
            permissions: permissions.iter().copied().collect(),
        }));
        self.change(AccountChange::PutRole(Role {
            name: format!("{name}'s"),
            description: String::new(),
            profile: format!("{name}'s"),
            scope,
            filters: vec![],
        }));
        if self.archive.accounts().account(name).is_none() {
            let edit = AccountEdit { role: Some(format!("{name}'s")), ..AccountEdit::default() };
            let password = Some(Password::new(PASSWORD));
            self.change(AccountChange::Add { name: name.into(), edit, password, must_change: false });
        }
    }
}

fn kind(answer: &Answer) -> String {
    answer.json()["type"].as_str().unwrap_or_default().replace("urn:earwitness:problem:", "")
}

#[tokio::test]
async fn a_token_is_told_once_and_is_its_account_s_at_every_request() {
    use Permission as P;
    let site = Site::new();
    site.person("board", &[P::WebAccess, P::Play], Scope::Organization);
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let body = json!({ "name": "wall", "account": "BOARD", "rights": ["recordings", "audit"] }).to_string();
    let made = site.ask_with("POST", "/tokens", &fields, body.as_bytes()).await.json();
    let secret = made["secret"].as_str().expect("told").to_owned();
    assert!(secret.starts_with("ewk_") && secret.len() == 47, "{secret}");
    assert_eq!(
        (&made["token"]["account"], &made["token"]["by"], &made["token"]["state"]),
        (&json!("board"), &json!(ACCOUNT), &json!("counts"))
    );
    let again = site.ask_with("POST", "/tokens", &fields, body.as_bytes()).await;
    assert_eq!((again.status, &again.json()["secret"]), (StatusCode::CREATED, &Value::Null), "it was told");

    let list = "/recordings?range=all";
    assert_eq!(site.with(&secret, "GET", list).await.status, StatusCode::OK);
    assert_eq!(site.with(&secret[1..], "GET", list).await.status, StatusCode::UNAUTHORIZED);
    let audio = format!("/recordings/{}/peaks", site.recording);
    assert_eq!(site.with(&secret, "GET", &audio).await.status, StatusCode::OK);
    assert_eq!(kind(&site.with(&secret, "GET", "/users").await), "not-allowed", "no right");
    assert_eq!(kind(&site.with(&secret, "GET", "/audit").await), "no-such-place", "its account may not");
    // What the account loses, its programs lose at once.
    site.person("board", &[P::WebAccess], Scope::Organization);
    assert_eq!(site.with(&secret, "GET", &audio).await.status, StatusCode::NOT_FOUND);
    for (out, back) in [
        (
            AccountChange::Disable { name: "board".into(), disabled: true },
            AccountChange::Disable { name: "board".into(), disabled: false },
        ),
        (
            AccountChange::Lock { name: "board".into(), locked: true },
            AccountChange::Lock { name: "board".into(), locked: false },
        ),
    ] {
        site.change(out);
        assert_eq!(kind(&site.with(&secret, "GET", list).await), "no-account");
        let all = site.ask("GET", "/tokens", "").await.json();
        assert_eq!(all["tokens"][0]["state"], "its account is out", "{all}");
        site.change(back);
        assert_eq!(site.with(&secret, "GET", list).await.status, StatusCode::OK);
    }
    // Whoever is given the name later does not get its programs.
    site.change(AccountChange::Remove { name: "board".into() });
    site.person("board", &[P::WebAccess], Scope::Organization);
    assert_eq!(kind(&site.with(&secret, "GET", list).await), "no-token");

    let other = site.token("other", "board", &["recordings"]).await;
    assert_eq!(site.with(&other, "GET", list).await.status, StatusCode::OK);
    assert_eq!(site.ask("DELETE", "/tokens/OTHER", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(kind(&site.with(&other, "GET", list).await), "no-token", "at once");
    assert_eq!(site.ask("DELETE", "/tokens/other", "").await.status, StatusCode::NOT_FOUND);
    let trail = site.ask("GET", "/audit?kind=changed", "").await.json().to_string();
    assert!(trail.contains("token made") && trail.contains("token removed"), "{trail}");
    assert!(!trail.contains(&secret) && !trail.contains("digest"), "{trail}");
}

#[tokio::test]
async fn what_is_about_all_calls_takes_an_account_that_may_have_all_of_it() {
    use Permission as P;
    let site = Site::new();
    let pause = "/extensions/2041/pause";
    for (number, (permissions, scope, expected)) in [
        (vec![P::Dashboard, P::Control, P::Pause], Scope::Organization, [true, true]),
        (vec![P::Dashboard, P::Control, P::Pause], Scope::Site, [false, false]),
        (vec![P::Dashboard], Scope::Organization, [true, false]),
        (vec![P::Control, P::Pause], Scope::Organization, [false, true]),
        (vec![], Scope::Organization, [false, false]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("desk{number}");
        site.person(&name, &[&[P::WebAccess], &permissions[..]].concat(), scope);
        let secret = site.token(&name, &name, &["status", "requests"]).await;
        for (right, (method, path)) in [("GET", "/status"), ("POST", pause)].into_iter().enumerate() {
            let answer = site.with(&secret, method, path).await;
            let is_let = answer.status == StatusCode::OK;
            assert_eq!(is_let, expected[right], "{permissions:?} {scope} {path}: {}", answer.status);
            assert!(is_let || kind(&answer) == "not-allowed");
        }
    }
}

#[tokio::test]
async fn a_program_makes_no_token_that_may_more_than_its_own() {
    let site = Site::new();
    let poor = site.token("poor", ACCOUNT, &["accounts"]).await;
    let body = |rights: &[&str]| json!({ "name": "rich", "account": ACCOUNT, "rights": rights }).to_string();
    let bearer = format!("Bearer {poor}");
    let fields = [("authorization", bearer.as_str())];
    let more = site.ask_with("POST", "/tokens", &fields, body(&["accounts", "recordings"]).as_bytes()).await;
    assert_eq!((more.status, kind(&more).as_str()), (StatusCode::CONFLICT, "refused"));
    let same = site.ask_with("POST", "/tokens", &fields, body(&["accounts"]).as_bytes()).await;
    assert_eq!(same.status, StatusCode::CREATED);
    for (wrong, status) in [
        (json!({ "name": "x", "account": "nobody", "rights": ["status"] }), StatusCode::CONFLICT),
        (json!({ "name": "POOR", "account": ACCOUNT, "rights": ["status"] }), StatusCode::CONFLICT),
        (json!({ "name": ACCOUNT, "account": ACCOUNT, "rights": ["status"] }), StatusCode::CONFLICT),
        (json!({ "name": "x", "account": ACCOUNT, "rights": [] }), StatusCode::BAD_REQUEST),
        (json!({ "name": "x", "account": ACCOUNT, "rights": ["fly"] }), StatusCode::BAD_REQUEST),
        (
            json!({ "name": "x", "account": ACCOUNT, "rights": ["status"], "expires": "soon" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "name": "x", "account": ACCOUNT, "rights": ["status"], "expires": now() }),
            StatusCode::CONFLICT,
        ),
    ] {
        let answer = site.ask("POST", "/tokens", &wrong.to_string()).await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.json());
    }
}

#[tokio::test]
async fn a_token_that_has_expired_counts_no_more_and_the_day_of_its_last_use_is_known() {
    let site = Site::new();
    let expires = now().plus_millis(60_000);
    let body = json!({ "name": "brief", "account": ACCOUNT, "rights": ["calls"], "expires": expires });
    let made = site.ask("POST", "/tokens", &body.to_string()).await.json();
    assert_eq!(made["token"]["expires"], json!(expires));
    let secret = made["secret"].as_str().expect("told").to_owned();
    let counts =
        |at| kept(&site.archive.accounts(), &secret, at).is_some_and(|token| token.may(Right::Calls));
    assert!(counts(now()) && counts(expires.plus_millis(-1)) && !counts(expires));
    assert_eq!(site.archive.accounts().token("brief").expect("there").last_used, None);
    assert_eq!(site.with(&secret, "GET", "/balance-sheet").await.status, StatusCode::OK);
    // It is kept beside: the next change waits for it.
    for _ in 0..500 {
        if site.archive.accounts().token("brief").is_some_and(|token| token.last_used.is_some()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let used = site.archive.accounts().token("brief").expect("there").last_used.expect("it was used");
    assert!(used <= now() && used.as_millis() % 86_400_000 == 0, "the day, and no moment: {used}");
    site.archive.note_token_used("brief", now().plus_millis(86_400_000));
    let next = site.archive.accounts().token("brief").expect("there").last_used.expect("used");
    assert_eq!(next.millis_since(used), 86_400_000);
}
