//! Writes the log files of one process. Appends to the current file and rotates it when it is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::rotated;
use crate::plan::LogLimits;

/// The current log file of one process, open for writing.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limits: LogLimits,
}

impl LogFile {
    /// Opens the file, or creates it so that only this user can read it.
    pub(super) fn open(path: PathBuf, limits: LogLimits) -> io::Result<LogFile> {
        let mut file = make(&path)?;
        let mut size = file.metadata()?.len();
        if size > 0 {
            // A devrun that was killed may have left a partial line.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            if file.read(&mut last)? == 1 && last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        // Remove files of an earlier configuration that kept more.
        let mut age = limits.files;
        while std::fs::remove_file(rotated(&path, age)).is_ok() {
            age += 1;
        }
        Ok(LogFile { path, file, size, limits })
    }

    /// Appends whole lines. On a write error the file is truncated, so no partial line stays.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.size > 0 && self.size + length > self.limits.size {
            self.turn_over()?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // Best effort: the write error is returned anyway.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    fn turn_over(&mut self) -> io::Result<()> {
        // Remove the oldest file first: some file systems flush a file to disk at once when it replaces another.
        let mut turned = match std::fs::remove_file(rotated(&self.path, self.limits.files - 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for age in (0..self.limits.files - 1).rev() {
            let renamed = std::fs::rename(rotated(&self.path, age), rotated(&self.path, age + 1));
            turned = turned.and(match renamed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            });
        }
        match turned.and_then(|()| make(&self.path)) {
            Ok(file) => self.file = file,
            Err(error) => {
                // Empty the file instead, because a log must not grow without limit if rotation fails.
                self.file.set_len(0)?;
                self.size = 0;
                return Err(error);
            }
        }
        self.size = 0;
        Ok(())
    }
}

fn make(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn limits(size: u64) -> LogLimits {
        LogLimits { size, files: 3 }
    }

    fn text(path: &std::path::Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn full_files_are_rotated_and_the_oldest_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        let mut file = LogFile::open(path.clone(), limits(10)).unwrap();
        for line in ["one 1\n", "two 2\n", "three\n", "four 4\n", "5\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let all = [0, 1, 2, 3].map(|age| text(&rotated(&path, age)));
        assert_eq!(all, ["four 4\n5\n", "three\n", "two 2\n", ""]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lower_limit_removes_files_of_earlier_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        let write = |files, lines: &[&str]| {
            let mut file = LogFile::open(path.clone(), LogLimits { size: 6, files }).unwrap();
            for line in lines {
                file.append(line.as_bytes()).unwrap();
            }
            [0, 1, 2, 3, 4].map(|age| text(&rotated(&path, age)))
        };
        assert_eq!(
            write(4, &["one 1\n", "two 2\n", "three\n", "four 4\n"]),
            ["four 4\n", "three\n", "two 2\n", "one 1\n", ""]
        );
        assert_eq!(write(2, &["5\n"]), ["5\n", "four 4\n", "", "", ""]);
        assert_eq!(write(1, &["6\n", "seven\n"]), ["seven\n", "", "", "", ""]);
    }

    #[test]
    fn a_later_run_continues_after_a_partial_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        LogFile::open(path.clone(), limits(100)).unwrap().append(b"whole\nha").unwrap();
        LogFile::open(path.clone(), limits(100)).unwrap().append(b"next\n").unwrap();
        assert_eq!(text(&path), "whole\nha\nnext\n");
        LogFile::open(path.clone(), limits(20)).unwrap().append(b"another\n").unwrap();
        assert_eq!(
            (text(&path).as_str(), text(&rotated(&path, 1)).as_str()),
            ("another\n", "whole\nha\nnext\n")
        );
    }

    #[test]
    fn a_removed_folder_is_an_error_and_the_file_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/web.log");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let mut file = LogFile::open(path.clone(), limits(10)).unwrap();
        file.append(b"one line\n").unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(file.append(b"two lines\n").is_err());
        assert_eq!(file.file.metadata().unwrap().len(), 0);
    }
}
