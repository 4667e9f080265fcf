//! Seeds the parent database of a repository, with the command or file of `database.seed`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Progress, ResolvedWorktree, command_env};
use crate::config::model::{SeedConfig, SeedInput};
use crate::context::Context;
use crate::database::import::DUMP_MAGIC;
use crate::database::migrate::seed::{self, SeedRequest, SeedSource};
use crate::database::{BranchDatabase, Provider};
use crate::error::{Code, RERUN, Report};
use crate::os::read;
use crate::plan::{Environment, Need, RunCommand};
use crate::text::quoted;

/// Maximum duration of a seed.
const LIMIT: Duration = Duration::from_mins(30);

fn config(resolved: &ResolvedWorktree) -> Option<&SeedConfig> {
    resolved.config.database.as_ref()?.seed.as_ref()
}

/// Returns the file of the seed, if it is one, relative to the worktree.
pub(super) fn file(resolved: &ResolvedWorktree) -> Option<String> {
    match &config(resolved)?.input {
        SeedInput::File(file) => Some(file.to_string_lossy().into_owned()),
        SeedInput::Run(_) => None,
    }
}

/// Returns the packages that the command of the seed needs.
pub(super) fn tools(resolved: &ResolvedWorktree) -> BTreeSet<Need> {
    match config(resolved).map(|seed| &seed.input) {
        Some(SeedInput::Run(run)) => command_env::tools(resolved, run),
        Some(SeedInput::File(_)) | None => BTreeSet::new(),
    }
}

/// Returns true if `parent` exists and is not waiting for its seed.
pub(super) async fn is_complete(
    resolved: &ResolvedWorktree,
    parent: Option<&BranchDatabase>,
) -> Result<bool, Report> {
    match parent {
        None => Ok(false),
        Some(_) if config(resolved).is_none() => Ok(true),
        Some(parent) => Ok(!seed::is_due(parent).await?),
    }
}

/// Empties `parent` if its seed was killed, and records that it is to be seeded if it is empty. Does nothing if the configuration has no
/// seed.
pub(super) async fn prepare(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    parent: &BranchDatabase,
) -> Result<(), Report> {
    if config(resolved).is_some() {
        seed::prepare(ctx, parent, LIMIT).await?;
    }
    Ok(())
}

/// Seeds `parent` if that is due. Returns a few words for the user; `None` if nothing was to do.
pub(super) async fn run(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    provider: &dyn Provider,
    parent: &BranchDatabase,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let Some(config) = config(resolved) else { return Ok(None) };
    if !seed::is_due(parent).await? {
        return Ok(None);
    }
    let directory = resolved.folder(&config.directory);
    let own = |run: &RunCommand| command_env::schema(ctx, resolved, env, parent, &directory, run);
    let (source, vars) = match &config.input {
        SeedInput::Run(run) => (SeedSource::Command(run.clone()), own(run)?),
        SeedInput::File(file) => {
            let root = &resolved.worktree.path;
            let unreadable = |error| {
                Report::new(Code::SeedFailed, format!("cannot read the seed {}: {error}", file.display()))
                    .with_fix(format!(
                        "check {}, or correct `database.seed.file`, then {RERUN}",
                        quoted(file)
                    ))
            };
            let path = read::resolve_inside(&[root], &root.join(file)).map_err(unreadable)?;
            let is_dump = read::head(&path, DUMP_MAGIC.len()).map_err(unreadable)? == DUMP_MAGIC;
            let mut vars = own(&RunCommand::Argv(vec!["psql".into()]))?;
            command_env::lead_psql(&mut vars, parent);
            let source = if is_dump {
                SeedSource::Dump(path)
            } else {
                SeedSource::Sql {
                    file: path,
                    psql: command_env::psql(ctx, resolved, "database.seed.file").await?,
                }
            };
            (source, vars)
        }
    };
    progress.until(&tools(resolved)).await;
    let request = SeedRequest { branch: parent, source, directory, env: vars, limit: LIMIT };
    Ok(seed::ensure(ctx, &request, provider).await?)
}
