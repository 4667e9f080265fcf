//! Turns services into processes, ports and variables.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{queues, waiting};
use crate::config::error::ConfigError;
use crate::config::guessed_needs;
use crate::config::interpolate::Template;
use crate::config::model::{
    Accepted, Config, PortRef, ProbeConfig, ProcessConfig, Ready, ServiceConfig, ServiceProcess, SharedBy,
};
use crate::config::names::variable_stem;
use crate::config::port_base::{HIGHEST, SLOTS};
use crate::config::presets::{PresetProbe, for_service};
use crate::config::process::UncheckedProcess;
use crate::config::source::ConfigPosition;
use crate::plan::RunCommand;

/// A server may save its data when it stops.
const GRACE: Duration = Duration::from_secs(10);
/// Servers start in a fraction of a second, unless they load data.
const DEADLINE: Duration = Duration::from_mins(1);

/// Adds the processes, ports and variables of `config.services` to the configuration.
pub fn expand(config: &mut Config, processes: &mut Vec<UncheckedProcess>) -> Result<(), ConfigError> {
    if config.services.is_empty() {
        return Ok(());
    }
    let services = config.services.clone();
    for service in &services {
        if let Some(other) = processes.iter().find(|draft| draft.process.name == service.name) {
            let message = format!("`{}` is a process too, at {}", service.name, other.process.at);
            return Err(ConfigError::invalid(&service.at, format!("is named twice: {message}"))
                .with_fix("give the service another name, with `preset`, or remove the process"));
        }
    }
    written_ports(config, &services)?;
    for service in &services {
        preset_ports(config, service)?;
    }
    check_stems(config, &services)?;
    let is_own_redis = |service: &ServiceConfig| {
        service.shared.is_none()
            && service.preset.is_some_and(crate::config::presets::ServicePreset::speaks_redis)
    };
    let has_own_redis = services.iter().any(is_own_redis);
    for service in &services {
        variables(config, service, has_own_redis, &services)?;
        if service.shared.is_none() {
            processes.push(process(service, has_own_redis));
        }
    }
    waiting::wait(&services, processes);
    Ok(())
}

/// Adds the ports whose base a service names.
fn written_ports(config: &mut Config, services: &[ServiceConfig]) -> Result<(), ConfigError> {
    for service in services {
        let Some((base, at)) = &service.base else { continue };
        if config.ports.contains_key(&service.name) {
            let message = format!("the port `{}` is named twice: here and in `ports`", service.name);
            return Err(ConfigError::invalid(at, message).with_fix("keep one of them"));
        }
        if let Some((other, taken)) = config.ports.iter().find(|(_, taken)| base.abs_diff(**taken) < SLOTS) {
            let message = format!(
                "`{}` ({base}) and `{other}` ({taken}) are less than {SLOTS} apart: with the slot added, two worktrees could \
                 meet on one port",
                service.name
            );
            return Err(ConfigError::invalid(at, message)
                .with_fix(format!("choose bases at least {SLOTS} apart, or leave `port` out")));
        }
        config.ports.insert(service.name.clone(), *base);
    }
    Ok(())
}

/// Adds the other ports of a preset, each at the first free base from the preset's on.
fn preset_ports(config: &mut Config, service: &ServiceConfig) -> Result<(), ConfigError> {
    let Some(preset) = service.preset.filter(|_| service.shared.is_none()) else { return Ok(()) };
    for (suffix, usual) in preset.ports {
        let name = format!("{}{suffix}", service.name);
        if config.ports.contains_key(&name) {
            continue;
        }
        let mut base = *usual;
        while config.ports.values().any(|taken| taken.abs_diff(base) < SLOTS) {
            base = match base.checked_add(SLOTS) {
                Some(next) if next <= HIGHEST => next,
                _ => return Err(ConfigError::invalid(&service.at, "there are no ports left for it")),
            };
        }
        config.ports.insert(name, base);
    }
    Ok(())
}

/// Returns an error if two ports would have one variable.
fn check_stems(config: &Config, services: &[ServiceConfig]) -> Result<(), ConfigError> {
    let is_of = |service: &ServiceConfig, port: &str| port.starts_with(service.name.as_str());
    for service in services {
        for port in config.ports.keys().filter(|port| is_of(service, port)) {
            let same = |other: &&String| *other != port && variable_stem(other) == variable_stem(port);
            if let Some(other) = config.ports.keys().find(same) {
                let message = format!("`{port}` and `{other}` would share one variable's name");
                return Err(ConfigError::invalid(&service.at, message));
            }
        }
    }
    Ok(())
}

