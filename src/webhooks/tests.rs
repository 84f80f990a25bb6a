//! Telling webhooks: by a program that listens, answers as it is told to, and looks at the signatures.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use hmac::{Hmac, KeyInit, Mac};
use policy::access::{Role, Scope};
use sha2::Sha256;
use store::{
    AccountChange, AccountEdit, CallRow, Deletion, Event, NewWebhook, Password, RecordingFacts, RecordingId,
    Topic, WebhookSecret, What,
};

use super::*;
use crate::late::tests::record;

const PASSWORD: &str = "kupfer lampe neun seil";
const LONG: Duration = Duration::from_secs(30);

/// A message as it came.
#[derive(Clone, Debug)]
struct Heard {
    id: String,
    body: serde_json::Value,
    is_signed: bool,
}

/// Listens, and answers each message with the next of these; with 204 when there is none.
struct Program {
    address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Program {
    fn start(secret: &WebhookSecret) -> Program {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}/hooks", listener.local_addr().expect("bound"));
        let (heard, answers) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::<Mutex<VecDeque<_>>>::default());
        let (of_thread, answering, secret) = (Arc::clone(&heard), Arc::clone(&answers), secret.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let mut fields = BTreeMap::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).expect("a line");
                    let Some((name, value)) = line.trim().split_once(": ") else {
                        if line.trim().is_empty() {
                            break;
                        }
                        continue;
                    };
                    fields.insert(name.to_lowercase(), value.to_owned());
                }
                let mut body = vec![0; fields["content-length"].parse().expect("a length")];
                stream.read_exact(&mut body).expect("a body");
                let id = fields["webhook-id"].clone();
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("a key");
                mac.update(format!("{id}.{}.", fields["webhook-timestamp"]).as_bytes());
                mac.update(&body);
                use base64::Engine;
                let code = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
                let is_signed = fields["webhook-signature"] == format!("v1,{code}");
                let body = serde_json::from_slice(&body).expect("JSON");
                locked(&of_thread).push(Heard { id, body, is_signed });
                let answer = locked(&answering).pop_front().unwrap_or("204 No Content");
                write!(
                    stream.get_mut(),
                    "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                .expect("answered");
            }
        });
        Program { address, heard, answers }
    }

    fn answer(&self, answers: &[&'static str]) {
        locked(&self.answers).extend(answers);
    }

    /// Waits for so many messages, and a moment longer for one too many; gives their types.
    fn wait(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + LONG;
        while locked(&self.heard).len() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        let heard = locked(&self.heard);
        assert!(heard.iter().all(|heard| heard.is_signed));
        heard.iter().map(|heard| heard.body["type"].as_str().expect("a type").to_owned()).collect()
    }

    fn last(&self) -> Heard {
        locked(&self.heard).last().expect("a message").clone()
    }
}

