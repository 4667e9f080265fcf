//! Checks that the processes of a stack talk to their own worktree's servers and to no shared ones.
//!
//! Reads the sockets of the process trees and judges them; changes nothing. Covers TCP in this network namespace, and no
//! unix sockets. `audit_facts` gathers the databases that connections use and the lines of env files. `preflight` and
//! `host_names` send requests to the servers of the stack.

pub mod audit_facts;
mod connections;
pub mod host_names;
pub mod preflight;
mod server_variables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use self::audit_facts::{AuditFacts, OtherSessions};
use crate::context::address_lines::{self, AddressLine};
use crate::context::this_machine::is_this_machine;
use crate::context::{default_ports, refused_database};
use crate::error::{Code, Holder, Report};
use crate::os::proc::{self, Socket};
use crate::os::tcp;
use crate::plan::Plan;
use crate::ports::port_holder;

/// A connection that leaves the worktree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The process of the stack.
    pub process: String,
    /// The kind of server at the other end.
    pub server: Server,
    /// The other end: `127.0.0.1:5432`.
    pub address: String,
    /// The process that listens there, if devrun can see it.
    pub holder: Option<String>,
    /// The variable that leads the process there, and its place: `POSTGRES_SERVER (app/settings.py:14)`.
    pub reads: Option<String>,
    /// The databases, if the server is this worktree's and the database is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseMismatch>,
    /// The line of an env file that contains the address: `backend/.env:1 (DATABASE_URL)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// The databases of a finding on the worktree's own server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseMismatch {
    /// The name of the database that the process uses.
    pub used: String,
    /// The name of this worktree's database.
    pub own: String,
}

/// The kind of server that a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// Postgres.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// An HTTP server.
    Http,
}

/// The processes, ports and variables of a worktree.
#[derive(Clone, Debug, Default)]
pub struct Territory {
    /// Names of the processes, by the process id of their leader.
    pub leaders: BTreeMap<u32, String>,
    /// The worktree's own ports on loopback, with those of its database and of servers that are shared on purpose.
    pub ports: BTreeSet<u16>,
    /// True when the branch database is on this machine, so that any other Postgres is a shared one.
    pub local_database: bool,
    /// Variables that lead the processes to servers.
    reads: Vec<server_variables::Reading>,
    /// The branch database, if it is a Postgres on this machine.
    database: Option<OwnDatabase>,
    /// The databases that are not this worktree's, by the local ports of the connections that use them. Each audit fills
    /// them in.
    pub elsewhere: OtherSessions,
    /// Gathers what the plan does not have.
    pub facts: AuditFacts,
}

/// The branch database on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnDatabase {
    name: String,
    /// The port of its server.
    port: u16,
}

impl Territory {
    /// Returns the territory of `plan`, without leaders. Audits use `facts` for what the plan does not have.
    pub fn of(plan: &Plan, facts: AuditFacts) -> Territory {
        let database = plan.database.as_ref().and_then(|database| Url::parse(&database.masked_url).ok());
        let local = database.as_ref().and_then(Url::host_str).is_some_and(is_this_machine);
        let is_postgres = database.as_ref().is_some_and(|url| url.scheme().starts_with("postgres"));
        let port_of = |url: &Url| url.port().or_else(|| default_ports::of_scheme(url.scheme()));
        let port = database.as_ref().filter(|_| local).and_then(port_of);
        let name = plan.database.as_ref().map(|database| database.name.clone()).filter(|_| is_postgres);
        Territory {
            ports: plan.ports.values().chain(&plan.shared_ports).copied().chain(port).collect(),
            // Without a branch database, any Postgres is the project's own choice and no finding.
            local_database: local && is_postgres,
            reads: server_variables::of(plan),
            facts,
            database: name.zip(port).map(|(name, port)| OwnDatabase { name, port }),
            ..Territory::default()
        }
    }
}

/// The sockets of a stack, judged.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The connections that leave the worktree, each once and sorted.
    pub findings: Vec<Finding>,
    /// The TCP addresses on which each process listens. Leaves out processes that listen on none.
    pub listening: BTreeMap<String, BTreeSet<SocketAddr>>,
}

