//! Tests the move of a cluster to a newer major version: of everything in it, and back after a kill at each moment.

use std::path::{Path, PathBuf};

use super::super::binaries::Search;
use super::super::{Local, LocalRequest, cluster, server, upgrade};
use super::test_env::{TestServer, admin, connect, number, skip, system, wanted};
use crate::database::catalogue::rows;
use crate::error::Code;
use crate::os::fs;

/// Returns an older server of the system, if npm can fetch the preferred one.
fn older(server: &TestServer) -> Option<PathBuf> {
    let bin = system()?;
    if server.ctx.which("npm").is_none() {
        skip("npm is not on PATH, so there is only one major version");
        return None;
    }
    Some(bin)
}

/// Returns a request that lets devrun choose the newest Postgres.
fn free(server: &TestServer) -> LocalRequest {
    server.request("repo", None)
}

async fn words(local: &Local, database: &str, sql: &str) -> Vec<String> {
    let session = local.session_in(database).await.unwrap();
    let found = rows(&session, sql, "look").await.unwrap();
    found.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|")).collect()
}

/// Returns the names in the cluster's folder that an upgrade makes or changes.
fn left(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir(folder).unwrap().flatten().map(|one| one.file_name().into_string().unwrap());
    let mut all: Vec<String> = all.filter(|name| name == "upgrade" || name.starts_with("data")).collect();
    all.sort();
    all
}

#[tokio::test]
async fn everything_moves_to_the_newer_version() {
    let server = TestServer::new();
    let Some(bin) = older(&server) else { return };
    let local = server.open(Some(&bin)).await;
    let old_major = local.cluster.made_by().unwrap().unwrap();
    let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let client = connect(&main).await;
    let schema = "CREATE TABLE t (n serial PRIMARY KEY, s text UNIQUE); INSERT INTO t (s) SELECT 'row ' || g FROM generate_series(1, 3000) g; \
        CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9); \
        INSERT INTO parts VALUES (1), (2); CREATE EXTENSION citext; CREATE VIEW v AS SELECT n FROM t; \
        CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE SCHEMA _devrun; \
        CREATE TABLE _devrun.marker (branch_id text PRIMARY KEY, fingerprint text); \
        CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'; \
        ALTER DATABASE \"dev-main\" SET work_mem = '7MB'";
    client.batch_execute(schema).await.unwrap();
    client.execute("INSERT INTO _devrun.marker VALUES ($1, 'abc')", &[&main.id]).await.unwrap();
    client
        .batch_execute(
            "CREATE DATABASE scratch TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'SQL_ASCII'",
        )
        .await
        .unwrap();
    drop(client);
    local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
    local.save_snapshot("dev-x", "before").await.unwrap();
    let x = local.find("dev-x").await.unwrap().unwrap();
    connect(&x).await.batch_execute("DELETE FROM t WHERE n > 10").await.unwrap();
    let roles = "CREATE ROLE reader LOGIN PASSWORD 'x' CONNECTION LIMIT 3; CREATE ROLE team; GRANT team TO reader; \
        ALTER ROLE reader SET work_mem = '6MB'; GRANT CONNECT ON DATABASE \"dev-x\" TO reader WITH GRANT OPTION";
    admin(&local).await.batch_execute(roles).await.unwrap();
    let about = |local| {
        words(
            local,
            "dev-main",
            "SELECT d.datname, d.oid, pg_get_userbyid(d.datdba), pg_encoding_to_char(encoding), \
        datallowconn, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), CASE WHEN d.datname !~ '^_' THEN shobj_description(d.oid, 'pg_database') END, \
        (SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0) \
        FROM pg_database d WHERE d.datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1",
        )
    };
    let all_roles = "SELECT rolname, rolcanlogin, rolconnlimit, rolcreatedb, CASE WHEN rolname <> 'app' THEN rolpassword END FROM pg_authid WHERE rolname !~ '^(pg_|devrun)' ORDER BY 1";
    let (databases, before) = (about(&local).await, words(&local, "postgres", all_roles).await);
    let folder = local.folder().to_path_buf();

    let error = upgrade::run(&server.ctx, &free(&server), false).await.unwrap_err();
    assert_eq!(error.code, Code::AlreadyRunning);
    local.release();
    let done = upgrade::run(&server.ctx, &free(&server), false).await.unwrap();
    assert_eq!((done.from, done.databases, done.snapshots, done.kept), (old_major, 3, 1, None));
    assert_eq!(left(&folder), ["data"]);

    let local = server.open(None).await;
    assert_eq!(local.cluster.made_by().unwrap(), Some(done.to));
    assert!(done.to > old_major);
    assert_eq!(about(&local).await, databases);
    assert_eq!(words(&local, "postgres", all_roles).await, before);
    let member = "SELECT pg_has_role('reader', 'team', 'MEMBER')::text, (SELECT setconfig::text FROM pg_db_role_setting s \
        JOIN pg_roles r ON r.oid = setrole WHERE rolname = 'reader')";
    assert_eq!(words(&local, "postgres", member).await, ["true|{work_mem=6MB}"]);
    let main = local.find("dev-main").await.unwrap().unwrap();
    assert_eq!(
        words(&local, "dev-main", "SELECT branch_id FROM _devrun.marker").await,
        std::slice::from_ref(&main.id)
    );
    let client = connect(&main).await;
    assert_eq!(number(&client, "SELECT count(*) FROM t").await, 3000);
    assert_eq!(number(&client, "INSERT INTO t (s) VALUES ('new') RETURNING n::bigint").await, 3001);
    assert_eq!(number(&client, "SELECT twice(count(*)::int)::bigint FROM parts").await, 4);
    drop(client);
    let x = local.find("dev-x").await.unwrap().unwrap();
    assert_eq!(number(&connect(&x).await, "SELECT count(*) FROM t").await, 10);
    let saved = local.saved_snapshots().await.unwrap();
    assert_eq!(saved[0].source_id, x.id);
    let x = local.restore_snapshot(&wanted("dev-x", "dev-main"), "before").await.unwrap();
    assert_eq!(number(&connect(&x).await, "SELECT count(*) FROM t").await, 3000);
    local.release();
    let again = upgrade::run(&server.ctx, &free(&server), false).await.unwrap();
    assert_eq!((again.from, again.databases), (again.to, 0));
}

