//! Finds ASGI applications: those that the repository's files start, else the objects in its modules.

use std::path::{Path, PathBuf};

use super::command_line::{self, PythonTarget, Simple};
use super::module::{self, ModuleFile};
use super::python::{self, PythonProject};
use super::tree::{Tree, depth, folder, is_aside};
use crate::recognition::facts::{Application, ApplicationKind, Author, Command, FileLine, PythonModule};

/// Usual names of the file with the application, likeliest first.
const USUAL: &[&str] = &[
    "main.py",
    "app.py",
    "api.py",
    "server.py",
    "asgi.py",
    "index.py",
    "application.py",
    "web.py",
    "__init__.py",
];
/// Files that `fastapi dev` looks for, in its order.
const FASTAPI_CLI: &[&str] = &["main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py"];
/// Folders of Python files that are not applications of the product.
const NOT_SERVED: &[&str] = &["scripts", "migrations", "alembic", "versions"];

/// An application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The module's file and its import root.
    pub place: ModuleFile,
    /// The object in the form that servers accept.
    pub target: PythonTarget,
    /// The project that it belongs to.
    pub project: PathBuf,
    /// The folder that the repository's command runs in, if known.
    pub directory: Option<PathBuf>,
    /// The port in the command.
    pub port: Option<u16>,
    /// The line that it was derived from.
    pub at: FileLine,
}

/// Returns the applications, one for each project that has any, nearest the top first; and further applications that
/// scripts or documents name.
pub fn find(tree: &Tree<'_>, projects: &[PythonProject]) -> (Vec<Served>, Vec<Served>) {
    let said = said(tree, projects);
    let mut chosen: Vec<Served> = Vec::new();
    let mut beside: Vec<Served> = Vec::new();
    for served in said {
        match chosen.iter().find(|other| other.project == served.project) {
            None => chosen.push(served),
            Some(other) if other.place.file == served.place.file || is_inside(tree, &served, other) => {}
            Some(_) if beside.iter().any(|known| known.place.file == served.place.file) => {}
            Some(_) => beside.push(served),
        }
    }
    let silent = |project: &&PythonProject| !chosen.iter().any(|served| served.project == project.folder);
    let silent: Vec<&PythonProject> =
        projects.iter().filter(silent).filter(|project| is_fastapi(project)).collect();
    let objects =
        silent.into_iter().filter_map(|project| best_object(tree, projects, project)).collect::<Vec<_>>();
    chosen.extend(objects);
    chosen.sort_by_key(|served| (depth(&served.project), served.project.clone()));
    (chosen, beside)
}

/// Returns true for a project with manifests that name `FastAPI`.
pub fn is_fastapi(project: &PythonProject) -> bool {
    project.names(&["fastapi", "fastapi-slim"])
}

/// Returns the applications that the repository's files start, the most reliable files first.
fn said(tree: &Tree<'_>, projects: &[PythonProject]) -> Vec<Served> {
    let mut found: Vec<Served> = projects.iter().filter_map(|project| entrypoint(tree, project)).collect();
    let mut commands: Vec<&Command> =
        tree.facts.commands.iter().filter(|command| !is_aside(&command.at.file)).collect();
    commands.sort_by_key(|command| rank(&command.by));
    for command in commands {
        for simple in command_line::commands(&command.text) {
            found.extend(started(tree, projects, command, &simple));
        }
    }
    found
}

fn rank(author: &Author) -> usize {
    match author {
        Author::Package(_) | Author::Pyproject(_) | Author::Procfile(_) => 0,
        Author::Make(_) => 1,
        Author::Just(_) => 2,
        Author::Shell => 3,
        Author::Dockerfile => 4,
        Author::Compose(_) => 5,
        Author::Code => 6,
        Author::Document => 7,
    }
}

fn entrypoint(tree: &Tree<'_>, project: &PythonProject) -> Option<Served> {
    let (words, at) = project.entrypoint.as_ref()?;
    let target = PythonTarget::parse(words)?;
    let place = module::find(tree, &target.module, &project.folder)?;
    Some(Served {
        place,
        target,
        project: project.folder.clone(),
        directory: None,
        port: None,
        at: at.clone(),
    })
}

/// Returns the application that `simple` starts.
fn started(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    command: &Command,
    simple: &Simple,
) -> Option<Served> {
    let home = folder(&command.at.file);
    let hint = command.directory.as_deref().unwrap_or(&home);
    let (place, target) = match simple.program.as_str() {
        "uvicorn" | "hypercorn" | "granian" | "gunicorn" => {
            let words = simple.args.iter().filter(|word| !word.starts_with('-'));
            let mut target = words.clone().find_map(|word| PythonTarget::parse(word))?;
            target.factory |= simple.has("--factory");
            let inner = simple.option(&["--app-dir", "--chdir"]).map(|inner| hint.join(inner));
            let place = module::find(tree, &target.module, inner.as_deref().unwrap_or(hint))?;
            (place, target)
        }
        "fastapi" if matches!(simple.first(), Some("dev" | "run")) => {
            fastapi_cli(tree, projects, hint, simple)?
        }
        _ => return None,
    };
    let project = python::covering(projects, &place.file)?;
    let is_asgi = simple.program != "gunicorn"
        || simple.option(&["-k", "--worker-class"]).is_some_and(|class| class.contains("uvicorn"))
        || is_fastapi(project);
    is_asgi.then(|| Served {
        place,
        target,
        project: project.folder.clone(),
        directory: command.directory.clone(),
        port: simple.port(),
        at: command.at.clone(),
    })
}

