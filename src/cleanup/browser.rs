//! The browser profile of a worktree, which `devrun open --browser-profile` makes in the worktree's state folder. It is deleted with
//! that folder; a browser that still runs with it is asked to end first, because it would write the folder again.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::os::{proc, spawn};

/// How long a browser may take to end.
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Returns the folder of the profile in the state folder of a worktree.
pub fn profile(state: &Path) -> PathBuf {
    state.join("browser")
}

/// Asks the browser that runs with the profile in `state` to end, and waits at most 10 s until its processes have ended.
pub async fn close(state: &Path) {
    let folder = profile(state);
    // Chromium's lock: a link to the name of the machine and the process id.
    let Ok(lock) = std::fs::read_link(folder.join("SingletonLock")) else { return };
    let text = lock.to_string_lossy();
    let Some(pid) = text.rsplit('-').next().and_then(|pid| pid.parse::<u32>().ok()) else { return };
    // The id may be that of another process by now.
    let option = [b"--user-data-dir=", folder.as_os_str().as_bytes()].concat();
    let shows_it = || proc::command_contains(pid, &option);
    if !spawn::signal_exactly(pid, Signal::SIGTERM, shows_it) {
        return;
    }
    let path = folder.as_os_str().as_bytes();
    let ended = async {
        // The processes that the browser has started write to the folder for a moment after the end of the first one.
        while proc::ids().any(|pid| proc::command_contains(pid, path)) {
            tokio::time::sleep(POLL).await;
        }
    };
    // A browser that stays keeps its files open, and nothing else of the worktree.
    let _ = tokio::time::timeout(LIMIT, ended).await;
}
