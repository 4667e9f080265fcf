//! Chooses the variables of a file of `env_out` and formats them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use super::StackValues;
use crate::config::env_output::EnvOutput;
use crate::config::env_template::{self, PublishedPorts, TemplateError};
use crate::config::envfile::quote::dotenv_value;
use crate::config::model::ProcessConfig;
use crate::config::names::is_variable_name;
use crate::config::source::{ConfigPosition, Source};
use crate::config::{ConfigError, environment};
use crate::context::variables;
use crate::os::read::{self, Limit, ReadError};
use crate::plan::{Computed, EnvFileWorktree, Notice, Origin, Plan, PortUse, Process};
use crate::prepare::ResolvedWorktree;
use crate::text::Mask;

/// Ports of these names serve the page that the user opens.
const PAGES: [&str; 2] = ["frontend", "web"];

/// Returns the lines of the file. Adds a notice for each variable of `only` that has no value.
pub(super) fn body(
    stack: &StackValues<'_>,
    output: &EnvOutput,
    notices: &mut Vec<Notice>,
) -> Result<String, TemplateError> {
    let plan = stack.plan;
    let process = process(stack.resolved, plan, output);
    if let Some((template, at)) = &output.template {
        return templated(stack, template, at, process);
    }
    let ChosenVariables { vars, private } = chosen(stack.resolved, plan, output, process);
    let place = output.path.display();
    let missing = output.only.iter().flatten().filter_map(|pattern| pattern.name());
    for name in missing.filter(|name| !vars.contains_key(*name)) {
        notices
            .push(Notice::new(format!("{name} is not written to {place}: the stack has no such variable")));
    }
    for name in private {
        let text = format!("{name} is not written to {place}: it holds a value of the login shell");
        notices.push(Notice { text, fix: Some(format!("only: [{name}]")) });
    }
    let line = |(name, value): (&&str, &&OsStr)| {
        format!("{name}={}\n", String::from_utf8_lossy(&dotenv_value(value)))
    };
    Ok(vars.iter().map(line).collect())
}

/// Returns the names of the variables in the file.
pub(super) fn names(resolved: &ResolvedWorktree, plan: &Plan, output: &EnvOutput) -> BTreeSet<String> {
    let process = process(resolved, plan, output);
    chosen(resolved, plan, output, process).vars.into_keys().map(Into::into).collect()
}

/// Returns the process that the entry names, or the only process of the folder of the file.
fn process<'a>(resolved: &ResolvedWorktree, plan: &'a Plan, output: &EnvOutput) -> Option<&'a Process> {
    if let Some((name, _)) = &output.process {
        return plan.processes.iter().find(|process| process.name == *name);
    }
    let folder = output.path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    let folder = resolved.folder(folder);
    let mut there = plan.processes.iter().filter(|process| process.directory == folder);
    there.next().filter(|_| there.next().is_none())
}

/// The variables of a file.
struct ChosenVariables<'a> {
    vars: BTreeMap<&'a str, &'a OsStr>,
    /// Variables that are left out only because they hold a value of the login shell.
    private: Vec<&'a str>,
}

fn chosen<'a>(
    resolved: &ResolvedWorktree,
    plan: &'a Plan,
    output: &EnvOutput,
    process: Option<&'a Process>,
) -> ChosenVariables<'a> {
    let common = plan.env.vars.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str())));
    let mut all: BTreeMap<&str, (&OsStr, Option<&Origin>)> =
        common.map(|(name, value)| (name, (value, plan.env.origins.get(name)))).collect();
    for (name, value) in process.iter().flat_map(|process| &process.env) {
        let origin = process.and_then(|process| process.origins.get(name));
        all.insert(name, (OsStr::new(value), origin));
    }
    all.retain(|name, _| *name != variables::VARIABLES && is_variable_name(name));
    let of_shell = ShellValues { mask: resolved.shell_mask(), resolved, process };
    let mut chosen = ChosenVariables { vars: BTreeMap::new(), private: Vec::new() };
    for (name, (value, origin)) in all {
        let only = output.only.as_deref();
        let is_named = only.is_some_and(|only| only.iter().any(|pattern| pattern.name() == Some(name)));
        let is_wanted = match (only, origin) {
            _ if is_named => true,
            (Some(only), origin) => origin.is_some() && only.iter().any(|pattern| pattern.matches(name)),
            (None, Some(origin)) => is_usual(origin, &output.path),
            (None, None) => false,
        };
        if is_wanted && !is_named && of_shell.is_in(name, value, origin) {
            chosen.private.push(name);
        } else if is_wanted {
            chosen.vars.insert(name, value);
        }
    }
    chosen
}

