//! Every kind of capture file, whole, cut and lying.

use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::samples::{BIG, LITTLE, MICROSECONDS, NANOSECONDS, gzip, open_bytes, read_all};

const S: i64 = 1_000_000_000;

fn three_frames() -> Vec<u8> {
    let mut bytes = LITTLE.pcap(MICROSECONDS, 1);
    for number in 0..3 {
        bytes.extend(LITTLE.record(100 + number, 5, 60, &[number as u8; 40]));
    }
    bytes
}

#[test]
fn what_is_seen_ahead_is_what_comes() {
    let old = |order: crate::samples::Order| {
        let record = order.record(5, 0, 3, b"abc");
        [order.pcap(0xa1b2_cd34, 1), [&record[..16], &[0; 8], &record[16..]].concat().repeat(9)].concat()
    };
    let plain = |order: crate::samples::Order| {
        let records = (0..20_u8).flat_map(|n| order.record(100, 5, 60, &vec![n; usize::from(n)]));
        order.pcap(MICROSECONDS, 1).into_iter().chain(records).collect::<Vec<u8>>()
    };
    for bytes in [plain(LITTLE), plain(BIG), old(LITTLE)] {
        let (seen, _) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        let mut file = open_bytes(&bytes).expect("a capture");
        for number in 0..seen.len() {
            assert!(file.advance().expect("a frame"));
            let mut places = [Frame { at: Timestamp::MIN, link: 0, source: 0, wire_len: 0, data: &[] }; 4];
            let found = file.look_ahead(&mut places);
            assert_eq!(found, 4.min(seen.len() - number - 1));
            for (place, (_, link, wire_len, data)) in places[..found].iter().zip(&seen[number + 1..]) {
                assert_eq!((place.link, place.wire_len, place.data), (*link, *wire_len, data.as_slice()));
            }
        }
    }
}

#[test]
fn classic_files_of_both_orders_and_both_clocks_are_read() {
    for order in [LITTLE, BIG] {
        for (magic, nanos) in [(MICROSECONDS, 7_000), (NANOSECONDS, 7)] {
            let mut bytes = order.pcap(magic, 113);
            bytes.extend(order.record(1_700_000_000, 7, 1500, b"abc"));
            bytes.extend(order.record(0, 0, 0, b""));
            let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
            assert!(error.is_none());
            let first = (1_700_000_000 * S + nanos, 113, 1500, b"abc".to_vec());
            assert_eq!(seen, [first, (0, 113, 0, vec![])]);
        }
    }
}

#[test]
fn the_upper_half_of_the_link_type_is_no_part_of_it() {
    let mut bytes = LITTLE.pcap(MICROSECONDS, 0x4400_0001);
    bytes.extend(LITTLE.record(1, 0, 3, b"abc"));
    let (seen, _) = read_all(&mut open_bytes(&bytes).expect("a capture"));
    assert_eq!(seen[0].1, 1);
}

#[test]
fn the_old_variant_with_longer_record_headers_is_read() {
    let mut bytes = LITTLE.pcap(0xa1b2_cd34, 1);
    for _ in 0..2 {
        let record = LITTLE.record(5, 0, 3, b"abc");
        bytes.extend([&record[..16], &[0; 8], &record[16..]].concat());
    }
    let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
    assert!(error.is_none());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].3, b"abc");
}

#[test]
fn a_pcapng_file_has_a_link_type_and_a_clock_for_each_interface() {
    for order in [LITTLE, BIG] {
        let mut bytes = order.section();
        bytes.extend(order.interface(1, 0, &[]));
        bytes.extend(order.interface(113, 0, &[(9, &[9]), (14, &order.i64(3600))]));
        // 2^10 ticks in a second.
        bytes.extend(order.interface(101, 0, &[(2, b"name"), (9, &[0x8a])]));
        bytes.extend(order.enhanced(0, 2_000_001, 3, b"abc"));
        bytes.extend(order.enhanced(1, 2_000_000_001, 99, b"defgh"));
        bytes.extend(order.enhanced(2, 2 * 1024 + 512, 1, b"i"));
        let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        assert!(error.is_none());
        assert_eq!(
            seen,
            [
                (2 * S + 1000, 1, 3, b"abc".to_vec()),
                (3602 * S + 1, 113, 99, b"defgh".to_vec()),
                (2 * S + S / 2, 101, 1, b"i".to_vec()),
            ]
        );
    }
}

