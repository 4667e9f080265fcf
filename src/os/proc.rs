//! Reads the process table: parents, environment, sockets. Linux has `/proc`; on other systems the results are empty,
//! and callers must handle that. The results are also empty when `/proc` numbers the processes of another pid namespace,
//! as in a sandbox with the `/proc` of its host: the ids there are not those that this process signals.
//!
//! Sends no signals.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat_raw};

use super::tcp;
use crate::text::hide_in_command;

/// How long a process may take to load the program that it executes.
const STARTING: Duration = Duration::from_millis(200);

/// One row of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Process id.
    pub pid: u32,
    /// The parent's process id.
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// The state as one letter: `R`, `S`, `T`, `Z`, …
    pub state: char,
    /// The number of its threads. The state is that of the first one, which may end before the others.
    pub threads: u32,
    /// Start time in clock ticks since boot. Together with the id it identifies a process uniquely.
    pub started: u64,
}

impl ProcessEntry {
    /// Returns true if all threads of the process have ended. If only the first one has, the state is `Z` although the others
    /// still run and hold the process's files and sockets.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// Returns true if the ids in `/proc` are those of this process's pid namespace.
pub fn is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        let own = std::fs::read_link("/proc/self").ok();
        own.and_then(|link| link.to_str()?.parse().ok()) == Some(std::process::id())
    })
}

/// Returns the pid namespace of this process, such as `pid:[4026531836]`. Returns `None` if the system does not say.
pub fn namespace() -> Option<String> {
    std::fs::read_link("/proc/self/ns/pid").ok()?.into_os_string().into_string().ok()
}

/// Returns the path of `file` of the process `pid`.
pub(super) fn at(pid: u32, file: &str) -> Option<PathBuf> {
    is_ours().then(|| PathBuf::from(format!("/proc/{pid}/{file}")))
}

/// Returns all visible processes.
pub fn table() -> Vec<ProcessEntry> {
    ids().filter_map(entry).collect()
}

/// Returns all visible processes, then those that have appeared since. Each is read only when its turn comes, so that a
/// process which keeps forking and exiting is still found.
pub fn each() -> impl Iterator<Item = ProcessEntry> {
    // A program may start new processes forever.
    const LISTINGS: usize = 100;
    let mut met = HashSet::new();
    let listings = std::iter::repeat_with(move || ids().filter(|pid| met.insert(*pid)).collect::<Vec<u32>>());
    listings.take_while(|new| !new.is_empty()).take(LISTINGS).flatten().filter_map(entry)
}

/// Returns the ids of all processes. A process that starts during the listing may be missing.
pub fn ids() -> impl Iterator<Item = u32> {
    let folders = is_ours().then(|| std::fs::read_dir("/proc")).into_iter().flatten().flatten().flatten();
    folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok())
}

/// Returns the process `pid`, if it exists.
pub fn entry(pid: u32) -> Option<ProcessEntry> {
    let stat = std::fs::read(at(pid, "stat")?).ok()?;
    parse_stat(&stat)
}

/// Parses `pid (comm) state ppid pgrp session …`. `comm` may contain parentheses, so the fields are counted from the
/// last one.
pub(super) fn parse_stat(stat: &[u8]) -> Option<ProcessEntry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let rest: Vec<&str> =
        std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    Some(ProcessEntry {
        pid,
        state: rest.first()?.chars().next()?,
        parent: rest.get(1)?.parse().ok()?,
        group: rest.get(2)?.parse().ok()?,
        session: rest.get(3)?.parse().ok()?,
        threads: rest.get(17)?.parse().ok()?,
        started: rest.get(19)?.parse().ok()?,
    })
}

/// Returns the ids of this process's children, including zombies. Returns `None` if the system does not list them. The
/// list is complete only if the calling thread is the only one that reaps (proc(5) on `children`).
pub fn children() -> Option<Vec<u32>> {
    children_of(std::process::id())
}

