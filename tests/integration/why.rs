//! `devrun why`: what a process waits for, why it ended, and what to do, while the stack runs and afterwards.

use std::path::Path;

use serde_json::Value;

use crate::asking::{base, json, refusal};
use crate::support::{LIMIT, Sandbox, wait_for};

const BROKEN: &str = "\
echo 'Traceback (most recent call last):' >&2
echo '  File \"app/main.py\", line 3, in <module>' >&2
echo \"ModuleNotFoundError: No module named 'loging'\" >&2
";

/// Makes a repository with `web` and its dependency `api`, which has a port and a probe. `first` and `second` are further keys of them.
fn world(first: &str, second: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let port = base();
    let config = format!(
        "ports: {{ api: {port} }}\nprocesses:\n  web: {{ run: ./web.sh, depends_on: [api], {first} }}\n  \
         api: {{ run: ./api.sh, port: api, ready: {{ http: /, timeout: 1s }}, {second} }}\n"
    );
    sandbox.repo_with(&[("devrun.yaml", &config), ("uv.lock", "")]);
    script(&sandbox, "web.sh", "exec devrun-fixture say:web sleep");
    sandbox
}

fn script(sandbox: &Sandbox, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = sandbox.main().join(name);
    sandbox.write(&path, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn why(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ended = sandbox.devrun(&[&["why"], args, &["--json"]].concat()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    json(&ended)
}

#[track_caller]
fn fine(sandbox: &Sandbox, args: &[&str]) -> String {
    let ended = sandbox.devrun(args).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended.stdout
}

fn lines(answer: &Value) -> Vec<&str> {
    answer["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn secrets_that_a_process_prints_are_not_in_the_answer() {
    let sandbox = Sandbox::new();
    let run =
        "echo \"token $API_TOKEN, key $OWN_KEY\"; echo \"Error: token $API_TOKEN, key $OWN_KEY\" >&2; exit 3";
    let config = format!("processes:\n  api: {{ run: '{run}', env: {{ OWN_KEY: own-key-123 }} }}\n");
    sandbox.repo_with(&[("devrun.yaml", &config), (".env", "API_TOKEN=tok-secret-123\n")]);
    let ended = sandbox.devrun(&["up", "-d"]).run();
    assert_ne!(ended.code, Some(0), "{ended}");
    let answers = [
        format!("{}{}", ended.stdout, ended.stderr),
        why(&sandbox, &["api"]).to_string(),
        fine(&sandbox, &["why", "api"]),
        sandbox.devrun(&["status", "--json"]).run().stdout,
        fine(&sandbox, &["logs", "devrun"]),
    ];
    for answer in &answers {
        assert!(!answer.contains("tok-secret-123") && !answer.contains("own-key-123"), "{answer}");
    }
    let shown = why(&sandbox, &["api"]);
    assert!(lines(&shown).contains(&"token ***, key ***"), "{shown:#}");
}

#[test]
fn why_finds_the_failing_dependency_and_its_error() {
    let sandbox = world("", "");
    assert_eq!(why(&sandbox, &[])["summary"], "nothing runs in this worktree");
    script(&sandbox, "api.sh", &format!("{BROKEN}exec devrun-fixture sleep"));
    fine(&sandbox, &["up", "-d", "--no-wait"]);
    let answer = wait_for("the error", LIMIT, || {
        let answer = why(&sandbox, &[]);
        if answer["fault"] == "code" { Ok(answer) } else { Err(format!("{answer:#}")) }
    });
    assert_eq!((&answer["process"], &answer["state"]), (&"api".into(), &"running".into()));
    assert_eq!(answer["summary"], "api runs but is not ready");
    let said = "it said: ModuleNotFoundError: No module named 'loging' (app/main.py:3)";
    assert!(answer["cause"].as_str().unwrap().lines().any(|line| line == said), "{answer:#}");
    let fix = "correct app/main.py:3, then `devrun restart api`; or declare the package of `loging`, then `devrun down && devrun up -d`";
    assert_eq!(answer["fix"], fix);
    let waited = refusal(sandbox.devrun(&["wait", "--json"]), "not-ready", 86);
    assert_eq!((&waited["fix"], &waited["fault"]), (&answer["fix"], &answer["fault"]), "{waited:#}");
    assert_eq!(lines(&answer)[0], "Traceback (most recent call last):");
    let waiting = why(&sandbox, &["web"]);
    assert_eq!(waiting["summary"], "web is waiting for api");
    assert_eq!(waiting["fix"], "devrun why api");

    // After a rebase, a package that the code needs may not be installed yet.
    let newer = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::open(sandbox.main().join("uv.lock")).unwrap().set_modified(newer).unwrap();
    let answer = why(&sandbox, &["api"]);
    assert_eq!(
        (&answer["fault"], &answer["fix"]),
        (&"environment".into(), &"devrun down && devrun up -d".into())
    );
    let restarted = refusal(sandbox.devrun(&["restart", "api", "--json"]), "not-ready", 86);
    assert_eq!((&restarted["fix"], &restarted["fault"]), (&answer["fix"], &answer["fault"]));
    let said = "uv.lock was changed after the stack was started, and loging is not installed";
    assert!(restarted["cause"].as_str().unwrap().contains(said), "{restarted:#}");
    assert!(restarted["correct"].is_null(), "{restarted:#}");

    script(&sandbox, "api.sh", "echo fine; exec devrun-fixture listen:PORT sleep");
    fine(&sandbox, &["restart", "api"]);
    fine(&sandbox, &["wait"]);
    assert_eq!(
        why(&sandbox, &[])["summary"],
        "all is well: 2 of 2 processes ready, no unresolved error since the last start or reload"
    );
    let answer = why(&sandbox, &["api"]);
    assert_eq!(
        (&answer["fault"], &answer["summary"]),
        (&Value::Null, &"api is fine: it runs and is ready".into())
    );
    refusal(sandbox.devrun(&["why", "nobody", "--json"]), "process-unknown", 2);
    fine(&sandbox, &["down"]);
    assert_eq!(why(&sandbox, &[])["summary"], "nothing runs in this worktree");
    let stopped = why(&sandbox, &["web"]);
    assert_eq!((&stopped["state"], &stopped["fix"]), (&"stopped".into(), &"devrun up -d".into()));
    assert_eq!(lines(&stopped), ["web"]);
}

#[test]
fn why_names_the_process_that_ended_the_stack() {
    let sandbox = world("", "");
    script(&sandbox, "api.sh", &format!("devrun-fixture lines:100\n{BROKEN}exit 3"));
    let ended = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(ended.code, Some(3), "{ended}");
    let fix = "correct app/main.py:3, or declare the package of `loging`, then `devrun up -d`";
    let shown = "  fix: correct that line, or declare the package of `loging`, then `devrun up -d`\n";
    assert!(ended.stderr.contains(shown), "the line is named above: {ended}");
    let answer = why(&sandbox, &[]);
    assert_eq!(
        (&answer["process"], &answer["summary"]),
        (&"api".into(), &"api ended with exit code 3".into())
    );
    assert_eq!((&answer["fault"], &answer["fix"]), (&"code".into(), &fix.into()));
    let shown = lines(&answer);
    assert_eq!((shown.len(), shown[19]), (20, "ModuleNotFoundError: No module named 'loging'"));
    let text = fine(&sandbox, &["why"]);
    assert!(text.lines().count() <= 28 && !text.contains('\x1b'), "{text}");
    assert!(
        text.starts_with(
            "api ended with exit code 3\n  correct: app/main.py:3\n  fault: the code, not the environment\n"
        ),
        "{text}"
    );
    let below = sandbox.main().join("deeper");
    std::fs::create_dir(&below).unwrap();
    let there = sandbox.devrun(&["why", "web", "--json"]).directory(Path::new(&below)).run();
    assert_eq!(json(&there)["process"], "web", "{there}");
}

/// Makes a repository with a server that keeps running and a process that ends with 0.
fn ending_with_zero(line: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let procfile = format!("web: exec devrun-fixture ready sleep\njs: {line}\n");
    sandbox.repo_with(&[("Procfile", &procfile)]);
    sandbox
}

#[test]
fn process_that_ends_a_starting_stack_with_zero_is_named() {
    let sandbox = ending_with_zero("nosuchtool 2>&1 | cat");
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(87), "{up}");
    for part in ["js ended with 0 and so ended the stack", "it said: ", "nosuchtool", "fix: devrun why js"] {
        assert!(up.stderr.contains(part), "no {part}: {up}");
    }
    let status = fine(&sandbox, &["status"]);
    assert!(status.contains("stopped: js ended with 0 and so ended the stack"), "{status}");
    let answer = why(&sandbox, &[]);
    assert_eq!(answer["process"], "js", "{answer:#}");
    assert_eq!(answer["summary"], "js ended with 0 and so ended the stack", "{answer:#}");
    assert!(answer["fix"].as_str().unwrap().contains("restart: on-failure"), "{answer:#}");
    assert_eq!(lines(&answer).len(), 1, "{answer:#}");
    let status = json(&sandbox.devrun(&["status", "--json"]).run());
    assert_eq!((&status["state"], &status["ended_by"]["process"]), (&"stopped".into(), &"js".into()));
}

#[test]
fn process_that_ends_a_ready_stack_with_zero_is_named() {
    let sandbox = ending_with_zero("devrun-fixture ready await-file:go say:bye");
    fine(&sandbox, &["up", "-d"]);
    sandbox.write(&sandbox.main().join("go"), "");
    wait_for("the end of the stack", LIMIT, || {
        let waited = sandbox.devrun(&["wait"]).run();
        if waited.code == Some(0) { Err(format!("{waited}")) } else { Ok(()) }
    });
    let waited = sandbox.devrun(&["wait"]).run();
    assert!(waited.stderr.contains("js ended with 0 and so ended the stack"), "{waited}");
    let answer = why(&sandbox, &[]);
    assert!(answer["cause"].as_str().unwrap().contains("it said: bye"), "{answer:#}");
    let web = json(&sandbox.devrun(&["status", "--json"]).run())["processes"][0].clone();
    assert_eq!((&web["state"], &web["exit"]), (&"stopped".into(), &Value::Null), "{web:#}");
}

#[test]
fn why_shows_only_lines_of_the_present_start() {
    let sandbox = ending_with_zero("exec devrun-fixture say:new sleep");
    script(&sandbox, "web.sh", "exec devrun-fixture say:old ready sleep");
    sandbox.write(&sandbox.main().join("Procfile"), "web: exec ./web.sh\n");
    fine(&sandbox, &["up", "-d"]);
    wait_for("the old line", LIMIT, || {
        let answer = why(&sandbox, &["web"]);
        if lines(&answer).contains(&"old") { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    script(&sandbox, "web.sh", "exec devrun-fixture say:new sleep");
    fine(&sandbox, &["restart", "web"]);
    wait_for("the new line alone", LIMIT, || {
        let answer = why(&sandbox, &["web"]);
        let found = lines(&answer);
        assert!(!found.contains(&"old"), "{answer:#}");
        if found == ["new"] { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    fine(&sandbox, &["down"]);
}

#[test]
fn process_without_restarts_left_is_failed_and_others_keep_running() {
    let sandbox = Sandbox::new();
    let config = "processes:\n  web: { run: exec devrun-fixture sleep }\n  api:\n    \
                  run: exec devrun-fixture await-file:go say:broken exit:7\n    restart: on-failure\n    \
                  max_restarts: 1\n";
    sandbox.repo_with(&[("devrun.yaml", config)]);
    fine(&sandbox, &["up", "-d"]);
    sandbox.write(&sandbox.main().join("go"), "");
    let status = wait_for("it to be given up", LIMIT, || {
        let status = json(&sandbox.devrun(&["status", "--json"]).run());
        if status["processes"][1]["state"] == "failed" { Ok(status) } else { Err(format!("{status:#}")) }
    });
    assert_eq!(status["state"], "degraded", "{status:#}");
    let reason = "gave up after 1 restart: it ended with exit code 7; it said: broken";
    assert_eq!(status["processes"][1]["reason"], reason, "{status:#}");
    assert!(fine(&sandbox, &["status"]).contains(&format!("failed: {reason}")));
    let waited = sandbox.devrun(&["wait"]).run();
    assert_eq!(waited.code, Some(87), "{waited}");
    assert!(waited.stderr.contains("gave up after 1 restart"), "{waited}");
    let answer = why(&sandbox, &[]);
    assert_eq!(
        (&answer["process"], &answer["fix"]),
        (&"api".into(), &"devrun restart api".into()),
        "{answer:#}"
    );
    assert!(answer["cause"].as_str().unwrap().contains("gave up"), "{answer:#}");
    std::fs::remove_file(sandbox.main().join("go")).unwrap();
    fine(&sandbox, &["restart", "api"]);
    fine(&sandbox, &["wait"]);
    fine(&sandbox, &["down"]);
}

#[test]
fn a_repeated_line_is_shown_once_and_json_has_each() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[(
        "Procfile",
        "web: exec devrun-fixture say:first say:same say:same say:same ready sleep\n",
    )]);
    fine(&sandbox, &["up", "-d"]);
    wait_for("the last line", LIMIT, || {
        let answer = why(&sandbox, &["web"]);
        if lines(&answer).len() == 5 { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    let text = fine(&sandbox, &["why", "web"]);
    assert!(text.contains("\n  first\n  same (3 times)\n  ready "), "{text}");
    fine(&sandbox, &["down"]);
}

#[test]
fn a_ready_stack_that_has_logged_an_error_is_not_well() {
    let sandbox = Sandbox::new();
    let words = [
        "devrun-fixture",
        "err:Traceback (most recent call last):",
        "err:  File \"app/main.py\", line 2, in start",
        "err:ConnectionError: the database is late",
        "await-file:go",
        "listen:PORT",
        "await:USR1",
        "err:Traceback (most recent call last):",
        "err:  File \"app/main.py\", line 3, in page",
        "err:ZeroDivisionError: token tok-secret-123",
        "await:USR1",
        "err:WARNING:  WatchFiles detected changes in 'app/main.py'. Reloading...",
        "sleep",
    ];
    let config = serde_json::json!({
        "ports": { "api": base() },
        "processes": { "api": { "run": words, "port": "api", "ready": { "http": "/" } } }
    });
    let env = "API_TOKEN=tok-secret-123\n";
    let files = [("devrun.yaml", &*config.to_string()), (".env", env), ("app/main.py", "1 / 0\n")];
    sandbox.repo_with(&files);
    fine(&sandbox, &["up", "-d", "--no-wait"]);
    wait_for("the first error", LIMIT, || {
        let logs = fine(&sandbox, &["logs", "api"]);
        if logs.contains("the database is late") { Ok(()) } else { Err(logs) }
    });
    sandbox.write(&sandbox.main().join("go"), "");
    fine(&sandbox, &["wait"]);
    let well = "all is well: 1 of 1 process ready, no unresolved error since the last start or reload";
    assert_eq!(why(&sandbox, &[])["summary"], well, "an error before readiness is over");
    let status = || json(&sandbox.devrun(&["status", "--json"]).run());
    let pid = i32::try_from(status()["processes"][0]["pid"].as_u64().unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    let answer = wait_for("the error", LIMIT, || {
        let answer = why(&sandbox, &[]);
        if answer["summary"] == well { Err(format!("{answer:#}")) } else { Ok(answer) }
    });
    let summary = answer["summary"].as_str().unwrap();
    assert!(summary.starts_with("1 of 1 process ready, but api logged an error "), "{answer:#}");
    assert_eq!((&answer["state"], &answer["fault"]), (&"ready".into(), &Value::Null), "{answer:#}");
    let error = &answer["recent_error"];
    let place = format!("{}:3", sandbox.main().join("app/main.py").display());
    assert_eq!((&error["process"], &error["correct"]), (&"api".into(), &place.as_str().into()), "{answer:#}");
    assert_eq!(error["said"], "ZeroDivisionError: token ***", "{answer:#}");
    assert!(error["age_seconds"].is_u64() && error["time"].is_string(), "{answer:#}");
    let text = fine(&sandbox, &["why"]);
    assert!(text.contains(&format!("\n  correct: {place}\n")), "{text}");
    assert!(why(&sandbox, &["api"])["recent_error"].is_object());
    let shown = fine(&sandbox, &["status"]);
    assert!(shown.contains("\napi logged an error ") && shown.ends_with(" ago: devrun why\n"), "{shown}");
    // The code was changed after the error.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    wait_for("the reload", LIMIT, || {
        let answer = why(&sandbox, &[]);
        if answer["summary"] == well { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    fine(&sandbox, &["down"]);
}

#[test]
fn a_request_without_an_answer_is_named_until_it_is_answered() {
    let sandbox = Sandbox::new();
    let line = |status: &str| format!("say:INFO:     127.0.0.1:4 - \"GET /pay?token=x HTTP/1.1\" {status}");
    let (failed, answered) = (line("500 Internal Server Error"), line("200 OK"));
    let words = ["devrun-fixture", "listen:PORT", "await:USR1", &failed, "await:USR1", &answered, "sleep"];
    let config = serde_json::json!({
        "ports": { "api": base() },
        "processes": { "api": { "run": words, "port": "api", "ready": { "http": "/" } } }
    });
    sandbox.repo_with(&[("devrun.yaml", &*config.to_string())]);
    fine(&sandbox, &["up", "-d"]);
    let status = json(&sandbox.devrun(&["status", "--json"]).run());
    let pid = i32::try_from(status["processes"][0]["pid"].as_u64().unwrap()).unwrap();
    let after_signal = |is_well: bool| {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        wait_for("the request", LIMIT, || {
            let answer = why(&sandbox, &[]);
            if answer["recent_error"].is_null() == is_well { Ok(answer) } else { Err(format!("{answer:#}")) }
        })
    };
    let answer = after_signal(false);
    let summary = answer["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("1 of 1 process ready, but api answered GET /pay with an error "),
        "{answer:#}"
    );
    let told = (&answer["cause"], &answer["correct"], &answer["fault"], &answer["fix"]);
    assert_eq!(
        told,
        (&"GET /pay answered 500".into(), &Value::Null, &Value::Null, &"devrun why api".into()),
        "{answer:#}"
    );
    assert_eq!(
        after_signal(true)["summary"],
        "all is well: 1 of 1 process ready, no unresolved error since the last start or reload"
    );
    let answer = why(&sandbox, &["api"]);
    let shown = lines(&answer);
    let has = |status: &str| shown.iter().any(|line| line.contains(status));
    assert!(has("500 Internal Server Error") && !has("200 OK"), "{answer:#}");
    fine(&sandbox, &["down"]);
}
