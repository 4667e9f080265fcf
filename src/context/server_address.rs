//! Reads the address of a database server from the errors of programs that could not reach it. Pure.

use std::sync::LazyLock;

use regex::Regex;

use super::default_ports::POSTGRES;
use super::this_machine::is_same_host;

/// Host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// The host as the driver printed it.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

static REFUSED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        // libpq since version 14, and before it.
        r#"connection to server at "([^"]+)"(?: \([^)]*\))?, port (\d+) failed"#,
        r#"running on host "([^"]+)"(?: \([^)]*\))? and accepting\s+TCP/IP connections on port (\d+)"#,
        // asyncpg, then Node and Prisma.
        r"Connect call failed \('([^']+)', (\d+)",
        r"ECONNREFUSED ([\w.:]+):(\d+)",
        r"Can't reach database server at `?([\w.-]+)`?:`?(\d+)",
    ];
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});
static UNKNOWN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"could not translate host name "([^"]+)" to address"#).ok());

impl ServerAddress {
    /// Returns the address in a database URL.
    pub fn of(url: &str) -> Option<ServerAddress> {
        let url = url::Url::parse(url).ok()?;
        Some(ServerAddress {
            host: url.host_str()?.trim_matches(['[', ']']).into(),
            port: url.port().unwrap_or(POSTGRES),
        })
    }

    /// Returns true if both addresses lead to the same server. All names of this machine count as equal.
    pub fn is(&self, other: &ServerAddress) -> bool {
        is_same_host(&self.host, &other.host) && self.port == other.port
    }
}

/// Returns the server that `output` reports as unreachable. The drivers of Python and Node print the same text for a server that
/// is no database.
pub fn unreached(output: &str) -> Option<ServerAddress> {
    let found = REFUSED.iter().find_map(|pattern| pattern.captures(output));
    if let Some(found) = found {
        return Some(ServerAddress { host: found[1].into(), port: found[2].parse().ok()? });
    }
    let host = UNKNOWN.as_ref()?.captures(output)?[1].to_string();
    Some(ServerAddress { host, port: POSTGRES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_every_driver_name_the_server() {
        for tail in [
            "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: Connection refused",
            "Is the server running on host \"localhost\" (127.0.0.1) and accepting\n\tTCP/IP connections on port 5432?",
            "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
            "Error: connect ECONNREFUSED 127.0.0.1:5432",
            "P1001: Can't reach database server at `localhost:5432`",
        ] {
            let found = unreached(tail).unwrap();
            assert!(found.is(&ServerAddress { host: "::1".into(), port: 5432 }), "{tail}: {found}");
        }
        let other =
            unreached("could not translate host name \"db\" to address: Name or service not known").unwrap();
        assert_eq!(other.to_string(), "db:5432");
        assert_eq!(unreached("relation \"x\" does not exist"), None);
        assert!(!other.is(&ServerAddress::of("postgresql://u:p@127.0.0.1:6000/d").unwrap()));
    }
}
