//! Makes the processes of ASGI applications: their folder, their command, the folders to watch, and the readiness
//! probe.

use std::path::{Path, PathBuf};

use super::application::Served;
use super::tree::{Tree, depth, shown};
use super::{Framework, Part, PartKind, PartPort};
use crate::recognition::facts::ApplicationKind;
use crate::text::quoted;

/// Files beside the source that the application does not load, so that their change is no reason to reload.
const UNSERVED: &[&str] = &[
    "alembic",
    "conftest.py",
    "docs",
    "migrations",
    "noxfile.py",
    "scripts",
    "setup.py",
    "tests",
    "versions",
];
/// Maximum number of folders to name for reloading.
const MAX_WATCHED: usize = 4;
/// Port base of the first backend.
const BASE: u16 = 8100;
/// The default port of uvicorn.
const USUAL_PORT: u16 = 8000;

/// Returns the process of an application, the `index`th of its kind.
pub fn part(tree: &Tree<'_>, served: &Served, name: &str, index: u16) -> Part {
    let root = &served.place.root;
    let is_below = root != &served.project && root.starts_with(&served.project);
    let directory: PathBuf = if is_below && served.directory.as_ref() != Some(root) {
        served.project.clone()
    } else {
        root.clone()
    };
    let app_dir = root.strip_prefix(&directory).ok().filter(|inner| depth(inner) > 0);
    let target = format!("{}:{}", served.target.module, served.target.name);
    let mut run = String::from("uvicorn");
    if served.target.factory {
        run.push_str(" --factory");
    }
    let app_dir = app_dir.map(|inner| format!(" --app-dir {}", quoted(inner))).unwrap_or_default();
    let watched: Vec<String> =
        reload_dirs(tree, &directory).iter().map(|folder| format!(" --reload-dir {folder}")).collect();
    let descriptor = format!(" --fd ${}_FD", crate::config::names::variable_stem(name));
    run = [&run, " ", &target, &app_dir, " --reload", &watched.concat(), &descriptor].concat();
    let sources = vec![served.project.clone()];
    Part {
        name: name.into(),
        kind: PartKind::Backend,
        framework: Framework::Other,
        sources,
        run,
        port: PartPort::Listens(BASE + 100 * index),
        ready: Some(ready(tree, served).into()),
        usual_ports: usual_ports(tree, served, &directory),
        services: services(tree, &served.project),
        at: Some(served.at.clone()),
        remark: format!("FastAPI in {} ({target})", shown(&directory)),
        directory,
    }
}

/// Returns the readiness probe. An open port proves nothing, because devrun opens it before the application runs. Asks
/// `/healthz` if there is such a route, else `/openapi.json` unless the application may hide it, else waits for uvicorn's
/// own line.
fn ready(tree: &Tree<'_>, served: &Served) -> &'static str {
    let healthz = |routes: &[(String, String)]| routes.iter().any(|(path, _)| path == "/healthz");
    let of_project = tree.facts.modules.iter().filter(|module| module.file.starts_with(&served.project));
    let own = tree.module(&served.place.file);
    let applications = || own.into_iter().flat_map(|module| &module.applications);
    let prefixed = applications()
        .flat_map(|application| &application.includes)
        .any(|include| include.prefix.as_deref() != Some(""));
    if own.is_some_and(|module| healthz(&module.routes)) {
        return "http: /healthz";
    }
    if !prefixed && of_project.clone().any(|module| healthz(&module.routes)) {
        return "http: /healthz";
    }
    let made = applications().any(|application| {
        application.name == served.target.name && application.kind == ApplicationKind::Object
    });
    let hides = if made {
        applications().any(|application| application.hides_schema)
    } else {
        // The call is in a function of another module.
        of_project.flat_map(|module| &module.applications).any(|application| application.hides_schema)
    };
    let known = applications().any(|application| application.name == served.target.name);
    if known && !hides { "http: /openapi.json" } else { "log: Application startup complete" }
}

/// Returns the top folders with source below `directory`; none if source lies directly in it or in too many folders to
/// name.
fn reload_dirs(tree: &Tree<'_>, directory: &Path) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for below in tree.python().filter_map(|file| file.strip_prefix(directory).ok()) {
        let name = below.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        if UNSERVED.contains(&name.as_str()) {
            continue;
        }
        if depth(below) == 1 {
            return Vec::new();
        }
        if !folders.contains(&name) {
            folders.push(name);
        }
    }
    folders.sort();
    let named =
        folders.len() <= MAX_WATCHED && folders.iter().all(|name| crate::config::names::is_name(name));
    if named { folders } else { Vec::new() }
}

fn usual_ports(tree: &Tree<'_>, served: &Served, directory: &Path) -> Vec<u16> {
    let mut ports: Vec<u16> = served.port.into_iter().collect();
    for command in &tree.facts.commands {
        for simple in super::command_line::commands(&command.text) {
            let names = simple.args.iter().any(|word| {
                super::command_line::PythonTarget::parse(word)
                    .is_some_and(|target| target.module == served.target.module)
            });
            let inner = command.directory.as_ref().is_some_and(|folder| folder == directory);
            let cli = simple.program == "fastapi" && inner;
            ports.extend(simple.port().filter(|_| names || cli));
        }
    }
    for service in tree.facts.services.iter().filter(|service| builds(service, &served.project)) {
        ports.extend(service.ports.iter().flat_map(|(host, inner)| [*host, *inner]));
    }
    if ports.is_empty() || tree.facts.services.is_empty() {
        ports.push(USUAL_PORT);
    }
    distinct(ports)
}

/// Returns the names of compose services that are built from this folder and publish a port.
pub fn services(tree: &Tree<'_>, folder: &Path) -> Vec<String> {
    let own =
        tree.facts.services.iter().filter(|service| builds(service, folder) && !service.ports.is_empty());
    own.map(|service| service.name.clone()).collect()
}

/// Returns true for a service with an image that is built from `folder`.
pub fn builds(service: &crate::recognition::facts::Service, folder: &Path) -> bool {
    service.build.as_ref().is_some_and(|build| build.components().eq(folder.components()))
}

/// Returns each value once, in the original order.
pub fn distinct(values: Vec<u16>) -> Vec<u16> {
    let mut found: Vec<u16> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
