//! The first start, in a network of the test's own: from the link to the first recording, and the start after it.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::Bench;
use common::agent::free_port;
use common::browser::Browser;
use common::network::{Network, ip, send};
use xtask::load::Scenario;

/// `earwitness run` with nothing named to record from; gives the link, too.
fn start(bench: &Bench) -> (Child, String) {
    let config = bench.path("earwitness.toml");
    if !config.exists() {
        std::fs::write(&config, format!("[web]\nlisten = \"{}\"\n", free_port())).expect("writes");
    }
    let mut child = common::earwitness()
        .args(["run", "-c"])
        .arg(&config)
        .arg("-a")
        .arg(bench.archive())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut link = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut link).expect("a line");
    (child, link.trim().to_owned())
}

fn stop(mut child: Child) -> String {
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    let mut err = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{err}");
    err
}

fn call(seconds: u32, seed: u64) -> Scenario {
    Scenario { talk_ms: seconds * 1_000, ramp_ms: 0, ring_ms: 200, seed, ..Scenario::default() }
}

#[test]
fn without_a_way_in_and_an_adapter_to_listen_at_it_says_what_to_do_and_makes_nothing() {
    let Some(_network) = Network::enter() else { return };
    let bench = Bench::new();
    let config = bench.path("earwitness.toml");
    std::fs::write(&config, "").expect("writes");
    let told = bench.run(&["run", "-c", config.to_str().expect("a plain path")]).expect_code(78).stderr();
    assert!(told.contains("no adapter is up") && told.contains("[capture] interfaces"), "{told}");
    assert!(!bench.archive().exists());
}

#[test]
fn from_the_link_to_the_first_recording_and_what_was_chosen_counts_at_the_next_start() {
    let Some(_network) = Network::enter() else { return };
    for (one, other) in [("ew0", "ew1"), ("ew2", "ew3")] {
        ip(&format!("link add {one} type veth peer name {other}"));
        ip(&format!("link set {one} up"));
        ip(&format!("link set {other} up"));
    }
    let bench = Bench::new();
    let (child, link) = start(&bench);
    let mut browser = Browser::entering(&link);
    assert_eq!(browser.get("/").location, "/set-up");
    assert_eq!(browser.get("/set-up").location, "/set-up/administrator");

    // No password to begin with, and none that is mistyped or weak.
    let password = "kupfer+lampe+neun+seil";
    let form = |again: &str| format!("name=Root&new={password}&again={again}");
    assert_eq!(browser.post("/set-up/administrator", &form("another")).status, 422);
    assert_eq!(browser.post("/set-up/administrator", "name=Root&new=short&again=short").status, 422);
    assert_eq!(browser.post("/set-up/administrator", &form(password)).location, "/set-up/connection");
    assert_eq!(browser.get("/set-up/connection").status, 200);
    // Another one cannot be made that way.
    let second = format!("name=Eve&new={password}&again={password}");
    assert_eq!(browser.post("/set-up/administrator", &second).location, "/set-up/connection");
    assert_eq!(browser.get("/users/Eve").status, 404);
    // Whoever signs in has no set-up.
    let mut root = Browser::new(link.split('/').nth(2).expect("a host").parse().expect("an address"));
    assert_eq!(root.post("/sign-in", &format!("name=root&password={password}&to=/")).status, 303);
    for path in ["/set-up", "/set-up/key", "/set-up/heard"] {
        assert_eq!(root.get(path).status, 404, "{path}");
    }
    assert_eq!(root.post("/set-up/key", "do=show").status, 404);

    // The key goes on paper.
    assert!(!browser.get("/set-up/key").body.contains("Private archive key"), "not before it is asked for");
    let sheet = browser.post("/set-up/key", "do=show").body;
    let line = sheet.lines().find_map(|line| line.trim().strip_prefix("K3")).expect("the line").trim();
    assert_eq!(browser.post("/set-up/key", "do=prove&proof=K3+0000").status, 422);
    let proof = format!("do=prove&proof={}", line.replace(' ', "+"));
    assert_eq!(browser.post("/set-up/key", &proof).location, "/set-up/heard");

    // It hears calls on one adapter, and keeps nothing of them.
    let heard = call(6, 1).traffic();
    let sender = std::thread::spawn(move || send("ew0", &heard));
    let page = browser.wait_for("/set-up/heard", |page| {
        page.contains("Both directions of calls") && page.contains("name=\"extension\" value=\"2000\"")
    });
    assert!(page.contains("name=\"adapter\" value=\"ew1\" checked"), "{page}");
    assert!(page.contains("name=\"adapter\" value=\"ew3\">"), "nothing comes there: {page}");
    sender.join().expect("sent");
    assert_eq!(browser.post("/set-up/heard", "which=all").status, 422, "no adapter");
    assert_eq!(browser.post("/set-up/heard", "adapter=ew1&which=ticked").status, 422, "no extension");
    assert_eq!(browser.post("/set-up/heard", "adapter=eth9&which=all").status, 422, "no such adapter");
    let begin = "adapter=ew1&which=ticked&extension=2000&more=3000-3999";
    assert_eq!(browser.post("/set-up/heard", begin).location, "/set-up/first");
    assert_eq!(browser.post("/set-up/heard", begin).status, 422, "once");
    browser
        .wait_for("/set-up/heard", |page| page.contains("It records from <strong><bdi>ew1</bdi></strong>."));

    let recorded = call(3, 2).traffic();
    let sender = std::thread::spawn(move || send("ew0", &recorded));
    browser.wait_for("/set-up/first", |page| page.contains("It records."));
    sender.join().expect("sent");
    browser.wait_for("/set-up/first", |page| !page.contains("being recorded now"));
    stop(child);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 1, "what was only heard is not there: {rows:?}");
    assert_eq!(rows[0]["extension"], "2000");
    let book = bench.run(&["rule", "show"]).expect_code(0).stdout();
    assert!(book.contains("devices = \"2000,3000-3999\""), "{book}");
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    for line in ["recovery sheet", "adapters to record from"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    bench.run(&["archive", "verify"]).expect_code(0);

    // At the next start nobody is asked.
    let (child, link) = start(&bench);
    let mut browser = Browser::entering(&link);
    assert_ne!(browser.get("/").location, "/set-up");
    browser
        .wait_for("/set-up/heard", |page| page.contains("It records from <strong><bdi>ew1</bdi></strong>."));
    std::thread::park_timeout(Duration::from_millis(200));
    stop(child);
}
