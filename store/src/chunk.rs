//! The sealed unit on disk: at most 150 ms of a call under AES-256-GCM, bound to its place in its recording.
//!
//! A chunk is a frame header in clear and the sealed content. The header is authenticated with the content, together
//! with the recording and its header, so that no chunk can be cut off, swapped, repeated or moved unseen. The nonce is
//! the chunk's number under a key that only this recording has; [`Sealer`] is the only place that counts, and it cannot
//! be made again for a recording that exists. What the content says is [`crate::record`]'s.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use decode::Timestamp;

use crate::RecordingId;
use crate::bytes::Cursor;
use crate::keys::KeyId;

/// Bytes of a frame header.
pub(crate) const FRAME_LEN: usize = 32;
/// Bytes that sealing adds to the content.
pub(crate) const TAG_LEN: usize = 16;
/// The longest sealed content that a reader accepts, in bytes; a writer stays far below.
pub(crate) const SEALED_MAX: usize = 256 * 1024;
/// First word of the associated data.
const AAD_PREFIX: &[u8; 16] = b"earwitness chunk";
/// The version in the associated data.
const VERSION: u16 = 1;
/// Prefix, version, recording, key, hash of the header, frame header.
const AAD_LEN: usize = 16 + 2 + 16 + 8 + 32 + FRAME_LEN;
const FLAG_LAST: u8 = 1;

/// What stands in clear before each sealed content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes that follow: content and tag.
    pub(crate) sealed_len: u32,
    /// No chunk follows in this recording.
    pub(crate) last: bool,
    /// From 0, without gaps.
    pub(crate) number: u64,
    /// Capture time of the first record, in whole microseconds: the base of the record's times.
    pub(crate) first: Timestamp,
    /// The latest capture time in it.
    pub(crate) latest: Timestamp,
}

impl Frame {
    fn to_bytes(self) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        bytes[..4].copy_from_slice(&self.sealed_len.to_le_bytes());
        bytes[4] = if self.last { FLAG_LAST } else { 0 };
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.as_nanos().to_le_bytes());
        bytes[24..].copy_from_slice(&self.latest.as_nanos().to_le_bytes());
        bytes
    }

    /// None when the bytes are no frame header: reserved bits set, or a length that no chunk has.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Frame> {
        let mut cursor = Cursor::new(bytes);
        let (sealed_len, flags, reserved) = (cursor.u32()?, cursor.u8()?, cursor.array::<3>()?);
        let number = cursor.u64()?;
        let (first, latest) = (Timestamp::from_nanos(cursor.i64()?), Timestamp::from_nanos(cursor.i64()?));
        let fits = (TAG_LEN..=SEALED_MAX).contains(&usize::try_from(sealed_len).ok()?);
        let known = flags & !FLAG_LAST == 0 && reserved == [0; 3];
        (fits && known).then_some(Frame { sealed_len, last: flags & FLAG_LAST != 0, number, first, latest })
    }
}

/// Which recording's chunks these are: what is authenticated with each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The recording.
    pub(crate) id: RecordingId,
    /// The key that its data key was first wrapped to.
    pub(crate) key_id: KeyId,
    /// SHA-256 of the part of the file's header that never changes.
    pub(crate) head_hash: [u8; 32],
}

/// Seals or opens the chunks of one recording.
pub(crate) struct ChunkCipher {
    cipher: Aes256Gcm,
    aad: [u8; AAD_LEN],
}

impl std::fmt::Debug for ChunkCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkCipher")
    }
}

impl ChunkCipher {
    pub(crate) fn new(cipher: Aes256Gcm, address: &Address) -> Self {
        let mut aad = [0; AAD_LEN];
        aad[..16].copy_from_slice(AAD_PREFIX);
        aad[16..18].copy_from_slice(&VERSION.to_le_bytes());
        aad[18..34].copy_from_slice(address.id.as_bytes());
        aad[34..42].copy_from_slice(&address.key_id);
        aad[42..74].copy_from_slice(&address.head_hash);
        ChunkCipher { cipher, aad }
    }

    fn nonce(number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        nonce.into()
    }

    fn aad(&self, header: &[u8; FRAME_LEN]) -> [u8; AAD_LEN] {
        let mut aad = self.aad;
        aad[AAD_LEN - FRAME_LEN..].copy_from_slice(header);
        aad
    }

