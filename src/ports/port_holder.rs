//! Inspects ports: whether one is free, and which process listens on it. Stops no process.
//!
//! Several processes may hold one socket (handed over or inherited): it is ours if one of them is ours. A port may have
//! several sockets (one per address): it is ours only if all of them are.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::decide::PortState;
use crate::context::variables;
use crate::error::Holder;
use crate::os::net;
use crate::os::proc::{self, ProcessEntry, Socket};

/// The owner of the listeners on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Every socket is held by the given process, one of its descendants, or one in its session.
    Ours,
    /// At least one socket belongs to another process.
    Other(Holder),
    /// No process listens.
    Unused,
    /// Unknown: the process hides its sockets, or this system does not show them.
    Unknown,
}

/// A socket and the processes that hold it, as far as they are visible.
type SocketHolders = (Socket, Vec<u32>);

/// Returns the process that listens on `port`. Returns `None` if there is none, or if this system does not show it. The
/// holder has no process id if the process is not visible.
pub fn of(port: u16) -> Option<Holder> {
    of_sockets(&proc::listening(port))
}

/// Returns the process that holds the first of `sockets`, which listen on one port, as [`of`] does.
pub fn of_sockets(sockets: &[Socket]) -> Option<Holder> {
    held_by_any(sockets).first().map(describe)
}

/// Returns the owner of the listeners on `port`: `root`'s family or another process.
pub fn listener_is_ours(port: u16, root: u32) -> Ownership {
    if !cfg!(target_os = "linux") {
        return Ownership::Unknown;
    }
    let sockets = proc::listening(port);
    if sockets.is_empty() {
        return Ownership::Unused;
    }
    let table = proc::table();
    let below = proc::descendants(&table, root, &|_| false);
    let beside = table.iter().filter(|entry| entry.pid == root || entry.session == root);
    let family: HashSet<u32> = below.iter().chain(beside).map(|entry| entry.pid).collect();
    // The family is small. Search the whole table only if the family does not explain every socket.
    let held = held_by(&sockets, family.iter().copied());
    let ours = |pid: u32| family.contains(&pid);
    if held.iter().all(|(_, pids)| !pids.is_empty()) {
        return Ownership::Ours;
    }
    ownership(&held_by(&sockets, table.iter().map(|entry| entry.pid)), ours, nix::unistd::geteuid().as_raw())
}

/// Returns the state of `port` for `worktree`. A listener is its own if its environment names the worktree and a run.
pub fn port_state(port: u16, worktree: &Path) -> PortState {
    if net::is_free(port) {
        return PortState::Free;
    }
    let held = held_by_anybody(port);
    let ours = |pid| {
        proc::env_of(pid, variables::WORKTREE).is_some_and(|tag| tag == worktree.as_os_str())
            && proc::env_of(pid, variables::RUN).is_some()
    };
    let foreign = held.iter().find(|(_, pids)| !pids.iter().any(|pid| ours(*pid)));
    match (foreign, held.first()) {
        (None, Some(held)) => {
            let own = held.1.iter().copied().find(|pid| ours(*pid));
            PortState::Ours(own.map_or_else(|| describe(held), describe_one))
        }
        (Some(held), _) => match held.1.iter().find(|pid| is_own_by_hand(**pid, worktree)) {
            Some(pid) => PortState::OwnByHand(describe_one(*pid)),
            None => PortState::Busy(describe(held)),
        },
        (None, None) => PortState::Busy(Holder::default()),
    }
}

/// Returns the processes that listen on `port` and are servers of `worktree` that were started by hand.
pub fn own_by_hand(port: u16, worktree: &Path) -> Vec<(ProcessEntry, Holder)> {
    let held = held_by_anybody(port);
    let pairs = held.iter().flat_map(|(socket, pids)| pids.iter().map(|pid| (socket.inode, *pid)));
    let found = pairs.filter_map(|(inode, pid)| {
        // Read before the checks, so that a signal to this entry cannot reach a later process with the same id.
        let entry = proc::entry(pid)?;
        let is_it = is_own_by_hand(pid, worktree) && proc::sockets_of(pid).contains(&inode);
        is_it.then(|| (entry, describe_one(pid)))
    });
    found.collect()
}

