//! The canary: a call that the recorder makes to itself now and then, to know that calls would be recorded.
//!
//! Its datagrams go over the loopback adapter, where they are captured like any other: kernel buffer, libpcap, ring, tracker, gate, sealing,
//! disk. What was recorded is opened, decoded and held against what was said; then it is destroyed. `docs/canary.md` says what that
//! proves and what it does not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use decode::codec::g711::{self, Law};
use decode::ports::PortRange;
use store::{Archive, Deletion, Field, Query, RecordingId};
use web::live::Live;
use web::{FileFormat, Shape};

use crate::clock;
use crate::config::Book;
use crate::control::Control;
use crate::failure::Failure;

/// The adapter that its datagrams are captured on.
pub(crate) const ADAPTER: &str = "lo";
/// Where its parties are; nobody else is.
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 86, 65, 1);
const CALLEE: Ipv4Addr = Ipv4Addr::new(127, 86, 65, 2);
/// What of that adapter is captured, where it is there for the canary alone. A filter on hosts breaks no fragments.
pub(crate) const FILTER: &str = "udp and src net 127.86.65.0/24";
/// Who calls: longer than any extension.
const CALLER_NUMBER: &str = "00000000000";

/// How long it talks, in packets of 20 ms.
const PACKETS: u32 = 150;
const PACKET: Duration = Duration::from_millis(20);
const SAMPLE_RATE: usize = 8_000;
const PACKET_SAMPLES: usize = 160;
/// Tones that it may sing, in Hz, far enough apart to be told in half a second.
const TONES: [f64; 8] = [400.0, 550.0, 700.0, 850.0, 1_000.0, 1_150.0, 1_300.0, 1_450.0];
/// Of each second, so much must be the tone, and the other party's tone at most the rest of it.
const SHARE_MIN: f64 = 0.9;
/// How much shorter or longer than it was the recording may be.
const LENGTH_OFF_MS_MAX: usize = 100;
/// How long after its end the recording is waited for.
const PLAYABLE_WITHIN: Duration = Duration::from_secs(30);
/// After the start the first one is made.
const FIRST_AFTER: Duration = Duration::from_secs(20);
/// While all channels but one are in use, it waits so long, and so often.
const WAIT_FOR_CHANNEL: Duration = Duration::from_secs(60);
const WAITS_MAX: u32 = 15;

/// What came of the calls so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) tried: u64,
    pub(crate) failed: u64,
    /// When the last one was heard as it was said.
    pub(crate) last_good: Option<Timestamp>,
    /// From the BYE until it could be played, of the last good one, in milliseconds.
    pub(crate) playable_ms: Option<u64>,
    /// What was wrong with the last one.
    pub(crate) trouble: Option<String>,
}

pub(crate) type Shown = Arc<Mutex<State>>;

/// What it works with.
pub(crate) struct Canary {
    pub(crate) archive: Arc<Archive>,
    pub(crate) control: Control,
    /// The number that it is recorded under.
    pub(crate) extension: String,
    pub(crate) every: Duration,
    /// Of the configuration, for an archive without a rule book.
    pub(crate) rtp_ports: Vec<PortRange>,
}

/// Its thread.
pub(crate) struct Running {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    awake: Sender<()>,
}

impl Running {
    /// Ends it; a call that it makes is given up.
    pub(crate) fn stop(self) {
        drop(self.awake);
        if self.thread.join().is_err() {
            tracing::error!("the canary broke off");
        }
    }
}

impl Canary {
    /// Starts it.
    pub(crate) fn start(self) -> Result<(Running, Shown), Failure> {
        let (awake, asleep) = bounded(0);
        let shown = Shown::default();
        let seen = Arc::clone(&shown);
        let run = move || self.run(&asleep, &seen);
        let thread = std::thread::Builder::new().name("canary".into()).spawn(run)?;
        Ok((Running { thread, awake }, shown))
    }

    fn run(&self, asleep: &Receiver<()>, shown: &Shown) {
        let mut wait = FIRST_AFTER;
        let mut waited = 0;
        // Nobody sends: each wait ends by its time, or for good.
        while asleep.recv_timeout(wait).is_err_and(|error| error.is_timeout()) {
            wait = self.every;
            if !self.has_room() {
                waited += 1;
                if waited <= WAITS_MAX {
                    wait = WAIT_FOR_CHANNEL;
                } else {
                    waited = 0;
                    tracing::info!("no canary: all channels are in use");
                }
                continue;
            }
            waited = 0;
            let result = self.call(asleep);
            let Some(result) = result.transpose() else { return };
            let mut state = shown.lock().unwrap_or_else(PoisonError::into_inner);
            state.tried += 1;
            match result {
                Ok(playable_ms) => {
                    tracing::info!(playable_ms, "the canary was heard as it sang");
                    (state.last_good, state.playable_ms, state.trouble) =
                        (Some(clock::now()), Some(playable_ms), None);
                }
                Err(why) => {
                    tracing::error!(why, "the canary failed");
                    state.failed += 1;
                    state.trouble = Some(why);
                }
            }
        }
    }

