//! The pages of the rule book: reading, changing, what somebody else did meanwhile, and who may see which part.

mod common;

use axum::http::StatusCode;
use common::HOSTILE;
use common::site::{Site, now};
use policy::Permission;
use policy::access::Scope;
use store::BookChange;

const BOOK: &str = "exclude endpoint 2005 the board\ninclude ddi 1000\ndevice 2000\npbx 192.0.2.7\ncountry GB\n\
                    code *1 *2\nkeep all 90d 1y\n";

impl Site {
    /// Somebody at the command line changes the book.
    fn put(&self, from: u64, text: &str, why: &str) {
        let (at, who) = (now(), "eve".to_owned());
        let change = BookChange { from, at, who, why: why.into(), restores: None, text: text.into() };
        self.archive.change_book(change).expect("taken");
    }

    fn newest(&self) -> (u64, String) {
        self.archive.book().expect("read").map_or((0, String::new()), |book| (book.version, book.text))
    }
}

const ADD: [(&str, &str); 6] = [
    ("from", "1"),
    ("edit", "add-rule"),
    ("list", "exclude"),
    ("kind", "endpoint"),
    ("value", "2007"),
    ("description", "the director"),
];

#[tokio::test]
async fn a_change_is_reviewed_with_what_it_would_have_meant_and_put_in_force_with_a_reason() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    site.put(0, BOOK, "first");
    site.call(1, "01632960001", "2007");
    site.call(2, "01632960001", "2008");
    let page = site.get("/rules", &cookie).await;
    for text in
        ["Version 1", "eve", "first", "2005", "the board", "192.0.2.7", "GB", "*1", "90d", "value=\"some\""]
    {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let review = site.post("/rules/review", &cookie, &ADD).await;
    assert_eq!(review.status, StatusCode::OK);
    for text in [
        "exclude endpoint 2007 the director",
        "1 of 2 calls",
        "recorded → excluded",
        "Put in force as version 2",
    ] {
        assert!(review.text.contains(text), "{text}: {}", review.text);
    }
    assert_eq!(site.newest().0, 1, "nothing happens without a word");
    let put = |why| ADD.into_iter().chain([("do", "put"), ("why", why)]).collect::<Vec<_>>();
    let silent = site.post("/rules/review", &cookie, &put(" ")).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(silent.text.contains("Say why") && site.newest().0 == 1);
    let done = site.post("/rules/review", &cookie, &put("he asked for it")).await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/rules"));
    let (version, text) = site.newest();
    assert!(version == 2 && text.ends_with("exclude endpoint 2007 the director\n"), "{text}");
    let versions = site.get("/rules/versions", &cookie).await.text;
    assert!(versions.contains("root") && versions.contains("he asked for it"), "{versions}");
    let second = site.get("/rules/versions/2", &cookie).await.text;
    assert!(second.contains("exclude endpoint 2007") && second.contains("Version 2"), "{second}");
    // And back.
    let restore = [("from", "2"), ("change", "restore"), ("version", "1"), ("do", "put"), ("why", "a slip")];
    assert_eq!(site.post("/rules/review", &cookie, &restore).await.status, StatusCode::SEE_OTHER);
    let newest = site.archive.book().expect("read").expect("one");
    assert_eq!((newest.version, newest.restores, newest.text.as_str()), (3, Some(1), BOOK));
}

