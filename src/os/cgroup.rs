//! A control group (cgroup v2) for the processes of one run. A process stays in the group that it was born in: a new session, a
//! new environment and the death of its parent change nothing.
//!
//! Names, makes and removes groups, and lists, moves and kills their members. Linux only: elsewhere, and where no group can be made,
//! callers work without one. Callers decide which members are spared.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::proc;

const PREFIX: &str = "devrun-";
/// The list of a group's processes; an id that is written to it moves that process into the group.
const MEMBERS: &str = "cgroup.procs";
/// The largest number of groups below a group that devrun reads. A process can make any number.
const MOST: usize = 1000;

/// The group of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// Returns the group for `run`, which is `<worktree tag>.<number in hex>`, beside the group that devrun was started in.
    /// `None` where the system has no cgroup v2. Makes nothing.
    pub fn of_run(run: &str) -> Option<ControlGroup> {
        let path = outside()?.join(format!("{PREFIX}{run}"));
        // Records hold text.
        path.to_str()?;
        Some(ControlGroup { path })
    }

    /// Returns the group at `path` if a run of this user with the tag `worktree_tag` made it. A record is a file, and may
    /// name any path.
    pub fn recorded(path: &Path, worktree_tag: &str) -> Option<ControlGroup> {
        let is_named = run_of(path)?.0 == worktree_tag;
        is_named.then(|| ControlGroup::at(path)).flatten()
    }

    /// Returns the group at `path` if a run of this user made it.
    pub fn at(path: &Path) -> Option<ControlGroup> {
        run_of(path)?;
        let below = path.strip_prefix(&Mount::own()?.point).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let meta = path.symlink_metadata().ok()?;
        let is_own = meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw();
        let is_group = || statfs(path).is_ok_and(|system| system.filesystem_type() == CGROUP2_SUPER_MAGIC);
        (is_plain && is_own && is_group()).then(|| ControlGroup { path: path.into() })
    }

    /// Returns the groups of the worktree with the tag `worktree_tag` that the records `recorded` name, and those beside the group
    /// that devrun was started in: a run that was killed while it ended has no record left.
    pub fn left(recorded: &[PathBuf], worktree_tag: &str) -> Vec<ControlGroup> {
        let entries = outside().and_then(|folder| std::fs::read_dir(folder).ok());
        let beside = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let paths: BTreeSet<PathBuf> = recorded.iter().cloned().chain(beside).collect();
        paths.iter().filter_map(|path| ControlGroup::recorded(path, worktree_tag)).collect()
    }

    /// Returns false once the group is removed.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Returns the group's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the group and moves this process into it. Processes that it starts from now on are created there. Errors if the group
    /// exists, or the system does not permit it.
    pub fn enter(&self) -> io::Result<()> {
        std::fs::create_dir(&self.path)?;
        let entered = write_to(&self.path.join(MEMBERS), "0");
        if entered.is_err() {
            self.remove();
        }
        entered
    }

    /// Returns the ids of the processes in the group and in all groups below it.
    pub fn members(&self) -> Vec<u32> {
        let lists = self.folders().into_iter().map(|folder| folder.join(MEMBERS));
        let texts = lists.filter_map(|list| std::fs::read_to_string(list).ok());
        texts
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>())
            .collect()
    }

    /// Returns true while `pid` is in the group or in one below it.
    pub fn contains(&self, pid: u32) -> bool {
        let path = proc::cgroup_of(pid);
        path.is_some_and(|path| path.components().any(|part| Some(part.as_os_str()) == self.path.file_name()))
    }

    /// Moves `pid` into the group.
    pub fn take(&self, pid: u32) -> io::Result<()> {
        write_to(&self.path.join(MEMBERS), &pid.to_string())
    }

    /// Moves `pid` to the group that the run was started in. Returns true if `pid` is no longer in this group.
    pub fn release(&self, pid: u32) -> bool {
        let list = self.path.with_file_name(MEMBERS);
        write_to(&list, &pid.to_string()).is_ok() || !self.contains(pid)
    }

    /// Kills all processes in the group and below, including processes that they start at the same time. Returns false if the
    /// system cannot do that (Linux before 5.14).
    pub fn kill(&self) -> bool {
        write_to(&self.path.join("cgroup.kill"), "1").is_ok()
    }

    /// Removes the group and those below it. Returns false while a process is in one of them.
    pub fn remove(&self) -> bool {
        // A group is removed after those below it.
        self.folders().iter().rev().for_each(|folder| drop(std::fs::remove_dir(folder)));
        !self.exists()
    }

    /// Returns the folders of the group and of those below it, each after the one that it is in.
    fn folders(&self) -> Vec<PathBuf> {
        let mut found = vec![self.path.clone()];
        let mut next = 0;
        while next < found.len() && found.len() < MOST {
            let entries = std::fs::read_dir(&found[next]).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(folders.map(|entry| entry.path()));
            next += 1;
        }
        found
    }
}

/// Opens the list to which a process writes `0` to leave the group of a run. `None` when this process is in no such group.
pub fn members_outside() -> Option<OwnedFd> {
    let own = proc::cgroup_of(std::process::id())?;
    if cut(&own) == own {
        return None;
    }
    Some(OpenOptions::new().write(true).open(outside()?.join(MEMBERS)).ok()?.into())
}

