//! What `earwitness run` needs beside rules and archive: ways in, pages, metrics, programs that use the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use policy::modes::Role;
use serde::{Deserialize, Serialize};
use web::server::{Right, Token};

use super::Wrong;
use crate::secrets;

/// Megabytes that a kernel buffer or the ring may have.
const BUFFER_MB: std::ops::RangeInclusive<u32> = 1..=2_000;

/// `[capture]`: adapters and agents that frames come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CaptureSection {
    /// Network adapters to record from.
    pub(crate) interfaces: Vec<String>,
    /// A BPF filter for the kernel. A filter on ports loses fragments.
    pub(crate) filter: String,
    /// Bytes kept of each frame; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snap_len: Option<u32>,
    /// The kernel's buffer of each adapter, in MB. Default 64.
    pub(crate) kernel_mb: u32,
    /// Frames that may wait for the recorder, of all adapters, in MB. Default 64.
    pub(crate) ring_mb: u32,
    /// Addresses that HEP is taken at, over UDP and TCP.
    pub(crate) hep: Vec<SocketAddr>,
}

impl Default for CaptureSection {
    fn default() -> Self {
        CaptureSection {
            interfaces: Vec::new(),
            filter: String::new(),
            snap_len: None,
            kernel_mb: 64,
            ring_mb: 64,
            hep: Vec::new(),
        }
    }
}

impl CaptureSection {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        for (name, mb) in [("kernel_mb", self.kernel_mb), ("ring_mb", self.ring_mb)] {
            if !BUFFER_MB.contains(&mb) {
                return Err(Wrong(format!("capture.{name}: {} to {}", BUFFER_MB.start(), BUFFER_MB.end())));
            }
        }
        if self.snap_len.is_some_and(|bytes| bytes < 128) {
            return Err(Wrong("capture.snap_len: at least 128; a call's audio has to fit".into()));
        }
        Ok(())
    }
}

/// `[web]`: pages and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebSection {
    /// Where they are, on this machine. Default `127.0.0.1:8480`.
    pub(crate) listen: SocketAddr,
}

impl Default for WebSection {
    fn default() -> Self {
        WebSection { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8480)) }
    }
}

/// `[metrics]`: figures for Prometheus, health and readiness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsSection {
    /// Where they are; nowhere when absent. They name no call and no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `[api]`: programs that use the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    /// A token for each.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<TokenEntry>,
}

/// A program, its secret and its rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenEntry {
    /// Its name, in events and logs.
    pub(crate) name: String,
    /// File with the token, for its owner alone.
    pub(crate) file: PathBuf,
    /// As whom it asks. Default agent.
    #[serde(default = "agent")]
    pub(crate) role: Role,
    /// What it may: `status`, `requests`, `events`.
    pub(crate) rights: Vec<Right>,
}

fn agent() -> Role {
    Role::Agent
}

impl ApiSection {
    /// The tokens, read from their files.
    pub(crate) fn tokens(&self) -> Result<Vec<Token>, crate::failure::Failure> {
        let read = |entry: &TokenEntry| {
            let what = format!("api.token {:?}", entry.name);
            let secret = secrets::read(&what, &entry.file)?;
            Token::new(&entry.name, &secret, entry.role, entry.rights.iter().copied())
                .map_err(|error| crate::failure::Failure::config(format!("{what}: {error}")))
        };
        self.tokens.iter().map(read).collect()
    }
}
