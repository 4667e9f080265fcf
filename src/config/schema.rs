//! Reads the keys of devrun.yaml from nodes into the model.
//!
//! Checks the type of each value and sets the defaults. `consistency` has the checks that need several parts at once;
//! `process` reads the processes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::error::ConfigError;
use crate::config::model::{
    Config, DatabaseConfig, Dependencies, Migrate, Provenance, Redirect, SeedConfig, SeedInput, UrlVariable,
};
use crate::config::port_base::{HIGHEST, LOWEST, SLOTS};
use crate::config::provider::{ProviderChoice, ProviderSettings};
use crate::config::source::ConfigPosition;
use crate::config::url_forms::UrlForm;
use crate::config::value_tree::{KeyValue, Node, Value};
use crate::config::{env_output, interpolate::Template, keys, names, process, services, setup, values};
use crate::plan::{LogLimits, RunCommand};

/// Iterates over all keys of devrun.yaml, at every level, without the names that users choose.
#[cfg(test)]
pub fn keys() -> impl Iterator<Item = &'static str> {
    let mut open = vec![&keys::TOP];
    let mut found = Vec::new();
    while let Some(table) = open.pop() {
        found.extend(table.names());
        open.extend(table.keys().flat_map(|key| key.form.tables()));
    }
    found.into_iter()
}

/// The content of a file, before other files are read and cross-checked.
#[derive(Debug)]
pub struct UncheckedConfig {
    /// The configuration in this file, without the processes.
    pub config: Config,
    /// The processes in this file; may be empty.
    pub processes: Vec<process::UncheckedProcess>,
    /// The Procfile that it names, and the place of the name.
    pub procfile: Option<(PathBuf, ConfigPosition)>,
}

/// Reads the top level.
pub fn read(node: &Node) -> Result<UncheckedConfig, ConfigError> {
    let top = node.table(&keys::TOP)?;
    let ports = top.map("ports", ports)?.unwrap_or_default();
    let processes: Vec<process::UncheckedProcess> = top
        .map("processes", |written| values::named(written)?.iter().map(process::read).collect())?
        .unwrap_or_default();
    let procfile = top.map("procfile", |path| Ok((values::inner_path(path)?, path.at.clone())))?;
    if let (Some((_, at)), false) = (&procfile, processes.is_empty()) {
        return Err(ConfigError::invalid(at, "processes are written here and in a Procfile")
            .with_fix("keep `processes` or `procfile`, not both"));
    }
    top.map(keys::WORKTREES, worktree_path)?;
    let config = Config {
        name: top.map("name", |name| name.word().map(Into::into))?,
        ports,
        env_files: top.map("env_files", values::env_files)?.unwrap_or_else(default_env_files),
        env: top.map("env", values::environment)?.unwrap_or_default(),
        env_out: top.map("env_out", env_output::read)?.unwrap_or_default(),
        shell_env: top.map("shell_env", env_output::shell_env)?.unwrap_or_default(),
        dependencies: top.map("dependencies", dependencies)?.unwrap_or_default(),
        setup: top.map("setup", setup::read)?.unwrap_or_default(),
        database: top.map("database", database)?.flatten(),
        processes: Vec::new(),
        services: top.map("services", services::read)?.unwrap_or_default(),
        provided: BTreeMap::new(),
        computed_by_service: std::collections::BTreeSet::new(),
        compose: top.map("compose", services::compose)?.unwrap_or_default(),
        redirects: top.map("redirects", redirects)?.unwrap_or_default(),
        urls: top.map("urls", urls)?.unwrap_or_default(),
        logs: top.map("logs", logs)?.unwrap_or_default(),
        prunes_daily: top.map("prune", prunes_daily)?.unwrap_or_default(),
        provenance: Provenance::default(),
    };
    Ok(UncheckedConfig { config, processes, procfile })
}

/// Returns the env files of a configuration that names none.
pub fn default_env_files() -> Vec<PathBuf> {
    vec![".env".into(), ".env.local".into()]
}

