//! Finds the import path of a Python migration tool.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::MigrateRequest;

/// Returns the `PYTHONPATH` with which the command can import the packages in its folder, as uvicorn and common
/// containers allow. Returns `None` if the command is not Alembic or does not need it. The program `alembic` does not
/// search its working folder, and `prepend_sys_path` is missing from files created before Alembic 1.5.5.
pub(super) fn path(request: &MigrateRequest<'_>) -> Option<OsString> {
    let folder = &request.directory;
    if !request.command.to_string().contains("alembic") || shadows(folder) {
        return None;
    }
    let given = request.env.get(OsStr::new("PYTHONPATH")).filter(|path| !path.is_empty());
    let own: Vec<PathBuf> =
        [folder.clone(), folder.join("src")].into_iter().filter(|path| path.is_dir()).collect();
    let rest = given.into_iter().flat_map(std::env::split_paths);
    // `join_paths` fails for a folder with a colon in its name, which cannot be on a search path.
    std::env::join_paths(own.into_iter().chain(rest)).ok()
}

/// Returns true if the folder has a package that Python would import in place of Alembic itself.
fn shadows(folder: &Path) -> bool {
    folder.join("alembic/__init__.py").exists() || folder.join("alembic.py").exists()
}

/// Returns the folder or file in or beside `directory` that is the module `name`, which then cannot be a missing
/// package.
pub(super) fn own_module(directory: &Path, name: &str) -> Option<PathBuf> {
    let first = name.split('.').next().filter(|first| !first.is_empty())?;
    let roots = [directory.to_path_buf(), directory.join("src"), directory.parent()?.to_path_buf()];
    roots.into_iter().find_map(|root| {
        let folder = root.join(first);
        let file = root.join(format!("{first}.py"));
        if folder.is_dir() { Some(folder) } else { file.is_file().then_some(file) }
    })
}
