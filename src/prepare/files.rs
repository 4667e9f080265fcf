//! Reads the env files of a worktree: those of all processes, and those of single processes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::envfile::{self, EnvFile, EnvFilePlaces};
use crate::config::loader::{self, LoaderVariable};
use crate::config::{Config, ConfigError};

/// The content of the env files of a worktree.
#[derive(Clone)]
pub struct Files {
    /// Env files of all processes, weakest first, and the mode files beside them.
    pub common: Vec<EnvFile>,
    /// Env files of single processes, by the process's name, weakest first.
    pub own: BTreeMap<String, Vec<EnvFile>>,
    /// The name of each file that was read or looked for.
    pub names: BTreeSet<PathBuf>,
    /// Files that may be links out of the worktree.
    pub outside: Vec<PathBuf>,
    /// Variables that are left to the loaders of the applications.
    pub left: BTreeMap<String, LoaderVariable>,
}

/// Prints names only: values are secrets.
impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("common", &self.common).field("own", &self.own).finish_non_exhaustive()
    }
}

impl Files {
    /// Reads each file once. `tidy` removes variables that belong to another worktree from a file.
    pub(super) fn load(
        config: &Config,
        places: EnvFilePlaces<'_>,
        inherited: &BTreeMap<OsString, OsString>,
        tidy: &mut dyn FnMut(&mut EnvFile),
    ) -> Result<Files, ConfigError> {
        let mut read = |names: &[PathBuf]| -> Result<Vec<EnvFile>, ConfigError> {
            let mut files = envfile::load(names, places, inherited)?;
            files.iter_mut().for_each(&mut *tidy);
            Ok(files)
        };
        let mut common = read(&config.env_files)?;
        let mut known = common.clone();
        let mut own = BTreeMap::new();
        for process in config.processes.iter().filter(|process| !process.env_files.is_empty()) {
            let is_known = |name: &PathBuf| known.iter().any(|file| file.name == *name);
            let missing: Vec<PathBuf> =
                process.env_files.iter().filter(|name| !is_known(name)).cloned().collect();
            known.extend(read(&missing)?);
            let found = |name: &PathBuf| known.iter().find(|file| file.name == *name).cloned();
            own.insert(process.name.clone(), process.env_files.iter().filter_map(found).collect());
        }
        let is_package = |folder: &Path| places.root.join(folder).join("package.json").is_file();
        let modes = read(&loader::beside(&config.env_files, &is_package))?;
        let mode = inherited.get(std::ffi::OsStr::new("NODE_ENV")).and_then(|mode| mode.to_str());
        let names = known.iter().chain(&modes).map(|file| file.name.clone()).collect();
        let left = loader::separate_loader_variables(&mut common, modes, mode.unwrap_or("development"));
        Ok(Files { common, own, names, outside: places.outside.into(), left })
    }

    /// Returns a sentence for each file that is read in place of a missing one. Does not name the variables that devrun sets
    /// for every process.
    pub(super) fn replacements(&self, config: &Config) -> Vec<String> {
        let is_bound = |name: &str| {
            config.provenance.bindings.iter().any(|one| one.name == name && one.process.is_none())
        };
        let is_set = |name: &str| {
            is_bound(name)
                || config.env.iter().any(|(set, _)| set == name)
                || config.url_env().iter().any(|variable| variable.name == name)
        };
        self.all().filter_map(|file| file.replacement(&is_set)).collect()
    }

    /// Iterates over every file once.
    pub fn all(&self) -> impl Iterator<Item = &EnvFile> {
        let mut seen = BTreeSet::new();
        self.common.iter().chain(self.own.values().flatten()).filter(move |file| seen.insert(&file.name))
    }
}
