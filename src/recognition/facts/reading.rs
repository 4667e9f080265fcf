//! Reads the files of a worktree on a few threads, and joins their facts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::file::FileFacts;
use super::kind::Kind;
use super::{Facts, links, walk};
use crate::os::{blocking, read};

/// How much reading may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The walk's own.
    pub(super) walk: walk::Limits,
    /// The largest file, in bytes.
    pub(super) file: usize,
    /// All files together, in bytes.
    pub(super) bytes: usize,
    /// Time after the walk.
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            walk: walk::Limits::default(),
            file: 256 << 10,
            bytes: 64 << 20,
            time: Duration::from_secs(2),
        }
    }
}

/// More threads than this gain nothing: the files come from one disk.
const THREADS: usize = 4;
/// Fewer files than this are not worth another thread.
const FILES_PER_THREAD: usize = 16;

/// Reads the worktree at `root`; see [`super::read`].
pub(super) fn read(root: &Path, main_root: Option<&Path>, state: Option<&Path>, limits: &Limits) -> Facts {
    let _ = (main_root, state);
    let (folder, most) = (root.to_path_buf(), limits.walk);
    let walked = blocking::within(most.time * 2, move || walk::walk(&folder, &most));
    let Ok(walked) = walked else {
        let limits = vec!["files could not be listed: the disk does not answer".into()];
        return Facts { limits, ..Facts::default() };
    };
    let mut facts = Facts { limits: walked.limits, ..Facts::default() };
    facts.files = walked.files.into_iter().map(|file| file.path).collect();
    let wanted: Vec<(PathBuf, Kind)> =
        facts.files.iter().filter_map(|path| Some((path.clone(), Kind::of(path)?))).collect();
    let mut classes = Vec::new();
    let (found, limit) = each(root, wanted, *limits);
    facts.limits.extend(limit);
    for (_, file) in found {
        classes.extend(file.add_to(&mut facts));
    }
    links::join(&mut facts, &classes);
    facts
}

/// Work that several threads share.
struct Shared {
    root: PathBuf,
    wanted: Vec<(PathBuf, Kind)>,
    limits: Limits,
    start: Instant,
    next: AtomicUsize,
    bytes: AtomicUsize,
    found: Mutex<Vec<(usize, FileFacts)>>,
    limit: Mutex<Option<String>>,
}

/// The facts of the `wanted` files with their places, in order, and the limit that ended the reading. A file without
/// facts is there too; one that could not be read is not.
fn each(
    root: &Path,
    wanted: Vec<(PathBuf, Kind)>,
    limits: Limits,
) -> (Vec<(usize, FileFacts)>, Option<String>) {
    let most = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let threads = (wanted.len() / FILES_PER_THREAD).clamp(1, most);
    let shared = Arc::new(Shared {
        root: root.into(),
        wanted,
        limits,
        start: Instant::now(),
        next: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        found: Mutex::default(),
        limit: Mutex::default(),
    });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let work = Arc::clone(&shared);
                if blocking::within(limits.time * 2, move || work.run()).is_err() {
                    shared.stop("files were read until the disk did not answer");
                }
            });
        }
    });
    let mut found = std::mem::take(&mut *shared.found.lock().unwrap_or_else(PoisonError::into_inner));
    found.sort_by_key(|(place, _)| *place);
    let limit = shared.limit.lock().unwrap_or_else(PoisonError::into_inner).take();
    (found, limit)
}

impl Shared {
    /// Takes one file after the other until none is left or a limit is reached.
    fn run(&self) {
        let most = read::Limit { bytes: self.limits.file, time: self.limits.time };
        let mut own = Vec::new();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((path, kind)) = self.wanted.get(place) else { break };
            if self.start.elapsed() >= self.limits.time {
                self.stop(&format!("files were read for {} s and no longer", self.limits.time.as_secs()));
                break;
            }
            if self.bytes.load(Ordering::Relaxed) >= self.limits.bytes {
                self.stop(&format!(
                    "the first {} MiB of files were read and no more",
                    self.limits.bytes >> 20
                ));
                break;
            }
            if let Ok(text) = read::text(&self.root.join(path), most) {
                self.bytes.fetch_add(text.len(), Ordering::Relaxed);
                own.push((place, kind.read(path, &text)));
            }
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    }

    fn stop(&self, limit: &str) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = Some(limit.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            crate::os::fs::replace(&root.path().join(file), text.as_bytes(), 0o644).unwrap();
        }
        root
    }

    #[test]
    fn facts_of_several_files_are_joined() {
        let root = tree(&[
            (
                "app/factory.py",
                "from fastapi import FastAPI\ndef create() -> FastAPI:\n    return FastAPI()\n",
            ),
            (
                "app/main.py",
                "# FastAPI\nfrom .factory import create\nfrom .x import settings\napp = create()\nx = settings()\n",
            ),
            ("app/settings.py", "from .base import Base\nclass AppSettings(Base):\n    url: str\n"),
            ("app/base.py", "class Base(BaseSettings):\n    model_config = {'env_prefix': 'X_'}\n"),
            ("README.md", "```\ngit clone x\ncd repo\ncd app\nuvicorn main:app\n```\n"),
        ]);
        let facts = read(root.path(), None, None, &Limits::default());
        let applications = facts.modules.iter().flat_map(|module| &module.applications);
        let names: Vec<&str> = applications.map(|application| application.name.as_str()).collect();
        assert_eq!(names, ["create", "app"]);
        assert_eq!(facts.reads.iter().map(|read| read.name.as_str()).collect::<Vec<_>>(), ["X_URL"]);
        assert_eq!(facts.commands.last().unwrap().directory.as_deref(), Some(Path::new("app")));
        assert_eq!(facts.files.len(), 5);
        assert_eq!(facts.limits, Vec::<String>::new());
    }

    #[test]
    fn each_limit_of_reading_is_stated() {
        let root = tree(&[("a.py", "import os\nx = os.environ['A']\n"), ("b.py", "x = 1\n")]);
        let limited = |limits: Limits| read(root.path(), None, None, &limits);
        let late = limited(Limits { time: Duration::ZERO, ..Limits::default() });
        assert_eq!(late.limits.len(), 1);
        let few = limited(Limits { bytes: 1, ..Limits::default() });
        assert_eq!(
            (few.reads.len(), few.limits.as_slice()),
            (1, &["the first 0 MiB of files were read and no more".to_string()][..])
        );
        let small = limited(Limits { file: 10, ..Limits::default() });
        assert_eq!(small.reads.len(), 0);
    }
}
