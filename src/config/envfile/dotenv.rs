//! The grammar of env files, as the tools that read the same file have it in common (dotenv, python-dotenv, foreman).
//!
//! `NAME=value`, perhaps after `export`. Unquoted values end before ` #`. In double quotes `\n`, `\r`, `\t`, `\"` and `\\` are
//! escapes; in single quotes and backticks only the escaped quote and `\\`. Quoted values may span lines. `${NAME}` and
//! `${NAME:-default}` are replaced except in single quotes; `\${` is a literal `${`. A bare `$NAME` is not replaced: half of
//! the tools do not, and passwords hold dollar signs. A line that is no assignment is ignored and told.

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

/// Reads `source`. `outer` is asked for `${NAME}` first, then `known`, which grows by what is read.
pub fn parse(
    source: &Arc<Source>,
    known: &mut BTreeMap<String, String>,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<Read, ConfigError> {
    let mut read = Read { vars: Vec::new(), warnings: Vec::new() };
    let mut rest = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let mut number = 1_u32;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or(rest);
        let taken = match assignment(line) {
            Line::Empty => line.len(),
            Line::Other => {
                read.warnings.push(format!("{}:{number} is ignored: it is no NAME=value", source.name));
                line.len()
            }
            Line::Assignment { name, value_at } => {
                let at = At { key: name.into(), ..At::line(source, number) };
                let (raw, expands, length) =
                    value(&rest[value_at..]).map_err(|message| ConfigError::invalid(&at, message))?;
                let value = if expands {
                    expand(&raw, &|variable| outer(variable).or_else(|| known.get(variable).cloned()))
                } else {
                    raw
                };
                if value.contains('\0') {
                    return Err(ConfigError::invalid(&at, "holds a NUL character"));
                }
                known.insert(name.into(), value.clone());
                read.vars.push((name.into(), value));
                value_at + length
            }
        };
        number += u32::try_from(rest[..taken].matches('\n').count()).unwrap_or(0) + 1;
        rest = rest[taken..].strip_prefix('\n').unwrap_or(&rest[taken..]);
    }
    Ok(read)
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

/// The value at the beginning of `text`, whether `${…}` in it counts, and how many bytes it takes without the newline.
fn value(text: &str) -> Result<(String, bool, usize), &'static str> {
    let line_end = text.find('\n').unwrap_or(text.len());
    let line = &text[..line_end];
    let blank = line.len() - line.trim_start().len();
    match line[blank..].chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => {
            let (value, inner) =
                quoted(&text[blank + 1..], quote).ok_or("opens a quote and never closes it")?;
            let after = blank + 1 + inner;
            let tail = text[after..].split('\n').next().unwrap_or("");
            if !(tail.trim().is_empty() || tail.trim_start().starts_with('#')) {
                return Err("has text after the closing quote");
            }
            Ok((value, quote != '\'', after + tail.len()))
        }
        _ => Ok((unquoted(line).to_string(), true, line_end)),
    }
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

/// Replaces `${NAME}` and `${NAME:-default}`; anything else that begins with a dollar sign stays.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
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
        let reference = inside.find('}').map(|end| (inside[..end].split_once(":-"), end));
        let (name, default, end) = match reference {
            Some((Some((name, default)), end)) => (name, default, end),
            Some((None, end)) => (&inside[..end], "", end),
            None => {
                result.push_str(&rest[start..]);
                return result;
            }
        };
        if is_variable_name(name) {
            match lookup(name).filter(|value| !value.is_empty()) {
                Some(value) => result.push_str(&value),
                None => result.push_str(default),
            }
        } else {
            result.push_str(&rest[start..=start + 2 + end]);
        }
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    result
}
