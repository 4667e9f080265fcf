//! Makes tools that devrun downloaded available to the processes of a worktree.
//!
//! The environment is complete before anything is installed. So PATH always ends with one folder per install, which
//! becomes a link to the tool's folder if the install downloads one. The folders come last so that the user's own tools
//! win.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::model::Dependencies;
use crate::config::{ConfigError, programs};
use crate::error::Report;
use crate::event::Step;
use crate::os::fs::{self, FsError};

/// Returns the path of the link to the tool that `step` downloads for the `index`th of its folders, in the worktree's
/// `state`.
fn link_path(state: &Path, step: Step, index: usize) -> PathBuf {
    let name = if index == 0 { step.name().into() } else { format!("{}-{}", step.name(), index + 1) };
    state.join("tools").join(name)
}

/// Links the tools in `fetched` for `step` and the `index`th of its folders; without `fetched`, removes the link.
/// Replaces the link atomically, because another process may be using it.
pub(super) fn link_tool(
    state: &Path,
    step: Step,
    index: usize,
    fetched: Option<&Path>,
) -> Result<(), Report> {
    let place = link_path(state, step, index);
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

/// Returns `path` with the links of [`link_path`] for `dependencies` at its end; `None` if there are none.
pub(super) fn search_path(
    path: Option<&OsString>,
    state: &Path,
    dependencies: &Dependencies,
) -> Result<Option<OsString>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let steps = [(Step::Node, dependencies.node.len()), (Step::Python, dependencies.python.len())];
    let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let before = folders.len();
    for (step, count) in steps {
        folders.extend((0..count).map(|index| link_path(state, step, index)));
    }
    if folders.len() == before { Ok(None) } else { programs::join(folders.into_iter()).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_exists_exactly_while_a_tool_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let link = link_path(dir.path(), Step::Node, 0);
        for fetched in [None, Some(&one), Some(&one), Some(&two), None, None] {
            link_tool(dir.path(), Step::Node, 0, fetched.map(PathBuf::as_path)).unwrap();
            assert_eq!(std::fs::read_link(&link).ok().as_ref(), fetched);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("tools")).unwrap().count(), 0, "something was left");
    }

    #[test]
    fn programs_of_the_user_come_first() {
        let path = OsString::from("/usr/bin:/bin");
        let folders = |count| vec![PathBuf::from("."); count];
        let wanted = |node, python| Dependencies { node: folders(node), python: folders(python) };
        let searched = search_path(Some(&path), Path::new("/s"), &wanted(2, 1));
        let places = "/s/tools/node:/s/tools/node-2:/s/tools/python";
        assert_eq!(searched.unwrap().unwrap(), format!("/usr/bin:/bin:{places}").as_str());
        assert_eq!(search_path(Some(&path), Path::new("/s"), &wanted(0, 0)).unwrap(), None);
        assert!(search_path(Some(&path), Path::new("/with:colon"), &wanted(1, 0)).is_err());
        assert_eq!(
            search_path(None, Path::new("/s"), &wanted(1, 0)).unwrap(),
            None,
            "the system's own default stays"
        );
    }
}
