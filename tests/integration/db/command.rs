//! The provider `command`: the example in docs/database.md, and commands that fail.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::World;
use crate::asking::{base, fine, json, refusal};
use crate::support::Sandbox;

const PASSWORD: &str = "Xsecret5-of-the-url";

/// Returns the code block of docs/database.md in this language that contains `part`.
fn example(language: &str, part: &str) -> String {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/database.md")).unwrap();
    let start = format!("```{language}\n");
    let blocks = page.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.into_iter().find(|block| block.contains(part)).unwrap().to_string()
}

/// Makes a repository with `database`, one process, and `files`.
fn repository(database: &str, files: &[(&str, &str)]) -> World {
    let sandbox = Sandbox::new();
    let text = format!(
        "ports: {{ web: {} }}\n{database}\nprocesses:\n  web:\n    run: [devrun-fixture, ready, sleep]\n    ready: {{ log: \
         ready }}\n",
        base()
    );
    sandbox.repo_with(&[&[("devrun.yaml", text.as_str())], files].concat());
    World { sandbox }
}

/// Makes a repository with the example, and a program in place of Alembic.
fn sqlite() -> World {
    let database = example("yaml", "provider: command");
    let migrate = "import os, sqlite3\nfile = os.environ['DATABASE_URL'].removeprefix('sqlite:///')\n\
                   print('migrating', file)\nopen('../runs', 'a').write(file + '\\n')\n\
                   with sqlite3.connect(file) as db:\n    db.execute('create table if not exists leads (name)')\n";
    let database = database.replace("alembic upgrade head", "python3 migrate.py");
    let script = example("python", "DEVRUN_ACTION");
    repository(
        &database,
        &[("scripts/database.py", &script), ("migrate.py", migrate), ("alembic/versions/1.py", "")],
    )
}

/// Runs SQL in the file of `url` and returns the first column.
fn sql(world: &World, url: &Value, statement: &str) -> Vec<String> {
    let file = url.as_str().unwrap().strip_prefix("sqlite:///").unwrap();
    let code = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n    for row in db.execute(sys.argv[2]): print(row[0])";
    let ended = fine(world.sandbox.program("python3", &["-c", code, file, statement]));
    ended.stdout.lines().map(Into::into).collect()
}

fn runs(world: &World) -> usize {
    std::fs::read_to_string(world.sandbox.path().join("runs")).unwrap_or_default().lines().count()
}

