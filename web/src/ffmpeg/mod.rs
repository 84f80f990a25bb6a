//! An installed `ffmpeg` decodes the speech codecs that `decode` cannot: a child process per batch of frames.
//!
//! Owns finding the program, what it is fed and how its answer is checked: as many samples as the frames stand for, or
//! none at all. The child sees frames and a codec's name, nothing of whose they are. Frames and samples go through pipes and
//! touch no disk. What it may do is `confine`'s.

mod confine;
mod ogg;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use decode::codec::external::{Abilities, Coding, External};

/// Names the program, or `off`; goes before the configuration.
const VARIABLE: &str = "EARWITNESS_FFMPEG";
/// A batch takes a fraction of a second; a child that needs longer is stuck.
const WALL_MAX: Duration = Duration::from_secs(60);
/// Longest list of decoders that is read, in bytes.
const LIST_MAX: usize = 256 * 1024;

/// Which program is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first `ffmpeg` on the path.
    #[default]
    OnPath,
    /// This one.
    At(PathBuf),
    /// None.
    Off,
}

impl Choice {
    /// `off`, or where the program is.
    #[must_use]
    pub fn from_word(word: &OsStr) -> Choice {
        if word == "off" { Choice::Off } else { Choice::At(word.into()) }
    }
}

static CHOICE: OnceLock<Choice> = OnceLock::new();
static INSTALLED: OnceLock<Option<Ffmpeg>> = OnceLock::new();

/// Says which program is asked, before the first recording is looked at; later, nothing changes any more. Without it, and before
/// it, the environment's `EARWITNESS_FFMPEG` counts.
pub fn choose(choice: Choice) {
    let _ = CHOICE.set(choice);
}

/// A program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    path: PathBuf,
    abilities: Abilities,
}

impl Ffmpeg {
    /// The program of this machine; none when it has none or shall not use it. Looked up once per process.
    #[must_use]
    pub fn installed() -> Option<&'static Ffmpeg> {
        let look = || {
            let from_environment = std::env::var_os(VARIABLE).filter(|word| !word.is_empty());
            let choice = match (from_environment, CHOICE.get()) {
                (Some(word), _) => Choice::from_word(&word),
                (None, Some(choice)) => choice.clone(),
                (None, None) => Choice::OnPath,
            };
            let path = match choice {
                Choice::Off => return None,
                Choice::At(path) => path,
                Choice::OnPath => on_path(std::env::var_os("PATH").as_deref()?)?,
            };
            Ffmpeg::at(&path)
                .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "ffmpeg cannot be used"))
                .ok()
        };
        INSTALLED.get_or_init(look).as_ref()
    }

    /// The program at `path`, asked what it can decode.
    ///
    /// # Errors
    /// When it cannot be run or does not answer.
    pub fn at(path: &Path) -> io::Result<Ffmpeg> {
        let arguments = ["-hide_banner", "-nostdin", "-loglevel", "error", "-decoders"];
        let list = run(path, &arguments, Vec::new(), LIST_MAX)?;
        Ok(Ffmpeg { path: path.to_owned(), abilities: abilities(&String::from_utf8_lossy(&list)) })
    }

    /// What it can decode.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }
}

impl External for &Ffmpeg {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn decode(&mut self, coding: Coding, frames: &[Box<[u8]>]) -> Option<Vec<i16>> {
        let rate = coding.sample_rate().to_string();
        let arguments = [
            "-hide_banner",
            "-nostdin",
            "-loglevel",
            "quiet",
            "-threads",
            "1",
            "-protocol_whitelist",
            "pipe",
            "-f",
            demuxer(coding),
            "-i",
            "pipe:0",
            "-map",
            "0:a:0",
            "-map_metadata",
            "-1",
            "-threads",
            "1",
            "-c:a",
            "pcm_s16le",
            "-ac",
            "1",
            "-ar",
            &rate,
            "-f",
            "s16le",
            "pipe:1",
        ];
        let expected = 2 * coding.frame_samples() * frames.len();
        match run(&self.path, &arguments, file_of(coding, frames), expected) {
            Ok(pcm) if pcm.len() == expected => {
                Some(pcm.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)).collect())
            }
            Ok(pcm) => {
                tracing::warn!(
                    ?coding,
                    frames = frames.len(),
                    bytes = pcm.len(),
                    expected,
                    "ffmpeg gave another length"
                );
                None
            }
            Err(error) => {
                tracing::warn!(?coding, frames = frames.len(), %error, "ffmpeg did not decode");
                None
            }
        }
    }
}

/// The first executable `ffmpeg` in the folders of `PATH`; relative ones are passed over, because they mean another program in
/// every folder.
fn on_path(path: &OsStr) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("ffmpeg")).find(is_program)
}

