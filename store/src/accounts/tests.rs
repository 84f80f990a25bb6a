//! Accounts as the archive keeps them: signing in, changing, and what the ledger has of it.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use policy::access::{AccessFilter, FilterMode, Permission, Profile, Role, Scope};
use policy::people::User;
use policy::{Field, Segment};

use super::*;
use crate::Topic;
use crate::event::RefusedTry;
use crate::trail::{AuditFilter, TrailPlace};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const MINUTE_MS: i64 = 60_000;
const GOOD: &str = "kupfer lampe neun seil";
const OTHER: &str = "regal wolke sieben tief";

fn archive() -> (tempfile::TempDir, Archive) {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = Archive::open_or_create(&dir.path().join("a")).expect("made").0;
    (dir, archive)
}

fn later(minutes: i64) -> Timestamp {
    START.plus_millis(minutes * MINUTE_MS)
}

fn here() -> IpAddr {
    "192.0.2.7".parse().expect("an address")
}

fn add(name: &str, role: &str) -> AccountChange {
    AccountChange::Add {
        name: name.into(),
        edit: AccountEdit { role: Some(role.into()), ..AccountEdit::default() },
        password: Some(Password::new(GOOD)),
        must_change: false,
    }
}

fn change(archive: &Archive, change: AccountChange) {
    archive.change_accounts("root", START, change).expect("changed");
}

fn refused(archive: &Archive, change: AccountChange) -> String {
    let before = archive.accounts();
    let told = archive.change_accounts("root", START, change).expect_err("refused").to_string();
    assert_eq!(archive.accounts(), before, "nothing of it stays");
    told
}

fn sign_in(archive: &Archive, name: &str, password: &str, at: Timestamp) -> Result<SignedIn, SignInRefused> {
    archive.sign_in(name, &Password::new(password), None, here(), at)
}

fn trail(archive: &Archive) -> Vec<Event> {
    // What the archive itself does has the time of the day, which may be any.
    let kinds = ["signed-in", "sign-in-refused", "accounts-changed"].map(str::to_owned).to_vec();
    let lines = archive.audit_trail(&AuditFilter { kinds, ..AuditFilter::default() }).expect("read");
    lines.map(|line: Result<(TrailPlace, Event), Error>| line.expect("a line").1).collect()
}

#[test]
fn an_account_signs_in_with_its_password_in_any_case_of_its_name_and_is_there_after_opening() {
    let (dir, archive) = archive();
    assert!(!archive.has_accounts());
    change(&archive, add("Ann.Bell", "administrator"));
    assert!(archive.has_accounts());
    let signed = sign_in(&archive, "ann.bell", GOOD, later(1)).expect("in");
    assert_eq!(signed, SignedIn { account: "Ann.Bell".into(), must_change: false, must_enroll: false });
    let caller = archive.caller("ANN.BELL", later(1)).expect("somebody");
    assert!(caller.may(Permission::Security) && !caller.may(Permission::Play) && caller.sees_any());
    archive.close().expect("closed");
    let file = dir.path().join("a").join(ACCOUNTS);
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let archive = Archive::open(&dir.path().join("a")).expect("opens");
    assert_eq!(archive.accounts().account("ann.bell").expect("there").last_sign_in, Some(later(1)));
    assert!(sign_in(&archive, "ann.bell", GOOD, later(2)).is_ok());
    assert!(archive.check(false).expect("checked").is_empty());
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
}

#[test]
fn whatever_is_wrong_the_answer_is_the_same_and_the_trail_knows_why() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    for (name, role) in [("no-role", ""), ("phone", "Phone"), ("gone", "User"), ("locked", "User")] {
        if role == "Phone" {
            let role = Role {
                name: role.into(),
                description: String::new(),
                profile: "Phone Manager Only".into(),
                scope: Scope::Own,
                filters: vec![],
            };
            change(&archive, AccountChange::PutRole(role));
        }
        change(&archive, add(name, role));
    }
    change(&archive, AccountChange::Disable { name: "gone".into(), disabled: true });
    change(&archive, AccountChange::Lock { name: "locked".into(), locked: true });
    for (name, password, why) in [
        ("ann", OTHER, RefusedTry::Password),
        ("", GOOD, RefusedTry::NoAccount),
        ("secret typed as a name", GOOD, RefusedTry::NoAccount),
        ("no-role", GOOD, RefusedTry::NoAccess),
        ("phone", GOOD, RefusedTry::NoAccess),
        ("gone", GOOD, RefusedTry::NoAccess),
        ("locked", GOOD, RefusedTry::Locked),
    ] {
        assert_eq!(sign_in(&archive, name, password, later(1)), Err(SignInRefused::Wrong), "{name}");
        let newest = trail(&archive).remove(0);
        let who = if why == RefusedTry::NoAccount { "?" } else { name };
        assert_eq!(newest.who, who);
        assert_eq!(newest.what, What::SignInRefused { from: "192.0.2.7".into(), why, untold: 0 });
        assert_eq!(archive.caller(name, later(1)).is_some(), ["ann", "phone"].contains(&name));
    }
}

