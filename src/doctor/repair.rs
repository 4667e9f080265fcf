//! Carries out the changes that `--fix` makes to git's own list of ignored files.

use std::path::{Path, PathBuf};

use crate::os::fs::{self, FsError};

/// The mode of a new list.
const MODE: u32 = 0o644;

/// Returns the list of ignored files that all worktrees of a repository share and that is not part of it.
pub fn exclude_file(common_dir: &Path) -> PathBuf {
    common_dir.join("info/exclude")
}

/// Adds `lines` to the list. Does not repeat a line. Returns the lines that it added. Errors if the list cannot be read or written.
pub fn exclude(common_dir: &Path, lines: &[String]) -> Result<Vec<String>, FsError> {
    let file = exclude_file(common_dir);
    // A link is followed, not replaced.
    let file = file.canonicalize().unwrap_or(file);
    let mut content = fs::read(&file)?.unwrap_or_default();
    let known = String::from_utf8_lossy(&content).into_owned();
    let mut added: Vec<String> =
        lines.iter().filter(|line| !known.lines().any(|one| one == *line)).cloned().collect();
    added.dedup();
    if added.is_empty() {
        return Ok(added);
    }
    if content.last().is_some_and(|last| *last != b'\n') {
        content.push(b'\n');
    }
    for line in &added {
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
    }
    if let Some(folder) = file.parent() {
        fs::make_dir(folder, 0o755)?;
    }
    let mode = std::fs::metadata(&file)
        .map_or(MODE, |meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777);
    fs::replace(&file, &content, mode)?;
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_once_behind_those_of_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let lines = ["/.env".to_string(), "/x/".into()];
        assert_eq!(exclude(dir.path(), &lines[..1]).unwrap(), lines[..1]);
        fs::replace(&exclude_file(dir.path()), b"# mine\n*.swp", 0o640).unwrap();
        assert_eq!(exclude(dir.path(), &lines).unwrap(), lines);
        assert_eq!(exclude(dir.path(), &lines).unwrap(), [""; 0]);
        let text = std::fs::read_to_string(exclude_file(dir.path())).unwrap();
        assert_eq!(text, "# mine\n*.swp\n/.env\n/x/\n");
    }
}
