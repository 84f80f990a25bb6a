//! `run`: the appliance as its users meet it. A call comes from an agent while programs ask and pause.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::Bench;
use common::agent::pace;
use common::appliance::{Appliance, OTHER_TOKEN, PATIENCE, TOKEN, private};
use serde_json::Value;
use xtask::load::Scenario;
use xtask::tones;

#[test]
fn a_program_sees_a_call_and_pauses_it_and_nothing_of_the_pause_is_kept() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let scenario = Scenario { talk_ms: 9_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() };
    let traffic = scenario.traffic();
    let agent = running.play(traffic);
    let path = "/extensions/2000";
    let seen = running.wait_for(path, |value| value["state"] == "recording");
    let call = &seen["calls"][0];
    assert_eq!((&call["extension"], &call["direction"]), (&"2000".into(), &"outbound".into()));
    std::thread::park_timeout(Duration::from_millis(500));

    let (status, said) = running.api("POST", &format!("{path}/pause"), "{\"by\": \"Eve\"}");
    assert_eq!((status, &said["done"]), (200, &1.into()), "{said}");
    let paused = running.wait_for(path, |value| value["state"] == "paused");
    let by = paused["calls"][0]["paused_by"][0].as_str().expect("a name").to_owned();
    assert_eq!(by, "request of agent Eve by crm");
    let (_, text) = running.get(running.metrics, "/metrics");
    assert!(text.contains("earwitness_recordings_paused 1\n"), "{text}");
    std::thread::park_timeout(Duration::from_millis(1_000));
    // Another person's pause does not end with this one's.
    assert_eq!(running.api("POST", &format!("{path}/resume"), "{\"by\": \"Bob\"}").1["already"], 1);
    let (status, said) = running.api("POST", &format!("{path}/resume"), "{\"by\": \"Eve\"}");
    assert_eq!((status, &said["done"]), (200, &1.into()), "{said}");
    running.wait_for(path, |value| value["state"] == "recording");
    agent.join().expect("the agent has sent all");
    running.wait_for(path, |value| value["state"] == "idle");
    running.stop();

    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let pause = &row["pauses"][0];
    let (start_ms, end_ms) = (pause["start_ms"].as_u64().expect("ms"), pause["end_ms"].as_u64().expect("ms"));
    assert!(end_ms - start_ms >= 1_000, "{pause}");
    let (_, audio) = bench.exports().remove(0);
    let length_ms = audio.channels[0].len() as u64 * 1_000 / u64::from(audio.rate);
    assert!(length_ms.abs_diff(row["duration_ms"].as_u64().expect("ms")) <= 20);
    for channel in &audio.channels {
        let place = |ms: u64| (ms * u64::from(audio.rate) / 1_000) as usize;
        assert!(channel[place(start_ms + 20)..place(end_ms)].iter().all(|&sample| sample == 0), "silence");
        for ms in [start_ms - 200, end_ms + 200] {
            assert!(
                tones::level_dbfs(&channel[place(ms - 100)..place(ms + 100)]) > -30.0,
                "around it, speech"
            );
        }
    }
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn who_has_no_token_or_not_the_right_gets_nothing() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let status = |method: &str, path: &str, token: &str, body: &str| {
        running.ask(running.web, method, &format!("/api/v1{path}"), token, body).0
    };
    for path in ["/status", "/calls", "/orders", "/extensions/2000"] {
        assert_eq!(status("GET", path, TOKEN, ""), 200, "{path}");
        assert_eq!(status("GET", path, "wrong", ""), 401, "{path}");
        assert_eq!(status("GET", path, "", ""), 401, "{path}");
    }
    for path in ["/extensions/2000/pause", "/agents/17/stop"] {
        assert_eq!(status("POST", path, "", ""), 401, "{path}");
        assert_eq!(status("POST", path, OTHER_TOKEN, ""), 403, "{path}: it may only look");
        assert_eq!(status("POST", path, TOKEN, ""), 404, "{path}: no such call");
        assert_eq!(status("POST", path, TOKEN, "{\"by\": \"\"}"), 400, "{path}");
        assert_eq!(status("POST", path, TOKEN, "{\"who\": \"Eve\"}"), 400, "{path}");
    }
    assert_eq!(status("POST", "/extensions/2000/explode", TOKEN, ""), 404);
    assert_eq!(status("DELETE", "/status", TOKEN, ""), 405);
    let control = format!("/extensions/{}/pause", "%0A");
    assert_eq!(status("POST", &control, TOKEN, ""), 400);
    running.stop();
}