    /// A call must not be refused for its sake: one channel more than its own has to be free.
    fn has_room(&self) -> bool {
        let status = self.control.status();
        status.channels.is_none_or(|channels| status.channels_in_use + 1 < channels)
    }

    /// Makes a call and looks what became of it; gives how long after its end it could be played, and none when it was ended.
    fn call(&self, asleep: &Receiver<()>) -> Result<Option<u64>, String> {
        let started = clock::now();
        let tones = pick_tones(started);
        let ports = self.ports();
        let said = |error: std::io::Error| format!("its datagrams cannot be sent: {error}");
        let Some(over) =
            Call::new(&self.extension, started, &ports).map_err(said)?.play(tones, asleep).map_err(said)?
        else {
            return Ok(None);
        };
        let result = loop {
            match self.recorded(started)? {
                Some(id) => break self.compare(id, tones).map(|()| id),
                None if over.elapsed() > PLAYABLE_WITHIN => {
                    break Err(format!(
                        "its call was not recorded; `earwitness calls --number {}` tells what became of it, if it was seen at all",
                        self.extension
                    ));
                }
                None => {}
            }
            if !asleep.recv_timeout(Duration::from_millis(100)).is_err_and(|error| error.is_timeout()) {
                return Ok(None);
            }
        };
        let playable_ms = u64::try_from(over.elapsed().as_millis()).unwrap_or(u64::MAX);
        // What was wrong stays, to be looked at.
        let id = result?;
        let why = "it was made to be compared, and is".to_owned();
        let deletion = Deletion { at: clock::now(), who: "earwitness".into(), rule: "canary".into(), why };
        self.archive
            .delete(id, deletion, false)
            .map_err(|error| format!("its recording cannot be destroyed: {error}"))?;
        Ok(Some(playable_ms))
    }

    /// Where audio is looked for now.
    fn ports(&self) -> Vec<PortRange> {
        let of_book = self.archive.book().ok().flatten().and_then(|version| Book::of_version(&version).ok());
        of_book.map_or_else(|| self.rtp_ports.clone(), |book| book.site.rtp_ports)
    }

    /// Its finished recording.
    fn recorded(&self, since: Timestamp) -> Result<Option<RecordingId>, String> {
        let mut query = Query::default();
        query.since = Some(since.plus_millis(-1_000));
        query.limit = Some(1);
        query.filter(Field::Extension, &self.extension).map_err(|error| error.to_string())?;
        let row = self.archive.search(&query).next().transpose().map_err(|error| error.to_string())?;
        Ok(row.filter(|row| row.facts.state == store::State::Complete).map(|row| row.facts.id))
    }

    /// Opens the recording and listens.
    fn compare(&self, id: RecordingId, [caller, callee]: [f64; 2]) -> Result<(), String> {
        if !self.archive.can_read() {
            // What a box without its private key can know: it was sealed and signed as a whole.
            return Ok(());
        }
        let mut wav = Vec::new();
        web::export(&self.archive, id, FileFormat::Wav, Shape::Stereo, &mut wav)
            .map_err(|error| format!("its recording cannot be played: {error}"))?;
        let sides = channels(&wav).ok_or("its recording does not become a WAV file")?;
        // The extension is on the left.
        for (who, samples, own, other) in
            [("extension", &sides[0], callee, caller), ("caller", &sides[1], caller, callee)]
        {
            listen(samples, own, other).map_err(|why| format!("the {who} of its recording: {why}"))?;
        }
        Ok(())
    }
}

/// Two different tones, others each time: an old recording is none of this call.
fn pick_tones(at: Timestamp) -> [f64; 2] {
    let dice = at.as_nanos().unsigned_abs() / 1_000;
    let first = (dice % 8) as usize;
    let second = (first + 1 + (dice / 8 % 7) as usize) % 8;
    [TONES.get(first), TONES.get(second)].map(|tone| tone.copied().unwrap_or_default())
}

