//! Builds the common environment of all processes: `env_files` < inherited < computed < `env`.
//!
//! Pure. Refuses an `env` that sets a variable that devrun computes, and removes variables that belong to another
//! worktree: its virtual environment, its port, git's own variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::envfile::EnvFile;
use crate::config::error::ConfigError;
use crate::config::given_databases::GivenValues;
use crate::config::interpolate::{Scope, Template, UNPOOLED};
use crate::config::loader::LoaderVariable;
use crate::config::model::Config;
use crate::config::names::{is_variable_name, variable_stem};
use crate::config::postgres_names::DEFAULT_URL;
use crate::config::{given_databases, libpq, node_bin, other_databases, urls};
use crate::context::variables;
use crate::plan::{Computed, Environment, Origin};
use crate::text::Mask;
use crate::text::is_postgres_url;
use crate::worktree::git::REPOSITORY_VARS;

/// Inherited variables of another run or another activation. The supervisor uses the `DEVRUN_` ones as tags, to find
/// the processes that it must stop; the `LISTEN_` ones are systemd's.
const STALE: &[&str] = &[
    variables::CLUSTER,
    variables::LISTEN,
    variables::PREPARED,
    variables::PROCESS,
    variables::RUN,
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "PORT",
    "VIRTUAL_ENV",
];

/// Variables that do not go into [`variables::VARIABLES`]: a devrun inside this environment handles each of them itself.
const OWN: [&str; 3] = [variables::WORKTREE, "PATH", variables::VARIABLES];

/// The inputs of [`compose`].
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentInputs<'a> {
    /// `env`, port names and the variables of the database's URL.
    pub config: &'a Config,
    /// `env_files`, weakest first.
    pub files: &'a [EnvFile],
    /// Variables left to the loaders of the applications. Templates may use them.
    pub left: &'a BTreeMap<String, LoaderVariable>,
    /// The environment that devrun was started with, and the variables of the login shell.
    pub inherited: &'a BTreeMap<OsString, OsString>,
    /// Names of the variables in `inherited` that come from the login shell.
    pub login_shell: &'a BTreeSet<String>,
    /// devrun's own names with their values; the environment in it is ignored. Without `${database.url}`, the variables
    /// for it are left out, so they never hold another worktree's URL.
    pub scope: &'a Scope,
    /// Top level of the worktree, as bytes: values in `scope` are text, and a path may not be UTF-8.
    pub worktree: &'a Path,
    /// The worktree's own virtual environment, if it has one.
    pub venv: Option<&'a Path>,
    /// True to ask processes for colour although their output goes to pipes.
    pub colour: bool,
}

/// Returns `env_files` < inherited, unchanged. `${NAME}` has these values before anything is computed, and keys such as
/// `NEON_API_KEY` are looked up here.
pub fn layer(files: &[EnvFile], inherited: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let mut vars: BTreeMap<OsString, OsString> =
        files.iter().flat_map(|file| &file.vars).map(|(name, value)| (name.into(), value.into())).collect();
    vars.extend(inherited.iter().map(|(name, value)| (name.clone(), value.clone())));
    vars
}

