//! `demo`: what it prints lets one in, the past is there, a call runs, and nothing is left of it.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::agent::free_port;
use common::browser::Browser;

#[test]
fn whoever_starts_the_demonstration_signs_in_finds_the_past_and_sees_calls_run() {
    let at = free_port();
    let mut child = common::earwitness()
        .args(["demo", "--listen", &at.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let told: Vec<String> = lines.by_ref().take_while(|line| !line.contains("/enter/")).collect();
    let password = |name: &str| {
        let line = told.iter().find(|line| line.trim().starts_with(name)).expect("told");
        line.split_whitespace().nth(1).expect("a password").to_owned()
    };
    let folder = told.iter().find_map(|line| line.split_once("Everything is in ")).expect("told").1;
    let folder = PathBuf::from(folder.split(' ').next().expect("a folder"));
    assert!(folder.join("archive").is_dir());

    let mut supervisor = Browser::new(at);
    let form = format!("name=supervisor&password={}&to=/", password("supervisor"));
    assert_eq!(supervisor.post("/sign-in", &form).status, 303);
    let past = supervisor.get("/recordings?range=custom&from=2020-01-01").body;
    let rows = past.matches("data-play=").count() + past.matches("/recordings/01").count();
    assert!(rows > 50, "{rows}");
    for text in ["Tess, Front Desk", "Priya, Reception", "Brightwater Papers"] {
        assert!(past.contains(text), "{text}");
    }
    assert!(!past.contains("Dr Hale"), "what the rules leave out is not there");
    supervisor.wait_for("/live", |page| page.contains("class=\"live-row\""));
    // The desk sees its own calls alone.
    let mut tess = Browser::new(at);
    assert_eq!(tess.post("/sign-in", &format!("name=tess&password={}&to=/", password("tess"))).status, 303);
    let own = tess.get("/recordings?range=custom&from=2020-01-01").body;
    assert!(own.contains("Tess, Front Desk") && !own.contains("Priya, Reception"));
    // The balance sheet says why some calls are not there.
    let mut admin = Browser::new(at);
    assert_eq!(
        admin.post("/sign-in", &format!("name=admin&password={}&to=/", password("admin"))).status,
        303
    );
    let sheet = admin.get("/calls?range=custom&from=2020-01-01").body;
    assert!(sheet.contains("Dr Hale, Surgery"), "{sheet}");

    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(!folder.exists());
}
