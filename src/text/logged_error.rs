//! Finds the newest error that the project's own code raised in the output of a server: the traceback of a Python program, or the
//! stack of a Node program. Pure.
//!
//! A server goes on after an error in one request, so that neither its probe nor the end of its process shows the error.

use std::path::Path;

use super::diagnosis::{is_error, project_line};

/// The first line of a traceback, below its indent.
const HEAD: &str = "Traceback (most recent call last)";

/// The sign before an error of Next.js.
const NEXT: char = '\u{2a2f}';

/// The most lines of a message: before the first frame of an error of Next.js, or below the first line of an exception of Python.
const MESSAGE: usize = 10;

/// An error in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedError {
    /// The index of its first line.
    pub first: usize,
    /// The index of the line with the message.
    pub line: usize,
    /// The message.
    pub said: String,
    /// The `file:line` of the project's code that raised it.
    pub place: String,
    /// True if the place is the endpoint whose answer was refused, and no frame of the project raised the error.
    pub is_of_answer: bool,
}

/// Returns the last error in `lines` that code in the folder `root` raised. Relative paths count as inside.
pub fn newest(lines: &[&str], root: &Path) -> Option<LoggedError> {
    (0..lines.len()).rev().find_map(|at| of_python(lines, at, root).or_else(|| of_node(lines, at, root)))
}

/// Returns the error whose traceback starts at the line `at`.
fn of_python(lines: &[&str], at: usize, root: &Path) -> Option<LoggedError> {
    // Groups of exceptions are indented and have a frame around them.
    let indent = lines[at].find(HEAD)?;
    let body = |line: &str| line.get(indent..).unwrap_or_default().to_string();
    let length = lines[at + 1..].iter().position(|line| !body(line).starts_with(' '))?;
    let line = at + 1 + length;
    let mut said = body(lines[line]);
    let own = |line: &&str| project_line(&body(line), root);
    let rest = lines[line + 1..].iter().take(MESSAGE);
    let rest = rest.take_while(|line| body(line).trim().is_empty() || body(line).starts_with(' '));
    // FastAPI names the endpoint of an answer that it refuses only in the message.
    let raised = lines[at + 1..line].iter().rev().find_map(own);
    let is_of_answer = raised.is_none();
    let place = raised.or_else(|| rest.clone().find_map(own))?;
    if said.ends_with(':') {
        said.extend(rest.take(1).map(|line| format!(" {}", body(line).trim())));
    }
    (!said.is_empty()).then_some(LoggedError { first: at, line, said, place, is_of_answer })
}

