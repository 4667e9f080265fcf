//! Finds the variables of an env file that belong to the copy of the product that the file was written for, and the placeholders of an
//! example.
//!
//! A worktree reads the file of another worktree, or a committed example, only because it has no such file. A value belongs to the
//! other copy if it names that copy's folder, a port of this machine, or a database: in a URL, in a list, or in parts such as
//! `DB_HOST`. It would lead the worktree to the servers and the data of the other copy.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::EnvFileOrigin;
use crate::config::libpq;
use crate::context::this_machine::is_this_machine;

/// Decides which variables of one file are left out.
pub(super) struct OtherCopyFilter<'a> {
    /// The worktree that the file lies in; `None` for an example.
    folder: Option<&'a Path>,
    /// The ports that the worktree in `folder` has leased.
    ports: Vec<u16>,
}

impl<'a> OtherCopyFilter<'a> {
    /// Returns the filter for a file from `found`; `None` if all of its variables count. `leased` are the ports of other worktrees.
    pub(super) fn of(found: &'a EnvFileOrigin, leased: &[(PathBuf, u16)]) -> Option<OtherCopyFilter<'a>> {
        let folder = match found {
            EnvFileOrigin::Other(folder) => Some(folder.as_path()),
            EnvFileOrigin::Example(_) => None,
            EnvFileOrigin::Worktree | EnvFileOrigin::Main | EnvFileOrigin::Nowhere => return None,
        };
        let own = leased.iter().filter(|(worktree, _)| Some(worktree.as_path()) == folder);
        Some(OtherCopyFilter { folder, ports: own.map(|(_, port)| *port).collect() })
    }

    /// Returns true if the variable is left out.
    pub(super) fn leaves_out(&self, name: &str, value: &str) -> bool {
        let name = name.to_ascii_uppercase();
        let is_number = value.parse::<u16>().is_ok();
        let is_placeholder = self.folder.is_none() && is_placeholder(&name, value);
        is_placeholder
            || name.starts_with("DEVRUN_")
            || is_part_of_an_address(&name)
            || (is_number && name.split('_').any(|word| word == "PORT"))
            || is_url_of_data(value)
            || is_local_server(value)
            || self.ports.iter().any(|port| names_port(value, *port))
            || self.folder.is_some_and(|folder| leads_into(value, folder))
    }
}

/// Returns true for a value of an example that is no value: an empty one, a mode, and the key and project of Neon, which would choose
/// the provider of the database.
fn is_placeholder(name: &str, value: &str) -> bool {
    value.is_empty() || name == "NODE_ENV" || name.starts_with("NEON_")
}

/// Words that name a store of data in front of a part of its address: `POSTGRES_HOST`, `APP_DB__NAME`.
const STORES: [&str; 17] = [
    "AMQP",
    "CLICKHOUSE",
    "DATABASE",
    "DB",
    "MARIADB",
    "MONGO",
    "MONGODB",
    "MSSQL",
    "MYSQL",
    "PG",
    "POSTGRES",
    "POSTGRESQL",
    "PSQL",
    "RABBITMQ",
    "REDIS",
    "SQL",
    "VALKEY",
];
const PARTS: [&str; 14] = [
    "DATABASE", "DB", "DBNAME", "HOST", "HOSTNAME", "NAME", "PASS", "PASSWORD", "PORT", "PWD", "SERVER",
    "SOCKET", "USER", "USERNAME",
];

/// Returns true if the variable holds a part of a database's address. The parts belong together: a password of one database is of no
/// use for another one.
fn is_part_of_an_address(name: &str) -> bool {
    let mut words = name.split('_').filter(|word| !word.is_empty()).rev();
    let (last, store) = (words.next().unwrap_or_default(), words.next());
    let is_joined = store.is_none() && last.strip_prefix("DB").is_some_and(|part| PARTS.contains(&part));
    libpq::STEERING.contains(&name)
        || is_joined
        || (PARTS.contains(&last) && store.is_some_and(|store| STORES.contains(&store)))
}

/// The URL of a database, queue or file, or a connection string. A file with a relative path is in the worktree that reads it.
static DATA: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?ix) \b(jdbc|r2dbc|odbc): | \bsqlite(\+\w+)?:(/{4}|/[^/]) | \bfile:(//)?(localhost)?/[^/]
        | \b(postgres|postgresql|pgsql|psql|postgis|mysql2?|mysqlx|mariadb|mongodb|redis|rediss|valkey|valkeys|amqp|amqps
            |sqlserver|mssql|oracle|cockroachdb|clickhouse|libsql|neo4j|bolt|nats|kafka|cassandra|memcached)(\+[\w+]+)?://
        | \b(dbname|initial\ catalog)\s*= | \bdata\ source\s*=\s*/
        | \b(server|host)\s*=.*\bdatabase\s*= | \bdatabase\s*=.*\b(server|host)\s*=",
    )
    .ok()
});