#[test]
fn simple_and_old_packets_are_read_and_other_blocks_passed_over() {
    for order in [LITTLE, BIG] {
        let mut bytes = order.section();
        bytes.extend(order.interface(1, 4, &[]));
        bytes.extend(order.old_packet(0, 3_000_000, b"old"));
        bytes.extend(order.block(5, &[0; 12]));
        bytes.extend(order.block(0x0bad_beef, b"what is this"));
        bytes.extend(order.simple(9, b"simp"));
        bytes.extend(order.simple(2, b"si"));
        let mut file = open_bytes(&bytes).expect("a capture");
        let (seen, error) = read_all(&mut file);
        assert!(error.is_none());
        // A simple packet has no time: that of the frame before it.
        assert_eq!(
            seen,
            [(3 * S, 1, 3, b"old".to_vec()), (3 * S, 1, 9, b"simp".to_vec()), (3 * S, 1, 2, b"si".to_vec()),]
        );
        assert_eq!(file.counters().bad_blocks, 0);
    }
}

#[test]
fn tls_secrets_come_out_before_the_frames_behind_them_and_once() {
    for order in [LITTLE, BIG] {
        let secrets = |kind: u32, lines: &[u8]| {
            let content = [&order.u32(kind)[..], &order.u32(lines.len() as u32), lines].concat();
            order.block(0x0a, &content)
        };
        let mut bytes = [order.section(), order.interface(1, 0, &[])].concat();
        bytes.extend(secrets(0x544c_534b, b"CLIENT_RANDOM 1"));
        // Of WireGuard, and a length that lies.
        bytes.extend(secrets(0x5747_4b4c, b"other"));
        bytes.extend(order.block(0x0a, &[order.u32(0x544c_534b), order.u32(9999)].concat()));
        bytes.extend(order.enhanced(0, 1, 3, b"abc"));
        bytes.extend(secrets(0x544c_534b, b"CLIENT_RANDOM 2\n"));
        let mut file = open_bytes(&bytes).expect("a capture");
        assert!(file.advance().expect("whole blocks"));
        assert_eq!(file.take_tls_secrets().as_deref(), Some(&b"CLIENT_RANDOM 1\n"[..]));
        assert_eq!(file.take_tls_secrets(), None);
        assert!(!file.advance().expect("whole blocks"));
        assert_eq!(file.take_tls_secrets().as_deref(), Some(&b"CLIENT_RANDOM 2\n\n"[..]));
        assert_eq!((file.counters().frames, file.counters().bad_blocks), (1, 1));
    }
}

#[test]
fn a_new_section_has_its_own_order_and_interfaces() {
    let mut bytes = LITTLE.section();
    bytes.extend(LITTLE.interface(1, 0, &[]));
    bytes.extend(LITTLE.enhanced(0, 1, 1, b"a"));
    bytes.extend(BIG.section());
    bytes.extend(BIG.interface(101, 0, &[]));
    bytes.extend(BIG.enhanced(0, 2, 1, b"b"));
    let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
    assert!(error.is_none());
    assert_eq!(seen, [(1000, 1, 1, b"a".to_vec()), (2000, 101, 1, b"b".to_vec())]);
}

#[test]
fn a_clock_that_no_number_can_hold_neither_panics_nor_stops_the_file() {
    for exponent in [0x7f, 0xff, 0xc0, 19, 0x80, 0] {
        let mut bytes = LITTLE.section();
        bytes.extend(LITTLE.interface(1, 0, &[(9, &[exponent]), (14, &LITTLE.i64(i64::MAX))]));
        bytes.extend(LITTLE.interface(1, 0, &[(9, &[exponent]), (14, &[1])]));
        bytes.extend(LITTLE.enhanced(0, u64::MAX, 1, b"a"));
        bytes.extend(LITTLE.enhanced(1, u64::MAX, 1, b"a"));
        let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        assert!(error.is_none());
        assert_eq!(seen.len(), 2, "{exponent}");
    }
}

