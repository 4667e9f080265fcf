//! Whole runs: the first and the next one, ten at once, killed and interrupted runs, secrets, TLS, expiry, and the choice of the provider.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{World, creations, ready, stop};
use crate::asking::skip_without;
use crate::support::neon::{Call, Fault, KEY, Neon, PASSWORD};
use crate::support::{LIMIT, wait_for};

fn told(stdout: &str, name: &str) -> String {
    let start = format!("env {name}=");
    stdout.lines().find_map(|line| Some(line.split_once(&start)?.1.to_string())).unwrap_or_default()
}

#[test]
fn first_run_makes_a_branch_and_the_next_needs_one_call() {
    let Some(world) = World::new("") else { return };
    let worktree = world.worktree("x", "feature/x");
    let first = world.run(&worktree, &[]);
    let branch = world.neon.branch("dev-feature/x").expect("the branch");
    assert!(told(&first.stdout, "DATABASE_URL").contains("@localhost:"), "pooled: {first}");
    assert!(told(&first.stdout, "DATABASE_URL_UNPOOLED").contains("@127.0.0.1:"), "direct: {first}");
    assert!(first.stderr.contains("the database is on Neon"), "{first}");
    assert_eq!(world.migrated().len(), 1);
    assert!(world.migrated()[0].starts_with("feature/x 127.0.0.1:"), "directly: {:?}", world.migrated());
    assert_eq!(branch.annotation["git-branch"], "feature/x");
    let marker = world.neon.sql("dev-feature/x", "select branch_id from _devrun.marker");
    assert_eq!(marker, [branch.id]);
    let calls = world.neon.take_calls();
    let beyond_polling = calls.iter().filter(|call| !call.path.starts_with("/operations/")).count();
    assert!(creations(&calls) == 1 && beyond_polling <= 5, "{calls:#?}");
    assert!(
        beyond_polling < calls.len(),
        "devrun did not wait for the operations of the new branch: {calls:#?}"
    );

    let second = world.run(&worktree, &[]);
    let calls = world.neon.take_calls();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0].method == "GET" && calls[0].path == "/branches");
    assert_eq!(world.migrated().len(), 1, "{second}");
    assert!(second.stdout.contains("dev-feature/x (neon: already there, up to date)"), "{second}");

    // `plan` sends no requests.
    let plan = world.devrun(&worktree, &["plan", "--json"]).run();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["database"]["provider"], "neon");
    assert_eq!(world.neon.take_calls(), []);
}

#[test]
fn ten_at_once_make_one_branch_and_migrate_once() {
    for locks in [false, true] {
        let Some(world) = World::new("") else { return };
        world.neon.state().locks = locks;
        let folders: Vec<_> = (0..10).map(|at| world.sandbox.path().join(format!("t{at}"))).collect();
        for (at, folder) in folders.iter().enumerate() {
            let new = if at == 0 { vec!["-b", "together"] } else { vec!["-f"] };
            let name = if at == 0 { vec![] } else { vec!["together"] };
            let path = [folder.to_str().unwrap()];
            world.sandbox.git(&[&["worktree", "add", "-q"], &new[..], &path, &name[..]].concat());
        }
        let running: Vec<_> = folders.iter().map(|folder| world.devrun(folder, &[]).start()).collect();
        let running: Vec<_> = running.into_iter().map(ready).collect();
        let branch = world.neon.branch("dev-together").unwrap();
        for (folder, running) in folders.iter().zip(running) {
            let state =
                world.sandbox.git(&["-C", folder.to_str().unwrap(), "rev-parse", "--absolute-git-dir"]);
            let record = std::fs::read(std::path::Path::new(&state).join("devrun/neon.json")).unwrap();
            let record: Value = serde_json::from_slice(&record).unwrap();
            assert_eq!(record["branch"], branch.id);
            stop(running);
        }
        let calls = world.neon.take_calls();
        assert_eq!(creations(&calls), 1, "{calls:#?}");
        assert_eq!(world.migrated().len(), 1);
        assert_eq!(world.neon.state().branches.len(), 2);
    }
}

