//! `devrun hook install`, `uninstall` and `status`: edit and show the hook that git runs after a checkout.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::block::{self, BlockError, BlockState};
use super::hook_file::{self, HookFile, HookManager};
use crate::cli::{args, columns, printed};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// The mode of a new hook.
const MODE: u32 = 0o755;
/// The lock of the commands that edit hooks, in the folder of the repository's state.
const LOCK: &str = "hooks.lock";
/// How long another devrun may take to edit a hook.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The change that a command has made to the file of the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum HookAction {
    Created,
    Changed,
    Unchanged,
    Removed,
}

pub(super) async fn install(
    ctx: &Context,
    console: &Console,
    args: &args::HookInstall,
    as_json: bool,
) -> Result<Exit, Report> {
    let (text, value) = change(ctx, args).await?;
    answer(console, &text, &value, as_json)
}

/// Installs the block. Returns the answer as text and as JSON. For lefthook, writes nothing: the answer has the lines to add.
pub(super) async fn change(
    ctx: &Context,
    args: &args::HookInstall,
) -> Result<(String, serde_json::Value), Report> {
    let (worktree, _) = hook_file::find(ctx).await?;
    let _lock = lock(&worktree).await?;
    let (_, hook) = hook_file::find(ctx).await?;
    if let HookManager::Lefthook(configuration) = &hook.manager {
        let snippet = lefthook_snippet(args.packages);
        let text =
            format!("lefthook makes the hooks of this repository. Add to {configuration}:\n\n{snippet}");
        let value = json!({ "action": "snippet", "file": configuration, "snippet": snippet });
        return Ok((text, value));
    }
    if hook.is_shared && !args.shared {
        let message = format!("the hook {} is outside this repository", hook.path.display());
        return Err(Report::new(Code::HookKept, message)
            .with_cause("core.hooksPath leads there, and other repositories may use it too")
            .with_fix(
                "devrun hook install --shared, if that is fine: the block acts only in new linked worktrees",
            ));
    }
    let mode = hook_mode(&hook)?;
    let new = block::insert(hook.content.as_deref(), args.packages)
        .map_err(|error| refused(&hook, &error, args.packages))?;
    let action = match &hook.content {
        None => HookAction::Created,
        Some(old) if *old == new => HookAction::Unchanged,
        Some(_) => HookAction::Changed,
    };
    if action != HookAction::Unchanged {
        fs::replace(&hook.path, &new, mode)?;
    }
    let place = hook.path.display();
    let note = match hook.manager {
        HookManager::Husky => "\nhusky runs this file. It belongs to the repository: commit it.",
        _ => "",
    };
    let text = match action {
        HookAction::Created => format!("Made {place}.{note}\n"),
        HookAction::Changed => format!("Added a block to {place}.{note}\n"),
        HookAction::Unchanged | HookAction::Removed => {
            format!("Unchanged: the block is in {place}.{note}\n")
        }
    };
    Ok((text, json!({ "action": action, "file": place.to_string() })))
}

pub(super) async fn uninstall(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let (worktree, _) = hook_file::find(ctx).await?;
    let _lock = lock(&worktree).await?;
    let (_, hook) = hook_file::find(ctx).await?;
    let content = hook.content.clone().unwrap_or_default();
    let rest = block::remove(&content).map_err(|error| refused(&hook, &error, false))?;
    let place = hook.path.display();
    let (action, text) = match rest {
        None => (HookAction::Unchanged, format!("Unchanged: there is no block of devrun in {place}.\n")),
        Some(rest) if block::is_empty(&rest) => {
            std::fs::remove_file(&hook.path).map_err(|source| FsError::Io {
                action: "remove",
                path: hook.path.clone(),
                source,
            })?;
            (HookAction::Removed, format!("Removed {place}, which had only the block of devrun.\n"))
        }
        Some(rest) => {
            fs::replace(&hook.path, &rest, mode(&hook).unwrap_or(MODE))?;
            (HookAction::Changed, format!("Removed the block from {place}.\n"))
        }
    };
    answer(console, &text, &json!({ "action": action, "file": place.to_string() }), as_json)
}

