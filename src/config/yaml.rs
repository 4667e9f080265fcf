//! Parses YAML text into nodes with positions. The only file that uses the YAML crate.
//!
//! Knows none of devrun's keys. Limits the cost of a text before and while it is parsed. Never lets the crate quote the
//! text: its snippets show neighbouring lines, which may be secrets.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use crate::config::error::{ConfigError, SMALLEST};
use crate::config::source::{ConfigPosition, Source};
use crate::config::value_tree::{KeyValue, Node, Value};

/// Maximum size of a file, in bytes.
pub const MAX_BYTES: usize = 256 << 10;

/// Parses one document; its top level must be a mapping.
pub fn parse(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let top = ConfigPosition::file(source);
    if source.text().len() > MAX_BYTES {
        let message = format!("is larger than {} KiB, the limit", MAX_BYTES >> 10);
        return Err(ConfigError::invalid(&top, message));
    }
    if source.text().lines().all(|line| matches!(line.trim(), "" | "---") || line.trim().starts_with('#')) {
        return Err(ConfigError::invalid(&top, "is empty")
            .with_fix(format!("this is the smallest that works:\n\n{SMALLEST}")));
    }
    let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let raw: SpannedNode =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| explain(source, &error))?;
    let node = convert(source, text, raw, String::new())?;
    match node.value {
        Value::Map(_) => Ok(node),
        other => {
            Err(ConfigError::invalid(&node.at, format!("must be keys and values, not {}", other.kind())))
        }
    }
}

/// Returns the document as editors read it: numbers and booleans have their types. `None` if it is not valid.
#[cfg(test)]
pub fn json(text: &str) -> Option<serde_json::Value> {
    // `yes` and `No` are text for editors, which read YAML 1.2.
    let mut options = options();
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(text, options).ok()
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

type SpannedNode = Spanned<RawNode>;

/// A value as the crate returns it, before plain scalars are replaced by their text in the file.
enum RawNode {
    Null,
    /// A number or boolean. Its text in the file counts, not its value (`1.10`, `no`).
    Plain,
    Text(String),
    List(Vec<SpannedNode>),
    Map(Vec<(SpannedNode, SpannedNode)>),
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawNode, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<RawNode, E> {
        Ok(RawNode::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawNode, E> {
        Ok(RawNode::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawNode, E> {
        Ok(RawNode::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawNode::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(RawNode::Map(entries))
    }
}

fn convert(source: &Arc<Source>, text: &str, spot: SpannedNode, key: String) -> Result<Node, ConfigError> {
    let at = position(source, &spot.referenced, key);
    let value = match spot.value {
        RawNode::Null => Value::Null,
        RawNode::Text(text) => Value::Text(text),
        RawNode::Plain => Value::Text(written(text, &spot.defined).ok_or_else(|| {
            ConfigError::invalid(&at, "cannot be read").with_fix("put the value in quotes")
        })?),
        RawNode::List(items) => Value::List(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| convert(source, text, item, format!("{}[{index}]", at.key)))
                .collect::<Result<_, _>>()?,
        ),
        RawNode::Map(entries) => {
            let mut settled: Vec<KeyValue> = Vec::new();
            for (name, value) in entries {
                let name = convert(source, text, name, at.key.clone())?;
                let Value::Text(written) = name.value else {
                    let message = format!("a key must be text, not {}", name.value.kind());
                    return Err(ConfigError::invalid(&name.at, message));
                };
                let path = if at.key.is_empty() { written.clone() } else { format!("{}.{written}", at.key) };
                let mut value = convert(source, text, value, path.clone())?;
                let at = ConfigPosition { key: path, ..name.at };
                // The crate gives an absent value no useful position.
                if matches!(value.value, Value::Null) {
                    value.at = at.clone();
                }
                if settled.iter().any(|entry| entry.name == written) {
                    return Err(duplicate(&at));
                }
                settled.push(KeyValue { name: written, at, value });
            }
            Value::Map(settled)
        }
    };
    Ok(Node { at, value })
}

/// Returns a plain scalar as it is written in the text.
fn written(text: &str, location: &Location) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?).map(|scalar| scalar.trim().to_string())
}

fn position(source: &Arc<Source>, location: &Location, key: String) -> ConfigPosition {
    ConfigPosition {
        source: Arc::clone(source),
        line: u32::try_from(location.line()).unwrap_or(0),
        column: u32::try_from(location.column()).unwrap_or(0),
        key,
    }
}

fn duplicate(at: &ConfigPosition) -> ConfigError {
    ConfigError::invalid(at, "is written twice").with_fix("keep one of the two")
}

fn explain(source: &Arc<Source>, error: &serde_saphyr::Error) -> ConfigError {
    use serde_saphyr::Error as E;
    let mut at = error
        .location()
        .map_or_else(|| ConfigPosition::file(source), |found| position(source, &found, String::new()));
    match error {
        E::DuplicateMappingKey { key, .. } => {
            at.key = path_by_indent(source.text(), at.line, at.column);
            match key {
                // In flow style, the indentation leads only to the mapping, not to the key.
                Some(key) if at.key.rsplit('.').next() != Some(key) => {
                    ConfigError::invalid(&at, format!("`{key}` is written twice"))
                        .with_fix("keep one of the two")
                }
                _ => duplicate(&at),
            }
        }
        E::MultipleDocuments { .. } => {
            ConfigError::invalid(&at, "holds more than one document").with_fix("keep only one document")
        }
        E::Budget { .. } | E::AliasError { .. } if is_budget(error) => {
            ConfigError::invalid(&at, "is too large or too deeply nested, or repeats its anchors too often")
                .with_fix(
                    "a configuration needs far less; remove the anchors, or write the repeated parts out",
                )
        }
        other => {
            at.key = path_by_indent(source.text(), at.line, at.column);
            let message = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let first = message.lines().next().unwrap_or("cannot be read");
            // The error shows the place already.
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

/// Returns the key path of a place in block style, computed from indentation alone, because the text is not valid YAML.
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
