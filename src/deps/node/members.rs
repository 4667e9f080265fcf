//! Finds the folders of a worktree that have a manifest, and the files that these manifests name. Reads files, starts
//! no process.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::context::package_json;
use crate::os::read::{self, Limit};

/// The depth below the worktree down to which manifests are searched: `apps/web/package.json`.
const DEPTH: usize = 2;
/// The greatest depth, if the workspace names deeper folders.
const DEEPEST: usize = 6;

/// Returns the folders with a `package.json`. These are all possible members of a workspace, found without evaluating
/// its globs; only the depth of the globs is used. `root` is the root of the workspace.
pub(super) fn find(worktree: &Path, root: &Path) -> Vec<PathBuf> {
    let above = root.strip_prefix(worktree).map_or(0, |below| below.components().count());
    let deepest = DEPTH.max(above + depth(root)).min(DEEPEST);
    let skipped = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with('.') || ["node_modules", "dist", "build", "out", "target", "venv"].contains(&&*name)
    };
    let mut found = Vec::new();
    let mut open = vec![(worktree.to_path_buf(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // A folder that contains `.git` is another worktree or repository.
            if is_folder && depth < deepest && !skipped(&name) && !entry.path().join(".git").exists() {
                open.push((entry.path(), depth + 1));
            } else if name == "package.json" {
                found.push(folder.clone());
            }
        }
    }
    found.sort();
    found
}

/// Returns the depth below `root` at which its workspace names members.
fn depth(root: &Path) -> usize {
    let text = read::text(&root.join("pnpm-workspace.yaml"), Limit::SMALL).unwrap_or_default();
    let listed = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let manifest = manifest(root);
    let workspaces = &manifest["workspaces"];
    let named = workspaces.as_array().or_else(|| workspaces["packages"].as_array());
    let named = named.into_iter().flatten().filter_map(Value::as_str);
    let deep = |pattern: &str| {
        if pattern.contains("**") {
            DEEPEST
        } else {
            pattern.trim_matches(['\'', '"', '/']).split('/').count()
        }
    };
    listed
        .chain(named)
        .filter(|pattern| !pattern.trim_matches(['\'', '"']).starts_with('!'))
        .map(deep)
        .max()
        .unwrap_or(0)
}

/// Returns the local files that the manifest in `folder` names: manifests of packages in other folders, and tarballs.
pub(super) fn local(folder: &Path) -> Vec<PathBuf> {
    let manifest = manifest(folder);
    let place = |value: &Value| {
        let text = value.as_str()?;
        let path = ["file:", "link:", "portal:"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
        let path = folder.join(path);
        let is_tarball = [".tgz", ".tar.gz"].iter().any(|end| text.ends_with(end));
        Some(if is_tarball { path } else { path.join("package.json") })
    };
    package_json::packages(&manifest).filter_map(|(_, version)| place(version)).collect()
}

/// Returns the manifests of the packages that the manifest in `folder` names, at each place where an install in `root` may
/// put them.
pub(super) fn packages(folder: &Path, root: &Path) -> BTreeSet<PathBuf> {
    let manifest = manifest(folder);
    package_json::packages(&manifest)
        .flat_map(|(name, _)| {
            [folder, root].map(|place| place.join("node_modules").join(name).join("package.json"))
        })
        .collect()
}

fn manifest(folder: &Path) -> Value {
    package_json::read(folder).unwrap_or_default()
}
