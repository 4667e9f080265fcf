//! `devrun db upgrade`, killed in the middle and completed. A test beside the code checks the moved objects.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::World;
use crate::asking::{fine, skip, skip_without};
use crate::support::{LIMIT, wait_for};

/// Returns the folder of the only cluster.
fn cluster(world: &World) -> PathBuf {
    let mut all = std::fs::read_dir(world.sandbox.path().join("data/devrun-worktree/pg")).unwrap().flatten();
    all.next().unwrap().path()
}

/// Returns the major version of the server.
fn major(world: &World, worktree: &Path) -> u32 {
    world.sql(worktree, "select current_setting('server_version_num')::int / 10000").parse().unwrap()
}

#[test]
fn killed_upgrade_changes_nothing_and_the_next_one_completes() {
    let Some(mut world) = World::new() else { return };
    if which::which("npm").is_err() {
        return skip_without(&["npm"]);
    }
    // The unit tests keep their downloads here.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("devrun-test-cache");
    let folder = world.sandbox.path().join("cache");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(&cache, folder.join("devrun-worktree")).unwrap();
    world.sandbox.set("XDG_CACHE_HOME", &folder);
    let (main, x) = (world.sandbox.main(), world.worktree("x"));
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table t as select n, repeat('x', 200) as s from generate_series(1, 30000) n");
    world.ask(&x, &["migrate"]);
    let before = major(&world, &main);
    if before >= 18 {
        return skip("the Postgres of this system is the newest that devrun knows");
    }
    // devrun chooses the programs from now on.
    for folder in [&main, &x] {
        let config = std::fs::read_to_string(folder.join("devrun.yaml")).unwrap();
        let (start, rest) = config.split_once("bin: ").unwrap();
        let (_, rest) = rest.split_once(", ").unwrap();
        world.sandbox.write(&folder.join("devrun.yaml"), &format!("{start}{rest}"));
    }
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let upgrade = world.db(&main, &["upgrade", "--json"]).start();
        let folder = cluster(&world).join("upgrade");
        wait_for("a dump", LIMIT, || {
            let names =
                std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
            let names: Vec<_> = names.collect();
            let found = names.iter().any(|name| name.to_string_lossy().starts_with("upgrade-"));
            if found { Ok(()) } else { Err(format!("{names:?}")) }
        });
        upgrade.signal(signal);
        let ended = upgrade.wait();
        assert_ne!(ended.code, Some(0), "{ended}");
        assert_eq!(world.sql(&main, "select count(*) from t"), "30000", "{signal}");
        assert_eq!(major(&world, &x), before, "{signal}");
        assert!(!folder.exists(), "{signal}: {}", folder.display());
        assert_eq!(world.sandbox.processes(), [], "{signal}: a server is still there");
    }
    let text = fine(world.db(&main, &["upgrade"])).stdout;
    assert!(
        text.starts_with(&format!("Moved from Postgres {before} to 18: 2 databases and 0 snapshots.")),
        "{text}"
    );
    assert_eq!((major(&world, &main), major(&world, &x)), (18, 18));
    assert_eq!(world.sql(&x, "select count(*) from t"), "30000");
    let status = world.ask(&x, &["status"]);
    assert_eq!(
        (&status["migrations"], &status["parent"]),
        (&"up-to-date".into(), &"dev-main".into()),
        "{status:#}"
    );
    let again = world.ask(&main, &["migrate"]);
    assert_eq!(again["migrated"], "up to date", "{again:#}");
    assert_eq!(world.ask(&main, &["upgrade"])["upgraded"], false);
    assert_eq!(world.sandbox.processes(), [], "a server is still there");
}
