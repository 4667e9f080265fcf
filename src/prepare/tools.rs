//! Makes tools that devrun downloaded available to the processes of a worktree.
//!
//! The environment is complete before anything is installed. So PATH always ends with one folder per install and one per program of a
//! service that devrun downloads, which becomes a link to the tool's folder after the download. The folders come last so that the user's
//! own tools win.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::model::Dependencies;
use crate::config::{self, ConfigError};
use crate::error::Report;
use crate::event::Step;
use crate::os::fs::{self, FsError};

/// Returns the name of the link to the tool that `step` downloads for the `index`th of its folders.
pub(super) fn link_name(step: Step, index: usize) -> String {
    if index == 0 { step.name().into() } else { format!("{}-{}", step.name(), index + 1) }
}

/// Returns the path of the link `name` in the worktree's `state`.
fn link_path(state: &Path, name: &str) -> PathBuf {
    state.join("tools").join(name)
}

/// Makes the link `name` to the tools in `fetched`; without `fetched`, removes the link.
/// Replaces the link atomically, because another process may be using it.
pub(super) fn link_tool(state: &Path, name: &str, fetched: Option<&Path>) -> Result<(), Report> {
    let place = link_path(state, name);
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

/// Returns `path` with the links for `dependencies` and for `programs` of services at its end; `None` if there are none.
pub(super) fn path_with_links(
    path: Option<&OsString>,
    state: &Path,
    dependencies: &Dependencies,
    programs: &BTreeSet<&str>,
) -> Result<Option<OsString>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let steps = [(Step::Node, dependencies.node.len()), (Step::Python, dependencies.python.len())];
    let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let before = folders.len();
    for (step, count) in steps {
        folders.extend((0..count).map(|index| link_path(state, &link_name(step, index))));
    }
    folders.extend(programs.iter().map(|name| link_path(state, name)));
    if folders.len() == before { Ok(None) } else { config::node_bin::join(folders.into_iter()).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_exists_exactly_while_a_tool_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let link = link_path(dir.path(), "node");
        for fetched in [None, Some(&one), Some(&one), Some(&two), None, None] {
            link_tool(dir.path(), "node", fetched.map(PathBuf::as_path)).unwrap();
            assert_eq!(std::fs::read_link(&link).ok().as_ref(), fetched);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("tools")).unwrap().count(), 0, "something was left");
    }

    #[test]
    fn programs_of_the_user_come_first() {
        let path = OsString::from("/usr/bin:/bin");
        let folders = |count| vec![PathBuf::from("."); count];
        let wanted = |node, python| Dependencies { node: folders(node), python: folders(python) };
        let searched =
            path_with_links(Some(&path), Path::new("/s"), &wanted(2, 1), &BTreeSet::from(["redis-server"]));
        let places = "/s/tools/node:/s/tools/node-2:/s/tools/python:/s/tools/redis-server";
        assert_eq!(searched.unwrap().unwrap(), format!("/usr/bin:/bin:{places}").as_str());
        assert_eq!(
            path_with_links(Some(&path), Path::new("/s"), &wanted(0, 0), &BTreeSet::new()).unwrap(),
            None
        );
        assert!(
            path_with_links(Some(&path), Path::new("/with:colon"), &wanted(1, 0), &BTreeSet::new()).is_err()
        );
        assert_eq!(
            path_with_links(None, Path::new("/s"), &wanted(1, 0), &BTreeSet::new()).unwrap(),
            None,
            "the system's own default stays"
        );
    }
}
