//! Standing orders, and calls of which nothing is recorded, as accounts see and ask them, by the API and on the page of what runs.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use policy::People;
use policy::access::{Role, Scope};
use policy::modes::orders::{Lasting, Order, Whose};
use policy::modes::{Ask, Machine, Mode, Role as As};
use policy::people::{Assignment, Device, DeviceKind, Tenure, User};
use serde_json::{Value, json};
use store::{AccountChange, AccountEdit, Password};

use super::site::{ACCOUNT, EXTENSION, PASSWORD, Site, call, now};
use crate::live::{Live, LiveCall, LiveOrder, LiveWho, Status};
use crate::server::orders::NAME_MAX;

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

#[tokio::test]
async fn the_page_shows_orders_and_what_is_not_recorded_and_its_buttons_do_what_they_say() {
    let site = Site::new();
    site.of_ann("All", Scope::Organization);
    let cookie = site.sign_in().await;
    let live = || async { site.visit("GET", "/live", &cookie, "").await.text() };
    let page = live().await;
    assert_eq!(page.matches("NOT RECORDED").count(), 2, "{page}");
    assert!(page.contains("withdrawn by eve"), "{page}");
    let end = r#"<input type="hidden" name="kind" value="extension"><input type="hidden" name="number" value="2042">"#;
    assert!(page.contains(end), "{page}");
    // One that a supervisor has given for the own calls has no button.
    assert!(!page.contains(&end.replace("2042", EXTENSION)), "{page}");
    assert!(page.contains(r#"<input type="hidden" name="extension" value="2042">"#), "{page}");

    let send = async |path: &str, form: &str| site.visit("POST", path, &cookie, form).await;
    let started = send("/live/extensions", "extension=2042&do=start").await;
    assert_eq!((started.status, started.field(header::LOCATION)), (StatusCode::SEE_OTHER, "/live"));
    let asked = site.recorder.asked.lock().expect("no panic").clone();
    assert_eq!((asked.len(), asked[0].ask, asked[0].role), (1, Ask::Start, As::Supervisor));
    let ended = send("/live/orders", "kind=extension&number=2042").await;
    assert_eq!((ended.status, ended.field(header::LOCATION)), (StatusCode::SEE_OTHER, "/live"));
    assert!(!live().await.contains(end), "it is over");
    let again = send("/live/orders", "kind=extension&number=2042").await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "the page shows that it is over");
    let own = send("/live/orders", &format!("kind=extension&number={EXTENSION}")).await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY);
    for (path, form) in [
        ("/live/orders", "kind=trunk&number=1"),
        ("/live/orders", ""),
        ("/live/extensions", "extension=2042&do=burn"),
        ("/live/extensions", "extension=2042"),
    ] {
        assert_eq!(send(path, form).await.status, StatusCode::BAD_REQUEST, "{path} {form}");
    }
    assert_eq!(send("/live/extensions", "extension=2000&do=start").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.recorder.asked.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn an_order_is_given_on_the_page_and_what_is_wrong_with_it_is_told_and_kept() {
    let site = Site::new();
    site.of_ann("All", Scope::Organization);
    let mut people = People::default();
    people.add_user(User { id: "ann".into(), ..User::default() }).expect("a user");
    for (kind, number) in [(DeviceKind::Extension, EXTENSION), (DeviceKind::Agent, "17")] {
        let device = Device { kind, number: number.into() };
        people.assign("ann", Assignment { device, primary: true, tenure: Tenure::default() }).expect("hers");
    }
    site.archive.know_people(Arc::new(people), None);
    let cookie = site.sign_in().await;
    let page = site.visit("GET", "/live", &cookie, "").await.text();
    assert!(page.contains("name=\"what\"") && page.contains("value=\"give\""), "{page}");
    let give =
        async |form: &str| site.visit("POST", "/live/orders", &cookie, &format!("do=give&{form}")).await;
    for form in [
        "kind=extension&number=+2050+&what=stop",
        "kind=agent&number=42&what=pause",
        &format!("kind=extension&number={EXTENSION}&what=start"),
        "kind=agent&number=17&what=start",
    ] {
        let given = give(form).await;
        assert_eq!((given.status, given.field(header::LOCATION)), (StatusCode::SEE_OTHER, "/live"), "{form}");
    }
    let by = |whose, what, role| (whose, what, role, ACCOUNT.to_owned());
    let (of, agent) = (|number: &str| Whose::Extension(number.into()), |id: &str| Whose::Agent(id.into()));
    let expected = vec![
        by(of("2050"), Lasting::Stop, As::Supervisor),
        by(agent("42"), Lasting::Pause, As::Supervisor),
        // For the own calls one asks as an agent, so that one can take it back.
        by(of(EXTENSION), Lasting::Start, As::Agent),
        by(agent("17"), Lasting::Start, As::Agent),
    ];
    assert_eq!(*site.recorder.ordered.lock().expect("no panic"), expected);
    let trail = site.ask("GET", "/audit", "").await.text();
    assert!(trail.contains("order stop extension 2050") && trail.contains("order pause agent 42"), "{trail}");

    let long = "1".repeat(NAME_MAX + 1);
    for (number, why) in [("", "1 to"), ("%0A5", "1 to"), (long.as_str(), "1 to"), ("9999", "no room")] {
        let number = if number == "%0A5" { "4%0A5" } else { number };
        let wrong = give(&format!("kind=extension&number={number}&what=pause")).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{number}");
        let page = wrong.text();
        assert!(page.contains(why) && page.contains("value=\"pause\" selected"), "{number}: {page}");
        assert!(
            number.contains('%') || page.contains(&format!("name=\"number\" value=\"{number}\"")),
            "{page}"
        );
    }
    for form in ["kind=trunk&number=1&what=stop", "kind=agent&number=1&what=keep", "kind=agent&number=1"] {
        assert_eq!(give(form).await.status, StatusCode::BAD_REQUEST, "{form}");
    }
    assert_eq!(*site.recorder.ordered.lock().expect("no panic"), expected, "nothing more was ordered");
}

#[tokio::test]
async fn who_does_not_see_all_calls_or_may_not_control_them_gives_no_order() {
    for (profile, scope) in [("All", Scope::Own), ("All", Scope::Site), ("User", Scope::Organization)] {
        let site = Site::new();
        site.of_ann(profile, scope);
        let cookie = site.sign_in().await;
        let page = site.visit("GET", "/live", &cookie, "").await;
        assert!(
            page.status == StatusCode::OK && !page.text().contains("value=\"give\""),
            "{profile} {scope}"
        );
        let form = format!("do=give&kind=extension&number={EXTENSION}&what=stop");
        let given = site.visit("POST", "/live/orders", &cookie, &form).await;
        assert_eq!(given.status, StatusCode::NOT_FOUND, "{profile} {scope}");
        assert!(site.recorder.ordered.lock().expect("no panic").is_empty());
    }
}

#[tokio::test]
async fn the_page_shows_who_sees_the_own_calls_nothing_of_others() {
    let site = Site::new();
    site.of_ann("All", Scope::Own);
    let cookie = site.sign_in().await;
    let page = site.visit("GET", "/live", &cookie, "").await.text();
    assert_eq!(page.matches("NOT RECORDED").count(), 1, "{page}");
    assert!(!page.contains("2042") && !page.contains("2043"), "{page}");
    let start = site.visit("POST", "/live/extensions", &cookie, "extension=2042&do=start").await;
    assert_eq!(start.status, StatusCode::NOT_FOUND);
    let end = site.visit("POST", "/live/orders", &cookie, "kind=extension&number=2042").await;
    assert_eq!(end.status, StatusCode::SEE_OTHER, "as one that there is not");
    let orders = site.recorder.orders().expect("they are there");
    assert!(orders.iter().any(|order| order.extension == "2042" && order.end.is_none()));
    assert!(site.recorder.asked.lock().expect("no panic").is_empty());
}
