//! Decides which connections leave the worktree. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use super::{Finding, Server, Territory};
use crate::os::tcp::{Row, State};

/// Ports that Postgres and its poolers use by default.
const POSTGRES: [u16; 3] = [5432, 5433, 6543];
/// The port that Redis uses by default.
const REDIS: u16 = 6379;
/// Ports that development servers use by default.
const HTTP: [u16; 10] = [3000, 3001, 4000, 4200, 4321, 5000, 5173, 8000, 8001, 8080];
/// Programs that serve HTTP in development.
const SERVERS: [&str; 12] = [
    "bun",
    "deno",
    "fastapi",
    "gunicorn",
    "hypercorn",
    "next-server",
    "node",
    "python",
    "python3",
    "ruby",
    "uvicorn",
    "vite",
];

/// Returns the connections of `rows` that belong to one of `owners` (socket to process) and lead out of `territory`.
/// `holder` names the process that listens on a port of this machine.
pub(super) fn judge(
    territory: &Territory,
    owners: &HashMap<u64, String>,
    rows: &[Row],
    holder: &dyn Fn(u16) -> Option<String>,
) -> Vec<Finding> {
    let own: HashSet<u16> = rows
        .iter()
        .filter(|row| row.state == State::Listening && owners.contains_key(&row.inode))
        .map(|row| row.local.port())
        .chain(territory.ports.iter().copied())
        .collect();
    let mut found = BTreeSet::new();
    let mut holders: HashMap<u16, Option<String>> = HashMap::new();
    for row in rows.iter().filter(|row| matches!(row.state, State::Connected | State::Connecting)) {
        let Some(process) = owners.get(&row.inode) else { continue };
        // The server's end of a connection has the port that the server listens on.
        if own.contains(&row.local.port()) {
            continue;
        }
        let here = row.remote.ip().is_loopback();
        if here && own.contains(&row.remote.port()) {
            continue;
        }
        let port = row.remote.port();
        let listener = here.then(|| holders.entry(port).or_insert_with(|| holder(port)).clone()).flatten();
        if let Some(server) = server(territory, row.remote, here, listener.as_deref()) {
            let reads = territory.reads.iter().find(|(name, kind, _)| name == process && *kind == server);
            found.insert(Finding {
                process: process.clone(),
                server,
                address: row.remote.to_string(),
                holder: listener,
                reads: reads.map(|(_, _, text)| text.clone()),
            });
        }
    }
    found.into_iter().collect()
}

/// Returns the kind of a foreign server, `None` for a connection that is no fault.
fn server(territory: &Territory, remote: SocketAddr, here: bool, listener: Option<&str>) -> Option<Server> {
    let port = remote.port();
    if !here {
        return (POSTGRES.contains(&port) && territory.local_database).then_some(Server::Postgres);
    }
    let program = listener.map_or("", |text| text.split(',').next().unwrap_or(text));
    if program.starts_with("postgres") || POSTGRES.contains(&port) {
        return Some(Server::Postgres);
    }
    if program.starts_with("redis-server") || program.starts_with("valkey-server") || port == REDIS {
        return Some(Server::Redis);
    }
    let version =
        |program: &str| program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_string();
    let serves = SERVERS.iter().any(|name| *name == program || *name == version(program));
    let elsewhere = listener.is_some_and(|text| text.contains(", of worktree "));
    (serves || elsewhere || HTTP.contains(&port)).then_some(Server::Http)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(local: &str, remote: &str, state: State, inode: u64) -> Row {
        Row { local: local.parse().unwrap(), remote: remote.parse().unwrap(), state, user: 0, inode }
    }

    /// Judges `rows`, of which the sockets 1 to 9 belong to `backend`, and returns the sentences.
    fn sentences(rows: &[Row], holder: Option<&str>) -> Vec<String> {
        let territory = Territory {
            ports: BTreeSet::from([8147, 3147, 20100]),
            local_database: true,
            reads: vec![("backend".into(), Server::Postgres, "POSTGRES_SERVER (app/settings.py:14)".into())],
            ..Territory::default()
        };
        let owners = (1..10).map(|inode| (inode, "backend".to_string())).collect();
        let found = judge(&territory, &owners, rows, &|_| holder.map(Into::into));
        found.iter().map(Finding::text).collect()
    }

    #[test]
    fn connections_to_the_worktrees_own_servers_are_fine() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:20100", State::Connected, 1),
            row("127.0.0.1:41001", "127.0.0.1:3147", State::Connecting, 2),
            row("[::1]:41002", "[::1]:8147", State::Connected, 3),
        ];
        assert!(sentences(&rows, Some("postgres, pid 1")).is_empty());
    }

    #[test]
    fn a_shared_postgres_is_named_with_the_variable_that_leads_there() {
        let rows = [row("127.0.0.1:41000", "127.0.0.1:5432", State::Connected, 1)];
        assert_eq!(
            sentences(&rows, Some("postgres, pid 812")),
            [
                "backend is connected to 127.0.0.1:5432 (postgres, pid 812): not this worktree's database. It reads \
              POSTGRES_SERVER (app/settings.py:14)"
            ]
        );
        // A container's port has a holder that cannot be seen, or none at all.
        assert_eq!(sentences(&rows, None).len(), 1);
    }

    #[test]
    fn a_connection_that_came_in_is_no_fault() {
        let rows = [
            row("127.0.0.1:9000", "0.0.0.0:0", State::Listening, 1),
            row("127.0.0.1:9000", "127.0.0.1:5432", State::Connected, 2),
            row("127.0.0.1:8147", "127.0.0.1:5432", State::Connected, 3),
        ];
        assert!(sentences(&rows, Some("node, pid 5")).is_empty());
    }

    #[test]
    fn another_worktrees_server_and_a_shared_redis_are_reported_once() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:8112", State::Connected, 1),
            row("127.0.0.1:41001", "127.0.0.1:8112", State::Connected, 2),
            row("127.0.0.1:41002", "127.0.0.1:8112", State::Connected, 77),
        ];
        let found = sentences(&rows, Some("python3.12, pid 9, of worktree /w/other"));
        assert_eq!(
            found,
            [
                "backend is connected to 127.0.0.1:8112 (python3.12, pid 9, of worktree /w/other): not this worktree's \
              server"
            ]
        );
        let redis = [row("127.0.0.1:41000", "127.0.0.1:7777", State::Connected, 1)];
        assert!(sentences(&redis, Some("redis-server, pid 3"))[0].ends_with("not this worktree's Redis"));
    }

    #[test]
    fn servers_of_other_kinds_and_other_machines_are_left_alone() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:9200", State::Connected, 1),
            row("10.0.0.2:41001", "93.184.216.34:443", State::Connected, 2),
            row("127.0.0.1:41003", "127.0.0.1:5432", State::Closing, 3),
        ];
        assert!(sentences(&rows, Some("java, pid 4")).is_empty());
        let remote = [row("10.0.0.2:41001", "10.1.2.3:5432", State::Connected, 2)];
        assert_eq!(sentences(&remote, None).len(), 1);
    }
}
