//! Provides the environment of the tests of `deps`: a separate worktree, state folder, home and PATH, with programs
//! that only record their calls.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::context::{Context, Dirs};
use crate::deps::{ToolEnv, find};
use crate::event::{Event, Events};
use crate::os::fs::replace;

pub(crate) struct TestEnv {
    pub dir: tempfile::TempDir,
    pub ctx: Context,
    pub env: ToolEnv,
    told: Arc<Mutex<Vec<Event>>>,
}

impl TestEnv {
    /// Creates an environment whose PATH has only the programs that a test adds to `bin`, and the system's basic shell tools.
    pub(crate) fn new() -> TestEnv {
        let dir = tempfile::Builder::new().prefix("devrun-deps").tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["wt", "state", "home", "bin", "system"] {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        let whole: ToolEnv = std::env::vars_os().collect();
        for program in ["sh", "mkdir", "cat", "sleep", "rm", "pwd", "ln", "chmod"] {
            symlink(find(&whole, program).unwrap(), root.join("system").join(program)).unwrap();
        }
        let path = std::env::join_paths([root.join("bin"), root.join("system")]).unwrap();
        let env: ToolEnv =
            [("PATH", path), ("HOME", root.join("home").into()), ("CALLS", root.join("calls").into())]
                .map(|(name, value)| (name.into(), value))
                .into();
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        let ctx = Context {
            cwd: root.join("wt"),
            dirs: Dirs {
                state: root.join("state"),
                data: root.join("data"),
                cache: root.join("cache"),
                runtime: root.join("run"),
            },
            env: env.clone(),
            events: Events::new(move |event| keep.lock().unwrap().push(event)),
            started: std::time::Instant::now(),
            colour: false,
        };
        TestEnv { dir, ctx, env, told }
    }

    /// Creates an environment like [`TestEnv::new`], but with the machine's own PATH and network settings; only HOME differs.
    pub(crate) fn real() -> TestEnv {
        let mut stage = TestEnv::new();
        let own = stage.env.clone();
        stage.env = std::env::vars_os()
            .filter(|(name, _)| {
                let name = name.to_string_lossy();
                let lost = ["XDG_", "npm_", "NPM_", "PNPM_", "UV_", "VIRTUAL_ENV", "PYTHON", "CARGO"];
                !lost.iter().any(|prefix| name.starts_with(prefix))
            })
            .collect();
        stage.env.insert("HOME".into(), own[OsStr::new("HOME")].clone());
        stage.ctx.env = stage.env.clone();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file below the folder of the environment.
    pub(crate) fn write(&self, name: &str, text: &str) {
        replace(&self.path(name), text.as_bytes(), 0o644).unwrap();
    }

    /// Adds a program to PATH that records its name, folder and arguments in `calls`, then runs `script`.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\necho \"{name} [${{PWD##*/}}] $*\" >> \"$CALLS\"\n{script}\n");
        replace(&self.path("bin").join(name), text.as_bytes(), 0o755).unwrap();
    }

    /// Returns the recorded calls, one line each.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(Into::into).collect()
    }

    /// Returns how many events contain `needle` in their debug form.
    pub(crate) fn count_events(&self, needle: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|event| format!("{event:?}").contains(needle)).count()
    }

    /// Waits until the file exists.
    pub(crate) async fn appears(path: &Path) {
        while !path.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
