//! Repositories of `tests/shapes`, each written in one file.

use std::path::Path;

use super::product::project;

/// Writes the files of the shape `name` into `folder`.
pub(crate) fn lay(name: &str, folder: &Path) {
    for (path, text) in files(name) {
        write(&folder.join(path), &text);
    }
}

/// Returns the files of the shape `name`, with their texts.
pub(crate) fn files(name: &str) -> Vec<(String, String)> {
    let file = project().join("tests/shapes").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(file).unwrap();
    let parts = text.split("\n==== ").skip(1);
    parts
        .map(|part| {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            // The split took the last line break of all files but the last.
            let text =
                if text.is_empty() || text.ends_with('\n') { text.into() } else { format!("{text}\n") };
            (path.into(), text)
        })
        .collect()
}

/// Copies the lock file of the example to `folder`, so that a start installs the packages that all other tests use.
pub(crate) fn lock_node(folder: &Path) {
    let lock = std::fs::read_to_string(project().join("examples/leadboard/pnpm-lock.yaml")).unwrap();
    let own = lock.replace("  .: {}\n\n  frontend:\n", "  .:\n");
    assert_ne!(own, lock, "the importers of the example's lock file have changed");
    write(&folder.join("pnpm-lock.yaml"), &own);
    write(&folder.join("pnpm-workspace.yaml"), "ignoredOptionalDependencies:\n  - sharp\npmOnFail: ignore\n");
}

/// Copies the locked Python requirements of the example to `folder`.
pub(crate) fn lock_python(folder: &Path) {
    let locked = project().join("examples/leadboard/backend/requirements.txt");
    std::fs::copy(locked, folder.join("requirements.txt")).unwrap();
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .unwrap();
}
