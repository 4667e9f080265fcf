//! `devrun env --explain`: explains where the value of each variable comes from, and why. Pure.

#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde::Serialize;

pub(super) use self::text::text;
use super::MASK;
use crate::config::envfile::{EnvFile, EnvFileOrigin};
use crate::config::environment;
use crate::config::source::ConfigPosition;
use crate::context::variables;
use crate::plan::{
    BoundVariable, Computed, EnvFileWorktree, EnvLine, Environment, FileLine, ForeignVariable, Origin,
    Process, Reason,
};
use crate::prepare::{self, Files, Preview};
use crate::recognition::contract::is_typed;
use crate::text::{is_secret, shown_url};

/// The input of an explanation.
pub(super) struct ExplainInput<'a> {
    env: &'a Environment,
    processes: Vec<ProcessVariables<'a>>,
    bindings: &'a [BoundVariable],
    files: &'a Files,
    inherited: &'a BTreeMap<OsString, OsString>,
    login_shell: &'a BTreeSet<String>,
    /// Variables that were removed because they lead into another worktree.
    foreign: &'a [ForeignVariable],
    /// The files of `env_out` without a template, with their variables.
    written: Vec<(PathBuf, BTreeSet<String>)>,
    /// Variables that get the branch database's URL, with the line of the configuration that names each.
    urls: BTreeMap<&'a str, Option<FileLine>>,
    /// Variables under `env:` of a process, or of every process, that have no value until the branch database exists.
    pending: BTreeMap<(Option<&'a str>, &'a str), Origin>,
    reveal: bool,
}

/// The variables of one process.
struct ProcessVariables<'a> {
    name: &'a str,
    env: &'a BTreeMap<String, String>,
    origins: &'a BTreeMap<String, Origin>,
    secrets: &'a BTreeSet<String>,
}

impl<'a> ExplainInput<'a> {
    /// Collects the input from a preview of the stack.
    pub(super) fn of(preview: &'a Preview, reveal: bool) -> ExplainInput<'a> {
        let Preview { plan, resolved, .. } = preview;
        let written = |at: &ConfigPosition| (at.line > 0).then(|| at.spot());
        let own = |process: &'a Process| ProcessVariables {
            name: &process.name,
            env: &process.env,
            origins: &process.origins,
            secrets: &process.secrets,
        };
        ExplainInput {
            env: &plan.env,
            processes: plan.processes.iter().map(own).collect(),
            bindings: &plan.bindings,
            files: &resolved.files,
            inherited: &resolved.inherited,
            login_shell: &resolved.login_shell,
            foreign: &resolved.foreign,
            written: prepare::env_out_variables(resolved, plan),
            pending: pending(preview),
            urls: resolved.config.url_env().iter().map(|url| (url.name.as_str(), written(&url.at))).collect(),
            reveal,
        }
    }
}

/// Returns the variables that the configuration sets and the plan does not have.
fn pending(preview: &Preview) -> BTreeMap<(Option<&str>, &str), Origin> {
    let Preview { plan, resolved, .. } = preview;
    let is_set = |origin: Option<&Origin>| {
        let of_service = Origin::Computed(Computed::Service);
        matches!(origin, Some(Origin::Recognised | Origin::Config(_))) || origin == Some(&of_service)
    };
    let mut all = BTreeMap::new();
    for (name, template) in resolved.config.env.iter().filter(|(name, _)| !is_set(plan.env.origins.get(name)))
    {
        all.insert((None, name.as_str()), environment::origin(&resolved.config, None, name, template));
    }
    for (written, process) in resolved.config.processes.iter().zip(&plan.processes) {
        for (name, template) in written.env.iter().filter(|(name, _)| !is_set(process.origins.get(name))) {
            let origin = environment::origin(&resolved.config, Some(&process.name), name, template);
            all.insert((Some(process.name.as_str()), name.as_str()), origin);
        }
    }
    all
}

