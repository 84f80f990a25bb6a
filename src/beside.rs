//! Commands beside a running appliance: it has the archive, so it does them, for whoever may.
//!
//! A socket in the archive's folder takes, in one packet, the words of a command and the streams of the process that the user
//! started; the exit code comes back. Only the appliance's own user and root are let in: they could read the archive's files and
//! keys anyway.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with, sockopt,
};
use serde::{Deserialize, Serialize};
use store::Archive;

use crate::cli::{Cli, Command};
use crate::cmd;
use crate::console::{self, Guest};
use crate::control::Control;
use crate::failure::{Done, Failure};

/// The socket's name in the archive's folder.
const SOCKET: &str = "appliance";
/// Bytes of a command.
const WORDS_MAX: usize = 64 * 1024;
/// Commands at the same time; one more is told to come again.
const GUESTS_MAX: usize = 8;
/// Files that a command's words may name.
const FILES_MAX: usize = 12;
/// What comes with a command: output, error, the file of `-o`, and what its words name.
const STREAMS_MAX: usize = 3 + FILES_MAX;
/// How long those who are in are waited for at the end; what they read on then ends with the process.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often the thread that waits for guests looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long one that was let in may take to say what it wants.
const WORDS_WITHIN_S: i64 = 5;

/// A command as it is handed over.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    /// The version of the program that asks: both must be of the same.
    version: String,
    /// The command line, without the program's name.
    words: Vec<String>,
    /// The folder that it was given in.
    folder: PathBuf,
    /// Who gave it, where that is root by way of sudo.
    who: Option<String>,
    /// The file of `-o` comes with it.
    has_output: bool,
    /// Files that its words name, in the order in which they come with it.
    files: Vec<PathBuf>,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    code: u8,
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The socket's address; paths of sockets are short (unix(7)), so that a deep folder is reached by its descriptor.
fn address(archive: &Path) -> io::Result<(SocketAddrUnix, Option<File>)> {
    let path = archive.join(SOCKET);
    match SocketAddrUnix::new(&path) {
        Ok(address) => Ok((address, None)),
        Err(_) => {
            use std::os::fd::AsRawFd;
            let folder = File::open(archive)?;
            let short = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
            Ok((SocketAddrUnix::new(short)?, Some(folder)))
        }
    }
}

/// The side of the appliance: takes guests in until it is dropped.
pub(crate) struct Door {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    path: PathBuf,
}

