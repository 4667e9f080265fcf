//! Finds out whether the work of a branch is in another branch, also after a squash or a rebase.
//!
//! The checks need commits that do not exist, for example one with all changes of a branch. git writes them into a temporary
//! folder, so the repository is not changed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::git::{git, short_name};
use super::{Git, Worktree};
use crate::context::Context;
use crate::os::cmd::Cmd;

/// How the work of a branch came into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeKind {
    /// The other branch has all its commits.
    Commits,
    /// Merging it would change no file.
    Content,
    /// The other branch has a commit with the same changes, or one for each commit.
    Patch,
}

/// A branch that has the work of another branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Its name: `main` or `origin/main`.
    pub into: String,
    /// How the work came there.
    pub how: MergeKind,
}

/// A branch into which work is merged.
struct MergeTarget {
    reference: String,
    name: String,
    /// The references of local branches whose commits it has.
    contains: BTreeSet<String>,
    commit: String,
    tree: String,
}

/// Compares branches with those into which work is merged.
pub struct MergeChecker {
    ctx: Context,
    folder: PathBuf,
    /// git's folder of objects.
    objects: PathBuf,
    /// The folder for objects that are needed only here.
    scratch: tempfile::TempDir,
    targets: Vec<MergeTarget>,
}

impl MergeChecker {
    /// Returns a checker for merges into the branches `references`, such as `refs/heads/main`. Names of branches that do not
    /// exist are left out. `None` outside git, or if no temporary folder can be created.
    pub async fn new(ctx: &Context, own: &Worktree, references: &[String]) -> Option<MergeChecker> {
        let Git { common_dir, .. } = own.git.as_ref()?;
        let scratch = tempfile::Builder::new().prefix("devrun-objects-").tempdir().ok()?;
        let objects = common_dir.join("objects");
        let folder = own.path.clone();
        let mut checker = MergeChecker { ctx: ctx.clone(), folder, objects, scratch, targets: Vec::new() };
        for reference in references {
            let merged = format!("--merged={reference}");
            let asked = checker.plain().args(["for-each-ref", "--format=%(refname)", &merged, "refs/heads"]);
            let Ok(answer) = asked.ok().await else { continue };
            let contains = answer.text().lines().map(String::from).collect();
            let name = reference.strip_prefix("refs/remotes/").map(String::from);
            let name = name.unwrap_or_else(|| short_name(reference.as_bytes()));
            let ids = checker.plain().args(["rev-parse", reference, &format!("{reference}^{{tree}}")]);
            let Some(ids) = text(ids).await else { continue };
            let Some((commit, tree)) = ids.split_once('\n') else { continue };
            // A branch and its upstream are often at the same commit.
            if checker.targets.iter().all(|target| target.commit != commit) {
                let (commit, tree) = (commit.to_string(), tree.to_string());
                let reference = reference.clone();
                checker.targets.push(MergeTarget { reference, name, contains, commit, tree });
            }
        }
        Some(checker)
    }

    /// Returns the branch that has the work of `commit`, which the local branch `reference` names. `None` if there is none,
    /// or if git fails.
    pub async fn check(&self, reference: Option<&str>, commit: &str) -> Option<Merged> {
        for target in &self.targets {
            if let Some(how) = self.check_target(target, reference, commit).await {
                return Some(Merged { into: target.name.clone(), how });
            }
        }
        None
    }

    /// Returns true if the branch `into` has a merge commit that merged `commit` itself. Returns false if git fails.
    pub async fn has_merge_of(&self, into: &str, commit: &str) -> bool {
        let Some(target) = self.targets.iter().find(|target| target.name == into) else { return false };
        let range = format!("{commit}..{}", target.reference);
        let listed = text(self.plain().args(["rev-list", "--merges", "--parents", &range])).await;
        // Each line has the merge commit, the commit before it, and the merged ones.
        let merged = |line: &str| line.split(' ').skip(2).any(|parent| parent == commit);
        listed.is_some_and(|listed| listed.lines().any(merged))
    }

