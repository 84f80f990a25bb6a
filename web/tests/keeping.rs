//! The pages of retention and holds, and deletion by hand: nothing happens without a word that somebody typed.

mod common;

use axum::http::StatusCode;
use common::HOSTILE;
use common::site::{Reply, Site, now};
use decode::Timestamp;
use policy::Permission;
use policy::access::Scope;
use store::{BookChange, Event, RecordingId, What};

const DAY_MS: i64 = 86_400_000;

impl Site {
    /// A book by which a recording of today is due in as many days; the clock then shows that day.
    fn keeping(&self, text: &str) {
        let (at, who, why) = (now(), "eve".to_owned(), "first".to_owned());
        let change = BookChange { from: 0, at, who, why, restores: None, text: text.into() };
        self.archive.change_book(change).expect("taken");
        self.lines.look(&self.archive);
    }

    fn forward(&self, days: i64) {
        self.until(now().plus_millis(days * DAY_MS));
    }

    /// The machine has run until then.
    fn until(&self, wall: Timestamp) {
        let mut clock = self.lines.clock.lock().expect("no panic");
        clock.since_boot_ns += wall.millis_since(clock.wall) * 1_000_000;
        clock.wall = wall;
    }

    fn is_there(&self, id: RecordingId) -> bool {
        self.archive.row(id).is_ok_and(|row| row.deleted.is_none())
    }

    fn hold(&self, id: RecordingId, hold: &str, why: &str) {
        let what = What::Held { id, hold: hold.into(), why: why.into() };
        self.archive.edit(Event { at: now(), who: "eve".into(), what }).expect("held");
        self.archive.sync().expect("a disk");
    }

    fn trail(&self) -> Vec<String> {
        let events = self.archive.events().expect("read");
        events.map(|event| serde_json::to_string(&event.expect("read")).expect("JSON")).collect()
    }
}

/// The hidden fields of the form that has this one's button.
fn hidden<'t>(page: &'t Reply, name: &str) -> &'t str {
    let from = page.text.rfind(&format!("name=\"{name}\" value=\"")).expect(name);
    let rest = page.text[from..].split("value=\"").nth(1).expect("a value");
    rest.split('"').next().expect("its end")
}

fn prune<'t>(page: &'t Reply, confirm: &'t str, half: &'t str) -> Vec<(&'static str, &'t str)> {
    vec![
        ("at", hidden(page, "at")),
        ("version", hidden(page, "version")),
        ("deletions", hidden(page, "deletions")),
        ("digest", hidden(page, "digest")),
        ("confirm", confirm),
        ("half", half),
        ("do", "prune"),
    ]
}

#[tokio::test]
async fn what_was_not_shown_does_not_go_in_the_place_of_what_was() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let ids = [1, 2, 3].map(|number| site.record(number, "2041"));
    site.keeping("keep all 30d 30d\n");
    site.hold(ids[2], "Whitcombe", "claim");
    site.forward(31);
    let page = site.get("/retention", &cookie).await;
    assert!(page.text.contains("2 deletions"), "{}", page.text);
    // As many are due as before, and as long: but others.
    let released = What::Released { id: ids[2], hold: "Whitcombe".into(), why: "settled".into() };
    site.archive.edit(Event { at: now(), who: "eve".into(), what: released }).expect("released");
    site.hold(ids[0], "Hollis", "another claim");
    let refused = site.post("/retention", &cookie, &prune(&page, "2", "more than half")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    assert!(refused.text.contains("something has changed"), "{}", refused.text);
    assert!(ids.into_iter().all(|id| site.is_there(id)));
    let page = site.get("/retention", &cookie).await;
    site.post("/retention", &cookie, &prune(&page, "2", "more than half")).await;
    assert_eq!(ids.map(|id| site.is_there(id)), [true, false, false]);
}

