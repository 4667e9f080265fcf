//! The provider `url`: databases on a Postgres server that devrun does not start, with a role that may only create
//! databases.

use std::ops::Deref;
use std::path::Path;

use serde_json::Value;

use super::World;
use crate::asking::{base, fine, refusal, skip_without};
use crate::support::Sandbox;
use crate::support::neon::PASSWORD;
use crate::support::server::Server;

/// A repository, and a server with the database `app`, which belongs to the role `dev`.
struct Served {
    world: World,
    server: Server,
}

impl Deref for Served {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Served {
    /// Starts the server. Returns `None` and reports a skipped test if Postgres is not installed.
    fn new() -> Option<Served> {
        Served::with("")
    }

    /// Does the same with more lines in the `database` section.
    fn with(lines: &str) -> Option<Served> {
        let Some(server) = Server::start() else {
            skip_without(&["postgres"]);
            return None;
        };
        server.sql("postgres", &format!("create role dev login createdb password '{PASSWORD}'"));
        server.sql("postgres", "create database app owner dev");
        server.sql("app", "set role dev; create table leads as select 'parent' as name");
        let mut sandbox = Sandbox::new();
        sandbox.set("ADMIN_URL", server.url("dev", "app"));
        let text = format!(
            "ports: {{ web: {} }}\ndatabase:\n  provider: url\n  url: {{ admin_env: ADMIN_URL }}\n{lines}\n  migrate: \
             {{ sql: [migrations/*.sql] }}\nprocesses:\n  web:\n    run: [devrun-fixture, ready, sleep]\n    \
             ready: {{ log: ready }}\n",
            base()
        );
        let migration = "create table visits (page text);\n";
        sandbox.repo_with(&[("devrun.yaml", &text), ("migrations/1.sql", migration)]);
        Some(Served { world: World { sandbox }, server })
    }

    /// Returns the error of `devrun db ARGS --json`.
    #[track_caller]
    fn refusal(&self, worktree: &Path, args: &[&str], code: &str) -> Value {
        refusal(self.db(worktree, &[args, &["--json"]].concat()), code, 84)
    }

    /// Returns the databases of the server without templates and `postgres`.
    fn databases(&self) -> Vec<String> {
        let list =
            "select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1";
        self.server.sql("postgres", list)
    }

    fn leads(&self, database: &str) -> Vec<String> {
        self.server.sql(database, "select name from leads order by 1")
    }
}

#[test]
fn a_worktree_gets_a_migrated_copy_of_the_database_in_the_url() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("feature/x");
    fine(world.sandbox.devrun(&["up", "-d"]).directory(&x));
    let status = world.ask(&x, &["status"]);
    let name = status["name"].as_str().unwrap();
    assert!(name.starts_with("dev-feature-x-"), "{status:#}");
    assert_eq!(
        (&status["provider"], &status["parent"], &status["origin"], &status["migrations"], &status["server"]),
        (&"url".into(), &"app".into(), &"copy".into(), &"up-to-date".into(), &Value::Null),
        "{status:#}"
    );
    assert_eq!((&status["git_branch"], &status["kept"]), (&"feature/x".into(), &Value::Null), "{status:#}");
    let url = world.ask(&x, &["url", "--reveal"])["url"].clone();
    assert_eq!(url, world.server.url("dev", name));
    let env = fine(world.sandbox.devrun(&["env"]).directory(&x)).stdout;
    assert!(
        env.contains(name) && !env.contains("ADMIN_URL"),
        "a shell keeps it, and processes do not get it: {env}"
    );
    fine(world.sandbox.devrun(&["down"]).directory(&x));
    assert_eq!(world.leads(name), ["parent"]);
    assert_eq!(
        world.server.sql("app", "select to_regclass('visits') is null"),
        ["t"],
        "the parent was migrated"
    );
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn a_reset_copies_the_parent_again_and_a_delete_removes_the_copy() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    let before = world.ask(&x, &["migrate"]);
    world.server.sql("dev-x", "insert into leads values ('mine')");
    world.server.sql("app", "insert into leads values ('new')");

    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_eq!((&reset["parent"], &reset["reset"]), (&"app".into(), &true.into()), "{reset:#}");
    assert_ne!(reset["id"], before["id"]);
    assert_eq!(world.leads("dev-x"), ["new", "parent"]);
    assert_eq!(world.ask(&x, &["status"])["migrations"], "up-to-date");

    let listed = world.ask(&x, &["list"]);
    let kept: Vec<_> = listed["databases"].as_array().unwrap().iter().map(|one| &one["kept"]).collect();
    assert_eq!(kept, [&Value::from("the database that others are copied from"), &Value::Null]);

    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], true);
    assert_eq!(world.databases(), ["app"]);
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], false);
}