#[tokio::test]
async fn values_are_changed_by_forms_of_their_own() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    site.put(0, BOOK, "first");
    let form = site.get("/rules/values?of=dial_plan", &cookie).await;
    assert!(form.text.contains("name=\"value.country\" value=\"GB\""), "{}", form.text);
    let form = site.get("/rules/values?of=pause", &cookie).await;
    assert!(form.text.contains("<option value=\"yes\" selected>"), "{}", form.text);
    assert!(form.text.contains("name=\"value.max_min\" value=\"30\" inputmode=\"numeric\""), "{}", form.text);
    let form = site.get("/rules/entry?of=keep", &cookie).await;
    assert!(form.text.contains("value=\"inbound\" checked") && form.text.contains("value=\"add-entry\""));
    let form = site.get("/rules/entry?of=code&place=0", &cookie).await;
    for text in ["value=\"*1 *2\"", "value=\"set-entry\"", "name=\"was\" value=\"keys\""] {
        assert!(form.text.contains(text), "{text}: {}", form.text);
    }
    for nothing in
        ["values?of=x", "values", "entry?of=code&place=1", "entry?of=code&place=x", "entry?of=pause"]
    {
        let page = site.get(&format!("/rules/{nothing}"), &cookie).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{nothing}");
    }
    let change = [("from", "1"), ("edit", "set-values"), ("of", "dial_plan"), ("value.country", "DE")];
    let review = site.post("/rules/review", &cookie, &change).await;
    assert!(review.text.contains("name=\"value.country\" value=\"DE\""), "{}", review.text);
    let put = change.into_iter().chain([("do", "put"), ("why", "moved")]).collect::<Vec<_>>();
    let done = site.post("/rules/review", &cookie, &put).await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/rules#dial_plan"));
    assert!(site.newest().1.contains("country DE") && !site.newest().1.contains("country GB"));
    let add = [
        ("from", "2"),
        ("edit", "add-entry"),
        ("of", "code"),
        ("value.pause", "*3 *4"),
        ("do", "put"),
        ("why", "more"),
    ];
    let done = site.post("/rules/review", &cookie, &add).await;
    assert_eq!((done.status, done.location.as_str()), (StatusCode::SEE_OTHER, "/rules#pause"));
    assert!(site.newest().1.ends_with("code *3 *4\n"), "{}", site.newest().1);
}

