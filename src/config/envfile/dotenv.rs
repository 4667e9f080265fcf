//! Parses env files by the grammar that the tools for them share (dotenv, python-dotenv, foreman).
//!
//! `NAME=value`, optionally after `export`. Unquoted values end before ` #`. In double quotes `\n`, `\r`, `\t`, `\"`
//! and `\\` are escapes; in single quotes and backticks only the escaped quote and `\\`. Quoted values may span lines.
//! `${NAME}` and `${NAME:-default}` are replaced except in single quotes; `\${` is a literal `${`. A bare `$NAME` is
//! not replaced: half of the tools do not replace it, and passwords contain dollar signs. A line that is not an
//! assignment is ignored with a warning. A value with unmatched quotes is read as dotenv for Node reads it
//! (python-dotenv ignores it), with a warning.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::names::MAX_VALUE;
use crate::config::names::is_variable_name;
use crate::config::source::{ConfigPosition, Source};

/// The content of an env file.
#[derive(Debug)]
pub struct EnvFileContent {
    /// Variables in the order written.
    pub vars: Vec<(String, String)>,
    /// The line that sets each variable, including those that were left out.
    pub lines: BTreeMap<String, u32>,
    /// Variables that were left out, in the order written, with their values.
    pub left_out: Vec<(String, String)>,
    /// A warning for each ignored or odd line, without the line's text.
    pub warnings: Vec<String>,
}

/// Maximum length of all values that one run reads, in bytes.
const MAX_TOTAL: usize = 4 << 20;
/// Maximum number of warnings for one file, so that a file of another format does not flood the terminal.
const MAX_WARNINGS: usize = 20;

/// The variables read so far, and the size of their values in bytes.
#[derive(Clone, Debug, Default)]
pub struct KnownVariables {
    vars: BTreeMap<String, String>,
    bytes: usize,
}

/// Parses `source`. Looks up `${NAME}` in `outer` first, then in `known`, and adds the variables that it reads to
/// `known`.
pub fn parse(
    source: &Arc<Source>,
    known: &mut KnownVariables,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<EnvFileContent, ConfigError> {
    parse_without(source, known, outer, &|_, _| false)
}

/// Parses `source` like [`parse`]. Leaves out each variable whose name and value `is_foreign` accepts, and each one whose value
/// uses such a variable.
pub fn parse_without(
    source: &Arc<Source>,
    known: &mut KnownVariables,
    outer: &dyn Fn(&str) -> Option<String>,
    is_foreign: &dyn Fn(&str, &str) -> bool,
) -> Result<EnvFileContent, ConfigError> {
    let mut vars: Vec<(String, String)> = Vec::new();
    let mut lines = BTreeMap::new();
    let mut left_out: Vec<(String, String)> = Vec::new();
    let mut warnings = Warnings::default();
    let mut rest = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let mut number = 1_u32;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or(rest);
        let mut warn = |what: &str| warnings.add(|| format!("{}:{number} {what}", source.name));
        if line.contains('\u{fffd}') {
            warn("holds bytes that are not UTF-8; they are replaced by U+FFFD");
        }
        let taken = match assignment(line) {
            ParsedLine::Empty => line.len(),
            ParsedLine::Other => {
                warn("is ignored: it is no NAME=value");
                line.len()
            }
            ParsedLine::Assignment { name, value_at } => {
                let at = ConfigPosition { key: name.into(), ..ConfigPosition::line(source, number) };
                let RawValue { text, expands, taken, pairs } = value(&rest[value_at..]);
                if !pairs {
                    warn(&format!("{name}: its quotes do not pair up; it is read as dotenv does"));
                }
                let uses_foreign = Cell::new(false);
                let lookup = |variable: &str| {
                    let found = outer(variable);
                    if found.is_none() && left_out.iter().any(|(other, _)| other == variable) {
                        uses_foreign.set(true);
                        return None;
                    }
                    found.or_else(|| known.vars.get(variable).cloned())
                };
                let value = if expands { expand(&text, &lookup) } else { Some(text) };
                let value = value.filter(|value| known.bytes + value.len() <= MAX_TOTAL);
                let value = value.ok_or_else(|| {
                    ConfigError::invalid(&at, "becomes too long when `${…}` in it is replaced")
                        .with_fix("write the value itself")
                })?;
                let uses_foreign = uses_foreign.get();
                if value.contains('\0') {
                    warn(&format!("is ignored: {name} holds a NUL character"));
                } else if uses_foreign || is_foreign(name, &value) {
                    lines.insert(name.into(), number);
                    // An earlier line does not count: the last one does.
                    if vars.iter().any(|(other, _)| other == name) {
                        vars.retain(|(other, _)| other != name);
                        known.vars.remove(name);
                    }
                    left_out.retain(|(other, _)| other != name);
                    left_out.push((name.into(), value));
                } else {
                    known.bytes += value.len();
                    known.vars.insert(name.into(), value.clone());
                    lines.insert(name.into(), number);
                    left_out.retain(|(other, _)| other != name);
                    vars.push((name.into(), value));
                }
                value_at + taken
            }
        };
        number += u32::try_from(rest[..taken].matches('\n').count()).unwrap_or(0) + 1;
        rest = rest[taken..].strip_prefix('\n').unwrap_or(&rest[taken..]);
    }
    Ok(EnvFileContent { vars, lines, left_out, warnings: warnings.finish(&source.name) })
}

