//! Finds what a test left behind: processes, sockets, locks. Linux only; elsewhere nothing is found.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the kernel may need to take down what was killed a moment ago.
const GRACE: Duration = Duration::from_secs(2);

/// Knows what belongs to one sandbox.
pub(super) struct Leaks<'a> {
    /// `NAME=value` in the environment of everything that was started there.
    pub(super) tag: String,
    /// Its folders.
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
    /// Waits a moment for the last to go, kills what does not, and tells what that was, a line each.
    pub(super) fn settle(&self) -> Vec<String> {
        let start = Instant::now();
        let mut left = self.all();
        while !left.is_empty() && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(10));
            left = self.all();
        }
        // Something that forks while it is looked for needs several rounds.
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
        all.extend(self.locked().iter().map(|path| format!("lock {}", path.display())));
        all
    }

    /// Processes with the tag, or with a folder of the sandbox as working directory or in the command line: a child
    /// may have been given another environment.
    pub(super) fn processes(&self) -> Vec<Process> {
        let Ok(folders) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = folders.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut found: Vec<Process> = pids.filter_map(|pid| self.process(pid)).collect();
        found.sort();
        found
    }

    fn process(&self, pid: i32) -> Option<Process> {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let line = read("cmdline");
        // A process that has ended has no command line any more, only a status that nobody asked for.
        if line.is_empty() || pid == std::process::id().cast_signed() {
            return None;
        }
        let command = String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_string();
        let tagged = read("environ").split(|byte| *byte == 0).any(|pair| pair == self.tag.as_bytes());
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let mut folders = self.folders.iter();
        let ours = tagged
            || folders
                .any(|folder| directory.starts_with(folder) || command.contains(&*folder.to_string_lossy()));
        ours.then_some(Process { pid, command })
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let all = files(self.folders[1]);
        all.into_iter().filter(|(_, meta)| meta.file_type().is_socket()).map(|(path, _)| path).collect()
    }

    /// Files with a flock(2) on them. The kernel's table has inodes only, so each is tried.
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

/// `1: FLOCK  ADVISORY  WRITE 123 08:01:4567 0 EOF`
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
