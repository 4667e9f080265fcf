//! `devrun db psql`: runs psql in the branch database on this terminal. Passes the password in the environment, because
//! other users can read the arguments of a process.

use std::fmt::Display;

use crate::cli::args::Psql;
use crate::cli::run_command::run_in_foreground;
use crate::config::libpq;
use crate::context::Context;
use crate::database::providers;
use crate::error::{Code, Exit, Fault, Report};
use crate::os::cmd::Cmd;
use crate::prepare::Databases;
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Psql,
    mut stops: StopRequests,
) -> Result<Exit, Report> {
    let opening = async {
        let databases = Databases::open(ctx).await?;
        let name = args.which.name.as_ref().unwrap_or(&databases.own.name);
        let branch = databases.find_postgres(name, "devrun db psql").await?;
        Ok::<_, Report>((databases, branch))
    };
    let (databases, branch) = tokio::select! {
        biased;
        why = stops.next() => return Ok(Outcome::from(why).exit),
        opened = opening => opened?,
    };
    let search = providers::fetch_client_program(ctx, &databases.resolved.worktree, "psql");
    let program = tokio::select! {
        biased;
        why = stops.next() => return Ok(Outcome::from(why).exit),
        found = search => found.map_err(missing)?,
    };
    let mut cmd = Cmd::new(program).args(&args.args).directory(&ctx.cwd).only_env(ctx.passed_on());
    for name in libpq::STEERING.into_iter().chain(databases.resolved.config.withheld()) {
        cmd = cmd.env_remove(name);
    }
    for (name, value) in libpq::variables(&branch.direct_url) {
        cmd = cmd.env(name, value);
    }
    console.flush();
    run_in_foreground(&cmd, stops, &not_run).await
}

fn not_run(error: &dyn Display) -> Report {
    Report::new(Code::SpawnFailed, format!("cannot run psql: {error}"))
        .with_fault(Fault::Environment)
        .with_fix("connect another program to what `devrun db url --reveal` prints")
}

fn missing(reason: String) -> Report {
    Report::new(Code::ToolMissing, "psql is neither on PATH nor beside a Postgres server devrun knows")
        .with_cause(reason)
        .with_fix("install it (Debian: postgresql-client, Homebrew: libpq), or connect another program to what `devrun db url --reveal` prints")
        .with_exit(Exit::Child(127))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_psql_that_does_not_start_is_the_environments_fault() {
        let report = not_run(&"no memory");
        assert_eq!(report.fault, Some(Fault::Environment));
        assert!(report.fix.is_some());
    }
}
