//! The search record of a recording: all that can be asked for, in about a hundred bytes that are read without allocating.
//!
//! | field | length | |
//! |---|---|---|
//! | flags | 2 | bit field, see the constants |
//! | present | 4 | bit i: text i is not empty |
//! | start | varint | start of the timeline less that of the name, in ms, zigzag |
//! | duration | varint | ms |
//! | file | varint | bytes |
//! | SIP calls | varint, then 12 each | their number, then digests of the Call-IDs |
//! | tags | varint, then varint, bytes each | their number, then each |
//! | units | likewise | the business unit and those above it |
//! | texts | varint, bytes each | each that is present, in the order of [`Field`] |
//!
//! What is looked for most stands first: passing over a text costs as much as comparing one.
//!
//! A recording whose record would be longer than [`RECORD_MAX`] (names from a wire can be of any length) has one that ends
//! behind the file's size and says so: then its row is looked at instead. Part of the index, so a change of this is a new
//! format of that.

use decode::Timestamp;
use policy::Segment;
use sha2::{Digest, Sha256};

use super::Field;
use crate::{RecordingId, Row};

/// The longest record that the index keeps, in bytes.
pub(crate) const RECORD_MAX: usize = 1024;
/// Digits of a logical call's start, before the hyphen.
pub(crate) const CALL_START_DIGITS: usize = 12;
/// Digits behind the hyphen.
const CALL_HASH_DIGITS: usize = 16;

const DIRECTION_AT: u16 = 0;
const STATE_AT: u16 = 2;
const SOURCE_AT: u16 = 4;
const HELD_AT: u16 = 6;
const DELETED_AT: u16 = 7;
/// The texts are left out.
const CUT: u16 = 1 << 8;
/// The other party is the outside number, which stands there once.
const SAME_PARTY: u16 = 1 << 9;

/// Stars, 0 for none.
const RATING_AT: u16 = 10;

/// First bytes of the SHA-256 of a SIP Call-ID: nobody can make another Call-ID that has the same.
pub(crate) type CallDigest = [u8; 12];

/// See [`CallDigest`].
pub(crate) fn call_digest(call_id: &str) -> CallDigest {
    *Sha256::digest(call_id.as_bytes()).first_chunk().expect("SHA-256 has 32 bytes")
}

/// When the logical call of this name, or of names that begin so, began; none for what is no such name up to its hyphen.
pub(crate) fn call_started_ms(name: &str) -> Option<i64> {
    let (start, hash) = name.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_ours =
        start.len() == CALL_START_DIGITS && hash.len() <= CALL_HASH_DIGITS && hex(start) && hex(hash);
    is_ours.then(|| i64::from_str_radix(start, 16).ok()).flatten()
}

/// What a record can be made of: a recording, or a call without one.
pub(crate) trait Recorded: Segment {
    /// Its name in the index.
    fn name(&self) -> RecordingId;

    /// The start of its timeline.
    fn started(&self) -> Timestamp;

    /// Length of its file.
    fn bytes(&self) -> u64;

    /// The SIP Call-IDs of its legs.
    fn sip_call_ids(&self) -> &[String];
}

impl Recorded for Row {
    fn name(&self) -> RecordingId {
        self.facts.id
    }

    fn started(&self) -> Timestamp {
        self.facts.started
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn sip_call_ids(&self) -> &[String] {
        &self.facts.sip_call_ids
    }
}

/// Writes the record of a row as it stands, at any length.
pub(crate) fn encode_whole(row: &impl Recorded, out: &mut Vec<u8>) {
    let texts = Field::ALL.map(|field| row.value(field));
    let (texts, _) = texts.split_at(Field::TEXTS);
    let same = !texts[OUTSIDE].is_empty() && texts[OUTSIDE] == texts[OTHER];
    head(row, if same { SAME_PARTY } else { 0 }, out);
    let present_at = out.len();
    out.extend([0; PRESENT_LEN]);
    measures(row, out);
    put_varint(row.sip_call_ids().len() as u64, out);
    row.sip_call_ids().iter().for_each(|id| out.extend(call_digest(id)));
    put_varint(row.tags().count() as u64, out);
    row.tags().for_each(|tag| put_text(tag, out));
    put_varint(row.units().count() as u64, out);
    row.units().for_each(|unit| put_text(unit, out));
    let mut present = 0_u32;
    for (i, &text) in texts.iter().enumerate() {
        let stands_already = same && i == OTHER;
        if !text.is_empty() && !stands_already {
            present |= 1 << i;
            put_text(text, out);
        }
    }
    out[present_at..present_at + PRESENT_LEN].copy_from_slice(&present.to_le_bytes());
}

/// The record as the index keeps it.
pub(crate) fn encode(row: &impl Recorded) -> Vec<u8> {
    let mut record = Vec::with_capacity(192);
    encode_whole(row, &mut record);
    if record.len() > RECORD_MAX {
        record.clear();
        head(row, CUT, &mut record);
        record.extend([0; PRESENT_LEN]);
        measures(row, &mut record);
    }
    record
}

/// Length of the bits that say which texts are there.
const PRESENT_LEN: usize = size_of::<u32>();
const OUTSIDE: usize = Field::OutsideNumber as usize;
const OTHER: usize = Field::OtherParty as usize;

fn head(row: &impl Recorded, bits: u16, out: &mut Vec<u8>) {
    let flags = place(row, Field::Direction) << DIRECTION_AT
        | place(row, Field::State) << STATE_AT
        | place(row, Field::Source) << SOURCE_AT
        | place(row, Field::Held) << HELD_AT
        | place(row, Field::Deleted) << DELETED_AT
        | super::segment::stars_in(row.value(Field::Rating)) << RATING_AT
        | bits;
    out.extend(flags.to_le_bytes());
}

/// The place of its word among those of a field. A call without a recording has no [`Field::State`], which is a place behind the last.
fn place(row: &impl Recorded, field: Field) -> u16 {
    let (value, words) = (row.value(field), field.words());
    words.iter().position(|word| *word == value).unwrap_or(words.len()) as u16
}

fn measures(row: &impl Recorded, out: &mut Vec<u8>) {
    let delta = row.started().as_millis().saturating_sub(row.name().started().as_millis());
    put_varint((delta << 1 ^ delta >> 63) as u64, out);
    put_varint(row.duration_ms(), out);
    put_varint(row.bytes(), out);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    if let Some((&byte, rest)) = from.split_first()
        && byte < 0x80
    {
        *from = rest;
        return Some(u64::from(byte));
    }
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}

/// Goes past a list of texts.
fn pass_list(from: &mut &[u8]) -> Option<()> {
    let count = take_varint(from)?;
    (0..count).try_for_each(|_| take_bytes(from).map(drop))
}

/// The texts of a list.
fn list<'a>(mut from: &'a [u8]) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
    let count = take_varint(&mut from).unwrap_or_default();
    (0..count).map_while(move |_| std::str::from_utf8(take_bytes(&mut from)?).ok())
}

