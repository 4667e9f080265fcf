//! Commands that a repository's own files run, and the values that they give to variables.

mod documents;
mod line;
mod make;
mod manifests;
mod procfile;
mod shell;
#[cfg(test)]
mod tests;

pub(super) use documents::document;
pub(super) use make::{justfile, makefile};
pub(super) use manifests::{package, pyproject};
pub(super) use procfile::procfile;
pub(super) use shell::shell;

/// More commands than this are not read from one file.
const MOST: usize = 300;
