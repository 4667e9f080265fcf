//! Reads the files of a worktree on a few threads, and joins their facts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::cache::{self, Cache, Seen};
use super::file::FileFacts;
use super::kind::FileKind;
use super::{Facts, across_files, compose, development_files, envfiles, walk};
use crate::os::{blocking, read};

/// Limits of one reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Limits of the walk.
    pub(super) walk: walk::WalkLimits,
    /// Maximum size of one file, in bytes.
    pub(super) file: usize,
    /// Maximum size of all files together, in bytes.
    pub(super) bytes: usize,
    /// Maximum time after the walk.
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            walk: walk::WalkLimits::default(),
            file: 256 << 10,
            bytes: 64 << 20,
            time: Duration::from_secs(2),
        }
    }
}

/// Maximum number of threads. More gain nothing, because the files come from one disk.
const THREADS: usize = 4;
/// Extra time beyond the time limit, which is checked between two files. A thread that exceeds both counts as stuck on
/// the disk.
const GRACE: Duration = Duration::from_secs(3);
/// Minimum number of files that is worth another thread.
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
    let (folder, kept, most) = (root.to_path_buf(), state.map(Path::to_path_buf), limits.walk);
    let listed = blocking::within(most.time + GRACE, move || {
        let load = || kept.as_deref().map(Cache::load).unwrap_or_default();
        let is_large = kept.as_deref().is_some_and(Cache::is_large);
        std::thread::scope(|scope| {
            let start = || std::thread::Builder::new().spawn_scoped(scope, load).ok();
            let loading = if is_large { start() } else { None };
            let walked = walk::walk(&folder, &most, kept.is_some().then_some(now));
            (walked, loading.map_or_else(load, |loading| loading.join().unwrap_or_default()))
        })
    });
    let Ok((walked, cache)) = listed else {
        let limits = vec!["files could not be listed: the disk does not answer".into()];
        return Facts { limits, ..Facts::default() };
    };
    let mut facts = Facts { limits: walked.limits, ..Facts::default() };
    let wanted = |file: &walk::FoundFile| Some((file.path.clone(), file.kind?, file.identity));
    let wanted = development_files::for_development(walked.files.iter().filter_map(wanted).collect());
    facts.files = walked.files.into_iter().map(|file| file.path).collect();
    let mut classes = Vec::new();
    let (found, limit) = kept_or_read(root, wanted, state, cache, limits);
    facts.limits.extend(limit);
    let mut composed = Vec::new();
    for mut file in found {
        composed.append(&mut file.composed);
        classes.extend(file.add_to(&mut facts));
    }
    let candidates = envfiles::candidates(root, main_root, &facts);
    let most = read::Limit { bytes: limits.file, time: limits.time };
    let roots: Vec<PathBuf> = std::iter::once(root).chain(main_root).map(Path::to_path_buf).collect();
    match blocking::within(limits.time + GRACE, move || envfiles::read_all(&candidates, &roots, most)) {
        Ok(files) => files.into_iter().for_each(|file| drop(file.add_to(&mut facts))),
        Err(_) => facts.limits.push("env files were not read: the disk does not answer".into()),
    }
    compose::complete(&mut facts.values, composed);
    across_files::join(&mut facts, &classes);
    facts
}

/// A file whose facts are wanted, with its identity if there is a cache, and its facts once they are known.
struct Wanted {
    path: PathBuf,
    kind: FileKind,
    identity: Option<Seen>,
    facts: Option<FileFacts>,
}

