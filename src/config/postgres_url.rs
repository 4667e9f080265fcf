//! Parses values that are URLs of a Postgres, and recognises URLs of other databases.

use percent_encoding::percent_decode_str;

use crate::config::names::words;
use crate::config::url_forms;
use crate::text::{is_postgres_scheme, user_info_len};

/// The parts of a Postgres URL: scheme and query, of which a binding keeps some, and hosts and database, which it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgUrl<'a> {
    /// A scheme such as `postgresql`, `postgres` or `postgresql+asyncpg`.
    pub scheme: &'a str,
    /// Hosts with their ports, separated by commas; empty for the local socket.
    hosts: &'a str,
    /// The name of the database; empty if there is none.
    database: &'a str,
    query: &'a str,
}

impl<'a> PgUrl<'a> {
    /// Parses a value; `None` if it is not a URL of a Postgres.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (scheme, after) = value.trim().split_once("://")?;
        // `postgresql+asyncpg://` alone is a prefix, to which the application's code adds the rest.
        if !is_postgres_scheme(scheme) || after.is_empty() {
            return None;
        }
        let place = &after[user_info_len(after)..];
        let hosts = &place[..place.find(['/', '?']).unwrap_or(place.len())];
        let query = place.split_once('?').map_or("", |(_, query)| query);
        let path = place[hosts.len()..].split(['?', '#']).next().unwrap_or_default();
        let database = path.trim_start_matches('/');
        Some(PgUrl { scheme, hosts, database, query: query.split('#').next().unwrap_or_default() })
    }

    /// Returns true if both URLs lead to the same database, directly or through Neon's pooler.
    pub fn is_place_of(&self, other: &PgUrl<'_>) -> bool {
        let direct = |hosts: &str| hosts.replace("-pooler.", ".");
        self.database == other.database && direct(self.hosts) == direct(other.hosts)
    }

    /// Returns true if every host is this machine, a socket folder, or a name without a dot, as containers have. The parameter `host`
    /// overrides the hosts, as with libpq.
    pub fn is_local(&self) -> bool {
        let host = |text: &'a str| match text.find(']') {
            Some(end) => &text[..=end],
            None => text.split(':').next().unwrap_or_default(),
        };
        let named = self.query.split('&').find_map(|pair| pair.strip_prefix("host="));
        match named.filter(|named| !named.is_empty()) {
            Some(named) => url_forms::is_local(&percent_decode_str(named).decode_utf8_lossy()),
            None => self.hosts.split(',').map(host).all(url_forms::is_local),
        }
    }

    /// Returns the parameters to keep. For a local server, drops those that give its place, the user or a secret, and
    /// those for TLS and poolers. For a remote server, keeps only the schema. Drops a parameter with characters that a
    /// query must escape. The result is empty or starts with `?`.
    pub fn kept_query(&self) -> String {
        let place = [
            "host", "hostaddr", "port", "user", "username", "password", "dbname", "database", "service",
            "passfile",
        ];
        let secret = |key: &str| {
            ["pass", "secret", "token", "key", "cert"].iter().any(|word| key.to_lowercase().contains(word))
        };
        let mine = |key: &str| {
            !place.contains(&key)
                && !secret(key)
                && !key.starts_with("ssl")
                && key != "channel_binding"
                && key != "pgbouncer"
        };
        let kept: Vec<&str> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter(|pair| {
                let key = pair.split('=').next().unwrap_or_default();
                let plain = pair.chars().all(|c| c.is_ascii_alphanumeric() || "_=%.+-:/~@".contains(c));
                plain && if self.is_local() { mine(key) } else { key == "schema" }
            })
            .collect();
        if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
    }
}

/// Returns the template for the branch database's URL as devrun.yaml writes it: `${database.url}`, with `scheme` and `query` if they
/// differ from plain `postgresql`. A variable whose name says that it bypasses a pooler (`DIRECT_URL`) gets the direct URL.
pub fn template(name: &str, scheme: &str, query: &str) -> String {
    let field = if is_direct(name) { "database.direct_url" } else { "database.url" };
    match (scheme, query) {
        ("postgresql", "") => format!("${{{field}}}"),
        _ => format!("${{{field}:{scheme}{query}}}"),
    }
}

fn is_direct(name: &str) -> bool {
    let words = words(name);
    let has = |word: &str| words.iter().any(|other| other == word);
    has("DIRECT") || has("UNPOOLED") || has("NONPOOLING") || name.contains("NON_POOLING")
}

/// The kind of database that is a file in the worktree.
pub const FILE: &str = "SQLite";

/// Returns the kind of database that the value is a URL of, if it is not a Postgres.
pub fn other_database(value: &str) -> Option<&'static str> {
    let scheme = value.trim().split(':').next()?.split('+').next()?.to_lowercase();
    Some(match scheme.as_str() {
        "sqlite" | "file" | "sqlite3" => FILE,
        "mysql" | "mariadb" => "MySQL",
        "mongodb" => "MongoDB",
        "mssql" | "sqlserver" => "SQL Server",
        "oracle" => "Oracle",
        "libsql" => "libSQL",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_schema_are_kept_and_place_secrets_and_tls_are_dropped() {
        let url = PgUrl::parse("postgresql+asyncpg://u:p@ss/w@localhost:5432/app?schema=public&sslmode=require&password=x&host=/run").unwrap();
        assert_eq!(url.scheme, "postgresql+asyncpg");
        assert!(url.is_local());
        assert_eq!(url.kept_query(), "?schema=public");
    }

    #[test]
    fn loopback_sockets_and_names_without_a_dot_are_local() {
        for local in [
            "postgres://db/app",
            "postgresql:///app",
            "postgres://u:p@127.0.0.1:1/x",
            "postgresql://[::1]:5432/x",
        ] {
            assert!(PgUrl::parse(local).unwrap().is_local(), "{local}");
        }
        let remote =
            PgUrl::parse("postgres://u:p@ep-x.neon.tech/db?sslmode=require&channel_binding=require").unwrap();
        assert!(!remote.is_local());
        assert_eq!(remote.kept_query(), "");
    }

    #[test]
    fn an_at_sign_ends_a_password_but_not_a_parameter() {
        for (url, is_local) in [
            ("postgres://db.example.com/app?user=me@x", false),
            ("postgres://u:p@db.example.com/app?user=me@x&application_name=a@b", false),
            ("postgres://u:p?q@ss/w@localhost/app?schema=a", true),
            ("postgres://u:p?=@localhost/app", true),
        ] {
            assert_eq!(PgUrl::parse(url).unwrap().is_local(), is_local, "{url}");
        }
    }

    #[test]
    fn other_schemes_and_incomplete_urls_are_not_postgres() {
        assert_eq!(PgUrl::parse("mysql://localhost/x"), None);
        assert_eq!(PgUrl::parse("postgresql"), None);
        assert_eq!(PgUrl::parse("postgresql+asyncpg://"), None);
        assert_eq!(other_database("sqlite+aiosqlite:///./app.db"), Some("SQLite"));
        assert_eq!(other_database("postgresql://x"), None);
    }
}
