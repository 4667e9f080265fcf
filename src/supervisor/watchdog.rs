//! Ends a supervisor that outlives its keeper. If the keeper is gone and the run does not end within its grace period,
//! kills all descendants, except shared database servers, and then this process.
//!
//! Runs on its own thread, because the thread that listens for signals may hang in a system call. It touches no file:
//! the kernel releases the locks, and the next devrun cleans up the rest.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::sweep::{self, SharedServers};

/// How long a run may take to end, in addition to the grace periods of its processes.
pub const MARGIN: Duration = Duration::from_secs(30);
/// How long killing the descendants may take.
const SWEEP: Duration = Duration::from_secs(10);

/// The thread that watches the keeper. It lasts as long as the process.
#[derive(Debug)]
pub struct Watchdog {
    margin: Duration,
    /// The time that the run has to end, in milliseconds.
    grace: Arc<AtomicU64>,
}

impl Watchdog {
    /// Watches `keeper`, a stream to which the keeper never writes and that closes when it ends. `margin` is the time
    /// that the run gets in addition to [`Watchdog::allow`]. Spares the servers in `shared`.
    pub fn start(keeper: UnixStream, margin: Duration, shared: SharedServers) -> std::io::Result<Watchdog> {
        let watchdog = Watchdog { margin, grace: Arc::default() };
        watchdog.allow(Duration::ZERO);
        let grace = watchdog.grace.clone();
        std::thread::Builder::new().name("devrun-watchdog".into()).spawn(move || {
            wait_for_end(&keeper);
            std::thread::sleep(Duration::from_millis(grace.load(Ordering::Relaxed)));
            // If the run has ended by now, this process and this thread no longer exist.
            sweep::kill_descendants(SWEEP, &shared);
            let _ = kill(Pid::this(), Signal::SIGKILL);
        })?;
        Ok(watchdog)
    }

    /// Gives the run `grace` to end its processes.
    pub fn allow(&self, grace: Duration) {
        let millis = u64::try_from((grace + self.margin).as_millis()).unwrap_or(u64::MAX);
        self.grace.store(millis, Ordering::Relaxed);
    }
}

fn wait_for_end(keeper: &UnixStream) {
    loop {
        match poll(&mut [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            _ => return,
        }
    }
}
