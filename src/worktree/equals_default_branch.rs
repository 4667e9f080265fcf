//! Checks whether files of this worktree equal those of the default branch, byte for byte. In doubt the answer is no.

use std::path::Path;

use super::git::git;
use crate::context::Context;
use crate::os::cmd::Cmd;

/// Returns true if the files under `worktree` that match `patterns` equal those of `default_branch`, without untracked
/// or ignored files beside them (except Python's caches) and without files that are hidden from git's comparison.
///
/// Patterns are relative to the worktree: `*`, `?`, `[…]` match within a folder and `**` across folders, and a folder
/// matches everything below it. Returns false if nothing matches, if the branch does not exist, or if git fails.
pub async fn sees_same_files(
    ctx: &Context,
    worktree: &Path,
    default_branch: &str,
    patterns: &[String],
) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let paths: Vec<String> = patterns.iter().map(|pattern| format!(":(glob){pattern}")).collect();
    // A configured monitor may be a long-running program, and its answers may be wrong.
    let git = || git(ctx, worktree).args(["-c", "core.fsmonitor=false"]);
    let local = format!("refs/heads/{default_branch}");
    let remote = format!("refs/remotes/origin/{default_branch}");
    let verify = |name: &str| git().args(["show-ref", "--verify", "--quiet", name]);
    let is_local = succeeds(&verify(&local)).await;
    let against = if is_local { local } else { remote };
    let diff = git()
        .args([
            "diff",
            "--quiet",
            "--no-ext-diff",
            "--no-textconv",
            "--ignore-submodules=none",
            &against,
            "--",
        ])
        .args(&paths);
    let tracked = git().args(["ls-files", "-z", "-v", "--"]).args(&paths);
    let others = git()
        .args(["ls-files", "-z", "--others", "--"])
        .args(&paths)
        .args([":(exclude,glob)**/__pycache__/**"]);
    let (same, tracked, others) = tokio::join!(succeeds(&diff), tracked.ok(), others.ok());
    let (Ok(tracked), Ok(others)) = (tracked, others) else { return false };
    same && others.stdout.is_empty() && !tracked.stdout.is_empty() && all_compared(&tracked.stdout)
}

async fn succeeds(command: &Cmd) -> bool {
    command.ok().await.is_ok()
}

/// Returns true if every entry of `ls-files -v` is normally tracked (`H`). A comparison would miss changes in others:
/// assumed unchanged (lower case), skipped (`S`) or unmerged (`M`).
fn all_compared(answer: &[u8]) -> bool {
    answer.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).all(|entry| entry.starts_with(b"H "))
}
