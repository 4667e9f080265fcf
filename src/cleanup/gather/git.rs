//! Gathers the facts about worktrees and branches.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{GitFacts, since, unused_for};
use crate::cleanup::decide::Rules;
use crate::cleanup::facts::{BranchFacts, FolderState, MergeState, RunFacts, WorktreeFacts};
use crate::cleanup::servers::StrayServer;
use crate::context::Context;
use crate::os::fs;
use crate::ports::table;
use crate::worktree::{
    self, ListedWorktree, LocalBranch, LogEvidence, MergeChecker, MergeKind, Merged, Worktree,
};

/// The number of git commands that run at the same time.
const AT_ONCE: usize = 8;

/// Names of branches that usually stay, also after all their commits were merged.
const PERMANENT: [&str; 8] =
    ["main", "master", "trunk", "develop", "dev", "staging", "production", "release"];

/// Files in a git directory that git or devrun changes when the worktree is used.
const CHANGING: [&str; 9] = [
    "HEAD",
    "index",
    "logs/HEAD",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "COMMIT_EDITMSG",
    "devrun/lock",
    "devrun/last.json",
    "devrun/run.json",
];

/// Gathers the facts about all worktrees and branches.
pub(super) async fn gather(
    ctx: &Context,
    own: &Worktree,
    git: &GitFacts,
    runs: &[RunFacts],
    servers: &[StrayServer],
    rules: &Rules,
) -> (Vec<WorktreeFacts>, Vec<BranchFacts>) {
    let mut worktrees: Vec<WorktreeFacts> = git
        .records
        .iter()
        .enumerate()
        .map(|(at, record)| known(own, git, runs, servers, at, record))
        .collect();
    for (facts, record) in worktrees.iter_mut().zip(&git.records) {
        if facts.folder == FolderState::Gone
            && facts.branch.is_none()
            && let Some(commit) = &record.commit
        {
            facts.is_commit_kept = worktree::is_reachable(ctx, &own.path, commit).await;
        }
    }
    if !rules.merged {
        return (worktrees, Vec::new());
    }
    let branches = branches(ctx, own, git).await;
    merges_of_worktrees(ctx, own, git, &mut worktrees, &branches).await;
    cleanliness(ctx, git, &mut worktrees).await;
    (worktrees, branches)
}

/// Returns the facts about a worktree that need no further call of git.
fn known(
    own: &Worktree,
    git: &GitFacts,
    runs: &[RunFacts],
    servers: &[StrayServer],
    at: usize,
    record: &ListedWorktree,
) -> WorktreeFacts {
    let path = fs::physical(&record.path);
    let folder = match (table::exists(&path), record.is_prunable) {
        (false, _) => FolderState::Gone,
        (true, true) => FolderState::Broken,
        (true, false) => FolderState::There,
    };
    let inside = |other: &&ListedWorktree| other.path != record.path && other.path.starts_with(&record.path);
    let git_dir = record.git_dir.clone().unwrap_or_default();
    let operation = worktree::operation(&git_dir);
    let modules = git_dir.join("modules");
    WorktreeFacts {
        branch: record.branch.clone(),
        commit: record.commit.clone(),
        is_main: at == 0,
        is_current: path == own.path,
        folder,
        locked: record.locked.clone(),
        runs: runs.iter().any(|run| run.worktree == path && run.runs),
        servers: servers.iter().filter(|server| server.worktree == path).map(|server| server.pid).collect(),
        operation,
        merge: MergeState::Unknown,
        is_clean: None,
        unused_for: unused_for(CHANGING.iter().map(|file| git_dir.join(file))),
        contains: git.records.iter().find(inside).map(|other| other.path.clone()),
        is_commit_kept: true,
        submodules: (at != 0 && modules.is_dir()).then_some(modules),
        path,
    }
}

async fn branches(ctx: &Context, own: &Worktree, git: &GitFacts) -> Vec<BranchFacts> {
    let common_dir = own.git.as_ref().map(|git| git.common_dir.clone()).unwrap_or_default();
    let is_permanent = |name: &str| {
        Some(name) == git.default_branch.as_deref()
            || PERMANENT.contains(&name)
            || PERMANENT
                .iter()
                .any(|usual| name.strip_prefix(usual).is_some_and(|rest| rest.starts_with('/')))
    };
    let mut found = Vec::new();
    for (name, branch) in &git.branches.local {
        let in_use = git.records.iter().filter(|record| uses(record, name, branch));
        let log = unused_for([branch.log(&common_dir)]);
        found.push(BranchFacts {
            name: name.clone(),
            is_permanent: is_permanent(name),
            worktrees: in_use.map(|record| fs::physical(&record.path)).collect(),
            merge: match branch.evidence(&common_dir) {
                LogEvidence::Untouched => MergeState::Untouched,
                LogEvidence::Committed | LogEvidence::Missing => MergeState::Unknown,
            },
            unused_for: [since(branch.committed), log].into_iter().flatten().min(),
            branch: branch.clone(),
        });
    }
    let Some(checker) = checker(ctx, own, git).await else { return found };
    let undecided = |facts: &&BranchFacts| !facts.is_permanent && facts.merge == MergeState::Unknown;
    let asked = found.iter().filter(undecided).map(|facts| {
        (facts.name.clone(), (Some(facts.branch.reference.clone()), facts.branch.commit.clone()))
    });
    let states = check_all(&checker, asked.collect()).await;
    for facts in &mut found {
        if let Some(state) = states.get(&facts.name) {
            let evidence = facts.branch.evidence(&common_dir);
            facts.merge = proven(&checker, state, evidence, &facts.branch.commit).await;
        }
    }
    found
}

