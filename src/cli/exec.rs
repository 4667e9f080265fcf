//! `devrun exec -- COMMAND`: one command in the stack's environment, in place of devrun itself.

use std::os::unix::process::CommandExt;

use super::args;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::prepare;
use crate::ui::console::Console;

#[expect(
    clippy::disallowed_methods,
    reason = "becomes the command instead of running it: nothing is left to bound"
)]
pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Exec) -> Result<Exit, Report> {
    let preview = prepare::preview(ctx).await?;
    let program = &args.command[0];
    let path = preview.plan.env.vars.get(std::ffi::OsStr::new("PATH"));
    let resolved = which::which_in(program, path, &ctx.cwd).unwrap_or_else(|_| program.into());
    // From here on nobody is left to write it.
    console.flush();
    let error = std::process::Command::new(resolved)
        .args(&args.command[1..])
        .current_dir(&ctx.cwd)
        .env_clear()
        .envs(&preview.plan.env.vars)
        .exec();
    Err(Report::new(Code::SpawnFailed, format!("cannot run {}: {error}", program.to_string_lossy()))
        .with_exit(Exit::Child(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })))
}