/// Returns true if `pid` runs as this user, works in `worktree` (not in another worktree below it), and is not
/// supervised by devrun.
fn is_own_by_hand(pid: u32, worktree: &Path) -> bool {
    let tag = proc::env_of(pid, variables::WORKTREE).filter(|tag| !tag.is_empty());
    tag.is_none_or(|tag| tag == worktree.as_os_str())
        && proc::env_of(pid, variables::RUN).is_none()
        && proc::user_of(pid) == Some(nix::unistd::geteuid().as_raw())
        && proc::directory_of(pid).and_then(|folder| top_level_above(&folder)).as_deref() == Some(worktree)
}

/// Decides the ownership. `ours` returns true for a pid of the family, `user` is our user id. A socket of another user
/// cannot be ours even if its process is hidden.
fn ownership(held: &[SocketHolders], ours: impl Fn(u32) -> bool, user: u32) -> Ownership {
    let mut ownership = if held.is_empty() { Ownership::Unused } else { Ownership::Ours };
    for holders in held {
        let (socket, pids) = holders;
        if pids.iter().any(|pid| ours(*pid)) {
            continue;
        }
        if pids.is_empty() && socket.user == user {
            ownership = Ownership::Unknown;
        } else {
            return Ownership::Other(describe(holders));
        }
    }
    ownership
}

fn held_by_anybody(port: u16) -> Vec<SocketHolders> {
    held_by_any(&proc::listening(port))
}

fn held_by_any(sockets: &[Socket]) -> Vec<SocketHolders> {
    if sockets.is_empty() {
        return Vec::new();
    }
    held_by(sockets, proc::ids())
}

fn held_by(sockets: &[Socket], pids: impl Iterator<Item = u32>) -> Vec<SocketHolders> {
    let mut held: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        let open = proc::sockets_of(pid).into_iter();
        for inode in open.filter(|inode| sockets.iter().any(|socket| socket.inode == *inode)) {
            held.entry(inode).or_default().push(pid);
        }
    }
    sockets.iter().map(|socket| (*socket, held.remove(&socket.inode).unwrap_or_default())).collect()
}

/// Describes the most informative holder of a socket: the oldest that belongs to a worktree, else the oldest. A child has the
/// sockets of its parent until it executes its program, so a process that has closed the socket since does not count.
fn describe((socket, pids): &SocketHolders) -> Holder {
    let mut entries: Vec<ProcessEntry> = pids.iter().filter_map(|pid| proc::entry(*pid)).collect();
    entries.sort_by_key(|entry| entry.started);
    let described = entries.iter().map(|entry| (is_tagged(entry.pid), describe_one(entry.pid), entry.pid));
    let holders = described.filter(|(_, _, pid)| proc::sockets_of(*pid).contains(&socket.inode));
    holders.min_by_key(|(tagged, _, _)| !tagged).map(|(_, holder, _)| holder).unwrap_or_default()
}

fn is_tagged(pid: u32) -> bool {
    proc::env_of(pid, variables::WORKTREE).is_some()
}

fn describe_one(pid: u32) -> Holder {
    let tag = proc::env_of(pid, variables::WORKTREE).filter(|tag| !tag.is_empty()).map(PathBuf::from);
    let worktree = tag.or_else(|| top_level_above(&proc::directory_of(pid)?));
    Holder {
        pid: Some(pid),
        command: proc::command_of(pid),
        by_hand: worktree.is_some() && proc::env_of(pid, variables::RUN).is_none(),
        age: proc::age_of(pid).map(|age| age.as_secs()),
        worktree: worktree.map(|path| path.display().to_string()),
    }
}

