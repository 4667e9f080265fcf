//! The read-only verbs, and `migrate`.

use super::World;
use crate::asking::{fine, refusal};

#[test]
fn read_only_verbs_create_nothing() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let status = world.ask(&x, &["status"]);
    assert_eq!((&status["name"], &status["exists"]), (&"dev-x".into(), &false.into()), "{status:#}");
    assert_eq!((&status["migrations"], &status["server"]), (&"unmigrated".into(), &"stopped".into()));
    assert_eq!(world.ask(&x, &["list"])["databases"].as_array().unwrap().len(), 0);
    assert!(fine(world.db(&x, &["list"])).stdout.starts_with("There is no branch database"));
    assert!(fine(world.db(&x, &["status"])).stdout.contains("not made yet"));
    for args in [&["url", "--json"][..], &["reset", "--yes", "--json"]] {
        let error = refusal(world.db(&x, args), "database-missing", 84);
        assert!(error["fix"].as_str().unwrap().contains("devrun up -d"), "{error:#}");
    }
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], false);
    assert!(!world.sandbox.path().join("data").exists(), "a cluster was made");
}

#[test]
fn project_without_a_database_is_reported() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.sandbox.write(&main.join("devrun.yaml"), "processes: { web: { run: 'true' } }\n");
    let error = refusal(world.db(&main, &["status", "--json"]), "database-missing", 84);
    assert!(error["fix"].as_str().unwrap().contains("devrun.yaml"), "{error:#}");
}

#[test]
fn migrate_creates_and_migrates_the_database() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let missing = world.ask(&x, &["status"]);
    let made = world.ask(&x, &["migrate"]);
    assert_eq!(
        (&made["name"], &made["made"], &made["provider"]),
        (&"dev-x".into(), &true.into(), &"local".into())
    );
    // devrun migrated the parent and then copied it, so the copy counts as migrated.
    assert_eq!(world.migrated(), ["dev-main"]);
    let again = world.ask(&x, &["migrate"]);
    assert_eq!(
        (&again["made"], &again["migrated"], &again["id"]),
        (&false.into(), &"up to date".into(), &made["id"])
    );
    assert_eq!(fine(world.db(&x, &["migrate"])).stdout, "dev-x: up to date.\n");
    assert_eq!(world.sandbox.processes(), [], "the server is still there");

    let status = world.ask(&x, &["status"]);
    for (key, value) in [
        ("name", "dev-x"),
        ("provider", "local"),
        ("origin", "copy"),
        ("parent", "dev-main"),
        ("git_branch", "x"),
        ("migrations", "empty"),
        ("server", "stopped"),
    ] {
        assert_eq!(status[key], value, "{key}: {status:#}");
    }
    assert_eq!((&status["current"], &status["id"]), (&true.into(), &made["id"]));
    assert!(status.as_object().unwrap().keys().eq(missing.as_object().unwrap().keys()), "{missing:#}");
    assert!(missing["id"].is_null(), "{missing:#}");
    assert!(status["size_bytes"].as_u64().unwrap() > 1_000_000, "{status:#}");
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    assert_eq!(world.ask(&x, &["status"])["migrations"], "pending");
    let text = fine(world.db(&x, &["status"])).stdout;
    assert!(
        text.contains("Origin      a copy of dev-main\n") && text.contains("Migrations  pending\n"),
        "{text}"
    );
    world.ask(&x, &["migrate"]);
    assert_eq!(world.migrated(), ["dev-main", "dev-x"]);
    // The files of another worktree are not available here.
    let other = world.ask(&world.sandbox.main(), &["status", "dev-x"]);
    assert_eq!((&other["migrations"], &other["current"]), (&"migrated".into(), &false.into()), "{other:#}");
}

#[test]
fn urls_hide_the_password_without_reveal() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    let password = world.password();
    for args in [
        &["url"][..],
        &["url", "--direct"],
        &["url", "--json"],
        &["status"],
        &["status", "--json"],
        &["list"],
    ] {
        let ended = fine(world.db(&x, args));
        assert!(!format!("{ended}").contains(&password), "{args:?}: {ended}");
        assert!(args[0] == "list" || ended.stdout.contains(":***@127.0.0.1:"), "{args:?}: {ended}");
    }
    let url = fine(world.db(&x, &["url", "--reveal"]));
    assert!(url.stdout.contains(&format!("://app:{password}@127.0.0.1:")), "{url}");
    assert!(
        url.stdout.ends_with("/dev-x\n") && url.stderr.contains("the database server is stopped again"),
        "{url}"
    );
    let other = world.ask(&x, &["url", "dev-main"]);
    assert!(other["url"].as_str().unwrap().ends_with("/dev-main"), "{other:#}");
}

#[test]
fn list_marks_removed_worktrees() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.ask(&x, &["migrate"]);
    world.ask(&y, &["migrate"]);
    world.sandbox.git(&["worktree", "remove", "--force", x.to_str().unwrap()]);
    let list = world.ask(&y, &["list"]);
    let row = |name: &str| {
        let all = list["databases"].as_array().unwrap();
        all.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{list:#}")).clone()
    };
    assert_eq!(row("dev-x")["worktree_exists"], false);
    assert_eq!((&row("dev-y")["worktree_exists"], &row("dev-y")["current"]), (&true.into(), &true.into()));
    assert_eq!(row("dev-main")["kept"], "the default branch's database");
    let text = fine(world.db(&y, &["list"])).stdout;
    assert!(text.contains("dev-y *") && text.contains("/x (gone)"), "{text}");
}

#[test]
fn running_stack_says_that_its_database_is_behind_the_migration_files() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let devrun = |args: &[&str]| fine(crate::asking::devrun(&world.sandbox, &x, args));
    devrun(&["up", "-d"]);
    let pending = || crate::asking::json(&devrun(&["status", "--json"]))["pending"].clone();
    assert_eq!(pending(), serde_json::Value::Null);
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    let fix = "devrun db migrate";
    assert_eq!(pending(), serde_json::json!({ "files": ["migrations/2.sql"], "fix": fix }));
    let said = "the database is behind the code: not migrated since a change of migrations/2.sql";
    for verb in ["status", "why"] {
        let shown = devrun(&[verb]).stdout;
        assert!(shown.contains(&format!("notice: {said}\n    {fix}\n")), "{shown}");
    }
    let again = devrun(&["up", "-d"]).stderr;
    assert!(again.contains(&format!("warning: {said}: {fix}\n")), "{again}");
    world.ask(&x, &["migrate"]);
    assert_eq!(pending(), serde_json::Value::Null);
    std::fs::remove_file(x.join("migrations/2.sql")).unwrap();
    assert_eq!(pending()["removed"], serde_json::json!(["migrations/2.sql"]));
    let shown = devrun(&["why"]).stdout;
    assert!(
        shown.contains("notice: migration files of the database were removed: migrations/2.sql\n"),
        "{shown}"
    );
    devrun(&["down"]);
}
