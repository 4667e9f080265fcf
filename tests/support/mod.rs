//! What every integration test stands on: a sandbox that notices what is left behind, programs run in it, and the one
//! place where tests wait.

pub(crate) mod http;
mod invocation;
mod leaks;
pub(crate) mod neon;
pub(crate) mod pester;
pub(crate) mod product;
mod running;
mod sandbox;

use std::time::{Duration, Instant};

pub(crate) use self::invocation::{Ended, Invocation};
pub(crate) use self::leaks::Process;
pub(crate) use self::running::Running;
pub(crate) use self::sandbox::Sandbox;

/// Long enough for anything on a busy machine; reached only by what never happens.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Looks until `look` finds something; panics after `limit` with the last reason why not.
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