/// Returns the folder of the group that this process is in, or of the one around it when it is in the group of a run.
fn outside() -> Option<PathBuf> {
    let own = proc::cgroup_of(std::process::id())?;
    Mount::own()?.folder(&cut(&own))
}

/// Cuts `path` before the first group of a run.
fn cut(path: &Path) -> PathBuf {
    path.components().take_while(|part| run_of(Path::new(part)).is_none()).collect()
}

/// Returns tag and number from the name of a run's group.
fn run_of(path: &Path) -> Option<(&str, &str)> {
    let (tag, number) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('.')?;
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex(tag) && is_hex(number)).then_some((tag, number))
}

fn write_to(file: &Path, text: &str) -> io::Result<()> {
    // The kernel takes each write as one request.
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// A folder at which a hierarchy of groups is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// The group whose folder that is.
    root: PathBuf,
}

impl Mount {
    fn own() -> Option<Mount> {
        Mount::parse(&std::fs::read("/proc/self/mountinfo").ok()?)
    }

    /// Finds the first cgroup v2 in a text as proc(5) has it: `31 23 0:28 <root> <point> rw … - cgroup2 …`.
    fn parse(text: &[u8]) -> Option<Mount> {
        text.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let (root, point) = (fields.nth(3)?, fields.next()?);
            let is_it = fields.skip_while(|field| *field != b"-").nth(1)? == b"cgroup2";
            is_it.then(|| Mount { point: path(&plain(point)), root: path(&plain(root)) })
        })
    }

    /// Returns the folder of `group`. `None` if the group is not below the one that is mounted.
    fn folder(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| self.point.join(below))
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// Undoes `\040`, as the kernel writes a blank in a path.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let code =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            plain.push(byte);
            rest = &after[3..];
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::skip;

    const TAG: &str = "0123456789abcdef";

    #[test]
    fn the_mount_of_groups_is_found_among_others() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
            41 31 0:38 /user\\040slice /sys/fs/a\\134b rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw\n";
        let mount = Mount::parse(text).unwrap();
        assert_eq!(mount, Mount { point: "/sys/fs/a\\b".into(), root: "/user slice".into() });
        assert_eq!(mount.folder(Path::new("/user slice/x")), Some("/sys/fs/a\\b/x".into()));
        assert_eq!(mount.folder(Path::new("/other")), None);
        assert_eq!(mount.folder(Path::new("/user slice/../x")), None);
        for none in [&b""[..], b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", b"31 23\n - \n"] {
            assert_eq!(Mount::parse(none), None);
        }
    }

    #[test]
    fn a_group_of_a_run_is_known_by_its_name() {
        assert_eq!(run_of(Path::new("/a/devrun-0123.9f")), Some(("0123", "9f")));
        for other in
            ["/", "/devrun-0123", "/devrun-.1", "/devrun-0123.", "/devrun-x.1", "/x-0123.1", "/devrun-1.2.3"]
        {
            assert_eq!(run_of(Path::new(other)), None, "{other}");
        }
        assert_eq!(cut(Path::new("/a/devrun-01.1/b/devrun-02.2")), Path::new("/a"));
        assert_eq!(cut(Path::new("/a/b")), Path::new("/a/b"));
    }

    #[test]
    fn plain_folder_is_not_taken_for_a_control_group() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join(format!("{PREFIX}{TAG}.1"));
        std::fs::create_dir(&named).unwrap();
        assert_eq!(ControlGroup::recorded(&named, TAG), None);
        let Some(outside) = outside() else { return skip("no cgroup v2") };
        assert_eq!(ControlGroup::at(&outside), None);
        assert_eq!(ControlGroup::at(&outside.join(format!("{PREFIX}{TAG}.1"))), None, "it does not exist");
    }

    #[test]
    fn only_the_group_of_the_same_worktree_below_the_own_mount_is_taken_from_a_record() {
        let Some(group) = ControlGroup::of_run(&format!("{TAG}.{:x}", std::process::id())) else {
            return skip("no cgroup v2");
        };
        if let Err(error) = std::fs::create_dir(&group.path) {
            return skip(&format!("no group can be made: {error}"));
        }
        let found = ControlGroup::recorded(&group.path, TAG);
        let listed =
            [ControlGroup::left(&[], TAG), ControlGroup::left(std::slice::from_ref(&group.path), TAG)];
        let elsewhere = ControlGroup::left(std::slice::from_ref(&group.path), "fedcba9876543210");
        let of_another = ControlGroup::recorded(&group.path, "fedcba9876543210");
        let name = group.path.file_name().unwrap();
        let roundabout = ControlGroup::recorded(&group.path.join("..").join(name), TAG);
        let seen = (group.members(), group.contains(std::process::id()));
        assert!(group.remove());
        assert!(listed.iter().all(|groups| groups.iter().filter(|listed| **listed == group).count() == 1));
        assert_eq!(elsewhere, []);
        assert_eq!(found, Some(group));
        assert_eq!((of_another, roundabout), (None, None));
        assert_eq!(seen, (Vec::new(), false));
    }

    #[test]
    fn a_process_outside_of_every_run_leaves_no_group() {
        assert!(members_outside().is_none());
    }
}
