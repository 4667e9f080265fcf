//! Distinguishes commands that start a part of a product from those of helper programs.

/// Programs that start no part of a product: those of shells, and tools that install, check, test or build.
#[rustfmt::skip]
const HELPERS: [&str; 56] = [
    "[", "awk", "bash", "black", "biome", "cat", "cd", "chmod", "coverage", "cp", "curl", "docker", "docker-compose", "done", "echo",
    "else", "eslint", "exit", "export", "false", "fi", "find", "for", "git", "grep", "if", "isort", "jest", "kill", "local", "make",
    "mkdir", "mv", "mypy", "playwright", "pre-commit", "prettier", "printf", "pyright", "pytest", "read", "return", "rm", "ruff",
    "sed", "set", "sleep", "source", "sphinx-build", "test", "true", "tsc", "$(MAKE)", "vitest", "pip", ".",
];

/// Tools that run another program after `run`, and install packages with other subcommands.
const RUNNERS: [&str; 4] = ["uv", "poetry", "pdm", "hatch"];
const PACKAGE_MANAGERS: [&str; 5] = ["npm", "pnpm", "yarn", "bun", "corepack"];
/// Subcommands of package managers that start nothing.
const INSTALLS: [&str; 12] = [
    "add", "audit", "ci", "dlx", "enable", "i", "install", "link", "outdated", "publish", "remove", "update",
];

/// Returns true unless all programs of `command` are helpers.
pub fn starts_something(command: &str) -> bool {
    command.split("&&").any(|part| {
        let words: Vec<&str> = part
            .trim_start_matches(['@', '-', ' '])
            .split_whitespace()
            .skip_while(|word| word.contains('=') || ["exec", "npx", "tini", "--"].contains(word))
            .collect();
        let words = match words.as_slice() {
            [runner, "run", rest @ ..] if RUNNERS.contains(runner) => rest,
            words => words,
        };
        let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        let installs = PACKAGE_MANAGERS.contains(&program)
            && words.get(1).is_none_or(|verb| INSTALLS.contains(verb) || HELPERS.contains(verb));
        program.starts_with(|first: char| first.is_ascii_alphanumeric() || "./$".contains(first))
            && !HELPERS.contains(&program)
            && !RUNNERS.contains(&program)
            && !installs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_helpers_are_left_out() {
        for command in [
            "uvicorn app:app",
            "DEBUG=1 python manage.py runserver",
            "@uv run app",
            "./start.sh",
            "npm run dev",
            "uv run app run",
        ] {
            assert!(starts_something(command), "{command}");
        }
        for command in [
            "@echo starting",
            "cd backend",
            "| - web // a folder",
            "",
            "if [ -e x ]",
            "npm install",
            "uv run pytest",
            "src/app/",
            "docker compose up",
        ] {
            assert!(!starts_something(command), "{command}");
        }
    }
}
