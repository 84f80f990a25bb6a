//! What OpenSSL said to itself (`vectors/`, made by `xtask/scripts/tls_vectors.py`), read with its key log: every suite, any
//! pieces, lost bytes, late keys.

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

const VECTORS: [(&str, &str); 14] = [
    ("tls13-aes128-gcm", include_str!("vectors/tls13-aes128-gcm.txt")),
    ("tls13-aes256-gcm", include_str!("vectors/tls13-aes256-gcm.txt")),
    ("tls13-chacha20", include_str!("vectors/tls13-chacha20.txt")),
    ("tls13-retry", include_str!("vectors/tls13-retry.txt")),
    ("tls13-resumed", include_str!("vectors/tls13-resumed.txt")),
    ("tls12-aes128-gcm", include_str!("vectors/tls12-aes128-gcm.txt")),
    ("tls12-aes256-gcm", include_str!("vectors/tls12-aes256-gcm.txt")),
    ("tls12-chacha20", include_str!("vectors/tls12-chacha20.txt")),
    ("tls12-aes128-cbc-sha1-etm", include_str!("vectors/tls12-aes128-cbc-sha1-etm.txt")),
    ("tls12-aes256-cbc-sha1", include_str!("vectors/tls12-aes256-cbc-sha1.txt")),
    ("tls12-aes128-cbc-sha256", include_str!("vectors/tls12-aes128-cbc-sha256.txt")),
    ("tls12-aes256-cbc-sha384-etm", include_str!("vectors/tls12-aes256-cbc-sha384-etm.txt")),
    ("tls12-resumed-by-ticket", include_str!("vectors/tls12-resumed-by-ticket.txt")),
    ("tls12-resumed-by-id", include_str!("vectors/tls12-resumed-by-id.txt")),
];

/// One connection of a vector.
#[derive(Default)]
struct Vector {
    keys: String,
    sent: Vec<(Way, Vec<u8>)>,
    says: [String; 2],
}

fn vectors(text: &str) -> Vec<Vector> {
    let mut list = Vec::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "new" {
            list.push(Vector::default());
            continue;
        }
        let vector = list.last_mut().expect("begins with new");
        match word {
            "key" => vector.keys.push_str(&format!("{rest}\n")),
            "says" => {
                let (by, text) = rest.split_once(' ').expect("who and what");
                vector.says[usize::from(by == "server")].push_str(text);
            }
            by => {
                let digits: Vec<u8> =
                    rest.bytes().map(|d| char::from(d).to_digit(16).expect("hex") as u8).collect();
                let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                vector.sent.push((if by == "client" { Way::FromFirst } else { Way::FromSecond }, bytes));
            }
        }
    }
    list
}

/// A listener to one connection.
#[derive(Default)]
struct Ear {
    session: Session,
    unread: [Vec<u8>; 2],
    heard: [Vec<u8>; 2],
    gaps: u32,
}

impl Ear {
    fn hears(
        &mut self,
        way: Way,
        bytes: &[u8],
        lost: bool,
        secrets: &mut Option<Secrets>,
    ) -> Result<(), Unread> {
        let unread = way.of_mut(&mut self.unread);
        unread.extend_from_slice(bytes);
        let (heard, gaps) = (&mut self.heard, &mut self.gaps);
        let (read, result) =
            self.session.read(way, unread, lost, Timestamp::from_millis(0), secrets, &mut |opened| {
                opened.way.of_mut(heard).extend_from_slice(opened.bytes);
                *gaps += u32::from(opened.after_gap);
            });
        unread.drain(..read);
        result
    }

    fn resume(&mut self, secrets: &mut Secrets) -> Result<(), Unread> {
        let heard = &mut self.heard;
        self.session.resume(secrets, &mut |opened| opened.way.of_mut(heard).extend_from_slice(opened.bytes))
    }

