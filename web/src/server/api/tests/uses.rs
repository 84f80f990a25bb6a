//! What programs do with it: users, roles, the trail, the balance sheet, a running recording, and asking twice.

use axum::http::{StatusCode, header};
use policy::access::{Role, Scope};
use policy::modes::Ask;
use serde_json::{Value, json};
use store::{AccountChange, CallRow, Outcome};

use super::site::{ACCOUNT, Site, TOKEN, call, now};
use crate::live::LiveCall;

fn texts<'v>(list: &'v Value, name: &str) -> Vec<&'v str> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry[name].as_str()).collect()
}

#[tokio::test]
async fn what_is_added_with_a_key_is_added_once_and_the_key_stands_for_nothing_else() {
    let site = Site::new();
    let path = format!("/recordings/{}/notes", site.recording);
    let bearer = format!("Bearer {TOKEN}");
    let note = async |key: &str, body: &str| {
        let fields = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        site.ask_with("POST", &path, &fields, body.as_bytes()).await
    };
    let first = note("a-1", "{\"text\": \"asks for Anna\"}").await;
    assert_eq!(
        (first.status, first.fields.contains_key("idempotency-replayed")),
        (StatusCode::NO_CONTENT, false)
    );
    let again = note("\"a-1\"", "{\"text\": \"asks for Anna\"}").await;
    assert_eq!(
        (again.status, again.fields.contains_key("idempotency-replayed")),
        (StatusCode::NO_CONTENT, true)
    );
    let other = note("a-1", "{\"text\": \"asks for Bob\"}").await;
    assert_eq!(
        (other.status.as_u16(), &other.json()["type"]),
        (422, &json!("urn:earwitness:problem:key-reused"))
    );
    assert_eq!(note("a-2", "{\"text\": \" \"}").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        note("a-2", "{\"text\": \"calls back\"}").await.status,
        StatusCode::NO_CONTENT,
        "nothing was added"
    );
    let row = site.ask("GET", &format!("/recordings/{}", site.recording), "").await.json();
    assert_eq!(texts(&row["notes"], "text"), ["asks for Anna", "calls back"]);
}

#[tokio::test]
async fn a_letter_that_is_asked_for_twice_with_the_same_key_is_sent_once_and_no_answer_has_its_link() {
    let site = Site::new();
    let bearer = format!("Bearer {TOKEN}");
    let body = json!({
        "ids": [site.recording, site.recording], "to": ["ann@example.net"], "subject": "For you", "how": "link",
    })
    .to_string();
    let send = async |key: &str| {
        let fields = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        site.ask_with("POST", "/recordings/email", &fields, body.as_bytes()).await
    };
    let sent = send("m-1").await;
    assert_eq!(sent.json(), json!({ "sent": ["ann@example.net"], "not_sent": [] }), "{}", sent.text());
    assert_eq!(send("m-1").await.json(), sent.json());
    let letters = site.postbox.0.lock().expect("no panic").clone();
    assert_eq!((letters.len(), letters[0].text.matches("Duration: ").count()), (1, 1), "each once");
    let wrong = body.replace("ann@example.net", "ann");
    assert_eq!(site.ask("POST", "/recordings/email", &wrong).await.status, StatusCode::BAD_REQUEST);
    let several = body.replace("\"link\"", "\"link\", \"as\": \"flac\"");
    assert_eq!(site.ask("POST", "/recordings/email", &several).await.status, StatusCode::OK);
    let (_, kept) = letters[0].text.split_once("/once/").expect("a link");
    let trail = site.ask("GET", "/audit?kind=saved", "").await;
    assert!(trail.text().contains("mailed") && !trail.text().contains(&kept[..32]), "{}", trail.text());
}

