//! Looking at a port: is it free, whose is it. Looks only; stops nobody.
//!
//! A socket may be held by several processes (handed over, inherited): it is ours as soon as one of them is. A port may
//! have several sockets (one per address): it is ours only when every one of them is.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::decide::Standing;
use crate::error::Holder;
use crate::os::net;
use crate::os::proc::{self, Socket};

/// The variable that tags every process of a worktree with the worktree's path.
pub const TAG: &str = "DEVRUN_WORKTREE";

/// Whose listener it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Every socket is held by the process asked about, one below it, or one in its session.
    Ours,
    /// At least one socket is somebody else's.
    Stranger(Holder),
    /// Nobody listens.
    Nobody,
    /// It cannot be told: the process hides its sockets, or this system does not show them.
    Unknown,
}

/// A socket and the processes that hold it, as far as they can be seen.
type Held = (Socket, Vec<u32>);

/// Who listens on `port`; `None` when nobody does, or this system does not tell. A holder without a process id is one
/// that cannot be seen.
pub fn holder(port: u16) -> Option<Holder> {
    let held = held_by_anybody(port);
    Some(describe(&held.first()?.1))
}

/// Whose the listener on `port` is: `root`'s family, or somebody else's.
pub fn listener_is_ours(port: u16, root: u32) -> Ownership {
    if !cfg!(target_os = "linux") {
        return Ownership::Unknown;
    }
    let sockets = proc::listening(port);
    if sockets.is_empty() {
        return Ownership::Nobody;
    }
    let table = proc::table();
    let below = proc::descendants(&table, root, &|_| false);
    let beside = table.iter().filter(|entry| entry.pid == root || entry.session == root);
    let family: HashSet<u32> = below.iter().chain(beside).map(|entry| entry.pid).collect();
    // Few processes are ours; the whole table is only searched when they do not explain every socket.
    let held = held_by(&sockets, family.iter().copied());
    let ours = |pid: u32| family.contains(&pid);
    if held.iter().all(|(_, pids)| !pids.is_empty()) {
        return Ownership::Ours;
    }
    judge(&held_by(&sockets, table.iter().map(|entry| entry.pid)), ours, nix::unistd::geteuid().as_raw())
}

/// How `port` looks to `worktree`: a listener that carries its tag is its own.
pub fn standing(port: u16, worktree: &Path) -> Standing {
    if net::is_free(port) {
        return Standing::Free;
    }
    let held = held_by_anybody(port);
    let ours = |pid| proc::env_of(pid, TAG).is_some_and(|tag| tag == worktree.as_os_str());
    let foreign = held.iter().find(|(_, pids)| !pids.iter().any(|pid| ours(*pid)));
    match (foreign, held.first()) {
        (None, Some((_, pids))) => {
            let own = pids.iter().copied().find(|pid| ours(*pid));
            Standing::Ours(own.map_or_else(|| describe(pids), describe_one))
        }
        (Some((_, pids)), _) => Standing::Busy(describe(pids)),
        (None, None) => Standing::Busy(describe(&[])),
    }
}

/// The verdict on sockets, given who is family and which user we are. Another user's socket cannot be ours even when
/// its process is hidden from us.
fn judge(held: &[Held], ours: impl Fn(u32) -> bool, user: u32) -> Ownership {
    let mut verdict = if held.is_empty() { Ownership::Nobody } else { Ownership::Ours };
    for (socket, pids) in held {
        if pids.iter().any(|pid| ours(*pid)) {
            continue;
        }
        if pids.is_empty() && socket.user == user {
            verdict = Ownership::Unknown;
        } else {
            return Ownership::Stranger(describe(pids));
        }
    }
    verdict
}

fn held_by_anybody(port: u16) -> Vec<Held> {
    let sockets = proc::listening(port);
    if sockets.is_empty() {
        return Vec::new();
    }
    held_by(&sockets, proc::table().iter().map(|entry| entry.pid))
}

fn held_by(sockets: &[Socket], pids: impl Iterator<Item = u32>) -> Vec<Held> {
    let mut held: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        for inode in proc::sockets_of(pid).filter(|inode| sockets.iter().any(|socket| socket.inode == *inode))
        {
            held.entry(inode).or_default().push(pid);
        }
    }
    sockets.iter().map(|socket| (*socket, held.remove(&socket.inode).unwrap_or_default())).collect()
}

