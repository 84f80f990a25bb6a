//! `interfaces`: the network adapters of this machine, and what each hears.

use std::path::Path;
use std::time::{Duration, Instant};

use capture::{Advance, FrameSource, Interface, MirrorPort, PcapFile, PortOptions, Ring};
use decode::health::{Observer, Seen};
use decode::net::Mac;
use serde_json::json;

use super::{print_json, print_line, warn};
use crate::cli;
use crate::failure::{Done, Failure};
use crate::live::stop_flag;
use crate::set_up::could_be_mirror_port;

/// Bytes of frames that may wait here.
const RING_BYTES: usize = 32 * 1024 * 1024;
/// How long frames are waited for between two looks at the clock.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &cli::Interfaces) -> Result<Done, Failure> {
    if let Some(path) = &args.read {
        let observer = read(path)?;
        return tell(&path.display().to_string(), &observer, None, args.json.json);
    }
    let all = capture::interfaces().map_err(Failure::new)?;
    match args.watch {
        Some(seconds) => watch(&all, args, Duration::from_secs(u64::from(seconds))),
        None => list(&all, args.json.json),
    }
}

fn mac(interface: &Interface) -> Option<Mac> {
    interface.mac.map(Mac)
}

fn list(all: &[Interface], json: bool) -> Result<Done, Failure> {
    for interface in all {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let mac = mac(interface).map(|mac| mac.to_string());
        let state = if interface.running {
            "running"
        } else if interface.up {
            "up"
        } else {
            "down"
        };
        let stamps: &[&str] = if interface.own_clock { &["host", "adapter"] } else { &["host"] };
        if json {
            print_json(&json!({
                "name": interface.name, "description": interface.description, "addresses": addresses,
                "mac": mac, "state": state, "loopback": interface.loopback, "time_stamps": stamps,
            }))?;
        } else {
            print_line(&format!(
                "{:<16} {:<8} {:<18} {:<14} {}",
                interface.name,
                state,
                mac.unwrap_or_default(),
                stamps.join(","),
                addresses.join(" ")
            ))?;
        }
    }
    Ok(Done::All)
}

/// Listens on the adapters that are named, or on all that are up and could be a mirror port.
fn watch(all: &[Interface], args: &cli::Interfaces, time: Duration) -> Result<Done, Failure> {
    let is_named = !args.interface.is_empty();
    let names: Vec<String> = if is_named {
        args.interface.clone()
    } else {
        all.iter().filter(|one| could_be_mirror_port(one)).map(|one| one.name.clone()).collect()
    };
    if names.is_empty() {
        return Err(Failure::new("no adapter is up: name one with -i, or `ip link set IFACE up`"));
    }
    let (mut ports, mut observers) = (Vec::new(), Vec::new());
    for name in names {
        match MirrorPort::open(PortOptions::new(&name)) {
            Ok(port) => {
                let own = all.iter().find(|one| one.name == name).and_then(mac);
                ports.push(port);
                observers.push((name, Observer::new(own)));
            }
            Err(error) if is_named => return Err(Failure::new(error)),
            Err(error) => warn(&error.to_string()),
        }
    }
    if ports.is_empty() {
        return Err(Failure::new("no adapter could be opened; it takes CAP_NET_RAW (run it with sudo)"));
    }
    let stop = stop_flag()?;
    let mut ring = Ring::start(ports, RING_BYTES).map_err(Failure::new)?;
    let gauges = ring.gauges();
    let end = Instant::now() + time;
    while Instant::now() < end && !stop.load(std::sync::atomic::Ordering::Relaxed) {
        match ring.advance_within(PATIENCE) {
            Ok(Advance::Frame) => {
                let Some(frame) = ring.frame() else { continue };
                if let Some((_, observer)) = observers.get_mut(usize::from(frame.source)) {
                    observer.handle_frame(&frame);
                }
            }
            Ok(Advance::Idle) => {}
            Ok(Advance::End) => break,
            Err(error) => warn(&error.to_string()),
        }
    }
    let mut done = Done::All;
    for ((name, observer), port) in observers.iter().zip(gauges.ports()) {
        let counters = port.counters;
        let dropped = counters.dropped_kernel + counters.dropped_interface + counters.dropped_ring;
        if tell(name, observer, Some(dropped), args.json.json)? == Done::InPart {
            done = Done::InPart;
        }
    }
    Ok(done)
}

fn read(path: &Path) -> Result<Observer, Failure> {
    let mut file = PcapFile::open(path).map_err(Failure::new)?;
    let mut observer = Observer::new(None);
    while let Some(frame) = file.next_frame().map_err(Failure::new)? {
        observer.handle_frame(&frame);
    }
    Ok(observer)
}

/// Says what was heard and what is wrong; [`Done::InPart`] when something is that costs recordings.
fn tell(name: &str, observer: &Observer, dropped: Option<u64>, json: bool) -> Result<Done, Failure> {
    let (seen, findings) = (observer.seen(), observer.findings());
    let vlans: Vec<u16> = observer.vlans().map(|(vlan, _)| vlan).collect();
    let is_well = findings.iter().all(|finding| !finding.is_serious()) && dropped.unwrap_or_default() == 0;
    if json {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "finding": finding.key(), "serious": finding.is_serious(), "words": finding.to_string() }))
            .collect();
        print_json(&json!({
            "name": name, "frames": seen.frames, "bytes": seen.bytes, "dropped": dropped,
            "sip_requests": seen.requests, "sip_responses": seen.responses, "calls": seen.calls, "answered": seen.answered,
            "rtp_packets": seen.rtp_packets, "rtp_flows": seen.rtp_flows, "rtp_one_way": seen.rtp_one_way,
            "tls": seen.tls, "copies": seen.copies, "vlans": vlans, "findings": findings,
        }))?;
    } else {
        say(name, &seen, &vlans, dropped)?;
        for finding in &findings {
            print_line(&format!("  {} {finding}", if finding.is_serious() { "!" } else { "-" }))?;
        }
        if is_well {
            print_line("  the mirror is well: SIP and RTP come from both directions")?;
        }
    }
    Ok(if is_well { Done::All } else { Done::InPart })
}

fn say(name: &str, seen: &Seen, vlans: &[u16], dropped: Option<u64>) -> Result<(), Failure> {
    let Seen { frames, requests, responses, calls, answered, rtp_flows, rtp_packets, .. } = seen;
    let dropped = match dropped {
        Some(dropped) if dropped > 0 => format!(", {dropped} dropped here"),
        _ => String::new(),
    };
    let vlans = match vlans {
        [] => String::new(),
        vlans => format!("; VLAN {}", vlans.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    print_line(&format!(
        "{name}: {frames} frames{dropped}; SIP {requests} requests, {responses} responses, {calls} calls ({answered} answered); \
         RTP {rtp_flows} flows, {rtp_packets} packets{vlans}"
    ))
}
