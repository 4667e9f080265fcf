//! Tests that must pass on any Neon. They always run on the double, and on the real service with `DEVRUN_TEST_NEON=1`,
//! `NEON_API_KEY` and `NEON_PROJECT_ID`. Neon's own client deletes all branches that they make there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::contract::{MISSING, neonctl};
use super::{double, furnish, ready, stop};
use crate::asking::{fine, skip};
use crate::support::neon::{KEY, PROJECT};
use crate::support::product::PATIENCE;
use crate::support::{Ended, Running, Sandbox};

/// A project of the double or the real service, and a repository that uses it.
struct Place {
    sandbox: Sandbox,
    neonctl: PathBuf,
    key: String,
    project: String,
    /// The beginning of the names of all branches, so that the test touches no others.
    prefix: String,
}

impl Place {
    fn new(neonctl: PathBuf, key: &str, project: &str, host: Option<&str>) -> Place {
        let prefix = format!("dev-test-{}-", std::process::id());
        let mut sandbox = furnish(&format!("  branch: '{prefix}${{branch}}'"), key, project);
        if let Some(host) = host {
            sandbox.set("NEON_API_HOST", host);
        }
        Place { sandbox, neonctl, key: key.into(), project: project.into(), prefix }
    }

    fn ask(&self, args: &[&str]) -> Ended {
        let all = [args, &["--project-id", &self.project, "--no-analytics", "--output", "json"]].concat();
        self.sandbox.program(&self.neonctl, &all).env("NEON_API_KEY", &self.key).run()
    }

    /// Returns the names of the branches of this test.
    fn branches(&self) -> Vec<String> {
        let listed = self.ask(&["branches", "list"]);
        let all: Value =
            serde_json::from_str(&listed.stdout).unwrap_or_else(|error| panic!("{error}: {listed}"));
        let names = all.as_array().unwrap().iter().map(|branch| branch["name"].as_str().unwrap().to_string());
        names.filter(|name| name.starts_with(&self.prefix)).collect()
    }

    fn start(&self, worktree: &Path) -> Running {
        self.sandbox.devrun(&[]).directory(worktree).start().patient(PATIENCE)
    }

    fn run(&self, worktree: &Path) -> Ended {
        stop(ready(self.start(worktree)))
    }

    fn migrated(&self) -> usize {
        let log = std::fs::read_to_string(self.sandbox.path().join("migrations.log"));
        log.unwrap_or_default().lines().count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in self.branches() {
            let ended = self.ask(&["branches", "delete", &name]);
            assert!(ended.code == Some(0) || std::thread::panicking(), "{name} is still there: {ended}");
        }
    }
}

/// Checks that devrun creates and migrates a branch once and uses it later, also if several runs start at once.
fn suite(place: &Place) {
    let alone = place.sandbox.worktree("alone", "feature/Alone");
    let first = place.run(&alone);
    assert!(first.stdout.contains("(neon: created from "), "{first}");
    let name = format!("{}feature/Alone", place.prefix);
    assert_eq!(place.branches(), std::slice::from_ref(&name));
    let second = place.run(&alone);
    assert!(second.stdout.contains(&format!("{name} (neon: already there, up to date)")), "{second}");
    assert_eq!(place.migrated(), 1);

    let together: Vec<PathBuf> = (0..3).map(|at| place.sandbox.path().join(format!("t{at}"))).collect();
    place.sandbox.git(&["branch", "together"]);
    for folder in &together {
        place.sandbox.git(&["worktree", "add", "-q", "-f", folder.to_str().unwrap(), "together"]);
    }
    let running: Vec<Running> = together.iter().map(|folder| place.start(folder)).collect();
    let running: Vec<Running> = running.into_iter().map(ready).collect();
    for running in running {
        stop(running);
    }
    assert_eq!(place.branches().len(), 2);
    assert_eq!(place.migrated(), 2);
    for ended in [first, second] {
        assert!(!format!("{ended}").contains(&place.key), "the key was printed");
    }
    snapshots(place, &alone);
}

/// Checks that the branch of `worktree` is restored from a snapshot, reset and deleted, and that no branch of the snapshot is left.
fn snapshots(place: &Place, worktree: &Path) {
    let db = |args: &[&str]| fine(place.sandbox.devrun(&[&["db"], args].concat()).directory(worktree)).stdout;
    let sql = |statement: &str| db(&["psql", "--", "-XAtqc", statement]).trim().to_string();
    sql("create table kept as select 1 as n");
    db(&["snapshot", "before"]);
    for _ in 0..2 {
        sql("drop table kept");
        db(&["restore", "before", "--yes"]);
        assert_eq!(sql("select n from kept"), "1");
    }
    db(&["reset", "--yes"]);
    assert_eq!(sql("select to_regclass('kept') is null"), "t");
    let own = place.branches().len();
    db(&["delete", "--yes"]);
    assert_eq!(place.branches().len(), own - 1);
    let all = place.ask(&["branches", "list"]).stdout;
    assert!(!all.contains("devrun-snapshot-before-of-"), "{all}");
}

#[test]
fn suite_passes_on_the_double() {
    let Some(neon) = double() else { return };
    let Some(neonctl) = neonctl() else { return skip(MISSING) };
    let place = Place::new(neonctl, KEY, PROJECT, Some(&neon.host()));
    suite(&place);
    drop(place);
    assert_eq!(neon.state().branches.len(), 1, "cleaned up");
}

#[test]
fn suite_passes_on_neon() {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let asked = given("DEVRUN_TEST_NEON").as_deref() == Some("1");
    let (Some(key), Some(project), true) = (given("NEON_API_KEY"), given("NEON_PROJECT_ID"), asked) else {
        return skip("Neon itself is tried with DEVRUN_TEST_NEON=1, NEON_API_KEY and NEON_PROJECT_ID only");
    };
    let Some(neonctl) = neonctl() else { return skip(MISSING) };
    suite(&Place::new(neonctl, &key, &project, given("NEON_API_HOST").as_deref()));
}
