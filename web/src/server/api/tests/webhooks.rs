//! Webhooks: made here, their secret told once, and no more than the program that makes them may have itself.

use axum::http::StatusCode;
use policy::access::Right;
use serde_json::{Value, json};

use super::site::{ACCOUNT, Site, TOKEN};

fn asked(name: &str, topics: &[&str]) -> String {
    json!({ "name": name, "address": "https://crm.example/h", "account": "CRM", "topics": topics })
        .to_string()
}

#[tokio::test]
async fn a_webhook_is_told_once_what_signs_and_listed_with_how_it_does() {
    let site = Site::new();
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let body = asked("board", &["recording.finished", "call.ended"]);
    let made = site.ask_with("POST", "/webhooks", &fields, body.as_bytes()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    let secret = made.json()["secret"].as_str().expect("told").to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let again = site.ask_with("POST", "/webhooks", &fields, body.as_bytes()).await;
    assert_eq!((again.status, &again.json()["secret"]), (StatusCode::CREATED, &Value::Null), "it was told");
    let all = site.ask("GET", "/webhooks", "").await;
    let one = &all.json()["webhooks"][0];
    assert_eq!(
        (&one["account"], &one["by"], &one["state"]["told"]),
        (&json!("crm"), &json!(ACCOUNT), &json!(7))
    );
    assert_eq!((&one["topics"][1], &one["state"]["why"]), (&json!("call.ended"), &json!("it answered 500")));
    assert!(!String::from_utf8_lossy(&all.body).contains(&secret));
    let tried = site.ask("POST", "/webhooks/BOARD/test", "").await;
    assert_eq!((tried.status, &tried.json()["status"]), (StatusCode::OK, &json!(204)));
    assert_eq!(
        site.ask("POST", "/webhooks", &asked("slow", &["call.ended"])).await.status,
        StatusCode::CREATED
    );
    let tried = site.ask("POST", "/webhooks/slow/test", "").await;
    assert_eq!(
        (tried.status, &tried.json()["detail"]),
        (StatusCode::CONFLICT, &json!("no answer within 15 s"))
    );
    assert_eq!(site.ask("DELETE", "/webhooks/Board", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("DELETE", "/webhooks/board", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.ask("POST", "/webhooks/board/test", "").await.status, StatusCode::NOT_FOUND);
    let trail = site.ask("GET", "/audit?kind=changed", "").await.json().to_string();
    assert!(trail.contains("webhook made") && trail.contains("webhook removed"), "{trail}");
    assert!(!trail.contains(secret.trim_start_matches("whsec_")), "{trail}");
}

#[tokio::test]
async fn a_program_has_nobody_told_of_what_it_may_not_see_itself() {
    let site = Site::new();
    let token = site.token("accounts", ACCOUNT, &[Right::Accounts.key(), Right::Recordings.key()]).await;
    let bearer = format!("Bearer {token}");
    let ask = async |body: &str| {
        site.ask_with("POST", "/webhooks", &[("authorization", &bearer)], body.as_bytes()).await
    };
    let refused = ask(&asked("x", &["recording.changed", "call.ended"])).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.json()["detail"].as_str().is_some_and(|why| why.contains("right calls")));
    assert_eq!(ask(&asked("x", &["recording.changed"])).await.status, StatusCode::CREATED);
    for (wrong, status) in [
        (asked("y", &["call.missed"]), StatusCode::BAD_REQUEST),
        (asked("y", &[]), StatusCode::BAD_REQUEST),
        (asked("y", &["recording.changed"]).replace("https", "http"), StatusCode::CONFLICT),
        (asked("X", &["recording.changed"]), StatusCode::CONFLICT),
    ] {
        assert_eq!(ask(&wrong).await.status, status, "{wrong}");
    }
}
