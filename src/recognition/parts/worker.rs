//! Workers: Celery, arq, RQ, Dramatiq, Taskiq, and Python commands of compose services on a backend's image.

use std::path::{Path, PathBuf};

use super::backend::builds;
use super::frontend::unused;
use super::module::{self, Place};
use super::python::{self, Project};
use super::server::shell;
use super::tree::{Tree, folder, is_aside};
use super::words::{self, Simple};
use super::{Kind, LeftOut, Part, PartPort};
use crate::recognition::facts::{ApplicationKind, Author, Command, Spot};

/// Words in the name of a service that ends by itself or serves no request of the product.
const NO_WORKER: &[&str] =
    &["migrat", "prestart", "init", "seed", "test", "flower", "lint", "build", "setup", "alembic"];

/// A worker, before it has a name that no other part has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    tool: &'static str,
    /// Distinguishes it from the other workers: tool, subcommand, module.
    key: String,
    name: String,
    directory: PathBuf,
    project: PathBuf,
    run: String,
    at: Spot,
}

/// The workers in the projects whose packages are installed.
pub fn parts(tree: &Tree<'_>, projects: &[Project], installed: &Path, taken: &mut Vec<String>) -> Vec<Part> {
    let mut found: Vec<Found> = Vec::new();
    let mut commands: Vec<&Command> =
        tree.facts.commands.iter().filter(|command| !is_aside(&command.at.file)).collect();
    commands.sort_by_key(|command| !matches!(command.by, Author::Compose(_) | Author::Procfile(_)));
    for command in commands {
        for simple in words::commands(&command.text) {
            let worker = known(tree, projects, command, &simple)
                .or_else(|| on_image(tree, projects, command, &simple));
            if let Some(worker) = worker.filter(|worker| !found.iter().any(|other| other.key == worker.key)) {
                found.push(worker);
            }
        }
    }
    for worker in objects(tree, projects) {
        if !found.iter().any(|other| other.tool == worker.tool) {
            found.push(worker);
        }
    }
    found.retain(|worker| python::packages(tree, &worker.project) == installed);
    found
        .into_iter()
        .map(|worker| {
            let name = unused(&worker.name, "worker", taken);
            taken.push(name.clone());
            Part {
                name,
                kind: Kind::Worker,
                sources: vec![worker.project],
                run: worker.run,
                port: PartPort::None,
                ready: None,
                usual_ports: Vec::new(),
                services: Vec::new(),
                remark: format!("{} in {}", worker.tool, super::tree::shown(&worker.directory)),
                at: Some(worker.at),
                directory: worker.directory,
            }
        })
        .collect()
}

/// A worker of a tool that is known, started by a command of the repository.
fn known(tree: &Tree<'_>, projects: &[Project], command: &Command, simple: &Simple) -> Option<Found> {
    let (tool, sub, module) = match simple.program.as_str() {
        "celery" => {
            let sub = ["worker", "beat"].into_iter().find(|sub| simple.has(sub))?;
            ("Celery", sub, simple.option(&["-A", "--app"])?)
        }
        "arq" => ("arq", "worker", simple.first()?),
        "dramatiq" => ("Dramatiq", "worker", simple.first()?),
        "taskiq" if simple.first() == Some("worker") => {
            ("Taskiq", "worker", simple.args.iter().filter(|word| !word.starts_with('-')).nth(1)?.as_str())
        }
        "rq" if simple.first() == Some("worker") => ("RQ", "worker", ""),
        _ => return None,
    };
    let home = folder(&command.at.file);
    let hint = command.directory.as_deref().unwrap_or(&home);
    let (directory, project) = if module.is_empty() {
        let project =
            python::covering(projects, &hint.join("worker")).filter(|project| project.names(&["rq"]))?;
        (project.folder.clone(), project.folder.clone())
    } else {
        let place = place(tree, module, hint)?;
        let project = python::covering(projects, &place.file)?;
        (place.root, project.folder.clone())
    };
    let own = match &command.by {
        Author::Compose(name) | Author::Procfile(name) => name.as_str(),
        _ => sub,
    };
    let words = simple.lead.iter().chain([&simple.program]).chain(&simple.args);
    Some(Found {
        tool,
        key: format!("{tool} {sub} {module}"),
        name: own.into(),
        directory,
        project,
        run: words.map(|word| shell(word)).collect::<Vec<_>>().join(" "),
        at: command.at.clone(),
    })
}

