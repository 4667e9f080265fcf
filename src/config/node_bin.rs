//! Finds the programs of Node packages: `node_modules/.bin` of a folder and of its parents in the worktree.
//!
//! npm and pnpm put the same folders on PATH for scripts, regardless of which folder of a workspace contains the
//! program. So a command of devrun.yaml needs no path either.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::model::ProcessConfig;
use crate::plan::RunCommand;

/// Returns `path` with the program folders of `folder` and its parents up to `root` in front, nearest first. Leaves out
/// folders without a package.json; returns `None` if none is left.
pub fn path_with_node_bins(
    root: &Path,
    folder: &Path,
    path: Option<&OsStr>,
) -> Result<Option<OsString>, ConfigError> {
    let standard = OsStr::new("/usr/local/bin:/usr/bin:/bin");
    let own: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root))
        .filter(|ancestor| ancestor.join("package.json").is_file())
        .map(|ancestor| ancestor.join("node_modules/.bin"))
        .collect();
    if own.is_empty() {
        return Ok(None);
    }
    let rest = std::env::split_paths(path.unwrap_or(standard)).filter(|folder| !own.contains(folder));
    join(own.iter().cloned().chain(rest)).map(Some)
}

/// Joins `folders` to a PATH. Fails if the name of a folder contains a `:`, because without that folder another program
/// of the same name would run.
pub fn join(folders: impl Iterator<Item = PathBuf>) -> Result<OsString, ConfigError> {
    let folders: Vec<PathBuf> = folders.collect();
    std::env::join_paths(&folders).map_err(|_| {
        let holds = |folder: &&PathBuf| std::env::join_paths([*folder]).is_err();
        ConfigError::NotOnPath { folder: folders.iter().find(holds).cloned().unwrap_or_default() }
    })
}

/// Returns the command of a process. For a service with several possible programs, it is that of the first one on `path`, else
/// of the one that devrun downloads.
pub fn installed(process: &ProcessConfig, path: Option<&str>) -> RunCommand {
    let programs = process.service.as_ref().map_or(&[][..], |service| service.programs);
    let found = programs.iter().find(|program| is_on_path(program.name, path.map(OsStr::new)));
    let chosen = found.or_else(|| programs.iter().find(|program| program.wheel().is_some()));
    chosen.map_or_else(|| process.run.clone(), |program| RunCommand::Shell(program.run.into()))
}

/// Programs of which one is enough for devrun to download a program of a service.
pub const DOWNLOADERS: [&str; 2] = ["uv", "python3"];

/// Returns true if `program` is in a folder of `path`.
pub fn is_on_path(program: &str, path: Option<&OsStr>) -> bool {
    which::which_in_global(program, path).is_ok_and(|mut found| found.next().is_some())
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
        let found =
            path_with_node_bins(root, &root.join("apps/web"), Some(OsStr::new("/bin"))).unwrap().unwrap();
        assert_eq!(found, format!("{}:{}:/bin", bin("apps/web"), bin("")).as_str());
        let again = path_with_node_bins(root, &root.join("apps/web"), Some(&found)).unwrap().unwrap();
        assert_eq!(again, found, "no folder is there twice");
        let python = path_with_node_bins(root, &root.join("backend"), None).unwrap().unwrap();
        assert_eq!(python, format!("{}:/usr/local/bin:/usr/bin:/bin", bin("")).as_str());
    }

    #[test]
    fn path_stays_as_it_is_without_packages_and_above_the_worktree() {
        let outer = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&outer.path().join("package.json"), b"{}", 0o600).unwrap();
        let root = outer.path().join("worktree");
        assert_eq!(
            path_with_node_bins(&root, &root.join("backend"), Some(OsStr::new("/bin"))).unwrap(),
            None
        );
        assert_eq!(path_with_node_bins(&root, outer.path(), Some(OsStr::new("/bin"))).unwrap(), None);
    }

    #[test]
    fn a_folder_that_no_path_can_hold_is_an_error() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("with:colon");
        crate::os::fs::replace(&root.join("package.json"), b"{}", 0o600).unwrap();
        let error = path_with_node_bins(&root, &root, Some(OsStr::new("/bin"))).unwrap_err();
        let shown = root.join("node_modules/.bin");
        assert_eq!(
            error.to_string(),
            format!("{} cannot be on PATH: its name contains a `:`", shown.display())
        );
    }
}
