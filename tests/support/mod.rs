//! Helpers of all integration tests: a sandbox that detects leftovers, programs that run in it, and the function with
//! which tests wait.

pub(crate) mod browser;
pub(crate) mod documents;
pub(crate) mod http;
mod invocation;
mod leaks;
pub(crate) mod neon;
pub(crate) mod pester;
pub(crate) mod product;
mod running;
mod sandbox;
pub(crate) mod server;
pub(crate) mod shape;

use std::time::{Duration, Instant};

use devrun::testing::os::proc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use self::invocation::{Ended, Invocation};
pub(crate) use self::leaks::Process;
pub(crate) use self::running::Running;
pub(crate) use self::sandbox::Sandbox;

/// Time limit of every wait: long enough on a busy machine, so a test that reaches it has failed.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Calls `look` until it succeeds and returns its result. Panics after `limit` with the last reason.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if start.elapsed() >= limit => {
                panic!("waited {} s in vain for {what}: {reason}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Kills both processes of a devrun before either can react. `keeper` is the process that the test started.
pub(crate) fn kill_both(keeper: u32) {
    let children: Vec<u32> =
        proc::table().into_iter().filter(|entry| entry.parent == keeper).map(|entry| entry.pid).collect();
    let [supervisor] = children.as_slice() else { panic!("the keeper has the children {children:?}") };
    let [keeper, supervisor] = [keeper, *supervisor].map(|pid| Pid::from_raw(pid.cast_signed()));
    kill(keeper, Signal::SIGSTOP).unwrap();
    kill(supervisor, Signal::SIGKILL).unwrap();
    kill(keeper, Signal::SIGKILL).unwrap();
}
