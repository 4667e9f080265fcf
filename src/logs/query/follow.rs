//! Reads the lines that are written after a position, also across the rotation of files.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::last::{LogPosition, id, open_all};
use super::{Filter, ProcessLine, StoredLine, merge, parse};

/// The bytes of one read.
const BLOCK: usize = 256 << 10;

/// Follows the logs of some processes.
#[derive(Debug)]
pub struct Follow {
    filter: Filter,
    processes: Vec<(PathBuf, Option<LogPosition>)>,
    block: Vec<u8>,
}

impl Follow {
    pub(super) fn new(filter: &Filter) -> Follow {
        Follow { filter: filter.clone(), processes: Vec::new(), block: Vec::new() }
    }

    pub(super) fn add(&mut self, path: PathBuf, place: Option<LogPosition>) {
        self.processes.push((path, place));
    }

    /// Returns the lines that were written since the last call, sorted by time. Does not wait.
    pub fn more(&mut self) -> io::Result<Vec<ProcessLine>> {
        let Follow { filter, processes, block } = self;
        let mut all = Vec::new();
        for (path, place) in processes {
            let mut lines = Vec::new();
            loop {
                if let Some(place) = place {
                    place.read(filter, block, &mut lines)?;
                }
                // The newest file comes first.
                let mut files = open_all(path)?;
                let next = match place {
                    Some(place) => {
                        let current = id(&place.file)?;
                        let ids = files.iter().map(id).collect::<io::Result<Vec<_>>>()?;
                        match ids.iter().position(|id| *id == current) {
                            Some(0) => None,
                            Some(age) => Some(age - 1),
                            // More was written than is kept, so continue with the oldest file.
                            None => files.len().checked_sub(1),
                        }
                    }
                    None => files.len().checked_sub(1),
                };
                let Some(next) = next else { break };
                if let Some(place) = place {
                    // The file was written to until its rotation.
                    place.read(filter, block, &mut lines)?;
                }
                *place = Some(LogPosition { file: files.swap_remove(next), offset: 0 });
            }
            all.push(lines);
        }
        Ok(merge(all))
    }
}

impl LogPosition {
    fn read(&mut self, filter: &Filter, block: &mut Vec<u8>, lines: &mut Vec<StoredLine>) -> io::Result<()> {
        if self.file.metadata()?.len() < self.offset {
            // The file was emptied.
            self.offset = 0;
        }
        let mut size = BLOCK;
        loop {
            block.resize(size, 0);
            let count = self.file.read_at(block, self.offset)?;
            let Some(last) = memchr::memrchr(b'\n', &block[..count]) else {
                if count < size {
                    return Ok(());
                }
                size *= 2;
                continue;
            };
            let whole = block[..last].split(|byte| *byte == b'\n').filter_map(parse);
            lines.extend(whole.filter(|line| filter.wants(line)));
            self.offset += last as u64 + 1;
        }
    }
}