#[test]
fn next_run_finishes_a_killed_migration() {
    let Some(world) = World::new("") else { return };
    let (one, two) = (world.worktree("one", "one"), world.worktree("two", "two"));
    world.sandbox.write(&world.sandbox.path().join("hold"), "");
    let running = world.devrun(&one, &[]).start();
    wait_for("the migration", LIMIT, || {
        let all = world.sandbox.processes();
        let sleeps = all.iter().any(|process| process.command.contains("sleep 601"));
        if sleeps { Ok(()) } else { Err(format!("{all:#?}")) }
    });
    let both: Vec<_> = world
        .sandbox
        .processes()
        .into_iter()
        .filter(|process| process.command.ends_with("/devrun"))
        .collect();
    for process in both {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
    }
    running.wait();
    std::fs::remove_file(world.sandbox.path().join("hold")).unwrap();
    assert_eq!(world.migrated(), [""; 0]);
    for worktree in [&one, &two, &one] {
        world.run(worktree, &[]);
    }
    let names: Vec<String> =
        world.migrated().iter().map(|line| line.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(names, ["one", "two"]);
    let calls = world.neon.take_calls();
    assert_eq!(creations(&calls), 2, "{calls:#?}");
}

#[test]
fn key_and_password_appear_only_in_their_files() {
    let Some(world) = World::new("") else { return };
    let worktree = world.worktree("x", "x");
    // The log keeps the output of a process unchanged, so the process must not print the URLs.
    let config = std::fs::read_to_string(worktree.join("devrun.yaml")).unwrap();
    let silent = config.replace("'env:DATABASE_URL', 'env:DATABASE_URL_UNPOOLED', ", "");
    assert_ne!(silent, config);
    world.sandbox.write(&worktree.join("devrun.yaml"), &silent);
    let running = ready(world.devrun(&worktree, &[]).start());
    for process in world.sandbox.processes() {
        let command = process.command;
        assert!(!command.contains(KEY) && !command.contains(PASSWORD), "{command}");
    }
    let status = world.devrun(&worktree, &["status", "--json"]).run();
    let plan = world.devrun(&worktree, &["plan"]).run();
    let ended = stop(running);
    for text in [&ended.stdout, &ended.stderr, &status.stdout, &plan.stdout, &plan.stderr] {
        assert!(!text.contains(KEY) && !text.contains(PASSWORD), "{text}");
    }
    let list = |secret: &str| {
        let root = world.sandbox.path().to_str().unwrap();
        let found = world.sandbox.program("grep", &["-rlF", secret, root]).run();
        found.stdout.lines().map(Into::into).collect::<Vec<String>>()
    };
    assert_eq!(list(KEY), [world.sandbox.main().join(".env").to_str().unwrap()]);
    let with_password = list(PASSWORD);
    assert!(with_password.iter().all(|file| file.ends_with("/devrun/neon.json")), "{with_password:?}");
}

#[test]
fn postgres_connections_use_tls_and_check_the_certificate() {
    let Some(neon) = Neon::start_encrypted() else { return skip_without(&["postgres", "openssl"]) };
    let authority = neon.state().authority.clone().unwrap();
    let mut world = World::around(neon, "");
    let worktree = world.worktree("x", "x");
    // The authority of the certificate is not trusted yet.
    let ended = world.fail(&worktree, &[], "database-unavailable");
    assert!(ended.stderr.contains("certificate"), "{ended}");
    assert!(!ended.stderr.contains(PASSWORD), "{ended}");
    assert_eq!(world.migrated(), [""; 0]);
    let file = world.sandbox.path().join("authority.pem");
    world.sandbox.write(&file, &authority);
    world.sandbox.set("SSL_CERT_FILE", &file);
    // The URL requires a login that is bound to the certificate.
    let first = world.run(&worktree, &[]);
    assert!(told(&first.stdout, "DATABASE_URL_UNPOOLED").contains("channel_binding=require"), "{first}");
    assert_eq!(world.migrated().len(), 1);
}

#[test]
fn api_requests_use_tls_and_check_the_certificate() {
    let Some(neon) = Neon::start_guarded() else { return skip_without(&["postgres", "openssl"]) };
    let authority = neon.state().authority.clone().unwrap();
    let mut world = World::around(neon, "");
    let worktree = world.worktree("x", "x");
    let ended = world.fail(&worktree, &[], "database-unavailable");
    assert!(ended.stderr.contains("certificate"), "{ended}");
    assert_eq!(world.neon.take_calls(), []);
    let file = world.sandbox.path().join("authority.pem");
    world.sandbox.write(&file, &authority);
    world.sandbox.set("SSL_CERT_FILE", &file);
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 1);
    assert_eq!(creations(&world.neon.take_calls()), 1);
}

#[test]
fn ctrl_c_ends_every_wait_and_records_nothing() {
    let Some(world) = World::new("") else { return };
    let worktree = world.worktree("x", "x");
    for (method, path, status) in
        [("GET", "/branches", 429), ("POST", "/branches", 423), ("GET", "/connection_uri", 503)]
    {
        let wait = vec![("retry-after", "70".into())];
        world.neon.fail(method, path, Fault::Answer(status, wait, String::new()));
        let mut running = world.devrun(&worktree, &[]).start();
        let line = running.expect_line("waiting for Neon to ");
        assert!(line.contains("(for 75 s at most)") && line.contains(&status.to_string()), "{line}");
        // The next request would come after 70 s, which is longer than the test waits for the exit.
        let ended = stop(running);
        assert_eq!(ended.code, Some(130), "{ended}");
        let record = world.sandbox.main().join(".git/worktrees/x/devrun/neon.json");
        assert!(!record.exists(), "{path}");
    }
    world.run(&worktree, &[]);
    assert_eq!(creations(&world.neon.take_calls()), 1);
    assert_eq!(world.migrated().len(), 1);
}

