//! Chores and test traffic: a load generator whose calls can be checked by their tones.
//!
//! Knows nothing of the recorder's crates, so that the traffic and its truth cannot share a mistake with the code that
//! they test. [`load`] makes calls and says what is in them, [`tones`] and [`check`] look at audio, the binary puts
//! them on the command line (`cargo xtask help`).

pub mod check;
pub mod g711;
pub mod load;
pub mod manifest;
pub mod pcap;
pub mod rng;
pub mod srtp;
pub mod tones;
pub mod wav;
pub mod wire;
pub mod wrap;
