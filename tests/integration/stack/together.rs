//! Several worktrees of one repository at once, viewed in a browser.

use crate::support::browser::{Browser, Window};
use crate::support::product::{Product, Stack, project};

#[test]
fn parallel_worktrees_show_their_own_rows() {
    let product = Product::new();
    let main = product.up(&product.main());
    assert!(
        main.told("Database").starts_with("dev-main (local: created empty, migrated"),
        "{}",
        main.told("Database")
    );
    main.add_lead("demodev", "Added In Main");

    // The copy is made while main runs and is connected to its database.
    let first = product.worktree("first", "first");
    let first = product.up(&first);
    let told = first.stderr();
    assert!(
        first.told("Database").contains("dev-first (local: created from dev-main"),
        "{}",
        first.told("Database")
    );
    assert!(!told.contains("warning: "), "main's connections were closed: {told}");
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

/// Opens these worktrees at once in Chromium, and saves screenshots in `artifacts` of the project.
fn browse(product: &Product, stacks: &[(&str, &Stack)]) {
    let Some(browser) = Browser::find(product) else { return };
    let asked = |stack: &Stack| stack.stdout().matches("\"GET /leads?tenant=demodev HTTP/1.1\" 200").count();
    let before: Vec<usize> = stacks.iter().map(|(_, stack)| asked(stack)).collect();
    // Longer than the interval at which the page polls the API.
    let dump = ["--dump-dom", "--virtual-time-budget=12000"];
    let open = |(name, stack): &(&str, &Stack)| browser.visit(name, stack, &stack.told("Tenant"), &dump);
    let windows: Vec<Window> = stacks.iter().map(open).collect();
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
        // The server's rendering makes one request. More requests show that the page runs and reaches the API.
        let asked = asked(stack) - before;
        assert!(asked > 1, "the page of {name} does not run in the browser: {asked} requests: {ended}");
    }
    let artifacts = project().join("artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    let picture = |name: &str| artifacts.join(format!("leadboard-{name}.png"));
    let shoot = |(name, stack): &(&str, &Stack)| {
        let _ = std::fs::remove_file(picture(name));
        let shot = format!("--screenshot={}", picture(name).display());
        browser.visit(name, stack, &stack.told("Tenant"), &[&shot, "--window-size=1280,900"])
    };
    let windows: Vec<Window> = stacks.iter().map(shoot).collect();
    for ((name, _), window) in stacks.iter().zip(windows) {
        let ended = window.wait();
        assert!(
            picture(name).metadata().is_ok_and(|meta| meta.len() > 10_000),
            "no picture of {name}: {ended}"
        );
    }
}
