//! Compares a `uv.lock` or `pdm.lock` with its manifests, without uv, PDM and the network: the names of packages, and in a
//! `uv.lock` also their versions.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Value;

use crate::context::package_names::name;
use crate::os::read::{self, Limit};

/// A difference in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The lock file lacks a package that a manifest wants.
    Missing(String),
    /// The lock file has a package that a manifest no longer wants, and all that the manifests want.
    Surplus(String),
}

/// Returns the first difference between `lockfile` and the manifests of the workspace in `home`, missing packages before
/// others. Returns `None` if nothing differs or the lock file cannot be read. Skips manifests that cannot be read.
pub(super) fn difference(home: &Path, lockfile: &Path) -> Option<Difference> {
    let mut surplus = None;
    let lock: Value = toml::from_str(&read::text(lockfile, Limit::LARGE).ok()?).ok()?;
    for package in lock.get("package")?.as_array()? {
        let source = package.get("source");
        let folder = ["virtual", "editable"].iter().find_map(|kind| source?.get(kind)?.as_str());
        let Some(folder) = folder else { continue };
        let path = home.join(folder).join("pyproject.toml");
        let Ok(text) = read::text(&path, Limit::SMALL) else { continue };
        let Ok(manifest) = toml::from_str::<Value>(&text) else { continue };
        // The build backend may add dependencies that the file does not have.
        if manifest.get("project").and_then(|project| project.get("dynamic")).is_some() {
            continue;
        }
        let (wanted, locked) = (wanted(&manifest), locked(package));
        let file = path.strip_prefix(home).unwrap_or(&path).display();
        if let Some(name) = wanted.difference(&locked).next() {
            let said = format!("{file} wants {name}, which uv.lock does not have for it");
            return Some(Difference::Missing(said));
        }
        if let Some(name) = locked.difference(&wanted).next() {
            let said = format!("uv.lock has {name}, which {file} does not want");
            surplus = surplus.or(Some(Difference::Surplus(said)));
        }
    }
    surplus
}

/// Returns true if a manifest of the workspace in `home` states other versions than it did when `lockfile` was made, or if
/// a file cannot be read.
pub(super) fn wants_other_versions(home: &Path, lockfile: &Path) -> bool {
    let read = |path: &Path, limit| toml::from_str::<Value>(&read::text(path, limit).ok()?).ok();
    let Some(lock) = read(lockfile, Limit::LARGE) else { return true };
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    packages.into_iter().any(|package| {
        let folder =
            ["virtual", "editable"].iter().find_map(|kind| package.get("source")?.get(kind)?.as_str());
        let Some(folder) = folder else { return false };
        let Some(manifest) = read(&home.join(folder).join("pyproject.toml"), Limit::SMALL) else {
            return true;
        };
        let wanted: BTreeSet<_> =
            requirements(&manifest).into_iter().map(|one| (name(one), versions(one))).collect();
        let locked = locked_entries(package).into_iter().filter_map(|one| {
            let specifier = one.get("specifier").and_then(Value::as_str).unwrap_or_default();
            Some((name(one.get("name")?.as_str()?), sorted(specifier)))
        });
        wanted != locked.collect()
    })
}

/// Returns the versions that a requirement allows, in a form that can be compared: `Foo[x] >=1, <2; python_version > "3"`
/// gives `<2,>=1`.
fn versions(requirement: &str) -> String {
    let bare = requirement.split(';').next().unwrap_or_default();
    let bare = bare.split_once(']').map_or(bare, |(_, rest)| rest);
    match bare.find(['=', '<', '>', '~', '!', '@']) {
        Some(at) if !bare[at..].starts_with('@') => sorted(&bare[at..]),
        _ => String::new(),
    }
}

fn sorted(specifier: &str) -> String {
    let plain = |part: &str| part.chars().filter(|c| !c.is_whitespace() && *c != ')').collect::<String>();
    let mut parts: Vec<String> = specifier.split(',').map(plain).collect();
    parts.sort();
    parts.join(",")
}

/// Returns the first package that the manifest in `folder` wants and its `pdm.lock` lacks, in words. Compares names, because
/// the hash in `pdm.lock` depends on the version of PDM.
pub(super) fn missing_in_pdm(folder: &Path) -> Option<String> {
    let lock: Value = toml::from_str(&read::text(&folder.join("pdm.lock"), Limit::LARGE).ok()?).ok()?;
    let manifest: Value =
        toml::from_str(&read::text(&folder.join("pyproject.toml"), Limit::SMALL).ok()?).ok()?;
    let packages = lock.get("package")?.as_array()?;
    let locked: BTreeSet<String> =
        packages.iter().filter_map(|package| package.get("name")?.as_str()).map(name).collect();
    let missing = wanted(&manifest).difference(&locked).next()?.clone();
    Some(format!("pyproject.toml wants {missing}, which pdm.lock does not have"))
}

/// Returns the names of all packages that a manifest wants, in all groups.
fn wanted(manifest: &Value) -> BTreeSet<String> {
    requirements(manifest).into_iter().map(name).collect()
}

