//! The exact text of failures in the code or its environment: what happened, the fault (environment or code), why, and the one
//! thing to do. Tests of failures that need the whole product are in `stack`; this file checks only their wording.

use std::path::{Path, PathBuf};

use devrun::testing::database::AlembicHead;
use devrun::testing::database::migrate::{FailureCause, MigrateError};
use devrun::testing::error::Report;
use devrun::testing::ui;
use devrun::testing::ui::Style;
use regex::Regex;

use crate::asking::{base, devrun, interrupt, serve, server, skip, skip_without};
use crate::support::{Ended, LIMIT, Sandbox, wait_for};

/// Returns standard error with the parts replaced that differ between runs.
fn told(sandbox: &Sandbox, ended: &Ended) -> String {
    constant(sandbox, &ended.stderr)
}

/// Replaces everything in `text` that differs between runs by a word.
fn constant(sandbox: &Sandbox, text: &str) -> String {
    let home = sandbox.path().canonicalize().unwrap();
    let text = text.replace(home.to_str().unwrap(), "~");
    let text = Regex::new(r"\.devrun-\w+").unwrap().replace_all(&text, ".devrun-X").into_owned();
    let text = Regex::new(r"\b(pid|kill) \d+").unwrap().replace_all(&text, "$1 PID");
    Regex::new(r"\b1\d{4}\b|\b2\d{4}\b|\b3[01]\d{3}\b")
        .unwrap()
        .replace_all(&text, "PORT")
        .trim_end()
        .to_string()
}

#[track_caller]
fn failed(sandbox: &Sandbox, folder: &Path, exit: i32) -> String {
    let ended = devrun(sandbox, folder, &["up", "--strict-ports"]).run();
    assert_eq!(ended.code, Some(exit), "{ended}");
    told(sandbox, &ended)
}

fn plain(error: MigrateError) -> String {
    ui::text(&Report::from(error), Style::PLAIN)
}

#[test]
fn port_held_by_a_program_or_another_worktree() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base))]);
    let ports = crate::asking::answer(&sandbox, &main, "ports");
    let port = crate::asking::port(&ports, "web").to_string();
    let mut stranger =
        sandbox.fixture(&["listen:PORT", "ready", "sleep"]).env("PORT", &port).directory("/").start();
    stranger.expect_line("^ready");
    let said = failed(&sandbox, &main, 82);
    let said = said.replace(env!("CARGO_BIN_EXE_devrun-fixture"), "devrun-fixture");
    drop(stranger);
    insta::assert_snapshot!(said, @r#"
    error: port PORT is held by devrun-fixture listen:PORT ready sleep (pid PID) [port-busy]
      fault: the environment, not the code
      why: the port is in use, and strict ports do not allow another one
      held by: devrun-fixture listen:PORT ready sleep (pid PID)
      fix: stop pid PID (`kill PID`), or run without strict ports
    "#);

    let other = sandbox.worktree("other", "other");
    let config =
        format!("processes:\n  web: {{ run: [devrun-fixture, 'listen:{port}', 'say:serving', sleep] }}\n");
    sandbox.write(&other.join("devrun.yaml"), &config);
    let running = serve(devrun(&sandbox, &other, &[]));
    let said = failed(&sandbox, &main, 82);
    interrupt(running);
    insta::assert_snapshot!(said, @r#"
    error: port PORT is held by devrun-fixture listen:PORT say:serving sleep (pid PID) of worktree ~/other [port-busy]
      fault: the environment, not the code
      why: the port is in use, and strict ports do not allow another one
      held by: devrun-fixture listen:PORT say:serving sleep (pid PID) of worktree ~/other
      fix: stop pid PID (`devrun -C ~/other down`), or run without strict ports
    "#);
}

#[test]
fn exited_process_is_reported_once_with_its_last_line() {
    let sandbox = Sandbox::new();
    let config = "processes:\n  web: { run: [devrun-fixture, 'say:serving', sleep] }\n  \
                  api: { run: [sh, -c, \"sleep 0.2; echo 'ImportError: cannot import name x' >&2; exit 3\"] }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", config)]);
    insta::assert_snapshot!(failed(&sandbox, &main, 3), @r#"
    stopping everything
    error: api ended with exit code 3 [process-ended]
      fault: the code, not the environment
      why: it said: ImportError: cannot import name x
      fix: devrun why api
    "#);
}

