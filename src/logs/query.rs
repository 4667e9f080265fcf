//! Reads what was written down: the last lines of some processes, and what comes after them.
//!
//! Files are read from their ends, so that the last lines of a large log are as quick as those of a small one. Refuses to
//! wait and to print.

mod follow;
mod last;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use regex::bytes::Regex;

use super::{OWN, Stamp, current, name_of_process};
pub use follow::Follow;

/// One stored line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub time: Stamp,
    /// It is the rest of the line before it.
    pub continued: bool,
    /// As the process wrote it, without a newline; bytes, as it need not be text.
    pub text: Vec<u8>,
}

/// A line of one of several processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place among the names that were asked for.
    pub process: usize,
    /// What it said.
    pub line: Line,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// No older ones.
    pub since: Option<Stamp>,
    /// Only those that match.
    pub grep: Option<Regex>,
}

impl Filter {
    fn wants(&self, line: &Line) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.text))
    }
}

/// The names there is something of below `folder`: processes in the order of their names, devrun's own events last.
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

/// The last `count` lines of process `name` below `folder`; none when there is nothing of it.
pub fn tail(folder: &Path, name: &str, count: usize) -> io::Result<Vec<Line>> {
    last::lines(&current(folder, &name_of_process(name)), &Filter::default(), Some(count))
        .map(|(lines, _)| lines)
}

/// The last `count` lines of all of `names` (as [`names`] gives them) together, by time; and what follows them.
pub fn read(
    folder: &Path,
    names: &[String],
    filter: &Filter,
    count: Option<usize>,
) -> io::Result<(Vec<Told>, Follow)> {
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

/// By time; those of one process in their order, those of one moment in the order of the processes.
fn merge(all: Vec<Vec<Line>>) -> Vec<Told> {
    let mut merged: Vec<Told> = Vec::with_capacity(all.iter().map(Vec::len).sum());
    for (process, lines) in all.into_iter().enumerate() {
        // A clock that was set back must not put the lines of one process into another order.
        let mut latest = None;
        for line in lines {
            latest = latest.max(Some(line.time));
            merged.push(Told { process, line: Line { time: latest.unwrap_or(line.time), ..line } });
        }
    }
    merged.sort_by_key(|told| told.line.time);
    merged
}

/// Understands one stored line, without its newline; `None` for one of which only a part was written.
fn parse(bytes: &[u8]) -> Option<Line> {
    let time = Stamp::read(bytes)?;
    let continued = match bytes.get(Stamp::LENGTH)? {
        b' ' => false,
        b'+' => true,
        _ => return None,
    };
    Some(Line { time, continued, text: bytes[Stamp::LENGTH + 1..].to_vec() })
}

#[cfg(test)]
mod tests;
