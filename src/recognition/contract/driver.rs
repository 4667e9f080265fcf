//! The scheme of a Postgres URL where no value shows it: the driver among the packages, and how the code makes its engine.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::super::facts::Facts;
use super::Source;

/// Most files that are searched for the code that makes an engine.
const FILES: usize = 60;

/// Manifests of Python packages.
const MANIFESTS: &[&str] = &["pyproject.toml", "Pipfile", "setup.py", "setup.cfg"];

/// The Python packages of the repository, read when a scheme is first needed.
pub(super) struct Drivers<'a> {
    facts: &'a Facts,
    source: Source<'a>,
    found: OnceCell<Found>,
}

#[derive(Default)]
struct Found {
    /// Names of packages, in lower case.
    packages: BTreeSet<String>,
    /// The code makes an asynchronous engine of `SQLAlchemy`.
    asynchronous: bool,
    /// The code puts the driver into a plain URL.
    adds_driver: bool,
}

impl<'a> Drivers<'a> {
    /// Reads nothing yet.
    pub(super) fn new(facts: &'a Facts, source: Source<'a>) -> Self {
        Drivers { facts, source, found: OnceCell::new() }
    }

    /// True when a driver for Postgres is among the packages.
    pub(super) fn any(&self) -> bool {
        ["asyncpg", "psycopg", "psycopg2", "pg8000"].iter().any(|driver| self.found().has(driver))
    }

    /// The scheme that the Python code needs, for a variable with these words in its name.
    pub(super) fn scheme(&self, words: &[String]) -> &'static str {
        let found = self.found();
        let says = |word: &str| words.iter().any(|other| other == word);
        // The driver's own `connect` takes no other scheme, and code that adds the driver finds only the plain one.
        if !(found.has("sqlalchemy") || found.has("sqlmodel") || found.has("flask-sqlalchemy"))
            || found.adds_driver
        {
            return "postgresql";
        }
        let wants_async = says("ASYNC") || (found.asynchronous && !says("SYNC"));
        let order: &[(&str, &str)] = if wants_async {
            &[("asyncpg", "postgresql+asyncpg"), ("psycopg", "postgresql+psycopg")]
        } else {
            &[
                ("psycopg", "postgresql+psycopg"),
                ("psycopg2", "postgresql+psycopg2"),
                ("pg8000", "postgresql+pg8000"),
            ]
        };
        order.iter().find(|(package, _)| found.has(package)).map_or("postgresql", |(_, scheme)| scheme)
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| {
            let mut found = Found::default();
            let mut read = 0;
            for file in &self.facts.files {
                if is_manifest(file) {
                    found.packages.extend((self.source)(file).iter().flat_map(|text| packages(text)));
                } else if makes_engine(file) && read < FILES {
                    read += 1;
                    let Some(text) = (self.source)(file) else { continue };
                    found.asynchronous |=
                        text.contains("create_async_engine") || text.contains("async_engine_from_config");
                    found.adds_driver |=
                        text.contains("replace(\"postgres") || text.contains("replace('postgres");
                }
            }
            found
        })
    }
}

impl Found {
    fn has(&self, package: &str) -> bool {
        match package {
            "psycopg2" => self.packages.contains("psycopg2") || self.packages.contains("psycopg2-binary"),
            "psycopg" => ["psycopg", "psycopg-binary"].iter().any(|name| self.packages.contains(*name)),
            other => self.packages.contains(other),
        }
    }
}

fn is_manifest(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let listed = file.extension().is_some_and(|ending| ending == "txt" || ending == "in");
    MANIFESTS.contains(&name.as_str()) || (name.starts_with("requirements") && listed)
}

/// True for modules that make an engine, by their names and those of their folders.
fn makes_engine(file: &Path) -> bool {
    let words = [
        "db",
        "database",
        "session",
        "engine",
        "config",
        "settings",
        "deps",
        "core",
        "base",
        "main",
        "env",
        "connection",
    ];
    let stem = |part: &std::ffi::OsStr| part.to_string_lossy().trim_end_matches(".py").to_lowercase();
    let name = file.file_name().map(stem).unwrap_or_default();
    let folder = file.parent().and_then(Path::file_name).map(stem).unwrap_or_default();
    let fits = |text: &str| text.split(['_', '-']).any(|word| words.contains(&word));
    file.extension().is_some_and(|ending| ending == "py") && (fits(&name) || fits(&folder))
}

/// Names of packages that a manifest mentions: the names of its requirement strings, and keys of tables of requirements.
fn packages(text: &str) -> Vec<String> {
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let first = |text: &str| {
        text.split(|c| !name(c)).next().unwrap_or_default().to_lowercase().replace(['_', '.'], "-")
    };
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        found.push(first(line));
        found.extend(line.split(['"', '\'']).skip(1).map(first));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn scheme(files: &[(&str, &str)], name: &str) -> &'static str {
        let facts =
            Facts { files: files.iter().map(|(path, _)| PathBuf::from(path)).collect(), ..Facts::default() };
        let texts: Vec<(PathBuf, String)> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_string())).collect();
        let source =
            |path: &Path| texts.iter().find(|(other, _)| other == path).map(|(_, text)| text.clone());
        Drivers::new(&facts, &source).scheme(&super::super::names::words(name))
    }

    #[test]
    fn an_asynchronous_engine_needs_an_asynchronous_driver() {
        let manifest = (
            "backend/pyproject.toml",
            "dependencies = [\"SQLAlchemy[asyncio]>=2\", \"asyncpg\", \"psycopg2-binary>=2\"]",
        );
        let engine = ("backend/app/db/session.py", "engine = create_async_engine(url)");
        assert_eq!(scheme(&[manifest, engine], "DATABASE_URL"), "postgresql+asyncpg");
        assert_eq!(scheme(&[manifest, engine], "SYNC_DATABASE_URL"), "postgresql+psycopg2");
        assert_eq!(scheme(&[manifest], "DATABASE_URL"), "postgresql+psycopg2");
    }

    #[test]
    fn code_that_adds_the_driver_gets_the_plain_scheme() {
        let manifest = ("requirements.txt", "sqlalchemy\nasyncpg==0.30\n");
        let engine =
            ("app/db.py", "create_async_engine(url.replace(\"postgresql://\", \"postgresql+asyncpg://\"))");
        assert_eq!(scheme(&[manifest, engine], "DATABASE_URL"), "postgresql");
    }

    #[test]
    fn a_driver_without_sqlalchemy_takes_its_own_scheme() {
        assert_eq!(scheme(&[("requirements.txt", "asyncpg\nfastapi\n")], "DATABASE_URL"), "postgresql");
        assert_eq!(
            scheme(
                &[(
                    "pyproject.toml",
                    "[tool.poetry.dependencies]\nsqlmodel = \"^0\"\npsycopg = {extras = [\"binary\"]}"
                )],
                "DB_URL"
            ),
            "postgresql+psycopg"
        );
    }
}