/// Builds the environment. Fails if a template cannot be rendered or a folder cannot be on PATH.
pub fn compose(inputs: &EnvironmentInputs<'_>) -> Result<Environment, ConfigError> {
    let EnvironmentInputs { config, files, left, inherited, login_shell, scope, worktree, venv, colour } =
        *inputs;
    let mut vars = layer(files, inherited);
    let mut origins: BTreeMap<String, Origin> = files
        .iter()
        .flat_map(|file| file.vars.iter().filter_map(|(name, _)| Some((name.clone(), file.line(name)?))))
        .filter(|(name, _)| !inherited.contains_key(OsStr::new(name)))
        .map(|(name, line)| (name, Origin::File(line)))
        .chain(login_shell.iter().map(|name| (name.clone(), Origin::LoginShell)))
        .collect();

    let foreign_venv = vars.get(OsStr::new("VIRTUAL_ENV")).map(PathBuf::from);
    let url_env = config.url_env().iter().map(|variable| variable.name.as_str());
    // These numbers are file descriptors of devrun's parent process.
    let sockets: Vec<String> =
        config.ports.keys().map(|port| format!("{}_FD", variable_stem(port))).collect();
    let sockets = sockets.iter().map(String::as_str);
    // Drivers and tools read `DATABASE_URL` by default. So with a branch database it must not hold the URL of another
    // Postgres, even if `url_env` gives the branch's URL another name.
    let default_url =
        vars.get(OsStr::new(DEFAULT_URL)).filter(|value| is_postgres_url(&value.to_string_lossy()));
    let default_url = default_url.and(config.database.as_ref()).map(|_| DEFAULT_URL);
    // These variables would lead a client to another server, even with the URL of the branch database.
    let steering = libpq::STEERING.into_iter().filter(|_| config.database.is_some());
    let ours = url_env.chain(sockets).chain(default_url).chain(steering);
    for name in STALE.iter().copied().chain(REPOSITORY_VARS).chain(ours) {
        vars.remove(OsStr::new(name));
        origins.remove(name);
    }

    let mut set = |vars: &mut BTreeMap<OsString, OsString>, name: &str, value: OsString, origin| {
        vars.insert(name.into(), value);
        origins.insert(name.into(), origin);
    };
    for (name, value, kind) in computed(config, scope) {
        set(&mut vars, &name, value.into(), Origin::Computed(kind));
    }
    // Processes are recognised as this worktree's by exactly these bytes.
    set(&mut vars, variables::WORKTREE, worktree.into(), Origin::Computed(Computed::Worktree));
    if let Some(path) = path_with_venv(vars.get(OsStr::new("PATH")), foreign_venv.as_deref(), venv)? {
        set(&mut vars, "PATH", path, Origin::Computed(Computed::SearchPath));
    }
    if let Some(venv) = venv {
        set(&mut vars, "VIRTUAL_ENV", venv.into(), Origin::Computed(Computed::VirtualEnv));
        // PYTHONHOME would override the virtual environment.
        vars.remove(OsStr::new("PYTHONHOME"));
    }
    // Values under `env:` may use computed values and bindings, so a copy of DATABASE_URL under another name is this
    // worktree's too.
    let is_bound = |(name, _): &&(String, Template)| config.provenance.binding(name, None).is_some();
    let (bound, written): (Vec<_>, Vec<_>) = config.env.iter().partition(is_bound);
    let mut to_come: Vec<&str> = Vec::new();
    for variables in [bound, written] {
        let known = scope.clone().with_env(with_left(vars.clone(), left));
        for (name, template) in variables {
            if template.is_to_come(&known) {
                to_come.push(name);
            } else if !is_beside_database(config, None, name, template, &known) {
                set(&mut vars, name, template.render(&known)?.into(), origin(config, None, name, template));
            }
        }
    }
    for (name, value) in courtesies(&vars, colour) {
        set(&mut vars, name, value.into(), Origin::Computed(Computed::Output));
    }
    // A given value would lead to another database until the branch database has an address.
    let withheld = config.withheld().filter(|name| !config.env.iter().any(|(passed, _)| passed == name));
    for name in withheld.chain(to_come) {
        vars.remove(OsStr::new(name));
        origins.remove(name);
    }
    let own_url = scope.own("database.url");
    let elsewhere = match config.database {
        Some(_) => {
            let decided = given_databases::decided(config, None);
            other_databases::find(&given_values(&vars, &origins), &decided, own_url)
        }
        None => Vec::new(),
    };
    let set: Vec<&str> = origins
        .keys()
        .map(String::as_str)
        .filter(|name| !OWN.contains(name) && is_variable_name(name))
        .collect();
    vars.insert(variables::VARIABLES.into(), set.join(" ").into());
    origins.insert(variables::VARIABLES.into(), Origin::Computed(Computed::Variables));
    let mut secrets = secrets(&vars);
    let urls = config.url_env().iter().map(|variable| &variable.name);
    let written =
        config.env.iter().filter(|(_, template)| template.holds_secret(scope)).map(|(name, _)| name);
    let known = |name: &&String| vars.contains_key(OsStr::new(name.as_str()));
    secrets.extend(urls.chain(written).chain(login_shell).filter(known).cloned());
    let shell_values: Vec<OsString> =
        login_shell.iter().filter_map(|name| inherited.get(OsStr::new(name)).cloned()).collect();
    // A value of the login shell may have come through `${…}` of an env file or of another variable.
    let of_shell = Mask::of_values(shell_values.iter().map(OsString::as_os_str));
    let passed_on = vars.iter().filter(|(_, value)| of_shell.finds(&value.to_string_lossy()));
    secrets.extend(passed_on.filter_map(|(name, _)| name.to_str().map(Into::into)));
    Ok(Environment { vars, origins, secrets, shell_values, elsewhere })
}

