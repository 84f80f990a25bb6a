//! A mirror port: one network interface, opened for capture through libpcap.
//!
//! Owns how the interface is opened and what libpcap's errors mean. The thread that empties it and the ring that its
//! frames go through are in [`crate::ring`].
//!
//! Measured before this was chosen: batches from `dispatch` with a time-out of 20 ms cost 0.26 us per packet, immediate
//! mode 3 us and more, since libpcap then falls back to the kernel's older ring format. Up to 20 ms of delay is the price.

use decode::Timestamp;
use pcap::{Active, Capture, TimestampType};

use crate::Error;

/// Milliseconds that the kernel may hold frames back to hand them over together.
const BATCH_WAIT_MS: i32 = 20;

/// How an interface is captured.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// Its name (`eth1`).
    pub interface: String,
    /// A BPF filter for the kernel; empty for all frames.
    pub filter: String,
    /// Bytes kept of each frame.
    pub snap_len: u32,
    /// Bytes of the kernel's buffer; what libpcap takes by itself, 2 MiB, holds a tenth of a second of 500 calls.
    pub buffer_bytes: u32,
    /// Take frames that are addressed to others: what a mirror port is for.
    pub promiscuous: bool,
    /// Whose clock stamps the frames.
    pub time_stamps: TimeStamps,
}

/// Whose clock stamps frames.
#[derive(Clone, Copy, Debug, Default)]
pub enum TimeStamps {
    /// The kernel's, when it takes a frame from the adapter.
    #[default]
    Host,
    /// The adapter's own, when the frame comes in. It has to be kept on the wall clock's time (ptp4l and phc2sys do that); where the
    /// adapter has none, or one that is more than [`CLOCK_OFF_MS_MAX`] off, the kernel's stamps are taken.
    Adapter {
        /// The machine's clock, to compare it with.
        clock: fn() -> Timestamp,
    },
}

/// An adapter's clock further than this from the machine's is not on the wall clock's time.
pub const CLOCK_OFF_MS_MAX: u64 = 2_000;

impl PortOptions {
    /// Whole frames of the interface, everybody's, through 64 MiB of kernel buffer.
    #[must_use]
    pub fn new(interface: &str) -> PortOptions {
        PortOptions {
            interface: interface.to_owned(),
            filter: String::new(),
            snap_len: crate::FRAME_BYTES_MAX,
            buffer_bytes: 64 * 1024 * 1024,
            promiscuous: true,
            time_stamps: TimeStamps::Host,
        }
    }
}

/// An adapter to capture on: opened, or waited for.
#[derive(Debug)]
pub enum Adapter {
    /// Frames pile up in the kernel from now on.
    Open(MirrorPort),
    /// It is not there yet, or is down: it is opened as soon as it can be.
    Awaited(PortOptions, Error),
}

impl Adapter {
    /// How it is opened.
    #[must_use]
    pub fn options(&self) -> &PortOptions {
        match self {
            Adapter::Open(port) => &port.options,
            Adapter::Awaited(options, _) => options,
        }
    }

    /// Opens an adapter, or waits for it where it will do to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] and [`Error::Filter`], which no waiting mends.
    pub fn open(options: PortOptions) -> Result<Adapter, Error> {
        match MirrorPort::open(options.clone()) {
            Ok(port) => Ok(Adapter::Open(port)),
            Err(error @ (Error::NoSuchInterface { .. } | Error::Port { .. })) => {
                Ok(Adapter::Awaited(options, error))
            }
            Err(error) => Err(error),
        }
    }
}

/// An interface opened for capture. Frames pile up in the kernel from now on; a [`crate::Ring`] takes them.
pub struct MirrorPort {
    pub(crate) options: PortOptions,
    pub(crate) capture: Capture<Active>,
}

impl MirrorPort {
    /// Opens the interface.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchInterface`], [`Error::Denied`], [`Error::Filter`], or [`Error::Port`] for the rest.
    pub fn open(options: PortOptions) -> Result<MirrorPort, Error> {
        let refused = |error: pcap::Error| refusal(&options.interface, &error);
        let clamp = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let open = |stamps: Option<TimestampType>| {
            let capture = Capture::from_device(options.interface.as_str())?
                .timeout(BATCH_WAIT_MS)
                // The kernel has no such mode for all interfaces at once, and libpcap's warning of that counts as an error.
                .promisc(options.promiscuous && options.interface != "any")
                .snaplen(clamp(options.snap_len))
                .buffer_size(clamp(options.buffer_bytes));
            match stamps {
                // What the adapter does not offer is left at the host's by libpcap, with a warning that the binding keeps to itself.
                Some(stamps) => capture.tstamp_type(stamps).open(),
                None => capture.open(),
            }
        };
        let wants_stamps = matches!(options.time_stamps, TimeStamps::Adapter { .. });
        let opened = open(wants_stamps.then_some(TimestampType::AdapterUnsynced)).or_else(|error| {
            if !wants_stamps {
                return Err(error);
            }
            // Switching them on takes CAP_NET_ADMIN. Recording with the kernel's own is better than not.
            let capture = open(None)?;
            let (interface, message) = (&options.interface, message(&error));
            tracing::warn!(
                interface,
                message,
                "the adapter's time stamps cannot be had (CAP_NET_ADMIN?): the kernel's are taken"
            );
            Ok(capture)
        });
        let mut capture = opened.map_err(refused)?;
        if !options.filter.trim().is_empty() {
            capture
                .filter(options.filter.trim(), true)
                .map_err(|error| Error::Filter { text: options.filter.clone(), message: message(&error) })?;
        }
        Ok(MirrorPort { options, capture })
    }

    /// How it was opened.
    #[must_use]
    pub fn options(&self) -> &PortOptions {
        &self.options
    }

    /// LINKTYPE_ value of its frames. (libpcap's numbers for live captures are the same for all types that `decode` reads.)
    #[must_use]
    pub fn link(&self) -> u16 {
        u16::try_from(self.capture.get_datalink().0).unwrap_or(u16::MAX)
    }
}

impl std::fmt::Debug for MirrorPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MirrorPort").field(&self.options).finish()
    }
}

/// libpcap's own words, without the wrapping.
pub(crate) fn message(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// libpcap tells its refusals apart only by text.
fn refusal(interface: &str, error: &pcap::Error) -> Error {
    let (interface, message) = (interface.to_owned(), message(error));
    let text = message.to_ascii_lowercase();
    if text.contains("no such device") {
        Error::NoSuchInterface { interface }
    } else if text.contains("permission") || text.contains("not permitted") {
        Error::Denied { interface, message }
    } else {
        Error::Port { interface, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_said_to_be_missing_or_not_allowed() {
        // Which of the two depends on who runs the test; neither is a panic or a vague message.
        match MirrorPort::open(PortOptions::new("no-such-port0")) {
            Err(Error::NoSuchInterface { interface } | Error::Denied { interface, .. }) => {
                assert_eq!(interface, "no-such-port0");
            }
            other => panic!("{other:?}"),
        }
    }
}
