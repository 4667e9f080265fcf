//! Adds processes of a Procfile that recognition has not found otherwise.

use std::path::PathBuf;

use super::command_line::{self, Simple};
use super::frontend::unused;
use super::server;
use super::{Framework, Migrations, Part, PartKind, PartPort};
use crate::config::names::is_python;
use crate::recognition::facts::{Author, Command};

/// Port base of the first process, as in foreman.
const BASE: u16 = 5000;
/// Programs that serve an application.
const SERVERS: &[&str] =
    &["uvicorn", "gunicorn", "hypercorn", "granian", "fastapi", "daphne", "flask", "waitress-serve"];
/// Programs that run scripts of a package.json.
const MANAGERS: &[&str] = &["npm", "pnpm", "yarn", "bun"];

/// Returns the entries of `Procfile.dev`, else of `Procfile`.
pub fn entries(commands: &[Command]) -> Vec<(&str, &Command)> {
    let all = || {
        commands.iter().filter_map(|command| match &command.by {
            Author::Procfile(name) if command.at.file.components().count() == 1 => {
                Some((name.as_str(), command))
            }
            _ => None,
        })
    };
    let is_dev = |command: &Command| command.at.file.ends_with("Procfile.dev");
    let has_dev = all().any(|(_, command)| is_dev(command));
    all().filter(|(_, command)| is_dev(command) == has_dev).collect()
}

/// Returns processes for the entries that no recognised part covers. A `release` that does not migrate becomes a job.
pub fn parts(
    commands: &[Command],
    known: &[Part],
    migrations: Option<&Migrations>,
    taken: &mut Vec<String>,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut index = 0;
    for (name, command) in entries(commands) {
        let simples = command_line::commands(&command.text);
        let job = name == crate::config::files::RELEASE;
        if is_covered(name, &simples, known)
            || (job && migrations.is_some_and(|found| migrates(&simples, found)))
        {
            continue;
        }
        let serves = command.text.contains("$PORT") || command.text.contains("${PORT") || name == "web";
        let own = unused(name, "process", taken);
        taken.push(own.clone());
        let port = if serves && !job { PartPort::Binds(BASE + 100 * index) } else { PartPort::None };
        index += u16::from(port != PartPort::None);
        parts.push(Part {
            remark: format!("{own} of {}", command.at.file.display()),
            name: own,
            kind: if job { PartKind::Job } else { PartKind::Worker },
            framework: Framework::Other,
            directory: PathBuf::new(),
            sources: Vec::new(),
            run: command.text.clone(),
            port,
            ready: None,
            usual_ports: Vec::new(),
            services: Vec::new(),
            at: Some(command.at.clone()),
        });
    }
    parts
}

/// Returns true if a recognised part already runs what this entry starts.
fn is_covered(name: &str, simples: &[Simple], known: &[Part]) -> bool {
    let has = |kind: PartKind| known.iter().any(|part| part.kind == kind);
    simples.iter().any(|simple| {
        let program = simple.program.as_str();
        let serves = SERVERS.contains(&program)
            || (is_python(program) && ["web", "api", "backend", "server"].contains(&name));
        let shows = server::of(simple).is_some()
            || program == "next"
            || (MANAGERS.contains(&program)
                && ["web", "frontend", "client", "ui", "vite", "next", "app"].contains(&name));
        let works = || {
            let at = |part: &&Part| part.kind == PartKind::Worker || part.kind == PartKind::Service;
            known
                .iter()
                .filter(at)
                .any(|part| part.name == name || command_line::commands(&part.run).contains(simple))
        };
        (serves && has(PartKind::Backend))
            || (shows && has(PartKind::Frontend))
            || works()
            || program.starts_with("redis-server")
    })
}

fn migrates(simples: &[Simple], migrations: &Migrations) -> bool {
    let own = command_line::commands(&migrations.run);
    simples.iter().any(|simple| own.iter().any(|other| other.program == simple.program))
}
