//! The provider `docker`, with a double of the engine: its client parses arguments as the real one does, and each of its containers is
//! a real Postgres of this machine. With `DEVRUN_TEST_DOCKER`, which names the socket of a real engine, the tests use that one.

use std::net::TcpListener;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::World;
use crate::asking::{base, fine, json as parsed, refusal, skip_without};
use crate::support::neon::postgres;
use crate::support::{Running, Sandbox};

const DOUBLE: &str = include_str!("../../support/engine.py");

/// A repository, and a container engine.
struct Contained {
    /// The double; `None` with a real engine.
    engine: Option<Running>,
    world: World,
}

impl Deref for Contained {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Contained {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.signal(Signal::SIGTERM);
            drop(engine.wait());
            return;
        }
        for name in self.containers() {
            for args in [&["rm", "-f", "-v", name.as_str()][..], &["volume", "rm", "-f", &name]] {
                self.sandbox.program("docker", args).run();
            }
        }
    }
}

fn executable(sandbox: &Sandbox, path: &Path, text: &str) {
    sandbox.write(path, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Puts the program `docker` with `text` first on PATH.
fn install(sandbox: &mut Sandbox, text: &str) {
    let folder = sandbox.path().join("client");
    executable(sandbox, &folder.join("docker"), text);
    let path = fine(sandbox.program("/bin/sh", &["-c", "printf %s \"$PATH\""])).stdout;
    sandbox.set("PATH", format!("{}:{path}", folder.display()));
}

/// Makes a repository with more `lines` in the section of the provider.
fn repository(sandbox: &Sandbox, lines: &str) {
    let text = format!(
        "ports: {{ web: {} }}\ndatabase:\n  provider: docker\n{lines}  migrate: {{ sql: [migrations/*.sql] }}\nprocesses:\n  web:\n    run: \
         [devrun-fixture, ready, sleep]\n    ready: {{ log: ready }}\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &text), ("migrations/1.sql", "create table leads (name text);\n")]);
}

impl Contained {
    /// Starts the engine. Returns `None` and reports a skipped test if Postgres or Python is missing.
    fn new() -> Option<Contained> {
        let (Some(binaries), true) = (postgres::binaries(), which::which("python3").is_ok()) else {
            skip_without(&["postgres", "python3"]);
            return None;
        };
        let mut sandbox = Sandbox::new();
        if let Some(socket) = std::env::var_os("DEVRUN_TEST_DOCKER") {
            sandbox.set("DOCKER_HOST", socket);
            repository(&sandbox, "");
            return Some(Contained { engine: None, world: World { sandbox } });
        }
        install(&mut sandbox, &format!("#!/usr/bin/env python3\n{DOUBLE}"));
        repository(&sandbox, "");
        let folder = sandbox.path().join("engine");
        std::fs::create_dir(&folder).unwrap();
        sandbox.set("DOCKER_HOST", format!("unix://{}/docker.sock", folder.display()));
        let program = sandbox.path().join("engine.py");
        sandbox.write(&program, DOUBLE);
        let words = [program.to_str().unwrap(), "serve", folder.to_str().unwrap()];
        let mut engine = sandbox.program("python3", &words).env("ENGINE_POSTGRES", binaries).start();
        engine.expect_line("^serving$");
        Some(Contained { engine: Some(engine), world: World { sandbox } })
    }

    /// Calls the client by hand and returns what it prints.
    fn docker(&self, args: &[&str]) -> String {
        fine(self.sandbox.program("docker", args)).stdout
    }

    /// Returns the names of the containers of this repository.
    fn containers(&self) -> Vec<String> {
        let file = std::fs::read(self.sandbox.main().join(".git/devrun/docker.json")).unwrap_or_default();
        let Ok(file) = serde_json::from_slice::<Value>(&file) else { return Vec::new() };
        let filter = format!("label=devrun.repository={}", file["id"].as_str().unwrap());
        let listed = self.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        listed.lines().map(Into::into).collect()
    }

    /// Returns the arguments of every call of the double so far.
    fn calls(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.sandbox.path().join("engine/calls")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Removes the volume of `container`. Returns false if that fails, for example because there is none.
    fn remove_volume(&self, container: &str) -> bool {
        self.sandbox.program("docker", &["volume", "rm", container]).run().code == Some(0)
    }
}

/// Returns the port in the URL of the worktree's database, and the URL with its password.
fn address(world: &World, worktree: &Path) -> (u16, String) {
    let url = world.ask(worktree, &["url", "--reveal"])["url"].as_str().unwrap().to_string();
    (url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap(), url)
}

/// Passes each call to the real client, which finds no engine. Without a real client, reports a skipped part.
fn check_grammar(world: &Contained) {
    let Some(client) =
        std::env::var_os("PATH").and_then(|path| which::which_in("docker", Some(path), "/").ok())
    else {
        return skip_without(&["docker"]);
    };
    for args in world.calls() {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let call =
            world.sandbox.program(&client, &words).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let ended = call.run();
        let is_after_parsing = ["Cannot connect to the Docker daemon", "failed to connect to the docker API"];
        assert!(is_after_parsing.iter().any(|sign| ended.stderr.contains(sign)), "{words:?}: {ended}");
    }
}

#[test]
fn each_branch_has_a_container_with_a_copy_of_the_parents_database() {
    let Some(world) = Contained::new() else { return };
    let main = world.sandbox.main();
    let made = world.ask(&main, &["migrate"]);
    assert_eq!((&made["provider"], &made["name"]), (&"docker".into(), &"dev-main".into()), "{made:#}");
    world.sql(&main, "insert into leads values ('parent')");

    let x = world.worktree("x");
    world.devrun(&x, &["up", "-d"]);
    let seen = world.ask(&x, &["status"]);
    assert_eq!(
        (&seen["origin"], &seen["parent"], &seen["migrations"], &seen["git_branch"], &seen["server"]),
        (&"copy".into(), &"dev-main".into(), &"up-to-date".into(), &"x".into(), &Value::Null),
        "{seen:#}"
    );
    let status = parsed(&fine(world.sandbox.devrun(&["status", "--json"]).directory(&x)));
    assert_eq!(status["isolation"].as_array().map_or(0, Vec::len), 0, "{status:#}");
    world.devrun(&x, &["down"]);
    assert_eq!(world.sql(&x, "select name from leads"), "parent");
    world.sql(&x, "insert into leads values ('mine')");
    assert_eq!(world.sql(&main, "select count(*) from leads"), "1", "the parent was changed");

    // devrun starts a stopped container again, and makes a removed container again with its old volume.
    let (port, url) = address(&world, &x);
    let container = world.containers().into_iter().find(|name| name.ends_with("-dev-x")).unwrap();
    world.docker(&["stop", &container]);
    assert_eq!(world.sql(&x, "select count(*) from leads"), "2");
    assert_eq!(address(&world, &x).1, url);
    world.docker(&["rm", "--force", &container]);
    assert_eq!(world.ask(&x, &["migrate"])["id"], seen["id"]);
    assert_eq!(
        (world.sql(&x, "select count(*) from leads"), address(&world, &x).1),
        ("2".into(), url.clone())
    );
    // devrun also makes a container again if another program uses its port.
    world.docker(&["stop", &container]);
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(world.ask(&x, &["migrate"])["id"], seen["id"]);
    let (moved, url) = address(&world, &x);
    assert_ne!(moved, port);
    assert_eq!(world.sql(&x, "select count(*) from leads"), "2");
    drop(taken);

    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_ne!(reset["id"], seen["id"]);
    assert!(reset["migrated"].as_str().unwrap().starts_with("already migrated"), "{reset:#}");
    assert_eq!(
        (world.sql(&x, "select name from leads"), address(&world, &x).1),
        ("parent".into(), url.clone())
    );
    refusal(world.db(&main, &["delete", "--yes", "--json"]), "database-kept", 84);
    fine(world.sandbox.devrun(&["doctor", "--json"]).directory(&x));

    // The password is in a file that only this user can read, and in no argument.
    let password = url.split_once(':').unwrap().1.split_once(':').unwrap().1.split_once('@').unwrap().0;
    let data = world.sandbox.home().join(".local/share/devrun-worktree/docker/*/env/dev-x");
    let env_file = glob::glob(data.to_str().unwrap()).unwrap().next().unwrap().unwrap();
    assert!(std::fs::read_to_string(&env_file).unwrap().contains(password));
    assert_eq!(std::fs::metadata(&env_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{:?}", world.calls()).contains(password));
    check_grammar(&world);

    world.sandbox.git(&["branch", "-m", "x", "y"]);
    let renamed = world.ask(&x, &["migrate"]);
    assert_eq!((&renamed["name"], &renamed["id"]), (&"dev-y".into(), &reset["id"]), "{renamed:#}");
    fine(world.sandbox.devrun(&["rm", x.to_str().unwrap(), "--yes"]).directory(&main));
    assert_eq!(world.containers().len(), 1);
    assert!(!world.remove_volume(&container) && !env_file.exists());
    let listed = world.ask(&main, &["list"]);
    assert_eq!(listed["databases"].as_array().unwrap().len(), 1, "{listed:#}");
}

#[test]
fn prune_removes_the_container_of_a_deleted_branch_and_unsupported_verbs_name_the_provider() {
    let Some(world) = Contained::new() else { return };
    let main = world.sandbox.main();
    let gone = world.worktree("gone");
    // Two at once make one parent.
    let both = [&gone, &main].map(|worktree| world.db(worktree, &["migrate", "--json"]).start());
    for running in both {
        assert_eq!(running.wait().code, Some(0));
    }
    for args in
        [&["snapshot", "a"][..], &["snapshots"], &["start"], &["reset", "--from", "snapshot", "--yes"]]
    {
        let error = refusal(world.db(&gone, &[args, &["--json"]].concat()), "database-failed", 84);
        assert!(error["message"].as_str().unwrap().contains("provider docker"), "{args:?}: {error:#}");
    }
    fine(world.db(&gone, &["diff"]));
    fine(world.db(&gone, &["extensions"]));
    std::fs::remove_dir_all(&gone).unwrap();
    world.sandbox.git(&["update-ref", "-d", "refs/heads/gone"]);
    let prune = ["prune", "--older-than", "0s", "--yes", "--json"];
    let pruned = parsed(&fine(world.sandbox.devrun(&prune).directory(&main)));
    let names = world.containers();
    assert!(names.len() == 1 && names[0].ends_with("-dev-main"), "{names:?} {pruned:#}");
    // A container of another program that has a name of devrun's is left alone.
    let foreign = names[0].replace("-dev-main", "-dev-z");
    world.docker(&[
        "run",
        "-d",
        "--name",
        &foreign,
        "-v",
        "v:/v",
        "-p",
        "127.0.0.1:1:1",
        "postgres:16-alpine",
    ]);
    let z = world.worktree("z");
    refusal(world.db(&z, &["migrate", "--json"]), "database-kept", 84);
    world.docker(&["rm", "--force", "--volumes", &foreign]);
}

/// Returns the finding of `devrun doctor` about the engine.
fn problem(sandbox: &Sandbox, folder: &Path) -> Value {
    let ended = sandbox.devrun(&["doctor", "--json"]).directory(folder).run();
    let answer: Value = parsed(&ended);
    let all = answer["findings"].as_array().unwrap().iter();
    let mut found = all.filter(|one| one["id"] == "database-unreachable");
    found.next().unwrap_or_else(|| panic!("no finding: {ended}")).clone()
}

#[test]
fn doctor_does_not_wait_for_an_engine_that_hangs() {
    let mut sandbox = Sandbox::new();
    repository(&sandbox, "");
    install(&mut sandbox, "#!/bin/sh\nexec sleep 600\n");
    let answer = parsed(&sandbox.devrun(&["doctor", "--json"]).directory(sandbox.main()).run());
    let all = answer["findings"].as_array().unwrap();
    let title = "the check of the database provider is incomplete: it took longer than 5 s";
    assert!(all.iter().any(|one| one["id"] == "unfinished" && one["title"] == title), "{answer:#}");
}

#[test]
fn an_engine_that_cannot_be_reached_is_named_with_its_fix() {
    let mut sandbox = Sandbox::new();
    repository(&sandbox, "");
    let main = sandbox.main();
    let script = |said: &str| format!("#!/bin/sh\necho '{said}' >&2\nexit 1\n");
    for (said, message, fix) in [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "docker is installed, but its engine does not run",
            "systemctl start docker",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "this user has no permission to use docker",
            "usermod -aG docker",
        ),
    ] {
        install(&mut sandbox, &script(said));
        let error = refusal(
            sandbox.devrun(&["db", "migrate", "--json"]).directory(&main),
            "database-unavailable",
            84,
        );
        assert!(error["message"].as_str().unwrap().ends_with(message), "{error:#}");
        assert!(error["fix"].as_str().unwrap().contains(fix), "{error:#}");
        assert_eq!(error["cause"], said);
        let problem = problem(&sandbox, &main);
        assert_eq!(problem["severity"], "error", "{problem:#}");
        assert_eq!(problem["evidence"], json!([{ "file": "devrun.yaml", "line": 3 }]), "{problem:#}");
        let title = problem["title"].as_str().unwrap();
        assert!(title.contains(message) && title.ends_with(said), "{problem:#}");
        assert!(problem["fix"].as_str().unwrap().contains(fix), "{problem:#}");
    }
    // Nothing was made, so verbs that only look need no engine.
    for args in [&["db", "list"][..], &["db", "status"], &["prune"], &["plan"]] {
        fine(sandbox.devrun(args).directory(&main));
    }
    if which::which("podman").is_ok() {
        return;
    }
    let text = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    let podman = text.replace("provider: docker\n", "provider: docker\n  docker: { engine: podman }\n");
    sandbox.write(&main.join("devrun.yaml"), &podman);
    let error =
        refusal(sandbox.devrun(&["db", "migrate", "--json"]).directory(&main), "database-unavailable", 84);
    assert!(error["message"].as_str().unwrap().ends_with("podman is not installed"), "{error:#}");
    let option = text.replace("provider: docker\n", "provider: docker\n  docker: { image: --privileged }\n");
    sandbox.write(&main.join("devrun.yaml"), &option);
    refusal(sandbox.devrun(&["db", "migrate", "--json"]).directory(&main), "config-invalid", 80);
}
