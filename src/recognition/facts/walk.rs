//! The files of a worktree that recognition reads: without folders of tools, other checkouts and links.
//!
//! The walk needs no git. It goes level by level, so that a limit cuts off the deepest files and not those near the top.

use std::fs::{DirEntry, FileType};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// How much the walk may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Folders below the top.
    pub(super) depth: usize,
    /// Files.
    pub(super) files: usize,
    /// Time.
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth: 8, files: 20_000, time: Duration::from_secs(2) }
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Path relative to the top.
    pub(super) path: PathBuf,
}

/// The result of a walk.
#[derive(Clone, Debug, Default)]
pub(super) struct Walked {
    /// Files, nearest to the top first, then by name.
    pub(super) files: Vec<Found>,
    /// Limits that ended the walk, one sentence each.
    pub(super) limits: Vec<String>,
}

/// Lists the files below `root`.
pub(super) fn walk(root: &Path, limits: &Limits) -> Walked {
    let start = Instant::now();
    let mut walked = Walked::default();
    let mut level = vec![PathBuf::new()];
    for depth in 0..=limits.depth {
        let mut next = Vec::new();
        for folder in level {
            if let Some(limit) = exceeded(&walked, limits, start) {
                walked.limits.push(limit);
                return walked;
            }
            let Some(entries) = entries(root, &folder) else { continue };
            for (kind, entry) in entries {
                let path = folder.join(entry.file_name());
                if kind.is_file() {
                    walked.files.push(Found { path });
                } else if kind.is_dir() && is_searched(&entry) {
                    next.push(path);
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

fn exceeded(walked: &Walked, limits: &Limits, start: Instant) -> Option<String> {
    if walked.files.len() >= limits.files {
        return Some(format!("the first {} files were read and no more", walked.files.len()));
    }
    let late = start.elapsed() >= limits.time;
    late.then(|| format!("files were listed for {} s and no longer", limits.time.as_secs()))
}

/// The entries of a folder by name, links and special files left out; `None` when it is no part of this worktree.
fn entries(root: &Path, folder: &Path) -> Option<Vec<(FileType, DirEntry)>> {
    let mut entries: Vec<(FileType, DirEntry)> = std::fs::read_dir(root.join(folder))
        .ok()?
        .flatten()
        .filter_map(|entry| Some((entry.file_type().ok()?, entry)))
        .collect();
    let is_top = folder.as_os_str().is_empty();
    if !is_top && entries.iter().any(|(_, entry)| FOREIGN.iter().any(|name| entry.file_name() == *name)) {
        return None;
    }
    entries.sort_by_cached_key(|(_, entry)| entry.file_name());
    Some(entries)
}

fn is_searched(entry: &DirEntry) -> bool {
    let name = entry.file_name();
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
        let walked = walk(root.path(), &Limits::default());
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
        assert_eq!(paths(&walk(root.path(), &Limits::default())), ["src/env/server.ts"]);
    }

    #[test]
    fn an_application_six_folders_deep_is_reached() {
        let root = tree(&["backend/src/pkg/infrastructure/api/web/main.py"]);
        assert_eq!(walk(root.path(), &Limits::default()).files.len(), 1);
    }

    #[test]
    fn each_limit_is_stated() {
        let root = tree(&["a/b/c/d.py", "a.py", "b.py"]);
        let deep = walk(root.path(), &Limits { depth: 2, ..Limits::default() });
        assert_eq!(deep.limits, ["folders more than 2 levels deep were not read, such as a/b/c"]);
        let many = walk(root.path(), &Limits { files: 2, ..Limits::default() });
        assert_eq!(many.limits, ["the first 2 files were read and no more"]);
        let late = walk(root.path(), &Limits { time: Duration::ZERO, ..Limits::default() });
        assert_eq!(late.limits, ["files were listed for 0 s and no longer"]);
    }
}