/// Returns true for a binding to the address of a Postgres, if the branch database is of another kind. The variable keeps
/// its given value: it leads to a second server of the application.
pub fn is_beside_database(
    config: &Config,
    process: Option<&str>,
    name: &str,
    template: &Template,
    scope: &Scope,
) -> bool {
    let is_other = scope.own("database.url").is_some() && scope.own("database.host").is_none();
    is_other && template.uses_database() && config.provenance.binding(name, process).is_some()
}

/// Returns the origin of a variable under `env:` of `process`; without `process`, of the top-level `env:`.
pub fn origin(config: &Config, process: Option<&str>, name: &str, template: &Template) -> Origin {
    match config.provenance.binding(name, process) {
        None if process.is_none() && config.computed_by_service.contains(name) => {
            Origin::Computed(Computed::Service)
        }
        Some(_) => Origin::Recognised,
        None => Origin::Config(template.at.spot()),
    }
}

/// Returns the values that env files and the shell give. Leaves out names and values that are not UTF-8.
pub fn given_values<'a>(
    vars: &'a BTreeMap<OsString, OsString>,
    origins: &BTreeMap<String, Origin>,
) -> GivenValues<'a> {
    let texts = vars.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let is_given =
        |name: &str| matches!(origins.get(name), None | Some(Origin::File(_) | Origin::LoginShell));
    texts.filter(|(name, _)| is_given(name)).collect()
}

/// Adds the variables that are left to the loaders, so that a template gets the value that the application will see.
pub fn with_left(
    mut vars: BTreeMap<OsString, OsString>,
    left: &BTreeMap<String, LoaderVariable>,
) -> BTreeMap<OsString, OsString> {
    for (name, left) in left {
        if let Some(value) = left.loaded.as_ref().or(left.plain.as_ref()) {
            vars.entry(name.into()).or_insert_with(|| value.into());
        }
    }
    vars
}

/// Returns true if an env file of a single process may set the variable on top of the common environment `env`. It
/// overrides the env files of all processes, but not the shell and not devrun.
pub fn accepts(config: &Config, env: &Environment, name: &str, value: &str) -> bool {
    let of_socket = || config.ports.keys().any(|port| name == format!("{}_FD", variable_stem(port)));
    let leads_elsewhere = libpq::STEERING.contains(&name)
        || name == DEFAULT_URL && is_postgres_url(value)
        || config.url_env().iter().any(|url| url.name == name);
    let is_kept_out = STALE.contains(&name)
        || REPOSITORY_VARS.contains(&name)
        || config.withheld().any(|withheld| withheld == name)
        || name.starts_with("DEVRUN_")
        || config.env.iter().any(|(other, _)| other == name)
        || of_socket()
        || config.database.is_some() && leads_elsewhere;
    match env.origins.get(name) {
        _ if is_kept_out => false,
        Some(origin) => matches!(origin, Origin::File(_)),
        None => !env.vars.contains_key(OsStr::new(name)),
    }
}