#[test]
fn a_token_that_is_made_beside_the_running_appliance_counts_at_once_and_is_gone_at_once() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let password = bench.path("password");
    private(&password, "kupfer lampe neun seil\n");
    let file = password.to_str().expect("a path");
    bench.run(&["user", "add", "ann", "--role", "Administrator", "--password-file", file]).expect_code(0);
    let made =
        bench.run(&["token", "add", "board 2", "--account", "ann", "--right", "status"]).expect_code(0);
    let secret = made.stdout().trim().to_owned();
    let status = || running.ask(running.web, "GET", "/api/v1/status", &secret, "").0;
    assert_eq!(status(), 200);
    assert_eq!(running.ask(running.web, "POST", "/api/v1/extensions/2000/pause", &secret, "").0, 403);
    bench.run(&["token", "remove", "board 2"]).expect_code(0);
    assert_eq!(status(), 401);
    running.stop();
}

#[test]
fn metrics_health_and_readiness_are_told_without_a_name() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "[record]\nchannels = 8\n");
    let ready = running.get(running.metrics, "/readyz");
    assert_eq!(ready, (200, "recording\n".into()));
    let (status, text) = running.get(running.metrics, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "earwitness_channels_limit 8",
        "earwitness_calls_total{outcome=\"recorded\"} 0",
        "earwitness_archive_failed 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
    assert_dashboard_asks_for(&text);
    assert_eq!(running.get(running.metrics, "/api/v1/status").0, 404);
    running.stop();
}

/// Every name on the dashboard is one that `/metrics` serves, and so is each label that it sums by.
fn assert_dashboard_asks_for(served: &str) {
    let dashboard = include_str!("../packaging/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let families: Vec<&str> =
        served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut names = 0;
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let expression = target["expr"].as_str().expect("an expression");
        let part = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        for name in expression.split(part).filter(|word| word.starts_with("earwitness_")) {
            assert!(families.contains(&name), "{expression}: /metrics has no {name}");
            names += 1;
        }
        for label in expression
            .split("by (")
            .skip(1)
            .flat_map(|rest| rest.split(')').next())
            .flat_map(|by| by.split(", "))
        {
            assert!(served.contains(&format!("{label}=\"")), "{expression}: /metrics has no label {label}");
        }
    }
    assert!(names > 20, "{names}");
}

#[test]
fn the_link_on_stdout_lets_one_browser_in() {
    let bench = Bench::new();
    let mut running = Appliance::start(&bench, "");
    let out = BufReader::new(running.child.stdout.take().expect("a pipe"));
    let link = out.lines().next().expect("a line").expect("text");
    let path = link.strip_prefix(&format!("http://{}", running.web)).expect("our address").to_owned();
    assert_eq!(running.get(running.web, "/").0, 403);
    assert_eq!(running.get(running.web, &path).0, 303);
    assert_eq!(running.get(running.web, &path).0, 403);
    running.stop();
}

#[test]
fn with_an_open_secret_or_rights_that_cannot_be_it_says_what_to_do() {
    let bench = Bench::new();
    let config = bench.path("earwitness.toml");
    let run = |text: &str| {
        std::fs::write(&config, text).expect("writes");
        bench.run(&["run", "-c", config.to_str().expect("a plain path")])
    };
    let secret = bench.path("open");
    std::fs::write(&secret, TOKEN).expect("writes");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let hep = format!(
        "[capture]\nhep = [\"127.0.0.1:0\"]\n[[api.token]]\nname = \"x\"\nrights = []\nfile = {secret:?}\n"
    );
    let told = run(&hep).expect_code(78).stderr();
    assert!(told.contains("chmod 600") && !told.contains(TOKEN), "{told}");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let token =
        |rights: &str| format!("[[api.token]]\nname = \"x\"\nrights = [{rights}]\nfile = {secret:?}\n");
    let hep = |tokens: &str| format!("[capture]\nhep = [\"127.0.0.1:0\"]\n{tokens}");
    let told = run(&hep(&token("").repeat(2))).expect_code(78).stderr();
    assert!(told.contains("two tokens"), "{told}");
    let told = run(&hep(&token("\"calls\""))).expect_code(78).stderr();
    assert!(told.contains("the right calls takes account"), "{told}");

    assert!(!bench.archive().exists(), "nothing was made");
}

