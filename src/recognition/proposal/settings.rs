//! Finds the port of a program, the variables with its database, and the values that only the user has.

use std::path::Path;

use regex::Regex;

use crate::config::port_base::{HIGHEST, LOWEST};
use crate::recognition::facts::{FileLine, GivenValue, Giver, Service};
use crate::recognition::parts::tree::{Tree, folder, is_aside};
use crate::text::is_postgres_url;

/// Variables that usually have a program's own port.
const PORT_VARIABLES: [&str; 7] =
    ["PORT", "APP_PORT", "SERVER_PORT", "HTTP_PORT", "API_PORT", "WEB_PORT", "LISTEN_PORT"];
/// Maximum number of variables to ask for.
const MOST: usize = 10;

/// Returns the port of the program in `inside`, and the line that states it. In this order: the port of `service`, a variable of an
/// example, a script, an image or `service`, a default in code, a port that a Dockerfile exposes, a variable of a Makefile.
pub(super) fn port(tree: &Tree<'_>, inside: &Path, service: Option<&Service>) -> Option<(u16, FileLine)> {
    let facts = tree.facts;
    let near = |at: &FileLine| !is_aside(&at.file) && inside.starts_with(folder(&at.file));
    let below = |at: &FileLine| !is_aside(&at.file) && at.file.starts_with(inside);
    let fits = |text: &str| text.trim().parse::<u16>().ok().filter(|port| (LOWEST..=HIGHEST).contains(port));
    let of_service = service.and_then(|service| {
        let (_, inner) = service.ports.first()?;
        Some(((LOWEST..=HIGHEST).contains(inner).then_some(*inner)?, service.at.clone()?))
    });
    let is_given = |given: &&GivenValue| {
        let counts = match &given.by {
            Giver::Compose(name) => service.is_some_and(|service| service.name == *name),
            Giver::EnvFile | Giver::MainEnvFile | Giver::BuildArg(_) | Giver::AlembicIni => false,
            Giver::Example | Giver::Dockerfile | Giver::Script => near(&given.at) || below(&given.at),
        };
        counts && PORT_VARIABLES.contains(&given.name.as_str())
    };
    let given = || {
        let mut all = facts.values.iter().filter(is_given);
        all.find_map(|given| Some((fits(&given.value)?, given.at.clone())))
    };
    let read = || {
        let mut all = facts.reads.iter().filter(|read| read.name == "PORT" && below(&read.at));
        all.find_map(|read| Some((fits(read.default.as_deref()?)?, read.at.clone())))
    };
    let exposed = || {
        let mut all = facts.exposed.iter().filter(|one| folder(&one.at.file) == inside);
        all.find_map(|one| Some((fits(&one.port.to_string())?, one.at.clone())))
    };
    of_service.or_else(given).or_else(read).or_else(exposed).or_else(|| of_makefile(tree, inside))
}

/// Returns the port that a Makefile gives to a variable.
fn of_makefile(tree: &Tree<'_>, inside: &Path) -> Option<(u16, FileLine)> {
    let pattern = Regex::new(r"^(?:export\s+)?[A-Z_]*PORT\s*[:?]?=\s*(\d{4,5})\s*$").ok()?;
    let file = inside.join("Makefile");
    let text = tree.has(&file).then(|| tree.text(&file)).flatten()?;
    text.lines().zip(1..).find_map(|(row, line)| {
        let port = pattern.captures(row)?[1].parse().ok()?;
        (LOWEST..=HIGHEST).contains(&port).then(|| (port, FileLine { file: file.clone(), line }))
    })
}

/// Returns the line that shows that the program in `inside` reads PORT.
pub(super) fn reads_port(tree: &Tree<'_>, inside: &Path) -> Option<FileLine> {
    let mut reads = tree.facts.reads.iter();
    let is_port =
        |at: &FileLine, name: &str| name == "PORT" && at.file.starts_with(inside) && !is_aside(&at.file);
    let read = reads.find(|read| is_port(&read.at, &read.name)).map(|read| read.at.clone());
    read.or_else(|| {
        let mut given = tree
            .facts
            .values
            .iter()
            .filter(|given| matches!(given.by, Giver::Example | Giver::Dockerfile | Giver::Script));
        given.find(|given| is_port(&given.at, &given.name)).map(|given| given.at.clone())
    })
}

/// Returns another variable than PORT that has the program's port, with its line, if there is exactly one.
pub(super) fn other_port_variable(tree: &Tree<'_>, inside: &Path) -> Option<(String, FileLine)> {
    let is_other = |name: &str| name != "PORT" && PORT_VARIABLES.contains(&name);
    let reads = tree.facts.reads.iter().map(|read| (&read.name, &read.at));
    let examples = tree.facts.values.iter().filter(|given| given.by == Giver::Example);
    let all = reads.chain(examples.map(|given| (&given.name, &given.at)));
    let mut found: Vec<(&String, &FileLine)> = all
        .filter(|(name, at)| is_other(name) && at.file.starts_with(inside) && !is_aside(&at.file))
        .collect();
    found.dedup_by(|next, known| next.0 == known.0);
    match found.as_slice() {
        [(name, at)] => Some(((*name).clone(), (*at).clone())),
        _ => None,
    }
}

/// A variable with the URL of a Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatabaseVariable {
    pub(super) name: String,
    /// The scheme of its URL.
    pub(super) scheme: String,
    pub(super) at: FileLine,
}

/// Returns the variables to which files of the repository give the URL of a Postgres.
pub(super) fn database(tree: &Tree<'_>) -> Vec<DatabaseVariable> {
    let mut found: Vec<DatabaseVariable> = Vec::new();
    for given in tree.facts.values.iter().filter(|given| is_postgres_url(&given.value)) {
        let counts =
            matches!(given.by, Giver::Example | Giver::Compose(_) | Giver::EnvFile | Giver::MainEnvFile);
        if !counts || is_aside(&given.at.file) || found.iter().any(|known| known.name == given.name) {
            continue;
        }
        let scheme = given.value.split("://").next().unwrap_or_default().to_string();
        found.push(DatabaseVariable { name: given.name.clone(), scheme, at: given.at.clone() });
    }
    found
}

/// Returns the variables without which code fails and to which no file gives a value, with the line that reads each.
pub(super) fn required(tree: &Tree<'_>, known: &[DatabaseVariable]) -> Vec<(String, FileLine)> {
    let mut found: Vec<(String, FileLine)> = Vec::new();
    for read in tree.facts.reads.iter().filter(|read| read.required && !is_aside(&read.at.file)) {
        let has_value = tree.facts.values.iter().any(|given| {
            !given.value.is_empty()
                && (given.name == read.name || read.aliases.contains(&given.name))
                && !matches!(given.by, Giver::Compose(_) | Giver::BuildArg(_) | Giver::AlembicIni)
        });
        let is_set = PORT_VARIABLES.contains(&read.name.as_str())
            || known.iter().any(|variable| variable.name == read.name)
            || found.iter().any(|(name, _)| *name == read.name);
        if !has_value && !is_set {
            found.push((read.name.clone(), read.at.clone()));
        }
    }
    found.truncate(MOST);
    found
}
