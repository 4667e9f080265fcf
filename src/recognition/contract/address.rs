//! Parses values that are network addresses: a URL, `host:port`, or a host.

use crate::context::this_machine::is_this_machine;

/// An address, split into its parts without changing a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// `http`, `https`, `ws` or `wss`; absent in `host:port`.
    pub(super) scheme: Option<&'a str>,
    /// The host, brackets of IPv6 included.
    pub(super) host: &'a str,
    /// The port, if the value has one.
    pub(super) port: Option<u16>,
    /// Path, query and fragment.
    pub(super) rest: &'a str,
}

impl<'a> Address<'a> {
    /// Parses a value; `None` if it is not an address, or contains a user.
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let (scheme, after) = match value.split_once("://") {
            Some((scheme, after)) if ["http", "https", "ws", "wss"].contains(&scheme) => {
                (Some(scheme), after)
            }
            Some(_) => return None,
            None => (None, value),
        };
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let split = if authority.starts_with('[') {
            authority.find(']')? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at(split);
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        let certain = scheme.is_some() || port.is_some() || is_this_machine(host);
        (certain && !host.is_empty() && host.chars().all(plain)).then_some(Address {
            scheme,
            host,
            port,
            rest,
        })
    }

    /// Returns true if the value is only an origin.
    pub(super) fn is_origin(&self) -> bool {
        self.scheme.is_some() && matches!(self.rest, "" | "/")
    }

    /// Returns the address of the part `port` in the same form, as devrun.yaml writes it. Servers of a worktree speak plain
    /// HTTP, so `https` becomes `http`.
    pub(super) fn at(&self, port: &str) -> String {
        let scheme = match self.scheme {
            Some("https" | "http") => "http://",
            Some(_) => "ws://",
            None => "",
        };
        // Keeps the name of a tenant, and replaces names that only containers can resolve.
        let keep = self.host.eq_ignore_ascii_case("localhost")
            || self.host == "127.0.0.1"
            || self.host.ends_with(".localhost");
        let host = if keep { self.host } else { "localhost" };
        format!("{scheme}{host}:${{ports.{port}}}{}", literal(self.rest))
    }
}

/// Returns the text escaped for devrun.yaml, so that nothing in it is replaced.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: &str) -> Option<String> {
        Address::parse(value).map(|address| address.at("api"))
    }

    #[test]
    fn an_address_keeps_its_form() {
        let pairs = [
            ("http://localhost:8000", "http://localhost:${ports.api}"),
            ("http://127.0.0.1:8000/api/v1/", "http://127.0.0.1:${ports.api}/api/v1/"),
            ("https://localhost:8000/a?b=$c", "http://localhost:${ports.api}/a?b=$$c"),
            ("ws://0.0.0.0:8000/ws", "ws://localhost:${ports.api}/ws"),
            ("wss://[::1]:8000", "ws://localhost:${ports.api}"),
            ("localhost:8000", "localhost:${ports.api}"),
            ("backend:8000/api", "localhost:${ports.api}/api"),
            ("http://backend", "http://localhost:${ports.api}"),
            ("http://acme.localhost:3000", "http://acme.localhost:${ports.api}"),
        ];
        for (from, to) in pairs {
            assert_eq!(at(from).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn other_texts_and_addresses_with_a_user_are_none() {
        for value in [
            "",
            "*",
            "8000",
            "/api",
            "hello",
            "redis://localhost:6379",
            "http://",
            "http://u:p@localhost:1",
            "a b:80",
        ] {
            assert_eq!(Address::parse(value), None, "{value}");
        }
    }
}
