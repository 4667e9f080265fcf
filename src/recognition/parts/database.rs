//! Decides whether a repository uses Postgres.

use super::node::NodePackage;
use super::python::PythonProject;
use super::tree::{Tree, is_aside};

use crate::text::is_postgres_url;

/// Packages that connect to Postgres.
const DRIVERS: &[&str] = &[
    "asyncpg",
    "psycopg",
    "psycopg2",
    "psycopg2-binary",
    "pg8000",
    "aiopg",
    "databases",
    "pg",
    "postgres",
    "pg-promise",
    "@neondatabase/serverless",
    "@vercel/postgres",
    "slonik",
];

/// Returns true if a part reads a Postgres URL or parts of one.
pub fn is_wanted(tree: &Tree<'_>, projects: &[PythonProject], packages: &[NodePackage]) -> bool {
    let facts = tree.facts;
    let reads = |name: &str| {
        facts.reads.iter().any(|read| {
            !is_aside(&read.at.file)
                && (read.name.eq_ignore_ascii_case(name)
                    || read.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name)))
        })
    };
    let given = facts.values.iter().any(|given| is_postgres_url(&given.value) && reads(&given.name));
    let default = facts.reads.iter().any(|read| read.default.as_deref().is_some_and(is_postgres_url));
    if given || default {
        return true;
    }
    let driver = projects.iter().any(|project| project.names(DRIVERS))
        || packages.iter().any(|package| package.names(DRIVERS));
    let pieces = |name: &str| {
        let name = name.to_ascii_uppercase();
        name == "DATABASE_URL"
            || name.starts_with("POSTGRES_")
            || matches!(
                name.as_str(),
                "DB_HOST" | "DB_URL" | "PGHOST" | "DATABASE_HOST" | "SQLALCHEMY_DATABASE_URI"
            )
    };
    driver && facts.reads.iter().any(|read| pieces(&read.name) && !is_aside(&read.at.file))
}
