//! Returns the last lines of one process by reading its files backwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::{Filter, StoredLine, parse};
use crate::logs::rotated;
use crate::os::read;

/// The bytes of one read.
const BLOCK: u64 = 64 << 10;
/// The most files that may be missing for a moment during a rotation.
const GAPS: u32 = 2;

/// A position in one of the files of a process.
#[derive(Debug)]
pub(super) struct LogPosition {
    pub(super) file: File,
    pub(super) offset: u64,
}

/// Returns the last `count` lines that `filter` accepts, oldest first, of the process whose current file is `path`, and
/// the position after them.
pub(super) fn lines(
    path: &Path,
    filter: &Filter,
    count: Option<usize>,
) -> io::Result<(Vec<StoredLine>, Option<LogPosition>)> {
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
        // The first file is the current one.
        place.get_or_insert(LogPosition { file, offset: end });
        if !more {
            break;
        }
    }
    found.reverse();
    Ok((found, place))
}

/// Opens all files, the newest first. A file that is renamed during the call is found under both names, but opened only
/// once.
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
        let id = id(&file)?;
        if !met.contains(&id) {
            met.push(id);
            files.push(file);
        }
    }
    Ok(files)
}

/// Returns the device and inode, which identify a file independent of its name.
pub(super) fn id(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// Returns the position after the last newline. The text after it is still being written.
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

/// Passes the lines before `end` to `take`, the last line first, until it returns false. Returns true if it never did.
fn backwards(file: &File, mut end: u64, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    // The rest of a line that starts in an earlier block.
    let mut rest = Vec::new();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        read_block(file, start, end, &mut block)?;
        end = start;
        block.extend_from_slice(&rest);
        // The first line of the block may start in an earlier block.
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
            // The file was emptied during the read.
            0 => break,
            count => read += count,
        }
    }
    block.truncate(read);
    Ok(())
}
