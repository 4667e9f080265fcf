//! The keys of devrun.yaml: from nodes to the checked model.
//!
//! Knows each key's form, default and place. Checks that need several parts at once are in `consistency`; processes have
//! a file of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::address::Form;
use crate::config::error::ConfigError;
use crate::config::model::{
    Command, Config, Database, Dependencies, Local, Migrate, Neon, Provenance, Provider, SLOTS, UrlVariable,
};
use crate::config::node::{Entry, Node, Value};
use crate::config::source::At;
use crate::config::{interpolate::Template, merge, process, values};
use crate::plan::LogLimits;

const TOP: &[&str] = &[
    "name",
    "ports",
    "env_files",
    "env",
    "dependencies",
    "database",
    "processes",
    "procfile",
    "urls",
    "logs",
    merge::RECOGNISE,
];
const LOGS: &[&str] = &["size", "files"];
const DATABASE: &[&str] =
    &["provider", "branch", "parent", "url_env", "migrate", "local", "neon", "docker", "url", "command"];
const NEON: &[&str] = &[
    "project_id",
    "parent",
    "database",
    "role",
    "pooled",
    "schema_only",
    "expires_in",
    "suspend_timeout",
    "compute_units",
];

/// Every key there is, wherever it stands; names that people choose are not among them.
pub fn keys() -> impl Iterator<Item = &'static str> {
    const REST: &[&str] = &["node", "python", "run", "inputs", "bin", "image", "ensure", "drop"];
    [TOP, LOGS, DATABASE, NEON, REST, process::KEYS, process::READY].into_iter().flatten().copied()
}

/// The lowest base of a port: below are the system's.
const LOWEST: u16 = 1024;
/// The highest: the last slot still fits.
const HIGHEST: u16 = u16::MAX - SLOTS;

/// What a file says, before other files and cross checks are looked at.
#[derive(Debug)]
pub struct Draft {
    /// The configuration as far as this file says it, without the processes.
    pub config: Config,
    /// The processes it says; perhaps none.
    pub processes: Vec<process::Draft>,
    /// The Procfile it names, and where it names it.
    pub procfile: Option<(PathBuf, At)>,
}

/// Reads the top level.
pub fn read(node: &Node) -> Result<Draft, ConfigError> {
    let top = node.table_with_extensions(TOP)?;
    let ports = top.map("ports", ports)?.unwrap_or_default();
    let processes: Vec<process::Draft> = top
        .map("processes", |written| named(written)?.iter().map(process::read).collect())?
        .unwrap_or_default();
    let procfile = top.map("procfile", |path| Ok((values::inner_path(path)?, path.at.clone())))?;
    if let (Some((_, at)), false) = (&procfile, processes.is_empty()) {
        return Err(ConfigError::invalid(at, "processes are written here and in a Procfile")
            .with_fix("keep `processes` or `procfile`, not both"));
    }
    let config = Config {
        name: top.map("name", |name| name.word().map(Into::into))?,
        ports,
        env_files: top.map("env_files", env_files)?.unwrap_or_else(default_env_files),
        env: top.map("env", environment)?.unwrap_or_default(),
        dependencies: top.map("dependencies", dependencies)?.unwrap_or_default(),
        database: top.map("database", database)?.flatten(),
        processes: Vec::new(),
        urls: top.map("urls", urls)?.unwrap_or_default(),
        logs: top.map("logs", logs)?.unwrap_or_default(),
        provenance: Provenance::default(),
    };
    Ok(Draft { config, processes, procfile })
}

/// The env files of a configuration that names none.
pub fn default_env_files() -> Vec<PathBuf> {
    vec![".env".into(), ".env.local".into()]
}

/// Entries whose keys are names of processes or ports.
fn named(node: &Node) -> Result<&[Entry], ConfigError> {
    let entries = node.entries()?;
    match entries.iter().find(|entry| !values::is_name(&entry.name)) {
        None => Ok(entries),
        Some(entry) => Err(ConfigError::invalid(
            &entry.at,
            "is no name: letters, digits, `_` and `-`, at most 40 of them",
        )),
    }
}