    async fn check_target(
        &self,
        target: &MergeTarget,
        reference: Option<&str>,
        commit: &str,
    ) -> Option<MergeKind> {
        if reference.is_some_and(|reference| target.contains.contains(reference)) {
            return Some(MergeKind::Commits);
        }
        let against = target.reference.as_str();
        // Without a common ancestor, nothing can have been merged.
        let base = text(self.plain().args(["merge-base", against, commit])).await?;
        if base == commit {
            return Some(MergeKind::Commits);
        }
        // Nothing was added to the target since the branch began.
        if base == target.commit {
            return None;
        }
        let merge = text(self.apart().args(["merge-tree", "--write-tree", against, commit])).await;
        if merge.as_ref() == Some(&target.tree) {
            return Some(MergeKind::Content);
        }
        if self.has_patches(against, commit).await {
            return Some(MergeKind::Patch);
        }
        let tree = format!("{commit}^{{tree}}");
        let squash = self.apart().args(["commit-tree", &tree, "-p", &base, "-m", "all changes"]);
        let squash = text(squash).await?;
        self.has_patches(against, &squash).await.then_some(MergeKind::Patch)
    }

    /// Returns true if `against` has a commit with the same changes for each commit of `commit`.
    async fn has_patches(&self, against: &str, commit: &str) -> bool {
        let answer = text(self.apart().args(["cherry", against, commit])).await.unwrap_or_default();
        !answer.is_empty() && answer.lines().all(|line| line.starts_with('-'))
    }

    fn plain(&self) -> Cmd {
        git(&self.ctx, &self.folder)
    }

    /// Returns a git command that writes objects into the temporary folder.
    fn apart(&self) -> Cmd {
        let mut command = self.plain();
        command = command.env("GIT_OBJECT_DIRECTORY", self.scratch.path());
        command = command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &self.objects);
        for role in ["AUTHOR", "COMMITTER"] {
            command = command.env(format!("GIT_{role}_NAME"), "devrun");
            command = command.env(format!("GIT_{role}_EMAIL"), "devrun@localhost");
        }
        command
    }
}

/// Whether the commits of a branch would be lost with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchMerge {
    /// This branch contains the commits themselves.
    Merged(String),
    /// This branch contains the same changes in other commits.
    Squashed(String),
    /// No branch contains them. The value is the number of commits, if git could count them.
    Unmerged(Option<u32>),
}

/// Compares `branch`, at `commit`, with its upstream, with `default` and with `origin/DEFAULT`. Counts it as unmerged if git fails.
pub async fn branch_merge(
    ctx: &Context,
    own: &Worktree,
    branch: &str,
    commit: &str,
    default: Option<&str>,
) -> BranchMerge {
    let reference = format!("refs/heads/{branch}");
    let upstream = git(ctx, &own.path).args(["for-each-ref", "--format=%(upstream)", &reference]);
    let of_default = default.filter(|default| *default != branch);
    let of_default =
        of_default.map(|name| [format!("refs/heads/{name}"), format!("refs/remotes/origin/{name}")]);
    let targets: Vec<String> = of_default.into_iter().flatten().chain(text(upstream).await).collect();
    let Some(checker) = MergeChecker::new(ctx, own, &targets).await else {
        return BranchMerge::Unmerged(None);
    };
    match checker.check(Some(&reference), commit).await {
        Some(Merged { into, how: MergeKind::Commits }) => BranchMerge::Merged(into),
        Some(Merged { into, .. }) => BranchMerge::Squashed(into),
        None => {
            let not_in = checker.targets.iter().map(|target| format!("^{}", target.reference));
            let count = git(ctx, &own.path).args(["rev-list", "--count", commit]).args(not_in);
            BranchMerge::Unmerged(text(count).await.and_then(|count| count.parse().ok()))
        }
    }
}

/// Returns the output of `command`, or `None` if it fails or prints nothing.
async fn text(command: Cmd) -> Option<String> {
    let text = command.ok().await.ok()?.text();
    (!text.is_empty()).then_some(text)
}
