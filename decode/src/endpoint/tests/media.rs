//! What is heard and said in a call.

use super::*;
use crate::rtp;

fn rtp(sequence: u16) -> Vec<u8> {
    let mut out = vec![0x80, 8];
    out.extend(sequence.to_be_bytes());
    out.extend((160 * u32::from(sequence)).to_be_bytes());
    out.extend([0, 0, 0, 7]);
    out.extend([0x2a; 160]);
    out
}

fn from_pbx() -> Endpoint {
    Endpoint::v4([192, 0, 2, 9], 4000)
}

/// A tone of so many milliseconds, as a WAV file of 16-bit PCM.
pub(super) fn announcement(ms: usize) -> Arc<Announcement> {
    let data: Vec<u8> = (0..8 * ms).flat_map(|n| (((n % 20) as i16 - 10) * 800).to_le_bytes()).collect();
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    Arc::new(Announcement::from_wav(&file).expect("a WAV file"))
}

#[test]
fn media_is_taken_from_the_parties_of_a_call_alone() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.agent.handle_media(0, false, from_pbx(), &rtp(1), bench.now),
        Taken::Stranger,
        "no call has it"
    );
    let tag = bench.call("");
    assert_eq!(bench.agent.handle_media(0, false, from_pbx(), &rtp(1), bench.now), Taken::Taken);
    let stranger = Endpoint::v4([203, 0, 113, 5], 4000);
    assert_eq!(bench.agent.handle_media(0, false, stranger, &rtp(2), bench.now), Taken::Stranger);
    assert_eq!(
        bench.agent.handle_media(1, false, from_pbx(), &rtp(2), bench.now),
        Taken::Stranger,
        "another pair"
    );
    assert_eq!(bench.agent.handle_media(999, true, from_pbx(), &rtp(2), bench.now), Taken::Stranger);
    bench.give(&Bench::text("BYE", 2, &tag, ""));
    assert_eq!(
        bench.agent.handle_media(0, false, from_pbx(), &rtp(2), bench.now),
        Taken::Stranger,
        "it is over"
    );
    assert_eq!(bench.agent.counts().foreign_media, 5);
}

#[test]
fn a_call_of_which_nothing_is_heard_is_hung_up() {
    let mut bench = Bench::with(|options| options.silence_s = 30);
    bench.call("");
    for n in 0..4 {
        assert!(bench.wait_lines(29_000).is_empty(), "{n}");
        bench.agent.handle_media(0, false, from_pbx(), &rtp(n), bench.now);
        // A stranger's packets do not keep it alive.
        bench.agent.handle_media(0, false, Endpoint::v4([203, 0, 113, 5], 1), &rtp(n), bench.now);
    }
    let sent = bench.wait_lines(30_000);
    assert_eq!(sent, [(30_000, "BYE sip:pbx@192.0.2.9:5060 SIP/2.0".to_owned())]);
    assert_eq!(bench.agent.counts().silent, 1);
    bench.wait(64_000);
    bench.expect_empty();
}

#[test]
fn on_hold_a_call_may_be_silent_for_long() {
    let mut bench = Bench::with(|options| options.silence_s = 30);
    let tag = bench.call("");
    let held = format!("\r\n\r\n{OFFER}a=inactive\r\n");
    bench.give(&Bench::text("UPDATE", 2, &tag, &held));
    assert!(bench.wait_lines(3_600_000).is_empty());
    bench.give(&Bench::text("UPDATE", 3, &tag, &format!("\r\n\r\n{OFFER}")));
    assert!(bench.wait_lines(29_000).is_empty());
    assert_eq!(bench.wait_lines(1_100).len(), 1);
}

