//! Checks that need the whole configuration: references to names, ports that two processes share, dependency cycles, variables
//! that devrun computes, templates.
//!
//! Also sets the defaults that depend on other parts: the condition of a dependency, and the preparation that a process
//! needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::error::ConfigError;
use crate::config::model::{Config, ProbeConfig, ProcessConfig, Ready};
use crate::config::process::{Dependency, UncheckedProcess};
use crate::config::source::ConfigPosition;
use crate::config::{environment, guessed_needs, services};
use crate::plan::{Condition, Need};
use crate::text::similar_names::nearest;

/// Completes `config` with `processes`, or returns the first contradiction as an error. `top` is the place of the whole
/// configuration; `has_client` returns whether the package.json of a folder names a database client.
pub fn complete(
    mut config: Config,
    mut processes: Vec<UncheckedProcess>,
    top: &ConfigPosition,
    has_client: &dyn Fn(&Path) -> bool,
) -> Result<Config, ConfigError> {
    services::expand(&mut config, &mut processes)?;
    if processes.is_empty() {
        return Err(ConfigError::invalid(top, "has no processes"));
    }
    check_ports(&config, &processes)?;
    let probed: BTreeMap<String, bool> =
        processes.iter().map(|draft| (draft.process.name.clone(), draft.process.ready.is_some())).collect();
    let configured = config.configured();
    for (needs, at) in config.setup.iter().filter_map(|step| step.needs.as_ref()) {
        check_needs(needs.clone(), at, &configured)?;
    }
    for draft in processes {
        let mut process = draft.process;
        process.depends_on = draft
            .depends_on
            .iter()
            .map(|dependency| settle_dependency(&process, dependency, &probed))
            .collect::<Result<_, _>>()?;
        process.needs = match draft.needs {
            Some((needs, at)) => check_needs(needs, &at, &configured)?,
            None => guessed_needs::infer(&process.run, &configured, has_client(&process.directory)),
        };
        config.processes.push(process);
    }
    check_circles(&config.processes)?;
    let written = config.env.iter().chain(config.processes.iter().flat_map(|process| &process.env));
    environment::refuse_computed(&config, written)?;
    check_templates(&config)?;
    check_outputs(&config)?;
    Ok(config)
}

/// Returns an error if an entry of `env_out` names a process that does not exist.
fn check_outputs(config: &Config) -> Result<(), ConfigError> {
    let known: Vec<&str> = config.processes.iter().map(|process| process.name.as_str()).collect();
    let mut named = config.env_out.iter().filter_map(|output| output.process.as_ref());
    match named.find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, at)) => {
            let message = format!("there is no process `{name}`{}", meant(name, &known));
            Err(ConfigError::invalid(at, message).with_fix(format!("known processes: {}", list(&known))))
        }
    }
}

fn check_ports(config: &Config, processes: &[UncheckedProcess]) -> Result<(), ConfigError> {
    let known: Vec<&str> = config.ports.keys().map(String::as_str).collect();
    let must_exist = |name: &str, at: &ConfigPosition| {
        if config.ports.contains_key(name) {
            return Ok(());
        }
        let message = format!("there is no port `{name}`{}", meant(name, &known));
        let fix = format!("known ports: {}; new ones go to `ports:` with their base", list(&known));
        Err(ConfigError::invalid(at, message).with_fix(fix))
    };
    config.redirects.values().try_for_each(|redirect| must_exist(&redirect.port, &redirect.at))?;
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    for process in processes.iter().map(|draft| &draft.process) {
        let Some(port) = &process.port else { continue };
        must_exist(&port.name, &port.at)?;
        if let Some(other) = users.insert(&port.name, &process.name) {
            let message = format!("the port `{}` is already that of `{other}`", port.name);
            return Err(ConfigError::invalid(&port.at, message)
                .with_fix("give each process a port of its own in `ports:`"));
        }
    }
    Ok(())
}

fn settle_dependency(
    process: &ProcessConfig,
    dependency: &Dependency,
    probed: &BTreeMap<String, bool>,
) -> Result<(String, Condition), ConfigError> {
    let name = &dependency.name;
    let known: Vec<&str> = probed.keys().map(String::as_str).filter(|other| *other != process.name).collect();
    let condition = match (probed.get(name), dependency.condition) {
        (None, _) => {
            let message = format!("there is no process `{name}`{}", meant(name, &known));
            return Err(ConfigError::invalid(&dependency.at, message)
                .with_fix(format!("known processes: {}", list(&known))));
        }
        (Some(false), Some(Condition::Ready)) => {
            let message = format!("waits for `{name}` to be ready, but that has no `ready`");
            return Err(ConfigError::invalid(&dependency.at, message)
                .with_fix(format!("give `{name}` a `ready`, or wait for `started`")));
        }
        (Some(_), Some(given)) => given,
        (Some(true), None) => Condition::Ready,
        (Some(false), None) => Condition::Started,
    };
    Ok((name.clone(), condition))
}

fn check_needs(
    needs: BTreeSet<Need>,
    at: &ConfigPosition,
    configured: &BTreeSet<Need>,
) -> Result<BTreeSet<Need>, ConfigError> {
    match needs.difference(configured).next() {
        None => Ok(needs),
        Some(need) => {
            let section = match need {
                Need::Database => "database",
                Need::Setup => "setup",
                Need::Node | Need::Python => "dependencies",
            };
            Err(ConfigError::invalid(
                at,
                format!("needs {}, which this configuration does not have", need.name()),
            )
            .with_fix(format!("configure it under `{section}:`, or remove it from `needs`")))
        }
    }
}

/// Returns an error if a process depends on itself, directly or through others.
fn check_circles(processes: &[ProcessConfig]) -> Result<(), ConfigError> {
    let by_name: BTreeMap<&str, &ProcessConfig> =
        processes.iter().map(|process| (process.name.as_str(), process)).collect();
    let mut done = BTreeSet::new();
    processes.iter().try_for_each(|process| walk(process, &by_name, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    process: &'a ProcessConfig,
    by_name: &BTreeMap<&str, &'a ProcessConfig>,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), ConfigError> {
    if let Some(start) = way.iter().position(|name| *name == process.name) {
        let mut circle: Vec<&str> = way[start..].to_vec();
        circle.push(&process.name);
        let at = ConfigPosition { key: format!("{}.depends_on", process.at.key), ..process.at.clone() };
        return Err(ConfigError::invalid(&at, format!("waits for itself: {}", circle.join(" -> "))));
    }
    if done.contains(process.name.as_str()) {
        return Ok(());
    }
    way.push(&process.name);
    for (name, _) in &process.depends_on {
        if let Some(next) = by_name.get(name.as_str()) {
            walk(next, by_name, way, done)?;
        }
    }
    way.pop();
    done.insert(&process.name);
    Ok(())
}

/// Refuses templates that can never be rendered, before anything is started.
fn check_templates(config: &Config) -> Result<(), ConfigError> {
    let mut templates: Vec<_> = config.env.iter().chain(&config.urls).map(|(_, template)| template).collect();
    for process in &config.processes {
        templates.extend(process.env.iter().map(|(_, template)| template));
        if let Some(Ready { probe: ProbeConfig::Http { path, host, .. }, .. }) = &process.ready {
            templates.push(path);
            templates.extend(host);
        }
    }
    if let Some(database) = &config.database {
        templates.push(&database.branch);
        templates.extend(database.parent.iter().chain(database.settings.templates()));
    }
    templates.into_iter().try_for_each(|template| template.check(&config.ports))
}

fn meant(name: &str, known: &[&str]) -> String {
    nearest(name, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