#[test]
fn a_reset_closes_only_sessions_in_the_copy() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.server.sql("postgres", "create database other owner dev");
    let (_closed, _open) = (world.server.session("dev", "dev-x"), world.server.session("dev", "other"));
    let ended = fine(world.db(&x, &["reset", "--yes"]));
    assert!(ended.stderr.contains("dev-x was in use: devrun closed 1 connection to it"), "{ended}");
    let left = "select datname from pg_stat_activity where application_name = 'tool'";
    assert_eq!(world.server.sql("postgres", left), ["other"]);
}

#[test]
fn databases_that_devrun_did_not_copy_are_never_used_or_changed() {
    let Some(world) = Served::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.server.sql("postgres", "create database \"dev-x\" owner dev");
    world.server.sql("postgres", "create database other owner dev");
    let foreign = world.refusal(&x, &["migrate"], "database-kept");
    assert!(foreign["message"].as_str().unwrap().contains("dev-x is a database that devrun did not make"));
    for name in ["app", "dev-x", "other"] {
        for verb in ["reset", "delete"] {
            world.refusal(&y, &[verb, name, "--yes"], "database-kept");
        }
        world.refusal(&y, &["url", name], "database-kept");
    }
    // A copy of another parent belongs to another project.
    let other = world.db(&y, &["migrate", "--json"]).env("ADMIN_URL", world.server.url("dev", "other"));
    fine(other);
    let copy = world.refusal(&y, &["migrate"], "database-kept");
    assert!(copy["message"].as_str().unwrap().contains("dev-y is a copy of another parent"), "{copy:#}");
    assert_eq!(world.databases(), ["app", "dev-x", "dev-y", "other"]);
}

#[test]
fn the_parent_itself_is_refused() {
    let Some(world) = Served::with("  branch: app") else { return };
    let main = world.sandbox.main();
    for args in [&["migrate"][..], &["reset", "--yes"], &["delete", "--yes"]] {
        let error = world.refusal(&main, args, "database-kept");
        assert!(error["message"].as_str().unwrap().contains("that others are copied from"), "{error:#}");
    }
    assert_eq!((world.databases(), world.leads("app")), (vec!["app".into()], vec!["parent".into()]));
}

#[test]
fn a_parent_in_use_is_reported_with_its_sessions_and_stays_connected() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    let session = world.server.session("dev", "app");
    let error = world.refusal(&x, &["migrate"], "database-failed");
    assert_eq!(error["message"], "app cannot be copied while other programs are connected to it");
    assert!(error["cause"].as_str().unwrap().ends_with("Connected: 1 of tool (role dev)"), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("`database.parent`"), "{error:#}");
    let count = "select count(*) from pg_stat_activity where application_name = 'tool'";
    assert_eq!(world.server.sql("postgres", count), ["1"], "the session was closed");
    drop(session);
    assert_eq!(world.ask(&x, &["migrate"])["name"], "dev-x");
}

#[test]
fn role_without_copy_permission_gets_the_grant_to_run() {
    let Some(world) = Served::with("  parent: shared") else { return };
    let x = world.worktree("x");
    let missing = world.refusal(&x, &["migrate"], "database-failed");
    assert!(missing["message"].as_str().unwrap().contains("shared, which is to be copied, does not exist"));
    world.server.sql("postgres", "create database shared");
    let error = world.refusal(&x, &["migrate"], "database-failed");
    assert!(
        error["fix"].as_str().unwrap().contains("ALTER DATABASE \"shared\" IS_TEMPLATE true"),
        "{error:#}"
    );
    world.server.sql("postgres", "alter database shared is_template true");
    assert_eq!(world.ask(&x, &["migrate"])["name"], "dev-x");
    assert_eq!(world.ask(&x, &["status"])["parent"], "shared");
}

#[test]
fn two_worktrees_at_once_get_a_database_each_and_leftovers_are_deleted() {
    let Some(world) = Served::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.server.sql("postgres", "create database \"_devrun-tmp-1\" owner dev");
    world.server.sql("postgres", "create database \"_devrun-tmp-2\"");
    let both = [&x, &x, &y].map(|worktree| world.db(worktree, &["migrate", "--json"]).start());
    let codes = both.map(|running| running.wait().code);
    assert!(codes.iter().filter(|code| **code == Some(0)).count() >= 2, "{codes:?}");
    assert_eq!(world.databases(), ["_devrun-tmp-2", "app", "dev-x", "dev-y"]);
}

