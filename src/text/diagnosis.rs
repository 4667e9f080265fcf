//! Finds the error in the last lines of a process's output: the line with the message, and where to look for the cause.
//!
//! Pure. Recognises the error formats of Python and Node, messages about programs, settings, applications and ports that a
//! process does not find or get, and messages about systems that are down or full. Any other error counts as a fault of
//! the code, because most are, and the user sees the lines beside it.

use std::path::{Component, Path};

use super::busy_port::{self, BusyPort};
use super::failed_requests;
use crate::context::missing_application::MissingApplication;
use crate::context::missing_settings;
use crate::error::Fault;

/// The error found in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The line with the error message.
    pub said: String,
    /// The likely cause.
    pub fault: Fault,
    /// `file:line` of the code, if the output names it.
    pub place: Option<String>,
    /// The module that was not found.
    pub missing: Option<String>,
    /// The application that a server did not find.
    pub application: Option<MissingApplication>,
    /// The program that a shell did not find.
    pub program: Option<String>,
    /// The settings that the code requires and that nothing sets. With [`Fault::Code`], the code may also misspell them.
    pub settings: Vec<String>,
    /// The address of the server that another process has.
    pub busy: Option<BusyPort>,
}

/// Phrases about systems that are down or full, in lower case.
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

/// How many lines before the message of an error may belong to its report.
const REPORT: usize = 40;

/// The text before the name of a missing module.
const MISSING: [&str; 5] = [
    "No module named ",
    "Cannot find module ",
    "Cannot find package ",
    "Can't resolve ",
    "Could not resolve ",
];

