//! Finds the files that a project's manifests and requirements files name. They are inputs of its install. Reads files,
//! starts no process.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use toml::Value;

use crate::os::read::{self, Limit};

/// The maximum number of files, and of members that one pattern of a workspace matches.
const MOST: usize = 200;
/// The files of a local package that declare its dependencies.
const OF_PACKAGE: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// Returns the manifests in `folders`, the requirements file `list`, and the files that they name, directly or indirectly.
pub(super) fn files(folders: &[&Path], list: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| folder.join("pyproject.toml")).collect();
    open.extend(list.map(Into::into));
    while let Some(file) = open.pop() {
        if found.len() >= MOST || !found.insert(file.clone()) {
            continue;
        }
        let Ok(text) = read::text(&file, Limit::SMALL) else { continue };
        let folder = file.parent().unwrap_or(&file);
        let is_manifest = file.file_name().is_some_and(|name| name == "pyproject.toml");
        if is_manifest {
            open.extend(of_manifest(&text, folder));
        } else if file.extension().is_none_or(|end| end != "py" && end != "cfg") {
            open.extend(of_list(&text, folder));
        }
    }
    found
}

/// Returns the files that the lines of a requirements file name.
fn of_list(text: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let after = |options: &[&str]| {
            let rest = options.iter().find_map(|option| line.strip_prefix(option))?;
            Some(rest.trim_start_matches(['=', ' ']).split(" #").next()?.trim().to_string())
        };
        if let Some(list) = after(&["--requirement", "--constraint", "-r", "-c"]) {
            found.push(join(folder, &list));
        } else {
            let package = after(&["--editable", "-e"]).unwrap_or_else(|| line.into());
            let path = package
                .rsplit_once("file:")
                .map_or(package.as_str(), |(_, path)| path.trim_start_matches("//"));
            let path = path.split(['[', ';', '#']).next().unwrap_or(path).trim();
            if path.starts_with(['.', '/'])
                || (line.starts_with('-') && !path.contains(':') && line.contains("-e"))
            {
                found.extend(package_in(&join(folder, path)));
            }
        }
    }
    found
}

/// Returns the files that a `pyproject.toml` names: path packages, members of a uv workspace, and lists of dependencies.
fn of_manifest(text: &str, folder: &Path) -> Vec<PathBuf> {
    let Ok(manifest) = toml::from_str::<Value>(text) else { return Vec::new() };
    let at = |path: &[&str]| path.iter().try_fold(&manifest, |value, name| value.get(name));
    let mut paths = Vec::new();
    for table in [&["tool", "uv", "sources"][..], &["tool", "poetry"], &["project", "dependencies"]] {
        paths.extend(at(table).into_iter().flat_map(strings_at_path));
    }
    let mut found: Vec<PathBuf> = paths.iter().flat_map(|path| package_in(&join(folder, path))).collect();
    for member in at(&["tool", "uv", "workspace", "members"]).and_then(Value::as_array).into_iter().flatten()
    {
        let pattern = format!(
            "{}/{}/pyproject.toml",
            glob::Pattern::escape(&folder.to_string_lossy()),
            member.as_str().unwrap_or_default()
        );
        found.extend(glob::glob(&pattern).into_iter().flatten().flatten().take(MOST));
    }
    let lists = at(&["tool", "setuptools", "dynamic", "dependencies", "file"]);
    let lists = lists.map_or_else(Vec::new, |lists| match lists {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    });
    found.extend(lists.into_iter().map(|list| join(folder, list)));
    found
}

/// Returns every string under a key `path`, at any depth, and the path of each `NAME @ file:///PATH`.
fn strings_at_path(value: &Value) -> Vec<String> {
    match value {
        Value::Table(table) => table
            .iter()
            .flat_map(|(key, value)| match value.as_str() {
                Some(path) if key == "path" => vec![path.to_string()],
                _ => strings_at_path(value),
            })
            .collect(),
        Value::Array(all) => all.iter().flat_map(strings_at_path).collect(),
        Value::String(text) => {
            text.split_once("@ file://").map(|(_, path)| path.trim().into()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the input files of a package at `path`: its manifests, or the file itself if it is an archive.
fn package_in(path: &Path) -> Vec<PathBuf> {
    let is_archive =
        path.extension().is_some_and(|end| ["whl", "gz", "zip"].iter().any(|known| end == *known));
    if is_archive { vec![path.into()] } else { OF_PACKAGE.map(|name| path.join(name)).into() }
}

/// Joins `folder` and `path`, and resolves `..` in the text, so that one file has one name.
fn join(folder: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => {
                joined.pop();
            }
            Component::CurDir => {}
            other => joined.push(other),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_name_files_in_many_ways() {
        let text = "-r base.txt\n--requirement=dev.txt # all\n-c ../limits.txt\n-e ./lib[x]\n./other ; python_version > '3'\n\
                    a @ file:///opt/a-1.whl\nsix==1.0\ngit+https://example.com/x\n-e git+https://example.com/y\n";
        let found = of_list(text, Path::new("/w/b"));
        for file in [
            "/w/b/base.txt",
            "/w/b/dev.txt",
            "/w/limits.txt",
            "/w/b/lib/setup.py",
            "/w/b/other/pyproject.toml",
        ] {
            assert!(found.contains(&file.into()), "{file}: {found:?}");
        }
        assert!(found.contains(&"/opt/a-1.whl".into()));
        assert_eq!(found.len(), 10, "{found:?}");
    }

    #[test]
    fn a_manifest_names_packages_and_members() {
        let folder = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&folder.path().join("libs/one/pyproject.toml"), b"", 0o600).unwrap();
        let text = "[tool.uv.sources]\na = { path = \"../a\", editable = true }\n[tool.uv.workspace]\nmembers = [\"libs/*\"]\n\
                    [tool.poetry.group.dev.dependencies]\nb = { path = \"b\" }\n\
                    [tool.setuptools.dynamic]\ndependencies = { file = [\"needs.txt\"] }\n";
        let found = of_manifest(text, folder.path());
        for file in ["b/pyproject.toml", "libs/one/pyproject.toml", "needs.txt"] {
            assert!(found.contains(&folder.path().join(file)), "{file}: {found:?}");
        }
        assert!(found.contains(&folder.path().parent().unwrap().join("a/setup.cfg")));
    }

    #[test]
    fn lists_that_name_each_other_do_not_loop() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("a.txt");
        crate::os::fs::replace(&list, b"-r b.txt\n", 0o600).unwrap();
        crate::os::fs::replace(&folder.path().join("b.txt"), b"-r a.txt\n", 0o600).unwrap();
        assert_eq!(files(&[], Some(&list)).len(), 2);
    }
}
