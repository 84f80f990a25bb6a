//! The feed, from a line over TCP to the archive: before, during and after the calls that it is about.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capture::{Advance, FrameSource, MergedFiles};
use common::Bench;
use common::agent::free_port;
use common::appliance::{Appliance, PATIENCE};
use decode::tracker::Tracker;
use policy::smdr::teller::Teller;
use policy::smdr::{PADDING, Record, SmdrEvent};
use policy::{Rules, Site};
use serde_json::Value;
use xtask::load::{Direction, Scenario};

const EXCLUDE: &str =
    "[[record.exclude]]\ntype = \"account_code\"\nvalue = \"77%\"\ndescription = \"legal advice\"\n";
/// Where the wrapped key stands in a recording's file, behind the id of the key that wraps it (`docs/format.md`).
const WRAP: std::ops::Range<usize> = 140..220;

/// A PBX that reports.
struct Pbx {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Pbx {
    fn connect(appliance: &Appliance) -> Pbx {
        let stream = TcpStream::connect(appliance.feed).expect("it listens");
        let mut pbx = Pbx { answers: BufReader::new(stream.try_clone().expect("a socket")), stream };
        assert_eq!(pbx.answer(), "earwitness-feed 1");
        assert_eq!(pbx.say("hello version=1 source=pbx1"), "ok version 1");
        pbx
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.stream, "{line}").expect("sent");
        self.answer()
    }