#[test]
fn ctrl_c_ends_a_wait_and_the_next_run_uses_the_branch() {
    let Some(world) = World::new("") else { return };
    world.neon.state().step = Duration::from_hours(1);
    let worktree = world.worktree("x", "x");
    let running = world.devrun(&worktree, &[]).start();
    wait_for("the wait for Neon's work", LIMIT, || {
        let calls = world.neon.state().calls.clone();
        let polled = calls.iter().any(|call| call.path.starts_with("/operations/"));
        if polled { Ok(()) } else { Err(format!("{calls:#?}\n{}", running.stderr())) }
    });
    // The work takes an hour, which is longer than the test waits for the exit.
    let ended = stop(running);
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(!world.sandbox.main().join(".git/worktrees/x/devrun/neon.json").exists());
    world.neon.hurry();
    world.run(&worktree, &[]);
    assert_eq!(creations(&world.neon.take_calls()), 1);
    assert_eq!(world.migrated().len(), 1);
}

#[test]
fn each_run_postpones_the_expiry_without_waiting() {
    let Some(world) = World::new("  neon: { expires_in: 7d }") else { return };
    let worktree = world.worktree("x", "x");
    world.run(&worktree, &[]);
    let first = world.neon.branch("dev-x").unwrap().expires_at.unwrap();
    world.neon.state().branches.last_mut().unwrap().expires_at = None;
    world.neon.take_calls();
    let running = ready(world.devrun(&worktree, &[]).start());
    // The double records a call when it answers, so a devrun that exits earlier leaves no call.
    wait_for("the new day", LIMIT, || {
        let count = world.neon.state().calls.len();
        if count == 2 { Ok(()) } else { Err(format!("{count} calls")) }
    });
    let second = world.neon.branch("dev-x").unwrap().expires_at.unwrap();
    stop(running);
    assert!(second >= first, "{first} {second}");
    let calls: Vec<String> = world.neon.take_calls().into_iter().map(|call| call.method).collect();
    assert_eq!(calls, ["GET", "PATCH"]);
}

#[test]
fn without_a_project_the_database_is_local() {
    let Some(world) = World::new("") else { return };
    world.sandbox.write(&world.sandbox.main().join(".env"), &format!("NEON_API_KEY={KEY}\n"));
    let plan = world.devrun(&world.sandbox.main(), &["plan"]).run();
    assert!(plan.stderr.contains("no Neon project is named: the local provider is used"), "{plan}");
    world.sandbox.write(&world.sandbox.main().join(".neon"), r#"{"projectId":"quiet-moon-123456"}"#);
    let plan = world.devrun(&world.sandbox.main(), &["plan", "--json"]).run();
    assert!(plan.stdout.contains("\"neon\""), "{plan}");
    assert_eq!(world.neon.take_calls(), [] as [Call; 0]);
}

#[test]
fn env_file_cannot_redirect_a_key_from_elsewhere() {
    let Some(world) = World::new("") else { return };
    let main = world.sandbox.main();
    let host = world.neon.host();
    let with_host = format!("NEON_API_HOST={host}\nNEON_PROJECT_ID={}\n", crate::support::neon::PROJECT);
    let devrun = |args: &[&str]| world.devrun(&main, args).env_remove("NEON_API_HOST");
    for (file, local) in [
        // The key is in the user's environment.
        (with_host.clone(), String::new()),
        // The key is in another file.
        (with_host.clone(), format!("NEON_API_KEY={KEY}\n")),
        // The file copies a secret that it does not contain.
        (format!("{with_host}NEON_API_KEY=${{VICTIM}}\n"), String::new()),
    ] {
        world.sandbox.write(&main.join(".env"), &file);
        world.sandbox.write(&main.join(".env.local"), &local);
        for args in [&["db", "list"][..], &["db", "url"], &["up"]] {
            let mut run = devrun(args).env("VICTIM", KEY);
            if !file.contains("VICTIM") && local.is_empty() {
                run = run.env("NEON_API_KEY", KEY);
            }
            let ended = run.run();
            assert!(ended.stderr.contains("NEON_API_HOST in .env would choose"), "{ended}");
            assert!(!format!("{ended}").contains(KEY), "{ended}");
        }
    }
    assert_eq!(world.neon.take_calls(), [] as [Call; 0]);
    world.sandbox.write(&main.join(".env.local"), "");
    world.sandbox.write(&main.join(".env"), &format!("{with_host}NEON_API_KEY={KEY}\n"));
    let listed = devrun(&["db", "list"]).run();
    assert_eq!(listed.code, Some(0), "one file holds both: {listed}");
}
