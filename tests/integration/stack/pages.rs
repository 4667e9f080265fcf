//! Repositories whose code names ports and databases of one shared copy. Without a configuration, each of two worktrees reaches its own
//! servers and database, also from a browser.

use std::path::Path;

use crate::support::browser::{Browser, Window};
use crate::support::product::{Product, Stack};
use crate::support::shape::{lay, lock_node, lock_python};

/// Brings `product` up in two worktrees and opens both pages. Each page must show `said` and the worktree's name, and request only
/// ports of its worktree.
fn each_page_reaches_its_own_backend(product: &Product, said: &str) {
    let names = ["first", "second"];
    let stacks = names.map(|name| product.up(&product.worktree(name, name)));
    if let Some(browser) = Browser::find(product) {
        let dump = ["--dump-dom", "--virtual-time-budget=12000"];
        let open = |(name, stack): (&str, &Stack)| {
            browser.visit(name, stack, &format!("{}/", stack.told("Frontend")), &dump)
        };
        let windows: Vec<Window> = names.into_iter().zip(&stacks).map(open).collect();
        for (name, window) in names.into_iter().zip(windows) {
            let ended = window.wait();
            let wanted = format!("{said}{name}");
            assert!(ended.stdout.contains(&wanted), "{wanted:?} in the browser: {ended}");
        }
    }
    for (name, stack) in names.into_iter().zip(stacks) {
        let status = product.devrun_in(&product.path().join(name), &["status", "--json"]).run();
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        assert!(status["isolation"].is_null(), "{status:#}");
        stack.stop();
    }
    assert_eq!(product.processes(), [], "processes are left");
}

#[test]
fn a_rewrite_with_a_port_in_it_reaches_the_backend_of_its_worktree() {
    let fill = |repository: &Path| {
        lay("next-api", repository);
        lock_node(repository);
        lock_python(repository);
    };
    each_page_reaches_its_own_backend(&Product::made(fill), "served by ");
}

#[test]
fn a_page_and_the_parts_of_a_database_address_lead_to_the_worktree() {
    let fill = |repository: &Path| {
        lay("parts", repository);
        lock_node(&repository.join("frontend"));
        lock_python(&repository.join("backend"));
    };
    each_page_reaches_its_own_backend(&Product::made(fill), "served from dev-");
}
