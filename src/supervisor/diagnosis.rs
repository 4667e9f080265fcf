//! What the last words of a process say: which line tells what went wrong, and where to look for it.
//!
//! Pure. Knows how Python and Node tell errors, and the words of systems that are not there. What it does not recognise is
//! taken for a fault of the code: that is where most are, and the lines themselves are shown beside it.

use crate::error::Fault;

/// What was read from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The line that says what went wrong.
    pub said: String,
    /// Where to look.
    pub fault: Fault,
    /// `file:line` of the code, when it is named.
    pub place: Option<String>,
    /// The module that could not be found.
    pub missing: Option<String>,
}

/// Words of systems that are not there or full, in lower case.
const ENVIRONMENT: [&str; 16] = [
    "address already in use",
    "eaddrinuse",
    "connection refused",
    "econnrefused",
    "could not connect to server",
    "connection to server at",
    "server closed the connection",
    "terminating connection",
    "the database system is",
    "no space left on device",
    "enospc",
    "disk quota exceeded",
    "too many open files",
    "emfile",
    "cannot allocate memory",
    "name or service not known",
];

/// How a module that is not there is told, up to its name.
const MISSING: [&str; 5] = [
    "No module named ",
    "Cannot find module ",
    "Cannot find package ",
    "Can't resolve ",
    "Could not resolve ",
];

/// Reads the last error in `lines`; `None` when they hold none.
pub fn read<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> Option<Diagnosis> {
    let (from_end, said) = lines.clone().rev().enumerate().find(|(_, line)| is_error(line))?;
    let said = said.trim().to_string();
    let missing = missing(&said);
    let lower = said.to_lowercase();
    let fault =
        if ENVIRONMENT.iter().any(|words| lower.contains(words)) { Fault::Environment } else { Fault::Code };
    // Python names the place before the error, Node before or after it.
    let before = lines.clone().rev().skip(from_end + 1).find_map(place);
    let place = before.or_else(|| lines.rev().take(from_end).find_map(place));
    Some(Diagnosis { said, fault, place, missing })
}

/// The line to show of `lines` when none is an error: the last that says anything.
pub fn last_words<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<String> {
    lines.map(str::trim).rfind(|line| !line.is_empty()).map(Into::into)
}

/// `SomeError: text`, `pkg.SomeException: text`, `Error [CODE]: text`, or words of a system that is not there.
fn is_error(line: &str) -> bool {
    let line = line.trim();
    let Some((head, _)) = line.split_once(": ").or_else(|| line.strip_suffix(':').map(|head| (head, "")))
    else {
        return is_bare(line);
    };
    let name = head.strip_prefix("Uncaught ").unwrap_or(head);
    let name = name.split(" [").next().unwrap_or(name);
    let kind = name.rsplit('.').next().unwrap_or(name);
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    let told = is_name(name)
        && (["Error", "Exception", "Exit"].iter().any(|end| kind.ends_with(end)) || kind == "FATAL");
    let lower = line.to_lowercase();
    told || MISSING.iter().any(|words| line.contains(words))
        || ENVIRONMENT.iter().any(|words| lower.contains(words))
}

/// An error without a text, as of `raise SomeError`.
fn is_bare(line: &str) -> bool {
    let kind = line.rsplit('.').next().unwrap_or(line);
    let is_name = line.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    is_name && kind.len() > 5 && (kind.ends_with("Error") || kind.ends_with("Exception"))
}

fn missing(line: &str) -> Option<String> {
    let rest = MISSING.iter().find_map(|words| Some(line.split_once(words)?.1))?;
    let name = rest.trim_start_matches(['\'', '"', '`']);
    let name = name.split(['\'', '"', '`', ' ']).next()?;
    // A path is a file of the project's own.
    Some(name).filter(|name| !name.is_empty() && !name.starts_with(['.', '/'])).map(Into::into)
}

/// The file and line that a line of a traceback names, when they are the project's own.
fn place(line: &str) -> Option<String> {
    const OTHERS: [&str; 7] =
        ["site-packages", "dist-packages", "node_modules", "/lib/python", "<frozen", "<string>", "node:"];
    let line = line.trim();
    if OTHERS.iter().any(|other| line.contains(other)) {
        return None;
    }
    if let Some(rest) = line.strip_prefix("File \"") {
        let (file, rest) = rest.split_once("\", line ")?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Some(format!("{file}:{number}"));
    }
    // `    at name (/file.js:3:5)`, or `/file.js:3` alone.
    let inner = match line.strip_prefix("at ") {
        Some(rest) => rest.rsplit('(').next()?.trim_end_matches(')').trim_start_matches("file://"),
        None => line,
    };
    let mut parts = inner.split(':');
    let (file, number) = (parts.next()?, parts.next()?);
    let plain = file.starts_with('/') && file.contains('.') && !file.contains(' ');
    (plain && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
        .then(|| format!("{file}:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosed(text: &str) -> Diagnosis {
        read(text.lines()).unwrap()
    }

    #[test]
    fn a_python_traceback_names_its_place_and_the_module() {
        let found = diagnosed(
            "INFO:     Started reloader process [7]\nTraceback (most recent call last):\n  \
             File \"/venv/lib/python3.12/site-packages/uvicorn/config.py\", line 467, in load\n  \
             File \"/w/backend/app/main.py\", line 3, in <module>\n    import loging\n\
             ModuleNotFoundError: No module named 'loging'\nINFO: waiting",
        );
        let expected = Diagnosis {
            said: "ModuleNotFoundError: No module named 'loging'".into(),
            fault: Fault::Code,
            place: Some("/w/backend/app/main.py:3".into()),
            missing: Some("loging".into()),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn node_is_understood_as_well() {
        let found = diagnosed(
            "/w/server.js:2\nconst x = ;\n          ^\n\nSyntaxError: Unexpected token ';'\n    at wrapSafe (node:internal/modules/cjs/loader:1)",
        );
        assert_eq!(
            (found.said.as_str(), found.place.as_deref()),
            ("SyntaxError: Unexpected token ';'", Some("/w/server.js:2"))
        );
        let found = diagnosed(
            "Error: Cannot find module 'express'\nRequire stack:\n- /w/x.js\n    at Object.<anonymous> (/w/x.js:1:15)",
        );
        assert_eq!((found.missing.as_deref(), found.place.as_deref()), (Some("express"), Some("/w/x.js:1")));
        assert_eq!(diagnosed("Module not found: Can't resolve './page'").missing, None);
    }

    #[test]
    fn what_is_not_there_is_the_environment() {
        for text in [
            "OSError: [Errno 98] Address already in use",
            "psycopg.OperationalError: connection to server at \"127.0.0.1\", port 1 failed: Connection refused",
            "Error: listen EADDRINUSE: address already in use :::3000",
            "write error: No space left on device",
        ] {
            assert_eq!(diagnosed(text).fault, Fault::Environment, "{text}");
        }
    }

    #[test]
    fn ordinary_lines_are_no_errors() {
        assert_eq!(read("serving\nGET / 200\nReady in 3 s: http://localhost:3000\nINFO: ok".lines()), None);
        assert_eq!(last_words("one\n two \n\n".lines()).as_deref(), Some("two"));
        assert_eq!(diagnosed("app.MyError").said, "app.MyError");
    }
}