#[test]
fn gzip_is_known_by_its_bytes_and_may_have_several_members() {
    let plain = three_frames();
    let (expected, _) = read_all(&mut open_bytes(&plain).expect("a capture"));
    let packed = [gzip(&plain[..50]), gzip(&plain[50..])].concat();
    for bytes in [gzip(&plain), packed] {
        let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        assert!(error.is_none());
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_file_cut_anywhere_gives_what_came_before_and_one_error() {
    let plain = three_frames();
    for length in 24..plain.len() {
        let mut file = open_bytes(&plain[..length]).expect("a capture");
        let (seen, error) = read_all(&mut file);
        let whole = (length - 24) / 56;
        assert_eq!(seen.len(), whole);
        if (length - 24) % 56 == 0 {
            assert!(error.is_none(), "{length}");
        } else {
            let Some(Error::Cut { frames, offset, .. }) = error else { panic!("{length}: {error:?}") };
            assert_eq!((frames, offset), (whole as u64, 24 + 56 * whole as u64));
        }
        assert!(matches!(file.next_frame(), Ok(None)), "an error twice");
    }
}

#[test]
fn gzip_cut_anywhere_gives_an_error_and_never_a_wrong_frame() {
    let plain = three_frames();
    let (expected, _) = read_all(&mut open_bytes(&plain).expect("a capture"));
    let packed = gzip(&plain);
    for length in 2..packed.len() {
        match open_bytes(&packed[..length]) {
            Ok(mut file) => {
                let (seen, error) = read_all(&mut file);
                assert!(expected.starts_with(&seen));
                assert!(matches!(error, Some(Error::Cut { .. })), "{length}: {error:?}");
            }
            Err(error) => assert!(matches!(error, Error::NotACapture { .. }), "{length}: {error}"),
        }
    }
}

#[test]
fn a_captured_length_that_lies_is_a_cut_and_one_that_is_only_large_is_passed_over() {
    let mut bytes = three_frames();
    let lie = bytes.len() as u64;
    bytes.extend(LITTLE.record(1, 0, 0, b"abc"));
    let place = lie as usize + 8;
    bytes[place..place + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
    assert_eq!(seen.len(), 3);
    let Some(Error::Cut { frames: 3, offset, .. }) = error else { panic!("{error:?}") };
    assert_eq!(offset, lie);

    let mut bytes = three_frames();
    bytes.extend(LITTLE.record(1, 0, 0, &vec![9; 1_000_000]));
    bytes.extend(LITTLE.record(2, 0, 0, b"after"));
    let mut file = open_bytes(&bytes).expect("a capture");
    let (seen, error) = read_all(&mut file);
    assert!(error.is_none());
    assert_eq!((seen.len(), file.counters().oversized), (4, 1));
    assert_eq!(seen[3].3, b"after");
}

#[test]
fn a_large_block_is_passed_over_and_a_bad_one_costs_only_itself() {
    let mut bytes = LITTLE.section();
    bytes.extend(LITTLE.interface(1, 0, &[]));
    bytes.extend(LITTLE.enhanced(0, 1, 1, &vec![1; 300_000]));
    bytes.extend(LITTLE.enhanced(0, 1, 1, &vec![1; 900_000]));
    bytes.extend(LITTLE.block(4, &vec![1; 900_000]));
    // Of an interface that is not there, twice, and with a length inside that its block cannot hold.
    bytes.extend(LITTLE.enhanced(7, 1, 1, b"a"));
    bytes.extend(LITTLE.old_packet(7, 1, b"a"));
    let mut short = LITTLE.enhanced(0, 1, 1, b"abcd");
    short[20..24].copy_from_slice(&4000_u32.to_le_bytes());
    bytes.extend(short);
    bytes.extend(LITTLE.enhanced(0, 1, 1, b"after"));
    let mut file = open_bytes(&bytes).expect("a capture");
    let (seen, error) = read_all(&mut file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].3, b"after");
    let Counters { frames, bad_blocks, oversized, .. } = file.counters();
    assert_eq!((frames, bad_blocks, oversized), (1, 3, 2));
}

#[test]
fn block_lengths_that_disagree_end_the_file() {
    for (place, value) in [(4_usize, 8_u32), (4, 44), (36, 0)] {
        let mut bytes = LITTLE.section();
        bytes.extend(LITTLE.interface(1, 0, &[]));
        let start = bytes.len();
        bytes.extend(LITTLE.enhanced(0, 1, 1, b"abcdefgh"));
        bytes.extend(LITTLE.enhanced(0, 1, 1, b"abcdefgh"));
        bytes[start + place..start + place + 4].copy_from_slice(&value.to_le_bytes());
        let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        assert!(seen.is_empty(), "{place}");
        let Some(Error::Cut { frames: 0, offset, .. }) = error else { panic!("{place}: {error:?}") };
        assert_eq!(offset, start as u64);
    }
}

#[test]
fn a_file_without_frames_is_fine_and_a_file_without_bytes_is_no_capture() {
    for bytes in [LITTLE.pcap(MICROSECONDS, 1), BIG.section(), gzip(&LITTLE.section())] {
        let mut file = open_bytes(&bytes).expect("a capture");
        assert!(matches!(file.next_frame(), Ok(None)));
    }
    for (bytes, looks_like) in [
        (&b""[..], LooksLike::Empty),
        (b"<html>", LooksLike::Format("a web page (perhaps the error page of a download)")),
        (b"\xa1\xb2", LooksLike::Unknown),
        (b"INVITE", LooksLike::Text),
    ] {
        match open_bytes(bytes) {
            Err(Error::NotACapture { looks_like: found, .. }) => assert_eq!(found, looks_like),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
    let packed_text = gzip(b"hello");
    assert!(matches!(open_bytes(&packed_text), Err(Error::NotACapture { looks_like: LooksLike::Text, .. })));
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("none.pcap");
    match PcapFile::open(&path) {
        Err(error @ Error::Io { .. }) => assert!(error.to_string().contains("none.pcap")),
        other => panic!("{other:?}"),
    }
    // A folder opens but cannot be read.
    assert!(matches!(PcapFile::open(folder.path()), Err(Error::Io { .. })));
}

/// Gives its bytes one at a time, and an error at the end.
struct Slow(std::vec::IntoIter<u8>, Option<io::ErrorKind>);

impl Read for Slow {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match (self.0.next(), space.first_mut()) {
            (Some(byte), Some(place)) => {
                *place = byte;
                Ok(1)
            }
            (None, _) => self.1.map_or(Ok(0), |kind| Err(kind.into())),
            (_, None) => Ok(0),
        }
    }
}

#[test]
fn a_pipe_that_gives_a_byte_at_a_time_gives_the_same_frames() {
    let mut next = LITTLE.section();
    next.extend(LITTLE.interface(1, 0, &[]));
    next.extend(LITTLE.enhanced(0, 1, 1, b"abcdefgh"));
    for bytes in [three_frames(), next, gzip(&three_frames())] {
        let (expected, _) = read_all(&mut open_bytes(&bytes).expect("a capture"));
        let slow = Slow(bytes.into_iter(), None);
        let (seen, error) = read_all(&mut PcapFile::from_reader("-", slow).expect("a capture"));
        assert!(error.is_none());
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_disk_that_fails_is_no_damaged_file() {
    let slow = Slow(three_frames().into_iter(), Some(io::ErrorKind::TimedOut));
    let (seen, error) = read_all(&mut PcapFile::from_reader("x", slow).expect("a capture"));
    assert_eq!(seen.len(), 3);
    assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
}

#[test]
fn frames_survive_the_edges_of_the_buffer() {
    let mut bytes = LITTLE.pcap(MICROSECONDS, 1);
    let sizes = [1_usize, 1500, 65_535, 200_000, 262_144, 3, 100_000, 262_144, 77];
    for (number, size) in sizes.iter().cycle().take(40).enumerate() {
        bytes.extend(LITTLE.record(number as u32, 0, *size as u32, &vec![number as u8; *size]));
    }
    let (seen, error) = read_all(&mut open_bytes(&bytes).expect("a capture"));
    assert!(error.is_none());
    assert_eq!(seen.len(), 40);
    for (number, (frame, size)) in seen.iter().zip(sizes.iter().cycle()).enumerate() {
        assert_eq!(frame.3, vec![number as u8; *size]);
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(
        start in 0_usize..4,
        rest in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = match start {
            0 => LITTLE.pcap(MICROSECONDS, 1),
            1 => three_frames(),
            2 => BIG.section(),
            _ => {
                let mut bytes = LITTLE.section();
                bytes.extend(LITTLE.interface(1, 0, &[(9, &[9]), (14, &[0; 8])]));
                bytes.extend(LITTLE.enhanced(0, 1, 1, b"abcdefgh"));
                bytes.extend(LITTLE.old_packet(0, 1, b"abc"));
                bytes.extend(LITTLE.simple(9, b"simp"));
                bytes
            }
        };
        bytes.extend(rest);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(mut file) = open_bytes(&bytes) {
            let (seen, _) = read_all(&mut file);
            prop_assert_eq!(seen.len() as u64, file.counters().frames);
            prop_assert!(matches!(file.next_frame(), Ok(None)));
        }
    }
}
