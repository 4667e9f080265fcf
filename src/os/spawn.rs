//! Where a child comes to life: the only file with `unsafe`, because fork(2) and what happens between fork and exec
//! cannot be said otherwise.
//!
//! Owns what a child inherits (session, signals, descriptors, parent-death signal). Refuses to wait for it.

#![expect(unsafe_code, reason = "fork(2) and pre_exec are unsafe by nature; see each SAFETY note")]

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
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
    /// Tell the child its own id in `LISTEN_PID`, without which most readers of `LISTEN_FDS` take nothing. The command's
    /// environment must have been cleared: what was set on it is all the child gets.
    pub listen_pid: bool,
}

/// First descriptor number of [`Isolation::descriptors`] in the child, as systemd's `LISTEN_FDS` has it.
pub const FIRST_DESCRIPTOR: RawFd = 3;

/// Arranges that the child starts in a session and group of its own, with default signals, an empty mask and no
/// descriptor but 0, 1, 2 and those handed over.
pub fn isolate(command: &mut Command, isolation: Isolation) {
    let parent = Pid::this();
    let mut image = if isolation.listen_pid { Image::of(command) } else { None };
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed. It makes
    // system calls alone (setsid, prctl, sigaction, sigprocmask, fcntl, dup2, ioctl, close_range, getpid, execve),
    // allocates nothing, takes no lock, and touches memory that was owned before the fork.
    unsafe {
        command.pre_exec(move || {
            in_child(parent, &isolation)?;
            if let Some(image) = &mut image {
                image.become_it();
            }
            Ok(())
        });
    }
}

/// A command as execve(2) takes it, made before the fork because nothing may be allocated after it. The standard library
/// fixes a child's environment before the child has an id; this is the same with one variable filled in late.
struct Image {
    program: CString,
    /// `LISTEN_PID=`, digits, a zero byte.
    own: Vec<u8>,
    /// Addresses into what is kept in `_kept`, and into `own`; the last is null.
    argv: Vec<usize>,
    envp: Vec<usize>,
    _kept: Vec<CString>,
}

impl Image {
    const OWN: &'static [u8] = b"LISTEN_PID=";

    /// `None` when it is not found or holds a zero byte: then the ordinary way says what is wrong.
    fn of(command: &Command) -> Option<Image> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).ok();
        let variables: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        let path = variables.iter().find(|(name, _)| *name == "PATH").map(|(_, value)| *value);
        let program = command.get_program();
        let found = if program.as_bytes().contains(&b'/') {
            program.into()
        } else {
            which::which_in(program, path, command.get_current_dir()?).ok()?.into_os_string()
        };
        let mut kept = vec![text(program)?];
        for argument in command.get_args() {
            kept.push(text(argument)?);
        }
        let words = kept.len();
        for (name, value) in variables {
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            kept.push(CString::new(pair).ok()?);
        }
        let own = [Self::OWN, &[0; 12]].concat();
        let mut addresses: Vec<usize> = kept.iter().map(|text| text.as_ptr().expose_provenance()).collect();
        let mut envp = addresses.split_off(words);
        addresses.push(0);
        envp.extend([own.as_ptr().expose_provenance(), 0]);
        Some(Image { program: text(&found)?, own, argv: addresses, envp, _kept: kept })
    }

    /// Returns only when it cannot be executed, and leaves it to the caller to find out why.
    fn become_it(&mut self) {
        let mut number = Pid::this().as_raw().unsigned_abs();
        let mut digits = [0; 10];
        let mut first = digits.len();
        while number > 0 {
            first -= 1;
            digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        let place = self.own.iter_mut().skip(Self::OWN.len());
        for (slot, digit) in place.zip(&digits[first..]) {
            *slot = *digit;
        }
        // SAFETY: both lists are of addresses of texts that end in a zero byte, owned by `self`, and end in null.
        unsafe {
            nix::libc::execve(self.program.as_ptr(), self.argv.as_ptr().cast(), self.envp.as_ptr().cast());
        }
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

/// Has this process continued when its parent dies: one that was stopped together with it must learn of that end.
#[cfg(target_os = "linux")]
pub fn wake_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGCONT)?)
}

