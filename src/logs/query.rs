//! Reads the logs: the last lines of some processes, and the lines that are written later.
//!
//! Files are read from their ends, so the last lines of a large log are found as quickly as those of a small one. This
//! module does not wait and does not print.

mod follow;
mod last;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use regex::bytes::Regex;

use super::{OWN, Timestamp, current, name_of_process};
pub use follow::Follow;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLine {
    /// The time at which devrun read the line.
    pub time: Timestamp,
    /// True if this is the rest of the line before it.
    pub continued: bool,
    /// The text as the process wrote it, without the newline. It need not be UTF-8.
    pub text: Vec<u8>,
}

/// A line of one of several processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLine {
    /// Index into the names that were requested.
    pub process: usize,
    pub line: StoredLine,
}

/// Selects lines.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only lines of this time or later.
    pub since: Option<Timestamp>,
    /// Only lines that match.
    pub grep: Option<Regex>,
}

impl Filter {
    fn wants(&self, line: &StoredLine) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.text))
    }
}

/// Returns the names of the logs below `folder`: processes sorted by name, then devrun's own events.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().and_then(|name| name.strip_suffix(".log")) {
            found.insert(name.to_string());
        }
    }
    let own = found.remove(OWN);
    Ok(found.into_iter().chain(own.then(|| OWN.to_string())).collect())
}

/// Returns the last `count` lines of the process `name` below `folder` that are not older than `since`; none if it has
/// no log.
pub fn tail_since(folder: &Path, name: &str, since: Timestamp, count: usize) -> io::Result<Vec<StoredLine>> {
    let filter = Filter { since: Some(since), ..Filter::default() };
    last::lines(&current(folder, &name_of_process(name)), &filter, Some(count)).map(|(lines, _)| lines)
}

/// Returns the last `count` lines of all `names` (as [`names`] returns them) together, sorted by time, and a [`Follow`]
/// for later lines.
pub fn read(
    folder: &Path,
    names: &[String],
    filter: &Filter,
    count: Option<usize>,
) -> io::Result<(Vec<ProcessLine>, Follow)> {
    let mut follow = Follow::new(filter);
    let mut all = Vec::new();
    for name in names {
        let path = current(folder, name);
        let (lines, place) = last::lines(&path, filter, count)?;
        follow.add(path, place);
        all.push(lines);
    }
    let mut merged = merge(all);
    let surplus = count.map_or(0, |count| merged.len().saturating_sub(count));
    merged.drain(..surplus);
    Ok((merged, follow))
}

/// Sorts by time. The lines of one process keep their order; lines with equal times are sorted by process.
fn merge(all: Vec<Vec<StoredLine>>) -> Vec<ProcessLine> {
    let mut merged: Vec<ProcessLine> = Vec::with_capacity(all.iter().map(Vec::len).sum());
    for (process, lines) in all.into_iter().enumerate() {
        // If the clock was set back, later lines get the latest time so far, so that their order stays.
        let mut latest = None;
        for line in lines {
            latest = latest.max(Some(line.time));
            merged.push(ProcessLine {
                process,
                line: StoredLine { time: latest.unwrap_or(line.time), ..line },
            });
        }
    }
    merged.sort_by_key(|told| told.line.time);
    merged
}

/// Parses one stored line, without its newline. Returns `None` for a line that was only partly written.
fn parse(bytes: &[u8]) -> Option<StoredLine> {
    let time = Timestamp::read(bytes)?;
    let continued = match bytes.get(Timestamp::LENGTH)? {
        b' ' => false,
        b'+' => true,
        _ => return None,
    };
    Some(StoredLine { time, continued, text: bytes[Timestamp::LENGTH + 1..].to_vec() })
}

#[cfg(test)]
mod tests;