#[test]
fn each_worktree_has_its_own_sqlite_file_from_the_first_start_to_its_removal() {
    let world = sqlite();
    let main = world.sandbox.main();
    let made = world.ask(&main, &["migrate"]);
    assert_eq!((&made["provider"], &made["name"]), (&"command".into(), &"dev-main".into()), "{made:#}");
    let parent = world.ask(&main, &["url"])["url"].clone();
    sql(&world, &parent, "insert into leads values ('parent')");

    let x = world.worktree("x");
    world.devrun(&x, &["up", "-d"]);
    let env = fine(world.sandbox.devrun(&["env", "--reveal"]).directory(&x)).stdout;
    let url = world.ask(&x, &["url"])["url"].clone();
    assert!(env.contains(url.as_str().unwrap()) && !env.contains("PGHOST"), "{env}");
    let status = json(&fine(world.sandbox.devrun(&["status", "--json"]).directory(&x)));
    assert_eq!(status["database"]["provider"], "command", "{status:#}");
    assert_eq!(status["database"]["url"], url, "{status:#}");
    assert_eq!(status["isolation"].as_array().map_or(0, Vec::len), 0, "{status:#}");
    let seen = world.ask(&x, &["status"]);
    assert_eq!(
        (&seen["origin"], &seen["parent"], &seen["migrations"], &seen["git_branch"], &seen["server"]),
        (&"copy".into(), &"dev-main".into(), &"up-to-date".into(), &"x".into(), &Value::Null),
        "{seen:#}"
    );
    assert_eq!(runs(&world), 2);
    assert_eq!(sql(&world, &url, "select name from leads"), ["parent"]);
    sql(&world, &url, "insert into leads values ('mine')");
    assert_eq!(sql(&world, &parent, "select name from leads"), ["parent"], "the parent was changed");
    refusal(world.db(&x, &["reset", "--yes", "--json"]), "already-running", 88);
    world.devrun(&x, &["down"]);

    // Migrations run again only when they have changed.
    assert_eq!(world.ask(&x, &["migrate"])["migrated"], "up to date");
    world.sandbox.write(&x.join("alembic/versions/2.py"), "");
    assert_eq!(world.ask(&x, &["status"])["migrations"], "pending");
    assert!(world.ask(&x, &["migrate"])["migrated"].as_str().unwrap().starts_with("migrated"));
    assert_eq!((runs(&world), world.ask(&x, &["migrate"])["made"].clone()), (3, false.into()));

    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_ne!(reset["id"], seen["id"]);
    assert_eq!((runs(&world), world.ask(&x, &["status"])["migrations"].clone()), (4, "up-to-date".into()));
    assert_eq!(sql(&world, &url, "select name from leads"), ["parent"]);
    let listed = world.ask(&x, &["list"]);
    let kept: Vec<_> = listed["databases"].as_array().unwrap().iter().map(|one| &one["kept"]).collect();
    assert_eq!(kept, [&Value::from("the default branch's database"), &Value::Null], "{listed:#}");
    refusal(world.db(&main, &["delete", "--yes", "--json"]), "database-kept", 84);
    fine(world.sandbox.devrun(&["doctor", "--json"]).directory(&x));

    std::fs::remove_file(x.join("alembic/versions/2.py")).unwrap();
    let removed = json(&fine(world.sandbox.devrun(&["rm", "x", "--yes", "--json"]).directory(&main)));
    let file = PathBuf::from(url.as_str().unwrap().strip_prefix("sqlite:///").unwrap());
    assert!(!file.exists(), "{removed:#}");
    let names = world.ask(&main, &["list"]);
    assert_eq!(names["databases"].as_array().unwrap().len(), 1, "{names:#}");
}

