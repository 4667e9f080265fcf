//! Remembers in the state folder of a worktree which database it used last. git moves the folder together with the worktree.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::database::WantedDatabase;
use crate::database::database_label::DatabaseLabel;
use crate::os::fs;
use crate::os::read::{self, Limit};

const FILE: &str = "database.json";
const VERSION: u32 = 1;

/// The database that a worktree used last.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct DatabaseRecord {
    version: u32,
    /// The name of its provider. `None` in records of older versions.
    #[serde(default)]
    pub(super) provider: Option<String>,
    pub(super) name: String,
    /// As in [`WantedDatabase::label`].
    pub(super) label: DatabaseLabel,
    /// The worktree's folder at that time.
    pub(super) worktree: PathBuf,
}

impl DatabaseRecord {
    pub(super) fn of(wanted: &WantedDatabase, provider: &str) -> DatabaseRecord {
        let WantedDatabase { name, label, worktree, .. } = wanted.clone();
        DatabaseRecord { version: VERSION, provider: Some(provider.into()), name, label, worktree }
    }

    /// Returns a sentence about the database of this record, if another provider than `provider` has it.
    pub(super) fn left_with(&self, provider: &str) -> Option<String> {
        let (former, name) = (self.provider.as_ref().filter(|former| *former != provider)?, &self.name);
        Some(format!(
            "the database {name} of the provider {former} stays there: `provider: {former}` brings it back"
        ))
    }

    /// Returns the record in `state`. A file that cannot be parsed counts as none.
    pub(super) fn load(state: &Path) -> Option<DatabaseRecord> {
        let bytes = read::file(&state.join(FILE), Limit::SMALL).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|record: &DatabaseRecord| record.version == VERSION)
    }

    /// Writes the record if it is new. Without it, a database is only not found after the worktree was moved.
    pub(super) fn save(&self, state: &Path) {
        if DatabaseRecord::load(state).as_ref() != Some(self) {
            let _ = fs::replace(&state.join(FILE), &serde_json::to_vec(self).unwrap_or_default(), 0o600);
        }
    }
}

/// Returns the name of the database that the worktree with the state folder `state` used last.
pub fn recorded_database(state: &Path) -> Option<String> {
    DatabaseRecord::load(state).map(|record| record.name)
}
