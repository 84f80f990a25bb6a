//! The rule book, retention, holds and deletion, as programs have them: nothing happens but what was shown, and for a reason.

use axum::http::StatusCode;
use serde_json::{Value, json};
use store::{BookChange, CallRow, Outcome};

use super::site::{ACCOUNT, Answer, Site, now};

const DAY_MS: i64 = 86_400_000;

/// Refused for what is there, in words that have this in them.
fn assert_refused(answer: &Answer, what: &str) {
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["type"]),
        (StatusCode::CONFLICT, &json!("urn:earwitness:problem:refused"))
    );
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(what)), "{told}");
}

fn called(to: &str) -> CallRow {
    CallRow {
        call: "call-1".into(),
        sip_call_ids: vec![],
        from: "441632960500".into(),
        to: to.into(),
        started: now().plus_millis(-1_000),
        answered: None,
        ended: Some(now()),
        outcome: Outcome::Recorded,
        reason: "every extension".into(),
        recordings: vec![],
        ties: vec![],
        why: vec![],
        parts: vec![],
    }
}

impl Site {
    async fn put_book(&self, from: u64, what: (&str, Value), why: &str) -> Answer {
        let mut body = json!({ "from": from, "why": why });
        body[what.0] = what.1;
        self.ask("PUT", "/rules", &body.to_string()).await
    }

    fn is_there(&self) -> bool {
        self.archive.row(self.recording).is_ok_and(|row| row.deleted.is_none())
    }

    /// The machine runs for so many days more.
    fn forward(&self, days: u32) {
        let mut clock = self.lines.clock.lock().expect("no panic");
        clock.since_boot_ns += u64::from(days) * DAY_MS as u64 * 1_000_000;
        clock.wall = clock.wall.plus_millis(i64::from(days) * DAY_MS);
    }
}

