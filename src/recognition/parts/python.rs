//! Finds Python projects: folders with a manifest, and the packages that the manifest names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tree::{Tree, depth, folder, is_aside};
use crate::context::package_names;
use crate::recognition::facts::FileLine;

const LOCKFILES: &[&str] = &["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"];

/// A folder with manifests.
#[derive(Clone, Debug)]
pub struct PythonProject {
    pub folder: PathBuf,
    /// Its manifests; messages name the first.
    pub manifests: Vec<PathBuf>,
    /// Packages that they name, in lower case.
    pub packages: BTreeSet<String>,
    /// `[tool.fastapi] entrypoint`.
    pub entrypoint: Option<(String, FileLine)>,
}

impl PythonProject {
    /// Returns true if a manifest names one of these packages.
    pub fn names(&self, packages: &[&str]) -> bool {
        packages.iter().any(|name| self.packages.contains(*name))
    }

    /// Returns the line of a manifest that names `package`.
    pub fn spot(&self, tree: &Tree<'_>, package: &str) -> FileLine {
        let names = |file: &&PathBuf| manifest(tree, file).is_some_and(|found| found.contains(package));
        let file = self.manifests.iter().find(names).unwrap_or(&self.manifests[0]);
        tree.spot(file, package)
    }
}

/// Returns the projects, nearest the top first.
pub fn projects(tree: &Tree<'_>) -> Vec<PythonProject> {
    let mut found: Vec<PythonProject> = Vec::new();
    for file in tree.facts.files.iter().filter(|file| is_manifest(file) && !is_aside(file)) {
        let Some(packages) = manifest(tree, file) else { continue };
        let mut home = folder(file);
        if home.file_name().is_some_and(|name| name == "requirements") {
            home = folder(&home);
        }
        let entrypoint = entrypoint(tree, file);
        match found.iter_mut().find(|project| project.folder == home) {
            Some(project) => {
                project.manifests.push(file.clone());
                project.packages.extend(packages);
                project.entrypoint = project.entrypoint.take().or(entrypoint);
            }
            None => {
                found.push(PythonProject {
                    folder: home,
                    manifests: vec![file.clone()],
                    packages,
                    entrypoint,
                });
            }
        }
    }
    found.sort_by_key(|project| (depth(&project.folder), project.folder.clone()));
    found
}

/// Returns the innermost project around `file`.
pub fn covering<'a>(projects: &'a [PythonProject], file: &Path) -> Option<&'a PythonProject> {
    projects
        .iter()
        .filter(|project| file.starts_with(&project.folder))
        .max_by_key(|project| depth(&project.folder))
}

/// Returns the folder with the packages of a project: its own, or that of the workspace with the lock file for it.
pub fn packages(tree: &Tree<'_>, project: &Path) -> PathBuf {
    if LOCKFILES.iter().any(|name| tree.has(&project.join(name))) {
        return project.into();
    }
    tree.nearest_with(project, &["uv.lock"]).map_or_else(|| project.into(), |(folder, _)| folder)
}

/// Adds `home`, a folder with packages, to `installed`, for a process that runs in `directory`. Returns false if devrun
/// does not install them. It always installs those of the first project. It installs those of another project only if
/// they are locked or listed in a requirements.txt, and only for a process that runs inside that folder.
pub fn installs(tree: &Tree<'_>, installed: &mut Vec<PathBuf>, home: &Path, directory: &Path) -> bool {
    if installed.iter().any(|known| known == home) {
        return true;
    }
    let is_exact = LOCKFILES.iter().chain(&["requirements.txt"]).any(|name| tree.has(&home.join(name)));
    let fits = installed.is_empty() || (is_exact && directory.starts_with(home));
    if fits {
        installed.push(home.into());
    }
    fits
}

fn is_manifest(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let in_folder = file.parent().and_then(Path::file_name).is_some_and(|parent| parent == "requirements");
    let is_text = name.strip_suffix(".txt").is_some();
    name == "pyproject.toml"
        || name == "Pipfile"
        || (is_text && (in_folder || name.starts_with("requirements")))
}

/// Returns the packages that a manifest names; `None` if it cannot be read.
fn manifest(tree: &Tree<'_>, file: &Path) -> Option<BTreeSet<String>> {
    let text = tree.text(file)?;
    let name = file.file_name()?.to_str()?;
    if Path::new(name).extension().is_none_or(|extension| extension != "txt") {
        return Some(of_toml(&text.parse().ok()?));
    }
    Some(text.lines().filter_map(requirement).collect())
}

/// Returns the name of a requirement's package: `fastapi` for `FastAPI[standard]>=0.1`.
fn requirement(line: &str) -> Option<String> {
    let line = line.trim();
    let name = package_names::name(line);
    (!name.is_empty() && !line.starts_with(['-', '_', '.'])).then_some(name)
}

fn of_toml(table: &toml::Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let at = |path: &[&str]| {
        path.iter().try_fold(None, |inner: Option<&toml::Value>, key| match inner {
            None => table.get(*key).map(Some),
            Some(value) => value.get(key).map(Some),
        })
    };
    let mut list = |value: &toml::Value| {
        let items = value.as_array().into_iter().flatten();
        found.extend(items.filter_map(|item| requirement(item.as_str()?)));
    };
    let lists = [&["project", "dependencies"][..], &["tool", "uv", "dev-dependencies"]];
    lists.iter().filter_map(|path| at(path).flatten()).for_each(&mut list);
    let groups = [
        &["project", "optional-dependencies"][..],
        &["dependency-groups"],
        &["tool", "pdm", "dev-dependencies"],
    ];
    for group in groups.iter().filter_map(|path| at(path).flatten()?.as_table()) {
        group.values().for_each(&mut list);
    }
    let mut names = |value: &toml::Value| {
        let keys = value.as_table().into_iter().flat_map(toml::Table::keys);
        found.extend(keys.filter_map(|name| requirement(name)));
    };
    let maps = [
        &["tool", "poetry", "dependencies"][..],
        &["tool", "poetry", "dev-dependencies"],
        &["packages"],
        &["dev-packages"],
    ];
    maps.iter().filter_map(|path| at(path).flatten()).for_each(&mut names);
    if let Some(groups) = at(&["tool", "poetry", "group"]).flatten().and_then(toml::Value::as_table) {
        groups.values().filter_map(|group| group.get("dependencies")).for_each(&mut names);
    }
    found
}

fn entrypoint(tree: &Tree<'_>, file: &Path) -> Option<(String, FileLine)> {
    file.ends_with("pyproject.toml").then_some(())?;
    let table: toml::Table = tree.text(file)?.parse().ok()?;
    let words = table.get("tool")?.get("fastapi")?.get("entrypoint")?.as_str()?;
    Some((words.into(), tree.spot(file, "entrypoint")))
}