/// Reads the sockets of this process's descendants once. Empty on systems that do not list sockets.
pub fn survey(territory: &Territory) -> Survey {
    let owners = owners(territory);
    let rows =
        tcp::rows(&[tcp::SocketState::Connected, tcp::SocketState::Connecting, tcp::SocketState::Listening]);
    let holder = |port| {
        let listens =
            |row: &&tcp::TcpSocket| row.state == tcp::SocketState::Listening && row.local.port() == port;
        let socket = |row: &tcp::TcpSocket| Socket { inode: row.inode, user: row.user };
        let sockets: Vec<Socket> = rows.iter().filter(listens).map(socket).collect();
        port_holder::of_sockets(&sockets).map(Listener::from)
    };
    let mut findings = connections::findings(territory, &owners, &rows, &holder);
    for finding in &mut findings {
        finding.add_line(&territory.facts.lines(&finding.process));
    }
    Survey { findings, listening: listening_among(&rows, &owners) }
}

/// Returns the findings of [`survey`].
pub fn audit(territory: &Territory) -> Vec<Finding> {
    survey(territory).findings
}

/// Returns the addresses of [`survey`], without looking at connections.
pub fn listening(territory: &Territory) -> BTreeMap<String, BTreeSet<SocketAddr>> {
    listening_among(&tcp::rows(&[tcp::SocketState::Listening]), &owners(territory))
}

fn listening_among(
    rows: &[tcp::TcpSocket],
    owners: &HashMap<u64, String>,
) -> BTreeMap<String, BTreeSet<SocketAddr>> {
    let mut found: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.state == tcp::SocketState::Listening) {
        if let Some(name) = owners.get(&row.inode) {
            found.entry(name.clone()).or_default().insert(row.local);
        }
    }
    found
}

/// Returns the TCP addresses on which `leader`, a descendant of this process, its own descendants and the orphans in its session
/// listen.
pub fn listening_below(leader: u32) -> BTreeSet<SocketAddr> {
    let leaders = BTreeMap::from([(leader, String::new())]);
    listening(&Territory { leaders, ..Territory::default() }).into_values().next().unwrap_or_default()
}

/// Returns the command line of the process that listens on `port`.
pub fn command_on(port: u16) -> Option<String> {
    port_holder::of(port)?.command
}

/// Maps each socket of the stack's process trees to the name of its process.
fn owners(territory: &Territory) -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    let tree = proc::tree(std::process::id());
    let parents: HashMap<u32, u32> = tree.iter().map(|entry| (entry.pid, entry.parent)).collect();
    for entry in &tree {
        let leader = std::iter::successors(Some(entry.pid), |pid| parents.get(pid).copied())
            .take(tree.len() + 1)
            .find_map(|pid| territory.leaders.get(&pid))
            // An orphan is reparented to the supervisor, but is still in the session of its process.
            .or_else(|| territory.leaders.get(&entry.session));
        if let Some(name) = leader {
            owners.extend(proc::sockets_of(entry.pid).into_iter().map(|inode| (inode, name.clone())));
        }
    }
    owners
}

/// The process that listens on a port, named by its program, because a command line may hold secrets.
#[derive(Clone, Debug, Default)]
struct Listener {
    /// The file name of the program, if devrun can see it.
    program: Option<String>,
    pid: Option<u32>,
    worktree: Option<String>,
}

impl From<Holder> for Listener {
    fn from(holder: Holder) -> Listener {
        let command = holder.command.as_deref().and_then(|command| command.split_whitespace().next());
        let program =
            command.map(|path| path.trim_end_matches(':').rsplit('/').next().unwrap_or(path).into());
        Listener { program, pid: holder.pid, worktree: holder.worktree }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.as_deref().unwrap_or("a process that this user cannot see"))?;
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        self.worktree.as_ref().map_or(Ok(()), |path| write!(f, ", of worktree {path}"))
    }
}

