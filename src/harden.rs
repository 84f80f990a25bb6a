//! The process keeps its memory to itself, since keys pass through it, and gives up what it needs no more.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs,
};

/// From here on neither a crash nor a debugger of another process of this user writes the memory to a file.
pub(crate) fn no_core_dumps() {
    // Either can be refused by a sandbox, and the other one is enough against an ordinary crash.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "core dumps cannot be switched off: a crash may write keys to a file");
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
