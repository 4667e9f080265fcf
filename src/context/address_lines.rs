//! Reads addresses in values of variables, and finds the line of an env file that contains one. Pure.

use std::fmt;

use url::Url;

use super::default_ports;
use super::this_machine::is_same_host;
use crate::plan::FileLine;

/// A line of an env file with an address or a part of one. Its value is not kept: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressLine {
    /// The line.
    pub at: FileLine,
    /// The variable that it sets.
    pub variable: String,
    /// The host; `None` if the value is only a port or only a name.
    pub host: Option<String>,
    /// The port; `None` if the value is only a name.
    pub port: Option<u16>,
    /// The database, if the value is the URL of a Postgres or the name of a database.
    pub database: Option<String>,
}

impl fmt::Display for AddressLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.at, self.variable)
    }
}

/// Returns the line that contains the address of a server. A line with the host comes before one with the port alone.
pub fn of_server<'a>(lines: &'a [AddressLine], host: &str, port: u16) -> Option<&'a AddressLine> {
    let with_port = || lines.iter().filter(|line| line.port == Some(port));
    let is_host = |line: &&AddressLine| line.host.as_ref().is_some_and(|other| is_same_host(other, host));
    with_port().find(is_host).or_else(|| with_port().find(|line| line.host.is_none()))
}

/// Returns the line that names `database` of the server on `port`. A line with the port comes before one with the name alone.
pub fn of_database<'a>(lines: &'a [AddressLine], port: u16, database: &str) -> Option<&'a AddressLine> {
    let named = || lines.iter().filter(|line| line.database.as_deref() == Some(database));
    named().find(|line| line.port == Some(port)).or_else(|| named().find(|line| line.port.is_none()))
}

/// Returns the host and the port in a value: a URL's, `host:port`, or a port alone.
pub fn value_address(value: &str) -> Option<(Option<String>, u16)> {
    if let Ok(url) = Url::parse(value)
        && let Some(host) = url.host_str()
    {
        let default = || default_ports::of_scheme(url.scheme()).or_else(|| url.port_or_known_default());
        return Some((Some(host.trim_matches(['[', ']']).into()), url.port().or_else(default)?));
    }
    match value.rsplit_once(':') {
        None => Some((None, value.parse().ok()?)),
        Some((host, port)) => {
            let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', ',']);
            Some((Some(host.trim_matches(['[', ']']).into()), port.parse().ok().filter(|_| is_host)?))
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a line of `backend/.env`.
    pub fn line(number: u32, variable: &str, address: (&str, u16, &str)) -> AddressLine {
        let (host, port, database) = address;
        let text = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        AddressLine {
            at: FileLine { file: "backend/.env".into(), line: number },
            variable: variable.into(),
            host: text(host),
            port: Some(port).filter(|port| *port > 0),
            database: text(database),
        }
    }

    #[test]
    fn addresses_are_found_in_every_form_of_value() {
        let host = |host: &str, port| Some((Some(host.to_string()), port));
        assert_eq!(value_address("postgresql+asyncpg://u:p@localhost/db"), host("localhost", 5432));
        assert_eq!(value_address("redis://[::1]:6380/0"), host("::1", 6380));
        assert_eq!(value_address("http://127.0.0.1:8000/api"), host("127.0.0.1", 8000));
        assert_eq!(value_address("localhost:8000"), host("localhost", 8000));
        assert_eq!(value_address("5433"), Some((None, 5433)));
        for other in ["", "localhost", "text: 5", "99999", "a/b:1", "sqlite:///x.db"] {
            assert_eq!(value_address(other), None, "{other}");
        }
    }

    #[test]
    fn the_whole_address_comes_before_a_part_of_it() {
        let lines = [
            line(1, "PG_PORT", ("", 5432, "")),
            line(2, "OTHER_URL", ("db.example", 5432, "app")),
            line(3, "DATABASE_URL", ("localhost", 5432, "app")),
            line(4, "POSTGRES_DB", ("", 0, "app")),
        ];
        let server = |host, port| of_server(&lines, host, port).map(|line| line.at.line);
        assert_eq!((server("127.0.0.1", 5432), server("::1", 5432)), (Some(3), Some(3)));
        assert_eq!((server("10.0.0.1", 5432), server("127.0.0.1", 5433)), (Some(1), None));
        let database = |port, name| of_database(&lines, port, name).map(|line| line.at.line);
        assert_eq!((database(5432, "app"), database(6000, "app")), (Some(2), Some(4)));
        assert_eq!(database(5432, "dev-main"), None);
        assert_eq!(lines[2].to_string(), "backend/.env:3 (DATABASE_URL)");
    }
}
