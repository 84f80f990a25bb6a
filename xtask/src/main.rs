//! `cargo xtask`: test traffic from the command line. Reads options, calls the library, prints what came of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use xtask::check::{self, Limits};
use xtask::g711::Law;
use xtask::load::{Direction, Ending, LINES_MAX, Person, RATE, Scenario, Transport, Truth};
use xtask::pcap::{Container, Writer};
use xtask::wrap::{Layer, Wrapper};
use xtask::{manifest, wav};

const HELP: &str = "\
cargo xtask pcap --out FILE [OPTIONS]            write a capture of made-up calls, and what is in them to --truth FILE
cargo xtask check-tones TRUTH DIR [OPTIONS]      judge the WAV files under DIR against that truth
cargo xtask fuzz-seeds frame|hep|stream DIR      write inputs for these fuzz targets, one for each encapsulation

Options of pcap (times in milliseconds, rates in percent):
  --calls N --first-line N --calls-per-line N --talk MS --ring MS --ramp MS --seed N --epoch SECONDS
  --codec pcmu|pcma --ptime MS --direction mixed|inbound|outbound|internal
  --extension NUMBER[=NAME] --remote NUMBER[=NAME] --near-wav FILE --far-wav FILE (8 kHz, mono)
  --ipv6 --vlan ID (twice: QinQ) --sip udp|tcp|tcp-pieces --big-invite --proxied
  --loss PCT --reorder PCT --duplicates PCT --jitter MS
  --ending bye|no-bye|cancelled|busy --late-offer --early-media --hold --move-port --change-ssrc
  --digits KEYS --silence-suppression --skew NEAR,FAR (ppm) --later-skew NEAR,FAR --one-way --rtcp TRIP_MS
  --srtp --rtp-only --nat --spray --span --snaplen BYTES --skip MS --step-back MS
  --format pcap|pcap-nanos|pcapng --cut-bytes N (off the end of the file) --truth FILE
  --wrap LAYER (several: from the outside in)

Options of check-tones:
  --length MS (250) --purity SHARE (0.9) --gap MS (100) --gaps-allowed";

fn main() -> ExitCode {
    let mut words: VecDeque<String> = std::env::args().skip(1).collect();
    let outcome = match words.pop_front().as_deref() {
        Some("pcap") => make_pcap(words),
        Some("check-tones") => check_tones(words),
        Some("fuzz-seeds") => fuzz_seeds(words),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(true)
        }
        Some(other) => Err(format!("there is no chore {other:?}; try `cargo xtask help`")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
    }
}

/// Takes the value of an option off the words.
fn value<T: std::str::FromStr>(words: &mut VecDeque<String>, option: &str) -> Result<T, String> {
    let word = words.pop_front().ok_or_else(|| format!("{option} needs a value"))?;
    word.parse().map_err(|_| format!("{option} does not take {word:?}"))
}

/// Takes one of a few words.
fn choice<T: Copy>(words: &mut VecDeque<String>, option: &str, known: &[(&str, T)]) -> Result<T, String> {
    let word: String = value(words, option)?;
    known.iter().find(|(name, _)| *name == word).map(|(_, chosen)| *chosen).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("{option} takes one of {}, not {word:?}", names.join(", "))
    })
}

fn person(words: &mut VecDeque<String>, option: &str) -> Result<Option<Person>, String> {
    let word: String = value(words, option)?;
    let (number, name) = word.split_once('=').unwrap_or((&word, ""));
    Ok(Some(Person { number: number.to_owned(), name: name.to_owned() }))
}

/// Where a capture goes and in which form.
#[derive(Default)]
struct Output {
    path: Option<PathBuf>,
    truth: Option<PathBuf>,
    container: Container,
    /// Bytes to cut off the end.
    cut: u64,
    /// What every frame is wrapped in.
    layers: Vec<Layer>,
    near_wav: Option<PathBuf>,
    far_wav: Option<PathBuf>,
}

