//! Predicts how the loaders of applications read env files, and finds the variables to leave to those loaders.
//!
//! Pure. All these loaders let a variable of the environment override every file. So devrun must not export the value
//! of `.env` if `.env.development` has another one that the application's own loader would use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::envfile::{EnvFile, EnvFileOrigin};
use crate::config::guessed_needs;
use crate::plan::{EnvLine, RunCommand};

/// Modes that env files are named after; each such file may have a `.local` variant.
const MODES: [&str; 3] = ["development", "production", "test"];

/// The loader that reads env files for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// The program reads the files of its folder as Next.js does: `.env.local` overrides `.env.development`.
    /// <https://nextjs.org/docs/app/guides/environment-variables#environment-variable-load-order>
    Next,
    /// As Vite does: `.env.development` overrides `.env.local`. <https://vite.dev/guide/env-and-mode#env-files>
    Vite,
    /// A Python program, which names its env files in code.
    Python,
    /// An unknown program.
    Other,
}

impl Loader {
    /// Returns the loader of the program that `run` starts.
    pub fn of(run: &RunCommand) -> Loader {
        match guessed_needs::first_program(run) {
            Some("next" | "react-scripts") => Loader::Next,
            Some("vite" | "astro" | "react-router" | "remix" | "rsbuild" | "svelte-kit" | "vinxi") => {
                Loader::Vite
            }
            Some(name) if guessed_needs::is_python_tool(name) => Loader::Python,
            _ => Loader::Other,
        }
    }

    /// Returns true if the program reads the files of its folder by itself.
    pub fn reads_its_folder(self) -> bool {
        matches!(self, Loader::Next | Loader::Vite)
    }

    /// Returns the names of the files that the loader reads in a mode, weakest first.
    pub fn files(self, mode: &str) -> Vec<String> {
        let (plain, of_mode) = (".env".to_string(), format!(".env.{mode}"));
        let (local, own) = (".env.local".to_string(), format!(".env.{mode}.local"));
        match self {
            Loader::Vite => vec![plain, local, of_mode, own],
            // Next.js skips `.env.local` in tests, so that they give the same result on every machine.
            Loader::Next | Loader::Other if mode == "test" => vec![plain, of_mode, own],
            Loader::Next | Loader::Other => vec![plain, of_mode, local, own],
            Loader::Python => vec![plain],
        }
    }
}

/// Returns the mode files that a loader of Node programs may read beside `env_files`, in every folder with a
/// package.json.
pub fn beside(env_files: &[PathBuf], is_package: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let folders: BTreeSet<&Path> = env_files.iter().filter_map(|file| file.parent()).collect();
    let names = MODES.iter().flat_map(|mode| [format!(".env.{mode}"), format!(".env.{mode}.local")]);
    let names: Vec<String> = names.collect();
    let packages = folders.into_iter().filter(|folder| is_package(folder));
    let all = packages.flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.filter(|file| !env_files.contains(file)).collect()
}

/// A variable that devrun leaves to the loader of the application.
#[derive(Clone, PartialEq, Eq)]
pub struct LoaderVariable {
    /// The value from `env_files`.
    pub plain: Option<String>,
    /// The value that the loader uses.
    pub loaded: Option<String>,
    /// The line with that value.
    pub line: Option<EnvLine>,
}

/// Prints no value: values are secrets.
impl std::fmt::Debug for LoaderVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Left")
    }
}

/// Adds the mode files to `files`, and removes every variable that a mode file sets, because the loader decides on its
/// value. In the mode `test`, also removes the variables of `.env.local` beside a mode file, which the loader does not
/// read. Returns the removed variables. If the loader's choice is in a file that this worktree lacks, keeps that one value
/// and does not return the variable.
pub fn separate_loader_variables(
    files: &mut Vec<EnvFile>,
    modes: Vec<EnvFile>,
    mode: &str,
) -> BTreeMap<String, LoaderVariable> {
    let modes: Vec<EnvFile> = modes.into_iter().filter(|file| file.found != EnvFileOrigin::Nowhere).collect();
    let folders: BTreeSet<PathBuf> =
        modes.iter().filter_map(|file| Some(file.name.parent()?.into())).collect();
    let mut names: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    for folder in &folders {
        let skipped = mode == "test";
        let local = files.iter().filter(|file| skipped && file.name == folder.join(".env.local"));
        let of_mode = modes.iter().filter(|file| file.name.parent() == Some(folder));
        for (name, _) in of_mode.chain(local).flat_map(|file| &file.vars) {
            names.insert((folder.clone(), name.clone()));
        }
    }
    let plain: BTreeMap<String, String> = files.iter().flat_map(|file| file.vars.iter().cloned()).collect();
    files.extend(modes);
    let mut left = BTreeMap::new();
    for (folder, name) in names {
        let order = Loader::Next.files(mode);
        let value = |file: &EnvFile| {
            file.vars.iter().rfind(|(other, _)| *other == name).map(|(_, value)| value.clone())
        };
        let winner = order.iter().rev().find_map(|one| {
            let at = files.iter().position(|file| file.name == folder.join(one) && value(file).is_some())?;
            Some((at, files[at].found.clone(), value(&files[at])))
        });
        let kept =
            winner.as_ref().filter(|(_, found, _)| *found != EnvFileOrigin::Worktree).map(|(at, _, _)| *at);
        for (index, file) in files.iter_mut().enumerate() {
            if file.name.parent() == Some(&folder) && Some(index) != kept {
                file.vars.retain(|(other, _)| *other != name);
            }
        }
        if kept.is_none() {
            let line = winner.as_ref().and_then(|(at, _, _)| files[*at].line(&name));
            let loaded = winner.and_then(|(_, _, value)| value);
            left.insert(name.clone(), LoaderVariable { plain: plain.get(&name).cloned(), loaded, line });
        }
    }
    left
}