    /// Says it until the answer is this one.
    fn say_until(&mut self, line: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.say(line);
            if answer == wanted {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{line}: {answer}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Calls of 2000 and up that begin now.
fn calls(count: u32, talk_ms: u32) -> Scenario {
    let direction = Direction::Outbound;
    Scenario { calls: count, talk_ms, ramp_ms: 0, ring_ms: 200, direction, ..Scenario::default() }
}

fn rows(bench: &Bench, words: &[&str]) -> Vec<Value> {
    bench.run(&[words, &["--json"]].concat()).expect_code(0).json()
}

/// All files below a folder that hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for path in common::files_in(folder) {
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if fs::read(&path).expect("reads").windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Recordings in the archive's folder.
fn recordings(bench: &Bench) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![bench.archive().join("recordings")];
    while let Some(folder) = folders.pop() {
        for path in common::files_in(&folder) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn summary(bench: &Bench) -> [u64; 3] {
    let sums = rows(bench, &["calls", "--summary"]).remove(0);
    ["seen", "recorded", "excluded"].map(|key| sums[key].as_u64().expect("a number"))
}

#[test]
fn a_late_exclusion_by_account_code_in_the_call_leaves_neither_key_nor_file_and_the_sheet_adds_up() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, EXCLUDE);
    let mut pbx = Pbx::connect(&running);
    let traffic = calls(2, 6_000).traffic();
    let call_id = |number: &str| {
        let call = traffic.truth.iter().find(|truth| truth.extension.number == number);
        call.expect("a call").call_id.clone()
    };
    let (own, other) = (call_id("2000"), call_id("2001"));
    let agent = running.play(traffic);
    pbx.say_until("extension=2000 contact=\"Ann Bee\"", "ok 1");
    let begun = Instant::now();
    let wrap = loop {
        let wraps = recordings(&bench).into_iter().filter_map(|path| {
            let bytes = fs::read(path).ok()?;
            let is_own = bytes.windows(18).any(|window| window == b"\"extension\":\"2000\"");
            bytes.get(WRAP).filter(|_| is_own).map(<[u8]>::to_vec)
        });
        if let Some(wrap) = wraps.into_iter().next() {
            break wrap;
        }
        assert!(begun.elapsed() < PATIENCE, "no recording begins");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert_eq!(pbx.say("extension=2000 account_code=7701"), "ok 1");
    // It runs, and was judged again: which rule destroyed it is told already.
    let told = bench.run(&["calls", "--why", &own]).expect_code(0).stdout();
    for step in
        ["fact [account code 7701]: feed pbx1 says so: judged again", "exclusion 1", "because: it runs"]
    {
        assert!(told.contains(step), "{step:?} is missing in:\n{told}");
    }
    agent.join().expect("sent");
    pbx.say_until(&format!("call_id={other} tag=over"), "ok 1 over 1");
    running.stop();
    assert_eq!(holding(&bench.archive(), &wrap), [] as [String; 0], "its key");
    assert_eq!(recordings(&bench).len(), 1);
    let list = rows(&bench, &["archive", "list"]);
    assert_eq!(list.iter().map(|row| &row["extension"]).collect::<Vec<_>>(), ["2001"]);
    assert_eq!(summary(&bench), [2, 1, 1]);
    let calls = rows(&bench, &["calls", "--outcome", "excluded"]);
    let reason = calls[0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("exclusion 1: account code 77% (legal advice); known "), "{reason}");
    let why =
        bench.run(&["calls", "--why", calls[0]["call"].as_str().expect("a call")]).expect_code(0).stdout();
    assert!(why.contains("fact [account code 7701]: feed pbx1 says so: judged again"), "{why}");
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn a_late_exclusion_by_account_code_after_the_call_has_a_receipt_and_the_sheet_adds_up() {
    let bench = Bench::new();
    let running = Appliance::start(&bench, EXCLUDE);
    let mut pbx = Pbx::connect(&running);
    // Before there is any call.
    assert_eq!(pbx.say("extension=2001 contact=\"Ann Bee\""), "ok 0 waits");
    let traffic = calls(2, 1_500).traffic();
    let of = |number: &str| {
        let truth = traffic.truth.iter().find(|truth| truth.extension.number == number).expect("a call");
        truth.call_id.clone()
    };
    let (excluded, kept) = (of("2000"), of("2001"));
    let agent = running.play(traffic);
    pbx.say_until(&format!("call_id={kept} ddi_name=Sales"), "ok 1");
    agent.join().expect("sent");
    for call in [&excluded, &kept] {
        pbx.say_until(&format!("call_id={call} tag=over"), "ok 1 over 1");
    }
    let wrap = |path: &Path| fs::read(path).expect("reads")[WRAP].to_vec();
    let wraps: Vec<Vec<u8>> = recordings(&bench).iter().map(|path| wrap(path)).collect();
    assert_eq!(wraps.len(), 2);
    assert_eq!(pbx.say(&format!("call_id={excluded} account_code=7702 agent=1021")), "ok 1 over 1");
    assert_eq!(pbx.say(&format!("call_id={kept} account_code=42 business_unit=Trading")), "ok 1 over 1");
    running.stop();

    let [left] = &recordings(&bench)[..] else { panic!("one file is left") };
    let left = wrap(left);
    for wrap in wraps {
        assert_eq!(holding(&bench.archive(), &wrap).len(), usize::from(wrap == left), "its key");
    }
    assert_eq!(summary(&bench), [2, 1, 1]);
    let list = rows(&bench, &["archive", "list", "--filter", "deleted=yes"]);
    let [gone] = &list[..] else { panic!("{list:?}") };
    assert_eq!((&gone["account_code"], &gone["agent"]), (&"7702".into(), &"1021".into()));
    assert_eq!(gone["deleted"]["rule"], "exclusion 1: account code 77% (legal advice)");
    assert_eq!(gone["deleted"]["who"], "feed pbx1");
    let calls = rows(&bench, &["calls", "--outcome", "excluded"]);
    let reason = calls[0]["reason"].as_str().expect("a reason");
    assert_eq!(
        reason,
        "exclusion 1: account code 77% (legal advice); known after the call, what had been recorded was destroyed"
    );
    let why =
        bench.run(&["calls", "--why", calls[0]["call"].as_str().expect("a call")]).expect_code(0).stdout();
    for step in [
        "fact [account code 7702]: feed pbx1 says so after the call: judged again",
        "exclusion 1 [account code 7702]: excluded: account code 77% (legal advice)",
        "late fact: what had been recorded is destroyed",
    ] {
        assert!(why.contains(step), "{step:?} is missing in:\n{why}");
    }
    // What came before, during and after is shown and found alike.
    for filter in ["contact=Ann%", "ddi_name=Sales", "business_unit=Trading", "account_code=42", "tag=over"] {
        let found = rows(&bench, &["archive", "list", "--filter", filter, "--filter", "deleted=no"]);
        assert_eq!(found.iter().map(|row| &row["extension"]).collect::<Vec<_>>(), ["2001"], "{filter}");
    }
    let id = rows(&bench, &["archive", "list", "--filter", "deleted=no"])[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let shown = bench.run(&["archive", "show", &id]).expect_code(0).stdout();
    assert!(shown.contains("contact        Ann Bee") && shown.contains("unit           Trading"), "{shown}");
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    assert!(log.contains("account_code 42") && log.contains("pbx1"), "{log}");
    bench.run(&["archive", "verify"]).expect_code(0);
    // Other rules are tried on what is known today.
    let test = |text: &str| {
        fs::write(bench.path("candidate.toml"), text).expect("writes");
        let file = bench.path("candidate.toml").display().to_string();
        let mut lines = rows(&bench, &["rule", "test", &file, "--since", "2000-01-01"]);
        lines.pop().expect("sums")["sums"]["differences"].clone()
    };
    assert_eq!(test(EXCLUDE), serde_json::json!({}));
    assert_eq!(test(""), serde_json::json!({ "excluded -> recorded": 1 }));
    let by_unit = "[[record.exclude]]\ntype = \"business_unit\"\nvalue = \"Trading\"\n";
    let both = test(&format!("{EXCLUDE}{by_unit}"));
    assert_eq!(both, serde_json::json!({ "recorded -> excluded": 1 }));
    // The index is only a cache: built anew it says the same.
    bench.run(&["archive", "rebuild"]).expect_code(0);
    assert_eq!(summary(&bench), [2, 1, 1]);
    assert_eq!(rows(&bench, &["archive", "list", "--filter", "business_unit=Trading"]).len(), 1);
}

#[test]
fn a_recording_of_an_earlier_run_is_found_by_call_id_and_by_extension_and_time() {
    let bench = Bench::new();
    let hour_ago =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock") - Duration::from_secs(3_600);
    let epoch_ns = i64::try_from(hour_ago.as_nanos()).expect("this century");
    let (capture, truth) = bench.capture("calls.pcap", &Scenario { epoch_ns, ..calls(2, 3_000) });
    bench.record(&capture);
    let at: decode::Timestamp = decode::Timestamp::from_nanos(epoch_ns).plus_millis(2_000);
    let later = at.plus_millis(600_000);
    let call_id = &truth.iter().find(|truth| truth.extension.number == "2000").expect("a call").call_id;
    let running = Appliance::start(&bench, EXCLUDE);
    let mut pbx = Pbx::connect(&running);
    for line in [
        format!("call_id={call_id} at={at} account_code=77"),
        format!("extension=2001 at={at} account_code=42"),
        format!("extension=2001 at={later} account_code=43"),
        format!("call_id=nonesuch at={at} account_code=44"),
    ] {
        assert_eq!(pbx.say(&line), "ok 0 waits", "{line}");
    }
    running.stop();
    let list = rows(&bench, &["archive", "list", "--filter", "deleted=no"]);
    assert_eq!(list.iter().map(|row| &row["account_code"]).collect::<Vec<_>>(), ["42"]);
    assert_eq!(summary(&bench), [2, 1, 1]);
    bench.run(&["archive", "verify"]).expect_code(0);
}

/// The records that a capture's calls give, where 2002 and up are extensions and 2001 is outside: event, endpoint, source.
fn records(capture: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(capture).join("capture.pcap");
    let mut source = MergedFiles::open(&[path]).expect("opens");
    let (mut tracker, mut teller) = (Tracker::new(), Teller::new(jiff::tz::TimeZone::UTC));
    let extensions = Some("2002-2099".parse().expect("a pattern"));
    let rules = Rules { site: Site { extensions, ..Site::default() }, ..Rules::default() };
    let mut told = Vec::new();
    loop {
        let advanced = source.advance_within(PATIENCE).expect("reads");
        match source.frame() {
            Some(frame) if advanced == Advance::Frame => tracker.handle_frame(&frame),
            _ => tracker.finish(),
        }
        while let Some(event) = tracker.poll_event() {
            teller.handle_event(&event, &rules);
        }
        let line = |record: Record| format!("{} {} {}", record.event.word(), record.endpoint, record.source);
        told.extend(std::iter::from_fn(|| teller.poll_record()).map(line));
        if advanced != Advance::Frame {
            return told.iter().map(|line| line.trim_end().to_owned()).collect();
        }
    }
}

#[test]
fn transfers_are_told_in_the_order_that_the_manuals_show() {
    let transferred = ["TRANSFERRED 2003 2002", "RINGING 2003", "CONNECTED 2003", "DISCONNECTED 2003"];
    for (capture, before) in [
        ("pjsip-blind-transfer", &["RINGING 2002", "ANSWERED 2002"][..]),
        ("rtpengine-transfer", &["RINGING 2002", "ANSWERED 2002"]),
        ("b2bua-transfer", &["RINGING 2002", "ANSWERED 2002"]),
        ("pjsip-attended-transfer", &["RINGING 2002", "ANSWERED 2002", "HOLD 2002"]),
    ] {
        assert_eq!(records(capture), [before, &transferred].concat(), "{capture}");
    }
}

#[test]
fn smdr_of_a_telephone_system_is_shown_with_the_recording_and_a_logger_gets_records_of_the_call() {
    let bench = Bench::new();
    let (take, listen) = (free_port(), free_port());
    // The records' zeros are lost in their padding: the call stays included by its number.
    let rules = "[[record.include]]\ntype = \"outside_number\"\nvalue = \"01632%\"\n\
        [[record.exclude]]\ntype = \"endpoint\"\nvalue = \"2000\"\n";
    let config = format!("[smdr]\ntake = \"{take}\"\nlisten = \"{listen}\"\n{rules}");
    let running = Appliance::start(&bench, &config);
    let mut logger = BufReader::new(TcpStream::connect(listen).expect("it listens"));
    let mut next = || {
        let mut line = Vec::new();
        logger.read_until(b'\n', &mut line).expect("a record");
        Record::parse(&line, PADDING).expect("a record")
    };
    let agent = running.play(calls(1, 3_000).traffic());
    let ringing = next();
    assert_eq!(
        (ringing.event, ringing.endpoint.as_str(), ringing.is_inbound),
        (SmdrEvent::Ringing, "2000", false)
    );
    assert_eq!(next().event, SmdrEvent::Answered);
    let mut system = TcpStream::connect(take).expect("it listens");
    let at = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let known = Record {
        at,
        contact: "Ann Bee".into(),
        account_code: "42".into(),
        trunk: "801".into(),
        event: SmdrEvent::Modified,
        ..ringing.clone()
    };
    assert!(known.caller.starts_with("1632"), "{}", known.caller);
    system.write_all(&known.write(PADDING)).expect("sent");
    // A record for each fact, the code last.
    let mut modified = next();
    while modified.account_code.is_empty() {
        assert_eq!(modified.event, SmdrEvent::Modified);
        modified = next();
    }
    assert_eq!((modified.event, modified.account_code.as_str()), (SmdrEvent::Modified, "42"));
    assert_eq!((modified.call, modified.caller), (ringing.call, ringing.caller), "the same call and number");
    agent.join().expect("sent");
    let mut last = next();
    while last.event == SmdrEvent::Modified {
        last = next();
    }
    assert_eq!(
        (last.event, last.contact.as_str(), last.trunk.as_str()),
        (SmdrEvent::Disconnected, "Ann Bee", "801")
    );
    running.stop();
    let list = rows(&bench, &["archive", "list", "--filter", "account_code=42", "--filter", "contact=Ann%"]);
    assert_eq!(list.iter().map(|row| &row["trunk"]).collect::<Vec<_>>(), ["801"]);
    let number = list.first().and_then(|row| row["outside_number"].as_str()).expect("a number");
    assert!(number.starts_with("01632"), "{number}");
    bench.run(&["archive", "verify"]).expect_code(0);
}
