//! Proposes a devrun.yaml for a repository in which recognition finds no process, from its scripts and containers.
//!
//! Derives the text from facts, and from manifests, Makefiles and Dockerfiles that it reads. A proposal states what the files of the
//! repository say and marks what it guesses, so a person must look at it: nothing runs from a proposal that was not written to the
//! repository. A line whose value no file states is left without a value, and devrun refuses the file with the place of that line.

mod containers;
mod port_option;
mod programs;
mod scripts;
mod settings;
mod text;

use std::path::{Path, PathBuf};

use self::containers::Container;
use self::port_option::with_port;
pub use self::programs::starts_something;
use self::scripts::StartScript;
use self::text::Contents;
use super::facts::{Command, FileLine};
use super::parts::frontend::unused;
use super::parts::node;
use super::parts::python;
use super::parts::tree::{Tree, shown};
use crate::config::port_base::{HIGHEST, LOWEST, SLOTS};

/// The word in the comment of a line that no file of the repository states.
pub const GUESS: &str = "guess";
/// The beginning of the comment of a line that the user must complete.
pub const TO_COMPLETE: &str = "complete this line:";
/// Port base of a program whose port no file states.
const USUAL_PORT: u16 = 3000;
/// Maximum number of other commands to list.
const NOT_USED: usize = 10;

/// A process of the proposal.
#[derive(Clone, Debug)]
struct ProposedProcess {
    name: String,
    run: RunLine,
    directory: PathBuf,
    port: Option<ProposedPort>,
    depends_on: Vec<String>,
    /// Variables, as name, value and source.
    env: Vec<(String, String, FileLine)>,
}

/// The line `run:`.
#[derive(Clone, Debug)]
enum RunLine {
    /// A command, its source, and the reason why it may be wrong.
    Command { text: String, at: FileLine, guess: Option<String> },
    /// No command is known, with the reason.
    ToComplete(String),
}

/// The port of a process.
#[derive(Clone, Debug)]
struct ProposedPort {
    base: u16,
    /// The line that states it.
    at: Option<FileLine>,
    /// How the program gets the port.
    why: String,
}

/// Returns the text of the proposal for a worktree.
pub fn propose(tree: &Tree<'_>) -> String {
    let scripts = scripts::all(tree);
    let containers = containers::all(tree);
    let chosen = scripts::choose(&scripts);
    let mut taken = Vec::new();
    let mut processes: Vec<ProposedProcess> =
        chosen.iter().map(|(name, script)| of_script(tree, name, script, &mut taken)).collect();
    if processes.is_empty() {
        processes = containers.iter().map(|container| of_container(tree, container, &mut taken)).collect();
    }
    if processes.is_empty() {
        processes.extend(scripts::documented(tree).map(|command| of_document(tree, &command, &mut taken)));
    }
    if processes.is_empty() {
        processes.push(to_complete(tree));
    }
    separate_ports(&mut processes);
    let database = settings::database(tree);
    let example = tree.facts.files.iter().find(|file| **file == Path::new(".env.example"));
    let contents = Contents {
        example: example.map(|file| FileLine { file: file.clone(), line: 1 }),
        required: settings::required(tree, &database),
        node: node_folders(tree, &processes),
        python: python_folders(tree, &processes),
        database,
        not_used: not_used(tree, &processes, &scripts, &containers),
        processes,
    };
    text::text(&contents)
}

fn of_script(tree: &Tree<'_>, name: &str, script: &StartScript, taken: &mut Vec<String>) -> ProposedProcess {
    let name = claim(name, taken);
    let only = script.only.as_ref();
    let inside = only.and_then(|only| only.directory.clone()).unwrap_or_else(|| script.folder.clone());
    let stated = settings::port(tree, &inside, None);
    let mut env = Vec::new();
    let at = script.at.clone();
    if let Some(variable) = &script.port_variable {
        let text = format!("{} {variable}=$PORT", script.whole);
        let port = assigned(stated, format!("make passes it as {variable}"));
        let run = RunLine::Command { text, at, guess: None };
        return ProposedProcess {
            name,
            run,
            directory: script.folder.clone(),
            port: Some(port),
            depends_on: Vec::new(),
            env,
        };
    }
    if scripts::is_worker(&name) {
        let run = RunLine::Command { text: script.whole.clone(), at, guess: None };
        let directory = script.folder.clone();
        return ProposedProcess { name, run, directory, port: None, depends_on: Vec::new(), env };
    }
    let ported = only.and_then(|only| Some((only, with_port(&only.text)?)));
    let (text, directory, port) = if let Some((only, ported)) = ported {
        let port = ported.port.and_then(base).map(|port| (port, only.at.clone()));
        let why = match ported.port {
            Some(port) => format!("$PORT replaces {port} in the command"),
            None => "the option of this server".into(),
        };
        (ported.text, inside, assigned(port.or(stated), why))
    } else {
        let port = assumed(tree, &inside, stated, &name, &mut env);
        (script.whole.clone(), script.folder.clone(), port)
    };
    let run = RunLine::Command { text, at, guess: None };
    ProposedProcess { name, run, directory, port: Some(port), depends_on: Vec::new(), env }
}

