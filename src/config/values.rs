//! Reads typed values from nodes: durations, signals, commands, folders, names.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::names;
use crate::config::source::ConfigPosition;
use crate::config::value_tree::{KeyValue, Node, Value};
use crate::plan::{Need, RunCommand};
use crate::text::duration as durations;

/// Reads a duration: `250ms`, `5s`, `2m`, `1h`, `7d`.
pub fn duration(node: &Node) -> Result<Duration, ConfigError> {
    let text = node.word()?;
    durations::parse(text)
        .ok_or_else(|| node.error(format!("takes a duration such as 250ms, 5s or 2m, not `{text}`")))
}

/// Reads a duration that is not zero.
pub fn positive_duration(node: &Node) -> Result<Duration, ConfigError> {
    match duration(node)? {
        Duration::ZERO => Err(node.error("must be longer than 0")),
        other => Ok(other),
    }
}

/// Reads a file size in bytes, at least 1 MiB: `10MiB`, `1GiB`.
pub fn size(node: &Node) -> Result<u64, ConfigError> {
    const UNITS: [(&str, u32); 2] = [("MiB", 20), ("GiB", 30)];
    let text = node.word()?;
    let read = |(unit, shift): (&str, u32)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(1 << shift).filter(|size| *size > 0)
    };
    let size = UNITS.into_iter().find_map(read);
    size.ok_or_else(|| node.error(format!("takes a size such as 10MiB or 1GiB, not `{text}`")))
}

/// Reads the size of a Neon compute, in compute units: `1`, or `0.25-2` for a range. Neon's minimum is 0.25.
pub fn compute_units(node: &Node) -> Result<(f64, f64), ConfigError> {
    let text = node.word()?;
    parse_compute_units(text).ok_or_else(|| {
        node.error(format!("takes compute units from 0.25 on, such as 1 or 0.25-2, not `{text}`"))
    })
}

fn parse_compute_units(text: &str) -> Option<(f64, f64)> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse().ok().filter(|number: &f64| plain && number.is_finite() && *number >= 0.25)
    };
    let (least, most) = (number(least)?, number(most)?);
    (least <= most).then_some((least, most))
}

/// Reads the name of a signal, with or without `SIG`, and returns its number.
pub fn signal(node: &Node) -> Result<i32, ConfigError> {
    let text = node.word()?;
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&name).map(|signal| signal as i32).map_err(|_| {
        node.error(format!("takes the name of a signal, not `{text}`"))
            .with_fix("such as INT, TERM, QUIT or HUP")
    })
}

/// Reads a command: text for the shell, or a list that is executed without a shell.
pub fn run(node: &Node) -> Result<RunCommand, ConfigError> {
    match &node.value {
        Value::List(items) if items.is_empty() => Err(node.error("must not be empty")),
        Value::List(items) => {
            let argv: Vec<String> =
                items.iter().map(|item| item.text().map(Into::into)).collect::<Result<_, _>>()?;
            if argv[0].is_empty() {
                return Err(node.error("must begin with a program"));
            }
            no_nul(node, &argv.concat())?;
            Ok(RunCommand::Argv(argv))
        }
        _ => {
            let text = node.word()?;
            no_nul(node, text)?;
            Ok(RunCommand::Shell(text.into()))
        }
    }
}

fn no_nul(node: &Node, text: &str) -> Result<(), ConfigError> {
    if text.contains('\0') { Err(node.error("must not contain a NUL character")) } else { Ok(()) }
}

/// Reads a path inside the worktree, relative to its top. Removes `.` and `..`; a path that leads outside is an error.
pub fn inner_path(node: &Node) -> Result<PathBuf, ConfigError> {
    let text = node.word()?;
    no_nul(node, text)?;
    let mut inner = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            Component::ParentDir if inner.pop() => {}
            Component::ParentDir => {
                return Err(node
                    .error(format!("`{text}` leads out of the worktree"))
                    .with_fix("every worktree has its own copy: name a path inside it"));
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(node
                    .error(format!("`{text}` is absolute"))
                    .with_fix("name a path relative to the top of the worktree"));
            }
        }
    }
    Ok(if inner.as_os_str().is_empty() { PathBuf::from(".") } else { inner })
}

/// Reads a list of files of the worktree.
pub fn env_files(node: &Node) -> Result<Vec<PathBuf>, ConfigError> {
    node.items()?.into_iter().map(inner_path).collect()
}

/// Reads a mapping from variables to templates.
pub fn environment(node: &Node) -> Result<Vec<(String, Template)>, ConfigError> {
    node.entries()?
        .iter()
        .map(|entry| {
            if let Some((name, _)) = entry.name.split_once('=') {
                // `NAME=value`, as in an env file: the value may be a secret, so the error names only the key.
                let at = ConfigPosition { key: format!("{}.{name}", node.at.key), ..entry.at.clone() };
                return Err(ConfigError::invalid(
                    &at,
                    "contains a `=`, which the name of an environment variable cannot",
                )
                .with_fix(format!("write `{name}: value`")));
            }
            if !names::is_variable_name(&entry.name) {
                return Err(ConfigError::invalid(
                    &entry.at,
                    "is not a valid name for an environment variable",
                ));
            }
            let template = template(&entry.value)?;
            Ok((entry.name.clone(), template))
        })
        .collect()
}

/// Reads a value that may contain `${…}`; an absent value is the empty text.
pub fn template(node: &Node) -> Result<Template, ConfigError> {
    let text = match &node.value {
        Value::Null => "",
        _ => node.text()?,
    };
    no_nul(node, text)?;
    Ok(Template::new(text, &node.at))
}

/// Reads a value that may contain `${…}` and is not empty.
pub fn filled_template(node: &Node) -> Result<Template, ConfigError> {
    node.word()?;
    template(node)
}

/// Returns the entries of a mapping from names of processes or ports; an invalid name is an error.
pub fn named(node: &Node) -> Result<&[KeyValue], ConfigError> {
    let entries = node.entries()?;
    match entries.iter().find(|entry| !names::is_name(&entry.name)) {
        None => Ok(entries),
        Some(entry) => Err(ConfigError::invalid(
            &entry.at,
            "is not a valid name: use at most 40 letters, digits, `_` and `-`",
        )),
    }
}

/// Reads glob patterns relative to `directory`.
pub fn patterns(node: &Node) -> Result<Vec<String>, ConfigError> {
    let pattern = |item: &Node| {
        let pattern = item.word()?;
        glob::Pattern::new(pattern)
            .map_err(|error| item.error(format!("is not a valid glob: {}", error.msg)))?;
        if pattern.starts_with('/') {
            return Err(item.error("must be relative to `directory`"));
        }
        Ok(pattern.to_string())
    };
    node.items()?.into_iter().map(pattern).collect()
}

/// Reads a list of preparations.
pub fn needs(node: &Node) -> Result<BTreeSet<Need>, ConfigError> {
    node.items()?
        .into_iter()
        .map(|item| {
            let word = item.word()?;
            Need::ALL.into_iter().find(|need| need.name() == word).ok_or_else(|| {
                item.error(format!("there is no preparation `{word}`"))
                    .with_fix("known: node, python, database, setup")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_units_are_a_number_or_a_range() {
        for (text, expected) in [
            ("1", Some((1.0, 1.0))),
            ("0.25-2", Some((0.25, 2.0))),
            ("2-1", None),
            ("0", None),
            ("-1", None),
            ("1e3", None),
            ("nan", None),
            ("1-", None),
            ("small", None),
        ] {
            assert_eq!(parse_compute_units(text), expected, "{text}");
        }
    }
}
