//! What a recorder that was never told what to record hears, and how the pages tell it.
//!
//! Data alone, and one trait by which they ask: who listens, and by which threads, is somebody else's.

use std::net::IpAddr;
use std::sync::Arc;

use policy::Pattern;
use serde::Serialize;

/// One adapter, and what it hears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeardAdapter {
    /// Its name, as the configuration takes it.
    pub name: String,
    /// Its addresses on the network, in words; empty for one without, as a spare one has none.
    pub about: String,
    /// Why it cannot be listened at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Frames.
    pub frames: u64,
    /// SIP messages.
    pub sip: u64,
    /// RTP packets.
    pub rtp: u64,
    /// Calls, by their Call-ID.
    pub calls: u64,
    /// VLANs, the lowest first.
    pub vlans: Vec<u16>,
    /// Another adapter that hears the same packets, and more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// What is wrong, the worst first, and whether it costs recordings; empty when all is as it should be.
    pub findings: Vec<(bool, String)>,
}

impl HeardAdapter {
    /// Telephony is heard on it.
    #[must_use]
    pub const fn hears_calls(&self) -> bool {
        self.sip > 0 || self.rtp > 0
    }
}

/// An address that behaves as a telephone system does: devices register there, it passes calls on, or several extensions speak with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeardPbx {
    /// The address.
    pub address: IpAddr,
    /// Calls of extensions that went over it, of those that were answered.
    pub calls: u64,
    /// Extensions that were seen there.
    pub extensions: u64,
}

/// A number that looks like an extension of the site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeardExtension {
    /// The number.
    pub number: String,
    /// Its name, as signalled; may be empty.
    pub name: String,
    /// Where its device is, once a call has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Calls that it took part in, of those that were answered.
    pub calls: u64,
}

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// For how long, in seconds.
    pub seconds: u64,
    /// All adapters that could be mirror ports.
    pub adapters: Vec<HeardAdapter>,
    /// Telephone systems, those that most extensions speak with first.
    pub pbx: Vec<HeardPbx>,
    /// Extensions, the shortest numbers first.
    pub extensions: Vec<HeardExtension>,
    /// More extensions or systems than can be listed were seen.
    pub has_more: bool,
    /// Codecs that calls offered, by name.
    pub codecs: Vec<String>,
}

/// What is to be recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The adapters to record from, by name; one at least.
    pub adapters: Vec<String>,
    /// Addresses of telephone systems.
    pub pbx: Vec<IpAddr>,
    /// The extensions to record; all of them when absent.
    pub extensions: Option<Pattern>,
    /// Who chose.
    pub who: String,
}

/// A recorder that listens and keeps nothing until it is told what to record.
pub trait SetUp: Send + Sync {
    /// What was heard so far; none once it records.
    fn heard(&self) -> Option<Arc<Heard>>;

    /// From now on it records: this, and after the next start, too.
    ///
    /// # Errors
    /// What is off in the choice, or why it cannot be kept, in words for whoever chose.
    fn begin(&self, choice: Choice) -> Result<(), String>;
}
