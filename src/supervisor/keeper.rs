//! The keeper: the process the user started stays behind as parent and reaper while its fork does all the work.
//!
//! Owns what must happen however the supervisor dies: everything it started is killed, and what it entrusted (locks, the
//! claim on a shared server) is settled. Holds no logic of a run. It passes signals on, so that a Ctrl-C reaches the
//! supervisor once and children never.

use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask, raise};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::sweep::{self, Shared};
use crate::error::Exit;
use crate::os::spawn::{self, Side};

/// Signals the keeper handles itself or passes on.
const HANDLED: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// From this many requests to end on, the keeper no longer trusts the supervisor to obey.
const PATIENCE: u32 = 3;

/// How long killing what is left may take.
const SWEEP: Duration = Duration::from_secs(10);

/// Something to settle once the supervisor and all its children are gone.
#[derive(Debug)]
pub struct Trust {
    /// Path of the folder it is about; empty for a lock that only has to be held to the end.
    pub about: PathBuf,
    /// The descriptor that was entrusted.
    pub held: OwnedFd,
}

/// Which of the two processes this is, after [`split`].
#[derive(Debug)]
pub enum Role {
    /// The process the user started.
    Keeper(Keeper),
    /// Its fork, which does the work.
    Supervisor(Link),
}

/// The keeper's side.
#[derive(Debug)]
pub struct Keeper {
    supervisor: Pid,
    link: UnixStream,
}

/// The supervisor's side.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    trusts: Vec<Trust>,
}

/// Splits the program in two. An error once a second thread exists.
pub fn split() -> std::io::Result<Role> {
    spawn::hear_of_children()?;
    let (ours, theirs) = UnixStream::pair()?;
    let handled: SigSet = HANDLED.into_iter().collect();
    // Blocked before the fork, so that no signal falls between the two.
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&handled), None)?;
    sweep::adopt_strays();
    match spawn::fork()? {
        Side::Parent(supervisor) => Ok(Role::Keeper(Keeper { supervisor, link: ours })),
        Side::Child => {
            // A session of its own: the terminal's keys reach the keeper alone, and writing to the terminal never
            // stops us for being in the background.
            nix::unistd::setsid()?;
            sweep::adopt_strays();
            spawn::wake_with_parent()?;
            drop(ours);
            Ok(Role::Supervisor(Link { stream: theirs, trusts: Vec::new() }))
        }
    }
}

impl Link {
    /// Lets signals through; to be called when handlers are in place.
    pub fn unblock_signals(&self) -> std::io::Result<()> {
        let handled: SigSet = HANDLED.into_iter().collect();
        pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&handled), None)?;
        Ok(())
    }

    /// The stream whose closing means that the keeper is gone.
    pub fn watch(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Leaves `trust` with the keeper, and keeps a copy for the case that the keeper dies first.
    pub fn entrust(&mut self, trust: Trust) -> std::io::Result<()> {
        let about = trust.about.as_os_str().as_bytes();
        let length = u32::try_from(about.len()).map_err(std::io::Error::other)?.to_ne_bytes();
        let parts = [IoSlice::new(&length), IoSlice::new(about)];
        let fds = [trust.held.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None);
        self.trusts.push(trust);
        match sent {
            // A keeper that is gone cannot take it; our own copy will do.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Settles everything ourselves when the keeper is gone; nothing to do while it lives.
    pub fn settle(self, shared: &Shared, mut settle: impl FnMut(Trust)) {
        let mut stream = &self.stream;
        let gone = stream.set_nonblocking(true).is_ok() && matches!(stream.read(&mut [0; 1]), Ok(0));
        if gone {
            sweep::kill_descendants(SWEEP, shared);
            self.trusts.into_iter().for_each(&mut settle);
            sweep::reap_all();
        }
    }
}

impl Keeper {
    /// Waits for the supervisor's end, then ends what it left and calls `settle` for each thing it entrusted.
    pub fn watch(self, shared: &Shared, mut settle: impl FnMut(Trust)) -> Exit {
        let exit = self.wait();
        sweep::kill_descendants(SWEEP, shared);
        let trusts = self.collect();
        // Locks that are only held go last, when everything is settled.
        let (about, held): (Vec<Trust>, Vec<Trust>) =
            trusts.into_iter().partition(|trust| !trust.about.as_os_str().is_empty());
        about.into_iter().for_each(&mut settle);
        // What was just stopped is our child by now; nobody shall see it as a zombie after us.
        sweep::reap_all();
        drop(held);
        exit
    }

    fn wait(&self) -> Exit {
        let handled: SigSet = HANDLED.into_iter().collect();
        let mut asked = 0;
        loop {
            // Reaped on every turn: several deaths may come as one signal.
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
                Ok(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)) => {
                    asked += 1;
                    let passed = if asked > PATIENCE { Signal::SIGKILL } else { signal };
                    let _ = kill(self.supervisor, passed);
                }
                _ => {}
            }
        }
    }

    /// Reaps whatever ended; the supervisor's status when it was among them.
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

    /// What the supervisor entrusted: it waits in the socket, descriptors and all, until asked for.
    fn collect(&self) -> Vec<Trust> {
        let mut trusts = Vec::new();
        if self.link.set_nonblocking(true).is_err() {
            return trusts;
        }
        while let Some(trust) = self.receive() {
            trusts.push(trust);
        }
        trusts
    }

    fn receive(&self) -> Option<Trust> {
        let mut length = [0; 4];
        let (count, held) = spawn::receive(self.link.as_fd(), &mut length).ok()?;
        let held = held.filter(|_| count > 0)?;
        let mut about = vec![0; u32::from_ne_bytes(length) as usize];
        (&self.link).read_exact(&mut about).ok()?;
        Some(Trust { about: PathBuf::from(std::ffi::OsString::from_vec(about)), held })
    }
}
