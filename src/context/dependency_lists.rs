//! Finds out why a module is missing: reads the lists from which devrun installs packages, and checks whether the package is
//! installed.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::context::compiled_list;
use crate::context::package_json;
use crate::context::package_names::{self, ListedPackage};
use crate::os::read::{self, Limit};
use crate::plan::{Need, Plan, Process, PythonInstall};
use crate::text::quoted;

/// The files that list Node packages.
const NODE: [&str; 7] = [
    "bun.lock",
    "package-lock.json",
    "package.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "pnpm-workspace.yaml",
    "bun.lockb",
];
/// The files that list Python packages. Nothing is installed from `requirements.in`.
const PYTHON: [&str; 6] =
    ["pdm.lock", "poetry.lock", "pyproject.toml", "requirements-dev.txt", "requirements.txt", "uv.lock"];
/// The lists that are installed instead of the manifest in their folder.
const LOCKS: [&str; 4] = ["pdm.lock", "poetry.lock", "requirements.txt", "uv.lock"];
/// The lock files of Node, each with the command that updates it.
const NODE_LOCKS: [(&str, &str); 4] = [
    ("pnpm-lock.yaml", "pnpm install --lockfile-only"),
    ("yarn.lock", "yarn install"),
    ("bun.lock", "bun install --lockfile-only"),
    ("package-lock.json", "npm install --package-lock-only"),
];
/// The most packages that are named.
const NAMED: usize = 5;
/// The most lists that are read, because they may include each other.
const MOST: usize = 50;

/// A module that a program did not find.
#[derive(Clone, Copy, Debug)]
pub struct MissingModule<'a> {
    /// Its name in the message.
    pub name: &'a str,
    /// The `file:line` that imports it.
    pub place: Option<&'a str>,
    /// The worktree.
    pub root: &'a Path,
    /// The program, if it is known.
    pub program: Option<ProgramPackages<'a>>,
    /// The start of the stack, in seconds since 1970.
    pub started: Option<u64>,
}

/// The packages that a program has.
#[derive(Clone, Copy, Debug)]
pub struct ProgramPackages<'a> {
    /// The absolute folder in which it runs.
    pub directory: &'a Path,
    /// The preparation that it waits for. If that does not include packages, devrun installs none for it.
    pub needs: &'a BTreeSet<Need>,
    /// The Python projects, the main one first.
    pub python: &'a [PythonInstall],
}

impl<'a> ProgramPackages<'a> {
    /// Returns the packages of the program of `process`.
    pub fn of(plan: &'a Plan, process: &'a Process) -> ProgramPackages<'a> {
        ProgramPackages { directory: &process.directory, needs: &process.needs, python: &plan.python }
    }
}

/// Why a module may be missing. Paths are relative to the worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageState {
    /// The file `list`, from which devrun installs, has the package, and it is not installed.
    NotInstalled { list: String },
    /// The package of this name is installed, and does not have the module.
    WithoutModule,
    /// The `input` of the `list` from which devrun installs has packages that the list lacks.
    NotCompiled {
        input: String,
        list: String,
        /// The packages, if none of them has the name of the module.
        others: Vec<String>,
        /// The command that updates the list, for a shell in the worktree.
        command: String,
    },
    /// The file `list` was modified after the stack was started.
    Changed { list: String },
}

