//! Segments in every order, and the stream that comes of them.

use proptest::prelude::*;

use super::*;
use crate::net::Endpoint;

const SYN: u8 = 1;
const FIN: u8 = 2;
const RST: u8 = 4;

fn flow(number: u32) -> Flow {
    let [a, b, c, d] = number.to_be_bytes();
    Flow { src: Endpoint::v4([10, a, b, c], 5060 + u16::from(d)), dst: Endpoint::v4([192, 0, 2, 2], 5060) }
}

fn segment(flow: Flow, at_ms: i64, sequence: u32, flags: u8, payload: &[u8]) -> Datagram<'_> {
    Datagram {
        at: Timestamp::from_millis(at_ms),
        flow,
        transport: Transport::Tcp {
            sequence,
            syn: flags & SYN != 0,
            fin: flags & FIN != 0,
            rst: flags & RST != 0,
        },
        payload,
        truncated: false,
        ethernet: None,
    }
}

/// A reader that takes all it is given.
#[derive(Default)]
struct Reader {
    reassembler: Reassembler,
    taken: Vec<u8>,
    out_of_sync: usize,
    ended: bool,
}

impl Reader {
    fn hears(&mut self, at_ms: i64, sequence: u32, flags: u8, payload: &[u8]) {
        let datagram = segment(flow(1), at_ms, sequence, flags, payload);
        if let Some(mut stream) = self.reassembler.handle_segment(&datagram) {
            self.taken.extend_from_slice(stream.bytes());
            self.ended = stream.ended();
            if !stream.in_sync() {
                self.out_of_sync += 1;
                stream.mark_in_sync();
            }
            stream.consume(usize::MAX);
        }
    }

    #[track_caller]
    fn has(&self, taken: &str, out_of_sync: usize) {
        assert_eq!(String::from_utf8_lossy(&self.taken), taken);
        assert_eq!(self.out_of_sync, out_of_sync, "out of sync");
    }
}

#[test]
fn a_stream_from_its_syn_to_its_fin_is_in_sync_and_ends() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 100, 0, b"INVITE ");
    reader.hears(2, 107, 0, b"");
    reader.hears(3, 107, FIN, b"sip:a");
    reader.has("INVITE sip:a", 0);
    assert!(reader.ended);
    // Late copies are known, and a new connection on the same ports begins at its SYN.
    reader.hears(4, 100, 0, b"INVITE ");
    reader.has("INVITE sip:a", 0);
    reader.hears(5, 5000, SYN, b"");
    reader.hears(6, 5001, 0, b"BYE");
    reader.has("INVITE sip:aBYE", 0);
}

#[test]
fn segments_out_of_order_wait_for_the_gap_to_close() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 106, 0, b"gh");
    reader.hears(1, 103, 0, b"def");
    reader.has("", 0);
    reader.hears(2, 100, 0, b"abc");
    reader.has("abcdefgh", 0);
    assert_eq!(reader.reassembler.counts().early, 2);
    assert_eq!(reader.reassembler.bytes, 0);
}

#[test]
fn of_two_copies_of_a_byte_the_first_stays() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 103, 0, b"DE");
    reader.hears(1, 107, 0, b"H");
    reader.hears(2, 102, 0, b"cdefgh");
    reader.hears(3, 100, 0, b"abX");
    reader.has("abcDEfgH", 0);
    reader.hears(4, 100, 0, b"........i");
    reader.has("abcDEfgHi", 0);
}

#[test]
fn the_number_wraps_without_notice() {
    let mut reader = Reader::default();
    reader.hears(0, u32::MAX - 2, SYN, b"");
    reader.hears(1, 1, 0, b"cd");
    reader.hears(1, u32::MAX - 1, 0, b"\x61");
    reader.has("a", 0);
    reader.hears(2, u32::MAX, 0, b"-b");
    reader.has("a-bcd", 0);
}

#[test]
fn a_capture_that_begins_in_the_middle_is_out_of_sync() {
    let mut reader = Reader::default();
    reader.hears(0, 5000, 0, b"length: 0\r\n\r\n");
    reader.hears(1, 5013, 0, b"BYE ");
    reader.has("length: 0\r\n\r\nBYE ", 1);
}

#[test]
fn a_gap_that_never_fills_is_skipped_by_time_and_the_reader_is_told() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(0, 100, 0, b"ab");
    reader.hears(1, 105, 0, b"fg");
    reader.hears(2900, 107, 0, b"h");
    reader.has("ab", 0);
    reader.hears(3001, 108, 0, b"i");
    reader.has("abfghi", 1);
    // What was missing comes after all: too late.
    reader.hears(3002, 102, 0, b"cde");
    reader.has("abfghi", 1);
    assert_eq!(reader.reassembler.counts().gaps_skipped, 1);
}