/// Is it this tone, of the right length, and not the other party's?
fn listen(samples: &[i16], own: f64, other: f64) -> Result<(), String> {
    let length_ms = samples.len() * 1_000 / SAMPLE_RATE;
    let wanted_ms = PACKETS as usize * 20;
    if length_ms.abs_diff(wanted_ms) > LENGTH_OFF_MS_MAX {
        return Err(format!("{length_ms} ms long, and {wanted_ms} ms were said"));
    }
    for (nth, second) in samples.chunks_exact(SAMPLE_RATE / 2).enumerate().skip(1).take(4) {
        let (share, foreign) = (share(second, own), share(second, other));
        if share < SHARE_MIN || foreign > 1.0 - SHARE_MIN {
            let at_ms = nth * 500;
            return Err(format!(
                "{:.0} % of what is heard at {at_ms} ms is the tone of {own} Hz that was said, {:.0} % the other party's",
                100.0 * share,
                100.0 * foreign
            ));
        }
    }
    Ok(())
}

/// The share of the energy that one tone has (Goertzel's recurrence).
fn share(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / SAMPLE_RATE as f64;
    let (mut one, mut two, mut energy) = (0.0, 0.0, 0.0);
    for &sample in samples {
        let sample = f64::from(sample);
        energy += sample * sample;
        (one, two) = (sample + 2.0 * step.cos() * one - two, one);
    }
    let power = one * one + two * two - 2.0 * step.cos() * one * two;
    if energy == 0.0 { 0.0 } else { 2.0 * power / (samples.len() as f64 * energy) }
}

/// The two channels of a WAV file with 16 bits a sample, as our own export makes it.
fn channels(wav: &[u8]) -> Option<[Vec<i16>; 2]> {
    let field = |at: usize| Some(u16::from_le_bytes([*wav.get(at)?, *wav.get(at + 1)?]));
    let (format, channels, bits) = (field(20)?, field(22)?, field(34)?);
    let place = wav.windows(4).position(|window| window == b"data")?;
    let data = wav.get(place + 8..)?;
    if (format, channels, bits) != (1, 2, 16) {
        return None;
    }
    let samples = data
        .chunks_exact(2)
        .map(|pair| pair.iter().rev().fold(0_u16, |all, &byte| all << 8 | u16::from(byte)) as i16);
    let samples: Vec<i16> = samples.collect();
    let side = |nth: usize| samples.iter().skip(nth).step_by(2).copied().collect();
    Some([side(0), side(1)])
}

/// One call, both of whose parties we are.
struct Call {
    id: String,
    extension: String,
    /// SIP and audio of the caller and the callee.
    sip: [UdpSocket; 2],
    audio: [UdpSocket; 2],
    ssrc: u32,
}

impl Call {
    fn new(extension: &str, at: Timestamp, ports: &[PortRange]) -> std::io::Result<Call> {
        let sip = [UdpSocket::bind((CALLER, 0))?, UdpSocket::bind((CALLEE, 0))?];
        let audio = [audio_socket(CALLER, ports)?, audio_socket(CALLEE, ports)?];
        let id = format!("canary-{}", at.as_nanos());
        let ssrc = (at.as_nanos().unsigned_abs() & 0xffff_fff0) as u32;
        Ok(Call { id, extension: extension.to_owned(), sip, audio, ssrc })
    }

    /// Says all of it; gives when it was over, and nothing when it was told to end.
    fn play(&self, tones: [f64; 2], asleep: &Receiver<()>) -> std::io::Result<Option<Instant>> {
        let [caller, callee] = self.sip.each_ref().map(UdpSocket::local_addr);
        let (caller, callee) = (caller?, callee?);
        let invite = format!("INVITE sip:{}@{callee} SIP/2.0", self.extension);
        self.say(
            0,
            callee,
            &self.message(&invite, "1 INVITE", "", Some(self.audio[0].local_addr()?), caller),
        )?;
        self.say(1, caller, &self.message("SIP/2.0 180 Ringing", "1 INVITE", "b", None, callee))?;
        self.say(
            1,
            caller,
            &self.message("SIP/2.0 200 OK", "1 INVITE", "b", Some(self.audio[1].local_addr()?), callee),
        )?;
        let to_callee = |method: &str| format!("{method} sip:{}@{callee} SIP/2.0", self.extension);
        self.say(0, callee, &self.message(&to_callee("ACK"), "1 ACK", "b", None, caller))?;
        let begun = Instant::now();
        for nth in 0..PACKETS {
            for side in 0..2 {
                let (Some(from), Some(to), Some(&tone)) =
                    (self.audio.get(side), self.audio.get(1 - side), tones.get(side))
                else {
                    continue;
                };
                from.send_to(&self.packet(side as u32, nth, tone), to.local_addr()?)?;
            }
            let rest = (PACKET * (nth + 1)).saturating_sub(begun.elapsed());
            if !asleep.recv_timeout(rest).is_err_and(|error| error.is_timeout()) {
                return Ok(None);
            }
        }
        self.say(0, callee, &self.message(&to_callee("BYE"), "2 BYE", "b", None, caller))?;
        self.say(1, caller, &self.message("SIP/2.0 200 OK", "2 BYE", "b", None, callee))?;
        Ok(Some(Instant::now()))
    }

