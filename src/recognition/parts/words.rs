//! The words of a command line: simple commands, their programs, ports and Python targets.
//!
//! Pure. Knows shells only as far as scripts of repositories need it: quotes, `&&`, assignments and runners such as
//! `poetry run` and `npx` in front of the program.

use std::path::Path;

/// A program and its arguments, without what stands in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simple {
    /// Assignments (`A=b`) and `cross-env` with its own, as written.
    pub lead: Vec<String>,
    /// Name of the program, without its folder.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// True when the command before it must succeed first: it follows `&&`.
    pub follows: bool,
}

/// Programs that run the program behind them, with the words of theirs that stand between.
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

/// The simple commands of `line`, in order; those inside quotes (`sh -c "…"`, `concurrently "…"`) too.
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

/// Modules that are programs of their own, not the repository's.
fn is_program_module(module: &str) -> bool {
    ["uvicorn", "gunicorn", "hypercorn", "granian", "fastapi", "celery", "dramatiq", "arq", "alembic", "rq"]
        .contains(&module)
}

/// True for `python`, `python3` and `python3.12`.
pub fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| crate::config::values::is_variable_name(name))
}

fn base(word: &str) -> &str {
    Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or(word)
}

impl Simple {
    /// The value of an option: `--port 3000`, `--port=3000`, `-p 3000`.
    pub fn option(&self, names: &[&str]) -> Option<&str> {
        self.args.iter().enumerate().find_map(|(index, word)| match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => Some(value),
            _ if names.contains(&word.as_str()) => self.args.get(index + 1).map(String::as_str),
            _ => None,
        })
    }

    /// True when it has this flag.
    pub fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|word| word == flag)
    }

    /// Its first argument that is no option.
    pub fn first(&self) -> Option<&str> {
        self.args.iter().map(String::as_str).find(|word| !word.starts_with('-'))
    }

    /// The port that it binds, when the words say one: an option, or the end of an address. `${PORT:-8000}` is 8000.
    pub fn port(&self) -> Option<u16> {
        let value = self.option(&["--port", "-p", "--bind", "-b", "--listen"])?;
        let digits = value.trim_end_matches('}').rsplit([':', '-']).next()?;
        digits.parse().ok().filter(|port| *port > 0)
    }
}

/// An object of a Python module, as servers name it: `app.main:app`, `app.main:create_app()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The module.
    pub module: String,
    /// The object.
    pub name: String,
    /// True when it is a function that returns the application.
    pub factory: bool,
}

impl Target {
    /// Reads `text`; nothing when it is no name of an object. Addresses such as `localhost:8000` are none.
    pub fn parse(text: &str) -> Option<Target> {
        let (module, name) = text.split_once(':')?;
        let (name, factory) = match name.strip_suffix("()") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let fine = |word: &str| crate::config::values::is_variable_name(word);
        (module.split('.').all(fine) && fine(name)).then(|| Target {
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
    fn the_program_is_found_behind_what_runs_it() {
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
        assert!(Target::parse("0.0.0.0:8000").is_none());
        assert!(Target::parse("localhost:8000").is_none());
        assert!(Target::parse("app.main").is_none());
        let made = Target::parse("app.main:create()").unwrap();
        assert_eq!((made.module.as_str(), made.name.as_str(), made.factory), ("app.main", "create", true));
    }
}
