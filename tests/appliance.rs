//! The appliance's upkeep: a configuration that is read again, alarms by mail, the canary, and what it survives.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::Bench;
use common::appliance::{Appliance, TOKEN, private};
use common::mail::{AUTHORITY, MailServer};
use common::network::{Network, until};
use xtask::load::Scenario;

fn signal(running: &Appliance, name: &str) {
    let told = Command::new("kill").args([name, &running.child.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
}

fn metric(running: &Appliance, line: &str) -> bool {
    running.get(running.metrics, "/metrics").1.lines().any(|one| one == line)
}

#[test]
fn a_configuration_that_is_read_again_acts_at_once_and_a_wrong_one_changes_nothing() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let path = bench.path("earwitness.toml");
    let before = std::fs::read_to_string(&path).expect("it is there");
    let traffic = Scenario { talk_ms: 9_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let agent = running.play(traffic);
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");

    // Wrong in a way that only resolving shows, with another part that would be right.
    std::fs::write(&path, format!("{before}[record]\nstream_idle_s = 0\nexclude_internal = true\n"))
        .expect("writes");
    signal(&running, "-HUP");
    std::thread::park_timeout(Duration::from_millis(800));
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");

    let fresh = "fedcba98fedcba98fedcba98fedcba98";
    let file = bench.path("fresh");
    private(&file, fresh);
    let status = |token: &str| running.ask(running.web, "GET", "/api/v1/status", token, "").0;
    assert_eq!(status(fresh), 401);
    let now = before.replace("[feed]", "[capture.unknown]\n[feed]");
    std::fs::write(&path, now).expect("writes");
    signal(&running, "-HUP");
    std::thread::park_timeout(Duration::from_millis(800));
    assert_eq!((status(TOKEN), status(fresh)), (200, 401));
    let now = format!(
        "{}[[api.token]]\nname = \"fresh\"\nfile = {file:?}\nrights = [\"status\"]\n[[record.exclude]]\ntype = \"endpoint\"\n\
         value = \"2000\"\n",
        before.replace("[capture]\n", "[capture]\nring_mb = 65\n")
    );
    std::fs::write(&path, now).expect("writes");
    signal(&running, "-HUP");
    until("the new token counts", || status(fresh) == 200);
    running.wait_for("/extensions/2000", |value| value["state"] != "recording");
    // Taken back again: what was taken up is what the next one is held against.
    std::fs::write(&path, before).expect("writes");
    signal(&running, "-HUP");
    until("it counts no more", || status(fresh) == 401);
    agent.join().expect("the agent has sent all");
    let said = running.stop();
    assert!(
        said.contains("all stays as it was") && said.contains("stream_idle_s") && said.contains("unknown"),
        "{said}"
    );
    assert_eq!(said.matches("settings=\"capture.ring_mb\"").count(), 2, "{said}");
}

#[test]
fn an_alarm_is_mailed_over_tls_once_an_interval_and_a_server_that_takes_nothing_is_an_alarm() {
    let bench = Bench::new();
    let server = MailServer::start();
    let password = bench.path("mail.password");
    private(&password, "secret\n");
    let port = server.address.port();
    let mail = format!(
        "[record]\nchannels = 1\n[alarms]\ndisk_low_percent = 1\n[alarms.mail]\nserver = \"localhost:{port}\"\nfrom = \"earwitness <box@example.net>\"\n\
         to = [\"ops@example.net\", \"night@example.net\"]\nuser = \"box\"\npassword_file = {password:?}\nca_file = {AUTHORITY:?}\n"
    );
    let running = Appliance::start(&bench, &mail);
    // The look at the start says who we are, and sends nothing.
    until("it was looked", || server.heard.lock().expect("no panic").logins == 1);
    assert_eq!(server.letters().len(), 0);
    let calls =
        || Scenario { calls: 2, talk_ms: 600, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    running.play(calls()).join().expect("sent");
    until("a letter", || server.letters().len() == 1);
    let letter = server.letters().remove(0);
    for part in [
        "From: earwitness <box@example.net>",
        "To: ops@example.net, night@example.net",
        "no-channel began",
        "Auto-Submitted: auto-generated",
        "1 calls found no channel free so far",
    ] {
        assert!(letter.contains(part), "{part} in {letter}");
    }
    running.stop();

    // Without its authority the server is nobody, and nothing is said to it.
    let logins = server.heard.lock().expect("no panic").logins;
    let stranger = Appliance::start(&bench, &mail.replace(&format!("ca_file = {AUTHORITY:?}\n"), ""));
    until("an alarm", || metric(&stranger, "earwitness_alarm{name=\"mail-failed\"} 1"));
    assert_eq!(server.heard.lock().expect("no panic").logins, logins);
    let said = stranger.stop();
    assert!(
        said.contains("alarms cannot be mailed") && said.to_lowercase().contains("certificate"),
        "{said}"
    );
    server.heard.lock().expect("no panic").refuses = true;
    let refused = Appliance::start(&bench, &mail);
    until("an alarm", || metric(&refused, "earwitness_alarm{name=\"mail-failed\"} 1"));
    assert!(refused.stop().contains("not today"));
}

/// What a browser that has nothing but a link gets: status and body.
fn browse(running: &Appliance, method: &str, path: &str) -> (u16, Vec<u8>) {
    let at = running.web;
    let mut stream = TcpStream::connect(at).expect("it listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply");
    let header = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a header");
    let status = String::from_utf8_lossy(&reply[9..12]).parse().expect("a status");
    (status, reply.split_off(header + 4))
}

#[test]
fn a_recording_is_mailed_by_the_server_of_the_alarms_and_its_link_fetches_it_once() {
    let bench = Bench::new();
    let server = MailServer::start();
    let (password, secret) = (bench.path("mail.password"), bench.path("password"));
    private(&password, "secret\n");
    private(&secret, "kupfer lampe neun seil\n");
    let (capture, _) = bench.capture("a.pcap", &Scenario { talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    let id = recordings(&bench)[0]["id"].as_str().expect("an id").to_owned();
    for words in [
        &["role", "set", "Desk", "--profile", "Supervisor", "--scope", "organization"][..],
        &["user", "add", "ann", "--role", "Desk", "--email", "ann@example.net", "--password-file"],
    ] {
        let file = secret.to_str().expect("a path");
        let file = if words[0] == "user" { &[file][..] } else { &[] };
        bench.run(&[words, file].concat()).expect_code(0);
    }
    let made =
        bench.run(&["token", "add", "desk", "--account", "ann", "--right", "recordings"]).expect_code(0);
    let token = made.stdout().trim().to_owned();
    let mail = format!(
        "[alarms.mail]\nserver = \"localhost:{}\"\nfrom = \"earwitness <box@example.net>\"\nto = [\"ops@example.net\"]\nuser = \"box\"\n\
         password_file = {password:?}\nca_file = {AUTHORITY:?}\ncheck_min = 0\n",
        server.address.port()
    );
    let running = Appliance::start(&bench, &mail);
    let send = |how: &str| {
        let body = serde_json::json!({
            "ids": [id], "to": ["bob@example.net", "eve@example.net"], "subject": "Für Sie", "text": "Please listen.", "how": how,
        });
        running.ask(running.web, "POST", "/api/v1/recordings/email", &token, &body.to_string())
    };
    let (status, told) = send("link");
    assert_eq!((status, server.letters().len()), (200, 2), "{told}");
    let letter = server.letters().remove(0);
    for part in [
        "From: earwitness <box@example.net>",
        "To: bob@example.net",
        "Reply-To: ann@example.net",
        "Subject: =?utf-8?",
        "Please listen.",
        "Call answered: ",
        "Duration: 0:01",
        "Sent by ann",
    ] {
        assert!(letter.contains(part), "{part} in {letter}");
    }
    assert!(!letter.contains("eve@example.net"), "{letter}");
    let link = |letter: &str| {
        let from = letter.find("/once/").expect("a link");
        letter[from..].split_whitespace().next().expect("a link").to_owned()
    };
    let path = link(&letter);
    assert!(letter.contains(&format!("http://{}{path}", running.web)), "{letter}");
    assert_eq!(browse(&running, "GET", &path).0, 200);
    let (status, file) = browse(&running, "POST", &path);
    assert_eq!((status, file.windows(4).any(|four| four == b"RIFF")), (200, true));
    assert_eq!((browse(&running, "GET", &path).0, browse(&running, "POST", &path).0), (410, 410));
    assert_eq!(browse(&running, "GET", &link(&server.letters()[1])).0, 200, "the other one's is there");

    assert_eq!(send("attachment").0, 200);
    let letter = server.letters().remove(2);
    assert!(letter.contains(&format!("filename=\"{id}.wav\"")) && letter.contains("UklGR"), "{letter}");

    server.heard.lock().expect("no panic").refuses = true;
    let (status, told) = send("lasting-link");
    assert!(status == 409 && told.contains("not today"), "{status} {told}");
    // The configuration is read again: there is no server in it.
    let file = bench.path("earwitness.toml");
    let before = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, before.replace(&mail, "")).expect("writes");
    signal(&running, "-HUP");
    until("it is taken up", || send("link").1.contains("No mail server is set up"));
    let said = running.stop();
    assert!(!said.contains(&path["/once/".len()..]), "{said}");
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    for line in [
        "mails 1 recordings to",
        "a link that is used for 1 recordings as wav",
        "could not mail 1 recordings",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains(&path["/once/".len()..]), "{log}");
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn the_canary_is_recorded_heard_and_gone_and_says_when_it_is_not_recorded() {
    let Some(_network) = Network::enter() else { return };
    let bench = Bench::new();
    let canary = "[site]\nextensions = \"1000-2999\"\nrtp_ports = [\"10000-10999\"]\n[[record.device]]\nnumber = \"2000\"\n[canary]\nevery = \"1h\"\n";
    let running = Appliance::start_on(&bench, "\"any-that-comes-late\"", canary);
    let begun = std::time::Instant::now();
    while !metric(&running, "earwitness_canary_calls_total 1") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", running.get(running.metrics, "/metrics").1);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let text = running.get(running.metrics, "/metrics").1;
    assert!(text.contains("earwitness_canary_failures_total 0\n"), "{text}\n{}", running.stop());
    assert!(
        metric(&running, "earwitness_port_frames_total{port=\"lo\"} 306"),
        "what it sent, and nothing else: {text}"
    );
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 0, "it is gone");
    assert_eq!(bench.run(&["calls", "--json"]).json().len(), 0);
    running.stop();
    bench.run(&["archive", "verify"]).expect_code(0);

    let excluded = format!("{canary}[[record.exclude]]\ntype = \"endpoint\"\nvalue = \"0%\"\n");
    let running = Appliance::start_on(&bench, "\"any-that-comes-late\"", &excluded);
    let begun = std::time::Instant::now();
    while !metric(&running, "earwitness_alarm{name=\"canary-failed\"} 1") {
        assert!(begun.elapsed() < Duration::from_secs(90), "{}", running.get(running.metrics, "/metrics").1);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let said = running.stop();
    assert!(said.contains("earwitness calls --number 0000"), "{said}");
    let call = bench.run(&["calls", "--number", "0000", "--json"]).json().remove(0);
    assert_eq!(call["outcome"], "excluded", "{call}");
}

/// What recordings there are, and whether all of them play.
fn recordings(bench: &Bench) -> Vec<serde_json::Value> {
    bench.run(&["archive", "verify"]).expect_code(0);
    bench.run(&["archive", "list", "--json"]).expect_code(0).json()
}

#[test]
fn killed_in_a_call_it_starts_again_and_the_call_is_kept_up_to_then_and_from_then_on() {
    let bench = Bench::new();
    let mut running = Appliance::start(&bench, "");
    let traffic = Scenario { talk_ms: 8_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let agent = running.play_until_refused(traffic.clone());
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");
    std::thread::park_timeout(Duration::from_millis(1_000));
    let said = r#"{"extension": "2000", "account_code": "4711", "tag": "mortgage", "tag2": "AB-12"}"#;
    assert_eq!(running.api("POST", "/events", said).1["reports"][0]["running"], 1);
    std::thread::park_timeout(Duration::from_millis(1_000));
    running.child.kill().expect("it is killed");
    running.child.wait().expect("it ends");
    agent.join().expect("it hangs up");
    // The next call is the next process's.
    let running = Appliance::start(&bench, "");
    let other = Scenario { first_line: 5, talk_ms: 1_500, ramp_ms: 0, ring_ms: 200, ..Scenario::default() };
    running.play(other.traffic()).join().expect("sent");
    running.wait_for("/status", |value| value["outcomes"]["recorded"] == 1);
    running.stop();
    let rows = recordings(&bench);
    let states: Vec<_> = rows.iter().map(|row| row["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["complete", "interrupted"]);
    // What it had been told of the call, it is signed with.
    let told = (&rows[1]["account_code"], &rows[1]["tags"][0], &rows[1]["fields"]["tag2"]);
    assert_eq!(told, (&"4711".into(), &"mortgage".into(), &"AB-12".into()), "{}", rows[1]);
    let kept_ms = rows[1]["duration_ms"].as_u64().expect("ms");
    assert!((1_500..=8_000).contains(&kept_ms), "{kept_ms} ms of it");
    let calls = bench.run(&["calls", "--json"]).expect_code(0).json();
    assert_eq!(calls.len(), 2, "each call once: {calls:?}");
}

#[test]
fn killed_in_a_paused_call_it_starts_again_and_the_call_stays_paused_until_it_is_resumed() {
    let bench = Bench::new();
    let mut running = Appliance::start(&bench, "");
    // A re-INVITE tells of the call after 70 % of it, which a recorder that came later needs.
    let call = Scenario { talk_ms: 10_000, ramp_ms: 0, ring_ms: 200, move_port: true, ..Scenario::default() };
    let agent = running.play_until_refused(call.clone().traffic());
    let path = "/extensions/2000";
    running.wait_for(path, |value| value["state"] == "recording");
    assert_eq!(running.api("POST", &format!("{path}/pause"), r#"{"by": "Eve"}"#).0, 200);
    running.wait_for(path, |value| value["state"] == "paused");
    assert_eq!(running.api("PUT", "/orders/extensions/2007", r#"{"order": "stop", "by": "Eve"}"#).0, 200);
    let kept = bench.archive().join("carried.json");
    let has = |word: &str| std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(word));
    until("it is on disk", || has("2007") && has("sip_call_id"));
    running.child.kill().expect("it is killed");
    running.child.wait().expect("it ends");
    agent.join().expect("it hangs up");

    let running = Appliance::start(&bench, "");
    let orders = running.api("GET", "/orders", "").1;
    assert_eq!(orders["orders"][0]["extension"], "2007", "{orders}");
    let agent = running.play(Scenario { skip_ms: 6_000, ..call }.traffic());
    let paused = running.wait_for(path, |value| value["state"] != "idle");
    assert_eq!(paused["state"], "paused", "{paused}");
    assert_eq!(running.api("POST", &format!("{path}/resume"), r#"{"by": "Eve"}"#).1["done"], 1);
    running.wait_for(path, |value| value["state"] == "recording");
    agent.join().expect("sent");
    running.wait_for("/status", |value| value["outcomes"]["recorded"] == 1);
    running.stop();
    let rows = recordings(&bench);
    let row = rows.iter().find(|row| row["state"] == "complete").expect("the second one's");
    let pauses = row["pauses"].as_array().expect("pauses");
    assert_eq!((rows.len(), pauses.len(), &pauses[0]["start_ms"]), (2, 1, &0.into()), "{row}");
    assert!(!has("request"), "the call is over");
}

#[test]
fn an_index_that_is_removed_while_it_records_costs_no_call_and_is_built_anew() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let call =
        |line| Scenario { first_line: line, talk_ms: 1_500, ramp_ms: 0, ring_ms: 200, ..Scenario::default() };
    running.play(call(0).traffic()).join().expect("sent");
    running.wait_for("/status", |value| value["outcomes"]["recorded"] == 1);
    std::fs::remove_dir_all(bench.archive().join("index")).expect("it is there");
    running.play(call(1).traffic()).join().expect("sent");
    running.wait_for("/status", |value| value["outcomes"]["recorded"] == 2);
    // However it ends: what was recorded is in files and ledger.
    let mut running = running;
    signal(&running, "-TERM");
    running.child.wait().expect("it ends");
    let again = Appliance::start(&bench, "");
    again.stop();
    let rows = recordings(&bench);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["state"] == "complete"), "{rows:?}");
    bench.run(&["archive", "check"]).expect_code(0);
}

/// A small disk of its own, which can be made to stand still.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(bench: &Bench) -> Option<Disk> {
        let (image, folder) = (bench.path("disk"), bench.archive());
        let file = std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20));
        std::fs::create_dir(&folder).ok()?;
        let run = |program: &str, words: &[&std::ffi::OsStr]| {
            Command::new(program).args(words).output().is_ok_and(|output| output.status.success())
        };
        let made = file.is_ok()
            && run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_ref()])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), folder.as_ref()]);
        if !made {
            eprintln!(
                "skipped: no disk of its own can be mounted here; it takes root, mkfs.ext4 and a loop device"
            );
            return None;
        }
        let _ = std::fs::remove_dir(folder.join("lost+found"));
        Some(Disk(folder))
    }

    fn freeze(&self, how: &str) -> bool {
        Command::new("fsfreeze").arg(how).arg(&self.0).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Thawed already, as a rule: what is left frozen would hold up whoever looks at it for ever.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_stands_still_for_five_seconds_costs_no_packet() {
    let bench = Bench::new();
    let Some(disk) = Disk::mount(&bench) else { return };
    let running = Appliance::start(&bench, "");
    let traffic = Scenario { talk_ms: 9_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let truth = traffic.truth.clone();
    let agent = running.play(traffic);
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");
    if !disk.freeze("-f") {
        eprintln!("skipped: this disk cannot be made to stand still");
        agent.join().expect("sent");
        running.stop();
        return;
    }
    std::thread::sleep(Duration::from_secs(5));
    let alive = running.get(running.metrics, "/healthz");
    assert!(disk.freeze("-u"), "it goes on");
    assert_eq!(alive.0, 200, "the recorder's thread goes round");
    agent.join().expect("the agent has sent all");
    running.wait_for("/status", |value| value["outcomes"]["recorded"] == 1);
    assert!(metric(
        &running,
        &format!("earwitness_port_dropped_frames_total{{port=\"{}\",at=\"ring\"}} 0", hep_port(&running))
    ));
    running.stop();
    let row = recordings(&bench).remove(0);
    assert_eq!(row["state"], "complete", "{row}");
    let (_, audio) = bench.exports().remove(0);
    for channel in &audio.channels {
        let second = audio.rate as usize;
        for from in (second / 2..channel.len().saturating_sub(second)).step_by(second / 4) {
            let level = xtask::tones::level_dbfs(&channel[from..from + second / 10]);
            assert!(level > -30.0, "a hole at {from} of {}: {level}", channel.len());
        }
    }
    assert_eq!(truth.len(), 1);
    drop(disk);
}

/// The name of the way in that HEP comes by.
fn hep_port(running: &Appliance) -> String {
    let text = running.get(running.metrics, "/metrics").1;
    let line = text
        .lines()
        .find(|line| line.starts_with("earwitness_port_up{port=\""))
        .expect("a way in")
        .to_owned();
    line.split('"').nth(1).expect("a name").to_owned()
}
