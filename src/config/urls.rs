//! The URLs of a worktree: those to print, those with the worktree's own host names, and the origins of all of them.
//!
//! Browsers keep cookies per host name and ignore the port. Under `<slug>.localhost`, which browsers resolve by themselves, a login
//! of one worktree does not replace that of another.

use crate::config::error::ConfigError;
use crate::config::interpolate::Scope;
use crate::config::model::{Config, ProbeConfig, Ready};

/// Returns the ports that a process serves HTTP on, with their numbers. The page that the user opens comes before the servers that
/// it calls.
fn servers<'a>(config: &'a Config, scope: &Scope) -> Vec<(&'a str, u16)> {
    let mut servers: Vec<(&str, u16)> = Vec::new();
    for process in &config.processes {
        let Some(port) = process.port.as_ref().filter(|port| port.asked) else { continue };
        let probe = process.ready.as_ref().map(|Ready { probe, .. }| probe);
        // A service counts as an HTTP server only if its probe uses HTTP.
        let is_http = matches!(probe, Some(ProbeConfig::Http { .. }));
        let other_protocol = matches!(probe, Some(ProbeConfig::Tcp)) || process.service.is_some() && !is_http;
        if let Some(number) = scope.port(&port.name).filter(|_| !other_protocol) {
            servers.push((&port.name, number));
        }
    }
    servers.sort_by_key(|(name, _)| !matches!(*name, "frontend" | "web"));
    servers
}

/// Returns the URLs to print: one per process that serves HTTP on its port, then the configured ones. A configured URL
/// replaces one of the same name, ignoring case.
pub fn urls(config: &Config, scope: &Scope) -> Result<Vec<(String, String)>, ConfigError> {
    let of_server = |(name, number)| (title(name), format!("http://localhost:{number}"));
    let mut urls: Vec<(String, String)> = servers(config, scope).into_iter().map(of_server).collect();
    for (name, template) in config.urls.iter().filter(|(_, template)| !template.is_to_come(scope)) {
        let url = template.render(scope)?;
        match urls.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            Some(same) => *same = (name.clone(), url),
            None => urls.push((name.clone(), url)),
        }
    }
    Ok(urls)
}

/// Returns the URLs of the same servers under the worktree's own host names: `<slug>.localhost` for the first one,
/// `<port>.<slug>.localhost` for the others.
pub fn host_urls(config: &Config, scope: &Scope) -> Vec<(String, String)> {
    let Some(host) = scope.own("host") else { return Vec::new() };
    let url = |(index, (name, number)): (usize, (&str, u16))| {
        let host = if index == 0 { host.to_string() } else { format!("{}.{host}", label(name)) };
        (title(name), format!("http://{host}:{number}"))
    };
    servers(config, scope).into_iter().enumerate().map(url).collect()
}

/// Returns the origins of the URLs of [`urls`] and [`host_urls`], without duplicates. Leaves out a configured URL that has no
/// value yet or is neither HTTP nor HTTPS.
pub fn origins(config: &Config, scope: &Scope) -> Vec<String> {
    let of_servers =
        servers(config, scope).into_iter().map(|(_, number)| format!("http://localhost:{number}"));
    let configured = config.urls.iter().filter_map(|(_, template)| template.render(scope).ok());
    let hosts = host_urls(config, scope).into_iter().map(|(_, url)| url);
    let mut origins: Vec<String> = Vec::new();
    for url in of_servers.chain(hosts).chain(configured) {
        let Ok(parsed) = url::Url::parse(&url) else { continue };
        let origin = parsed.origin().ascii_serialization();
        if matches!(parsed.scheme(), "http" | "https") && !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins
}

/// Returns the name of a port as a label of a host name: letters in lower case, digits and hyphens.
pub fn label(name: &str) -> String {
    let label: String =
        name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    label.trim_matches('-').to_string()
}

fn title(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
