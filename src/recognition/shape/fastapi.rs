//! Recognises a `FastAPI` application, how uvicorn names it, and the Alembic migrations beside it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::recognition::shape::tree;

/// Files an application object is looked for in, the likeliest first.
const APP_FILES: &[&str] = &["main.py", "app.py", "api.py", "server.py", "asgi.py", "application.py"];
const LOCKFILES: &[&str] = &["uv.lock", "poetry.lock", "requirements.txt"];

/// What is beside the source and not served: no reason to reload.
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
/// More folders than this are not worth naming.
const MAX_WATCHED: usize = 4;

static APP: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^([A-Za-z_]\w*)\s*(?::[^=\n]+)?=\s*(?:fastapi\.)?FastAPI\(").ok());
static HEALTHZ: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"@(\w+)\.(?:get|api_route|route)\(\s*["']/healthz["']|add_api_route\(\s*["']/healthz["']"#)
        .ok()
});
static PREFIX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\bprefix\s*=").ok());
static SCRIPT_LOCATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^script_location\s*=\s*(\S.*?)\s*$").ok());

/// A `FastAPI` application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastApi {
    /// The folder it runs in.
    pub directory: PathBuf,
    /// The folder of the Python project that covers it.
    pub packages: PathBuf,
    /// uvicorn's name of it: `app.main:app`.
    pub app: String,
    /// `src` when modules are found below that folder.
    pub app_dir: Option<&'static str>,
    /// The folders to watch, when all of the source is in a few: the virtual environment is in none of them.
    pub reload_dirs: Vec<String>,
    /// How it is asked whether it is ready.
    pub probe: Probe,
    /// Its migrations.
    pub alembic: Option<Alembic>,
}

/// What tells that an application is up. Its port does not: that is open before it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It has a route `/healthz`.
    Healthz,
    /// `FastAPI` answers `/openapi.json` unless it is told otherwise.
    Schema,
    /// It is told otherwise: only uvicorn's line is left.
    Line,
}

impl Probe {
    /// As it stands in `ready: { … }`.
    pub fn yaml(self) -> &'static str {
        match self {
            Probe::Healthz => "http: /healthz",
            Probe::Schema => "http: /openapi.json",
            Probe::Line => "log: Application startup complete",
        }
    }
}

/// Alembic migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alembic {
    /// The folder of alembic.ini.
    pub directory: PathBuf,
    /// Glob of the migrations, relative to `directory`.
    pub inputs: String,
}

impl FastApi {
    /// The command that starts it on a socket that is listening already.
    pub fn command(&self) -> String {
        let app_dir = self.app_dir.map(|folder| format!(" --app-dir {folder}")).unwrap_or_default();
        let watched: Vec<String> =
            self.reload_dirs.iter().map(|folder| format!(" --reload-dir {folder}")).collect();
        format!("uvicorn {}{app_dir} --reload{} --fd $BACKEND_FD", self.app, watched.concat())
    }
}

/// The application of the Python project nearest the top that names `FastAPI`.
pub fn find(root: &Path, files: &[PathBuf]) -> Option<FastApi> {
    let mut projects: Vec<PathBuf> = files
        .iter()
        .filter(|file| is_manifest(file))
        .filter(|file| tree::text(root, file).is_some_and(|text| names_fastapi(&text)))
        .map(|file| tree::folder(file))
        .collect();
    projects.dedup();
    // The innermost project that covers an application is the one it runs in.
    projects.sort_by_key(|project| std::cmp::Reverse(tree::depth(project)));
    let mut found: Vec<(&Path, FastApi)> = Vec::new();
    for (file, app) in projects.iter().filter_map(|project| application(root, files, project)) {
        if !found.iter().any(|(other, _)| *other == file) {
            found.push((file, app));
        }
    }
    found
        .into_iter()
        .map(|(_, app)| app)
        .min_by_key(|app| (tree::depth(&app.directory), app.directory.clone()))
}

fn is_manifest(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let requirements =
        || name.strip_prefix("requirements").is_some_and(|rest| rest.strip_suffix(".txt").is_some());
    name == "pyproject.toml" || name == "Pipfile" || requirements()
}

fn names_fastapi(manifest: &str) -> bool {
    manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        line.to_ascii_lowercase()
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .any(|word| word == "fastapi")
    })
}

