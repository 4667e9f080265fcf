//! Prepares new child processes, and makes the other system calls that need `unsafe`: fork(2), pidfds, signal actions,
//! received descriptors, ioctl(2). The only file with `unsafe`.
//!
//! This module controls what a child inherits (session, signals, descriptors, parent-death signal, control group). It does
//! not wait for children.

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

/// Ids of processes whose owner waits for them. The code that reaps orphans must leave them alone.
static AWAITED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Records that the owner of `pid` waits for it.
pub fn await_pid(pid: u32) {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(pid);
}

/// Records that the owner of `pid` has reaped it.
pub fn forget_pid(pid: u32) {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&pid);
}

/// Returns true while the owner of `pid` waits for it.
pub fn is_awaited(pid: u32) -> bool {
    AWAITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&pid)
}

/// The properties of a child besides program, arguments and environment.
#[derive(Debug, Default)]
pub struct Isolation {
    /// Kill the child when the thread that started it ends (Linux). That thread must live as long as the program.
    pub die_with_us: bool,
    /// Descriptors for the child, numbered from 3 in this order. All others are closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Make descriptor 0 the controlling terminal. The caller must connect 0, 1 and 2 to it.
    pub terminal: bool,
    /// Set `LISTEN_PID` to the child's own id, because most programs ignore `LISTEN_FDS` without it. The command's
    /// environment must have been cleared: the child gets only the variables that were set on it.
    pub listen_pid: bool,
    /// The open `cgroup.procs` of a control group, to which the child writes `0` to move there, see
    /// [`super::cgroup::members_outside`]. If the kernel refuses, the child stays where it is.
    pub group: Option<OwnedFd>,
}

/// The number of the first of [`Isolation::descriptors`] in the child, as in systemd's `LISTEN_FDS`.
pub const FIRST_DESCRIPTOR: RawFd = 3;

/// Makes the child start in a new session and group, with default signal handlers, an empty signal mask, and no
/// descriptors except 0, 1, 2 and the given ones.
pub fn isolate(command: &mut Command, isolation: Isolation) {
    let parent = Pid::this();
    let mut image = if isolation.listen_pid { Image::of(command) } else { None };
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed. It makes
    // system calls alone (setsid, prctl, getppid, write, sigaction, sigprocmask, fcntl, dup2, ioctl, close_range, getpid, execve),
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

/// The arguments of execve(2), prepared before the fork because nothing may be allocated after it. The standard library
/// fixes the environment before the child has an id. This does the same, but fills in one variable later.
struct Image {
    program: CString,
    /// `LISTEN_PID=`, digits, a zero byte.
    own: Vec<u8>,
    /// Addresses of the strings in `_kept` and of `own`. The last one is null.
    argv: Vec<usize>,
    envp: Vec<usize>,
    _kept: Vec<CString>,
}

impl Image {
    const OWN: &'static [u8] = b"LISTEN_PID=";

    /// Returns `None` if the program is not found or a string contains a zero byte. The standard library then reports
    /// the error.
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

    /// Executes the program. Returns only on failure, and leaves the error to the caller.
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
    if let Some(list) = &isolation.group {
        let _ = nix::unistd::write(list, b"0");
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // Reset all signal handlers that the child would inherit. SIGKILL and SIGSTOP cannot be changed.
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: SIG_DFL installs no handler function.
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

/// Makes the kernel send SIGCONT to this process when its parent dies. If both were stopped, this process must notice
/// the parent's end.
#[cfg(target_os = "linux")]
pub fn wake_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGCONT)?)
}