/// Returns the application of `fastapi dev [FILE]`.
fn fastapi_cli(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    hint: &Path,
    simple: &Simple,
) -> Option<(ModuleFile, PythonTarget)> {
    let given = simple.args.iter().skip_while(|word| !matches!(word.as_str(), "dev" | "run")).nth(1);
    let given = given.filter(|word| Path::new(word).extension().is_some_and(|extension| extension == "py"));
    let file = match given {
        Some(file) => hint.join(file.trim_start_matches("./")),
        None => FASTAPI_CLI.iter().map(|name| hint.join(name)).find(|file| tree.has(file))?,
    };
    tree.has(&file).then_some(())?;
    let project = python::covering(projects, &file)?;
    let root = module::root(tree, &project.folder, &file);
    let module = module::name(&file, &root)?;
    let named = simple.option(&["--app"]).map(str::to_string);
    let object =
        || tree.module(&file)?.applications.iter().find(|object| is_object(tree, &root, object, &file));
    let name = named.or_else(|| Some(object()?.name.clone())).unwrap_or_else(|| "app".into());
    Some((ModuleFile { file, root }, PythonTarget { module, name, factory: false }))
}

/// Returns the application object of a project: the one that imports most of the others, else the one nearest the top.
fn best_object(tree: &Tree<'_>, projects: &[PythonProject], project: &PythonProject) -> Option<Served> {
    let mut found: Vec<(Served, bool)> = Vec::new();
    for module in tree.facts.modules.iter().filter(|module| is_product(&module.file)) {
        if python::covering(projects, &module.file).is_none_or(|other| other.folder != project.folder) {
            continue;
        }
        let root = module::root(tree, &project.folder, &module.file);
        let Some(name) = module::name(&module.file, &root) else { continue };
        for object in &module.applications {
            let is_factory = object.kind == ApplicationKind::Factory && !object.needs_arguments;
            if !is_factory && !is_object(tree, &root, object, &module.file) {
                continue;
            }
            let served = Served {
                place: ModuleFile { file: module.file.clone(), root: root.clone() },
                target: PythonTarget { module: name.clone(), name: object.name.clone(), factory: is_factory },
                project: project.folder.clone(),
                directory: None,
                port: None,
                at: FileLine { file: module.file.clone(), line: object.line },
            };
            found.push((served, is_factory));
        }
    }
    let all: Vec<Served> = found.iter().map(|(served, _)| served.clone()).collect();
    let score = |served: &Served| all.iter().filter(|other| is_inside(tree, other, served)).count();
    let usual = |file: &Path| {
        file.file_name().and_then(|name| USUAL.iter().position(|usual| name == *usual)).unwrap_or(USUAL.len())
    };
    found
        .into_iter()
        .min_by_key(|(served, is_factory)| {
            let file = &served.place.file;
            (std::cmp::Reverse(score(served)), *is_factory, depth(file), usual(file), file.clone())
        })
        .map(|(served, _)| served)
}

fn is_product(file: &Path) -> bool {
    !is_aside(file) && !file.iter().any(|part| part.to_str().is_some_and(|part| NOT_SERVED.contains(&part)))
}

/// Returns true for a module-level application: `FastAPI(…)`, or the result of a function of the repository that
/// returns one.
fn is_object(tree: &Tree<'_>, root: &Path, object: &Application, file: &Path) -> bool {
    let ApplicationKind::Made(function) = &object.kind else { return object.kind == ApplicationKind::Object };
    let makes = |module: &PythonModule, name: &str| {
        module.applications.iter().any(|other| other.name == name && other.kind == ApplicationKind::Factory)
    };
    let Some(module) = tree.module(file) else { return false };
    let last = function.rsplit('.').next().unwrap_or(function);
    makes(module, last)
        || imported(tree, root, module, function)
            .iter()
            .any(|file| tree.module(file).is_some_and(|other| makes(other, last)))
}

/// Returns the files from which `module` may import `name`.
fn imported(tree: &Tree<'_>, root: &Path, module: &PythonModule, name: &str) -> Vec<PathBuf> {
    let first = name.split('.').next().unwrap_or(name);
    let takes = |names: &[String], module: &str| {
        names.iter().any(|taken| taken == first)
            || (names.is_empty() && module.rsplit('.').next() == Some(first))
    };
    let imports = module.imports.iter().filter(|import| takes(&import.names, &import.module));
    imports.flat_map(|import| files(tree, root, &module.file, &import.module, &import.names)).collect()
}

/// Returns the files that `from module import names` may refer to.
fn files(tree: &Tree<'_>, root: &Path, from: &Path, module: &str, names: &[String]) -> Vec<PathBuf> {
    let dots = module.chars().take_while(|c| *c == '.').count();
    let base: PathBuf = if dots == 0 {
        root.into()
    } else {
        from.ancestors().nth(dots).map(Path::to_path_buf).unwrap_or_default()
    };
    let inner: PathBuf = module[dots..].split('.').filter(|part| !part.is_empty()).collect();
    let path = base.join(inner);
    let candidates = std::iter::once(path.clone()).chain(names.iter().map(|name| path.join(name)));
    candidates
        .flat_map(|path| [path.with_extension("py"), path.join("__init__.py")])
        .filter(|file| tree.has(file))
        .collect()
}

/// Returns true if `outer` imports the module of `inner`, directly or through others.
fn is_inside(tree: &Tree<'_>, inner: &Served, outer: &Served) -> bool {
    let mut open = vec![outer.place.file.clone()];
    let mut seen: Vec<PathBuf> = Vec::new();
    while let Some(file) = open.pop() {
        if seen.contains(&file) || seen.len() > 500 {
            continue;
        }
        if let Some(module) = tree.module(&file) {
            for import in &module.imports {
                open.extend(files(tree, &outer.place.root, &file, &import.module, &import.names));
            }
        }
        seen.push(file);
    }
    inner.place.file != outer.place.file && seen.contains(&inner.place.file)
}