#[test]
fn prune_deletes_the_database_of_a_deleted_branch_and_keeps_that_of_a_renamed_one() {
    let world = sqlite();
    let main = world.sandbox.main();
    let (gone, old) = (world.worktree("gone"), world.worktree("old"));
    let of_gone = world.ask(&gone, &["migrate"]);
    let of_old = world.ask(&old, &["migrate"]);
    world.sandbox.git(&["branch", "-m", "old", "new"]);
    let renamed = world.ask(&old, &["migrate"]);
    assert_eq!((&renamed["name"], &renamed["id"]), (&"dev-new".into(), &of_old["id"]), "{renamed:#}");
    assert_eq!(renamed["migrated"], "up to date");
    let file = world.ask(&old, &["url"])["url"].as_str().unwrap().to_string();
    assert!(file.ends_with("/dev-old.sqlite3"), "{file}");
    std::fs::remove_dir_all(&gone).unwrap();
    world.sandbox.git(&["update-ref", "-d", "refs/heads/gone"]);
    let prune = ["prune", "--older-than", "0s", "--yes", "--json"];
    let pruned = json(&fine(world.sandbox.devrun(&prune).directory(&main)));
    let all = world.ask(&main, &["list"]);
    let names: Vec<_> =
        all["databases"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((of_gone["name"].as_str(), names), (Some("dev-gone"), vec!["dev-new"]), "{pruned:#}");
    assert!(Path::new(file.strip_prefix("sqlite:///").unwrap()).exists());
    assert!(!Path::new(&file.replace("dev-old", "dev-gone")[10..]).exists(), "{pruned:#}");
}

#[test]
fn verbs_that_need_another_provider_name_this_one() {
    let world = sqlite();
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    for args in [
        &["diff"][..],
        &["extensions"],
        &["snapshot", "a"],
        &["snapshots"],
        &["start"],
        &["reset", "--from", "snapshot", "--yes"],
    ] {
        let error = refusal(world.db(&x, &[args, &["--json"]].concat()), "database-failed", 84);
        assert!(error["message"].as_str().unwrap().contains("provider command"), "{args:?}: {error:#}");
    }
    let psql = world.db(&x, &["psql", "--", "-c", "select 1"]).run();
    assert!(psql.stderr.contains("`devrun db psql` needs a Postgres"), "{psql}");
    let dump = world.sandbox.path().join("dump.sql");
    world.sandbox.write(&dump, "select 1;\n");
    let import = world.db(&main, &["import", dump.to_str().unwrap(), "--yes", "--json"]).run();
    assert!(import.stdout.contains("provider command") || import.stdout.contains("`command`"), "{import}");
}

#[test]
fn failing_command_is_reported_without_its_url() {
    let url = format!("mysql://me:{PASSWORD}@db.example/x");
    let answers = [
        (
            format!("echo '{{\"url\": \"{url}\"}}'; echo cannot reach {url} >&2; exit 3"),
            "ended with exit code 3",
        ),
        (format!("echo {url}"), "it is no JSON object"),
        (format!("echo '{{\"link\": \"{url}\"}}'"), "it has no `url`"),
        ("devrun-no-such-program".into(), "ended with exit code 127"),
    ];
    for (command, told) in answers {
        // The URL is not in devrun.yaml, as in a real command.
        let world = repository(
            "database:\n  provider: command\n  command: { create: sh create.sh, delete: 'true' }",
            &[("create.sh", &command)],
        );
        let main = world.sandbox.main();
        let error = refusal(world.db(&main, &["migrate", "--json"]), "database-failed", 84);
        assert!(error["message"].as_str().unwrap().contains(told), "{error:#}");
        let up = world.sandbox.devrun(&["up"]).directory(&main).run();
        assert!(!format!("{error}{up}").contains(PASSWORD), "{error:#} {up}");
    }
    let world = repository("database: { provider: command, command: { create: 'true' } }", &[]);
    let main = world.sandbox.main();
    let error = refusal(world.db(&main, &["migrate", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("`database.command.delete`"), "{error:#}");
}

#[test]
fn list_command_shows_databases_of_other_clones_and_only_the_full_name_deletes_one() {
    let script = "case $DEVRUN_ACTION in\n\
        list) printf '{\"databases\": [\"theirs\", \"dev-main\"]}';;\n\
        delete) echo \"$DEVRUN_DATABASE\" >> ../deleted;;\n\
        url) echo '{\"url\": \"mysql://u:Xsecret5-of-the-url@h/'$DEVRUN_DATABASE'\"}';;\n\
        *) echo '{\"url\": \"mysql://h/old\", \"created\": false}';;\nesac\n";
    let run = "sh db.sh";
    let database = format!(
        "database:\n  provider: command\n  command: {{ create: {run}, url: {run}, delete: {run}, list: [sh, db.sh] }}"
    );
    let world = repository(&database, &[("db.sh", script)]);
    let main = world.sandbox.main();
    let first = world.ask(&main, &["migrate"]);
    assert_eq!((&first["made"], &first["migrated"]), (&false.into(), &Value::Null), "{first:#}");
    let shown = world.ask(&main, &["url"]);
    assert_eq!(shown["url"], "mysql://u:***@h/dev-main");
    assert_eq!(world.ask(&main, &["url", "--reveal"])["url"], format!("mysql://u:{PASSWORD}@h/dev-main"));
    let listed = world.ask(&main, &["list"]);
    let made: Vec<_> =
        listed["databases"].as_array().unwrap().iter().map(|one| &one["made_by_devrun"]).collect();
    assert_eq!(made, [false, false], "`create` reported that the database existed: {listed:#}");
    let foreign = world.ask(&main, &["delete", "theirs", "--yes"]);
    assert_eq!(foreign["deleted"], true);
    let deleted = std::fs::read_to_string(world.sandbox.path().join("deleted")).unwrap();
    assert_eq!(deleted, "theirs\n");
}
