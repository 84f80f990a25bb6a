//! Packets built from arbitrary bytes go through both passes of the playout: nothing panics, and the samples that come
//! out are as many as the timeline says. Then once more as a listener gets them while the call runs: whole frames, in order.

#![no_main]

use decode::playout::{Bounds, Live, Renderer, Survey};
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use libfuzzer_sys::fuzz_target;

/// Longest timeline played, in seconds: the rest would only be silence that costs time.
const PLAYED_S: i64 = 60;
/// Bytes of one packet before its payload.
const HEAD: usize = 14;

/// What the packets are coded in; the byte that chooses is taken modulo their number.
fn formats() -> Vec<Format> {
    let names =
        ["PCMU", "PCMA", "CN", "telephone-event", "G729", "GSM", "L16", "iLBC", "G722", "opus", "L16"];
    let rates = [8_000, 8_000, 8_000, 8_000, 8_000, 8_000, 16_000, 0, 8_000, 48_000, 11_025];
    let format = |(number, (name, clock_rate)): (usize, (&str, u32))| Format {
        payload_type: 96 + number as u8,
        codec: Codec::from_name(name),
        clock_rate,
        channels: number as u8 % 3,
        fmtp: String::new(),
    };
    names.into_iter().zip(rates).enumerate().map(format).collect()
}

/// One packet: flags, time step, source, sequence, timestamp, length, then the payload.
fn next<'a>(data: &mut &'a [u8], now: &mut i64, formats: &'a [Format]) -> Option<(Party, AudioFrame<'a>)> {
    let (head, rest) = data.split_first_chunk::<HEAD>()?;
    let [flags, t0, t1, t2, t3, ssrc, s0, s1, r0, r1, r2, r3, length, scale] = *head;
    let step = i64::from(i32::from_be_bytes([t0, t1, t2, t3]));
    *now = now.saturating_add(if flags & 2 == 0 { step } else { step.saturating_mul(1_000) });
    let length = (usize::from(length) * (usize::from(scale % 4) + 1)).min(rest.len());
    let (payload, after) = rest.split_at(length);
    *data = after;
    let frame = AudioFrame {
        at: Timestamp::from_nanos(*now),
        ssrc: u32::from(ssrc % 4),
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([r0, r1, r2, r3]),
        marker: flags & 4 != 0,
        format: formats.get(usize::from(flags >> 3) % formats.len())?,
        payload,
    };
    Some((if flags & 1 == 0 { Party::Near } else { Party::Far }, frame))
}

fuzz_target!(|data: &[u8]| {
    let formats = formats();
    let begin = 1_800_000_000_000_000_000;
    let mut survey = Survey::new();
    let (mut rest, mut now) = (data, begin);
    while let Some((party, frame)) = next(&mut rest, &mut now, &formats) {
        match frame.payload.len() {
            251 => survey.handle_pause(frame.at),
            252 => survey.handle_resume(frame.at),
            253 => survey.handle_hold(frame.at, party),
            254 => survey.handle_retrieve(frame.at, party),
            255 => survey.handle_drops(frame.at, 1),
            _ => {}
        }
        survey.handle_frame(party, &frame);
    }
    let open = survey.clone().finish(Bounds::default());
    let end = Some(open.end().min(open.start.plus_millis(PLAYED_S * 1_000)));
    let timeline = survey.finish(Bounds { start: Some(open.start), end });
    assert!(timeline.gaps.iter().all(|gap| gap.start_ms < gap.end_ms));

    let mut renderer = Renderer::new(&timeline);
    let mut played = 0;
    let mut count = |renderer: &mut Renderer<'_>| {
        while let Some(block) = renderer.poll_block() {
            assert_eq!((block.start, block.near.len()), (played, block.far.len()));
            played += block.near.len() as u64;
        }
        played
    };
    let (mut rest, mut now) = (data, begin);
    while let Some((party, frame)) = next(&mut rest, &mut now, &formats) {
        renderer.push(party, &frame);
        count(&mut renderer);
    }
    renderer.finish();
    assert_eq!(count(&mut renderer), timeline.samples);

    let rate = [8_000, 16_000, 48_000][data.len() % 3];
    let mut live = Live::new(open.start, rate, open.start);
    let (mut rest, mut now, mut next_start) = (data, begin, 0);
    while let Some((party, frame)) = next(&mut rest, &mut now, &formats) {
        match frame.payload.len() {
            251 => live.handle_pause(frame.at),
            252 => live.handle_resume(frame.at),
            _ => {}
        }
        live.handle_frame(party, &frame);
        live.handle_time(frame.at);
        while let Some(block) = live.poll_frame() {
            assert!(block.start >= next_start && block.near.len() == block.far.len());
            assert_eq!(block.near.len(), rate as usize / 50);
            next_start = block.start + block.near.len() as u64;
        }
        while live.poll_silent().is_some() {}
    }
});
