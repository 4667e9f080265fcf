//! The environment every process starts from: `env_files` < inherited < `env` < computed.
//!
//! Pure: values in, values out. Refuses to let `env` name what devrun computes, and keeps out what belongs to another
//! worktree: its virtual environment, its port, git's own variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::envfile::EnvFile;
use crate::config::error::ConfigError;
use crate::config::interpolate::{Scope, Template, UNPOOLED};
use crate::config::model::Config;
use crate::config::values::variable_stem;
use crate::context::WITHHELD;
use crate::plan::{Environment, Origin};
use crate::worktree::git::REPOSITORY_VARS;

/// Variables of another run or another activation: the `DEVRUN_` ones are the supervisor's tags, by which it knows what to
/// stop and what to spare, the `LISTEN_` ones are systemd's.
const STALE: &[&str] = &[
    "DEVRUN_CLUSTER",
    "DEVRUN_LISTEN",
    "DEVRUN_PROCESS",
    "DEVRUN_RUN",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "PORT",
    "VIRTUAL_ENV",
];

/// The variable that drivers and tools read by default.
const DEFAULT_URL: &str = "DATABASE_URL";

/// What the environment is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `env`, port names and the variables of the database's URL.
    pub config: &'a Config,
    /// `env_files`, weakest first.
    pub files: &'a [EnvFile],
    /// What devrun was started with.
    pub inherited: &'a BTreeMap<OsString, OsString>,
    /// devrun's own names with their values; the environment in it is not looked at. Without `${database.url}` the
    /// variables that would hold it are absent: never another worktree's.
    pub scope: &'a Scope,
    /// Top level of the worktree, byte for byte: names in `scope` are text, and a path need not be.
    pub worktree: &'a Path,
    /// The worktree's own virtual environment, when it has one.
    pub venv: Option<&'a Path>,
    /// Ask processes for colour although they write to pipes.
    pub colour: bool,
}

/// `env_files` < inherited, as they are: what `${NAME}` means before anything is computed, and where keys such as
/// `NEON_API_KEY` are looked up.
pub fn layer(files: &[EnvFile], inherited: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let mut vars: BTreeMap<OsString, OsString> =
        files.iter().flat_map(|file| &file.vars).map(|(name, value)| (name.into(), value.into())).collect();
    vars.extend(inherited.iter().map(|(name, value)| (name.clone(), value.clone())));
    vars
}

/// Puts the environment together.
pub fn compose(inputs: &Inputs<'_>) -> Result<Environment, ConfigError> {
    let Inputs { config, files, inherited, scope, worktree, venv, colour } = *inputs;
    let mut vars = layer(files, inherited);
    let mut origins: BTreeMap<String, Origin> = files
        .iter()
        .flat_map(|file| &file.vars)
        .filter(|(name, _)| !inherited.contains_key(OsStr::new(name)))
        .map(|(name, _)| (name.clone(), Origin::File))
        .collect();

    let foreign_venv = vars.get(OsStr::new("VIRTUAL_ENV")).map(PathBuf::from);
    let url_env = config.url_env().iter().map(|variable| variable.name.as_str());
    // A number that stood for a socket in the process we were started from.
    let sockets: Vec<String> =
        config.ports.keys().map(|port| format!("{}_FD", variable_stem(port))).collect();
    let sockets = sockets.iter().map(String::as_str);
    // Drivers and tools read this name by default, so with a branch database it must not lead to another Postgres, also
    // where `url_env` gives the branch's URL another name.
    let default_url = vars.get(OsStr::new(DEFAULT_URL)).filter(|value| is_postgres_url(value));
    let default_url = default_url.and(config.database.as_ref()).map(|_| DEFAULT_URL);
    for name in STALE.iter().copied().chain(REPOSITORY_VARS).chain(url_env).chain(sockets).chain(default_url)
    {
        vars.remove(OsStr::new(name));
        origins.remove(name);
    }

    let mut set = |vars: &mut BTreeMap<OsString, OsString>, name: &str, value: OsString, origin| {
        vars.insert(name.into(), value);
        origins.insert(name.into(), origin);
    };
    for (name, value) in computed(config, scope) {
        set(&mut vars, &name, value.into(), Origin::Computed);
    }
    // What carries it is known as this worktree's by exactly these bytes.
    set(&mut vars, "DEVRUN_WORKTREE", worktree.into(), Origin::Computed);
    if let Some(path) = search_path(vars.get(OsStr::new("PATH")), foreign_venv.as_deref(), venv) {
        set(&mut vars, "PATH", path, Origin::Computed);
    }
    if let Some(venv) = venv {
        set(&mut vars, "VIRTUAL_ENV", venv.into(), Origin::Computed);
        // It would outrank the virtual environment.
        vars.remove(OsStr::new("PYTHONHOME"));
    }
    // `env` may use what was computed, so that a copy of DATABASE_URL under another name is this worktree's.
    let known = scope.clone().with_env(vars.clone());
    for (name, template) in config.env.iter().filter(|(_, template)| !template.is_to_come(&known)) {
        set(&mut vars, name, template.render(&known)?.into(), Origin::Config);
    }
    for (name, value) in courtesies(&vars, colour) {
        set(&mut vars, name, value.into(), Origin::Computed);
    }
    for name in WITHHELD.iter().filter(|name| !config.env.iter().any(|(passed, _)| passed == *name)) {
        vars.remove(OsStr::new(name));
        origins.remove(*name);
    }
    let mut secrets = secrets(&vars);
    let urls = config.url_env().iter().map(|variable| &variable.name);
    let written = config.env.iter().filter(|(_, template)| template.holds_secret()).map(|(name, _)| name);
    let known = |name: &&String| vars.contains_key(OsStr::new(name.as_str()));
    secrets.extend(urls.chain(written).filter(known).cloned());
    Ok(Environment { vars, origins, secrets })
}