fn is_url_of_data(value: &str) -> bool {
    DATA.as_ref().is_some_and(|data| data.is_match(value))
}

/// A host with a port, also percent-encoded in a URL, and with a comma as for SQL Server.
static SERVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9.-]*[a-z0-9]|[a-z])(?::|%3a)(\d{1,5})\b").ok()
});

/// The lowest port that a server without privileges can have. Below it, `postgres:16` is the tag of an image.
const LOWEST: u16 = 1024;

/// Returns true if the value names a port of this machine: one of a loopback address, of a container, or of all addresses (`:8080`).
fn is_local_server(value: &str) -> bool {
    let all = value.trim().strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let servers = SERVER.iter().flat_map(|server| server.captures_iter(value));
    all || servers.filter_map(|found| Some((found.get(1)?, found.get(2)?.as_str().parse::<u16>().ok()?))).any(
        |(host, port)| {
            let name = host.as_str().to_ascii_lowercase();
            // `//user:1234@host` is no server.
            let is_user = value[host.end()..]
                .trim_start_matches(|c: char| c.is_alphanumeric() || ":%".contains(c))
                .starts_with('@');
            !is_user && (is_this_machine(&name) || (port >= LOWEST && is_local_name(&name)))
        },
    )
}

/// Returns true for a name without a dot, as containers have it, and for the names of local networks.
fn is_local_name(host: &str) -> bool {
    let is_name = host.chars().any(|c| c.is_ascii_alphabetic()) && !host.starts_with('[');
    let suffixes = [".localhost", ".local", ".internal", ".test", ".localdomain"];
    is_name && (!host.contains('.') || suffixes.iter().any(|suffix| host.ends_with(suffix)))
}

/// Returns true if the value is `port`, or an address with it.
fn names_port(value: &str, port: u16) -> bool {
    let digits = port.to_string();
    let is_address = |(at, _): (usize, &str)| {
        let before = value[..at].to_ascii_lowercase();
        let after = value[at + digits.len()..].chars().next();
        (before.ends_with(':') || before.ends_with("%3a")) && !after.is_some_and(|c| c.is_ascii_digit())
    };
    value.trim() == digits || value.match_indices(&digits).any(is_address)
}

