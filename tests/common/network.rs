//! A network of its own for a test's thread and everything that it starts: adapters can be made, lost and brought back in it.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xtask::load::Traffic;

use super::appliance::PATIENCE;

/// Ends when this is dropped and the thread is over.
pub struct Network {
    holder: Child,
}

impl Network {
    /// Moves this thread into a new network in which only the loopback adapter is up. None, with a word, where that takes more than
    /// this user or machine has.
    pub fn enter() -> Option<Network> {
        match Network::try_enter() {
            Ok(network) => Some(network),
            Err(why) => {
                eprintln!(
                    "skipped: no network of its own can be made here ({why}); it takes root, and the programs ip and unshare"
                );
                None
            }
        }
    }

    fn try_enter() -> Result<Network, String> {
        let said = |error: std::io::Error| error.to_string();
        let own = std::fs::read_link("/proc/self/ns/net").map_err(said)?;
        let holder = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let network = Network { holder: holder.map_err(|error| format!("unshare: {error}"))? };
        let path = format!("/proc/{}/ns/net", network.holder.id());
        let begun = Instant::now();
        while std::fs::read_link(&path).ok().is_none_or(|link| link == own) {
            if begun.elapsed() > Duration::from_secs(5) {
                return Err("unshare -n is refused".into());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let file = std::fs::File::open(&path).map_err(said)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| error.to_string())?;
        if !Command::new("ip").args(["link", "set", "lo", "up"]).status().is_ok_and(|status| status.success())
        {
            return Err("ip does not work".into());
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// `ip` with these words, which must go well.
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sends frames out of an adapter at the pace of the capture; what is lost while it is down is lost.
pub fn send(adapter: &str, traffic: &Traffic) {
    let open = || pcap::Capture::from_device(adapter).and_then(|capture| capture.immediate_mode(true).open());
    let mut capture = open().ok();
    let (start, first_ns) = (Instant::now(), traffic.frames[0].at_ns);
    for frame in &traffic.frames {
        let due = start + Duration::from_nanos((frame.at_ns - first_ns) as u64);
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
        let sent = capture.as_mut().is_some_and(|capture| capture.sendpacket(&frame.bytes[..]).is_ok());
        if !sent {
            capture = open().ok();
        }
    }
}

/// Waits until it is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
