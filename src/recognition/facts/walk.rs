//! Lists the files of a worktree for recognition, without folders of tools, other checkouts and links.
//!
//! Does not use git. Goes level by level, so that a limit cuts off the deepest files and not those near the top. Reads the
//! folders of one level on several threads. A file that recognition reads is identified through the open folder, which is
//! faster than by its path.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};

use super::cache::{self, Seen};
use super::kind::FileKind;

/// Folders of tools and of their output.
const SKIPPED: &[&str] = &[
    "__pycache__",
    "bower_components",
    "build",
    "coverage",
    "dist",
    "node_modules",
    "out",
    "site-packages",
    "target",
    "vendor",
    "venv",
];

/// A folder with one of these is another checkout (a nested worktree, a submodule) or a virtual environment.
const FOREIGN: &[&str] = &[".git", "pyvenv.cfg"];

#[derive(Clone, Copy, Debug)]
pub(super) struct WalkLimits {
    /// Maximum depth of folders below the top.
    pub(super) depth: usize,
    /// Maximum number of files.
    pub(super) files: usize,
    /// Maximum number of files and folders of one folder.
    pub(super) entries: usize,
    /// Maximum time.
    pub(super) time: Duration,
}

impl Default for WalkLimits {
    fn default() -> WalkLimits {
        WalkLimits { depth: 8, files: 20_000, entries: 10_000, time: Duration::from_secs(2) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Path relative to the top.
    pub(super) path: PathBuf,
    /// The reader of the file; `None` if the file is not read.
    pub(super) kind: Option<FileKind>,
    /// The identity of a file that is read, and whether its facts may be kept.
    pub(super) identity: Option<Seen>,
}

/// The result of a walk.
#[derive(Clone, Debug, Default)]
pub(super) struct Walked {
    /// Files, nearest to the top first, then by name.
    pub(super) files: Vec<FoundFile>,
    /// The limits that stopped the walk early, one sentence each.
    pub(super) limits: Vec<String>,
}

/// Maximum number of folders that are read before the limits are checked.
const BATCH: usize = 256;
/// Maximum number of threads.
const THREADS: usize = 4;
/// Minimum number of folders that is worth another thread.
const FOLDERS_PER_THREAD: usize = 16;
/// Number of entries of a folder that are read before the time is checked.
const PER_CLOCK: usize = 4096;

/// Lists the files below `root`. Identifies those that are read if `now` is given.
pub(super) fn walk(root: &Path, limits: &WalkLimits, now: Option<SystemTime>) -> Walked {
    let start = Instant::now();
    let mut walked = Walked::default();
    let mut level = vec![PathBuf::new()];
    for depth in 0..=limits.depth {
        let mut next = Vec::new();
        for batch in level.chunks(BATCH) {
            let reading =
                FolderBatch { root, folders: batch, now, most: limits.entries, end: start + limits.time };
            for (folder, entries) in batch.iter().zip(reading.all()) {
                if walked.files.len() >= limits.files {
                    let count = walked.files.len();
                    walked.limits.push(format!("the first {count} files were read and no more"));
                    return walked;
                }
                let Some(Listing { entries, is_cut }) = entries else {
                    let limit = limits.time.as_secs();
                    walked.limits.push(format!("files were listed for {limit} s and no longer"));
                    return walked;
                };
                if is_cut {
                    let most = limits.entries;
                    let folder =
                        if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.display();
                    walked.limits.push(format!(
                        "only the first {most} entries of the folder {folder} were read, by name"
                    ));
                }
                for Entry { name, is_folder, kind, identity } in entries {
                    let path = folder.join(name);
                    if is_folder {
                        next.push(path);
                    } else {
                        walked.files.push(FoundFile { path, kind, identity });
                    }
                }
            }
        }
        if depth == limits.depth && !next.is_empty() {
            let folder = next[0].display();
            walked
                .limits
                .push(format!("folders more than {depth} levels deep were not read, such as {folder}"));
        }
        level = next;
    }
    walked
}

/// Folders of one level that are read together.
struct FolderBatch<'a> {
    root: &'a Path,
    folders: &'a [PathBuf],
    now: Option<SystemTime>,
    /// Maximum number of entries of one folder.
    most: usize,
    end: Instant,
}

/// The files of a folder and the folders to search in it, sorted by name.
#[derive(Default)]
struct Listing {
    entries: Vec<Entry>,
    /// True if the folder has more.
    is_cut: bool,
}

/// A file, or a folder to search.
struct Entry {
    name: OsString,
    is_folder: bool,
    kind: Option<FileKind>,
    identity: Option<Seen>,
}

impl FolderBatch<'_> {
    /// Returns the entries of each folder, or `None` for a folder that was not read in time.
    fn all(&self) -> Vec<Option<Listing>> {
        let most = self.folders.len() / FOLDERS_PER_THREAD;
        let threads = if most < 2 { 1 } else { parallelism().min(most).min(THREADS) };
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::new());
        let work = || {
            let mut own = Vec::new();
            while Instant::now() < self.end {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(folder) = self.folders.get(place) else { break };
                let Some(listing) = self.listing(folder) else { break };
                own.push((place, listing));
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Without another thread, this one reads everything.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut all: Vec<Option<Listing>> = self.folders.iter().map(|_| None).collect();
        for (place, entries) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            all[place] = Some(entries);
        }
        all
    }