#[test]
fn broken_python_at_import() {
    let sandbox = Sandbox::new();
    let config = "processes:\n  backend: { run: [python3, app/main.py] }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", config), ("app/main.py", "import os\nimport loging\n")]);
    if sandbox.program("python3", &["--version"]).run().code != Some(0) {
        return skip_without(&["python3"]);
    }
    insta::assert_snapshot!(failed(&sandbox, &main, 1), @r#"
    stopping everything
    error: backend ended with exit code 1 [process-ended]
      correct: ~/repo/app/main.py:2
      fault: the code, not the environment
      why: it said: ModuleNotFoundError: No module named 'loging'
      fix: correct that line, or declare the package of `loging`, then `devrun up -d`
    "#);
}

/// Returns the answer of `devrun why` about a server that stays alive with broken code, as with `--reload`, and prints `error`.
fn why_after_a_broken_reload(error: &str, before: impl FnOnce(&Path)) -> String {
    let sandbox = Sandbox::new();
    let place = "err:  File \"app/main.py\", line 3, in <module>";
    let words =
        ["devrun-fixture", "listen:PORT", "await:USR1", "http:500", "err:Traceback (most recent call last):"];
    let said = format!("err:{error}");
    let run = [&words[..], &[place, &said, "sleep"]].concat();
    let config = serde_json::json!({
        "ports": { "api": base() }, "processes": { "api": { "run": run, "port": "api", "ready": { "http": "/" } } }
    });
    let main = sandbox.repo_with(&[("devrun.yaml", &config.to_string())]);
    let status = |args: &[&str]| -> serde_json::Value {
        let ended = devrun(&sandbox, &main, args).run();
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended}"))
    };
    let up = status(&["up", "-d", "--json"]);
    let pid = i32::try_from(up["processes"][0]["pid"].as_u64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGUSR1).unwrap();
    wait_for("its silence to be noticed", LIMIT, || {
        let now = status(&["status", "--json"]);
        let silent = |reason: &str| reason.starts_with("no answer since its error");
        if now["processes"][0]["reason"].as_str().is_some_and(silent) { Ok(()) } else { Err(now.to_string()) }
    });
    before(&main);
    let ended = devrun(&sandbox, &main, &["why"]).run();
    assert_eq!(devrun(&sandbox, &main, &["down"]).run().code, Some(0));
    constant(&sandbox, &ended.stdout)
}

