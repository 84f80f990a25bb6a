//! The fields of a record, by their places.
//!
//! | field | width | |
//! |---|---|---|
//! | time | 19 | `yyyy-MM-dd HH:mm:ss` |
//! | direction | 5 | `IN` or `OUT`, in pipes |
//! | call | 22 | |
//! | trunk | 7 | |
//! | endpoint | 7 | |
//! | source | 7 | |
//! | caller | 15 | |
//! | contact | 14 | in pipes |
//! | DDI | 15 | |
//! | DNIS | 14 | in pipes |
//! | account code | 12 | |
//! | event | 14 | in pipes |
//!
//! A space between two fields: 162 bytes. Numbers stand on the right, filled with the padding; texts on the left, filled with spaces.

use jiff::civil::DateTime;

use super::{LINE_LEN_MAX, Record, SmdrEvent};

/// Bytes of a record, its line end not counted.
pub const RECORD_LEN: usize = 162;
/// Widths of the numbers between direction and contact: call, trunk, endpoint, source, caller.
const NUMBERS: [usize; 5] = [22, 7, 7, 7, 15];
/// Width of a text in pipes, without them.
const TEXT: usize = 12;
const DIRECTION: usize = 3;
const DDI: usize = 15;
const ACCOUNT: usize = 12;

/// A line that is no record. It names the field, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no SMDR record: {0}")]
pub struct SmdrError(pub(super) &'static str);

pub(super) fn parse(line: &[u8], padding: u8) -> Result<Record, SmdrError> {
    if line.len() > LINE_LEN_MAX {
        return Err(SmdrError("longer than 256 bytes"));
    }
    let text = text_of(line.trim_ascii_end());
    if text.chars().any(char::is_control) {
        return Err(SmdrError("it holds a control character"));
    }
    let parts: Vec<&str> = text.split('|').collect();
    let (time, direction, numbers, contact, ddi, dnis, account, event) = match parts[..] {
        [time, direction, numbers, contact, ddi, dnis, account, event, ""] => {
            (time, direction, numbers, contact, ddi, dnis, account, event)
        }
        // Outbound records may lack DNIS.
        [time, direction, numbers, contact, both, event, ""] => {
            let (ddi, account) = both_of(both).ok_or(SmdrError("DDI and account code"))?;
            (time, direction, numbers, contact, ddi, "", account, event)
        }
        _ => return Err(SmdrError("expected four fields in pipes")),
    };
    let at = DateTime::strptime("%Y-%m-%d %H:%M:%S", time.trim()).map_err(|_| SmdrError("time"))?;
    let is_inbound = match direction.trim() {
        "IN" => true,
        "OUT" => false,
        _ => return Err(SmdrError("direction: expected IN or OUT")),
    };
    let [call, trunk, endpoint, source, caller] =
        numbers_of(numbers).ok_or(SmdrError("expected call, trunk, endpoint, source and caller"))?;
    let number = |field: &str| {
        let padding = char::from(padding);
        field.trim().trim_start_matches(padding).to_owned()
    };
    let word = |field: &str| {
        let field = field.trim();
        // A blank one may be filled like a number.
        let is_blank = field.chars().all(|c| c == char::from(padding));
        if is_blank { String::new() } else { field.to_owned() }
    };
    Ok(Record {
        at,
        is_inbound,
        call: number(call),
        trunk: number(trunk),
        endpoint: number(endpoint),
        source: number(source),
        caller: number(caller),
        contact: word(contact),
        ddi: number(ddi),
        dnis: word(dnis),
        account_code: number(account),
        event: SmdrEvent::from_word(event.trim()).ok_or(SmdrError("event"))?,
    })
}

/// UTF-8, or else Latin-1: there is no byte that it lacks.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// The five numbers: by the spaces between them, or by their places where spaces are the padding.
fn numbers_of(text: &str) -> Option<[&str; 5]> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if let Ok(numbers) = <[&str; 5]>::try_from(words) {
        return Some(numbers);
    }
    let mut rest = text.get(1..)?;
    let mut numbers = [""; 5];
    for (place, width) in numbers.iter_mut().zip(NUMBERS) {
        (*place, rest) = rest.split_at_checked(width)?;
        rest = rest.strip_prefix(' ')?;
    }
    rest.is_empty().then_some(numbers)
}

