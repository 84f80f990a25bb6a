//! The cipher suites that are read, by their numbers (the IANA registry of TLS parameters).

/// How a suite protects records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    /// TLS 1.2 only: AES in CBC mode with an HMAC.
    Cbc {
        key_bytes: usize,
        mac: Hash,
    },
}

/// A hash function, of a MAC or of the key schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
}

impl Hash {
    /// Length of its output in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
        }
    }
}

/// What a suite's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) protection: Protection,
    /// Of the key schedule.
    pub(super) hash: Hash,
}

impl Suite {
    /// The suite of TLS 1.3 (RFC 8446, B.4); `None` for one that is not read.
    pub(super) fn tls13(number: u16) -> Option<Suite> {
        let (protection, hash) = match number {
            0x1301 => (Protection::Aes128Gcm, Hash::Sha256),
            0x1302 => (Protection::Aes256Gcm, Hash::Sha384),
            0x1303 => (Protection::ChaCha20Poly1305, Hash::Sha256),
            _ => return None,
        };
        Some(Suite { protection, hash })
    }

    /// The suite of TLS 1.2, whatever its key exchange (RFC 5246, 5288, 5289, 5487, 7905); `None` for one that is not read.
    pub(super) fn tls12(number: u16) -> Option<Suite> {
        let cbc = |key_bytes, mac| Protection::Cbc { key_bytes, mac };
        let (protection, hash) = match number {
            0x009c | 0x009e | 0x00a0 | 0x00a2 | 0x00a4 | 0x00a6 | 0x00a8 | 0x00aa | 0x00ac | 0xc02b
            | 0xc02d | 0xc02f | 0xc031 => (Protection::Aes128Gcm, Hash::Sha256),
            0x009d | 0x009f | 0x00a1 | 0x00a3 | 0x00a5 | 0x00a7 | 0x00a9 | 0x00ab | 0x00ad | 0xc02c
            | 0xc02e | 0xc030 | 0xc032 => (Protection::Aes256Gcm, Hash::Sha384),
            0xcca8..=0xccae => (Protection::ChaCha20Poly1305, Hash::Sha256),
            0x002f..=0x0034 | 0xc004 | 0xc009 | 0xc00e | 0xc013 | 0xc018 => {
                (cbc(16, Hash::Sha1), Hash::Sha256)
            }
            0x0035..=0x003a | 0xc005 | 0xc00a | 0xc00f | 0xc014 | 0xc019 => {
                (cbc(32, Hash::Sha1), Hash::Sha256)
            }
            0x003c | 0x003e | 0x003f | 0x0040 | 0x0067 | 0x006c | 0xc023 | 0xc025 | 0xc027 | 0xc029 => {
                (cbc(16, Hash::Sha256), Hash::Sha256)
            }
            0x003d | 0x0068..=0x006b | 0x006d => (cbc(32, Hash::Sha256), Hash::Sha256),
            0xc024 | 0xc026 | 0xc028 | 0xc02a => (cbc(32, Hash::Sha384), Hash::Sha384),
            _ => return None,
        };
        Some(Suite { protection, hash })
    }
}
