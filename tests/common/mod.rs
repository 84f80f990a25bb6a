//! What the end-to-end tests share: the program, an archive in a scratch folder, and how exports are looked at.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part of it

pub mod agent;
pub mod appliance;
pub mod browser;
pub mod mail;
pub mod network;
pub mod pbx;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use store::{Archive, RecordingId};
use web::{FileFormat, Shape};
use xtask::load::{Scenario, Truth};
use xtask::pcap::Container;
use xtask::wav::Audio;

/// The program under test, in an environment of its own.
pub fn earwitness() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_earwitness"));
    command.env_remove("EARWITNESS_ARCHIVE").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// A scratch folder with an archive in it.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().expect("a scratch folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("archive")
    }

    /// Writes a capture of the scenario.
    pub fn capture(&self, name: &str, scenario: &Scenario) -> (PathBuf, Vec<Truth>) {
        let path = self.path(name);
        let file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a capture file"));
        let truth = scenario.write(file, Container::Pcap).expect("a capture");
        (path, truth)
    }

    /// Runs the program with this archive.
    pub fn run(&self, words: &[&str]) -> Run {
        let output = earwitness()
            .args(words)
            .env("EARWITNESS_ARCHIVE", self.archive())
            .output()
            .expect("the program runs");
        Run(output)
    }

    /// Records a capture, which must go well.
    pub fn record(&self, capture: &Path) -> Value {
        self.record_with(capture, "")
    }

    /// Records a capture with this configuration, which must go well.
    pub fn record_with(&self, capture: &Path, config: &str) -> Value {
        let path = self.path("record.toml");
        std::fs::write(&path, config).expect("a configuration");
        let [capture, config] = [capture, &path].map(|path| path.to_str().expect("a plain path"));
        self.run(&["record", "--json", "-c", config, "-r", capture]).expect_code(0).json().remove(0)
    }

    /// Every recording, exported in stereo by the libraries.
    pub fn exports(&self) -> Vec<(String, Audio)> {
        self.exports_of(usize::MAX)
    }

    /// The newest recordings, likewise.
    pub fn exports_of(&self, newest: usize) -> Vec<(String, Audio)> {
        let archive = Archive::open(&self.archive()).expect("the archive opens");
        let ids: Vec<RecordingId> =
            archive.rows().take(newest).map(|row| row.expect("a row").facts.id).collect();
        ids.into_iter()
            .map(|id| {
                let mut wav = Vec::new();
                web::export(&archive, id, FileFormat::Wav, Shape::Stereo, &mut wav).expect("an export");
                (id.to_string(), xtask::wav::parse(&wav).expect("a WAV file"))
            })
            .collect()
    }
}

/// A finished run of the program.
pub struct Run(pub Output);

impl Run {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("text")
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub fn expect_code(self, code: i32) -> Run {
        assert_eq!(self.0.status.code(), Some(code), "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }

    /// One value per line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.stdout()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object per line"))
            .collect()
    }
}

/// The files in a folder, by name.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
