//! Giving recordings to other users: who may, what follows, and what stays as it was signed.

mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use common::site::Site;
use common::{Voice, facts, record, tone};
use decode::Party;
use decode::codec::g711::Law;
use policy::access::Scope;
use policy::people::User;
use policy::{People, Permission};
use store::{AccountChange, AccountEdit, Query, RecordingFacts, RecordingId};

/// Claims below Insurance with Ann and Bob, Sales with Cid.
fn office() -> Site {
    let site = Site::new("");
    let mut people = People::default();
    for (unit, parent) in [("Insurance", None), ("Claims", Some("Insurance")), ("Sales", None)] {
        people.add_unit(unit, parent).expect("a unit");
    }
    for (id, last_name, unit) in [
        ("ann", "Bell", "Insurance"),
        ("bob", "Hill", "Claims"),
        ("cid", "Jones", "Sales"),
        ("gone", "Old", "Claims"),
    ] {
        let user =
            User { id: id.into(), last_name: last_name.into(), unit: Some(unit.into()), ..User::default() };
        people.add_user(user).expect("a user");
    }
    people.remove_user("gone", common::started()).expect("there");
    site.archive.know_people(Arc::new(people), None);
    site
}

fn of_ann(site: &Site, number: u8) -> RecordingId {
    let facts = RecordingFacts {
        call: format!("call-{number}"),
        user: Some("ann".into()),
        user_name: Some("Bell".into()),
        business_unit: Some("Insurance".into()),
        ..facts(number, 400, "2041")
    };
    let id = record(&site.archive, facts, &[Voice::g711(Party::Near, Law::Mu, &tone(3_200, 440.0))]);
    site.archive.sync().expect("a disk");
    id
}

/// An account of a person, who may change details.
async fn person(site: &Site, person: &str, scope: Scope) -> String {
    let name = format!("{person}-{scope}");
    site.somebody(&name, &[Permission::ModifyDetails], scope).await;
    let edit = AccountEdit { person: Some(person.into()), ..AccountEdit::default() };
    site.change(AccountChange::Edit { name: name.clone(), edit });
    site.sign_in(&name).await
}

fn found(site: &Site, field: store::Field, pattern: &str) -> Vec<RecordingId> {
    let mut query = Query::default();
    query.filter(field, pattern).expect("a pattern");
    site.archive.find(&query).map(|id| id.expect("found")).collect()
}

#[tokio::test]
async fn a_recording_that_is_given_away_is_found_and_seen_by_its_new_user_and_what_was_signed_stays() {
    let site = office();
    let id = of_ann(&site, 1);
    let path = format!("/recordings/{id}/user");
    let root = site.somebody("eve", &[Permission::ModifyDetails], Scope::Organization).await;
    let bob = person(&site, "bob", Scope::Own).await;
    let ann = person(&site, "ann", Scope::Own).await;
    let of_claims = person(&site, "bob", Scope::UnitAndBelow).await;
    let sees = async |cookie: &str| {
        let page = site.get(&format!("/recordings/{id}"), cookie).await.status == StatusCode::OK;
        let list = site.get("/recordings?range=all", cookie).await.text.contains(&id.to_string());
        assert_eq!(page, list, "alike everywhere");
        page
    };
    assert_eq!((sees(&ann).await, sees(&bob).await, sees(&of_claims).await), (true, false, false));
    let given = site.post(&path, &root, &[("do", "give"), ("user", "Hill")]).await;
    assert_eq!((given.status, given.location), (StatusCode::SEE_OTHER, format!("/recordings/{id}")));
    assert_eq!((sees(&ann).await, sees(&bob).await, sees(&of_claims).await), (false, true, true));
    assert_eq!(found(&site, store::Field::User, "bob"), [id]);
    assert_eq!(found(&site, store::Field::BusinessUnit, "Insurance"), [id], "with the units above");
    assert_eq!(found(&site, store::Field::User, "ann"), []);
    assert_eq!(site.archive.sealed_facts(id).expect("read").user.as_deref(), Some("ann"));
    let page = site.get(&format!("/recordings/{id}"), &root).await.text;
    assert!(page.contains("set by eve") && page.contains("by the telephone system: ann Bell"), "{page}");
    let list = site.get("/recordings?range=all", &root).await.text;
    assert!(list.contains("title=\"by the telephone system: Bell\""), "{list}");
    let row = site.archive.row(id).expect("listed");
    assert_eq!(row.reported_for().user.map(|user| user.id).as_deref(), Some("ann"));

    // Nobody's, and back again: each is told with what was before.
    site.post(&path, &root, &[("do", "nobody")]).await;
    let row = site.archive.row(id).expect("listed");
    assert_eq!((row.facts.user, row.facts.business_unit.as_deref()), (None, Some("Unassigned Users")));
    site.post(&path, &root, &[("do", "back")]).await;
    let row = site.archive.row(id).expect("listed");
    assert_eq!((row.facts.user.as_deref(), row.reassigned), (Some("ann"), None));
    let auditor = site.somebody("max", &[Permission::AuditTrail], Scope::Organization).await;
    let trail = site.get("/audit?kind=marked", &auditor).await.text;
    assert_eq!(trail.matches("reassigned").count(), 3, "{trail}");
    assert!(trail.contains("before:") && trail.contains("Claims"), "{trail}");

    // The index is a cache of it.
    site.archive.rebuild(|_, _| {}).expect("rebuilt");
    assert_eq!(site.archive.row(id).expect("listed").facts.user.as_deref(), Some("ann"));
}