fn ports(node: &Node) -> Result<BTreeMap<String, u16>, ConfigError> {
    let mut known: Vec<(&Entry, u16)> = Vec::new();
    for entry in named(node)? {
        if !entry.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(ConfigError::invalid(
                &entry.at,
                "must begin with a letter: variables are named after it",
            ));
        }
        let base = entry.value.number(LOWEST.into()..=HIGHEST.into())?;
        let base = u16::try_from(base).map_err(|_| entry.value.error("is no port"))?;
        for (other, taken) in &known {
            if base.abs_diff(*taken) < SLOTS {
                let message = format!(
                    "`{}` ({base}) and `{}` ({taken}) are less than {SLOTS} apart: with the slot added, two worktrees \
                     could meet on one port",
                    entry.name, other.name
                );
                return Err(ConfigError::invalid(&entry.value.at, message)
                    .with_fix(format!("choose bases at least {SLOTS} apart")));
            }
            if values::variable_stem(&other.name) == values::variable_stem(&entry.name) {
                let message =
                    format!("`{}` and `{}` would share one variable's name", entry.name, other.name);
                return Err(ConfigError::invalid(&entry.at, message));
            }
        }
        known.push((entry, base));
    }
    Ok(known.into_iter().map(|(entry, base)| (entry.name.clone(), base)).collect())
}

fn logs(node: &Node) -> Result<LogLimits, ConfigError> {
    let table = node.table(LOGS)?;
    let usual = LogLimits::default();
    Ok(LogLimits {
        size: table.map("size", values::size)?.unwrap_or(usual.size),
        files: table.map("files", |files| files.number(1..=100))?.unwrap_or(usual.files),
    })
}

fn env_files(node: &Node) -> Result<Vec<PathBuf>, ConfigError> {
    node.items()?.into_iter().map(values::inner_path).collect()
}

/// A map of variables.
pub fn environment(node: &Node) -> Result<Vec<(String, Template)>, ConfigError> {
    node.entries()?
        .iter()
        .map(|entry| {
            if let Some((name, _)) = entry.name.split_once('=') {
                // Perhaps a secret, in the form of an env file.
                let at = At { key: format!("{}.{name}", node.at.key), ..entry.at.clone() };
                return Err(ConfigError::invalid(&at, "holds a `=`, which no environment variable may")
                    .with_fix(format!("write `{name}: value`")));
            }
            if !values::is_variable_name(&entry.name) {
                return Err(ConfigError::invalid(&entry.at, "is no name for an environment variable"));
            }
            let template = values::template(&entry.value)?;
            Ok((entry.name.clone(), template))
        })
        .collect()
}

fn urls(node: &Node) -> Result<Vec<(String, Template)>, ConfigError> {
    node.entries()?
        .iter()
        .map(|entry| Ok((entry.name.clone(), values::filled_template(&entry.value)?)))
        .collect()
}

fn dependencies(node: &Node) -> Result<Dependencies, ConfigError> {
    let table = node.table(&["node", "python"])?;
    let directory = |part: &Node| part.table(&["directory"])?.map("directory", values::inner_path);
    let read = |key| -> Result<Option<PathBuf>, ConfigError> {
        table.map(key, |part| Ok(directory(part)?.unwrap_or_else(|| ".".into())))
    };
    Ok(Dependencies { node: read("node")?, python: read("python")? })
}

fn provider(node: &Node) -> Result<Provider, ConfigError> {
    let word = node.word()?;
    Provider::WORDS.iter().find(|(name, _)| *name == word).map(|(_, provider)| *provider).ok_or_else(|| {
        let words: Vec<_> = Provider::WORDS.iter().map(|(name, _)| *name).collect();
        node.error(format!("there is no provider `{word}`")).with_fix(format!("known: {}", words.join(", ")))
    })
}

