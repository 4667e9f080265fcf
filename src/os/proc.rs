//! The process table: who is whose child, what environment, which sockets. Linux reads `/proc`; elsewhere `ps` and
//! `lsof` are not asked and the answers are empty, which callers must bear.
//!
//! Refuses to signal anything: it only looks.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// One row of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Parent's id.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// One letter: `R`, `S`, `T`, `Z`, …
    pub state: char,
    /// Start time in clock ticks since boot: together with the id it names a process for good.
    pub started: u64,
}

/// Every process that can be seen.
pub fn table() -> Vec<Entry> {
    ids().filter_map(entry).collect()
}

/// Every process that can be seen, each looked at only when its turn comes, then those that have appeared meanwhile: one
/// that becomes another faster than the table can be read is still met.
pub fn each() -> impl Iterator<Item = Entry> {
    // Somebody may start processes without end.
    const LISTINGS: usize = 100;
    let mut met = HashSet::new();
    let listings = std::iter::repeat_with(move || ids().filter(|pid| met.insert(*pid)).collect::<Vec<u32>>());
    listings.take_while(|new| !new.is_empty()).take(LISTINGS).flatten().filter_map(entry)
}

/// The kernel makes this list in one go: what appears later is not in it.
fn ids() -> impl Iterator<Item = u32> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok())
}

/// One process, if it exists.
pub fn entry(pid: u32) -> Option<Entry> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// `pid (comm) state ppid pgrp session …`: comm may hold anything, so fields are counted from the last parenthesis.
pub(super) fn parse_stat(stat: &[u8]) -> Option<Entry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let rest: Vec<&str> =
        std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    Some(Entry {
        pid,
        state: rest.first()?.chars().next()?,
        parent: rest.get(1)?.parse().ok()?,
        group: rest.get(2)?.parse().ok()?,
        session: rest.get(3)?.parse().ok()?,
        started: rest.get(19)?.parse().ok()?,
    })
}

/// Ids of this process's own children, ended ones included; `None` where the system does not tell. Exact as long as the
/// thread that asks is the only one that reaps (proc(5) on `children`).
pub fn children() -> Option<Vec<u32>> {
    children_of(std::process::id())
}

/// Returns `root` and every descendant that exists now. Asks the kernel for each process's own children and so costs the
/// size of the tree, not that of the machine; falls back to the whole table where the kernel does not list children.
pub fn tree(root: u32) -> Vec<Entry> {
    let Some(first) = entry(root) else { return Vec::new() };
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next).map(|entry| entry.pid) {
        next += 1;
        match children_of(pid) {
            Some(ids) => found.extend(ids.into_iter().filter_map(entry)),
            None if next == 1 => return [vec![first], descendants(&table(), root, &|_| false)].concat(),
            // It ended since it was listed.
            None => {}
        }
    }
    found
}

/// Returns the ids of the children of `pid`; `None` when it is gone or the kernel does not list them.
fn children_of(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let ids = std::fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(ids.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Some(found)
}

/// All descendants of `root` in `table`, without `root`; a child for which `spare` holds is left out with all below it.
pub fn descendants(table: &[Entry], root: u32, spare: &dyn Fn(u32) -> bool) -> Vec<Entry> {
    let mut children: HashMap<u32, Vec<Entry>> = HashMap::new();
    for entry in table {
        children.entry(entry.parent).or_default().push(*entry);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if child.pid != root && !spare(child.pid) {
                open.push(child.pid);
                found.push(child);
            }
        }
    }
    found
}

