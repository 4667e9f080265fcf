//! `devrun hook`: installs git's post-checkout hook, and answers the hooks of git and of coding agents.
//!
//! `post-checkout` only saves time: `devrun up` does the same work if no hook has run.

mod block;
mod facts;
mod hook_file;
mod install;
mod payload;
mod post_checkout;
mod worktree_create;
mod worktree_remove;

pub(super) use self::facts::facts;
use super::args;
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::ui::console::Console;

/// Installs the hook for a command that has shown the change. Prints nothing.
pub(super) async fn install(ctx: &Context, args: &args::HookInstall) -> Result<(), Report> {
    install::change(ctx, args).await.map(drop)
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    verb: &args::Hook,
    as_json: bool,
) -> Result<Exit, Report> {
    match verb {
        args::Hook::Install(args) => install::install(ctx, console, args, as_json).await,
        args::Hook::Uninstall => install::uninstall(ctx, console, as_json).await,
        args::Hook::Status => install::status(ctx, console, as_json).await,
        args::Hook::PostCheckout(args) => Ok(post_checkout::run(ctx, args).await),
        args::Hook::Prepare(args) => post_checkout::prepare_worktree(ctx, args).await,
        args::Hook::WorktreeCreate => worktree_create::run(ctx, console).await,
        args::Hook::WorktreeRemove(args) => worktree_remove::run(ctx, args).await,
    }
}