/// Returns all requirements of a manifest, in all groups.
fn requirements(manifest: &Value) -> Vec<&str> {
    let at = |path: &[&str]| path.iter().try_fold(manifest, |value, name| value.get(name));
    let mut lists: Vec<&Value> = at(&["project", "dependencies"]).into_iter().collect();
    lists.extend(at(&["tool", "uv", "dev-dependencies"]));
    for table in [&["project", "optional-dependencies"][..], &["dependency-groups"]] {
        lists.extend(at(table).and_then(Value::as_table).into_iter().flat_map(|table| table.values()));
    }
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    all.filter_map(Value::as_str).filter(|requirement| !name(requirement).is_empty()).collect()
}

/// Returns the names that the lock file records for one package of the workspace.
fn locked(package: &Value) -> BTreeSet<String> {
    locked_entries(package).into_iter().filter_map(|one| one.get("name")?.as_str()).map(name).collect()
}

/// Returns the requirements that the lock file records for one package of the workspace.
fn locked_entries(package: &Value) -> Vec<&Value> {
    let metadata = package.get("metadata");
    let own = metadata.and_then(|metadata| metadata.get("requires-dist"));
    let groups = metadata.and_then(|metadata| metadata.get("requires-dev")).and_then(Value::as_table);
    let lists = own.into_iter().chain(groups.into_iter().flat_map(|groups| groups.values()));
    lists.filter_map(Value::as_array).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn differs(manifest: &str, lock: &str) -> Option<Difference> {
        let home = tempfile::tempdir().unwrap();
        replace(&home.path().join("pyproject.toml"), manifest.as_bytes(), 0o600).unwrap();
        replace(&home.path().join("uv.lock"), lock.as_bytes(), 0o600).unwrap();
        difference(home.path(), &home.path().join("uv.lock"))
    }

    const LOCK: &str = "version = 1\n[[package]]\nname = \"app\"\nsource = { virtual = \".\" }\n[package.metadata]\n\
                        requires-dist = [{ name = \"flask-cors\", specifier = \">=1\" }]\n\
                        [package.metadata.requires-dev]\ndev = [{ name = \"pytest\" }]\n\
                        [[package]]\nname = \"six\"\nsource = { registry = \"https://pypi.org/simple\" }\n";

    #[test]
    fn names_are_compared_in_their_normal_form() {
        let manifest = "[project]\nname = \"app\"\ndependencies = [\"Flask_CORS[x]>=1\"]\n[dependency-groups]\ndev = [\"pytest\"]\n";
        assert_eq!(differs(manifest, LOCK), None);
        let more = manifest.replace("[\"pytest\"]", "[\"pytest\", \"ruff\"]");
        let missing = "pyproject.toml wants ruff, which uv.lock does not have for it";
        assert_eq!(differs(&more, LOCK), Some(Difference::Missing(missing.into())));
        let surplus = "uv.lock has pytest, which pyproject.toml does not want";
        assert_eq!(
            differs(&manifest.replace("\"pytest\"", ""), LOCK),
            Some(Difference::Surplus(surplus.into()))
        );
        assert_eq!(differs("<<<<<<< HEAD", LOCK), None);
        assert_eq!(differs(manifest, "version = 1\n"), None);
    }

    #[test]
    fn versions_are_compared_in_any_order_and_without_extras_and_markers() {
        let home = tempfile::tempdir().unwrap();
        let write =
            |file: &str, text: &str| replace(&home.path().join(file), text.as_bytes(), 0o600).unwrap();
        let lock = "version = 1\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\nsource = { editable = \".\" }\n\
                    [package.metadata]\nrequires-dist = [{ name = \"a-b\", extras = [\"x\"], specifier = \">=1,<2\" }, \
                    { name = \"c\", marker = \"python_full_version < '4'\" }, { name = \"d\", git = \"u\" }]\n";
        write("uv.lock", lock);
        let manifest = "[project]\nname = \"app\"\nversion = \"1.0.0\"\ndependencies = [\"A_B[x] <2, >=1\", \"c; \
                        python_version < '4'\", \"d @ git+u\"]\n";
        let other = |manifest: &str| {
            write("pyproject.toml", manifest);
            wants_other_versions(home.path(), &home.path().join("uv.lock"))
        };
        assert!(!other(manifest));
        assert!(other(&manifest.replace(">=1", ">=1.5")));
    }

    #[test]
    fn a_lock_file_of_pdm_must_have_the_packages_that_the_manifest_wants() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |file: &str, text: &str| replace(&folder.path().join(file), text.as_bytes(), 0o600).unwrap();
        write(
            "pdm.lock",
            "[metadata]\ncontent_hash = \"x\"\n[[package]]\nname = \"fastapi\"\nversion = \"1\"\n",
        );
        write("pyproject.toml", "[project]\ndependencies = [\"FastAPI==1\"]\n");
        assert_eq!(missing_in_pdm(folder.path()), None);
        write("pyproject.toml", "[project]\ndependencies = [\"FastAPI==1\", \"httpx\"]\n");
        assert_eq!(
            missing_in_pdm(folder.path()).as_deref(),
            Some("pyproject.toml wants httpx, which pdm.lock does not have")
        );
    }
}
