//! Reads package.json files.

use std::path::Path;

use serde_json::Value;

use crate::os::read::{self, Limit};

/// The sections with the packages that an install puts into `node_modules`.
pub const SECTIONS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

/// Returns the package.json in `folder`; `None` if it cannot be read.
pub fn read(folder: &Path) -> Option<Value> {
    parse(&read::file(&folder.join("package.json"), Limit::SMALL).ok()?)
}

/// Parses a package.json. Editors of Windows put a byte order mark in front, which package managers ignore.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)).ok()
}

/// Returns the packages that `manifest` wants installed, with their versions.
pub fn packages(manifest: &Value) -> impl Iterator<Item = (&String, &Value)> {
    SECTIONS.into_iter().filter_map(|section| manifest.get(section)?.as_object()).flatten()
}

/// Returns true if `manifest` wants `package` installed.
pub fn wants(manifest: &Value, package: &str) -> bool {
    packages(manifest).any(|(name, _)| name == package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_ignored_and_optional_packages_count() {
        let text = "\u{feff}{\"dependencies\":{\"a\":\"1\"},\"optionalDependencies\":{\"b\":\"2\"},\"peerDependencies\":{\"c\":\"3\"}}";
        let folder = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&folder.path().join("package.json"), text.as_bytes(), 0o600).unwrap();
        let manifest = read(folder.path()).unwrap();
        let names: Vec<&str> = packages(&manifest).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(wants(&manifest, "b") && !wants(&manifest, "c"));
        assert_eq!(parse(b"{"), None);
    }
}
