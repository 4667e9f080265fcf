//! Finds and kills every process that devrun started, including processes in new sessions, daemons that have forked
//! twice, and stopped processes.
//!
//! On Linux devrun is a subreaper: a descendant that loses its parent becomes a child of devrun, so that it can still
//! be found. The database servers of [`SharedServers`] are spared. They are recognised by data folder and pid, because any
//! child could set an environment variable. macOS has no subreaper. There, a child that starts a new session and loses
//! its parent is not found.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::context::variables;
use crate::os::cgroup::ControlGroup;
use crate::os::proc::{self, ProcessEntry};
use crate::os::read::{self, Limit};
use crate::os::spawn;
use crate::text::hex;

/// How many times the process table is searched for new processes while the others are being stopped.
const ROUNDS: usize = 20;
/// How many ancestors of a process are checked.
const DEEPEST: usize = 100;
/// How long the killed processes of a control group may take to end.
const GROUP: Duration = Duration::from_secs(10);

/// Makes this process the parent of descendants that lose theirs (Linux).
pub fn adopt_strays() {
    #[cfg(target_os = "linux")]
    // Every kernel since 3.4 accepts this. Without it, orphans go to init, and the next devrun has to find them by
    // their tag.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Reaps ended children for which no other code of devrun waits.
pub fn reap_strays() {
    if matches!(look_at_children(), Ok(ended) if ended.pid().is_some()) {
        for stray in strays() {
            let _ = waitpid(Pid::from_raw(stray.cast_signed()), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Returns the children for which no other code of devrun waits. They are descendants that have lost their parent.
fn strays() -> Vec<u32> {
    let me = std::process::id();
    let all = || proc::table().iter().filter(|entry| entry.parent == me).map(|entry| entry.pid).collect();
    let mut children = proc::children().unwrap_or_else(all);
    children.retain(|child| !spawn::is_awaited(*child));
    children
}

/// Returns true if this process has no orphaned descendants, so that a child that has just ended left nothing behind.
/// Always false on systems without a subreaper.
pub fn is_without_strays() -> bool {
    cfg!(target_os = "linux") && strays().is_empty()
}

/// Checks whether a child has ended, without reaping it. Errors with `ECHILD` if this process has no children.
fn look_at_children() -> nix::Result<WaitStatus> {
    waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
}

/// Returns true if this process has no descendants. Orphans become its children, so no children means no descendants.
/// Always false on systems without a subreaper.
fn is_childless() -> bool {
    cfg!(target_os = "linux") && look_at_children() == Err(Errno::ECHILD)
}

/// Reaps every ended child, even if other code waits for it. Only for a process that is about to exit.
pub fn reap_all() {
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some()) {}
}

/// Sends `signal` to each of `entries`.
pub fn signal(entries: &[ProcessEntry], signal: Signal) {
    for entry in entries {
        hit(entry, signal);
    }
}

/// Sends `signal` to the process of `entry`, but not to a later process with the same id.
fn hit(entry: &ProcessEntry, signal: Signal) {
    spawn::signal_exactly(entry.pid, signal, || {
        proc::entry(entry.pid).is_some_and(|now| now.started == entry.started)
    });
}

/// Kills every process for which `wanted` returns true, including those that start during the search. Stops them all
/// first, because a stopped process can neither fork nor exec. Returns the processes that it killed; an empty list
/// means that none was found.
pub fn end(mut wanted: impl FnMut(&ProcessEntry) -> bool) -> Vec<ProcessEntry> {
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

/// Sends `signal` to each process for which `wanted` returns true as soon as it is read. Reading the whole table first
/// would miss a process that keeps forking and exiting.
fn strike(signal: Signal, mut wanted: impl FnMut(&ProcessEntry) -> bool) -> Vec<ProcessEntry> {
    let met = proc::each().filter(|entry| !entry.has_ended() && wanted(entry));
    met.inspect(|entry| hit(entry, signal)).collect()
}

/// Decides which processes are descendants of a root process. Keeps its answers.
pub struct Below<Spare> {
    root: u32,
    /// Excludes a process and all its descendants.
    spare: Spare,
    known: HashMap<u32, bool>,
}

impl<Spare: Fn(&ProcessEntry) -> bool> Below<Spare> {
    /// Accepts the descendants of `root`, except those that `spare` excludes. `root` itself is not accepted.
    pub fn new(root: u32, spare: Spare) -> Below<Spare> {
        Below { root, spare, known: HashMap::from([(0, false), (1, false)]) }
    }

    /// Returns true if `entry` is a descendant. Looks up each parent now, because a table would be out of date.
    pub fn contains(&mut self, entry: &ProcessEntry) -> bool {
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
                // Its parent has just died, so look up the new one.
                Some(now) if now.parent != entry.parent => entry = now,
                _ => break false,
            }
        };
        let below = below && entry.pid != self.root && !(self.spare)(&entry);
        self.known.insert(entry.pid, below);
        below
    }
}

/// The database servers that outlive their supervisor because other supervisors use them too.
#[derive(Clone, Debug, Default)]
pub struct SharedServers {
    clusters: Vec<PathBuf>,
}

impl SharedServers {
    /// Accepts the servers whose data folder is `<folder>/<id>/data` for a folder in `clusters`.
    pub fn below(clusters: impl IntoIterator<Item = PathBuf>) -> SharedServers {
        SharedServers {
            clusters: clusters.into_iter().map(|path| path.canonicalize().unwrap_or(path)).collect(),
        }
    }

    /// Returns true if `pid` is the server of a known cluster: a `postgres` whose working directory is the data folder,
    /// unless the pid file there names another live process. A server that has just started has no pid file yet.
    fn contains(&self, pid: u32) -> bool {
        let Some(folder) = proc::directory_of(pid).filter(|folder| self.is_data(folder)) else {
            return false;
        };
        let is_server = proc::program_of(pid)
            .and_then(|program| Some(program.file_name()?.as_bytes().starts_with(b"postgres")))
            .unwrap_or(false);
        is_server && pid_file(&folder).is_none_or(|named| named == pid || !is_alive(named))
    }

    /// Returns true if `pid` is the server of a known cluster or a process below it.
    fn holds(&self, pid: u32) -> bool {
        let parents = std::iter::successors(Some(pid), |pid| proc::entry(*pid).map(|entry| entry.parent));
        parents.take_while(|pid| *pid > 1).take(DEEPEST).any(|pid| self.contains(pid))
    }

    fn is_data(&self, folder: &Path) -> bool {
        let cluster = folder.parent().filter(|_| folder.ends_with("data"));
        cluster.and_then(Path::parent).is_some_and(|root| self.clusters.iter().any(|known| known == root))
    }
}

/// Returns the server's pid from the pid file in `data`.
fn pid_file(data: &Path) -> Option<u32> {
    let text = read::text(&data.join("postmaster.pid"), Limit::SMALL).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Kills and reaps all descendants of this process except the servers in `shared`. Gives up after `limit`.
pub fn kill_descendants(limit: Duration, shared: &SharedServers) {
    let start = Instant::now();
    let is_server = |entry: &ProcessEntry| shared.contains(entry.pid);
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
        // The children of the killed processes now become children of this one. The kernel needs a moment for both.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moves this process into the new control group `group`, then all its descendants except the servers in `shared`. Does nothing
/// where the system does not permit it. Blocks for about 10 ms, in which the kernel waits for a grace period of RCU. Descendants that
/// were started before remain below this subreaper, so none can leave before it is moved.
pub fn gather(group: &ControlGroup, shared: &SharedServers) {
    let me = std::process::id();
    let before = proc::cgroup_of(me);
    if group.enter().is_err() {
        return;
    }
    for _ in 0..ROUNDS {
        // A stack that was started by a process of this one may be in another control group.
        let is_outside = |pid: &u32| proc::cgroup_of(*pid) == before && !shared.holds(*pid);
        let outside: Vec<u32> = proc::tree(me).iter().map(|entry| entry.pid).filter(is_outside).collect();
        if outside.is_empty() {
            return;
        }
        // A process that has ended cannot be moved. Children that it had by then are found in the next round.
        for pid in outside {
            let _ = group.take(pid);
        }
    }
}

/// Kills every process in `group` and removes the group. Moves the servers in `shared`, this process and its ancestors
/// out of the group and does not kill them. Returns the ids of the killed processes.
pub fn end_group(group: &ControlGroup, shared: &SharedServers) -> BTreeSet<u32> {
    let start = Instant::now();
    let own = lineage();
    let mut killed = BTreeSet::new();
    while !group.remove() && start.elapsed() < GROUP {
        let is_spared = |pid: &u32| own.contains(pid) || shared.holds(*pid);
        let (kept, others): (Vec<u32>, Vec<u32>) = group.members().into_iter().partition(is_spared);
        let released = kept.iter().filter(|pid| group.release(**pid)).count();
        if released == kept.len() && released > 0 {
            // The released processes may have started others in the group before they left it.
            continue;
        }
        if !(kept.is_empty() && group.kill()) {
            for pid in &others {
                spawn::signal_exactly(*pid, Signal::SIGKILL, || group.contains(*pid));
            }
        }
        killed.extend(others);
        std::thread::sleep(Duration::from_millis(1));
    }
    killed
}

/// Kills what an earlier run of the same worktree left behind: processes of this user whose `DEVRUN_RUN` begins with
/// `worktree_tag`, and all processes in the control groups `groups`. Spares this process and its ancestors, and in the
/// groups the servers in `shared`. The caller holds the worktree's lock, so no such run is alive. Returns the number of
/// killed processes.
pub fn kill_leftovers(worktree_tag: &str, groups: &[ControlGroup], shared: &SharedServers) -> usize {
    let me = nix::unistd::geteuid().as_raw();
    let own = lineage();
    let is_left = |entry: &ProcessEntry| {
        !own.contains(&entry.pid)
            && proc::user_of(entry.pid) == Some(me)
            && proc::env_of(entry.pid, variables::RUN).is_some_and(|run| {
                run.to_str().and_then(|run| run.strip_prefix(worktree_tag)?.strip_prefix('.')).is_some()
            })
    };
    let mut killed = BTreeSet::new();
    let mut clean = 0;
    for _ in 0..ROUNDS * 10 {
        let round = end(is_left);
        // One empty round is not enough, because a process in the middle of execve(2) shows no environment.
        clean = if round.is_empty() { clean + 1 } else { 0 };
        if clean == 2 {
            break;
        }
        killed.extend(round.iter().map(|entry| entry.pid));
        std::thread::sleep(Duration::from_millis(2));
    }
    for group in groups {
        killed.extend(end_group(group, shared));
    }
    killed.len()
}

/// Returns the ids of this process and its ancestors, which callers spare: a shell that a killed run left behind may be
/// the one that the user types in now.
pub fn lineage() -> BTreeSet<u32> {
    let mut own = BTreeSet::new();
    let mut next = Some(std::process::id());
    while let Some(pid) = next.filter(|pid| *pid > 1 && own.insert(*pid)) {
        next = proc::entry(pid).map(|entry| entry.parent);
    }
    own
}

/// Returns the part of a run's tag that identifies its worktree.
pub fn worktree_tag(path: &Path) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(path.as_os_str().as_bytes())[..8])
}

/// Returns true if `pid` exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    match kill(Pid::from_raw(pid.cast_signed()), None) {
        Ok(()) | Err(Errno::EPERM) => proc::entry(pid).is_none_or(|entry| !entry.has_ended()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_data_folders_of_known_clusters_are_spared() {
        let shared = SharedServers::below([PathBuf::from("/nonexistent/pg")]);
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

    /// Ends its first thread while another one goes on. `exit` ends one thread, and has no wrapper in the standard library.
    #[cfg(target_os = "linux")]
    const HEADLESS: &str = "import ctypes, platform, threading, time\n\
        threading.Thread(target=time.sleep, args=(600,)).start()\n\
        ctypes.CDLL(None).syscall({'x86_64': 60}.get(platform.machine(), 93), 0)";

    #[test]
    #[cfg(target_os = "linux")]
    #[expect(clippy::disallowed_methods, reason = "os::cmd has no commands that outlive the call")]
    fn process_whose_first_thread_has_ended_is_found_by_its_tag_and_killed() {
        let mut command = std::process::Command::new("python3");
        let Ok(mut child) = command.args(["-c", HEADLESS]).env("DEVRUN_TEST_TAG", "headless").spawn() else {
            return crate::os::skip_without("python3");
        };
        let mut entry = proc::entry(child.id()).unwrap();
        while entry.state != 'Z' {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::yield_now();
            entry = proc::entry(child.id()).unwrap();
        }
        assert!(!entry.has_ended() && is_alive(entry.pid), "{entry:?}");
        let wanted = |entry: &ProcessEntry| {
            proc::env_of(entry.pid, "DEVRUN_TEST_TAG").is_some_and(|tag| tag == "headless")
        };
        let ended: Vec<u32> = end(wanted).iter().map(|entry| entry.pid).collect();
        // Also after a failure of the sweep, nothing is left.
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ended, [entry.pid]);
    }
}
