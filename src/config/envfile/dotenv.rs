//! The grammar of env files, as the tools that read the same file have it in common (dotenv, python-dotenv, foreman).
//!
//! `NAME=value`, perhaps after `export`. Unquoted values end before ` #`. In double quotes `\n`, `\r`, `\t`, `\"` and `\\` are
//! escapes; in single quotes and backticks only the escaped quote and `\\`. Quoted values may span lines. `${NAME}` and
//! `${NAME:-default}` are replaced except in single quotes; `\${` is a literal `${`. A bare `$NAME` is not replaced: half of
//! the tools do not, and passwords hold dollar signs. A line that is no assignment is ignored with a warning. A value whose
//! quotes do not pair up is read as dotenv for Node reads it (python-dotenv ignores it), with a warning.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::source::{At, Source};
use crate::config::values::is_variable_name;

/// What an env file says.
#[derive(Debug)]
pub struct Read {
    /// Variables in the order written.
    pub vars: Vec<(String, String)>,
    /// A remark for each ignored line; never its text.
    pub warnings: Vec<String>,
}

/// How long a value may become when `${…}` in it is replaced: Linux passes no longer one to a program (`MAX_ARG_STRLEN`).
const MAX_VALUE: usize = 128 << 10;
/// How much all values that one run reads may become together.
const MAX_TOTAL: usize = 4 << 20;
/// How many warnings one file gives, so that a file of another kind does not flood the terminal.
const MAX_WARNINGS: usize = 20;

/// Variables that were read before, and how many bytes their values have.
#[derive(Debug, Default)]
pub struct Known {
    vars: BTreeMap<String, String>,
    bytes: usize,
}

/// Reads `source`. `outer` is asked for `${NAME}` first, then `known`, which grows by what is read.
pub fn parse(
    source: &Arc<Source>,
    known: &mut Known,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<Read, ConfigError> {
    let mut vars = Vec::new();
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
            Line::Empty => line.len(),
            Line::Other => {
                warn("is ignored: it is no NAME=value");
                line.len()
            }
            Line::Assignment { name, value_at } => {
                let at = At { key: name.into(), ..At::line(source, number) };
                let Raw { text, expands, taken, pairs } = value(&rest[value_at..]);
                if !pairs {
                    warn(&format!("{name}: its quotes do not pair up; it is read as dotenv does"));
                }
                let lookup = |variable: &str| outer(variable).or_else(|| known.vars.get(variable).cloned());
                let value = if expands { expand(&text, &lookup) } else { Some(text) };
                let value = value.filter(|value| known.bytes + value.len() <= MAX_TOTAL);
                let value = value.ok_or_else(|| {
                    ConfigError::invalid(&at, "becomes too long when `${…}` in it is replaced")
                        .with_fix("write the value itself")
                })?;
                if value.contains('\0') {
                    warn(&format!("is ignored: {name} holds a NUL character"));
                } else {
                    known.bytes += value.len();
                    known.vars.insert(name.into(), value.clone());
                    vars.push((name.into(), value));
                }
                value_at + taken
            }
        };
        number += u32::try_from(rest[..taken].matches('\n').count()).unwrap_or(0) + 1;
        rest = rest[taken..].strip_prefix('\n').unwrap_or(&rest[taken..]);
    }
    Ok(Read { vars, warnings: warnings.finish(&source.name) })
}

/// The first warnings of a file, and how many there were.
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

enum Line<'a> {
    Empty,
    Other,
    /// The value begins at this byte of the line.
    Assignment {
        name: &'a str,
        value_at: usize,
    },
}

fn assignment(line: &str) -> Line<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Line::Empty;
    }
    let Some(equals) = line.find('=') else { return Line::Other };
    let left = line[..equals].trim();
    let name = match left.strip_prefix("export") {
        Some(name) if name.starts_with(char::is_whitespace) => name.trim(),
        _ => left,
    };
    if is_variable_name(name) { Line::Assignment { name, value_at: equals + 1 } } else { Line::Other }
}

/// A value as it is written.
struct Raw {
    text: String,
    /// `${…}` in it counts.
    expands: bool,
    /// How many bytes it takes, without the newline.
    taken: usize,
    /// False when its quotes do not pair up.
    pairs: bool,
}

/// Returns the value at the beginning of `text`.
fn value(text: &str) -> Raw {
    let line_end = text.find('\n').unwrap_or(text.len());
    let line = &text[..line_end];
    let blank = line.len() - line.trim_start().len();
    let Some(quote @ ('"' | '\'' | '`')) = line[blank..].chars().next() else {
        return Raw { text: unquoted(line).to_string(), expands: true, taken: line_end, pairs: true };
    };
    if let Some((value, inner)) = quoted(&text[blank + 1..], quote) {
        let after = blank + 1 + inner;
        let tail = text[after..].split('\n').next().unwrap_or("");
        if tail.trim().is_empty() || tail.trim_start().starts_with('#') {
            return Raw { text: value, expands: quote != '\'', taken: after + tail.len(), pairs: true };
        }
    }
    Raw { text: unpaired(line, quote), expands: quote != '\'', taken: line_end, pairs: false }
}

/// Returns what dotenv 18 makes of a line whose quotes do not pair up: the text up to the first `#`, without the
/// first and last character where both are the same quote.
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

/// The value up to the closing `quote`, and the bytes up to and with it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        if c == quote {
            return Some((value, index + c.len_utf8()));
        }
        // The line ends of the file are no part of the value; an escaped one is.
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

/// Replaces `${NAME}` and `${NAME:-default}`; anything else that begins with a dollar sign stays. Returns `None` when the
/// result would be longer than [`MAX_VALUE`] because of what was put in.
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