/// Returns `state`, or [`MergeState::Unproven`] if nothing shows that there was work: the commits of a branch that was only created
/// at, or moved to, a commit of the target are in the target too. A commit in the log or a merge of exactly `commit` shows work.
async fn proven(
    checker: &MergeChecker,
    state: &MergeState,
    evidence: LogEvidence,
    commit: &str,
) -> MergeState {
    match state {
        MergeState::Merged(Merged { into, how: MergeKind::Commits })
            if evidence != LogEvidence::Committed && !checker.has_merge_of(into, commit).await =>
        {
            MergeState::Unproven(into.clone())
        }
        state => state.clone(),
    }
}

/// Returns true if `branch` is checked out in the worktree of `record`, or if a rebase or bisection there began on it.
fn uses(record: &ListedWorktree, name: &str, branch: &LocalBranch) -> bool {
    if record.branch.as_deref() == Some(name) {
        return true;
    }
    let Some(git_dir) = &record.git_dir else { return false };
    let names = |file: &str, text: &str| {
        let read = crate::os::fs::read(&git_dir.join(file)).ok().flatten().unwrap_or_default();
        read.trim_ascii() == text.as_bytes()
    };
    names("rebase-merge/head-name", &branch.reference)
        || names("rebase-apply/head-name", &branch.reference)
        || names("BISECT_START", name)
}

/// Returns a checker for merges into the default branch, the branch that it follows, and the branch of the same name on
/// the remote `origin`.
async fn checker(ctx: &Context, own: &Worktree, git: &GitFacts) -> Option<Rc<MergeChecker>> {
    let default = git.default_branch.as_deref()?;
    let local = git.branches.local.get(default);
    let on_origin = format!("origin/{default}");
    let remote = git.branches.remote.contains(&on_origin).then(|| format!("refs/remotes/{on_origin}"));
    let upstream = local.and_then(|branch| branch.upstream.clone());
    let mut references: Vec<String> = local.map(|branch| branch.reference.clone()).into_iter().collect();
    for other in upstream.into_iter().chain(remote) {
        if !references.contains(&other) {
            references.push(other);
        }
    }
    Some(Rc::new(MergeChecker::new(ctx, own, &references).await?))
}

/// Checks all of `asked`, each a name, a reference and a commit, at most [`AT_ONCE`] at the same time.
async fn check_all(
    checker: &Rc<MergeChecker>,
    asked: Vec<(String, (Option<String>, String))>,
) -> BTreeMap<String, MergeState> {
    let mut states = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut waiting = asked.into_iter();
    loop {
        while tasks.len() < AT_ONCE
            && let Some((name, (reference, commit))) = waiting.next()
        {
            let checker = checker.clone();
            tasks.spawn_local(async move { (name, checker.check(reference.as_deref(), &commit).await) });
        }
        let Some(done) = tasks.join_next().await else { return states };
        if let Ok((name, merged)) = done {
            states.insert(name, merged.map_or(MergeState::Unmerged, MergeState::Merged));
        }
    }
}

async fn merges_of_worktrees(
    ctx: &Context,
    own: &Worktree,
    git: &GitFacts,
    worktrees: &mut [WorktreeFacts],
    branches: &[BranchFacts],
) {
    let mut detached = Vec::new();
    for (facts, record) in worktrees.iter_mut().zip(&git.records) {
        match (&record.branch, &record.commit) {
            (Some(name), _) => {
                if let Some(branch) = branches.iter().find(|branch| branch.name == *name) {
                    facts.merge = branch.merge.clone();
                }
            }
            (None, Some(commit)) if facts.folder == FolderState::There && !facts.is_main => {
                detached.push((facts.path.to_string_lossy().into_owned(), (None, commit.clone())));
            }
            _ => {}
        }
    }
    if detached.is_empty() {
        return;
    }
    let Some(checker) = checker(ctx, own, git).await else { return };
    let states = check_all(&checker, detached).await;
    for (facts, record) in worktrees.iter_mut().zip(&git.records).filter(|(facts, _)| facts.branch.is_none())
    {
        let state = states.get(facts.path.to_string_lossy().as_ref());
        if let (Some(state), Some(commit), Some(git_dir)) = (state, &record.commit, &record.git_dir) {
            let evidence = worktree::log_evidence(&git_dir.join("logs/HEAD"));
            facts.merge = proven(&checker, state, evidence, commit).await;
        }
    }
}

/// Asks git for the uncommitted work of merged worktrees.
async fn cleanliness(ctx: &Context, git: &GitFacts, worktrees: &mut [WorktreeFacts]) {
    let is_asked = |facts: &WorktreeFacts| {
        facts.folder == FolderState::There && !facts.is_main && matches!(facts.merge, MergeState::Merged(_))
    };
    let asked = worktrees.iter().zip(&git.records).enumerate().filter(|(_, (facts, _))| is_asked(facts));
    let mut waiting = asked
        .filter_map(|(at, (facts, record))| Some((at, facts.path.clone(), record.git_dir.clone()?)))
        .collect::<Vec<_>>()
        .into_iter();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < AT_ONCE
            && let Some((at, path, git_dir)) = waiting.next()
        {
            let ctx = ctx.clone();
            tasks.spawn_local(async move { (at, worktree::unsaved(&ctx, &path, &git_dir).await) });
        }
        let Some(done) = tasks.join_next().await else { return };
        let Ok((at, unsaved)) = done else { continue };
        worktrees[at].is_clean = unsaved.ok().map(|unsaved| unsaved.count == 0);
    }
}
