//! Decides whether an install is needed. None is needed if the last install into the same folder finished, its inputs are the same,
//! and the files that it created still exist.

use std::path::Path;

use crate::deps::install_inputs::{InstallInputs, Snapshot};
use crate::deps::install_record::RecordFiles;
use crate::deps::{DepsError, Done};

/// Returns the result of the last install into `target` if nothing has changed since then. `files` locates its record.
pub fn last_install(
    files: &RecordFiles,
    target: &Path,
    inputs: &InstallInputs,
) -> Result<Option<Done>, DepsError> {
    let Some(record) = files.read()? else { return Ok(None) };
    let Some(old) = &record.finished else { return Ok(None) };
    let usable = old.fetched.iter().all(|path| path.is_dir());
    if record.target != target.to_string_lossy() || !usable || record.missing().is_some() {
        return Ok(None);
    }
    let (now, read) = Snapshot::take(inputs, Some(&old.snapshot));
    if now.digest() != old.snapshot.digest() {
        return Ok(None);
    }
    let done = Done { worked: false, outcome: "unchanged".into(), fetched: old.fetched.clone() };
    if read > 0 {
        // Files were touched, or were too new when the record was made. With a new snapshot, the next start does not hash them.
        files.replace_snapshot(record, now)?;
    }
    Ok(Some(done))
}
