//! Several worktrees of one repository at once, looked at through a browser.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::support::Running;
use crate::support::product::{PATIENCE, Product, Stack, find, project};

#[test]
fn worktrees_run_side_by_side_and_each_shows_its_own_rows() {
    let product = Product::new();
    let main = product.up(&product.main());
    assert!(
        main.told("Database").starts_with("dev-main (local: created empty, migrated"),
        "{}",
        main.told("Database")
    );
    main.add_lead("demodev", "Added In Main");

    // While main runs and is connected to its database.
    let first = product.worktree("first", "first");
    let first = product.up(&first);
    let told = first.stderr();
    assert!(
        first.told("Database").contains("dev-first (local: created from dev-main"),
        "{}",
        first.told("Database")
    );
    let warning = told.lines().find(|line| line.starts_with("warning: dev-main was in use: to copy it, "));
    assert!(warning.is_some_and(|line| line.contains("leadboard")), "not told what happened to main: {told}");
    assert!(!told.contains("alembic"), "a copy of a migrated database is migrated: {told}");
    assert_eq!(first.leads("demodev"), main.leads("demodev"));
    assert_eq!(first.leads("acme"), main.leads("acme"));
    assert_eq!(first.leads("demodev")[0], "Added In Main");

    let second = product.worktree("second", "second");
    let second = product.up(&second);
    let all = [("main", &main), ("first", &first), ("second", &second)];
    for (name, stack) in all {
        stack.add_lead("demodev", &format!("Only In {name}"));
    }
    for (name, stack) in all {
        assert_eq!(stack.database(), format!("dev-{name}"));
        let ports = [stack.port("Frontend"), stack.port("Backend")];
        assert!(all.iter().all(|(other, o)| *other == name || !ports.contains(&o.port("Frontend"))));
        let page = stack.page("demodev").body;
        for (other, _) in all {
            assert_eq!(
                page.contains(&format!("Only In {other}")),
                other == name,
                "{other} on the page of {name}"
            );
        }
        assert!(page.contains("Added In Main"), "{name} has what was there before");
    }

    browse(&product, &[("first", &first), ("second", &second)]);
    for stack in [first, second, main] {
        stack.stop();
    }
    assert_eq!(product.processes(), [], "processes are left");
}

/// Looks at these worktrees at once through Chromium, and keeps pictures in `artifacts` of the project.
fn browse(product: &Product, stacks: &[(&str, &Stack)]) {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let Some(chromium) = names.iter().find_map(|name| find(name)) else {
        // Past the test harness, which keeps quiet about tests that pass.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: no Chromium on PATH, so no browser looked at the pages");
        return;
    };
    let asked = |stack: &Stack| stack.stdout().matches("\"GET /leads?tenant=demodev HTTP/1.1\" 200").count();
    let before: Vec<usize> = stacks.iter().map(|(_, stack)| asked(stack)).collect();
    // Beyond the first poll of the page's own code.
    let dump = ["--dump-dom", "--virtual-time-budget=12000"];
    let open = |(name, stack): &(&str, &Stack)| visit(product, &chromium, name, &stack.told("Tenant"), &dump);
    let windows: Vec<Running> = stacks.iter().map(open).collect();
    for (((name, stack), window), before) in stacks.iter().zip(windows).zip(before) {
        let ended = window.wait();
        let page = &ended.stdout;
        assert!(page.contains(&format!("Only In {name}")), "{name} in the browser: {ended}");
        assert!(
            page.contains(&format!("dev-{name}")) && page.contains(">Live<"),
            "{name} in the browser: {ended}"
        );
        let others = stacks.iter().filter(|(other, _)| other != name);
        assert!(others.into_iter().all(|(other, _)| !page.contains(&format!("Only In {other}"))), "{page}");
        // Once for the server's rendering; more only when the page runs and reaches the API from its own origin.
        let asked = asked(stack) - before;
        assert!(asked > 1, "the page of {name} does not live in the browser: asked {asked} times: {ended}");
    }
    let artifacts = project().join("artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    let picture = |name: &str| artifacts.join(format!("leadboard-{name}.png"));
    let shoot = |(name, stack): &(&str, &Stack)| {
        let _ = std::fs::remove_file(picture(name));
        let shot = format!("--screenshot={}", picture(name).display());
        visit(product, &chromium, name, &stack.told("Tenant"), &[&shot, "--window-size=1280,900"])
    };
    let windows: Vec<Running> = stacks.iter().map(shoot).collect();
    for ((name, _), window) in stacks.iter().zip(windows) {
        let ended = window.wait();
        assert!(
            picture(name).metadata().is_ok_and(|meta| meta.len() > 10_000),
            "no picture of {name}: {ended}"
        );
    }
}

fn visit(product: &Product, chromium: &Path, name: &str, url: &str, more: &[&str]) -> Running {
    let profile = format!("--user-data-dir={}", product.path().join(format!("chromium-{name}")).display());
    let mut args = vec![
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &profile,
    ];
    // Chromium has no sandbox for root.
    args.extend(geteuid().is_root().then_some("--no-sandbox"));
    args.extend(more);
    args.push(url);
    let path = std::env::var_os("PATH").unwrap_or_default();
    product.program(PathBuf::from(chromium), &args).env("PATH", path).start().patient(PATIENCE)
}
