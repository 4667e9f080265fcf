//! Reads the branches of a repository, the evidence of commits in their logs, and their earlier names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::git::{git, short_name};
use super::locate::checked;
use super::{Worktree, WorktreeError};
use crate::context::Context;
use crate::os::read::{self, Limit};

/// A local branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalBranch {
    /// The name of the reference, as git needs it.
    pub reference: String,
    /// The commit that it names.
    pub commit: String,
    /// The time of that commit, in seconds since 1970.
    pub committed: u64,
    /// The remote branch that it follows, if that branch exists here: `refs/remotes/origin/main`.
    pub upstream: Option<String>,
}

/// The branches of a repository, as this clone knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchList {
    /// The local branches by name.
    pub local: BTreeMap<String, LocalBranch>,
    /// The branches of remotes, as `origin/main`.
    pub remote: BTreeSet<String>,
}

impl BranchList {
    /// Returns the name of a remote branch that is called `name` on its remote: `origin/x` for `x`.
    pub fn on_a_remote(&self, name: &str) -> Option<&str> {
        let matches = |known: &&String| known.split_once('/').is_some_and(|(_, branch)| branch == name);
        self.remote.iter().find(matches).map(String::as_str)
    }
}

/// The evidence of commits in the log of a branch or of a HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvidence {
    /// The branch was only created and renamed.
    Untouched,
    /// Something was committed on it.
    Committed,
    /// There is no log, or it shows no commit. A fast-forward or a reset moves a branch to commits that were made elsewhere.
    Missing,
}

/// The beginnings of the messages that git logs for a new commit.
const COMMITS: [&[u8]; 4] = [b"commit", b"cherry-pick: ", b"revert: ", b"am: "];
/// The end of the message for a merge that made a commit.
const MERGE: &[u8] = b": Merge made by";

/// Returns the evidence of commits in the log `file`.
pub fn log_evidence(file: &Path) -> LogEvidence {
    let bytes = read::file(file, Limit::SMALL).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages: Vec<&[u8]> = lines
        .map(|line| {
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
            line.get(tab + 1..).unwrap_or_default()
        })
        .collect();
    let is_commit = |message: &&[u8]| {
        message.windows(MERGE.len()).any(|part| part == MERGE)
            || COMMITS.iter().any(|start| message.starts_with(start))
                && *message != b"cherry-pick: fast-forward"
    };
    let Some((first, later)) = messages.split_first() else { return LogEvidence::Missing };
    if messages.iter().any(is_commit) {
        LogEvidence::Committed
    } else if first.starts_with(b"branch: Created")
        && later.iter().all(|message| message.starts_with(b"Branch: renamed"))
    {
        LogEvidence::Untouched
    } else {
        LogEvidence::Missing
    }
}

/// Returns all branches that this clone knows. Asks no remote. Errors if git fails.
pub async fn branches(ctx: &Context, own: &Worktree) -> Result<BranchList, WorktreeError> {
    if own.git.is_none() {
        return Ok(BranchList::default());
    }
    let format =
        "--format=%(refname)%00%(objectname)%00%(committerdate:unix)%00%(upstream)%00%(upstream:track)";
    let asked = git(ctx, &own.path).args(["for-each-ref", format, "refs/heads", "refs/remotes"]);
    let answer = checked(&own.path, asked.output().await)?.stdout;
    let mut found = BranchList::default();
    for line in answer.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let [reference, commit, committed, upstream, track] = fields[..] else { continue };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some(name) = reference.strip_prefix(b"refs/remotes/") {
            found.remote.insert(short_name(name));
            continue;
        }
        let upstream = Some(text(upstream)).filter(|name| !name.is_empty() && track != b"[gone]");
        let branch = LocalBranch {
            reference: text(reference),
            commit: text(commit),
            committed: text(committed).parse().unwrap_or(0),
            upstream,
        };
        found.local.insert(short_name(reference), branch);
    }
    Ok(found)
}

