//! The environment variables of a worktree as database providers read them, with the place that sets each one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::ResolvedWorktree;
use crate::config::envfile::{self, EnvFile, EnvFileOrigin, EnvFilePlaces};
use crate::context::Context;
use crate::database::variables::{Variable, Variables};

/// The environment devrun was started with, the variables of the login shell, and the env files of all processes of a worktree.
pub(super) struct VariableSources<'a> {
    pub(super) ctx: &'a Context,
    pub(super) resolved: &'a ResolvedWorktree,
}

impl VariableSources<'_> {
    fn file(&self, variable: &Variable) -> Option<&EnvFile> {
        self.resolved.files.common.get(variable.file?)
    }

    /// Returns true if `file` alone gives `secret` its value. `NEON_API_KEY=${OTHER}` in a file is as secret as what it
    /// copies, which the file does not hold.
    fn holds(&self, file: &EnvFile, secret: &Variable) -> bool {
        let worktree = &self.resolved.worktree;
        let main = worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
        let names = std::slice::from_ref(&file.name);
        let others = crate::worktree::others(worktree);
        let places = EnvFilePlaces {
            root: &worktree.path,
            main,
            others: &others,
            leased: &[],
            examples: false,
            outside: &self.resolved.files.outside,
        };
        let alone = envfile::load(names, places, &BTreeMap::new());
        // A required `${NAME:?}` that is not set fails here, and is from elsewhere too.
        let Ok(alone) = alone else { return false };
        alone.iter().any(|file| last(file, &secret.name) == Some(&secret.value))
    }
}

impl Variables for VariableSources<'_> {
    fn of_commands(&self) -> BTreeMap<OsString, OsString> {
        let mut vars = self.resolved.install_env();
        vars.retain(|name, _| !name.as_encoded_bytes().starts_with(b"DEVRUN_"));
        // By the tag, the next run finds processes that a killed run left.
        let tag = self.ctx.env.get_key_value(OsStr::new(crate::context::variables::RUN));
        vars.extend(tag.map(|(name, value)| (name.clone(), value.clone())));
        vars
    }

    fn find(&self, name: &str) -> Option<Variable> {
        let (value, place, file) = match self.ctx.env.get(OsStr::new(name)) {
            Some(value) => (value.to_str()?, "environment".into(), None),
            None if self.resolved.login_shell.contains(name) => {
                let value = self.resolved.inherited.get(OsStr::new(name))?;
                (value.to_str()?, "login shell".into(), None)
            }
            None => self
                .resolved
                .files
                .common
                .iter()
                .enumerate()
                .rev()
                // The key in an example is a placeholder.
                .filter(|(_, file)| !matches!(file.found, EnvFileOrigin::Example(_)))
                .find_map(|(number, file)| Some((last(file, name)?, file.place(), Some(number))))?,
        };
        let is_set = !value.trim().is_empty();
        is_set.then(|| Variable { name: name.into(), value: value.into(), place, file })
    }

    fn may_direct(&self, setting: &Variable, secret: &Variable) -> bool {
        if setting.file.is_none() {
            return true;
        }
        setting.file == secret.file && self.file(secret).is_some_and(|file| self.holds(file, secret))
    }
}

/// Returns the value of `name` in `file`; of two the later counts.
fn last<'a>(file: &'a EnvFile, name: &str) -> Option<&'a str> {
    file.vars.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