/// Returns the nearest folder upwards that contains a `.git`.
fn top_level_above(directory: &Path) -> Option<PathBuf> {
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
        let holder = of(port).unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.command.unwrap().contains("devrun"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(holder.worktree.map(PathBuf::from), top_level_above(&here));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "os::cmd has no commands that outlive the call")]
    fn the_oldest_holder_is_named_and_none_that_has_closed_the_socket() {
        use std::os::fd::OwnedFd;
        use std::process::{Command, Stdio};

        let (listener, port) = listener();
        let socket = proc::listening(port)[0];
        let sleep = |stdin: Stdio| Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        let mut children = [sleep(OwnedFd::from(listener.try_clone().unwrap()).into()), sleep(Stdio::null())];
        let [holder, other] = [children[0].id(), children[1].id()];
        let own = std::process::id();
        assert_eq!(describe(&(socket, vec![other, holder, own])).pid, Some(own));
        assert_eq!(describe(&(socket, vec![other, holder])).pid, Some(holder));
        assert_eq!(describe(&(socket, vec![other])), Holder::default());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_free_port_has_no_holder() {
        let (listener, port) = listener();
        drop(listener);
        assert_eq!(of(port), None);
        assert_eq!(listener_is_ours(port, std::process::id()), Ownership::Unused);
        assert_eq!(port_state(port, Path::new("/w")), PortState::Free);
    }

    #[test]
    fn a_listener_of_the_family_is_ours_and_any_other_a_stranger() {
        let (_listener, port) = listener();
        assert_eq!(listener_is_ours(port, std::process::id()), Ownership::Ours);
        assert_eq!(listener_is_ours(port, std::os::unix::process::parent_id()), Ownership::Ours);
        let Ownership::Other(holder) = listener_is_ours(port, NO_PROCESS) else { panic!() };
        assert_eq!(holder.pid, Some(std::process::id()));
    }

    #[test]
    fn a_listener_without_our_tag_makes_the_port_busy() {
        let (_listener, port) = listener();
        let PortState::Busy(holder) = port_state(port, Path::new("/w/feature-26")) else { panic!() };
        assert_eq!(holder.pid, Some(std::process::id()));
    }

    #[test]
    fn a_server_started_by_hand_belongs_to_the_worktree_it_works_in() {
        let (_listener, port) = listener();
        let here = top_level_above(&std::env::current_dir().unwrap()).unwrap();
        let found = own_by_hand(port, &here);
        assert_eq!(found.iter().map(|(entry, _)| entry.pid).collect::<Vec<_>>(), [std::process::id()]);
        assert!(matches!(port_state(port, &here), PortState::OwnByHand(_)));
        assert_eq!(own_by_hand(port, here.parent().unwrap()), []);
        assert_eq!(own_by_hand(port, &here.join("nested")), []);
    }

    #[test]
    fn listeners_of_both_address_families_are_found() {
        let (_v4, port) = listener();
        let Ok(_v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) else {
            return crate::os::skip("there is no IPv6 here");
        };
        let held = held_by_anybody(port);
        assert_eq!(held.len(), 2);
        assert!(held.iter().all(|(_, pids)| pids == &[std::process::id()]));
    }

    #[test]
    fn one_foreign_socket_beside_ours_is_a_stranger() {
        let held = [(socket(1, 0), vec![10]), (socket(2, 0), vec![NO_PROCESS])];
        assert!(matches!(ownership(&held, |pid| pid == 10, 0), Ownership::Other(_)));
        assert_eq!(ownership(&held[..1], |pid| pid == 10, 0), Ownership::Ours);
    }

    #[test]
    fn a_handed_over_socket_is_ours_although_its_creator_holds_it_too() {
        let held = [(socket(1, 0), vec![NO_PROCESS, 10])];
        assert_eq!(ownership(&held, |pid| pid == 10, 0), Ownership::Ours);
    }

    #[test]
    fn a_hidden_process_of_another_user_is_a_stranger() {
        assert!(matches!(ownership(&[(socket(1, 7), vec![])], |_| false, 0), Ownership::Other(_)));
        assert_eq!(ownership(&[(socket(1, 0), vec![])], |_| false, 0), Ownership::Unknown);
    }
}
