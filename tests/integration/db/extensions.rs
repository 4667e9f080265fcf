//! Extensions of Postgres that the server offers, or does not.

use super::World;
use crate::asking::{fine, refusal};

/// Creates an extension that no server has.
const ABSENT: &str = "create extension if not exists nowhere_pgvector;\n";

#[test]
fn extensions_are_listed_with_their_source() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    refusal(world.db(&x, &["extensions", "--json"]), "database-missing", 84);
    world.ask(&x, &["migrate"]);
    world.sql(&x, "create extension citext");
    let listed = world.ask(&x, &["extensions"]);
    assert_eq!((&listed["provider"], &listed["database"]), (&"local".into(), &"dev-x".into()), "{listed:#}");
    let all = listed["extensions"].as_array().unwrap();
    let citext = all.iter().find(|one| one["name"] == "citext").unwrap();
    assert_eq!((&citext["source"], &citext["installed"]), (&"contrib".into(), &citext["version"]));
    let hstore = all.iter().find(|one| one["name"] == "hstore").unwrap();
    assert!(hstore["installed"].is_null(), "{hstore:#}");
    let text = fine(world.db(&x, &["extensions"])).stdout;
    assert!(text.starts_with("EXTENSION") && text.contains("\ncitext "), "{text}");
}

#[test]
fn migration_that_needs_a_missing_extension_does_not_run() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.sandbox.write(&x.join("migrations/2.sql"), ABSENT);
    let compose = "services:\n  db:\n    image: example/nowhere-pgvector:17\n";
    world.sandbox.write(&x.join("docker-compose.yml"), compose);
    let error = refusal(world.db(&x, &["migrate", "--json"]), "migration-failed", 85);
    assert_eq!(error["fault"], "environment", "{error:#}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("no extension `nowhere_pgvector`, which migrations/2.sql:1 creates"),
        "{message}"
    );
    let cause = error["cause"].as_str().unwrap();
    assert!(cause.starts_with("docker-compose.yml:2 uses the image example/nowhere-pgvector:17"), "{cause}");
    let fix = error["fix"].as_str().unwrap();
    assert!(fix.contains("set `database.local.bin`"), "{fix}");
    assert_eq!(world.migrated(), Vec::<String>::new(), "the command did not run");
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    world.ask(&x, &["migrate"]);
    assert_eq!(world.migrated(), ["dev-x"]);
}
