//! The example product on the double, as a new user would try it: the key in one file and two new worktrees. The first run in one of
//! them is killed in the middle of its migration.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::double;
use crate::support::neon::{Call, KEY, Neon, PASSWORD, PROJECT};
use crate::support::product::{PATIENCE, Product, Stack, edit};
use crate::support::wait_for;

/// A migration that sleeps between its two revisions if a file `hold` exists next to the repository.
const HELD: &str = "'alembic upgrade 0001 && { [ ! -e ../../hold ] || sleep 601; } && alembic upgrade head'";

/// Returns the requests since the last call, without those that wait for operations.
fn asked(neon: &Neon) -> Vec<String> {
    let calls = neon.take_calls();
    let polls = |call: &Call| call.path.starts_with("/operations/");
    let kept = calls.into_iter().filter(|call| !polls(call));
    kept.map(|call| format!("{} {} {}", call.method, call.path, call.status)).collect()
}

const FOUND: &str = "GET /branches 200";
const FIRST_RUN: [&str; 4] =
    [FOUND, "POST /branches 201", "GET /connection_uri 200", "GET /connection_uri 200"];

/// Collects the command lines of the product's processes until `over`.
fn look_on(product: &Product, over: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        seen.extend(product.processes().into_iter().map(|process| process.command));
        std::thread::sleep(Duration::from_millis(100));
    }
    seen
}

/// Returns the files below the product's folders that contain `secret`.
fn holders(product: &Product, secret: &str) -> Vec<String> {
    let folders = [product.path(), product.runtime()].map(|folder| folder.to_str().unwrap().to_string());
    let found = product.program("grep", &["-rlF", secret, &folders[0], &folders[1]]).run();
    let mut files: Vec<String> = found.stdout.lines().map(Into::into).collect();
    files.sort();
    files
}

fn killed_in_its_first_migration(product: &Product, neon: &Neon, worktree: &std::path::Path) {
    let hold = product.path().join("hold");
    product.write(&hold, "");
    let running = product.start(worktree);
    wait_for("the first migration", PATIENCE, || {
        let all = product.processes();
        let sleeps = all.iter().any(|process| process.command == "sleep 601");
        if sleeps { Ok(()) } else { Err(format!("{all:#?}\n{}", running.stderr())) }
    });
    for process in product.processes().iter().filter(|process| process.command.ends_with("/devrun")) {
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
    }
    running.wait();
    std::fs::remove_file(hold).unwrap();
    assert_eq!(neon.sql("dev-one", "select version_num from alembic_version"), ["0001"]);
    assert_eq!(asked(neon), FIRST_RUN);
}

#[test]
fn two_worktrees_recover_from_a_killed_migration() {
    let Some(neon) = double() else { return };
    let mut product = Product::shaped(|repository| {
        edit(&repository.join("devrun.yaml"), "run: alembic upgrade head", &format!("run: {HELD}"));
    });
    product.set("NEON_API_HOST", neon.host());
    let env = product.main().join(".env");
    product.write(&env, &format!("NEON_API_KEY={KEY}\nNEON_PROJECT_ID={PROJECT}\n"));
    let (one, two) = (product.worktree("one", "one"), product.worktree("two", "two"));

    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let onlooker = scope.spawn(|| look_on(&product, &over));
        // The guard also stops the other thread if an assertion fails.
        let guard = Over(&over);
        killed_in_its_first_migration(&product, &neon, &one);

        let first = product.up(&one);
        let told = first.told("Database");
        assert!(told.starts_with("dev-one (neon: already there, migrated"), "{told}");
        assert_eq!(asked(&neon), [FOUND]);
        let second = product.up(&two);
        let told = second.told("Database");
        assert!(told.starts_with("dev-two (neon: created from the default branch, migrated"), "{told}");
        assert_eq!(asked(&neon), FIRST_RUN);
        for (name, stack) in [("one", &first), ("two", &second)] {
            let version = neon.sql(&format!("dev-{name}"), "select version_num from alembic_version");
            assert_eq!(version, ["0002"]);
            stack.add_lead("demodev", &format!("Only In {name}"));
        }
        each_shows_its_own(&first, &second);
        let events = events(&product, &one);
        assert!(!events.contains(KEY) && !events.contains(PASSWORD), "{events}");
        for ended in [first.stop(), second.stop()] {
            assert!(!format!("{ended}").contains(KEY) && !format!("{ended}").contains(PASSWORD), "{ended}");
        }

        let (first, second) = (product.up(&one), product.up(&two));
        for (name, stack) in [("one", &first), ("two", &second)] {
            assert_eq!(stack.told("Database"), format!("dev-{name} (neon: already there, up to date)"));
        }
        assert_eq!(asked(&neon), [FOUND, FOUND]);
        each_shows_its_own(&first, &second);
        drop((first.stop(), second.stop()));
        drop(guard);
        onlooker.join().unwrap()
    });
    for command in seen {
        assert!(!command.contains(KEY) && !command.contains(PASSWORD), "{command}");
    }
    assert_eq!(holders(&product, KEY), [env.to_str().unwrap()]);
    let git = product.main().join(".git/worktrees");
    let records = ["one", "two"].map(|name| git.join(name).join("devrun/neon.json").display().to_string());
    assert_eq!(holders(&product, PASSWORD), records);
    product.expect_quiet();
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn each_shows_its_own(first: &Stack, second: &Stack) {
    for (stack, own, others) in
        [(first, "Only In one", "Only In two"), (second, "Only In two", "Only In one")]
    {
        assert_eq!(stack.leads("demodev")[0], own);
        let page = stack.page("demodev").body;
        assert!(page.contains(own) && !page.contains(others), "{page}");
    }
}

/// Returns the output of `devrun events` for a running stack.
fn events(product: &Product, worktree: &std::path::Path) -> String {
    let mut running = product.devrun_in(worktree, &["events"]).start();
    running.expect_line("\"");
    // A shell that starts the tests in the background has SIGINT ignored, and `events` inherits that.
    running.signal_group(Signal::SIGTERM);
    running.wait().stdout
}
