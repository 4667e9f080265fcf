//! Finds files that list dependencies and changed after the stack was started. If there is one, a missing package is
//! probably not installed yet.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const LISTS: [&str; 13] = [
    "bun.lock",
    "package-lock.json",
    "package.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements.in",
    "requirements.txt",
    "uv.lock",
    "yarn.lock",
    "pnpm-workspace.yaml",
    "bun.lockb",
];

/// Returns the first such file, in the worktree or one of its folders, that was modified after `started` (seconds since
/// 1970).
pub fn changed_since(worktree: &Path, started: u64) -> Option<String> {
    // Start times are rounded down to a second.
    let start = UNIX_EPOCH + Duration::from_secs(started + 1);
    let folders = std::fs::read_dir(worktree).ok()?.flatten().map(|entry| entry.path());
    let plain = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        path.is_dir() && !name.starts_with('.') && name != "node_modules"
    };
    let mut all: Vec<_> = folders.filter(plain).collect();
    all.sort();
    all.insert(0, worktree.into());
    let newer = |path: &std::path::PathBuf| {
        std::fs::metadata(path).and_then(|meta| meta.modified()).is_ok_and(|written| written > start)
    };
    let found = all.iter().flat_map(|folder| LISTS.map(|name| folder.join(name))).find(newer)?;
    Some(found.strip_prefix(worktree).unwrap_or(&found).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_written_after_the_start_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("backend")).unwrap();
        crate::os::fs::replace(&dir.path().join("backend/uv.lock"), b"", 0o644).unwrap();
        assert_eq!(changed_since(dir.path(), 1).as_deref(), Some("backend/uv.lock"));
        assert_eq!(changed_since(dir.path(), 4_000_000_000), None);
    }
}
