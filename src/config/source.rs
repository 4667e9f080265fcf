//! The place where a value was written: file, line, column and key path, and the line to show in an error.
//!
//! Masks secrets in that line.

use std::fmt;
use std::sync::Arc;

use super::excerpt;
use crate::plan::FileLine;

/// Maximum length of an excerpt, in characters.
const LONGEST: usize = 200;

/// A file's text, kept to show the line that an error is about.
#[derive(PartialEq, Eq)]
pub struct Source {
    /// Name shown to the user: `devrun.yaml`, `Procfile`, `backend/.env`.
    pub name: String,
    text: String,
}

impl Source {
    /// Keeps `text` under `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source { name: name.into(), text: text.into() })
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns line `number`, counted from 1; `None` if it is blank.
    fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        Some(self.text.lines().nth(index)?.trim_end()).filter(|line| !line.trim().is_empty())
    }
}

/// Never prints the text: it may contain secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.name)
    }
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPosition {
    /// The file.
    pub source: Arc<Source>,
    /// Line, counted from 1; 0 for a file as a whole.
    pub line: u32,
    /// Column in characters, counted from 1; 0 if unknown.
    pub column: u32,
    /// Key path, such as `processes.backend.port`; empty at the top or if unknown.
    pub key: String,
}

impl ConfigPosition {
    /// Returns the place of a whole file.
    pub fn file(source: &Arc<Source>) -> ConfigPosition {
        ConfigPosition { source: Arc::clone(source), line: 0, column: 0, key: String::new() }
    }

    /// Returns the place of a line.
    pub fn line(source: &Arc<Source>, line: u32) -> ConfigPosition {
        ConfigPosition { line, column: 1, ..ConfigPosition::file(source) }
    }

    /// Returns the file and line.
    pub fn spot(&self) -> FileLine {
        FileLine { file: self.source.name.as_str().into(), line: self.line }
    }

    /// Returns the line, with every value masked that may be a secret.
    pub fn shown_line(&self) -> Option<String> {
        let line = self.source.line(self.line)?;
        let end = line.char_indices().nth(LONGEST).map_or(line.len(), |(at, _)| at);
        let shown = excerpt::masked(&line[..end], excerpt::ExcerptLine::of(&self.key));
        Some(if end < line.len() { shown + " …" } else { shown })
    }
}

impl fmt::Display for ConfigPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_printed_as_compilers_do() {
        let source = Source::new("devrun.yaml", "a: 1\n");
        let at = ConfigPosition { key: "ports.web".into(), column: 4, ..ConfigPosition::line(&source, 1) };
        assert_eq!(at.to_string(), "devrun.yaml:1:4: ports.web");
        assert_eq!(ConfigPosition::file(&source).to_string(), "devrun.yaml");
    }
}