fn ports(node: &Node) -> Result<BTreeMap<String, u16>, ConfigError> {
    let mut known: Vec<(&KeyValue, u16)> = Vec::new();
    for entry in values::named(node)? {
        if !entry.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(ConfigError::invalid(
                &entry.at,
                "must begin with a letter: variables are named after it",
            ));
        }
        let base = entry.value.number(LOWEST.into()..=HIGHEST.into())?;
        let base = u16::try_from(base).map_err(|_| entry.value.error("is not a port number"))?;
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
            if names::variable_stem(&other.name) == names::variable_stem(&entry.name) {
                let message =
                    format!("`{}` and `{}` would share one variable's name", entry.name, other.name);
                return Err(ConfigError::invalid(&entry.at, message));
            }
        }
        known.push((entry, base));
    }
    Ok(known.into_iter().map(|(entry, base)| (entry.name.clone(), base)).collect())
}

/// Reads the mapping from ports that are hard-coded in the repository to named ports.
fn redirects(node: &Node) -> Result<BTreeMap<u16, Redirect>, ConfigError> {
    node.entries()?
        .iter()
        .map(|entry| {
            let from = entry.name.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                ConfigError::invalid(&entry.at, format!("`{}` is not a port number", entry.name))
                    .with_fix("write the port in the code, then a name of `ports:`, as in `8000: backend`")
            })?;
            Ok((from, Redirect { port: entry.value.word()?.into(), at: entry.value.at.clone() }))
        })
        .collect()
}

/// Reads `worktrees` and returns the template of the path of a new worktree.
pub fn worktree_path(node: &Node) -> Result<Option<Template>, ConfigError> {
    let table = node.table(&keys::WORKTREES_TABLE)?;
    let template = table.map("path", values::filled_template)?;
    if let Some(template) = &template {
        template.check_with(&["repo", "name"])?;
        if !template.names().iter().any(|name| name == "name") {
            return Err(ConfigError::invalid(
                &template.at,
                "must contain `${name}`, or all worktrees have one path",
            )
            .with_fix("such as `../${repo}.worktrees/${name}` or `.claude/worktrees/${name}`"));
        }
    }
    Ok(template)
}

fn logs(node: &Node) -> Result<LogLimits, ConfigError> {
    let table = node.table(&keys::LOGS)?;
    let usual = LogLimits::default();
    Ok(LogLimits {
        size: table.map("size", values::size)?.unwrap_or(usual.size),
        files: table.map("files", |files| files.number(1..=100))?.unwrap_or(usual.files),
    })
}

fn prunes_daily(node: &Node) -> Result<bool, ConfigError> {
    let table = node.table(&keys::PRUNE)?;
    let auto = table.map("auto", |auto| match auto.word()? {
        "daily" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(auto.error("takes daily or off")),
    })?;
    Ok(auto.unwrap_or_default())
}

fn urls(node: &Node) -> Result<Vec<(String, Template)>, ConfigError> {
    node.entries()?
        .iter()
        .map(|entry| Ok((entry.name.clone(), values::filled_template(&entry.value)?)))
        .collect()
}

fn dependencies(node: &Node) -> Result<Dependencies, ConfigError> {
    let table = node.table(&keys::DEPENDENCIES)?;
    let folders = |list: &Node| -> Result<Vec<PathBuf>, ConfigError> {
        list.items()?.into_iter().map(values::inner_path).collect()
    };
    let directory = |part: &Node| part.table(&keys::LANGUAGE)?.map("directory", folders);
    let read = |key| -> Result<Vec<PathBuf>, ConfigError> {
        let found = table.map(key, |part| {
            let folders = directory(part)?.filter(|folders| !folders.is_empty());
            Ok(folders.unwrap_or_else(|| vec![".".into()]))
        });
        Ok(found?.unwrap_or_default())
    };
    Ok(Dependencies { node: read("node")?, python: read("python")? })
}

