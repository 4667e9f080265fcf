//! Reads what containers of the repository run: services that compose builds here, and the commands of Dockerfiles.

use std::path::{Path, PathBuf};

use crate::recognition::facts::{Author, Command, FileLine, Giver, Service};
use crate::recognition::parts::tree::{Tree, depth, folder, is_aside};
use crate::text::is_secret;

/// Maximum number of processes to propose, and of variables for one.
const MOST: usize = 20;

/// A container that runs code of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// The name of the service or of the Dockerfile's folder; empty for the top.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Its command, if any file states one.
    pub(super) command: Option<Command>,
    /// The line that describes it.
    pub(super) at: FileLine,
    /// The service of a compose file.
    pub(super) service: Option<Service>,
}

/// Returns the services that compose builds from folders of the repository, else one container for each folder with a Dockerfile.
pub(super) fn all(tree: &Tree<'_>) -> Vec<Container> {
    let built = tree.facts.services.iter().filter_map(|service| {
        let folder = service.build.clone()?;
        let at = service.at.clone()?;
        let own = service.command.clone().map(|text| Command {
            text,
            at: command_line(tree, service).unwrap_or_else(|| at.clone()),
            by: Author::Compose(service.name.clone()),
            directory: Some(folder.clone()),
        });
        let command = own.or_else(|| of_image(tree, &folder));
        let (name, service) = (service.name.clone(), Some(service.clone()));
        (!is_aside(&at.file)).then_some(Container { name, folder, command, at, service })
    });
    let mut found: Vec<Container> = Vec::new();
    for container in built {
        // A second compose file usually changes services of the first.
        if !found.iter().any(|known| known.name == container.name) {
            found.push(container);
        }
    }
    if found.is_empty() {
        found = images(tree);
    }
    found.truncate(MOST);
    found
}

/// Returns the line of the command of a service.
fn command_line(tree: &Tree<'_>, service: &Service) -> Option<FileLine> {
    let by = Author::Compose(service.name.clone());
    let own = tree.facts.commands.iter().filter(|command| command.by == by);
    own.filter(|command| Some(&command.text) == service.command.as_ref())
        .map(|command| command.at.clone())
        .next_back()
}

fn images(tree: &Tree<'_>) -> Vec<Container> {
    let mut found: Vec<Container> = Vec::new();
    let of_images = tree.facts.commands.iter().filter(|command| command.by == Author::Dockerfile);
    for command in of_images.filter(|command| !is_aside(&command.at.file)) {
        let inside = folder(&command.at.file);
        if found.iter().any(|known| known.folder == inside) {
            continue;
        }
        let name = inside.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let command = of_image(tree, &inside);
        let at = command.as_ref().map_or(FileLine { file: inside.clone(), line: 1 }, |own| own.at.clone());
        found.push(Container { name, folder: inside, command, at, service: None });
    }
    found.sort_by_key(|container| (depth(&container.folder), container.folder.clone()));
    found
}

/// Returns the command of the image that is built from `folder`: the last `CMD`, as arguments of an `ENTRYPOINT` that is a program
/// and not a script, else the last `ENTRYPOINT`.
fn of_image(tree: &Tree<'_>, inside: &Path) -> Option<Command> {
    let is_here = |command: &&Command| command.by == Author::Dockerfile && folder(&command.at.file) == inside;
    let all: Vec<&Command> = tree.facts.commands.iter().filter(is_here).collect();
    let file = &all.first()?.at.file;
    let text = tree.text(file)?;
    let instruction = |command: &Command| {
        let row = usize::try_from(command.at.line).ok()?.checked_sub(1)?;
        Some(text.lines().nth(row)?.split_whitespace().next()?.to_ascii_uppercase())
    };
    let last = |name: &str| {
        all.iter().rev().find(|one| one.at.file == *file && instruction(one).as_deref() == Some(name))
    };
    match (last("CMD"), last("ENTRYPOINT")) {
        (Some(command), Some(entry)) if is_program(&entry.text) => {
            Some(Command { text: format!("{} {}", entry.text, command.text), ..(*command).clone() })
        }
        (Some(command), _) | (None, Some(command)) => Some((*command).clone()),
        (None, None) => None,
    }
}

/// Returns true for an entry point that takes a command's words as its own arguments.
fn is_program(entry: &str) -> bool {
    let first = entry.split_whitespace().next().unwrap_or_default();
    let is_script = Path::new(first).extension().is_some_and(|extension| extension == "sh");
    !is_script && !["tini", "dumb-init", "sh", "bash", "exec", "env"].iter().any(|name| first.ends_with(name))
}

/// Returns the command with the repository's paths in place of those of the image. Errors with the first path that exists in the
/// image alone.
pub(super) fn outside_of_image(tree: &Tree<'_>, inside: &Path, command: &str) -> Result<String, String> {
    const SYSTEM: [&str; 4] = ["/bin/", "/usr/bin/", "/usr/local/bin/", "/dev/"];
    let mut text = command.to_string();
    for word in command.split_whitespace() {
        if !word.starts_with('/') || SYSTEM.iter().any(|start| word.starts_with(start)) {
            continue;
        }
        let parts: Vec<&str> = word.split('/').filter(|part| !part.is_empty()).collect();
        let mut ends = (0..parts.len()).map(|from| parts[from..].join("/"));
        let own = ends.find(|end| tree.has(&inside.join(end))).ok_or_else(|| word.to_string())?;
        text = text.replace(word, &own);
    }
    Ok(text)
}

/// Returns the variables of a service that mean the same outside of its container. Leaves out paths, addresses, ports and secrets.
pub(super) fn variables(tree: &Tree<'_>, service: &str) -> Vec<(String, String, FileLine)> {
    let by = Giver::Compose(service.to_string());
    let own = tree.facts.values.iter().filter(|given| given.by == by);
    own.filter(|given| !given.value.is_empty() && !given.value.contains(['/', '$', '@']))
        .filter(|given| !is_secret(&given.name, &given.value) && !given.name.ends_with("PORT"))
        .filter(|given| !tree.facts.services.iter().any(|other| other.name == given.value))
        .map(|given| (given.name.clone(), given.value.clone(), given.at.clone()))
        .take(MOST)
        .collect()
}