impl MissingModule<'_> {
    /// Returns why the module is missing, if the files of the worktree show it.
    pub fn state(&self) -> Option<PackageState> {
        let file = self.place.and_then(|place| Path::new(place.split(':').next()?).extension()?.to_str());
        let of_python = || self.state_in_python();
        let of_node = || self.state_in_node();
        match file {
            Some("py" | "pyi" | "pyx") => of_python(),
            Some(_) => of_node(),
            None => of_python().or_else(of_node),
        }
    }

    fn state_in_python(&self) -> Option<PackageState> {
        let changed = || self.changed(&PYTHON);
        // A message about `a.b` means that `a` is there.
        let Some(project) = self.project().filter(|_| !self.name.contains('.')) else { return changed() };
        let wanted = package_names::name(self.name);
        let lists = with_included(&project.list, project);
        let of_name = |list: &PackageList| list.packages.iter().find(|one| one.name == wanted).cloned();
        if let Some((list, package)) = lists.iter().find_map(|list| Some((list, of_name(list)?))) {
            return match installed(&project.venv, self.name) {
                InstalledPackage::WithoutModule => Some(PackageState::WithoutModule),
                InstalledPackage::Missing if package.is_certain => {
                    Some(PackageState::NotInstalled { list: self.below(&list.file) })
                }
                InstalledPackage::Missing => changed(),
                InstalledPackage::Whole => None,
            };
        }
        let behind = lists.iter().find_map(|list| self.behind(project, list, &lists, &wanted));
        let is_sure = matches!(&behind, Some(PackageState::NotCompiled { others, .. }) if others.is_empty());
        if is_sure { behind } else { changed().or(behind) }
    }

    /// Returns the Python project whose environment the program uses, if devrun installs it for the program.
    fn project(&self) -> Option<&PythonInstall> {
        let ProgramPackages { directory, python, .. } =
            self.program.filter(|program| program.needs.contains(&Need::Python))?;
        let around = python.iter().filter(|project| directory.starts_with(&project.directory));
        let nearest = around.max_by_key(|project| project.directory.components().count());
        nearest.or_else(|| python.first())
    }

    /// Returns the state of a `list` whose input has packages that none of `lists` has.
    fn behind(
        &self,
        project: &PythonInstall,
        list: &PackageList,
        lists: &[PackageList],
        wanted: &str,
    ) -> Option<PackageState> {
        let name = list.file.file_name()?.to_str()?;
        let has_pip_compile = project.venv.join("bin/pip-compile").is_file();
        let compiled = compiled_list::read(name, &list.text, has_pip_compile)?;
        let folders = list.file.ancestors().skip(1).take_while(|folder| folder.starts_with(self.root));
        let mut all = folders.flat_map(|folder| compiled.inputs.iter().map(move |input| (folder, input)));
        let is_of_list = |folder: &Path| folder.join(&compiled.output) == list.file;
        let (folder, input) =
            all.find(|(folder, input)| is_of_list(folder) && folder.join(input).is_file())?;
        let input = folder.join(input);
        let is_listed = |name: &str| lists.iter().flat_map(|list| &list.packages).any(|one| one.name == name);
        let wants = with_included(&input, project).into_iter().flat_map(|list| list.packages);
        let mut others: Vec<String> = wants.filter(|one| one.is_certain).map(|one| one.name).collect();
        others.retain(|name| !is_listed(name));
        if others.is_empty() {
            return None;
        }
        if others.iter().any(|name| name == wanted) {
            others.clear();
        }
        others.truncate(NAMED);
        let command = self.command(folder, &compiled.command);
        Some(PackageState::NotCompiled {
            input: self.below(&input),
            list: self.below(&list.file),
            others,
            command,
        })
    }

    /// Returns `command` in `folder` for a shell in the worktree.
    fn command(&self, folder: &Path, command: &str) -> String {
        match self.below(folder) {
            inside if inside.is_empty() => format!("devrun exec -- {command}"),
            inside => format!("cd {} && devrun exec -- {command}", quoted(Path::new(&inside))),
        }
    }

    fn state_in_node(&self) -> Option<PackageState> {
        self.not_installed_in_node().or_else(|| self.changed(&NODE))
    }

    /// Returns the state of a package that the nearest manifest names and no `node_modules` has.
    fn not_installed_in_node(&self) -> Option<PackageState> {
        let program = self.program.filter(|program| program.needs.contains(&Need::Node))?;
        let levels = || program.directory.ancestors().take_while(|level| level.starts_with(self.root));
        let package = node_package(self.name)?;
        let manifest = levels().map(|level| level.join("package.json")).find(|file| file.is_file())?;
        let is_named = package_json::wants(&package_json::read(manifest.parent()?)?, package);
        let is_there =
            levels().any(|level| level.join("node_modules").join(package).join("package.json").exists());
        if !is_named || is_there {
            return None;
        }
        let input = self.below(&manifest);
        let lock = levels().find_map(|level| {
            let (name, command) = NODE_LOCKS.iter().find(|(name, _)| level.join(name).is_file())?;
            Some((level, level.join(name), command))
        });
        let stale = lock
            .filter(|(_, lock, _)| read::text(lock, Limit::LARGE).is_ok_and(|text| !text.contains(package)));
        Some(match stale {
            None => PackageState::NotInstalled { list: input },
            Some((folder, lock, command)) => PackageState::NotCompiled {
                input,
                list: self.below(&lock),
                others: Vec::new(),
                command: self.command(folder, command),
            },
        })
    }

    /// Returns the first of the lists with these `names`, in the worktree or one of its folders, that was modified after
    /// the stack was started.
    fn changed(&self, names: &[&str]) -> Option<PackageState> {
        // Start times are rounded down to a second.
        let start = UNIX_EPOCH + Duration::from_secs(self.started? + 1);
        let folders = std::fs::read_dir(self.root).ok()?.flatten().map(|entry| entry.path());
        let plain = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            path.is_dir() && !name.starts_with('.') && name != "node_modules"
        };
        let mut all: Vec<_> = folders.filter(plain).collect();
        all.sort();
        all.insert(0, self.root.into());
        let newer = |path: &PathBuf| {
            let is_installed = path.file_name().is_none_or(|name| name != "pyproject.toml")
                || !LOCKS.iter().any(|lock| path.with_file_name(lock).is_file());
            is_installed
                && std::fs::metadata(path).and_then(|meta| meta.modified()).is_ok_and(|at| at > start)
        };
        let list = all.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).find(newer)?;
        Some(PackageState::Changed { list: self.below(&list) })
    }

    fn below(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A file that lists packages.
struct PackageList {
    file: PathBuf,
    text: String,
    packages: Vec<ListedPackage>,
}

/// Reads the list `file` of `project`, and those that it includes.
fn with_included(file: &Path, project: &PythonInstall) -> Vec<PackageList> {
    let mut found: Vec<PackageList> = Vec::new();
    let mut open = vec![file.to_path_buf()];
    while let Some(file) = open.pop() {
        if found.len() >= MOST || found.iter().any(|list| list.file == file) {
            continue;
        }
        let Ok(text) = read::text(&file, Limit::LARGE) else { continue };
        let folder = file.parent().unwrap_or(&file);
        let packages = match file.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "uv.lock" => {
                let inside =
                    project.directory.strip_prefix(folder).unwrap_or(Path::new("")).to_string_lossy();
                package_names::of_uv_lock(&text, if inside.is_empty() { "." } else { &inside })
            }
            "poetry.lock" | "pdm.lock" => package_names::of_grouped_lock(&text),
            _ if file.extension().is_some_and(|end| end == "toml") => package_names::of_manifest(&text),
            _ => {
                open.extend(package_names::included(&text).into_iter().map(|list| folder.join(list)));
                package_names::of_requirements(&text)
            }
        };
        found.push(PackageList { file, text, packages });
    }
    found
}

