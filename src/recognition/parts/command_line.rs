//! Parses command lines: simple commands, their programs, ports and Python targets.
//!
//! Pure. Understands shell syntax only as far as scripts of repositories need it: quotes, `&&`, assignments, and
//! runners such as `poetry run` and `npx` before the program.

use std::path::Path;

use crate::config::names::{is_assignment, is_python};

/// A program and its arguments, without runners before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simple {
    /// Assignments (`A=b`), and `cross-env` with its assignments, as written.
    pub lead: Vec<String>,
    /// Name of the program, without its folder.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// True when it follows `&&`, so that it runs only if the previous command succeeds.
    pub follows: bool,
}

/// Programs that run another program, with the subcommands that may precede it.
const RUNNERS: &[(&str, &[&str])] = &[
    ("uv", &["run"]),
    ("poetry", &["run"]),
    ("pdm", &["run"]),
    ("pipenv", &["run"]),
    ("hatch", &["run"]),
    ("rye", &["run"]),
    ("npx", &[]),
    ("bunx", &[]),
    ("pnpx", &[]),
    ("pnpm", &["exec", "dlx"]),
    ("bun", &["x", "run"]),
    ("yarn", &["exec", "run"]),
    ("exec", &[]),
    ("env", &[]),
    ("time", &[]),
    ("nohup", &[]),
    ("watchfiles", &[]),
    ("opentelemetry-instrument", &[]),
    ("ddtrace-run", &[]),
    ("dotenvx", &["run"]),
    ("doppler", &["run"]),
    ("infisical", &["run"]),
    ("portless", &[]),
];

/// Options of these programs that take the next word as their value.
const WITH_VALUE: &[&str] = &[
    "--env-file",
    "--with",
    "--extra",
    "--group",
    "--project",
    "--package",
    "--directory",
    "--python",
    "-e",
    "-f",
];

/// Returns the simple commands of `line`, in order, including those inside quotes (`sh -c "…"`, `concurrently "…"`).
pub fn commands(line: &str) -> Vec<Simple> {
    let mut found = Vec::new();
    collect(line, 0, &mut found);
    found
}

fn collect(line: &str, depth: usize, found: &mut Vec<Simple>) {
    let line = line.replace(" &&", " && ").replace(';', " ; ");
    let tokens = shlex::split(&line).unwrap_or_else(|| line.split_whitespace().map(Into::into).collect());
    let mut follows = false;
    for part in tokens.split_inclusive(|token| is_operator(token)) {
        let (words, end) = match part.split_last() {
            Some((last, words)) if is_operator(last) => (words, Some(last.as_str())),
            _ => (part, None),
        };
        if let Some(simple) = simple(words, follows) {
            let inner = words.iter().filter(|word| depth < 2 && word.contains(char::is_whitespace));
            inner.for_each(|word| collect(word, depth + 1, found));
            found.push(simple);
        }
        follows = end == Some("&&");
    }
}

fn is_operator(token: &str) -> bool {
    matches!(token, "&&" | "||" | ";" | "|" | "&")
}

fn simple(words: &[String], follows: bool) -> Option<Simple> {
    let mut lead = Vec::new();
    let mut rest = words;
    loop {
        let (word, tail) = rest.split_first()?;
        if is_assignment(word) || word == "cross-env" || word == "cross-env-shell" {
            lead.push(word.clone());
            rest = tail;
            continue;
        }
        let name = base(word);
        // `python -m uvicorn` runs uvicorn.
        if is_python(name)
            && let [flag, module, ..] = tail
            && flag == "-m"
            && is_program_module(module)
        {
            rest = &tail[1..];
            continue;
        }
        let Some((_, words)) = RUNNERS.iter().find(|(runner, _)| *runner == name) else {
            return Some(Simple { lead, program: name.into(), args: tail.to_vec(), follows });
        };
        let subcommand = tail.first().is_some_and(|word| words.contains(&word.as_str()));
        if !words.is_empty() && !subcommand {
            return Some(Simple { lead, program: name.into(), args: tail.to_vec(), follows });
        }
        rest = if subcommand { &tail[1..] } else { tail };
        while let Some((word, tail)) = rest.split_first()
            && (word.starts_with('-') && word.len() > 1)
        {
            rest = if WITH_VALUE.contains(&word.as_str()) { tail.get(1..).unwrap_or_default() } else { tail };
        }
    }
}