/// Returns the last error in `lines`; `None` if there is none. A place counts only if it is inside the folder `root`;
/// relative paths count as inside.
pub fn read<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone, root: &Path) -> Option<Diagnosis> {
    let (from_end, said) = lines.clone().rev().enumerate().find(|(_, line)| is_error(line))?;
    let (said, busy) = if busy_port::is_said(said) {
        let report: Vec<&str> = lines.clone().rev().take(from_end + REPORT).collect();
        let report: Vec<&str> = report.into_iter().rev().collect();
        let (line, busy) = busy_port::find(&report);
        (line.unwrap_or(said), Some(busy))
    } else {
        (said, None)
    };
    let application = MissingApplication::read(said);
    let said = if application.is_some() { without_level(said) } else { without_sign(said) }.to_string();
    let missing = missing(&said);
    let program = program(&said).map(Into::into);
    let lower = said.to_lowercase();
    let settings = if is_about_settings(&lower) {
        let lines: Vec<&str> = lines.clone().rev().take(from_end + REPORT).collect();
        missing_settings::names(&lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    } else {
        Vec::new()
    };
    let fault =
        if program.is_some() || busy.is_some() || ENVIRONMENT.iter().any(|words| lower.contains(words)) {
            Fault::Environment
        } else if settings.is_empty() || lower.starts_with("keyerror: ") {
            Fault::Code
        } else {
            Fault::Configuration
        };
    // Python prints the place before the error, Node before it or in the frames after it.
    let place = |line: &str| project_line(line, root);
    let after: Vec<&str> = lines.clone().rev().take(from_end).collect();
    let is_frame = |line: &&str| line.trim_start().starts_with("at ");
    let of_frames = after.iter().rev().copied().take_while(is_frame).find_map(place);
    let place = of_frames
        .or_else(|| lines.rev().skip(from_end + 1).find_map(place))
        .or_else(|| after.iter().copied().find_map(place));
    // No line of the code is wrong where something is missing, and earlier errors have other causes.
    let place = place.filter(|_| application.is_none());
    Some(Diagnosis { said, fault, place, missing, application, program, settings, busy })
}

/// Returns true for an error that a missing variable causes. Errors of pydantic about other classes are about data, such as the
/// body of a request.
fn is_about_settings(said: &str) -> bool {
    let class = said.rsplit_once(" for ").map_or("", |(_, class)| class);
    said.starts_with("keyerror: ")
        || said.contains("invalid environment variables")
        || (said.contains("validation error")
            && ["settings", "config", "env"].iter().any(|word| class.contains(word)))
}

/// Returns the line to show when no line is an error: the last one with a letter or digit that is no request in the access log, else
/// the last one that is not empty.
pub fn last_words<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> Option<String> {
    let mut lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let says = |line: &&str| line.contains(char::is_alphanumeric) && !failed_requests::is_access(line);
    lines.clone().rfind(says).or_else(|| lines.next_back()).map(Into::into)
}

/// Returns `line` without the sign that Next.js puts before an error.
fn without_sign(line: &str) -> &str {
    line.trim().trim_start_matches('\u{2a2f}').trim_start()
}

/// Returns `line` without the level that uvicorn puts before it.
fn without_level(line: &str) -> &str {
    line.trim().trim_start_matches("ERROR:").trim_start()
}

/// Returns true for `SomeError: text`, `pkg.SomeException: text`, `Error [CODE]: text`, for a missing module or application, and for
/// a phrase about a system that is down or full.
pub(super) fn is_error(line: &str) -> bool {
    if MissingApplication::read(line).is_some() {
        return true;
    }
    let line = without_sign(line);
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
    told || program(line).is_some()
        || busy_port::is_said(line)
        || MISSING.iter().any(|words| line.contains(words))
        || ENVIRONMENT.iter().any(|words| lower.contains(words))
}

/// Returns true for an error without a message, as after `raise SomeError`.
fn is_bare(line: &str) -> bool {
    let kind = line.rsplit('.').next().unwrap_or(line);
    let is_name = line.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    is_name && kind.len() > 5 && (kind.ends_with("Error") || kind.ends_with("Exception"))
}

/// Returns the program in the message of a shell that did not find it: `sh: 1: alembic: not found`, `bash: line 1: next: command
/// not found`, `zsh: command not found: next`.
fn program(line: &str) -> Option<&str> {
    let (shell, rest) = line.split_once(": ")?;
    let shell = shell.rsplit('/').next().unwrap_or(shell);
    if !["sh", "bash", "dash", "zsh", "ash"].contains(&shell) {
        return None;
    }
    let name = if let Some(name) = rest.strip_prefix("command not found: ") {
        name
    } else {
        let rest = rest.strip_suffix(": command not found").or_else(|| rest.strip_suffix(": not found"))?;
        rest.rsplit(": ").next()?
    };
    (!name.contains(char::is_whitespace)).then_some(name)
}

fn missing(line: &str) -> Option<String> {
    let rest = MISSING.iter().find_map(|words| Some(line.split_once(words)?.1))?;
    let name = rest.trim_start_matches(['\'', '"', '`']);
    let name = name.split(['\'', '"', '`', ' ']).next()?;
    // A path or an alias of one names a file of the project, not a module.
    let is_path = name.starts_with(['.', '/', '~', '#']) || name.starts_with("@/");
    Some(name).filter(|name| !name.is_empty() && !is_path).map(Into::into)
}

/// Returns the file and line in a line of a traceback, if the file is part of the project.
pub(super) fn project_line(line: &str, root: &Path) -> Option<String> {
    const DEPENDENCY_FOLDERS: [&str; 8] = [
        "site-packages",
        "dist-packages",
        "node_modules",
        "/lib/python",
        "<frozen",
        "<string>",
        "node:",
        ".next/",
    ];
    const SCRIPTS: [&str; 7] = [".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts"];
    let is_inside = |file: &str| {
        let inside = Path::new(file).strip_prefix(root).or_else(|_| Path::new(file).strip_prefix("./"));
        let relative = inside.unwrap_or(Path::new(file));
        relative.is_relative() && !relative.components().any(|part| part == Component::ParentDir)
    };
    let line = without_sign(line);
    if DEPENDENCY_FOLDERS.iter().any(|other| line.contains(other)) {
        return None;
    }
    if let Some(rest) = line.strip_prefix("File \"") {
        let (file, rest) = rest.split_once("\", line ")?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return is_inside(file).then(|| format!("{file}:{number}"));
    }
    // `at name (/file.js:3:5)`, or only `/file.js:3`. Next.js names the files of frames relative to its folder.
    let frame = line.strip_prefix("at ");
    let inner = match frame {
        Some(rest) => rest.rsplit('(').next()?.trim_end_matches(')').trim_start_matches("file://"),
        None => line,
    };
    let mut parts = inner.split(':');
    let (file, number) = (parts.next()?, parts.next()?);
    let is_script = frame.is_some() && SCRIPTS.iter().any(|ending| file.ends_with(ending));
    let is_path = file.starts_with('/') || file.starts_with("./") || is_script;
    let plain = is_path && file.contains('.') && !file.contains([' ', ')']);
    let file = file.strip_prefix("./").unwrap_or(file);
    (plain && is_inside(file) && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
        .then(|| format!("{file}:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosed(text: &str) -> Diagnosis {
        read(text.lines(), Path::new("/w")).unwrap()
    }

    #[test]
    fn the_place_of_an_error_of_next_is_found() {
        let text = "\u{2a2f} ./frontend/app/page.jsx:23:17\nError: Expression expected\n  21 |\n\nParsing failed\n GET / 500";
        let found = diagnosed(text);
        assert_eq!((found.said.as_str(), found.fault), ("Error: Expression expected", Fault::Code));
        assert_eq!(found.place.as_deref(), Some("frontend/app/page.jsx:23"));
        let text = "\u{2a2f} ./app/page.jsx:1:1\nModule not found: Can't resolve 'nope-pkg'";
        let found = diagnosed(text);
        assert_eq!(
            (found.missing.as_deref(), found.place.as_deref()),
            (Some("nope-pkg"), Some("app/page.jsx:1"))
        );
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
            application: None,
            program: None,
            settings: Vec::new(),
            busy: None,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn an_application_that_a_server_does_not_find_has_no_place() {
        let text = "  File \"/w/app/main.py\", line 3, in life\nRuntimeError: old\nINFO:     Finished server process [7]\n\
                    ERROR:    Error loading ASGI app. Attribute \"app\" not found in module \"app.main\".\n";
        let found = diagnosed(text);
        let said = "Error loading ASGI app. Attribute \"app\" not found in module \"app.main\".";
        assert_eq!((found.said.as_str(), found.fault, found.place), (said, Fault::Code, None));
        assert_eq!(found.application.unwrap().module, "app.main");
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
        for path in ["./page", "/page", "@/app/page", "~/page", "#page"] {
            assert_eq!(
                diagnosed(&format!("Module not found: Can't resolve '{path}'")).missing,
                None,
                "{path}"
            );
        }
    }

    #[test]
    fn an_error_of_a_request_to_next_has_the_place_of_its_own_frames() {
        let text = " \u{2a2f} Error: other\n    at Old (app/old/page.jsx:1:1)\n GET /old 500 in 9ms\n \
                    \u{2a2f} TypeError: no rows\n    at next (node_modules/next/x.js:1:1)\n    at Page (app/page.jsx:20:19)\n  \
                    18 |   ])\n> 20 |   rows.map()\n     |        ^ {\n  digest: '1'\n}\n GET / 500 in 9ms";
        let found = diagnosed(text);
        assert_eq!((found.said.as_str(), found.fault), ("TypeError: no rows", Fault::Code));
        assert_eq!(found.place.as_deref(), Some("app/page.jsx:20"));
    }

    #[test]
    fn a_place_outside_the_worktree_is_not_named() {
        let frame = |file: &str| format!("  File \"{file}\", line 3, in f\nValueError: x");
        for outside in ["/usr/share/x.py", "/w/../other/x.py", "/w2/x.py", "../x.py"] {
            assert_eq!(diagnosed(&frame(outside)).place, None, "{outside}");
        }
        let below = format!("  File \"/w/app.py\", line 8, in g\n{}", frame("/opt/tool/x.py"));
        assert_eq!(diagnosed(&below).place.as_deref(), Some("/w/app.py:8"));
        assert_eq!(diagnosed(&frame("alembic/env.py")).place.as_deref(), Some("alembic/env.py:3"));
    }

    #[test]
    fn missing_settings_are_the_configuration_and_invalid_data_is_the_code() {
        let report = |class: &str| {
            diagnosed(&format!(
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for {class}\nSECRET_KEY\n  Field required"
            ))
        };
        let settings = report("Settings");
        assert_eq!(
            (settings.fault, settings.settings),
            (Fault::Configuration, vec!["SECRET_KEY".to_string()])
        );
        assert_eq!((report("Item").fault, report("Item").settings), (Fault::Code, Vec::new()));
        let key = diagnosed("  File \"/w/a.py\", line 3\n    x = os.environ[\"A\"]\nKeyError: 'A'\n");
        assert_eq!((key.fault, key.settings), (Fault::Code, vec!["A".to_string()]));
        let key = diagnosed("  File \"/w/a.py\", line 3\n    x = items[\"A\"]\nKeyError: 'A'\n");
        assert_eq!((key.fault, key.settings), (Fault::Code, Vec::new()));
    }

    #[test]
    fn program_that_no_shell_finds_is_the_environment() {
        for line in [
            "/bin/sh: 1: alembic: not found",
            "bash: line 1: alembic: command not found",
            "zsh: command not found: alembic",
            "sh: alembic: not found",
        ] {
            let found = diagnosed(line);
            assert_eq!(
                (found.program.as_deref(), found.fault),
                (Some("alembic"), Fault::Environment),
                "{line}"
            );
        }
        for line in ["INFO: user: not found", "app: page: not found"] {
            assert_eq!(read([line].into_iter(), Path::new("/w")), None, "{line}");
        }
    }

    #[test]
    fn system_that_is_down_or_full_is_the_fault_of_the_environment() {
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
        assert_eq!(
            read(
                "serving\nGET / 200\nReady in 3 s: http://localhost:3000\nINFO: ok".lines(),
                Path::new("/w")
            ),
            None
        );
        assert_eq!(last_words("one\n two \n\n".lines()).as_deref(), Some("two"));
        let log = "WARNING: /healthz: DATABASE_URL is not set\nINFO: 127.0.0.1:4 - \"GET /healthz HTTP/1.1\" 503\n}\n";
        assert_eq!(last_words(log.lines()).as_deref(), Some("WARNING: /healthz: DATABASE_URL is not set"));
        assert_eq!(last_words("GET / 503 in 3ms\n".lines()).as_deref(), Some("GET / 503 in 3ms"));
        assert_eq!(diagnosed("app.MyError").said, "app.MyError");
    }
}