#[test]
fn a_syn_that_comes_again_changes_nothing() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 100, 0, b"ab");
    reader.hears(2, 99, SYN, b"");
    reader.hears(3, 102, 0, b"cd");
    reader.has("abcd", 0);
    assert_eq!(reader.reassembler.counts().restarts, 0);
}

#[test]
fn each_gap_has_its_own_time() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(0, 101, 0, b"b");
    reader.hears(0, 103, 0, b"d");
    reader.hears(2900, 100, 0, b"a");
    reader.hears(3100, 104, 0, b"e");
    reader.has("ab", 0);
    reader.hears(5900, 105, 0, b"f");
    reader.has("abdef", 1);
}

#[test]
fn an_overdue_gap_is_found_when_nothing_more_comes() {
    let mut reassembler = Reassembler::new();
    for number in 0..3 {
        assert!(reassembler.handle_segment(&segment(flow(number), 0, 99, SYN, b"")).is_none());
        let early = segment(flow(number), 1000 * i64::from(number), 101, FIN, b"b");
        assert!(reassembler.handle_segment(&early).is_none());
    }
    assert!(reassembler.poll_overdue(Timestamp::from_millis(2999)).is_none());
    for number in [0, 1] {
        let stream = reassembler.poll_overdue(Timestamp::from_millis(4500)).expect("no overdue gap");
        assert_eq!((stream.flow(), stream.bytes()), (flow(number), &b"b"[..]));
        assert!(stream.ended() && !stream.in_sync());
    }
    assert!(reassembler.poll_overdue(Timestamp::from_millis(4500)).is_none());
    assert!(reassembler.poll_overdue(Timestamp::from_millis(9000)).is_some());
}

#[test]
fn too_much_behind_a_gap_skips_it_at_once() {
    let block = [b'x'; 1000];
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    for number in 0..=(GAP_BYTES_MAX / 1000) as u32 {
        assert!(reader.taken.is_empty());
        reader.hears(1, 200 + number * 1000, 0, &block);
    }
    assert_eq!(reader.taken.len(), (GAP_BYTES_MAX / 1000 + 1) * 1000);
    assert_eq!(reader.out_of_sync, 1);

    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    for number in 0..=GAP_PIECES_MAX as u32 {
        reader.hears(1, 101 + 2 * number, 0, b"x");
    }
    reader.has("x", 1);
}

#[test]
fn a_message_that_never_ends_is_thrown_away_at_the_limit() {
    let block = [b'x'; 1024];
    let mut reassembler = Reassembler::new();
    assert!(reassembler.handle_segment(&segment(flow(1), 0, 0, SYN, b"")).is_none());
    let mut out_of_sync = 0;
    for number in 0..1000 {
        let datagram = segment(flow(1), 1, 1 + number * 1024, 0, &block);
        let stream = reassembler.handle_segment(&datagram).expect("bytes in order");
        assert!(stream.bytes().len() <= UNREAD_BYTES_MAX);
        out_of_sync += usize::from(!stream.in_sync());
    }
    assert!(out_of_sync > 0);
    assert_eq!(reassembler.counts().overflows, 3);
    assert!(reassembler.bytes <= UNREAD_BYTES_MAX);
}

#[test]
fn what_the_reader_leaves_stays_until_it_is_consumed() {
    let mut reassembler = Reassembler::new();
    let first = segment(flow(1), 0, 10, 0, b"one\ntw");
    let mut stream = reassembler.handle_segment(&first).expect("bytes");
    stream.consume(4);
    let second = segment(flow(1), 0, 16, 0, b"o\n");
    let mut stream = reassembler.handle_segment(&second).expect("bytes");
    assert_eq!(stream.bytes(), b"two\n");
    stream.consume(4);
    assert!(stream.bytes().is_empty());
    assert_eq!(reassembler.bytes, 0);
}

#[test]
fn an_ignored_direction_is_silent_until_a_new_connection_or_a_long_silence() {
    let mut reassembler = Reassembler::new();
    reassembler.handle_segment(&segment(flow(1), 0, 0, SYN, b"GET /")).expect("bytes").ignore();
    for number in 0..100 {
        assert!(reassembler.handle_segment(&segment(flow(1), 10, 6 + number, 0, b"x")).is_none());
    }
    assert_eq!((reassembler.counts().ignored, reassembler.bytes), (100, 0));
    assert!(reassembler.handle_segment(&segment(flow(1), 20, 7000, SYN, b"REGISTER")).is_some());
    reassembler.handle_segment(&segment(flow(1), 30, 7009, 0, b"x")).expect("bytes").ignore();
    let later = 30 + IGNORED_IDLE_MS as i64 + 1;
    let stream =
        reassembler.handle_segment(&segment(flow(1), later, 9000, 0, b"x")).is_some_and(|s| !s.in_sync());
    assert!(stream, "a new user of the ports is not looked at");
}

