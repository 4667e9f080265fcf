//! Takes compiled Python files over from another worktree's environment. Without them the first start compiles hundreds
//! of modules.
//!
//! A `.pyc` identifies its source by size and modification time only, so it is valid wherever the source is the same
//! file: uv links the modules of both environments to one file in its cache. If the sources are copies, nothing is
//! taken over. Python replaces a `.pyc` and never edits it, so a shared one does not change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Links the files that `venv` lacks from the first of `siblings` that has any. Returns the number of linked files.
pub(crate) async fn adopt(venv: &Path, siblings: &[PathBuf]) -> usize {
    for sibling in siblings.iter().filter(|sibling| *sibling != venv) {
        let mut linked = 0;
        let mut open = vec![PathBuf::from("lib")];
        while let Some(folder) = open.pop() {
            let Some(step) = adopt_folder(venv, sibling, &folder, &mut open) else { break };
            linked += step;
            // Thousands of small calls on this thread: let the other steps run in between.
            tokio::task::yield_now().await;
        }
        if linked > 0 {
            return linked;
        }
    }
    0
}

/// Links the files of one folder. Returns `None` if links cannot be made, for example on another or a full disk.
fn adopt_folder(venv: &Path, sibling: &Path, folder: &Path, open: &mut Vec<PathBuf>) -> Option<usize> {
    for entry in std::fs::read_dir(venv.join(folder)).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "__pycache__" {
            open.push(folder.join(entry.file_name()));
        }
    }
    let (mine, theirs) = (venv.join(folder), sibling.join(folder));
    let mut linked = 0;
    for entry in std::fs::read_dir(theirs.join("__pycache__")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // `module.cpython-311.pyc`, or `module.cpython-311.opt-1.pyc`.
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".pyc")) else { continue };
        let module = stem.split('.').next().unwrap_or(stem);
        let source = format!("{module}.py");
        let target = mine.join("__pycache__").join(&name);
        if !same_file(&mine.join(&source), &theirs.join(&source)) || target.exists() {
            continue;
        }
        if linked == 0 {
            std::fs::create_dir_all(mine.join("__pycache__")).ok()?;
        }
        match std::fs::hard_link(entry.path(), &target) {
            Ok(()) => linked += 1,
            // The sibling's Python replaced or removed the file at this moment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(linked)
}

fn same_file(one: &Path, two: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some_and(|id| identity(two) == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    const SITE: &str = "lib/python3.11/site-packages/fastapi";

    fn module(venv: &Path, name: &str, compiled: bool) -> PathBuf {
        let source = venv.join(SITE).join(format!("{name}.py"));
        replace(&source, b"pass", 0o644).unwrap();
        if compiled {
            replace(&pyc(venv, name), b"compiled", 0o644).unwrap();
        }
        source
    }

    fn pyc(venv: &Path, name: &str) -> PathBuf {
        venv.join(SITE).join(format!("__pycache__/{name}.cpython-311.pyc"))
    }

    #[tokio::test]
    async fn only_bytecode_with_the_same_source_file_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, theirs) = (dir.path().join("a"), dir.path().join("b"));
        let shared = module(&theirs, "shared", true);
        module(&theirs, "copied", true);
        module(&mine, "copied", false);
        module(&theirs, "gone", true);
        std::fs::hard_link(&shared, mine.join(SITE).join("shared.py")).unwrap();

        let siblings = [dir.path().join("none"), mine.clone(), theirs.clone()];
        assert_eq!(adopt(&mine, &siblings).await, 1);
        assert!(same_file(&pyc(&mine, "shared"), &pyc(&theirs, "shared")));
        assert!(!pyc(&mine, "copied").exists() && !pyc(&mine, "gone").exists());
        assert_eq!(adopt(&mine, &siblings).await, 0, "existing files stay");
    }
}
