//! A configuration text as a tree of positioned values, and the reading of typed values out of it.
//!
//! Knows how to say that a value is not what a key takes; which keys there are is `schema`'s to know.

use crate::config::error::ConfigError;
use crate::config::source::At;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it was written; the key path names it.
    pub at: At,
    /// What was written.
    pub value: Value,
}

/// What was written. Numbers and booleans stay the text they are: the key decides what a text means.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, without its quotes.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order they were written; no key twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Where the key stands; the path includes it.
    pub at: At,
    /// Its value.
    pub value: Node,
}

impl Value {
    /// What it is, in a person's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }
}

/// Shapes only: a text may be a secret.
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
    /// An error about this value.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::invalid(&self.at, message)
    }

    fn expected(&self, what: &str) -> ConfigError {
        self.error(format!("takes {what}, not {}", self.value.kind()))
    }

    /// A single value, as text.
    pub fn text(&self) -> Result<&str, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.expected("a single value")),
        }
    }

    /// A single value that is not empty.
    pub fn word(&self) -> Result<&str, ConfigError> {
        match self.text()?.trim() {
            "" => Err(self.error("must not be empty")),
            text => Ok(text),
        }
    }

    /// A number within `range`.
    pub fn number(&self, range: std::ops::RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let text = self.word()?;
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            self.error(format!("takes a number from {} to {}, not `{text}`", range.start(), range.end()))
        })
    }

    /// A boolean, in YAML 1.1's words too.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        match self.word()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            other => Err(self.error(format!("takes true or false, not `{other}`"))),
        }
    }

    /// The items of a list; a single value counts as a list of one, nothing as an empty list.
    pub fn items(&self) -> Result<Vec<&Node>, ConfigError> {
        match &self.value {
            Value::Null => Ok(Vec::new()),
            Value::Text(_) => Ok(vec![self]),
            Value::List(items) => Ok(items.iter().collect()),
            Value::Map(_) => Err(self.expected("a list")),
        }
    }

    /// The entries of a mapping; nothing counts as an empty one.
    pub fn entries(&self) -> Result<&[Entry], ConfigError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::Map(entries) => Ok(entries),
            _ => Err(self.expected("keys and values")),
        }
    }

    /// The mapping's entries when all its keys are among `known`; else an error that lists them.
    pub fn table(&self, known: &[&str]) -> Result<Table<'_>, ConfigError> {
        self.table_where(known, |_| false)
    }

    /// The same; keys that begin with `x-` are left to their readers, as in compose files.
    pub fn table_with_extensions(&self, known: &[&str]) -> Result<Table<'_>, ConfigError> {
        self.table_where(known, |name| name.starts_with("x-"))
    }

    fn table_where(&self, known: &[&str], other: impl Fn(&str) -> bool) -> Result<Table<'_>, ConfigError> {
        let entries = self.entries()?;
        let strange = |entry: &&Entry| !known.contains(&entry.name.as_str()) && !other(&entry.name);
        match entries.iter().find(strange) {
            None => Ok(Table { node: self, entries }),
            Some(entry) => {
                let near = nearest(&entry.name, known).map(|name| format!("; did you mean `{name}`?"));
                Err(ConfigError::invalid(
                    &entry.at,
                    format!("there is no such key here{}", near.unwrap_or_default()),
                )
                .with_fix(format!("known here: {}", known.join(", "))))
            }
        }
    }
}

/// A mapping whose keys were checked.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// The mapping itself, for errors about it as a whole.
    pub node: &'a Node,
    entries: &'a [Entry],
}

impl<'a> Table<'a> {
    /// The value of `key`, when it is there and not null.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.name == key)?;
        (entry.value.value != Value::Null).then_some(&entry.value)
    }

    /// The value of `key`; an error without it.
    pub fn need(&self, key: &str) -> Result<&'a Node, ConfigError> {
        self.get(key).ok_or_else(|| self.node.error(format!("needs `{key}`")))
    }

    /// `read` applied to the value of `key`, when it is there.
    pub fn map<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Node) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(key).map(read).transpose()
    }
}

/// The known name a person most likely meant: at most two letters away.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|candidate| (distance(name, candidate), *candidate)).min()?;
    (best.0 <= 2 && best.0 < name.len()).then_some(best.1)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = corner + usize::from(l != *r);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
