//! Maps Python files to the names of their modules, and names to files.

use std::path::{Path, PathBuf};

use super::tree::{Tree, depth, folder};

/// A module's file, and the folder that its name is relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    pub file: PathBuf,
    /// The import root.
    pub root: PathBuf,
}

/// Returns the place of the module `name` that is nearest to `hint`: in the folder itself if the module is there, else
/// in the folder that shares most of its path with `hint`.
pub fn find(tree: &Tree<'_>, name: &str, hint: &Path) -> Option<ModuleFile> {
    let path: PathBuf = name.split('.').collect();
    let (module, package) = (path.with_extension("py"), path.join("__init__.py"));
    let ends = |file: &Path| file.ends_with(&module) || file.ends_with(&package);
    let place = |file: &PathBuf| {
        let length = depth(if file.ends_with(&module) { &module } else { &package });
        let root: PathBuf = file.iter().take(depth(file) - length).collect();
        ModuleFile { file: file.clone(), root }
    };
    let shared = |root: &Path| root.iter().zip(hint.iter()).take_while(|(left, right)| left == right).count();
    tree.python().filter(|file| ends(file)).map(place).min_by_key(|place| {
        (place.root != hint, std::cmp::Reverse(shared(&place.root)), depth(&place.root), place.file.clone())
    })
}

/// Returns the module name of `file` relative to `root`; `None` if a component is not a valid name.
pub fn name(file: &Path, root: &Path) -> Option<String> {
    let below = file.strip_prefix(root).ok()?.with_extension("");
    let mut parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "__init__") {
        parts.pop();
    }
    let is_importable =
        !parts.is_empty() && parts.iter().all(|part| crate::config::names::is_variable_name(part));
    is_importable.then(|| parts.join("."))
}

/// Returns the import root of `file`: the folder from which most of the file's absolute imports are found. If none are
/// found, derives it from the layout of the packages.
pub fn root(tree: &Tree<'_>, project: &Path, file: &Path) -> PathBuf {
    let home = folder(file);
    let imports = tree.module(file).map(|module| module.imports.as_slice()).unwrap_or_default();
    // A relative import needs that many packages above the module.
    let level = imports.iter().map(|import| import.module.chars().take_while(|c| *c == '.').count()).max();
    let level = level.unwrap_or(0);
    let absolute: Vec<&str> = imports
        .iter()
        .map(|import| import.module.as_str())
        .filter(|module| !module.starts_with('.'))
        .collect();
    let candidates: Vec<&Path> = home.ancestors().skip(level).collect();
    let found = |root: &Path| absolute.iter().filter(|module| is_module(tree, root, module)).count();
    let best =
        candidates.iter().map(|root| (found(root), *root)).max_by_key(|(count, root)| (*count, depth(root)));
    if let Some((1.., root)) = best {
        return root.into();
    }
    let usual = usual_root(tree, project, &home);
    // A module with relative imports cannot be at the top of its import root.
    if candidates.contains(&usual.as_path()) {
        usual
    } else {
        candidates.first().map(|root| (*root).into()).unwrap_or_default()
    }
}

fn is_module(tree: &Tree<'_>, root: &Path, module: &str) -> bool {
    let path: PathBuf = root.join(module.split('.').collect::<PathBuf>());
    tree.has(&path.with_extension("py")) || tree.has_folder(&path) && has_python(tree, &path)
}

fn has_python(tree: &Tree<'_>, folder: &Path) -> bool {
    tree.python().any(|file| file.starts_with(folder))
}

/// Returns the project's folder, or its `src` if that is not a package.
fn usual_root(tree: &Tree<'_>, project: &Path, home: &Path) -> PathBuf {
    let src = project.join("src");
    if home.starts_with(&src) && !tree.has(&src.join("__init__.py")) { src } else { project.into() }
}
