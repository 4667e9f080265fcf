//! An isolated environment for one test: home, state, runtime folder, repository. Everything is removed after the test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::Invocation;
use super::leaks::{Leaks, Process};

/// The variable that marks every process of a sandbox; its value is the sandbox's id.
const TAG: &str = "DEVRUN_SANDBOX";

/// Names and prefixes of variables in the developer's environment that would change devrun's behaviour.
const SCRUBBED: [&str; 28] = [
    "AGENT",
    "AI_AGENT",
    "AIDER",
    "ANTIGRAVITY_",
    "AUGMENT_",
    "CLAUDE",
    "CODEX_",
    "COPILOT_",
    "CURSOR_",
    "GEMINI_",
    "CARGO_TARGET_",
    "CI",
    "CLICOLOR",
    "COLORTERM",
    "COMPOSE_",
    "DATABASE_URL",
    "DEVRUN_",
    "FORCE_COLOR",
    "GIT_",
    "NEON_",
    "NEXT_",
    "NO_COLOR",
    "OPENCODE",
    "PG",
    "PORT",
    "TMUX",
    "VIRTUAL_ENV",
    "XDG_",
];

/// An isolated environment. Dropping it panics if a process, socket, lock or control group is left.
pub(crate) struct Sandbox {
    id: String,
    root: TempDir,
    runtime: TempDir,
    env: BTreeMap<OsString, OsString>,
}

impl Sandbox {
    /// Makes a sandbox with an empty home and no repository, in the folder for temporary files.
    pub(crate) fn new() -> Sandbox {
        Sandbox::in_folder(&std::env::temp_dir())
    }

    /// Does the same as [`Sandbox::new`], in `place`.
    pub(crate) fn in_folder(place: &Path) -> Sandbox {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = |place: &Path, prefix: &str, mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            tempfile::Builder::new().prefix(prefix).permissions(permissions).tempdir_in(place).unwrap()
        };
        // For root, Postgres runs as another user, which must be able to reach its files.
        let root = folder(place, "devrun-test-", 0o755);
        // On macOS, the path of a socket has at most 104 bytes.
        let runtime = folder(Path::new("/tmp"), "dr-", 0o700);
        let mut sandbox = Sandbox { id, env: inherited(), root, runtime };
        sandbox.furnish();
        sandbox
    }

    fn furnish(&mut self) {
        let home = self.home();
        std::fs::create_dir(&home).unwrap();
        let config = "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n\
                      [commit]\n\tgpgSign = false\n[core]\n\thooksPath = /dev/null\n";
        self.write(&home.join(".gitconfig"), config);
        let programs = Path::new(env!("CARGO_BIN_EXE_devrun-fixture")).parent().unwrap();
        let path = self.env.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let path = std::env::join_paths([programs.into()].into_iter().chain(std::env::split_paths(&path)));
        let runtime = self.runtime.path().to_path_buf();
        self.set("PATH", path.unwrap());
        self.set("XDG_RUNTIME_DIR", runtime);
        for (name, folder) in [
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_CONFIG_HOME", ".config"),
        ] {
            self.set(name, home.join(folder));
        }
        self.set("HOME", home);
        let id = self.id.clone();
        self.set(TAG, id);
    }

    /// Sets a variable for all programs that start after this call.
    pub(crate) fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.env.insert(name.as_ref().into(), value.as_ref().into());
    }

    /// Returns the folder that contains everything except the runtime folder.
    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the home folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Returns the folder of sockets.
    pub(crate) fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    /// Returns the path of the repository, which may not exist yet.
    pub(crate) fn main(&self) -> PathBuf {
        self.path().join("repo")
    }

    /// Makes the repository, on branch `main` with one commit, and returns its folder.
    pub(crate) fn repo(&self) -> PathBuf {
        self.repo_with(&[("README.md", "test\n")])
    }

    /// Does the same as [`Sandbox::repo`], with these files in the commit.
    pub(crate) fn repo_with(&self, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.main();
        std::fs::create_dir(&folder).unwrap();
        for (path, text) in files {
            self.write(&folder.join(path), text);
        }
        self.git(&["init", "-q"]);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "first"]);
        folder
    }

    /// Adds a worktree `name` beside the repository, on a new branch, and returns its folder.
    pub(crate) fn worktree(&self, name: &str, branch: &str) -> PathBuf {
        let folder = self.path().join(name);
        self.git(&["worktree", "add", "-q", "-b", branch, folder.to_str().unwrap()]);
        folder
    }

    /// Writes a file, and creates its folders.
    pub(crate) fn write(&self, path: &Path, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
    }

    /// Runs git in the repository and returns its output. Panics if git fails.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let ended = self.program("git", args).run();
        assert_eq!(ended.code, Some(0), "git {args:?}: {ended}");
        ended.stdout.trim_end().to_string()
    }

    /// Returns a call of devrun, in the repository by default.
    pub(crate) fn devrun(&self, args: &[&str]) -> Invocation {
        self.program(env!("CARGO_BIN_EXE_devrun"), args)
    }

    /// Returns a call of the fixture program. In devrun.yaml it is `devrun-fixture`, on the PATH.
    pub(crate) fn fixture(&self, words: &[&str]) -> Invocation {
        self.program(env!("CARGO_BIN_EXE_devrun-fixture"), words)
    }

    /// Returns a call of any program in this sandbox.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Invocation {
        let main = self.main();
        let directory = if main.is_dir() { main } else { self.path().into() };
        Invocation::new(program.as_ref(), args, &directory, &self.env)
    }

    /// Returns the processes of this sandbox that still run.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.leaks().processes()
    }

    fn leaks(&self) -> Leaks<'_> {
        Leaks { tag: format!("{TAG}={}", self.id), folders: [self.root.path(), self.runtime.path()] }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let left = self.leaks().settle();
        assert!(left.is_empty() || std::thread::panicking(), "left behind:\n{}", left.join("\n"));
    }
}

fn inherited() -> BTreeMap<OsString, OsString> {
    let is_scrubbed = |name: &OsStr| {
        let name = name.to_string_lossy();
        SCRUBBED.iter().any(|entry| match *entry {
            // As prefixes, these would also match unrelated variables.
            "CI" | "PORT" => name == *entry,
            beginning => name.starts_with(beginning),
        })
    };
    std::env::vars_os().filter(|(name, _)| !is_scrubbed(name)).collect()
}