/// One variable of the common environment or of one process.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Explanation {
    name: String,
    /// The process for which the value holds; every process when absent.
    process: Option<String>,
    /// The value, masked when it is secret; absent before the branch database exists, where the program reads the
    /// value itself, and for a variable that is not set.
    value: Option<String>,
    from: ValueOrigin,
    /// Why devrun set it.
    reason: Option<SetReason>,
    /// The line of code that reads it.
    read: Option<FileLine>,
    /// Values that do not count because of it, strongest first.
    shadows: Vec<Shadow>,
    /// The files of `env_out` that have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written_to: Vec<String>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum ValueOrigin {
    /// A line of an env file.
    EnvFile {
        file: String,
        line: u32,
        main_worktree: bool,
        /// The other worktree that the file is in.
        #[serde(skip_serializing_if = "Option::is_none")]
        worktree: Option<String>,
    },
    /// A line of devrun.yaml.
    Config { file: String, line: u32 },
    /// Recognition concluded it from this line.
    Recognised { file: String, line: u32 },
    /// devrun computed it.
    Computed,
    /// devrun was started with it.
    Shell,
    /// The login shell has it, and `shell_env` names it.
    LoginShell,
    /// A line of an env file that devrun leaves to the program.
    Loader { file: String, line: u32, main_worktree: bool },
    /// devrun was started with it, but the value lies in another worktree.
    OtherWorktree { worktree: String },
    /// The processes do not have it.
    Unset,
}

/// Why devrun set a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum SetReason {
    /// Recognition bound it.
    Bound(Reason),
    /// devrun computes it for every stack.
    Computed(Computed),
}

/// A value that does not count.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Shadow {
    from: ValueOrigin,
    /// True if the value is the same as the one that counts.
    same: bool,
}

/// Keeps the explanations that hold for the process `name`: its own, and those of common variables for which it has no value itself.
pub(super) fn of_process(all: Vec<Explanation>, name: &str) -> Vec<Explanation> {
    let own: BTreeSet<String> =
        all.iter().filter(|one| one.process.as_deref() == Some(name)).map(|one| one.name.clone()).collect();
    let holds = |one: &Explanation| match &one.process {
        Some(process) => process == name,
        None => !own.contains(&one.name),
    };
    all.into_iter().filter(holds).collect()
}

/// Explains the variables of `names`; without names, those that devrun sets or that a file gives, and with `all` the
/// inherited ones too.
pub(super) fn explain(known: &ExplainInput<'_>, names: &[String], all: bool) -> Vec<Explanation> {
    let wanted: BTreeSet<&str> =
        if names.is_empty() { candidates(known, all) } else { names.iter().map(String::as_str).collect() };
    wanted.into_iter().flat_map(|name| known.variable(name)).collect()
}

fn candidates<'a>(known: &ExplainInput<'a>, all: bool) -> BTreeSet<&'a str> {
    let own = known.processes.iter().flat_map(|process| process.origins.keys());
    let left = known.files.left.keys();
    let given = known.files.all().flat_map(|file| &file.vars).map(|(name, _)| name);
    let set = known.env.origins.keys().chain(own).chain(left).chain(given).map(String::as_str);
    let to_come =
        known.bindings.iter().map(|binding| binding.name.as_str()).chain(known.urls.keys().copied());
    let inherited = known.env.vars.keys().filter_map(|name| name.to_str()).filter(|_| all);
    // The filter below leaves out the variable whose value only lists the names of others.
    let pending = known.pending.keys().map(|(_, name)| *name);
    set.chain(to_come).chain(pending).chain(inherited).filter(|name| *name != variables::VARIABLES).collect()
}