fn times() -> Times {
    let short = Duration::from_millis(10);
    Times {
        look: short,
        read: short,
        hash: LONG,
        read_all_the_same: LONG,
        keep: short,
        retries: vec![short, short],
        give_up: Duration::from_secs(2),
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    archive: Arc<Archive>,
    /// Of a call that was recorded before.
    facts: RecordingFacts,
    secret: WebhookSecret,
    program: Program,
}

impl Fixture {
    /// An archive with an account that sees all and one that sees its own calls.
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = Arc::new(Archive::open_or_create(&dir.path().join("archive")).expect("made").0);
        record(&archive, &dir.path().join("call.pcap"));
        let facts = archive.rows().next().expect("one").expect("a row").facts;
        let secret = WebhookSecret::new().expect("made");
        let program = Program::start(&secret);
        let fixture = Fixture { _dir: dir, archive, facts, secret, program };
        for (name, scope) in [("all", Scope::Organization), ("own", Scope::Own)] {
            let profile = "Supervisor".into();
            let role =
                Role { name: name.into(), description: String::new(), profile, scope, filters: vec![] };
            fixture.change(AccountChange::PutRole(role));
            let edit = AccountEdit { role: Some(name.into()), ..AccountEdit::default() };
            let password = Some(Password::new(PASSWORD));
            fixture.change(AccountChange::Add { name: name.into(), edit, password, must_change: false });
        }
        fixture
    }

    fn change(&self, change: AccountChange) {
        self.archive.change_accounts("root", clock::now(), change).expect("changed");
    }

    fn add(&self, name: &str, account: &str, topics: &[Topic]) {
        self.change(AccountChange::AddWebhook(NewWebhook {
            name: name.into(),
            address: self.program.address.clone(),
            account: account.into(),
            topics: topics.iter().copied().collect(),
            secret: self.secret.clone(),
        }));
    }

    /// Starts to tell, and waits until the webhook's place is known.
    fn tell(&self) -> Tellers {
        let tellers = Tellers::with_times(&self.archive, times()).expect("a thread");
        let deadline = Instant::now() + LONG;
        let accounts = self.archive.accounts();
        let names: BTreeSet<String> =
            accounts.webhooks().iter().map(|webhook| webhook.name.to_lowercase()).collect();
        while !self.archive.reader_places().keys().eq(&names) {
            assert!(Instant::now() < deadline, "no place is kept");
            std::thread::sleep(Duration::from_millis(5));
        }
        tellers
    }

    /// Another recording, of nothing, ended.
    fn record(&self) -> RecordingId {
        let mut facts = self.facts.clone();
        facts.id = RecordingId::new(facts.started);
        let id = self.archive.create(facts.clone()).and_then(|writer| writer.finish(facts)).expect("written");
        self.archive.sync().expect("synced");
        id
    }

    /// Waits until the webhook of this name was told of all that there is.
    fn caught_up(&self, name: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            let place = self.archive.reader_places().remove(name).expect("kept").place;
            if self.archive.news(&place, 10).expect("read").is_end {
                break;
            }
            assert!(Instant::now() < deadline, "it never comes to the end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tag(&self, id: RecordingId) {
        let what = What::Tagged { id, tag: "vip".into() };
        self.archive.edit(Event { at: clock::now(), who: "eve".into(), what }).expect("tagged");
        self.archive.sync().expect("synced");
    }
}

#[test]
fn a_webhook_is_told_what_it_asked_for_in_order_signed_and_once() {
    let fixture = Fixture::new();
    fixture.record();
    fixture.add("crm", "all", &Topic::ALL);
    let tellers = fixture.tell();
    let id = fixture.record();
    fixture.tag(id);
    let facts = fixture.archive.row(id).expect("there").facts;
    fixture.archive.append_call(&CallRow::of_recording(&facts, facts.ended, String::new())).expect("room");
    let deletion =
        Deletion { at: clock::now(), who: "eve".into(), rule: "by hand".into(), why: "asked to".into() };
    fixture.archive.sync().expect("synced");
    // What is gone when it is told is told as gone alone: first the others are waited for.
    fixture.program.wait(3);
    fixture.archive.delete(id, deletion, true).expect("deleted");
    fixture.archive.sync().expect("synced");
    let told = fixture.program.wait(4);
    assert_eq!(told, ["recording.finished", "recording.changed", "call.ended", "recording.deleted"]);
    let heard = locked(&fixture.program.heard).clone();
    assert_eq!(heard[0].body["data"]["recording"]["id"], id.to_string());
    assert_eq!(heard[1].body["data"]["change"]["tag"], "vip");
    assert_eq!(heard[2].body["data"]["call"]["recordings"][0], id.to_string());
    assert_eq!(heard[3].body["data"]["deletion"]["why"], "asked to");
    let state = tellers.shown().state("CRM");
    assert_eq!((state.told, state.given_up, state.waiting_since), (4, 0, None));
    assert_eq!(tellers.shown().test("crm"), Ok(204));
    assert_eq!(fixture.program.last().body["type"], "webhook.test");
    tellers.stop();
}

#[test]
fn what_is_not_taken_is_tried_again_under_the_same_number_and_given_up_in_the_end() {
    let fixture = Fixture::new();
    fixture.add("crm", "all", &[Topic::RecordingFinished]);
    let tellers = fixture.tell();
    fixture.program.answer(&["500 Oops", "302 Found", "200 OK"]);
    let id = fixture.record();
    assert_eq!(fixture.program.wait(3).len(), 3);
    let heard = locked(&fixture.program.heard).clone();
    assert!(heard.iter().all(|one| one.id == heard[0].id && one.body == heard[0].body));
    assert_ne!(heard[0].body["data"]["recording"]["sha256"], "", "it is waited for");
    let state = tellers.shown().state("crm");
    assert_eq!((state.told, state.waiting_since), (1, None));
    assert!(state.last_failed.is_some_and(|(_, why)| why.contains("302")));
    // What was not asked for is not told.
    fixture.tag(id);
    // It waits for longer than it is tried.
    fixture.program.answer(&["503 Busy\r\nRetry-After: 7200"]);
    fixture.record();
    let next = fixture.record();
    let deadline = Instant::now() + LONG;
    while tellers.shown().state("crm").given_up == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    fixture.program.wait(5);
    assert_eq!(fixture.program.last().body["data"]["recording"]["id"], next.to_string());
    let state = tellers.shown().state("crm");
    assert_eq!((state.told, state.given_up), (2, 1));
    tellers.stop();
}

#[test]
fn telling_goes_on_after_a_restart_where_it_ended() {
    let fixture = Fixture::new();
    fixture.add("crm", "all", &[Topic::RecordingFinished]);
    let tellers = fixture.tell();
    fixture.record();
    fixture.program.wait(1);
    tellers.stop();
    let missed = fixture.record();
    let tellers = fixture.tell();
    fixture.program.wait(2);
    assert_eq!(fixture.program.last().body["data"]["recording"]["id"], missed.to_string());
    // One of the same name that was made anew begins anew.
    tellers.stop();
    fixture.record();
    fixture.change(AccountChange::RemoveWebhook { name: "crm".into() });
    fixture.add("crm", "all", &[Topic::RecordingFinished]);
    let tellers = Tellers::with_times(&fixture.archive, times()).expect("a thread");
    assert_eq!(fixture.program.wait(2).len(), 2);
    tellers.stop();
}

#[test]
fn nobody_is_told_of_what_the_account_may_not_see_and_whoever_is_gone_of_nothing() {
    let fixture = Fixture::new();
    fixture.add("own", "own", &Topic::ALL);
    let tellers = fixture.tell();
    let id = fixture.record();
    let facts = fixture.archive.row(id).expect("there").facts;
    fixture.archive.append_call(&CallRow::of_recording(&facts, facts.ended, String::new())).expect("room");
    fixture.archive.sync().expect("synced");
    fixture.add("all", "all", &[Topic::RecordingFinished]);
    tellers.stop();
    let tellers = fixture.tell();
    fixture.record();
    assert_eq!(fixture.program.wait(1), ["recording.finished"], "the account that sees all alone");
    fixture.change(AccountChange::Disable { name: "all".into(), disabled: true });
    fixture.record();
    fixture.caught_up("all");
    fixture.change(AccountChange::Disable { name: "all".into(), disabled: false });
    fixture.program.answer(&["410 Gone"]);
    let last = fixture.record();
    fixture.program.wait(2);
    assert_eq!(fixture.program.last().body["data"]["recording"]["id"], last.to_string());
    fixture.record();
    assert_eq!(fixture.program.wait(2).len(), 2, "it said that it is gone");
    assert!(tellers.shown().state("all").is_gone);
    tellers.stop();
}
