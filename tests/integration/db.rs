//! `devrun db` with the real devrun: on the local provider with a real Postgres, unless a module names another provider. No stack runs
//! unless a test starts one.

#[path = "db/careful.rs"]
mod careful;
#[path = "db/command.rs"]
mod command;
#[path = "db/diff.rs"]
mod diff;
#[path = "db/docker.rs"]
mod docker;
#[path = "db/drift.rs"]
mod drift;
#[path = "db/elsewhere.rs"]
mod elsewhere;
#[path = "db/extensions.rs"]
mod extensions;
#[path = "db/group.rs"]
mod group;
#[path = "db/heads.rs"]
mod heads;
#[path = "db/import.rs"]
mod import;
#[path = "db/looking.rs"]
mod looking;
#[path = "db/moved.rs"]
mod moved;
#[path = "db/programs.rs"]
mod programs;
#[path = "db/psql.rs"]
mod psql;
#[path = "db/renamed.rs"]
mod renamed;
#[path = "db/seed.rs"]
mod seed;
#[path = "db/server.rs"]
mod server;
#[path = "db/snapshots.rs"]
mod snapshots;
#[path = "db/sql.rs"]
mod sql;
#[path = "db/starting_over.rs"]
mod starting_over;
#[path = "db/together.rs"]
mod together;
#[path = "db/upgrade.rs"]
mod upgrade;
#[path = "db/url.rs"]
mod url;

use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use serde_json::Value;

use crate::asking::{base, fine, json, postgres_or_skip};
use crate::support::{Ended, Invocation, LIMIT, Running, Sandbox, wait_for};

/// A repository with a local database, and a file to which every migration adds a line.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
}

impl World {
    /// Makes a repository. Returns `None` and reports a skipped test if Postgres is not installed.
    pub(crate) fn new() -> Option<World> {
        World::with("")
    }

    /// Does the same with `lines` after those of the `database` section.
    pub(crate) fn with(lines: &str) -> Option<World> {
        let bin = postgres_or_skip()?;
        let mut sandbox = Sandbox::new();
        // For root, the server runs as another user, which must have access to this folder.
        let data = sandbox.path().join("data");
        sandbox.set("XDG_DATA_HOME", data);
        let log = sandbox.path().join("migrations.log");
        // While the pipe `hold` exists, a migration waits in the middle. The pipe may be removed between test and read.
        let run = format!(
            "echo \"$DEVRUN_BRANCH ${{DATABASE_URL##*/}}\" >> {}; [ ! -e {hold} ] || cat {hold} || true",
            log.display(),
            hold = sandbox.path().join("hold").display()
        );
        let text = format!(
            "ports: {{ web: {} }}\ndatabase:\n  provider: local\n  local: {{ bin: {}, durability: fast }}\n  migrate:\n    run: '{run}'\n    \
             inputs: [migrations/*.sql]\n{lines}\nprocesses:\n  web:\n    run: [devrun-fixture, ready, sleep]\n    \
             ready: {{ log: ready }}\n",
            base(),
            bin.display()
        );
        sandbox.repo_with(&[("devrun.yaml", &text), ("migrations/1.sql", "select 1;\n")]);
        Some(World { sandbox })
    }

    pub(crate) fn worktree(&self, name: &str) -> PathBuf {
        self.sandbox.worktree(name, name)
    }

    /// Returns a call of `devrun db ARGS`.
    fn db(&self, worktree: &Path, args: &[&str]) -> Invocation {
        self.sandbox.devrun(&[&["db"], args].concat()).directory(worktree)
    }

    /// Returns the answer of `devrun db ARGS --json`.
    #[track_caller]
    pub(crate) fn ask(&self, worktree: &Path, args: &[&str]) -> Value {
        json(&fine(self.db(worktree, &[args, &["--json"]].concat())))
    }

    /// Runs `devrun ARGS`. Panics if it fails.
    #[track_caller]
    pub(crate) fn devrun(&self, worktree: &Path, args: &[&str]) -> Ended {
        fine(self.sandbox.devrun(args).directory(worktree))
    }

    /// Runs SQL through `devrun db psql` and returns what it prints.
    #[track_caller]
    pub(crate) fn sql(&self, worktree: &Path, statement: &str) -> String {
        let args = ["psql", "--", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement];
        fine(self.db(worktree, &args)).stdout.trim_end().to_string()
    }

    /// Returns the database of each migration that ran.
    pub(crate) fn migrated(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path().join("migrations.log")).unwrap_or_default();
        text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_string())).collect()
    }

    /// Makes migrations wait in the middle, or lets them continue.
    fn hold(&self, on: bool) {
        let pipe = self.sandbox.path().join("hold");
        if on {
            nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        } else {
            // A reader that waits for a writer sees it open and close the pipe.
            let _writer = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
            std::fs::remove_file(pipe).unwrap();
        }
    }

    /// Makes `dev-x` and starts a reset of it, which waits in the middle of its migration.
    fn held_reset(&self, x: &Path) -> Running {
        self.ask(x, &["migrate"]);
        self.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
        self.hold(true);
        let reset = self.db(x, &["reset", "--yes"]).start();
        wait_for("the migration", LIMIT, || {
            if self.migrated().len() == 2 { Ok(()) } else { Err(format!("{:?}", self.migrated())) }
        });
        reset
    }

    /// Returns the password of the role that applications use.
    fn password(&self) -> String {
        let clusters = std::fs::read_dir(self.sandbox.path().join("data/devrun-worktree/pg")).unwrap();
        let state =
            clusters.flatten().find_map(|entry| std::fs::read(entry.path().join("state.json")).ok()).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        state["app_password"].as_str().unwrap().into()
    }
}
