//! Repositories without a configuration, checkouts without a branch, and tools that only devrun has.

use super::without_first_page;
use std::path::Path;

use crate::support::http;
use crate::support::product::Product;
use crate::support::shape::{lay, lock_python};

#[test]
fn recognised_product_runs_on_a_detached_head() {
    let product = Product::shaped(|repository| std::fs::remove_file(repository.join("devrun.yaml")).unwrap());
    let worktree = product.path().join("detached");
    product.git(&["worktree", "add", "-q", "--detach", worktree.to_str().unwrap()]);
    let stack = product.up(&worktree);
    for part in ["Next.js in frontend", "FastAPI in backend (app.main:app)", "Alembic in backend"] {
        assert!(stack.stderr().contains(part), "{part} was not recognised: {}", stack.stderr());
    }
    assert!(stack.told("Worktree").ends_with("/detached, detached HEAD"), "{}", stack.told("Worktree"));
    assert!(stack.told("Database").starts_with("dev-detached-detached-"), "{}", stack.told("Database"));
    assert!(stack.told("Database").contains("created from dev-main"), "{}", stack.told("Database"));
    let page = stack.page("acme");
    assert!(page.status == 200 && page.body.contains("Rosa Delgado"), "{page:?}");
    let database = stack.database();

    // `exec` works from a subfolder while the stack runs.
    let backend = worktree.join("backend");
    let current = product.devrun_in(&backend, &["exec", "--", "alembic", "current"]).run();
    assert_eq!((current.code, current.stdout.trim()), (Some(0), "0002 (head)"), "{current}");
    let code = "import os, sys, psycopg; c = psycopg.connect(os.environ['DATABASE_URL']); \
                print(sys.prefix, c.execute('select current_database()').fetchone()[0])";
    let python = product.devrun_in(&backend, &["exec", "--", "python", "-c", code]).run();
    let venv = backend.join(".venv").canonicalize().unwrap();
    assert_eq!(python.stdout.trim(), format!("{} {database}", venv.display()), "{python}");
    let missing = product.devrun_in(&backend, &["exec", "--", "no-such-program"]).run();
    assert_eq!(missing.code, Some(127), "{missing}");

    let shown = product.devrun_in(&worktree, &["env", "--format", "dotenv"]).run();
    let state = product.cluster_state();
    let password = state["app_password"].as_str().unwrap();
    assert!(
        shown.stdout.contains("DATABASE_URL='********'\n") && !shown.stdout.contains(password),
        "{shown}"
    );
    assert!(shown.stdout.contains(&format!("BACKEND_PORT='{}'\n", stack.port("Backend"))), "{shown}");
    let bare = product.devrun_in(&worktree, &["env", "--format", "dotenv", "--reveal"]).run();
    assert!(bare.stdout.contains(&format!(":{password}@")), "{bare}");
    stack.stop();
    assert_eq!(product.processes(), [], "processes are left");
}

#[test]
fn processes_can_use_the_package_manager_that_devrun_fetched() {
    let product = Product::shaped(without_first_page);
    let worktree = product.worktree("tools", "tools");
    let stack = product.up(&worktree);
    let running = product.processes();
    assert!(running.iter().any(|process| process.command.starts_with("next-server")), "{running:#?}");
    stack.stop();
    assert_eq!(product.processes(), [], "processes are left");

    // The tool is also available to `exec`, and to a second start, which installs nothing.
    let version = product.devrun_in(&worktree, &["exec", "--", "pnpm", "--version"]).run();
    assert_eq!((version.code, version.stdout.trim()), (Some(0), "12.21.0"), "{version}");
    product.up(&worktree).stop();
    let own = product.path().join("own");
    product.write(&own.join("pnpm"), "#!/bin/sh\necho own\n");
    let path = format!("{}:{}", own.display(), product.path().join("bin").display());
    product.program("chmod", &["+x", own.join("pnpm").to_str().unwrap()]).run();
    let version = product.devrun_in(&worktree, &["exec", "--", "pnpm", "--version"]).env("PATH", path).run();
    assert_eq!(version.stdout.trim(), "own", "what the user has comes first: {version}");
}

#[test]
fn packages_of_two_folders_and_plain_sql_are_prepared_in_each_worktree() {
    let product = Product::made(|repository: &Path| {
        lay("sql-folders", repository);
        for folder in ["api", "reports"] {
            lock_python(&repository.join(folder));
        }
    });
    product.provide("psql");
    let names = ["first", "second"];
    let stacks = names.map(|name| product.up(&product.worktree(name, name)));
    for (name, stack) in names.into_iter().zip(&stacks) {
        for folder in ["api", "reports"] {
            assert!(product.path().join(name).join(folder).join(".venv").is_dir(), "{name}/{folder}");
        }
        let items = http::get(stack.port("Reports"), "localhost", "/");
        assert_eq!((items.status, items.body.as_str()), (200, r#"["one"]"#), "{}", stack.stderr());
        let added = http::post(stack.port("Backend"), "/items", &serde_json::json!({}));
        assert_eq!((added.status, added.body), (200, format!("\"dev-{name}\"")));
        let items = http::get(stack.port("Reports"), "localhost", "/");
        assert_eq!(items.body, r#"["one","two"]"#, "{name}");
    }
    for stack in stacks {
        stack.stop();
    }
    assert_eq!(product.processes(), [], "processes are left");
}
