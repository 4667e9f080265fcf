//! What is written after a moment, across the turning over of files.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::last::open_all;
use super::{Filter, Line, Told, merge, parse};

/// How much is read at once.
const BLOCK: usize = 256 << 10;

/// A place in one of the files of a process.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) file: File,
    pub(super) offset: u64,
}

/// Follows some processes.
#[derive(Debug)]
pub struct Follow {
    filter: Filter,
    processes: Vec<(PathBuf, Option<Place>)>,
    block: Vec<u8>,
}

impl Follow {
    pub(super) fn new(filter: &Filter) -> Follow {
        Follow { filter: filter.clone(), processes: Vec::new(), block: Vec::new() }
    }

    pub(super) fn add(&mut self, path: PathBuf, place: Option<Place>) {
        self.processes.push((path, place));
    }

    /// What was written since the last call, by time. Never waits.
    pub fn more(&mut self) -> io::Result<Vec<Told>> {
        let Follow { filter, processes, block } = self;
        let mut all = Vec::new();
        for (path, place) in processes {
            let mut lines = Vec::new();
            loop {
                if let Some(place) = place {
                    place.read(filter, block, &mut lines)?;
                }
                // Newest first.
                let mut files = open_all(path)?;
                let next = match place {
                    Some(place) => {
                        let current = id(&place.file)?;
                        let ids = files.iter().map(id).collect::<io::Result<Vec<_>>>()?;
                        match ids.iter().position(|id| *id == current) {
                            Some(0) => None,
                            Some(age) => Some(age - 1),
                            // More was written than is kept: it goes on with the oldest there is.
                            None => files.len().checked_sub(1),
                        }
                    }
                    None => files.len().checked_sub(1),
                };
                let Some(next) = next else { break };
                if let Some(place) = place {
                    // It was written to until it was turned over.
                    place.read(filter, block, &mut lines)?;
                }
                *place = Some(Place { file: files.swap_remove(next), offset: 0 });
            }
            all.push(lines);
        }
        Ok(merge(all))
    }
}

impl Place {
    fn read(&mut self, filter: &Filter, block: &mut Vec<u8>, lines: &mut Vec<Line>) -> io::Result<()> {
        if self.file.metadata()?.len() < self.offset {
            // It was emptied.
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

/// What makes a file itself, whatever it is called.
pub(super) fn id(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}
