//! Tests that copies are exact while clients write to the parent, and that no statement of these clients fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::{JoinHandle, LocalSet};

use super::super::Local;
use super::super::copying::CopyMethod;
use super::copying::{InUse, table_sums};
use super::kept_session::{self, Kept};
use super::test_env::{number, session, wanted};

const SCHEMA: &str = "SET ROLE app; CREATE TABLE account (id int PRIMARY KEY, v int NOT NULL); \
    INSERT INTO account SELECT n, 100 FROM generate_series(1, 200) n; \
    CREATE TABLE log (id bigserial PRIMARY KEY, account int REFERENCES account, text text, twice int GENERATED ALWAYS AS (account * 2) STORED); \
    CREATE INDEX ON log (account); CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS x FROM generate_series(1, 4000) n; \
    CREATE UNLOGGED TABLE visit (id serial, at timestamptz DEFAULT now()); CREATE TABLE scratch (n int)";

/// Clients that work in the parent until this is ended. Each of their statements must succeed.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<(), tokio_postgres::Error>>>,
}

impl Load {
    /// Starts a pool of three writing clients, one that connects again for each statement, and with `ddl` one that changes
    /// and empties a table.
    async fn start(url: &str, ddl: bool) -> Load {
        let mut load = Load { stop: Arc::default(), done: Arc::default(), clients: Vec::new() };
        for client in 0..3 {
            let sql = format!(
                "BEGIN; UPDATE account SET v = v - 1 WHERE id = {}; UPDATE account SET v = v + 1 WHERE id = {}; \
                 INSERT INTO log (account, text) SELECT {}, repeat('x', (random() * 3000)::int); \
                 DELETE FROM log WHERE id < currval('log_id_seq') - 300 AND account = {}; COMMIT",
                client * 50 + 1,
                client * 50 + 2,
                client * 50 + 1,
                client * 50 + 1
            );
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            let client = session(url, "pool").await;
            load.clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.batch_execute(&sql).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        let (stop, address) = (Arc::clone(&load.stop), url.to_string());
        load.clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let client = session(&address, "short").await;
                client.batch_execute("INSERT INTO visit DEFAULT VALUES").await?;
            }
            Ok(())
        }));
        if ddl {
            let (stop, client) = (Arc::clone(&load.stop), session(url, "ddl").await);
            load.clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let sql = "BEGIN; TRUNCATE scratch; INSERT INTO scratch SELECT generate_series(1, 50); COMMIT; \
                        ALTER TABLE scratch ALTER n TYPE bigint; DROP TABLE IF EXISTS other; CREATE TABLE other AS SELECT 1 AS n; \
                        ALTER TABLE scratch ALTER n TYPE int";
                    client.batch_execute(sql).await?;
                    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
                }
                Ok(())
            }));
        }
        load
    }

    /// Waits until the clients have done some work from now on.
    async fn works(&self) {
        let before = self.done.load(Ordering::Relaxed);
        while self.done.load(Ordering::Relaxed) < before + 10 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Ends the clients. Panics if one of their statements failed.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap().unwrap();
        }
    }
}

/// Copies the parent `count` times while clients write to it, and compares each copy. Returns how often each way was taken.
async fn copies_under_load(count: u32, has_snapshot: bool, ddl: bool) -> Option<(u32, u32)> {
    let mut world = InUse::new(SCHEMA).await?;
    if has_snapshot {
        world = world.snapshot().await;
    }
    let load = Load::start(&world.main.url, ddl).await;
    let (mut replaced, mut dumped) = (0, 0);
    for run in 0..count {
        load.works().await;
        let (way, copy) = world.copy(&format!("dev-{run}")).await;
        assert_eq!(number(&copy, "SELECT sum(v) FROM account").await, 20_000);
        let behind = "SELECT count(*) FROM log WHERE id > (SELECT last_value FROM log_id_seq)";
        assert_eq!(number(&copy, behind).await, 0, "the next rows would collide");
        match way {
            CopyMethod::Replace => replaced += 1,
            CopyMethod::Dump => dumped += 1,
        }
        drop(copy);
        world.local.delete(&format!("dev-{run}")).await.unwrap();
    }
    load.end().await;
    world.end();
    Some((replaced, dumped))
}

#[tokio::test]
async fn copies_through_the_snapshot_are_exact_under_load() {
    let Some(ways) = copies_under_load(3, true, false).await else { return };
    assert_eq!(ways, (3, 0));
}

#[tokio::test]
async fn dumped_copies_are_exact_under_load() {
    let Some(ways) = copies_under_load(2, false, false).await else { return };
    assert_eq!(ways, (0, 2));
}

#[tokio::test]
async fn copies_are_exact_while_tables_are_emptied_and_changed() {
    copies_under_load(3, true, true).await;
}

#[tokio::test]
#[ignore = "copies a parent under load 24 times, which takes a minute: `cargo test --lib -- --ignored under_load`"]
async fn many_copies_are_exact_under_load() {
    for (has_snapshot, ddl) in [(true, false), (false, false), (true, true)] {
        copies_under_load(8, has_snapshot, ddl).await;
    }
}

#[tokio::test]
async fn ten_copies_at_once_of_a_parent_under_load_are_exact() {
    let Some(world) = InUse::new(SCHEMA).await else { return };
    let world = world.snapshot().await;
    let load = Load::start(&world.main.url, false).await;
    load.works().await;
    let bin = super::test_env::system();
    let set = LocalSet::new();
    let copy = |run: u32| {
        let (ctx, request) = (world.server.ctx.clone(), world.server.request("repo", bin.as_deref()));
        set.spawn_local(async move {
            let mut local = Local::open(&ctx, request, None).await.unwrap();
            kept_session::of_copies(&mut local);
            let branch = local.ensure(&wanted(&format!("dev-{run}"), "dev-main")).await.unwrap();
            (local, branch, kept_session::take().expect("copied beside the sessions"))
        })
    };
    let tasks: Vec<_> = (0..10).map(copy).collect();
    set.run_until(async {
        for task in tasks {
            let (local, branch, Kept { reader, .. }) = task.await.unwrap();
            let copy = local.session_in(&branch.name).await.unwrap();
            assert_eq!(table_sums(&copy).await, table_sums(&reader).await, "{}", branch.name);
            drop(copy);
            local.release();
        }
    })
    .await;
    load.end().await;
    assert_eq!(world.server.words("warning: "), [""; 0]);
    world.end();
}
