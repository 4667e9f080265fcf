//! Finds the commits that a worktree's branch should contain, and fetches them. Only [`fetch`] calls a remote.

use std::time::Duration;

use super::git::git;
use super::rebase::SyncError;
use super::{Worktree, default_branch};
use crate::context::Context;
use crate::text::hide_in_urls;

/// How long a fetch may take.
const FETCH: Duration = Duration::from_mins(5);

/// The commits to which a branch is brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncTarget {
    /// Their name, as git knows it: `origin/main`, `main`, or what the user wrote.
    pub name: String,
    /// The remote to fetch from before.
    pub remote: Option<String>,
    /// The copy of the branch itself on its remote, unless that is the target: `origin/login`.
    pub published: Option<String>,
}

/// The branch that another one follows.
struct Followed {
    /// Without `refs/heads/` or `refs/remotes/`.
    name: String,
    /// `None` if it is a branch of this repository.
    remote: Option<String>,
    /// True if it is the branch itself, on a remote.
    is_published_copy: bool,
}

/// Returns the target of `wanted`, if the user named one. Otherwise returns the branch that the branch of `worktree` follows, or
/// the default branch: of the remote, or the local one without a remote. The copy of the branch on a remote is a target only for the
/// default branch. `None` if there is no default branch, or only the default branch itself is left. Errors if git fails.
pub async fn sync_target(
    ctx: &Context,
    worktree: &Worktree,
    wanted: Option<&str>,
) -> Result<Option<SyncTarget>, SyncError> {
    let remotes = remotes(ctx, worktree).await?;
    if let Some(name) = wanted {
        let of = |remote: &&String| name.strip_prefix(*remote).is_some_and(|rest| rest.starts_with('/'));
        let remote = remotes.iter().find(of).cloned();
        return Ok(Some(SyncTarget { name: name.into(), remote, published: None }));
    }
    let branch = worktree.git.as_ref().and_then(|git| git.branch());
    let default = default_branch(ctx, worktree).await?;
    let followed = match branch {
        Some(branch) => followed(ctx, worktree, branch).await,
        None => None,
    };
    let is_default = branch.is_some() && branch == default.as_deref();
    if let Some(followed) = followed.as_ref().filter(|followed| is_default || !followed.is_published_copy) {
        let Followed { name, remote, .. } = followed;
        return Ok(Some(SyncTarget { name: name.clone(), remote: remote.clone(), published: None }));
    }
    let published = followed.map(|followed| (followed.name, followed.remote));
    let remote = published
        .as_ref()
        .and_then(|(_, remote)| remote.clone())
        .or_else(|| remotes.iter().find(|remote| *remote == "origin").cloned())
        .or_else(|| if remotes.len() == 1 { remotes.first().cloned() } else { None });
    let published = published.map(|(name, _)| name);
    let Some(default) = default else { return Ok(None) };
    Ok(match remote {
        Some(remote) => {
            let default = default_of(ctx, worktree, &remote).await.unwrap_or(default);
            Some(SyncTarget { name: format!("{remote}/{default}"), remote: Some(remote), published })
        }
        None if is_default => None,
        None => Some(SyncTarget { name: default, remote: None, published }),
    })
}

async fn remotes(ctx: &Context, worktree: &Worktree) -> Result<Vec<String>, SyncError> {
    let asked = git(ctx, &worktree.path).arg("remote").output().await;
    let text = super::locate::checked(&worktree.path, asked)?.text();
    Ok(text.lines().map(Into::into).collect())
}

async fn followed(ctx: &Context, worktree: &Worktree, branch: &str) -> Option<Followed> {
    let own = format!("refs/heads/{branch}");
    let format = "--format=%(upstream)%00%(upstream:remotename)%00%(upstream:remoteref)%00%(refname)";
    let asked = git(ctx, &worktree.path).args(["for-each-ref", format, &own]).ok().await.ok()?.text();
    // The pattern also matches branches below the name.
    let row = asked
        .lines()
        .map(|line| line.split('\0').collect::<Vec<_>>())
        .find(|row| row.get(3) == Some(&&*own))?;
    let [upstream, remote, reference, _] = row[..] else { return None };
    let name = upstream.strip_prefix("refs/remotes/").or_else(|| upstream.strip_prefix("refs/heads/"))?;
    let remote = Some(remote).filter(|remote| !matches!(*remote, "" | ".")).map(String::from);
    Some(Followed { name: name.into(), is_published_copy: remote.is_some() && reference == own, remote })
}

/// Returns the default branch of `remote`, as far as this clone knows it.
async fn default_of(ctx: &Context, worktree: &Worktree, remote: &str) -> Option<String> {
    let head = format!("refs/remotes/{remote}/HEAD");
    let asked = git(ctx, &worktree.path).args(["symbolic-ref", "-q", &head]).ok().await.ok()?.text();
    Some(asked.strip_prefix(&format!("refs/remotes/{remote}/"))?.to_string())
}

/// Fetches the branches of `remote`, without asking for a password. Errors if git fails.
pub async fn fetch(ctx: &Context, worktree: &Worktree, remote: &str) -> Result<(), SyncError> {
    let cmd = git(ctx, &worktree.path).env("GIT_TERMINAL_PROMPT", "0").limit(FETCH);
    let failed = |said: String| SyncError::Fetch { remote: remote.into(), said: hide_in_urls(&said) };
    match cmd.args(["fetch", "--quiet", "--end-of-options", remote]).output().await {
        Ok(output) if output.ending.ok() => Ok(()),
        Ok(output) => Err(failed(output.tail(10))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Returns the number of commits that `to` has and `from` has not. With `new_work`, a commit counts only if `from` has no commit
/// with the same changes. Returns 0 if git fails.
pub async fn commits_between(
    ctx: &Context,
    worktree: &Worktree,
    from: &str,
    to: &str,
    new_work: bool,
) -> u64 {
    let cmd = git(ctx, &worktree.path).args(["rev-list", "--count"]).limit(FETCH);
    let cmd = if new_work {
        cmd.args(["--right-only", "--cherry-pick"]).arg(format!("{from}...{to}"))
    } else {
        cmd.arg(format!("{from}..{to}"))
    };
    cmd.ok().await.ok().and_then(|output| output.text().parse().ok()).unwrap_or(0)
}
