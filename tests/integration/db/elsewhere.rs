//! Variables of the shell and of env files that name another Postgres.

use super::World;

/// Variables as a hosting service writes them for its shared server.
const HOSTED: &str = "DATABASE_URL=postgresql://u:s3cretpass@prod.example.invalid/main\n\
                      DIRECT_URL=postgresql://u:s3cretpass@prod.example.invalid/main\n\
                      PGHOST=prod.example.invalid\nPGUSER=u\n";
const SAID: [&str; 2] = [
    "DIRECT_URL (prod.example.invalid) names a Postgres that is not this worktree's",
    "  url_env: [DATABASE_URL, DIRECT_URL]",
];

#[test]
fn psql_reaches_the_branch_database_despite_the_shell() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.sandbox.write(&x.join(".env.local"), HOSTED);
    world.ask(&x, &["migrate"]);
    let exec = ["exec", "--", "psql", "-XAtc", "select current_database()"];
    let misled = world.sandbox.devrun(&exec).directory(&x);
    let misled =
        misled.env("PGHOSTADDR", "192.0.2.1").env("PGSSLMODE", "require").env("PGSERVICE", "nowhere");
    let ended = misled.env("PGTARGETSESSIONATTRS", "read-only").env("PGOPTIONS", "-csearch_path=no").run();
    assert_eq!(ended.stdout, "dev-x\n", "{ended}");
    assert!(!ended.stderr.contains("s3cretpass"), "{ended}");
}

#[test]
fn plan_and_up_name_variables_of_other_servers() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.sandbox.write(&x.join(".env.local"), HOSTED);
    let plan = world.sandbox.devrun(&["plan"]).directory(&x).run();
    let up = world.sandbox.devrun(&["up", "-d"]).directory(&x).run();
    let down = world.sandbox.devrun(&["down"]).directory(&x).run();
    assert_eq!((up.code, down.code), (Some(0), Some(0)), "{up}\n{down}");
    for ended in [plan, up] {
        assert!(SAID.iter().all(|said| ended.stdout.contains(said)), "{ended}");
        assert!(!format!("{ended}").contains("s3cretpass"), "{ended}");
    }
}
