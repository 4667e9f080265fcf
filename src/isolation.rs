//! Checks that the processes of a stack talk to their own worktree's servers and to no shared ones.
//!
//! Reads the sockets of the process trees and judges them; it changes nothing. It sees TCP in this network namespace.
//! It does not see unix sockets, nor which database a connection chose on a server that several worktrees share.

mod judge;
pub mod preflight;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Code, Holder, Report};
use crate::os::{proc, tcp};
use crate::plan::Plan;
use crate::ports::guard;

/// A connection that leaves the worktree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The process of the stack.
    pub process: String,
    /// The kind of server at the other end.
    pub server: Server,
    /// The other end: `127.0.0.1:5432`.
    pub address: String,
    /// The process that listens there, as far as it can be seen.
    pub holder: Option<String>,
    /// The variable that the process reads for it, and where: `POSTGRES_SERVER (app/settings.py:14)`.
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

/// What belongs to the worktree.
#[derive(Clone, Debug, Default)]
pub struct Territory {
    /// Names of the processes, by the process id of their leader.
    pub leaders: BTreeMap<u32, String>,
    /// The worktree's own ports on loopback, its database's included.
    pub ports: BTreeSet<u16>,
    /// True when the branch database is on this machine, so that any other Postgres is a shared one.
    pub local_database: bool,
    /// Variables that a process reads for a kind of server: process, server, `NAME (file:line)`.
    pub reads: Vec<(String, Server, String)>,
}

impl Territory {
    /// Returns what belongs to the worktree of `plan`; the leaders are not known yet.
    pub fn of(plan: &Plan) -> Territory {
        let database = plan.database.as_ref().and_then(|database| Url::parse(&database.masked_url).ok());
        let local = database.as_ref().and_then(Url::host_str).is_some_and(is_loopback);
        let port = database.as_ref().filter(|_| local).and_then(Url::port);
        Territory {
            ports: plan.ports.values().copied().chain(port).collect(),
            // Without a branch database the project's own choice is none of this module's business.
            local_database: local,
            ..Territory::default()
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Returns the connections of this process's descendants that leave `territory`, each once and sorted. Empty where the
/// system lists no sockets.
pub fn audit(territory: &Territory) -> Vec<Finding> {
    let owners = owners(territory);
    let rows = tcp::rows();
    judge::judge(territory, &owners, &rows, &|port| guard::holder(port).map(|holder| name(&holder)))
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
            // A child that lost its parent is a child of the supervisor and still in its process's session.
            .or_else(|| territory.leaders.get(&entry.session));
        if let Some(name) = leader {
            owners.extend(proc::sockets_of(entry.pid).map(|inode| (inode, name.clone())));
        }
    }
    owners
}

/// Names a holder by its program, because a command line may hold secrets.
fn name(holder: &Holder) -> String {
    let command = holder.command.as_deref().and_then(|command| command.split_whitespace().next());
    let program = command.map(|path| path.trim_end_matches(':').rsplit('/').next().unwrap_or(path));
    let pid = holder.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let worktree = holder.worktree.as_ref().map(|path| format!(", of worktree {path}")).unwrap_or_default();
    format!("{}{pid}{worktree}", program.unwrap_or("a process of another user"))
}

impl Finding {
    /// Returns the finding as one sentence, with the variable that leads there when it is known.
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

/// Returns the error of a run that must be isolated and is not.
pub fn report(findings: &[Finding]) -> Report {
    let message = findings.first().map(Finding::text).unwrap_or_default();
    let more: Vec<String> = findings.iter().skip(1).map(Finding::text).collect();
    let report = Report::new(Code::NotIsolated, message).with_fix(
        "set the variable that the process reads under `env:` in devrun.yaml, such as \
         `${database.url}` or `http://localhost:${ports.backend}`; `devrun env --explain` shows what is set",
    );
    if more.is_empty() { report } else { report.with_cause(more.join("\n")) }
}