fn of_container(tree: &Tree<'_>, container: &Container, taken: &mut Vec<String>) -> ProposedProcess {
    let name = claim(if container.name.is_empty() { "web" } else { &container.name }, taken);
    let service = container.service.as_ref();
    let stated = settings::port(tree, &container.folder, service);
    let mut env = service.map(|service| containers::variables(tree, &service.name)).unwrap_or_default();
    // A built service that publishes no port and whose image exposes none is a worker.
    let serves = stated.is_some() || service.is_none_or(|service| !service.ports.is_empty());
    let others = service.map(|service| service.depends_on.clone()).unwrap_or_default();
    let outside = container.command.as_ref().map(|command| {
        containers::outside_of_image(tree, &container.folder, &command.text).map(|text| (text, command))
    });
    let (run, port) = match outside {
        Some(Ok((text, command))) => {
            let guess = Some("the container runs it; here its programs must be installed".into());
            if let Some(ported) = with_port(&text).filter(|_| serves) {
                let port = ported.port.and_then(base).map(|port| (port, command.at.clone()));
                let why = "$PORT is in the place of the container's port".to_string();
                let run = RunLine::Command { text: ported.text, at: command.at.clone(), guess };
                (run, Some(assigned(port.or(stated), why)))
            } else {
                let port = serves.then(|| assumed(tree, &container.folder, stated, &name, &mut env));
                (RunLine::Command { text, at: command.at.clone(), guess }, port)
            }
        }
        other => {
            let at = match &other {
                Some(Err(_)) => container.command.as_ref().map_or(&container.at, |command| &command.at),
                _ => &container.at,
            };
            let place = format!("{}:{}", at.file.display(), at.line);
            let why = match other {
                Some(Err(path)) => format!("{place} runs {path}, which exists in the image alone"),
                _ => format!("{place} states no command"),
            };
            let port = serves.then(|| assumed(tree, &container.folder, stated, &name, &mut env));
            (RunLine::ToComplete(why), port)
        }
    };
    let built: Vec<&str> = tree
        .facts
        .services
        .iter()
        .filter(|service| service.build.is_some())
        .map(|service| service.name.as_str())
        .collect();
    let depends_on = others.into_iter().filter(|other| built.contains(&other.as_str())).collect();
    ProposedProcess { name, run, directory: container.folder.clone(), port, depends_on, env }
}

fn of_document(tree: &Tree<'_>, command: &Command, taken: &mut Vec<String>) -> ProposedProcess {
    let name = claim("web", taken);
    let directory = command.directory.clone().unwrap_or_default();
    let stated = settings::port(tree, &directory, None);
    let mut env = Vec::new();
    let (text, port) = match with_port(&command.text) {
        Some(ported) => {
            let port = ported.port.and_then(base).map(|port| (port, command.at.clone()));
            (ported.text, assigned(port.or(stated), "$PORT is in the command".into()))
        }
        None => (command.text.clone(), assumed(tree, &directory, stated, &name, &mut env)),
    };
    let guess = Some("the first command of the documents that may start it".into());
    let run = RunLine::Command { text, at: command.at.clone(), guess };
    ProposedProcess { name, run, directory, port: Some(port), depends_on: Vec::new(), env }
}

/// Returns the process of a repository in which no file says how it starts.
fn to_complete(tree: &Tree<'_>) -> ProposedProcess {
    let why = "no script, Makefile, container or README says which";
    let stated = settings::port(tree, Path::new(""), None);
    let mut env = Vec::new();
    let port = assumed(tree, Path::new(""), stated, "web", &mut env);
    ProposedProcess {
        name: "web".into(),
        run: RunLine::ToComplete(why.into()),
        directory: PathBuf::new(),
        port: Some(port),
        depends_on: Vec::new(),
        env,
    }
}

