//! What a process needs prepared when it does not say so itself: a guess from its command, on the safe side.

use std::collections::BTreeSet;
use std::path::Path;

use crate::plan::{Need, Run};

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

/// What a process that runs `run` needs, out of what is `configured`. `has_client` tells whether the package.json of its
/// folder names a database client.
pub fn infer(run: &Run, configured: &BTreeSet<Need>, has_client: bool) -> BTreeSet<Need> {
    let wanted: &[Need] = match program(run).as_deref() {
        Some(name) if NODE_TOOLS.contains(&name) && !has_client => &[Need::Node],
        Some(name) if NODE_TOOLS.contains(&name) => &[Need::Node, Need::Database],
        Some(name) if PYTHON_TOOLS.contains(&name) || is_python(name) => &[Need::Python, Need::Database],
        _ => &Need::ALL,
    };
    wanted.iter().copied().filter(|need| configured.contains(need)).collect()
}

/// True when a package.json names a package that talks to a database.
pub fn names_database_client(package_json: &serde_json::Value) -> bool {
    ["dependencies", "devDependencies", "optionalDependencies"].iter().any(|section| {
        let packages = package_json.get(section).and_then(serde_json::Value::as_object);
        packages.is_some_and(|packages| packages.keys().any(|name| DATABASE_CLIENTS.contains(&name.as_str())))
    })
}

/// The name of the program a command starts with: `VAR=x exec node_modules/.bin/next dev` starts `next`. `None` for
/// anything a shell makes more of than one command.
fn program(run: &Run) -> Option<String> {
    let words: Vec<&str> = match run {
        Run::Argv(argv) => argv.iter().map(String::as_str).collect(),
        Run::Shell(text) if text.contains(['&', '|', ';', '`', '(', '\n']) => return None,
        Run::Shell(text) => text.split_whitespace().collect(),
    };
    let first = words.into_iter().find(|word| !(is_assignment(word) || matches!(*word, "exec" | "env")))?;
    Path::new(first).file_name()?.to_str().map(Into::into)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| crate::config::values::is_variable_name(name))
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(command: &str, has_client: bool) -> Vec<&'static str> {
        infer(&Run::Shell(command.into()), &Need::ALL.into(), has_client)
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
        for command in ["make dev", "sleep 1 && next dev", "./run.sh", "pythonic"] {
            assert_eq!(needs(command, false), ["node", "python", "database"], "{command}");
        }
    }

    #[test]
    fn what_is_not_configured_is_not_needed() {
        assert!(infer(&Run::Argv(vec!["make".into()]), &BTreeSet::new(), true).is_empty());
    }

    #[test]
    fn database_clients_are_found_in_every_section() {
        let with = serde_json::json!({ "devDependencies": { "@prisma/client": "6" } });
        let without = serde_json::json!({ "dependencies": { "next": "16", "pgp": "1" }, "name": "pg" });
        assert!(names_database_client(&with));
        assert!(!names_database_client(&without));
    }
}
