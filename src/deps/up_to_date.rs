//! Decides whether an install is needed. It is not if the last one finished, into the same folder, from the same inputs, and what it
//! created is still there.

use std::path::Path;

use crate::deps::install_inputs::{InstallInputs, Snapshot};
use crate::deps::install_record::RecordFiles;
use crate::deps::{DepsError, Done};

/// Returns the result of the last install into `target` if nothing has changed since then. `files` is where its record is.
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
        // Files were touched. With their new times in the record, the next look hashes none of them.
        files.replace_snapshot(record, now)?;
    }
    Ok(Some(done))
}