/// Returns each assignment in `text` with its bytes, which include the newline at its end. A value in quotes may span lines.
pub fn assignments(text: &str) -> Vec<(&str, Range<usize>)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let parsed = assignment(line);
        let taken = match parsed {
            ParsedLine::Assignment { value_at, .. } => value_at + value(&rest[value_at..]).taken,
            ParsedLine::Empty | ParsedLine::Other => line.len(),
        };
        let end = text.len().min(at + taken + 1);
        if let ParsedLine::Assignment { name, .. } = parsed {
            found.push((name, at..end));
        }
        at = end;
    }
    found
}

/// The first warnings of a file, and the number of all warnings.
#[derive(Default)]
struct Warnings {
    kept: Vec<String>,
    all: usize,
}

impl Warnings {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.all += 1;
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(text());
        }
    }

    fn finish(mut self, name: &str) -> Vec<String> {
        let more = self.all - self.kept.len();
        if more > 0 {
            self.kept.push(format!("{name}: {more} more lines are ignored or odd"));
        }
        self.kept
    }
}

enum ParsedLine<'a> {
    Empty,
    Other,
    /// `value_at` is the byte offset of the value in the line.
    Assignment {
        name: &'a str,
        value_at: usize,
    },
}

fn assignment(line: &str) -> ParsedLine<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return ParsedLine::Empty;
    }
    let Some(equals) = line.find('=') else { return ParsedLine::Other };
    let left = line[..equals].trim();
    let name = match left.strip_prefix("export") {
        Some(name) if name.starts_with(char::is_whitespace) => name.trim(),
        _ => left,
    };
    if is_variable_name(name) {
        ParsedLine::Assignment { name, value_at: equals + 1 }
    } else {
        ParsedLine::Other
    }
}

/// A value as written in the file.
struct RawValue {
    text: String,
    /// True when `${…}` in it is to be replaced.
    expands: bool,
    /// Length in bytes, quotes included, without the newline.
    taken: usize,
    /// False when its quotes do not match.
    pairs: bool,
}

/// Returns the value at the start of `text`.
fn value(text: &str) -> RawValue {
    let line_end = text.find('\n').unwrap_or(text.len());
    let line = &text[..line_end];
    let blank = line.len() - line.trim_start().len();
    let Some(quote @ ('"' | '\'' | '`')) = line[blank..].chars().next() else {
        return RawValue { text: unquoted(line).to_string(), expands: true, taken: line_end, pairs: true };
    };
    if let Some((value, inner)) = quoted(&text[blank + 1..], quote) {
        let after = blank + 1 + inner;
        let tail = text[after..].split('\n').next().unwrap_or("");
        if tail.trim().is_empty() || tail.trim_start().starts_with('#') {
            return RawValue { text: value, expands: quote != '\'', taken: after + tail.len(), pairs: true };
        }
    }
    RawValue { text: unpaired(line, quote), expands: quote != '\'', taken: line_end, pairs: false }
}

/// Returns the value that dotenv 18 reads from a line with unmatched quotes: the text up to the first `#`, without the
/// first and last character if both are the same quote.
fn unpaired(line: &str, quote: char) -> String {
    let text = line.split('#').next().unwrap_or(line).trim();
    let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)).unwrap_or(text);
    if quote == '"' { inner.replace("\\n", "\n").replace("\\r", "\r") } else { inner.into() }
}

fn unquoted(line: &str) -> &str {
    let mut previous_blank = false;
    for (index, c) in line.char_indices() {
        if c == '#' && previous_blank {
            return line[..index].trim();
        }
        previous_blank = c.is_whitespace();
    }
    line.trim()
}

/// Returns the value up to the closing `quote`, and the length in bytes up to and including the quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        if c == quote {
            return Some((value, index + c.len_utf8()));
        }
        // A CRLF of the file becomes LF; an escaped `\r` stays.
        if c == '\r' && text[index + 1..].starts_with('\n') {
            continue;
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        match escaped {
            '\\' => value.push('\\'),
            other if other == quote => value.push(quote),
            'n' if quote == '"' => value.push('\n'),
            'r' if quote == '"' => value.push('\r'),
            't' if quote == '"' => value.push('\t'),
            other => value.extend(['\\', other]),
        }
    }
    None
}

/// Replaces `${NAME}` and `${NAME:-default}`; any other text with a dollar sign stays. Returns `None` if replacing
/// makes the result longer than [`MAX_VALUE`] and longer than `text`.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let most = MAX_VALUE.max(text.len());
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let inside = &rest[start + 2..];
        if let Some(unescaped) = before.strip_suffix('\\') {
            result.push_str(unescaped);
            result.push_str("${");
            rest = inside;
            continue;
        }
        result.push_str(before);
        let Some(end) = inside.find('}') else {
            result.push_str(&rest[start..]);
            return Some(result);
        };
        let (name, default) = inside[..end].split_once(":-").unwrap_or((&inside[..end], ""));
        if is_variable_name(name) {
            match lookup(name).filter(|value| !value.is_empty()) {
                Some(value) => result.push_str(&value),
                None => result.push_str(default),
            }
        } else {
            result.push_str(&rest[start..=start + 2 + end]);
        }
        if result.len() > most {
            return None;
        }
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    (result.len() <= most).then_some(result)
}
