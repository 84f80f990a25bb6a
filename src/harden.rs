//! The process keeps its memory to itself: keys pass through it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on neither a crash nor a debugger of another process of this user writes the memory to a file.
pub(crate) fn no_core_dumps() {
    // Either can be refused by a sandbox, and the other one is enough against an ordinary crash.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "core dumps cannot be switched off: a crash may write keys to a file");
    }
}
