//! Variables of the shell and of env files that name another Postgres.

use super::World;
use crate::asking::{fine, json};

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

/// Prints the name of the database to which the variables `POSTGRES_*` lead, and of that of `COPY`.
const ASK: &str = "PGPASSWORD=$POSTGRES_PASSWORD psql -XAtc 'select current_database()' -h \"$POSTGRES_SERVER\" \
                   -p \"$POSTGRES_PORT\" -U \"$POSTGRES_USER\" \"$POSTGRES_DB\"; psql -XAtc 'select current_database()' \"$COPY\"";

/// Writes an `.env` into `x` with the address of the database of a new worktree `y`. `POSTGRES_SERVER` is `host`.
fn shared(world: &World, x: &std::path::Path, host: &str) {
    let y = world.worktree("y");
    world.ask(&y, &["migrate"]);
    let env = json(&fine(world.sandbox.devrun(&["env", "--json", "--reveal"]).directory(&y)));
    let value = |name: &str| env[name].as_str().unwrap().to_string();
    let (port, user, password) = (value("PGPORT"), value("PGUSER"), value("PGPASSWORD"));
    let url = format!("{user}:{password}@localhost:{port}/dev-y");
    let text = format!(
        "POSTGRES_SERVER={host}\nPOSTGRES_PORT={port}\nPOSTGRES_USER={user}\nPOSTGRES_PASSWORD={password}\nPOSTGRES_DB=dev-y\n\
         JOBS_URL=postgresql+asyncpg://{url}?application_name=jobs\nCOPY=postgresql://{url}\n"
    );
    world.sandbox.write(&x.join(".env"), &text);
}

#[test]
fn an_application_that_reads_the_parts_of_an_address_reaches_the_branch_database() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    shared(&world, &x, "localhost");
    let plan = world.devrun(&x, &["plan"]);
    let named = "Variables  get the address of the branch database in place of their own values: COPY (.env:7), JOBS_URL (.env:6), POSTGRES_DB (.env:5), \
                 POSTGRES_PASSWORD (.env:4), POSTGRES_PORT (.env:2), POSTGRES_SERVER (.env:1), POSTGRES_USER (.env:3)";
    assert!(plan.stdout.contains(named) && !plan.stdout.contains("notice:"), "{plan}");
    let explained = world.devrun(&x, &["env", "--explain", "POSTGRES_DB"]);
    let told =
        "POSTGRES_DB=dev-x\n    in place of the value at .env:5: part of the branch database's address\n";
    assert_eq!(explained.stdout, told);
    world.ask(&x, &["migrate"]);
    assert_eq!(world.devrun(&x, &["exec", "--", "sh", "-c", ASK]).stdout, "dev-x\ndev-x\n");
    let jobs = world.devrun(&x, &["exec", "--", "sh", "-c", "echo \"$JOBS_URL\""]).stdout;
    assert!(jobs.starts_with("postgresql+asyncpg://") && jobs.ends_with("/dev-x?application_name=jobs\n"));
    let mut shell = world.sandbox.devrun(&["exec", "--", "sh", "-c", ASK]).directory(&x);
    shell = shell.env("POSTGRES_SERVER", "db").env("POSTGRES_DB", "dev-y");
    assert_eq!(fine(shell).stdout, "dev-x\ndev-x\n", "the shell overrides .env");
}

#[test]
fn before_the_first_database_exists_the_variables_have_no_value() {
    let Some(world) = World::with("\nenv: { COPY: \"postgresql://${POSTGRES_SERVER}/app\" }") else { return };
    let x = world.worktree("x");
    world.sandbox.write(&x.join(".env"), "POSTGRES_SERVER=localhost\nPOSTGRES_DB=app\n");
    let env = world.devrun(&x, &["env", "--all"]);
    assert!(!env.stdout.contains("POSTGRES_"), "{env}");
    let explained = world.devrun(&x, &["env", "--explain", "POSTGRES_SERVER"]);
    assert!(explained.stdout.contains("no value until the branch database exists"), "{explained}");
}

#[test]
fn variables_that_devrun_yaml_writes_keep_their_values() {
    let Some(world) = World::with(
        "\nenv: { POSTGRES_SERVER: \"${POSTGRES_SERVER:-db}\", COPY: \"${COPY:-}\", SEEN: \"${JOBS_URL:-}\" }",
    ) else {
        return;
    };
    let x = world.worktree("x");
    shared(&world, &x, "localhost");
    world.ask(&x, &["migrate"]);
    assert_eq!(world.devrun(&x, &["exec", "--", "sh", "-c", ASK]).stdout, "dev-y\ndev-y\n");
    let seen = world.devrun(&x, &["exec", "--", "sh", "-c", "echo \"$SEEN\""]).stdout;
    assert!(seen.ends_with("/dev-x?application_name=jobs\n"), "a value that uses a replaced variable");
}

#[test]
fn variables_with_the_parts_of_a_hosted_server_are_named_and_keep_their_values() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    shared(&world, &x, "prod.example.invalid");
    let said = [
        "POSTGRES_SERVER (prod.example.invalid) names a Postgres that is not this worktree's",
        "  POSTGRES_SERVER: ${database.host}",
        "  POSTGRES_PASSWORD: ${database.password}",
    ];
    let plan = world.devrun(&x, &["plan"]);
    let up = world.devrun(&x, &["up", "-d"]);
    let server = world.devrun(&x, &["exec", "--", "sh", "-c", "echo \"$POSTGRES_SERVER $POSTGRES_DB\""]);
    world.devrun(&x, &["down"]);
    let doctor = world.sandbox.devrun(&["doctor"]).directory(&x).run();
    assert_eq!(server.stdout, "prod.example.invalid dev-y\n");
    for ended in [plan, up, doctor] {
        assert!(said.iter().all(|said| ended.stdout.contains(said)), "{ended}");
    }
}
