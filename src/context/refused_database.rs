//! Explains the error of a program that could not reach a database because it asked another server than the worktree's. Pure.

use super::address_lines::{self, AddressLine};
use super::default_ports::POSTGRES_LIKE;
use super::server_address::{ServerAddress, unreached};

/// A database server that a program asked in place of the worktree's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedDatabase {
    /// The server that it asked.
    pub asked: ServerAddress,
    /// The server of the worktree's database.
    pub own: ServerAddress,
    /// The line of an env file with the address that it asked.
    pub line: Option<AddressLine>,
}

impl RefusedDatabase {
    /// Returns the server that `output` reports as unreachable, unless it is that of `own_url` or no Postgres. The server is a
    /// Postgres if its port is usual for one, or if the URL of a Postgres in an env file has its address. `lines` reads the env files.
    pub fn read(
        output: &str,
        own_url: &str,
        lines: &dyn Fn() -> Vec<AddressLine>,
    ) -> Option<RefusedDatabase> {
        let (asked, own) = (unreached(output)?, ServerAddress::of(own_url)?);
        if asked.is(&own) {
            return None;
        }
        let line = address_lines::of_server(&lines(), &asked.host, asked.port).cloned();
        let has_url = line.as_ref().is_some_and(|line| line.database.is_some());
        let is_postgres = POSTGRES_LIKE.contains(&asked.port) || has_url;
        is_postgres.then_some(RefusedDatabase { asked, own, line })
    }

    /// Returns the cause in words.
    pub fn cause(&self) -> String {
        let RefusedDatabase { asked, own, line } = self;
        let at = line.as_ref().map(|line| format!("; {line} has that address")).unwrap_or_default();
        format!("it asked {asked}, which is not this worktree's database ({own}){at}")
    }

    /// Returns the step that leads the program to its own database.
    pub fn fix(&self) -> String {
        match &self.line {
            Some(line) => fix(&line.to_string()),
            None => "let the code read the address of its database from the environment: `devrun env --explain DATABASE_URL` shows it".into(),
        }
    }
}

/// Returns the step that leads a program to its own database, if it reads another address from `line`.
pub fn fix(line: &str) -> String {
    format!(
        "remove {line}, or let the code read it from the environment (`load_dotenv` without `override=True`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::address_lines::tests::line;

    const OWN: &str = "postgresql://app:********@127.0.0.1:25325/dev-x";
    const LIBPQ: &str = "sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection failed: connection to server at \
         \"127.0.0.1\", port 5432 failed: Connection refused";

    #[test]
    fn the_cause_names_both_servers_and_the_line_with_the_address() {
        let lines = [line(1, "DATABASE_URL", ("localhost", 5432, "app"))];
        for output in [
            LIBPQ,
            "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
            "Error: connect ECONNREFUSED 127.0.0.1:5432",
        ] {
            let found = RefusedDatabase::read(output, OWN, &|| lines.to_vec()).unwrap();
            assert_eq!(
                found.cause(),
                "it asked 127.0.0.1:5432, which is not this worktree's database (127.0.0.1:25325); \
                 backend/.env:1 (DATABASE_URL) has that address"
            );
            assert!(found.fix().starts_with("remove backend/.env:1 (DATABASE_URL), or let the code read it"));
        }
        let found = RefusedDatabase::read(LIBPQ, OWN, &Vec::new).unwrap();
        assert!(found.cause().ends_with("this worktree's database (127.0.0.1:25325)"));
        assert!(found.fix().starts_with("let the code read the address"));
    }

    #[test]
    fn its_own_server_and_servers_that_are_no_postgres_are_no_cause() {
        let read = |output: &str, lines: &[AddressLine]| {
            RefusedDatabase::read(output, OWN, &|| lines.to_vec()).is_some()
        };
        assert!(!read(&LIBPQ.replace("5432", "25325"), &[]), "its own server may be down");
        let http = "Error: connect ECONNREFUSED 127.0.0.1:8000";
        assert!(!read(http, &[line(1, "API_URL", ("localhost", 8000, ""))]));
        assert!(read(http, &[line(1, "DB_URL", ("localhost", 8000, "app"))]));
        assert!(!read("KeyError: 'x'", &[]));
    }
}