/// Returns the facts of the `wanted` files, in order. Takes those of unchanged files from the `cache` and reads the others.
fn kept_or_read(
    root: &Path,
    wanted: Vec<(PathBuf, FileKind, Option<Seen>)>,
    state: Option<&Path>,
    mut cache: Cache,
    limits: &Limits,
) -> (Vec<FileFacts>, Option<String>) {
    let count = cache.len();
    let wanted = wanted.into_iter().map(|(path, kind, identity)| {
        let facts = identity.and_then(|(identity, _)| cache.take(&path, identity));
        Wanted { path, kind, identity, facts }
    });
    let mut wanted: Vec<Wanted> = wanted.collect();
    let missing: Vec<usize> = (0..wanted.len()).filter(|place| wanted[*place].facts.is_none()).collect();
    let files = missing.iter().map(|place| (wanted[*place].path.clone(), wanted[*place].kind)).collect();
    let (found, limit) = each(root, files, *limits);
    let keep = |wanted: &Wanted| wanted.identity.filter(|(_, old)| *old).map(|(identity, _)| identity);
    // A file that cannot be read is missing in every run, and is no reason to write the cache again.
    let mut is_changed = false;
    for (place, facts) in found {
        let one = &mut wanted[missing[place]];
        one.facts = Some(facts);
        is_changed |= keep(one).is_some();
    }
    let kept = || wanted.iter().filter_map(|one| Some((one.path.as_path(), keep(one)?, one.facts.as_ref()?)));
    if let Some(state) = state.filter(|_| is_changed || kept().count() != count) {
        cache::store(state, kept());
    }
    (wanted.into_iter().filter_map(|one| one.facts).collect(), limit)
}

/// Work shared by several threads.
struct Shared {
    root: PathBuf,
    wanted: Vec<(PathBuf, FileKind)>,
    limits: Limits,
    start: Instant,
    next: AtomicUsize,
    bytes: AtomicUsize,
    found: Mutex<Vec<(usize, FileFacts)>>,
    limit: Mutex<Option<String>>,
}

