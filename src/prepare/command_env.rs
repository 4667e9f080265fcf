//! The environment, programs and packages of the commands that the preparation runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::ResolvedWorktree;
use super::ready_database::DatabaseAddress;
use crate::config::{guessed_needs, libpq};
use crate::context::Context;
use crate::database::{BranchDatabase, providers};
use crate::error::{Code, Report};
use crate::plan::{Environment, Need, RunCommand};

/// Returns the environment of a command of the preparation in `directory`.
pub(super) fn of(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    directory: &Path,
    run: &RunCommand,
) -> Result<BTreeMap<OsString, OsString>, Report> {
    let mut vars = env.vars.clone();
    add_own(ctx, resolved, env, &mut vars, directory, run)?;
    Ok(vars)
}

/// Adds the variables and programs of `directory`, and the tag of this run. The tag lets the next run find processes that a killed
/// run left. Each process of the run gets its own tag.
fn add_own(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    vars: &mut BTreeMap<OsString, OsString>,
    directory: &Path,
    run: &RunCommand,
) -> Result<(), Report> {
    let tag = ctx.env.get_key_value(OsStr::new(crate::context::variables::RUN));
    vars.extend(tag.map(|(name, value)| (name.clone(), value.clone())));
    let given = resolved.given_in(env, directory, run);
    vars.extend(given.into_iter().map(|(name, value)| (name.into(), value.into())));
    Ok(resolved.add_programs(directory, vars)?)
}

/// Returns the environment of a command in `directory` that changes the database `branch`. It never goes through a pooler.
pub(super) fn schema(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    branch: &BranchDatabase,
    directory: &Path,
    run: &RunCommand,
) -> Result<BTreeMap<OsString, OsString>, Report> {
    let mut vars = if branch.direct_url == branch.url {
        env.vars.clone()
    } else {
        let direct = &branch.direct_url;
        let address = DatabaseAddress { name: &branch.name, url: direct, unpooled: Some(direct) };
        resolved.environment(ctx, Some(address))?.vars
    };
    add_own(ctx, resolved, env, &mut vars, directory, run)?;
    Ok(vars)
}

/// Makes psql connect to `branch`. A variable of the user could lead it to another database, which would then be changed.
pub(super) fn lead_psql(vars: &mut BTreeMap<OsString, OsString>, branch: &BranchDatabase) {
    vars.retain(|name, _| !libpq::STEERING.iter().any(|steering| name == *steering));
    let own = libpq::variables(&branch.direct_url);
    vars.extend(own.into_iter().map(|(name, value)| (name.into(), value.into())));
}

/// Returns the path of psql, which the setting `key` needs. Downloads it if there is none.
pub(super) async fn psql(ctx: &Context, resolved: &ResolvedWorktree, key: &str) -> Result<PathBuf, Report> {
    providers::fetch_client_program(ctx, &resolved.worktree, "psql").await.map_err(|reason| {
        let message =
            format!("{key} needs psql, which is neither on PATH nor beside a Postgres server devrun knows");
        Report::new(Code::ToolMissing, message)
            .with_cause(reason)
            .with_fix("install it (Debian: postgresql-client, Homebrew: libpq)")
    })
}

/// Returns the packages that a command needs which changes the database.
pub(super) fn tools(resolved: &ResolvedWorktree, run: &RunCommand) -> BTreeSet<Need> {
    let mut needs = guessed_needs::infer(run, &resolved.config.configured(), false);
    // A step of `setup:` may wait for the database.
    needs.retain(|need| !matches!(need, Need::Database | Need::Setup));
    needs
}