/// Has this process continued when its parent dies; only Linux does that.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "same shape as on Linux")]
pub fn wake_with_parent() -> io::Result<()> {
    Ok(())
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

/// Sends `signal` to the process that has the id `pid`, if `is_it` holds while the process is pinned: an id that passes to
/// another process meanwhile hits nobody. True when it was sent.
pub fn signal_exactly(pid: u32, signal: Signal, is_it: impl FnOnce() -> bool) -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes numbers and touches no memory.
        let pinned = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
        if let Some(pinned) = RawFd::try_from(pinned).ok().filter(|pinned| *pinned >= 0) {
            // SAFETY: the kernel has just made it for us, nobody else owns it.
            let pinned = unsafe { OwnedFd::from_raw_fd(pinned) };
            let nothing = std::ptr::null::<nix::libc::siginfo_t>();
            // SAFETY: without details the signal is as kill(2) sends it, and no memory is read.
            return is_it()
                && unsafe {
                    let number = signal as nix::libc::c_int;
                    nix::libc::syscall(
                        nix::libc::SYS_pidfd_send_signal,
                        pinned.as_raw_fd(),
                        number,
                        nothing,
                        0,
                    ) == 0
                };
        }
        if nix::errno::Errno::last() == nix::errno::Errno::ESRCH {
            return false;
        }
        // Kernels before 5.3, sandboxes that forbid it, no descriptor left.
    }
    is_it() && nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).is_ok()
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

/// Forks the whole program. An error while another thread exists: a lock that it holds would stay locked in the child.
pub fn fork() -> io::Result<Side> {
    if !is_single_threaded() {
        return Err(io::Error::other("other threads run already"));
    }
    // SAFETY: this is the only thread, and only it could start another. So no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// Returns true when this process has one thread. False, too, where that cannot be known.
#[cfg(target_os = "linux")]
fn is_single_threaded() -> bool {
    // SAFETY: takes a number and touches no memory. In a process with one thread it does nothing; in another it is EINVAL.
    if unsafe { nix::libc::unshare(nix::libc::CLONE_THREAD) } == 0 {
        return true;
    }
    // Some sandboxes forbid that call.
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Returns true when this process never had a second thread.
#[cfg(target_os = "macos")]
fn is_single_threaded() -> bool {
    unsafe extern "C" {
        // <pthread.h>: 0 until the first thread is made.
        fn pthread_is_threaded_np() -> nix::libc::c_int;
    }
    // SAFETY: takes nothing and reads one number of the thread library.
    unsafe { pthread_is_threaded_np() == 0 }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn is_single_threaded() -> bool {
    false
}

/// Receives bytes from `socket`, and at most one descriptor that was sent with them. Returns how many bytes came.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel has just made it for us, and the message that names it is read only here.
                received = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok((message.bytes, received))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a child to look at")]
    fn sleeper() -> std::io::Result<std::process::Child> {
        Command::new("sleep").arg("60").spawn()
    }

    #[test]
    fn a_program_with_more_threads_is_not_forked() {
        // The test runner has a thread beside this one; another makes it sure.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || held.recv());
        assert!(fork().is_err());
        drop(release);
        let _ = other.join();
    }

    #[test]
    fn only_the_process_that_was_meant_gets_the_signal() {
        let mut child = sleeper().unwrap();
        assert!(!signal_exactly(child.id(), Signal::SIGKILL, || false));
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal_exactly(child.id(), Signal::SIGKILL, || true));
        child.wait().unwrap();
        // Its id belongs to nobody now.
        assert!(!signal_exactly(child.id(), Signal::SIGKILL, || true));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a child to look at")]
    fn a_child_learns_its_own_id() {
        for program in ["sh", "/bin/sh"] {
            let mut command = Command::new(program);
            command.args(["-c", "echo $LISTEN_PID $$ $A; env -i printenv"]).current_dir("/").env_clear();
            command.env("A", "b c").env("PATH", std::env::var_os("PATH").unwrap());
            command.stdout(std::process::Stdio::piped());
            isolate(&mut command, Isolation { listen_pid: true, ..Isolation::default() });
            let child = command.spawn().unwrap();
            let pid = child.id();
            let said = child.wait_with_output().unwrap().stdout;
            assert_eq!(String::from_utf8(said).unwrap(), format!("{pid} {pid} b c\n"));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a child that cannot be")]
    fn what_cannot_be_executed_is_an_error_as_ever() {
        for program in ["no-such-program", "/no/such/program"] {
            let mut command = Command::new(program);
            command.current_dir("/").env_clear();
            isolate(&mut command, Isolation { listen_pid: true, ..Isolation::default() });
            assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
