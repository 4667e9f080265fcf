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
    let wanted = commands(run).into_iter().flat_map(|words| match program(&words) {
        Some(name) if NODE_TOOLS.contains(&name) && !has_client => &[Need::Node][..],
        Some(name) if NODE_TOOLS.contains(&name) => &[Need::Node, Need::Database],
        Some(name) if PYTHON_TOOLS.contains(&name) || is_python(name) => &[Need::Python, Need::Database],
        _ => &Need::ALL,
    });
    wanted.copied().filter(|need| configured.contains(need)).collect()
}

/// The commands that a shell runs one after the other, each as its words; one without words for anything else.
fn commands(run: &Run) -> Vec<Vec<&str>> {
    match run {
        Run::Argv(argv) => vec![argv.iter().map(String::as_str).collect()],
        Run::Shell(text) => {
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

/// True when a package.json names a package that talks to a database.
pub fn names_database_client(package_json: &serde_json::Value) -> bool {
    ["dependencies", "devDependencies", "optionalDependencies"].iter().any(|section| {
        let packages = package_json.get(section).and_then(serde_json::Value::as_object);
        packages.is_some_and(|packages| packages.keys().any(|name| DATABASE_CLIENTS.contains(&name.as_str())))
    })
}

/// The name of the program a command starts with: `VAR=x exec node_modules/.bin/next dev` starts `next`.
fn program<'a>(words: &[&'a str]) -> Option<&'a str> {
    let first = words.iter().find(|word| !(is_assignment(word) || matches!(**word, "exec" | "env")))?;
    Path::new(*first).file_name()?.to_str()
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
        for command in ["make dev", "sleep 1 && next dev", "./run.sh", "pythonic", "next dev & uvicorn a:b"] {
            assert_eq!(needs(command, false), ["node", "python", "database"], "{command}");
        }
    }

    #[test]
    fn commands_in_a_row_wait_for_what_each_of_them_waits_for() {
        let both = "PYTHONPATH=. python seed.py && alembic upgrade head";
        assert_eq!(needs(both, false), ["python", "database"]);
        assert_eq!(needs("prisma generate; next dev", false), ["node"]);
        assert_eq!(needs("alembic upgrade head && next dev", false), ["node", "python", "database"]);
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
