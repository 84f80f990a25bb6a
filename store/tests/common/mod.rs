//! A call to record: facts and packets whose payload can be recognized.
#![allow(dead_code, reason = "each test binary uses its part of this")]

use std::path::{Path, PathBuf};

use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::Cleared;
use store::{
    Archive, Direction, Error, Mark, Record, RecordingFacts, RecordingId, Source, State, Track, Writer,
};

/// When the calls here begin.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

pub(crate) fn pcmu() -> Format {
    Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() }
}

/// What recordings are re-encoded to.
pub(crate) fn opus() -> Format {
    Format {
        payload_type: 96,
        codec: Codec::from_name("opus"),
        clock_rate: 8000,
        channels: 1,
        fmtp: String::new(),
    }
}

/// Facts of recording `n`, which starts `n` seconds after [`START`].
pub(crate) fn facts(n: u8) -> RecordingFacts {
    let started = START.plus_millis(i64::from(n) * 1000);
    RecordingFacts {
        id: RecordingId::from_parts(started, [n; 10]),
        call: format!("call-{n}"),
        segment: 1,
        state: State::Recording,
        source: Source::Mirror,
        extension: format!("{}", 1000 + u32::from(n)),
        extension_name: Some("Ann".into()),
        outside_number: Some("+4930123456".into()),
        other_party: Some("+4930123456".into()),
        other_party_name: None,
        direction: Direction::Inbound,
        started,
        answered: Some(started),
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
        sip_call_ids: vec![format!("{n}@pbx")],
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

/// The facts at the end of a call of `ms` milliseconds.
pub(crate) fn ended(n: u8, ms: u64) -> RecordingFacts {
    let mut facts = facts(n);
    facts.ended = Some(facts.started.plus_millis(ms as i64));
    facts.duration_ms = ms;
    facts.talk_ms = ms;
    facts.tracks = vec![Track {
        party: Party::Near,
        codec: Codec::Pcmu,
        stored: None,
        clock_rate: 8000,
        ssrcs: vec![u32::from(n)],
        packets: ms / 20,
        decrypted: 0,
        undecryptable: 0,
        no_key: None,
        looks_encrypted: 0,
        lost_network: 0,
        lost_capture: 0,
        reordered: 0,
        duplicates: 0,
        jitter_ms: f64::NAN,
        mos: Some(4.4),
        skew_ppm: 0.25,
        audio_ms: ms,
        quality: store::Quality::default(),
    }];
    facts
}

/// The payload of packet `i` of recording `n`: 160 bytes in which no run of eight occurs elsewhere by chance.
pub(crate) fn payload(n: u8, i: u32) -> Vec<u8> {
    let mut state = u64::from(i) << 8 | u64::from(n) | 1 << 63;
    (0..160)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Packet `i` of recording `n`, twenty milliseconds each, both parties in turn.
pub(crate) fn append(writer: &mut Writer, n: u8, i: u32) -> Result<(), Error> {
    let (format, payload) = (pcmu(), payload(n, i));
    let frame = AudioFrame {
        at: START.plus_millis(i64::from(n) * 1000 + i64::from(i / 2) * 20),
        ssrc: u32::from(n) * 2 + i % 2,
        sequence: (i / 2) as u16,
        timestamp: i / 2 * 160,
        marker: i < 2,
        format: &format,
        payload: &payload,
    };
    writer.append(&Cleared::for_test(if i.is_multiple_of(2) { Party::Near } else { Party::Far }, &frame))
}

/// Records a whole call of `packets` packets.
pub(crate) fn record(archive: &Archive, n: u8, packets: u32) -> RecordingId {
    let mut writer = archive.create(facts(n)).expect("begun");
    for i in 0..packets {
        append(&mut writer, n, i).expect("kept");
    }
    writer.mark(START.plus_millis(i64::from(n) * 1000 + 10), &Mark::Hold { by: Party::Near }).expect("kept");
    writer.finish(ended(n, u64::from(packets) * 10)).expect("finished")
}

/// Payloads and marks of a recording.
pub(crate) fn play(archive: &Archive, id: RecordingId) -> Result<(Vec<Vec<u8>>, usize), Error> {
    let mut reader = archive.read(id)?;
    let (mut payloads, mut marks) = (Vec::new(), 0);
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            match record? {
                Record::Audio { frame, .. } => payloads.push(frame.payload.to_vec()),
                Record::Mark { .. } => marks += 1,
                Record::Signal { .. } => {}
            }
        }
    }
    Ok((payloads, marks))
}

/// A new archive in a folder of its own.
pub(crate) fn archive() -> (tempfile::TempDir, PathBuf, Archive) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive");
    let (archive, _) = Archive::open_or_create(&path).expect("made");
    (dir, path, archive)
}

/// All files below a folder.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The one file of a recording.
pub(crate) fn file_of(dir: &Path, id: RecordingId) -> PathBuf {
    let name = format!("{id}.wav");
    files(&dir.join("recordings")).into_iter().find(|path| path.ends_with(&name)).expect("its file")
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// 0 to `sides` - 1; 0 of none.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides.max(1)
    }
}
