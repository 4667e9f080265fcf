//! Checks that the processes of a stack talk to their own worktree's servers and to no shared ones.
//!
//! Reads the sockets of the process trees and judges them; it changes nothing. It sees TCP in this network namespace.
//! It does not see unix sockets, nor which database a connection chose on a server that several worktrees share.

mod connections;
pub mod host_names;
pub mod preflight;
mod readings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

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
    reads: Vec<readings::Reading>,
}

impl Territory {
    /// Returns the territory of `plan`, without leaders.
    pub fn of(plan: &Plan) -> Territory {
        let database = plan.database.as_ref().and_then(|database| Url::parse(&database.masked_url).ok());
        let local = database.as_ref().and_then(Url::host_str).is_some_and(is_loopback);
        let is_postgres = database.as_ref().is_some_and(|url| url.scheme().starts_with("postgres"));
        let port = database.as_ref().filter(|_| local).and_then(Url::port);
        Territory {
            ports: plan.ports.values().chain(&plan.shared_ports).copied().chain(port).collect(),
            // Without a branch database, any Postgres is the project's own choice and no finding.
            local_database: local && is_postgres,
            reads: readings::of(plan),
            ..Territory::default()
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
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
    let findings = connections::findings(territory, &owners, &rows, &holder);
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

/// Returns the TCP addresses on which the descendants of this process below `leader` listen.
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
        f.write_str(self.program.as_deref().unwrap_or("a process of another user"))?;
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        self.worktree.as_ref().map_or(Ok(()), |path| write!(f, ", of worktree {path}"))
    }
}

impl Finding {
    /// Returns the finding as one sentence, with the variable that leads there if it is known.
    pub fn text(&self) -> String {
        let Finding { process, address, holder, reads, server } = self;
        let holder = holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default();
        let own = match server {
            Server::Postgres => "database",
            Server::Redis => "Redis",
            Server::Http => "server",
        };
        let reads = reads.as_ref().map(|reads| format!(". It reads {reads}")).unwrap_or_default();
        format!("{process} is connected to {address}{holder}: not this worktree's {own}{reads}")
    }
}

/// Returns the error for a run that must be isolated but is not.
pub fn report(findings: &[Finding]) -> Report {
    let message = findings.first().map(Finding::text).unwrap_or_default();
    let more: Vec<String> = findings.iter().skip(1).map(Finding::text).collect();
    let report = Report::new(Code::NotIsolated, message).with_fix(
        "set the variable that the process reads under `env:` in devrun.yaml, such as \
         `${database.url}` or `http://localhost:${ports.backend}`; `devrun env --explain` shows what is set",
    );
    if more.is_empty() { report } else { report.with_cause(more.join("\n")) }
}