#[test]
fn a_reset_ends_a_stream_and_a_forged_one_costs_no_more_than_the_sync() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 100, 0, b"ab");
    reader.hears(2, 102, RST, b"");
    assert!(reader.ended);
    reader.hears(3, 100, 0, b"ab");
    reader.has("ab", 0);
    reader.hears(4, 102, 0, b"cd");
    reader.has("abcd", 1);
}

#[test]
fn numbers_that_jump_far_are_another_stream() {
    let mut reader = Reader::default();
    reader.hears(0, 99, SYN, b"");
    reader.hears(1, 100, 0, b"ab");
    reader.hears(2, 0x8000_0000, 0, b"cd");
    reader.hears(3, 0x8000_0002, 0, b"ef");
    reader.has("abcdef", 1);
}

#[test]
fn directions_are_bounded_and_the_busy_one_is_not_the_one_forgotten() {
    let mut reassembler = Reassembler::new();
    assert!(reassembler.handle_segment(&segment(flow(0), 0, 0, SYN, b"")).is_none());
    let mut next = 1;
    for number in 1..3 * DIRECTIONS_MAX as u32 {
        assert!(reassembler.handle_segment(&segment(flow(number), 0, 0, SYN, b"")).is_none());
        if number % 1000 == 0 {
            let busy = segment(flow(0), 0, next, 0, b"x");
            let in_sync = reassembler.handle_segment(&busy).is_some_and(|stream| stream.in_sync());
            assert!(in_sync, "forgotten after {number}");
            next += 1;
        }
    }
    assert_eq!(reassembler.directions.len(), DIRECTIONS_MAX);
    assert_eq!(reassembler.clock.len(), DIRECTIONS_MAX);
    assert_eq!(reassembler.counts().evicted, 2 * DIRECTIONS_MAX as u64);
}

#[test]
fn bytes_are_bounded_over_all_directions() {
    let block = vec![b'x'; 60_000];
    let mut reassembler = Reassembler::new();
    for number in 0..4000 {
        assert!(reassembler.handle_segment(&segment(flow(number), 0, 0, 0, &block)).is_some());
        assert!(reassembler.bytes <= BYTES_MAX);
    }
    assert!(reassembler.counts().evicted > 2000);
}

proptest! {
    #[test]
    fn any_cut_order_and_repetition_of_a_stream_gives_the_stream(
        stream in prop::collection::vec(any::<u8>(), 1..400),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..60), 0..60),
        initial in any::<u32>(),
        order in any::<u64>(),
    ) {
        let mut reassembler = Reassembler::new();
        let first = initial.wrapping_add(1);
        prop_assert!(reassembler.handle_segment(&segment(flow(1), 0, initial, SYN, b"")).is_none());
        // Random pieces, then all of it in tens so that nothing is missing, in an order that the seed gives.
        let mut pieces: Vec<(usize, usize)> = cuts
            .iter()
            .map(|(from, length)| (from.index(stream.len()), *length))
            .map(|(from, length)| (from, stream.len().min(from + length)))
            .chain((0..stream.len()).step_by(10).map(|from| (from, stream.len().min(from + 10))))
            .collect();
        let mut state = order;
        for place in (1..pieces.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(place, (state >> 33) as usize % (place + 1));
        }
        let mut taken = Vec::new();
        for (from, to) in pieces {
            let datagram = segment(flow(1), 0, first.wrapping_add(from as u32), 0, &stream[from..to]);
            if let Some(mut given) = reassembler.handle_segment(&datagram) {
                prop_assert!(given.in_sync());
                taken.extend_from_slice(given.bytes());
                given.consume(usize::MAX);
            }
        }
        prop_assert_eq!(taken, stream);
        prop_assert_eq!(reassembler.bytes, 0);
    }

    #[test]
    fn no_segments_break_the_reassembler_and_its_sum_is_right(
        segments in prop::collection::vec(
            (0_u32..3, 0_i64..20_000, 0_u32..3000, 0_u8..8, 0_usize..1500, any::<bool>(), 0_usize..2000),
            0..200,
        )
    ) {
        let block = [7; 1500];
        let mut reassembler = Reassembler::new();
        for (number, at, sequence, flags, length, far, eaten) in segments {
            let sequence = if far { sequence.wrapping_mul(0x0100_0001) } else { sequence };
            let datagram = segment(flow(number), at, sequence, flags, &block[..length]);
            if let Some(mut stream) = reassembler.handle_segment(&datagram) {
                stream.consume(eaten);
                if eaten == 7 {
                    stream.ignore();
                }
            }
            while reassembler.poll_overdue(Timestamp::from_millis(at)).is_some() {}
            let kept: usize = reassembler.directions.values().map(Direction::kept).sum();
            prop_assert_eq!(reassembler.bytes, kept);
            for direction in reassembler.directions.values() {
                let early: usize = direction.early.values().map(Vec::len).sum();
                prop_assert_eq!(direction.early_bytes, early);
                prop_assert!(direction.early.first_key_value().is_none_or(|(place, _)| *place > direction.next));
            }
        }
    }
}
