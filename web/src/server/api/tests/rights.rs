//! Every operation for every built-in profile: what the token's rights and the account's permissions do not let it do, it does not do.

use axum::http::StatusCode;
use policy::Permission;
use policy::access::{Role, Scope, built_in_profiles};
use serde_json::json;
use store::{AccountChange, AccountEdit, Password, RecordingId};

use super::super::operation::{Needs, Operation};
use super::super::operations;
use super::super::problem::URN;
use super::hostile::{path, right, sample};
use super::site::{PASSWORD, POOR, Site};

impl Site {
    /// The account gets another profile and scope; somebody else administers.
    fn become_one(&self, profile: &str, scope: Scope) {
        let (name, description) = ("All".to_owned(), String::new());
        let role = Role { name, description, profile: profile.into(), scope, filters: vec![] };
        self.change(AccountChange::PutRole(role));
    }

    fn somebody_administers(&self) {
        let edit = AccountEdit { role: Some("Administrator".into()), ..AccountEdit::default() };
        let password = Some(Password::new(PASSWORD));
        self.change(AccountChange::Add { name: "root".into(), edit, password, must_change: false });
    }
}

#[tokio::test]
async fn without_a_token_without_the_right_and_without_the_permission_nothing_is_done() {
    let site = Site::new();
    site.somebody_administers();
    let mut refused = 0;
    for Operation { spec, .. } in operations().into_iter().filter(|operation| operation.spec.right.is_some())
    {
        let path = path(&spec, |parameter| right(&site, &spec, parameter));
        let body = spec.takes.as_ref().map_or(String::new(), |(shape, _)| sample(shape).to_string());
        let method = spec.method.as_str();
        assert_eq!(site.ask_with(method, &path, &[], body.as_bytes()).await.status, StatusCode::UNAUTHORIZED);
        let poor = format!("Bearer {POOR}");
        let answer = site.ask_with(method, &path, &[("authorization", &poor)], body.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.json()["type"].clone()),
            (StatusCode::FORBIDDEN, json!(format!("{URN}not-allowed")))
        );
        let Some(needs) = spec.needs else { continue };
        for profile in built_in_profiles() {
            let may = |permission| profile.permissions.has(permission);
            let (scope, is_let) = match needs {
                Needs::Account => continue,
                Needs::Permission(permission) => (Scope::Organization, may(permission)),
                Needs::All(all) => (Scope::Organization, all.iter().all(|permission| may(*permission))),
                // A narrower scope keeps everybody from it.
                Needs::AllCalls => (Scope::Unit, false),
            };
            if is_let && may(Permission::WebAccess) {
                continue;
            }
            site.become_one(&profile.name, scope);
            let answer = site.ask(method, &path, &body).await;
            let kind = answer.json()["type"].clone();
            let expected = if may(Permission::WebAccess) {
                (StatusCode::NOT_FOUND, json!(format!("{URN}{}", spec.hidden.name())))
            } else {
                (StatusCode::FORBIDDEN, json!(format!("{URN}no-account")))
            };
            assert_eq!((answer.status, kind), expected, "{} for {}", spec.id, profile.name);
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused}");
}

#[tokio::test]
async fn a_recording_out_of_scope_looks_as_one_that_there_is_not() {
    let site = Site::new();
    site.somebody_administers();
    site.become_one("All", Scope::Own);
    let nowhere = RecordingId::from_bytes([9; 16]).to_string();
    let mut looked = 0;
    for Operation { spec, .. } in operations() {
        if !spec.parameters.iter().any(|parameter| parameter.is_path && parameter.name == "id") {
            continue;
        }
        let of = |id: Option<&str>| {
            path(&spec, |parameter| match id {
                Some(id) if parameter.name == "id" => id.to_owned(),
                _ => right(&site, &spec, parameter),
            })
        };
        let body = spec.takes.as_ref().map_or(String::new(), |(shape, _)| sample(shape).to_string());
        let there = site.ask(spec.method.as_str(), &of(None), &body).await;
        let not_there = site.ask(spec.method.as_str(), &of(Some(&nowhere)), &body).await;
        assert_eq!((there.status, &there.body), (StatusCode::NOT_FOUND, &not_there.body), "{}", spec.id);
        looked += 1;
    }
    assert!(looked > 12, "{looked}");
    let named = json!({ "ids": [site.recording] }).to_string();
    assert_eq!(site.ask("POST", "/recordings/zip", &named).await.status, StatusCode::NOT_FOUND);
    let mailing = |id: &str| json!({ "ids": [id], "to": ["x"], "subject": "x", "how": "link" }).to_string();
    let there = site.ask("POST", "/recordings/email", &mailing(&site.recording.to_string())).await;
    let not_there = site.ask("POST", "/recordings/email", &mailing(&nowhere)).await;
    assert_eq!((there.status, &there.body), (StatusCode::NOT_FOUND, &not_there.body), "whatever else is off");
    let list = site.ask("GET", "/recordings?range=all", "").await.json();
    let live = site.ask("GET", "/live", "").await.json();
    assert_eq!((&list["recordings"], &live["calls"]), (&json!([]), &json!([])));
}