/// Adds the variables that every process gets from a service. A variable under `env:` at the top keeps its value.
fn variables(
    config: &mut Config,
    service: &ServiceConfig,
    has_own_redis: bool,
    services: &[ServiceConfig],
) -> Result<(), ConfigError> {
    let (found, is_computed) = match &service.env {
        Some(written) => (written.clone(), false),
        None => (usual_variables(service, has_own_redis), true),
    };
    for (name, template) in found {
        let others = || services.iter().filter(|other| other.name != service.name);
        if let Some(other) = others().find(|other| config.provided.get(&name) == Some(&other.name)) {
            let message =
                format!("`{}` and `{}` would share one variable's name, {name}", other.name, service.name);
            return Err(ConfigError::invalid(&service.at, message).with_fix("write `env:` for one of them"));
        }
        if config.env.iter().any(|(known, _)| *known == name) {
            continue;
        }
        config.provided.insert(name.clone(), service.name.clone());
        if is_computed {
            config.computed_by_service.insert(name.clone());
        }
        config.env.push((name, template));
    }
    Ok(())
}

/// Returns the variables of the preset or of the shared server.
fn usual_variables(service: &ServiceConfig, has_own_redis: bool) -> Vec<(String, Template)> {
    let stem = variable_stem(&service.name);
    if let Some(shared) = &service.shared {
        let url = (format!("{stem}_URL"), shared.url.clone());
        let prefix = Template::new("devrun-${slot}:", &service.at);
        let prefix = (shared.by == SharedBy::Prefix).then(|| (format!("{stem}_PREFIX"), prefix));
        return [url].into_iter().chain(prefix).collect();
    }
    let texts = service.preset.map_or(&[][..], |preset| preset.env);
    templates(service, texts, has_own_redis)
}

fn templates(
    service: &ServiceConfig,
    texts: &[(&'static str, &'static str)],
    has_own_redis: bool,
) -> Vec<(String, Template)> {
    let queues = queues::of(service, has_own_redis);
    let value = |text: &str| match (text, &queues) {
        ("<queue>", Some(queues)) => Template::new(queues.first.clone(), &service.at),
        ("<queues>", Some(queues)) => Template::new(queues.all.clone(), &service.at),
        ("<app>", _) => service.app.clone().unwrap_or_else(|| Template::new("", &service.at)),
        _ => Template::new(for_service(text, &service.name), &service.at),
    };
    texts.iter().map(|(name, text)| (for_service(name, &service.name), value(text))).collect()
}

fn process(service: &ServiceConfig, has_own_redis: bool) -> UncheckedProcess {
    let preset = service.preset;
    let programs = match (&service.run, preset) {
        (None, Some(preset)) => preset.programs,
        _ => &[],
    };
    let usual = || RunCommand::Shell(programs.first().map_or("", |program| program.run).into());
    let run = service.run.clone().unwrap_or_else(usual);
    let mut process = ProcessConfig::plain(&service.name, &service.at, run);
    process.directory.clone_from(&service.directory);
    process.env = preset.map_or_else(Vec::new, |preset| templates(service, preset.own_env, has_own_redis));
    process.port = port(service);
    process.ready =
        service.ready.clone().or_else(|| preset.and_then(|preset| ready(preset.probe, &service.at)));
    process.stop_signal = Signal::SIGTERM as i32;
    process.stop_grace = GRACE;
    process.autostart = service.autostart;
    process.node_preload = false;
    let data = service.data.or_else(|| preset.and_then(|preset| preset.data));
    process.service = Some(ServiceProcess { preset, programs, data });
    let mut draft = UncheckedProcess::alone(process);
    // A system program needs no packages, although devrun assumes every need for a program that it does not know.
    let is_system_program = service.is_server() && !guessed_needs::uses_packages(&draft.process.run);
    let none = is_system_program.then(|| (BTreeSet::new(), service.at.clone()));
    draft.needs = service.needs.clone().or(none);
    draft
}

fn port(service: &ServiceConfig) -> Option<PortRef> {
    let has_port = service.base.is_some() || service.preset.is_some_and(|preset| !preset.ports.is_empty());
    let at = service.base.as_ref().map_or(&service.at, |(_, at)| at).clone();
    has_port.then(|| PortRef { name: service.name.clone(), listens: false, asked: true, at })
}

fn ready(probe: PresetProbe, at: &ConfigPosition) -> Option<Ready> {
    let probe = match probe {
        PresetProbe::None => return None,
        PresetProbe::Http(path) => {
            ProbeConfig::Http { path: Template::new(path, at), host: None, status: Accepted::Success }
        }
        PresetProbe::Log(pattern) => ProbeConfig::Log(regex::bytes::Regex::new(pattern).ok()?),
    };
    let (interval, timeout) = (Duration::from_millis(100), Duration::from_secs(2));
    Some(Ready { probe, interval, timeout, deadline: DEADLINE })
}
