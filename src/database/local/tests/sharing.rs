//! Tests of simultaneous use: devruns that start together, copies of a repository, a parent that is in use.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::super::{Local, cluster, postmaster};
use super::test_env::{TestServer, admin, connect, number, session, system, wanted};
use crate::plan::DatabaseOrigin;

#[tokio::test]
async fn ten_at_once_make_one_cluster_one_server_and_one_database() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let set = LocalSet::new();
    let open = || {
        let (ctx, request) = (server.ctx.clone(), server.request("repo", Some(&bin)));
        set.spawn_local(async move {
            let local = Local::open(&ctx, request, None).await.unwrap();
            let branch = local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
            (local, branch)
        })
    };
    let tasks: Vec<_> = (0..10).map(|_| open()).collect();
    set.run_until(async {
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        let made = all.iter().filter(|(_, branch)| branch.origin != DatabaseOrigin::Existing).count();
        assert_eq!(made, 1);
        assert!(all.iter().all(|(_, branch)| branch.id == all[0].1.id));
        assert_eq!(server.count_messages("making a Postgres"), 1);
        let log = std::fs::read_to_string(all[0].0.folder().join("log")).unwrap();
        assert_eq!(log.matches("ready to accept connections").count(), 1, "{log}");
        for (local, _) in &all {
            local.release();
        }
        assert_eq!(postmaster::running(&cluster::data(all[0].0.folder())), None);
    })
    .await;
}

#[tokio::test]
async fn a_devrun_that_starts_while_another_ends_gets_a_live_server() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    for _ in 0..5 {
        let first = server.open(Some(&bin)).await;
        let (next, ()) = tokio::join!(server.open(Some(&bin)), async { first.release() });
        next.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
        next.release();
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copied_repository_gets_its_own_cluster_and_a_moved_one_keeps_its() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let first = server.open(Some(&bin)).await;
    let main = first.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    copy_tree(&server.path("repo"), &server.path("copy"));
    let copy = Local::open(&server.ctx, server.request("copy", Some(&bin)), None).await.unwrap();
    assert_ne!(copy.folder(), first.folder());
    assert_eq!(server.count_messages("is a copy of"), 1);
    assert_eq!(copy.find("dev-main").await.unwrap(), None);
    copy.release();
    first.release();
    std::fs::rename(server.path("repo"), server.path("moved")).unwrap();
    let moved = Local::open(&server.ctx, server.request("moved", Some(&bin)), None).await.unwrap();
    assert_eq!(moved.find("dev-main").await.unwrap().unwrap().id, main.id);
    moved.release();
}

#[tokio::test]
async fn a_parent_in_use_is_copied_exactly_and_its_users_notice_nothing() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let idle = session(&main.url, "psql").await;
    idle.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    // A transaction that stays open during the copy, and must not block it.
    let stuck = session(&main.url, "debugger").await;
    stuck.batch_execute("BEGIN; INSERT INTO t VALUES (-1)").await.unwrap();
    // A client that panics if one of its statements fails.
    let (stop, written) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let set = LocalSet::new();
    let writer = set.spawn_local({
        let (stop, written, url) = (Rc::clone(&stop), Rc::clone(&written), main.url.clone());
        async move {
            let client = session(&url, "uvicorn").await;
            while !stop.get() {
                let next = written.get() + 1;
                client.execute("INSERT INTO t VALUES ($1)", &[&next]).await.unwrap();
                written.set(next);
            }
        }
    });
    set.run_until(async {
        while written.get() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = written.get();
        let branch = local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
        stop.set(true);
        writer.await.unwrap();
        let copy = connect(&branch).await;
        assert!(number(&copy, "SELECT count(*) FROM t").await >= i64::from(before));
        assert_eq!(number(&copy, "SELECT count(*) - max(n) FROM t").await, 0, "a gap in the copy");
    })
    .await;
    assert_eq!(server.words("warning: "), [""; 0]);
    assert!(!idle.is_closed());
    stuck.batch_execute("COMMIT").await.unwrap();
    local.release();
}

#[tokio::test]
async fn half_made_databases_of_a_killed_devrun_are_dropped() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let client = admin(&local).await;
    client.batch_execute("CREATE DATABASE \"_devrun-tmp-0123\"").await.unwrap();
    local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
    let sql = "SELECT count(*) FROM pg_database WHERE datname LIKE '\\_devrun%'";
    assert_eq!(number(&client, sql).await, 0);
    drop(client);
    local.release();
}

#[tokio::test]
async fn a_devrun_killed_during_the_copy_leaves_nothing_under_the_final_name() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let client = connect(&main).await;
    let sql = "CREATE TABLE t AS SELECT n, repeat('x', 500) AS x FROM generate_series(1, 40000) n";
    client.batch_execute(sql).await.unwrap();
    drop(client);
    for delay in [1, 20, 60, 100] {
        let cut = Duration::from_millis(delay);
        let _ = tokio::time::timeout(cut, local.ensure(&wanted("dev-x", "dev-main"))).await;
    }
    let branch = local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
    assert_eq!(number(&connect(&branch).await, "SELECT count(*) FROM t").await, 40_000);
    let client = admin(&local).await;
    assert_eq!(number(&client, "SELECT count(*) FROM pg_database").await, 5);
    drop(client);
    local.release();
}