/// The module of `app.worker`, `app.worker:celery`, `app.worker.WorkerSettings`.
fn place(tree: &Tree<'_>, target: &str, hint: &Path) -> Option<Place> {
    let module = target.split(':').next().unwrap_or(target);
    let shorter = module.rsplit_once('.').map(|(module, _)| module);
    module::find(tree, module, hint).or_else(|| module::find(tree, shorter?, hint))
}

/// A Python command of a compose service that is built from a project's folder and serves no port.
fn on_image(tree: &Tree<'_>, projects: &[Project], command: &Command, simple: &Simple) -> Option<Found> {
    let Author::Compose(name) = &command.by else { return None };
    let service = tree.facts.services.iter().find(|service| service.name == *name)?;
    let project = projects.iter().find(|project| builds(service, &project.folder))?;
    let lower = format!("{name} {}", command.text).to_ascii_lowercase();
    if !service.ports.is_empty()
        || NO_WORKER.iter().any(|word| lower.contains(word))
        || !words::is_python(&simple.program)
    {
        return None;
    }
    let directory = match simple.args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["-m", module, ..] => module::find(tree, module, &project.folder)?.root,
        [file, ..] if tree.has(&project.folder.join(file)) => project.folder.clone(),
        _ => return None,
    };
    let words = simple.lead.iter().chain([&simple.program]).chain(&simple.args);
    let run = words.map(|word| shell(word)).collect::<Vec<_>>().join(" ");
    Some(Found {
        tool: "Python",
        key: run.clone(),
        name: name.clone(),
        directory,
        project: project.folder.clone(),
        run,
        at: command.at.clone(),
    })
}

/// Workers whose objects are in the code while no command starts them.
fn objects(tree: &Tree<'_>, projects: &[Project]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for module in tree.facts.modules.iter().filter(|module| !is_aside(&module.file)) {
        let Some(project) = python::covering(projects, &module.file) else { continue };
        let root = module::root(tree, &project.folder, &module.file);
        let Some(name) = module::name(&module.file, &root) else { continue };
        for object in &module.applications {
            let (tool, run) = match object.kind {
                ApplicationKind::Celery => {
                    ("Celery", format!("celery -A {name}:{} worker --loglevel INFO", object.name))
                }
                ApplicationKind::Arq => ("arq", format!("arq {name}.{}", object.name)),
                ApplicationKind::Dramatiq => ("Dramatiq", format!("dramatiq {name}")),
                _ => continue,
            };
            if found.iter().any(|other| other.tool == tool) {
                continue;
            }
            found.push(Found {
                tool,
                key: run.clone(),
                name: "worker".into(),
                directory: root.clone(),
                project: project.folder.clone(),
                run,
                at: Spot { file: module.file.clone(), line: object.line },
            });
        }
    }
    found
}

/// A manifest that names Celery while nothing starts a worker.
pub fn silent(tree: &Tree<'_>, projects: &[Project], workers: &[Part]) -> Vec<LeftOut> {
    if workers.iter().any(|worker| worker.remark.starts_with("Celery")) {
        return Vec::new();
    }
    let named = projects.iter().find(|project| project.names(&["celery"]));
    named
        .map(|project| {
            let at = project.spot(tree, "celery");
            LeftOut {
                why: format!(
                    "{} names celery, and no `Celery(…)` object and no `celery -A` was found",
                    at.file.display()
                ),
                at,
                lines: format!(
                    "processes:\n  worker: {{ run: celery -A MODULE worker, directory: {} }}\n",
                    super::tree::shown(&project.folder)
                ),
                candidates: Vec::new(),
            }
        })
        .into_iter()
        .collect()
}
