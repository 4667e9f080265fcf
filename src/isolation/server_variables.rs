//! Finds the variable that leads a process to a server. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use super::Server;
use crate::context::address_lines::value_address;
use crate::context::this_machine::is_this_machine;
use crate::plan::{BoundVariable, Origin, Plan, Process, Reason};

/// A variable that leads a process to a server. Its value is not kept: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The process.
    pub(super) process: String,
    /// The kind of server that recognition bound it to.
    pub(super) server: Option<Server>,
    /// The variable with the line that reads or sets it: `POSTGRES_SERVER (app/settings.py:14)`.
    pub(super) text: String,
    /// The host and port in its value; no host if the value is only a port.
    pub(super) address: Option<(Option<String>, u16)>,
}

/// Returns, for each process of the plan, its variables that recognition bound to a server, then the others that contain an address.
pub(super) fn of(plan: &Plan) -> Vec<Reading> {
    plan.processes.iter().flat_map(|process| of_process(plan, process)).collect()
}

fn of_process(plan: &Plan, process: &Process) -> Vec<Reading> {
    let value = |name: &str| {
        let common = || plan.env.vars.get(std::ffi::OsStr::new(name))?.to_str();
        process.env.get(name).map(String::as_str).or_else(common)
    };
    let bindings = plan.bindings.iter().filter(|binding| applies(plan, binding, process));
    let bound = bindings.filter_map(|binding| {
        let server = server(binding.reason)?;
        Some(Reading {
            process: process.name.clone(),
            server: Some(server),
            text: match binding.read.as_ref().or(binding.source.as_ref()) {
                Some(at) => text(&binding.name, at),
                None => format!("{} (of the shell)", binding.name),
            },
            address: value(&binding.name).and_then(value_address),
        })
    });
    let mut all: Vec<Reading> = bound.collect();
    let is_bound = |name: &str| plan.bindings.iter().any(|binding| binding.name == name);
    let common = plan.env.vars.keys().filter_map(|name| name.to_str());
    let names: BTreeSet<&str> = process.env.keys().map(String::as_str).chain(common).collect();
    for name in names.into_iter().filter(|name| !is_bound(name)) {
        let origin = if process.env.contains_key(name) { &process.origins } else { &plan.env.origins };
        let place = match origin.get(name) {
            Some(Origin::File(line)) => line.at.to_string(),
            Some(Origin::Config(at)) => at.to_string(),
            Some(Origin::Computed(_) | Origin::Recognised) => continue,
            Some(Origin::LoginShell) | None => "of the shell".into(),
        };
        // A number alone is a port only if the variable is named so.
        let is_port = name.to_ascii_uppercase().ends_with("PORT");
        let address = value(name).and_then(value_address).filter(|(host, _)| host.is_some() || is_port);
        all.extend(address.map(|address| Reading {
            process: process.name.clone(),
            server: None,
            text: text(name, &place),
            address: Some(address),
        }));
    }
    all
}

/// Returns a variable with its place.
pub(super) fn text(variable: &str, place: &dyn std::fmt::Display) -> String {
    format!("{variable} ({place})")
}

/// Returns true if `process` reads `variable`; `None` if recognition found no reader of it.
pub(super) fn reads(plan: &Plan, variable: &str, process: &Process) -> Option<bool> {
    let is_known = |binding: &&BoundVariable| {
        binding.name == variable && (binding.process.is_some() || binding.read.is_some())
    };
    let mut known = plan.bindings.iter().filter(is_known).peekable();
    known.peek()?;
    Some(known.any(|binding| applies(plan, binding, process)))
}

