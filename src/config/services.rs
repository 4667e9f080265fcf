//! Reads `services:`, and turns each entry into a process, ports and variables (`expansion`).
//!
//! After that, a service is a process like any other: with a port, a readiness probe and processes that wait for it.

mod expansion;
mod queues;
mod shared;
mod waiting;

use std::path::PathBuf;

pub use expansion::expand;

use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::model::{PortRef, ServiceConfig};
use crate::config::port_base::{HIGHEST, LOWEST};
use crate::config::presets::{PresetRole, ServicePreset};
use crate::config::source::ConfigPosition;
use crate::config::value_tree::{KeyValue, Mapping, Node};
use crate::config::{keys, process, values};
use crate::plan::ServiceData;

/// Reads `services`.
pub fn read(node: &Node) -> Result<Vec<ServiceConfig>, ConfigError> {
    values::named(node)?.iter().map(entry).collect()
}

/// Reads `compose`: files relative to the worktree, each with its place.
pub fn compose(node: &Node) -> Result<Vec<(PathBuf, ConfigPosition)>, ConfigError> {
    node.items()?.into_iter().map(|item| Ok((values::inner_path(item)?, item.at.clone()))).collect()
}

fn entry(entry: &KeyValue) -> Result<ServiceConfig, ConfigError> {
    if !entry.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let message = "must begin with a letter: variables are named after it";
        return Err(ConfigError::invalid(&entry.at, message));
    }
    let table = entry.value.table(&keys::SERVICE)?;
    let preset = match table.map("preset", preset)? {
        None => ServicePreset::named(&entry.name),
        named => named,
    };
    let base = table.map("port", base)?;
    let has_port = base.is_some() || preset.is_some_and(|preset| !preset.ports.is_empty());
    let port = PortRef { name: entry.name.clone(), listens: false, asked: true, at: entry.at.clone() };
    let service = ServiceConfig {
        name: entry.name.clone(),
        at: entry.at.clone(),
        preset,
        run: table.map("run", values::run)?,
        directory: table.map("directory", values::inner_path)?.unwrap_or_else(|| ".".into()),
        base,
        ready: table.map("ready", |node| process::ready(node, has_port.then_some(&port)))?,
        env: table.map("env", values::environment)?,
        data: table.map("data", |node| data(node, preset))?,
        needs: table.map("needs", |node| Ok((values::needs(node)?, node.at.clone())))?,
        autostart: table.map("autostart", Node::boolean)?.unwrap_or(true),
        app: table.map("app", |node| of_worker(node, preset, true).and_then(values::filled_template))?,
        queues: table.map("queues", |node| queues(node, preset))?.unwrap_or_default(),
        shared: table.map("shared", |node| shared::read(node, preset))?,
    };
    check_command(&entry.value, &service)?;
    check_shared(&table, &service)?;
    Ok(service)
}

/// Returns an error if there is nothing to run.
fn check_command(node: &Node, service: &ServiceConfig) -> Result<(), ConfigError> {
    let has_app =
        matches!(service.preset.map(|preset| preset.role), Some(PresetRole::Worker { has_app: true, .. }));
    match (&service.run, service.preset) {
        (None, None) => {
            let fix = format!(
                "write a command, or one of the presets with `preset: NAME`: {}",
                crate::config::presets::PRESET_WORDS.join(", ")
            );
            Err(node.error(format!("needs `run`: devrun has no preset `{}`", service.name)).with_fix(fix))
        }
        (None, Some(_)) if has_app && service.app.is_none() => {
            let message = "needs `run`, or `app` with the application";
            Err(node
                .error(message)
                .with_fix("such as `app: app.tasks`, in the form that `celery --app` takes"))
        }
        _ => Ok(()),
    }
}

/// Returns an error if the entry of a shared server has a key of a process.
fn check_shared(table: &Mapping<'_>, service: &ServiceConfig) -> Result<(), ConfigError> {
    if service.shared.is_none() {
        return Ok(());
    }
    let (_, excluded) = keys::SERVICE.exclusions[0];
    match excluded.iter().find_map(|key| table.get(key)) {
        None => Ok(()),
        Some(other) => Err(other
            .error("cannot be used together with `shared`: devrun starts no process for a shared server")
            .with_fix("leave out this key, or leave out `shared` to give each worktree a server")),
    }
}

fn preset(node: &Node) -> Result<&'static ServicePreset, ConfigError> {
    let word = node.word()?;
    let known = crate::config::presets::PRESET_WORDS;
    ServicePreset::named(word).ok_or_else(|| {
        let near = crate::text::similar_names::nearest(word, &known);
        let meant = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        node.error(format!("there is no preset `{word}`{meant}"))
            .with_fix(format!("known presets: {}; a service without one needs `run`", known.join(", ")))
    })
}

fn base(node: &Node) -> Result<(u16, ConfigPosition), ConfigError> {
    let base = node.number(LOWEST.into()..=HIGHEST.into())?;
    let base = u16::try_from(base).map_err(|_| node.error("is not a port number"))?;
    Ok((base, node.at.clone()))
}

fn data(node: &Node, preset: Option<&'static ServicePreset>) -> Result<ServiceData, ConfigError> {
    let word = node.word()?;
    let data = ServiceData::from_word(word)
        .ok_or_else(|| node.error(format!("takes keep, empty or copy, not `{word}`")))?;
    if data == ServiceData::Copy && preset.is_none_or(|preset| preset.data_file.is_none()) {
        let message = "copies only the data of the presets redis and valkey";
        return Err(node
            .error(message)
            .with_fix("write `data: keep`, and fill each worktree by a step of its product"));
    }
    if preset.is_some_and(|preset| !preset.is_server()) {
        return Err(node.error("belongs to servers: a worker has no data"));
    }
    Ok(data)
}

/// Returns `node` if the preset is that of a worker, with an application if `with_app` is true. Errors otherwise.
fn of_worker<'a>(
    node: &'a Node,
    preset: Option<&'static ServicePreset>,
    with_app: bool,
) -> Result<&'a Node, ConfigError> {
    match preset.map(|preset| preset.role) {
        Some(PresetRole::Worker { has_app, .. }) if has_app || !with_app => Ok(node),
        _ => {
            let presets = if with_app { "the preset celery" } else { "the presets celery and rq" };
            Err(node.error(format!("belongs to {presets}")))
        }
    }
}

fn queues(node: &Node, preset: Option<&'static ServicePreset>) -> Result<Vec<Template>, ConfigError> {
    of_worker(node, preset, false)?.items()?.into_iter().map(values::filled_template).collect()
}

#[cfg(test)]
pub mod tests;
