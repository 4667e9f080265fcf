//! Remembers the files that a run was made from, and finds those that changed since.
//!
//! Compares contents, so a file that was written again with the same text has not changed. A named pipe has no content
//! to compare.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ResolvedWorktree;
use super::migrated_files::MigrationFolder;
use crate::config::env_output::USUAL_TEMPLATE;
use crate::config::envfile::{self, EnvFilePlaces};
use crate::config::files::FILE;
use crate::context::Context;
use crate::os::read::{self, Limit};
use crate::recognition;
use crate::text::env_block;
use crate::worktree;

/// Maximum size of a file to compare.
const SIZE_LIMIT: Limit = Limit::SMALL;

/// Files of a folder from which recognition reads packages, commands and services.
const MANIFESTS: [&str; 18] = [
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "Pipfile",
    "Procfile",
    "Procfile.dev",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "justfile",
    "Justfile",
    ".justfile",
    "Dockerfile",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "alembic.ini",
];

/// Runs recognition and returns its YAML.
type Recognise = Arc<dyn Fn() -> String + Send + Sync>;

/// The inputs of one run, as they were at its start. Cheap to clone.
#[derive(Clone)]
pub struct RunInputs {
    /// Files of which every change counts.
    files: Arc<Vec<InputFile>>,
    /// Files of which a change counts only if it changes the result of recognition.
    manifests: Arc<Vec<InputFile>>,
    /// The YAML from recognition.
    recognised: Arc<str>,
    recognise: Recognise,
    migrations: Option<MigrationFolder>,
}

impl std::fmt::Debug for RunInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunInputs").field("files", &self.files).finish_non_exhaustive()
    }
}

/// One file, with a fingerprint instead of its content, which may be secret.
#[derive(Debug)]
struct InputFile {
    name: String,
    /// Possible paths, each with the name shown; the first that exists counts.
    places: Vec<(PathBuf, String)>,
    seen: Option<SeenFile>,
}

#[derive(Debug, PartialEq, Eq)]
struct SeenFile {
    place: usize,
    fingerprint: [u8; 32],
}

impl InputFile {
    /// Returns a file of the worktree at `root`.
    fn new(name: &Path, root: &Path) -> InputFile {
        let shown = name.display().to_string();
        let places = vec![(root.join(name), shown.clone())];
        InputFile { name: shown, seen: first_existing(&places), places }
    }

    /// Returns the env file `name`, which may be in any of `places`.
    fn env_file(name: &Path, places: EnvFilePlaces<'_>) -> InputFile {
        let named =
            places.of(name).into_iter().map(|(found, path)| (path, envfile::shown_place(name, &found)));
        let places: Vec<(PathBuf, String)> = named.collect();
        InputFile { name: name.display().to_string(), seen: first_existing(&places), places }
    }

    /// Returns the name of the file if it has changed.
    fn changed(&self) -> Option<String> {
        let now = first_existing(&self.places);
        if now == self.seen {
            return None;
        }
        let strongest = now.iter().chain(&self.seen).map(|seen| seen.place).min();
        let shown = strongest.and_then(|place| self.places.get(place)).map(|(_, shown)| shown);
        Some(shown.unwrap_or(&self.name).clone())
    }
}

/// Returns the first file that exists, without the parts that devrun itself wrote. A file that devrun wrote as a whole does not count.
fn first_existing(places: &[(PathBuf, String)]) -> Option<SeenFile> {
    places.iter().enumerate().find_map(|(place, (path, _))| {
        let content =
            read::file(path, SIZE_LIMIT).ok().filter(|content| !env_block::is_all_written(content))?;
        let own = env_block::without_written(&content);
        // devrun ends the last line of the user before its block.
        Some(SeenFile { place, fingerprint: Sha256::digest(own.trim_ascii_end()).into() })
    })
}

impl RunInputs {
    /// Reads the files that `resolved` was made from. Blocks.
    pub(super) fn of(ctx: &Context, resolved: &ResolvedWorktree) -> RunInputs {
        let (root, config) = (resolved.worktree.path.as_path(), &resolved.config);
        let provenance = &config.provenance;
        let configuration = std::iter::once(FILE).chain(provenance.files.iter().map(String::as_str));
        let configuration: BTreeSet<&str> = configuration.collect();
        let main = resolved.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
        let others = worktree::others(&resolved.worktree);
        let places = EnvFilePlaces {
            root,
            main,
            others: &others,
            leased: &[],
            examples: true,
            outside: &resolved.files.outside,
        };
        let env_files = resolved.files.names.iter().map(|name| InputFile::env_file(name, places));
        let templates = config.env_out.iter().filter_map(|output| output.template.as_ref());
        let templates = templates.map(|(path, _)| path.as_path()).chain([Path::new(USUAL_TEMPLATE)]);
        let templates: BTreeSet<&Path> = templates.collect();
        let configuration = configuration.into_iter().map(Path::new).chain(templates);
        let files = configuration.map(|name| InputFile::new(name, root)).chain(env_files);
        let place = super::recognition_paths(ctx, &resolved.worktree);
        RunInputs {
            files: Arc::new(files.collect()),
            manifests: Arc::new(manifests(resolved).iter().map(|name| InputFile::new(name, root)).collect()),
            recognised: provenance.added.as_str().into(),
            recognise: Arc::new(move || recognition::recognise(&place).yaml),
            migrations: MigrationFolder::of(resolved),
        }
    }

