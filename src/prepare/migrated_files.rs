//! Remembers in the state folder of a worktree the migration files with which its database was last migrated, and finds those that
//! changed since.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ResolvedWorktree;
use crate::database::migrate::{FileDigests, file_digests};
use crate::os::fs;
use crate::os::read::{self, Limit};

const FILE: &str = "migrated.json";
const VERSION: u32 = 1;

/// The migration files of the last successful migration.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
struct MigratedFiles {
    version: u32,
    files: FileDigests,
}

/// Writes the record if it is new. Without it, `devrun status` does not say that the database is behind.
pub(super) fn save(state: &Path, files: FileDigests) {
    let new = MigratedFiles { version: VERSION, files };
    if load(state).as_ref() != Some(&new) {
        let _ = fs::replace(&state.join(FILE), &serde_json::to_vec(&new).unwrap_or_default(), 0o600);
    }
}

fn load(state: &Path) -> Option<MigratedFiles> {
    let bytes = read::file(&state.join(FILE), Limit::SMALL).ok()?;
    serde_json::from_slice(&bytes).ok().filter(|record: &MigratedFiles| record.version == VERSION)
}

/// Where the migration files of a worktree are.
#[derive(Clone, Debug)]
pub(super) struct MigrationFolder {
    state: PathBuf,
    root: PathBuf,
    directory: PathBuf,
    globs: Vec<String>,
}

impl MigrationFolder {
    /// Returns the folder of the configured migrations; `None` if there are no migrations, or no patterns for their files.
    pub(super) fn of(resolved: &ResolvedWorktree) -> Option<MigrationFolder> {
        let migrate = resolved.config.database.as_ref()?.migrate.as_ref()?;
        let folder = MigrationFolder {
            state: resolved.worktree.state.clone(),
            root: resolved.worktree.path.clone(),
            directory: resolved.folder(&migrate.directory),
            globs: migrate.inputs.clone(),
        };
        (!folder.globs.is_empty()).then_some(folder)
    }

    /// Returns the files that are new or changed since the last migration, and those that were removed, relative to the worktree. Both
    /// lists are empty if there is no record or a file cannot be read. Blocks.
    pub(super) fn changed(&self) -> (Vec<String>, Vec<String>) {
        let Some(record) = load(&self.state) else { return Default::default() };
        let Ok(now) = file_digests(&self.directory, &self.globs) else { return Default::default() };
        let is_old = |(file, digest): &(&PathBuf, &String)| record.files.get(*file) == Some(*digest);
        let gone = record.files.keys().filter(|file| !now.contains_key(*file));
        let new = now.iter().filter(|one| !is_old(one)).map(|(file, _)| file);
        let shown = |file: &PathBuf| {
            let path = self.directory.join(file);
            path.strip_prefix(&self.root).unwrap_or(&path).display().to_string()
        };
        (new.map(shown).collect(), gone.map(shown).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    #[test]
    fn a_migration_that_is_new_changed_or_gone_is_named_until_the_next_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("w");
        let write = |file: &str, text: &str| {
            let path = root.join("api").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            replace(&path, text.as_bytes(), 0o600).unwrap();
        };
        write("versions/1.py", "one");
        write("versions/2.py", "two");
        let folder = MigrationFolder {
            state: dir.path().into(),
            root: root.clone(),
            directory: root.join("api"),
            globs: vec!["versions/*.py".into()],
        };
        let migrated = || save(&folder.state, file_digests(&folder.directory, &folder.globs).unwrap());
        let none = (Vec::new(), Vec::new());
        assert_eq!(folder.changed(), none, "nothing is known yet");
        migrated();
        assert_eq!(folder.changed(), none);
        write("versions/3.py", "three");
        assert_eq!(folder.changed(), (vec!["api/versions/3.py".into()], Vec::new()));
        write("versions/1.py", "another");
        std::fs::remove_file(root.join("api/versions/2.py")).unwrap();
        let (new, removed) = folder.changed();
        assert_eq!(
            (new.join(" "), removed.join(" ")),
            ("api/versions/1.py api/versions/3.py".into(), "api/versions/2.py".into())
        );
        migrated();
        assert_eq!(folder.changed(), none);
    }
}
