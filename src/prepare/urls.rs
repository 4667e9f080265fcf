//! Which URLs are told: one for each port that a browser may want, then those the user named.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::plan::{PortUse, Probe, Process};

/// The process of a Procfile that is a server by convention; the others only may be.
const WEB: &str = "web";

/// Titles and URLs, what people open first; a user's name replaces the built-in of the same name.
pub(super) fn all(
    config: &Config,
    processes: &[Process],
    ports: &BTreeMap<String, u16>,
    named: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let from_procfile = config.provenance.files.iter().any(|file| file == "Procfile");
    let mut pages: Vec<&str> = Vec::new();
    for process in processes {
        let Some(PortUse::Binds { name, .. } | PortUse::Listens { name, .. }) = &process.port else {
            continue;
        };
        let page = match process.ready.as_ref().map(|ready| &ready.probe) {
            Some(Probe::Http { .. }) => true,
            Some(Probe::Tcp { .. }) => matches!(process.port, Some(PortUse::Listens { .. })),
            _ => !from_procfile || name == WEB,
        };
        if page {
            pages.push(name);
        }
    }
    // The page people open comes before what it calls.
    pages.sort_by_key(|name| !matches!(*name, "frontend" | WEB));
    let given = |title: &str| named.iter().any(|(name, _)| name.eq_ignore_ascii_case(title));
    let built_in = pages.into_iter().filter_map(|name| Some((titled(name), *ports.get(name)?)));
    let mut urls: Vec<_> = built_in
        .filter(|(title, _)| !given(title))
        .map(|(title, port)| (title, format!("http://localhost:{port}")))
        .collect();
    urls.extend(named);
    urls
}

fn titled(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