/// The value of `name` in the environment `pid` was started with; `None` when it has none or is not ours to read.
pub fn env_of(pid: u32, name: &str) -> Option<OsString> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ.split(|byte| *byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// The command line of `pid`, arguments joined by spaces, at most 200 characters.
pub fn command_of(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line = line.join(" ").trim().to_string();
    (!line.is_empty()).then(|| line.chars().take(200).collect())
}

/// The working directory of `pid`.
pub fn directory_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// The executable of `pid`.
pub fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// True when `pid` is known to ignore `signal`.
pub fn ignores(pid: u32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals count from 1, bits from 0.
    mask.zip(u32::try_from(signal - 1).ok())
        .is_some_and(|(mask, bit)| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// The user that `pid` runs as.
pub fn user_of(pid: u32) -> Option<u32> {
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// Ids of the processes that listen on TCP `port` on any address; several when a socket was inherited.
/// `None` when somebody listens whose process cannot be seen (another user's).
pub fn listeners(port: u16) -> Option<Vec<u32>> {
    let sockets: HashSet<u64> = listening(port).iter().map(|socket| socket.inode).collect();
    let holds = |pid: &u32| sockets_of(*pid).any(|inode| sockets.contains(&inode));
    let pids: Vec<u32> = table().iter().map(|entry| entry.pid).filter(holds).collect();
    if pids.is_empty() && !sockets.is_empty() { None } else { Some(pids) }
}

/// A TCP socket in state LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// Names the socket among all processes that hold it.
    pub inode: u64,
    /// The user that made it.
    pub user: u32,
}

/// Whether a TCP connection, open or closing, has the local `port`; `None` where the system does not show it. A socket that
/// is bound and neither listens nor is connected is in no list.
pub fn has_connections(port: u16) -> Option<bool> {
    let [v4, v6] = tcp_tables();
    // Without IPv6 there is no second list.
    let (v4, v6) = (v4?, v6.unwrap_or_default());
    let here = |line: &str| {
        local_port_and_state(line).is_some_and(|(local, state)| local == port && state != LISTEN)
    };
    Some(v4.lines().chain(v6.lines()).any(here))
}

fn tcp_tables() -> [Option<String>; 2] {
    ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).ok())
}

/// The sockets that listen on TCP `port`, on any address of either family.
pub fn listening(port: u16) -> Vec<Socket> {
    tcp_tables()
        .iter()
        .flatten()
        .flat_map(|text| text.lines().skip(1))
        .filter_map(|line| parse_listening(line, port))
        .collect()
}

/// Inodes of the sockets that `pid` has open; none when they are not ours to read.
pub fn sockets_of(pid: u32) -> impl Iterator<Item = u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"));
    links
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|link| socket_inode(&std::fs::read_link(link.path()).ok()?))
}

fn socket_inode(target: &std::path::Path) -> Option<u64> {
    let text = std::str::from_utf8(target.as_os_str().as_bytes()).ok()?;
    text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A line of `/proc/net/tcp`: `sl local_address rem_address st … uid timeout inode …`.
fn local_port_and_state(line: &str) -> Option<(u16, &str)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.nth(1)?))
}

fn parse_listening(line: &str, port: u16) -> Option<Socket> {
    let listens = local_port_and_state(line)? == (port, LISTEN);
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let socket = Socket { user: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? };
    listens.then_some(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trap() {
        let fields = "S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";
        let entry = parse_stat(format!("12 (a) b (c) {fields}").as_bytes()).unwrap();
        assert_eq!(entry, Entry { pid: 12, parent: 7, group: 8, session: 9, state: 'S', started: 4242 });
    }

    #[test]
    fn we_are_in_the_table_and_our_port_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = std::process::id();
        assert_eq!(entry(me).unwrap().pid, me);
        assert_eq!(listeners(listener.local_addr().unwrap().port()).unwrap(), [me]);
    }

    #[test]
    fn spared_children_are_left_out_with_all_below() {
        let row = |pid, parent| Entry { pid, parent, group: 0, session: 0, state: 'S', started: 0 };
        let rows = [row(2, 1), row(3, 2), row(4, 1), row(5, 4)];
        let mut pids: Vec<u32> =
            descendants(&rows, 1, &|pid| pid == 4).iter().map(|entry| entry.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3]);
    }
}
