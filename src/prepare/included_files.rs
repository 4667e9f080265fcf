//! Copies the files of `.worktreeinclude` to a worktree: when devrun makes it, and at a run if another tool made it or the list is new.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::env_file_names;
use crate::context::Context;
use crate::os::fs;
use crate::os::read::{self, Limit};
use crate::text::hex;
use crate::worktree::include::{self, IncludedFiles};
use crate::worktree::{self, Worktree, WorktreeError};

/// Number of files that are listed in a note.
const LISTED: usize = 5;
/// The file in a worktree's state folder with the fingerprint of the list whose files were copied.
const RECORD: &str = "included";

/// Copies the files of `.worktreeinclude` from the main worktree to the new worktree at `path`, and reports those that were left
/// out.
pub async fn copy_included_files(ctx: &Context, main: &Path, path: &Path) -> IncludedFiles {
    let there = Context { cwd: path.into(), ..ctx.clone() };
    let Some(list) = fingerprint(main) else { return IncludedFiles::default() };
    let copied = async {
        let made: Worktree =
            worktree::locate(&there).await.map_err(|error: WorktreeError| error.to_string())?;
        copy(&there, main, &made, &list).await
    };
    reported(ctx, copied.await)
}

/// Copies the files of `.worktreeinclude` if `worktree` is not the main worktree, and the list is new since the last time. A file
/// that the user has deleted does not come back before the list changes.
pub(super) async fn copy_once(ctx: &Context, worktree: &Worktree) {
    let main = worktree.git.as_ref().and_then(|git| git.main_worktree.as_ref());
    let Some(main) = main.filter(|main| **main != worktree.path) else { return };
    let Some(list) = fingerprint(main) else { return };
    let known = fs::read(&worktree.state.join(RECORD)).ok().flatten();
    if known.as_deref() != Some(list.as_bytes()) {
        reported(ctx, copy(ctx, main, worktree, &list).await);
    }
}

/// Returns the fingerprint of the list; `None` if there is none.
fn fingerprint(main: &Path) -> Option<String> {
    match read::inside(&[main], &main.join(include::FILE), Limit::mebibytes(1)) {
        Ok(list) => Some(hex(Sha256::digest(list))),
        Err(error) if error.is_missing() => None,
        // The copy reports the error.
        Err(_) => Some(String::new()),
    }
}

async fn copy(ctx: &Context, main: &Path, worktree: &Worktree, list: &str) -> Result<IncludedFiles, String> {
    let kept = env_file_names(ctx, worktree).await;
    let files = include::copy(ctx, main, &worktree.path, &kept).await?;
    // Without the record, the next run copies again.
    let _ = fs::replace_for_now(&worktree.state.join(RECORD), list.as_bytes(), 0o600);
    Ok(files)
}

fn reported(ctx: &Context, copied: Result<IncludedFiles, String>) -> IncludedFiles {
    let files = copied.unwrap_or_else(|why| {
        ctx.events.warn(format!("the files of {} are not copied: {why}", include::FILE));
        IncludedFiles::default()
    });
    if !files.copied.is_empty() {
        let names = files.copied.iter().take(LISTED).map(|file| file.display().to_string());
        let more = files.copied.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = names.collect::<Vec<_>>().join(", ");
        ctx.events.note(format!("copied from the main worktree: {names}{more}"));
    }
    for (file, why) in files.skipped.iter().take(LISTED) {
        ctx.events.note(format!("{} is not copied: {why}", file.display()));
    }
    files
}