#[test]
fn the_url_comes_from_a_variable_and_no_error_shows_it() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    let with = |value: &str| world.db(&x, &["migrate", "--json"]).env("ADMIN_URL", value);
    let unset = refusal(with(""), "config-invalid", 80);
    assert!(unset["message"].as_str().unwrap().starts_with("ADMIN_URL, which holds"), "{unset:#}");
    let bad = refusal(with(&format!("mysql://dev:{PASSWORD}@h/app")), "config-invalid", 80);
    assert!(!bad.to_string().contains(PASSWORD), "{bad:#}");
    let elsewhere =
        refusal(with(&format!("{}&dbname=app", world.server.url("dev", "x"))), "config-invalid", 80);
    assert!(elsewhere["message"].as_str().unwrap().contains("its parameters name"), "{elsewhere:#}");
    let none = refusal(with(&world.server.url("dev", "postgres")), "config-invalid", 80);
    assert!(none["message"].as_str().unwrap().starts_with("there is no database to copy"), "{none:#}");
    world.sandbox.write(&x.join(".env"), &format!("ADMIN_URL={}\n", world.server.url("dev", "app")));
    let text = std::fs::read_to_string(x.join("devrun.yaml")).unwrap();
    let text =
        text.replace("admin_env: ADMIN_URL", &format!("admin_env: '{}'", world.server.url("dev", "app")));
    world.sandbox.write(&x.join("devrun.yaml"), &text);
    let written = refusal(world.db(&x, &["migrate", "--json"]), "config-invalid", 80);
    assert!(written["message"].as_str().unwrap().contains("never the URL itself"), "{written:#}");
    assert!(!written.to_string().contains(PASSWORD), "{written:#}");
}

#[test]
fn psql_gets_the_branch_database_and_not_the_variable_with_the_url() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    fine(world.db(&x, &["migrate"]));
    let print = r"\! echo ${ADMIN_URL:-unset}";
    let said = fine(world.db(&x, &["psql", "--", "-XAtqc", "select current_database()", "-c", print]));
    assert_eq!(said.stdout, "dev-x\nunset\n", "{said}");
}

#[test]
fn snapshots_are_kept_on_the_server_and_deleted_with_the_copy() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.server.sql("dev-x", "set role dev; insert into leads values ('kept')");
    world.ask(&x, &["snapshot", "a"]);
    world.server.sql("dev-x", "truncate leads");
    let session = world.server.session("dev", "dev-x");
    let error = world.refusal(&x, &["snapshot", "b"], "database-failed");
    assert!(error["cause"].as_str().unwrap().ends_with("Connected: 1 of tool (role dev)"), "{error:#}");
    drop(session);
    let restored = world.ask(&x, &["restore", "a", "--yes"]);
    assert!(restored["migrated"].as_str().unwrap().starts_with("already migrated"), "{restored:#}");
    assert_eq!(world.leads("dev-x"), ["kept", "parent"]);
    assert_eq!(world.ask(&x, &["status"])["snapshots"], serde_json::json!(["a"]));
    world.ask(&x, &["delete", "--yes"]);
    assert_eq!(world.databases(), ["app"]);
}

#[test]
fn a_diff_compares_two_copies_and_reads_the_parent_only_if_it_is_named() {
    let Some(world) = Served::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.ask(&x, &["migrate"]);
    world.ask(&y, &["migrate"]);
    world.server.sql(
        "dev-x",
        "set role dev; insert into leads values ('mine'); create table bills (id int primary key)",
    );
    let found = world.ask(&x, &["diff", "dev-y"]);
    assert_eq!(found["schema"][0]["name"], "bills", "{found:#}");
    let rows: Vec<_> = found["tables"].as_array().unwrap().iter().map(|one| &one["table"]).collect();
    assert_eq!(rows, ["bills", "leads", "visits"], "{found:#}");
    assert_eq!(world.ask(&y, &["diff", "dev-x"])["schema"][0]["change"], "removed");
    assert_eq!(world.leads("app"), ["parent"]);
}

#[test]
fn a_process_that_uses_the_database_of_all_worktrees_is_reported() {
    let Some(world) = Served::new() else { return };
    let x = world.worktree("x");
    let config = std::fs::read_to_string(x.join("devrun.yaml")).unwrap();
    let config = config.split("processes:").next().unwrap();
    let process = "  worker: { run: sh client.sh, needs: [database], ready: { log: connected } }\n";
    world.sandbox.write(&x.join("devrun.yaml"), &format!("{config}processes:\n{process}"));
    let shared = world.server.url("dev", "app");
    let client = format!("exec psql -XAtq '{shared}' -c \"select 'connected'\" -c 'select pg_sleep(600)'\n");
    world.sandbox.write(&x.join("client.sh"), &client);
    let up = fine(world.sandbox.devrun(&["up", "-d", "--json"]).directory(&x));
    let status: Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!(status["isolation"][0]["database"]["used"], "app", "{status:#}");
    assert_eq!(status["isolation"][0]["database"]["own"], status["database"]["name"], "{status:#}");
    fine(world.sandbox.devrun(&["down"]).directory(&x));
}
