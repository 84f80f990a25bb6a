//! The page of users and units: reading, changing, and who may.

mod common;

use axum::http::StatusCode;
use common::site::{Site, now};
use policy::Permission;
use policy::access::Scope;
use store::BookChange;

const BOOK: &str = "exclude endpoint 2005 the board\nunit Insurance -\nunit Claims Insurance\nuser ann.b Claims extension 2001 until 2026-07-01, agent 7\n\
                    user bob+x - \n";

fn with_book() -> Site {
    let site = Site::new("");
    let (at, who) = (now(), "eve".to_owned());
    let change = BookChange { from: 0, at, who, why: "first".into(), restores: None, text: BOOK.into() };
    site.archive.change_book(change).expect("taken");
    site
}

fn text(site: &Site) -> String {
    site.archive.book().expect("read").expect("a book").text
}

#[tokio::test]
async fn users_and_units_are_shown_found_and_changed_through_the_review() {
    let site = with_book();
    let cookie = site.sign_in("root").await;
    let page = site.get("/people", &cookie).await.text;
    for shown in [
        "ann.b",
        "extension 2001 until 2026-07-01, agent 7",
        "Unassigned Users",
        "\u{2003}<bdi>Claims</bdi>",
        "/people/user?id=bob%2Bx",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let found = site.get("/people?find=7", &cookie).await.text;
    assert!(found.contains("ann.b") && !found.contains("bob+x"), "{found}");
    assert!(site.get("/people?find=zzz", &cookie).await.text.contains("Nobody is called like that"));
    let form = site.get("/people/user?id=bob%2Bx", &cookie).await.text;
    assert!(form.contains("value=\"bob+x\" disabled") && form.contains("\u{2003}Claims"), "{form}");
    assert_eq!(site.get("/people/user?id=eve", &cookie).await.status, StatusCode::NOT_FOUND);
    assert!(site.get("/people/user", &cookie).await.text.contains("New user"));

    // What cannot be meant is asked again, with all lines.
    let devices = "extension 2002\r\nphone 2003";
    let wrong =
        [("from", "1"), ("edit", "set-user"), ("was", "bob+x"), ("unit", "Insurance"), ("devices", devices)];
    let asked = site.post("/rules/review", &cookie, &wrong).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        asked.text.contains("phone 2003") && asked.text.contains("<textarea id=\"again-devices\""),
        "{}",
        asked.text
    );
    let right = wrong.map(|(name, value)| (name, if name == "devices" { "extension 2002" } else { value }));
    let review = site.post("/rules/review", &cookie, &right).await;
    assert!(review.text.contains("user bob+x Insurance extension 2002"), "{}", review.text);
    assert!(review.text.contains("href=\"/people\">Leave it"), "{}", review.text);
    let put = right.into_iter().chain([("do", "put"), ("why", "he came")]).collect::<Vec<_>>();
    let done = site.post("/rules/review", &cookie, &put).await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/people"));
    assert!(text(&site).contains("user bob+x Insurance extension 2002\n"), "{}", text(&site));
    for (edit, name, value, expected) in [
        ("add-unit", "name", "Motor", "unit Motor Claims"),
        ("set-unit", "name", "Motoring", "unit Motoring Claims"),
        ("remove-unit", "name", "", ""),
        ("remove-user", "id", "", ""),
    ] {
        let from = site.archive.book_version().expect("read").to_string();
        let was = match edit {
            "set-unit" => "Motor",
            "remove-unit" => "Motoring",
            _ => "bob+x",
        };
        let form = [
            ("from", from.as_str()),
            ("edit", edit),
            ("was", was),
            (name, value),
            ("parent", "Claims"),
            ("do", "put"),
            ("why", "so"),
        ];
        let done = site.post("/rules/review", &cookie, &form).await;
        assert_eq!(
            (done.status, done.location.as_str()),
            (StatusCode::SEE_OTHER, "/people"),
            "{edit}: {}",
            done.text
        );
        assert!(text(&site).contains(expected), "{edit}: {}", text(&site));
    }
    assert!(!text(&site).contains("Motor") && !text(&site).contains("bob"), "{}", text(&site));
}

#[tokio::test]
async fn several_users_are_chosen_and_get_a_mode_of_their_own_or_lose_it() {
    let site = with_book();
    let cookie = site.sign_in("root").await;
    let form = [
        ("from", "1"),
        ("edit", "set-modes"),
        ("users", "ann.b"),
        ("users", "bob+x"),
        ("mode", "on_demand"),
        ("mode_from", "2026-12-24"),
    ];
    let review = site.post("/rules/review", &cookie, &form).await;
    for line in ["mode ann.b on_demand 2026-12-24", "mode bob+x on_demand 2026-12-24"] {
        assert!(review.text.contains(line), "{}", review.text);
    }
    // The review sends on who was chosen.
    let again =
        [form[0], form[1], ("users", "ann.b\r\nbob+x"), form[4], form[5], ("do", "put"), ("why", "so")];
    let done = site.post("/rules/review", &cookie, &again).await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/people"));
    let shown = site.get("/people?own_mode=yes", &cookie).await.text;
    assert!(
        shown.contains("bob+x") && shown.contains("on demand <span class=\"soft\">from <bdi>2026-12-24"),
        "{shown}"
    );
    let nobody = [("from", "2"), ("edit", "set-modes"), ("users", "eve"), ("mode", "always")];
    assert_eq!(site.post("/rules/review", &cookie, &nobody).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let off = [("from", "2"), form[1], ("users", "bob+x"), ("mode", ""), ("do", "put"), ("why", "so")];
    assert_eq!(site.post("/rules/review", &cookie, &off).await.status, StatusCode::SEE_OTHER);
    let shown = site.get("/people?own_mode=yes", &cookie).await.text;
    assert!(shown.contains("ann.b") && !shown.contains("bob+x"), "{shown}");
    let form = site.get("/people/user?id=ann.b", &cookie).await.text;
    assert!(form.contains("value=\"on_demand\" selected") && form.contains("value=\"2026-12-24\""), "{form}");
}

#[tokio::test]
async fn who_sees_to_people_sees_to_nothing_else_of_the_book_and_the_other_way_round() {
    let site = with_book();
    let ann = site.somebody("ann", &[Permission::People], Scope::None).await;
    let eve = site.somebody("eve", &[Permission::Exclusions], Scope::None).await;
    assert_eq!(site.get("/people", &eve).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/people/user", &eve).await.status, StatusCode::NOT_FOUND);
    assert!(site.get("/people", &ann).await.text.contains("ann.b"));
    let rules = site.get("/rules", &ann).await.text;
    assert!(!rules.contains("the board"), "{rules}");
    let unit = [("from", "1"), ("edit", "add-unit"), ("name", "Motor"), ("do", "put"), ("why", "new")];
    assert_eq!(site.post("/rules/review", &eve, &unit).await.status, StatusCode::NOT_FOUND);
    let rule = [
        ("from", "1"),
        ("edit", "remove-rule"),
        ("list", "exclude"),
        ("place", "0"),
        ("was", "endpoint 2005"),
    ];
    assert_eq!(site.post("/rules/review", &ann, &rule).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.post("/rules/review", &ann, &unit).await.location, "/people");
}