fn claim(name: &str, taken: &mut Vec<String>) -> String {
    let name = unused(name, "web", taken);
    taken.push(name.clone());
    name
}

fn base(port: u16) -> Option<u16> {
    (LOWEST..=HIGHEST).contains(&port).then_some(port)
}

fn assigned(stated: Option<(u16, FileLine)>, why: String) -> ProposedPort {
    match stated {
        Some((base, at)) => ProposedPort { base, at: Some(at), why },
        None => ProposedPort { base: USUAL_PORT, at: None, why },
    }
}

/// Returns the port of a program whose command does not state one: it reads PORT, or another variable, which is added to `env`.
fn assumed(
    tree: &Tree<'_>,
    inside: &Path,
    stated: Option<(u16, FileLine)>,
    name: &str,
    env: &mut Vec<(String, String, FileLine)>,
) -> ProposedPort {
    if let Some(at) = settings::reads_port(tree, inside) {
        return assigned(stated, format!("PORT, {}:{}", at.file.display(), at.line));
    }
    if let Some((variable, at)) = settings::other_port_variable(tree, inside) {
        let why = format!("{variable}, {}:{}", at.file.display(), at.line);
        env.push((variable, format!("${{ports.{name}}}"), at));
        return assigned(stated, why);
    }
    assigned(stated, format!("{GUESS}: the program listens on the port in the variable PORT"))
}

/// Changes bases that are too near to an earlier one: with the numbers of two worktrees added, they could be the same port.
fn separate_ports(processes: &mut [ProposedProcess]) {
    let mut taken: Vec<u16> = Vec::new();
    for port in processes.iter_mut().filter_map(|process| process.port.as_mut()) {
        let is_free = |base: &u16| taken.iter().all(|other| base.abs_diff(*other) >= SLOTS);
        if !is_free(&port.base) {
            let mut next = (0..100).map(|number| USUAL_PORT + SLOTS * number);
            port.base = next.find(is_free).unwrap_or(port.base);
            port.at = None;
        }
        taken.push(port.base);
    }
}

/// Returns the folders whose Node packages the processes need.
fn node_folders(tree: &Tree<'_>, processes: &[ProposedProcess]) -> Vec<PathBuf> {
    let packages = node::packages(tree);
    let mut found = Vec::new();
    for process in processes {
        let nearest = process.directory.ancestors().find_map(|folder| {
            packages.iter().find(|package| package.folder == folder && !package.packages.is_empty())
        });
        let Some(package) = nearest else { continue };
        let install = node::install_folder(tree, &packages, &package.folder);
        if !found.contains(&install) {
            found.push(install);
        }
    }
    found
}

/// Returns the folders whose Python packages the processes need.
fn python_folders(tree: &Tree<'_>, processes: &[ProposedProcess]) -> Vec<PathBuf> {
    let projects = python::projects(tree);
    let mut found = Vec::new();
    for process in processes {
        let Some(project) = python::covering(&projects, &process.directory.join("x")) else { continue };
        let home = python::packages(tree, &project.folder);
        if !project.packages.is_empty() && !found.contains(&home) {
            found.push(home);
        }
    }
    found
}

/// Returns the commands and services that the proposal does not start.
fn not_used(
    tree: &Tree<'_>,
    processes: &[ProposedProcess],
    scripts: &[StartScript],
    containers: &[Container],
) -> Vec<(String, FileLine)> {
    let is_used = |at: &FileLine| {
        processes.iter().any(|process| matches!(&process.run, RunLine::Command { at: own, .. } if own == at))
    };
    let starts = scripts.iter().filter(|script| scripts::may_start(&script.label) && !is_used(&script.at));
    let mut found: Vec<(String, FileLine)> = starts
        .map(|script| {
            let place = shown(&script.folder);
            let place = if place == "." { String::new() } else { format!(" in {place}") };
            (format!("{}{place}", script.whole), script.at.clone())
        })
        .collect();
    let names = |name: &str| processes.iter().any(|process| process.name == name);
    let built = containers.iter().filter(|container| container.service.is_some() && !names(&container.name));
    found.extend(
        built.map(|container| (format!("the compose service {}", container.name), container.at.clone())),
    );
    let images = tree.facts.services.iter().filter(|service| service.build.is_none());
    found.extend(images.filter_map(|service| {
        let image = service.image.as_deref()?;
        Some((format!("the compose service {} ({image})", service.name), service.at.clone()?))
    }));
    found.truncate(NOT_USED);
    found
}

#[cfg(test)]
mod tests;
