//! `devrun db` on the local provider: a real Postgres, the real devrun, no stack unless a test starts one.

#[path = "db/careful.rs"]
mod careful;
#[path = "db/looking.rs"]
mod looking;
#[path = "db/psql.rs"]
mod psql;
#[path = "db/starting_over.rs"]
mod starting_over;
#[path = "db/together.rs"]
mod together;

use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use serde_json::Value;

use crate::asking::{base, fine, json, skip};
use crate::support::{Ended, Invocation, LIMIT, Running, Sandbox, wait_for};

/// A repository with a local database, and a file to which every migration adds a line.
struct World {
    sandbox: Sandbox,
}

impl World {
    /// `None`, and says so, where Postgres is not installed.
    fn new() -> Option<World> {
        World::with("")
    }

    /// With more lines in the `database` section.
    fn with(lines: &str) -> Option<World> {
        let mut found = glob::glob("/usr/lib/postgresql/*/bin").unwrap().flatten();
        let Some(bin) = found.find(|bin| bin.join("initdb").is_file()) else {
            skip("there is no Postgres on this machine");
            return None;
        };
        let mut sandbox = Sandbox::new();
        // As root the server is another user, who must be let in there.
        let data = sandbox.path().join("data");
        sandbox.set("XDG_DATA_HOME", data);
        // Nothing here needs to survive a power cut.
        sandbox.set("CI", "1");
        let log = sandbox.path().join("migrations.log");
        // As long as the pipe `hold` is there, a migration waits in the middle; it may be removed between the two looks.
        let run = format!(
            "echo \"$DEVRUN_BRANCH ${{DATABASE_URL##*/}}\" >> {}; [ ! -e {hold} ] || cat {hold} || true",
            log.display(),
            hold = sandbox.path().join("hold").display()
        );
        let text = format!(
            "ports: {{ web: {} }}\ndatabase:\n  provider: local\n  local: {{ bin: {} }}\n  migrate:\n    run: '{run}'\n    \
             inputs: [migrations/*.sql]\n{lines}\nprocesses:\n  web:\n    run: [devrun-fixture, ready, sleep]\n    \
             ready: {{ log: ready }}\n",
            base(),
            bin.display()
        );
        sandbox.repo_with(&[("devrun.yaml", &text), ("migrations/1.sql", "select 1;\n")]);
        Some(World { sandbox })
    }

    fn worktree(&self, name: &str) -> PathBuf {
        self.sandbox.worktree(name, name)
    }

    /// `devrun db ARGS`.
    fn db(&self, worktree: &Path, args: &[&str]) -> Invocation {
        self.sandbox.devrun(&[&["db"], args].concat()).directory(worktree)
    }

    /// What `devrun db ARGS --json` answers; nothing runs any more when it has.
    #[track_caller]
    fn ask(&self, worktree: &Path, args: &[&str]) -> Value {
        json(&fine(self.db(worktree, &[args, &["--json"]].concat())))
    }

    /// Runs `devrun ARGS`, which must succeed.
    #[track_caller]
    fn devrun(&self, worktree: &Path, args: &[&str]) -> Ended {
        fine(self.sandbox.devrun(args).directory(worktree))
    }

    /// Runs SQL through `devrun db psql` and returns what it prints.
    #[track_caller]
    fn sql(&self, worktree: &Path, statement: &str) -> String {
        let args = ["psql", "--", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement];
        fine(self.db(worktree, &args)).stdout.trim_end().to_string()
    }

    /// The databases that migrations ran in, one for each time.
    fn migrated(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path().join("migrations.log")).unwrap_or_default();
        text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_string())).collect()
    }

    /// Makes migrations wait in the middle, or go on.
    fn hold(&self, on: bool) {
        let pipe = self.sandbox.path().join("hold");
        if on {
            nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        } else {
            // Who waits for a writer sees one come and go.
            let _writer = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
            std::fs::remove_file(pipe).unwrap();
        }
    }

    /// A reset of `dev-x`, which is there, that waits in the middle of its migration.
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

    /// The password of applications.
    fn password(&self) -> String {
        let clusters = std::fs::read_dir(self.sandbox.path().join("data/devrun-worktree/pg")).unwrap();
        let state =
            clusters.flatten().find_map(|entry| std::fs::read(entry.path().join("state.json")).ok()).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        state["app_password"].as_str().unwrap().into()
    }
}
