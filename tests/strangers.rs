//! Media that no signalling names, and senders that are nobody's party: what becomes a recording, and what stays out.

mod common;

use std::fs;

use common::Bench;
use serde_json::Value;
use xtask::check::{Limits, check};
use xtask::load::{Direction, Scenario};

fn tight() -> Limits {
    Limits { length_ms: 20, purity: 0.99, ..Limits::default() }
}

fn rows(bench: &Bench) -> Vec<Value> {
    bench.run(&["archive", "list", "--json"]).expect_code(0).json()
}

/// Records the scenario's capture with this configuration; gives the balance sheet.
fn record(bench: &Bench, capture: &std::path::Path, config: &str) -> Value {
    let file = bench.path("config.toml");
    fs::write(&file, config).expect("a configuration");
    let [capture, file] = [capture, &file].map(|path| path.to_str().expect("a plain path"));
    bench.run(&["record", "--json", "-c", file, "-r", capture]).expect_code(0).json().remove(0)
}

#[test]
fn strangers_at_every_port_leave_the_recordings_pure_and_are_counted() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 4, talk_ms: 3_000, spray: true, ..Scenario::default() };
    let (capture, truth) = bench.capture("spray.pcap", &scenario);
    let summary = bench.record(&capture);
    assert_eq!((&summary["recorded"], &summary["seen"]), (&4.into(), &4.into()));
    let report = check(&truth, bench.exports(), tight());
    assert!(report.is_clean(), "{report:?}");
    for row in rows(&bench) {
        // Eight packets each 20 ms, from 200 ms before the audio to the end at least.
        assert!(row["foreign_packets"].as_u64().expect("a number") > 3_000 / 20 * 8, "{row}");
        let id = row["id"].as_str().expect("an id");
        let shown = bench.run(&["archive", "show", id]).expect_code(0).stdout();
        assert!(shown.contains("from strangers"), "{shown}");
    }
}

#[test]
fn behind_a_nat_that_changes_its_port_nothing_is_lost() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 4, talk_ms: 3_000, nat: true, ..Scenario::default() };
    let (capture, truth) = bench.capture("nat.pcap", &scenario);
    bench.record(&capture);
    let report = check(&truth, bench.exports(), tight());
    assert!(report.is_clean(), "{report:?}");
    assert!(rows(&bench).iter().all(|row| row["foreign_packets"] == 0));
}

#[test]
fn a_phone_without_sip_is_recorded_by_its_ip_or_its_ethernet_address() {
    for address in ["ip = \"198.18.1.1\"", "mac = \"02:00:5e:01:00:00\""] {
        let bench = Bench::new();
        let scenario = Scenario { talk_ms: 3_000, rtp_only: true, ..Scenario::default() };
        let (capture, truth) = bench.capture("rtp.pcap", &scenario);
        let config = format!("[[device]]\nnumber = \"2001\"\nname = \"Front desk\"\n{address}\n");
        let summary = record(&bench, &capture, &config);
        assert_eq!((&summary["recorded"], &summary["seen"]), (&1.into(), &1.into()));
        let report = check(&truth, bench.exports(), tight());
        assert!(report.is_clean(), "{report:?}");
        let row = rows(&bench).remove(0);
        for (field, value) in [
            ("extension", "2001"),
            ("extension_name", "Front desk"),
            ("other_party", "192.0.2.10"),
            ("direction", "unknown"),
            ("signalling", "none"),
            ("source", "mirror"),
        ] {
            assert_eq!(row[field], value, "{field}");
        }
        assert_eq!((&row["outside_number"], &row["sip_call_ids"]), (&Value::Null, &Value::Array(Vec::new())));
        assert_eq!(rows(&bench).len(), 1);
    }
}

#[test]
fn two_listed_phones_peer_to_peer_are_a_recording_each() {
    let bench = Bench::new();
    let scenario = Scenario {
        talk_ms: 3_000,
        rtp_only: true,
        proxied: true,
        direction: Direction::Internal,
        ..Scenario::default()
    };
    let (capture, _) = bench.capture("rtp.pcap", &scenario);
    let config = "[[device]]\nnumber = \"2001\"\nip = \"198.18.1.1\"\n\n[[device]]\nnumber = \"2002\"\nip = \"198.19.1.1\"\n";
    let summary = record(&bench, &capture, config);
    assert_eq!((&summary["recorded"], &summary["seen"]), (&1.into(), &1.into()));
    let mut pairs: Vec<(String, String)> = rows(&bench)
        .iter()
        .map(|row| (row["extension"].to_string(), row["other_party"].to_string()))
        .collect();
    pairs.sort();
    let pair = |a: &str, b: &str| (format!("\"{a}\""), format!("\"{b}\""));
    assert_eq!(pairs, [pair("2001", "2002"), pair("2002", "2001")]);
    assert!(rows(&bench).iter().all(|row| row["direction"] == "internal"));
}

#[test]
fn a_phone_that_nobody_lists_is_accounted_for_with_what_it_takes_to_list_it() {
    let bench = Bench::new();
    let scenario = Scenario { talk_ms: 2_000, rtp_only: true, ..Scenario::default() };
    let (capture, _) = bench.capture("rtp.pcap", &scenario);
    assert_eq!(bench.record(&capture)["device_not_recorded"], 2);
    for row in bench.run(&["calls", "--json"]).expect_code(0).json() {
        let told = format!("{} {} {}", row["from"], row["to"], row["reason"]);
        assert!(told.contains("198.18.1.1:") && told.contains("02:00:5e:01:00:00"), "{told}");
    }
}

#[test]
fn a_wrong_list_of_devices_is_refused_with_its_file() {
    let bench = Bench::new();
    let file = bench.path("config.toml");
    fs::write(&file, "[[device]]\nnumber = \"2001\"\n").expect("a configuration");
    let file = file.to_str().expect("a plain path");
    let run = bench.run(&["config", "check", file]).expect_code(78);
    assert!(run.stderr().contains(file) && run.stderr().contains("either ip or mac"), "{}", run.stderr());
}
