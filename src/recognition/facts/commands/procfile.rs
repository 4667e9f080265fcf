//! Reads entries of Procfiles. Skips other lines; `config` reports them when the file is used.

use std::path::Path;

use super::line::add;
use crate::recognition::facts::Author;
use crate::recognition::facts::file::{FileFacts, spot};

/// Reads `name: command` lines.
pub(in crate::recognition::facts) fn procfile(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    for (row, line) in text.lines().enumerate() {
        let Some((name, command)) = line.split_once(':') else { continue };
        if crate::config::names::is_name(name.trim()) {
            let by = Author::Procfile(name.trim().into());
            add(&mut facts, command, &spot(file, row), &by, file.parent());
        }
    }
    facts
}
