//! Guesses from the command of a process which preparation the process needs, if it has no `needs:`. Guesses too much rather
//! than too little.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::names::{is_assignment, is_python};
use crate::context::package_json;
use crate::plan::{Need, RunCommand};

const NODE_TOOLS: &[&str] = &[
    "next",
    "vite",
    "node",
    "nodemon",
    "npm",
    "pnpm",
    "yarn",
    "bun",
    "bunx",
    "npx",
    "tsx",
    "ts-node",
    "turbo",
    "webpack",
    "astro",
    "nuxt",
    "remix",
    "ng",
    "expo",
    "storybook",
    "tailwindcss",
    "esbuild",
    "angular",
    "drizzle-kit",
    "gatsby",
    "prisma",
    "react-router",
    "react-scripts",
    "rsbuild",
    "svelte-kit",
    "vinxi",
    "vue-cli-service",
    "craco",
    "nuxi",
    "waku",
    "webpack-dev-server",
];
const PYTHON_TOOLS: &[&str] = &[
    "uvicorn",
    "fastapi",
    "python",
    "python3",
    "gunicorn",
    "hypercorn",
    "granian",
    "daphne",
    "celery",
    "flask",
    "django-admin",
    "uv",
    "poetry",
    "rq",
    "dramatiq",
    "arq",
    "streamlit",
    "alembic",
    "watchfiles",
];
const DATABASE_CLIENTS: &[&str] = &[
    "pg",
    "postgres",
    "pg-promise",
    "@prisma/client",
    "prisma",
    "drizzle-orm",
    "knex",
    "typeorm",
    "sequelize",
    "kysely",
    "@neondatabase/serverless",
    "@vercel/postgres",
    "slonik",
    "@mikro-orm/core",
    "objection",
    "mysql2",
];

/// Returns the needs, among those `configured`, of a process that runs `run`. `has_client` is true if the package.json
/// of its folder names a database client.
pub fn infer(run: &RunCommand, configured: &BTreeSet<Need>, has_client: bool) -> BTreeSet<Need> {
    let wanted = commands(run).into_iter().flat_map(|words| match program(&words) {
        Some(name) if NODE_TOOLS.contains(&name) && !has_client => &[Need::Node, Need::Setup][..],
        Some(name) if NODE_TOOLS.contains(&name) => &[Need::Node, Need::Database, Need::Setup],
        Some(name) if is_python_tool(name) => &[Need::Python, Need::Database, Need::Setup],
        _ => &Need::ALL,
    });
    wanted.copied().filter(|need| configured.contains(need)).collect()
}

/// Splits a command into the commands that a shell runs one after the other, each as its words. Returns one command
/// without words for text that is not that simple.
fn commands(run: &RunCommand) -> Vec<Vec<&str>> {
    match run {
        RunCommand::Argv(argv) => vec![argv.iter().map(String::as_str).collect()],
        RunCommand::Shell(text) => {
            let parts: Vec<&str> = text.split("&&").flat_map(|part| part.split([';', '\n'])).collect();
            let simple = |part: &&str| !part.contains(['&', '|', '`', '(', '"', '\'']) || parts.len() == 1;
            if !parts.iter().all(simple) || (parts.len() == 1 && text.contains(['&', '|', '`', '('])) {
                return vec![Vec::new()];
            }
            let words = parts.iter().map(|part| part.split_whitespace().collect::<Vec<_>>());
            let words: Vec<Vec<&str>> = words.filter(|words| !words.is_empty()).collect();
            if words.is_empty() { vec![Vec::new()] } else { words }
        }
    }
}

/// Returns true if a package.json names a package that talks to a database.
pub fn names_database_client(manifest: &serde_json::Value) -> bool {
    package_json::packages(manifest).any(|(name, _)| DATABASE_CLIENTS.contains(&name.as_str()))
}

/// Returns the name of the program that a command starts: `next` for `VAR=x exec node_modules/.bin/next dev`.
fn program<'a>(words: &[&'a str]) -> Option<&'a str> {
    let first = words.iter().find(|word| !(is_assignment(word) || matches!(**word, "exec" | "env")))?;
    Path::new(*first).file_name()?.to_str()
}

/// Returns the program of a command that runs only one program.
pub fn first_program(run: &RunCommand) -> Option<&str> {
    match &commands(run)[..] {
        [words] => program(words),
        _ => None,
    }
}

/// Returns true if the command runs a known program of Node or Python.
pub fn uses_packages(run: &RunCommand) -> bool {
    let is_tool = |name: &str| NODE_TOOLS.contains(&name) || is_python_tool(name);
    commands(run).iter().any(|words| program(words).is_some_and(is_tool))
}

/// Returns true for the name of a Python interpreter, or of a tool that runs Python programs.
pub fn is_python_tool(name: &str) -> bool {
    PYTHON_TOOLS.contains(&name) || is_python(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(command: &str, has_client: bool) -> Vec<&'static str> {
        let configured = [Need::Node, Need::Python, Need::Database].into();
        infer(&RunCommand::Shell(command.into()), &configured, has_client)
            .iter()
            .map(|need| need.name())
            .collect()
    }

    #[test]
    fn node_tools_wait_for_node_alone_unless_they_talk_to_the_database() {
        for command in
            ["next dev", "node_modules/.bin/next dev --port $PORT", "pnpm dev", "A=b exec npm run dev"]
        {
            assert_eq!(needs(command, false), ["node"], "{command}");
            assert_eq!(needs(command, true), ["node", "database"], "{command}");
        }
    }

    #[test]
    fn python_tools_wait_for_python_and_the_database() {
        for command in
            ["uvicorn app:app", ".venv/bin/python3.13 -m x", "env A=b celery worker", "fastapi dev"]
        {
            assert_eq!(needs(command, false), ["python", "database"], "{command}");
        }
    }

    #[test]
    fn anything_else_waits_for_everything() {
        for command in ["make dev", "sleep 1 && next dev", "./run.sh", "pythonic", "next dev & uvicorn a:b"] {
            assert_eq!(needs(command, false), ["node", "python", "database"], "{command}");
        }
    }

    #[test]
    fn chained_commands_wait_for_the_needs_of_each() {
        let both = "PYTHONPATH=. python seed.py && alembic upgrade head";
        assert_eq!(needs(both, false), ["python", "database"]);
        assert_eq!(needs("prisma generate; next dev", false), ["node"]);
        assert_eq!(needs("alembic upgrade head && next dev", false), ["node", "python", "database"]);
    }

    #[test]
    fn every_command_waits_for_generated_files() {
        for command in ["next dev", "uvicorn app:app", "make dev"] {
            let needs = infer(&RunCommand::Shell(command.into()), &[Need::Setup].into(), false);
            assert_eq!(needs, [Need::Setup].into(), "{command}");
        }
    }

    #[test]
    fn unconfigured_steps_are_not_needed() {
        assert!(infer(&RunCommand::Argv(vec!["make".into()]), &BTreeSet::new(), true).is_empty());
    }

    #[test]
    fn database_clients_are_found_in_every_section() {
        let with = serde_json::json!({ "devDependencies": { "@prisma/client": "6" } });
        let without = serde_json::json!({ "dependencies": { "next": "16", "pgp": "1" }, "name": "pg" });
        assert!(names_database_client(&with));
        assert!(!names_database_client(&without));
    }
}
