//! Finds processes, sockets, locks and control groups that a test left behind. On systems other than Linux, finds only sockets.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devrun::testing::os::cgroup::ControlGroup;
use devrun::testing::supervisor::sweep::worktree_tag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time that the kernel may need to remove processes that were just killed.
const GRACE: Duration = Duration::from_secs(2);

/// Identifies the processes and files of one sandbox.
pub(super) struct Leaks<'a> {
    /// `NAME=value` in the environment of every process of the sandbox.
    pub(super) tag: String,
    /// The folders of the sandbox.
    pub(super) folders: [&'a Path; 2],
}

/// A process of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its command line.
    pub(crate) command: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}", self.pid, self.command)
    }
}

impl Leaks<'_> {
    /// Waits up to [`GRACE`] until nothing is left, and kills the processes that are. Returns a line for each leftover.
    pub(super) fn settle(&self) -> Vec<String> {
        let start = Instant::now();
        let mut left = self.all();
        while !left.is_empty() && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(10));
            left = self.all();
        }
        // A process that forks during the search needs several rounds.
        for _ in 0..50 {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for process in processes {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        left
    }

    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.processes().iter().map(ToString::to_string).collect();
        all.extend(self.sockets().iter().map(|path| format!("socket {}", path.display())));
        all.extend(self.groups().iter().map(|path| format!("control group {}", path.display())));
        all.extend(self.locked().iter().map(|path| format!("lock {}", path.display())));
        all
    }

    /// Returns the processes with the tag, or with a folder of the sandbox as working directory or in the command line,
    /// because a child may have another environment.
    pub(super) fn processes(&self) -> Vec<Process> {
        let Ok(folders) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = folders.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut found: Vec<Process> = pids.filter_map(|pid| self.process(pid)).collect();
        found.sort();
        found
    }

    fn process(&self, pid: i32) -> Option<Process> {
        // The environment comes first: reading it waits for a process that is just executing its program.
        let environ = devrun::testing::os::proc::environ(pid.cast_unsigned()).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // A zombie has no command line any more.
        if line.is_empty() || pid == std::process::id().cast_signed() {
            return None;
        }
        let command = String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_string();
        let tagged = environ.split(|byte| *byte == 0).any(|pair| pair == self.tag.as_bytes());
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let mut folders = self.folders.iter();
        let ours = tagged
            || folders
                .any(|folder| directory.starts_with(folder) || command.contains(&*folder.to_string_lossy()));
        ours.then_some(Process { pid, command })
    }

    /// Returns the control groups of runs in folders of the sandbox. A run that is still ending removes its own group.
    fn groups(&self) -> Vec<PathBuf> {
        let beside = ControlGroup::of_run("0.0").and_then(|group| Some(group.path().parent()?.to_path_buf()));
        let entries =
            beside.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let all: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("devrun-")))
            .collect();
        if all.is_empty() {
            return all;
        }
        let is_folder = |(path, meta): (PathBuf, std::fs::Metadata)| meta.is_dir().then_some(path);
        let folders = files(self.folders[0]).into_iter().filter_map(is_folder);
        let tags: BTreeSet<String> = folders.map(|folder| worktree_tag(&folder)).collect();
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let tag = name
                .strip_prefix("devrun-")
                .and_then(|run| run.split_once('.'))
                .map(|(tag, _)| tag.to_string());
            tag.is_some_and(|tag| tags.contains(&tag))
        };
        all.into_iter().filter(is_ours).collect()
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let all = files(self.folders[1]);
        all.into_iter().filter(|(_, meta)| meta.file_type().is_socket()).map(|(path, _)| path).collect()
    }

    /// Returns files that are locked with flock(2). The kernel's table has inodes only, so this function tries to lock each file with
    /// such an inode.
    fn locked(&self) -> Vec<PathBuf> {
        let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let held: BTreeSet<u64> = table.lines().filter_map(flock_inode).collect();
        if held.is_empty() {
            return Vec::new();
        }
        let all = self.folders.iter().flat_map(|folder| files(folder));
        all.filter(|(_, meta)| meta.is_file() && held.contains(&meta.ino()))
            .filter(|(path, _)| std::fs::File::open(path).is_ok_and(|file| file.try_lock().is_err()))
            .map(|(path, _)| path)
            .collect()
    }
}

/// Parses the inode of a line such as `1: FLOCK  ADVISORY  WRITE 123 08:01:4567 0 EOF`.
fn flock_inode(line: &str) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let place = fields.iter().position(|field| *field == "FLOCK").and_then(|at| fields.get(at + 4))?;
    place.rsplit(':').next()?.parse().ok()
}

fn files(folder: &Path) -> Vec<(PathBuf, std::fs::Metadata)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            }
            found.push((entry.path(), meta));
        }
    }
    found
}
