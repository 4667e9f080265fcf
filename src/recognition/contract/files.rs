//! Finds the env files of a single part: those of its folder, in the order of its loader, or those that its code names.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::super::facts::{Facts, Giver};
use super::super::parts::{Part, PartKind, Parts};
use super::evidence::{is_product, without_dots};
use crate::config::loader::Loader;
use crate::config::schema;
use crate::plan::RunCommand;

/// Returns the env files of each part that has any, weakest first. A folder counts if it has an env file or an example,
/// or if that folder of the main worktree has an env file. Files at the top belong to every process.
pub(super) fn of_parts(facts: &Facts, parts: &Parts) -> BTreeMap<String, Vec<PathBuf>> {
    let with_files = parts.processes.iter().filter(|part| part.kind != PartKind::Service);
    with_files
        .map(|part| (part.name.clone(), of_part(facts, part)))
        .filter(|(_, files)| !files.is_empty())
        .collect()
}

fn of_part(facts: &Facts, part: &Part) -> Vec<PathBuf> {
    let folder = home(facts, part);
    let loader = Loader::of(&RunCommand::Shell(part.run.clone()));
    let mut files: Vec<PathBuf> = if loader.reads_its_folder() {
        loader.files(mode(&part.run)).into_iter().map(|name| folder.join(name)).collect()
    } else {
        let mut named = named(facts, part, &folder);
        if named.is_empty() {
            named.push(folder.join(".env"));
        }
        named
    };
    let common = schema::default_env_files();
    files.retain(|file| {
        let top = loader.reads_its_folder() && folder.as_os_str().is_empty();
        !top && !common.contains(file) && file.parent().is_some_and(|folder| has_files(facts, folder))
    });
    files
}

/// Returns the folder with the env files of the part: the one that it runs in, or the one of its project if only that one has env
/// files. A worker of a package below `src` runs in `src`.
fn home(facts: &Facts, part: &Part) -> PathBuf {
    let own = without_dots(&part.directory);
    let mut projects = part.sources.iter().map(|source| without_dots(source));
    let above = projects.find(|project| own.starts_with(project) && has_files(facts, project));
    if has_files(facts, &own) { own } else { above.unwrap_or(own) }
}

/// Returns the mode in a command of Vite.
fn mode(run: &str) -> &str {
    let mut words = run.split_whitespace();
    let found = words.find_map(|word| word.strip_prefix("--mode")).map(|rest| rest.strip_prefix('='));
    found.and_then(|named| named.or_else(|| words.next())).unwrap_or("development")
}

fn has_files(facts: &Facts, folder: &Path) -> bool {
    facts.values.iter().any(|given| {
        matches!(given.by, Giver::EnvFile | Giver::MainEnvFile | Giver::Example)
            && given.at.file.parent() == Some(folder)
    })
}

/// Returns the files that the code of the part names.
fn named(facts: &Facts, part: &Part, folder: &Path) -> Vec<PathBuf> {
    let roots: Vec<PathBuf> =
        std::iter::once(&part.directory).chain(&part.sources).map(|root| without_dots(root)).collect();
    let mut files = Vec::new();
    for load in &facts.loads {
        let file = &load.at.file;
        if !is_product(file) || !roots.iter().any(|root| file.starts_with(root)) {
            continue;
        }
        let path = match (load.file.as_str(), load.from_code) {
            ("", _) => Some(folder.join(".env")),
            (file, true) => inside(Path::new(""), file),
            (file, false) => inside(folder, file),
        };
        files.extend(path.filter(|path| !files.contains(path)));
    }
    files
}

/// Returns `file`, given relative to `folder`, as a path in the worktree; `None` if it leads out of the worktree.
fn inside(folder: &Path, file: &str) -> Option<PathBuf> {
    let mut path = folder.to_path_buf();
    for part in Path::new(file).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => path.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Load;
    use super::super::test_repo::{TestRepo, spot};
    use super::*;

    fn files(repo: &TestRepo, part: &str) -> Vec<String> {
        let all = of_parts(&repo.facts, &repo.parts);
        all.get(part).into_iter().flatten().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn a_part_has_the_files_of_its_folder_in_its_loaders_order() {
        let mut repo = TestRepo::new().env("frontend/.env.local", "A=1").env("backend/.env.example", "B=1");
        let next = [
            "frontend/.env",
            "frontend/.env.development",
            "frontend/.env.local",
            "frontend/.env.development.local",
        ];
        assert_eq!(files(&repo, "frontend"), next);
        assert_eq!(files(&repo, "backend"), ["backend/.env"]);
        repo.parts.processes[1].run = "vite --mode staging --port $PORT".into();
        let vite =
            ["frontend/.env", "frontend/.env.local", "frontend/.env.staging", "frontend/.env.staging.local"];
        assert_eq!(files(&repo, "frontend"), vite);
    }

    #[test]
    fn the_files_that_the_code_names_are_the_parts() {
        let mut repo = TestRepo::new().env("backend/config/dev.env", "A=1").env(".env", "B=1");
        let load =
            |file: &str| Load { at: spot("backend/app/settings.py", 3), file: file.into(), from_code: false };
        repo.facts.loads =
            vec![load("../.env"), load("config/dev.env"), load("../../out.env"), load("/etc/app.env")];
        assert_eq!(
            files(&repo, "backend"),
            ["backend/config/dev.env"],
            "those of the top belong to every process"
        );
    }

    #[test]
    fn a_worker_in_a_source_folder_has_the_files_of_its_project() {
        let mut repo = TestRepo::new().env("backend/.env", "A=1");
        let worker = &mut repo.parts.processes[0];
        (worker.directory, worker.run) = ("backend/src".into(), "celery -A app.worker worker".into());
        worker.sources = vec!["backend".into()];
        assert_eq!(files(&repo, "backend"), ["backend/.env"]);
        let load = Load { at: spot("backend/src/app/settings.py", 3), file: ".env".into(), from_code: false };
        repo.facts.loads = vec![load];
        assert_eq!(files(&repo, "backend"), ["backend/.env"]);
    }

    #[test]
    fn a_folder_without_any_env_file_has_none() {
        assert!(of_parts(&TestRepo::new().env(".env", "A=1").facts, &TestRepo::new().parts).is_empty());
    }
}
