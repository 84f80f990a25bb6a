//! Whether adapters have a link. libpcap says nothing when one goes down, and goes on when it is up again: this looks, and says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use pcap::Device;

use crate::Error;
use crate::ring::{Message, Shared};

/// How often links are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks at the links of adapters while their frames are captured.
pub(crate) struct Links {
    /// Each adapter's place among the ways in, its name, and since when it has no link.
    adapters: Vec<(usize, String, Option<Instant>)>,
    shared: Arc<Shared>,
    sender: Sender<Message>,
}

impl Links {
    pub(crate) fn new<'a>(
        adapters: impl Iterator<Item = &'a str>,
        shared: &Arc<Shared>,
        sender: &Sender<Message>,
    ) -> Links {
        let adapters = adapters.enumerate().map(|(place, name)| (place, name.to_owned(), None)).collect();
        Links { adapters, shared: Arc::clone(shared), sender: sender.clone() }
    }

    /// Until the ring is stopped.
    pub(crate) fn run(mut self, asleep: &Receiver<()>) {
        // Nobody sends: each wait ends by its time, or for good.
        while asleep.recv_timeout(LOOK_EVERY).is_err_and(|error| error.is_timeout()) {
            // As this process's network has them: sysfs may show another one's.
            let Ok(devices) = Device::list() else { continue };
            let has_link = |name: &str| {
                let device = devices.iter().find(|device| device.name == name)?;
                Some(device.flags.is_up() && device.flags.is_running())
            };
            self.look(has_link, Instant::now());
        }
    }

    fn look(&mut self, has_link: impl Fn(&str) -> Option<bool>, now: Instant) {
        for (place, interface, since) in &mut self.adapters {
            let Some(port) = self.shared.ports.get(*place) else { continue };
            if port.closed.load(Ordering::Relaxed) {
                continue;
            }
            // One that is not open is its own thread's business, and so is one that is gone.
            let is_up = !port.up.load(Ordering::Relaxed) || has_link(interface).unwrap_or(true);
            port.has_link.store(is_up, Ordering::Relaxed);
            let interface = interface.clone();
            let news = match (*since, is_up) {
                (None, false) => {
                    *since = Some(now);
                    tracing::warn!(interface, "the adapter has no link");
                    Error::PortLost { interface, message: "it has no link".to_owned() }
                }
                (Some(down), true) => {
                    *since = None;
                    let away_ms = u64::try_from(now.duration_since(down).as_millis()).unwrap_or(u64::MAX);
                    port.count_outage(away_ms);
                    Error::Missed { interface, away_ms }
                }
                _ => continue,
            };
            // A full ring drops this; the port's status still tells it.
            let _ = self.sender.try_send(Message::Trouble(news));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;

    #[test]
    fn a_link_that_goes_and_comes_is_told_twice_and_counted_once() {
        let (ring, sinks, _asleep) = Ring::wired(["a", "b"].into_iter(), 1 << 20);
        let mut links = Links::new(["a"].into_iter(), sinks[0].shared(), sinks[0].sender());
        let begun = Instant::now();
        let told = |links: &mut Links, state: Option<bool>, ms: u64| {
            links.look(|_| state, begun + Duration::from_millis(ms));
            ring.heard().map(|error| error.to_string())
        };
        assert_eq!(told(&mut links, Some(true), 0), None);
        let lost = told(&mut links, Some(false), 500).expect("it is told");
        assert!(lost.contains("\"a\"") && lost.contains("no link"), "{lost}");
        assert_eq!(told(&mut links, Some(false), 1_000), None);
        assert!(!ring.ports()[0].up && ring.ports()[1].up);
        let back = told(&mut links, Some(true), 2_000).expect("it is told");
        assert!(back.contains("after 1.5 s"), "{back}");
        assert_eq!((ring.ports()[0].up, ring.ports()[0].outages, ring.ports()[0].away_ms), (true, 1, 1_500));
        assert_eq!(told(&mut links, None, 2_500), None);
    }
}
