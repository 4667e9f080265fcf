//! A configuration as a tree of values with positions, and methods that read typed values.
//!
//! Reports values of the wrong type and unknown keys. `keys` describes which keys exist.

use crate::config::error::ConfigError;
use crate::config::key_types::TableForm;
use crate::config::source::ConfigPosition;
use crate::text::similar_names::nearest;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place, which includes the key path.
    pub at: ConfigPosition,
    pub value: Value,
}

/// A value as written. Numbers and booleans stay text, because their meaning depends on the key.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// An absent value, `~` or `null`.
    Null,
    /// A scalar, without its quotes.
    Text(String),
    List(Vec<Node>),
    /// Keys and values in the order they were written; no key twice.
    Map(Vec<KeyValue>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub name: String,
    /// Place of the key; the key path includes it.
    pub at: ConfigPosition,
    pub value: Node,
}

impl Value {
    /// Returns the kind of value, in words for an error message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }
}

/// Prints the structure only: a text may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::List(items) => f.debug_list().entries(items).finish(),
            Value::Map(entries) => f.debug_list().entries(entries).finish(),
            other => f.write_str(other.kind()),
        }
    }
}

impl Node {
    /// Returns an error about this value.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::invalid(&self.at, message)
    }

    fn expected(&self, what: &str) -> ConfigError {
        self.error(format!("takes {what}, not {}", self.value.kind()))
    }

    /// Returns a single value as text.
    pub fn text(&self) -> Result<&str, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.expected("a single value")),
        }
    }

    /// Returns a single value without surrounding blanks; an empty one is an error.
    pub fn word(&self) -> Result<&str, ConfigError> {
        match self.text()?.trim() {
            "" => Err(self.error("must not be empty")),
            text => Ok(text),
        }
    }

    /// Returns a number within `range`.
    pub fn number(&self, range: std::ops::RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let text = self.word()?;
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            self.error(format!("takes a number from {} to {}, not `{text}`", range.start(), range.end()))
        })
    }

    /// Returns a boolean. Accepts the words of YAML 1.1 too.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        match self.word()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            other => Err(self.error(format!("takes true or false, not `{other}`"))),
        }
    }

    /// Returns the items of a list. A single value counts as a list of one, an absent value as an empty list.
    pub fn items(&self) -> Result<Vec<&Node>, ConfigError> {
        match &self.value {
            Value::Null => Ok(Vec::new()),
            Value::Text(_) => Ok(vec![self]),
            Value::List(items) => Ok(items.iter().collect()),
            Value::Map(_) => Err(self.expected("a list")),
        }
    }

    /// Returns the entries of a mapping. An absent value counts as an empty mapping.
    pub fn entries(&self) -> Result<&[KeyValue], ConfigError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::Map(entries) => Ok(entries),
            _ => Err(self.expected("keys and values")),
        }
    }

    /// Returns the mapping if `form` has all its keys; else an error that lists the known keys.
    pub fn table(&self, form: &TableForm) -> Result<Mapping<'_>, ConfigError> {
        let entries = self.entries()?;
        let known = form.names();
        let is_extension = |name: &str| form.has_extensions && name.starts_with("x-");
        let strange = |entry: &&KeyValue| !known.contains(&entry.name.as_str()) && !is_extension(&entry.name);
        match entries.iter().find(strange) {
            None => Ok(Mapping { node: self, entries }),
            Some(entry) => {
                let near = nearest(&entry.name, &known).map(|name| format!("; did you mean `{name}`?"));
                Err(ConfigError::invalid(
                    &entry.at,
                    format!("there is no such key here{}", near.unwrap_or_default()),
                )
                .with_fix(format!("known here: {}", known.join(", "))))
            }
        }
    }
}

/// A mapping with checked keys.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    /// The mapping itself, for errors about it as a whole.
    pub node: &'a Node,
    entries: &'a [KeyValue],
}

impl<'a> Mapping<'a> {
    /// Returns the value of `key`, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.name == key)?;
        (entry.value.value != Value::Null).then_some(&entry.value)
    }

    /// Returns true if `key` exists and its value is null.
    pub fn is_null(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == key && entry.value.value == Value::Null)
    }

    /// Returns the value of `key`; an error if it is absent or null. The place of a null is that of the key.
    pub fn need(&self, key: &str) -> Result<&'a Node, ConfigError> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        Err(match self.entries.iter().find(|entry| entry.name == key) {
            Some(entry) => ConfigError::invalid(&entry.at, "has no value")
                .with_fix(format!("complete this line: write the value after `{key}:`")),
            None => self.node.error(format!("needs `{key}`")),
        })
    }

    /// Applies `read` to the value of `key`, unless it is absent or null.
    pub fn map<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Node) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(key).map(read).transpose()
    }
}