impl ExplainInput<'_> {
    /// Explains one variable: for every process, then for each process that has another value.
    fn variable(&self, name: &str) -> Vec<Explanation> {
        let common = self.common(name);
        let own = self.processes.iter().filter_map(|process| self.own(process, name));
        let own: Vec<Explanation> = own.collect();
        let is_told = common.from != ValueOrigin::Unset || own.is_empty();
        Some(common).filter(|_| is_told).into_iter().chain(own).collect()
    }

    fn common(&self, name: &str) -> Explanation {
        let value = self.env.vars.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
        let binding = self.binding(name, None);
        let pending = self.pending.get(&(None, name));
        let value = value.filter(|_| pending.is_none());
        let (from, why) = match pending.or_else(|| self.env.origins.get(name)) {
            Some(origin) if pending.is_some() => source(origin, binding),
            _ if value.is_none() => self.without_value(name, binding),
            Some(origin) => self.of_config(name, source(origin, binding)),
            None => (ValueOrigin::Shell, None),
        };
        let is_secret = self.env.secrets.contains(name);
        let mut shadows = Vec::new();
        let same = |other: &str| value.as_deref() == Some(other);
        let shell = self.shell(name);
        if from != shell
            && let Some(inherited) = self.inherited.get(OsStr::new(name))
        {
            shadows.push(Shadow { from: shell, same: same(&inherited.to_string_lossy()) });
        }
        let foreign = self.foreign.iter().filter(|foreign| foreign.name == name);
        shadows.extend(foreign.map(|foreign| {
            let worktree = foreign.worktree.to_string_lossy().into_owned();
            Shadow { from: ValueOrigin::OtherWorktree { worktree }, same: false }
        }));
        let given_by_file = |process: &&ProcessVariables<'_>| !process.env.contains_key(name);
        let of_processes = self
            .processes
            .iter()
            .filter(given_by_file)
            .filter_map(|process| self.files.own.get(process.name));
        let files = self.files.common.iter().rev().chain(of_processes.flat_map(|files| files.iter().rev()));
        shadows.extend(behind(files, name, &from, &same));
        self.explanation(name, None, value, from, why, binding, is_secret, shadows)
    }

    /// Returns the login shell if devrun read the variable from it, else the shell that started devrun.
    fn shell(&self, name: &str) -> ValueOrigin {
        if self.login_shell.contains(name) { ValueOrigin::LoginShell } else { ValueOrigin::Shell }
    }

    /// Names the line of `url_env` as the source of a URL that devrun computed.
    fn of_config(
        &self,
        name: &str,
        (from, why): (ValueOrigin, Option<SetReason>),
    ) -> (ValueOrigin, Option<SetReason>) {
        let is_url = why == Some(SetReason::Computed(Computed::DatabaseUrl)) && from == ValueOrigin::Computed;
        match self.urls.get(name) {
            Some(Some(at)) if is_url => {
                (ValueOrigin::Config { file: at.file.to_string_lossy().into_owned(), line: at.line }, why)
            }
            _ => (from, why),
        }
    }

    /// Explains a variable that has no value in the common environment.
    fn without_value(&self, name: &str, binding: Option<&BoundVariable>) -> (ValueOrigin, Option<SetReason>) {
        if binding.is_some() {
            return source(&Origin::Recognised, binding);
        }
        if self.urls.contains_key(name) {
            return self
                .of_config(name, (ValueOrigin::Computed, Some(SetReason::Computed(Computed::DatabaseUrl))));
        }
        let line = self.files.left.get(name).and_then(|left| left.line.clone());
        (line.map_or(ValueOrigin::Unset, |line| loader(&line)), None)
    }

    fn own(&self, process: &ProcessVariables<'_>, name: &str) -> Option<Explanation> {
        let files = self.files.own.get(process.name).map_or(&[][..], Vec::as_slice);
        let binding = self.binding(name, Some(process.name));
        let pending = self.pending.get(&(Some(process.name), name));
        let value = process.env.get(name).filter(|_| pending.is_none()).cloned();
        let common = self.env.vars.get(OsStr::new(name));
        let (from, why) = match (&value, process.origins.get(name)) {
            (Some(_), Some(origin)) => source(origin, binding),
            _ if pending.is_some() => source(pending?, binding),
            _ if common.is_some() || self.urls.contains_key(name) => return None,
            // The program reads the file itself.
            _ => (loader(&files.iter().rev().find(|file| file.value(name).is_some())?.line(name)?), None),
        };
        let same = |other: &str| value.as_deref() == Some(other);
        let mut shadows = Vec::new();
        let beneath = match self.env.origins.get(name) {
            Some(origin) => Some(source(origin, self.binding(name, None)).0),
            None => self.inherited.contains_key(OsStr::new(name)).then(|| self.shell(name)),
        };
        if let Some(beneath) = beneath {
            let other = common.or_else(|| self.inherited.get(OsStr::new(name)));
            let is_same = other.is_some_and(|other| same(&other.to_string_lossy()));
            shadows.push(Shadow { from: beneath, same: is_same });
        }
        let known: Vec<ValueOrigin> = shadows.iter().map(|shadow| shadow.from.clone()).collect();
        let files = behind(files.iter().rev(), name, &from, &same);
        shadows.extend(files.into_iter().filter(|shadow| !known.contains(&shadow.from)));
        let is_secret = process.secrets.contains(name);
        Some(self.explanation(name, Some(process.name), value, from, why, binding, is_secret, shadows))
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the explanation")]
    fn explanation(
        &self,
        name: &str,
        process: Option<&str>,
        value: Option<String>,
        from: ValueOrigin,
        reason: Option<SetReason>,
        binding: Option<&BoundVariable>,
        secret: bool,
        shadows: Vec<Shadow>,
    ) -> Explanation {
        let masked = |value: String| {
            // The user types a password of a committed example to log in, and it is no secret.
            let is_example = reason == Some(SetReason::Bound(Reason::Example)) && is_typed(name);
            if self.reveal || is_example || !(secret || is_secret(name, &value)) {
                value
            } else if is_database_url(reason) {
                // devrun made it, so its password is where a URL has one.
                shown_url(&value)
            } else {
                MASK.into()
            }
        };
        Explanation {
            name: name.into(),
            process: process.map(Into::into),
            value: value.map(masked),
            from,
            reason,
            read: binding.and_then(|binding| binding.read.clone()),
            shadows,
            written_to: if process.is_none() { self.written_to(name) } else { Vec::new() },
        }
    }

    fn written_to(&self, name: &str) -> Vec<String> {
        let files = self.written.iter().filter(|(_, names)| names.contains(name));
        files.map(|(path, _)| path.to_string_lossy().into_owned()).collect()
    }

    fn binding(&self, name: &str, process: Option<&str>) -> Option<&BoundVariable> {
        self.bindings.iter().find(|one| one.name == name && one.process.as_deref() == process)
    }
}

