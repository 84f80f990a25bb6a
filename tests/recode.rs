//! The cold tier by the command line: what the rule would do, doing it, and what stays provable.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Bench;
use common::appliance::Appliance;
use xtask::load::{Direction, Scenario};

/// 2020-01-01.
const LONG_AGO_NS: i64 = 1_577_836_800_000_000_000;

/// An archive with three old calls of twelve seconds, a configuration with this in it, and their ids.
fn filled(cold: &str) -> (Bench, String, Vec<String>) {
    let (bench, scenario) = (
        Bench::new(),
        Scenario {
            calls: 3,
            talk_ms: 12_000,
            epoch_ns: LONG_AGO_NS,
            direction: Direction::Inbound,
            loss_pct: 2.0,
            ..Scenario::default()
        },
    );
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    bench.record(&capture);
    let config = bench.path("site.toml");
    fs::write(&config, cold).expect("written");
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let ids = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    (bench, config.to_str().expect("a path").to_owned(), ids)
}

fn file(bench: &Bench, id: &str) -> PathBuf {
    bench.archive().join("recordings/2020/01/01").join(format!("{id}.wav"))
}

const OPUS: &str = "[cold]\nafter = \"90d\"\n";

#[test]
fn recordings_are_re_encoded_by_the_rule_and_say_what_they_were() {
    let (bench, config, ids) = filled(OPUS);
    let words = ["archive", "recode", "-c", &config];
    bench.run(&["archive", "hold", &ids[0], "--name", "case 7", "--why", "inquiry"]).expect_code(0);
    let before = bench.run(&["archive", "show", &ids[1], "--json"]).expect_code(0).json().remove(0);
    let ladder = |id: &str| bench.run(&["archive", "show", id, "--sip"]).expect_code(0).stdout();
    let sip = ladder(&ids[1]);
    assert!(sip.contains("INVITE") && sip.contains("BYE"), "{sip}");
    let lengths: Vec<usize> = bench.exports().iter().map(|(_, audio)| audio.channels[0].len()).collect();

    let shown = bench.run(&words).expect_code(0).stdout();
    assert!(
        shown.contains("2 recordings are due")
            && shown.contains("1 stay as they are: it is under a legal hold"),
        "{shown}"
    );
    assert!(shown.contains("nothing was re-encoded"), "{shown}");
    let plan = bench.run(&[&words[..], &["--json"]].concat()).expect_code(0).json().remove(0);
    assert_eq!((&plan["due"]["recordings"], &plan["codec"]), (&2.into(), &"opus".into()));

    let said = bench.run(&[&words[..], &["--yes", "--json"]].concat()).expect_code(0).json();
    let done = said.last().expect("what was done");
    assert_eq!(done["recoded"], 2, "{said:?}");
    assert!(done["bytes_after"].as_u64() < done["bytes_before"].as_u64().map(|bytes| bytes / 3), "{done}");

    let after = bench.run(&["archive", "show", &ids[1], "--json"]).expect_code(0).json().remove(0);
    let recoded = &after["recoded"];
    assert_eq!((&recoded["from_bytes"], &recoded["rule"]), (&before["bytes"], &"opus after 90d".into()));
    assert_eq!((&recoded["from_codecs"][0], &after["tracks"][0]["stored"]), (&"PCMU".into(), &"OPUS".into()));
    assert_eq!(after["tracks"][0]["lost_network"], before["tracks"][0]["lost_network"], "as received");
    assert!(after["completeness"].is_null() && after["completeness_missing"].is_string());
    let text = bench.run(&["archive", "show", &ids[1]]).expect_code(0).stdout();
    assert!(text.contains("re-encoded") && text.contains("PCMU (kept as OPUS)"), "{text}");
    assert_eq!(bench.exports().iter().map(|(_, audio)| audio.channels[0].len()).collect::<Vec<_>>(), lengths);

    assert_eq!(ladder(&ids[1]), sip, "the call's SIP goes over");
    bench.run(&["archive", "verify"]).expect_code(0);
    bench.run(&["archive", "check"]).expect_code(0);
    let zip = bench.path("all.zip");
    let zip = zip.to_str().expect("a path");
    bench.run(&["archive", "export", "--format", "zip", "-o", zip]).expect_code(0);
    bench.run(&["archive", "verify", "--bundle", zip]).expect_code(0);
    let manifest = manifest(zip);
    let item =
        manifest["recordings"].as_array().expect("recordings").iter().find(|item| item["id"] == *ids[1]);
    assert_eq!(&item.expect("it is in it")["recoded"], recoded, "the manifest says it too");
    // The second time there is nothing to do.
    let again = bench.run(&[&words[..], &["--yes", "--json"]].concat()).expect_code(0).json();
    assert_eq!((&again[0]["due"]["recordings"], &again[1]["recoded"]), (&0.into(), &0.into()));
    assert_eq!(again[0]["stays"]["it was re-encoded already"], 2);
}

