//! What finding recordings has beside the search itself: filters under names.

mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use common::site::{Reply, Site};
use common::{Voice, facts, record, tone};
use decode::Party;
use decode::codec::g711::Law;
use policy::access::Scope;
use policy::people::User;
use policy::{People, Permission};
use store::{AccountChange, AccountEdit, RecordingFacts};

/// Saves what the panel asks for.
async fn save(site: &Site, cookie: &str, name: &str, search: &str, kind: &str) -> Reply {
    let search = format!("/recordings?{search}");
    let fields = [("do", "save"), ("name", name), ("search", &search), ("kind", kind)];
    site.post("/recordings/filters", cookie, &fields).await
}

#[tokio::test]
async fn a_saved_filter_narrows_what_the_panel_asks_for() {
    let site = Site::new("");
    let (claims, other) = (site.record(1, "2041"), site.record(2, "2052"));
    let cookie = site.somebody("ann", &[Permission::Play], Scope::Organization).await;
    let saved = save(&site, &cookie, "Claims & co", "range=all&extension=2041,2052&least=0", "").await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    assert_eq!(saved.location, "/recordings?range=all&filter=own%3AClaims+%26+co");
    let list = site.get(&saved.location, &cookie).await.text;
    assert!(list.contains(&claims.to_string()) && list.contains(&other.to_string()));
    assert!(list.contains("Filter “Claims &#38; co”") || list.contains("Filter “Claims &amp; co”"), "{list}");
    let both = site.get(&format!("{}&extension=2041", saved.location), &cookie).await.text;
    assert!(both.contains(&claims.to_string()) && !both.contains(&other.to_string()), "both must hold");

    // The search that uses it can be saved under another name: what both ask for.
    let more = save(&site, &cookie, "Long", "range=all&filter=own%3AClaims+%26+co&tag=vip", "").await;
    let list = site.get("/recordings/filters", &cookie).await.text;
    assert!(
        more.status == StatusCode::SEE_OTHER
            && list.contains("Extension 2041,2052")
            && list.contains("Tag vip")
    );
    let clash = save(&site, &cookie, "Not", "range=all&filter=own%3AClaims+%26+co&extension=2041", "").await;
    assert!(
        clash.status == StatusCode::UNPROCESSABLE_ENTITY && clash.text.contains("both ask for"),
        "{}",
        clash.text
    );

    for (name, search, hint) in [
        ("", "extension=2041", "empty"),
        ("x", "range=today", "something besides a time"),
        ("x", "extension=5-1", "backwards"),
        (&*"x".repeat(101), "extension=2041", "100 characters"),
    ] {
        let refused = save(&site, &cookie, name, search, "").await;
        assert!(
            refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains(hint),
            "{}",
            refused.text
        );
    }
    let gone = save(&site, &cookie, "x", "filter=own:nonsense&extension=2041", "").await;
    assert!(gone.text.contains("no such saved filter"), "{}", gone.text);
    let gone = site.get("/recordings?range=all&filter=own:nonsense", &cookie).await;
    assert_eq!(gone.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(gone.text.contains("no such saved filter"), "{}", gone.text);
    let built_in = site.get("/recordings?range=all&filter=built-in:cut-off", &cookie).await;
    assert!(built_in.status == StatusCode::OK && !built_in.text.contains(&claims.to_string()));
}

#[tokio::test]
async fn ones_own_filters_are_nobody_elses_and_shared_ones_take_their_permissions() {
    let site = Site::new("");
    site.record(1, "2041");
    let see = [Permission::ViewSharedFilters];
    let ann = site.somebody("ann", &[Permission::ModifySharedFilters], Scope::Organization).await;
    let bob = site.somebody("bob", &see, Scope::Organization).await;
    let eve = site.somebody("eve", &[], Scope::Organization).await;
    assert_eq!(save(&site, &ann, "Mine", "tag=secret", "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(save(&site, &ann, "Ours", "tag=vip", "shared").await.status, StatusCode::SEE_OTHER);
    assert_eq!(save(&site, &bob, "Ours", "tag=x", "shared").await.status, StatusCode::NOT_FOUND);
    let anns = site.get("/recordings/filters", &ann).await.text;
    let bobs = site.get("/recordings/filters", &bob).await.text;
    let eves = site.get("/recordings/filters", &eve).await.text;
    assert!(anns.contains("Tag secret") && anns.contains("Share a copy"));
    assert!(bobs.contains("Tag vip") && !bobs.contains("Tag secret") && !bobs.contains("remove"));
    assert!(!eves.contains("Tag vip") && eves.contains("Under legal hold"));
    let used = site.get("/recordings?range=all&filter=shared:Ours", &eve).await;
    assert_eq!(used.status, StatusCode::UNPROCESSABLE_ENTITY, "what they may not see is not there");
    assert_eq!(site.get("/recordings?range=all&filter=shared:Ours", &bob).await.status, StatusCode::OK);
    assert!(
        site.get("/recordings?range=all&filter=own:Mine", &bob).await.text.contains("no such saved filter"),
        "another's own"
    );

    // A copy is shared; the original stays as it is.
    let share = [("do", "share"), ("name", "Mine"), ("as", "Everybody's")];
    assert_eq!(site.post("/recordings/filters", &bob, &share).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.post("/recordings/filters", &ann, &share).await.status, StatusCode::SEE_OTHER);
    let bobs = site.get("/recordings/filters", &bob).await.text;
    assert!(bobs.contains("Everybody&#39;s") && bobs.contains("Tag secret"), "{bobs}");
    let remove = [("do", "remove"), ("name", "Ours"), ("kind", "shared")];
    assert_eq!(site.post("/recordings/filters", &bob, &remove).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.post("/recordings/filters", &ann, &remove).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.post("/recordings/filters", &ann, &remove).await.status, StatusCode::NOT_FOUND);
    // Whoever gets the name of an account that is gone does not get its filters.
    site.change(store::AccountChange::Remove { name: "ann".into() });
    assert_eq!(site.archive.saved_filters("ann").len(), 1, "the shared one");
}

/// Insurance with Claims below it, and Sales, in each a recording.
fn with_units() -> (Site, [String; 3]) {
    let site = Site::new("");
    let mut people = People::default();
    for (unit, parent) in [("Insurance", None), ("Claims", Some("Insurance")), ("R&D, 50%", None)] {
        people.add_unit(unit, parent).expect("a unit");
    }
    let ann = User { id: "ann".into(), unit: Some("Insurance".into()), ..User::default() };
    people.add_user(ann).expect("a user");
    site.archive.know_people(Arc::new(people), None);
    let recorded = |number: u8, unit: &str, above: &[&str]| {
        let facts = RecordingFacts {
            call: format!("call-{number}"),
            business_unit: Some(unit.into()),
            units_above: above.iter().map(|unit| (*unit).to_owned()).collect(),
            ..facts(number, 400, "2041")
        };
        record(&site.archive, facts, &[Voice::g711(Party::Near, Law::Mu, &tone(3_200, 440.0))]).to_string()
    };
    let ids =
        [recorded(1, "Insurance", &[]), recorded(2, "Claims", &["Insurance"]), recorded(3, "R&D, 50%", &[])];
    site.archive.sync().expect("a disk");
    (site, ids)
}

#[tokio::test]
async fn a_unit_of_the_tree_shows_its_calls_and_those_of_units_below() {
    let (site, [insurance, claims, other]) = with_units();
    let cookie = site.somebody("eve", &[Permission::Play], Scope::Organization).await;
    let page = site.get("/recordings?range=all", &cookie).await.text;
    let href = |unit: &str| format!("href=\"/recordings?range=all&amp;business_unit={unit}\"");
    let below = format!("</a><ul>\n<li><a {}", href("Claims"));
    assert!(page.contains(&href("Insurance")) && page.contains(&below), "{page}");
    assert!(page.contains(&href("R%26D_+50_")), "what means something in a pattern is any character: {page}");
    assert!(!page.contains("Unassigned Users"), "that takes a permission");
    for (asked, shown) in [
        ("Insurance", [true, true, false]),
        ("Claims", [false, true, false]),
        ("R%26D_+50_", [false, false, true]),
    ] {
        let list = site.get(&format!("/recordings?range=all&business_unit={asked}"), &cookie).await.text;
        assert_eq!([&insurance, &claims, &other].map(|id| list.contains(id)), shown, "{asked}");
        assert!(
            list.contains("href=\"/recordings?range=all\" aria-current=\"true\""),
            "again shows all: {list}"
        );
    }
    let ours = site.somebody("max", &[Permission::SystemUnits], Scope::Organization).await;
    assert!(site.get("/recordings?range=all", &ours).await.text.contains("Unassigned Users"));
}

#[tokio::test]
async fn the_tree_has_the_units_whose_calls_one_may_see() {
    let (site, _) = with_units();
    for (scope, shown) in [
        (Scope::Own, [false; 3]),
        (Scope::Unit, [true, false, false]),
        (Scope::UnitAndBelow, [true, true, false]),
        (Scope::Organization, [true; 3]),
    ] {
        let name = format!("ann-{scope}");
        site.account(&name, "User", scope);
        let edit = AccountEdit { person: Some("ann".into()), ..AccountEdit::default() };
        site.change(AccountChange::Edit { name: name.clone(), edit });
        let cookie = site.sign_in(&name).await;
        let page = site.get("/recordings?range=all", &cookie).await.text;
        let has = |unit: &str| page.contains(&format!("business_unit={unit}\""));
        assert_eq!(["Insurance", "Claims", "R%26D_+50_"].map(has), shown, "{scope}");
    }
}
