//! Finds workers: Celery, arq, RQ, Dramatiq, Taskiq, and Python commands of compose services that use a backend's
//! image.

use std::path::{Path, PathBuf};

use super::backend::builds;
use super::command_line::{self, Simple};
use super::frontend::unused;
use super::module::{self, ModuleFile};
use super::python::{self, PythonProject};
use super::server::shell;
use super::tree::{Tree, folder, is_aside};
use super::{Framework, LeftOut, Part, PartKind, PartPort};
use crate::config::names::is_python;
use crate::recognition::facts::{ApplicationKind, Author, Command, FileLine};

/// Words in the names of services that end by themselves, or that serve no request of the product.
const NO_WORKER: &[&str] =
    &["migrat", "prestart", "init", "seed", "test", "flower", "lint", "build", "setup", "alembic"];

const CELERY: &str = "Celery";

/// A worker without a unique name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UnnamedWorker {
    tool: &'static str,
    /// Identifies the worker: tool, subcommand, file of the module.
    key: String,
    name: String,
    directory: PathBuf,
    project: PathBuf,
    run: String,
    at: FileLine,
}

/// Returns the workers in projects with `installed` packages, and in projects with locked packages; adds the latter to
/// `installed`.
pub fn parts(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    installed: &mut Vec<PathBuf>,
    taken: &mut Vec<String>,
) -> Vec<Part> {
    let mut found: Vec<UnnamedWorker> = Vec::new();
    let mut commands: Vec<&Command> =
        tree.facts.commands.iter().filter(|command| !is_aside(&command.at.file)).collect();
    commands.sort_by_key(|command| !matches!(command.by, Author::Compose(_) | Author::Procfile(_)));
    for command in commands {
        for simple in command_line::commands(&command.text) {
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
    found.retain(|worker| {
        let home = python::packages(tree, &worker.project);
        python::installs(tree, installed, &home, &worker.directory)
    });
    found
        .into_iter()
        .map(|worker| {
            let name = unused(&worker.name, "worker", taken);
            taken.push(name.clone());
            Part {
                name,
                kind: PartKind::Worker,
                framework: if worker.tool == CELERY { Framework::Celery } else { Framework::Other },
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

/// Returns a worker of a known tool that a command of the repository starts.
fn known(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    command: &Command,
    simple: &Simple,
) -> Option<UnnamedWorker> {
    let (tool, sub, module) = match simple.program.as_str() {
        "celery" => {
            let sub = ["worker", "beat"].into_iter().find(|sub| simple.has(sub))?;
            (CELERY, sub, simple.option(&["-A", "--app"])?)
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
    let (directory, project, file) = if module.is_empty() {
        let project =
            python::covering(projects, &hint.join("worker")).filter(|project| project.names(&["rq"]))?;
        (project.folder.clone(), project.folder.clone(), PathBuf::new())
    } else {
        let place = find_module(tree, module, hint)?;
        let project = python::covering(projects, &place.file)?;
        (place.root, project.folder.clone(), place.file)
    };
    let own = match &command.by {
        Author::Compose(name) | Author::Procfile(name) => name.as_str(),
        _ => sub,
    };
    let words = simple.lead.iter().chain([&simple.program]).chain(&simple.args);
    Some(UnnamedWorker {
        tool,
        key: format!("{tool} {sub} {}", file.display()),
        name: own.into(),
        directory,
        project,
        run: words.map(|word| shell(word)).collect::<Vec<_>>().join(" "),
        at: command.at.clone(),
    })
}

/// Returns the module of `app.worker`, `app.worker:celery` or `app.worker.WorkerSettings`.
fn find_module(tree: &Tree<'_>, target: &str, hint: &Path) -> Option<ModuleFile> {
    let module = target.split(':').next().unwrap_or(target);
    let shorter = module.rsplit_once('.').map(|(module, _)| module);
    module::find(tree, module, hint).or_else(|| module::find(tree, shorter?, hint))
}

/// Returns a Python command of a compose service that is built from a project's folder and publishes no port.
fn on_image(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    command: &Command,
    simple: &Simple,
) -> Option<UnnamedWorker> {
    let Author::Compose(name) = &command.by else { return None };
    let service = tree.facts.services.iter().find(|service| service.name == *name)?;
    let project = projects.iter().find(|project| builds(service, &project.folder))?;
    let lower = format!("{name} {}", command.text).to_ascii_lowercase();
    if !service.ports.is_empty()
        || NO_WORKER.iter().any(|word| lower.contains(word))
        || !is_python(&simple.program)
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
    Some(UnnamedWorker {
        tool: "Python",
        key: run.clone(),
        name: name.clone(),
        directory,
        project: project.folder.clone(),
        run,
        at: command.at.clone(),
    })
}

/// Returns one worker for each tool that has an object in the code.
fn objects(tree: &Tree<'_>, projects: &[PythonProject]) -> Vec<UnnamedWorker> {
    let mut found: Vec<UnnamedWorker> = Vec::new();
    for module in tree.facts.modules.iter().filter(|module| !is_aside(&module.file)) {
        let Some(project) = python::covering(projects, &module.file) else { continue };
        let root = module::root(tree, &project.folder, &module.file);
        let Some(name) = module::name(&module.file, &root) else { continue };
        for object in &module.applications {
            let (tool, run) = match object.kind {
                ApplicationKind::Celery => {
                    (CELERY, format!("celery -A {name}:{} worker --loglevel INFO", object.name))
                }
                ApplicationKind::Arq => ("arq", format!("arq {name}.{}", object.name)),
                ApplicationKind::Dramatiq => ("Dramatiq", format!("dramatiq {name}")),
                _ => continue,
            };
            if found.iter().any(|other| other.tool == tool) {
                continue;
            }
            found.push(UnnamedWorker {
                tool,
                key: run.clone(),
                name: "worker".into(),
                directory: root.clone(),
                project: project.folder.clone(),
                run,
                at: FileLine { file: module.file.clone(), line: object.line },
            });
        }
    }
    found
}

/// Returns the report about a worker in a repository without a Python application, whose packages devrun does not install.
pub fn without_application(worker: &Part) -> LeftOut {
    let Part { name, run, remark, directory, sources, .. } = worker;
    let project = super::tree::shown(sources.first().unwrap_or(directory));
    let at = worker.at.clone().unwrap_or(FileLine { file: directory.clone(), line: 1 });
    LeftOut {
        at,
        why: format!(
            "{remark} is left out: no Python application was found, so devrun installs no Python packages"
        ),
        lines: format!(
            "recognise: true\ndependencies: {{ python: {{ directory: {project} }} }}\nprocesses:\n  {name}: {{ run: '{run}', directory: \
             {} }}\n",
            super::tree::shown(directory)
        ),
        candidates: Vec::new(),
    }
}

/// Returns a report about a manifest that names Celery, if nothing starts a worker.
pub fn without_process(tree: &Tree<'_>, projects: &[PythonProject], workers: &[Part]) -> Vec<LeftOut> {
    if workers.iter().any(|worker| worker.framework == Framework::Celery) {
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