#[test]
fn commands_work_while_the_appliance_has_the_archive() {
    let bench = Bench::new();
    let (capture, truth) =
        bench.capture("a.pcap", &Scenario { calls: 2, talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    let running = Appliance::start(&bench, "");
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), truth.len());
    let id = rows[0]["id"].as_str().expect("an id").to_owned();

    let target = bench.path("a.wav");
    let target_text = target.to_str().expect("a plain path").to_owned();
    bench.run(&["archive", "export", &id, "-o", &target_text]).expect_code(0);
    let audio = xtask::wav::parse(&std::fs::read(&target).expect("written")).expect("a WAV file");
    let mode = std::fs::metadata(&target).expect("it is there").permissions().mode();
    assert_eq!((audio.channels.len(), mode & 0o777), (2, 0o600));
    let piped = bench.run(&["archive", "export", &id, "-o", "-"]).expect_code(0);
    assert_eq!(piped.0.stdout, std::fs::read(&target).expect("written"));
    let told = bench.run(&["archive", "export", "ffff", "-o", &bench.path("b.wav").display().to_string()]);
    assert!(told.expect_code(1).stderr().contains("ffff") && !bench.path("b.wav").exists());

    bench.run(&["archive", "tag", &id, "--tag", "seen"]).expect_code(0);
    let row =
        bench.run(&["archive", "list", "--json"]).json().into_iter().find(|row| row["id"] == id.as_str());
    assert_eq!(row.expect("it is there")["tags"][0], "seen");
    bench.run(&["archive", "verify"]).expect_code(0);
    assert!(bench.run(&["calls", "--summary"]).expect_code(0).stdout().contains("recorded"));
    bench.run(&["archive", "list", "--frobnicate"]).expect_code(2);
    // What the words name is opened by who gave them; what would be written where nobody looks is refused.
    let rules = bench.path("rules.toml");
    private(&rules, "[record]\nexclude_internal = true\n");
    bench
        .run(&["rule", "import", rules.to_str().expect("a plain path"), "--why", "new", "--yes"])
        .expect_code(0);
    assert!(bench.run(&["rule", "show"]).expect_code(0).stdout().contains("exclude_internal = true"));
    let sheet = bench.path("sheet.txt").display().to_string();
    bench.run(&["archive", "key", "recovery-sheet", "-o", &sheet]).expect_code(11);
    bench.run(&["archive", "check"]).expect_code(0);

    let told = bench.run(&["record", "-r", capture.to_str().expect("a plain path")]).expect_code(11).stderr();
    assert!(told.contains("records into this archive already"), "{told}");
    bench.run(&["serve", "--listen", "127.0.0.1:0"]).expect_code(11);
    running.stop();
    bench.run(&["archive", "check"]).expect_code(0);
    let left: Vec<_> =
        common::files_in(&bench.archive()).into_iter().filter(|p| p.ends_with("appliance")).collect();
    assert!(left.is_empty(), "the socket is gone");
}

/// Bit of CAP_NET_RAW in a set of capabilities (capabilities(7)).
const NET_RAW: u64 = 1 << 13;

/// What a thread may do: its name and its effective, permitted and bounding capabilities.
fn capabilities(task: &std::path::Path) -> Option<(String, u64)> {
    let status = std::fs::read_to_string(task.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let bits = |name: &str| u64::from_str_radix(field(name).unwrap_or_default(), 16).expect("hexadecimal");
    Some((field("Name:")?.to_owned(), bits("CapEff:") | bits("CapPrm:") | bits("CapInh:") | bits("CapAmb:")))
}

#[test]
fn only_threads_that_capture_may_open_adapters() {
    let own = capabilities(std::path::Path::new("/proc/self")).expect("Linux tells");
    if own.1 & NET_RAW == 0 {
        eprintln!("skipped: this test may not open adapters");
        return;
    }
    let bench = Bench::new();
    let running = Appliance::start_on(&bench, "\"lo\"", "");
    let tasks = common::files_in(format!("/proc/{}/task", running.child.id()).as_ref());
    let all: Vec<_> = tasks.iter().filter_map(|task| capabilities(task)).collect();
    let captures = |name: &str| name.starts_with("capture") || name.starts_with("hep");
    for (name, bits) in &all {
        assert!(captures(name) || bits & NET_RAW == 0, "{name} may open adapters: {all:?}");
        assert!(name != "capture lo" || bits & NET_RAW != 0, "{name} could not open it again");
    }
    assert!(all.len() > 6 && all.iter().any(|(name, _)| name == "capture lo"), "{all:?}");
    running.stop();
}

#[test]
fn its_memory_is_kept_out_of_swap() {
    const SYS_RESOURCE: u64 = 1 << 24;
    let own = capabilities(std::path::Path::new("/proc/self")).expect("Linux tells");
    if own.1 & SYS_RESOURCE == 0 {
        eprintln!("skipped: this test may not raise its limit of locked memory");
        return;
    }
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).expect("it runs");
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB")
    };
    assert!(figure("VmLck:") > figure("VmRSS:") / 2, "{status}");
    running.stop();
}