#[tokio::test]
async fn an_archive_without_a_book_shows_the_configuration_and_begins_one_from_it() {
    let site = Site::new("exclude endpoint 2005\n");
    let cookie = site.sign_in("root").await;
    let page = site.get("/rules", &cookie).await.text;
    assert!(page.contains("no rule book yet") && page.contains("2005"), "{page}");
    let begin = [("from", "0"), ("change", "begin")];
    let review = site.post("/rules/review", &cookie, &begin).await;
    assert!(
        review.status == StatusCode::OK && review.text.contains("Put in force as version 1"),
        "{}",
        review.text
    );
    let put: Vec<_> = begin.into_iter().chain([("do", "put"), ("why", "from now on")]).collect();
    assert_eq!(site.post("/rules/review", &cookie, &put).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.newest(), (1, "exclude endpoint 2005\n".into()));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_line_and_what_was_written_stays() {
    let site = Site::new(BOOK);
    let cookie = site.sign_in("root").await;
    let text = format!("{BOOK}wrong {HOSTILE}\n");
    let fields = [("from", "0"), ("change", "text"), ("text", text.as_str()), ("do", "put"), ("why", "x")];
    let review = site.post("/rules/review", &cookie, &fields).await;
    assert_eq!(review.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(review.text.contains("Line 8, column 1: it cannot be meant"), "{}", review.text);
    assert!(review.text.contains("keep all 90d 1y") && !review.text.contains("<script>"), "{}", review.text);
    assert!(!review.text.contains("name=\"why\""), "it cannot be put in force");
    let wrong =
        [("from", "0"), ("edit", "add-rule"), ("list", "include"), ("kind", "ddi"), ("description", HOSTILE)];
    let review = site.post("/rules/review", &cookie, &wrong).await;
    assert_eq!(review.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        review.text.contains("needs a value") && review.text.contains("&lt;script&gt;"),
        "{}",
        review.text
    );
    assert_eq!(site.newest().0, 0);
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_shown_and_nothing_is_lost() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    site.put(0, BOOK, "first");
    let theirs = BOOK.replace("2005 the board", "2006 the other board");
    site.put(1, &theirs, "eve was quicker");
    let put = |fields: &[(&'static str, &'static str)]| {
        fields.iter().copied().chain([("do", "put"), ("why", "mine")]).collect::<Vec<_>>()
    };
    // A form's change is made on top of theirs, once it was looked at.
    let review = site.post("/rules/review", &cookie, &put(&ADD)).await;
    assert_eq!(review.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in [
        "Somebody else has changed",
        "eve was quicker",
        "2006 the other board",
        "2007 the director",
        "name=\"from\" value=\"2\"",
    ] {
        assert!(review.text.contains(text), "{text}: {}", review.text);
    }
    assert_eq!(site.newest(), (2, theirs.clone()));
    let again: Vec<_> =
        put(&ADD).into_iter().map(|(name, value)| (name, if name == "from" { "2" } else { value })).collect();
    assert_eq!(site.post("/rules/review", &cookie, &again).await.status, StatusCode::SEE_OTHER);
    assert!(site.newest().1.contains("2006 the other board") && site.newest().1.contains("2007"));
    // What does not stand there any more is not changed elsewhere.
    let remove = [
        ("from", "3"),
        ("edit", "remove-rule"),
        ("list", "exclude"),
        ("place", "0"),
        ("was", "endpoint 2005"),
    ];
    let review = site.post("/rules/review", &cookie, &put(&remove)).await;
    assert!(
        review.status == StatusCode::UNPROCESSABLE_ENTITY
            && review.text.contains("does not stand there any more")
    );
    // A whole text stays as it was written, beside what the other did.
    let text = [("from", "1"), ("change", "text"), ("text", "exclude endpoint 2999 my own\n")];
    let review = site.post("/rules/review", &cookie, &put(&text)).await;
    assert_eq!(review.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in ["2999 my own", "eve", "undoes what they did", "name=\"from\" value=\"3\""] {
        assert!(review.text.contains(text), "{text}: {}", review.text);
    }
    assert_eq!(site.newest().0, 3);
}

#[tokio::test]
async fn who_may_a_part_sees_and_changes_that_part_alone() {
    let site = Site::new("");
    site.put(0, BOOK, "first");
    let shown = [
        (Permission::Exclusions, "the board"),
        (Permission::Inclusions, ">1000<"),
        (Permission::PauseRules, "*1"),
        (Permission::PhoneSystems, "192.0.2.7"),
        (Permission::DialPlan, "Country"),
        (Permission::Retention, "90d"),
    ];
    for (n, (permission, _)) in shown.into_iter().enumerate() {
        let cookie = site.somebody(&format!("u{n}"), &[permission], Scope::None).await;
        let page = site.get("/rules", &cookie).await;
        assert_eq!(page.status, StatusCode::OK, "{permission:?}");
        for (of, text) in shown {
            assert_eq!(page.text.contains(text), of == permission, "{permission:?}: {text}");
        }
        for path in ["/rules/text", "/rules/versions", "/rules/versions/1", "/rules/try"] {
            assert_eq!(site.get(path, &cookie).await.status, StatusCode::NOT_FOUND, "{permission:?}: {path}");
        }
        let may = |of| if of == permission { StatusCode::OK } else { StatusCode::NOT_FOUND };
        // How many calls there were is none of theirs: they see none.
        let seen = site.get("/rules/extensions", &cookie).await;
        assert_eq!(seen.status, may(Permission::PhoneSystems), "{permission:?}");
        assert!(!seen.text.contains(">Calls</th>"), "{permission:?}");
        let add = site.post("/rules/review", &cookie, &ADD).await;
        assert_eq!(add.status, may(Permission::Exclusions), "{permission:?}");
        assert!(!add.text.contains("192.0.2.7"), "a part of the book that they may not see");
        let pbx = [("from", "1"), ("edit", "set"), ("which", "pbx"), ("words", "192.0.2.8")];
        assert_eq!(site.post("/rules/review", &cookie, &pbx).await.status, may(Permission::PhoneSystems));
        for forged in ["text", "restore", "begin"] {
            let fields = [
                ("from", "1"),
                ("change", forged),
                ("version", "1"),
                ("text", "pbx 192.0.2.8\n"),
                ("do", "put"),
                ("why", "x"),
            ];
            assert_eq!(
                site.post("/rules/review", &cookie, &fields).await.status,
                StatusCode::NOT_FOUND,
                "{forged}"
            );
        }
    }
    assert_eq!(site.newest(), (1, BOOK.into()));
    let stranger =
        site.somebody("stranger", &[Permission::Holds, Permission::Delete], Scope::Organization).await;
    for path in ["/rules", "/rules/device", "/rules/text"] {
        assert_eq!(site.get(path, &stranger).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_it_would_have_changed_is_told_to_who_may_see_all_calls_and_to_nobody_else() {
    let site = Site::new("");
    site.put(0, "", "first");
    site.call(1, "01632960999", "2007");
    for (name, scope, is_told) in [("all", Scope::Organization, true), ("some", Scope::Own, false)] {
        let cookie = site.somebody(name, &[Permission::Exclusions], scope).await;
        let review = site.post("/rules/review", &cookie, &ADD).await.text;
        for told in ["1 of 1 calls", "01632960999"] {
            assert_eq!(review.contains(told), is_told, "{told}: {review}");
        }
        assert_eq!(review.contains("is shown to who may see all calls"), !is_told, "{review}");
    }
}

#[tokio::test]
async fn what_a_stranger_wrote_into_the_book_stays_text() {
    let text = HOSTILE.replace(['\r', '\n'], " ");
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    let all = ["exclude endpoint", "include tag", "device", "pbx", "country", "code"];
    let book: String = all.iter().map(|begin| format!("{begin} {text}\n")).collect();
    site.put(0, &book, &text);
    site.put(1, &format!("{book}exclude endpoint 1 {text}\n"), &text);
    let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    for path in ["/rules", "/rules/device?place=0", "/rules/text", "/rules/versions", "/rules/versions/2"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            format!("/rules?find={query}"),
            format!("/rules/try?extension={query}&other={query}&at={query}"),
            format!("/rules/extensions?find={query}&days={query}"),
        ])
    {
        let page = site.get(&path, &cookie).await;
        assert!(
            page.status.is_success() || page.status == StatusCode::UNPROCESSABLE_ENTITY,
            "{path}: {}",
            page.status
        );
        assert!(!page.text.contains("<script>") && !page.text.contains('\u{202e}'), "{path}");
        assert!(page.text.contains("&lt;script&gt;") || path.ends_with("text=0"), "{path}");
    }
    let fields: Vec<(&str, &str)> =
        ["from", "edit", "list", "place", "was", "kind", "value", "description", "why", "days"]
            .map(|name| (name, text.as_str()))
            .into();
    for edit in ["add-rule", "remove-rule", "add-device", "set"] {
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, if *n == "edit" { edit } else { v })).collect();
        let review = site.post("/rules/review", &cookie, &fields).await;
        assert!(!review.text.contains("<script>") && !review.text.contains('\u{202e}'), "{edit}");
    }
}

#[tokio::test]
async fn a_call_is_tried_on_the_rules_in_force() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    site.put(0, BOOK, "first");
    let form = site.get("/rules/try", &cookie).await;
    assert!(form.status == StatusCode::OK && !form.text.contains("Not recorded"));
    let told = site.get("/rules/try?extension=2005&other=01632960001&direction=inbound", &cookie).await.text;
    assert!(told.contains("Not recorded") && told.contains("endpoint 2005"), "{told}");
    assert!(site.get("/rules/try?extension=2001", &cookie).await.text.contains(">Recorded<"));
    let wrong = site.get("/rules/try?extension=2001&at=noon", &cookie).await;
    assert!(wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text.contains("is no time"));
}

#[tokio::test]
async fn extensions_that_calls_have_shown_are_listed_with_where_their_phones_were_and_lead_to_an_entry() {
    let site = Site::new("");
    let cookie = site.sign_in("root").await;
    site.put(0, "device 2007\n", "first");
    site.call(1, "01632960001", "2007");
    site.call(2, "01632960001", "2008");
    site.call(3, "01632960001", "<b>&x");
    site.archive.sync().expect("a disk");
    let page = site.get("/rules/extensions", &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in
        ["192.0.2.33", "2 of them are not listed", "as <bdi>2007</bdi>", "href=\"/rules/device?number=2008\""]
    {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(page.text.contains("number=%3Cb%3E%26x") && !page.text.contains("<b>"));
    let some = site.get("/rules/extensions?unlisted=yes&find=200", &cookie).await.text;
    assert!(some.contains("2008") && !some.contains("2007"), "{some}");
    let form = site.get("/rules/device?number=2008", &cookie).await.text;
    assert!(form.contains("name=\"number\" value=\"2008\""), "{form}");
    assert!(page.text.contains(">Calls</th>"), "root sees all calls");
}
