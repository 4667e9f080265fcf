//! Chooses the reader of a file by its name alone.

use std::path::Path;

use super::commands;
use super::file::FileFacts;
use super::{compose, database_tools, dockerfile, envfiles, javascript, python};

/// The kinds of files that are read, one for each reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
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

/// Names of documents with code blocks that show how to run the repository.
const DOCUMENTS: &[&str] =
    &["readme", "claude", "agents", "contributing", "development", "getting_started", "getting-started"];

impl FileKind {
    /// Returns the reader of the file at `path`; `None` if the file is not read.
    pub(super) fn of(path: &Path) -> Option<FileKind> {
        let name = path.file_name()?.to_str()?;
        let lower = name.to_ascii_lowercase();
        let (stem, extension) = lower.rsplit_once('.').unwrap_or((lower.as_str(), ""));
        Some(match (lower.as_str(), extension) {
            ("package.json", _) => FileKind::Package,
            ("pyproject.toml", _) => FileKind::Pyproject,
            ("makefile" | "gnumakefile", _) | (_, "mk") => FileKind::Make,
            ("justfile" | ".justfile", _) => FileKind::Just,
            ("alembic.ini", _) => FileKind::Alembic,
            (_, "py") => FileKind::Python,
            (_, "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" | "astro") => {
                FileKind::JavaScript
            }
            (_, "prisma") => FileKind::Prisma,
            (_, "sh" | "bash") => FileKind::Shell,
            (_, "md" | "mdx" | "markdown") if DOCUMENTS.contains(&stem) => FileKind::Document,
            ("readme", _) => FileKind::Document,
            _ if name == "Procfile" || name.starts_with("Procfile.") => FileKind::Procfile,
            _ if compose::is_compose(&lower) => FileKind::Compose,
            _ if is_dockerfile(&lower) => FileKind::Dockerfile,
            _ if envfiles::is_example(&lower) => FileKind::Example,
            _ => return None,
        })
    }

    /// Returns the facts of a file of this kind.
    pub(super) fn read(self, path: &Path, text: &str) -> FileFacts {
        match self {
            FileKind::Python => python::read(path, text),
            FileKind::Package => commands::package(path, text),
            FileKind::Pyproject => commands::pyproject(path, text),
            FileKind::Make => commands::makefile(path, text),
            FileKind::Just => commands::justfile(path, text),
            FileKind::Procfile => commands::procfile(path, text),
            FileKind::Shell => commands::shell(path, text),
            FileKind::Document => commands::document(path, text),
            FileKind::Compose => compose::compose(path, text),
            FileKind::Dockerfile => dockerfile::dockerfile(path, text),
            FileKind::Alembic => database_tools::alembic(path, text),
            FileKind::Prisma => database_tools::prisma(path, text),
            FileKind::Example => envfiles::example(path, text),
            FileKind::JavaScript => javascript::read(path, text),
        }
    }
}

/// Returns true for `Dockerfile`, `Dockerfile.dev`, `api.Dockerfile` and `Containerfile`.
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
            ("a/main.py", Some(FileKind::Python)),
            ("web/next.config.mjs", Some(FileKind::JavaScript)),
            ("web/App.vue", Some(FileKind::JavaScript)),
            ("package.json", Some(FileKind::Package)),
            ("Makefile", Some(FileKind::Make)),
            ("Procfile.dev", Some(FileKind::Procfile)),
            ("README.md", Some(FileKind::Document)),
            ("docs/guide.md", None),
            ("docker-compose.dev.yml", Some(FileKind::Compose)),
            ("api/Dockerfile.dev", Some(FileKind::Dockerfile)),
            ("web.Dockerfile", Some(FileKind::Dockerfile)),
            (".env.example", Some(FileKind::Example)),
            (".env", None),
            ("alembic.ini", Some(FileKind::Alembic)),
            ("prisma/schema.prisma", Some(FileKind::Prisma)),
            ("logo.png", None),
        ] {
            assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
        }
    }
}
