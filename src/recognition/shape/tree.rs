//! The files of a worktree that detection may look at: few levels deep, without what tools and other worktrees put there.

use std::path::{Path, PathBuf};

use crate::os::read::{self, Limit};

/// Folders of tools, and environments.
const SKIPPED: &[&str] = &[
    "node_modules",
    ".git",
    ".venv",
    "venv",
    "env",
    ".next",
    "dist",
    "build",
    "out",
    "target",
    "vendor",
    "coverage",
    "__pycache__",
    "site-packages",
];
/// How deep below the top files are looked at.
const DEPTH: usize = 4;
/// How many files are looked at before the search ends: no wait worth noticing, even in a huge repository.
const MAX_FILES: usize = 20_000;
/// The largest file whose text is looked at.
const MAX_BYTES: usize = 256 << 10;

/// Files relative to the top, nearest first and then by name.
pub fn scan(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut level = vec![PathBuf::new()];
    for depth in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in level {
            let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
            let mut entries: Vec<_> = entries.flatten().collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let path = folder.join(entry.file_name());
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth < DEPTH && is_searched(root, &path) => next.push(path),
                    Ok(kind) if kind.is_file() => files.push(path),
                    _ => {}
                }
            }
            if files.len() >= MAX_FILES {
                return files;
            }
        }
        level = next;
    }
    files
}

/// A folder that has a `.git` is another checkout: a nested worktree or a submodule.
fn is_searched(root: &Path, folder: &Path) -> bool {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    !(name.starts_with('.') || SKIPPED.contains(&name.as_str()) || root.join(folder).join(".git").exists())
}

/// The text of a file; nothing when it is large, no text or gone.
pub fn text(root: &Path, file: &Path) -> Option<String> {
    read::text(&root.join(file), Limit { bytes: MAX_BYTES, ..Limit::SMALL }).ok()
}

/// The folder of a file: `.` for the top.
pub fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        _ => ".".into(),
    }
}

/// How far below the top a folder or file is.
pub fn depth(path: &Path) -> usize {
    path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).count()
}

/// The nearest folder, from `folder` up to the top, that has one of the files `names`; the file comes with it.
pub fn nearest_with(root: &Path, folder: &Path, names: &[&'static str]) -> Option<(PathBuf, &'static str)> {
    folder.ancestors().find_map(|ancestor| {
        let name = names.iter().find(|name| root.join(ancestor).join(name).is_file())?;
        let shown = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        Some((shown.to_path_buf(), *name))
    })
}
