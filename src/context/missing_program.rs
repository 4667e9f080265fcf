//! Advises on a program that a command of the configuration starts and that does not exist.

use std::path::Path;

use crate::error::{Fault, RERUN};

/// Manifests of packages that devrun installs, each with the key of `dependencies:`.
const MANIFESTS: [(&str, &str); 7] = [
    ("package.json", "node"),
    ("pyproject.toml", "python"),
    ("requirements.txt", "python"),
    ("Pipfile", "python"),
    ("setup.py", "python"),
    ("setup.cfg", "python"),
    ("uv.lock", "python"),
];

/// The manifest of a command's packages, relative to the worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageManifest {
    /// The key of `dependencies:`.
    kind: &'static str,
    folder: String,
}

/// Returns the nearest manifest in `directory` or above it, up to `root`.
pub fn manifest(directory: &Path, root: &Path) -> Option<PackageManifest> {
    directory.ancestors().take_while(|folder| folder.starts_with(root)).find_map(|folder| {
        let (_, kind) = MANIFESTS.iter().find(|(name, _)| folder.join(name).is_file())?;
        let inner = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
        Some(PackageManifest { kind, folder: if inner.is_empty() { ".".into() } else { inner } })
    })
}

/// Returns the fault and the fix for the missing `program` of a process. `installs` is true if devrun installs packages for the
/// process; `manifest` is that of packages which devrun does not install.
pub fn advice(program: &str, installs: bool, manifest: Option<&PackageManifest>) -> (Fault, String) {
    match manifest {
        _ if installs => (
            Fault::Environment,
            format!("add the package with `{program}` to the manifest, or install the program, then {RERUN}"),
        ),
        Some(PackageManifest { kind, folder }) => (
            Fault::Configuration,
            format!(
                "let devrun install the packages with `{program}`: write `dependencies: {{ {kind}: {{ directory: {folder} }} }}` in \
                 devrun.yaml, or install the program, then {RERUN}"
            ),
        ),
        None => (
            Fault::Environment,
            format!(
                "install `{program}`, or correct the command in devrun.yaml or the Procfile, then {RERUN}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_advised_only_where_a_manifest_is() {
        let root = tempfile::tempdir().unwrap();
        let web = root.path().join("web/app");
        std::fs::create_dir_all(&web).unwrap();
        let advised = |program, installs| advice(program, installs, manifest(&web, root.path()).as_ref());
        let (fault, fix) = advised("go", false);
        assert_eq!(fault, Fault::Environment);
        assert!(fix.starts_with("install `go`, or correct the command"), "{fix}");
        crate::os::fs::replace(&root.path().join("web/package.json"), b"{}", 0o600).unwrap();
        let (fault, fix) = advised("next", false);
        assert_eq!(fault, Fault::Configuration);
        assert!(fix.contains("dependencies: { node: { directory: web } }"), "{fix}");
        assert!(advised("next", true).1.starts_with("add the package"));
        assert_eq!(manifest(&web, &web), None, "a manifest above the worktree is not its own");
    }
}
