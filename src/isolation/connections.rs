//! Decides which connections leave the worktree. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use super::{DatabaseMismatch, Finding, Listener, Server, Territory, server_variables};
use crate::context::default_ports::{POSTGRES_LIKE, REDIS};
use crate::os::tcp::{SocketState, TcpSocket};

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

/// Returns the connections in `rows` that belong to one of `owners` (socket to process) and lead out of `territory`.
/// `holder` returns the process that listens on a port of this machine.
pub(super) fn findings(
    territory: &Territory,
    owners: &HashMap<u64, String>,
    rows: &[TcpSocket],
    holder: &dyn Fn(u16) -> Option<Listener>,
) -> Vec<Finding> {
    let own: HashSet<u16> = rows
        .iter()
        .filter(|row| row.state == SocketState::Listening && owners.contains_key(&row.inode))
        .map(|row| row.local.port())
        .chain(territory.ports.iter().copied())
        .collect();
    let mut found = BTreeSet::new();
    let mut holders: HashMap<u16, Option<Listener>> = HashMap::new();
    for row in rows.iter().filter(|row| matches!(row.state, SocketState::Connected | SocketState::Connecting))
    {
        let Some(process) = owners.get(&row.inode) else { continue };
        // The server's end of a connection has the port that the server listens on.
        if own.contains(&row.local.port()) {
            continue;
        }
        let here = row.remote.ip().is_loopback();
        if here && own.contains(&row.remote.port()) {
            found.extend(other_database(territory, process, row));
            continue;
        }
        let port = row.remote.port();
        let listener = here.then(|| holders.entry(port).or_insert_with(|| holder(port)).clone()).flatten();
        if let Some(server) = server(territory, row.remote, here, listener.as_ref()) {
            let reads = server_variables::leading(&territory.reads, process, server, row.remote);
            found.insert(Finding {
                process: process.clone(),
                server,
                address: row.remote.to_string(),
                holder: listener.as_ref().map(Listener::to_string),
                reads: reads.map(|reading| reading.text.clone()),
                database: None,
                written: None,
            });
        }
    }
    found.into_iter().collect()
}

/// Returns the finding for a connection of `process` to the branch database's server, if it uses another database there.
fn other_database(territory: &Territory, process: &str, row: &TcpSocket) -> Option<Finding> {
    let own = territory.database.as_ref().filter(|own| own.port == row.remote.port())?;
    let used = territory.elsewhere.get(&row.local.port())?.clone();
    let reads = server_variables::leading(&territory.reads, process, Server::Postgres, row.remote);
    Some(Finding {
        process: process.into(),
        server: Server::Postgres,
        address: row.remote.to_string(),
        holder: None,
        reads: reads.map(|reading| reading.text.clone()),
        database: Some(DatabaseMismatch { used, own: own.name.clone() }),
        written: None,
    })
}