#[test]
fn ten_failed_tries_lock_for_half_an_hour_and_then_counting_begins_anew() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let fail = |minutes| assert!(sign_in(&archive, "ann", OTHER, later(minutes)).is_err());
    (0..9).for_each(|_| fail(0));
    assert!(sign_in(&archive, "ann", GOOD, later(0)).is_ok(), "nine do not lock, and a right one resets");
    (0..10).for_each(|_| fail(1));
    assert!(archive.accounts().account("ann").expect("there").is_locked(later(30)));
    assert!(sign_in(&archive, "ann", GOOD, later(30)).is_err(), "also with the right one");
    // Tries while it is locked neither lengthen the lock nor count, and sessions that are there go on.
    assert!(archive.caller("ann", later(30)).is_some());
    fail(31);
    assert!(sign_in(&archive, "ann", GOOD, later(32)).is_ok(), "one slip more does not lock again");
    (0..10).for_each(|_| fail(33));
    change(&archive, AccountChange::Lock { name: "ann".into(), locked: false });
    assert!(sign_in(&archive, "ann", GOOD, later(34)).is_ok(), "somebody unlocked it");
}

#[test]
fn a_second_factor_is_asked_for_once_it_is_confirmed_and_a_code_counts_once() {
    let (dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let name = || "ann".to_owned();
    let secret = TotpSecret::new().expect("made");
    assert!(
        refused(&archive, AccountChange::ConfirmTotp { name: name(), code: "000000".into() })
            .contains("begin one")
    );
    change(&archive, AccountChange::BeginTotp { name: name(), secret: secret.clone() });
    assert!(sign_in(&archive, "ann", GOOD, START).is_ok(), "not in force yet");
    let confirm = |code: String| AccountChange::ConfirmTotp { name: name(), code };
    assert!(refused(&archive, confirm("12345".into())).contains("clocks"));
    change(&archive, confirm(secret.code_at(START)));
    assert!(archive.accounts().account("ann").expect("there").has_totp());
    let with = |archive: &Archive, code: &str, at| {
        archive.sign_in("ann", &Password::new(GOOD), Some(code), here(), at)
    };
    assert_eq!(sign_in(&archive, "ann", GOOD, later(1)), Err(SignInRefused::CodeNeeded));
    assert_eq!(sign_in(&archive, "ann", OTHER, later(1)), Err(SignInRefused::Wrong), "says nothing of codes");
    assert_eq!(with(&archive, &secret.code_at(START), START), Err(SignInRefused::Wrong), "it has confirmed");
    let code = secret.code_at(later(1));
    assert!(with(&archive, &code, later(1)).is_ok());
    assert_eq!(with(&archive, &code, later(1)), Err(SignInRefused::Wrong), "it has counted");
    archive.close().expect("closed");
    let archive = Archive::open(&dir.path().join("a")).expect("opens");
    assert_eq!(with(&archive, &code, later(1)), Err(SignInRefused::Wrong), "also after opening");
    change(&archive, AccountChange::RemoveTotp { name: name() });
    assert!(sign_in(&archive, "ann", GOOD, later(2)).is_ok());
    change(
        &archive,
        AccountChange::SetPolicy(PasswordPolicy { second_factor: true, ..PasswordPolicy::default() }),
    );
    assert!(sign_in(&archive, "ann", GOOD, later(3)).expect("in").must_enroll);
}

#[test]
fn a_token_is_kept_as_its_digest_told_without_it_and_goes_with_its_account() {
    let (dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    change(&archive, add("crm", "User"));
    let secret = TokenSecret::new().expect("made");
    let new = |name: &str, account: &str| NewToken {
        name: name.into(),
        account: account.into(),
        rights: [policy::access::Right::Recordings].into(),
        asks_as: policy::modes::Role::Agent,
        expires: Some(later(60)),
        secret: secret.clone(),
    };
    change(&archive, AccountChange::AddToken(new("Board", "CRM")));
    assert!(refused(&archive, AccountChange::AddToken(new("board", "crm"))).contains("already"));
    assert!(refused(&archive, AccountChange::AddToken(new("x", "nobody"))).contains("no account"));
    assert!(refused(&archive, AccountChange::AddToken(new(" x", "crm"))).contains("a space"));
    let past = NewToken { expires: Some(START), ..new("x", "crm") };
    assert!(refused(&archive, AccountChange::AddToken(past)).contains("expired"));
    let nothing = NewToken { rights: Default::default(), ..new("x", "crm") };
    assert!(refused(&archive, AccountChange::AddToken(nothing)).contains("without any right"));
    archive.close().expect("closed");
    let text = std::fs::read_to_string(dir.path().join("a").join(ACCOUNTS)).expect("there");
    assert!(!text.contains(secret.text()), "what opens is not kept");
    let archive = Archive::open(&dir.path().join("a")).expect("opens");
    let accounts = archive.accounts();
    let token = accounts.token("BOARD").expect("there");
    assert_eq!((token.account.as_str(), token.by.as_str()), ("crm", "root"));
    assert!(!token.has_expired(later(59)) && token.has_expired(later(60)));
    archive.note_token_used("board", later(7));
    archive.note_token_used("nobody", later(7));
    let used = archive.accounts().token("board").expect("there").last_used.expect("used");
    assert_eq!(used.as_millis() % (24 * 60 * MINUTE_MS), 0);
    change(&archive, AccountChange::Remove { name: "crm".into() });
    assert!(archive.accounts().tokens().is_empty(), "whoever gets the name later gets no programs");
    let told: Vec<String> = trail(&archive).iter().map(|event| format!("{event:?}")).collect();
    assert!(told.iter().any(|line| line.contains("token made") && line.contains("\"crm\"")), "{told:?}");
    assert!(told[0].contains("account removed") && told[0].contains("Board"), "{told:?}");
    let digest: String = token.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!told.concat().contains(&digest) && !format!("{token:?}").contains(&digest));
}

#[test]
fn a_webhook_is_told_without_its_secret_and_goes_with_its_account() {
    let (dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    change(&archive, add("crm", "User"));
    let secret = WebhookSecret::new().expect("made");
    let new = |name: &str, account: &str| NewWebhook {
        name: name.into(),
        address: "https://crm.example/hooks".into(),
        account: account.into(),
        topics: [Topic::RecordingFinished, Topic::CallEnded].into(),
        secret: secret.clone(),
    };
    change(&archive, AccountChange::AddWebhook(new("Board", "CRM")));
    assert!(refused(&archive, AccountChange::AddWebhook(new("board", "crm"))).contains("already"));
    assert!(refused(&archive, AccountChange::AddWebhook(new("x", "nobody"))).contains("no account"));
    assert!(refused(&archive, AccountChange::AddWebhook(new(" x", "crm"))).contains("a space"));
    let nothing = NewWebhook { topics: Default::default(), ..new("x", "crm") };
    assert!(refused(&archive, AccountChange::AddWebhook(nothing)).contains("told of nothing"));
    let nowhere = NewWebhook { address: String::new(), ..new("x", "crm") };
    assert!(refused(&archive, AccountChange::AddWebhook(nowhere)).contains("address"));
    archive.close().expect("closed");
    let archive = Archive::open(&dir.path().join("a")).expect("opens");
    let webhook = archive.accounts().webhook("BOARD").expect("there").clone();
    assert_eq!((webhook.account.as_str(), webhook.by.as_str()), ("crm", "root"));
    assert_eq!(webhook.secret, secret);
    change(&archive, AccountChange::RemoveWebhook { name: "board".into() });
    assert!(refused(&archive, AccountChange::RemoveWebhook { name: "board".into() }).contains("no webhook"));
    change(&archive, AccountChange::AddWebhook(new("Second", "crm")));
    change(&archive, AccountChange::Remove { name: "crm".into() });
    assert!(archive.accounts().webhooks().is_empty(), "whoever gets the name later tells nobody");
    let told: Vec<String> = trail(&archive).iter().map(|event| format!("{event:?}")).collect();
    assert!(
        told.iter().any(|line| line.contains("webhook made") && line.contains("crm.example")),
        "{told:?}"
    );
    assert!(told[0].contains("account removed") && told[0].contains("Second"), "{told:?}");
    let coded = secret.text();
    let coded = coded.strip_prefix("whsec_").expect("its prefix");
    assert!(!told.concat().contains(coded) && !format!("{webhook:?}").contains(coded));
}

#[test]
fn passwords_are_tested_expire_and_are_not_used_again() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let set = |password: &str| AccountChange::SetPassword {
        name: "ANN".into(),
        password: Password::new(password),
        must_change: false,
    };
    assert!(refused(&archive, set("short")).contains("12 or more"));
    assert!(refused(&archive, set(GOOD)).contains("one of the last ones"));
    let others = ["eins wiese blau draht", "zwei wiese blau draht", "drei wiese blau draht"];
    others.iter().for_each(|other| change(&archive, set(other)));
    assert!(refused(&archive, set(GOOD)).contains("one of the last ones"), "the fourth from the end");
    change(&archive, set(OTHER));
    change(&archive, set(GOOD));
    assert!(sign_in(&archive, "ann", OTHER, START).is_err() && sign_in(&archive, "ann", GOOD, START).is_ok());
    let policy = PasswordPolicy { expires_days: Some(30), ..PasswordPolicy::default() };
    change(&archive, AccountChange::SetPolicy(policy));
    let day = 24 * 60;
    assert!(!sign_in(&archive, "ann", GOOD, later(30 * day - 1)).expect("in").must_change);
    assert!(sign_in(&archive, "ann", GOOD, later(30 * day)).expect("in").must_change);
    change(&archive, AccountChange::SetPolicy(PasswordPolicy::default()));
    change(&archive, AccountChange::MustChangeAll);
    assert!(sign_in(&archive, "ann", GOOD, START).expect("in").must_change);
    const FRESH: &str = "vier wiese blau draht";
    change(&archive, set(FRESH));
    assert!(!sign_in(&archive, "ann", FRESH, START).expect("in").must_change);
    for wrong in [
        PasswordPolicy { reuse: 25, ..PasswordPolicy::default() },
        PasswordPolicy { expires_days: Some(0), ..PasswordPolicy::default() },
        PasswordPolicy { locked_minutes: 0, ..PasswordPolicy::default() },
    ] {
        assert!(refused(&archive, AccountChange::SetPolicy(wrong)).contains("password policy"));
    }
}

#[test]
fn whoever_administers_last_cannot_be_taken_away() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    change(&archive, add("bob", "User"));
    let name = || "ann".to_owned();
    let edit = |role: &str| AccountEdit { role: Some(role.into()), ..AccountEdit::default() };
    let ways = || {
        [
            AccountChange::Remove { name: name() },
            AccountChange::Disable { name: name(), disabled: true },
            AccountChange::Lock { name: name(), locked: true },
            AccountChange::Edit { name: name(), edit: edit("User") },
            AccountChange::Edit { name: name(), edit: edit("") },
            AccountChange::PutRole(Role {
                name: "administrator".into(),
                description: String::new(),
                profile: "User".into(),
                scope: Scope::Own,
                filters: vec![],
            }),
        ]
    };
    for way in ways() {
        assert!(refused(&archive, way).contains("nobody could administer"));
    }
    change(&archive, add("eve", "Administrator"));
    change(&archive, AccountChange::Remove { name: name() });
    assert_eq!(archive.caller("ann", START), None);
}

