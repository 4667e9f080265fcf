//! Copies of a database while the product writes to it: uvicorn with its pool of connections.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::without_frontend;
use crate::support::pester::Raise;
use crate::support::product::Product;
use crate::support::{Ended, Running, http, wait_for};

/// The number of threads that add leads.
const WRITERS: usize = 4;

/// Adds leads until `stop` is set, and puts the names of the leads that the product has accepted into `accepted`. Panics if the product
/// does not accept a lead.
fn write(port: u16, writer: usize, accepted: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{writer}-{number}");
        let lead = json!({ "tenant": "demodev", "name": name, "company": "A Company", "value": 1 });
        let answer = http::post(port, "/leads", &lead);
        assert_eq!(answer.status, 201, "{answer:?}");
        accepted.lock().unwrap().insert(name);
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the names of the leads in the database of `worktree` that [`write`] has added.
fn leads(product: &Product, worktree: &Path) -> BTreeSet<String> {
    let sql = "SELECT name FROM leads WHERE name ~ '^[0-9]+-[0-9]+$'";
    let ended = product.devrun_in(worktree, &["db", "psql", "--", "-XAtc", sql]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended.stdout.lines().map(Into::into).collect()
}

/// Copies the database to all `worktrees` at once. Returns the status and output of each devrun.
fn copy(product: &Product, worktrees: &[PathBuf]) -> Vec<Ended> {
    let start = |worktree: &PathBuf| product.devrun_in(worktree, &["db", "migrate"]).start();
    let all: Vec<Running> = worktrees.iter().map(start).collect();
    all.into_iter().map(Running::wait).collect()
}

#[test]
fn ten_worktrees_copy_a_database_while_the_product_writes_to_it() {
    let product = Product::shaped(without_frontend);
    let main = product.up(&product.main());
    let worktrees: Vec<PathBuf> =
        (0..10).map(|n| product.worktree(&format!("w{n}"), &format!("w{n}"))).collect();
    let (port, stop, accepted) = (main.port("Backend"), AtomicBool::new(false), Mutex::default());
    let (before, copied) = thread::scope(|scope| {
        let _stop = Raise(&stop);
        for writer in 0..WRITERS {
            let (accepted, stop) = (&accepted, &stop);
            scope.spawn(move || write(port, writer, accepted, stop));
        }
        wait_for("the first leads", Duration::from_mins(1), || {
            let count = accepted.lock().unwrap().len();
            if count > 20 { Ok(()) } else { Err(count.to_string()) }
        });
        let before = accepted.lock().unwrap().clone();
        (before, copy(&product, &worktrees))
    });
    let all = leads(&product, &product.main());
    let accepted = accepted.into_inner().unwrap();
    assert!(all.is_superset(&accepted), "an accepted lead is lost");
    for (worktree, ended) in worktrees.iter().zip(&copied) {
        assert!(ended.code == Some(0) && !ended.stderr.contains("warning: "), "{ended}");
        let copy = leads(&product, worktree);
        assert!(copy.is_superset(&before), "a lead from before the copy is missing: {ended}");
        assert!(copy.is_subset(&all) && copy.len() < all.len(), "{} of {}: {ended}", copy.len(), all.len());
    }
    main.stop();
    assert_eq!(product.processes(), [], "processes are left");
}
