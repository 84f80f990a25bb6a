//! How bytes enter: capture files, mirror ports, HEP agents and the Record-A-Call endpoint, as one stream of frames.
//!
//! A [`FrameSource`] is a file ([`PcapFile`]), several files in time order ([`MergedFiles`]) or mirror ports and sockets
//! for HEP and Record-A-Call with their threads ([`Ring`]); a [`Filtered`] one passes on what a BPF filter lets through. What a frame holds is `decode`'s
//! business: here it is bytes with a time, a link type and the number of its source.

use std::time::Duration;

use decode::Frame;

mod endpoint;
mod error;
mod file;
mod filter;
mod hep;
mod input;
mod interfaces;
mod link;
mod merge;
mod port;
mod ring;
#[cfg(test)]
mod samples;

pub use endpoint::{
    EndpointBusy, EndpointControl, EndpointGauges, EndpointListener, EndpointOptions, EndpointTls,
    RTP_PAIRS_MAX, SIP_CONNECT_MS_MAX, SIP_CONNECTIONS_MAX, SIP_CONNECTIONS_PER_PEER_MAX,
    SIP_MESSAGE_BYTES_MAX, SIP_UNSENT_BYTES_MAX,
};
pub use error::{Error, LooksLike};
pub use file::{FRAME_BYTES_MAX, INTERFACES_MAX, PcapFile, TLS_SECRETS_BYTES_MAX};
pub use filter::{Filter, Filtered};
pub use hep::{HEP_CONNECTIONS_MAX, HepListener, HepOptions};
pub use interfaces::{Interface, interfaces};
pub use merge::MergedFiles;
pub use port::{Adapter, CLOCK_OFF_MS_MAX, MirrorPort, PortOptions, TimeStamps};
pub use ring::{BATCH_BYTES_MAX, Gauges, Listener, PortStatus, RING_BATCHES_MAX, Ring, Stopper};

/// Frames, one after the other, borrowed from the source's own buffer.
///
/// Going to the next frame and looking at it are two calls, so that a filter or a merge can decide on a frame without
/// copying it; [`FrameSource::next_frame`] is both in one.
pub trait FrameSource {
    /// Goes to the next frame; false when there is none and none will come. A live source waits for one.
    ///
    /// # Errors
    ///
    /// When a file cannot be read on, or a port is lost. Each such error is given once; calling again goes on with what
    /// there is: the other files, the other ports, or the end.
    fn advance(&mut self) -> Result<bool, Error>;

    /// The frame that [`FrameSource::advance`] went to; `None` before the first, after the last and after an error.
    fn frame(&self) -> Option<Frame<'_>>;

    /// What was read and what was missed so far.
    fn counters(&self) -> Counters;

    /// Frames that come after the current one and are at hand already, as many as there are places; gives how many. They come as they
    /// are here unless something is wrong with one; only their link type and bytes are told.
    fn look_ahead<'a>(&'a self, places: &mut [Frame<'a>]) -> usize {
        let _ = places;
        0
    }

    /// TLS secrets that stood in the file before the current frame, as lines of a key log: each is given once.
    fn take_tls_secrets(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// As [`FrameSource::advance`], but a live source waits no longer than `patience`, so that its user can see to what is
    /// due by the clock. A file never waits.
    ///
    /// # Errors
    ///
    /// As [`FrameSource::advance`].
    fn advance_within(&mut self, patience: Duration) -> Result<Advance, Error> {
        let _ = patience;
        Ok(if self.advance()? { Advance::Frame } else { Advance::End })
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`FrameSource::advance`].
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        Ok(if self.advance()? { self.frame() } else { None })
    }
}

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn advance(&mut self) -> Result<bool, Error> {
        (**self).advance()
    }

    fn frame(&self) -> Option<Frame<'_>> {
        (**self).frame()
    }

    fn counters(&self) -> Counters {
        (**self).counters()
    }

    fn look_ahead<'a>(&'a self, places: &mut [Frame<'a>]) -> usize {
        (**self).look_ahead(places)
    }

    fn take_tls_secrets(&mut self) -> Option<Vec<u8>> {
        (**self).take_tls_secrets()
    }

    fn advance_within(&mut self, patience: Duration) -> Result<Advance, Error> {
        (**self).advance_within(patience)
    }
}

/// What [`FrameSource::advance_within`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// There is a frame to look at.
    Frame,
    /// None came in time.
    Idle,
    /// None will come.
    End,
}

/// What a source read and what it missed, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given.
    pub frames: u64,
    /// Captured bytes of these frames.
    pub bytes: u64,
    /// Frames of a file left out because they are larger than [`FRAME_BYTES_MAX`].
    pub oversized: u64,
    /// Blocks of a pcapng file left out: damaged inside, or packets of an interface that the file does not describe.
    pub bad_blocks: u64,
    /// Frames that the filter held back; of a live port the kernel does this and does not count.
    pub filtered_out: u64,
    /// Frames dropped by the kernel because its buffer was full.
    pub dropped_kernel: u64,
    /// Frames dropped by the network adapter or its driver.
    pub dropped_interface: u64,
    /// Frames dropped because the ring between the capture thread and its reader was full.
    pub dropped_ring: u64,
    /// Packets and connections of HEP that were not let in: of somebody who is not named, without the key, or no HEP.
    pub refused: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.frames = self.frames.saturating_add(other.frames);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.oversized = self.oversized.saturating_add(other.oversized);
        self.bad_blocks = self.bad_blocks.saturating_add(other.bad_blocks);
        self.filtered_out = self.filtered_out.saturating_add(other.filtered_out);
        self.dropped_kernel = self.dropped_kernel.saturating_add(other.dropped_kernel);
        self.dropped_interface = self.dropped_interface.saturating_add(other.dropped_interface);
        self.dropped_ring = self.dropped_ring.saturating_add(other.dropped_ring);
        self.refused = self.refused.saturating_add(other.refused);
    }
}