/// The likeliest application below `project`, and the file it is in.
fn application<'a>(root: &Path, files: &'a [PathBuf], project: &Path) -> Option<(&'a Path, FastApi)> {
    let inner = if project == Path::new(".") { Path::new("") } else { project };
    let python: Vec<&PathBuf> = files
        .iter()
        .filter(|file| file.starts_with(inner) && file.extension().is_some_and(|extension| extension == "py"))
        .filter(|file| !file.iter().any(|part| part == "tests" || part == "test"))
        .collect();
    let rank =
        |file: &Path| file.file_name().and_then(|name| APP_FILES.iter().position(|usual| name == *usual));
    let (path, source, variable) = python
        .iter()
        .filter_map(|file| Some(((rank(file)?, tree::depth(file)), *file)))
        .filter_map(|(rank, file)| {
            let source = tree::text(root, file)?;
            let variable = APP.as_ref()?.captures(&source)?.get(1)?.as_str().to_string();
            Some((rank, file, source, variable))
        })
        .min_by_key(|(rank, file, _, _)| (rank.1, rank.0, (*file).clone()))
        .map(|(_, file, source, variable)| (file, source, variable))?;

    let below = path.strip_prefix(inner).ok()?;
    let in_src = below.starts_with("src") && !root.join(inner).join("src/__init__.py").exists();
    let module_path = if in_src { below.strip_prefix("src").ok()? } else { below };
    let parts: Vec<String> =
        module_path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if !parts.iter().all(|part| crate::config::values::is_variable_name(part)) {
        return None;
    }
    let app = FastApi {
        directory: project.into(),
        packages: tree::nearest_with(root, inner, LOCKFILES)
            .map_or_else(|| project.into(), |(folder, _)| folder),
        app: format!("{}:{variable}", parts.join(".")),
        app_dir: in_src.then_some("src"),
        reload_dirs: reload_dirs(&python, inner),
        probe: if answers_healthz(root, &python, path, &source, &variable) {
            Probe::Healthz
        } else if source.contains("openapi_url") || source.contains("**") {
            // Named, or perhaps among arguments that are computed.
            Probe::Line
        } else {
            Probe::Schema
        },
        alembic: alembic(root, files, inner),
    };
    Some((path, app))
}

/// The top folders of a project's source; none when source lies at the top itself or in too many folders to name.
fn reload_dirs(python: &[&PathBuf], project: &Path) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for below in python.iter().filter_map(|file| file.strip_prefix(project).ok()) {
        let name = below.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        if tree::depth(below) == 1 && !UNSERVED.contains(&name.as_str()) {
            return Vec::new();
        }
        if tree::depth(below) > 1 && !UNSERVED.contains(&name.as_str()) && !folders.contains(&name) {
            folders.push(name);
        }
    }
    folders.sort();
    let named =
        folders.len() <= MAX_WATCHED && folders.iter().all(|name| crate::config::values::is_name(name));
    if named { folders } else { Vec::new() }
}

/// True only when the route's path is certain: a router's prefix would change it.
fn answers_healthz(root: &Path, python: &[&PathBuf], main: &Path, source: &str, app: &str) -> bool {
    let (Some(route), Some(prefix)) = (HEALTHZ.as_ref(), PREFIX.as_ref()) else { return false };
    let on_app =
        route.captures_iter(source).any(|found| found.get(1).is_none_or(|name| name.as_str() == app));
    let elsewhere = || {
        python.iter().take(500).filter(|file| file.as_path() != main).any(|file| {
            tree::text(root, file).is_some_and(|text| route.is_match(&text) && !prefix.is_match(&text))
        })
    };
    on_app || (!prefix.is_match(source) && elsewhere())
}

fn alembic(root: &Path, files: &[PathBuf], project: &Path) -> Option<Alembic> {
    let ini = files
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "alembic.ini"))
        .min_by_key(|file| (!file.starts_with(project), tree::depth(file)))?;
    let text = tree::text(root, ini)?;
    let location = SCRIPT_LOCATION.as_ref()?.captures(&text).and_then(|found| found.get(1))?.as_str();
    let location = location.replace("%(here)s/", "");
    // `package:folder` is a folder of an importable package.
    let location = location.replace([':', '\\'], "/");
    let location = location.trim_start_matches("./").trim_end_matches('/');
    let folder = tree::folder(ini);
    if location.starts_with('/') || location.split('/').any(|part| part == "..") {
        return None;
    }
    Some(Alembic { directory: folder, inputs: format!("{}/versions/*.py", glob::Pattern::escape(location)) })
}
