//! Listening: recordings decoded for playback, written as WAV, GSM, Ogg Opus, FLAC and ZIP, and played from pages in a browser.
//!
//! What leaves the archive here leaves it decrypted; who may have it is decided before. Everything is written to a
//! plain [`std::io::Write`], front to back, in bounded memory: a file, standard output and an HTTP body are the same.

#![allow(unexpected_cfgs, reason = "cargo-fuzz builds with `--cfg fuzzing`")]

/// As the tests of pages call it, whose rule book the API's tests have, too.
#[cfg(test)]
extern crate self as web;

pub mod alerts;
pub mod bundle;
pub mod cold;
pub mod dat;
mod entries;
pub mod error;
pub mod evidence;
pub mod export;
pub mod ffmpeg;
mod flac;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod live;
pub mod machine;
pub mod mail;
pub mod manifest;
pub mod metrics;
pub mod numbers;
mod ogg;
mod opus;
mod page;
mod pcapng;
pub mod raw;
pub mod rules;
pub mod server;
pub mod set_up;
pub mod support;
pub mod trace;
pub mod vcon;
pub mod wav;
pub mod webhooks;
pub mod words;

pub use bundle::{Bundled, Selection, bundle};
pub use error::Error;
pub use export::{Export, Exported, FileFormat, Shape, export};
pub use manifest::Exporter;
pub use trace::Trace;
