//! Calls without a recording on the page of recordings: behind a switch, by the same questions, for whoever may see them.

mod common;

use axum::http::StatusCode;
use common::site::{Site, call_of};
use policy::Permission;
use policy::access::Scope;
use store::{CallRow, Outcome, Step};

const LIST: &str = "/recordings?range=all&show=unrecorded";

/// A call of an extension that a rule excluded.
fn excluded(number: u8, extension: &str) -> CallRow {
    let step = Step {
        at_ms: 0,
        extension: extension.into(),
        rule: "exclude 1".into(),
        fact: "outside number 01632960500".into(),
        verdict: "excluded: <works council>".into(),
    };
    CallRow { why: vec![step], ..call_of(number, Outcome::Excluded, Some(extension)) }
}

#[tokio::test]
async fn calls_without_a_recording_are_listed_behind_a_switch_with_why_and_nothing_to_play() {
    let site = Site::new("");
    let recorded = site.record(1, "2041");
    for row in [
        excluded(2, "2052"),
        call_of(3, Outcome::NoMedia, Some("2041")),
        call_of(4, Outcome::DeviceNotRecorded, None),
    ] {
        site.archive.append_call(&row).expect("room");
    }
    let cookie = site.somebody("ann", &[Permission::Play, Permission::Save], Scope::Organization).await;
    let plain = site.get("/recordings?range=all&extension=2052", &cookie).await.text;
    let switch = "href=\"/recordings?range=all&amp;extension=2052&amp;show=unrecorded\"";
    assert!(plain.contains(switch) && !plain.contains("exclude 1"), "{plain}");
    let list = site.get(LIST, &cookie).await;
    assert_eq!(list.status, StatusCode::OK);
    let list = list.text;
    assert!(list.contains("3 calls without a recording"), "{list}");
    for shown in ["2052", "Front desk", "Ann Bell", "Claims", "no media", "device not recorded", "0:10"] {
        assert!(list.contains(shown), "{shown}: {list}");
    }
    assert!(list.contains("excluded: &lt;works council&gt;"), "why, as text: {list}");
    for never in [recorded.to_string().as_str(), "data-play", "i-play", "/recordings/zip"] {
        assert!(!list.contains(never), "{never}: {list}");
    }
    let order: Vec<_> = ["device not recorded</span>", "no media</span>", "excluded</span>"]
        .map(|outcome| list.find(outcome).expect(outcome))
        .into();
    assert!(order.is_sorted(), "the newest first");

    // The switch is in the address, is remembered with it, and stays when something else is asked.
    assert_eq!(site.get("/recordings", &cookie).await.location, LIST);
    assert!(list.contains("<input type=\"hidden\" name=\"show\" value=\"unrecorded\">"));
    let narrowed = site.get(&format!("{LIST}&extension=2052"), &cookie).await.text;
    assert!(narrowed.contains("1 call without") && !narrowed.contains("no media"), "{narrowed}");
    let of_one = site.get(&format!("{LIST}&outcome=no_media"), &cookie).await.text;
    assert!(of_one.contains("Outcome: no media") && !of_one.contains("2052"), "{of_one}");
    let wrong = site.get(&format!("{LIST}&before=nowhere"), &cookie).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nothing = site.get(&format!("{LIST}&state=complete"), &cookie).await.text;
    assert!(nothing.contains("No call without a recording that you may see matches"), "{nothing}");
}

#[tokio::test]
async fn who_does_not_see_all_is_told_of_parts_of_those_whose_calls_they_see() {
    let site = Site::new("");
    for row in [excluded(2, "2052"), call_of(4, Outcome::DeviceNotRecorded, None)] {
        site.archive.append_call(&row).expect("room");
    }
    let of_site = site.somebody("ann", &[], Scope::Site).await;
    let list = site.get(LIST, &of_site).await.text;
    assert!(list.contains("1 call without") && list.contains("2052"), "{list}");
    assert!(!list.contains("device not recorded"), "whose it was nobody can tell: {list}");
    let own = site.somebody("bob", &[], Scope::Own).await;
    assert_ne!(site.get(LIST, &own).await.status, StatusCode::OK, "no person, no calls");
}
