//! Copies ignored files that `.worktreeinclude` lists from one worktree to another.
//!
//! The file has the syntax of .gitignore. A file is copied only if it matches and git ignores it, so that nothing which git
//! tracks or would show is touched. git does the matching.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::add::existing_part;
use super::git::git;
use crate::context::Context;
use crate::os::fs;
use crate::os::read::{self, Limit, ReadError};
use crate::text::env_block;

/// The name of the list.
pub const FILE: &str = ".worktreeinclude";
/// The most files that are copied.
const MOST_FILES: usize = 1000;
/// The most bytes that are copied.
const MOST_BYTES: usize = 64 << 20;
/// How long git may take to walk through all ignored files.
const WALK: Duration = Duration::from_mins(1);
/// Folders that every worktree makes itself. Tools record absolute paths in them.
const OWN_FOLDERS: [&str; 4] = ["node_modules", ".venv", ".next", "__pycache__"];

/// The result of [`copy`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncludedFiles {
    /// The files that were copied, relative to the worktree.
    pub copied: Vec<PathBuf>,
    /// Listed files that were not copied, each with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Copies the files that `.worktreeinclude` of the worktree `from` lists to the worktree `to`. Leaves out files of `kept`
/// (relative paths), files that exist in `to`, files in folders such as `node_modules`, links that lead out of `from`, what
/// devrun wrote into an env file of `from`, and everything beyond 1000 files or 64 MiB. Does nothing if there is no list.
/// Errors if the list cannot be read, or git fails.
pub async fn copy(
    ctx: &Context,
    from: &Path,
    to: &Path,
    kept: &BTreeSet<PathBuf>,
) -> Result<IncludedFiles, String> {
    let mut result = IncludedFiles::default();
    let mut left = MOST_BYTES;
    for path in listed(ctx, from).await? {
        if path.components().any(|part| is_own_folder(part.as_os_str())) {
            continue;
        }
        let copied = if kept.contains(&path) {
            Err("devrun reads it from the main worktree".into())
        } else if result.copied.len() >= MOST_FILES {
            Err(format!("more than {MOST_FILES} files are listed"))
        } else {
            copy_file(from, to, &path, &mut left)
        };
        match copied {
            Ok(true) => result.copied.push(path),
            Ok(false) => {}
            Err(reason) => result.skipped.push((path, reason)),
        }
    }
    Ok(result)
}

fn is_own_folder(name: &OsStr) -> bool {
    OWN_FOLDERS.iter().any(|own| name == *own)
}

/// Returns the files of `from` that the list matches and git ignores.
async fn listed(ctx: &Context, from: &Path) -> Result<Vec<PathBuf>, String> {
    match read::inside(&[from], &from.join(FILE), Limit::mebibytes(1)) {
        Ok(_) => {}
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(format!("{FILE} cannot be read: {error}")),
    }
    let git = || git(ctx, from).args(["-c", "core.fsmonitor=false"]).limit(WALK);
    let failed = |error: crate::os::cmd::CmdError| {
        let tail = error.tail(3).map(|tail| format!(": {tail}")).unwrap_or_default();
        format!("git cannot list the files of {FILE}: {error}{tail}")
    };
    let exclude = format!("--exclude-from={FILE}");
    let matching =
        git().args(["ls-files", "-z", "--others", "--ignored", &exclude]).ok().await.map_err(failed)?;
    if matching.stdout.is_empty() {
        return Ok(Vec::new());
    }
    // The status is 1 if git ignores none of them.
    let ignored = git().args(["check-ignore", "-z", "--stdin"]).stdin(matching.stdout).output().await;
    let ignored = ignored.map_err(failed)?.stdout;
    let paths = ignored.split(|byte| *byte == 0).filter(|path| !path.is_empty() && !path.ends_with(b"/"));
    Ok(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
}

/// Copies one file with its mode. Returns false if it already exists in `to`, or if devrun wrote all of it. Subtracts its
/// size from `left`.
fn copy_file(from: &Path, to: &Path, path: &Path, left: &mut usize) -> Result<bool, String> {
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err("its path is not inside the worktree".into());
    }
    let (source, target) = (from.join(path), to.join(path));
    if target.symlink_metadata().is_ok() {
        return Ok(false);
    }
    // A branch may have a link where another has a folder.
    let (above, _) = existing_part(&target);
    let inside = read::resolve_inside(&[to], &above).is_ok_and(|real| real.is_dir());
    if !inside {
        return Err("its folder leads out of the new worktree".into());
    }
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let limit = Limit { bytes: *left, ..Limit::LARGE };
    let bytes = match read::inside(&[from], &source, limit) {
        // These values belong to the worktree `from`.
        Ok(bytes) if env_block::is_all_written(&bytes) => return Ok(false),
        Ok(bytes) => env_block::without_written(&bytes).into_owned(),
        Err(ReadError::TooLarge(_)) => {
            return Err(format!("the listed files are larger than {} MiB together", MOST_BYTES >> 20));
        }
        Err(error) => return Err(failed(&error)),
    };
    let mode = source.metadata().map_err(|error| failed(&error))?.permissions().mode() & 0o777;
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(|error: io::Error| failed(&error))?;
    }
    fs::replace(&target, &bytes, mode).map_err(|error| failed(&error))?;
    *left -= bytes.len();
    Ok(true)
}
