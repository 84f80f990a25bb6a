//! Adapters that come late, go down, are unplugged and come back, in a network of the test's own.

mod common;

use std::time::Duration;

use common::Bench;
use common::appliance::Appliance;
use common::network::{Network, ip, send, until};
use serde_json::Value;
use xtask::load::Scenario;

fn metric(running: &Appliance, line: &str) -> bool {
    running.get(running.metrics, "/metrics").1.lines().any(|one| one == line)
}

/// The sum of all fields of this name, however deep.
fn sum(value: &Value, name: &str) -> u64 {
    match value {
        Value::Array(list) => list.iter().map(|one| sum(one, name)).sum(),
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_u64).unwrap_or_default();
            own + fields.values().map(|one| sum(one, name)).sum::<u64>()
        }
        _ => 0,
    }
}

#[test]
fn an_adapter_that_comes_late_and_is_lost_and_replugged_costs_what_came_meanwhile_and_says_so() {
    let Some(_network) = Network::enter() else { return };
    let bench = Bench::new();
    let running = Appliance::start_on(&bench, "\"ew1\"", "");
    until("an alarm", || metric(&running, "earwitness_alarm{name=\"port-down\"} 1"));
    assert!(metric(&running, "earwitness_port_up{port=\"ew1\"} 0"));
    assert_eq!(running.get(running.metrics, "/readyz").0, 503);

    let plug = || {
        ip("link add ew0 type veth peer name ew1");
        ip("link set ew0 up");
        ip("link set ew1 up");
        until("it is captured", || metric(&running, "earwitness_port_up{port=\"ew1\"} 1"));
    };
    plug();
    assert_eq!(running.get(running.metrics, "/readyz").0, 200);
    let scenario = Scenario { talk_ms: 14_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() };
    let traffic = scenario.traffic();
    let sender = std::thread::spawn(move || send("ew0", &traffic));
    running.wait_for("/extensions/2000", |value| value["state"] == "recording");
    std::thread::park_timeout(Duration::from_millis(1_000));
    // Down and up again.
    ip("link set ew1 down");
    until("it is lost", || metric(&running, "earwitness_port_up{port=\"ew1\"} 0"));
    ip("link set ew1 up");
    until("it is back", || metric(&running, "earwitness_port_up{port=\"ew1\"} 1"));
    std::thread::park_timeout(Duration::from_millis(1_000));
    // Unplugged, and another one put in its place.
    ip("link del ew1");
    until("it is gone", || metric(&running, "earwitness_port_up{port=\"ew1\"} 0"));
    plug();
    sender.join().expect("all was sent");
    running.wait_for("/extensions/2000", |value| value["state"] == "idle");
    let text = running.get(running.metrics, "/metrics").1;
    let outages =
        text.lines().find_map(|line| line.strip_prefix("earwitness_port_outages_total{port=\"ew1\"} "));
    let outages: u64 = outages.and_then(|count| count.parse().ok()).expect("it is counted");
    // One at the start, a link that was down, and one that was unplugged; an adapter that was seen before it was switched on
    // is one more.
    assert!((3..=5).contains(&outages), "{outages}");
    until("the alarm is over", || !metric(&running, "earwitness_alarm{name=\"port-down\"} 1"));
    let said = running.stop();
    assert!(said.contains("ew1") && said.contains("goes on after"), "{said}");

    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let shown =
        bench.run(&["archive", "show", row["id"].as_str().expect("an id"), "--json"]).json().remove(0);
    // What is missing was lost here, and not on the network, but for the moment until a lost link is noticed.
    let (capture, network) = (sum(&shown, "lost_capture"), sum(&shown, "lost_network"));
    assert!(
        capture > 50 && network * 4 <= capture,
        "{capture} lost here, {network} on the network: {shown:#}"
    );
    bench.run(&["archive", "verify"]).expect_code(0);
}
