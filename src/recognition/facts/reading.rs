//! Reads the files of a worktree on a few threads, and joins their facts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::cache::{self, Cache, Identity};
use super::file::FileFacts;
use super::kind::Kind;
use super::{Facts, envfiles, links, walk};
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
/// A limit of time is kept between two files; a single call that takes this much longer hangs.
const GRACE: Duration = Duration::from_secs(3);
/// Fewer files than this are not worth another thread.
const FILES_PER_THREAD: usize = 16;

/// Reads the worktree at `root`; see [`super::read`].
pub(super) fn read(root: &Path, main_root: Option<&Path>, state: Option<&Path>, limits: &Limits) -> Facts {
    read_at(root, main_root, state, limits, SystemTime::now())
}

fn read_at(
    root: &Path,
    main_root: Option<&Path>,
    state: Option<&Path>,
    limits: &Limits,
    now: SystemTime,
) -> Facts {
    let (folder, most) = (root.to_path_buf(), limits.walk);
    let walked = blocking::within(most.time + GRACE, move || walk::walk(&folder, &most));
    let Ok(walked) = walked else {
        let limits = vec!["files could not be listed: the disk does not answer".into()];
        return Facts { limits, ..Facts::default() };
    };
    let mut facts = Facts { limits: walked.limits, ..Facts::default() };
    facts.files = walked.files.into_iter().map(|file| file.path).collect();
    let wanted: Vec<(PathBuf, Kind)> =
        facts.files.iter().filter_map(|path| Some((path.clone(), Kind::of(path)?))).collect();
    let mut classes = Vec::new();
    let (found, limit) = kept_or_read(root, wanted, state, limits, now);
    facts.limits.extend(limit);
    for file in found {
        classes.extend(file.add_to(&mut facts));
    }
    let candidates = envfiles::candidates(root, main_root, &facts);
    let most = read::Limit { bytes: limits.file, time: limits.time };
    match blocking::within(limits.time + GRACE, move || envfiles::read_all(&candidates, most)) {
        Ok(files) => files.into_iter().for_each(|file| drop(file.add_to(&mut facts))),
        Err(_) => facts.limits.push("env files were not read: the disk does not answer".into()),
    }
    links::join(&mut facts, &classes);
    facts
}

/// One file that a reader wants, with its identity where it can be kept.
struct Wanted {
    path: PathBuf,
    kind: Kind,
    identity: Option<(Identity, bool)>,
    facts: Option<FileFacts>,
}

/// The facts of the `wanted` files, in order: those of unchanged files from the state folder, the others read now.
fn kept_or_read(
    root: &Path,
    wanted: Vec<(PathBuf, Kind)>,
    state: Option<&Path>,
    limits: &Limits,
    now: SystemTime,
) -> (Vec<FileFacts>, Option<String>) {
    let Some(state) = state else {
        let (found, limit) = each(root, wanted, *limits);
        return (found.into_iter().map(|(_, facts)| facts).collect(), limit);
    };
    let (folder, kept) = (root.to_path_buf(), state.to_path_buf());
    let looked_up = blocking::within(limits.time + GRACE, move || {
        let mut cache = Cache::load(&kept);
        let count = cache.len();
        let wanted = wanted.into_iter().map(|(path, kind)| {
            let identity = cache::identity(&folder.join(&path), now);
            let facts = identity.and_then(|(identity, _)| cache.take(&path, identity));
            Wanted { path, kind, identity, facts }
        });
        (wanted.collect::<Vec<_>>(), count)
    });
    let Ok((mut wanted, count)) = looked_up else {
        return (Vec::new(), Some("files were not read: the disk does not answer".into()));
    };
    let missing: Vec<usize> = (0..wanted.len()).filter(|place| wanted[*place].facts.is_none()).collect();
    let files = missing.iter().map(|place| (wanted[*place].path.clone(), wanted[*place].kind)).collect();
    let (found, limit) = each(root, files, *limits);
    for (place, facts) in found {
        wanted[missing[place]].facts = Some(facts);
    }
    let keep = |wanted: &Wanted| wanted.identity.filter(|(_, old)| *old).map(|(identity, _)| identity);
    let kept = || wanted.iter().filter_map(|one| Some((one.path.as_path(), keep(one)?, one.facts.as_ref()?)));
    if !missing.is_empty() || kept().count() != count {
        cache::store(state, kept());
    }
    (wanted.into_iter().filter_map(|one| one.facts).collect(), limit)
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
    if wanted.is_empty() {
        return (Vec::new(), None);
    }
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
                if blocking::within(limits.time + GRACE, move || work.run()).is_err() {
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
    use crate::recognition::facts::Giver;

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

    #[test]
    fn facts_of_unchanged_files_are_kept_and_those_of_changed_files_are_read_again() {
        let root = tree(&[
            ("a.py", "import os\nx = os.environ['A']\n"),
            ("b.py", "x = 1\n"),
            (".env", "S=hunter2\n"),
        ]);
        let state = tempfile::tempdir().unwrap();
        // Facts of a file that changed just now are not kept.
        let later = SystemTime::now() + Duration::from_mins(1);
        let names = || {
            let facts = read_at(root.path(), None, Some(state.path()), &Limits::default(), later);
            facts
                .reads
                .into_iter()
                .map(|read| read.name)
                .chain(facts.values.into_iter().map(|given| given.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(), ["A", "hunter2"]);
        let kept = state.path().join("facts.json");
        let text = std::fs::read_to_string(&kept).unwrap();
        assert!(text.contains("\"A\"") && !text.contains("hunter2"), "{text}");
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&kept.metadata().unwrap().permissions()) & 0o777,
            0o600
        );
        // What is kept is what is used.
        crate::os::fs::replace(&kept, text.replace("\"A\"", "\"KEPT\"").as_bytes(), 0o600).unwrap();
        assert_eq!(names(), ["KEPT", "hunter2"]);
        crate::os::fs::replace(&root.path().join("a.py"), b"import os\nx = os.environ['B']\n", 0o644)
            .unwrap();
        crate::os::fs::replace(&root.path().join(".env"), b"S=other\n", 0o600).unwrap();
        assert_eq!(names(), ["B", "other"]);
        for damaged in ["", "{", "[]", "{\"version\":\"0\",\"empty\":[],\"files\":[]}"] {
            crate::os::fs::replace(&kept, damaged.as_bytes(), 0o600).unwrap();
            assert_eq!(names(), ["B", "other"], "{damaged}");
        }
    }

    #[test]
    fn env_files_that_the_worktree_lacks_come_from_the_main_worktree() {
        let root = tree(&[
            ("web/package.json", "{}"),
            (".env", "A=own\n"),
            ("s.py", "class S(BaseSettings):\n    model_config = {'env_file': 'conf/app.env'}\n    x: str\n"),
        ]);
        let main = tree(&[
            ("web/.env.local", "B=main\n"),
            (".env", "A=main\n"),
            ("other/.env", "C=no\n"),
            ("conf/app.env", "X=named\n"),
        ]);
        let facts = read(root.path(), Some(main.path()), None, &Limits::default());
        let found: Vec<_> = facts
            .values
            .iter()
            .map(|given| (given.name.as_str(), given.value.as_str(), given.by.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("A", "own", Giver::EnvFile),
                ("X", "named", Giver::MainEnvFile),
                ("B", "main", Giver::MainEnvFile)
            ]
        );
    }
}
