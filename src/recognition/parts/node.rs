//! Reads Node packages: their scripts, their dependencies, and the folder that contains their lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tree::{Tree, folder};

use crate::context::package_json;

const LOCKFILES: &[&str] = &["pnpm-lock.yaml", "package-lock.json", "yarn.lock", "bun.lock", "bun.lockb"];

/// A folder with a package.json.
#[derive(Clone, Debug)]
pub struct NodePackage {
    pub folder: PathBuf,
    /// The package.json.
    pub manifest: PathBuf,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its scripts, in order.
    pub scripts: Vec<(String, String)>,
    /// Packages that it depends on.
    pub packages: BTreeSet<String>,
    /// The path of its Prisma schema, if package.json gives one.
    pub schema: Option<String>,
    /// True when its package.json lists the packages of a workspace.
    pub has_workspaces: bool,
}

impl NodePackage {
    /// Returns true if it depends on one of these packages.
    pub fn names(&self, packages: &[&str]) -> bool {
        packages.iter().any(|name| self.packages.contains(*name))
    }

    /// Returns the command of a script.
    pub fn script(&self, name: &str) -> Option<&str> {
        self.scripts.iter().find(|(other, _)| other == name).map(|(_, command)| command.as_str())
    }
}

/// Returns the packages, nearest the top first. Skips a package.json that cannot be read.
pub fn packages(tree: &Tree<'_>) -> Vec<NodePackage> {
    let read = |manifest: &PathBuf| {
        let json = package_json::parse(tree.text(manifest)?.as_bytes())?;
        let scripts = json["scripts"].as_object().into_iter().flatten();
        Some(NodePackage {
            folder: folder(manifest),
            manifest: manifest.clone(),
            name: json["name"].as_str().map(Into::into),
            scripts: scripts
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into())))
                .collect(),
            packages: package_json::packages(&json).map(|(name, _)| name.clone()).collect(),
            schema: json["prisma"]["schema"].as_str().map(Into::into),
            has_workspaces: !json["workspaces"].is_null(),
        })
    };
    tree.named("package.json").filter_map(read).collect()
}

/// Returns the folder in which to install `package`: the nearest folder with a lock file, else the nearest workspace,
/// else its own folder.
pub fn install_folder(tree: &Tree<'_>, packages: &[NodePackage], package: &Path) -> PathBuf {
    if let Some((folder, _)) = tree.nearest_with(package, LOCKFILES) {
        return folder;
    }
    let is_workspace = |folder: &Path| {
        tree.has(&folder.join("pnpm-workspace.yaml"))
            || packages.iter().any(|other| other.folder == folder && other.has_workspaces)
    };
    package.ancestors().find(|folder| is_workspace(folder)).unwrap_or(package).into()
}

/// Returns true if the packages in `folder` are locked there.
pub fn is_locked(tree: &Tree<'_>, folder: &Path) -> bool {
    LOCKFILES.iter().any(|name| tree.has(&folder.join(name)))
}

/// Returns the folders of the workspace packages that `package` depends on, directly or through others, its own first.
pub fn sources(packages: &[NodePackage], package: &NodePackage) -> Vec<PathBuf> {
    let mut found = vec![package.folder.clone()];
    let mut open = vec![package];
    while let Some(next) = open.pop() {
        for other in packages {
            let wanted = other.name.as_ref().is_some_and(|name| next.packages.contains(name));
            if wanted && !found.contains(&other.folder) {
                found.push(other.folder.clone());
                open.push(other);
            }
        }
    }
    found
}
