//! YAML text into positioned nodes. The only file that names the YAML crate.
//!
//! Knows nothing of devrun's keys. Limits what a text may cost before and while it is read, and never lets the crate
//! quote the text: its snippets show neighbouring lines, which may be secrets.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use crate::config::error::{ConfigError, SMALLEST};
use crate::config::node::{Entry, Node, Value};
use crate::config::source::{At, Source};

/// The largest file that is looked at.
pub const MAX_BYTES: usize = 256 << 10;

/// Reads one document whose top level is a mapping.
pub fn parse(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let top = At::file(source);
    if source.text().len() > MAX_BYTES {
        let message = format!("is larger than {} KiB, which no configuration needs", MAX_BYTES >> 10);
        return Err(ConfigError::invalid(&top, message));
    }
    if source.text().lines().all(|line| matches!(line.trim(), "" | "---") || line.trim().starts_with('#')) {
        return Err(ConfigError::invalid(&top, "is empty")
            .with_fix(format!("this is the smallest that works:\n\n{SMALLEST}")));
    }
    let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let raw: Spot =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| explain(source, &error))?;
    let node = settle(source, text, raw, String::new())?;
    match node.value {
        Value::Map(_) => Ok(node),
        other => {
            Err(ConfigError::invalid(&node.at, format!("must be keys and values, not {}", other.kind())))
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: 5_000,
            max_events: 20_000,
            max_depth: 16,
            max_aliases: 50,
            max_anchors: 20,
            max_total_scalar_bytes: 4 * MAX_BYTES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

type Spot = Spanned<Raw>;

/// What the crate hands over, before plain scalars are replaced by their own text.
enum Raw {
    Null,
    /// A number or boolean: what counts is how it was written (`1.10`, `no`).
    Plain,
    Text(String),
    List(Vec<Spot>),
    Map(Vec<(Spot, Spot)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn settle(source: &Arc<Source>, text: &str, spot: Spot, key: String) -> Result<Node, ConfigError> {
    let at = place(source, &spot.referenced, key);
    let value = match spot.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Plain => Value::Text(written(text, &spot.defined).ok_or_else(|| {
            ConfigError::invalid(&at, "cannot be read").with_fix("put the value in quotes")
        })?),
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| settle(source, text, item, format!("{}[{index}]", at.key)))
                .collect::<Result<_, _>>()?,
        ),
        Raw::Map(entries) => {
            let mut settled: Vec<Entry> = Vec::new();
            for (name, value) in entries {
                let name = settle(source, text, name, at.key.clone())?;
                let Value::Text(written) = name.value else {
                    let message = format!("a key must be text, not {}", name.value.kind());
                    return Err(ConfigError::invalid(&name.at, message));
                };
                let path = if at.key.is_empty() { written.clone() } else { format!("{}.{written}", at.key) };
                let mut value = settle(source, text, value, path.clone())?;
                let at = At { key: path, ..name.at };
                // An absent value has no place of its own.
                if matches!(value.value, Value::Null) {
                    value.at = at.clone();
                }
                if settled.iter().any(|entry| entry.name == written) {
                    return Err(duplicate(&at));
                }
                settled.push(Entry { name: written, at, value });
            }
            Value::Map(settled)
        }
    };
    Ok(Node { at, value })
}

/// A plain scalar as it stands in the text.
fn written(text: &str, location: &Location) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?).map(|scalar| scalar.trim().to_string())
}

fn place(source: &Arc<Source>, location: &Location, key: String) -> At {
    At {
        source: Arc::clone(source),
        line: u32::try_from(location.line()).unwrap_or(0),
        column: u32::try_from(location.column()).unwrap_or(0),
        key,
    }
}

fn duplicate(at: &At) -> ConfigError {
    ConfigError::invalid(at, "is written twice").with_fix("keep one of the two")
}

fn explain(source: &Arc<Source>, error: &serde_saphyr::Error) -> ConfigError {
    use serde_saphyr::Error as E;
    let mut at =
        error.location().map_or_else(|| At::file(source), |found| place(source, &found, String::new()));
    match error {
        E::DuplicateMappingKey { key, .. } => {
            at.key = path_by_indent(source.text(), at.line, at.column);
            match key {
                // In flow style the lines tell only what the mapping is in.
                Some(key) if at.key.rsplit('.').next() != Some(key) => {
                    ConfigError::invalid(&at, format!("`{key}` is written twice"))
                        .with_fix("keep one of the two")
                }
                _ => duplicate(&at),
            }
        }
        E::MultipleDocuments { .. } => ConfigError::invalid(&at, "holds more than one document")
            .with_fix("keep what stands before the second `---`"),
        E::Budget { .. } | E::AliasError { .. } if is_budget(error) => {
            ConfigError::invalid(&at, "is too large or too deeply nested, or repeats its anchors too often")
                .with_fix("a configuration needs far less; write the repeated parts out or leave them away")
        }
        other => {
            at.key = path_by_indent(source.text(), at.line, at.column);
            let message = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let first = message.lines().next().unwrap_or("cannot be read");
            // The place is told already.
            let first = first.split(" at line ").next().unwrap_or(first);
            ConfigError::invalid(&at, format!("is not valid YAML: {first}"))
        }
    }
}

fn is_budget(error: &serde_saphyr::Error) -> bool {
    match error {
        serde_saphyr::Error::Budget { .. } => true,
        serde_saphyr::Error::AliasError { error, .. } => is_budget(error),
        _ => false,
    }
}

/// The key path a place in block style belongs to, by indentation alone: for texts that are no YAML yet.
fn path_by_indent(text: &str, line: u32, column: u32) -> String {
    let Ok(count) = usize::try_from(line) else { return String::new() };
    let mut limit = usize::try_from(column).unwrap_or(0).max(1);
    let mut keys = Vec::new();
    let lines: Vec<&str> = text.lines().take(count).collect();
    for candidate in lines.into_iter().rev() {
        let trimmed = candidate.trim_start();
        let indent = candidate.len() - trimmed.len();
        let Some((key, _)) = trimmed.split_once(':') else { continue };
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.\"'".contains(c));
        if plain && indent < limit {
            keys.push(key.trim_matches(['"', '\'']));
            limit = indent;
        }
    }
    keys.reverse();
    keys.join(".")
}

#[cfg(test)]
mod tests;