impl LocalBranch {
    /// Returns the file in which git logs the changes of the branch.
    pub fn log(&self, common_dir: &Path) -> PathBuf {
        common_dir.join("logs").join(&self.reference)
    }

    /// Returns the evidence of commits in the log of the branch.
    pub fn evidence(&self, common_dir: &Path) -> LogEvidence {
        log_evidence(&self.log(common_dir))
    }

    /// Returns the earlier names of the branch, from its log.
    pub fn earlier_names(&self, common_dir: &Path) -> Vec<EarlierName> {
        names_in_log(&self.log(common_dir))
    }
}

/// A name that a branch had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierName {
    /// The name.
    pub name: String,
    /// The time of the rename, in seconds since 1970.
    pub until: u64,
}

/// Returns the earlier names of the branch of `worktree`, the oldest first, without calling git. Returns none if git keeps no log.
pub fn earlier_names(worktree: &Worktree) -> Vec<EarlierName> {
    let Some((git, branch)) = worktree.git.as_ref().and_then(|git| Some((git, git.branch()?))) else {
        return Vec::new();
    };
    names_in_log(&git.common_dir.join("logs/refs/heads").join(branch))
}

fn names_in_log(file: &Path) -> Vec<EarlierName> {
    let Ok(bytes) = read::file(file, Limit::SMALL) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let renames = text.lines().filter_map(|line| line.split_once("\tBranch: renamed refs/heads/"));
    let names = renames.filter_map(|(head, rest)| {
        let name = rest.split_once(" to refs/heads/")?.0.to_string();
        // A line of the log begins with `OLD NEW NAME <MAIL> TIME ZONE`.
        let until = head.rsplit(' ').nth(1)?.parse().ok()?;
        Some(EarlierName { name, until })
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_are_read_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        let text = "0 1 A B <t@example.invalid> 5 +0000\tbranch: Created from HEAD\n\
                    1 1 A B <t@example.invalid> 7 +0000\tBranch: renamed refs/heads/a/b to refs/heads/x\n\
                    1 1 A B <t@example.invalid> 8 +0000\tcommit: Branch: renamed refs/heads/c to refs/heads/x\n";
        crate::os::fs::replace(&file, text.as_bytes(), 0o600).unwrap();
        assert_eq!(names_in_log(&file), [EarlierName { name: "a/b".into(), until: 7 }]);
        assert_eq!(names_in_log(&dir.path().join("none")), []);
    }

    #[test]
    fn only_own_commits_are_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        assert_eq!(log_evidence(&file), LogEvidence::Missing);
        let of = |messages: &[&str]| {
            let line = |message: &&str| format!("0 1 Test <t@example.invalid> 1 +0000\t{message}\n");
            let text: String = messages.iter().map(line).collect();
            crate::os::fs::replace(&file, text.as_bytes(), 0o600).unwrap();
            log_evidence(&file)
        };
        let created = "branch: Created from HEAD";
        assert_eq!(of(&[]), LogEvidence::Missing);
        assert_eq!(of(&[created, "Branch: renamed refs/heads/a to refs/heads/x"]), LogEvidence::Untouched);
        for moved in [
            "merge main: Fast-forward",
            "reset: moving to main",
            "pull: Fast-forward",
            "rebase (finish): refs/heads/x onto 1",
            "branch: Reset to main",
            "cherry-pick: fast-forward",
        ] {
            assert_eq!(of(&[created, moved]), LogEvidence::Missing, "{moved}");
            // The beginning of an old log expires.
            assert_eq!(of(&[moved]), LogEvidence::Missing, "{moved}");
        }
        for made in [
            "commit: work",
            "commit (amend): work",
            "cherry-pick: work",
            "revert: Revert work",
            "am: work",
            "merge y: Merge made by the 'ort' strategy.",
        ] {
            assert_eq!(of(&[created, made, "reset: moving to HEAD~1"]), LogEvidence::Committed, "{made}");
        }
    }
}