#[test]
fn names_roles_profiles_and_filters_must_fit_together() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    for (wrong, why) in [
        (add("ANN", "User"), "is taken"),
        (add("", "User"), "no user name"),
        (add(" bob", "User"), "no user name"),
        (add("bob\n", "User"), "no user name"),
        (add(&"x".repeat(65), "User"), "no user name"),
        (add("Console", "User"), "stands for something else"),
        (add("..", "User"), "stands for something else"),
        (add("bob", "Boss"), "there are Administrator, Supervisor, User"),
        (AccountChange::Disable { name: "bob".into(), disabled: true }, "no account \"bob\""),
        (AccountChange::RemoveRole { name: "Administrator".into() }, "\"ann\" has the role"),
        (AccountChange::RemoveProfile { name: "Admin".into() }, "has the profile"),
        (AccountChange::RemoveProfile { name: "Reporting Only".into() }, "built in"),
        (AccountChange::RemoveFilter { name: "f".into() }, "no access filter"),
    ] {
        let told = refused(&archive, wrong);
        assert!(told.contains(why), "{told}");
    }
    let profile = |name: &str| Profile {
        name: name.into(),
        description: String::new(),
        permissions: [Permission::WebAccess, Permission::Play].into_iter().collect(),
    };
    assert!(refused(&archive, AccountChange::PutProfile(profile("ADMIN"))).contains("built in"));
    change(&archive, AccountChange::PutProfile(profile("Auditor")));
    let role = |profile: &str, filter: &str| Role {
        name: "Auditor".into(),
        description: "Hears what is granted.".into(),
        profile: profile.into(),
        scope: Scope::None,
        filters: vec![filter.into()],
    };
    assert!(refused(&archive, AccountChange::PutRole(role("Nobody", "VIP"))).contains("no profile"));
    assert!(refused(&archive, AccountChange::PutRole(role("auditor", "VIP"))).contains("add it first"));
    let filter = AccessFilter::new("VIP", FilterMode::Grant, &[(Field::Tag, "vip")], None).expect("a filter");
    change(&archive, AccountChange::PutFilter(filter));
    change(&archive, AccountChange::PutRole(role("auditor", "vip")));
    assert!(refused(&archive, AccountChange::RemoveFilter { name: "vip".into() }).contains("take it off"));
    assert!(
        refused(&archive, AccountChange::RemoveProfile { name: "Auditor".into() })
            .contains("has the profile")
    );
    change(&archive, add("bob", "auditor"));
    let caller = archive.caller("bob", START).expect("somebody");
    let mut facts = crate::crash::facts(1);
    assert!(!caller.admits(&facts));
    facts.tags.push("vip".into());
    assert!(
        caller.permit(Permission::Play, &facts).is_ok() && caller.permit(Permission::Save, &facts).is_err()
    );
    assert_eq!(Segment::tags(&facts).count(), 1);
}

