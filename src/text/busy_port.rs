//! Finds the port in the message of a server whose address is in use.

use std::sync::LazyLock;

use regex::Regex;

/// A port that another process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPort {
    /// The port, if the output names it.
    pub port: Option<u16>,
}

static SAID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)address already in use|eaddrinuse|\[errno 98\]|\bport (?:\d+ )?is (?:already )?in use|connection in use:").ok()
});
static PORT: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        // Node: `:::3000`, `127.0.0.1:3000`; asyncio and gunicorn: `('127.0.0.1', 8000)`.
        r"(?i)address already in use.*:(\d{1,5})\b",
        r"\('[^']*', (\d{1,5})(?:, \d+, \d+)?\)",
        r"(?i)\bport (\d{1,5}) is (?:already )?in use",
        // A line of the object that Node prints below the error.
        r"^\s*port: (\d{1,5}),?$",
        r"(?i)address already in use: \S*:(\d{1,5})\b",
    ];
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});

/// Returns true if `line` says that an address is in use.
pub(super) fn is_said(line: &str) -> bool {
    SAID.as_ref().is_some_and(|said| said.is_match(line))
}

/// Returns the most informative line of `lines`, the report of a server whose address is in use, and the port. A line with the port
/// comes before the others.
pub(super) fn find<'a>(lines: &[&'a str]) -> (Option<&'a str>, BusyPort) {
    let port = |line: &str| PORT.iter().find_map(|pattern| pattern.captures(line)?[1].parse().ok());
    let said = lines.iter().copied().filter(|line| is_said(line));
    let with_port = said.clone().rfind(|line| port(line).is_some());
    let number = with_port.and_then(port).or_else(|| lines.iter().rev().find_map(|line| port(line)));
    let is_message = |line: &&str| line.contains(' ') && !line.trim_start().starts_with("code:");
    (with_port.or_else(|| said.clone().rfind(is_message)), BusyPort { port: number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_port_is_chosen() {
        let node = [
            "Error: listen EADDRINUSE: address already in use :::3000",
            "    at Server.setupListenHandle [as _listen2] (node:net:1940:16)",
            "  code: 'EADDRINUSE',",
            "  syscall: 'listen',",
            "  port: 3000",
        ];
        assert_eq!(find(&node), (Some(node[0]), BusyPort { port: Some(3000) }));
        for (line, port) in [
            (
                "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use",
                Some(8000),
            ),
            ("[ERROR] Connection in use: ('127.0.0.1', 8000)", Some(8000)),
            ("Error: Port 5173 is already in use", Some(5173)),
            ("Error: That port is already in use.", None),
            ("OSError: [Errno 98] Address already in use", None),
        ] {
            assert!(is_said(line), "{line}");
            assert_eq!(find(&[line]), (Some(line), BusyPort { port }), "{line}");
        }
        assert!(!is_said("ValueError: this email is already in use"));
    }
}