    fn said(&self) -> [String; 2] {
        self.heard.clone().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn secrets(keys: &str) -> Option<Secrets> {
    let mut secrets = Secrets::default();
    secrets.add(keys.as_bytes());
    Some(secrets)
}

#[test]
fn every_suite_opens_whatever_the_pieces() {
    for (name, text) in VECTORS {
        for size in [1, 3, 100, 100_000] {
            let mut known = Some(Secrets::default());
            for (number, vector) in vectors(text).iter().enumerate() {
                known.as_mut().expect("secrets").add(vector.keys.as_bytes());
                let mut ear = Ear::default();
                for (way, bytes) in &vector.sent {
                    for piece in bytes.chunks(size) {
                        ear.hears(*way, piece, false, &mut known).expect(name);
                    }
                }
                assert_eq!(ear.said(), vector.says, "{name}, connection {number}, pieces of {size}");
                assert_eq!((ear.gaps, ear.session.is_waiting()), (0, false), "{name}");
            }
        }
    }
}

#[test]
fn a_key_that_comes_late_opens_what_came_before_it() {
    for (name, text) in VECTORS {
        let vector = &vectors(text)[0];
        for late in 0..=vector.sent.len() {
            let (mut none, mut ear) = (secrets(""), Ear::default());
            for (way, bytes) in &vector.sent[..late] {
                ear.hears(*way, bytes, false, &mut none).expect(name);
            }
            let mut known = secrets(&vector.keys);
            ear.resume(known.as_mut().expect("secrets")).expect(name);
            for (way, bytes) in &vector.sent[late..] {
                ear.hears(*way, bytes, false, &mut known).expect(name);
            }
            assert_eq!(ear.said(), vector.says, "{name}, the key before {late}");
        }
    }
}

#[test]
fn the_lines_of_a_key_log_may_come_one_by_one() {
    for (name, text) in VECTORS {
        let vector = &vectors(text)[0];
        let (mut known, mut ear) = (secrets(""), Ear::default());
        let mut lines = vector.keys.lines();
        for (way, bytes) in &vector.sent {
            ear.hears(*way, bytes, false, &mut known).expect(name);
            let known = known.as_mut().expect("secrets");
            known.add(lines.next().unwrap_or_default().as_bytes());
            ear.resume(known).expect(name);
        }
        let known = known.as_mut().expect("secrets");
        lines.for_each(|line| _ = known.add(line.as_bytes()));
        ear.resume(known).expect(name);
        assert_eq!(ear.said(), vector.says, "{name}");
    }
}

#[test]
fn only_the_keys_for_content_are_enough() {
    for (name, text) in VECTORS.iter().filter(|(name, _)| name.starts_with("tls13")) {
        let vector = &vectors(text)[0];
        let keys: String = vector
            .keys
            .lines()
            .filter(|line| !line.contains("HANDSHAKE"))
            .map(|line| format!("{line}\n"))
            .collect();
        let (mut known, mut ear) = (secrets(&keys), Ear::default());
        for (way, bytes) in &vector.sent {
            ear.hears(*way, bytes, false, &mut known).expect(name);
        }
        assert_eq!(ear.said(), vector.says, "{name}");
    }
}

#[test]
fn without_a_key_log_the_first_sealed_record_says_so_and_with_one_it_waits() {
    for (name, text) in VECTORS {
        let vector = &vectors(text)[0];
        let mut ear = Ear::default();
        let result = vector.sent.iter().try_for_each(|(way, bytes)| ear.hears(*way, bytes, false, &mut None));
        assert_eq!(result, Err(NO_KEY), "{name}");
        let (mut none, mut ear) = (secrets(""), Ear::default());
        for (way, bytes) in &vector.sent {
            assert_eq!(ear.hears(*way, bytes, false, &mut none), Ok(()), "{name}");
        }
        assert!(ear.session.is_waiting() && ear.session.kept() < WAITING_BYTES_MAX);
        assert!(ear.session.is_overdue(Timestamp::from_millis(KEY_WAIT_MS as i64 + 1)));
    }
}

#[test]
fn what_waits_is_bounded() {
    let vector = &vectors(VECTORS[0].1)[0];
    let (mut none, mut ear) = (secrets(""), Ear::default());
    for (way, bytes) in &vector.sent {
        ear.hears(*way, bytes, false, &mut none).expect("it waits");
    }
    let record = [&[23, 3, 3, 0x40, 0][..], &[7; 0x4000]].concat();
    let results: Vec<_> = (0..5).map(|_| ear.hears(Way::FromFirst, &record, false, &mut none)).collect();
    assert!(results.contains(&Err(NO_KEY)), "{results:?}");
    assert!(ear.session.kept() <= 2 * WAITING_BYTES_MAX);
}

#[test]
fn another_connections_key_does_not_fit_and_is_not_taken_for_content() {
    for (name, text) in VECTORS {
        let vector = &vectors(text)[0];
        // The last digit of each secret is another.
        let keys: String = vector
            .keys
            .lines()
            .map(|line| {
                let (rest, digit) = line.split_at(line.len() - 1);
                format!("{rest}{}\n", if digit == "0" { "1" } else { "0" })
            })
            .collect();
        let (mut known, mut ear) = (secrets(&keys), Ear::default());
        let result =
            vector.sent.iter().try_for_each(|(way, bytes)| ear.hears(*way, bytes, false, &mut known));
        assert_eq!(ear.said(), [String::new(), String::new()], "{name}");
        assert!(result == Err(WRONG_KEY) || name.starts_with("tls13"), "{name}: {result:?}");
    }
}

#[test]
fn a_lost_record_costs_what_was_in_it_and_no_more() {
    for (name, text) in VECTORS {
        let vector = &vectors(text)[0];
        let last = vector.sent.len();
        // Each side's first words are lost; the capture goes on inside the record or behind it.
        for cut in [None, Some(10)] {
            let (mut known, mut ear) = (secrets(&vector.keys), Ear::default());
            for (number, (way, bytes)) in vector.sent.iter().enumerate() {
                let (is_lost, after) = (last - 4 <= number && number < last - 2, number >= last - 2);
                let heard = if is_lost { cut.map_or(&[][..], |cut| &bytes[cut..]) } else { bytes };
                // Behind the gap, TCP says so once; what came before it and was not read is gone.
                let lost = (is_lost && cut.is_some()) || (after && cut.is_none());
                ear.hears(*way, heard, lost, &mut known).expect(name);
            }
            let words = vector.says.clone().map(|says| {
                let second = says.find("words 1").expect("two words");
                says[second..].to_owned()
            });
            assert_eq!(ear.said(), words, "{name}, cut {cut:?}");
            assert_eq!(ear.gaps, 2, "{name}");
        }
    }
}

#[test]
fn a_suite_or_version_that_is_not_read_is_said() {
    let vector = &vectors(VECTORS[0].1)[0];
    let mut hello = vector.sent[1].1.clone();
    let suite = hello.windows(2).position(|two| two == [0x13, 0x01]).expect("the suite");
    hello[suite + 1] = 0x04;
    let (mut known, mut ear) = (secrets(&vector.keys), Ear::default());
    ear.hears(Way::FromFirst, &vector.sent[0].1, false, &mut known).expect("a hello");
    assert_eq!(ear.hears(Way::FromSecond, &hello, false, &mut known), Err(SUITE));
    assert!(Suite::tls12(0x0005).is_none() && Suite::tls13(0x1305).is_none());
}

#[test]
fn records_are_told_from_anything_else() {
    assert_eq!(look(b"\x16\x03\x01\x02\x00\x01\x00\x01"), Look::Hello);
    assert_eq!(look(b"\x17\x03\x03\x00\x20\xab"), Look::Record);
    assert_eq!(look(b"\x16\x03"), Look::Wait);
    for other in [&b""[..], b"INVITE", b"\x17\x03\x03\xff\xff\xab", b"\x16\x02", b"\x81\x7e\x01\x00\x00\x00"]
    {
        assert_eq!(look(other), Look::No, "{other:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_a_connection(
        vector in 0_usize..VECTORS.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..20),
        size in 1_usize..2000,
        lose in any::<u8>(),
    ) {
        let mut vector = vectors(VECTORS[vector].1).remove(0);
        for (message, place, value) in damage {
            let message = message.index(vector.sent.len());
            let bytes = &mut vector.sent[message].1;
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let (mut known, mut ear) = (secrets(&vector.keys), Ear::default());
        'all: for (number, (way, bytes)) in vector.sent.iter().enumerate() {
            for piece in bytes.chunks(size) {
                if ear.hears(*way, piece, number == usize::from(lose), &mut known).is_err() {
                    break 'all;
                }
            }
        }
        for (heard, says) in ear.said().iter().zip(&vector.says) {
            prop_assert!(heard.len() <= says.len(), "more than was said");
        }
        prop_assert!(ear.session.kept() < 1 << 20);
    }
}
