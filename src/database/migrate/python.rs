//! The import path of a Python migration tool.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{MigrateRequest, text};

/// Returns the `PYTHONPATH` that lets the request's command import the packages of its own folder, as uvicorn and the
/// usual containers do; `None` when the command is no Python tool that needs it. Alembic's program does not search the
/// folder it runs in, and `prepend_sys_path` is missing from files made before Alembic 1.5.5.
pub(super) fn path(request: &MigrateRequest<'_>) -> Option<OsString> {
    let folder = &request.directory;
    if !text(&request.command).contains("alembic") || shadows(folder) {
        return None;
    }
    let given = request.env.get(OsStr::new("PYTHONPATH")).filter(|path| !path.is_empty());
    let own: Vec<PathBuf> =
        [folder.clone(), folder.join("src")].into_iter().filter(|path| path.is_dir()).collect();
    let rest = given.into_iter().flat_map(std::env::split_paths);
    // A folder with a colon in its name cannot be on any search path.
    std::env::join_paths(own.into_iter().chain(rest)).ok()
}

/// True when the folder holds a package that would be imported in place of Alembic itself.
fn shadows(folder: &Path) -> bool {
    folder.join("alembic/__init__.py").exists() || folder.join("alembic.py").exists()
}

/// Returns the folder or file of `directory` that is the module `name`, so that it cannot be missing from the packages.
pub(super) fn own_module(directory: &Path, name: &str) -> Option<PathBuf> {
    let first = name.split('.').next().filter(|first| !first.is_empty())?;
    let roots = [directory.to_path_buf(), directory.join("src"), directory.parent()?.to_path_buf()];
    roots.into_iter().find_map(|root| {
        let folder = root.join(first);
        let file = root.join(format!("{first}.py"));
        if folder.is_dir() { Some(folder) } else { file.is_file().then_some(file) }
    })
}
