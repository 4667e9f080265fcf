//! Binds the variables of env files and of the shell that lead to a local Postgres to the branch database.
//!
//! The rules are in `config::given_databases`. The result is part of the configuration, as the bindings of recognition are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::files::Files;
use crate::config::envfile::EnvFile;
use crate::config::given_databases::{self, GivenValues, ReplacedVariable};
use crate::config::interpolate::Template;
use crate::config::model::{ProcessConfig, UrlVariable};
use crate::config::source::{ConfigPosition, Source};
use crate::config::url_forms::UrlForm;
use crate::config::{Config, environment};
use crate::plan::{BoundVariable, FileLine, Reason};

/// A variable to bind, and the process that gets it. `None` stands for every process.
struct GivenBinding {
    process: Option<String>,
    variable: ReplacedVariable,
    source: Option<FileLine>,
}

/// Adds the bindings to `config`, and the forms of the URLs that env files or the shell give to variables of `url_env`.
pub(super) fn bind(config: &mut Config, files: &Files, inherited: &BTreeMap<OsString, OsString>) {
    if config.database.is_none() {
        return;
    }
    let given = Given { files, inherited };
    let common = environment::with_left(environment::layer(&files.common, inherited), &files.left);
    let mut common = environment::given_values(&common, &BTreeMap::new());
    add_left_out(&mut common, &files.common);
    let with_own = |process: &ProcessConfig| {
        let own = files.own.get(&process.name)?;
        Some((process.name.clone(), given.with_own(&common, own)))
    };
    let own: Vec<(String, GivenValues<'_>)> = config.processes.iter().filter_map(with_own).collect();
    let forms: Vec<Option<UrlForm>> =
        config.url_env().iter().map(|variable| form(variable, &common, &own)).collect();
    let bindings = given.bindings(config, &common, &own);
    let kept = given.kept(config, &common);
    let urls = config.database.iter_mut().flat_map(|database| &mut database.url_env);
    urls.zip(forms).for_each(|(variable, form)| variable.form = form.unwrap_or_default());
    for binding in bindings {
        add(config, binding);
    }
    for (process, name, template) in kept {
        if let Some(env) = of_process(config, &process) {
            env.push((name, template));
        }
    }
}

/// The env files of a worktree, and the environment above them.
struct Given<'a> {
    files: &'a Files,
    inherited: &'a BTreeMap<OsString, OsString>,
}