impl Finding {
    /// Adds the line among `lines` that contains the address, in place of a variable that was read from that line.
    fn add_line(&mut self, lines: &[AddressLine]) {
        let Ok(address) = self.address.parse::<SocketAddr>() else { return };
        let line = match &self.database {
            Some(DatabaseMismatch { used, .. }) => address_lines::of_database(lines, address.port(), used),
            None => address_lines::of_server(lines, &address.ip().to_string(), address.port()),
        };
        let Some(line) = line else { return };
        self.reads.take_if(|reads| *reads == server_variables::text(&line.variable, &line.at));
        self.written = Some(line.to_string());
    }

    /// Returns the finding as text, with the variable that leads there and the line with the address, if they are known.
    pub fn text(&self) -> String {
        let Finding { process, address, holder, reads, server, database, written } = self;
        let said = if let Some(DatabaseMismatch { used, own }) = database {
            format!("{process} uses database {used}, not this worktree's {own}")
        } else {
            let holder = holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default();
            let own = match server {
                Server::Postgres => "database",
                Server::Redis => "Redis",
                Server::Http => "server",
            };
            format!("{process} is connected to {address}{holder}: not this worktree's {own}")
        };
        let reads = reads.as_ref().map(|reads| format!(". It reads {reads}")).unwrap_or_default();
        let written = written.as_ref().map(|line| format!(". {line} has that address")).unwrap_or_default();
        format!("{said}{reads}{written}")
    }
}

/// Returns the step that keeps the processes of `findings` in their worktree.
pub fn fix(findings: &[Finding]) -> String {
    match findings.iter().find_map(|finding| finding.written.as_ref()) {
        Some(line) => refused_database::fix(line),
        None => "set the variable that the process reads under `env:` in devrun.yaml, such as \
             `${database.url}` or `http://localhost:${ports.backend}`; `devrun env --explain` shows what is set"
            .into(),
    }
}

/// Returns the error for a run that must be isolated but is not.
pub fn report(findings: &[Finding]) -> Report {
    let message = findings.first().map(Finding::text).unwrap_or_default();
    let more: Vec<String> = findings.iter().skip(1).map(Finding::text).collect();
    let report = Report::new(Code::NotIsolated, message).with_fix(fix(findings));
    if more.is_empty() { report } else { report.with_cause(more.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::address_lines::tests::line;

    fn finding(reads: &str, database: Option<DatabaseMismatch>) -> Finding {
        Finding {
            process: "backend".into(),
            server: Server::Postgres,
            address: "127.0.0.1:5432".into(),
            holder: None,
            reads: Some(reads.into()),
            database,
            written: None,
        }
    }

    #[test]
    fn a_finding_names_the_line_of_an_env_file_with_the_address() {
        let lines = [line(2, "DATABASE_URL", ("localhost", 5432, "app"))];
        let mut found = finding("DATABASE_URL (app/db.py:16)", None);
        found.add_line(&lines);
        assert_eq!(
            found.text(),
            "backend is connected to 127.0.0.1:5432: not this worktree's database. It reads DATABASE_URL \
             (app/db.py:16). backend/.env:2 (DATABASE_URL) has that address"
        );
        assert!(fix(&[found]).starts_with("remove backend/.env:2"));
        let mut found = finding("DATABASE_URL (backend/.env:2)", None);
        found.add_line(&lines);
        assert_eq!(found.reads, None, "the line is named once");
    }

    #[test]
    fn a_finding_about_a_database_names_only_a_line_with_that_database() {
        let database = DatabaseMismatch { used: "dev-main".into(), own: "dev-x".into() };
        let mut found = finding("DATABASE_URL (app/db.py:16)", Some(database));
        found.add_line(&[line(2, "DATABASE_URL", ("localhost", 5432, "dev-x"))]);
        assert_eq!(found.written, None);
        found.add_line(&[line(3, "DATABASE_URL", ("localhost", 5432, "dev-main"))]);
        assert_eq!(found.written.as_deref(), Some("backend/.env:3 (DATABASE_URL)"));
    }
}