/// Returns true if the process reads the variable of `binding`, judged by folders: among the processes with the line
/// that reads it inside their folder, those with the innermost folder do. Also true if no such line was found.
fn applies(plan: &Plan, binding: &BoundVariable, process: &Process) -> bool {
    if let Some(owner) = &binding.process {
        return *owner == process.name;
    }
    let Some(read) = &binding.read else { return true };
    let file = plan.worktree.path.join(&read.file);
    let depth = |folder: &Path| file.starts_with(folder).then(|| folder.components().count());
    let deepest = plan.processes.iter().filter_map(|one| depth(&one.directory)).max();
    deepest.is_none() || depth(&process.directory) == deepest
}

fn server(reason: Reason) -> Option<Server> {
    match reason {
        Reason::DatabaseUrl | Reason::DatabasePart => Some(Server::Postgres),
        Reason::Redis => Some(Server::Redis),
        Reason::OwnAddress => Some(Server::Http),
        Reason::Origins | Reason::Example | Reason::RandomKey => None,
    }
}

/// Returns the variable that leads `process` to `remote`: one that contains that address, else one that the process
/// reads for that kind of server.
pub(super) fn leading<'a>(
    readings: &'a [Reading],
    process: &str,
    server: Server,
    remote: SocketAddr,
) -> Option<&'a Reading> {
    let names = |reading: &&Reading| {
        reading.address.as_ref().is_some_and(|(host, port)| {
            let same = |host: &String| {
                *host == remote.ip().to_string() || remote.ip().is_loopback() && is_this_machine(host)
            };
            let is_kind = reading.server.is_none_or(|kind| kind == server);
            *port == remote.port() && host.as_ref().map_or(is_kind, same)
        })
    };
    let own = || readings.iter().filter(|reading| reading.process == process);
    own().find(names).or_else(|| own().find(|reading| reading.server == Some(server)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn reading(server: Option<Server>, text: &str, value: &str) -> Reading {
        Reading { process: "backend".into(), server, text: text.into(), address: value_address(value) }
    }

    fn led(readings: &[Reading], server: Server, remote: &str) -> Option<String> {
        leading(readings, "backend", server, remote.parse().unwrap()).map(|reading| reading.text.clone())
    }

    fn process(name: &str, directory: &str, env: &[(&str, &str, Origin)]) -> Process {
        let restart = crate::plan::Restart { policy: crate::plan::RestartPolicy::No, max: 0 };
        Process {
            name: name.into(),
            run: crate::plan::RunCommand::Shell("x".into()),
            directory: directory.into(),
            env: env.iter().map(|(name, value, _)| ((*name).to_string(), (*value).to_string())).collect(),
            origins: env.iter().map(|(name, _, origin)| ((*name).to_string(), origin.clone())).collect(),
            secrets: BTreeSet::new(),
            port: None,
            depends_on: Vec::new(),
            needs: BTreeSet::new(),
            ready: None,
            restart,
            stop_signal: 2,
            stop_grace: std::time::Duration::ZERO,
            tty: false,
            stdin: crate::plan::Stdin::Open,
            autostart: true,
            expose: false,
            node_preload: true,
            service: None,
        }
    }

    /// Returns a plan with a frontend in one folder, and a backend and a worker in another.
    pub(in crate::isolation) fn plan() -> Plan {
        let spot = |file: &str, line| crate::plan::FileLine { file: file.into(), line };
        let binding = |name: &str, process: Option<&str>, reason, read| BoundVariable {
            name: name.into(),
            process: process.map(Into::into),
            reason,
            source: Some(spot(".env.example", 1)),
            read,
        };
        let config = |line| Origin::Config(spot("devrun.yaml", line));
        let vars = [
            ("POSTGRES_SERVER", "localhost"),
            ("LEVEL", "7"),
            ("WEB_PORT", "3147"),
            ("NEXT_PUBLIC_API_URL", "http://localhost:8147"),
        ];
        let computed = |name: &str| (name.to_string(), Origin::Computed(crate::plan::Computed::Port));
        let env = crate::plan::Environment {
            vars: vars.map(|(name, value)| (name.into(), value.into())).into(),
            origins: [("LEVEL".to_string(), config(1)), computed("WEB_PORT")].into(),
            ..crate::plan::Environment::default()
        };
        Plan {
            project: "p".into(),
            worktree: crate::plan::PlannedWorktree {
                path: "/w".into(),
                head: crate::plan::Checkout::None,
                slug: "w".into(),
                state: "/s".into(),
            },
            slot: 0,
            ports: std::collections::BTreeMap::new(),
            away: None,
            database: None,
            env,
            processes: vec![
                process("backend", "/w/app", &[]),
                process("frontend", "/w/web", &[("API_URL", "http://localhost:8147", Origin::Recognised)]),
                process(
                    "worker",
                    "/w/app",
                    &[("REPORTS", "redis://localhost/0", config(9)), ("POSTGRES_PORT", "5432", config(10))],
                ),
            ],
            urls: Vec::new(),
            host_urls: Vec::new(),
            redirects: std::collections::BTreeMap::new(),
            python: Vec::new(),
            shared_ports: BTreeSet::new(),
            bindings: vec![
                binding("POSTGRES_SERVER", None, Reason::DatabasePart, Some(spot("app/settings.py", 14))),
                binding("API_URL", Some("frontend"), Reason::OwnAddress, None),
                binding("NEXT_PUBLIC_API_URL", None, Reason::OwnAddress, Some(spot("web/lib/api.ts", 2))),
                binding("KEY", None, Reason::RandomKey, None),
            ],
            logs: crate::plan::LogLimits::default(),
        }
    }

    #[test]
    fn process_reads_variables_of_its_folder_and_its_own_variables() {
        let all = of(&plan());
        let texts: Vec<String> =
            all.iter().map(|reading| format!("{}: {}", reading.process, reading.text)).collect();
        assert_eq!(
            texts,
            [
                "backend: POSTGRES_SERVER (app/settings.py:14)",
                "frontend: API_URL (.env.example:1)",
                "frontend: NEXT_PUBLIC_API_URL (web/lib/api.ts:2)",
                "worker: POSTGRES_SERVER (app/settings.py:14)",
                "worker: POSTGRES_PORT (devrun.yaml:10)",
                "worker: REPORTS (devrun.yaml:9)",
            ]
        );
    }

    #[test]
    fn a_page_is_the_process_whose_code_reads_the_variable() {
        let plan = plan();
        let [backend, frontend, _] = plan.processes.as_slice() else { panic!() };
        assert_eq!(reads(&plan, "NEXT_PUBLIC_API_URL", frontend), Some(true));
        assert_eq!(reads(&plan, "NEXT_PUBLIC_API_URL", backend), Some(false));
        assert_eq!(reads(&plan, "VITE_API_URL", frontend), None);
    }

    #[test]
    fn the_variable_that_names_the_address_comes_before_one_of_the_same_kind() {
        let postgres = Some(Server::Postgres);
        let readings = [
            reading(postgres, "DATABASE_URL", "postgresql://127.0.0.1:20100/x"),
            reading(postgres, "POSTGRES_PORT", "5433"),
            reading(None, "REPORTS_URL", "postgresql://localhost:5432/reports"),
        ];
        let led = |server, remote| led(&readings, server, remote);
        assert_eq!(led(Server::Postgres, "127.0.0.1:5432").as_deref(), Some("REPORTS_URL"));
        assert_eq!(led(Server::Postgres, "[::1]:5433").as_deref(), Some("POSTGRES_PORT"));
        assert_eq!(led(Server::Postgres, "127.0.0.1:6543").as_deref(), Some("DATABASE_URL"));
        assert_eq!(led(Server::Http, "127.0.0.1:5433"), None);
        assert_eq!(led(Server::Redis, "127.0.0.1:6379"), None);
        assert_eq!(leading(&readings, "web", Server::Postgres, "127.0.0.1:5432".parse().unwrap()), None);
    }
}
