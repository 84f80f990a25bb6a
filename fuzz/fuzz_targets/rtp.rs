//! RTP, redundant audio data and telephone events: no panic; what is read can be counted, and what is missing adds up.
#![no_main]

use decode::Timestamp;
use decode::rtp::loss::Watch;
use decode::rtp::timing::Timing;
use decode::rtp::{self, dtmf, stream::Stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut detector = dtmf::Detector::default();
    let mut state: Option<(Stream, Watch, Timing)> = None;
    let mut taken = 0u64;
    let mut at = Timestamp::from_millis(0);
    for datagram in bytes.chunks(40) {
        // Time goes on by up to a quarter of a second, as the bytes say.
        at = at.plus_millis(i64::from(datagram.last().copied().unwrap_or(20)));
        if let Ok(packet) = rtp::parse(datagram) {
            assert!(packet.payload.len() + 12 <= datagram.len());
            let (stream, watch, timing) = state
                .get_or_insert_with(|| (Stream::new(packet.sequence), Watch::new(at), Timing::default()));
            let arrival = stream.push(packet.sequence);
            watch.count(stream, packet.sequence, arrival, at);
            if timing.push(packet.timestamp, 8000, at) {
                watch.note_late();
            }
            if packet.marker {
                watch.note_drops(at);
            }
            taken += 1;
            assert_eq!(stream.received() + stream.duplicates(), taken);
            let _ = detector.push(packet.payload, packet.timestamp, 8000, at);
            if let Some(blocks) = rtp::red::parse(packet.payload) {
                let all: usize = blocks.earlier().chain([blocks.own()]).map(|block| block.payload.len()).sum();
                assert!(all < packet.payload.len());
                for block in blocks.earlier() {
                    let timestamp = packet.timestamp.wrapping_sub(block.offset);
                    if detector.is_news(timestamp) {
                        let _ = detector.push(block.payload, timestamp, 8000, at);
                    }
                }
            }
        }
        let _ = detector.poll(8000, at);
    }
    if let Some((stream, watch, _)) = state {
        let found = watch.finish();
        let listed: u64 = found.gaps.iter().map(|gap| u64::from(gap.packets)).sum();
        assert_eq!(found.lost_network + found.lost_capture, stream.lost());
        assert_eq!(found.bursts.lost + found.bursts.lost_alone, stream.lost());
        assert!(listed == stream.lost() || found.gaps_left_out > 0);
        let rows: u64 = found
            .seconds
            .rows
            .iter()
            .map(|row| u64::from(row.lost_network) + u64::from(row.lost_capture))
            .sum();
        assert_eq!(rows, stream.lost());
    }
});
