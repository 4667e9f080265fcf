//! `devrun db diff`: the differences between a branch database and another one.

use serde_json::{Value, json};

use super::World;
use crate::asking::{fine, refusal};

#[test]
fn schema_and_numbers_of_rows_are_compared_with_the_parent() {
    let Some(world) = World::new() else { return };
    let (x, main) = (world.worktree("x"), world.sandbox.main());
    world.ask(&main, &["migrate"]);
    let base = "create type mood as enum ('sad', 'glad'); create table users (id int primary key, name text, mood mood); \
                insert into users values (1, 'a', 'sad'), (2, 'b', 'glad'); create view names as select name from users; \
                create function one() returns int language sql as 'select 1'; create index users_name on users (name)";
    world.sql(&main, base);
    refusal(world.db(&x, &["diff", "--json"]), "database-missing", 84);
    world.ask(&x, &["migrate"]);
    let text = fine(world.db(&x, &["diff"])).stdout;
    assert_eq!(text, "dev-x has the schema of dev-main, and each table has as many rows.\n");
    let own = "alter type mood add value 'ok'; alter table users alter name set not null, add age int default 7; \
               drop index users_name; drop view names; create or replace function one() returns int language sql as 'select 2'; \
               create table bills (id int primary key); insert into bills values (1); delete from users where id = 2; \
               alter table users add check (id > 0)";
    world.sql(&x, own);
    let found = world.ask(&x, &["diff"]);
    let shown = |change: &Value| {
        let part = |key: &str| change[key].as_str().unwrap().to_string();
        format!("{} {} {}", part("change"), part("kind"), part("name"))
    };
    let schema: Vec<String> = found["schema"].as_array().unwrap().iter().map(shown).collect();
    let wanted = [
        "added column users.age",
        "changed column users.name",
        "added constraint users.users_id_check",
        "changed enum mood",
        "changed function one()",
        "removed index users_name",
        "added table bills",
        "removed view names",
    ];
    assert_eq!(schema, wanted, "{found:#}");
    let name = found["schema"].as_array().unwrap().iter().find(|one| one["name"] == "users.name").unwrap();
    assert_eq!((&name["before"], &name["after"]), (&"text".into(), &"text not null".into()));
    let count = |rows: u64| json!({ "rows": rows, "exact": true });
    assert_eq!(
        found["tables"],
        json!([
            { "table": "bills", "before": null, "after": count(1) },
            { "table": "users", "before": count(2), "after": count(1) },
        ])
    );
    let text = fine(world.db(&x, &["diff"])).stdout;
    assert!(text.contains("~  column      users.name            text -> text not null\n"), "{text}");
    assert!(text.contains("~  rows        users                 2 -> 1\n"), "{text}");
    // The parent compared with the branch, and a database without a parent.
    let back = world.ask(&main, &["diff", "dev-x"]);
    assert_eq!(back["schema"].as_array().unwrap().len(), wanted.len(), "{back:#}");
    let error = refusal(world.db(&main, &["diff", "--json"]), "database-missing", 84);
    assert!(error["fix"].as_str().unwrap().contains("devrun db diff OTHER"), "{error:#}");
}

#[test]
fn rows_are_compared_by_primary_key() {
    let Some(world) = World::new() else { return };
    let (x, main) = (world.worktree("x"), world.sandbox.main());
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table t (a int, b text, n int, primary key (a, b)); insert into t values (1, 'x', 1), (1, 'it''s', 2), (2, 'x', 3)");
    world.sql(&main, "create table keyless (n int); create schema s; create table s.t (id int primary key)");
    world.ask(&x, &["migrate"]);
    world.sql(
        &x,
        "update t set n = 9 where b = 'it''s'; delete from t where a = 2; insert into t values (3, 'z', 4)",
    );
    let found = world.ask(&x, &["diff", "--rows", "t"]);
    assert_eq!((&found["added"], &found["removed"], &found["changed"]), (&1.into(), &1.into(), &1.into()));
    let changed = &found["rows"][0];
    assert_eq!(
        (&changed["change"], &changed["key"]),
        (&"changed".into(), &json!(["1", "it's"])),
        "{found:#}"
    );
    assert_eq!((&changed["before"]["n"], &changed["after"]["n"]), (&2.into(), &9.into()), "{found:#}");
    let text = fine(world.db(&x, &["diff", "--rows", "public.t", "--limit", "1"])).stdout;
    assert_eq!(
        text,
        "public.t in dev-x compared with dev-main: 1 added, 1 removed, 1 changed\n~ a=1 b=it's  n: 2 -> 9\n2 more: --limit\n"
    );
    let text = fine(world.db(&x, &["diff", "--rows", "s.t"])).stdout;
    assert_eq!(text, "s.t has the same rows in dev-x and dev-main.\n");
    for (table, said) in [("keyless", "no primary key"), ("nowhere", "there is no table nowhere in dev-main")]
    {
        let error = refusal(world.db(&x, &["diff", "--rows", table, "--json"]), "usage", 2);
        assert!(error["message"].as_str().unwrap().contains(said), "{error:#}");
    }
}
