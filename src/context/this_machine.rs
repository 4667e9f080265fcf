//! Recognises the names and addresses by which programs reach their own machine. Pure.

use std::net::IpAddr;

/// Returns true if `host` is this machine: `localhost` or a name below it, a loopback address, the address of all interfaces, or
/// the name that Docker gives the machine in its containers. An IPv6 address may have brackets.
pub fn is_this_machine(host: &str) -> bool {
    let plain = host.trim_matches(['[', ']']);
    ["localhost", "host.docker.internal"].iter().any(|name| plain.eq_ignore_ascii_case(name))
        || plain.ends_with(".localhost")
        || plain.parse().is_ok_and(|ip: IpAddr| ip.is_loopback() || ip.is_unspecified())
}

/// Returns true if both names lead to the same machine. All names of this machine count as equal.
pub fn is_same_host(one: &str, other: &str) -> bool {
    one == other || is_this_machine(one) && is_this_machine(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_this_machine_is_recognised() {
        for host in [
            "localhost",
            "LOCALHOST",
            "demo.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "::1",
            "[::1]",
            "::",
            "host.docker.internal",
        ] {
            assert!(is_this_machine(host) && is_same_host(host, "localhost"), "{host}");
        }
        for host in ["", "db", "10.0.0.1", "localhost.example", "mylocalhost", "1270.0.0.1"] {
            assert!(!is_this_machine(host), "{host}");
        }
        assert!(is_same_host("db", "db") && !is_same_host("db", "localhost"));
    }
}
