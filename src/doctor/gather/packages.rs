//! Gathers whether packages are installed here, or belong to another checkout.

use std::path::{Path, PathBuf};

use super::{Folders, off_thread, relative};
use crate::context::package_json;
use crate::deps::python;
use crate::doctor::facts::{PackageFolder, VenvFolder};
use crate::os::read::{self, Limit};
use crate::worktree::Worktree;

pub(super) async fn gather(
    own: &Worktree,
    folders: &Folders,
) -> Result<(Vec<PackageFolder>, Vec<VenvFolder>), String> {
    let (root, folders) = (own.path.clone(), folders.clone());
    off_thread(move || {
        let packages = folders.node.iter().filter_map(|folder| packages(&root, folder)).collect();
        let mut venvs: Vec<PathBuf> =
            folders.python.iter().map(|folder| python::venv(&root.join(folder), &root)).collect();
        venvs.sort();
        venvs.dedup();
        (packages, venvs.iter().filter_map(|path| venv(&root, path)).collect())
    })
    .await
}

fn packages(root: &Path, folder: &Path) -> Option<PackageFolder> {
    let directory = root.join(folder);
    let manifest = package_json::read(&directory)?;
    let has_packages = package_json::packages(&manifest).next().is_some();
    let modules = directory.join("node_modules");
    let link = std::fs::read_link(&modules).ok();
    let levels = directory.ancestors().take_while(|level| level.starts_with(root));
    let is_installed = levels
        .into_iter()
        .any(|level| level.join("node_modules").is_dir() || level.join(".pnp.cjs").is_file());
    let above = root.ancestors().skip(1).map(|level| level.join("node_modules"));
    let outer = above.filter(|_| has_packages).find(|path| path.is_dir());
    Some(PackageFolder { folder: folder.into(), is_installed, link, outer })
}

fn venv(root: &Path, path: &Path) -> Option<VenvFolder> {
    let shown = relative(root, path);
    if let Ok(target) = std::fs::read_link(path) {
        return Some(VenvFolder { path: shown, link: Some(target), made_for: None });
    }
    let script = read::text(&path.join("bin/activate"), Limit::SMALL).ok()?;
    let named = named(&script)?;
    let physical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    (physical(&named) != physical(path)).then_some(VenvFolder {
        path: shown,
        link: None,
        made_for: Some(named),
    })
}

/// Returns the absolute path that the script of an environment gives to `VIRTUAL_ENV`. `None` if the script computes it.
fn named(script: &str) -> Option<PathBuf> {
    let value = script.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("export ");
        line.strip_prefix("VIRTUAL_ENV=")
    })?;
    let value = value.trim_matches(['"', '\'']);
    (value.starts_with('/') && !value.contains(['$', '"', '\''])).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    #[test]
    fn a_copied_environment_names_the_place_that_it_was_made_for() {
        for (script, wanted) in [
            ("VIRTUAL_ENV='/m/.venv'\nexport VIRTUAL_ENV\n", Some("/m/.venv")),
            ("    export VIRTUAL_ENV=\"/m/.venv\"\n", Some("/m/.venv")),
            ("VIRTUAL_ENV=$(cygpath x)\n", None),
            ("VIRTUAL_ENV=\"$(dirname x)\"\n", None),
            ("x\n", None),
        ] {
            assert_eq!(named(script), wanted.map(PathBuf::from), "{script}");
        }
    }

    #[test]
    fn packages_above_the_worktree_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let root = top.join("main/trees/a");
        std::fs::create_dir_all(root.join("web")).unwrap();
        std::fs::create_dir_all(top.join("main/node_modules")).unwrap();
        let manifest = |text: &str| replace(&root.join("web/package.json"), text.as_bytes(), 0o600).unwrap();
        manifest("{\"dependencies\": {\"next\": \"16\"}}");
        let found = packages(&root, Path::new("web")).unwrap();
        assert_eq!((found.outer, found.is_installed), (Some(top.join("main/node_modules")), false));
        std::fs::create_dir(root.join("node_modules")).unwrap();
        assert!(packages(&root, Path::new("web")).unwrap().is_installed);
        manifest("{}");
        assert_eq!(packages(&root, Path::new("web")).unwrap().outer, None);
    }
}