#[tokio::test]
async fn a_password_that_was_made_up_is_told_once_and_the_trail_has_who_did_it() {
    let site = Site::new();
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let body = json!({ "name": "eve/2", "role": "supervisor", "display_name": "Eve" }).to_string();
    let made = site.ask_with("POST", "/users", &fields, body.as_bytes()).await;
    assert_eq!((made.status, made.field(header::LOCATION)), (StatusCode::CREATED, "/api/v1/users/eve%2F2"));
    let made = made.json();
    let password = made["password"].as_str().expect("made up").to_owned();
    assert_eq!(
        (password.len(), &made["user"]["role"], &made["user"]["must_change"]),
        (32, &json!("Supervisor"), &json!(true))
    );
    let again = site.ask_with("POST", "/users", &fields, body.as_bytes()).await;
    assert_eq!((again.status, &again.json()["password"]), (StatusCode::CREATED, &Value::Null), "it was told");
    assert_eq!(site.ask("POST", "/users", &body).await.status, StatusCode::CONFLICT, "the name is taken");

    let eve = "/users/eve%2F2";
    let edited =
        site.ask("PATCH", eve, "{\"email\": \"eve@recorder.example\", \"role\": \"User\"}").await.json();
    assert_eq!(
        (&edited["email"], &edited["role"], &edited["display_name"]),
        (&json!("eve@recorder.example"), &json!("User"), &json!("Eve"))
    );
    assert_eq!(site.ask("POST", &format!("{eve}/disable"), "").await.json()["disabled"], true);
    assert_eq!(site.ask("POST", &format!("{eve}/enable"), "").await.json()["disabled"], false);
    assert_eq!(site.ask("POST", &format!("{eve}/lock"), "").await.json()["locked"], true);
    assert_eq!(site.ask("POST", &format!("{eve}/unlock"), "").await.json()["locked"], false);
    assert_eq!(
        site.ask("PUT", &format!("{eve}/password"), "{\"password\": \"short\"}").await.status,
        StatusCode::CONFLICT
    );
    let other = site.ask("PUT", &format!("{eve}/password"), "").await.json();
    assert!(
        other["password"].as_str().is_some_and(|other| other.len() == 32 && other != password),
        "{other}"
    );
    assert_eq!(site.ask("DELETE", &format!("{eve}/second-factor"), "").await.status, StatusCode::NO_CONTENT);
    let all = site.ask("GET", "/users?limit=1", "").await.json();
    assert_eq!(
        (texts(&all["users"], "name"), &all["next"]),
        (vec![ACCOUNT], &json!("/api/v1/users?limit=1&before=crm"))
    );
    let rest = site.ask("GET", "/users?limit=1&before=crm", "").await.json();
    assert_eq!((texts(&rest["users"], "name"), &rest["next"]), (vec!["eve/2"], &Value::Null));
    assert!(!format!("{all}{rest}").contains("argon2"));
    assert_eq!(site.ask("DELETE", eve, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("GET", eve, "").await.status, StatusCode::NOT_FOUND);
    let last = site.ask("DELETE", &format!("/users/{ACCOUNT}"), "").await;
    assert_eq!(last.status, StatusCode::CONFLICT, "nobody could administer any more");

    let trail = site.ask("GET", "/audit?kind=changed&who=CRM", "").await;
    let trail = trail.json();
    let entries = trail["entries"].as_array().expect("lines");
    assert!(entries.len() >= 8 && entries.iter().all(|line| line["who"] == ACCOUNT), "{trail}");
    assert!(!trail.to_string().contains(&password));
}

#[tokio::test]
async fn roles_and_profiles_are_made_changed_and_removed() {
    let site = Site::new();
    let put = site.ask("PUT", "/profiles/Ears", "{\"permissions\": [\"web_access\", \"play\"]}").await.json();
    assert_eq!(
        (&put["name"], &put["permissions"], &put["built_in"]),
        (&json!("Ears"), &json!(["web_access", "play"]), &json!(false))
    );
    assert_eq!(
        site.ask("PUT", "/profiles/Admin", "{\"permissions\": []}").await.status,
        StatusCode::CONFLICT,
        "built in"
    );
    let role = site.ask("PUT", "/roles/Ears", "{\"profile\": \"Ears\", \"scope\": \"own\"}").await.json();
    assert_eq!((&role["scope"], &role["users"]), (&json!("own"), &json!(0)));
    assert_eq!(
        site.ask("PUT", "/roles/Ears", "{\"profile\": \"Nothing\", \"scope\": \"own\"}").await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(site.ask("DELETE", "/profiles/Ears", "").await.status, StatusCode::CONFLICT, "a role has it");
    assert_eq!(site.ask("DELETE", "/roles/Ears", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("DELETE", "/profiles/Ears", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.ask("GET", "/roles/Ears", "").await.status, StatusCode::NOT_FOUND);
    let roles = site.ask("GET", "/roles", "").await.json();
    assert_eq!(texts(&roles["roles"], "name"), ["Administrator", "Supervisor", "User", "All"]);
}

#[tokio::test]
async fn a_running_recording_is_asked_by_the_account_and_the_trail_has_it() {
    let site = Site::new();
    let pause = format!("/live/{}/pause", site.running);
    let paused = site.ask("POST", &pause, "").await;
    assert_eq!(
        (paused.status, paused.json()),
        (StatusCode::OK, json!({ "done": 1, "already": 0, "refused": 0 }))
    );
    let asked = site.recorder.asked.lock().expect("no panic").clone();
    assert_eq!((asked[0].ask, asked[0].name.as_str()), (Ask::Pause, ACCOUNT));
    let trail = site.ask("GET", &format!("/audit?recording={}", site.running), "").await.json();
    assert!(
        trail["entries"]
            .as_array()
            .is_some_and(|lines| lines.iter().any(|line| line["access"] == "controlled")),
        "{trail}"
    );
    let gone = call(3).recording.expect("it is recorded");
    assert_eq!(site.ask("POST", &format!("/live/{gone}/pause"), "").await.status, StatusCode::NOT_FOUND);
    // Who sees, and may not.
    let role = |profile: &str| Role {
        name: "All".into(),
        description: String::new(),
        profile: profile.into(),
        scope: Scope::Organization,
        filters: vec![],
    };
    let administrator = AccountChange::Add {
        name: "root".into(),
        edit: store::AccountEdit { role: Some("Administrator".into()), ..store::AccountEdit::default() },
        password: Some(store::Password::new(super::site::PASSWORD)),
        must_change: false,
    };
    site.change(administrator);
    site.change(AccountChange::PutRole(role("User")));
    assert_eq!(site.ask("POST", &pause, "").await.status, StatusCode::OK, "users pause");
    let stop = site.ask("POST", &format!("/live/{}/stop", site.running), "").await;
    let missing = site.ask("POST", &format!("/live/{gone}/stop"), "").await;
    assert_eq!((stop.status, &stop.body), (StatusCode::NOT_FOUND, &missing.body), "and control nothing");
    site.change(AccountChange::PutRole(role("Admin")));
    for path in ["audio", "peaks", "timeline", "file?as=wav"] {
        let answer = site.ask("GET", &format!("/recordings/{}/{path}", site.recording), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "who administers is deaf: {path}");
    }
    assert_eq!(
        site.ask("GET", &format!("/recordings/{}/why", site.recording), "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_balance_sheet_adds_up_and_comes_in_pages() {
    let site = Site::new();
    let row = |number: i64, outcome: Outcome| CallRow {
        call: format!("call-{number}"),
        sip_call_ids: vec![],
        from: "441632960500".into(),
        to: "2041".into(),
        started: now().plus_millis(-1_000 * number),
        answered: None,
        ended: Some(now()),
        outcome,
        reason: "486 Busy Here".into(),
        recordings: vec![],
        ties: vec![],
        why: vec![],
        parts: vec![],
    };
    for number in 1..=5 {
        let outcome = if number == 3 { Outcome::NoMedia } else { Outcome::NotAnswered };
        site.archive.append_call(&row(number, outcome)).expect("room");
    }
    let mut seen = Vec::new();
    let mut path = "/balance-sheet?range=all&limit=2".to_owned();
    loop {
        let sheet = site.ask("GET", &path, "").await.json();
        assert_eq!(
            (&sheet["seen"], &sheet["outcomes"]["not_answered"], &sheet["outcomes"]["no_media"]),
            (&json!(5), &json!(4), &json!(1)),
            "{sheet}"
        );
        seen.extend(texts(&sheet["calls"], "call").into_iter().map(str::to_owned));
        let Some(next) = sheet["next"].as_str() else { break };
        path = next.strip_prefix("/api/v1").expect("ours").to_owned();
    }
    assert_eq!(seen, ["call-1", "call-2", "call-3", "call-4", "call-5"]);
    let troubled = site.ask("GET", "/balance-sheet?range=all&outcome=no_media", "").await.json();
    assert_eq!(
        (texts(&troubled["calls"], "call"), texts(&troubled["calls"], "reason")),
        (vec!["call-3"], vec!["486 Busy Here"])
    );
    let since = now().plus_millis(-2_500);
    let late = site.ask("GET", &format!("/balance-sheet?from={since}"), "").await.json();
    assert_eq!(texts(&late["calls"], "call"), ["call-1", "call-2"]);
    site.change(AccountChange::PutRole(Role {
        name: "All".into(),
        description: String::new(),
        profile: "All".into(),
        scope: Scope::Own,
        filters: vec![],
    }));
    assert_eq!(
        site.ask("GET", "/balance-sheet", "").await.status,
        StatusCode::NOT_FOUND,
        "not for who sees some"
    );
}

#[tokio::test]
async fn calls_without_a_recording_come_in_pages_by_what_is_asked_of_recordings() {
    let site = Site::new();
    for number in 1..=5_i64 {
        let outcome = if number == 3 { Outcome::NoChannel } else { Outcome::Excluded };
        let started = now().plus_millis(-1_000 * number);
        let part = json!({
            "extension": format!("204{number}"), "other_party": "01632960500", "outside_number": "01632960500",
            "direction": "inbound", "source": "mirror", "started": started, "outcome": outcome, "names": {},
        });
        let row = CallRow {
            call: format!("call-{number}"),
            sip_call_ids: vec![],
            from: "01632960500".into(),
            to: format!("204{number}"),
            started,
            answered: None,
            ended: Some(now()),
            outcome,
            reason: "exclude 1".into(),
            recordings: vec![],
            ties: vec![],
            why: vec![],
            parts: vec![serde_json::from_value(part).expect("a part")],
        };
        site.archive.append_call(&row).expect("room");
    }
    let (mut seen, mut path) = (Vec::new(), "/unrecorded-calls?range=all&limit=2".to_owned());
    loop {
        let answer = site.ask("GET", &path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let list = answer.json();
        assert!(list["calls"].as_array().is_some_and(|calls| calls.len() <= 2));
        seen.extend(texts(&list["calls"], "call").into_iter().map(str::to_owned));
        let Some(next) = list["next"].as_str() else { break };
        path = next.strip_prefix("/api/v1").expect("ours").to_owned();
    }
    assert_eq!(seen, ["call-1", "call-2", "call-3", "call-4", "call-5"]);
    let asked = async |query: &str| {
        let list = site.ask("GET", &format!("/unrecorded-calls?range=all&{query}"), "").await.json();
        texts(&list["calls"], "extension").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked("extension=2042-2043").await, ["2042", "2043"]);
    assert_eq!(asked("outcome=no_channel").await, ["2043"]);
    assert_eq!(asked("state=complete").await, [""; 0]);
    let wrong = site.ask("GET", "/unrecorded-calls?sort=duration", "").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "there is one order");
    for path in ["/unrecorded-calls?range=all&outcome=lost", "/balance-sheet?range=all&outcome=lost"] {
        assert_eq!(
            site.ask("GET", path, "").await.status,
            StatusCode::BAD_REQUEST,
            "{path}: not all of them"
        );
    }
}

#[tokio::test]
async fn units_are_told_as_a_tree_of_those_whose_calls_the_account_may_see() {
    let site = Site::new();
    assert_eq!(site.ask("GET", "/units", "").await.json(), json!({ "units": [] }));
    let mut people = policy::People::default();
    people.add_unit("Insurance", None).expect("a unit");
    people.add_unit("Claims", Some("Insurance")).expect("a unit");
    site.archive.know_people(std::sync::Arc::new(people), None);
    let expected = json!([{ "name": "Insurance", "level": 0 }, { "name": "Claims", "level": 1 }]);
    let units = site.ask("GET", "/units", "").await.json()["units"].clone();
    assert_eq!(units.as_array().map(|units| &units[..2]), expected.as_array().map(|units| &units[..]));
}

#[tokio::test]
async fn a_recording_is_heard_in_ranges_verified_and_taken_along_with_others() {
    let site = Site::new();
    let of = |rest: &str| format!("/recordings/{}{rest}", site.recording);
    let whole = site.ask("GET", &of("/audio"), "").await;
    assert_eq!((whole.status, whole.field(header::CONTENT_TYPE)), (StatusCode::OK, "audio/wav"));
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("authorization", bearer.as_str()), ("range", "bytes=10-19")];
    let part = site.ask_with("GET", &of("/audio"), &fields, b"").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[10..20]));
    let verified = site.ask("GET", &of("/verification"), "").await.json();
    assert_eq!(
        (&verified["intact"], &verified["playable"], &verified["problem"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    let zip = site.ask("POST", "/recordings/zip", &json!({ "ids": [site.recording] }).to_string()).await;
    assert_eq!(
        (zip.status, zip.field(header::CONTENT_TYPE), &zip.body[..2]),
        (StatusCode::OK, "application/zip", &b"PK"[..])
    );
    let found = site.ask("POST", "/recordings/zip", "{\"search\": \"range=all\"}").await;
    assert_eq!(found.status, StatusCode::OK);
    let trail = site.ask("GET", &format!("/audit?recording={}&kind=heard", site.recording), "").await.json();
    assert_eq!(trail["entries"].as_array().map(Vec::len), Some(1), "one play, however many ranges: {trail}");
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens_to_who_may_see_it_and_again_to_who_was_away() {
    let site = Site::new();
    let bearer = format!("Bearer {TOKEN}");
    let mut stream = site.stream(&[("authorization", &bearer)]).await;
    let (first, theirs) = (call(3), LiveCall { paused_since: Some(now()), ..call(4) });
    site.run(vec![call(9), first.clone()]);
    let began = stream.next().await.expect("an event");
    assert!(
        began.contains("event: began\n")
            && began.contains(&first.recording.expect("it is recorded").to_string()),
        "{began}"
    );
    let id = began.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    site.run(vec![call(9), theirs]);
    let more = [stream.next().await, stream.next().await, stream.next().await].map(Option::unwrap_or_default);
    let kinds = more
        .each_ref()
        .map(|event| event.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or_default());
    assert_eq!(kinds, ["began", "paused", "ended"], "{more:?}");

    // Somebody else takes up where this one was.
    let mut again = site.stream(&[("authorization", &bearer), ("last-event-id", &id)]).await;
    assert_eq!(again.next().await.expect("kept"), more[0]);
    let mut lost = site.stream(&[("authorization", &bearer), ("last-event-id", "0-0")]).await;
    assert!(lost.next().await.expect("told").contains("event: missed\n"));

    // Who sees the own calls alone is told nothing of others'; who may not look any more is cut off.
    let role = |scope, profile: &str| {
        AccountChange::PutRole(Role {
            name: "All".into(),
            description: String::new(),
            profile: profile.into(),
            scope,
            filters: vec![],
        })
    };
    site.change(role(Scope::Own, "All"));
    site.run(vec![call(5)]);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(60), stream.next()).await.is_err(),
        "nothing of theirs"
    );
    let administrator = AccountChange::Add {
        name: "root".into(),
        edit: store::AccountEdit { role: Some("Administrator".into()), ..store::AccountEdit::default() },
        password: Some(store::Password::new(super::site::PASSWORD)),
        must_change: false,
    };
    site.change(administrator);
    site.change(role(Scope::Organization, "Reporting Only"));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn users_are_listed_found_and_given_a_mode_of_their_own_several_at_once() {
    let site = Site::new();
    let book =
        "unit Claims -\nuser ann Claims extension 2041, agent 7\nuser bob - extension 2042\nuser cas - \n";
    let change = store::BookChange {
        from: 0,
        at: now(),
        who: "eve".into(),
        why: "first".into(),
        restores: None,
        text: book.into(),
    };
    site.archive.change_book(change).expect("taken");
    let set = async |body: Value| site.ask("PUT", "/people/modes", &body.to_string()).await;
    let body =
        json!({ "users": ["ann", "bob"], "mode": "on_demand", "mode_from": "2026-12-24", "why": "trial" });
    let put = set(body).await;
    assert_eq!(
        (put.status, &put.json()["version"], &put.json()["who"]),
        (StatusCode::OK, &json!(2), &json!(ACCOUNT))
    );
    let list = async |query: &str| site.ask("GET", &format!("/people{query}"), "").await.json();
    let found = list("?mode=any").await;
    assert_eq!((texts(&found["people"], "id"), &found["version"]), (vec!["ann", "bob"], &json!(2)));
    let ann = &found["people"][0];
    assert_eq!(
        (&ann["mode"], &ann["mode_from"], &ann["unit"], &ann["devices"][1]["agent"]),
        (&json!("on_demand"), &json!("2026-12-24"), &json!("Claims"), &json!("7"))
    );
    for (query, ids) in [
        ("", &["ann", "bob", "cas"][..]),
        ("?find=2042", &["bob"]),
        ("?find=on+demand", &["ann", "bob"]),
        ("?mode=always", &[]),
        ("?mode=on_demand&find=ann", &["ann"]),
    ] {
        assert_eq!(texts(&list(query).await["people"], "id"), ids, "{query}");
    }
    let first = list("?limit=2").await;
    assert_eq!(texts(&first["people"], "id"), ["ann", "bob"]);
    let next = first["next"].as_str().and_then(|next| next.strip_prefix("/api/v1/people")).expect("ours");
    let rest = list(next).await;
    assert_eq!((texts(&rest["people"], "id"), &rest["next"]), (vec!["cas"], &Value::Null));
    // All of them or none.
    let body = json!({ "users": ["ann", "eve"], "mode": "always", "why": "trial" });
    assert_eq!(set(body).await.status, StatusCode::BAD_REQUEST);
    for wrong in [
        json!({ "users": [], "mode": "always", "why": "trial" }),
        json!({ "users": ["ann"], "mode": null, "mode_from": "2026-12-24", "why": "trial" }),
        json!({ "users": ["ann"], "mode": "sometimes", "why": "trial" }),
        json!({ "users": ["ann"], "mode": "always", "why": " " }),
    ] {
        assert_eq!(set(wrong.clone()).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(site.archive.book_version().expect("read"), 2);
    assert_eq!(set(json!({ "users": ["bob"], "mode": null, "why": "over" })).await.status, StatusCode::OK);
    assert_eq!(texts(&list("?mode=any").await["people"], "id"), ["ann"]);
}
