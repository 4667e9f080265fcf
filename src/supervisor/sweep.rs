//! Finds and ends everything that came from us, wherever it fled: new sessions, double forks, stopped processes.
//!
//! On Linux we are a subreaper, so whatever loses its parent becomes our child and stays findable. Spares what carries
//! [`SPARED`] in its environment: servers shared with other supervisors. macOS has no subreaper: there only process
//! groups are reached, and a child that makes a session of its own and loses its parent is out of reach.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::os::proc::{self, Entry};
use crate::os::spawn;

/// Environment variable that names the run a process belongs to.
pub const RUN_TAG: &str = "DEVRUN_RUN";
/// Environment variable that names the process of the run.
pub const PROCESS_TAG: &str = "DEVRUN_PROCESS";
/// Environment variable of processes that outlive their supervisor because others share them.
pub const SPARED: &str = "DEVRUN_CLUSTER";

/// Becomes the parent of everything that loses its own below us.
pub fn adopt_strays() {
    #[cfg(target_os = "linux")]
    // Refused by no kernel since 3.4; without it strays go to init and the tag sweep has to find them.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Reaps ended children that nobody waits for.
pub fn reap_strays() {
    let me = std::process::id();
    for entry in proc::table() {
        if entry.parent == me && entry.state == 'Z' && !spawn::is_awaited(entry.pid) {
            let _ = waitpid(pid(&entry), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Reaps every ended child, whoever waits for it: for the last moment of a process.
pub fn reap_all() {
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some()) {}
}

/// Everything below us that is alive and not spared.
pub fn descendants() -> Vec<Entry> {
    let spare = |pid| proc::env_of(pid, SPARED).is_some();
    let table = proc::table();
    let all = proc::descendants(&table, std::process::id(), &spare);
    all.into_iter().filter(|entry| entry.state != 'Z').collect()
}

/// Sends `signal` to each of `entries`.
pub fn signal(entries: &[Entry], signal: Signal) {
    for entry in entries {
        // Looked up again: an id that now belongs to another process is left alone.
        if proc::entry(entry.pid).is_some_and(|now| now.started == entry.started) {
            let _ = kill(pid(entry), signal);
        }
    }
}

/// Kills everything below us and reaps it; returns how many were found. Bounded by `limit`.
pub fn kill_descendants(limit: Duration) -> usize {
    let start = Instant::now();
    let mut found = 0;
    loop {
        let alive = descendants();
        reap_strays();
        if alive.is_empty() || start.elapsed() > limit {
            return found;
        }
        found += alive.len();
        freeze(alive);
        signal(&descendants(), Signal::SIGKILL);
        // Their deaths make new orphans of ours; give the kernel a moment to deliver both.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stops everything below us, again while new ones appear: what is stopped cannot fork.
fn freeze(mut alive: Vec<Entry>) {
    for _ in 0..20 {
        let running: Vec<Entry> = alive.into_iter().filter(|entry| entry.state != 'T').collect();
        if running.is_empty() {
            return;
        }
        signal(&running, Signal::SIGSTOP);
        alive = descendants();
    }
}

/// Ends what an earlier run of the same worktree left: processes of ours whose environment names a run that begins with
/// `worktree_tag`. The caller holds the worktree's lock, so no such run is alive. Returns what was killed.
pub fn kill_leftovers(worktree_tag: &str) -> Vec<Entry> {
    let me = nix::unistd::geteuid().as_raw();
    let is_left = |entry: &Entry| {
        entry.state != 'Z'
            && entry.pid != std::process::id()
            && proc::user_of(entry.pid) == Some(me)
            && proc::env_of(entry.pid, SPARED).is_none()
            && proc::env_of(entry.pid, RUN_TAG)
                .is_some_and(|run| run.to_string_lossy().split('.').next() == Some(worktree_tag))
    };
    let mut killed = Vec::new();
    for _ in 0..100 {
        let left: Vec<Entry> = proc::table().into_iter().filter(is_left).collect();
        if left.is_empty() {
            break;
        }
        signal(&left, Signal::SIGKILL);
        killed.extend(left);
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.dedup_by_key(|entry| entry.pid);
    killed
}

/// The part of a run's tag that names its worktree.
pub fn worktree_tag(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;

    use sha2::Digest;
    let digest = sha2::Sha256::digest(path.as_os_str().as_bytes());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// True while `pid` exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    match kill(Pid::from_raw(pid.cast_signed()), None) {
        Ok(()) | Err(Errno::EPERM) => proc::entry(pid).is_none_or(|entry| entry.state != 'Z'),
        Err(_) => false,
    }
}

fn pid(entry: &Entry) -> Pid {
    Pid::from_raw(entry.pid.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_differ_by_path_and_hold_no_separator() {
        let (a, b) = (worktree_tag(Path::new("/a")), worktree_tag(Path::new("/b")));
        assert_ne!(a, b);
        assert!(a.len() == 16 && a.chars().all(|c| c.is_ascii_hexdigit()));
    }
}