#[test]
fn an_alarm_reaches_syslog_and_a_web_hook() {
    let bench = Bench::new();
    let hook = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let log = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    log.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let secret = bench.path("hook.secret");
    private(&secret, "whsec_c2VjcmV0\n");
    let (hook_at, log_at) = (hook.local_addr().expect("bound"), log.local_addr().expect("bound"));
    let running = Appliance::start(
        &bench,
        &format!(
            "[record]\nchannels = 1\n[alarms]\nsyslog = \"{log_at}\"\nwebhook = \"http://{hook_at}/earwitness\"\n\
             webhook_secret_file = {secret:?}\n"
        ),
    );
    let traffic =
        Scenario { calls: 2, talk_ms: 1_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let mut agent = TcpStream::connect(running.hep).expect("it listens");
    pace(&traffic, |packet| agent.write_all(packet).expect("sent"));

    let mut message = [0; 2_048];
    let length = log.recv(&mut message).expect("a message");
    let message = std::str::from_utf8(&message[..length]).expect("text");
    assert!(message.starts_with("<28>1 ") && message.contains(" earwitness "), "{message}");
    assert!(message.contains(" no-channel - raised: 1 calls found no channel free"), "{message}");

    let (mut stream, _) = hook.accept().expect("a request");
    let mut request = BufReader::new(stream.try_clone().expect("a socket"));
    let mut head = Vec::new();
    while head.last().is_none_or(|line: &String| !line.trim().is_empty()) {
        let mut line = String::new();
        request.read_line(&mut line).expect("a line");
        head.push(line.to_ascii_lowercase());
    }
    let field =
        |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let mut body = vec![0; field("content-length: ").parse().expect("a length")];
    request.read_exact(&mut body).expect("a body");
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("it listens");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&body["type"], &body["data"]["turn"]),
        (&"alarm.no-channel".into(), &"raised".into()),
        "{body}"
    );
    assert!(
        field("webhook-id: ").starts_with("msg_") && field("webhook-signature: ").starts_with("v1,"),
        "{head:?}"
    );
    let (_, text) = running.get(running.metrics, "/metrics");
    assert!(text.contains("earwitness_alarm{name=\"no-channel\"} 1"), "{text}");
    running.stop();
    assert!(bench.run(&["calls", "--summary"]).expect_code(0).stdout().contains("no channel"));
}

