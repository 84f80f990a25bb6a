//! What can go wrong where bytes enter, by what the user would do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of a frame source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// As given; `-` for the standard input.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a capture file: {looks_like}", path.display())]
    NotACapture {
        /// As given; `-` for the standard input.
        path: PathBuf,
        /// What its first bytes say.
        looks_like: LooksLike,
    },
    /// The file ends inside a record, or goes on with something that is no record. What came before was delivered.
    #[error("{} is cut or damaged at byte {offset}, after {frames} frames", path.display())]
    Cut {
        /// As given; `-` for the standard input.
        path: PathBuf,
        /// Frames read before.
        frames: u64,
        /// Where the broken record begins, in bytes from the start (of the unpacked data, for gzip).
        offset: u64,
    },
    /// The filter is wrong.
    #[error("filter \"{text}\": {message}")]
    Filter {
        /// As given.
        text: String,
        /// What libpcap says.
        message: String,
    },
    /// There is no such network interface.
    #[error("there is no network interface \"{interface}\"")]
    NoSuchInterface {
        /// As given.
        interface: String,
    },
    /// This user may not capture.
    #[error(
        "no permission to capture on \"{interface}\": run as root or give the program CAP_NET_RAW ({message})"
    )]
    Denied {
        /// As given.
        interface: String,
        /// What libpcap says.
        message: String,
    },
    /// The interface went away or failed while it was captured; its thread keeps trying to open it again.
    #[error("capture on \"{interface}\" stopped: {message}")]
    PortLost {
        /// As given.
        interface: String,
        /// What libpcap says.
        message: String,
    },
    /// The interface is captured again: what came meanwhile is missing.
    #[error("capture on \"{interface}\" goes on after {}.{} s: what came meanwhile is missing", away_ms / 1_000, away_ms % 1_000 / 100)]
    Missed {
        /// As given.
        interface: String,
        /// How long it was away, in milliseconds.
        away_ms: u64,
    },
    /// HEP, SIP or RTP cannot be listened for there.
    #[error("cannot listen for {what} on {address}: {message}")]
    Listen {
        /// For what.
        what: &'static str,
        /// As given.
        address: String,
        /// What the system says.
        message: String,
    },
    /// The capture library or the system refuses for another reason.
    #[error("cannot capture on \"{interface}\": {message}")]
    Port {
        /// As given.
        interface: String,
        /// What libpcap or the system says.
        message: String,
    },
}

/// What a file that is no capture looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooksLike {
    /// It has no bytes.
    Empty,
    /// Its first bytes are those of this format.
    Format(&'static str),
    /// Text.
    Text,
    /// Nothing that we know.
    Unknown,
}

impl fmt::Display for LooksLike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LooksLike::Empty => f.write_str("it is empty"),
            LooksLike::Format(name) => write!(f, "it looks like {name}"),
            LooksLike::Text => f.write_str("it looks like text"),
            LooksLike::Unknown => f.write_str("its first bytes are those of no capture format"),
        }
    }
}

/// First bytes of what people hand over as a capture.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"snoop\0\0\0", "a Solaris snoop capture (convert it: editcap -F pcap IN OUT)"),
    (b"GMBU", "a Microsoft Network Monitor 2 capture (convert it: editcap -F pcap IN OUT)"),
    (b"RTSS", "a Microsoft Network Monitor 1 capture (convert it: editcap -F pcap IN OUT)"),
    (b"XCP\0", "a NetXray capture (convert it: editcap -F pcap IN OUT)"),
    (b"TRSNIFF data    \x1a", "a Sniffer capture (convert it: editcap -F pcap IN OUT)"),
    (b"ObserverPktBuffe", "an Observer capture (convert it: editcap -F pcap IN OUT)"),
    (b"iptrace ", "an AIX iptrace capture (convert it: editcap -F pcap IN OUT)"),
    (b"\x7fver", "an EtherPeek capture (convert it: editcap -F pcap IN OUT)"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive (unpack it first)"),
    (b"\xfd7zXZ\0", "an xz archive (unpack it first)"),
    (b"BZh", "a bzip2 archive (unpack it first)"),
    (b"\x04\x22\x4d\x18", "an lz4 archive (unpack it first)"),
    (b"PK\x03\x04", "a ZIP archive (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (unpack it first)"),
    (b"RIFF", "a WAV or AVI file"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture"),
];

impl LooksLike {
    /// By the first bytes of the file.
    pub(crate) fn of(head: &[u8]) -> LooksLike {
        if head.is_empty() {
            return LooksLike::Empty;
        }
        if let Some((_, name)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
            return LooksLike::Format(name);
        }
        let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        let text = head.iter().skip_while(|byte| byte.is_ascii_whitespace());
        let begins = |word: &str| {
            text.clone().zip(word.bytes()).filter(|(a, b)| a.eq_ignore_ascii_case(b)).count() == word.len()
        };
        if begins("<!doctype html") || begins("<html") {
            LooksLike::Format("a web page (perhaps the error page of a download)")
        } else if begins("<?xml") {
            LooksLike::Format("an XML document")
        } else if head.iter().all(printable) {
            LooksLike::Text
        } else {
            LooksLike::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_capture_is_named_by_what_it_looks_like() {
        for (head, text) in [
            (&b""[..], "it is empty"),
            (
                b"\n <!DOCTYPE HTML><title>404",
                "it looks like a web page (perhaps the error page of a download)",
            ),
            (b"INVITE sip:a@b SIP/2.0\r\n", "it looks like text"),
            (b"\x01\x02\x03\x04", "its first bytes are those of no capture format"),
        ] {
            assert_eq!(LooksLike::of(head).to_string(), text);
        }
        assert!(LooksLike::of(b"snoop\0\0\0\0\0\0\x02").to_string().contains("snoop"));
        assert!(LooksLike::of(b"GMBU\x02\0").to_string().contains("Network Monitor"));
    }
}
