//! The playback timeline: where on the wall every received packet belongs, and what a listener hears there.
//!
//! A recording keeps RTP packets as they came. Two passes turn them into sound of the call's own length:
//! [`Survey`] reads all packets once and measures (runs, clocks, drift, loss, gaps), which gives a [`Timeline`];
//! [`Renderer`] reads them again and gives samples, block by block, in bounded memory. [`MediaClock`] is the
//! measuring part alone; the call tracker runs it while the call lasts. [`Live`] plays in one pass what is still being recorded.

mod batch;
pub mod clock;
pub mod completeness;
mod conceal;
mod envelope;
mod gaps;
pub mod live;
#[cfg(test)]
mod mixed;
pub mod render;
#[cfg(test)]
mod scene;
mod source;
pub mod survey;
pub mod timeline;

pub use clock::{ClockMap, MediaClock, Placement, Run};
pub use completeness::Second;
pub use live::Live;
pub use render::{Block, Renderer};
pub use survey::{Bounds, Survey};
pub use timeline::{Gap, GapKind, Timeline, TrackFacts};