/// A search record, read in place. What is damaged behind the first fields reads as empty: the index is a cache, and its
/// pages have checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    flags: u16,
    present: u32,
    started_ms: i64,
    /// Length of the audio.
    pub(crate) duration_ms: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// From the SIP calls on.
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the first fields; none when they are not there.
    pub(crate) fn parse(id: RecordingId, record: &'a [u8]) -> Option<View<'a>> {
        let (flags, rest) = record.split_first_chunk()?;
        let (present, mut rest) = rest.split_first_chunk()?;
        let delta = take_varint(&mut rest)?;
        let delta = (delta >> 1) as i64 ^ -((delta & 1) as i64);
        Some(View {
            flags: u16::from_le_bytes(*flags),
            present: u32::from_le_bytes(*present),
            started_ms: id.started().as_millis().saturating_add(delta),
            duration_ms: take_varint(&mut rest)?,
            bytes: take_varint(&mut rest)?,
            rest,
        })
    }

    /// Its texts are left out: the row has to be looked at.
    pub(crate) fn is_cut(&self) -> bool {
        self.flags & CUT != 0
    }

    /// Start of the timeline, to the millisecond.
    pub(crate) fn started(&self) -> Timestamp {
        Timestamp::from_millis(self.started_ms)
    }

    /// How far it has come, by its place among the words of [`Field::State`].
    pub(crate) fn state(&self) -> u16 {
        self.flags >> STATE_AT & 3
    }

    /// The places of its words, in the order of the fields from [`Field::Direction`] on.
    pub(crate) fn words(&self) -> [u16; 5] {
        [
            self.flags >> DIRECTION_AT & 3,
            self.state(),
            self.flags >> SOURCE_AT & 3,
            self.flags >> HELD_AT & 1,
            self.flags >> DELETED_AT & 1,
        ]
    }

    /// The number of its stars; empty without a rating.
    pub(crate) fn rating(&self) -> &'static str {
        super::segment::stars((self.flags >> RATING_AT & 7) as u8)
    }

    /// The text of a field that holds one; empty when the fact is not known.
    pub(crate) fn text(&self, field: Field) -> &'a str {
        let same = field == Field::OtherParty && self.flags & SAME_PARTY != 0;
        let place = if same { OUTSIDE } else { field as usize };
        if place >= Field::TEXTS || self.present >> place & 1 == 0 {
            return "";
        }
        let before = (self.present & ((1 << place) - 1)).count_ones();
        let text = self.texts().and_then(|mut texts| {
            (0..before).try_for_each(|_| take_bytes(&mut texts).map(drop))?;
            take_bytes(&mut texts)
        });
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// The digests, and what is behind them.
    fn sip_calls_and_rest(&self) -> Option<(&'a [u8], &'a [u8])> {
        let mut rest = self.rest;
        let count = usize::try_from(take_varint(&mut rest)?).ok()?;
        rest.split_at_checked(count.checked_mul(size_of::<CallDigest>())?)
    }

    fn texts(&self) -> Option<&'a [u8]> {
        let mut rest = self.units_and_rest()?;
        pass_list(&mut rest)?;
        Some(rest)
    }

    fn units_and_rest(&self) -> Option<&'a [u8]> {
        let (_, mut rest) = self.sip_calls_and_rest()?;
        pass_list(&mut rest)?;
        Some(rest)
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        list(self.sip_calls_and_rest().map_or(&[], |(_, rest)| rest))
    }

    /// The business unit and those above it.
    pub(crate) fn units(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        list(self.units_and_rest().unwrap_or_default())
    }

    /// The digests of its SIP Call-IDs.
    pub(crate) fn sip_calls(&self) -> &'a [CallDigest] {
        self.sip_calls_and_rest().map_or(&[], |(digests, _)| digests.as_chunks().0)
    }
}

impl Segment for View<'_> {
    fn value(&self, field: Field) -> &str {
        match field.word_place() {
            Some(place) => {
                let word = self.words().get(place).copied().unwrap_or_default();
                field.words().get(usize::from(word)).copied().unwrap_or_default()
            }
            None if field == Field::Rating => self.rating(),
            None => self.text(field),
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        View::tags(self)
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        View::units(self)
    }

    fn duration_ms(&self) -> u64 {
        self.duration_ms
    }
}
