//! The branch database of the product without its servers.

use serde_json::Value;

use super::without_frontend;
use crate::support::product::{PATIENCE, Product};

#[test]
fn the_database_is_migrated_alone_and_begun_again() {
    let product = Product::shaped(without_frontend);
    let worktree = product.worktree("alone", "alone");
    let ask = |args: &[&str]| -> Value {
        let args = [&["db"], args, &["--json"]].concat();
        let ended = product.devrun_in(&worktree, &args).start().patient(PATIENCE).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        serde_json::from_str(&ended.stdout).unwrap()
    };
    // What the migrations need is installed first; no server but the database's is started, and that one stopped.
    let made = ask(&["migrate"]);
    assert_eq!(made["made"], true, "{made:#}");
    assert_eq!(product.processes(), [], "something runs");
    let first = product.up(&worktree);
    assert_eq!(first.told("Database"), "dev-alone (local: already there, up to date)");
    first.add_lead("acme", "Mine Alone");
    first.stop();
    assert_eq!(ask(&["status"])["migrations"], "up-to-date");
    let reset = ask(&["reset", "--yes"]);
    assert_eq!(reset["parent"], "dev-main", "{reset:#}");
    let second = product.up(&worktree);
    assert_eq!(second.told("Database"), "dev-alone (local: already there, up to date)");
    assert!(!second.leads("acme").contains(&"Mine Alone".to_string()), "{:?}", second.leads("acme"));
    second.stop();
    assert_eq!(product.processes(), [], "something still runs");
}