#[test]
fn nothing_is_sent_unless_silence_is_wanted_and_never_an_echo() {
    let mut bench = Bench::new();
    bench.call("");
    for n in 0..50 {
        bench.agent.handle_media(0, false, from_pbx(), &rtp(n), bench.now);
        bench.wait(20);
    }
    assert!(bench.packets(false).is_empty());

    let mut bench = Bench::with(|options| options.sends = Sends::Silence);
    let answer = bench.give(&Bench::invite("")).remove(0);
    assert!(answer.contains("a=sendrecv"));
    bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
    let mut payloads = Vec::new();
    for n in 0..50 {
        bench.agent.handle_media(0, false, Endpoint::v4([192, 0, 2, 9], 4444), &rtp(n), bench.now);
        bench.now = bench.now.plus_millis(20);
        bench.agent.handle_timeout(bench.now);
        while let Some(output) = bench.agent.poll_output() {
            if let Output::Media { pair, is_rtcp: false, to, bytes } = output {
                assert_eq!((pair, to.port), (0, 4444), "back to where it comes from");
                let packet = rtp::parse(&bytes).expect("RTP");
                payloads.push((packet.marker, packet.timestamp, packet.payload.to_vec()));
            }
        }
    }
    assert_eq!(payloads.len(), 51, "one at once, and one every 20 ms");
    assert!(payloads.iter().all(|(_, _, payload)| payload == &[0xd5; 160]), "digital silence");
    assert_eq!(payloads.iter().filter(|(marker, ..)| *marker).count(), 1);
    assert!(payloads.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) == 160));
}

#[test]
fn after_a_standstill_packets_are_not_made_up_for() {
    let mut bench = Bench::with(|options| options.sends = Sends::Silence);
    bench.call("");
    bench.packets(false);
    bench.now = bench.now.plus_millis(10_000);
    bench.agent.handle_timeout(bench.now);
    assert!(bench.packets(false).len() < 3);
}

#[test]
fn an_announcement_is_said_and_the_recording_begins_before_or_after_it() {
    for (record_from, first) in
        [(RecordFrom::Start, Taken::Taken), (RecordFrom::AnnouncementEnd, Taken::Early)]
    {
        let mut bench = Bench::with(|options| {
            options.announcement = Some(announcement(1_000));
            options.record_from = record_from;
        });
        bench.call("");
        assert_eq!(bench.agent.handle_media(0, false, from_pbx(), &rtp(1), bench.now), first);
        let mut said = 0;
        for _ in 0..60 {
            bench.now = bench.now.plus_millis(20);
            bench.agent.handle_timeout(bench.now);
            let packets = bench.packets(false);
            assert!(
                packets.iter().all(|packet| rtp::parse(packet).is_ok_and(|rtp| rtp.payload != [0xd5; 160]))
            );
            said += packets.len();
        }
        assert_eq!(said, 50, "then nothing more is sent");
        assert_eq!(bench.agent.handle_media(0, false, from_pbx(), &rtp(2), bench.now), Taken::Taken);
    }
}

#[test]
fn what_cannot_be_announced_is_recorded_and_counted() {
    let cases = [OFFER.replace("8 0 101", "18"), format!("{OFFER}a=sendonly\r\n")];
    for offer in cases {
        let mut bench = Bench::with(|options| {
            options.announcement = Some(announcement(1_000));
            options.record_from = RecordFrom::AnnouncementEnd;
        });
        let answer = bench.give(&Bench::text("INVITE", 1, "", &format!("\r\n\r\n{offer}"))).remove(0);
        bench.give(&Bench::text("ACK", 1, &tag_of(&answer), ""));
        assert_eq!(bench.agent.handle_media(0, false, from_pbx(), &rtp(1), bench.now), Taken::Taken);
        assert_eq!(bench.agent.counts().not_announced, 1);
    }
    // Where it can be chosen, an encoding is chosen that it can be said in.
    let mut bench = Bench::with(|options| options.announcement = Some(announcement(1_000)));
    let offer = OFFER.replace("8 0 101", "18 0");
    let answer = bench.give(&Bench::text("INVITE", 1, "", &format!("\r\n\r\n{offer}"))).remove(0);
    assert!(answer.contains("RTP/AVP 0\r\n"), "{answer}");
}

#[test]
fn reports_go_out_every_five_seconds_and_a_goodbye_at_the_end() {
    let mut bench = Bench::new();
    let tag = bench.call("");
    bench.agent.handle_media(0, false, from_pbx(), &rtp(1), bench.now);
    bench.now = bench.now.plus_millis(5_000);
    bench.agent.handle_timeout(bench.now);
    assert_eq!(bench.packets(true).len(), 1);
    bench.agent.handle_message(&bench.path, Bench::text("BYE", 2, &tag, "").as_bytes(), bench.now);
    let last = bench.packets(true).remove(0);
    let mut gone = false;
    rtp::rtcp::read(&last, |item| gone |= matches!(item, rtp::rtcp::Item::Goodbye { .. }));
    assert!(gone);
}
