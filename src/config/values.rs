//! Typed values out of nodes: durations, signals, commands, folders, names.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::node::{Node, Value};
use crate::plan::Run;

/// A duration: `250ms`, `5s`, `2m`, `1h`, `7d`.
pub fn duration(node: &Node) -> Result<Duration, ConfigError> {
    let text = node.word()?;
    parse_duration(text)
        .ok_or_else(|| node.error(format!("takes a duration such as 250ms, 5s or 2m, not `{text}`")))
}

/// A duration that is not zero.
pub fn positive_duration(node: &Node) -> Result<Duration, ConfigError> {
    match duration(node)? {
        Duration::ZERO => Err(node.error("must be longer than nothing")),
        other => Ok(other),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// A size of a file, at least 1 MiB: `10MiB`, `1GiB`.
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

/// The size of a compute at Neon: `1`, or `0.25-2` when it may grow. Neon's least is 0.25.
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

/// A signal by name, with or without `SIG`: its number.
pub fn signal(node: &Node) -> Result<i32, ConfigError> {
    let text = node.word()?;
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&name).map(|signal| signal as i32).map_err(|_| {
        node.error(format!("takes the name of a signal, not `{text}`"))
            .with_fix("such as INT, TERM, QUIT or HUP")
    })
}

/// What to execute: text for the shell, or a list that is executed as it stands.
pub fn run(node: &Node) -> Result<Run, ConfigError> {
    match &node.value {
        Value::List(items) if items.is_empty() => Err(node.error("must not be empty")),
        Value::List(items) => {
            let argv: Vec<String> =
                items.iter().map(|item| item.text().map(Into::into)).collect::<Result<_, _>>()?;
            if argv[0].is_empty() {
                return Err(node.error("must begin with a program"));
            }
            no_nul(node, &argv.concat())?;
            Ok(Run::Argv(argv))
        }
        _ => {
            let text = node.word()?;
            no_nul(node, text)?;
            Ok(Run::Shell(text.into()))
        }
    }
}

fn no_nul(node: &Node, text: &str) -> Result<(), ConfigError> {
    if text.contains('\0') { Err(node.error("must not hold a NUL character")) } else { Ok(()) }
}

/// A path inside the worktree, relative to its top, without `..` and needless parts.
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

/// A value that may hold `${…}`; nothing is the empty text.
pub fn template(node: &Node) -> Result<Template, ConfigError> {
    let text = match &node.value {
        Value::Null => "",
        _ => node.text()?,
    };
    no_nul(node, text)?;
    Ok(Template::new(text, &node.at))
}

/// A value that may hold `${…}` and is not empty.
pub fn filled_template(node: &Node) -> Result<Template, ConfigError> {
    node.word()?;
    template(node)
}

/// True for a name that shells and every language accept for a variable.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// True for a name that processes and ports may have.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// `name` as the stem of a variable's name: upper case, anything strange a `_`.
pub fn variable_stem(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let cases = [
            ("250ms", Some(250)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("7d", Some(604_800_000)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

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

    #[test]
    fn stems_are_upper_case() {
        assert_eq!(variable_stem("api-v2"), "API_V2");
        assert_eq!(variable_stem("-foo_bar"), "_FOO_BAR");
    }
}
