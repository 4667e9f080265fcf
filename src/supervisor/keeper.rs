//! The keeper is the process that the user started. It stays as parent and reaper of the supervisor, a fork that does
//! all the work.
//!
//! However the supervisor dies, the keeper kills all of its descendants and releases what was entrusted to it
//! (locks, the claim on a shared database server). It has no state of the run itself. It passes signals on to the
//! supervisor, so that a Ctrl-C reaches the supervisor once and its children not at all.

use std::ffi::OsStr;
use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask, raise};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::sweep::{self, SharedServers};
use crate::error::Exit;
use crate::os::cgroup::ControlGroup;
use crate::os::spawn::{self, ForkSide};

/// The signals that the keeper handles or passes on.
const HANDLED: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// Two SIGINTs within this time count as one Ctrl-C. The terminal sends it to the whole process group, and a program
/// that runs devrun may forward it as well.
const ONE_CTRL_C: Duration = Duration::from_millis(500);

/// How many requests to stop are passed on as they are. Each further one becomes SIGKILL.
const FORWARDED_SIGNALS: u32 = 3;

/// How long killing the remaining processes may take.
const SWEEP: Duration = Duration::from_secs(10);

/// A resource that the keeper releases once the supervisor and all its children are gone.
#[derive(Debug)]
pub struct KeptResource {
    /// How to release it.
    pub kind: ResourceKind,
    /// The descriptor that was passed to the keeper.
    pub held: OwnedFd,
}

/// How to release a [`KeptResource`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// It is a lock. Close the descriptor, after everything else.
    Lock,
    /// Remove this file, through which other devruns find the supervisor.
    Trace(PathBuf),
    /// Stop the server of the database cluster in this folder, unless another run uses it.
    Cluster(PathBuf),
    /// Kill the processes in the control group with this path and remove the group.
    Group(PathBuf),
}

impl ResourceKind {
    /// Returns the form for the socket: a letter and a path.
    fn encode(&self) -> Vec<u8> {
        let (kind, path) = match self {
            ResourceKind::Lock => (b'l', Path::new("")),
            ResourceKind::Trace(path) => (b't', path.as_path()),
            ResourceKind::Cluster(path) => (b'c', path.as_path()),
            ResourceKind::Group(path) => (b'g', path.as_path()),
        };
        [&[kind], path.as_os_str().as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<ResourceKind> {
        let (kind, path) = bytes.split_first()?;
        let path = PathBuf::from(OsStr::from_bytes(path));
        match kind {
            b'l' => Some(ResourceKind::Lock),
            b't' => Some(ResourceKind::Trace(path)),
            b'c' => Some(ResourceKind::Cluster(path)),
            b'g' => Some(ResourceKind::Group(path)),
            _ => None,
        }
    }
}

/// The process in which [`split`] returned.
#[derive(Debug)]
pub enum Role {
    /// The process that the user started.
    Keeper(Keeper),
    /// Its fork, which does the work.
    Supervisor(KeeperConnection),
}

/// The state of the keeper.
#[derive(Debug)]
pub struct Keeper {
    supervisor: Pid,
    link: UnixStream,
}

/// The supervisor's connection to the keeper.
#[derive(Debug)]
pub struct KeeperConnection {
    stream: UnixStream,
    resources: Vec<KeptResource>,
}

/// Returns the signals that the keeper handles. An ignored SIGHUP stays ignored, because `nohup` relies on that.
fn handled() -> SigSet {
    let is_heard = |signal: &Signal| *signal != Signal::SIGHUP || !spawn::is_ignored(*signal);
    HANDLED.into_iter().filter(is_heard).collect()
}

/// Returns true if a SIGINT at `now` belongs to the same Ctrl-C as the one that was passed on at `last`.
fn is_same_ctrl_c(last: Option<Instant>, now: Instant) -> bool {
    last.is_some_and(|last| now.saturating_duration_since(last) < ONE_CTRL_C)
}

/// Forks the program into keeper and supervisor. Errors if a second thread exists.
pub fn split() -> std::io::Result<Role> {
    spawn::hear_of_children()?;
    let (ours, theirs) = UnixStream::pair()?;
    let handled = handled();
    // Block the signals before the fork, so that none is lost before the handlers are in place.
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&handled), None)?;
    sweep::adopt_strays();
    match spawn::fork()? {
        ForkSide::Parent(supervisor) => Ok(Role::Keeper(Keeper { supervisor, link: ours })),
        ForkSide::Child => {
            // In a new session, the terminal's keys signal only the keeper, and the kernel does not stop the supervisor
            // when it writes to the terminal from the background.
            nix::unistd::setsid()?;
            sweep::adopt_strays();
            spawn::wake_with_parent()?;
            drop(ours);
            Ok(Role::Supervisor(KeeperConnection { stream: theirs, resources: Vec::new() }))
        }
    }
}