#[test]
fn a_caller_stands_where_the_person_stands_at_this_moment() {
    let (_dir, archive) = archive();
    let edit = AccountEdit {
        role: Some("Supervisor".into()),
        person: Some("ann.b".into()),
        unit: Some("Banking".into()),
        ..AccountEdit::default()
    };
    change(&archive, AccountChange::Add { name: "ann".into(), edit, password: None, must_change: false });
    let mut facts = crate::crash::facts(1);
    facts.business_unit = Some("Motor".into());
    facts.units_above = vec!["Claims".into()];
    let admits = |at| archive.caller("ann", at).map(|caller| caller.admits(&facts));
    assert_eq!(admits(START), Some(false), "nobody knows people yet: the account's own unit counts");
    let mut people = People::default();
    people.add_unit("Claims", None).expect("new");
    let user = User { id: "ann.b".into(), unit: Some("Claims".into()), ..User::default() };
    people.add_user(user).expect("new");
    archive.know_people(Arc::new(people.clone()), Some("Leeds".into()));
    assert_eq!(admits(START), Some(true));
    people.remove_user("ann.b", later(5)).expect("removed");
    archive.know_people(Arc::new(people), None);
    assert_eq!((admits(later(4)), admits(later(5))), (Some(true), None), "a deleted person has no access");
}