/// Returns an error if `env:`, at the top or of a process, sets a variable that devrun computes.
pub fn refuse_computed<'a>(
    config: &Config,
    written: impl IntoIterator<Item = &'a (String, Template)>,
) -> Result<(), ConfigError> {
    for (name, template) in written {
        let of_port = config.ports.keys().map(|port| variable_stem(port)).find(|stem| {
            name.strip_prefix(stem.as_str()).is_some_and(|rest| matches!(rest, "_PORT" | "_FD"))
        });
        let rename = || "leave it out, or use another name".to_string();
        let (why, fix) = match (of_port, name.as_str()) {
            (Some(_), _) | (None, "PORT" | "LISTEN_FDS" | "LISTEN_FDNAMES" | "LISTEN_PID") => {
                ("from the worktree's ports", rename())
            }
            // The URL of the branch database in another form is still this worktree's.
            (None, other) if config.url_env().iter().any(|url| url.name == other) => {
                if template.uses_database() {
                    continue;
                }
                let form = format!("`{name}: ${{database.url:postgresql+asyncpg}}`");
                ("from the branch database", format!("leave it out, or write its form: {form}"))
            }
            (None, other) if other.starts_with("DEVRUN_") => ("for its own use", rename()),
            _ => continue,
        };
        return Err(ConfigError::invalid(&template.at, format!("devrun computes {name} {why}")).with_fix(fix));
    }
    Ok(())
}

fn computed(config: &Config, scope: &Scope) -> Vec<(String, String, Computed)> {
    let mut vars = Vec::new();
    for port in config.ports.keys() {
        if let Some(number) = scope.port(port) {
            vars.push((format!("{}_PORT", variable_stem(port)), number.to_string(), Computed::Port));
        }
    }
    let url = scope.own("database.url");
    let urls = config.url_env().iter().map(|variable| {
        (variable.name.clone(), url.map(|url| variable.form.merged(url)), Computed::DatabaseUrl)
    });
    let own = ["branch", "slug", "slot"].map(|name| {
        (format!("DEVRUN_{}", variable_stem(name)), scope.own(name).map(Into::into), Computed::Worktree)
    });
    let origins = urls::origins(config, scope);
    if !origins.is_empty() {
        vars.push((variables::ORIGINS.into(), origins.join(","), Computed::Origins));
    }
    // `DATABASE_URL_UNPOOLED` is Neon's name. It comes after `url_env`, so a variable of that name never holds the
    // pooled URL.
    let unpooled = scope.own(UNPOOLED).map(Into::into);
    let unpooled = std::iter::once(("DATABASE_URL_UNPOOLED".to_string(), unpooled, Computed::DatabaseUrl));
    let all = urls.chain(unpooled).chain(own);
    vars.extend(all.filter_map(|(name, value, kind)| Some((name, value?, kind))));
    let pieces = url.filter(|_| config.database.is_some()).map(libpq::variables).unwrap_or_default();
    vars.extend(pieces.into_iter().map(|(name, value)| (name.to_string(), value, Computed::DatabasePart)));
    vars
}

/// Returns variables that make tools behave well when they write to a pipe, except those that are set already.
fn courtesies(vars: &BTreeMap<OsString, OsString>, colour: bool) -> Vec<(&'static str, &'static str)> {
    let has = |name: &str| vars.contains_key(OsStr::new(name));
    let mut extras = vec![("PYTHONUNBUFFERED", "1"), ("NEXT_TELEMETRY_DISABLED", "1")];
    extras.retain(|(name, _)| !has(name));
    // See no-color.org: the variable must be present and not empty.
    let no_colour = vars.get(OsStr::new("NO_COLOR")).is_some_and(|value| !value.is_empty());
    if colour && !no_colour && !has("FORCE_COLOR") && !has("CLICOLOR_FORCE") {
        extras.extend([("FORCE_COLOR", "1"), ("CLICOLOR_FORCE", "1")]);
    }
    extras
}

/// Returns PATH with the programs of `venv` first and without those of `foreign`; `None` if it does not change.
pub(super) fn path_with_venv(
    path: Option<&OsString>,
    foreign: Option<&Path>,
    venv: Option<&Path>,
) -> Result<Option<OsString>, ConfigError> {
    if foreign.is_none() && venv.is_none() {
        return Ok(None);
    }
    let standard = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let old = path.unwrap_or(&standard);
    let own = venv.map(|venv| venv.join("bin"));
    let other = foreign.map(|foreign| foreign.join("bin"));
    let rest = std::env::split_paths(old)
        .filter(|folder| Some(folder) != other.as_ref() && Some(folder) != own.as_ref());
    node_bin::join(own.clone().into_iter().chain(rest)).map(Some)
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