    /// Opens the content in place; none when anything about it is not as it was sealed. `sealed` must be as long as
    /// the header says.
    pub(crate) fn open<'b>(&self, header: &[u8; FRAME_LEN], sealed: &'b mut [u8]) -> Option<&'b [u8]> {
        let frame = Frame::parse(header)?;
        let (content, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG_LEN)?)?;
        let tag = Tag::try_from(&*tag).ok()?;
        self.cipher
            .decrypt_inout_detached(
                &Self::nonce(frame.number),
                &self.aad(header),
                (&mut *content).into(),
                &tag,
            )
            .ok()?;
        Some(content)
    }
}

/// Seals the chunks of a new recording, in order. Counts the nonces: it cannot be cloned or set back.
#[derive(Debug)]
pub(crate) struct Sealer {
    cipher: ChunkCipher,
    next: u64,
}

impl Sealer {
    pub(crate) fn new(cipher: ChunkCipher) -> Self {
        Sealer { cipher, next: 0 }
    }

    /// How many chunks have been sealed.
    pub(crate) fn sealed(&self) -> u64 {
        self.next
    }

    /// Seals in place: `buf[at..]` is room for the frame header, then the content; the tag is appended.
    pub(crate) fn seal(
        &mut self,
        buf: &mut Vec<u8>,
        at: usize,
        last: bool,
        first: Timestamp,
        latest: Timestamp,
    ) {
        let content_len = buf.len() - at - FRAME_LEN;
        let sealed_len = (content_len + TAG_LEN) as u32;
        let frame = Frame { sealed_len, last, number: self.next, first, latest };
        // Moved on before the cipher runs: whatever happens to this chunk, its nonce is spent.
        self.next += 1;
        let header = frame.to_bytes();
        let aad = self.cipher.aad(&header);
        let (head, content) = buf[at..].split_at_mut(FRAME_LEN);
        head.copy_from_slice(&header);
        let tag = self
            .cipher
            .cipher
            .encrypt_inout_detached(&ChunkCipher::nonce(frame.number), &aad, content.into())
            .expect("a chunk is far below AES-GCM's limit of 64 GiB");
        buf.extend_from_slice(&tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DataKey;

    const AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn address() -> Address {
        let id = RecordingId::from_parts(AT, [1; 10]);
        Address { id, key_id: [2; 8], head_hash: [3; 32] }
    }

    fn sealed(key: &DataKey, address: &Address, content: &[u8], skip: u64) -> Vec<u8> {
        let mut sealer = Sealer::new(ChunkCipher::new(key.chunk_cipher(address.id), address));
        let mut buf = Vec::new();
        for _ in 0..=skip {
            buf = vec![0; FRAME_LEN];
            buf.extend_from_slice(content);
            sealer.seal(&mut buf, 0, false, AT, AT);
        }
        buf
    }

    fn open(key: &DataKey, address: &Address, bytes: &[u8]) -> Option<Vec<u8>> {
        let cipher = ChunkCipher::new(key.chunk_cipher(address.id), address);
        let (header, rest) = bytes.split_first_chunk::<FRAME_LEN>()?;
        cipher.open(header, &mut rest.to_vec()).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_chunk_opens_under_its_key_and_address_only() {
        let (key, address) = (DataKey::random(), address());
        let bytes = sealed(&key, &address, b"ring ring", 0);
        assert_eq!(open(&key, &address, &bytes).as_deref(), Some(&b"ring ring"[..]));
        assert_eq!(open(&DataKey::random(), &address, &bytes), None);
        for other in [
            Address { id: RecordingId::from_parts(AT, [9; 10]), ..address },
            Address { key_id: [9; 8], ..address },
            Address { head_hash: [9; 32], ..address },
        ] {
            assert_eq!(open(&key, &other, &bytes), None, "{other:?}");
        }
    }

    #[test]
    fn any_flipped_bit_of_header_content_or_tag_is_refused() {
        let (key, address) = (DataKey::random(), address());
        let bytes = sealed(&key, &address, b"ring ring", 0);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, &address, &changed), None, "bit {bit}");
        }
    }

    #[test]
    fn the_same_content_is_never_sealed_alike() {
        let (key, address) = (DataKey::random(), address());
        let (first, second) = (sealed(&key, &address, &[0; 64], 0), sealed(&key, &address, &[0; 64], 1));
        assert_ne!(first[FRAME_LEN..], second[FRAME_LEN..]);
    }
}
