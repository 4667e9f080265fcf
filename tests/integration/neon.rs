//! Branch databases on Neon, with the real devrun, and the double with a real Postgres in place of the service.

#[path = "neon/asleep.rs"]
mod asleep;
#[path = "neon/contract.rs"]
mod contract;
#[path = "neon/faults.rs"]
mod faults;
#[path = "neon/keys.rs"]
mod keys;
#[path = "neon/machines.rs"]
mod machines;
#[path = "neon/naive.rs"]
mod naive;
#[path = "neon/product.rs"]
mod product;
#[path = "neon/proxy.rs"]
mod proxy;
#[path = "neon/prune.rs"]
mod prune;
#[path = "neon/real.rs"]
mod real;
#[path = "neon/renamed.rs"]
mod renamed;
#[path = "neon/runs.rs"]
mod runs;
#[path = "neon/snapshots.rs"]
mod snapshots;
#[path = "neon/undo.rs"]
mod undo;

use std::path::{Path, PathBuf};

use devrun::testing::context::{Context, Dirs};
use devrun::testing::database::neon::{Grant, Key, Neon as Client, NeonProject, NeonRequest, Pace};
use devrun::testing::database::{BranchDatabase, WantedDatabase};
use devrun::testing::error::Report;
use devrun::testing::event::Events;
use nix::sys::signal::Signal;

use crate::asking::{base, skip_without};
use crate::support::neon::{Call, KEY, Neon, PROJECT};
use crate::support::{Ended, Invocation, Running, Sandbox};

/// The double, a repository that uses it, and a file to which every migration adds a line.
struct World {
    sandbox: Sandbox,
    neon: Neon,
}

impl World {
    /// Makes a repository. Returns `None` and reports a skipped test if Postgres is not installed.
    fn new(database: &str) -> Option<World> {
        Some(World::around(double()?, database))
    }

    fn around(neon: Neon, database: &str) -> World {
        let mut sandbox = furnish(database, KEY, PROJECT);
        sandbox.set("NEON_API_HOST", neon.host());
        World { sandbox, neon }
    }

    fn devrun(&self, worktree: &Path, args: &[&str]) -> Invocation {
        self.sandbox.devrun(args).directory(worktree)
    }

    /// Starts a stack, waits until it is ready, and stops it.
    #[track_caller]
    fn run(&self, worktree: &Path, args: &[&str]) -> Ended {
        let running = ready(self.devrun(worktree, args).start());
        stop(running)
    }

    /// Runs devrun and returns its failure. Panics unless it fails with this code.
    #[track_caller]
    fn fail(&self, worktree: &Path, args: &[&str], code: &str) -> Ended {
        let ended = self.devrun(worktree, args).run();
        assert!(ended.code != Some(0) && ended.stderr.contains(&format!("[{code}]")), "{ended}");
        assert!(!format!("{ended}").contains(KEY), "{ended}");
        ended
    }

    /// Returns a line for each migration so far: the git branch and the database.
    fn migrated(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path().join("migrations.log")).unwrap_or_default();
        text.lines().map(Into::into).collect()
    }

    fn worktree(&self, name: &str, branch: &str) -> PathBuf {
        self.sandbox.worktree(name, branch)
    }
}

/// Makes a repository where each migration adds a line to a file. Key and project are in the main worktree only.
fn furnish(database: &str, key: &str, project: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("migrations.log");
    let text = format!(
        "ports: {{ web: {} }}\ndatabase:\n  migrate:\n    run: '[ ! -e ../hold ] || sleep 601; echo \"$DEVRUN_BRANCH ${{DATABASE_URL##*@}}\" >> {}'\n    \
             inputs: [migrations/*.sql]\n{database}\nprocesses:\n  web:\n    run: [devrun-fixture, 'env:DATABASE_URL', \
             'env:DATABASE_URL_UNPOOLED', ready, sleep]\n    ready: {{ log: ready }}\n",
        base(),
        log.display()
    );
    sandbox.repo_with(&[
        ("devrun.yaml", &text),
        ("migrations/1.sql", "select 1;\n"),
        (".gitignore", ".env\n"),
    ]);
    // Other worktrees have no `.env`.
    let env = format!("NEON_API_KEY={key}\nNEON_PROJECT_ID={project}\n");
    sandbox.write(&sandbox.main().join(".env"), &env);
    sandbox
}

/// Starts the double. Returns `None` and reports a skipped test if Postgres is not installed.
fn double() -> Option<Neon> {
    let neon = Neon::start();
    if neon.is_none() {
        skip_without(&["postgres"]);
    }
    neon
}

#[track_caller]
fn ready(mut running: Running) -> Running {
    running.expect_line("^  Ready in ");
    running
}

#[track_caller]
fn stop(running: Running) -> Ended {
    running.signal_group(Signal::SIGINT);
    running.wait()
}

/// Counts the successful calls that created a branch.
fn creations(calls: &[Call]) -> usize {
    calls
        .iter()
        .filter(|call| call.method == "POST" && call.path == "/branches" && call.status == 201)
        .count()
}

/// Gets a branch of the double through the provider itself, with a new state folder.
fn ensure(neon: &Neon, name: &str, change: impl FnOnce(&mut NeonRequest)) -> Result<BranchDatabase, Report> {
    let dir = tempfile::tempdir().unwrap();
    ensure_in(neon, dir.path(), name, change)
}

fn ensure_in(
    neon: &Neon,
    state: &Path,
    name: &str,
    change: impl FnOnce(&mut NeonRequest),
) -> Result<BranchDatabase, Report> {
    let ctx = Context {
        cwd: state.into(),
        env: std::collections::BTreeMap::default(),
        dirs: Dirs {
            state: state.join("s"),
            data: state.join("d"),
            cache: state.join("c"),
            runtime: state.join("r"),
        },
        events: Events::discarded(),
        started: std::time::Instant::now(),
        colour: false,
    };
    let mut request = NeonRequest {
        host: Some(neon.host()),
        key: Key::new(KEY, "NEON_API_KEY (a test)").unwrap(),
        project: NeonProject { id: PROJECT.into(), origin: "a test".into() },
        parent: None,
        database: None,
        role: None,
        pooled: true,
        schema_only: false,
        expires_in: None,
        suspend_timeout: None,
        compute_units: None,
        repository: "repo".into(),
        state: state.into(),
        grant: Grant::No,
        pace: Pace::default(),
    };
    change(&mut request);
    let wanted = WantedDatabase {
        label: name.into(),
        name: name.into(),
        parent: String::new(),
        worktree: state.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ensuring = async { Client::open(&ctx, request)?.ensure(&wanted).await };
    tokio::task::LocalSet::new().block_on(&runtime, ensuring)
}