#[tokio::test]
async fn nobody_gives_a_recording_to_whom_they_do_not_see_and_of_several_all_or_none_are_given() {
    let site = office();
    let (one, two) = (of_ann(&site, 1), of_ann(&site, 2));
    let give = async |cookie: &str, id: RecordingId, user: &str| {
        site.post(&format!("/recordings/{id}/user"), cookie, &[("do", "give"), ("user", user)]).await.status
    };
    let user_of = |id: RecordingId| site.archive.row(id).expect("listed").facts.user.unwrap_or_default();
    let own = person(&site, "ann", Scope::Own).await;
    let supervisor = person(&site, "ann", Scope::UnitAndBelow).await;
    let stranger = person(&site, "cid", Scope::Own).await;
    let reader = site.somebody("max", &[Permission::Play], Scope::Organization).await;
    assert_eq!(give(&own, one, "bob").await, StatusCode::UNPROCESSABLE_ENTITY, "out of one's own sight");
    assert_eq!(give(&supervisor, one, "cid").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(give(&stranger, one, "cid").await, StatusCode::NOT_FOUND, "nobody takes what they do not see");
    assert_eq!(give(&reader, one, "bob").await, StatusCode::NOT_FOUND, "that takes a permission");
    for unknown in ["zed", "", "gone"] {
        assert_eq!(give(&supervisor, one, unknown).await, StatusCode::UNPROCESSABLE_ENTITY, "{unknown:?}");
    }
    assert_eq!(user_of(one), "ann");
    let page = site.get(&format!("/recordings/{one}"), &supervisor).await.text;
    let offered = |user: &str| page.contains(&format!("<option value=\"{user}\">"));
    assert_eq!(["ann", "bob", "cid", "gone"].map(offered), [true, true, false, false]);

    let ids = [one, two].map(|id| id.to_string());
    let picked = |user| [("id", ids[0].as_str()), ("id", ids[1].as_str()), ("do", "give"), ("user", user)];
    assert_eq!(
        site.post("/recordings/selected", &supervisor, &picked("cid")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!([user_of(one), user_of(two)], ["ann", "ann"]);
    let both = site.post("/recordings/selected", &supervisor, &picked("bob")).await;
    assert_eq!(both.status, StatusCode::SEE_OTHER, "{}", both.text);
    assert_eq!([user_of(one), user_of(two)], ["bob", "bob"]);
    assert_eq!(give(&supervisor, two, "bob").await, StatusCode::SEE_OTHER, "as it is already");
    let events = site.archive.events().expect("read").filter(|event| {
        event.as_ref().is_ok_and(|event| matches!(event.what, store::What::Reassigned { .. }))
    });
    assert_eq!(events.count(), 2, "what changes nothing is no line");
}
