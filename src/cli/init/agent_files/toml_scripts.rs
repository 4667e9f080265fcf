//! devrun's commands in the TOML files of Codex and Conductor. Edits the text in place. Pure.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::edit::{ByHand, Edited, Malformed, newline};
use super::json_entries::{SCRIPTS, kept_script};

/// A key of a table whose value is a command.
struct Script {
    table: &'static str,
    key: &'static str,
    command: &'static str,
}

/// Prepares a worktree of Codex, in whichever folder the script runs.
pub(super) const CODEX_PREPARE: &str =
    "devrun -C \"${CODEX_WORKTREE_PATH:-.}\" hook prepare --packages || true";
/// Ends the stack of a worktree of Codex.
pub(super) const CODEX_DOWN: &str = "devrun -C \"${CODEX_WORKTREE_PATH:-.}\" down || true";

/// The scripts of a Codex environment.
const CODEX: [Script; 2] = [
    Script { table: "setup", key: "script", command: CODEX_PREPARE },
    Script { table: "cleanup", key: "script", command: CODEX_DOWN },
];

/// The scripts of Conductor's newer settings.
const CONDUCTOR: [Script; 3] = {
    let [(setup, prepare), (run, start), (archive, down)] = SCRIPTS;
    [
        Script { table: "scripts", key: setup, command: prepare },
        Script { table: "scripts", key: run, command: start },
        Script { table: "scripts", key: archive, command: down },
    ]
};

/// Returns the beginning of a Codex environment, which needs a name.
fn codex_head(name: &str) -> String {
    format!("version = 1\nname = {}\n", quoted(name))
}

/// Adds devrun's commands to a Codex environment. A blank text becomes an environment called `name`.
pub(super) fn add_to_codex(text: &str, name: &str) -> Result<Edited, Malformed> {
    if text.trim().is_empty() { add(&codex_head(name), &CODEX) } else { add(text, &CODEX) }
}

/// Removes devrun's commands from a Codex environment. The text is blank if nothing else was in it.
pub(super) fn remove_from_codex(text: &str, name: &str) -> Result<Edited, Malformed> {
    let mut edited = remove(text, &CODEX)?;
    if edited.text != text && edited.text == codex_head(name) {
        edited.text.clear();
    }
    Ok(edited)
}

/// Adds devrun's commands to Conductor's newer settings.
pub(super) fn add_to_conductor(text: &str) -> Result<Edited, Malformed> {
    add(text, &CONDUCTOR)
}

/// Removes devrun's commands from Conductor's newer settings.
pub(super) fn remove_from_conductor(text: &str) -> Result<Edited, Malformed> {
    remove(text, &CONDUCTOR)
}

fn add(text: &str, scripts: &[Script]) -> Result<Edited, Malformed> {
    let mut edited = Edited { text: text.into(), by_hand: Vec::new() };
    for script in scripts {
        let text = &edited.text;
        let (newline, line) = (newline(text), format!("{} = {}", script.key, quoted(script.command)));
        let changed = match find(text, script)? {
            Found::NoTable => format!("{text}{newline}[{}]{newline}{line}{newline}", script.table),
            Found::NoKey(Some(at)) => {
                let before = &text[..at];
                let gap = if before.ends_with('\n') { "" } else { newline };
                format!("{before}{gap}{line}{newline}{}", &text[at..])
            }
            Found::NoKey(None) => {
                let why = format!("`{}` is not written as a table `[{0}]`", script.table);
                edited.by_hand.push(ByHand { why, snippet: format!("{}.{line}", script.table) });
                continue;
            }
            Found::Script { value, .. } if value.get_ref().trim().is_empty() => {
                let mut text = text.clone();
                text.replace_range(value.span(), &quoted(script.command));
                text
            }
            Found::Script { value, .. } => {
                let key = format!("{}.{}", script.table, script.key);
                edited.by_hand.extend(kept_script(&key, value.get_ref(), script.command));
                continue;
            }
        };
        edited.text = changed;
    }
    Ok(edited)
}

fn remove(text: &str, scripts: &[Script]) -> Result<Edited, Malformed> {
    let mut text = text.to_string();
    // In reverse order, so that the text ends as it did before the first one was added.
    for script in scripts.iter().rev() {
        let Found::Script { value, key, is_alone } = find(&text, script)? else { continue };
        if value.get_ref() != script.command {
            continue;
        }
        let mut line = line_of(&text, key.start).start..line_of(&text, value.span().end).end;
        let above = line_of(&text, line.start.saturating_sub(1));
        if is_alone && is_header(&text[above.clone()], script.table) {
            // The line break before the table was added with it.
            let gap = ["\r\n", "\n"].into_iter().find(|gap| text[..above.start].ends_with(gap));
            line.start = above.start - gap.map_or(0, str::len);
        }
        text.replace_range(line, "");
    }
    Ok(Edited { text, by_hand: Vec::new() })
}

/// The state of a script in a text.
enum Found {
    NoTable,
    /// The table has no such key. The value is the place to write it, `None` for a table without a header.
    NoKey(Option<usize>),
    Script {
        value: Spanned<String>,
        key: Range<usize>,
        /// True if the table has no other key.
        is_alone: bool,
    },
}

fn find(text: &str, script: &Script) -> Result<Found, Malformed> {
    let parsed = DeTable::parse(text)
        .map_err(|error| Malformed::at(text, error.span().map_or(0, |span| span.start), error.message()))?;
    let Some(table) = parsed.get_ref().get(script.table) else { return Ok(Found::NoTable) };
    let DeValue::Table(inner) = table.get_ref() else {
        let what = format!("`{}` is not a table", script.table);
        return Err(Malformed::at(text, table.span().start, what));
    };
    let entry = inner.iter().find(|(key, _)| key.get_ref() == script.key);
    if let Some((key, value)) = entry {
        let DeValue::String(command) = value.get_ref() else {
            let what = format!("`{}.{}` is not a text", script.table, script.key);
            return Err(Malformed::at(text, value.span().start, what));
        };
        let value = Spanned::new(value.span(), command.clone().into_owned());
        return Ok(Found::Script { value, key: key.span(), is_alone: inner.len() == 1 });
    }
    let mut start = 0;
    let header = text.split_inclusive('\n').find_map(|line| {
        start += line.len();
        is_header(line, script.table).then_some(start)
    });
    let is_plain =
        |value: &&Spanned<DeValue<'_>>| !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
    let last = inner.values().filter(is_plain).map(|value| line_of(text, value.span().end).end).max();
    Ok(Found::NoKey(header.map(|header| last.map_or(header, |last| last.max(header)))))
}

fn is_header(line: &str, table: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).is_some_and(|name| name.trim() == table)
}

/// Returns the line of the byte `at`, with its line break.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1);
    start..end
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