/// Finds the values of the login shell, which are written only where a variable is named.
struct ShellValues<'a> {
    mask: Mask,
    resolved: &'a ResolvedWorktree,
    process: Option<&'a Process>,
}

impl ShellValues<'_> {
    /// Returns true if the variable comes from the login shell, or its value was made of one that does.
    fn is_in(&self, name: &str, value: &OsStr, origin: Option<&Origin>) -> bool {
        let made_here = |kind: &Computed| {
            !matches!(kind, Computed::DatabaseUrl | Computed::DatabasePart | Computed::Service)
        };
        match origin {
            Some(Origin::LoginShell) => true,
            Some(Origin::Computed(kind)) if made_here(kind) => false,
            _ => self.mask.finds(&value.to_string_lossy()) || self.is_named_in_template(name),
        }
    }

    fn is_named_in_template(&self, name: &str) -> bool {
        let ResolvedWorktree { config, scope, .. } = self.resolved;
        let is_it = |process: &&ProcessConfig| self.process.is_some_and(|own| own.name == process.name);
        let own = config.processes.iter().find(is_it).into_iter().flat_map(|process| &process.env);
        let mut written = own.chain(&config.env).filter(|(other, _)| other == name);
        written.next().is_some_and(|(_, template)| template.uses_private(scope))
    }
}

/// Returns true if a variable is written by default. Leaves out the search path, the virtual environment, settings of output, devrun's list
/// of variables, sockets, variables of the login shell, and lines read from `path` itself.
fn is_usual(origin: &Origin, path: &Path) -> bool {
    match origin {
        Origin::Computed(kind) => !matches!(
            kind,
            Computed::SearchPath
                | Computed::VirtualEnv
                | Computed::Output
                | Computed::Variables
                | Computed::Socket
        ),
        Origin::File(line) => line.worktree != EnvFileWorktree::This || line.at.file != path,
        Origin::Config(_) | Origin::Recognised => true,
        Origin::LoginShell => false,
    }
}

fn templated(
    StackValues { resolved, plan, scope }: &StackValues<'_>,
    path: &Path,
    at: &ConfigPosition,
    process: Option<&Process>,
) -> Result<String, TemplateError> {
    let source = Source::new(path.display().to_string(), read_template(resolved, path, at)?);
    let mut vars = environment::with_left(plan.env.vars.clone(), &resolved.files.left);
    vars.extend(
        process.iter().flat_map(|process| &process.env).map(|(name, value)| (name.into(), value.into())),
    );
    let page = plan
        .processes
        .iter()
        .find(|process| process.port.as_ref().is_some_and(|port| PAGES.contains(&port_name(port))));
    let serving = process.filter(|process| process.port.is_some()).or(page);
    let serving = serving.or_else(|| plan.processes.iter().find(|process| process.port.is_some()));
    let scope = scope.clone().with_env(vars);
    let ports = PublishedPorts {
        application: serving.and_then(|process| process.port.as_ref()).map(PortUse::port),
        database: scope.own("database.port").map(Into::into),
    };
    let text = env_template::render(&source, &scope, &ports)?;
    Ok(if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" })
}

fn port_name(port: &PortUse) -> &str {
    match port {
        PortUse::Binds { name, .. } | PortUse::Listens { name, .. } => name,
    }
}

/// Reads the template from this worktree, else from the main worktree.
fn read_template(
    resolved: &ResolvedWorktree,
    path: &Path,
    at: &ConfigPosition,
) -> Result<String, ConfigError> {
    let root = resolved.worktree.path.as_path();
    let main = resolved.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let roots: Vec<&Path> = std::iter::once(root).chain(main).collect();
    for folder in &roots {
        let place = folder.join(path);
        match read::inside(&roots, &place, Limit::mebibytes(1)) {
            Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.is_missing() || matches!(error, ReadError::Folder) => {}
            Err(source) => return Err(ConfigError::Unreadable { path: place, source }),
        }
    }
    Err(ConfigError::invalid(at, format!("there is no file `{}`", path.display()))
        .with_fix("name a template relative to the top of the worktree"))
}
