//! Writes a proposal as the text of a devrun.yaml, with a comment on each line that says where it comes from.

use std::fmt::{Result, Write as _};
use std::path::PathBuf;

use super::settings::DatabaseVariable;
use super::{GUESS, ProposedPort, ProposedProcess, RunLine, TO_COMPLETE};
use crate::config::url_forms::UrlForm;
use crate::recognition::facts::FileLine;
use crate::recognition::yaml::{comment, directory, list_item, quoted, scalar};

const HEAD: &str = "\
# Proposed by `devrun init`: devrun does not recognise the structure of this repository. The comments name the file and line
# that a value comes from, and mark guesses, which no file states. Keys: `devrun help configuration`.
";

/// Everything that a proposal contains.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The example of the env file at the top.
    pub(super) example: Option<FileLine>,
    /// Variables that only the user can set, with the line that reads each.
    pub(super) required: Vec<(String, FileLine)>,
    pub(super) node: Vec<PathBuf>,
    pub(super) python: Vec<PathBuf>,
    pub(super) database: Vec<DatabaseVariable>,
    pub(super) processes: Vec<ProposedProcess>,
    /// Other commands and services, each with its line.
    pub(super) not_used: Vec<(String, FileLine)>,
}

/// Returns the text.
pub(super) fn text(contents: &Contents) -> String {
    let mut text = HEAD.to_string();
    // Writing to a String never fails.
    let _ = write(&mut text, contents);
    text
}

fn write(out: &mut String, contents: &Contents) -> Result {
    ports(out, &contents.processes)?;
    if let Some(at) = &contents.example {
        let files = "env_files: [.env, .env.local]";
        let name = at.file.display();
        writeln!(out, "{files}  # {name}: its values are used while no worktree has a .env")?;
    }
    if !contents.required.is_empty() {
        writeln!(out, "env:")?;
        for (name, at) in &contents.required {
            let place = format!("{}:{}", at.file.display(), at.line);
            let value = quoted(&format!("${{{name}:?read at {}}}", place.replace(['}', '$'], "")));
            writeln!(out, "  {name}: {value}  # {TO_COMPLETE} set it in .env, or write a value here")?;
        }
    }
    database(out, &contents.database)?;
    dependencies(out, contents)?;
    writeln!(out, "processes:")?;
    for process in &contents.processes {
        write_process(out, process)?;
    }
    if !contents.not_used.is_empty() {
        writeln!(out, "# Not used:")?;
        for (name, at) in &contents.not_used {
            writeln!(out, "#   {}{}", one_line(name), comment(Some(at)))?;
        }
    }
    Ok(())
}

fn ports(out: &mut String, processes: &[ProposedProcess]) -> Result {
    let with_port = processes.iter().filter_map(|process| Some((&process.name, process.port.as_ref()?)));
    let mut with_port = with_port.peekable();
    if with_port.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "ports:  # bases: each worktree adds its own number from 0 to 99")?;
    for (name, ProposedPort { base, at, .. }) in with_port {
        let source = comment(at.as_ref());
        let source = if source.is_empty() { format!("  # {GUESS}: no file states a port") } else { source };
        writeln!(out, "  {name}: {base}{source}")?;
    }
    Ok(())
}

fn database(out: &mut String, variables: &[DatabaseVariable]) -> Result {
    let Some(first) = variables.first() else { return Ok(()) };
    writeln!(out, "database:  # {GUESS}: add `migrate: {{ run: COMMAND }}` if a command makes the tables")?;
    let with_driver = |variable: &DatabaseVariable| {
        variable.scheme.contains('+') && UrlForm::read(&variable.scheme).is_some()
    };
    if !variables.iter().any(with_driver) {
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        return writeln!(out, "  url_env: [{}]{}", names.join(", "), comment(Some(&first.at)));
    }
    writeln!(out, "  url_env:")?;
    for variable in variables {
        let scheme = if with_driver(variable) { &variable.scheme } else { "postgresql" };
        writeln!(out, "    {}: {}{}", variable.name, scalar(scheme), comment(Some(&variable.at)))?;
    }
    Ok(())
}

fn dependencies(out: &mut String, contents: &Contents) -> Result {
    if contents.node.is_empty() && contents.python.is_empty() {
        return Ok(());
    }
    writeln!(out, "dependencies:")?;
    for (key, folders) in [("node", &contents.node), ("python", &contents.python)] {
        match folders.as_slice() {
            [] => {}
            [folder] => writeln!(out, "  {key}: {{ directory: {} }}", directory(folder))?,
            several => {
                let all: Vec<String> =
                    several.iter().map(|folder| list_item(&folder.to_string_lossy())).collect();
                writeln!(out, "  {key}: {{ directory: [{}] }}", all.join(", "))?;
            }
        }
    }
    Ok(())
}

fn write_process(out: &mut String, process: &ProposedProcess) -> Result {
    writeln!(out, "  {}:", process.name)?;
    match &process.run {
        RunLine::Command { text, at, guess } => {
            let guess = guess.as_ref().map(|why| format!("; {GUESS}: {why}")).unwrap_or_default();
            writeln!(out, "    run: {}{}{guess}", scalar(text), comment(Some(at)))?;
        }
        RunLine::ToComplete(why) => {
            writeln!(out, "    run:  # {TO_COMPLETE} the command that starts it; {}", one_line(why))?;
        }
    }
    if !process.directory.as_os_str().is_empty() {
        writeln!(out, "    directory: {}", directory(&process.directory))?;
    }
    if let Some(port) = &process.port {
        writeln!(out, "    port: {}  # {}", process.name, one_line(&port.why))?;
        writeln!(out, "    ready: {{ tcp: true }}  # {GUESS}: ready when it accepts connections")?;
    }
    if !process.depends_on.is_empty() {
        writeln!(out, "    depends_on: [{}]", process.depends_on.join(", "))?;
    }
    if !process.env.is_empty() {
        writeln!(out, "    env:")?;
        for (name, value, at) in &process.env {
            writeln!(out, "      {name}: {}{}", quoted(value), comment(Some(at)))?;
        }
    }
    Ok(())
}

/// Returns `text` without characters that would end a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
