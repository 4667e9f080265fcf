//! `devrun exec -- COMMAND`: one command in the stack's environment, in place of devrun itself. Where the local database server
//! is down, devrun starts it and stays until the command ends.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use super::args;
use crate::config::programs;
use crate::context::Context;
use crate::error::{Code, Exit, Fault, Report};
use crate::os::cmd::Cmd;
use crate::prepare::{self, Databases};
use crate::supervisor::signals::Stops;
use crate::ui::console::Console;

#[expect(
    clippy::disallowed_methods,
    reason = "becomes the command instead of running it: nothing is left to bound"
)]
pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Exec) -> Result<Exit, Report> {
    let mut preview = prepare::preview(ctx).await?;
    let mut server = None;
    if preview.server_is_down {
        // Another user's process may listen on its port by now: no client is sent there.
        let stops = Stops::listen(None).map_err(super::db::deaf)?;
        server = Some((Databases::open(ctx).await?, stops));
        preview = prepare::preview(ctx).await?;
    }
    let mut vars = preview.plan.env.vars;
    let program = &args.command[0];
    let worktree = vars.get(OsStr::new("DEVRUN_WORKTREE")).map(PathBuf::from).unwrap_or_default();
    let path = vars.get(OsStr::new("PATH")).map(OsString::as_os_str);
    if let Some(path) = programs::search_path(&worktree, &ctx.cwd, path) {
        vars.insert("PATH".into(), path);
    }
    let path = vars.get(OsStr::new("PATH"));
    if path.is_some_and(|path| is_nowhere(program, path)) {
        return Err(failed(program, "there is no such command on PATH", 127)
            .with_fault(Fault::Environment)
            .with_fix("check its name, or add it to this worktree's packages and run `devrun up -d`"));
    }
    let resolved = which::which_in(program, path, &ctx.cwd).unwrap_or_else(|_| program.into());
    // From here on nobody is left to write it.
    console.flush();
    if let Some((_databases, stops)) = server {
        let cmd = Cmd::new(resolved).args(&args.command[1..]).directory(&ctx.cwd).only_env(&vars);
        let not_run = |error: &dyn std::fmt::Display| failed(program, &error.to_string(), 126);
        return super::attend::attend(&cmd, stops, &not_run).await;
    }
    let error = std::process::Command::new(resolved)
        .args(&args.command[1..])
        .current_dir(&ctx.cwd)
        .env_clear()
        .envs(&vars)
        .exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Err(failed(program, &error.to_string(), status))
}

fn failed(program: &OsStr, why: &str, status: u8) -> Report {
    Report::new(Code::SpawnFailed, format!("cannot run {}: {why}", program.to_string_lossy()))
        .with_exit(Exit::Child(status))
}

/// True when no folder of `path` has a `program`. The system's own answer is another one when a folder cannot be read:
/// permission denied, as if the program were there.
fn is_nowhere(program: &OsStr, path: &OsStr) -> bool {
    !program.as_bytes().contains(&b'/')
        && !std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}
