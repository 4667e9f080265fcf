//! Turns a checked configuration and the values of names into the values of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use crate::config::error::ConfigError;
use crate::config::interpolate::{Scope, Template};
use crate::config::model::{self, Config, ProbeConfig};
use crate::config::names::variable_stem;
use crate::config::provider::{self, ProviderChoice};
use crate::config::venvs::Venvs;
use crate::config::{environment, node_bin};
use crate::context::variables;
use crate::os::net;
use crate::plan::{self, Computed, EnvLine, Origin, PortUse, Sections};
use crate::text::is_secret;

/// The first file descriptor after the standard three, by systemd's convention (`sd_listen_fds`).
const FIRST_FD: &str = "3";

/// The branch database of a worktree's configuration, with templates rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedDatabase {
    /// The provider that makes it.
    pub provider: ProviderChoice,
    /// Its name as configured; the provider makes it a valid database name.
    pub branch: String,
    /// The database to copy, if the configuration names one.
    pub parent: Option<String>,
    /// The settings that count for the provider.
    pub settings: Sections,
}

/// Renders the settings that the chosen provider may use. A setting counts as absent if its text is empty, or, with `auto`,
/// if it needs a variable that is not set.
pub fn database(database: &model::DatabaseConfig, scope: &Scope) -> Result<ResolvedDatabase, ConfigError> {
    let render = |template: &Template| match template.render(scope) {
        Ok(text) if text.is_empty() => Ok(None),
        Err(ConfigError::Variable { .. }) if database.provider == ProviderChoice::Auto => Ok(None),
        other => other.map(Some),
    };
    let parent = database.parent.as_ref().map_or(Ok(None), render)?;
    let branch = database.branch.render(scope)?;
    let settings = database.settings.render(database.provider, render)?;
    let parent = parent.or_else(|| provider::parent(&settings));
    Ok(ResolvedDatabase { provider: database.provider, branch, parent, settings })
}

/// Returns the variables that env files give a process, each with its line.
pub type EnvFileValues<'a> = &'a dyn Fn(&model::ProcessConfig) -> BTreeMap<String, (String, Option<EnvLine>)>;

/// Resolves the processes. `scope` must know the ports and hold the environment from `environment::compose`; `given`
/// returns the variables that env files add. `venvs` are the virtual environments; `scope` already uses the main one.
pub fn processes(
    config: &Config,
    root: &Path,
    scope: &Scope,
    given: EnvFileValues<'_>,
    venvs: &Venvs,
) -> Result<Vec<plan::Process>, ConfigError> {
    config.processes.iter().map(|process| one(config, process, root, scope, given(process), venvs)).collect()
}

