//! Finds loopback addresses in literals.

use std::sync::LazyLock;

use regex::Regex;

use crate::context::default_ports;

/// Matches only if a whole literal, or a whole element of a comma-separated list, is an address. A URL inside a
/// sentence is a message to the user.
static LOOPBACK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^(?:([a-z][a-z0-9+.-]*)://(?:[^\s/@]*@)?)?(?:localhost|127\.0\.0\.1|\[::1\])(?::(\d{1,5}))?(?:[/?#]\S*)?$",
    )
    .ok()
});

/// One loopback address with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loopback {
    /// The address as written.
    pub(super) text: String,
    /// Its port, or its scheme's default port.
    pub(super) port: u16,
}

/// Returns the loopback addresses that `literal` consists of. An address without a port counts when its scheme is that of
/// a database or of Redis.
pub(super) fn loopbacks(literal: &str) -> Vec<Loopback> {
    if !(literal.contains("localhost") || literal.contains("127.0.0.1") || literal.contains("[::1]")) {
        return Vec::new();
    }
    literal.split(',').filter_map(|part| one(part.trim())).collect()
}

fn one(text: &str) -> Option<Loopback> {
    let found = LOOPBACK.as_ref()?.captures(text)?;
    let port = match found.get(2) {
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0)?,
        None => default_ports::of_scheme(found.get(1)?.as_str())?,
    };
    Some(Loopback { text: text.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(literal: &str) -> Vec<u16> {
        loopbacks(literal).iter().map(|found| found.port).collect()
    }

    #[test]
    fn addresses_with_a_port_are_found_in_every_form() {
        for (literal, port) in [
            ("http://localhost:8000", 8000),
            ("http://127.0.0.1:8000/:path*", 8000),
            ("ws://localhost:8000/ws?x=1", 8000),
            ("localhost:9000", 9000),
            ("http://[::1]:8000", 8000),
            ("postgresql+asyncpg://u:p@localhost:5433/db", 5433),
            ("postgres://localhost/db", 5432),
            ("redis://localhost", 6379),
        ] {
            assert_eq!(ports(literal), [port], "{literal}");
        }
        assert_eq!(ports("http://localhost:3000, http://localhost:3001"), [3000, 3001]);
    }

    #[test]
    fn sentences_other_hosts_and_missing_ports_are_no_addresses() {
        for literal in [
            "open http://localhost:3000 in a browser",
            "http://localhost.example.com:80",
            "http://localhost",
            "127.0.0.1",
            "http://localhost:99999",
            "http://api:8000",
        ] {
            assert_eq!(ports(literal), Vec::<u16>::new(), "{literal}");
        }
    }
}
