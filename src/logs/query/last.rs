//! The last lines of one process, read backwards through its files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::follow::Place;
use super::{Filter, Line, parse};
use crate::logs::rotated;
use crate::os::read;

/// How much is read at once.
const BLOCK: u64 = 64 << 10;
/// Files that are missing for a moment while they are turned over.
const GAPS: u32 = 2;

/// The last `count` lines that `filter` wants of the process whose current file is `path`, oldest first; and the place
/// after them.
pub(super) fn lines(
    path: &Path,
    filter: &Filter,
    count: Option<usize>,
) -> io::Result<(Vec<Line>, Option<Place>)> {
    let files = open_all(path)?;
    let mut found = Vec::new();
    let mut place = None;
    for file in files {
        let end = end_of_whole_lines(&file)?;
        let more = backwards(&file, end, |bytes| {
            let Some(line) = parse(bytes) else { return true };
            let is_recent = filter.since.is_none_or(|since| line.time >= since);
            if is_recent && filter.wants(&line) && count.is_none_or(|count| found.len() < count) {
                found.push(line);
            }
            is_recent && count.is_none_or(|count| found.len() < count)
        })?;
        // The first of them is the current one.
        place.get_or_insert(Place { file, offset: end });
        if !more {
            break;
        }
    }
    found.reverse();
    Ok((found, place))
}

/// The files there are, newest first. When they are turned over meanwhile, the same may be met again under its next name.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    let mut met = Vec::new();
    let mut missing = 0;
    for age in 0.. {
        let file = match read::open(&rotated(path, age)) {
            Err(error) if error.is_missing() => {
                missing += 1;
                if missing > GAPS {
                    break;
                }
                continue;
            }
            file => file?,
        };
        let id = super::follow::id(&file)?;
        if !met.contains(&id) {
            met.push(id);
            files.push(file);
        }
    }
    Ok(files)
}

/// Where the last newline ends: what is behind it is just being written.
fn end_of_whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        read_block(file, start, end, &mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Gives the lines before `end` to `take`, last first, until it has enough; true when it wants more.
fn backwards(file: &File, mut end: u64, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    // The rest of a line whose beginning lies in an earlier block.
    let mut rest = Vec::new();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        read_block(file, start, end, &mut block)?;
        end = start;
        block.extend_from_slice(&rest);
        // In the first line of the block the beginning may be missing.
        let whole =
            if start == 0 { 0 } else { memchr::memchr(b'\n', &block).map_or(block.len(), |at| at + 1) };
        rest.clear();
        rest.extend_from_slice(&block[..whole]);
        let mut lines = &block[whole..];
        while !lines.is_empty() {
            let text = lines.strip_suffix(b"\n").unwrap_or(lines);
            let begin = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
            if !take(&text[begin..]) {
                return Ok(false);
            }
            lines = &lines[..begin];
        }
    }
    Ok(true)
}

fn read_block(file: &File, start: u64, end: u64, block: &mut Vec<u8>) -> io::Result<()> {
    block.resize(usize::try_from(end - start).unwrap_or_default(), 0);
    let mut read = 0;
    while read < block.len() {
        match file.read_at(&mut block[read..], start + read as u64)? {
            // It was emptied meanwhile.
            0 => break,
            count => read += count,
        }
    }
    block.truncate(read);
    Ok(())
}
