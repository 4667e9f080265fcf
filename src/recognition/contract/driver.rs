//! Finds the scheme of a Postgres URL that no value shows, from the driver among the packages and the code that makes
//! the engine.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::facts::Facts;
use super::FileReader;

use crate::context::package_names;

/// Maximum number of files to search for the code that makes an engine.
const FILES: usize = 60;

/// Manifests of Python packages.
const MANIFESTS: &[&str] = &["pyproject.toml", "Pipfile", "setup.py", "setup.cfg"];

/// Lock files of Python packages.
const LOCKS: &[&str] = &["uv.lock", "poetry.lock", "pdm.lock"];

/// The Python packages of the repository, read when a scheme is first needed.
pub(super) struct Drivers<'a> {
    facts: &'a Facts,
    source: FileReader<'a>,
    found: OnceCell<DriverEvidence>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the code")]
struct DriverEvidence {
    /// Names of packages, in lower case.
    packages: BTreeSet<String>,
    /// True when the code makes an asynchronous engine of `SQLAlchemy`.
    asynchronous: bool,
    /// True when the code adds the driver to a plain URL.
    adds_driver: bool,
    /// True when the code gives a URL to the driver itself.
    connects: bool,
    /// True when a manifest keeps `SQLAlchemy` below 2.1, which takes psycopg for a plain scheme.
    holds_sqlalchemy: bool,
}

impl<'a> Drivers<'a> {
    /// Returns the packages without reading anything yet.
    pub(super) fn new(facts: &'a Facts, source: FileReader<'a>) -> Self {
        Drivers { facts, source, found: OnceCell::new() }
    }

    /// Returns true if a driver for Postgres is among the packages.
    pub(super) fn any(&self) -> bool {
        ["asyncpg", "psycopg", "psycopg2", "pg8000"].iter().any(|driver| self.found().has(driver))
    }

    /// Returns the scheme that the Python code needs, for a variable with these words in its name.
    pub(super) fn scheme(&self, words: &[String]) -> &'static str {
        let found = self.found();
        let says = |word: &str| words.iter().any(|other| other == word);
        // The driver's own `connect` accepts no other scheme, and code that adds the driver expects the plain scheme.
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

    /// Returns the kind of database that the Python packages have the only driver for, if that is no Postgres.
    pub(super) fn other_kind(&self) -> Option<&'static str> {
        let mysql = ["pymysql", "mysqlclient", "aiomysql", "asyncmy", "mysql-connector-python"];
        (!self.any() && mysql.iter().any(|driver| self.found().has(driver))).then_some("MySQL")
    }

    /// Returns the scheme with the only driver among the packages, where `SQLAlchemy` would look for another one.
    pub(super) fn for_plain(&self) -> Option<&'static str> {
        let found = self.found();
        let only = found.has("psycopg2") && !found.has("psycopg");
        let by_sqlalchemy = found.has("sqlalchemy") || found.has("sqlmodel");
        let held = || found.holds_sqlalchemy || self.is_locked_below();
        (only && by_sqlalchemy && !found.adds_driver && !found.connects && !held())
            .then_some("postgresql+psycopg2")
    }

    /// Returns true if a lock file has a `SQLAlchemy` below 2.1.
    fn is_locked_below(&self) -> bool {
        let is_lock =
            |file: &&PathBuf| file.file_name().is_some_and(|name| LOCKS.iter().any(|lock| name == *lock));
        let texts = self.facts.files.iter().filter(is_lock).filter_map(|file| (self.source)(file));
        texts.into_iter().any(|text| {
            let after = text.split("name = \"sqlalchemy\"").nth(1).unwrap_or_default();
            let version = after.trim_start().strip_prefix("version = \"").unwrap_or_default();
            ["0.", "1.", "2.0"].iter().any(|below| version.starts_with(below))
        })
    }

    fn found(&self) -> &DriverEvidence {
        self.found.get_or_init(|| {
            let mut found = DriverEvidence::default();
            let mut read = 0;
            for file in &self.facts.files {
                if is_manifest(file) {
                    let Some(text) = (self.source)(file) else { continue };
                    found.packages.extend(packages(&text));
                    found.holds_sqlalchemy |= text.lines().any(holds_sqlalchemy);
                } else if makes_engine(file) && read < FILES {
                    read += 1;
                    let Some(text) = (self.source)(file) else { continue };
                    found.asynchronous |=
                        text.contains("create_async_engine") || text.contains("async_engine_from_config");
                    found.connects |= ["psycopg2.connect(", "asyncpg.connect(", "asyncpg.create_pool("]
                        .iter()
                        .any(|call| text.contains(call));
                    found.adds_driver |= adds_driver(&text);
                }
            }
            found
        })
    }
}

impl DriverEvidence {
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

/// Returns true when the code replaces the scheme of a plain URL. `replace("postgresql+asyncpg", …)` is for a URL that has a driver.
fn adds_driver(text: &str) -> bool {
    text.match_indices("replace(").any(|(at, call)| {
        let argument = text[at + call.len()..].trim_start().trim_start_matches(['"', '\'']);
        let scheme = argument.strip_prefix("postgres").map(|rest| rest.strip_prefix("ql").unwrap_or(rest));
        scheme.is_some_and(|rest| !rest.starts_with('+'))
    })
}

/// Returns true for a requirement that keeps `SQLAlchemy` below 2.1.
fn holds_sqlalchemy(line: &str) -> bool {
    let line = line.trim().trim_start_matches(['"', '\'']).to_lowercase();
    line.strip_prefix("sqlalchemy").is_some_and(|rest| {
        let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
        let versions = ["==0.", "==1.", "==2.0", "~=1.", "~=2.0.", "<2.1", "<2,", "<2.0"];
        let rest: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
        versions.iter().any(|version| rest.contains(version))
    })
}

/// Returns true for modules that probably make an engine, judged by their names and those of their folders.
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

/// Returns the packages that a manifest mentions: the names in its requirement strings, and the keys of its requirement
/// tables.
fn packages(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        found.push(package_names::name(line));
        found.extend(line.split(['"', '\'']).skip(1).map(package_names::name));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[cfg(test)]
mod tests {
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
        let other = (
            "app/db.py",
            "create_async_engine(url); url.replace('postgresql+asyncpg', 'postgresql+psycopg')",
        );
        assert_eq!(scheme(&[manifest, other], "DATABASE_URL"), "postgresql+asyncpg");
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