    fn say(&self, side: usize, to: SocketAddr, message: &str) -> std::io::Result<()> {
        self.sip.get(side).map_or(Ok(()), |socket| socket.send_to(message.as_bytes(), to).map(|_| ()))
    }

    /// A request of the caller or a response to one, with a session description if it carries one.
    fn message(
        &self,
        start: &str,
        cseq: &str,
        to_tag: &str,
        audio: Option<SocketAddr>,
        contact: SocketAddr,
    ) -> String {
        let Call { id, extension, .. } = self;
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let body = audio.map_or_else(String::new, |at| {
            let (ip, port) = (at.ip(), at.port());
            format!(
                "v=0\r\no=canary 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=ptime:20\r\n"
            )
        });
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{start}\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\nFrom: \"canary\" <sip:{CALLER_NUMBER}@{CALLER}>;tag=a\r\n\
             To: <sip:{extension}@{CALLEE}>{tag}\r\nCall-ID: {id}\r\nCSeq: {cseq}\r\nContact: <sip:{contact}>\r\nUser-Agent: earwitness canary\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// 20 ms of a tone in A-law (RFC 3550, 5.1; RFC 3551, 4.5.14).
    fn packet(&self, side: u32, nth: u32, hz: f64) -> Vec<u8> {
        let marker = if nth == 0 { 0x80 } else { 0 };
        let mut packet = vec![0x80, 8 | marker];
        packet.extend((nth as u16).to_be_bytes());
        packet.extend((nth * PACKET_SAMPLES as u32).to_be_bytes());
        packet.extend((self.ssrc | side).to_be_bytes());
        let first = nth as usize * PACKET_SAMPLES;
        packet.extend((first..first + PACKET_SAMPLES).map(|sample| {
            let phase = std::f64::consts::TAU * hz * sample as f64 / SAMPLE_RATE as f64;
            g711::encode(Law::A, (8_000.0 * phase.sin()) as i16)
        }));
        packet
    }
}

/// A socket on a port that carries audio here.
fn audio_socket(ip: Ipv4Addr, ports: &[PortRange]) -> std::io::Result<UdpSocket> {
    if ports.is_empty() {
        return UdpSocket::bind((ip, 0));
    }
    let listed =
        (1_024..=u16::MAX).filter(|&port| port % 2 == 0 && ports.iter().any(|range| range.contains(port)));
    let mut refused = std::io::Error::other("site.rtp_ports has no even port above 1023");
    for port in listed {
        match UdpSocket::bind((ip, port)) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sung(hz: f64, samples: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / SAMPLE_RATE as f64;
        (0..samples)
            .map(|n| g711::decode(Law::A, g711::encode(Law::A, (8_000.0 * (step * n as f64).sin()) as i16)))
            .collect()
    }

    #[test]
    fn it_hears_its_own_tone_and_neither_silence_nor_another_nor_both_nor_a_hole() {
        let all = PACKETS as usize * PACKET_SAMPLES;
        for own in TONES {
            assert_eq!(listen(&sung(own, all), own, 625.0), Ok(()), "{own}");
            for other in TONES.into_iter().filter(|&other| other != own) {
                assert!(listen(&sung(other, all), own, other).is_err(), "{other} for {own}");
            }
        }
        let (own, other) = (TONES[0], TONES[1]);
        let both: Vec<i16> =
            sung(own, all).iter().zip(sung(other, all)).map(|(a, b)| a / 2 + b / 2).collect();
        assert!(listen(&both, own, other).is_err());
        assert!(listen(&vec![0; all], own, other).is_err());
        let mut hole = sung(own, all);
        hole[10_000..11_000].fill(0);
        assert!(listen(&hole, own, other).expect_err("a hole").contains(" ms is the tone of 400 Hz"));
        assert!(listen(&sung(own, all - 1_600), own, other).expect_err("short").contains("2800 ms long"));
    }

    #[test]
    fn two_tones_are_never_the_same_and_change() {
        let picked: Vec<_> = (0..56).map(|n| pick_tones(Timestamp::from_nanos(n * 1_000))).collect();
        assert!(picked.iter().all(|[a, b]| a != b && TONES.contains(a) && TONES.contains(b)));
        let mut fresh = picked.clone();
        fresh.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        fresh.dedup();
        assert_eq!(fresh.len(), 56);
    }
}
