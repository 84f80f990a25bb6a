//! Lists in another order than that of names: by a field, or by length. The whole search is looked through for each page, and
//! memory holds one page.

use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use policy::{FieldError, Segment};

use crate::id::TEXT_LEN;
use crate::search::hits::Hits;
use crate::search::record::View;
use crate::search::{Field, Query};
use crate::shared::Shared;
use crate::{Error, RecordingId};

/// Bytes of a text that its place in the order is judged by; what differs only behind them stands in the order of names.
const KEY_MAX: usize = 64;

/// What a list may be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// The start of the recording.
    Started,
    /// The length of the audio.
    Duration,
    /// Length of its file.
    Bytes,
    /// A field; numbers among its values stand in the order of numbers, before texts.
    Field(Field),
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderBy::Started => f.write_str("started"),
            OrderBy::Duration => f.write_str("duration"),
            OrderBy::Bytes => f.write_str("bytes"),
            OrderBy::Field(field) => field.fmt(f),
        }
    }
}

impl FromStr for OrderBy {
    type Err = FieldError;

    fn from_str(name: &str) -> Result<Self, FieldError> {
        Ok(match name {
            "started" => OrderBy::Started,
            "duration" => OrderBy::Duration,
            "bytes" => OrderBy::Bytes,
            field => OrderBy::Field(field.parse()?),
        })
    }
}

/// The order of a list. Recordings that are alike in it stand newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: OrderBy,
    /// The greatest first.
    pub descending: bool,
}

/// A place in a sorted list: where the next page begins. A place stays where it is whatever comes or goes meanwhile. `Display` and
/// [`FromStr`] write and read it as letters and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    key: Vec<u8>,
    id: RecordingId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        self.key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a list")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (id, key) = text.split_at_checked(TEXT_LEN).ok_or(NoCursor)?;
        let id = id.parse().map_err(|_| NoCursor)?;
        let digit =
            |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(NoCursor);
        let (pairs, []) = key.as_bytes().as_chunks() else { return Err(NoCursor) };
        let byte = |&[high, low]: &[u8; 2]| Ok(digit(high)? << 4 | digit(low)?);
        let key: Vec<u8> = pairs.iter().map(byte).collect::<Result<_, _>>()?;
        if key.len() > KEY_MAX + 2 {
            return Err(NoCursor);
        }
        Ok(Cursor { key, id })
    }
}

/// What stands where: smaller comes first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    key: Ranked,
    id: std::cmp::Reverse<RecordingId>,
}

/// A key, in the order that was asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ranked {
    Up(Vec<u8>),
    Down(std::cmp::Reverse<Vec<u8>>),
}

impl Rank {
    fn new(key: Vec<u8>, id: RecordingId, order: Order) -> Rank {
        let key = if order.descending { Ranked::Down(std::cmp::Reverse(key)) } else { Ranked::Up(key) };
        Rank { key, id: std::cmp::Reverse(id) }
    }

    fn cursor(self) -> Cursor {
        let (Ranked::Up(key) | Ranked::Down(std::cmp::Reverse(key))) = self.key;
        Cursor { key, id: self.id.0 }
    }
}

/// Up to `limit` recordings that are meant, from `after` on, in order; and the place behind the last one, if there are more.
pub(crate) fn page(
    shared: &Shared,
    query: &Query,
    order: Order,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<(Vec<RecordingId>, Option<Cursor>), Error> {
    let after = after.map(|place| Rank::new(place.key.clone(), place.id, order));
    // The greatest on top, to be the first to go.
    let mut kept: BinaryHeap<Rank> = BinaryHeap::with_capacity(limit.saturating_add(2).min(1_000));
    for hit in Hits::new(shared, query, move |view| key(view, order.by)) {
        let (id, key) = hit?;
        let rank = Rank::new(key, id, order);
        if after.as_ref().is_some_and(|after| rank <= *after) {
            continue;
        }
        kept.push(rank);
        if kept.len() > limit.saturating_add(1) {
            kept.pop();
        }
    }
    let mut kept = kept.into_sorted_vec();
    let is_more = kept.len() > limit;
    kept.truncate(limit);
    let next = if is_more { kept.last().cloned().map(Rank::cursor) } else { None };
    Ok((kept.into_iter().map(|rank| rank.id.0).collect(), next))
}

fn key(view: &View<'_>, by: OrderBy) -> Vec<u8> {
    match by {
        // The sign's bit turned round, times before 1970 stand before those behind it.
        OrderBy::Started => (view.started().as_millis() ^ i64::MIN).to_be_bytes().to_vec(),
        OrderBy::Duration => view.duration_ms.to_be_bytes().to_vec(),
        OrderBy::Bytes => view.bytes.to_be_bytes().to_vec(),
        OrderBy::Field(field) => text_key(shown(view, field)),
    }
}

/// What stands in a field, the first of several.
fn shown<'v>(view: &'v View<'_>, field: Field) -> &'v str {
    match field {
        Field::Tag => view.tags().next().unwrap_or_default(),
        Field::BusinessUnit => view.units().next().unwrap_or_default(),
        Field::User if !view.text(Field::UserName).is_empty() => view.text(Field::UserName),
        field => view.value(field),
    }
}

/// Nothing stands first, then numbers by their value, then texts, capitals or not.
fn text_key(text: &str) -> Vec<u8> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    let mut key = Vec::with_capacity(text.len().min(KEY_MAX) + 2);
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let digits = text.trim_start_matches('0');
        // More digits are a greater number; more than a byte can say are no number of anybody.
        key.extend([1, u8::try_from(digits.len()).unwrap_or(u8::MAX)]);
        key.extend(digits.bytes().take(KEY_MAX));
    } else {
        key.push(2);
        key.extend(text.to_lowercase().bytes().take(KEY_MAX));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_by_their_value_before_texts_and_nothing_before_all() {
        let mut values = ["zoe", "Ann", "10", "9", "", "0100", "ann b", "007"];
        values.sort_by_key(|value| text_key(value));
        assert_eq!(values, ["", "007", "9", "10", "0100", "Ann", "ann b", "zoe"]);
    }

    #[test]
    fn a_place_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let id = RecordingId::from_bytes([7; 16]);
        for key in [vec![], vec![0, 255, 16], vec![1; KEY_MAX + 2]] {
            let place = Cursor { key, id };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in [
            "",
            "x",
            "é",
            &format!("{id}1"),
            &format!("{id}xy"),
            &format!("{id}{}", "00".repeat(KEY_MAX + 3)),
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(NoCursor), "{wrong}");
        }
    }
}
