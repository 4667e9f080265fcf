//! Ends a supervisor that outlives its keeper: when the keeper is gone and the run does not end within its grace period,
//! everything below is killed, then this process.
//!
//! Runs on a thread of its own, because the thread that listens for signals may hang in a system call. It touches no file:
//! the kernel releases the locks, and the next devrun cleans up the rest.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::sweep::{self, Shared};

/// How long a run may take to end beyond the grace periods of its processes.
pub const MARGIN: Duration = Duration::from_secs(30);
/// How long killing what is below may take.
const SWEEP: Duration = Duration::from_secs(10);

/// The thread that watches the keeper; it lasts as long as the process.
#[derive(Debug)]
pub struct Watchdog {
    margin: Duration,
    /// Milliseconds.
    grace: Arc<AtomicU64>,
}

impl Watchdog {
    /// Watches `keeper`, a stream that the keeper never writes to and that closes at its end. `margin` is how long the run
    /// may take beyond what [`Watchdog::allow`] gives. The servers in `shared` are spared.
    pub fn start(keeper: UnixStream, margin: Duration, shared: Shared) -> std::io::Result<Watchdog> {
        let watchdog = Watchdog { margin, grace: Arc::default() };
        watchdog.allow(Duration::ZERO);
        let grace = watchdog.grace.clone();
        std::thread::Builder::new().name("devrun-watchdog".into()).spawn(move || {
            wait_for_end(&keeper);
            std::thread::sleep(Duration::from_millis(grace.load(Ordering::Relaxed)));
            // A run that has ended by now has ended this process, and this thread with it.
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
