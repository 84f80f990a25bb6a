//! How much CPU recording costs: calls of G.711 both ways go through a fresh archive as fast as it takes them.
//!
//! `cargo run --release -p earwitness-store --example throughput -- [CALLS] [SECONDS] [FOLDER]` (500 calls of 30 s in a
//! temporary folder when nothing is said). Packets are made on the fly; what they cost to make is told apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::Cleared;
use store::{Archive, Direction, Error, RecordingFacts, RecordingId, Source, State, Writer};

const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const PACKET_MS: u64 = 20;
const PAYLOAD_LEN: usize = 160;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let calls: u64 = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let (_temporary, dir) = match arguments.next() {
        Some(dir) => (None, PathBuf::from(dir)),
        None => {
            let temporary = tempfile::tempdir()?;
            let dir = temporary.path().join("archive");
            (Some(temporary), dir)
        }
    };
    let megabytes = (calls * seconds * 1000 / PACKET_MS * 2 * PAYLOAD_LEN as u64) as f64 / 1e6;
    let (archive, _) = Archive::open_or_create(&dir)?;

    let cpu = cpu_time();
    let made = run(calls, seconds, &mut |_, _, _| Ok(()))?;
    println!("{made} packets, {megabytes:.0} MB of payload; making them: {}", since(cpu));

    let (cpu, wall) = (cpu_time(), Instant::now());
    let mut writers =
        (0..calls).map(|call| archive.create(facts(call))).collect::<Result<Vec<Writer>, Error>>()?;
    run(calls, seconds, &mut |call, party, frame| {
        writers[call as usize].append(&Cleared::for_test(party, &frame))
    })?;
    for (call, writer) in writers.into_iter().enumerate() {
        let mut facts = facts(call as u64);
        facts.ended = Some(facts.started.plus_millis(seconds as i64 * 1000));
        facts.duration_ms = seconds * 1000;
        writer.finish(facts)?;
    }
    let handed_in = wall.elapsed();
    archive.sync()?;
    println!(
        "recorded: {}, {:.2} s to hand in, {:.2} s until all was on disk",
        since(cpu),
        handed_in.as_secs_f64(),
        wall.elapsed().as_secs_f64()
    );
    let (cpu, wall) = (cpu_time(), Instant::now());
    let bad = archive.verify(None).filter(store::Finding::is_problem).count();
    println!(
        "verified, every chunk opened: {}, {:.2} s; {bad} problems",
        since(cpu),
        wall.elapsed().as_secs_f64()
    );
    archive.close()?;
    println!("{:.0} MB on disk, {} kB of memory at the most", disk_use(&dir)? as f64 / 1e6, memory_kb());
    Ok(())
}

type Keep<'a> = &'a mut dyn FnMut(u64, Party, AudioFrame<'_>) -> Result<(), Error>;

/// Makes the packets of all calls in the order in which a mirror port would show them.
fn run(calls: u64, seconds: u64, keep: Keep<'_>) -> Result<u64, Error> {
    let format =
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() };
    let mut payload = [0x55_u8; PAYLOAD_LEN];
    let mut packets = 0_u64;
    for i in 0..seconds * 1000 / PACKET_MS {
        for call in 0..calls {
            for party in [Party::Near, Party::Far] {
                payload[..8].copy_from_slice(&packets.to_le_bytes());
                let frame = AudioFrame {
                    at: START.plus_millis((i * PACKET_MS) as i64).plus_nanos((call * 1000) as i64),
                    ssrc: (call * 2) as u32 + party.index() as u32,
                    sequence: i as u16,
                    timestamp: (i * PAYLOAD_LEN as u64) as u32,
                    marker: i == 0,
                    format: &format,
                    payload: &payload,
                };
                keep(call, party, frame)?;
                packets += 1;
            }
        }
    }
    Ok(packets)
}

fn facts(call: u64) -> RecordingFacts {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&call.to_be_bytes());
    RecordingFacts {
        id: RecordingId::from_parts(START, random),
        call: format!("call-{call}"),
        segment: 1,
        state: State::Recording,
        source: Source::Mirror,
        extension: format!("{}", 1000 + call),
        extension_name: None,
        outside_number: None,
        other_party: None,
        other_party_name: None,
        direction: Direction::Inbound,
        started: START,
        answered: Some(START),
        ended: None,
        duration_ms: 0,
        ring_ms: 0,
        hold_ms: 0,
        talk_ms: 0,
        tracks: vec![],
        pauses: vec![],
        holds: vec![],
        one_way: vec![],
        dtmf: vec![],
        user: None,
        user_name: None,
        business_unit: None,
        units_above: Vec::new(),
        site: None,
        agent: None,
        account_code: None,
        hunt_group: None,
        trunk: None,
        ddi: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: vec![],
        fields: Default::default(),
        held: false,
        sip_call_ids: vec![],
        ties: Vec::new(),
        rule: "all".into(),
        named_by: None,
        signalling: store::Signalling::Sip,
        foreign_packets: 0,
        joined_late: false,
        shares_media: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
    }
}

/// CPU time of this process so far, all threads: in the program and in the kernel. `/proc/self/stat` counts in ticks of
/// 10 ms.
fn cpu_time() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let mut ticks =
        after_name.split(' ').skip(11).map(|text| text.parse::<f64>().unwrap_or_default() / 100.0);
    (ticks.next().unwrap_or_default(), ticks.next().unwrap_or_default())
}

fn since((user, system): (f64, f64)) -> String {
    let (user, system) = (cpu_time().0 - user, cpu_time().1 - system);
    format!("{:.2} CPU s ({user:.2} in the program, {system:.2} in the kernel)", user + system)
}

fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn disk_use(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { disk_use(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