fn one(
    config: &Config,
    process: &model::ProcessConfig,
    root: &Path,
    scope: &Scope,
    given: BTreeMap<String, (String, Option<EnvLine>)>,
    venvs: &Venvs,
) -> Result<plan::Process, ConfigError> {
    let port = process.port.as_ref().map(|port| port_use(port, scope)).transpose()?;
    let mut names: Vec<String> = given.keys().cloned().collect();
    let mut origins = BTreeMap::new();
    let mut env = BTreeMap::new();
    for (name, (value, line)) in given {
        origins.extend(line.map(|line| (name.clone(), Origin::File(line))));
        env.insert(name, value);
    }
    let mut set = |name: &str, value: String, kind| {
        origins.insert(name.into(), Origin::Computed(kind));
        env.insert(name.into(), value);
    };
    if let Some(port) = &port {
        set("PORT", port.port().to_string(), Computed::ProcessPort);
        set(variables::HOST, net::server_address(process.expose).to_string(), Computed::Host);
    }
    if let Some(PortUse::Listens { name, fd_env, .. }) = &port {
        set(fd_env, FIRST_FD.into(), Computed::Socket);
        set("LISTEN_FDS", "1".into(), Computed::Socket);
        set("LISTEN_FDNAMES", name.clone(), Computed::Socket);
    }
    let directory =
        if process.directory == Path::new(".") { root.into() } else { root.join(&process.directory) };
    let mut path = scope.variable("PATH").map(OsString::from);
    let mut is_own = false;
    if let Some(venv) = venvs.own(&directory) {
        path = Some(venvs.path_for(path.as_ref(), venv)?);
        is_own = true;
        set("VIRTUAL_ENV", venv.to_string_lossy().into_owned(), Computed::VirtualEnv);
    }
    let searched = node_bin::path_with_node_bins(root, &directory, path.as_deref())?;
    if let Some(path) = searched.or(path.filter(|_| is_own)).and_then(|path| path.into_string().ok()) {
        set("PATH", path, Computed::SearchPath);
    }
    let inner = scope.clone().with_variables(&env);
    let mut secrets = BTreeSet::new();
    let is_left_out = |(name, template): &&(String, Template)| {
        template.is_to_come(&inner)
            || environment::is_beside_database(config, Some(&process.name), name, template, &inner)
    };
    for (name, template) in process.env.iter().filter(|one| !is_left_out(one)) {
        env.insert(name.clone(), template.render(&inner)?);
        origins.insert(name.clone(), environment::origin(config, Some(&process.name), name, template));
        secrets.extend(template.holds_secret(&inner).then(|| name.clone()));
    }
    secrets.extend(env.iter().filter(|(name, value)| is_secret(name, value)).map(|(name, _)| name.clone()));
    names.extend(process.env.iter().map(|(name, _)| name.clone()));
    if let Some(common) = scope.variable(variables::VARIABLES).filter(|_| !names.is_empty()) {
        env.insert(variables::VARIABLES.into(), format!("{common} {}", names.join(" ")));
        origins.insert(variables::VARIABLES.into(), Origin::Computed(Computed::Variables));
    }
    let number = port.as_ref().map(PortUse::port);
    Ok(plan::Process {
        name: process.name.clone(),
        run: node_bin::installed(process, scope.variable("PATH")),
        directory,
        env,
        origins,
        secrets,
        port,
        depends_on: process.depends_on.clone(),
        needs: process.needs.clone(),
        ready: process.ready.as_ref().map(|ready| readiness(process, ready, number, &inner)).transpose()?,
        restart: process.restart,
        stop_signal: process.stop_signal,
        stop_grace: process.stop_grace,
        tty: process.tty,
        stdin: process.stdin,
        autostart: process.autostart,
        expose: process.expose,
        node_preload: process.node_preload,
        service: process.service.as_ref().map(|service| plan::PlannedService {
            preset: service.preset.map(|preset| preset.name.into()),
            data: service.data,
            folder: None,
        }),
    })
}

fn port_use(port: &model::PortRef, scope: &Scope) -> Result<PortUse, ConfigError> {
    let number = scope
        .port(&port.name)
        .ok_or_else(|| ConfigError::invalid(&port.at, format!("the port `{}` has no number", port.name)))?;
    let name = port.name.clone();
    Ok(if port.listens {
        let fd_env = format!("{}_FD", variable_stem(&name));
        PortUse::Listens { name, port: number, fd_env }
    } else {
        PortUse::Binds { name, port: number }
    })
}

fn readiness(
    process: &model::ProcessConfig,
    ready: &model::Ready,
    port: Option<u16>,
    scope: &Scope,
) -> Result<plan::Readiness, ConfigError> {
    let port = || port.ok_or_else(|| ConfigError::invalid(&process.at, "has a probe that needs a port"));
    let probe = match &ready.probe {
        ProbeConfig::Http { path, host, status } => plan::Probe::Http {
            path: path.render(scope)?,
            host: host.as_ref().map(|host| host.render(scope)).transpose()?,
            status: *status,
            port: port()?,
        },
        ProbeConfig::Tcp => plan::Probe::Tcp { port: port()? },
        ProbeConfig::Log(pattern) => plan::Probe::Log(pattern.clone()),
        ProbeConfig::Exec(run) => plan::Probe::Exec(run.clone()),
    };
    Ok(plan::Readiness { probe, interval: ready.interval, timeout: ready.timeout, deadline: ready.deadline })
}

/// Returns the port of this worktree for each port in `redirects:`. Leaves out a port that is itself one of this
/// worktree's ports.
pub fn redirects(config: &Config, scope: &Scope) -> BTreeMap<u16, u16> {
    let own = |port: u16| config.ports.keys().any(|name| scope.port(name) == Some(port));
    let others = config.redirects.iter().filter(|(from, _)| !own(**from));
    others.filter_map(|(from, redirect)| Some((*from, scope.port(&redirect.port)?))).collect()
}

#[cfg(test)]
mod tests;
