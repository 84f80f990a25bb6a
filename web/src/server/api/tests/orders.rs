//! Standing orders, and calls of which nothing is recorded, as accounts see and ask them.

use axum::http::StatusCode;
use policy::access::{Role, Scope};
use policy::modes::orders::{Lasting, Order, Whose};
use policy::modes::{Ask, Machine, Mode, Role as As};
use serde_json::{Value, json};
use store::{AccountChange, AccountEdit, Password};

use super::site::{ACCOUNT, EXTENSION, PASSWORD, Site, call, now};
use crate::live::{LiveCall, LiveOrder, LiveWho, Status};

fn who(user: &str) -> LiveWho {
    LiveWho { user: Some(user.into()), ..LiveWho::default() }
}

fn order(extension: &str, user: &str, what: Lasting) -> LiveOrder {
    LiveOrder {
        whose: Whose::Extension(extension.into()),
        order: Order { what, role: As::Supervisor, name: "eve".into(), at: now() },
        extension: extension.into(),
        agent: None,
        who: who(user),
        end: None,
    }
}

/// A call on demand that nobody has asked for.
fn waiting(extension: &str, user: &str) -> LiveCall {
    LiveCall {
        recording: None,
        extension: extension.into(),
        who: who(user),
        machine: Machine::new(Mode::OnDemand),
        ..call(1)
    }
}

impl Site {
    /// Ann has an extension with an order and a call, Bob another one with the same; the account is Ann's, with this profile and scope.
    fn of_ann(&self, profile: &str, scope: Scope) {
        let root = AccountEdit { role: Some("Administrator".into()), ..AccountEdit::default() };
        let password = Some(Password::new(PASSWORD));
        self.change(AccountChange::Add { name: "root".into(), edit: root, password, must_change: false });
        let edit = AccountEdit { person: Some("ann".into()), ..AccountEdit::default() };
        self.change(AccountChange::Edit { name: ACCOUNT.into(), edit });
        let (name, description) = ("All".to_owned(), String::new());
        let role = Role { name, description, profile: profile.into(), scope, filters: vec![] };
        self.change(AccountChange::PutRole(role));
        let mut ended = order("2043", "bob", Lasting::Pause);
        ended.end = Some(("withdrawn by eve".into(), now()));
        self.stand(Status {
            waiting: vec![waiting(EXTENSION, "ann"), waiting("2042", "bob")],
            orders: vec![order(EXTENSION, "ann", Lasting::Start), order("2042", "bob", Lasting::Stop), ended],
            speaking: [EXTENSION, "2042", "2099"].map(str::to_owned).into(),
            ..Status::default()
        });
    }
}

fn extensions(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry["extension"].as_str()).collect()
}

#[tokio::test]
async fn who_sees_all_calls_sees_all_orders_and_ends_them_and_starts_what_waits() {
    let site = Site::new();
    site.of_ann("All", Scope::Organization);
    let live = site.ask("GET", "/live", "").await.json();
    assert_eq!((extensions(&live["waiting"]), &live["calls"]), (vec![EXTENSION, "2042"], &json!([])));
    assert_eq!(
        (&live["waiting"][0]["recording"], &live["waiting"][0]["mode"]),
        (&Value::Null, &json!("on_demand"))
    );
    let orders = site.ask("GET", "/live/orders", "").await.json();
    assert_eq!(extensions(&orders["orders"]), [EXTENSION, "2042"]);
    assert_eq!(
        (&orders["ended"][0]["extension"], &orders["ended"][0]["how"]),
        (&json!("2043"), &json!("withdrawn by eve"))
    );
    let started = site.ask("POST", "/live/extensions/2042/start", "").await;
    assert_eq!((started.status, &started.json()["done"]), (StatusCode::OK, &json!(1)));
    let asked = site.recorder.asked.lock().expect("no panic").clone();
    assert_eq!((asked[0].ask, asked[0].role), (Ask::Start, As::Supervisor));
    let end = async |place: &str| site.ask("DELETE", &format!("/live/orders/{place}"), "").await;
    assert_eq!(end("extensions/2042").await.json(), json!({ "withdrawn": true }));
    assert_eq!(end("extensions/2042").await.json(), json!({ "withdrawn": false }));
    assert_eq!(end("agents/7").await.json(), json!({ "withdrawn": false }));
    // Nobody undoes what a supervisor has ordered for the own calls.
    assert_eq!(end(&format!("extensions/{EXTENSION}")).await.status, StatusCode::CONFLICT);
    let orders = site.ask("GET", "/live/orders", "").await.json();
    assert_eq!(extensions(&orders["orders"]), [EXTENSION]);
    let trail = site.ask("GET", "/audit", "").await.json().to_string();
    assert!(trail.contains("end_order stop"), "{trail}");
    for (extension, state) in [(EXTENSION, "not_recorded"), ("2099", "not_recorded"), ("2000", "idle")] {
        let told = site.ask("GET", &format!("/extensions/{extension}"), "").await.json();
        assert_eq!(told["state"], json!(state), "{extension}");
    }
}

#[tokio::test]
async fn who_sees_the_own_calls_sees_the_own_orders_and_nothing_of_others() {
    let site = Site::new();
    site.of_ann("All", Scope::Own);
    let live = site.ask("GET", "/live", "").await.json();
    assert_eq!(extensions(&live["waiting"]), [EXTENSION]);
    let orders = site.ask("GET", "/live/orders", "").await.json();
    assert_eq!((extensions(&orders["orders"]), &orders["ended"]), (vec![EXTENSION], &json!([])));
    let end = site.ask("DELETE", "/live/orders/extensions/2042", "").await;
    assert_eq!(end.json(), json!({ "withdrawn": false }), "as one that there is not");
    let start = site.ask("POST", "/live/extensions/2042/start", "").await;
    let nobody = site.ask("POST", "/live/extensions/2000/start", "").await;
    assert_eq!((start.status, &start.body), (StatusCode::NOT_FOUND, &nobody.body));
    let own = site.ask("POST", &format!("/live/extensions/{EXTENSION}/start"), "").await;
    assert_eq!(own.status, StatusCode::OK);
    let asked = site.recorder.asked.lock().expect("no panic").clone();
    assert_eq!((asked.len(), asked[0].role), (1, As::Agent));
}

#[tokio::test]
async fn who_may_control_nothing_ends_no_order_and_starts_nothing() {
    let site = Site::new();
    site.of_ann("User", Scope::Organization);
    // A profile with Live View and Pause, and without Control.
    let start = site.ask("POST", "/live/extensions/2042/start", "").await;
    let end = site.ask("DELETE", "/live/orders/extensions/2042", "").await;
    assert_eq!((start.status, end.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert!(site.recorder.asked.lock().expect("no panic").is_empty());
}