impl<'a> Given<'a> {
    /// Returns the values that a process with the env files `own` gets on top of `common`.
    fn with_own(&self, common: &GivenValues<'a>, own: &'a [EnvFile]) -> GivenValues<'a> {
        let mut values = common.clone();
        let vars = own.iter().flat_map(|file| &file.vars);
        let vars = vars.filter(|(name, _)| !self.inherited.contains_key(OsStr::new(name)));
        values.extend(vars.map(|(name, value)| (name.as_str(), value.as_str())));
        add_left_out(&mut values, own);
        values
    }

    /// Returns the bindings: one for every process where the processes agree, else one for each process.
    fn bindings(
        &self,
        config: &Config,
        common: &GivenValues<'_>,
        own: &[(String, GivenValues<'_>)],
    ) -> Vec<GivenBinding> {
        let shared = given_databases::replaced(common, &given_databases::decided(config, None));
        let mut of_processes: Vec<(String, ReplacedVariable)> = Vec::new();
        for (process, values) in own {
            let known = config.processes.iter().find(|known| known.name == *process);
            let replaced = given_databases::replaced(values, &given_databases::decided(config, known));
            let new = replaced.into_iter().filter(|one| !shared.contains(one));
            of_processes.extend(new.map(|one| (process.clone(), one)));
        }
        let is_shared = |one: &ReplacedVariable| {
            let differs = |other: &ReplacedVariable| other.name == one.name && other != one;
            !shared.iter().any(differs) && !of_processes.iter().any(|(_, other)| differs(other))
        };
        let mut bindings: Vec<GivenBinding> = Vec::new();
        for (process, variable) in &of_processes {
            let source = self.line(&variable.name, self.files.own.get(process).map_or(&[], Vec::as_slice));
            let process = (!is_shared(variable)).then(|| process.clone());
            if !bindings.iter().any(|one| one.variable == *variable && one.process == process) {
                bindings.push(GivenBinding { process, variable: variable.clone(), source });
            }
        }
        let shared = shared.into_iter().map(|variable| {
            let source = self.line(&variable.name, &[]);
            GivenBinding { process: None, variable, source }
        });
        shared.chain(bindings).collect()
    }

    /// Returns the variables that keep their given values for one process, because its `env:` chooses the server of their family.
    fn kept(&self, config: &Config, common: &GivenValues<'a>) -> Vec<(String, String, Template)> {
        let mut kept = Vec::new();
        for process in config.processes.iter().filter(|process| !process.env.is_empty()) {
            let own = self.files.own.get(&process.name).map_or(&[][..], Vec::as_slice);
            let values = self.with_own(common, own);
            let bound =
                |process| given_databases::replaced(&values, &given_databases::decided(config, process));
            let (of_all, of_process) = (bound(None), bound(Some(process)));
            let is_written = |name: &str| process.env.iter().any(|(written, _)| written == name);
            for ReplacedVariable { name, reason, .. } in of_all.iter().filter(|one| !of_process.contains(one))
            {
                if *reason == Reason::DatabasePart && !is_written(name) {
                    let text = values[name.as_str()].replace('$', "$$");
                    kept.push((
                        process.name.clone(),
                        name.clone(),
                        template(text, self.line(name, own).as_ref()),
                    ));
                }
            }
        }
        kept
    }

    /// Returns the line of an env file that gives the variable; `None` if the shell does.
    fn line(&self, name: &str, own: &[EnvFile]) -> Option<FileLine> {
        if self.inherited.contains_key(OsStr::new(name)) {
            return None;
        }
        let left = self.files.left.get(name).and_then(|left| left.line.clone());
        let files = own.iter().rev().chain(self.files.common.iter().rev());
        Some(left.or_else(|| files.into_iter().find_map(|file| file.line(name)))?.at)
    }
}

/// Adds the values that `files` leave out, where nothing else gives the variable.
fn add_left_out<'a>(values: &mut GivenValues<'a>, files: &'a [EnvFile]) {
    for (name, value) in files.iter().rev().flat_map(|file| &file.left_out) {
        values.entry(name).or_insert(value);
    }
}

/// Returns the form of a variable of `url_env`: the configured one, else that of the value that every process gets, else of the
/// value that a single process gets.
fn form(
    variable: &UrlVariable,
    common: &GivenValues<'_>,
    own: &[(String, GivenValues<'_>)],
) -> Option<UrlForm> {
    if variable.form != UrlForm::default() {
        return Some(variable.form.clone());
    }
    let mut all = std::iter::once(common).chain(own.iter().map(|(_, values)| values));
    all.find_map(|values| given_databases::form(values.get(variable.name.as_str())?))
}

fn add(config: &mut Config, GivenBinding { process, variable, source }: GivenBinding) {
    let ReplacedVariable { name, template: text, reason } = variable;
    let env = match &process {
        None => Some(&mut config.env),
        Some(process) => of_process(config, process),
    };
    let Some(env) = env else { return };
    env.push((name.clone(), template(text, source.as_ref())));
    config.provenance.bindings.push(BoundVariable { name, process, reason, source, read: None });
}

/// Returns the `env:` of a process.
fn of_process<'a>(config: &'a mut Config, process: &str) -> Option<&'a mut Vec<(String, Template)>> {
    let mut processes = config.processes.iter_mut();
    processes.find(|known| known.name == process).map(|process| &mut process.env)
}

/// Returns a template whose place is `line`, or the environment if there is no line.
fn template(text: String, line: Option<&FileLine>) -> Template {
    let file = line.map_or_else(|| "environment".into(), |line| line.file.display().to_string());
    let at = ConfigPosition::line(&Source::new(file, ""), line.map_or(0, |line| line.line));
    Template::new(text, &at)
}

#[cfg(test)]
mod tests;
