//! Refuses a migration that creates an extension which the server does not have, before the migration runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio_postgres::Client;

use super::MigrateRequest;
use super::effect;
use super::error::MigrateError;
use super::migration_files::MigrationFiles;
use crate::database::alembic_history::{self, History};
use crate::database::extensions;
use crate::os::blocking;

/// Files above this size hold rows, which take long to read. Statements that create extensions are in small files.
const LARGEST: usize = 4 << 20;

/// The files of a migration that are still to be applied.
pub(super) enum DueFiles {
    /// All except these.
    Except(BTreeSet<PathBuf>),
    /// These only.
    Only(BTreeSet<PathBuf>),
}

impl DueFiles {
    fn has(&self, file: &Path) -> bool {
        match self {
            DueFiles::Except(applied) => !applied.contains(file),
            DueFiles::Only(due) => due.contains(file),
        }
    }
}

/// Returns the files that the command of the request will apply, as far as the database of `client` shows it. Returns none if it does not
/// show them: then the command itself reports what is missing.
pub(super) async fn due(
    request: &MigrateRequest<'_>,
    history: &History,
    client: &Client,
) -> Result<DueFiles, MigrateError> {
    let none = DueFiles::Only(BTreeSet::new());
    if alembic_history::upgrades(&request.command).is_some() {
        let reached = effect::revisions(client).await?.unwrap_or_default();
        let is_known = reached.is_empty() || history.is_certain();
        return Ok(if is_known { DueFiles::Except(history.applied(&reached)) } else { none });
    }
    Ok(if effect::is_empty(client).await? { DueFiles::Except(BTreeSet::new()) } else { none })
}

/// Errors if one of the files in `due` creates an extension that the server of `client` does not have.
pub(super) async fn check(
    request: &MigrateRequest<'_>,
    inputs: &MigrationFiles,
    due: &DueFiles,
    client: &Client,
) -> Result<(), MigrateError> {
    let texts: Vec<(PathBuf, Vec<u8>)> = inputs
        .files()
        .filter(|(file, bytes)| due.has(file) && bytes.len() <= LARGEST)
        .map(|(file, bytes)| (file.to_path_buf(), bytes.to_vec()))
        .collect();
    let needs = blocking::run(super::CONNECT, move || read_needs(&texts)).await.unwrap_or_default();
    if needs.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<String> = extensions::names(client).await?.into_iter().collect();
    match needs.into_iter().find(|(_, need)| !known.contains(&need.name)) {
        None => Ok(()),
        Some((file, need)) => {
            let file = request.directory.join(file);
            let file = file.strip_prefix(&request.root).unwrap_or(&file).to_path_buf();
            Err(MigrateError::Extension {
                name: request.name.clone(),
                extension: need.name,
                at: format!("{}:{}", file.display(), need.line),
                advice: None,
            })
        }
    }
}

fn read_needs(texts: &[(PathBuf, Vec<u8>)]) -> Vec<(PathBuf, extensions::ExtensionNeed)> {
    let of = |(file, bytes): &(PathBuf, Vec<u8>)| {
        let needs = extensions::needs(file, &String::from_utf8_lossy(bytes));
        needs.into_iter().map(|need| (file.clone(), need)).collect::<Vec<_>>()
    };
    texts.iter().flat_map(of).collect()
}