    /// Lists a folder, without links and special files. Nothing is listed if the folder is not part of this worktree or cannot be
    /// read. Of a folder with more than [`FolderBatch::most`] entries, those that come first by name are listed: the order in which the
    /// system returns them changes. `None` if the time is over.
    fn listing(&self, folder: &Path) -> Option<Listing> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = openat(CWD, self.root.join(folder), flags, Mode::empty()).and_then(Dir::new);
        let Ok(mut open) = opened else { return Some(Listing::default()) };
        let is_top = folder.as_os_str().is_empty();
        let (mut first, mut is_cut) = (BinaryHeap::new(), false);
        let mut count = 0_usize;
        while let Some(Ok(entry)) = open.read() {
            count += 1;
            if count.is_multiple_of(PER_CLOCK) && Instant::now() >= self.end {
                return None;
            }
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if !is_top && FOREIGN.iter().any(|foreign| name == *foreign) {
                return Some(Listing::default());
            }
            if name == "." || name == ".." {
                continue;
            }
            let file_type = match entry.file_type() {
                // Some file systems do not store the type in the folder.
                FileType::Unknown => stat_in(&open, name)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            let is_folder = match file_type {
                FileType::RegularFile => false,
                FileType::Directory if is_searched(name) => true,
                _ => continue,
            };
            if first.len() < self.most {
                first.push((name.to_os_string(), is_folder));
            } else {
                is_cut = true;
                if let Some(mut last) = first.peek_mut().filter(|last| last.0 > *name) {
                    *last = (name.to_os_string(), is_folder);
                }
            }
        }
        let entry = |(name, is_folder): (OsString, bool)| {
            let kind = if is_folder { None } else { FileKind::of(Path::new(&name)) };
            let now = self.now.filter(|_| kind.is_some());
            let identity = now.and_then(|now| Some(cache::identity(&stat_in(&open, &name)?, now)));
            Entry { name, is_folder, kind, identity }
        };
        Some(Listing { entries: first.into_sorted_vec().into_iter().map(entry).collect(), is_cut })
    }
}

/// Returns the state of the entry `name` of the open `folder`.
fn stat_in(folder: &Dir, name: &OsStr) -> Option<Stat> {
    statat(folder.fd().ok()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}
/// Returns the number of processors that this process may use.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn is_searched(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && !SKIPPED.iter().any(|skipped| name == *skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            crate::os::fs::replace(&root.path().join(file), b"", 0o644).unwrap();
        }
        root
    }

    fn paths(walked: &Walked) -> Vec<String> {
        walked.files.iter().map(|file| file.path.display().to_string()).collect()
    }

    #[test]
    fn files_come_nearest_first_and_then_by_name() {
        let root = tree(&["b/x.py", "a/y/z.py", "z.py", "a/b.py", ".env"]);
        let walked = walk(root.path(), &WalkLimits::default(), None);
        assert_eq!(paths(&walked), [".env", "z.py", "a/b.py", "b/x.py", "a/y/z.py"]);
        assert!(walked.limits.is_empty());
    }

    #[test]
    fn folders_of_tools_and_other_checkouts_are_left_out() {
        let root = tree(&[
            "node_modules/a/index.js",
            ".venv/x.py",
            "env/pyvenv.cfg",
            "env/x.py",
            "src/env/server.ts",
            "dist/x.js",
            "nested/.git",
            "nested/main.py",
            ".git/config",
            ".next/server.js",
        ]);
        std::os::unix::fs::symlink("/", root.path().join("link")).unwrap();
        assert_eq!(paths(&walk(root.path(), &WalkLimits::default(), None)), ["src/env/server.ts"]);
    }

    #[test]
    fn an_application_six_folders_deep_is_reached() {
        let root = tree(&["backend/src/pkg/infrastructure/api/web/main.py"]);
        assert_eq!(walk(root.path(), &WalkLimits::default(), None).files.len(), 1);
    }

    #[test]
    fn first_entries_by_name_of_a_huge_folder_are_read() {
        let names: Vec<String> = (0..500).rev().map(|number| format!("data/{number:03}.json")).collect();
        let mut files: Vec<&str> = names.iter().map(String::as_str).collect();
        files.extend(["data/0/b.py", "z.py"]);
        let root = tree(&files);
        let walked = walk(root.path(), &WalkLimits { entries: 3, ..WalkLimits::default() }, None);
        assert_eq!(paths(&walked), ["z.py", "data/000.json", "data/001.json", "data/0/b.py"]);
        assert_eq!(walked.limits, ["only the first 3 entries of the folder data were read, by name"]);
    }

    #[test]
    fn each_limit_is_stated() {
        let root = tree(&["a/b/c/d.py", "a.py", "b.py"]);
        let deep = walk(root.path(), &WalkLimits { depth: 2, ..WalkLimits::default() }, None);
        assert_eq!(deep.limits, ["folders more than 2 levels deep were not read, such as a/b/c"]);
        let many = walk(root.path(), &WalkLimits { files: 2, ..WalkLimits::default() }, None);
        assert_eq!(many.limits, ["the first 2 files were read and no more"]);
        let late = walk(root.path(), &WalkLimits { time: Duration::ZERO, ..WalkLimits::default() }, None);
        assert_eq!(late.limits, ["files were listed for 0 s and no longer"]);
    }
}
