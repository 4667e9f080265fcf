//! Identifies a process by its id and start time, so that a later process with the same id is not taken for it.

#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::proc;

/// Time between two checks of a process where the kernel does not report its end.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub born: u64,
}

impl ProcessIdentity {
    /// Returns the process that has the id `pid` now. `None` if there is none, or if the system does not show its start.
    pub fn of(pid: u32) -> Option<ProcessIdentity> {
        let entry = proc::entry(pid).filter(|entry| !entry.has_ended())?;
        Some(ProcessIdentity { pid, born: entry.started })
    }

    /// Returns true while the process runs.
    pub fn lives(self) -> bool {
        ProcessIdentity::of(self.pid) == Some(self)
    }

    /// Waits until the process has ended.
    pub async fn ends(self) {
        #[cfg(target_os = "linux")]
        if let Some(pinned) = super::spawn::pidfd(self.pid)
            // The descriptor refers to this process only if it lives now.
            && self.lives()
            && until_readable(pinned).await.is_some()
        {
            return;
        }
        while self.lives() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}

/// Waits on another thread until `pinned` can be read: the runtime accepts such a descriptor only with unsafe code.
/// Dropping the future ends the thread. Returns `None` if the thread cannot be started.
#[cfg(target_os = "linux")]
async fn until_readable(pinned: OwnedFd) -> Option<()> {
    let (guard, dropped) = std::os::unix::net::UnixStream::pair().ok()?;
    let (sender, ended) = tokio::sync::oneshot::channel();
    let wait = move || {
        let sides = [pinned.as_fd(), dropped.as_fd()];
        let mut watched = sides.map(|side| PollFd::new(side, PollFlags::POLLIN));
        while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
        let _ = sender.send(());
    };
    std::thread::Builder::new().name("devrun-bound".into()).spawn(wait).ok()?;
    let ended = ended.await.ok();
    drop(guard);
    ended
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Stdio;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;
    use crate::os::cmd::Cmd;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed_and_a_reused_id_is_another_process() {
        let own = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(own.lives());
        let earlier = ProcessIdentity { born: own.born - 1, ..own };
        assert!(!earlier.lives());
        earlier.ends().await;
        let child = Cmd::new("sleep").arg("600").detach(Stdio::null(), Stdio::null()).unwrap();
        let known = ProcessIdentity::of(child.pid).unwrap();
        let mut ends = std::pin::pin!(known.ends());
        assert!(futures_util::poll!(ends.as_mut()).is_pending());
        kill(Pid::from_raw(child.pid.cast_signed()), Signal::SIGKILL).unwrap();
        ends.await;
        child.ended.await.unwrap();
    }
}
