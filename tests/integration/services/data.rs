//! Tests that `data:` decides which data a service has at its start, and that `devrun rm` deletes the data.

use super::{ask, config, data_folder, down, has_redis, redis_port, up, world};
use crate::asking::{devrun, fine};

#[test]
fn data_is_empty_at_every_start_unless_it_is_kept() {
    if !has_redis() {
        return;
    }
    for (keys, after) in [("", "$-1"), (", data: keep", "1")] {
        let sandbox = world(&config(keys));
        let main = sandbox.main();
        up(&sandbox, &main);
        let port = redis_port(&sandbox, &main);
        assert_eq!(ask(port, "SET a 1"), "+OK");
        fine(devrun(&sandbox, &main, &["restart", "redis"]));
        fine(devrun(&sandbox, &main, &["wait"]));
        assert_eq!(ask(port, "GET a"), "1", "a restart within the run keeps the data: {keys}");
        down(&sandbox, &main);
        up(&sandbox, &main);
        assert_eq!(ask(redis_port(&sandbox, &main), "GET a"), after, "{keys}");
        down(&sandbox, &main);
    }
}

#[test]
fn copy_starts_with_the_data_of_a_running_or_stopped_main_worktree() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(", data: copy"));
    let main = sandbox.main();
    let (first, second) = (sandbox.worktree("first", "first"), sandbox.worktree("second", "second"));
    up(&sandbox, &main);
    let port = redis_port(&sandbox, &main);
    assert_eq!(ask(port, "SET a 1"), "+OK");
    up(&sandbox, &first);
    let own = redis_port(&sandbox, &first);
    assert_eq!(ask(own, "GET a"), "1", "the running server saved its data");
    assert_eq!(ask(own, "SET a 2"), "+OK");
    assert_eq!(ask(port, "GET a"), "1");
    assert_eq!(ask(port, "SET a 3"), "+OK");
    down(&sandbox, &main);
    up(&sandbox, &second);
    assert_eq!(ask(redis_port(&sandbox, &second), "GET a"), "3", "the stopped server left a snapshot");
    down(&sandbox, &second);
    down(&sandbox, &first);
    up(&sandbox, &first);
    assert_eq!(ask(redis_port(&sandbox, &first), "GET a"), "2", "a copy is made once");
    down(&sandbox, &first);
}

#[test]
fn data_is_deleted_with_the_worktree() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(", data: keep"));
    let linked = sandbox.worktree("linked", "linked");
    up(&sandbox, &linked);
    let folder = data_folder(&sandbox, &linked);
    down(&sandbox, &linked);
    assert!(folder.is_dir());
    fine(sandbox.devrun(&["rm", "linked", "--yes"]));
    assert!(!folder.exists());
}
