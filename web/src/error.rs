//! What can go wrong with an export or with serving pages, by what a caller would do about it.

use std::io;
use std::net::SocketAddr;

use crate::export::{FileFormat, Shape};

/// What an export or the server answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive could not give the recording.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was written could not be taken: a full disk, a closed pipe.
    #[error("writing the export: {0}")]
    Output(#[from] io::Error),
    /// A WAVE file counts its bytes in 32 bits.
    #[error(
        "{hours} h of audio do not fit the 4 GiB of a WAVE file: export one party or mono, or as gsm, or as raw"
    )]
    TooLong {
        /// How long the recording is.
        hours: u64,
    },
    /// More recordings than one ZIP holds.
    #[error(
        "{asked} recordings: one ZIP holds {limit}; choose fewer, as by --since and --until, and make several"
    )]
    TooMany {
        /// How many there would be.
        asked: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A file that was to be imported.
    #[error("{}: {what}", file.display())]
    Unreadable {
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A vCon holds its audio inline, in memory.
    #[error(
        "the audio is longer than the {limit} MiB that a vCon holds inline: take it as ogg, export one party or mono, or as zip"
    )]
    Inline {
        /// The limit in MiB.
        limit: usize,
    },
    /// There is nothing of a recording where a part of it was asked for.
    #[error("there is nothing in that part: the recording is {} long", crate::words::length(*length_ms))]
    NothingThere {
        /// How long the recording is, in milliseconds.
        length_ms: u64,
    },
    /// This file format cannot hold this arrangement of channels.
    #[error("a {format} file has no {shape} form: choose {instead}")]
    Unsuited {
        /// The format asked for.
        format: FileFormat,
        /// The arrangement asked for.
        shape: Shape,
        /// What can be had.
        instead: &'static str,
    },
    /// Without a certificate pages are served to this machine only.
    #[error("{address} can be reached from other machines: pages are served there over HTTPS alone")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The pages' certificate cannot be used.
    #[error("the pages' certificate: {0}")]
    Certificate(#[from] crate::server::CertificateError),
    /// The port cannot be had, or failed.
    #[error("listening on {address}: {source}; `--listen` names another address")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is a voice, and nothing here can decode it: silence would not be its audio.
    #[error("{codecs}: kept, cannot be decoded on this box{help}; `--format raw` gives it as received")]
    Undecodable {
        /// The encodings.
        codecs: String,
        /// What would help, behind a colon; empty when nothing would.
        help: &'static str,
    },
}

impl From<zip::result::ZipError> for Error {
    fn from(error: zip::result::ZipError) -> Self {
        match error {
            zip::result::ZipError::Io(error) => Error::Output(error),
            other => Error::Output(io::Error::other(other)),
        }
    }
}
