//! Cases for `parts`, one per behaviour. Facts are written by hand, so that each case shows what it depends on.

mod applications;
mod data;
mod frontends;
mod processes;

use super::*;
use crate::recognition::facts::{
    Application, ApplicationKind, Author, Command, Import, PythonModule, ReadConstruct, Service, VariableRead,
};

/// A worktree with these files, and its facts.
struct Repo {
    root: tempfile::TempDir,
    facts: Facts,
}

impl Repo {
    fn new(files: &[(&str, &str)]) -> Repo {
        let root = tempfile::tempdir().unwrap();
        let mut names: Vec<PathBuf> = Vec::new();
        for (name, text) in files {
            crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
            names.push(name.into());
        }
        names.sort_by_key(|name| (name.components().count(), name.clone()));
        names.dedup();
        Repo { root, facts: Facts { files: names, ..Facts::default() } }
    }

    /// Adds a module with objects and imports, each `module` or `module:name`.
    fn module(mut self, file: &str, objects: &[(&str, ApplicationKind)], imports: &[&str]) -> Repo {
        let application = |(name, kind): &(&str, ApplicationKind)| Application {
            name: (*name).into(),
            line: 3,
            kind: kind.clone(),
            includes: Vec::new(),
            hides_schema: false,
            needs_arguments: false,
        };
        let import = |text: &&str| {
            let (module, names) = text.split_once(':').unwrap_or((text, ""));
            let names = names.split(',').filter(|name| !name.is_empty()).map(Into::into).collect();
            Import { module: module.into(), names, line: 1 }
        };
        self.facts.modules.push(PythonModule {
            file: file.into(),
            applications: objects.iter().map(application).collect(),
            imports: imports.iter().map(import).collect(),
            routes: Vec::new(),
        });
        self
    }

    fn route(mut self, file: &str, path: &str) -> Repo {
        let module = self.facts.modules.iter_mut().find(|module| module.file == Path::new(file)).unwrap();
        module.routes.push((path.into(), "app".into()));
        self
    }

    fn command(mut self, file: &str, by: Author, directory: Option<&str>, text: &str) -> Repo {
        let line = u32::try_from(self.facts.commands.len()).unwrap() + 1;
        let at = FileLine { file: file.into(), line };
        self.facts.commands.push(Command { text: text.into(), at, by, directory: directory.map(Into::into) });
        self
    }

    fn service(mut self, service: Service) -> Repo {
        self.facts.services.push(service);
        self
    }

    fn reads(mut self, name: &str, default: Option<&str>) -> Repo {
        self.facts.reads.push(VariableRead {
            name: name.into(),
            aliases: Vec::new(),
            at: FileLine { file: "app/settings.py".into(), line: 1 },
            by: ReadConstruct::Settings,
            required: default.is_none(),
            default: default.map(Into::into),
            min_length: None,
            refused: Vec::new(),
            list: false,
        });
        self
    }

    /// Returns the parts, with every program available.
    fn parts(&self) -> Parts {
        find(self.root.path(), &self.facts, &|_| true)
    }

    fn part(&self, name: &str) -> Part {
        let parts = self.parts();
        let found = parts.processes.iter().find(|part| part.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {parts:#?}")).clone()
    }

    /// Returns the backend's command and its folder.
    fn backend(&self) -> (String, String) {
        let part = self.part("backend");
        (part.run, part.directory.display().to_string())
    }
}

fn names(parts: &Parts) -> Vec<&str> {
    parts.processes.iter().map(|part| part.name.as_str()).collect()
}

#[test]
fn an_empty_worktree_has_no_parts() {
    assert_eq!(Repo::new(&[("README.md", ""), ("package.json", "{ broken")]).parts(), Parts::default());
}
