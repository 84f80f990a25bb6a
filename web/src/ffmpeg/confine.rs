//! A child process with a bare life: no network, no file for writing, no privileges to gain, little time and memory.
//!
//! Two belts. A filter of system calls (seccomp) is put on a thread of its own, which then starts the child: the child inherits
//! it, and with it "no new privileges". Limits of the kernel (`prlimit`) are set on the child before it is fed the first byte.
//! Files can still be opened for reading, because the program has to load its libraries.

use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// Processor time, in seconds.
const CPU_S: u64 = 30;
/// Address space, in bytes: `ffmpeg` with all its libraries maps about half of it.
const MEMORY_MAX: u64 = 2 << 30;
/// Open files: three pipes, and one at a time while libraries are loaded.
const FILES_MAX: u64 = 16;

/// System calls that a decoder has no business with. They fail as if it were not permitted.
const REFUSED: [i64; 24] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_openat2,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_truncate,
];

/// Starts the command.
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
    let started = thread::Builder::new().name("start ffmpeg".into()).spawn(move || {
        rustix::thread::set_no_new_privs(true)?;
        apply_filter(&filter()?).map_err(io::Error::other)?;
        command.spawn()
    })?;
    let mut child = started.join().map_err(|_| io::Error::other("the thread that starts it broke"))??;
    if let Err(error) = limit(&child) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

fn limit(child: &Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    for (resource, most) in [
        (Resource::Cpu, CPU_S),
        (Resource::As, MEMORY_MAX),
        (Resource::Nofile, FILES_MAX),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

fn filter() -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    // Opening is for reading only: the flags' access mode is the second argument, or the first.
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, for_writing(1)?);
    rules.insert(libc::SYS_openat, for_writing(2)?);
    #[cfg(target_arch = "x86_64")]
    for call in [
        libc::SYS_creat,
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_mkdir,
        libc::SYS_rmdir,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_chmod,
        libc::SYS_chown,
    ] {
        rules.insert(call, Vec::new());
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

/// Matches flags in this argument that open for writing.
fn for_writing(argument: u8) -> io::Result<Vec<SeccompRule>> {
    let mode = |mode: i32| {
        let masked = SeccompCmpOp::MaskedEq(libc::O_ACCMODE as u64);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, mode as u64)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(io::Error::other)
    };
    Ok(vec![mode(libc::O_WRONLY)?, mode(libc::O_RDWR)?])
}