#[test]
fn the_trail_has_each_change_without_secrets() {
    let (dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let edit = AccountEdit { email: Some("ann@example.com".into()), ..AccountEdit::default() };
    change(&archive, AccountChange::Edit { name: "ann".into(), edit });
    let secret = TotpSecret::new().expect("made");
    change(&archive, AccountChange::BeginTotp { name: "ann".into(), secret: secret.clone() });
    change(&archive, AccountChange::ConfirmTotp { name: "ann".into(), code: secret.code_at(START) });
    let changes: Vec<_> = trail(&archive)
        .into_iter()
        .filter_map(|event| match event.what {
            What::AccountsChanged { what, name, before, after } => {
                Some((event.who, what, name, before, after))
            }
            _ => None,
        })
        .collect();
    let kinds: Vec<&str> = changes.iter().map(|(_, what, ..)| what.as_str()).collect();
    assert_eq!(
        kinds,
        ["second factor put in force", "second factor begun", "account changed", "account added"]
    );
    let (who, _, name, before, after) = &changes[2];
    assert_eq!((who.as_str(), name.as_str(), before.len()), ("root", "ann", 0));
    assert_eq!(after.get("email").map(String::as_str), Some("ann@example.com"));
    archive.close().expect("closed");
    let root = dir.path().join("a");
    let document = std::fs::read_to_string(root.join(ACCOUNTS)).expect("read");
    let json: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    let account = &json["accounts"]["ann"];
    let hash = account["hash"]["hash"].as_str().expect("a hash");
    assert!(!document.contains(GOOD) && json.get("untold").is_none());
    for folder in ["ledger", "journal", "index"] {
        for file in
            std::fs::read_dir(root.join(folder)).expect("a folder").flatten().filter(|f| f.path().is_file())
        {
            let bytes = std::fs::read(file.path()).expect("read");
            for found in [hash, GOOD, &secret.base32()] {
                assert!(!bytes.windows(found.len()).any(|w| w == found.as_bytes()), "{:?}", file.path());
            }
        }
    }
}

#[test]
fn nobody_fills_the_ledger_with_refused_tries() {
    let (_dir, archive) = archive();
    for _ in 0..40 {
        assert!(sign_in(&archive, "nobody", GOOD, START).is_err());
    }
    assert!(sign_in(&archive, "nobody", GOOD, later(1)).is_err());
    let refusals: Vec<u64> = trail(&archive)
        .into_iter()
        .filter_map(|event| match event.what {
            What::SignInRefused { untold, .. } => Some(untold),
            _ => None,
        })
        .collect();
    assert_eq!((refusals.len(), refusals[0], refusals[1]), (31, 10, 0));
}

#[test]
fn a_document_that_cannot_be_read_lets_nobody_in_and_no_new_one_begin() {
    let (dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    archive.close().expect("closed");
    let file = dir.path().join("a").join(ACCOUNTS);
    let good = std::fs::read_to_string(&file).expect("read");
    for bad in [
        "{",
        "[]",
        &good.replace("\"format\": 1", "\"format\": 2"),
        &good.replace("argon2id", "md5"),
        &good.replace("\"ann\": {", "\"bob\": {"),
    ] {
        std::fs::write(&file, bad).expect("written");
        let archive = Archive::open(&dir.path().join("a")).expect("records all the same");
        assert!(archive.has_accounts() && sign_in(&archive, "ann", GOOD, START).is_err(), "{bad}");
        let told = archive.change_accounts("root", START, add("eve", "Administrator")).expect_err("refused");
        assert!(told.to_string().contains("put a copy of it back"), "{told}");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), bad, "nothing is written over it");
    }
    std::fs::write(&file, good).expect("written");
    let archive = Archive::open(&dir.path().join("a")).expect("opens");
    assert!(sign_in(&archive, "ann", GOOD, START).is_ok());
}

