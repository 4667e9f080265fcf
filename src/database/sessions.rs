//! Finds the sessions that use another database than the branch's, on the server of the branch database.
//!
//! A session is known by the port of its client, by which the caller finds the process. Programs behind a
//! pooler or in a container have other ports, and are not found.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::Client;
use url::Url;

use super::catalogue::{self, DatabaseComment, MAINTENANCE, literal};
use super::names::is_named_after;
use super::{BranchDatabase, connect};
use crate::context::this_machine::is_this_machine;
use crate::text::is_postgres_url;

/// How long one look may take, with the connection.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a server may refuse connections.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);

/// Returns the statement that lists, for each session of this machine in another database than `own`, the client's port, the
/// database, its comment and the comment of `own`.
fn sessions(own: &str) -> String {
    let own = literal(own);
    format!(
        "SELECT a.client_port, d.datname, shobj_description(d.oid, 'pg_database'), \
         (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {own}) \
         FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid \
         WHERE a.client_port > 0 AND (a.client_addr << '127.0.0.0/8' OR a.client_addr = '::1') \
         AND NOT d.datistemplate AND d.datname NOT IN ({}, {own})",
        literal(MAINTENANCE)
    )
}

/// Looks at the sessions of one server, through a connection that it keeps.
#[derive(Debug)]
pub struct ServerSessions {
    branch: BranchDatabase,
    client: Mutex<Option<Client>>,
}

impl ServerSessions {
    /// Returns the sessions of the server of `branch`; `None` unless it is a Postgres on this machine.
    pub fn of(branch: &BranchDatabase) -> Option<ServerSessions> {
        let url = Url::parse(&branch.direct_url).ok().filter(|url| is_postgres_url(url.as_str()))?;
        is_this_machine(url.host_str()?)
            .then(|| ServerSessions { branch: branch.clone(), client: Mutex::default() })
    }

    /// Returns the databases that are not this worktree's, by the ports of the clients that use them. Empty if the server does
    /// not answer in time.
    pub async fn elsewhere(&self) -> BTreeMap<u16, String> {
        tokio::time::timeout(LIMIT, self.look()).await.ok().flatten().unwrap_or_default()
    }

    async fn look(&self) -> Option<BTreeMap<u16, String>> {
        let mut kept = self.client.lock().await;
        let client = match kept.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.open().await?,
        };
        let rows = catalogue::rows(&client, &sessions(&self.branch.name), "list the sessions").await.ok()?;
        *kept = Some(client);
        let is_own_server = self.branch.admin_socket.is_some();
        let elsewhere = rows.into_iter().filter_map(|row| {
            let [port, database, comment, own] = <[Option<String>; 4]>::try_from(row).ok()?;
            let database = database?;
            let read = |comment: Option<String>| DatabaseComment::read(&comment?);
            // A provider that writes no comments may give a branch several databases.
            let may_judge_names = !is_own_server && read(own).is_some();
            let is_foreign = is_foreign(&self.branch.name, &database, read(comment), may_judge_names);
            is_foreign.then_some((port?.parse().ok()?, database))
        });
        Some(elsewhere.collect())
    }

    /// Connects to a database that nothing copies or drops.
    async fn open(&self) -> Option<Client> {
        let mut url = Url::parse(&self.branch.direct_url).ok()?;
        url.set_path(MAINTENANCE);
        let branch = BranchDatabase { direct_url: url.into(), ..self.branch.clone() };
        // The socket of devrun's own server answers at once or not at all.
        let limit = if branch.admin_socket.is_some() { Duration::ZERO } else { CONNECT_LIMIT };
        connect::reach(&branch, None, limit).await.ok()
    }
}

/// Returns true if `database` does not belong to the worktree with the branch database `own`, whose programs may have made
/// others. On devrun's own server, a database without devrun's `comment` belongs to no branch. On another server, where
/// `may_judge_names` is true, it may be the one that all worktrees share, unless its name shows the branch.
fn is_foreign(own: &str, database: &str, comment: Option<DatabaseComment>, may_judge_names: bool) -> bool {
    match comment {
        Some(comment) => comment.creator.as_deref() != Some(own),
        None => may_judge_names && !is_named_after(database, own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_foreign(database: &str, comment: Option<&str>, may_judge_names: bool) -> bool {
        super::is_foreign("dev-x", database, comment.and_then(DatabaseComment::read), may_judge_names)
    }

    #[test]
    fn only_databases_of_other_branches_are_foreign_on_devruns_own_server() {
        let branch = r#"{"branch":"main","worktree":"/w"}"#;
        let of = |creator: &str| format!(r#"{{"branch":"x","creator":"{creator}"}}"#);
        assert!(is_foreign("dev-main", Some(branch), false));
        assert!(is_foreign("dev-x_2", Some(branch), false), "a longer name is another branch's");
        assert!(is_foreign("shadow", Some(&of("dev-y")), false));
        assert!(!is_foreign("shadow", Some(&of("dev-x")), false));
        assert!(!is_foreign("test_dev-x", None, false) && !is_foreign("reports", None, false));
    }

    #[test]
    fn databases_of_a_given_server_are_foreign_unless_their_names_show_the_branch() {
        assert!(is_foreign("app", None, true) && is_foreign("app", Some("shared, do not touch"), true));
        assert!(!is_foreign("test_dev-x_1", None, true));
    }
}
