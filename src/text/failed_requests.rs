//! Finds requests that a server answered with an error, in the access log that uvicorn, gunicorn, Next.js and Express write. Pure.

use std::collections::BTreeMap;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// A request with its answers in the output of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedRequest {
    /// The method and the path, without its query.
    pub request: String,
    /// The last status.
    pub status: u16,
    /// The indices of the lines with answers of 500 and above.
    pub lines: Vec<usize>,
    /// True if the server has last answered it with a status below 500.
    pub is_over: bool,
}

/// Returns the requests that were answered with 500 or above at least once, in the order of their names.
pub fn all(lines: &[&str]) -> Vec<FailedRequest> {
    let mut found: BTreeMap<String, FailedRequest> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((request, status)) = access(line) else { continue };
        let is_failure = status >= 500;
        if is_failure || found.contains_key(&request) {
            let entry = found.entry(request.clone()).or_default();
            (entry.request, entry.status, entry.is_over) = (request, status, !is_failure);
            entry.lines.extend(is_failure.then_some(at));
        }
    }
    found.into_values().collect()
}

/// Returns true for a line of an access log.
pub(super) fn is_access(line: &str) -> bool {
    access(line).is_some()
}

/// Returns true for the line of a request in an access log that was answered without an error.
pub fn is_success(line: &str) -> bool {
    access(line).is_some_and(|(_, status)| status < 400)
}

/// Returns the request and the status in a line such as `GET /a 500 in 3ms` or `"GET /a HTTP/1.1" 500`.
fn access(line: &str) -> Option<(String, u16)> {
    let mut words = line.split([' ', '"']).filter(|word| !word.is_empty());
    let method = words.find(|word| METHODS.contains(word))?;
    let path = words.next().filter(|word| word.starts_with('/'))?;
    let status = words.find(|word| !word.starts_with("HTTP/"))?.parse().ok()?;
    let path = path.split('?').next().unwrap_or(path);
    (100..600).contains(&status).then(|| (format!("{method} {path}"), status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_in_the_forms_of_common_servers() {
        for line in [
            "INFO:     127.0.0.1:4 - \"GET /a?key=1 HTTP/1.1\" 500 Internal Server Error",
            "127.0.0.1 - - [30/Nov/2026] \"GET /a HTTP/1.1\" 500 12 \"-\" \"curl\"",
            " GET /a 500 in 30ms (next.js: 3ms)",
            "GET /a 500 12.3 ms - 15",
        ] {
            assert_eq!(access(line), Some(("GET /a".to_string(), 500)), "{line}");
            assert!(!is_success(line) && is_success(&line.replace("500", "304")), "{line}");
        }
        for other in ["GET a 500", "we GET /a soon", "GET /a", "INFO: started", "GET /a 5000"] {
            assert_eq!(access(other), None, "{other}");
        }
    }

    #[test]
    fn a_request_is_over_when_it_is_answered_again() {
        let lines = ["GET /a 500 in 1ms", "GET /b 200 in 1ms", "GET /c 503 in 1ms", "GET /c 503 in 1ms"];
        let failed = |request: &str, status, lines: &[usize], is_over| FailedRequest {
            request: request.into(),
            status,
            lines: lines.into(),
            is_over,
        };
        let found = all(&lines);
        assert_eq!(found, [failed("GET /a", 500, &[0], false), failed("GET /c", 503, &[2, 3], false)]);
        let again = all(&[&lines[..], &["GET /a 404 in 1ms"]].concat());
        assert_eq!(again[0], failed("GET /a", 404, &[0], true));
    }
}