/// Returns the kind of a foreign server; `None` for a connection that is allowed.
fn server(
    territory: &Territory,
    remote: SocketAddr,
    here: bool,
    listener: Option<&Listener>,
) -> Option<Server> {
    let port = remote.port();
    if !here {
        return (POSTGRES_LIKE.contains(&port) && territory.local_database).then_some(Server::Postgres);
    }
    let program = listener.and_then(|listener| listener.program.as_deref()).unwrap_or_default();
    if program.starts_with("postgres") || POSTGRES_LIKE.contains(&port) {
        return Some(Server::Postgres);
    }
    if program.starts_with("redis-server") || program.starts_with("valkey-server") || port == REDIS {
        return Some(Server::Redis);
    }
    let version =
        |program: &str| program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_string();
    let serves = SERVERS.iter().any(|name| *name == program || *name == version(program));
    let elsewhere = listener.is_some_and(|listener| listener.worktree.is_some());
    (serves || elsewhere || HTTP.contains(&port)).then_some(Server::Http)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::OwnDatabase;

    fn row(local: &str, remote: &str, state: SocketState, inode: u64) -> TcpSocket {
        TcpSocket { local: local.parse().unwrap(), remote: remote.parse().unwrap(), state, user: 0, inode }
    }

    fn listener(program: &str, pid: u32) -> Listener {
        Listener { program: Some(program.into()), pid: Some(pid), worktree: None }
    }

    /// Judges `rows`, in which the sockets 1 to 9 belong to `backend`, and returns the sentences.
    fn sentences(rows: &[TcpSocket], holder: Option<&Listener>) -> Vec<String> {
        let territory = Territory {
            ports: BTreeSet::from([8147, 3147, 20100]),
            local_database: true,
            database: Some(OwnDatabase { name: "dev-x".into(), port: 20100 }),
            elsewhere: [(41000, "dev-main".into()), (41001, "dev-main".into())].into(),
            reads: vec![server_variables::Reading {
                process: "backend".into(),
                server: Some(Server::Postgres),
                text: "POSTGRES_SERVER (app/settings.py:14)".into(),
                address: None,
            }],
            ..Territory::default()
        };
        let owners = (1..10).map(|inode| (inode, "backend".to_string())).collect();
        let found = self::findings(&territory, &owners, rows, &|_| holder.cloned());
        found.iter().map(Finding::text).collect()
    }

    #[test]
    fn connections_to_the_worktrees_own_servers_are_fine() {
        let rows = [
            row("127.0.0.1:41009", "127.0.0.1:20100", SocketState::Connected, 1),
            row("127.0.0.1:41001", "127.0.0.1:3147", SocketState::Connecting, 2),
            row("[::1]:41002", "[::1]:8147", SocketState::Connected, 3),
        ];
        assert!(sentences(&rows, Some(&listener("postgres", 1))).is_empty());
    }

    #[test]
    fn a_shared_postgres_is_named_with_the_variable_that_leads_there() {
        let rows = [row("127.0.0.1:41000", "127.0.0.1:5432", SocketState::Connected, 1)];
        assert_eq!(
            sentences(&rows, Some(&listener("postgres", 812))),
            [
                "backend is connected to 127.0.0.1:5432 (postgres, pid 812): not this worktree's database. It reads \
              POSTGRES_SERVER (app/settings.py:14)"
            ]
        );
        // The process behind a container's port is invisible, or there is none.
        assert_eq!(sentences(&rows, None).len(), 1);
    }

    #[test]
    fn another_database_of_the_own_server_is_reported_once() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:20100", SocketState::Connected, 1),
            row("127.0.0.1:41001", "127.0.0.1:20100", SocketState::Connected, 2),
            row("127.0.0.1:41001", "127.0.0.1:20100", SocketState::Connected, 77),
        ];
        assert_eq!(
            sentences(&rows, None),
            ["backend uses database dev-main, not this worktree's dev-x. It reads POSTGRES_SERVER \
                 (app/settings.py:14)"]
        );
    }

    #[test]
    fn a_connection_that_came_in_is_no_fault() {
        let rows = [
            row("127.0.0.1:9000", "0.0.0.0:0", SocketState::Listening, 1),
            row("127.0.0.1:9000", "127.0.0.1:5432", SocketState::Connected, 2),
            row("127.0.0.1:8147", "127.0.0.1:5432", SocketState::Connected, 3),
        ];
        assert!(sentences(&rows, Some(&listener("node", 5))).is_empty());
    }

    #[test]
    fn another_worktrees_server_and_a_shared_redis_are_reported_once() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:8112", SocketState::Connected, 1),
            row("127.0.0.1:41001", "127.0.0.1:8112", SocketState::Connected, 2),
            row("127.0.0.1:41002", "127.0.0.1:8112", SocketState::Connected, 77),
        ];
        // Neither the port nor the program is one of a server: only the worktree shows it.
        let other = Listener { worktree: Some("/w/other".into()), ..listener("my-server", 9) };
        let found = sentences(&rows, Some(&other));
        assert_eq!(
            found,
            [
                "backend is connected to 127.0.0.1:8112 (my-server, pid 9, of worktree /w/other): not this worktree's \
              server"
            ]
        );
        let redis = [row("127.0.0.1:41000", "127.0.0.1:7777", SocketState::Connected, 1)];
        assert!(
            sentences(&redis, Some(&listener("redis-server", 3)))[0].ends_with("not this worktree's Redis")
        );
    }

    #[test]
    fn servers_of_other_kinds_and_other_machines_are_left_alone() {
        let rows = [
            row("127.0.0.1:41000", "127.0.0.1:9200", SocketState::Connected, 1),
            row("10.0.0.2:41001", "93.184.216.34:443", SocketState::Connected, 2),
            row("127.0.0.1:41003", "127.0.0.1:5432", SocketState::Other, 3),
        ];
        assert!(sentences(&rows, Some(&listener("java", 4))).is_empty());
        let remote = [row("10.0.0.2:41001", "10.1.2.3:5432", SocketState::Connected, 2)];
        assert_eq!(sentences(&remote, None).len(), 1);
    }
}