fn database(node: &Node) -> Result<Option<DatabaseConfig>, ConfigError> {
    let table = node.table(&keys::DATABASE)?;
    let provider = table.map("provider", ProviderChoice::read)?.unwrap_or(ProviderChoice::Auto);
    let url_env = table.map("url_env", url_env)?.unwrap_or_else(|| {
        vec![UrlVariable { name: "DATABASE_URL".into(), form: UrlForm::default(), at: node.at.clone() }]
    });
    let database = DatabaseConfig {
        provider,
        branch: table
            .map("branch", values::filled_template)?
            .unwrap_or_else(|| Template::new("dev-${branch}", &node.at)),
        parent: table.map("parent", values::filled_template)?,
        url_env,
        migrate: table.map("migrate", migrate)?,
        seed: table.map("seed", seed)?,
        settings: ProviderSettings::read(&table)?,
    };
    let is_url = |name: &str| database.url_env.iter().any(|variable| variable.name == name);
    if let Some(name) = database.settings.variables(provider).find(|name| is_url(name)) {
        let message = format!("{name} is in `url_env` too, so processes get another value than devrun reads");
        return Err(node.error(message).with_fix("give the URL that devrun reads a name of its own"));
    }
    Ok((provider != ProviderChoice::None).then_some(database))
}

/// Reads a list of variables, or a mapping from each to the form of the URL in it.
fn url_env(node: &Node) -> Result<Vec<UrlVariable>, ConfigError> {
    let named = |name: &str, form: UrlForm, at: &ConfigPosition, wrong: &dyn Fn() -> ConfigError| match name {
        name if names::is_variable_name(name) => Ok(UrlVariable { name: name.into(), form, at: at.clone() }),
        _ => Err(wrong()),
    };
    let message = "is not a valid name for an environment variable";
    let variables: Vec<UrlVariable> = if let Value::Map(entries) = &node.value {
        let read = |entry: &KeyValue| {
            let form =
                if entry.value.value == Value::Null { UrlForm::default() } else { url_form(&entry.value)? };
            named(&entry.name, form, &entry.at, &|| ConfigError::invalid(&entry.at, message))
        };
        entries.iter().map(read).collect::<Result<_, _>>()?
    } else {
        let read = |item: &Node| named(item.word()?, UrlForm::default(), &item.at, &|| item.error(message));
        node.items()?.into_iter().map(read).collect::<Result<_, _>>()?
    };
    if variables.is_empty() { Err(node.error("must name at least one variable")) } else { Ok(variables) }
}

fn url_form(node: &Node) -> Result<UrlForm, ConfigError> {
    UrlForm::read(node.word()?).ok_or_else(|| {
        node.error("takes the scheme of a Postgres URL").with_fix(
            "such as `postgresql+asyncpg`, `postgresql+psycopg`, or `postgresql?schema=public` with parameters",
        )
    })
}

fn migrate(node: &Node) -> Result<Migrate, ConfigError> {
    let table = node.table(&keys::MIGRATE)?;
    let sql = table.map("sql", values::patterns)?;
    if let Some(other) = ["run", "inputs"].into_iter().find(|key| sql.is_some() && table.get(key).is_some()) {
        return Err(node.error(format!("takes either `sql` or `{other}`")));
    }
    let (run, is_sql) = match sql {
        Some(_) => (RunCommand::Argv(vec!["psql".into()]), true),
        None => (values::run(table.need("run")?)?, false),
    };
    Ok(Migrate {
        run,
        directory: table.map("directory", values::inner_path)?.unwrap_or_else(|| ".".into()),
        inputs: sql.or(table.map("inputs", values::patterns)?).unwrap_or_default(),
        is_sql,
    })
}

/// Reads a command, or a mapping with a command or a file.
fn seed(node: &Node) -> Result<SeedConfig, ConfigError> {
    let Value::Map(_) = &node.value else {
        return Ok(SeedConfig { input: SeedInput::Run(values::run(node)?), directory: ".".into() });
    };
    let table = node.table(&keys::SEED)?;
    let file = table.map("file", values::inner_path)?;
    if let Some(other) =
        ["run", "directory"].into_iter().find(|key| file.is_some() && table.get(key).is_some())
    {
        return Err(node.error(format!("takes either `file` or `{other}`")));
    }
    let input = match file {
        Some(file) => SeedInput::File(file),
        None => SeedInput::Run(values::run(table.need("run")?)?),
    };
    let directory = table.map("directory", values::inner_path)?.unwrap_or_else(|| ".".into());
    Ok(SeedConfig { input, directory })
}

#[cfg(test)]
mod tests;
