//! What became of a call: the columns of the balance sheet.
//!
//! Every INVITE dialog, and every RTP flow that nobody announced, ends in exactly one [`Outcome`]; their sum is the number
//! of calls seen.

use serde::{Deserialize, Serialize};

/// Which way the call went, seen from the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From outside to an extension.
    Inbound,
    /// From an extension to the outside.
    Outbound,
    /// Between two extensions.
    Internal,
    /// Cannot be told: a call without signalling, or one that had begun before its first message was seen.
    Unknown,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 4] =
        [Direction::Inbound, Direction::Outbound, Direction::Internal, Direction::Unknown];

    /// The same call seen from its other side.
    #[must_use]
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
            Direction::Internal | Direction::Unknown => self,
        }
    }

    /// As facts and configuration write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
            Direction::Internal => "internal",
            Direction::Unknown => "unknown",
        }
    }
}

/// How a call ended, for the balance sheet. Every call seen has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one recording was made.
    Recorded,
    /// An exclusion rule matched.
    Excluded,
    /// None of its devices is to be recorded.
    DeviceNotRecorded,
    /// Internal calls are excluded.
    InternalExcluded,
    /// No channel was free.
    NoChannel,
    /// Nobody answered and no audio came.
    NotAnswered,
    /// A pause covered all of it.
    Paused,
    /// Answered, but no audio was seen.
    NoMedia,
    /// The media or the signalling was encrypted and no key was known.
    Undecryptable,
    /// The signalling was too broken to follow.
    Malformed,
    /// Still running when this was written.
    Running,
}

impl Outcome {
    /// Every outcome, in the order of the balance sheet.
    pub const ALL: [Outcome; 11] = [
        Outcome::Recorded,
        Outcome::Excluded,
        Outcome::DeviceNotRecorded,
        Outcome::InternalExcluded,
        Outcome::NoChannel,
        Outcome::NotAnswered,
        Outcome::Paused,
        Outcome::NoMedia,
        Outcome::Undecryptable,
        Outcome::Malformed,
        Outcome::Running,
    ];

    /// The key in `calls --summary --json`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Outcome::Recorded => "recorded",
            Outcome::Excluded => "excluded",
            Outcome::DeviceNotRecorded => "device_not_recorded",
            Outcome::InternalExcluded => "internal_excluded",
            Outcome::NoChannel => "no_channel",
            Outcome::NotAnswered => "not_answered",
            Outcome::Paused => "paused",
            Outcome::NoMedia => "no_media",
            Outcome::Undecryptable => "undecryptable",
            Outcome::Malformed => "malformed",
            Outcome::Running => "running",
        }
    }
}

impl Outcome {
    /// Which of two extensions' parts speaks for their leg, the lower one: a recording outweighs what was not recorded, and a
    /// decision about this call one about its device.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Outcome::Recorded => 0,
            Outcome::Undecryptable => 1,
            Outcome::Paused => 2,
            Outcome::NotAnswered => 3,
            Outcome::NoChannel => 4,
            Outcome::Excluded => 5,
            Outcome::InternalExcluded => 6,
            _ => 7,
        }
    }
}

/// How far a recording has come. The words are those of the facts of a recording (`docs/format.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The call is still running.
    Recording,
    /// Finished in order.
    Complete,
    /// The recorder stopped in the middle; the recording plays up to its last sealed chunk.
    Interrupted,
}

impl State {
    /// As facts and configuration write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            State::Recording => "recording",
            State::Complete => "complete",
            State::Interrupted => "interrupted",
        }
    }
}

/// Where the audio of a recording came from. The words are those of the facts of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A mirror port or a capture file.
    Mirror,
    /// The PBX conferenced the recorder in.
    RecordACall,
    /// An audio file brought in by hand.
    Import,
}

impl Source {
    /// As facts and configuration write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Source::Mirror => "mirror",
            Source::RecordACall => "record-a-call",
            Source::Import => "import",
        }
    }
}