#[tokio::test]
async fn old_data_can_be_kept_and_another_major_is_an_error_that_names_the_verb() {
    let server = TestServer::new();
    let Some(bin) = older(&server) else { return };
    let local = server.open(Some(&bin)).await;
    local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let (folder, made_by) = (local.folder().to_path_buf(), local.cluster.made_by().unwrap().unwrap());
    let search =
        Search { ctx: &server.ctx, account: local.cluster.account, home: &local.home, setting: None };
    let newest = search.find(None, &folder).await.unwrap();
    local.release();
    drop(local);
    let request = server.request("repo", Some(&newest.bin));
    let error = Local::open(&server.ctx, request.clone(), None).await.unwrap_err();
    assert!(error.fix.as_deref().is_some_and(|fix| fix.starts_with("devrun db upgrade")), "{error:?}");
    let done = upgrade::run(&server.ctx, &request, true).await.unwrap();
    let kept = folder.join(format!("data-{made_by}"));
    assert_eq!((done.kept.as_ref(), left(&folder).len()), (Some(&kept), 2));
    assert_eq!(std::fs::read_to_string(kept.join("PG_VERSION")).unwrap().trim(), made_by.to_string());
    let local = Local::open(&server.ctx, request, None).await.unwrap();
    assert!(local.find("dev-main").await.unwrap().is_some());
    local.release();
}

#[tokio::test]
async fn after_a_kill_at_each_moment_the_old_data_are_in_use() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    connect(&main).await.batch_execute("CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    let folder = local.folder().to_path_buf();
    local.release();
    let data = folder.join("data");
    let half = |place: &str| fs::replace(&folder.join(place).join("PG_VERSION"), b"99\n", 0o600).unwrap();
    let aside = || std::fs::rename(&data, folder.join("data.old")).unwrap();
    let moments: [&dyn Fn(); 5] = [
        &|| half("upgrade/data"),
        &|| {
            half("upgrade/data");
            aside();
        },
        &|| {
            aside();
            half("data");
            fs::make_private_dir(&folder.join("upgrade")).unwrap();
        },
        &|| half("data.removed"),
        &|| std::fs::create_dir(folder.join("upgrade")).unwrap(),
    ];
    for (at, moment) in moments.iter().enumerate() {
        moment();
        let local = server.open(Some(&bin)).await;
        let main = local.find("dev-main").await.unwrap().unwrap();
        assert_eq!(number(&connect(&main).await, "SELECT n::bigint FROM t").await, 7, "moment {at}");
        assert_eq!(left(&folder), ["data"], "moment {at}");
        local.release();
    }
    assert!(!server::programs(&cluster::data(&folder)).unwrap().starts_with(&folder));
}