/// Returns true if devrun set the variable to the URL of the branch database.
fn is_database_url(reason: Option<SetReason>) -> bool {
    matches!(reason, Some(SetReason::Bound(Reason::DatabaseUrl) | SetReason::Computed(Computed::DatabaseUrl)))
}

/// Returns where a value comes from and why devrun set it.
fn source(origin: &Origin, binding: Option<&BoundVariable>) -> (ValueOrigin, Option<SetReason>) {
    let shown = |at: &FileLine| (at.file.to_string_lossy().into_owned(), at.line);
    match (origin, binding) {
        (Origin::Recognised | Origin::Computed(_), Some(binding)) => {
            let place = binding.source.as_ref().map(shown);
            let from =
                place.map_or(ValueOrigin::Computed, |(file, line)| ValueOrigin::Recognised { file, line });
            (from, Some(SetReason::Bound(binding.reason)))
        }
        (Origin::File(line), _) => (env_file(line), None),
        (Origin::Config(at), _) => {
            let (file, line) = shown(at);
            (ValueOrigin::Config { file, line }, None)
        }
        (Origin::Computed(kind), None) => (ValueOrigin::Computed, Some(SetReason::Computed(*kind))),
        (Origin::Recognised, None) => (ValueOrigin::Computed, None),
        (Origin::LoginShell, _) => (ValueOrigin::LoginShell, None),
    }
}

fn env_file(EnvLine { at, worktree }: &EnvLine) -> ValueOrigin {
    let other = match worktree {
        EnvFileWorktree::Other(other) => Some(other.to_string_lossy().into_owned()),
        EnvFileWorktree::This | EnvFileWorktree::Main => None,
    };
    ValueOrigin::EnvFile {
        file: at.file.to_string_lossy().into_owned(),
        line: at.line,
        main_worktree: *worktree == EnvFileWorktree::Main,
        worktree: other,
    }
}

fn loader(EnvLine { at, worktree }: &EnvLine) -> ValueOrigin {
    ValueOrigin::Loader {
        file: at.file.to_string_lossy().into_owned(),
        line: at.line,
        main_worktree: *worktree == EnvFileWorktree::Main,
    }
}

/// Returns the lines of `files` that give the variable a value which does not count.
fn behind<'a>(
    files: impl Iterator<Item = &'a EnvFile>,
    name: &str,
    from: &ValueOrigin,
    same: &dyn Fn(&str) -> bool,
) -> Vec<Shadow> {
    let mut found: Vec<Shadow> = Vec::new();
    // No program reads an example: its values only fill gaps.
    let files = files.filter(|file| !matches!(file.found, EnvFileOrigin::Example(_)));
    for file in files {
        let Some(line) = file.line(name) else { continue };
        let is_left_out = file.left_out.iter().any(|(other, _)| other == name);
        let shadow = match file.value(name) {
            Some(value) => Shadow { from: env_file(&line), same: same(value) },
            // The value belongs to another copy of the product.
            None if is_left_out => Shadow { from: env_file(&line), same: false },
            None => continue,
        };
        let is_source = shadow.from == *from || loader(&line) == *from;
        if !is_source && found.iter().all(|other| other.from != shadow.from) {
            found.push(shadow);
        }
    }
    found
}
