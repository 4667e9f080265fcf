//! Which Neon project a worktree's branch database is in, and with which key: decides whether there is a Neon provider at
//! all. Asks nobody.

use std::ffi::OsStr;

use super::Ground;
use crate::config::envfile::Found;
use crate::config::model::Provider as Choice;
use crate::config::resolve;
use crate::context::Context;
use crate::database::neon::{self, Grant, Key, NeonError, NeonRequest, Pace, Project};
use crate::error::Report;

const KEY: &str = "NEON_API_KEY";
const PROJECT: &str = "NEON_PROJECT_ID";

/// What Neon is to be asked for; `None` where another provider is meant.
pub(super) fn request(
    ctx: &Context,
    ground: &Ground,
    asked: &resolve::Database,
) -> Result<Option<NeonRequest>, Report> {
    if !matches!(asked.provider, Choice::Auto | Choice::Neon) {
        return Ok(None);
    }
    let key = variable(ctx, ground, KEY);
    let project = project(ctx, ground, asked);
    let is_free = asked.provider == Choice::Auto;
    let ((secret, place), project) = match (key, project) {
        (Some(key), Some(project)) => (key, project),
        (None, _) if is_free => return Ok(None),
        (Some(_), None) if is_free => {
            ctx.events
                .note(format!("{KEY} is set, but no Neon project is named: the local provider is used"));
            return Ok(None);
        }
        (None, _) => {
            let fix = format!("set {KEY} in the environment or in an env file that is not committed");
            return Err(NeonError::Missing { what: "an API key", fix }.into());
        }
        (Some(_), None) => {
            let fix =
                format!("set `database.neon.project_id`, or {PROJECT} in the environment or an env file");
            return Err(NeonError::Missing { what: "a project", fix }.into());
        }
    };
    let origin = format!("{KEY} ({place})");
    let Some(database) = &ground.config.database else { return Ok(None) };
    Ok(Some(NeonRequest {
        host: variable(ctx, ground, "NEON_API_HOST").map(|(host, _)| host),
        key: Key::new(&secret, origin)?,
        project,
        parent: asked.parent.clone(),
        database: asked.neon_database.clone(),
        role: asked.neon_role.clone(),
        pooled: database.neon.pooled.unwrap_or(true),
        schema_only: database.neon.schema_only.unwrap_or(false),
        expires_in: database.neon.expires_in,
        suspend_timeout: database.neon.suspend_timeout,
        compute_units: database.neon.compute_units,
        repository: ground.worktree.repo(),
        state: ground.worktree.state.clone(),
        grant: if database.branch.text.contains("${") { Grant::No } else { Grant::Named },
        pace: Pace::default(),
    }))
}

/// Tells which provider `auto` means, once a run.
pub(super) fn note(ctx: &Context, request: &NeonRequest) {
    let Project { id, origin } = &request.project;
    ctx.events.note(format!("the database is on Neon: there is a key, and project {id} ({origin})"));
}

fn project(ctx: &Context, ground: &Ground, asked: &resolve::Database) -> Option<Project> {
    if let Some(id) = &asked.neon_project {
        return Some(Project { id: id.clone(), origin: "database.neon.project_id".into() });
    }
    if let Some((id, place)) = variable(ctx, ground, PROJECT) {
        return Some(Project { id, origin: format!("{PROJECT}, {place}") });
    }
    // The file is seldom committed, so it may be in the main worktree only.
    let main = ground.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let folders: Vec<_> = std::iter::once(ground.worktree.path.as_path()).chain(main).collect();
    let home = ctx.env.get(OsStr::new("HOME")).map(std::path::Path::new);
    Some(Project { id: neon::linked(&folders, home)?, origin: ".neon".into() })
}

/// The value of `name` and where it is set; an empty one counts as none.
fn variable(ctx: &Context, ground: &Ground, name: &str) -> Option<(String, String)> {
    let (value, place) = match ctx.env.get(OsStr::new(name)) {
        Some(value) => (value.to_str()?.to_string(), "environment".to_string()),
        None => ground.files.iter().rev().find_map(|file| {
            let (_, value) = file.vars.iter().rev().find(|(known, _)| known == name)?;
            let whose = if file.found == Found::Main { " of the main worktree" } else { "" };
            Some((value.clone(), format!("{}{whose}", file.name.display())))
        })?,
    };
    (!value.trim().is_empty()).then_some((value, place))
}