/// Out of the table that `-decoders` prints: flags, name, words.
fn abilities(list: &str) -> Abilities {
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().filter(|flags| flags.starts_with('A'))?;
            words.next()
        })
        .collect();
    let has = |any: &[&str]| any.iter().any(|name| names.contains(name));
    Abilities::of(Coding::ALL.into_iter().filter(|coding| match coding {
        Coding::G729 => has(&["g729"]),
        Coding::G7231 => has(&["g723_1"]),
        Coding::Ilbc20 | Coding::Ilbc30 => has(&["ilbc", "libilbc"]),
        Coding::Speex8 | Coding::Speex16 | Coding::Speex32 => has(&["speex", "libspeex"]),
        Coding::Amr => has(&["amrnb", "libopencore_amrnb"]),
        Coding::AmrWb => has(&["amrwb", "libopencore_amrwb"]),
    }))
}

/// What `ffmpeg` calls the file format that a coding's frames are put into.
fn demuxer(coding: Coding) -> &'static str {
    match coding {
        Coding::G729 => "g729",
        Coding::G7231 => "g723_1",
        Coding::Ilbc20 | Coding::Ilbc30 => "ilbc",
        Coding::Speex8 | Coding::Speex16 | Coding::Speex32 => "ogg",
        Coding::Amr | Coding::AmrWb => "amr",
    }
}

/// The frames as a file of that format.
fn file_of(coding: Coding, frames: &[Box<[u8]>]) -> Vec<u8> {
    let magic: &[u8] = match coding {
        Coding::G729 | Coding::G7231 => b"",
        Coding::Ilbc20 => b"#!iLBC20\n",
        Coding::Ilbc30 => b"#!iLBC30\n",
        Coding::Amr => b"#!AMR\n",
        Coding::AmrWb => b"#!AMR-WB\n",
        Coding::Speex8 | Coding::Speex16 | Coding::Speex32 => return ogg::speex(coding, frames),
    };
    let mut file = magic.to_vec();
    frames.iter().for_each(|frame| file.extend_from_slice(frame));
    file
}

/// Runs the program on `input` and gives what it prints, `output_max` bytes at most. More output, a failure and a child that
/// takes too long are errors, and the child is gone then as well.
fn run(path: &Path, arguments: &[&str], input: Vec<u8>, output_max: usize) -> io::Result<Vec<u8>> {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Opened here, because the child may open nothing for writing.
        .stderr(File::options().write(true).open("/dev/null")?);
    let mut child = confine::spawn(command)?;
    let result = exchange(&mut child, input, output_max);
    if result.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let output = result?;
    if status.success() { Ok(output) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

/// Writes all of `input`, and reads all of the output, at the same time.
fn exchange(child: &mut Child, input: Vec<u8>, output_max: usize) -> io::Result<Vec<u8>> {
    let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let (sender, answer) = mpsc::channel();
    thread::Builder::new().name("to ffmpeg".into()).spawn(move || {
        // A child that stops reading shows in what it prints.
        let _ = to.write_all(&input);
    })?;
    thread::Builder::new().name("from ffmpeg".into()).spawn(move || {
        let mut output = Vec::new();
        let read = from.take(output_max as u64 + 1).read_to_end(&mut output);
        // Nobody waits any more after a timeout.
        let _ = sender.send(read.map(|_| output));
    })?;
    match answer.recv_timeout(WALL_MAX) {
        Ok(Ok(output)) if output.len() > output_max => {
            Err(io::Error::other("it prints more than it was asked for"))
        }
        Ok(read) => read,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_decoders_is_read() {
        let list = "Decoders:\n V..... = Video\n ------\n A....D g729                 G.729\n V....D amrwb  no\n \
            A..... libspeex             libspeex Speex (codec speex)\n A....D amrnb                AMR-NB\n";
        let expected = [Coding::G729, Coding::Speex8, Coding::Speex16, Coding::Speex32, Coding::Amr];
        assert_eq!(abilities(list), Abilities::of(expected));
        assert_eq!(abilities(""), Abilities::NONE);
    }

    #[test]
    fn the_path_is_searched_in_its_absolute_folders() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(on_path(dir.path().as_os_str()), None);
        let program = dir.path().join("ffmpeg");
        fs::write(&program, "").expect("written");
        assert_eq!(on_path(dir.path().as_os_str()), None, "not executable");
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        assert_eq!(on_path(dir.path().as_os_str()), Some(program));
        assert_eq!(on_path(OsStr::new("bin:")), None);
    }

    #[test]
    fn a_child_that_prints_too_much_or_fails_is_an_error() {
        let shell = Path::new("/bin/sh");
        let run = |script: &str| run(shell, &["-c", script], b"frames".to_vec(), 10);
        assert_eq!(run("cat").expect("runs"), b"frames");
        assert!(run("exit 3").expect_err("fails").to_string().contains('3'));
        assert!(run("while :; do echo frames; done").expect_err("too much").to_string().contains("more"));
        assert_eq!(
            Ffmpeg::at(Path::new("/nowhere/ffmpeg")).expect_err("none").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_child_sees_no_environment_and_writes_no_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("plain");
        let script = format!("echo $HOME$CARGO; pwd; (echo x > {}) || echo refused", file.display());
        let output = run(Path::new("/bin/sh"), &["-c", &script], Vec::new(), 100).expect("runs");
        assert_eq!(String::from_utf8_lossy(&output).trim(), "/\nrefused");
        assert!(!file.exists());
    }
}
