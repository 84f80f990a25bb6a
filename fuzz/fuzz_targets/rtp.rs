//! RTP, RTCP and telephone events: no panic; what is read can be counted.
#![no_main]

use decode::Timestamp;
use decode::rtp::{self, dtmf, rtcp, stream::Stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut detector = dtmf::Detector::default();
    let mut stream: Option<Stream> = None;
    let mut taken = 0u64;
    for (i, datagram) in bytes.chunks(40).enumerate() {
        let at = Timestamp::from_millis(20 * i as i64);
        assert!(rtcp::sender_reports(datagram).count() <= 32);
        if let Ok(packet) = rtp::parse(datagram) {
            assert!(packet.payload.len() + 12 <= datagram.len());
            let stream = stream.get_or_insert_with(|| Stream::new(packet.sequence));
            stream.push(packet.sequence, packet.timestamp, 8000, at);
            taken += 1;
            assert_eq!(stream.received() + stream.duplicates(), taken);
            let _ = detector.push(packet.payload, packet.timestamp, 8000, at);
        }
        let _ = detector.poll(8000, at);
    }
});