#[tokio::test]
async fn what_is_due_goes_only_when_its_number_and_that_it_is_more_than_half_are_typed() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let ids = [1, 2, 3].map(|number| site.record(number, "2041"));
    site.keeping("keep all 30d 30d\n");
    let page = site.get("/retention", &cookie).await;
    assert!(page.status == StatusCode::OK && page.text.contains(">nothing<"), "{}", page.text);
    site.hold(ids[2], "Whitcombe", "claim");
    site.forward(31);
    let page = site.get("/retention", &cookie).await;
    for text in [
        "2 deletions",
        "all",
        "30d",
        "Legal holds",
        "That is more than half",
        &ids[0].to_string(),
        &ids[1].to_string(),
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains(&ids[2].to_string()), "it is held back");
    for (confirm, half, why) in [
        ("", "", "Type the number 2"),
        ("3", "more than half", "Type the number 2"),
        ("2", "", "more than half"),
        ("2", "more", "more than half"),
    ] {
        let refused = site.post("/retention", &cookie, &prune(&page, confirm, half)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{confirm} {half}");
        assert!(
            refused.text.contains(why) && refused.text.contains("othing was deleted"),
            "{}",
            refused.text
        );
        assert!(ids.into_iter().all(|id| site.is_there(id)));
    }
    let done = site.post("/retention", &cookie, &prune(&page, "2", "More than half")).await;
    assert!(
        done.status == StatusCode::OK && done.text.contains("the audio of 2 recordings"),
        "{}",
        done.text
    );
    assert_eq!(ids.map(|id| site.is_there(id)), [false, false, true]);
    assert!(
        site.trail()
            .iter()
            .any(|line| line.contains("\"pruned\"") && line.contains("root") && line.contains(":2"))
    );
}

#[tokio::test]
async fn what_was_not_shown_does_not_go() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let (early, late) = (site.record(1, "2041"), site.record(2, "2042"));
    for number in 3..9 {
        let id = site.record(number, "2043");
        site.hold(id, "kept", "so that two are less than half");
    }
    site.keeping("keep all 30d 30d\n");
    // The second one is a minute younger: due when the first was shown alone.
    site.until(common::started().plus_millis(60_000 + 30 * DAY_MS + 30_000));
    let page = site.get("/retention", &cookie).await;
    assert!(page.text.contains("1 deletion<"), "{}", page.text);
    site.until(common::started().plus_millis(120_000 + 30 * DAY_MS + 30_000));
    assert!(site.get("/retention", &cookie).await.text.contains("2 deletions"));
    let done = site.post("/retention", &cookie, &prune(&page, "1", "")).await;
    assert!(done.text.contains("the audio of 1 recordings"), "{}", done.text);
    assert_eq!((site.is_there(early), site.is_there(late)), (false, true));
    // A hold that is put meanwhile spares, and other rules ask for another look.
    let page = site.get("/retention", &cookie).await;
    site.archive
        .change_book(BookChange {
            from: 1,
            at: now(),
            who: "eve".into(),
            why: "tighter".into(),
            restores: None,
            text: "keep all 1d 1d\n".into(),
        })
        .expect("taken");
    let refused = site.post("/retention", &cookie, &prune(&page, "1", "")).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("has changed since"));
    assert!(site.is_there(late));
}

