//! Tools that devrun had to fetch, made findable for the processes of a worktree.
//!
//! The environment is complete before anything is installed. So a folder per step is always at the end of PATH, and
//! becomes a link to the tool's own folder when the step had to fetch one. At the end: what the user has comes first.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::Report;
use crate::event::Step;
use crate::os::fs::{self, FsError};
use crate::plan::Need;

/// Where the tool of `step` is found, in the worktree's `state`, if one was fetched.
fn place(state: &Path, step: Step) -> PathBuf {
    state.join("tools").join(step.name())
}

/// Makes the tools in `fetched`, or none, those of `step`. In one step: another process may be looking.
pub(super) fn settle(state: &Path, step: Step, fetched: Option<&Path>) -> Result<(), Report> {
    let place = place(state, step);
    let known = std::fs::read_link(&place).ok();
    if known.as_deref() == fetched {
        return Ok(());
    }
    let failed = |source| FsError::Io { action: "link", path: place.clone(), source };
    let Some(fetched) = fetched else { return Ok(std::fs::remove_file(&place).map_err(failed)?) };
    let folder = place.parent().unwrap_or(state);
    fs::make_private_dir(folder)?;
    let made = tempfile::Builder::new().prefix(".devrun-").make_in(folder, |path| symlink(fetched, path));
    made.and_then(|link| Ok(link.persist(&place)?)).map_err(failed)?;
    Ok(())
}

/// `path` with the places of tools for `needs` at its end; `None` when it stays as it is.
pub(super) fn search_path(path: Option<&OsString>, state: &Path, needs: &[Need]) -> Option<OsString> {
    let steps = needs.iter().filter_map(|need| match need {
        Need::Node => Some(Step::Node),
        Need::Python => Some(Step::Python),
        Need::Database => None,
    });
    let mut folders: Vec<PathBuf> = std::env::split_paths(path?).collect();
    let before = folders.len();
    folders.extend(steps.map(|step| place(state, step)));
    // A folder with a colon in its name cannot be on any PATH.
    std::env::join_paths(&folders).ok().filter(|_| folders.len() > before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_comes_moves_and_goes_with_what_was_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let link = place(dir.path(), Step::Node);
        for fetched in [None, Some(&one), Some(&one), Some(&two), None, None] {
            settle(dir.path(), Step::Node, fetched.map(PathBuf::as_path)).unwrap();
            assert_eq!(std::fs::read_link(&link).ok().as_ref(), fetched);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("tools")).unwrap().count(), 0, "something was left");
    }

    #[test]
    fn what_the_user_has_comes_first() {
        let path = OsString::from("/usr/bin:/bin");
        let searched = search_path(Some(&path), Path::new("/s"), &[Need::Node, Need::Database, Need::Python]);
        assert_eq!(searched.unwrap(), "/usr/bin:/bin:/s/tools/node:/s/tools/python");
        assert_eq!(search_path(Some(&path), Path::new("/s"), &[Need::Database]), None);
        assert_eq!(search_path(Some(&path), Path::new("/with:colon"), &[Need::Node]), None);
        assert_eq!(search_path(None, Path::new("/s"), &[Need::Node]), None, "the system's own default stays");
    }
}
