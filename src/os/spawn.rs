//! Where a child comes to life: the only file with `unsafe`, because fork(2) and what happens between fork and exec
//! cannot be said otherwise.
//!
//! Owns what a child inherits (session, signals, descriptors, parent-death signal). Refuses to wait for it.

#![expect(unsafe_code, reason = "fork(2) and pre_exec are unsafe by nature; see each SAFETY note")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid};

/// Process ids that somebody waits for; whoever reaps strays must leave these alone.
static AWAITED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Marks `pid` as waited for by its owner.
pub fn await_pid(pid: u32) {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(pid);
}

/// The owner of `pid` has reaped it.
pub fn forget_pid(pid: u32) {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&pid);
}

/// True while the owner of `pid` is waiting for it.
pub fn is_awaited(pid: u32) -> bool {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&pid)
}

/// What a child gets beyond program, arguments and environment.
#[derive(Debug, Default)]
pub struct Isolation {
    /// Kill it when the thread that spawned it ends (Linux). The spawning thread must live as long as the program.
    pub die_with_us: bool,
    /// Descriptors handed over, from 3 upwards in this order; everything else is closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Make this descriptor the controlling terminal (0, 1 and 2 must be set to it by the caller).
    pub terminal: bool,
}

/// First descriptor number of [`Isolation::descriptors`] in the child, as systemd's `LISTEN_FDS` has it.
pub const FIRST_DESCRIPTOR: RawFd = 3;

/// Arranges that the child starts in a session and group of its own, with default signals, an empty mask and no
/// descriptor but 0, 1, 2 and those handed over.
pub fn isolate(command: &mut Command, isolation: Isolation) {
    let parent = Pid::this();
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed. It makes
    // system calls alone (setsid, prctl, sigaction, sigprocmask, fcntl, dup2, ioctl, close_range), allocates
    // nothing, takes no lock, and touches memory that was owned before the fork.
    unsafe {
        command.pre_exec(move || in_child(parent, &isolation));
    }
}

fn in_child(parent: Pid, isolation: &Isolation) -> io::Result<()> {
    nix::unistd::setsid()?;
    if isolation.die_with_us {
        die_with(parent)?;
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // A child must find every disposition as if nobody had touched it; these two nobody can.
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: SIG_DFL installs no handler of ours.
        unsafe { sigaction(signal, &default)? };
    }
    SigSet::empty().thread_set_mask()?;
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    if isolation.terminal {
        // SAFETY: plain ioctl on descriptor 0, which the caller made a terminal.
        let done = unsafe { nix::libc::ioctl(0, nix::libc::TIOCSCTTY as _, 0) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_rest_on_exec();
    hand_over(&isolation.descriptors)
}

#[cfg(target_os = "linux")]
fn die_with(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above: then nobody will ever send that signal.
    if nix::unistd::getppid() == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(nix::libc::ESRCH))
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "same shape as on Linux")]
fn die_with(_parent: Pid) -> io::Result<()> {
    Ok(())
}

/// Descriptors devrun itself was started with may lack the close-on-exec flag.
fn close_rest_on_exec() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets a flag on descriptors and touches no memory. Kernels before 5.11 refuse it, which leaves what
    // Rust's own close-on-exec discipline gives.
    unsafe {
        nix::libc::syscall(
            nix::libc::SYS_close_range,
            FIRST_DESCRIPTOR,
            nix::libc::c_uint::MAX,
            nix::libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Puts `descriptors` at 3, 4, … without the close-on-exec flag. A source may sit where a target goes, so all are
/// first moved above the targets.
fn hand_over(descriptors: &[OwnedFd]) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    const MOST: usize = 16;
    let mut moved = [0; MOST];
    if descriptors.len() > MOST {
        return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
    }
    for (slot, descriptor) in moved.iter_mut().zip(descriptors) {
        *slot = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(FIRST_DESCRIPTOR + 32))?;
    }
    for (target, source) in (FIRST_DESCRIPTOR..).zip(&moved[..descriptors.len()]) {
        // SAFETY: dup2 on numbers we hold; the target belongs to nobody in this process image after exec.
        if unsafe { nix::libc::dup2(*source, target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Undoes an ignored `SIGCHLD`, which is inherited: under it the kernel reaps children itself and nobody learns of their
/// ends.
pub fn hear_of_children() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL installs no handler of ours.
    unsafe { sigaction(Signal::SIGCHLD, &default)? };
    Ok(())
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The original process; holds the child's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks the whole program. Must be called before any thread exists.
pub fn fork() -> io::Result<Side> {
    // SAFETY: the caller guarantees a single thread, so no lock can be held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// A descriptor number that outlives everything, such as standard output.
pub fn standard(fd: RawFd) -> BorrowedFd<'static> {
    debug_assert!((0..=2).contains(&fd));
    // SAFETY: 0, 1 and 2 stay open for the life of the program: nobody here closes them.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Takes ownership of descriptors received from a socket.
pub fn adopt(fds: &[RawFd]) -> Vec<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the kernel has just made these for us (SCM_RIGHTS), nobody else owns them.
    fds.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }).collect()
}

/// The number of an owned descriptor, for messages.
pub fn number(fd: &OwnedFd) -> RawFd {
    fd.as_raw_fd()
}

/// How many bytes wait in a pipe for its reader; `None` where the kernel does not say.
pub fn unread(pipe: BorrowedFd<'_>) -> Option<i32> {
    let mut count: nix::libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which is ours.
    let done = unsafe { nix::libc::ioctl(pipe.as_raw_fd(), nix::libc::FIONREAD, &raw mut count) };
    (done == 0).then_some(count)
}