#[tokio::test]
async fn a_clock_in_doubt_freezes_until_the_day_that_it_shows_is_typed() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let id = site.record(1, "2041");
    site.keeping("keep all 30d 30d\n");
    // It jumps, and the machine's own time does not.
    site.lines.clock.lock().expect("no panic").wall = now().plus_millis(40 * DAY_MS);
    let page = site.get("/retention", &cookie).await;
    let at: i64 = hidden(&page, "at").parse().expect("a number");
    assert!(
        page.text.contains("The clock is in doubt") && !page.text.contains("name=\"deletions\""),
        "{}",
        page.text
    );
    assert_eq!(Timestamp::from_nanos(at), now().plus_millis(40 * DAY_MS));
    let at = at.to_string();
    let forged = [
        ("at", at.as_str()),
        ("version", "1"),
        ("deletions", "1"),
        ("confirm", "1"),
        ("half", "more than half"),
        ("do", "prune"),
    ];
    assert!(site.post("/retention", &cookie, &forged).await.text.contains("Nothing was deleted"));
    let confirm = |at: &'static str, day: &'static str| [("at", at), ("confirm", day), ("do", "clock")];
    let at: &'static str = at.leak();
    let wrong = site.post("/retention", &cookie, &confirm(at, "2026-03-04")).await;
    assert!(wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text.contains("Type the day"));
    // A page that was left open shows another time than the clock.
    let old: &'static str = now().as_nanos().to_string().leak();
    assert_eq!(
        site.post("/retention", &cookie, &confirm(old, "2026-03-04")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert!(site.get("/retention", &cookie).await.text.contains("in doubt"));
    let right = site.post("/retention", &cookie, &confirm(at, "2026-04-13")).await;
    assert!(right.status == StatusCode::OK && !right.text.contains("in doubt"), "{}", right.text);
    assert!(
        site.is_there(id)
            && site.trail().iter().any(|line| line.contains("clock-confirmed") && line.contains("root"))
    );
}

#[tokio::test]
async fn a_hold_is_put_on_what_is_picked_and_released_with_a_reason() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let (one, two) = (site.record(1, "2041").to_string(), site.record(2, "2042").to_string());
    let form =
        site.post("/recordings/selected", &cookie, &[("id", &one), ("id", &two), ("do", "hold")]).await;
    assert!(
        form.status == StatusCode::OK && form.text.contains(&one) && form.text.contains(&two),
        "{}",
        form.text
    );
    let ids = format!("{one}\r\n{two}");
    for (fields, why) in [
        (vec![("name", ""), ("why", "x"), ("ids", &*ids)], "needs a name"),
        (vec![("name", "Whitcombe"), ("why", " "), ("ids", &*ids)], "Say why"),
        (vec![("name", "Whitcombe"), ("why", "x"), ("ids", "0000000000")], "There is no recording"),
        (vec![("name", "Whitcombe"), ("why", "x")], "Name 1 to"),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("do", "hold")]).collect();
        let wrong = site.post("/holds", &cookie, &fields).await;
        assert!(
            wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text.contains(why),
            "{why}: {}",
            wrong.text
        );
    }
    let put = [("name", "Whitcombe & Sons"), ("why", "claim HD-19977"), ("ids", &*ids), ("do", "hold")];
    let put = site.post("/holds", &cookie, &put).await;
    for text in ["2 recordings under the hold", "claim HD-19977", "root", "name=Whitcombe+%26+Sons"] {
        assert!(put.text.contains(text), "{text}: {}", put.text);
    }
    let page = site.get("/holds?name=Whitcombe+%26+Sons", &cookie).await;
    assert!(page.text.contains(&one) && page.text.contains("2 recordings"), "{}", page.text);
    // On the recording's page, one is released and the other stays.
    let of_one = site.get(&format!("/recordings/{one}"), &cookie).await;
    assert!(of_one.text.contains("Release from <strong><bdi>Whitcombe &amp; Sons"), "{}", of_one.text);
    let path = format!("/recordings/{one}/holds");
    let release = [("name", "Whitcombe & Sons"), ("why", "settled"), ("do", "release")];
    assert_eq!(site.post(&path, &cookie, &release).await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        site.post(&path, &cookie, &release).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "it is gone"
    );
    assert!(site.get("/holds?name=Whitcombe+%26+Sons", &cookie).await.text.contains("1 recording<"));
    assert_eq!(
        site.post("/holds", &cookie, &[("name", "Whitcombe & Sons"), ("do", "release")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let released = site.post("/holds", &cookie, &release).await;
    assert!(
        released.text.contains("is released")
            && released.text.contains("No recording that you may see is held")
    );
    assert_eq!(site.get("/holds?name=Whitcombe+%26+Sons", &cookie).await.status, StatusCode::NOT_FOUND);
    assert!(site.trail().iter().any(|line| line.contains("settled") && line.contains("root")));
}

#[tokio::test]
async fn a_recording_is_deleted_by_hand_by_its_number_a_reason_and_no_hold() {
    let site = Site::new("");
    let may = [Permission::Delete, Permission::Holds];
    let cookie = site.somebody("dora", &may, Scope::Organization).await;
    let (kept, gone, held) = (site.record(1, "2041"), site.record(2, "2042"), site.record(3, "2043"));
    site.hold(held, "Whitcombe", "claim");
    let word = |id: RecordingId| {
        let id = id.to_string();
        id[id.len() - 6..].to_owned()
    };
    let delete = async |id: RecordingId, confirm: &str, why: &str, keep: &str| {
        site.post(
            &format!("/recordings/{id}/delete"),
            &cookie,
            &[("confirm", confirm), ("why", why), ("keep", keep)],
        )
        .await
    };
    let page = site.get(&format!("/recordings/{gone}"), &cookie).await;
    assert!(page.text.contains(&format!("expect=\"{}\"", word(gone))), "{}", page.text);
    assert_eq!(delete(gone, "yes", "asked for", "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(delete(gone, &word(gone), " ", "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let refused = delete(held, &word(held), "asked for", "").await;
    assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("Whitcombe"), "{}", refused.text);
    assert!(
        site.get(&format!("/recordings/{held}"), &cookie)
            .await
            .text
            .contains("the hold <bdi>Whitcombe</bdi> lies on it")
    );
    assert!([kept, gone, held].into_iter().all(|id| site.is_there(id)));
    let done = delete(gone, &word(gone).to_uppercase(), "asked for", "").await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/recordings"));
    assert_eq!(site.get(&format!("/recordings/{gone}"), &cookie).await.status, StatusCode::NOT_FOUND);
    let done = delete(kept, &word(kept), "asked for", "facts").await;
    assert_eq!(done.location, format!("/recordings/{kept}"));
    let page = site.get(&format!("/recordings/{kept}"), &cookie).await;
    assert!(page.text.contains("rule by hand: asked for") && !site.is_there(kept), "{}", page.text);
    assert!(site.trail().iter().any(|line| line.contains("\"deleted\"") && line.contains("dora")));
}

#[tokio::test]
async fn who_sees_some_recordings_holds_and_releases_those_alone() {
    let site = Site::new("");
    let id = site.record(1, "2041");
    site.hold(id, "Whitcombe", "claim");
    let cookie = site
        .somebody("own", &[Permission::Holds, Permission::Delete, Permission::Retention], Scope::Own)
        .await;
    assert!(site.get("/holds", &cookie).await.text.contains("No recording that you may see is held"));
    assert_eq!(site.get("/holds?name=Whitcombe", &cookie).await.status, StatusCode::NOT_FOUND);
    let put = [("name", "Mine"), ("why", "x"), ("ids", &*id.to_string()), ("do", "hold")];
    assert!(site.post("/holds", &cookie, &put).await.text.contains("There is no recording"));
    for path in ["holds", "delete"] {
        let fields = [("name", "Whitcombe"), ("why", "x"), ("do", "release"), ("confirm", "x")];
        assert_eq!(
            site.post(&format!("/recordings/{id}/{path}"), &cookie, &fields).await.status,
            StatusCode::NOT_FOUND
        );
    }
    let release = [("name", "Whitcombe"), ("why", "x"), ("do", "release")];
    assert_eq!(site.post("/holds", &cookie, &release).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.archive.row(id).expect("there").legal_holds.len(), 1);
    // What is due is counted for them, and not named.
    site.keeping("keep all 30d 30d\n");
    let other = site.record(2, "2042");
    site.forward(31);
    let page = site.get("/retention", &cookie).await.text;
    assert!(page.contains("1 deletion<") && page.contains("None of them is one that you may see"), "{page}");
    assert!(!page.contains(&other.to_string()));
}

#[tokio::test]
async fn what_a_stranger_wrote_stays_text() {
    let text = HOSTILE.replace(['\r', '\n'], " ");
    let site = Site::new("");
    let cookie = site
        .somebody(
            "dora",
            &[Permission::Holds, Permission::Delete, Permission::Retention],
            Scope::Organization,
        )
        .await;
    let (id, due) = (site.record(1, &text), site.record(2, &text));
    site.hold(id, &text, &text);
    site.keeping("keep all 30d 30d\n");
    site.forward(31);
    let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let pages = [
        "/holds".to_owned(),
        format!("/holds?name={query}"),
        "/retention".into(),
        format!("/recordings/{id}"),
        format!("/recordings/{due}"),
    ];
    for path in pages {
        let page = site.get(&path, &cookie).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text.contains("&lt;script&gt;") && !page.text.contains("<script>alert"), "{path}");
        assert!(!page.text.contains('\u{202e}'), "{path}");
    }
    let fields = [("name", &*text), ("why", &text), ("ids", &text), ("do", "hold")];
    let wrong = site.post("/holds", &cookie, &fields).await;
    assert!(wrong.text.contains("&lt;script&gt;") && !wrong.text.contains("<script>alert"), "{}", wrong.text);
}
