//! Describes a Python server that recognition does not start, and suggests the lines of devrun.yaml that start it: the server, its
//! workers and its migrations, with the commands of the repository.

use std::fmt::Write;

use super::command_line::{self, Simple};
use super::python::PythonProject;
use super::server::shell;
use super::tree::{Tree, is_aside, shown};
use super::{LeftOut, Parts, redis};
use crate::recognition::facts::{Author, Command};

/// Python packages that serve HTTP, and whose command line takes `--host` and `--port`.
const WEB_FRAMEWORKS: [&str; 4] = ["litestar", "flask", "quart", "sanic"];
/// Maximum number of candidates.
const MOST: usize = 10;

/// Returns the report about `project` if it names a web framework.
pub(super) fn left_out(tree: &Tree<'_>, project: &PythonProject, parts: &Parts) -> Option<LeftOut> {
    let name = WEB_FRAMEWORKS.iter().find(|name| project.names(&[name]))?;
    let at = project.spot(tree, name);
    let commands = commands_of(tree, name);
    let start = commands.iter().find_map(start);
    let known = match &start {
        Some(command) => {
            format!(
                "devrun does not start {name} applications by itself; this repository starts it with `{command}`"
            )
        }
        None => "devrun does not know which command starts it".into(),
    };
    Some(LeftOut {
        why: format!("{} names {name}: {known}", at.file.display()),
        at,
        lines: lines(tree, project, parts, &commands, start.as_deref()),
        candidates: commands.iter().map(written).collect(),
    })
}

/// Returns the lines that run the server, and the workers and migrations of its command line.
fn lines(
    tree: &Tree<'_>,
    project: &PythonProject,
    parts: &Parts,
    commands: &[Simple],
    start: Option<&str>,
) -> String {
    let folder = shown(&project.folder);
    let database = if parts.wants_database { ", database" } else { "" };
    let redis = if redis::expected(tree).is_some() { ", depends_on: [redis]" } else { "" };
    let common = format!("directory: {folder}, needs: [python{database}]{redis}");
    let run = start.unwrap_or("COMMAND");
    let mut lines =
        format!("ports: {{ backend: 8100 }}\ndependencies: {{ python: {{ directory: {folder} }} }}\n");
    // Assume that the repository's own program has the subcommands of the framework.
    let same_program = |simple: &Simple| {
        let program = start
            .and_then(|start| start.split_whitespace().find(|word| !word.contains('=')))
            .unwrap_or(&simple.program)
            .to_string();
        written(&Simple { program, ..simple.clone() })
    };
    let upgrades = |simple: &&Simple| simple.has("upgrade") && (simple.has("db") || simple.has("database"));
    // The longest command is the one most likely to have an option such as `--no-prompt`.
    if let Some(upgrade) = commands.iter().filter(upgrades).max_by_key(|simple| simple.args.len()) {
        let run = same_program(upgrade);
        let _ = writeln!(lines, "database: {{ migrate: {{ run: {run}, directory: {folder} }} }}");
    }
    lines.push_str("processes:\n");
    let _ = writeln!(
        lines,
        "  backend: {{ run: {run} --host $DEVRUN_HOST --port $PORT, port: backend, {common} }}"
    );
    if let Some(worker) = commands.iter().find(|simple| simple.args == ["workers", "run"]) {
        let _ = writeln!(lines, "  worker: {{ run: {}, {common} }}", same_program(worker));
    }
    lines
}

/// Returns the different commands of the repository that run `framework` or one of the repository's own programs, at most [`MOST`].
/// The own programs come first, because they may set what the framework needs. Then come commands that reload the code, and those
/// that containers run, because documents also show commands of other setups.
fn commands_of(tree: &Tree<'_>, framework: &str) -> Vec<Simple> {
    let own: Vec<&str> = tree
        .facts
        .commands
        .iter()
        .filter_map(|command| match &command.by {
            // `[project.scripts]`: `app = "app.__main__:run"`.
            Author::Pyproject(name) if command.text.contains(':') && !command.text.contains(' ') => {
                Some(name.as_str())
            }
            _ => None,
        })
        .collect();
    let mut found: Vec<(bool, bool, bool, Simple)> = Vec::new();
    for command in tree.facts.commands.iter().filter(|command| !is_aside(&command.at.file)) {
        for simple in command_line::commands(&command.text) {
            let is_own = own.contains(&simple.program.as_str());
            if (is_own || simple.program == framework) && !found.iter().any(|(.., known)| *known == simple) {
                found.push((!is_own, !simple.has("--reload"), !is_run(command), simple));
            }
        }
    }
    found.sort_by_key(|(foreign, fixed, shown, _)| (*foreign, *fixed, *shown));
    found.into_iter().map(|(.., simple)| simple).take(MOST).collect()
}

/// Returns true for a command that a container or a Procfile runs.
fn is_run(command: &Command) -> bool {
    matches!(command.by, Author::Compose(_) | Author::Dockerfile | Author::Procfile(_))
}

/// Returns the command without its port and host, if it starts the server: `litestar run`, `flask run`, `sanic server.app`.
fn start(simple: &Simple) -> Option<String> {
    const ADDRESS: [&str; 5] = ["--host", "-h", "--port", "-p", "-H"];
    let is_start = simple.first() == Some("run") || simple.program == "sanic";
    let mut words: Vec<String> =
        simple.lead.iter().chain([&simple.program]).map(|word| shell(word)).collect();
    let mut args = simple.args.iter();
    while let Some(word) = args.next() {
        match word.split_once('=') {
            Some((name, _)) if ADDRESS.contains(&name) => {}
            _ if ADDRESS.contains(&word.as_str()) => drop(args.next()),
            _ => words.push(shell(word)),
        }
    }
    is_start.then(|| words.join(" "))
}

fn written(simple: &Simple) -> String {
    let words = simple.lead.iter().chain([&simple.program]).chain(&simple.args);
    words.map(|word| shell(word)).collect::<Vec<_>>().join(" ")
}