impl KeeperConnection {
    /// Unblocks the signals. Must be called after the handlers were installed.
    pub fn unblock_signals() -> std::io::Result<()> {
        let handled = handled();
        pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&handled), None)?;
        Ok(())
    }

    /// Returns a stream that closes when the keeper ends.
    pub fn watch(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Sends `resource` to the keeper. Keeps a copy in case the keeper dies first.
    pub fn entrust(&mut self, resource: KeptResource) -> std::io::Result<()> {
        let about = resource.kind.encode();
        let length = u32::try_from(about.len()).map_err(std::io::Error::other)?.to_ne_bytes();
        let parts = [IoSlice::new(&length), IoSlice::new(&about)];
        let fds = [resource.held.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None);
        self.resources.push(resource);
        match sent {
            // The keeper has died, so the supervisor's copy is used.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// If the keeper has died, kills the remaining processes and releases all resources in its place. Otherwise does
    /// nothing.
    pub fn release_without_keeper(self, shared: &SharedServers, settle: impl FnMut(KeptResource)) {
        let mut stream = &self.stream;
        let gone = stream.set_nonblocking(true).is_ok() && matches!(stream.read(&mut [0; 1]), Ok(0));
        if gone {
            drop(settle_all(self.resources, shared, settle));
        }
    }
}

impl Keeper {
    /// Waits until the supervisor has ended, kills the processes that it left behind, and calls `settle` for each
    /// resource that is neither a lock nor a control group. Returns the supervisor's exit status.
    pub fn watch(self, shared: &SharedServers, settle: impl FnMut(KeptResource)) -> Exit {
        let exit = self.wait();
        drop(settle_all(self.collect(), shared, settle));
        exit
    }

    fn wait(&self) -> Exit {
        let handled = handled();
        let mut asked = 0;
        let mut interrupted = None;
        loop {
            // Reap on every turn, because several deaths can arrive as one signal.
            if let Some(exit) = self.reap() {
                return exit;
            }
            match handled.wait() {
                Ok(Signal::SIGTSTP) => {
                    let _ = kill(self.supervisor, Signal::SIGSTOP);
                    let _ = raise(Signal::SIGSTOP);
                }
                Ok(Signal::SIGCONT) => {
                    let _ = kill(self.supervisor, Signal::SIGCONT);
                }
                Ok(Signal::SIGINT) if is_same_ctrl_c(interrupted, Instant::now()) => {}
                Ok(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)) => {
                    if signal == Signal::SIGINT {
                        interrupted = Some(Instant::now());
                    }
                    asked += 1;
                    let passed = if asked > FORWARDED_SIGNALS { Signal::SIGKILL } else { signal };
                    let _ = kill(self.supervisor, passed);
                }
                _ => {}
            }
        }
    }

    /// Reaps all ended children. Returns the supervisor's exit status if it was among them.
    fn reap(&self) -> Option<Exit> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.supervisor => {
                    return Some(Exit::Child(u8::try_from(code).unwrap_or(255)));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.supervisor => {
                    return Some(Exit::from_signal(signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Returns all resources that the supervisor sent. Until now they have stayed in the socket, with their descriptors.
    fn collect(&self) -> Vec<KeptResource> {
        let mut resources = Vec::new();
        if self.link.set_nonblocking(true).is_err() {
            return resources;
        }
        while let Some(resource) = self.receive() {
            resources.push(resource);
        }
        resources
    }

    fn receive(&self) -> Option<KeptResource> {
        let mut length = [0; 4];
        let (count, held) = spawn::receive(self.link.as_fd(), &mut length).ok()?;
        let held = held.filter(|_| count > 0)?;
        let mut about = vec![0; u32::from_ne_bytes(length) as usize];
        (&self.link).read_exact(&mut about).ok()?;
        Some(KeptResource { kind: ResourceKind::decode(&about)?, held })
    }
}

/// Kills all descendants of this process and all processes in the run's control groups, and calls `settle` for the
/// other `resources`. Returns the locks, which must be released last.
fn settle_all(
    resources: Vec<KeptResource>,
    shared: &SharedServers,
    mut settle: impl FnMut(KeptResource),
) -> Vec<KeptResource> {
    sweep::kill_descendants(SWEEP, shared);
    let mut held = Vec::new();
    for resource in resources {
        match &resource.kind {
            ResourceKind::Lock => held.push(resource),
            ResourceKind::Group(path) => {
                if let Some(group) = ControlGroup::at(path) {
                    sweep::end_group(&group, shared);
                }
            }
            ResourceKind::Trace(_) | ResourceKind::Cluster(_) => settle(resource),
        }
    }
    // A server that `settle` stopped may be a child of this process by now. Reap it, so that it is not left as a zombie.
    sweep::reap_all();
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_resources_arrive_unchanged() {
        let odd = PathBuf::from(OsStr::from_bytes(b"/w/\xff x"));
        for about in [
            ResourceKind::Lock,
            ResourceKind::Trace(odd.clone()),
            ResourceKind::Cluster(odd.clone()),
            ResourceKind::Group(odd),
        ] {
            assert_eq!(ResourceKind::decode(&about.encode()), Some(about));
        }
        assert_eq!(ResourceKind::decode(b""), None);
        assert_eq!(ResourceKind::decode(b"?/w"), None);
    }

    #[test]
    fn two_interrupts_within_half_a_second_are_one() {
        let first = Instant::now();
        assert!(!is_same_ctrl_c(None, first));
        assert!(is_same_ctrl_c(Some(first), first + Duration::from_millis(20)));
        assert!(is_same_ctrl_c(Some(first), first + Duration::from_millis(499)));
        assert!(!is_same_ctrl_c(Some(first), first + Duration::from_millis(500)));
    }
}
