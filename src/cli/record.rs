//! `run`, `record`, `replay`, `interfaces`: words about where frames come from.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::{ArchiveDir, Json};

#[derive(Debug, Args)]
pub(crate) struct Interfaces {
    /// Listen for so many seconds, on the adapters of -i or on all that are up
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) watch: Option<u32>,
    /// Adapter to listen on; once for each
    #[arg(short = 'i', long = "interface", value_name = "IFACE", requires = "watch")]
    pub(crate) interface: Vec<String>,
    /// Judge a capture that was made on a mirror port, in place of adapters
    #[arg(short = 'r', long = "read", value_name = "FILE", conflicts_with_all = ["watch", "interface"])]
    pub(crate) read: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) tls: TlsKeys,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Address and port of the pages; anywhere but on this machine's own (loopback) addresses they are served over HTTPS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true).multiple(true).args(["read", "interface", "hep"])))]
pub(crate) struct Record {
    /// Capture files to read; `-` is the standard input
    #[arg(short = 'r', long = "read", value_name = "FILE", num_args = 1.., conflicts_with_all = ["interface", "hep"])]
    pub(crate) read: Vec<PathBuf>,
    /// Network adapter to record from, until interrupted; once for each
    #[arg(short = 'i', long = "interface", value_name = "IFACE")]
    pub(crate) interface: Vec<String>,
    /// Take HEP (versions 1 to 3) from SIP servers and agents here, over UDP and TCP, until interrupted; beside -i or alone
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) hep: Vec<SocketAddr>,
    /// Who may send HEP, once for each; without it and `hep.from` of the configuration, this machine alone
    #[arg(long, value_name = "ADDR", requires = "hep")]
    pub(crate) hep_from: Vec<IpAddr>,
    #[command(flatten)]
    pub(crate) tls: TlsKeys,
    #[command(flatten)]
    pub(crate) archive: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
    /// BPF filter in tcpdump's language, for files and adapters; behind another option or `--`, since words after -r are files
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// Where TLS secrets are.
#[derive(Debug, Default, Args)]
pub(crate) struct TlsKeys {
    /// TLS key log, as programs write it where SSLKEYLOGFILE names a file: SIP inside TLS is read with it. A live capture
    /// reads on as the file grows. Secrets inside pcapng files are used without it
    #[arg(long = "tls-keylog", value_name = "FILE")]
    pub(crate) key_logs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) tls: TlsKeys,
    /// Capture files to read; `-` is the standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Configuration file: the site and its devices
    #[arg(short = 'c', long = "config", value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
}
