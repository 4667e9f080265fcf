//! Which Neon project a worktree's branch database is in, and with which key: decides whether there is a Neon provider at
//! all. Sends nothing.
//!
//! A setting that says where a secret goes counts only from a place that is trusted at least as much as the secret: the
//! environment devrun was started with, or the very file that holds the secret.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::Ground;
use crate::config::envfile::{self, EnvFile, Found};
use crate::config::model::Provider as Choice;
use crate::config::resolve;
use crate::context::Context;
use crate::database::neon::{self, Grant, Key, NeonError, NeonRequest, Pace, Project};
use crate::error::Report;

const KEY: &str = "NEON_API_KEY";
const HOST: &str = "NEON_API_HOST";
const PROJECT: &str = "NEON_PROJECT_ID";

/// A variable and the place that sets it.
struct Setting<'a> {
    value: String,
    /// `None`: the environment devrun was started with.
    file: Option<&'a EnvFile>,
}

impl Setting<'_> {
    /// Returns the place in words.
    fn place(&self) -> String {
        match self.file {
            None => "environment".into(),
            Some(file) if file.found == Found::Main => {
                format!("{} of the main worktree", file.name.display())
            }
            Some(file) => file.name.display().to_string(),
        }
    }
}

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
    let (key, project) = match (key, project) {
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
    let origin = format!("{KEY} ({})", key.place());
    let host = host(ctx, ground, &key)?;
    let Some(database) = &ground.config.database else { return Ok(None) };
    Ok(Some(NeonRequest {
        host,
        key: Key::new(&key.value, origin)?,
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
    if let Some(setting) = variable(ctx, ground, PROJECT) {
        let origin = format!("{PROJECT}, {}", setting.place());
        return Some(Project { id: setting.value, origin });
    }
    // The file is seldom committed, so it may be in the main worktree only.
    let main = ground.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let folders: Vec<_> = std::iter::once(ground.worktree.path.as_path()).chain(main).collect();
    let home = ctx.env.get(OsStr::new("HOME")).map(std::path::Path::new);
    Some(Project { id: neon::linked(&folders, home)?, origin: ".neon".into() })
}

/// Returns the address that the key goes to; `None` is Neon's own. Refuses one from a place that is trusted less than the
/// key.
fn host(ctx: &Context, ground: &Ground, key: &Setting<'_>) -> Result<Option<String>, Report> {
    let Some(host) = variable(ctx, ground, HOST) else { return Ok(None) };
    let trusted = match (host.file, key.file) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(host), Some(file)) => std::ptr::eq(host, file) && holds(ground, file, &key.value),
    };
    if trusted {
        return Ok(Some(host.value));
    }
    Err(NeonError::HostNotTrusted { host: host.place(), key: key.place() }.into())
}

/// Returns true when `file` alone gives the key this value. `NEON_API_KEY=${OTHER}` in a file is as secret as what it
/// copies, which the file does not hold.
fn holds(ground: &Ground, file: &EnvFile, value: &str) -> bool {
    let main = ground.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let names = std::slice::from_ref(&file.name);
    let alone = envfile::load(names, &ground.worktree.path, main, &BTreeMap::new());
    // A required `${NAME:?}` that is not set fails here, and is from elsewhere too.
    let Ok(alone) = alone else { return false };
    alone.iter().any(|file| last(file, KEY) == Some(value))
}

/// Returns the setting of `name`; an empty one counts as none.
fn variable<'a>(ctx: &Context, ground: &'a Ground, name: &str) -> Option<Setting<'a>> {
    let setting = match ctx.env.get(OsStr::new(name)) {
        Some(value) => Setting { value: value.to_str()?.to_string(), file: None },
        None => ground
            .files
            .iter()
            .rev()
            .find_map(|file| Some(Setting { value: last(file, name)?.to_string(), file: Some(file) }))?,
    };
    Some(setting).filter(|setting| !setting.value.trim().is_empty())
}

/// Returns the value of `name` in `file`; of two the later counts.
fn last<'a>(file: &'a EnvFile, name: &str) -> Option<&'a str> {
    file.vars.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
