//! The facts about git's hook for `devrun doctor`.

use std::path::PathBuf;
use std::time::Duration;

use super::block::{self, BlockError, BlockState};
use super::hook_file::{self, HookFile, HookManager};
use super::install::hook_mode;
use crate::context::Context;
use crate::doctor::{HookFacts, HookState};
use crate::worktree::Worktree;
use crate::worktree::git::git;

/// The time limit for git's answers.
const LIMIT: Duration = Duration::from_secs(5);

/// Returns the facts. `None` outside git, if hooks are switched off, or if the hook cannot be read. Errors with a sentence if git does
/// not answer in time.
pub(in crate::cli) async fn facts(ctx: &Context) -> Result<Option<HookFacts>, String> {
    let looked = tokio::time::timeout(LIMIT, look(ctx)).await;
    looked.map_err(|_| format!("git took longer than {} s", LIMIT.as_secs()))
}

async fn look(ctx: &Context) -> Option<HookFacts> {
    let (worktree, hook) = hook_file::find(ctx).await.ok()?;
    let missing_folder = match hook.manager {
        // husky and lefthook make the folder when packages are installed.
        HookManager::Husky | HookManager::Lefthook(_) => None,
        HookManager::None => missing_folder(ctx, &worktree).await,
    };
    let (state, why) = state(&hook);
    Some(HookFacts {
        file: hook.path,
        state,
        why,
        missing_folder,
        finds_program: ctx.which("devrun").is_some(),
    })
}

fn state(hook: &HookFile) -> (HookState, Option<String>) {
    if matches!(hook.manager, HookManager::Lefthook(_)) {
        return (HookState::Managed, None);
    }
    match hook.content.as_deref().map_or(Ok(BlockState::Missing), block::state) {
        Ok(BlockState::Missing) => (HookState::Missing, None),
        Ok(BlockState::Outdated) => (HookState::Outdated, None),
        Ok(BlockState::Installed { .. }) => match hook_mode(hook) {
            Ok(_) => (HookState::Installed, None),
            Err(report) => (HookState::Ignored, Some(report.message)),
        },
        Err(error @ BlockError::Damaged) => {
            (HookState::Ignored, Some(format!("devrun does not edit the hook: {error}")))
        }
        // Without a block, a hook in another language is the user's choice.
        Err(_) => (HookState::Managed, None),
    }
}

/// Returns the folder that `core.hooksPath` names, if it does not exist.
async fn missing_folder(ctx: &Context, worktree: &Worktree) -> Option<PathBuf> {
    let asked = git(ctx, &worktree.path).args(["config", "--type=path", "--get", "core.hooksPath"]);
    let folder = worktree.path.join(asked.ok().await.ok()?.text());
    (!folder.exists()).then_some(folder)
}