/// Returns true if a path in the value leads into `folder`.
fn leads_into(value: &str, folder: &Path) -> bool {
    let Some(text) = folder.to_str() else { return false };
    let is_path = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let names = |text: &str| {
        value.match_indices(text).any(|(at, _)| {
            let (before, after) = (value[..at].chars().next_back(), value[at + text.len()..].chars().next());
            !before.is_some_and(is_path) && !after.is_some_and(is_path)
        })
    };
    // The same folder may have another path, through a link.
    let parts = value.split(|c: char| c.is_whitespace() || ":;,='\"".contains(c));
    let real = |part: &str| Path::new(part).ancestors().find_map(|above| std::fs::canonicalize(above).ok());
    let leads = |part: &str| part.starts_with('/') && real(part).is_some_and(|real| real.starts_with(folder));
    names(text) || names(&text.replace(' ', "%20")) || parts.into_iter().any(leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_worktree(name: &str, value: &str) -> bool {
        let found = EnvFileOrigin::Other("/w/a b".into());
        let leased = [("/w/a b".into(), 3147), ("/w/c".into(), 3150)];
        OtherCopyFilter::of(&found, &leased).unwrap().leaves_out(name, value)
    }

    fn of_example(name: &str, value: &str) -> bool {
        OtherCopyFilter::of(&EnvFileOrigin::Example(".env.example".into()), &[])
            .unwrap()
            .leaves_out(name, value)
    }

    #[test]
    fn ports_of_this_machine_belong_to_one_copy() {
        for (name, value) in [
            ("PORT", "3000"),
            ("API_PORT", "8147"),
            ("PORT_WEB", "8147"),
            ("ADDRESS", ":8080"),
            ("ADDRESS", "127.0.0.1:8147"),
            ("BROKERS", "localhost:9092,localhost:9093"),
            ("CACHE", "redis:6379"),
            ("NEXT_PUBLIC_API_URL", "http://localhost:8147/v1"),
            ("TENANT", "http://demodev.localhost:3148"),
            ("CORS_ORIGINS", "[\"https://app.example\", \"http://[::1]:3148\"]"),
            ("LOGIN", "https://id.example.com/login?to=http%3A%2F%2Flocalhost%3A3148"),
            ("DOCKER", "http://host.docker.internal:8000"),
            // The ports that the worktree has leased.
            ("VITE_SERVER", "3147"),
            ("PHONE", "http://192.168.1.5:3147/"),
        ] {
            assert!(of_worktree(name, value), "{name}={value}");
        }
    }

    #[test]
    fn databases_belong_to_one_copy_in_every_notation() {
        for (name, value) in [
            ("DATABASE_URL", "postgresql+asyncpg://u:p@db.example:5432/x"),
            ("CACHE", "redis://localhost:6379/3"),
            ("SPRING_DATASOURCE", "jdbc:postgresql://db.example/app"),
            ("H2", "jdbc:h2:./data"),
            ("DB", "sqlite:////srv/app.db"),
            ("DB", "sqlite+aiosqlite:////srv/app.db"),
            ("DB", "file:///srv/app.db"),
            ("DB", "file:/srv/app.db"),
            ("DSN", "host=db.example dbname=app user=u"),
            ("DSN", "Server=tcp:db.example,1433;Database=app;User Id=u"),
            ("DSN", "u:p@tcp(127.0.0.1:3306)/app"),
            ("PGHOST", "db.example"),
            ("PGPASSWORD", "abc"),
            ("PGSERVICE", "app"),
            ("POSTGRES_SERVER", "db.example"),
            ("DB_NAME", "app"),
            ("DBUSER", "app"),
            ("APP_DB__PASSWORD", "abc"),
        ] {
            assert!(of_worktree(name, value), "{name}={value}");
            assert!(of_example(name, value), "{name}={value}");
        }
    }

    #[test]
    fn paths_into_the_other_folder_belong_to_it() {
        for value in [
            "/w/a b/uploads",
            "/w/a b",
            "/usr/bin:/w/a b/bin",
            "sqlite:///w/a b/app.db",
            "unix:///w/a%20b/api.sock",
            "--config=\"/w/a b/c.toml\"",
        ] {
            assert!(of_worktree("VALUE", value) && !of_example("VALUE", value), "{value}");
        }
        assert!(!of_worktree("VALUE", "/w/a bc/uploads") && !of_worktree("VALUE", "/x/w/a b-old"));
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = real.with_file_name("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(leads_into(&format!("A={}/new", link.display()), &real));
        assert!(!leads_into(&format!("{}", dir.path().join("other").display()), &real));
    }

    #[test]
    fn keys_and_addresses_of_services_come_along() {
        for (name, value) in [
            ("API_KEY", "abc"),
            ("PORT", "auto"),
            ("SMTP_PORTS", "25"),
            ("SMTP_HOST", "smtp.example.com"),
            ("API_URL", "https://api.example.com:8443"),
            ("CDN", "http://localhost"),
            ("IMAGE", "postgres:16"),
            ("DIGEST", "sha256:12345abc"),
            ("AT", "2024-01-01T10:30"),
            ("WEBHOOK", "https://user:31470@hooks.example.com/x"),
            ("DB", "sqlite:///./dev.db"),
            ("DB", "sqlite:///dev.db"),
            ("DB", "file:./dev.db"),
            ("NUMBER", "13147"),
            ("USERNAME", "me"),
            ("NODE_ENV", "production"),
            ("EMPTY", ""),
            ("NEON_PROJECT_ID", "p"),
        ] {
            assert!(!of_worktree(name, value), "{name}={value}");
        }
    }

    #[test]
    fn placeholders_of_an_example_are_no_values() {
        for (name, value) in
            [("NEON_PROJECT_ID", "your-project"), ("API_KEY", ""), ("NODE_ENV", "production")]
        {
            assert!(of_example(name, value), "{name}={value}");
        }
        assert!(!of_example("API_KEY", "changethis"));
    }
}
