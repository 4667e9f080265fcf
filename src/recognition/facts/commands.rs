//! Commands in a repository's files, and the values that they give to variables.

mod documents;
mod line;
mod make;
mod manifests;
mod procfile;
mod shell;
#[cfg(test)]
mod tests;

pub(super) use documents::{document, tenants};
pub(super) use line::below;
pub(super) use make::{justfile, makefile};
pub(super) use manifests::{package, pyproject};
pub(super) use procfile::procfile;
pub(super) use shell::{logical_lines, shell};

/// Maximum number of commands to read from one file.
const MOST: usize = 300;
