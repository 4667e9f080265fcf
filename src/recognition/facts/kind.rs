//! Which reader a file needs, by its name alone.

use std::path::Path;

use super::commands;
use super::file::FileFacts;
use super::python;

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
            (_, "py") => Kind::Python,
            (_, "sh" | "bash") => Kind::Shell,
            (_, "md" | "mdx" | "markdown") if DOCUMENTS.contains(&stem) => Kind::Document,
            ("readme", _) => Kind::Document,
            _ if name == "Procfile" || name.starts_with("Procfile.") => Kind::Procfile,
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
        }
    }
}
