//! `devrun exec -- COMMAND`: replaces devrun with a command in the stack's environment. If the local database server is
//! down, devrun starts it and stays until the command ends.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use super::args;
use crate::context::Context;
use crate::database::providers;
use crate::error::{Code, Exit, Fault, Report};
use crate::os::cmd::Cmd;
use crate::plan::RunCommand;
use crate::prepare::{self, Databases};
use crate::supervisor::stop_requests::StopRequests;
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// A command with the environment of the stack.
pub(super) struct StackCommand {
    program: PathBuf,
    vars: BTreeMap<OsString, OsString>,
    /// The server that was started for this command, and the requests to stop.
    server: Option<(Databases, StopRequests)>,
}

impl StackCommand {
    /// Finds the program of `command` and makes its environment. Starts the local database server if it is down. Errors
    /// with status 127 if the program is neither on PATH nor a client program of Postgres that devrun can download.
    pub(super) async fn resolve(ctx: &Context, command: &[OsString]) -> Result<StackCommand, Report> {
        let mut preview = prepare::preview(ctx).await?;
        let mut server = None;
        if preview.server_is_down {
            // While the server is down, a process of another user may listen on its port, so no client may connect
            // before the start.
            let stops = StopRequests::listen(None).map_err(super::db::deaf)?;
            server = Some((Databases::open(ctx).await?, stops));
            preview = prepare::preview(ctx).await?;
        }
        let words = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let given = preview.resolved.given_in(&preview.plan.env, &ctx.cwd, &RunCommand::Argv(words));
        let mut vars = preview.plan.env.vars;
        vars.extend(given.into_iter().map(|(name, value)| (name.into(), value.into())));
        let program = &command[0];
        preview.resolved.add_programs(&ctx.cwd, &mut vars)?;
        let path = vars.get(OsStr::new("PATH"));
        let resolved = if path.is_some_and(|path| is_nowhere(program, path)) {
            client_program(ctx, &preview.resolved.worktree, program).await?
        } else {
            which::which_in(program, path, &ctx.cwd).unwrap_or_else(|_| program.into())
        };
        Ok(StackCommand { program: resolved, vars, server })
    }

    /// Runs the command on the terminal and returns its exit status.
    pub(super) async fn run_to_end(
        &self,
        ctx: &Context,
        command: &[OsString],
        stops: StopRequests,
    ) -> Result<Exit, Report> {
        let cmd = Cmd::new(&self.program).args(&command[1..]).directory(&ctx.cwd).only_env(&self.vars);
        let not_run = |error: &dyn std::fmt::Display| failed(&command[0], &error.to_string(), 126);
        super::run_command::run_in_foreground(&cmd, stops, &not_run).await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "becomes the command instead of running it: nothing is left to bound"
)]
pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Exec) -> Result<Exit, Report> {
    let mut command = StackCommand::resolve(ctx, &args.command).await?;
    // After `exec`, no thread is left that could write the output.
    console.flush();
    if let Some((_databases, stops)) = command.server.take() {
        return command.run_to_end(ctx, &args.command, stops).await;
    }
    let error = std::process::Command::new(command.program)
        .args(&args.command[1..])
        .current_dir(&ctx.cwd)
        .env_clear()
        .envs(&command.vars)
        .exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Err(failed(&args.command[0], &error.to_string(), status))
}

/// Returns the error for the command of the caller, which nothing in the repository is to blame for.
fn failed(program: &OsStr, why: &str, status: u8) -> Report {
    let name = program.to_string_lossy();
    Report::new(Code::SpawnFailed, format!("cannot run {name}: {why}"))
        .without_fault()
        .with_fix(format!("check that {} is a program that you may execute", quoted(program)))
        .with_exit(Exit::Child(status))
}

/// Returns the client program of Postgres with the name `program`, which is not on PATH. Errors if it is none of them, or if
/// it cannot be downloaded.
async fn client_program(ctx: &Context, worktree: &Worktree, program: &OsStr) -> Result<PathBuf, Report> {
    let missing = failed(program, "there is no such command on PATH", 127);
    match providers::CLIENT_PROGRAMS.into_iter().find(|name| program == *name) {
        None => {
            Err(missing
                .with_fix("check its name, or add it to this worktree's packages and run `devrun up -d`"))
        }
        Some(name) => providers::fetch_client_program(ctx, worktree, name).await.map_err(|reason| {
            missing.with_cause(reason).with_fault(Fault::Environment).with_fix(
                "install the client programs of Postgres (Debian: postgresql-client, Homebrew: libpq)",
            )
        }),
    }
}

/// Returns true if no folder of `path` has a `program`. `exec` itself fails with "permission denied" if a folder cannot
/// be read, even if the program is nowhere.
fn is_nowhere(program: &OsStr, path: &OsStr) -> bool {
    !program.as_bytes().contains(&b'/')
        && !std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_blamed_for_a_command_of_the_caller() {
        let report = failed(OsStr::new("my tool"), "Permission denied", 126);
        assert_eq!((report.fault, report.exit), (None, Exit::Child(126)));
        assert_eq!(report.fix.as_deref(), Some("check that 'my tool' is a program that you may execute"));
    }
}
