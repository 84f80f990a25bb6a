//! What programs do about the machine: alerts.

use axum::http::StatusCode;
use serde_json::json;

use super::site::{ACCOUNT, Site};

#[tokio::test]
async fn an_alert_is_acknowledged_once_and_the_trail_says_by_whom() {
    let site = Site::new();
    let told = site.ask("GET", "/alerts", "").await.json();
    let lights: Vec<_> = told["lights"].as_array().expect("lights").iter().map(|one| &one["light"]).collect();
    assert_eq!(lights, ["bad", "good", "off"], "{told}");
    assert_eq!(
        (&told["alerts"][0]["place"], &told["alerts"][0]["acknowledged"]),
        (&json!("eth1"), &json!(null))
    );
    let path = "/alerts/0/acknowledge";
    let long = json!({ "note": "x".repeat(501) }).to_string();
    assert_eq!(site.ask("POST", path, &long).await.status, StatusCode::BAD_REQUEST);
    let noted = site.ask("POST", path, "{\"note\": \"the switch is being changed\"}").await;
    assert_eq!(noted.status, StatusCode::NO_CONTENT, "{}", noted.json());
    let told = site.ask("GET", "/alerts", "").await.json();
    let noted = &told["alerts"][0]["acknowledged"];
    assert_eq!((&noted["who"], &noted["note"]), (&json!(ACCOUNT), &json!("the switch is being changed")));
    assert_eq!(site.ask("POST", path, "").await.status, StatusCode::CONFLICT);
    assert_eq!(site.ask("POST", "/alerts/1/acknowledge", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.ask("POST", "/alerts/x/acknowledge", "").await.status, StatusCode::NOT_FOUND);
    let trail = site.ask("GET", "/audit?kind=changed", "").await.json();
    let line =
        trail["entries"].as_array().expect("lines").iter().find(|line| line["access"] == "acknowledged");
    let line = line.expect("a line");
    assert_eq!((&line["who"], &line["alarm"]), (&json!(ACCOUNT), &json!("port-down eth1")), "{line}");
}

#[tokio::test]
async fn the_log_comes_newest_first_and_by_severity_and_the_bundle_leaves_a_line() {
    let site = Site::new();
    let of = async |query: &str| {
        let told = site.ask("GET", &format!("/log{query}"), "").await.json();
        let lines = told["lines"].as_array().expect("lines").clone();
        lines.iter().map(|line| line["what"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("").await, ["late", "broke <b>", "begun"]);
    assert_eq!(of("?level=warning").await, ["late", "broke <b>"]);
    assert_eq!(of("?level=error&limit=1").await, ["broke <b>"]);
    let bundle = site.ask("GET", "/support-bundle", "").await;
    assert_eq!((bundle.status, &bundle.body[..2]), (StatusCode::OK, &b"PK"[..]));
    let trail = site.ask("GET", "/audit?kind=saved", "").await.json();
    assert_eq!(trail["entries"][0]["format"], "support bundle", "{trail}");
}

#[tokio::test]
async fn keys_and_locations_are_told_without_anything_secret() {
    let site = Site::new();
    let keys = site.ask("GET", "/keys", "").await.json();
    assert_eq!(
        (&keys["private"], &keys["signs"], &keys["sheet_proven"]),
        (&json!("in a file"), &json!(true), &json!(null))
    );
    let public = site.ask("GET", "/keys/public", "").await;
    assert!(public.json().to_string().contains(keys["key_id"].as_str().expect("an id")), "{}", public.json());
    let checkpoint = site.ask("GET", "/keys/checkpoint", "").await;
    assert!(checkpoint.status.is_success() && checkpoint.body.len() > 100);
    let sheet = site.archive.recovery_sheet().expect("a sheet");
    for label in ["K1", "K2", "K3", "K4"] {
        let line = sheet.lines().find_map(|line| line.trim().strip_prefix(label)).expect("a line");
        let secret = line.trim().to_owned();
        for told in [keys.to_string(), public.json().to_string()] {
            assert!(!told.contains(&secret));
        }
    }
    let locations = site.ask("GET", "/locations", "").await.json();
    assert_eq!(
        (&locations["recordings"], &locations["moved"], &locations["locations"]),
        (&json!(1), &json!(0), &json!([]))
    );
}

#[tokio::test]
async fn a_filter_is_tried_put_kept_by_a_role_that_is_changed_and_removed_when_no_role_has_it() {
    let site = Site::new();
    let deny =
        json!({ "mode": "deny", "conditions": [{ "field": "extension", "pattern": "1001" }] }).to_string();
    let tried = site.ask("POST", "/filters/Board/try", &deny).await.json();
    assert_eq!(tried, json!({ "looked": 1, "matched": 1 }));
    let other =
        json!({ "mode": "deny", "conditions": [], "lengths": { "min_s": 5, "max_s": 9 } }).to_string();
    assert_eq!(site.ask("POST", "/filters/x/try", &other).await.json()["matched"], 0);
    assert_eq!(site.ask("GET", "/filters", "").await.json()["filters"], json!([]), "nothing was put");
    let put = site.ask("PUT", "/filters/Board", &deny).await.json();
    assert_eq!(
        (&put["mode"], &put["conditions"][0]["pattern"], &put["roles"]),
        (&json!("deny"), &json!("1001"), &json!([]))
    );
    for wrong in [
        json!({ "mode": "deny", "conditions": [] }),
        json!({ "mode": "deny", "conditions": [{ "field": "extension", "pattern": "2003-1005" }] }),
        json!({ "mode": "hide", "conditions": [{ "field": "extension", "pattern": "1" }] }),
        json!({ "mode": "deny", "conditions": [{ "field": "colour", "pattern": "red" }] }),
    ] {
        let answer = site.ask("PUT", "/filters/x", &wrong.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let role = json!({ "profile": "User", "scope": "organization", "filters": ["Board"] }).to_string();
    assert_eq!(site.ask("PUT", "/roles/Ears", &role).await.json()["filters"], json!(["Board"]));
    let role = json!({ "profile": "Supervisor", "scope": "own" }).to_string();
    let changed = site.ask("PUT", "/roles/Ears", &role).await.json();
    assert_eq!(
        (&changed["filters"], &changed["scope"]),
        (&json!(["Board"]), &json!("own")),
        "what is not said stays"
    );
    assert_eq!(site.ask("GET", "/filters", "").await.json()["filters"][0]["roles"], json!(["Ears"]));
    assert_eq!(site.ask("DELETE", "/filters/board", "").await.status, StatusCode::CONFLICT, "a role has it");
    assert_eq!(site.ask("DELETE", "/roles/Ears", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("DELETE", "/filters/board", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("DELETE", "/filters/board", "").await.status, StatusCode::NOT_FOUND);
}