#[test]
fn a_rule_given_beside_it_acts_on_the_call_that_runs() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "");
    let traffic = Scenario { talk_ms: 9_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let agent = running.play(traffic);
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");
    let exclude =
        ["rule", "exclude", "add", "--type", "endpoint", "--value", "2000", "--why", "the works council"];
    bench.run(&exclude).expect_code(0);
    running.wait_for("/extensions/2000", |value| value["state"] != "recording");
    agent.join().expect("the agent has sent all");
    running.wait_for("/status", |value| value["outcomes"]["excluded"] == 1);
    running.stop();
    let call = bench.run(&["calls", "--json"]).expect_code(0).json().remove(0);
    let reason = call["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("exclusion 1: endpoint 2000; in force "), "{reason}");
    assert_eq!(bench.run(&["archive", "list", "--json"]).expect_code(0).json().len(), 0);
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn what_programs_report_is_a_fact_and_windows_and_orders_hold_the_call() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "[[pause.window]]\ntype = \"prefix\"\nvalue = \"card payment\"\n");
    let agent =
        running.play(Scenario { talk_ms: 12_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic());
    let path = "/extensions/2000";
    let is = |state: &'static str| move |value: &Value| value["state"] == state;
    running.wait_for(path, is("recording"));
    let (status, told) = running.api(
        "POST",
        "/events",
        r#"[{"extension": "2000", "account_code": "4711", "contact": "Ann Bee"}]"#,
    );
    assert_eq!((status, &told["reports"][0]["running"]), (200, &1.into()), "{told}");
    let (status, told) = running.api("POST", "/events", r#"{"extension": "2000", "colour": "red"}"#);
    assert_eq!(status, 400, "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("colour")), "{told}");

    let shows = |windows: &str| {
        let body = format!(r#"{{"extension": "2000", "windows": [{windows}]}}"#);
        assert_eq!(running.api("PUT", "/clients/till-1", &body).0, 200);
    };
    shows(r#""Card payment - Till", "Mail""#);
    let paused = running.wait_for(path, is("paused"));
    assert_eq!(paused["calls"][0]["paused_by"][0], "window rule 1 at till-1 of crm", "{paused}");
    shows(r#""Mail""#);
    running.wait_for(path, is("recording"));
    let order = "/orders/extensions/2000";
    assert_eq!(running.api("PUT", order, r#"{"order": "keep"}"#).0, 400);
    assert_eq!(running.api("PUT", order, r#"{"order": "pause", "by": "Eve"}"#).0, 200);
    running.wait_for(path, is("paused"));
    let orders = running.api("GET", "/orders", "").1;
    assert_eq!(
        (&orders["orders"][0]["order"], &orders["orders"][0]["by"]),
        (&"pause".into(), &"Eve by crm".into())
    );
    assert_eq!(running.api("DELETE", order, "").1["withdrawn"], true);
    assert_eq!(running.api("DELETE", order, "").1["withdrawn"], false);
    running.wait_for(path, is("recording"));
    assert_eq!(running.ask(running.web, "POST", "/api/v1/events", OTHER_TOKEN, "[]").0, 403);
    agent.join().expect("the agent has sent all");
    running.wait_for(path, is("idle"));
    running.stop();
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    assert_eq!((&row["account_code"], &row["contact"]), (&"4711".into(), &"Ann Bee".into()), "{row}");
    assert_eq!(row["pauses"].as_array().map(Vec::len), Some(2), "{row}");
}

#[test]
fn another_list_of_ports_acts_on_the_call_that_runs() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, "[site]\nrtp_ports = [\"10000-20000\"]\n");
    let traffic = Scenario { talk_ms: 9_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let agent = running.play(traffic);
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");
    std::thread::park_timeout(Duration::from_millis(1_000));
    let left_out = || {
        let (_, text) = running.get(running.metrics, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("earwitness_outside_ports_packets_total "));
        (line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default(), text)
    };
    assert_eq!(left_out().0, 0);
    bench.run(&["rule", "ports", "set", "30000-40000", "--why", "a mistake"]).expect_code(0);
    let begun = std::time::Instant::now();
    while left_out().0 < 100 || !left_out().1.contains("earwitness_alarm{name=\"ports-outside\"} 1") {
        assert!(begun.elapsed() < PATIENCE, "{}", left_out().1);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    bench.run(&["rule", "ports", "set", "--preset", "asterisk", "--why", "mended"]).expect_code(0);
    agent.join().expect("the agent has sent all");
    running.wait_for("/extensions/2000", |value| value["state"] == "idle");
    running.stop();
    let call = bench.run(&["calls", "--json"]).expect_code(0).json().remove(0);
    let reason = call["reason"].as_str().expect("a reason");
    assert!(call["outcome"] == "recorded" && reason.contains("site.rtp_ports does not list"), "{call}");
    let (_, audio) = bench.exports().remove(0);
    for channel in &audio.channels {
        let second = audio.rate as usize;
        let level = |from: usize| tones::level_dbfs(&channel[from..from + second / 10]);
        assert!(level(second / 2) > -30.0 && level(channel.len() - second / 2) > -30.0, "before and after");
        let gap = (0..channel.len() / second - 1).any(|s| level(s * second + second / 2) < -60.0);
        assert!(gap, "and nothing in between");
    }
}