fn manifest(zip: &str) -> serde_json::Value {
    let file = fs::File::open(zip).expect("opens");
    let report = web::evidence::verify(file, &store::Trusted::default()).expect("read");
    serde_json::to_value(report.manifest.expect("a manifest")).expect("JSON")
}

#[test]
fn what_does_not_verify_is_named_and_not_touched_and_the_rest_is_done() {
    let (bench, config, ids) = filled("[cold]\nafter = \"1y\"\ncodec = \"gsm\"\n");
    let path = file(&bench, &ids[2]);
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let run = bench.run(&["archive", "recode", "-c", &config, "--yes"]).expect_code(5);
    assert!(run.stderr().contains(&ids[2]), "{}", run.stderr());
    assert!(run.stdout().contains("re-encoded 2 recordings"), "{}", run.stdout());
    assert_eq!(fs::read(&path).expect("read"), bytes, "as it was");
    let row = bench.run(&["archive", "show", &ids[0], "--json"]).expect_code(0).json().remove(0);
    assert_eq!(row["tracks"][0]["stored"], "GSM");
}

#[test]
fn without_a_rule_or_with_one_for_others_nothing_is_due() {
    let (bench, config, _) = filled("[cold]\nafter = \"90d\"\nextension = \"9999\"\n");
    let run = bench.run(&["archive", "recode", "--yes"]).expect_code(0);
    assert!(run.stdout().contains("[cold]"), "{}", run.stdout());
    let run = bench.run(&["archive", "recode", "-c", &config, "--yes"]).expect_code(0);
    assert!(run.stdout().contains("3 stay as they are: the rule does not speak of it"), "{}", run.stdout());
    let wrong = bench.path("wrong.toml");
    fs::write(&wrong, "[cold]\nafter = \"soon\"\n").expect("written");
    bench.run(&["archive", "recode", "-c", wrong.to_str().expect("a path")]).expect_code(78);
}

#[test]
fn the_recorder_re_encodes_by_itself_where_the_rule_says_so() {
    let (bench, _, ids) = filled("");
    bench.run(&["archive", "hold", &ids[0], "--name", "case 7", "--why", "inquiry"]).expect_code(0);
    let running = Appliance::start(&bench, "[cold]\nafter = \"90d\"\nautomatic = true\n");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(90);
    let row = |id: &str| bench.run(&["archive", "show", id, "--json"]).expect_code(0).json().remove(0);
    while row(&ids[1])["recoded"].is_null() || row(&ids[2])["recoded"].is_null() {
        assert!(std::time::Instant::now() < until, "nothing was re-encoded");
        std::thread::park_timeout(std::time::Duration::from_millis(500));
    }
    running.stop();
    assert!(row(&ids[0])["recoded"].is_null(), "it is under a hold");
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    bench.run(&["archive", "verify"]).expect_code(0);
    assert!(log.contains("earwitness"), "{log}");
}
