//! Where the programs of Node packages are found: `node_modules/.bin` of a folder and of all above it in the worktree.
//!
//! The package managers do the same for scripts, so a command needs no path: npm and pnpm put the folders of all
//! ancestors on PATH, whichever of them holds the program in a workspace.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Returns `path` with the program folders of `folder` and its parents up to `root` in front, nearest first. Folders
/// without a package.json are left out; `None` when none is left.
pub fn search_path(root: &Path, folder: &Path, path: Option<&OsStr>) -> Option<OsString> {
    let standard = OsStr::new("/usr/local/bin:/usr/bin:/bin");
    let own: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root))
        .filter(|ancestor| ancestor.join("package.json").is_file())
        .map(|ancestor| ancestor.join("node_modules/.bin"))
        // A folder with a colon in its name cannot be on any PATH.
        .filter(|bin| std::env::join_paths([bin]).is_ok())
        .collect();
    if own.is_empty() {
        return None;
    }
    let rest = std::env::split_paths(path.unwrap_or(standard)).filter(|folder| !own.contains(folder));
    std::env::join_paths(own.iter().cloned().chain(rest)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_s_own_programs_come_before_those_of_the_workspace() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for folder in ["", "apps/web"] {
            crate::os::fs::replace(&root.join(folder).join("package.json"), b"{}", 0o600).unwrap();
        }
        let bin = |folder: &str| root.join(folder).join("node_modules/.bin").display().to_string();
        let found = search_path(root, &root.join("apps/web"), Some(OsStr::new("/bin"))).unwrap();
        assert_eq!(found, format!("{}:{}:/bin", bin("apps/web"), bin("")).as_str());
        let again = search_path(root, &root.join("apps/web"), Some(&found)).unwrap();
        assert_eq!(again, found, "no folder is there twice");
        let python = search_path(root, &root.join("backend"), None).unwrap();
        assert_eq!(python, format!("{}:/usr/local/bin:/usr/bin:/bin", bin("")).as_str());
    }

    #[test]
    fn path_stays_as_it_is_without_packages_and_above_the_worktree() {
        let outer = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&outer.path().join("package.json"), b"{}", 0o600).unwrap();
        let root = outer.path().join("worktree");
        assert_eq!(search_path(&root, &root.join("backend"), Some(OsStr::new("/bin"))), None);
        assert_eq!(search_path(&root, outer.path(), Some(OsStr::new("/bin"))), None);
    }
}