#[test]
fn confirming_with_the_password_counts_failures_too() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let verify = |password: &str| archive.verify_password("ann", &Password::new(password), here(), START);
    assert!(verify(GOOD) && !verify(OTHER) && !verify(""));
    assert_eq!(archive.accounts().account("ann").expect("there").failed, 2);
    assert!(verify(GOOD));
    (0..10).for_each(|_| assert!(!verify(OTHER)));
    assert!(!verify(GOOD), "locked");
    assert!(!archive.verify_password("nobody", &Password::new(GOOD), here(), START));
    let refused = |who: &str| {
        let is_refusal =
            |event: &&Event| matches!(event.what, What::SignInRefused { .. }) && event.who == who;
        trail(&archive).iter().filter(is_refusal).count()
    };
    assert_eq!((refused("ann"), refused("?")), (13, 1), "as at the sign-in");
}

#[test]
fn who_comes_in_by_the_link_that_works_once_stands_in_the_trail() {
    let (_dir, archive) = archive();
    archive.note_entered("console", here(), START);
    let [entered] = &trail(&archive)[..] else { panic!("one line") };
    let what = What::SignedIn { from: here().to_string(), second_factor: false };
    assert_eq!((entered.who.as_str(), &entered.what), ("console", &what));
}

#[test]
fn sessions_from_before_a_new_password_are_over() {
    let (_dir, archive) = archive();
    change(&archive, add("ann", "Administrator"));
    let since = |archive: &Archive| archive.accounts().account("ann").expect("there").sessions_since;
    assert_eq!(since(&archive), START);
    let password = Password::new(OTHER);
    let set = AccountChange::SetPassword { name: "ann".into(), password, must_change: false };
    archive.change_accounts("ann", later(7), set).expect("changed");
    assert_eq!(since(&archive), later(7));
}