pub(super) async fn status(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let (_, hook) = hook_file::find(ctx).await?;
    let (manager, is_lefthook) = match &hook.manager {
        HookManager::None => ("none", false),
        HookManager::Husky => ("husky", false),
        HookManager::Lefthook(_) => ("lefthook", true),
    };
    let block = hook.content.as_deref().map_or(Ok(BlockState::Missing), block::state);
    let (state, packages, why) = match block {
        _ if is_lefthook => ("managed", false, Some("`devrun hook install` prints what to add".to_string())),
        Ok(BlockState::Missing) => ("missing", false, None),
        Ok(BlockState::Outdated) => ("outdated", false, Some("`devrun hook install` replaces it".into())),
        Ok(BlockState::Installed { packages }) => match hook_mode(&hook) {
            Ok(_) => ("installed", packages, None),
            Err(report) => ("ignored", packages, Some(report.message)),
        },
        Err(error) => ("refused", false, Some(error.to_string())),
    };
    let program = ctx.which("devrun");
    let place = hook.path.display().to_string();
    if as_json {
        let value = json!({
            "file": place,
            "manager": manager,
            "state": state,
            "packages": packages,
            "why": why,
            "program": program.map(|path| path.display().to_string()),
        });
        return printed(console.print_json(&value));
    }
    let state = why.map_or_else(|| state.to_string(), |why| format!("{state}: {why}"));
    let program = program
        .map_or_else(|| "not on PATH: the block does nothing".to_string(), |path| path.display().to_string());
    let packages = if packages { "installed by the hook" } else { "installed by `devrun up`" };
    let rows = [
        ("hook", place),
        ("block", state),
        ("manager", manager.into()),
        ("packages", packages.into()),
        ("devrun", program),
    ];
    printed(console.print(&columns(&rows)))
}

fn answer(console: &Console, text: &str, value: &serde_json::Value, as_json: bool) -> Result<Exit, Report> {
    printed(if as_json { console.print_json(value) } else { console.print(text) })
}

async fn lock(worktree: &Worktree) -> Result<Lock, FsError> {
    Lock::take(&worktree.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await
}

fn mode(hook: &HookFile) -> Option<u32> {
    std::fs::metadata(&hook.path).ok().map(|meta| meta.permissions().mode() & 0o7777)
}

/// Returns the mode of the hook, or of a new one. Errors if the hook is not executable, because git then ignores it: if devrun made it
/// executable, the user's part would run too. husky runs files of any mode.
pub(super) fn hook_mode(hook: &HookFile) -> Result<u32, Report> {
    match mode(hook) {
        None => Ok(MODE),
        Some(mode) if mode & 0o111 != 0 || hook.manager == HookManager::Husky => Ok(mode),
        Some(_) => {
            let message = format!("git ignores the hook {}: it is not executable", hook.path.display());
            Err(Report::new(Code::HookKept, message)
                .with_fix(format!("chmod +x {}, or remove it", quoted(&hook.path))))
        }
    }
}

fn refused(hook: &HookFile, error: &BlockError, packages: bool) -> Report {
    let report =
        Report::new(Code::HookKept, format!("devrun does not edit the hook {}", hook.path.display()))
            .with_cause(error.to_string());
    match error {
        BlockError::Damaged => {
            report.with_fix("remove the lines of the block by hand, then run this command again")
        }
        BlockError::OtherLanguage(_) | BlockError::Binary => {
            let option = if packages { " --packages" } else { "" };
            report.with_fix(format!(
                "call `devrun hook post-checkout{option} OLD NEW FLAG` in it with the three arguments of the hook, and ignore \
                 the result"
            ))
        }
    }
}

fn lefthook_snippet(packages: bool) -> String {
    let option = if packages { " --packages" } else { "" };
    format!(
        "post-checkout:\n  commands:\n    devrun:\n      run: command -v devrun >/dev/null 2>&1 && devrun hook \
         post-checkout{option} {{0}} || true\n"
    )
}
