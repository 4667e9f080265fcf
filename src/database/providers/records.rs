//! Remembers the databases that a provider has made and cannot ask for: one file for each. The files contain URLs with passwords, so
//! only this user can read them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::database::{ListedDatabase, WantedDatabase};
use crate::event::Events;
use crate::os::clock;
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::text::hex;

const VERSION: u32 = 1;
/// How long another devrun may make, reset or delete databases.
const TURN: Duration = Duration::from_mins(30);

/// A database that a provider has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeDatabase {
    pub(super) version: u32,
    /// Its name for devrun, which follows the branch.
    #[serde(skip)]
    pub(super) name: String,
    /// The name with which it was made, by which the provider knows it.
    pub(super) given: String,
    /// As in [`ListedDatabase::id`].
    pub(super) id: String,
    /// [`WantedDatabase::label`] as text; empty if it is not known.
    pub(super) label: String,
    pub(super) parent: Option<String>,
    pub(super) worktree: PathBuf,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// True if it existed before devrun made it, so that devrun deletes it only on request.
    pub(super) was_there: bool,
    pub(super) url: Option<String>,
}

impl MadeDatabase {
    /// Returns a database of which only the name is known.
    pub(super) fn unknown(name: &str) -> MadeDatabase {
        MadeDatabase {
            version: VERSION,
            name: name.into(),
            given: name.into(),
            id: String::new(),
            label: String::new(),
            parent: None,
            worktree: PathBuf::new(),
            created: 0,
            was_there: true,
            url: None,
        }
    }

    /// Returns the entry for lists.
    pub(super) fn listed(self) -> ListedDatabase {
        ListedDatabase {
            id: self.id,
            name: self.name,
            parent: self.parent,
            made_by_devrun: !self.was_there,
            label: Some(self.label).filter(|label| !label.is_empty()).map(Into::into),
            worktree: Some(self.worktree),
            created: Some(self.created),
            ..ListedDatabase::default()
        }
    }
}

/// The files of one repository.
pub(super) struct Records {
    pub(super) folder: PathBuf,
}

impl Records {
    /// Returns the records in `folder`.
    pub(super) fn in_folder(folder: PathBuf) -> Records {
        Records { folder }
    }