/// Refuses variables of `env`, at the top or of a process, that devrun computes.
pub fn refuse_computed<'a>(
    config: &Config,
    written: impl IntoIterator<Item = &'a (String, Template)>,
) -> Result<(), ConfigError> {
    for (name, template) in written {
        let of_port = config.ports.keys().map(|port| variable_stem(port)).find(|stem| {
            name.strip_prefix(stem.as_str()).is_some_and(|rest| matches!(rest, "_PORT" | "_FD"))
        });
        let why = match (of_port, name.as_str()) {
            (Some(_), _) | (None, "PORT" | "LISTEN_FDS" | "LISTEN_FDNAMES" | "LISTEN_PID") => {
                "from the worktree's ports"
            }
            // The database's own values in another form are still this worktree's.
            (None, other) if config.url_env().iter().any(|url| url.name == other) => {
                if template.uses_database() {
                    continue;
                }
                "from the branch database"
            }
            (None, other) if other.starts_with("DEVRUN_") => "for its own use",
            _ => continue,
        };
        return Err(ConfigError::invalid(&template.at, format!("devrun computes {name} {why}")).with_fix(
            if why == "from the branch database" {
                format!("leave it out, or write its form: `{name}: ${{database.url:postgresql+asyncpg}}`")
            } else {
                "leave it out, or use another name".into()
            },
        ));
    }
    Ok(())
}

fn computed(config: &Config, scope: &Scope) -> Vec<(String, String)> {
    let mut vars = Vec::new();
    for port in config.ports.keys() {
        if let Some(number) = scope.port(port) {
            vars.push((format!("{}_PORT", variable_stem(port)), number.to_string()));
        }
    }
    let url = scope.own("database.url");
    let urls = config
        .url_env()
        .iter()
        .map(|variable| (variable.name.clone(), url.map(|url| variable.form.merged(url))));
    let own = ["branch", "slug", "slot"]
        .map(|name| (format!("DEVRUN_{}", variable_stem(name)), scope.own(name).map(Into::into)));
    // Neon's own name for it. Behind the others: a variable of that name is never the pooled one.
    let unpooled =
        std::iter::once(("DATABASE_URL_UNPOOLED".to_string(), scope.own(UNPOOLED).map(Into::into)));
    vars.extend(urls.chain(unpooled).chain(own).filter_map(|(name, value)| Some((name, value?))));
    vars
}

/// True for a URL that a Postgres client accepts, with or without a driver: `postgresql+asyncpg://…`.
fn is_postgres_url(value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    let scheme = value.split_once("://").map(|(scheme, _)| scheme.split('+').next().unwrap_or(scheme));
    matches!(scheme, Some("postgres" | "postgresql"))
}

/// What makes tools behave in a pipe, wherever the user has not said otherwise.
fn courtesies(vars: &BTreeMap<OsString, OsString>, colour: bool) -> Vec<(&'static str, &'static str)> {
    let has = |name: &str| vars.contains_key(OsStr::new(name));
    let mut extras = vec![("PYTHONUNBUFFERED", "1"), ("NEXT_TELEMETRY_DISABLED", "1")];
    extras.retain(|(name, _)| !has(name));
    // no-color.org: present and not empty.
    let no_colour = vars.get(OsStr::new("NO_COLOR")).is_some_and(|value| !value.is_empty());
    if colour && !no_colour && !has("FORCE_COLOR") && !has("CLICOLOR_FORCE") {
        extras.extend([("FORCE_COLOR", "1"), ("CLICOLOR_FORCE", "1")]);
    }
    extras
}

/// PATH with the worktree's own programs first and without another environment's; `None` when it stays as it is.
fn search_path(path: Option<&OsString>, foreign: Option<&Path>, venv: Option<&Path>) -> Option<OsString> {
    if foreign.is_none() && venv.is_none() {
        return None;
    }
    let standard = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let old = path.unwrap_or(&standard);
    let own = venv.map(|venv| venv.join("bin"));
    let other = foreign.map(|foreign| foreign.join("bin"));
    let rest = std::env::split_paths(old)
        .filter(|folder| Some(folder) != other.as_ref() && Some(folder) != own.as_ref());
    // A folder with a colon in its name cannot be on any PATH.
    let own = own.clone().filter(|folder| std::env::join_paths([folder]).is_ok());
    std::env::join_paths(own.into_iter().chain(rest)).ok()
}

fn secrets(vars: &BTreeMap<OsString, OsString>) -> BTreeSet<String> {
    vars.iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_string_lossy())))
        .filter(|(name, value)| is_secret(name, value))
        .map(|(name, _)| name.to_string())
        .collect()
}

pub use crate::text::is_secret;

#[cfg(test)]
mod tests;