/// Does nothing: only Linux has a parent-death signal.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "same shape as on Linux")]
pub fn wake_with_parent() -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn die_with(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the call above. Then the signal would never arrive.
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

/// Sets the close-on-exec flag on all other descriptors. The ones that devrun itself inherited may lack it.
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

/// Puts `descriptors` at 3, 4, … without the close-on-exec flag. A source may have the number of a target, so all are
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
        // SAFETY: dup2 works on descriptor numbers and touches no memory.
        if unsafe { nix::libc::dup2(*source, target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Returns a descriptor that refers to the process `pid`, also after its end, and becomes readable when the process ends. Returns
/// `None` if there is no such process, on kernels before 5.3, in sandboxes that forbid the call, or without a free descriptor.
#[cfg(target_os = "linux")]
pub fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes numbers and touches no memory.
    let pinned = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    let pinned = RawFd::try_from(pinned).ok().filter(|pinned| *pinned >= 0)?;
    // SAFETY: the kernel has just created it for us, and no other value owns it.
    Some(unsafe { OwnedFd::from_raw_fd(pinned) })
}

/// Sends `signal` to the process `pid` if `is_it` returns true while a pidfd refers to the process. So the signal
/// cannot reach a later process with the same id. Returns true if it was sent.
pub fn signal_exactly(pid: u32, signal: Signal, is_it: impl FnOnce() -> bool) -> bool {
    #[cfg(target_os = "linux")]
    {
        if let Some(pinned) = pidfd(pid) {
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
        // Reached on kernels before 5.3, in sandboxes that forbid the call, or without a free descriptor.
    }
    is_it() && nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).is_ok()
}

/// Sets SIGCHLD to its default. devrun may have inherited an ignored SIGCHLD, with which the kernel reaps children
/// itself and their exit status is lost.
pub fn hear_of_children() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL installs no handler function.
    unsafe { sigaction(Signal::SIGCHLD, &default)? };
    Ok(())
}

/// Returns true if this process ignores `signal`. A program that `nohup` has started ignores SIGHUP from the beginning.
pub fn is_ignored(signal: Signal) -> bool {
    let mut found = std::mem::MaybeUninit::<nix::libc::sigaction>::uninit();
    // SAFETY: with a null pointer for the new action nothing is changed, and the old one is written to our memory.
    let done = unsafe { nix::libc::sigaction(signal as i32, std::ptr::null(), found.as_mut_ptr()) };
    // SAFETY: the call above has succeeded, so it has written the whole value.
    done == 0 && unsafe { found.assume_init() }.sa_sigaction == nix::libc::SIG_IGN
}

/// The side of a fork.
#[derive(Clone, Copy, Debug)]
pub enum ForkSide {
    /// The original process; holds the child's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks the program. Errors if another thread exists, because a lock that it holds would stay locked in the child.
pub fn fork() -> io::Result<ForkSide> {
    if !is_single_threaded() {
        return Err(io::Error::other("other threads run already"));
    }
    // SAFETY: this is the only thread, and only it could start another. So no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(ForkSide::Parent(child)),
        ForkResult::Child => Ok(ForkSide::Child),
    }
}

/// Returns true if this process has one thread. Returns false if that is unknown.
#[cfg(target_os = "linux")]
fn is_single_threaded() -> bool {
    // SAFETY: takes a number and touches no memory. In a process with one thread it does nothing; in another it is EINVAL.
    if unsafe { nix::libc::unshare(nix::libc::CLONE_THREAD) } == 0 {
        return true;
    }
    // Some sandboxes forbid unshare(2).
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Returns true if this process never had a second thread.
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

/// Receives bytes from `socket`, and at most one descriptor that was sent with them. Returns the number of bytes.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel has just created it for us, and the message that contains its number is read only here.
                received = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok((message.bytes, received))
}

/// Returns how many bytes of a pipe are unread, or `None` if the kernel does not show it.
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
    fn a_program_with_several_threads_is_not_forked() {
        // The test runner has another thread already; this one makes sure.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || held.recv());
        assert!(fork().is_err());
        drop(release);
        let _ = other.join();
    }

    #[test]
    fn a_signal_reaches_only_the_intended_process() {
        let mut child = sleeper().unwrap();
        assert!(!signal_exactly(child.id(), Signal::SIGKILL, || false));
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal_exactly(child.id(), Signal::SIGKILL, || true));
        child.wait().unwrap();
        // The id belongs to no process now.
        assert!(!signal_exactly(child.id(), Signal::SIGKILL, || true));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a child to look at")]
    fn a_child_gets_its_own_id() {
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
    fn a_missing_program_is_an_error() {
        for program in ["no-such-program", "/no/such/program"] {
            let mut command = Command::new(program);
            command.current_dir("/").env_clear();
            isolate(&mut command, Isolation { listen_pid: true, ..Isolation::default() });
            assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
