//! Returns the variables that env files give to the processes of a worktree.

use std::collections::BTreeMap;
use std::path::Path;

use super::ResolvedWorktree;
use crate::config::envfile::EnvFile;
use crate::config::loader::{self, Loader};
use crate::config::{environment, given_databases, model, other_databases};
use crate::plan::{EnvLine, Environment, OtherDatabaseVariable, RunCommand};

impl ResolvedWorktree {
    /// Returns the variables that env files give `process` on top of the common environment `env`.
    pub(super) fn given(
        &self,
        env: &Environment,
        process: &model::ProcessConfig,
    ) -> BTreeMap<String, String> {
        self.vars(env, Loader::of(&process.run), Some(process))
    }

    /// Returns the variables of [`ResolvedWorktree::given`], each with the line that sets it.
    pub(super) fn given_lines(
        &self,
        env: &Environment,
        process: &model::ProcessConfig,
    ) -> BTreeMap<String, (String, Option<EnvLine>)> {
        let own = self.files.own.get(&process.name);
        let files: Vec<&EnvFile> = self.files.common.iter().chain(own.into_iter().flatten()).collect();
        let line = |name: &str, value: &str| {
            let giver = files.iter().rev().find(|file| file.value(name) == Some(value));
            let named = || files.iter().rev().find_map(|file| file.line(name));
            giver.and_then(|file| file.line(name)).or_else(named)
        };
        let given = self.given(env, process).into_iter();
        given.map(|(name, value)| (name.clone(), (value.clone(), line(&name, &value)))).collect()
    }

    /// Returns the variables that env files give the command `run` in `folder`. They are those of the process with env
    /// files whose folder is the nearest one at or above `folder`.
    pub fn given_in(&self, env: &Environment, folder: &Path, run: &RunCommand) -> BTreeMap<String, String> {
        let inner = folder.strip_prefix(&self.worktree.path).unwrap_or(Path::new(""));
        let all = self.config.processes.iter().filter(|process| !process.env_files.is_empty());
        let around = all.filter(|process| inner.starts_with(plain(&process.directory)));
        let owner = around.max_by_key(|process| plain(&process.directory).components().count());
        self.vars(env, Loader::of(run), owner)
    }

    fn vars(
        &self,
        env: &Environment,
        loader: Loader,
        owner: Option<&model::ProcessConfig>,
    ) -> BTreeMap<String, String> {
        let mut vars = BTreeMap::new();
        if loader == Loader::Python {
            let plain =
                self.files.left.iter().filter_map(|(name, left)| Some((name.clone(), left.plain.clone()?)));
            vars.extend(plain);
        }
        if let Some(owner) = owner
            && let Some(files) = self.files.own.get(&owner.name)
        {
            let common = |name: &str| {
                let value = env.vars.get(std::ffi::OsStr::new(name))?;
                Some(value.to_string_lossy().into_owned())
            };
            vars.extend(loader::given(Loader::of(&owner.run), plain(&owner.directory), files, &common));
        }
        vars.retain(|name, value| environment::accepts(&self.config, env, name, value));
        vars
    }

    /// Returns the variables in env files of single processes that name another Postgres.
    pub(super) fn led_elsewhere(&self, env: &Environment, own: Option<&str>) -> Vec<OtherDatabaseVariable> {
        let mut all: Vec<OtherDatabaseVariable> = Vec::new();
        for process in self.config.processes.iter().filter(|_| self.config.database.is_some()) {
            let own_files = self.given(env, process);
            let mut given = environment::given_values(&env.vars, &env.origins);
            given.extend(own_files.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let decided = given_databases::decided(&self.config, Some(process));
            for one in other_databases::find(&given, &decided, own) {
                if !all.iter().chain(&env.elsewhere).any(|other| other.name == one.name) {
                    all.push(one);
                }
            }
        }
        all
    }
}

/// Returns `folder` without a leading `.`, so the top of the worktree is empty, as in paths of env files.
fn plain(folder: &Path) -> &Path {
    folder.strip_prefix(".").unwrap_or(folder)
}