/// Returns the variables that `files`, weakest first, give a process in `directory`. Leaves out variables from a file
/// of this worktree that the program's own loader reads, unless the common environment (`common`) has another value,
/// which would override the file.
pub fn given(
    loader: Loader,
    directory: &Path,
    files: &[EnvFile],
    common: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut vars: BTreeMap<String, (bool, String)> = BTreeMap::new();
    for file in files {
        let is_read = loader.reads_its_folder()
            && file.found == EnvFileOrigin::Worktree
            && file.name.parent() == Some(directory);
        vars.extend(file.vars.iter().map(|(name, value)| (name.clone(), (is_read, value.clone()))));
    }
    let differs = |name: &str, value: &str| common(name).is_some_and(|other| other != value);
    vars.into_iter()
        .filter(|(name, (is_read, value))| !is_read || differs(name, value))
        .map(|(name, (_, value))| (name, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, found: EnvFileOrigin, vars: &[(&str, &str)]) -> EnvFile {
        let lines = vars.iter().map(|(name, _)| ((*name).into(), 1)).collect();
        let vars = vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        EnvFile {
            name: name.into(),
            found,
            vars,
            lines,
            left_out: Vec::new(),
            passed_over: None,
            warnings: Vec::new(),
        }
    }

    fn exported(files: &[EnvFile]) -> Vec<(&str, &str)> {
        files
            .iter()
            .flat_map(|file| &file.vars)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn a_variable_that_a_mode_file_names_is_left_to_the_loader() {
        let mut files = vec![file(".env", EnvFileOrigin::Worktree, &[("API", "prod"), ("B", "b")])];
        let modes = vec![file(".env.development", EnvFileOrigin::Worktree, &[("API", "dev")])];
        let left = separate_loader_variables(&mut files, modes, "development");
        assert_eq!(exported(&files), [("B", "b")]);
        let api = &left["API"];
        assert_eq!((api.plain.as_deref(), api.loaded.as_deref()), (Some("prod"), Some("dev")));
    }

    #[test]
    fn env_files_of_the_main_worktree_are_exported_in_the_loaders_order() {
        let load = |mode: &str| {
            let mut files = vec![file(".env", EnvFileOrigin::Main, &[("A", "env"), ("B", "env")])];
            let modes = vec![
                file(".env.development", EnvFileOrigin::Worktree, &[("A", "dev")]),
                file(".env.development.local", EnvFileOrigin::Main, &[("B", "own"), ("C", "own")]),
            ];
            separate_loader_variables(&mut files, modes, mode);
            exported(&files).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(load("development"), ["B=own", "C=own"]);
        assert_eq!(load("test"), ["A=env", "B=env"]);
    }

    #[test]
    fn tests_do_not_read_the_local_file() {
        let mut files = vec![
            file(".env", EnvFileOrigin::Worktree, &[("A", "env")]),
            file(".env.local", EnvFileOrigin::Worktree, &[("A", "local"), ("B", "local")]),
        ];
        let modes = vec![file(".env.test", EnvFileOrigin::Worktree, &[("C", "test")])];
        let left = separate_loader_variables(&mut files, modes, "test");
        assert!(exported(&files).is_empty());
        assert_eq!(left["A"].loaded.as_deref(), Some("env"));
        assert_eq!(left["A"].line.as_ref().unwrap().at.to_string(), ".env:1");
        assert_eq!(left["B"].loaded, None);
    }

    #[test]
    fn a_loader_reads_the_files_of_its_folder_by_itself() {
        let files = [
            file("web/.env", EnvFileOrigin::Main, &[("A", "main"), ("B", "main")]),
            file("web/.env.local", EnvFileOrigin::Worktree, &[("B", "here"), ("C", "here")]),
        ];
        let get = |loader, common: &[(&str, &str)]| {
            let find = |name: &str| {
                common.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_string())
            };
            let vars = given(loader, Path::new("web"), &files, &find);
            vars.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(get(Loader::Next, &[]), ["A=main"]);
        assert_eq!(get(Loader::Next, &[("C", "top")]), ["A=main", "C=here"]);
        assert_eq!(get(Loader::Python, &[]), ["A=main", "B=here", "C=here"]);
    }

    #[test]
    fn the_program_decides_which_loader_it_is() {
        for (run, loader) in [
            ("next dev --port $PORT", Loader::Next),
            ("node_modules/.bin/vite --port $PORT", Loader::Vite),
            ("uvicorn app.main:app", Loader::Python),
            ("npm run dev", Loader::Other),
            ("a | b", Loader::Other),
        ] {
            assert_eq!(Loader::of(&RunCommand::Shell(run.into())), loader, "{run}");
        }
    }

    #[test]
    fn mode_files_are_searched_beside_packages_only() {
        let files = [".env".into(), "web/.env".into(), "web/.env.test".into()];
        let all = beside(&files, &|folder| folder == Path::new("web"));
        assert_eq!(all.len(), 5);
        assert!(all.contains(&"web/.env.development.local".into()));
    }
}
