//! The virtual environments of a worktree. Every program gets the main Python project's, except programs in the folder
//! of a further project, which get that project's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::environment;
use crate::config::error::ConfigError;

/// Python projects with their virtual environments, the main one first.
#[derive(Clone, Debug, Default)]
pub struct Venvs {
    all: Vec<(PathBuf, PathBuf)>,
}

impl Venvs {
    /// Takes pairs of a project's absolute folder and its virtual environment.
    pub fn new(all: impl IntoIterator<Item = (PathBuf, PathBuf)>) -> Venvs {
        Venvs { all: all.into_iter().collect() }
    }

    /// Returns the virtual environment of the main project.
    pub fn main(&self) -> Option<&Path> {
        self.all.first().map(|(_, venv)| venv.as_path())
    }

    /// Returns the virtual environment of the innermost project around `folder`, unless that is the main one.
    pub fn own(&self, folder: &Path) -> Option<&Path> {
        let covers = self.all.iter().filter(|(project, _)| folder.starts_with(project));
        let (_, venv) = covers.max_by_key(|(project, _)| project.components().count())?;
        Some(venv.as_path()).filter(|venv| Some(*venv) != self.main())
    }

    /// Returns `path` with the programs of `venv` in place of those of the main virtual environment.
    pub fn path_for(&self, path: Option<&OsString>, venv: &Path) -> Result<OsString, ConfigError> {
        let found = environment::path_with_venv(path, self.main(), Some(venv))?;
        Ok(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn venvs(folders: &[&str]) -> Venvs {
        Venvs::new(folders.iter().map(|folder| {
            let folder = Path::new("/w").join(folder);
            (folder.clone(), folder.join(".venv"))
        }))
    }

    #[test]
    fn a_program_gets_the_environment_of_the_project_around_it() {
        let venvs = venvs(&["", "reports", "reports/inner"]);
        assert_eq!(venvs.main(), Some(Path::new("/w/.venv")));
        for (folder, own) in [
            ("/w", None),
            ("/w/web", None),
            ("/w/reports", Some("/w/reports/.venv")),
            ("/w/reports/app", Some("/w/reports/.venv")),
            ("/w/reports/inner", Some("/w/reports/inner/.venv")),
            ("/w/reports2", None),
        ] {
            assert_eq!(venvs.own(Path::new(folder)), own.map(Path::new), "{folder}");
        }
        assert_eq!(Venvs::default().own(Path::new("/w")), None);
    }

    #[test]
    fn its_programs_take_the_place_of_the_main_ones() {
        let venvs = venvs(&["backend", "reports"]);
        let path = OsString::from("/w/backend/.venv/bin:/usr/bin");
        let own = venvs.own(Path::new("/w/reports")).unwrap();
        assert_eq!(venvs.path_for(Some(&path), own).unwrap(), "/w/reports/.venv/bin:/usr/bin");
    }
}