/// The one of `pids` that says most: one that belongs to a worktree, else the first.
fn describe(pids: &[u32]) -> Holder {
    let tagged = pids.iter().find(|pid| proc::env_of(**pid, TAG).is_some());
    match tagged.or(pids.first()) {
        Some(pid) => describe_one(*pid),
        None => Holder { pid: None, command: None, worktree: None },
    }
}

fn describe_one(pid: u32) -> Holder {
    let tag = proc::env_of(pid, TAG).filter(|tag| !tag.is_empty()).map(PathBuf::from);
    let worktree = tag.or_else(|| top_level_above(&proc::directory_of(pid)?));
    Holder {
        pid: Some(pid),
        command: proc::command_of(pid),
        worktree: worktree.map(|path| path.display().to_string()),
    }
}

/// The nearest folder upwards that holds a `.git`; none for a working directory that was removed.
fn top_level_above(directory: &Path) -> Option<PathBuf> {
    // The kernel marks it so; a stat would look at a folder that is not the one.
    if OsStr::as_bytes(directory.as_os_str()).ends_with(b" (deleted)") {
        return None;
    }
    directory.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok()).map(Path::to_path_buf)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    const NO_PROCESS: u32 = u32::MAX;

    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn socket(inode: u64, user: u32) -> Socket {
        Socket { inode, user }
    }

    #[test]
    fn the_holder_is_named_with_its_command_and_worktree() {
        let (_listener, port) = listener();
        let holder = holder(port).unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.command.unwrap().contains("devrun"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(holder.worktree.map(PathBuf::from), top_level_above(&here));
    }

    #[test]
    fn a_port_nobody_listens_on_has_no_holder() {
        let (listener, port) = listener();
        drop(listener);
        assert_eq!(holder(port), None);
        assert_eq!(listener_is_ours(port, std::process::id()), Ownership::Nobody);
        assert_eq!(standing(port, Path::new("/w")), Standing::Free);
    }

    #[test]
    fn a_listener_of_the_family_is_ours_and_any_other_a_stranger() {
        let (_listener, port) = listener();
        assert_eq!(listener_is_ours(port, std::process::id()), Ownership::Ours);
        assert_eq!(listener_is_ours(port, std::os::unix::process::parent_id()), Ownership::Ours);
        let Ownership::Stranger(holder) = listener_is_ours(port, NO_PROCESS) else { panic!() };
        assert_eq!(holder.pid, Some(std::process::id()));
    }

    #[test]
    fn a_busy_port_is_a_strangers_without_our_tag() {
        let (_listener, port) = listener();
        let Standing::Busy(holder) = standing(port, Path::new("/w/feature-26")) else { panic!() };
        assert_eq!(holder.pid, Some(std::process::id()));
    }

    #[test]
    fn both_families_are_seen() {
        let (_v4, port) = listener();
        let Ok(_v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) else { return };
        let held = held_by_anybody(port);
        assert_eq!(held.len(), 2);
        assert!(held.iter().all(|(_, pids)| pids == &[std::process::id()]));
    }

    #[test]
    fn one_foreign_socket_beside_ours_is_a_stranger() {
        let held = [(socket(1, 0), vec![10]), (socket(2, 0), vec![NO_PROCESS])];
        assert!(matches!(judge(&held, |pid| pid == 10, 0), Ownership::Stranger(_)));
        assert_eq!(judge(&held[..1], |pid| pid == 10, 0), Ownership::Ours);
    }

    #[test]
    fn a_socket_handed_over_is_ours_though_its_maker_holds_it_too() {
        let held = [(socket(1, 0), vec![NO_PROCESS, 10])];
        assert_eq!(judge(&held, |pid| pid == 10, 0), Ownership::Ours);
    }

    #[test]
    fn a_hidden_process_is_a_stranger_when_it_is_another_users() {
        assert!(matches!(judge(&[(socket(1, 7), vec![])], |_| false, 0), Ownership::Stranger(_)));
        assert_eq!(judge(&[(socket(1, 0), vec![])], |_| false, 0), Ownership::Unknown);
    }
}
