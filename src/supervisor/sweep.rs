//! Finds and ends everything that came from us, wherever it fled: new sessions, double forks, stopped processes.
//!
//! On Linux we are a subreaper, so whatever loses its parent becomes our child and stays findable. Spares
//! the database servers of [`Shared`]: they are known by data folder and pid, because a variable could be set by any
//! child. macOS has no subreaper: there only process
//! groups are reached, and a child that makes a session of its own and loses its parent is out of reach.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::os::proc::{self, Entry};
use crate::os::read::{self, Limit};
use crate::os::spawn;

/// Environment variable that names the run a process belongs to.
pub const RUN_TAG: &str = "DEVRUN_RUN";
/// Environment variable that names the process of the run.
pub const PROCESS_TAG: &str = "DEVRUN_PROCESS";

/// How often it is looked again for processes that have appeared while others were stopped.
const ROUNDS: usize = 20;

/// Becomes the parent of everything that loses its own below us.
pub fn adopt_strays() {
    #[cfg(target_os = "linux")]
    // Refused by no kernel since 3.4; without it strays go to init and the tag sweep has to find them.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Reaps ended children that nobody waits for.
pub fn reap_strays() {
    if matches!(look_at_children(), Ok(ended) if ended.pid().is_some()) {
        for stray in strays() {
            let _ = waitpid(Pid::from_raw(stray.cast_signed()), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Children that nobody waits for: what lost its parent below us.
fn strays() -> Vec<u32> {
    let me = std::process::id();
    let all = || proc::table().iter().filter(|entry| entry.parent == me).map(|entry| entry.pid).collect();
    let mut children = proc::children().unwrap_or_else(all);
    children.retain(|child| !spawn::is_awaited(*child));
    children
}

/// True when nothing has lost its parent below us, so that who ended has left nobody behind. Where strays do not become
/// ours there is no telling.
pub fn is_without_strays() -> bool {
    cfg!(target_os = "linux") && strays().is_empty()
}

/// Whether some child has ended, reaping none; an error when there is no child at all.
fn look_at_children() -> nix::Result<WaitStatus> {
    waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
}

/// True when nothing can be below us: where strays become ours, a process without children has no descendants either.
fn is_childless() -> bool {
    cfg!(target_os = "linux") && look_at_children() == Err(Errno::ECHILD)
}

/// Reaps every ended child, whoever waits for it: for the last moment of a process.
pub fn reap_all() {
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some()) {}
}

/// Sends `signal` to each of `entries`.
pub fn signal(entries: &[Entry], signal: Signal) {
    for entry in entries {
        hit(entry, signal);
    }
}

/// Sends `signal` to this very process: an id that belongs to another one by now is left alone.
fn hit(entry: &Entry, signal: Signal) {
    spawn::signal_exactly(entry.pid, signal, || {
        proc::entry(entry.pid).is_some_and(|now| now.started == entry.started)
    });
}

/// Ends every process that is `wanted`, and what appears of that kind meanwhile: first stops them, because what is
/// stopped can neither fork nor become another. Returns what was killed; none means that none was left.
pub fn end(mut wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
    for _ in 0..ROUNDS {
        let met = strike(Signal::SIGSTOP, &mut wanted);
        if met.is_empty() {
            return met;
        }
        if met.iter().all(|entry| entry.state == 'T') {
            break;
        }
    }
    strike(Signal::SIGKILL, wanted)
}

/// Sends `signal` to each process that is `wanted` the moment it is met, not after the whole table has been read: by then
/// it may be another.
fn strike(signal: Signal, mut wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
    let met = proc::each().filter(|entry| !matches!(entry.state, 'Z' | 'X') && wanted(entry));
    met.inspect(|entry| hit(entry, signal)).collect()
}

/// Knows which processes are below one of them.
pub struct Below<Spare> {
    root: u32,
    /// Those for which this holds are not below it, nor is anything below them.
    spare: Spare,
    known: HashMap<u32, bool>,
}

impl<Spare: Fn(&Entry) -> bool> Below<Spare> {
    /// Everything below `root`, without it and without what is spared.
    pub fn new(root: u32, spare: Spare) -> Below<Spare> {
        Below { root, spare, known: HashMap::from([(0, false), (1, false)]) }
    }

    /// True when `entry` is below. Parents come and go meanwhile, so they are looked up and not taken from a table.
    pub fn contains(&mut self, entry: &Entry) -> bool {
        if let Some(known) = self.known.get(&entry.pid) {
            return *known;
        }
        let mut entry = *entry;
        let below = loop {
            if entry.parent == self.root {
                break true;
            }
            if let Some(known) = self.known.get(&entry.parent) {
                break *known;
            }
            if let Some(parent) = proc::entry(entry.parent) {
                break self.contains(&parent);
            }
            match proc::entry(entry.pid) {
                // Its parent has just died: it has another.
                Some(now) if now.parent != entry.parent => entry = now,
                _ => break false,
            }
        };
        let below = below && entry.pid != self.root && !(self.spare)(&entry);
        self.known.insert(entry.pid, below);
        below
    }
}

/// The database servers that outlive their supervisor because other supervisors share them.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    clusters: Vec<PathBuf>,
}

impl Shared {
    /// Knows the servers whose data folder is `<folder>/<id>/data`, for each of `clusters`.
    pub fn below(clusters: impl IntoIterator<Item = PathBuf>) -> Shared {
        Shared { clusters: clusters.into_iter().map(|path| path.canonicalize().unwrap_or(path)).collect() }
    }

    /// Returns true when `pid` is the server of a known cluster: a `postgres` that works in the data folder, and that
    /// the pid file there does not contradict. A server that has just started has no pid file yet.
    fn contains(&self, pid: u32) -> bool {
        let Some(folder) = proc::directory_of(pid).filter(|folder| self.is_data(folder)) else {
            return false;
        };
        let is_server = proc::program_of(pid)
            .and_then(|program| Some(program.file_name()?.as_bytes().starts_with(b"postgres")))
            .unwrap_or(false);
        is_server && pid_file(&folder).is_none_or(|named| named == pid || !is_alive(named))
    }

    fn is_data(&self, folder: &Path) -> bool {
        let cluster = folder.parent().filter(|_| folder.ends_with("data"));
        cluster.and_then(Path::parent).is_some_and(|root| self.clusters.iter().any(|known| known == root))
    }
}

/// Returns the pid that the server's pid file in `data` names.
fn pid_file(data: &Path) -> Option<u32> {
    let text = read::text(&data.join("postmaster.pid"), Limit::SMALL).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Kills everything below us that is not in `shared`, and reaps it. Bounded by `limit`.
pub fn kill_descendants(limit: Duration, shared: &Shared) {
    let start = Instant::now();
    let is_server = |entry: &Entry| shared.contains(entry.pid);
    loop {
        if is_childless() {
            return;
        }
        let mut below = Below::new(std::process::id(), is_server);
        let killed = end(|entry| below.contains(entry));
        reap_strays();
        if killed.is_empty() || start.elapsed() > limit {
            return;
        }
        // Their deaths make new orphans of ours; give the kernel a moment to deliver both.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends what an earlier run of the same worktree left: processes of ours whose environment names a run that begins with
/// `worktree_tag`. The caller holds the worktree's lock, so no such run is alive. Returns how many there were.
pub fn kill_leftovers(worktree_tag: &str) -> usize {
    let me = nix::unistd::geteuid().as_raw();
    let own = lineage();
    let is_left = |entry: &Entry| {
        !own.contains(&entry.pid)
            && proc::user_of(entry.pid) == Some(me)
            && proc::env_of(entry.pid, RUN_TAG).is_some_and(|run| {
                run.to_str().and_then(|run| run.strip_prefix(worktree_tag)?.strip_prefix('.')).is_some()
            })
    };
    let mut killed = BTreeSet::new();
    let mut clean = 0;
    for _ in 0..ROUNDS * 10 {
        let round = end(is_left);
        // Looked for once more: in the middle of execve a process shows no environment.
        clean = if round.is_empty() { clean + 1 } else { 0 };
        if clean == 2 {
            break;
        }
        killed.extend(round.iter().map(|entry| entry.pid));
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.len()
}

/// This process and those above it: a shell that a killed run left may be where somebody types now.
fn lineage() -> BTreeSet<u32> {
    let mut own = BTreeSet::new();
    let mut next = Some(std::process::id());
    while let Some(pid) = next.filter(|pid| *pid > 1 && own.insert(*pid)) {
        next = proc::entry(pid).map(|entry| entry.parent);
    }
    own
}

/// The part of a run's tag that names its worktree.
pub fn worktree_tag(path: &Path) -> String {
    use std::fmt::Write;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_data_folders_of_known_clusters_are_spared() {
        let shared = Shared::below([PathBuf::from("/nonexistent/pg")]);
        assert!(shared.is_data(Path::new("/nonexistent/pg/0a1b/data")));
        for folder in
            ["/nonexistent/pg/data", "/nonexistent/pg/a/b/data", "/nonexistent/pg/a/base", "/w/pg/a/data"]
        {
            assert!(!shared.is_data(Path::new(folder)), "{folder}");
        }
        assert!(!shared.contains(std::process::id()));
    }

    #[test]
    fn tags_differ_by_path_and_hold_no_separator() {
        let (a, b) = (worktree_tag(Path::new("/a")), worktree_tag(Path::new("/b")));
        assert_ne!(a, b);
        assert!(a.len() == 16 && a.chars().all(|c| c.is_ascii_hexdigit()));
    }
}
