//! Which reader a file needs, by its name alone.

use std::path::Path;

use super::commands;
use super::file::FileFacts;
use super::{compose, dockerfile, envfiles, javascript, python, small};

/// The readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Python,
    Package,
    Pyproject,
    Make,
    Just,
    Procfile,
    Shell,
    Document,
    Compose,
    Dockerfile,
    Alembic,
    Prisma,
    Example,
    JavaScript,
}

/// Documents whose code blocks say how the repository is run.
const DOCUMENTS: &[&str] =
    &["readme", "claude", "agents", "contributing", "development", "getting_started", "getting-started"];

impl Kind {
    /// The reader of the file at `path`; `None` when no reader wants it.
    pub(super) fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_str()?;
        let lower = name.to_ascii_lowercase();
        let (stem, extension) = lower.rsplit_once('.').unwrap_or((lower.as_str(), ""));
        Some(match (lower.as_str(), extension) {
            ("package.json", _) => Kind::Package,
            ("pyproject.toml", _) => Kind::Pyproject,
            ("makefile" | "gnumakefile", _) | (_, "mk") => Kind::Make,
            ("justfile" | ".justfile", _) => Kind::Just,
            ("alembic.ini", _) => Kind::Alembic,
            (_, "py") => Kind::Python,
            (_, "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" | "astro") => {
                Kind::JavaScript
            }
            (_, "prisma") => Kind::Prisma,
            (_, "sh" | "bash") => Kind::Shell,
            (_, "md" | "mdx" | "markdown") if DOCUMENTS.contains(&stem) => Kind::Document,
            ("readme", _) => Kind::Document,
            _ if name == "Procfile" || name.starts_with("Procfile.") => Kind::Procfile,
            _ if compose::is_compose(&lower) => Kind::Compose,
            _ if is_dockerfile(&lower) => Kind::Dockerfile,
            _ if envfiles::is_example(&lower) => Kind::Example,
            _ => return None,
        })
    }

    /// The facts of a file of this kind.
    pub(super) fn read(self, path: &Path, text: &str) -> FileFacts {
        match self {
            Kind::Python => python::read(path, text),
            Kind::Package => commands::package(path, text),
            Kind::Pyproject => commands::pyproject(path, text),
            Kind::Make => commands::makefile(path, text),
            Kind::Just => commands::justfile(path, text),
            Kind::Procfile => commands::procfile(path, text),
            Kind::Shell => commands::shell(path, text),
            Kind::Document => commands::document(path, text),
            Kind::Compose => compose::compose(path, text),
            Kind::Dockerfile => dockerfile::dockerfile(path, text),
            Kind::Alembic => small::alembic(path, text),
            Kind::Prisma => small::prisma(path, text),
            Kind::Example => envfiles::example(path, text),
            Kind::JavaScript => javascript::read(path, text),
        }
    }
}

/// `Dockerfile`, `Dockerfile.dev`, `api.Dockerfile`, `Containerfile`.
fn is_dockerfile(name: &str) -> bool {
    ["dockerfile", "containerfile"].iter().any(|usual| {
        name == *usual
            || name.strip_prefix(usual).is_some_and(|rest| rest.starts_with('.'))
            || name.ends_with(&format!(".{usual}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_chosen_by_name() {
        for (name, kind) in [
            ("a/main.py", Some(Kind::Python)),
            ("web/next.config.mjs", Some(Kind::JavaScript)),
            ("web/App.vue", Some(Kind::JavaScript)),
            ("package.json", Some(Kind::Package)),
            ("Makefile", Some(Kind::Make)),
            ("Procfile.dev", Some(Kind::Procfile)),
            ("README.md", Some(Kind::Document)),
            ("docs/guide.md", None),
            ("docker-compose.dev.yml", Some(Kind::Compose)),
            ("api/Dockerfile.dev", Some(Kind::Dockerfile)),
            ("web.Dockerfile", Some(Kind::Dockerfile)),
            (".env.example", Some(Kind::Example)),
            (".env", None),
            ("alembic.ini", Some(Kind::Alembic)),
            ("prisma/schema.prisma", Some(Kind::Prisma)),
            ("logo.png", None),
        ] {
            assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
        }
    }
}