    /// Returns the file with the record of the migrations of the database `name`.
    pub(super) fn migrations(&self, name: &str) -> PathBuf {
        self.folder.join("migrations").join(format!("{name}.json"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("made").join(format!("{name}.json"))
    }

    /// Waits until no other devrun works on the database `name`.
    pub(super) async fn turn(&self, name: &str, events: &Events) -> Result<Lock, FsError> {
        // A few files for all names: a lock file that is removed after use could be locked twice.
        let digit = hex(Sha256::digest(name))[..1].to_string();
        let path = self.folder.join(format!("lock-{digit}"));
        if let Some(lock) = Lock::try_take(&path, LockKind::Exclusive)? {
            return Ok(lock);
        }
        events.note("another devrun works on the databases of this repository: waiting for it");
        Lock::take(&path, LockKind::Exclusive, TURN).await
    }

    /// Returns the record of the database `name`. A file that cannot be parsed counts as none.
    pub(super) fn load(&self, name: &str) -> Result<Option<MadeDatabase>, FsError> {
        // A user may write any name on the command line.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Ok(None);
        }
        let Some(bytes) = fs::read(&self.file(name))? else { return Ok(None) };
        let found = serde_json::from_slice(&bytes).ok().filter(|one: &MadeDatabase| one.version == VERSION);
        Ok(found.map(|one| MadeDatabase { name: name.into(), ..one }))
    }

    /// Returns all records, sorted by name.
    pub(super) fn all(&self) -> Result<Vec<MadeDatabase>, FsError> {
        let entries = std::fs::read_dir(self.folder.join("made")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            Some(file.strip_suffix(".json")?.to_string())
        });
        let mut all = Vec::new();
        for name in names {
            all.extend(self.load(&name)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Returns the record of a database that is about to be made, with a name that no other one was made with.
    pub(super) fn new_database(&self, wanted: &WantedDatabase) -> Result<MadeDatabase, FsError> {
        let name = &wanted.name;
        let mut made = MadeDatabase {
            label: wanted.label.to_string(),
            parent: Some(wanted.parent.clone()).filter(|parent| parent != name),
            worktree: wanted.worktree.clone(),
            was_there: false,
            ..MadeDatabase::unknown(name)
        };
        self.renew(&mut made)?;
        // A database that was renamed with its branch goes on under its first name.
        if self.all()?.iter().any(|other| other.given == *name) {
            made.given = format!("{name}-{}", &made.id[..8]);
        }
        Ok(made)
    }

    /// Gives `database` a new id, so that the records of its migrations no longer count.
    pub(super) fn renew(&self, database: &mut MadeDatabase) -> Result<(), FsError> {
        let number = getrandom::u64().map_err(|error| FsError::Io {
            action: "read",
            path: "/dev/urandom".into(),
            source: std::io::Error::other(error.to_string()),
        })?;
        database.id = format!("{number:016x}");
        database.created = clock::unix_seconds();
        remove(&self.migrations(&database.name))
    }

    /// Writes the record of `database`.
    pub(super) fn save(&self, database: &MadeDatabase) -> Result<(), FsError> {
        let bytes = serde_json::to_vec(database).unwrap_or_default();
        fs::replace(&self.file(&database.name), &bytes, 0o600)
    }

    /// Gives the record of `from` the name, label and worktree of `wanted`, unless that name is taken or `from` is gone.
    pub(super) fn rename(&self, from: &ListedDatabase, wanted: &WantedDatabase) -> Result<(), FsError> {
        let Some(found) = self.load(&from.name)?.filter(|found| found.id == from.id) else { return Ok(()) };
        if self.load(&wanted.name)?.is_some() {
            return Ok(());
        }
        self.save(&MadeDatabase {
            label: wanted.label.to_string(),
            worktree: wanted.worktree.clone(),
            ..found.clone()
        })?;
        // Without the record of the migrations, they only run once more.
        let _ = std::fs::rename(self.migrations(&from.name), self.migrations(&wanted.name));
        let (old, new) = (self.file(&from.name), self.file(&wanted.name));
        std::fs::rename(&old, &new).map_err(|source| FsError::Io { action: "rename", path: old, source })
    }

    /// Removes the record of the database `name`, and that of its migrations.
    pub(super) fn remove(&self, name: &str) -> Result<(), FsError> {
        remove(&self.migrations(name))?;
        remove(&self.file(name))
    }
}

fn remove(path: &Path) -> Result<(), FsError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FsError::Io { action: "remove", path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> WantedDatabase {
        WantedDatabase {
            label: name.into(),
            name: name.into(),
            parent: "dev-main".into(),
            worktree: "/w".into(),
        }
    }

    #[test]
    fn a_renamed_database_keeps_its_first_name_for_the_provider() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path().into());
        let made = records.new_database(&wanted("dev-old")).unwrap();
        records.save(&made).unwrap();
        records.rename(&made.clone().listed(), &wanted("dev-new")).unwrap();
        assert_eq!(records.load("dev-old").unwrap(), None);
        let renamed = records.load("dev-new").unwrap().unwrap();
        assert_eq!(
            (renamed.given.as_str(), &renamed.id, renamed.label.as_str()),
            ("dev-old", &made.id, "dev-new")
        );
        let next = records.new_database(&wanted("dev-old")).unwrap();
        assert_ne!(next.given, "dev-old", "two databases would have one name");
    }

    #[test]
    fn records_are_private_and_no_name_leads_out_of_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path().into());
        let made = records.new_database(&wanted("dev-x")).unwrap();
        records.save(&made).unwrap();
        let file = std::fs::metadata(records.file("dev-x")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        std::fs::copy(records.file("dev-x"), folder.path().join("x.json")).unwrap();
        for name in ["../../x", "", ".", "a/b"] {
            assert_eq!(records.load(name).unwrap(), None, "{name}");
        }
    }
}
