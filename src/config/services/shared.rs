//! Reads `shared`: the Redis that several worktrees share, and how they are kept apart.

use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::keys;
use crate::config::model::{SharedBy, SharedServer};
use crate::config::presets::ServicePreset;
use crate::config::value_tree::{Node, Value};

/// The only scheme: devrun connects to the server to check it, and does not use TLS.
const SCHEME: &str = "redis://";

/// Reads a URL, or `url` and `by`.
pub(super) fn read(node: &Node, preset: Option<&ServicePreset>) -> Result<SharedServer, ConfigError> {
    if !preset.is_some_and(ServicePreset::speaks_redis) {
        return Err(node.error("belongs to the presets redis and valkey"));
    }
    let (url, by) = match &node.value {
        Value::Map(_) => {
            let table = node.table(&keys::SHARED)?;
            (table.need("url")?, table.map("by", by)?.unwrap_or(SharedBy::Database))
        }
        _ => (node, SharedBy::Database),
    };
    Ok(SharedServer { url: template(url, by)?, by, at: url.at.clone() })
}

fn by(node: &Node) -> Result<SharedBy, ConfigError> {
    match node.word()? {
        "database" => Ok(SharedBy::Database),
        "prefix" => Ok(SharedBy::Prefix),
        other => Err(node.error(format!("takes database or prefix, not `{other}`"))),
    }
}

/// Returns the URL for this worktree: with the slot as the number of the database, unless a prefix keeps worktrees apart.
fn template(node: &Node, by: SharedBy) -> Result<Template, ConfigError> {
    let text = node.word()?;
    let Some(place) = text.strip_prefix(SCHEME) else {
        if text.starts_with("${") {
            return Ok(of_slot(text, by, node));
        }
        let shown = text.split_once("://").map_or("another form", |(scheme, _)| scheme);
        let message = format!("takes a URL such as redis://localhost:6379, not {shown}");
        return Err(node.error(message).with_fix("devrun does not use TLS for a shared Redis"));
    };
    if place.contains(['?', '#']) {
        return Err(node.error("takes a URL such as redis://localhost:6379, without parameters"));
    }
    let path = place.trim_end_matches('/').split_once('/').map(|(_, path)| path);
    match (by, path) {
        (SharedBy::Database, Some(_)) => Err(node
            .error("takes a URL such as redis://localhost:6379, without a database: its number is the slot")
            .with_fix(
                "leave the number out; with `by: prefix`, all worktrees use the database that the URL names",
            )),
        _ => Ok(of_slot(text.trim_end_matches('/'), by, node)),
    }
}

fn of_slot(text: &str, by: SharedBy, node: &Node) -> Template {
    match by {
        SharedBy::Database => Template::new(format!("{text}/${{slot}}"), &node.at),
        SharedBy::Prefix => Template::new(text, &node.at),
    }
}