/// Returns true for modules that are programs of a package, not modules of the repository.
fn is_program_module(module: &str) -> bool {
    ["uvicorn", "gunicorn", "hypercorn", "granian", "fastapi", "celery", "dramatiq", "arq", "alembic", "rq"]
        .contains(&module)
}

fn base(word: &str) -> &str {
    Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or(word)
}

impl Simple {
    /// Returns the value of an option: `--port 3000`, `--port=3000`, `-p 3000`.
    pub fn option(&self, names: &[&str]) -> Option<&str> {
        self.args.iter().enumerate().find_map(|(index, word)| match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => Some(value),
            _ if names.contains(&word.as_str()) => self.args.get(index + 1).map(String::as_str),
            _ => None,
        })
    }

    /// Returns true if the command has this flag.
    pub fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|word| word == flag)
    }

    /// Returns the first argument that is not an option.
    pub fn first(&self) -> Option<&str> {
        self.args.iter().map(String::as_str).find(|word| !word.starts_with('-'))
    }

    /// Returns the port that the command binds, if its arguments contain one: an option, or the end of an address.
    /// `${PORT:-8000}` gives 8000.
    pub fn port(&self) -> Option<u16> {
        let value = self.option(&["--port", "-p", "--bind", "-b", "--listen"])?;
        let digits = value.trim_end_matches('}').rsplit([':', '-']).next()?;
        digits.parse().ok().filter(|port| *port > 0)
    }
}

/// An object of a Python module in the notation of servers: `app.main:app`, `app.main:create_app()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonTarget {
    pub module: String,
    /// The object.
    pub name: String,
    /// True when it is a function that returns the application.
    pub factory: bool,
}

impl PythonTarget {
    /// Parses `text`; `None` if it does not name an object. Addresses such as `localhost:8000` do not.
    pub fn parse(text: &str) -> Option<PythonTarget> {
        let (module, name) = text.split_once(':')?;
        let (name, factory) = match name.strip_suffix("()") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let fine = |word: &str| crate::config::names::is_variable_name(word);
        (module.split('.').all(fine) && fine(name)).then(|| PythonTarget {
            module: module.into(),
            name: name.into(),
            factory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(line: &str) -> Vec<String> {
        commands(line).into_iter().map(|simple| simple.program).collect()
    }

    #[test]
    fn program_is_found_behind_its_runner() {
        for line in [
            "uvicorn app:app",
            "A=b exec .venv/bin/uvicorn app:app",
            "uv run --env-file .env uvicorn app:app",
            "poetry run python -m uvicorn app:app",
            "cross-env A=b uvicorn app:app",
        ] {
            assert_eq!(programs(line).last().map(String::as_str), Some("uvicorn"), "{line}");
        }
        assert_eq!(programs("cd backend && uvicorn a:b; next dev"), ["cd", "uvicorn", "next"]);
        assert_eq!(programs("concurrently \"next dev\" 'npm run api'"), ["next", "npm", "concurrently"]);
        assert_eq!(programs("python -m app.worker"), ["python"]);
        assert_eq!(programs("unclosed 'quote"), ["unclosed"]);
    }

    #[test]
    fn ports_are_read_from_options_addresses_and_defaults() {
        for (line, port) in [
            ("uvicorn a:b --port 8001", Some(8001)),
            ("uvicorn a:b --port=8002", Some(8002)),
            ("gunicorn -b 0.0.0.0:8003 a:b", Some(8003)),
            ("next dev -p ${PORT:-3001}", Some(3001)),
            ("next dev -p $PORT", None),
            ("next dev", None),
        ] {
            assert_eq!(commands(line)[0].port(), port, "{line}");
        }
    }

    #[test]
    fn targets_are_objects_of_modules_and_not_addresses() {
        assert!(PythonTarget::parse("0.0.0.0:8000").is_none());
        assert!(PythonTarget::parse("localhost:8000").is_none());
        assert!(PythonTarget::parse("app.main").is_none());
        let made = PythonTarget::parse("app.main:create()").unwrap();
        assert_eq!((made.module.as_str(), made.name.as_str(), made.factory), ("app.main", "create", true));
    }
}