/// Returns `root` and all its current descendants. Reads each process's list of children, so the cost depends on the
/// size of the tree, not of the machine. Uses the whole table if the kernel does not list children.
pub fn tree(root: u32) -> Vec<ProcessEntry> {
    let Some(first) = entry(root) else { return Vec::new() };
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next).map(|entry| entry.pid) {
        next += 1;
        match children_of(pid) {
            Some(ids) => found.extend(ids.into_iter().filter_map(entry)),
            None if next == 1 => return [vec![first], descendants(&table(), root, &|_| false)].concat(),
            // The process has ended since it was listed.
            None => {}
        }
    }
    found
}

/// Returns the ids of the children of `pid`, or `None` if it has ended or the kernel does not list them.
fn children_of(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(at(pid, "task")?).ok()?.flatten() {
        let ids = std::fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(ids.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Some(found)
}

/// Returns all descendants of `root` in `table`, without `root`. A child for which `spare` returns true is left out
/// with its descendants.
pub fn descendants(table: &[ProcessEntry], root: u32, spare: &dyn Fn(u32) -> bool) -> Vec<ProcessEntry> {
    let mut children: HashMap<u32, Vec<ProcessEntry>> = HashMap::new();
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

/// Returns the value of `name` in the environment that `pid` was started with. Returns `None` if it is not set or not
/// readable. Waits up to [`STARTING`] for a process that is just executing a program.
pub fn env_of(pid: u32, name: &str) -> Option<OsString> {
    let environ = environ(pid)?;
    environ.split(|byte| *byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// Returns the environment of `pid` as the kernel shows it. Waits up to [`STARTING`] for a process that is just executing a program.
pub fn environ(pid: u32) -> Option<Vec<u8>> {
    let file = at(pid, "environ")?;
    let begun = Instant::now();
    // Between the old program and the new one, the process has no environment: a search by environment would miss it.
    while let Ok(environ) = std::fs::read(&file) {
        if !environ.is_empty() {
            return Some(environ);
        }
        let stat = std::fs::read(at(pid, "stat")?).ok()?;
        if !is_starting(&stat) || begun.elapsed() > STARTING {
            // The program may have been loaded between the two reads.
            let again = std::fs::read(&file).unwrap_or_default();
            return if again.is_empty() { environ_of_other_threads(pid) } else { Some(again) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    environ_of_other_threads(pid)
}

/// Returns true for the `stat` of a process whose program is not loaded yet. The end of its environment (field 51) is 0 then, and
/// not for a process with an empty environment. Threads of the kernel and ending processes have no environment either.
fn is_starting(stat: &[u8]) -> bool {
    /// `PF_EXITING` and `PF_KTHREAD` of the kernel's `sched.h`.
    const WITHOUT_MEMORY: u32 = 0x0000_0004 | 0x0020_0000;
    let close = stat.iter().rposition(|byte| *byte == b')').unwrap_or_default();
    let fields: Vec<&str> =
        std::str::from_utf8(&stat[close..]).unwrap_or_default().split_ascii_whitespace().skip(1).collect();
    // The first of `fields` is field 3 of proc(5).
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let flags: u32 = field(9).parse().unwrap_or(WITHOUT_MEMORY);
    !matches!(field(3), "Z" | "X") && flags & WITHOUT_MEMORY == 0 && field(51) == "0"
}

/// Returns the environment of a process whose first thread has ended and has none any more. Returns `None` for all other processes.
fn environ_of_other_threads(pid: u32) -> Option<Vec<u8>> {
    entry(pid).filter(|entry| entry.state == 'Z' && !entry.has_ended())?;
    let threads = std::fs::read_dir(at(pid, "task")?).ok()?.flatten();
    threads
        .filter_map(|thread| std::fs::read(thread.path().join("environ")).ok())
        .find(|bytes| !bytes.is_empty())
}

/// Returns the command line of `pid` without secrets, its arguments joined by spaces, at most 200 characters.
pub fn command_of(pid: u32) -> Option<String> {
    let bytes = std::fs::read(at(pid, "cmdline")?).ok()?;
    let arguments: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    // Before it is cut: half a URL does not show where its password ends.
    let line = hide_in_command(arguments.iter().map(|argument| &**argument)).trim().to_string();
    (!line.is_empty()).then(|| line.chars().take(200).collect())
}

/// Returns true if `pid` has a controlling terminal, which another process group uses at the moment.
pub fn is_in_background(pid: u32) -> bool {
    let stat = at(pid, "stat").and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    foreground_of(&stat).is_some_and(|(group, foreground)| foreground > 0 && foreground != group)
}

/// Parses the process group, and the group in the foreground of the terminal; the latter is -1 without a terminal.
fn foreground_of(stat: &[u8]) -> Option<(i64, i64)> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let mut rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace();
    let group = rest.nth(2)?.parse().ok()?;
    Some((group, rest.nth(2)?.parse().ok()?))
}

/// Returns true if the command line of `pid` contains `part`.
pub fn command_contains(pid: u32, part: &[u8]) -> bool {
    let bytes = at(pid, "cmdline").and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    memchr::memmem::find(&bytes, part).is_some()
}

/// Returns the short name that `pid` gives itself, or that of its program.
pub fn name_of(pid: u32) -> Option<String> {
    let name = std::fs::read(at(pid, "comm")?).ok()?;
    Some(String::from_utf8_lossy(&name).trim().to_string()).filter(|name| !name.is_empty())
}

/// Returns the working directory of `pid`; `None` if it was removed: another folder may have its path now.
pub fn directory_of(pid: u32) -> Option<PathBuf> {
    let link = std::fs::read_link(at(pid, "cwd")?).ok()?;
    former_path(&link).is_none().then_some(link)
}

/// Returns the working directory of `pid`, or its former path if it was removed.
pub fn last_directory_of(pid: u32) -> Option<PathBuf> {
    let link = std::fs::read_link(at(pid, "cwd")?).ok()?;
    Some(former_path(&link).map(Path::to_path_buf).unwrap_or(link))
}

/// Returns the former path of a removed directory, from the kernel's link to it.
fn former_path(link: &Path) -> Option<&Path> {
    let path = link.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(Path::new(OsStr::from_bytes(path)))
}

/// Returns the path of the executable of `pid`.
pub fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(at(pid, "exe")?).ok()
}

/// Returns true if `pid` is known to ignore `signal`.
pub fn ignores(pid: u32, signal: i32) -> bool {
    let status = at(pid, "status").and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals count from 1, bits from 0.
    mask.zip(u32::try_from(signal - 1).ok())
        .is_some_and(|(mask, bit)| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// Returns the control group (cgroup v2) of `pid`, as a path from the root that this process sees.
pub fn cgroup_of(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read(at(pid, "cgroup")?).ok()?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(OsString::from_vec(line.to_vec())))
}

/// Returns the user that `pid` runs as.
pub fn user_of(pid: u32) -> Option<u32> {
    std::fs::metadata(at(pid, "")?).ok().map(|meta| meta.uid())
}

/// Returns how long `pid` has run, or `None` if it has ended or the system does not show it.
#[cfg(target_os = "linux")]
pub fn age_of(pid: u32) -> Option<std::time::Duration> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let started = entry(pid)?.started / u64::try_from(ticks).ok()?.max(1);
    // The first number is seconds since boot, with a fraction.
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let up: u64 = text.split('.').next()?.parse().ok()?;
    Some(std::time::Duration::from_secs(up.saturating_sub(started)))
}

/// Returns `None`, because this system does not show it.
#[cfg(not(target_os = "linux"))]
pub fn age_of(_pid: u32) -> Option<std::time::Duration> {
    None
}

/// Returns the ids of the processes that listen on TCP `port` on any address. There are several if a socket was
/// inherited. Returns `None` if the listening process is not visible, because it belongs to another user.
pub fn listeners(port: u16) -> Option<Vec<u32>> {
    let sockets: HashSet<u64> = listening(port).iter().map(|socket| socket.inode).collect();
    let holds = |pid: &u32| sockets_of(*pid).iter().any(|inode| sockets.contains(inode));
    let pids: Vec<u32> = ids().filter(holds).collect();
    if pids.is_empty() && !sockets.is_empty() { None } else { Some(pids) }
}

/// A TCP socket in state LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// Identifies the socket in all processes that hold it.
    pub inode: u64,
    /// The user that created it.
    pub user: u32,
}

/// Returns true if a TCP connection, open or closing, has the local `port`. Returns `None` if the system does not show
/// it. A bound socket that neither listens nor is connected is not listed.
pub fn has_connections(port: u16) -> Option<bool> {
    let [v4, v6] = tcp_tables();
    // Without IPv6 the second list is missing.
    let (v4, v6) = (v4?, v6.unwrap_or_default());
    let here = |line: &str| {
        local_port_and_state(line).is_some_and(|(local, state)| local == port && state != LISTEN)
    };
    Some(v4.lines().chain(v6.lines()).any(here))
}

fn tcp_tables() -> [Option<String>; 2] {
    tcp::TABLES.map(|path| tcp::table(path).ok())
}

/// Returns the sockets that listen on TCP `port`, on any address of either family.
pub fn listening(port: u16) -> Vec<Socket> {
    let rows = tcp::rows(&[tcp::SocketState::Listening]).into_iter().filter(|row| row.local.port() == port);
    rows.map(|row| Socket { inode: row.inode, user: row.user }).collect()
}

/// Returns the inodes of the sockets that `pid` has open, or none if they are not readable.
pub fn sockets_of(pid: u32) -> Vec<u64> {
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Some(folder) = at(pid, "fd") else { return found };
    let Ok(folder) = openat(CWD, folder, flags, Mode::empty()) else { return found };
    let Ok(mut links) = Dir::new(folder) else { return found };
    let mut target = [MaybeUninit::uninit(); 64];
    while let Some(Ok(link)) = links.read() {
        let target = links.fd().and_then(|folder| readlinkat_raw(folder, link.file_name(), &mut target[..]));
        found.extend(target.ok().and_then(|(target, _)| socket_inode(target)));
    }
    found
}

fn socket_inode(target: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(target).ok()?;
    text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Parses a line of `/proc/net/tcp`: `sl local_address rem_address st … uid timeout inode …`.
fn local_port_and_state(line: &str) -> Option<(u16, &str)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.nth(1)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_parsed() {
        let fields = "S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";
        let entry = parse_stat(format!("12 (a) b (c) {fields}").as_bytes()).unwrap();
        assert_eq!(
            entry,
            ProcessEntry { pid: 12, parent: 7, group: 8, session: 9, state: 'S', threads: 1, started: 4242 }
        );
    }

    #[test]
    fn only_a_process_without_a_loaded_program_is_starting() {
        let stat = |state: &str, flags: u32, end: u64| {
            let zeros = "0 ".repeat(41);
            is_starting(format!("12 (a) b) {state} 1 2 3 0 -1 {flags} {zeros}{end} 0").as_bytes())
        };
        assert!(stat("R", 0x0040_0000, 0));
        assert!(!stat("R", 0x0040_0000, 140_000));
        assert!(!stat("I", 0x0020_8040, 0), "a thread of the kernel");
        assert!(!stat("R", 0x0040_0004, 0), "it is ending");
        assert!(!stat("Z", 0x0040_0000, 0));
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(!is_starting(&own));
    }

    #[test]
    fn this_process_and_its_port_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = std::process::id();
        assert_eq!(entry(me).unwrap().pid, me);
        assert_eq!(listeners(listener.local_addr().unwrap().port()).unwrap(), [me]);
    }

    #[test]
    fn spared_children_are_left_out_with_their_descendants() {
        let row = |pid, parent| ProcessEntry {
            pid,
            parent,
            group: 0,
            session: 0,
            state: 'S',
            threads: 1,
            started: 0,
        };
        let rows = [row(2, 1), row(3, 2), row(4, 1), row(5, 4)];
        let mut pids: Vec<u32> =
            descendants(&rows, 1, &|pid| pid == 4).iter().map(|entry| entry.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3]);
    }

    #[test]
    fn the_link_to_a_removed_directory_has_its_former_path() {
        assert_eq!(former_path(Path::new("/w/x (deleted)")), Some(Path::new("/w/x")));
        assert_eq!(former_path(Path::new("/w/x (deleted)/y")), None);
    }
}