/// Returns the facts of the `wanted` files with their indexes, in order, and the limit that stopped the reading.
/// Includes files without facts, but not files that could not be read.
fn each(
    root: &Path,
    wanted: Vec<(PathBuf, FileKind)>,
    limits: Limits,
) -> (Vec<(usize, FileFacts)>, Option<String>) {
    if wanted.is_empty() {
        return (Vec::new(), None);
    }
    let threads = (wanted.len() / FILES_PER_THREAD).max(1);
    // Finding out the number of processors takes longer than reading a few files.
    let most = || std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let threads = if threads == 1 { 1 } else { threads.min(most()) };
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
    let work = || {
        let work = Arc::clone(&shared);
        if blocking::within(limits.time + GRACE, move || work.run()).is_err() {
            shared.stop("files were read until the disk did not answer");
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without another thread, this one reads everything.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut found = std::mem::take(&mut *shared.found.lock().unwrap_or_else(PoisonError::into_inner));
    found.sort_by_key(|(place, _)| *place);
    let limit = shared.limit.lock().unwrap_or_else(PoisonError::into_inner).take();
    (found, limit)
}

impl Shared {
    /// Reads files until none is left or a limit is reached.
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
    fn a_check_outside_the_settings_class_is_about_the_variable_of_the_field() {
        let root = tree(&[
            (
                "app/config.py",
                "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='APP_')\n    secret_key: str\n",
            ),
            (
                "app/main.py",
                "from app.config import settings\nif len(settings.secret_key) < 32:\n    raise ValueError('x')\n",
            ),
        ]);
        let facts = read(root.path(), None, None, &Limits::default());
        let names: Vec<&str> = facts.reads.iter().map(|read| read.name.as_str()).collect();
        assert_eq!(names, ["APP_SECRET_KEY", "APP_SECRET_KEY"]);
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
        // Facts of a file that changed just now are not kept, so this uses a later time.
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
        // The facts in the cache are used instead of the file.
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
    fn unreadable_file_does_not_rewrite_the_cache_in_every_run() {
        use std::os::unix::fs::MetadataExt;
        let root = tree(&[("a.py", "import os\nx = os.environ['A']\n"), ("large.py", &"# x\n".repeat(100))]);
        let state = tempfile::tempdir().unwrap();
        let later = SystemTime::now() + Duration::from_mins(1);
        let limits = Limits { file: 100, ..Limits::default() };
        // Each writing replaces the file by a new one, which exists beside the old one at first.
        let read_and_open = || {
            read_at(root.path(), None, Some(state.path()), &limits, later);
            std::fs::File::open(state.path().join("facts.json")).unwrap()
        };
        let (first, second) = (read_and_open(), read_and_open());
        assert_eq!(first.metadata().unwrap().ino(), second.metadata().unwrap().ino());
    }

    #[test]
    fn every_kind_of_change_is_noticed() {
        use std::os::unix::fs::MetadataExt;
        let code = |name: &str| format!("import os\nx = os.environ['{name}']\n");
        let root =
            tree(&[("top.py", &code("A")), ("a/b/c/d/deep.py", &code("B")), ("a/b/plain.py", "x = 1\n")]);
        let state = tempfile::tempdir().unwrap();
        let later = SystemTime::now() + Duration::from_mins(1);
        let names = || {
            let facts = read_at(root.path(), None, Some(state.path()), &Limits::default(), later);
            facts.reads.into_iter().map(|read| read.name).collect::<Vec<_>>()
        };
        let at = |file: &str| root.path().join(file);
        // Writes as often as the clock of the file system needs for another time.
        let write = |file: &str, text: &str| {
            let change = || at(file).metadata().map(|meta| (meta.ctime(), meta.ctime_nsec())).ok();
            let before = change();
            while change() == before {
                // In place, so that the folder does not change.
                let mut open = std::fs::File::options();
                let mut open = open.write(true).create(true).truncate(true).open(at(file)).unwrap();
                std::io::Write::write_all(&mut open, text.as_bytes()).unwrap();
            }
        };
        assert_eq!(names(), ["A", "B"]);
        assert_eq!(names(), ["A", "B"]);
        write("a/b/c/d/new.py", &code("N"));
        assert_eq!(names(), ["A", "B", "N"]);
        write("a/b/plain.py", &code("P"));
        assert_eq!(names(), ["A", "P", "B", "N"]);
        // The same size, and the time of the last change set back.
        let modified = at("top.py").metadata().unwrap().modified().unwrap();
        write("top.py", &code("C"));
        std::fs::File::options().write(true).open(at("top.py")).unwrap().set_modified(modified).unwrap();
        assert_eq!(names(), ["C", "P", "B", "N"]);
        // Another file of the same size and time in the same place.
        std::fs::rename(at("a/b/c/d/new.py"), at("a/b/c/d/deep.py")).unwrap();
        assert_eq!(names(), ["C", "P", "N"]);
        std::fs::remove_file(at("top.py")).unwrap();
        assert_eq!(names(), ["P", "N"]);
        std::fs::rename(at("a/b/c"), at("a/moved")).unwrap();
        assert_eq!(names(), ["P", "N"]);
        std::fs::rename(at("a/moved"), root.path().join("node_modules")).unwrap();
        assert_eq!(names(), ["P"]);
    }

    #[test]
    fn facts_of_many_folders_are_kept_in_order() {
        let files: Vec<(String, String)> = (0..600)
            .map(|number| {
                (
                    format!("a/{number:03}/m.py"),
                    format!("import os\nx = os.environ['V{number:03}']\n{}", "# x\n".repeat(40)),
                )
            })
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        let root = tree(&files);
        let state = tempfile::tempdir().unwrap();
        let later = SystemTime::now() + Duration::from_mins(1);
        let read = || read_at(root.path(), None, Some(state.path()), &Limits::default(), later);
        let first = read();
        assert_eq!(first.files.len(), 600);
        assert!(first.reads.iter().map(|read| &read.name).is_sorted());
        assert!(Cache::is_large(state.path()));
        assert_eq!(read(), first);
        assert_eq!(read_at(root.path(), None, None, &Limits::default(), later), first);
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

    #[test]
    fn an_env_file_is_not_followed_out_of_the_worktrees() {
        let (root, main) = (tree(&[]), tree(&[(".env.local", "B=main\n")]));
        let outside = tree(&[(".env", "A=outside\n")]);
        let link =
            |target: &Path, name: &str| std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
        link(&outside.path().join(".env"), ".env");
        link(&main.path().join(".env.local"), ".env.local");
        let facts = read(root.path(), Some(main.path()), None, &Limits::default());
        let found: Vec<_> = facts.values.iter().map(|given| given.name.as_str()).collect();
        assert_eq!(found, ["B"]);
    }
}