/// DDI and account code without DNIS between them, likewise.
fn both_of(text: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words[..] {
        [] => Some(("", "")),
        [ddi, account] => Some((ddi, account)),
        _ => {
            let (ddi, rest) = text.get(1..)?.split_at_checked(DDI)?;
            Some((ddi, rest))
        }
    }
}

pub(super) fn write(record: &Record, padding: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_LEN + 2);
    out.extend(record.at.strftime("%Y-%m-%d %H:%M:%S").to_string().bytes());
    in_pipes(&mut out, if record.is_inbound { "IN" } else { "OUT" }, DIRECTION);
    let numbers = [&record.call, &record.trunk, &record.endpoint, &record.source, &record.caller];
    for (value, width) in numbers.into_iter().zip(NUMBERS) {
        number(&mut out, value, width, padding);
    }
    in_pipes(&mut out, &record.contact, TEXT);
    number(&mut out, &record.ddi, DDI, padding);
    in_pipes(&mut out, &record.dnis, TEXT);
    number(&mut out, &record.account_code, ACCOUNT, padding);
    in_pipes(&mut out, record.event.word(), TEXT);
    out.extend(b"\r\n");
    out
}

/// A space, and a number on the right of its field.
fn number(out: &mut Vec<u8>, value: &str, width: usize, padding: u8) {
    let value: Vec<u8> = value.chars().map(plain).take(width).collect();
    out.push(b' ');
    out.extend(std::iter::repeat_n(padding, width - value.len()));
    out.extend(value);
}

/// A space, and a text on the left of its field, in pipes.
fn in_pipes(out: &mut Vec<u8>, value: &str, width: usize) {
    let value: Vec<u8> = value.chars().map(plain).take(width).collect();
    let filling = width - value.len();
    out.extend(b" |");
    out.extend(value);
    out.extend(std::iter::repeat_n(b' ', filling));
    out.push(b'|');
}

