//! Recognises a Next.js application: a package.json that depends on `next`.

use std::path::{Path, PathBuf};

use crate::recognition::shape::tree;

const LOCKFILES: &[&str] = &["pnpm-lock.yaml", "package-lock.json", "yarn.lock", "bun.lock", "bun.lockb"];
/// Where people put the application when a repository has several.
const USUAL: &[&str] = &["frontend", "web", "app", "client", "ui"];

/// A Next.js application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its folder.
    pub directory: PathBuf,
    /// The folder whose lock file covers it: its own, or a workspace's above it.
    pub packages: PathBuf,
    /// Folder of the `next` program as seen from `directory`.
    pub bin: PathBuf,
}

impl Next {
    /// The command that starts it.
    pub fn command(&self) -> String {
        format!("{}/next dev --hostname $DEVRUN_HOST --port $PORT", self.bin.display())
    }
}

/// The application nearest the top; of several, one with a usual name, then the first by name.
pub fn find(root: &Path, files: &[PathBuf]) -> Option<Next> {
    let directory = files
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "package.json"))
        .filter(|file| tree::text(root, file).is_some_and(|text| depends_on_next(&text)))
        .map(|file| tree::folder(file))
        .min_by_key(|folder| {
            let usual = folder.file_name().and_then(|name| USUAL.iter().position(|usual| name == *usual));
            (tree::depth(folder), usual.unwrap_or(USUAL.len()), folder.clone())
        })?;
    let inner = if directory == Path::new(".") { Path::new("") } else { &directory };
    let (packages, lockfile) =
        tree::nearest_with(root, inner, LOCKFILES).unwrap_or_else(|| (directory.clone(), "pnpm-lock.yaml"));
    // pnpm links a package's programs into the package; the others put all of a workspace's at its top.
    let up = if lockfile == "pnpm-lock.yaml" { 0 } else { tree::depth(&directory) - tree::depth(&packages) };
    let bin = std::iter::repeat_n("..", up).chain(["node_modules", ".bin"]).collect();
    Some(Next { directory, packages, bin })
}

fn depends_on_next(package_json: &str) -> bool {
    let Ok(package) = serde_json::from_str::<serde_json::Value>(package_json) else { return false };
    ["dependencies", "devDependencies"].iter().any(|section| package[*section].get("next").is_some())
}