fn database(node: &Node) -> Result<Option<Database>, ConfigError> {
    let table = node.table(DATABASE)?;
    let provider = table.map("provider", provider)?.unwrap_or(Provider::Auto);
    let url_env = table
        .map("url_env", url_env)?
        .unwrap_or_else(|| vec![UrlVariable { name: "DATABASE_URL".into(), form: Form::default() }]);
    let command = table.map("command", command)?;
    if provider == Provider::Command && command.is_none() {
        return Err(node.error("the provider `command` needs `command: { ensure: … }`"));
    }
    let database = Database {
        provider,
        branch: table
            .map("branch", values::filled_template)?
            .unwrap_or_else(|| Template::new("dev-${branch}", &node.at)),
        parent: table.map("parent", values::filled_template)?,
        url_env,
        migrate: table.map("migrate", migrate)?,
        local: table.map("local", local)?.unwrap_or_default(),
        neon: table.map("neon", neon)?.unwrap_or_default(),
        docker_image: table
            .map("docker", |part| part.table(&["image"])?.map("image", values::filled_template))?
            .flatten(),
        url: table.map("url", values::filled_template)?,
        command,
    };
    Ok((provider != Provider::None).then_some(database))
}

/// A list of variables, or a mapping from each to the form of the URL in it.
fn url_env(node: &Node) -> Result<Vec<UrlVariable>, ConfigError> {
    let named = |name: &str, form: Form, wrong: &dyn Fn() -> ConfigError| match name {
        name if values::is_variable_name(name) => Ok(UrlVariable { name: name.into(), form }),
        _ => Err(wrong()),
    };
    let message = "is no name for an environment variable";
    let variables: Vec<UrlVariable> = if let Value::Map(entries) = &node.value {
        let read = |entry: &Entry| {
            let form =
                if entry.value.value == Value::Null { Form::default() } else { url_form(&entry.value)? };
            named(&entry.name, form, &|| ConfigError::invalid(&entry.at, message))
        };
        entries.iter().map(read).collect::<Result<_, _>>()?
    } else {
        let read = |item: &Node| named(item.word()?, Form::default(), &|| item.error(message));
        node.items()?.into_iter().map(read).collect::<Result<_, _>>()?
    };
    if variables.is_empty() { Err(node.error("must name at least one variable")) } else { Ok(variables) }
}

fn url_form(node: &Node) -> Result<Form, ConfigError> {
    Form::read(node.word()?).ok_or_else(|| {
        node.error("takes the scheme of a Postgres URL").with_fix(
            "such as `postgresql+asyncpg`, `postgresql+psycopg`, or `postgresql?schema=public` with parameters",
        )
    })
}

fn migrate(node: &Node) -> Result<Migrate, ConfigError> {
    let table = node.table(&["run", "directory", "inputs"])?;
    let inputs = table.map("inputs", |inputs| {
        inputs
            .items()?
            .into_iter()
            .map(|item| {
                let pattern = item.word()?;
                glob::Pattern::new(pattern)
                    .map_err(|error| item.error(format!("is no pattern: {}", error.msg)))?;
                if pattern.starts_with('/') {
                    return Err(item.error("must be relative to `directory`"));
                }
                Ok(pattern.to_string())
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Migrate {
        run: values::run(table.need("run")?)?,
        directory: table.map("directory", values::inner_path)?.unwrap_or_else(|| ".".into()),
        inputs: inputs.unwrap_or_default(),
    })
}

fn local(node: &Node) -> Result<Local, ConfigError> {
    Ok(Local { bin: node.table(&["bin"])?.map("bin", values::filled_template)? })
}

fn neon(node: &Node) -> Result<Neon, ConfigError> {
    let table = node.table(NEON)?;
    Ok(Neon {
        project_id: table.map("project_id", values::filled_template)?,
        parent: table.map("parent", values::filled_template)?,
        database: table.map("database", values::filled_template)?,
        role: table.map("role", values::filled_template)?,
        pooled: table.map("pooled", Node::boolean)?,
        schema_only: table.map("schema_only", Node::boolean)?,
        expires_in: table.map("expires_in", values::positive_duration)?,
        suspend_timeout: table.map("suspend_timeout", values::duration)?,
        compute_units: table.map("compute_units", values::compute_units)?,
    })
}

fn command(node: &Node) -> Result<Command, ConfigError> {
    let table = node.table(&["ensure", "drop"])?;
    Ok(Command { ensure: values::run(table.need("ensure")?)?, drop: table.map("drop", values::run)? })
}

#[cfg(test)]
mod tests;