/// Widths are counted in bytes, and pipes end a field.
fn plain(c: char) -> u8 {
    match u8::try_from(c) {
        Ok(byte) if (byte.is_ascii_graphic() || byte == b' ') && byte != b'|' => byte,
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            at: "2026-11-20T09:30:00".parse().expect("a time"),
            is_inbound: true,
            call: "0194a5f3c2d1-8f3a9c1e2b".into(),
            trunk: "801".into(),
            endpoint: "2001".into(),
            source: "2000".into(),
            caller: "441632960001".into(),
            contact: "Ann Bee".into(),
            ddi: "1632960500".into(),
            dnis: "Sales".into(),
            account_code: "4711".into(),
            event: SmdrEvent::Transferred,
        }
    }

    #[test]
    fn every_field_stands_in_its_place_and_a_record_has_162_bytes() {
        let written = record().write(b'0');
        let (line, end) = written.split_at(RECORD_LEN);
        assert_eq!(end, b"\r\n");
        let line = std::str::from_utf8(line).expect("ASCII");
        // First column and width, as the layout counts them.
        for (from, width, field) in [
            (0, 19, "2026-11-20 09:30:00"),
            (20, 5, "|IN |"),
            (26, 22, "0194a5f3c2d1-8f3a9c1e2"),
            (49, 7, "0000801"),
            (57, 7, "0002001"),
            (65, 7, "0002000"),
            (73, 15, "000441632960001"),
            (89, 14, "|Ann Bee     |"),
            (104, 15, "000001632960500"),
            (120, 14, "|Sales       |"),
            (135, 12, "000000004711"),
            (148, 14, "|TRANSFERRED |"),
        ] {
            assert_eq!(line.get(from..from + width), Some(field), "{from}: {line}");
            assert!(from == 0 || line.as_bytes()[from - 1] == b' ');
        }
    }

    #[test]
    fn the_table_in_the_documentation_has_these_columns_and_widths() {
        let text = include_str!("../../../docs/smdr.md");
        let table = text.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        let numbers = rows.map(|row| {
            let mut cells = row.split('|').map(str::trim).skip(2);
            let mut number = || cells.next().and_then(|cell| cell.parse::<usize>().ok()).expect(row);
            (number(), number())
        });
        let numbers: Vec<(usize, usize)> = numbers.collect();
        let mut from = 0;
        for (width, column) in &numbers {
            assert_eq!(*column, from);
            from += width + 1;
        }
        assert_eq!((numbers.len(), from - 1), (12, RECORD_LEN));
    }

    #[test]
    fn what_is_written_is_read_with_any_padding() {
        for padding in [b'0', b' ', b'-'] {
            for event in SmdrEvent::ALL {
                for is_inbound in [true, false] {
                    let full = Record { call: "42".into(), event, is_inbound, ..record() };
                    let blank = Record {
                        trunk: String::new(),
                        source: String::new(),
                        contact: String::new(),
                        ddi: String::new(),
                        dnis: String::new(),
                        account_code: String::new(),
                        ..full.clone()
                    };
                    for record in [full, blank] {
                        let line = record.write(padding);
                        assert_eq!(Record::parse(&line, padding), Ok(record), "{}", line.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn records_that_are_known_to_be_written_otherwise_are_read() {
        let read = |line: &str| Record::parse(line.as_bytes(), b'0').expect(line);
        // Contact of 14 characters without its pipes, DDI of 16 zeros, caller of 16 digits, CALLCONNECTED.
        let wide = read(
            "2026-11-20 09:30:00 |IN | 0000000000000000000042 0000801 0002001 0000000 0000441632960001 |Ann Bee       | \
             0000000000000000 |            | 000000000000 |CALLCONNECTED|",
        );
        let blank = Record {
            call: "42".into(),
            ddi: "".into(),
            dnis: "".into(),
            account_code: "".into(),
            ..record()
        };
        assert_eq!(wide, Record { source: "".into(), event: SmdrEvent::Connected, ..blank.clone() });
        // The same word cut to its field.
        let cut = "2026-11-20 09:30:00 |IN | 42 801 2001 0 441632960001 |Ann Bee| 0 || 0 |CALLCONNECTE|";
        assert_eq!(read(cut), wide);
        // Outbound without DNIS, and a name that Latin-1 writes.
        let outbound = b"2026-11-20 09:30:00 |OUT| 0000000000000000000042 0000801 0002001 0000000 000441632960001 |Zo\xeb         | \
            000000000000000 000000004711 |ANSWERED    |";
        let outbound = Record::parse(outbound, b'0').expect("a record");
        assert_eq!((outbound.contact.as_str(), outbound.account_code.as_str()), ("Zo\u{eb}", "4711"));
        assert_eq!(
            (outbound.event, outbound.is_inbound, outbound.dnis.as_str()),
            (SmdrEvent::Answered, false, "")
        );
    }

    #[test]
    fn what_is_no_record_is_refused_by_its_field() {
        let good = String::from_utf8(record().write(b'0')).expect("ASCII");
        for (from, to, why) in [
            ("2026-11-20", "2026-13-20", "time"),
            ("|IN |", "|UP |", "direction"),
            ("|TRANSFERRED |", "|VANISHED    |", "event"),
            ("0000801 ", "", "expected call, trunk"),
            ("|Ann Bee     |", "|Ann | Bee   |", "four fields in pipes"),
            ("Ann Bee", "Ann\tBee", "control character"),
        ] {
            let bad = good.replace(from, to);
            let told = Record::parse(bad.as_bytes(), b'0').expect_err(&bad).to_string();
            assert!(told.contains(why), "{told}");
        }
        assert!(Record::parse(&[b' '; LINE_LEN_MAX + 1], b'0').is_err());
        assert!(Record::parse(b"", b'0').is_err());
    }

    #[test]
    fn a_value_that_has_no_room_is_cut_and_what_would_end_a_field_is_replaced() {
        let long = Record { contact: "Zoë | and others".into(), caller: "1".repeat(20), ..record() };
        let line = long.write(b'0');
        assert_eq!(line.len(), RECORD_LEN + 2);
        let read = Record::parse(&line, b'0').expect("a record");
        assert_eq!((read.contact.as_str(), read.caller.len()), ("Zo? ? and ot", 15));
    }
}
