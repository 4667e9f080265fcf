//! The last step: a checked configuration and known names become the values a plan is made of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::interpolate::{Scope, Template};
use crate::config::model::{self, Config, Probe, Provider};
use crate::config::programs;
use crate::config::values::variable_stem;
use crate::os::net;
use crate::plan::{self, PortUse};

/// The first descriptor a process inherits besides the standard three; systemd's convention.
const FIRST_FD: &str = "3";
/// The variable that tells a process which address to bind.
const HOST: &str = "DEVRUN_HOST";

/// The branch database a worktree asks for, in plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Who makes it.
    pub provider: Provider,
    /// Its name as written; making it safe is the provider's part.
    pub branch: String,
    /// What it is a copy of, when that is said.
    pub parent: Option<String>,
    /// Folder of a local server's programs.
    pub local_bin: Option<PathBuf>,
    /// Image of a container.
    pub docker_image: Option<String>,
    /// URL of a database that is there already; holds a password.
    pub url: Option<Secret>,
    /// Neon project.
    pub neon_project: Option<String>,
    /// Database on a Neon branch.
    pub neon_database: Option<String>,
    /// Role on a Neon branch.
    pub neon_role: Option<String>,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Renders what the chosen provider may use. With `auto`, Neon settings whose variables are not set count as absent.
pub fn database(database: &model::Database, scope: &Scope) -> Result<Database, ConfigError> {
    let render = |wanted: bool, template: &Option<Template>| match template {
        Some(template) if wanted => match template.render(scope) {
            Ok(text) if text.is_empty() => Ok(None),
            Err(ConfigError::Variable { .. }) if database.provider == Provider::Auto => Ok(None),
            other => other.map(Some),
        },
        _ => Ok(None),
    };
    let is = |providers: &[Provider]| providers.contains(&database.provider);
    let neon = is(&[Provider::Auto, Provider::Neon]);
    let parent = match render(true, &database.parent)? {
        None => render(neon, &database.neon.parent)?,
        parent => parent,
    };
    Ok(Database {
        provider: database.provider,
        branch: database.branch.render(scope)?,
        parent,
        local_bin: render(is(&[Provider::Auto, Provider::Local]), &database.local.bin)?.map(PathBuf::from),
        docker_image: render(is(&[Provider::Docker]), &database.docker_image)?,
        url: render(is(&[Provider::Url]), &database.url)?.map(Secret),
        neon_project: render(neon, &database.neon.project_id)?,
        neon_database: render(neon, &database.neon.database)?,
        neon_role: render(neon, &database.neon.role)?,
    })
}

/// The processes. `scope` must know the ports and hold the environment that `environment::compose` made.
pub fn processes(config: &Config, root: &Path, scope: &Scope) -> Result<Vec<plan::Process>, ConfigError> {
    config.processes.iter().map(|process| one(process, root, scope)).collect()
}

fn one(process: &model::Process, root: &Path, scope: &Scope) -> Result<plan::Process, ConfigError> {
    let port = process.port.as_ref().map(|port| port_use(port, scope)).transpose()?;
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    if let Some(port) = &port {
        env.insert("PORT".into(), port.port().to_string());
        env.insert(HOST.into(), net::server_address(process.expose).to_string());
    }
    if let Some(PortUse::Listens { name, fd_env, .. }) = &port {
        env.insert(fd_env.clone(), FIRST_FD.into());
        env.insert("LISTEN_FDS".into(), "1".into());
        env.insert("LISTEN_FDNAMES".into(), name.clone());
    }
    let directory =
        if process.directory == Path::new(".") { root.into() } else { root.join(&process.directory) };
    let path = programs::search_path(root, &directory, scope.variable("PATH").map(OsStr::new));
    if let Some(path) = path.and_then(|path| path.into_string().ok()) {
        env.insert("PATH".into(), path);
    }
    let inner = scope.clone().with_variables(&env);
    for (name, template) in process.env.iter().filter(|(_, template)| !template.is_to_come(&inner)) {
        env.insert(name.clone(), template.render(&inner)?);
    }
    let number = port.as_ref().map(PortUse::port);
    Ok(plan::Process {
        name: process.name.clone(),
        run: process.run.clone(),
        directory,
        env,
        port,
        depends_on: process.depends_on.clone(),
        needs: process.needs.clone(),
        ready: process.ready.as_ref().map(|ready| readiness(process, ready, number, &inner)).transpose()?,
        restart: process.restart,
        stop_signal: process.stop_signal,
        stop_grace: process.stop_grace,
        tty: process.tty,
        autostart: process.autostart,
        expose: process.expose,
    })
}

fn port_use(port: &model::PortRef, scope: &Scope) -> Result<PortUse, ConfigError> {
    let number = scope
        .port(&port.name)
        .ok_or_else(|| ConfigError::invalid(&port.at, format!("the port `{}` has no number", port.name)))?;
    let name = port.name.clone();
    Ok(if port.listens {
        let fd_env = format!("{}_FD", variable_stem(&name));
        PortUse::Listens { name, port: number, fd_env, node: port.node }
    } else {
        PortUse::Binds { name, port: number }
    })
}

fn readiness(
    process: &model::Process,
    ready: &model::Ready,
    port: Option<u16>,
    scope: &Scope,
) -> Result<plan::Readiness, ConfigError> {
    let port = || port.ok_or_else(|| ConfigError::invalid(&process.at, "has a probe that needs a port"));
    let probe = match &ready.probe {
        Probe::Http { path, host, status } => plan::Probe::Http {
            path: path.render(scope)?,
            host: host.as_ref().map(|host| host.render(scope)).transpose()?,
            status: *status,
            port: port()?,
        },
        Probe::Tcp => plan::Probe::Tcp { port: port()? },
        Probe::Log(pattern) => plan::Probe::Log(pattern.clone()),
        Probe::Exec(run) => plan::Probe::Exec(run.clone()),
    };
    Ok(plan::Readiness { probe, interval: ready.interval, timeout: ready.timeout, deadline: ready.deadline })
}

/// The URLs to print: one per process that serves its port to people, then the configured ones. A configured one of the
/// same name, whatever its case, takes the other's place.
pub fn urls(config: &Config, scope: &Scope) -> Result<Vec<(String, String)>, ConfigError> {
    let mut urls: Vec<(String, String)> = Vec::new();
    for process in &config.processes {
        let Some(port) = process.port.as_ref().filter(|port| port.asked) else { continue };
        let other_protocol = matches!(process.ready, Some(model::Ready { probe: Probe::Tcp, .. }));
        if let Some(number) = scope.port(&port.name).filter(|_| !other_protocol) {
            urls.push((title(&port.name), format!("http://localhost:{number}")));
        }
    }
    // The page people open comes before what it calls.
    urls.sort_by_key(|(name, _)| !matches!(name.as_str(), "Frontend" | "Web"));
    for (name, template) in config.urls.iter().filter(|(_, template)| !template.is_to_come(scope)) {
        let url = template.render(scope)?;
        match urls.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            Some(same) => *same = (name.clone(), url),
            None => urls.push((name.clone(), url)),
        }
    }
    Ok(urls)
}

fn title(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;
