//! The branch database of the product, without its servers.

use serde_json::Value;

use super::without_frontend;
use crate::support::product::{PATIENCE, Product};

#[test]
fn db_verbs_work_without_servers() {
    let product = Product::shaped(without_frontend);
    let worktree = product.worktree("alone", "alone");
    let ask = |args: &[&str]| -> Value {
        let args = [&["db"], args, &["--json"]].concat();
        let ended = product.devrun_in(&worktree, &args).start().patient(PATIENCE).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        serde_json::from_str(&ended.stdout).unwrap()
    };
    // `migrate` installs the packages that migrations need. It starts only the database server, and stops it again.
    let made = ask(&["migrate"]);
    assert_eq!(made["made"], true, "{made:#}");
    assert_eq!(product.processes(), [], "something runs");
    let first = product.up(&worktree);
    assert_eq!(first.told("Database"), "dev-alone (local: already there, up to date)");
    first.add_lead("acme", "Mine Alone");
    first.stop();
    let status = ask(&["status"]);
    assert_eq!(
        (&status["migrations"], &status["revisions"]),
        (&"up-to-date".into(), &status["heads"]),
        "{status:#}"
    );
    let reset = ask(&["reset", "--yes"]);
    assert_eq!(reset["parent"], "dev-main", "{reset:#}");
    let second = product.up(&worktree);
    assert_eq!(second.told("Database"), "dev-alone (local: already there, up to date)");
    assert!(!second.leads("acme").contains(&"Mine Alone".to_string()), "{:?}", second.leads("acme"));
    second.stop();
    assert_eq!(product.processes(), [], "something still runs");
}
