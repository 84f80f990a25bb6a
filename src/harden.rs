//! The process keeps its memory to itself, since keys pass through it, and gives up what it needs no more: privileges, and files that
//! are none of its business.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    path_beneath_rules,
};

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs,
};

use crate::failure::Failure;

/// From here on neither a crash nor a debugger of another process of this user writes the memory to a file.
pub(crate) fn no_core_dumps() {
    // Either can be refused by a sandbox, and the other one is enough against an ordinary crash.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "core dumps cannot be switched off: a crash may write keys to a file");
    }
}

/// From here on none of the memory is written to swap, where the limits let it be kept here: keys pass through it, and audio. What is
/// reserved and not used costs nothing.
pub(crate) fn stay_in_memory() {
    let limited = |limit: &Rlimit| limit.current.is_some();
    if limited(&getrlimit(Resource::Memlock)) {
        // Root may; so may whoever is only asked to.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
    // With a limit, memory that is asked for later would be refused.
    if !limited(&getrlimit(Resource::Memlock)) {
        // Refused, it is told by whoever keeps calls.
        let _ = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    }
}

/// Says so if this machine has swap and the memory may come there.
pub(crate) fn tell_of_swap() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let has_swap = read("/proc/swaps").lines().count() > 1;
    let status = read("/proc/self/status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).map(str::trim);
    if has_swap && locked.is_none_or(|locked| locked == "0 kB") {
        tracing::warn!(
            "this machine has swap, and memory cannot be kept out of it: audio and keys may be written there. \
             Let this user lock memory (LimitMEMLOCK=infinity, ulimit -l unlimited), or encrypt swap"
        );
    }
}

/// As many files as the system lets this process have: the usual 1,024 are for programs that use `select`, and each recording that runs
/// has its file open.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // Refused, it works with fewer, and opens files again and again.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// What the threads that do not capture may still do, where root started it: reach files of others, as root always may.
const KEPT_BY_ROOT: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::FOWNER);

/// From here on this thread, and every one that it starts, can open no adapter and change nothing of the system. Threads that
/// run already keep what they have: those that capture must be able to open an adapter again that was away.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn give_up_privileges() -> std::io::Result<()> {
    let held = capabilities(None)?;
    let kept = if geteuid().is_root() { held.permitted & KEPT_BY_ROOT } else { CapabilitySet::empty() };
    set_no_new_privs(true)?;
    if !held.permitted.is_empty() {
        clear_ambient_capability_set()?;
    }
    let sets = CapabilitySets {
        effective: held.effective & kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Folders that may be reached behind the walls, with all that is in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walls {
    /// May be read and written.
    pub(crate) write: Vec<PathBuf>,
    /// May be read.
    pub(crate) read: Vec<PathBuf>,
    /// May be read, and programs in them started.
    pub(crate) run: Vec<PathBuf>,
}

/// What every program of this kind reads: libraries and what is installed, settings of the machine, what the kernel tells.
const RUN_ALWAYS: [&str; 7] = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/nix/store"];
const READ_ALWAYS: [&str; 6] = ["/etc", "/proc", "/sys", "/dev", "/run/systemd", "/run/resolvconf"];
/// Written to nobody's harm.
const WRITE_ALWAYS: [&str; 1] = ["/dev/null"];
/// The newest of the kernel's rules for files that are asked for; an older kernel keeps those that it has.
const RULES: ABI = ABI::V5;

/// How well the walls stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Full,
    /// The kernel is older, and has some of the rules.
    InPart,
    /// The kernel has none of it.
    None,
}