    /// Returns the migration files that are new or changed since the database was last migrated, and those that were removed. Blocks.
    pub fn changed_migrations(&self) -> (Vec<String>, Vec<String>) {
        self.migrations.as_ref().map(MigrationFolder::changed).unwrap_or_default()
    }

    /// Returns the names of the files that have changed. Blocks.
    pub fn changed(&self) -> Vec<String> {
        let mut changed: Vec<String> = self.files.iter().filter_map(InputFile::changed).collect();
        let manifests: Vec<String> = self.manifests.iter().filter_map(InputFile::changed).collect();
        if !manifests.is_empty() && (self.recognise)() != *self.recognised {
            let new = manifests.into_iter().filter(|name| !changed.contains(name));
            changed.extend(new.collect::<Vec<_>>());
        }
        changed
    }
}

/// Returns the files that recognition read. Empty if devrun.yaml describes everything, because then recognition added nothing.
fn manifests(resolved: &ResolvedWorktree) -> BTreeSet<PathBuf> {
    let config = &resolved.config;
    if config.provenance.added.is_empty() {
        return BTreeSet::new();
    }
    let processes = config.processes.iter().map(|process| process.directory.as_path());
    let packages = [&config.dependencies.node, &config.dependencies.python];
    let folders = processes.chain(packages.into_iter().flatten().map(PathBuf::as_path));
    let folders: BTreeSet<PathBuf> = folders.chain([Path::new("")]).map(plain).collect();
    let listed = folders.iter().flat_map(|folder| MANIFESTS.map(|name| folder.join(name)));
    let spots = config.provenance.bindings.iter().flat_map(|one| [one.source.as_ref(), one.read.as_ref()]);
    let named = spots.flatten().map(|spot| spot.file.clone());
    // Every change of an env file counts, so those are in `RunInputs::files`.
    listed.chain(named).filter(|name| !resolved.files.names.contains(name)).collect()
}

/// Returns `folder` without a leading `.`.
fn plain(folder: &Path) -> PathBuf {
    folder.strip_prefix(".").unwrap_or(folder).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn write(path: &Path, text: &str) {
        replace(path, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn a_file_that_appears_changes_or_disappears_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (own, main) = (dir.path().join("own"), dir.path().join("main"));
        for root in [&own, &main] {
            std::fs::create_dir(root).unwrap();
        }
        write(&main.join(".env"), "A=1");
        let places = EnvFilePlaces::own_and_main(&own, Some(&main));
        let input = InputFile::env_file(Path::new(".env"), places);
        assert_eq!(input.changed(), None);
        write(&main.join(".env"), "A=2");
        assert_eq!(input.changed().as_deref(), Some(".env of the main worktree"));
        write(&main.join(".env"), "A=1");
        assert_eq!(input.changed(), None, "the same text again");
        write(&own.join(".env"), "A=1");
        assert_eq!(input.changed().as_deref(), Some(".env"));
        let input = InputFile::env_file(Path::new(".env"), places);
        std::fs::remove_file(own.join(".env")).unwrap();
        assert_eq!(input.changed().as_deref(), Some(".env"));
    }

    #[test]
    fn text_that_devrun_writes_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        write(&path, "A=1");
        let input = InputFile::new(Path::new(".env"), dir.path());
        write(&path, &format!("A=1\n{}", env_block::block("/w", "B=2\n")));
        assert_eq!(input.changed(), None);
        write(&path, &format!("A=2\n{}", env_block::block("/w", "B=2\n")));
        assert_eq!(input.changed().as_deref(), Some(".env"));
    }

    #[test]
    fn a_block_in_a_new_file_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let (own, main) = (dir.path().join("own"), dir.path().join("main"));
        for root in [&own, &main] {
            std::fs::create_dir(root).unwrap();
        }
        let places = EnvFilePlaces::own_and_main(&own, Some(&main));
        let block = env_block::block("/w", "B=2\n");
        for of_main in [None, Some("A=1\n")] {
            if let Some(text) = of_main {
                write(&main.join(".env.local"), text);
            }
            let input = InputFile::env_file(Path::new(".env.local"), places);
            write(&own.join(".env.local"), &block);
            assert_eq!(input.changed(), None, "{of_main:?}");
            std::fs::remove_file(own.join(".env.local")).unwrap();
        }
    }

    #[test]
    fn a_named_pipe_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join(".env"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(InputFile::new(Path::new(".env"), dir.path()).changed(), None);
    }

    #[test]
    fn a_manifest_counts_when_it_leads_to_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package.json");
        write(&package, "1");
        let read = package.clone();
        // Recognition depends on the first character only.
        let recognise = move || std::fs::read_to_string(&read).unwrap()[..1].to_string();
        let inputs = RunInputs {
            files: Arc::default(),
            manifests: Arc::new(vec![InputFile::new(Path::new("package.json"), dir.path())]),
            recognised: "1".into(),
            recognise: Arc::new(recognise),
            migrations: None,
        };
        write(&package, "1 and a dependency");
        assert_eq!(inputs.changed(), Vec::<String>::new());
        write(&package, "2");
        assert_eq!(inputs.changed(), ["package.json"]);
    }
}