#[test]
fn a_broken_edit_under_reload() {
    insta::assert_snapshot!(why_after_a_broken_reload("NameError: name 'ap' is not defined", |_| ()), @r#"
    api runs but is not ready
      correct: app/main.py:3
      fault: the code, not the environment
      why: no answer since its error: NameError: name 'ap' is not defined
      fix: correct that line, then `devrun restart api`

    Last lines of api, shortened:
      Traceback (most recent call last):
        File "app/main.py", line 3, in <module>
      NameError: name 'ap' is not defined
    "#);
}

#[test]
fn missing_module_after_a_rebase() {
    let rebased = |main: &Path| {
        let list = std::fs::File::create(main.join("uv.lock")).unwrap();
        // devrun records the time of a start in seconds.
        list.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
    };
    insta::assert_snapshot!(
        why_after_a_broken_reload("ModuleNotFoundError: No module named 'httpx'", rebased), @r#"
    api runs but is not ready
      fault: the environment, not the code
      why: no answer since its error: ModuleNotFoundError: No module named 'httpx' (app/main.py:3)
        uv.lock was changed after the stack was started, and httpx is not installed
      fix: devrun down && devrun up -d

    Last lines of api, shortened:
      Traceback (most recent call last):
        File "app/main.py", line 3, in <module>
      ModuleNotFoundError: No module named 'httpx'
    "#);
}

#[test]
fn missing_database_is_a_fault_of_the_environment() {
    let sandbox = Sandbox::new();
    let words =
        "sqlalchemy.exc.OperationalError: connection to server at 127.0.0.1 failed: Connection refused";
    let config = format!("processes:\n  api: {{ run: [sh, -c, \"echo '{words}' >&2; exit 1\"] }}\n");
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    insta::assert_snapshot!(failed(&sandbox, &main, 1), @r#"
    stopping everything
    error: api ended with exit code 1 [process-ended]
      fault: the environment, not the code
      why: it said: sqlalchemy.exc.OperationalError: connection to server at 127.0.0.1 failed: Connection refused
      fix: devrun why api
    "#);
}

#[test]
fn process_that_never_becomes_ready() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ api: {} }}\nprocesses:\n  api:\n    run: [devrun-fixture, 'say:thinking', sleep]\n    port: api\n    \
         ready: {{ http: /, interval: 50ms, deadline: 400ms }}\n",
        base()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    insta::assert_snapshot!(failed(&sandbox, &main, 86), @r#"
    stopping everything
    error: api did not become ready within 400ms [not-ready]
      why: last answer: port PORT: Connection refused (os error 111)
        it said: thinking
        `ready: deadline:` can give api more time
      fix: devrun why api
    "#);
}

#[test]
fn missing_command() {
    let sandbox = Sandbox::new();
    let main =
        sandbox.repo_with(&[("devrun.yaml", "processes:\n  api: { run: [no-such-server, --port] }\n")]);
    insta::assert_snapshot!(failed(&sandbox, &main, 87), @r#"
    stopping everything
    error: api could not be started: No such file or directory (os error 2) [spawn-failed]
      fault: the configuration, neither the code nor the environment
      fix: check that `no-such-server` is installed and on PATH
    "#);
}

#[test]
fn missing_node() {
    let sandbox = Sandbox::new();
    let manifest = "{ \"name\": \"x\", \"packageManager\": \"npm@10.0.0\" }";
    let config =
        "dependencies: { node: { directory: . } }\nprocesses:\n  web: { run: [devrun-fixture, sleep] }\n";
    let lock = "{ \"name\": \"x\", \"lockfileVersion\": 3, \"packages\": {} }";
    let main = sandbox.repo_with(&[
        ("devrun.yaml", config),
        ("package.json", manifest),
        ("package-lock.json", lock),
    ]);
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in ["git", "sh"] {
        let found = sandbox.program("sh", &["-c", &format!("command -v {program}")]).run().stdout;
        std::os::unix::fs::symlink(found.trim(), bin.join(program)).unwrap();
    }
    let ended = devrun(&sandbox, &main, &[]).env("PATH", &bin).run();
    assert_eq!(ended.code, Some(83), "{ended}");
    insta::assert_snapshot!(told(&sandbox, &ended), @r#"
    stopping everything
    error: node is not installed [tool-missing]
      fault: the environment, not the code
      why: there is no `node` on PATH, and the packages need it
      fix: install Node.js 20 or later (https://nodejs.org/en/download, or `nvm install --lts`), then run `devrun up -d`
    "#);
}

#[test]
fn full_disk() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let state = main.join(".git/devrun");
    std::fs::create_dir(&state).unwrap();
    let script = "mount -t tmpfs -o size=16k none \"$1\" || exit 99; cat /dev/zero > \"$1/full\" 2> /dev/null; exec \"$2\"";
    let words = ["-r", "-m", "sh", "-c", script, "sh", state.to_str().unwrap(), env!("CARGO_BIN_EXE_devrun")];
    let ended = sandbox.program("unshare", &words).run();
    if ended.code == Some(99) || ended.stderr.starts_with("unshare") {
        return skip("no disk can be mounted here");
    }
    assert_eq!(ended.code, Some(74), "{ended}");
    insta::assert_snapshot!(told(&sandbox, &ended), @r#"
    warning: not all output is written to ~/repo/.git/devrun/logs: No space left on device (os error 28)
    error: cannot write ~/repo/.git/devrun/run.json: No space left on device (os error 28) at path "~/repo/.git/devrun/.devrun-X" [state-unusable]
      fault: the environment, not the code
      fix: free some space on that disk, then run the same command again
    "#);
}

#[test]
fn unreadable_configuration() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    std::fs::create_dir(main.join("devrun.yaml")).unwrap();
    insta::assert_snapshot!(failed(&sandbox, &main, 80), @r#"
    error: cannot read ~/repo/devrun.yaml: it is a folder [config-invalid]
      fault: the configuration, neither the code nor the environment
      fix: put a file in the place of ~/repo/devrun.yaml
    "#);
}

#[test]
fn two_alembic_heads() {
    let head = |revision: &str, message: &str| AlembicHead {
        revision: revision.into(),
        file: PathBuf::from(format!("alembic/versions/{revision}.py")),
        message: message.into(),
    };
    let heads = vec![head("0005a", "Add a"), head("0005b", "Add b")];
    let merge = "devrun exec -- alembic merge heads -m \"merge\"".into();
    insta::assert_snapshot!(plain(MigrateError::Heads { heads, merge }), @r#"
    error: the migrations have 2 heads: 0005a "Add a" (alembic/versions/0005a.py), 0005b "Add b" (alembic/versions/0005b.py) [migration-heads]
      fault: the code, not the environment
      why: two lines of work added a migration after the same revision
      fix: run `devrun exec -- alembic merge heads -m "merge"`, read the file that it makes and commit it with those that it merges, then run `devrun up -d`
    "#);
}

#[test]
fn failed_migration() {
    let failed = |tail: &str, trouble| MigrateError::Failed {
        name: "dev-x".into(),
        what: "`alembic upgrade head` ended with exit code 1".into(),
        tail: tail.into(),
        trouble,
        directory: std::path::Path::new("backend").into(),
        variable: "DATABASE_URL".into(),
        place: Some("backend/alembic/versions/0004.py:10".into()),
        is_kept: false,
    };
    insta::assert_snapshot!(plain(failed("column \"x\" does not exist", FailureCause::Code)), @r#"
    error: migrating dev-x failed: `alembic upgrade head` ended with exit code 1 [migration-failed]
      correct: backend/alembic/versions/0004.py:10
      fault: the code, not the environment
      why: column "x" does not exist
      fix: correct that line, then run `devrun up -d`
    "#);
    insta::assert_snapshot!(plain(failed("Connection refused", FailureCause::Server)), @r#"
    error: migrating dev-x failed: `alembic upgrade head` ended with exit code 1 [migration-failed]
      fault: the environment, not the code
      why: Connection refused
      fix: the migration could not use the database; run `devrun up -d`
    "#);
    let unknown = FailureCause::UnknownRevision { parent: None };
    insta::assert_snapshot!(plain(failed("Can't locate revision", unknown)), @r#"
    error: migrating dev-x failed: `alembic upgrade head` ended with exit code 1 [migration-failed]
      why: Can't locate revision
      fix: the database was migrated by code that this worktree does not have, such as another branch or a rebased one: bring that file back, or run `devrun db reset --yes`, which makes the database a copy of its parent again (what is in it is lost); then run `devrun up -d`
    "#);
}

#[test]
fn too_few_descriptors_are_one_clear_error() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", "processes: { web: 'true' }\n")]);
    for limit in 6..24 {
        let limit = format!("--nofile={limit}");
        let ended = sandbox.program("prlimit", &[&limit, "devrun", "plan"]).directory(&main).run();
        assert_eq!(ended.code, Some(74), "{limit}: {ended}");
        assert!(ended.stderr.contains("devrun may open fewer than 24 more files"), "{limit}: {ended}");
        assert!(ended.stderr.contains("fix: raise the limit: ulimit -n 1024"), "{limit}: {ended}");
    }
    let ended = sandbox.program("prlimit", &["--nofile=40", "devrun", "plan"]).directory(&main).run();
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn loopback_that_is_down_is_named_before_anything_starts() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[(
        "devrun.yaml",
        "ports: { web: 4600 }\nprocesses: { web: { run: 'true', port: web, ready: { http: / } } }\n",
    )]);
    let ended = sandbox.program("unshare", &["-rn", "devrun", "up"]).directory(&main).run();
    if ended.stderr.starts_with("unshare") {
        skip("this machine makes no network namespaces");
        return;
    }
    assert!(ended.stderr.contains("the loopback interface is down"), "{ended}");
    assert!(ended.stderr.contains("ip link set lo up"), "{ended}");
    assert_eq!(ended.code, Some(82), "{ended}");
}

#[test]
fn wait_ends_early_when_a_process_cannot_become_ready() {
    let sandbox = Sandbox::new();
    let read = ["err:  File \"app.py\", line 3, in <module>", "err:    key = os.environ[\"STRIPE_KEY\"]"];
    let api = [&["devrun-fixture"], &read[..], &["err:KeyError: 'STRIPE_KEY'", "sleep"]].concat();
    let web = ["devrun-fixture", "listen:OTHER", "say:serving", "sleep"];
    let ready = serde_json::json!({ "http": "/", "deadline": "5m" });
    let config = serde_json::json!({
        "ports": { "api": base(), "web": base(), "other": base() },
        "processes": {
            "api": { "run": api, "port": "api", "ready": ready },
            "web": { "run": web, "port": "web", "ready": ready, "env": { "OTHER": "${ports.other}" } },
        },
    });
    let main = sandbox.repo_with(&[("devrun.yaml", &config.to_string())]);
    let ask = |args: &[&str]| -> serde_json::Value {
        let ended = devrun(&sandbox, &main, args).run();
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended}"))
    };
    ask(&["up", "-d", "--no-wait", "--json"]);
    let ports = crate::asking::answer(&sandbox, &main, "ports");
    let [own, other] = ["web", "other"].map(|name| crate::asking::port(&ports, name));
    let error = &ask(&["wait", "api", "--json"])["error"];
    assert_eq!(
        (&error["code"], &error["fault"]),
        (&"not-ready".into(), &"configuration".into()),
        "{error:#}"
    );
    let fix = "set STRIPE_KEY in .env or under `env:` in devrun.yaml, then `devrun down && devrun up -d`";
    assert_eq!(error["fix"], fix, "{error:#}");
    let error = &ask(&["wait", "web", "--json"])["error"];
    assert_eq!(
        (&error["code"], &error["fault"]),
        (&"not-ready".into(), &"configuration".into()),
        "{error:#}"
    );
    let cause =
        format!("it listens on 127.0.0.1:{other} and not on its port {own}, $PORT\nthe stack goes on");
    assert_eq!(error["cause"], cause, "{error:#}");
    let down = devrun(&sandbox, &main, &["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
}

/// A server that, for each request, prints the file `error` and answers 503. Without such a file, it answers 204.
const BROKEN_PAGE: &str = r#"import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            text = open("error").read()
        except FileNotFoundError:
            self.send_response(204)
            self.end_headers()
            return
        print(text, flush=True)
        self.send_error(503)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Makes a repository with [`BROKEN_PAGE`] and this deadline for its readiness. Returns `None` without Python.
fn broken_page(deadline: &str) -> Option<(Sandbox, PathBuf)> {
    let sandbox = Sandbox::new();
    if sandbox.program("python3", &["--version"]).run().code != Some(0) {
        skip_without(&["python3"]);
        return None;
    }
    let ready = serde_json::json!({ "http": "/", "deadline": deadline });
    let web = serde_json::json!({ "run": "python3 web.py", "port": "web", "ready": ready });
    let config = serde_json::json!({ "ports": { "web": base() }, "processes": { "web": web } }).to_string();
    let main = sandbox.repo_with(&[("devrun.yaml", &config), ("web.py", BROKEN_PAGE)]);
    Some((sandbox, main))
}

#[track_caller]
fn refused(sandbox: &Sandbox, main: &Path, args: &[&str]) -> serde_json::Value {
    let ended = devrun(sandbox, main, &[args, &["--json"]].concat()).run();
    assert_eq!(ended.code, Some(86), "{ended}");
    serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()["error"].clone()
}

#[track_caller]
fn wait_ends_early(error: &str, said: &str, place: &str) {
    let Some((sandbox, main)) = broken_page("5m") else { return };
    sandbox.write(&main.join("error"), error);
    let error = refused(&sandbox, &main, &["up", "-d"]);
    assert_eq!(
        (&error["code"], &error["fault"], &error["correct"]),
        (&"not-ready".into(), &"code".into(), &place.into()),
        "{error:#}"
    );
    let cause = error["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("it repeats the error: {said} ({place})")), "{cause}");
    let why = devrun(&sandbox, &main, &["why", "web"]).run();
    assert!(why.stdout.contains(&format!("correct: {place}")), "{why}");
    assert_eq!(devrun(&sandbox, &main, &["down"]).run().code, Some(0));
}

#[test]
fn wait_ends_early_when_a_page_does_not_compile() {
    let error = " \u{2a2f} ./app/page.jsx:23:17\nError: Expression expected\n  22 |\n";
    wait_ends_early(error, "Error: Expression expected", "app/page.jsx:23");
}

#[test]
fn wait_ends_early_when_a_page_raises_an_error() {
    let error = " \u{2a2f} TypeError: no rows\n    at Page (app/page.jsx:20:19)\n> 20 |   rows.map() {\n  digest: '1'\n}\n \
                 GET / 500 in 9ms\n";
    wait_ends_early(error, "TypeError: no rows", "app/page.jsx:20");
}

#[test]
fn a_database_that_refuses_connections_is_no_fault_of_the_code() {
    let Some((sandbox, main)) = broken_page("3s") else { return };
    assert_eq!(devrun(&sandbox, &main, &["up", "-d"]).run().code, Some(0));
    let error = "WARNING: /: database unavailable: connection to server at \"127.0.0.1\", port 1 failed: Connection refused";
    sandbox.write(&main.join("error"), error);
    let refused = refused(&sandbox, &main, &["restart", "web"]);
    assert_eq!(
        (&refused["code"], &refused["fault"]),
        (&"not-ready".into(), &"environment".into()),
        "{refused:#}"
    );
    sandbox.write(&main.join("error"), "INFO: a detail of no use");
    let refused = self::refused(&sandbox, &main, &["restart", "web"]);
    assert_eq!(
        (&refused["code"], &refused["fault"]),
        (&"not-ready".into(), &serde_json::Value::Null),
        "{refused:#}"
    );
    assert!(refused["cause"].as_str().unwrap().contains("it said: INFO: a detail of no use"), "{refused:#}");
    assert_eq!(devrun(&sandbox, &main, &["down"]).run().code, Some(0));
}