/// From here on this thread, and every one that it starts, reaches these files and no others, by no way (Landlock). Threads that run
/// already reach what they did.
///
/// # Errors
/// When the kernel has Landlock and refuses.
pub(crate) fn wall_in(walls: &Walls) -> Result<Standing, Failure> {
    let failed = |error: landlock::RulesetError| {
        Failure::new(format!("files cannot be walled off (Landlock): {error}"))
    };
    let (all, run) = (AccessFs::from_all(RULES), AccessFs::from_read(RULES));
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    fn both<'a>(fixed: &'a [&'a str], more: &'a [PathBuf]) -> impl Iterator<Item = &'a Path> {
        fixed.iter().map(Path::new).chain(more.iter().map(PathBuf::as_path))
    }
    let status = Ruleset::default()
        .handle_access(all)
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(both(&WRITE_ALWAYS, &walls.write), all)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(both(&RUN_ALWAYS, &walls.run), run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(both(&READ_ALWAYS, &walls.read), read)))
        .and_then(|rules| rules.restrict_self())
        .map_err(failed)?;
    let standing = match status.ruleset {
        RulesetStatus::FullyEnforced => Standing::Full,
        RulesetStatus::PartiallyEnforced => Standing::InPart,
        RulesetStatus::NotEnforced => Standing::None,
    };
    match standing {
        Standing::None => {
            tracing::warn!("this kernel has no Landlock: files are walled off by systemd's unit alone")
        }
        standing => tracing::info!(?standing, "files are walled off (Landlock)"),
    }
    Ok(standing)
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread from before the walls, which starts what must reach files that are named later: commands of root and of this user, and a
/// configuration that is read again.
pub(crate) struct Outside {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Outside {
    pub(crate) fn start() -> Result<Outside, Failure> {
        let (jobs, queue) = bounded::<Job>(0);
        let work = move || queue.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name("outside".into()).spawn(work)?;
        Ok(Outside { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Has something done there: threads that it starts are outside, too.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = bounded(1);
        let job: Job = Box::new(move || drop(answer.send(job())));
        let ended = || Failure::new("a thread of the start broke off");
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())?
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the start broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn behind_the_walls_nothing_else_is_read_written_or_started_and_outside_all_is_as_before() {
        let (own, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for folder in [&own, &other] {
            std::fs::write(folder.path().join("a"), "x").expect("writes");
        }
        let program = other.path().join("true");
        std::fs::copy("/usr/bin/true", &program).expect("a program");
        let outside = Outside::start().expect("a thread");
        let (mine, theirs) = (own.path().to_owned(), other.path().to_owned());
        let theirs_again = theirs.clone();
        // Walls stand for a thread and its children: the test's own goes on without.
        let tried = std::thread::spawn(move || {
            let walls = Walls { write: vec![mine.clone()], ..Walls::default() };
            let standing = wall_in(&walls).expect("Landlock, or none");
            if standing == Standing::None {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            let denied = |result: std::io::Result<()>| {
                assert_eq!(result.expect_err("it is reached").kind(), ErrorKind::PermissionDenied);
            };
            std::fs::write(mine.join("b"), "y").expect("its own folder");
            std::fs::create_dir(mine.join("c")).expect("its own folder");
            std::fs::rename(mine.join("b"), mine.join("c/b")).expect("its own folder");
            denied(std::fs::read(theirs.join("a")).map(drop));
            denied(std::fs::write(theirs.join("b"), "y"));
            denied(std::fs::remove_file(theirs.join("a")));
            denied(std::fs::read_dir(&theirs).map(drop));
            denied(std::fs::write("/etc/earwitness-test", "y"));
            denied(std::fs::rename(mine.join("a"), theirs.join("c")));
            std::fs::read_dir("/proc/self/fd").expect("what the kernel tells");
            let run = |program: &Path| Command::new(program).stdin(Stdio::null()).status().map(drop);
            run(Path::new("/usr/bin/true")).expect("what is installed is started");
            denied(run(&theirs.join("true")));
            if Path::new("/usr/bin/ffmpeg").exists() {
                // It is started and asked what it can, in its own sandbox.
                assert!(web::ffmpeg::Ffmpeg::installed().is_some(), "recordings are still decoded outside");
            }
            // A child of a thread behind them is behind them, too.
            let child = std::thread::spawn(move || std::fs::read(theirs.join("a")).map(drop));
            denied(child.join().expect("it ends"));
            let read = outside.ask(move || Ok(std::fs::read(theirs_again.join("a"))?));
            assert_eq!(read.expect("outside all is as before"), b"x");
        });
        tried.join().expect("as it should be");
        std::fs::read(other.path().join("a")).expect("and so it is here");
    }
}