/// Returns the error whose message is the line `at`, with frames below it; or the error of Next.js whose place is that line.
fn of_node(lines: &[&str], at: usize, root: &Path) -> Option<LoggedError> {
    let text = lines[at].trim();
    let said = text.trim_start_matches(NEXT).trim_start();
    let is_of_next = said.len() < text.len();
    if is_of_next && let Some(place) = project_line(said, root) {
        let line = lines.get(at + 1).map_or(at, |_| at + 1);
        return Some(LoggedError {
            first: at,
            line,
            said: lines[line].trim().into(),
            place,
            is_of_answer: false,
        });
    }
    if !is_of_next && !is_error(said) {
        return None;
    }
    let is_frame = |line: &&&str| line.trim_start().starts_with("at ");
    let below = &lines[at + 1..];
    let most = if is_of_next { MESSAGE } else { 1 };
    let first = below.iter().take(most).position(|line| is_frame(&line))?;
    let place = below[first..].iter().take_while(is_frame).find_map(|line| project_line(line, root))?;
    Some(LoggedError { first: at, line: at, said: said.into(), place, is_of_answer: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(usize, String, String)> {
        let lines: Vec<&str> = text.lines().collect();
        newest(&lines, Path::new("/w")).map(|error| (error.line, error.said, error.place))
    }

    fn error(line: usize, said: &str, place: &str) -> (usize, String, String) {
        (line, said.into(), place.into())
    }

    #[test]
    fn the_error_of_a_request_is_found_with_its_last_own_frame() {
        let text = "INFO:     127.0.0.1:1 - \"GET /api/broken HTTP/1.1\" 500 Internal Server Error\n\
                    ERROR:    Exception in ASGI application\nTraceback (most recent call last):\n  \
                    File \"/w/.venv/lib/python3.12/site-packages/starlette/routing.py\", line 73, in app\n    response = await f(request)\n  \
                    File \"/w/backend/app/main.py\", line 41, in broken\n    return 1 / 0\n           ~~^~~\n\
                    ZeroDivisionError: division by zero\nINFO:     127.0.0.1:1 - \"GET /healthz HTTP/1.1\" 200 OK\n";
        assert_eq!(
            found(text),
            Some(error(8, "ZeroDivisionError: division by zero", "/w/backend/app/main.py:41"))
        );
        let other = text.replace("/w/backend", "/usr/lib/tool");
        assert_eq!(found(&other), None, "no code of the project raised it");
    }

    #[test]
    fn the_place_of_an_error_may_be_in_its_message() {
        let text = "Traceback (most recent call last):\n  \
                    File \"/w/.venv/lib/python3.12/site-packages/fastapi/routing.py\", line 352, in serialize_response\n    \
                    raise ResponseValidationError(\nfastapi.exceptions.ResponseValidationError: 1 validation error:\n  \
                    {'type': 'list_type', 'loc': ('response', 'total')}\n\n  File \"/w/app/main.py\", line 88, in tenants\n    \
                    GET /tenants\nINFO: 127.0.0.1:1 - \"GET / HTTP/1.1\" 200 OK\n";
        let said = "fastapi.exceptions.ResponseValidationError: 1 validation error: {'type': 'list_type', 'loc': ('response', 'total')}";
        assert_eq!(found(text), Some(error(3, said, "/w/app/main.py:88")));
        let later = text.replace("  File \"/w/app", "INFO: no part of it\n  File \"/w/app");
        assert_eq!(found(&later), None);
    }

    #[test]
    fn the_last_exception_of_a_chain_or_group_is_the_error() {
        let chain = "Traceback (most recent call last):\n  File \"/w/a.py\", line 1, in f\n    x()\nKeyError: 'x'\n\n\
                     During handling of the above exception, another exception occurred:\n\n\
                     Traceback (most recent call last):\n  File \"/w/b.py\", line 2, in g\n    f()\nValueError: no x\n";
        assert_eq!(found(chain), Some(error(10, "ValueError: no x", "/w/b.py:2")));
        let group = "  + Exception Group Traceback (most recent call last):\n  |   File \"/w/lib/python3/x.py\", line 1, in f\n  \
                     | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n  +-+---------------- 1 ----------------\n    \
                     | Traceback (most recent call last):\n    |   File \"/w/a.py\", line 7, in g\n    |     1 / 0\n    \
                     | ZeroDivisionError: division by zero\n    +------------------------------------\n";
        assert_eq!(found(group), Some(error(7, "ZeroDivisionError: division by zero", "/w/a.py:7")));
    }

    #[test]
    fn an_error_of_next_is_found_with_its_page() {
        let text = " GET / 200 in 30ms\n \u{2a2f} ReferenceError: boom is not defined\n    at Page (app/about/page.tsx:4:15)\n  \
                    3 | export default function Page() {\n> 4 |   return boom;\n";
        assert_eq!(
            found(text),
            Some(error(1, "ReferenceError: boom is not defined", "app/about/page.tsx:4"))
        );
        let text = " \u{2a2f} ./app/about/page.tsx:1:1\nModule not found: Can't resolve 'nope'\n";
        assert_eq!(
            found(text),
            Some(error(1, "Module not found: Can't resolve 'nope'", "app/about/page.tsx:1"))
        );
        let query =
            " \u{2a2f} Error: Failed query: select 1\nparams: \n    at async Page (./app/page.tsx:12:20)\n";
        assert_eq!(found(query), Some(error(0, "Error: Failed query: select 1", "app/page.tsx:12")));
    }

    #[test]
    fn an_error_of_a_node_program_needs_a_stack() {
        let text =
            "TypeError: x is not a function\n    at handler (/w/server.js:3:5)\n    at node:internal/x:1:1\n";
        assert_eq!(found(text), Some(error(0, "TypeError: x is not a function", "/w/server.js:3")));
        assert_eq!(found("TypeError: x is not a function\nserving /w/server.js:3\n"), None);
        assert_eq!(found("ConnectionError: retrying in 1 s\nINFO: connected\n"), None);
        assert_eq!(found("Traceback (most recent call last):\n"), None, "its end is still to come");
    }
}