/// Returns the entries of `site-packages` in a virtual environment.
pub fn site_packages(venv: &Path) -> impl Iterator<Item = DirEntry> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries(venv.join("lib")).flat_map(move |python| entries(python.path().join("site-packages")))
}

/// A package in a virtual environment.
enum InstalledPackage {
    /// It or files of its module are not there.
    Missing,
    /// It is there and has no module of its name.
    WithoutModule,
    /// All files of its module are there.
    Whole,
}

/// Returns the state of the package with the name of `module` in `venv`.
fn installed(venv: &Path, module: &str) -> InstalledPackage {
    let metadata = site_packages(venv).find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let package = name.strip_suffix(".dist-info").and_then(|package| package.rsplit_once('-'));
        package.is_some_and(|(package, _)| package_names::name(package) == package_names::name(module))
    });
    let Some(metadata) = metadata.map(|entry| entry.path()) else { return InstalledPackage::Missing };
    let Ok(files) = read::text(&metadata.join("RECORD"), Limit::LARGE) else {
        return InstalledPackage::Whole;
    };
    // The files of an editable package are elsewhere.
    if files.contains(".pth,") {
        return InstalledPackage::Whole;
    }
    let starts = ['/', '.'].map(|end| format!("{module}{end}"));
    let own: Vec<&str> =
        files.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).collect();
    let is_there = |line: &&str| metadata.with_file_name(line.split(',').next().unwrap_or_default()).exists();
    match own.as_slice() {
        [] => InstalledPackage::WithoutModule,
        // Python may have removed compiled files.
        _ if own.iter().filter(|line| !line.contains("__pycache__")).all(is_there) => InstalledPackage::Whole,
        _ => InstalledPackage::Missing,
    }
}

/// Returns the package of a module that Node did not find: `next/font` gives `next`.
fn node_package(module: &str) -> Option<&str> {
    let parts = if module.starts_with('@') { 2 } else { 1 };
    let end = module.match_indices('/').nth(parts - 1).map_or(module.len(), |(at, _)| at);
    Some(&module[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