#[tokio::test]
async fn a_rule_book_is_checked_tried_and_put_and_one_made_from_an_older_version_is_refused() {
    let site = Site::new();
    let first = site.ask("GET", "/rules", "").await.json();
    assert_eq!(
        (&first["version"], &first["text"], &first["who"]),
        (&json!(0), &json!("exclude endpoint 2005\n"), &Value::Null)
    );
    let text = "exclude endpoint 2005\nexclude endpoint 2041\n";
    let checked = async |text: &str| {
        site.ask("POST", "/rules/check", &json!({ "text": text }).to_string()).await.json()
    };
    assert_eq!(checked(text).await, json!({ "text": text, "wrong": null }));
    assert_eq!(
        checked("device 1\nwrong\n").await,
        json!({ "text": null, "wrong": { "line": 2, "column": 1, "what": "it cannot be meant" } })
    );
    site.archive.append_call(&called("2041")).expect("room");
    let trial = site.ask("POST", "/rules/try", &json!({ "text": text }).to_string()).await.json();
    assert_eq!(
        (&trial["calls"], &trial["changed"], &trial["differences"][0]["line"], &trial["list"][0]["call"]),
        (&json!(1), &json!(1), &json!("+ exclude endpoint 2041"), &json!("call-1")),
        "{trial}"
    );
    assert_eq!(trial["turns"], json!([{ "was": "recorded", "would": "excluded", "count": 1 }]));
    let before = json!({ "text": text, "until": now().plus_millis(-1_000).to_string() }).to_string();
    assert_eq!(site.ask("POST", "/rules/try", &before).await.json()["calls"], 0);

    assert_eq!(site.put_book(0, ("text", json!(text)), " ").await.status, StatusCode::BAD_REQUEST);
    let wrong = site.put_book(0, ("text", json!("wrong\n")), "x").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(wrong.json()["detail"], "Line 1, column 1: it cannot be meant");
    assert!(site.archive.book().expect("read").is_none(), "nothing was put");
    let put = site.put_book(0, ("text", json!(text)), "the director").await.json();
    assert_eq!(
        (&put["version"], &put["who"], &put["why"]),
        (&json!(1), &json!(ACCOUNT), &json!("the director"))
    );
    assert_refused(&site.put_book(0, ("text", json!("device 1\n")), "late").await, "version 1 is in force");
    assert_eq!(site.ask("GET", "/rules", "").await.json()["text"], json!(text));
    assert_refused(&site.put_book(1, ("text", json!(text)), "again").await, "changes nothing");

    let ask = async |extension: &str| {
        site.ask("POST", "/rules/ask", &json!({ "extension": extension }).to_string()).await.json()
    };
    assert_eq!(
        (&ask("2041").await["recorded"], &ask("2042").await["recorded"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(site.put_book(1, ("text", json!("device 1\n")), "a slip").await.status, StatusCode::OK);
    let back = site.put_book(2, ("restores", json!(1)), "and back").await.json();
    assert_eq!((&back["version"], &back["restores"]), (&json!(3), &json!(1)));
    assert_eq!(site.put_book(3, ("restores", json!(9)), "x").await.status, StatusCode::BAD_REQUEST);
    let list = site.ask("GET", "/rules/versions?limit=2", "").await.json();
    let whys: Vec<&str> =
        list["versions"].as_array().expect("a list").iter().filter_map(|made| made["why"].as_str()).collect();
    assert_eq!(
        (whys, &list["next"]),
        (vec!["and back", "a slip"], &json!("/api/v1/rules/versions?limit=2&before=2"))
    );
    let second = site.ask("GET", "/rules/versions/2?with=3", "").await.json();
    assert_eq!((&second["text"], &second["with"]), (&json!("device 1\n"), &json!(3)));
    assert_eq!(second["differences"].as_array().map(Vec::len), Some(3), "{second}");
    assert_eq!(site.ask("GET", "/rules/versions/4", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_was_shown_is_pruned_and_nothing_else() {
    let site = Site::new();
    let (at, who, why) = (now(), "eve".to_owned(), "first".to_owned());
    let text = "keep all 30d 30d\n".to_owned();
    site.archive.change_book(BookChange { from: 0, at, who, why, restores: None, text }).expect("taken");
    site.lines.look(&site.archive);
    let none = site.ask("GET", "/retention", "").await.json();
    assert_eq!((&none["count"], &none["version"], &none["frozen"]), (&json!(0), &json!(1), &Value::Null));
    site.forward(31);
    let due = site.ask("GET", "/retention", "").await.json();
    assert_eq!(
        (&due["count"], &due["list"][0]["recording"], &due["rules"][0]["takes"]["audio"]),
        (&json!(1), &json!(site.recording), &json!(1)),
        "{due}"
    );
    assert_eq!(due["more_than_half"]["recordings"], json!({ "takes": 1, "of": 1 }));
    let prune = async |change: (&str, Value)| {
        let mut body = json!({
            "at": due["at"], "version": 1, "count": 1, "digest": due["digest"], "more_than_half": true,
        });
        body[change.0] = change.1;
        site.ask("POST", "/retention/prune", &body.to_string()).await
    };
    // What was not shown is not deleted: it became due since, by other rules, or is more.
    for (change, why) in [
        (("count", json!(0)), "has changed"),
        (("version", json!(0)), "has changed"),
        (("digest", json!("00")), "has changed"),
        (("at", none["at"].clone()), "has changed"),
        (("more_than_half", json!(false)), "more than half"),
    ] {
        assert_refused(&prune(change).await, why);
        assert!(site.is_there());
    }
    let done = prune(("count", json!(1))).await.json();
    assert_eq!((&done["audio"], &done["failed"], site.is_there()), (&json!(1), &json!(0), false), "{done}");
    assert_refused(
        &site.ask("POST", "/retention/clock", &json!({ "at": due["at"] }).to_string()).await,
        "not",
    );
    let trail = site.ask("GET", &format!("/audit?who={ACCOUNT}"), "").await.json();
    assert!(trail.to_string().contains("\"pruned\""), "{trail}");
}

#[tokio::test]
async fn what_is_held_is_not_deleted_before_it_is_released() {
    let site = Site::new();
    let recording = format!("/recordings/{}", site.recording);
    let hold = format!("{recording}/holds/Whitcombe%20%2F%202");
    assert_eq!(site.ask("PUT", &hold, "{\"why\": \" \"}").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.ask("PUT", &hold, "{\"why\": \"claim 17\"}").await.status, StatusCode::NO_CONTENT);
    let all = site.ask("GET", "/holds", "").await.json();
    assert_eq!(
        (&all["holds"][0]["name"], &all["holds"][0]["why"], &all["holds"][0]["recordings"]),
        (&json!("Whitcombe / 2"), &json!("claim 17"), &json!(1)),
        "{all}"
    );
    let one = site.ask("GET", "/holds?name=Whitcombe+%2F+2", "").await.json();
    assert_eq!(one["holds"][0]["on"][0]["recording"], json!(site.recording), "{one}");
    assert_eq!(site.ask("GET", "/holds?name=whitcombe", "").await.json()["holds"], json!([]));

    assert_eq!(site.ask("DELETE", &recording, "").await.status, StatusCode::BAD_REQUEST, "without a reason");
    assert_refused(&site.ask("DELETE", &format!("{recording}?why=asked+to"), "").await, "Whitcombe / 2");
    assert!(site.is_there());
    let other = format!("{recording}/holds/other?why=x");
    assert_eq!(site.ask("DELETE", &other, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.ask("DELETE", &format!("{hold}?why=+"), "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.ask("DELETE", &format!("{hold}?why=settled"), "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("GET", "/holds", "").await.json()["holds"], json!([]));

    let keep = format!("{recording}?why=asked+to&keep=facts");
    assert_eq!(site.ask("DELETE", &keep, "").await.status, StatusCode::NO_CONTENT);
    assert!(!site.is_there());
    let left = site.ask("GET", &recording, "").await.json();
    assert_eq!(left["deleted"]["who"], json!(ACCOUNT), "{left}");
    assert_refused(&site.ask("DELETE", &keep, "").await, "gone already");
    assert_eq!(
        site.ask("DELETE", &format!("{recording}?why=the+rest"), "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(site.ask("GET", &recording, "").await.status, StatusCode::NOT_FOUND);
}