impl Door {
    /// Opens it in the archive's folder. `recorder` is the appliance's, and `config` its configuration.
    pub(crate) fn open(
        archive: &Arc<Archive>,
        recorder: Control,
        config: Option<PathBuf>,
    ) -> Result<Door, Failure> {
        let path = archive.dir().join(SOCKET);
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
        // Whoever has the archive's lock owns the socket: one that is there is a dead appliance's.
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let door = || {
            let socket = socket()?;
            let (address, _folder) = address(archive.dir())?;
            bind(&socket, &address)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            listen(&socket, GUESTS_MAX as i32)?;
            Ok(socket)
        };
        let socket = door().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, archive) = (Arc::clone(&stop), Arc::clone(archive));
        let thread = std::thread::Builder::new()
            .name("guests".into())
            .spawn(move || take_in(&socket, &archive, &recorder, config.as_deref(), &seen))?;
        Ok(Door { thread: Some(thread), stop, path })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for guests broke off");
        }
        // The next appliance would remove it, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A guest's place; given back however it ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(inside: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(inside));
        (inside.fetch_add(1, Ordering::Relaxed) < GUESTS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes guests in until `stop`, then waits a moment for those who are in.
fn take_in(
    socket: &OwnedFd,
    archive: &Arc<Archive>,
    recorder: &Control,
    config: Option<&Path>,
    stop: &AtomicBool,
) {
    let inside = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        if !has_something(socket, LOOK_EVERY) {
            continue;
        }
        let Ok(guest) = accept_with(socket, SocketFlags::CLOEXEC) else { continue };
        // One more than there may be finds its connection closed, and says so.
        let Some(place) = Place::take(&inside) else { continue };
        let (archive, recorder, config) = (Arc::clone(archive), recorder.clone(), config.map(Path::to_owned));
        let serve = move || {
            let _place = place;
            if let Err(error) = serve(&guest, &archive, recorder, config.as_deref()) {
                tracing::warn!(%error, "a command from outside was not done");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("guest".into()).spawn(serve) {
            tracing::warn!(%error, "a command from outside was not done");
        }
    }
    // A reader that holds its terminal must not hold up the end: the recordings are closed by then.
    let until = std::time::Instant::now() + FAREWELL;
    while inside.load(Ordering::Relaxed) > 0 && std::time::Instant::now() < until {
        std::thread::sleep(LOOK_EVERY / 4);
    }
}

fn has_something(socket: &OwnedFd, patience: Duration) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::IN)];
    let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    poll(&mut asked, Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// Does one guest's command.
fn serve(
    guest: &OwnedFd,
    archive: &Arc<Archive>,
    recorder: Control,
    config: Option<&Path>,
) -> io::Result<()> {
    let peer = sockopt::socket_peercred(guest)?;
    let us = rustix::process::geteuid();
    if !peer.uid.is_root() && peer.uid != us {
        return Err(io::Error::other(format!("user {} may not give commands", peer.uid)));
    }
    let mut waited = [PollFd::new(guest, PollFlags::IN)];
    if poll(&mut waited, Some(&Timespec { tv_sec: WORDS_WITHIN_S, tv_nsec: 0 }))? == 0 {
        return Err(io::Error::other("nothing was said"));
    }
    let mut bytes = vec![0; WORDS_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(guest, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut streams = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            streams.extend(files.map(File::from));
        }
    }
    let words: Words = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
    let mut streams = streams.into_iter();
    let (Some(out), Some(err)) = (streams.next(), streams.next()) else {
        return Err(io::Error::other("a command without its streams"));
    };
    let who = words.who.clone().filter(|_| peer.uid.is_root());
    let guests = Guest {
        archive: Arc::clone(archive),
        recorder,
        config: config.map(Path::to_owned),
        folder: words.folder.clone(),
        who: who
            .unwrap_or_else(|| if peer.uid.is_root() { "root".into() } else { format!("user {}", peer.uid) }),
        out,
        err,
        output: if words.has_output { streams.next() } else { None },
        files: words.files.iter().cloned().zip(streams).collect(),
    };
    tracing::info!(words = ?words.words.iter().take(2).collect::<Vec<_>>(), "a command from outside");
    let code = console::with_guest(guests, || {
        perform(&words).map_or_else(|failure| failure.report(), |done| done.code())
    });
    let answer = serde_json::to_vec(&Answer { code })?;
    rustix::net::send(guest, &answer, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn perform(words: &Words) -> Result<Done, Failure> {
    if words.version != env!("CARGO_PKG_VERSION") {
        let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &words.version);
        return Err(Failure::new(format!(
            "the running appliance is of version {ours} and this command of {theirs}: restart the appliance"
        )));
    }
    let cli =
        Cli::try_parse_from(std::iter::once("earwitness").chain(words.words.iter().map(String::as_str)))
            .map_err(Failure::usage)?;
    match &cli.command {
        Command::Run(_) | Command::Record(_) => {
            Err(Failure::locked("the appliance records into this archive already"))
        }
        Command::Serve(_) => Err(Failure::locked("the appliance serves this archive's pages already")),
        _ => cmd::run(cli),
    }
}

/// The side of a command whose archive is open elsewhere: has it done there, if an appliance is what has it. None when there is
/// none, and the archive is simply in use.
///
/// `input` is a file of no name that the command reads, under the name that it asks for it by.
pub(crate) fn hand_over(
    archive: &Path,
    output: Option<&File>,
    input: Option<(&str, File)>,
) -> Option<Result<u8, Failure>> {
    let socket = socket().ok()?;
    let (address, _folder) = address(archive).ok()?;
    connect(&socket, &address).ok()?;
    // Whoever can write to the folder could put a socket there: nobody but its owner is given our streams.
    let owner = std::fs::metadata(archive).ok()?.uid();
    let listener = sockopt::socket_peercred(&socket).ok()?.uid;
    if !listener.is_root() && listener.as_raw() != owner && listener != rustix::process::geteuid() {
        return None;
    }
    Some(speak(&socket, output, input))
}

/// The files that the command's words name and that this user can read, opened: `FILE`, or `--option=FILE`.
fn named_files() -> Vec<(PathBuf, File)> {
    let words = std::env::args_os().skip(1);
    let paths = words.map(|word| match word.to_str().and_then(|text| text.split_once('=')) {
        Some((option, path)) if option.starts_with("--") => PathBuf::from(path),
        _ => PathBuf::from(word),
    });
    let open = |path: PathBuf| {
        let file = path.is_file().then(|| File::open(&path).ok()).flatten()?;
        Some((path, file))
    };
    paths.filter_map(open).take(FILES_MAX).collect()
}

fn speak(socket: &OwnedFd, output: Option<&File>, input: Option<(&str, File)>) -> Result<u8, Failure> {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let mut named = named_files();
    if let Some((name, file)) = input {
        named.truncate(FILES_MAX - 1);
        named.push((name.into(), file));
    }
    let (names, files): (Vec<PathBuf>, Vec<File>) = named.into_iter().unzip();
    let words = Words {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        words: words.map_err(|word| Failure::usage(format!("{}: no text in UTF-8", word.display())))?,
        folder: std::env::current_dir()?,
        who: std::env::var("SUDO_USER").ok().filter(|who| !who.is_empty()),
        has_output: output.is_some(),
        files: names,
    };
    let words = serde_json::to_vec(&words)?;
    if words.len() > WORDS_MAX {
        return Err(Failure::usage("the command line is too long to be handed to the running appliance"));
    }
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let files = output.into_iter().chain(&files).map(|file| file.as_fd());
    let streams: Vec<_> = [stdout.as_fd(), stderr.as_fd()].into_iter().chain(files).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&streams));
    let gone =
        || Failure::locked("the running appliance has this archive, and did not do the command; try again");
    sendmsg(socket, &[IoSlice::new(&words)], &mut ancillary, SendFlags::NOSIGNAL).map_err(|_| gone())?;
    let mut answer = [0; 256];
    let (_, received) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()).map_err(|_| gone())?;
    let answer: Answer =
        serde_json::from_slice(answer.get(..received).unwrap_or_default()).map_err(|_| gone())?;
    Ok(answer.code)
}