fn make_pcap(mut words: VecDeque<String>) -> Result<bool, String> {
    let (mut s, mut output) = (Scenario::default(), Output::default());
    while let Some(option) = words.pop_front() {
        let words = &mut words;
        let known = call_option(&mut s, &option, words)?
            || wire_option(&mut s, &option, words)?
            || output_option(&mut output, &option, words)?;
        if !known {
            return Err(format!("pcap has no option {option:?}; try `cargo xtask help`"));
        }
    }
    if s.calls.saturating_add(s.first_line) > LINES_MAX {
        return Err(format!("--first-line and --calls take at most {LINES_MAX} lines"));
    }
    if s.ring_ms < 120 || !(1..=120).contains(&s.ptime_ms) {
        return Err("--ring takes 120 ms at least, --ptime 1 to 120 ms".to_owned());
    }
    s.voices = match (&output.near_wav, &output.far_wav) {
        (None, None) => None,
        (Some(near), Some(far)) => Some([voice(near)?, voice(far)?]),
        _ => return Err("--near-wav and --far-wav go together".to_owned()),
    };
    let out = output.path.as_ref().ok_or("pcap needs --out FILE")?;
    let told = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());

    let (truth, length) = write_capture(&s, &output, out).map_err(|why| told(out, why))?;
    if let Some(path) = &output.truth {
        let lines: String = truth.iter().map(|t| manifest::line(t) + "\n").collect();
        fs::write(path, lines).map_err(|why| told(path, why))?;
    }
    let packets: u64 = truth.iter().map(|t| t.near.packets + t.far.packets).sum();
    println!("{}: {} calls, {packets} RTP packets, {length} bytes", out.display(), truth.len());
    Ok(true)
}

/// Bytes of one fuzz seed at most: small ones keep the fuzzer fast.
const SEED_BYTES_MAX: usize = 16 * 1024;

/// What a fuzz target reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seeds {
    /// Frames, each with a pause and its length.
    Frames,
    /// HEP packets in a stream.
    Hep,
    /// The same as pieces of a TCP connection: a byte that says which, one of an eighth of their length.
    Stream,
}

/// A call through each encapsulation: lists of frames as the target `frame` reads them, or HEP packets.
fn fuzz_seeds(mut words: VecDeque<String>) -> Result<bool, String> {
    let known = [("frame", Seeds::Frames), ("hep", Seeds::Hep), ("stream", Seeds::Stream)];
    let seeds = choice(&mut words, "fuzz-seeds", &known)?;
    let frames = seeds == Seeds::Frames;
    let dir: PathBuf = value(&mut words, "fuzz-seeds")?;
    let scenarios = [false, true].map(|ipv6| Scenario {
        talk_ms: 200,
        ramp_ms: 0,
        ipv6,
        big_invite: frames,
        ..Scenario::default()
    });
    for (scenario, family) in scenarios.iter().zip(["v4", "v6"]) {
        let traffic = scenario.traffic().frames;
        for (name, layer) in Layer::ALL.into_iter().filter(|(_, layer)| frames || *layer == Layer::Hep3) {
            let mut wrapper = Wrapper::new(&[layer]);
            let mut seed = Vec::new();
            for frame in traffic.iter().flat_map(|frame| wrapper.wrap(frame.clone())) {
                // Ethernet, no pause, length; or what a HEP frame has behind its Ethernet, IPv4 and UDP headers.
                let bytes = if frames { &frame.bytes[..] } else { frame.bytes.get(42..).unwrap_or_default() };
                if seed.len() + bytes.len() > SEED_BYTES_MAX {
                    break;
                }
                if frames {
                    seed.extend([0, 0]);
                    seed.extend((bytes.len() as u16).to_be_bytes());
                }
                seed.extend(bytes);
            }
            if seeds == Seeds::Stream {
                const PIECE: usize = 8 * 32;
                let pieces =
                    seed.chunks_exact(PIECE).flat_map(|piece| [&[0, (PIECE / 8) as u8], piece].concat());
                seed = pieces.collect();
            }
            let path = dir.join(format!("seed-{name}-{family}"));
            fs::write(&path, seed).map_err(|why| format!("{}: {why}", path.display()))?;
        }
    }
    Ok(true)
}

