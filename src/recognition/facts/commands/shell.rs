//! Reads shell scripts, line by line.

use std::path::{Path, PathBuf};

use super::line::{add, below};
use crate::recognition::facts::Author;
use crate::recognition::facts::file::{FileFacts, spot};

/// Words that begin or end a construct of the shell, so they are not commands.
const KEYWORDS: &[&str] = &[
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function",
    "{", "}", "set", "echo", "printf", "return", "exit", "shift", "local", "trap", "sleep", "wait", "[",
    "[[", "esac", ";;",
];

/// Reads a shell script. The working directory is known only after a `cd` to a folder that the script names.
pub(in crate::recognition::facts) fn shell(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let mut directory: Option<PathBuf> = None;
    for (row, line) in logical_lines(text) {
        let line = line.trim();
        let first = line.split_whitespace().next().unwrap_or_default();
        if line.is_empty() || line.starts_with('#') || first.ends_with(')') || KEYWORDS.contains(&first) {
            continue;
        }
        let change = line.strip_prefix("cd ").filter(|rest| !rest.contains("&&") && !rest.contains(';'));
        if let Some(change) = change {
            directory = own_folder(file, change).or_else(|| below(directory.as_deref(), change));
        } else {
            let command = line.strip_prefix("exec ").unwrap_or(line);
            add(&mut facts, command, &spot(file, row), &Author::Shell, directory.as_deref());
        }
    }
    facts
}

/// Returns the folder that `"$(dirname "$0")/.."` and similar expressions name.
fn own_folder(file: &Path, change: &str) -> Option<PathBuf> {
    if !(change.contains("dirname") || change.contains("${0%/*}")) {
        return None;
    }
    let rest = change.rfind([')', '}']).map_or("", |end| &change[end + 1..]);
    let rest = rest.trim_matches(['"', '\'', ' ', '/']);
    let folder = file.parent().unwrap_or(Path::new(""));
    if rest.is_empty() { Some(folder.into()) } else { below(Some(folder), rest) }
}

/// Returns the lines with their rows, counted from 0. Joins a line that ends in a backslash with the next.
pub(in crate::recognition::facts) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (row, line) in text.lines().enumerate() {
        let continues = line.ends_with('\\');
        let line = line.strip_suffix('\\').unwrap_or(line).trim_end();
        match lines.last_mut().filter(|_| open) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            None => lines.push((row, line.into())),
        }
        open = continues;
    }
    lines
}