/// Writes the file and cuts its end; gives the truth and the length in bytes.
fn write_capture(s: &Scenario, output: &Output, out: &Path) -> std::io::Result<(Vec<Truth>, u64)> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, File::create(out)?), output.container)?;
    let mut wrapper = Wrapper::new(&output.layers);
    let truth =
        s.each_frame(|frame| wrapper.wrap(frame).iter().try_for_each(|wrapped| writer.write(wrapped)))?;
    writer.finish()?;
    let length = fs::metadata(out)?.len().saturating_sub(output.cut);
    File::options().write(true).open(out)?.set_len(length)?;
    Ok((truth, length))
}

/// Who calls whom and what happens in the calls; false when the option is not one of these.
fn call_option(s: &mut Scenario, option: &str, words: &mut VecDeque<String>) -> Result<bool, String> {
    match option {
        "--calls" => s.calls = value(words, option)?,
        "--first-line" => s.first_line = value(words, option)?,
        "--calls-per-line" => s.calls_per_line = value(words, option)?,
        "--talk" => s.talk_ms = value(words, option)?,
        "--ring" => s.ring_ms = value(words, option)?,
        "--ramp" => s.ramp_ms = value(words, option)?,
        "--seed" => s.seed = value(words, option)?,
        "--epoch" => s.epoch_ns = value::<i64>(words, option)?.saturating_mul(1_000_000_000),
        "--codec" => s.law = choice(words, option, &[("pcmu", Law::Mu), ("pcma", Law::A)])?,
        "--ptime" => s.ptime_ms = value(words, option)?,
        "--direction" => {
            use Direction::{Inbound, Internal, Mixed, Outbound};
            let known =
                [("mixed", Mixed), ("inbound", Inbound), ("outbound", Outbound), ("internal", Internal)];
            s.direction = choice(words, option, &known)?;
        }
        "--extension" => s.extension = person(words, option)?,
        "--remote" => s.remote = person(words, option)?,
        "--ending" => {
            use Ending::{Busy, Bye, Cancelled, NoBye};
            let known = [("bye", Bye), ("no-bye", NoBye), ("cancelled", Cancelled), ("busy", Busy)];
            s.ending = choice(words, option, &known)?;
        }
        "--late-offer" => s.late_offer = true,
        "--early-media" => s.early_media = true,
        "--hold" => s.hold = true,
        "--move-port" => s.move_port = true,
        "--change-ssrc" => s.change_ssrc = true,
        "--digits" => s.digits = value(words, option)?,
        "--silence-suppression" => s.silence_suppression = true,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the network and the capture do to the calls; false when the option is not one of these.
fn wire_option(s: &mut Scenario, option: &str, words: &mut VecDeque<String>) -> Result<bool, String> {
    match option {
        "--ipv6" => s.ipv6 = true,
        "--vlan" => s.vlans.push(value(words, option)?),
        "--sip" => {
            use Transport::{Tcp, TcpPieces, Udp};
            s.transport = choice(words, option, &[("udp", Udp), ("tcp", Tcp), ("tcp-pieces", TcpPieces)])?;
        }
        "--big-invite" => s.big_invite = true,
        "--proxied" => s.proxied = true,
        "--loss" => s.loss_pct = value(words, option)?,
        "--reorder" => s.reorder_pct = value(words, option)?,
        "--duplicates" => s.duplicate_pct = value(words, option)?,
        "--jitter" => s.jitter_ms = value(words, option)?,
        "--skew" => s.skew_ppm = skews(words, option)?,
        "--later-skew" => s.later_skew_ppm = Some(skews(words, option)?),
        "--one-way" => s.one_way = true,
        "--rtcp" => s.rtcp_trip_ms = Some(value(words, option)?),
        "--srtp" => s.srtp = true,
        "--rtp-only" => s.rtp_only = true,
        "--nat" => s.nat = true,
        "--spray" => s.spray = true,
        "--span" => s.span_copies = true,
        "--snaplen" => s.snaplen = value(words, option)?,
        "--skip" => s.skip_ms = value(words, option)?,
        "--step-back" => s.step_back_ms = value(words, option)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn skews(words: &mut VecDeque<String>, option: &str) -> Result<[f64; 2], String> {
    let word: String = value(words, option)?;
    let parts = word.split_once(',').and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
    parts.ok_or_else(|| format!("{option} takes NEAR,FAR in ppm, not {word:?}"))
}

/// Files and their form; false when the option is not one of these.
fn output_option(o: &mut Output, option: &str, words: &mut VecDeque<String>) -> Result<bool, String> {
    match option {
        "--out" => o.path = Some(value(words, option)?),
        "--truth" => o.truth = Some(value(words, option)?),
        "--near-wav" => o.near_wav = Some(value(words, option)?),
        "--far-wav" => o.far_wav = Some(value(words, option)?),
        "--format" => {
            use Container::{Pcap, PcapNanos, PcapNg};
            let known = [("pcap", Pcap), ("pcap-nanos", PcapNanos), ("pcapng", PcapNg)];
            o.container = choice(words, option, &known)?;
        }
        "--cut-bytes" => o.cut = value(words, option)?,
        "--wrap" => o.layers.push(choice(words, option, &Layer::ALL)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// One mono 8 kHz file as samples.
fn voice(path: &Path) -> Result<Arc<[i16]>, String> {
    let bytes = fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let audio = wav::parse(&bytes).map_err(|why| format!("{}: {why}", path.display()))?;
    match &audio.channels[..] {
        [mono] if audio.rate == RATE && !mono.is_empty() => Ok(mono.as_slice().into()),
        _ => Err(format!("{}: must be mono, {RATE} Hz, and not empty", path.display())),
    }
}

fn check_tones(mut words: VecDeque<String>) -> Result<bool, String> {
    let mut limits = Limits::default();
    let mut places = Vec::new();
    while let Some(word) = words.pop_front() {
        match word.as_str() {
            "--length" => limits.length_ms = value(&mut words, &word)?,
            "--purity" => limits.purity = value(&mut words, &word)?,
            "--gap" => limits.gap_ms = Some(value(&mut words, &word)?),
            "--gaps-allowed" => limits.gap_ms = None,
            option if option.starts_with('-') => return Err(format!("check-tones has no option {option:?}")),
            _ => places.push(PathBuf::from(word)),
        }
    }
    let [truth_path, dir] = &places[..] else { return Err("check-tones takes TRUTH and DIR".to_owned()) };
    let told = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
    let text = fs::read_to_string(truth_path).map_err(|why| told(truth_path, why))?;
    let truth = text
        .lines()
        .map(|line| {
            manifest::parse(line).ok_or_else(|| format!("{}: no truth: {line}", truth_path.display()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths = Vec::new();
    wav_files(dir, &mut paths).map_err(|why| told(dir, why))?;
    paths.sort();
    let mut unread = 0;
    let files = paths.iter().filter_map(|path| {
        let read = fs::read(path).map_err(|why| why.to_string());
        match read.and_then(|bytes| wav::parse(&bytes).map_err(|why| why.to_string())) {
            Ok(audio) => Some((path.display().to_string(), audio)),
            Err(why) => {
                eprintln!("xtask: {}: {why}", path.display());
                unread += 1;
                None
            }
        }
    });
    let report = check::check(&truth, files, limits);
    for (call, fault) in &report.faulty {
        println!("faulty {call}: {fault:?}");
    }
    report.missing.iter().for_each(|call| println!("missing {call}"));
    report.stray.iter().for_each(|name| println!("stray {name}"));
    println!(
        "calls={} right={} faulty={} missing={} stray={} unread={unread}",
        report.calls,
        report.right,
        report.faulty.len(),
        report.missing.len(),
        report.stray.len()
    );
    Ok(report.is_clean() && unread == 0)
}

/// All `*.wav` under a folder.
fn wav_files(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            wav_files(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("wav")) {
            found.push(path);
        }
    }
    Ok(())
}
